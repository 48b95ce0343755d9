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
//! CSI drivers ([`csi`]) and FlexVolume executables ([`flex_volume`]) are added
//! where there are such; the FlexVolume driver [`block_disk`] is built in.
//!
//! Upstream: `pkg/volume/**`, `staging/src/k8s.io/mount-utils`.

pub mod csi_translation;
pub mod error;
pub mod format_and_mount;
pub mod host;
pub mod kinds;
pub mod layout;
pub mod plugin;
pub mod steps;

pub mod block_disk;
pub mod csi;
pub mod empty_dir;
pub mod fc;
pub mod flex_volume;
pub mod host_path;
pub mod iscsi;
pub mod key_files;
pub mod legacy;
pub mod local;
pub mod nfs;
pub mod recycler_pod;

mod shown;

use std::sync::Arc;

use crate::plugins::host::Disks;
use crate::plugins::plugin::{Plugins, VolumePlugin};
use crate::plugins::shown::Shown;
pub use error::PluginError;

/// The plugins that nodes and the attach/detach controller know. With
/// `legacy_kinds` also those that are in Kubernetes no more, on a generic
/// backend.
pub fn for_nodes(disks: &Arc<dyn Disks>, legacy_kinds: bool) -> Plugins {
    let mut plugins: Vec<Arc<dyn VolumePlugin>> = vec![
        Arc::new(host_path::HostPath::default()),
        Arc::new(local::Local),
        Arc::new(nfs::Nfs),
        Arc::new(empty_dir::EmptyDir),
        Arc::new(key_files::KeyFiles::ConfigMap),
        Arc::new(key_files::KeyFiles::Secret),
        Arc::new(Shown(iscsi::IscsiKind)),
        Arc::new(Shown(fc::FibreChannelKind)),
        Arc::new(block_disk::BlockDisk::new(disks.clone())),
    ];
    if legacy_kinds {
        let gone = kinds::KINDS.iter().filter(|kind| kind.is_gone());
        let legacy = gone.map(|kind| legacy::Legacy::new(kind, disks.clone()));
        plugins.extend(legacy.map(|plugin| Arc::new(plugin) as Arc<dyn VolumePlugin>));
    }
    Plugins::new(plugins)
}
