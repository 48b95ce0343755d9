//! NamespaceController: empties a namespace that is being deleted, then lets it
//! go (workloads 13).
//!
//! Pods first and until they are gone, since they use what else is there; then
//! every other kind at once. What remains waits for finalizers of its own, and
//! the namespace's conditions say for which. Upstream:
//! `pkg/controller/namespace/deletion`.

pub mod controller;
pub mod decide;
