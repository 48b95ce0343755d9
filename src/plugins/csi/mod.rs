//! The Container Storage Interface: a driver of our own, and the client that
//! speaks with any driver.
//!
//! ```text
//!   controllers/csi ── Client ──┐                        ┌── driver (ours, in process)
//!   node (VolumePlugin) ────────┤── Transport ── gRPC ───┤
//!   registration ───────────────┘                        └── unix socket (any driver)
//! ```
//!
//! Upstream: `spec.md` of the CSI specification, `pkg/volume/csi`,
//! `pkg/kubelet/pluginmanager`.

pub mod driver;
