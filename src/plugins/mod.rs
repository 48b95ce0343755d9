//! What a kind of volume can do: provision, delete, recycle, attach, stage,
//! publish, map as a block device, expand, and undo each.
//!
//! Knows `model` and the [`host`] under a node; never the cluster. A plugin
//! that needs something of the API (a ConfigMap's contents, a Secret, a
//! recycler pod) returns that need as a value, and its controller performs it.
//!
//! ```text
//!   VolumeSpec ──> Plugins::of(&spec) ──> &dyn VolumePlugin
//!                                            │ provision delete recycle     controller of volumes
//!                                            │ attach detach are_attached   attach/detach controller
//!                                            │ wait_for_attach stage publish
//!                                            │ unpublish unstage map …      node agent
//!                                            ▼
//!                                      host::Host (Simulated | Linux): commands and files
//! ```
//!
//! Which steps a plugin has is in its [`plugin::PluginFacts`]; what became of
//! each kind, with its access modes, is the table [`kinds`]. Every host path
//! is made by [`layout::Layout`].
//!
//! Upstream: `pkg/volume/**`, `staging/src/k8s.io/mount-utils`. Not built yet:
//! CSI drivers (`csi`) and FlexVolume executables (`flex_volume`); both have
//! their rows in [`kinds`], and a volume of either has no plugin unless its
//! FlexVolume driver is the built-in [`block_disk`].

pub mod error;
pub mod host;
pub mod layout;
pub mod plugin;
