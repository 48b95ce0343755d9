//! The local static provisioner: what is mounted below a node's discovery
//! directories becomes local volumes; released ones are cleaned and published
//! anew. It never binds anything.
//!
//! ```text
//! ConfigMap ─> config ──┐
//! volumes of the node ──┼─> reclaim ─> clean, then delete the volume
//! entries found on host ┴─> discover ─> create volumes
//! ```
//!
//! [`config`], [`discover`], [`reclaim`] and [`cleaning`] decide and know no shell;
//! [`controller`] looks at the hosts and writes. One loop serves all nodes that
//! have a machine, in the name of one provisioner per node.
//!
//! Upstream: kubernetes-sigs/sig-storage-local-static-provisioner. Better here:
//! mount points are compared with escapes decoded, a successful cleaning is
//! remembered when deleting the volume fails, and a second entry that comes to
//! the same name is told of. Deliberately absent: cleaning by Jobs, and the
//! node cleanup controller.

pub mod cleaning;
pub mod config;
pub mod controller;
pub mod discover;
pub mod reclaim;

mod scan;
