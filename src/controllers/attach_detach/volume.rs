//! A volume as far as attaching is concerned, and its unique name.

use std::sync::Arc;

use crate::model::volume_source::VolumeSpec;

/// The plugin's part of the unique name of every CSI volume.
const CSI: &str = "kubernetes.io/csi";

/// Between driver and handle in a CSI volume's name. A driver's name cannot
/// contain it, a handle can.
const SEPARATOR: char = '^';

/// A volume that can be attached to nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachableVolume {
    /// The name that people are told: the PersistentVolume's, or the pod's own
    /// name of an inline volume.
    pub name: Arc<str>,
    /// Whether more than one node may have it attached at once.
    pub shared: bool,
    pub by: AttachedBy,
}

/// What attaches a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttachedBy {
    /// A plugin in this process.
    Plugin(Arc<VolumeSpec>),
    /// A CSI driver's attacher, told by a VolumeAttachment that names the
    /// PersistentVolume.
    Csi(CsiVolume),
}

/// A volume of a CSI driver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsiVolume {
    pub driver: Arc<str>,
    pub handle: Arc<str>,
}

impl CsiVolume {
    pub fn unique_name(&self) -> Arc<str> {
        format!("{CSI}/{}{SEPARATOR}{}", self.driver, self.handle).into()
    }
}

/// What a unique name says by itself: enough to detach a volume of which only
/// the node's status is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named<'a> {
    Csi {
        driver: &'a str,
        handle: &'a str,
    },
    /// A plugin by its name, and its own name of the volume.
    Plugin {
        plugin: &'a str,
        volume: &'a str,
    },
}

impl<'a> Named<'a> {
    /// Takes a unique name apart: the plugin's name is all before the second
    /// slash. `None` if it is no unique name.
    pub fn read(unique_name: &'a str) -> Option<Self> {
        let slash = unique_name.match_indices('/').nth(1)?.0;
        let (plugin, volume) = (&unique_name[..slash], &unique_name[slash + 1..]);
        if plugin != CSI {
            return Some(Self::Plugin { plugin, volume });
        }
        let (driver, handle) = volume.split_once(SEPARATOR)?;
        Some(Self::Csi { driver, handle })
    }
}

/// Whether several nodes may have it; what is not known may (upstream:
/// `IsMultiAttachAllowed` of no spec).
pub fn is_shared(volume: Option<&AttachableVolume>) -> bool {
    volume.is_none_or(|volume| volume.shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unique_names_are_taken_apart_at_the_second_slash_and_the_first_caret() {
        let csi = CsiVolume { driver: "disk.example".into(), handle: "a/b^c".into() };
        let name = csi.unique_name();
        assert_eq!(&*name, "kubernetes.io/csi/disk.example^a/b^c");
        assert_eq!(
            Named::read(&name),
            Some(Named::Csi { driver: "disk.example", handle: "a/b^c" })
        );
        let plugin = Named::Plugin { plugin: "pvdeck.dev/block-disk", volume: "pv/1" };
        assert_eq!(Named::read("pvdeck.dev/block-disk/pv/1"), Some(plugin));
        for bad in ["", "kubernetes.io/iscsi", "kubernetes.io/csi/no-handle"] {
            assert_eq!(Named::read(bad), None, "{bad}");
        }
    }
}
