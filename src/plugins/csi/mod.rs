//! The Container Storage Interface: a driver of our own, and the client that
//! speaks with any driver.
//!
//! ```text
//!   controllers/csi ── Client ──┐                        ┌── driver (ours, in process)
//!   node (VolumePlugin) ────────┤── Transport ── gRPC ───┤
//!   registration ───────────────┘                        └── unix socket (any driver)
//! ```
//!
//! Every call is kept with request, reply, duration and code, secrets stripped
//! ([`calls`]). Which codes leave doubt is one table ([`error`]).
//!
//! Upstream: `spec.md` of the CSI specification, `pkg/volume/csi`,
//! `pkg/kubelet/pluginmanager`.

pub mod calls;
pub mod capability;
pub mod client;
pub mod driver;
pub mod error;
pub mod node;
pub mod node_drivers;
pub mod registry;
pub mod transport;
