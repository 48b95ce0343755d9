//! What a node has: which volumes are attached, set up for all pods, and
//! mounted for single ones, as far as the agent knows.
//!
//! Upstream: `pkg/kubelet/volumemanager/cache/actual_state_of_world.go`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::quantity::Quantity;
use crate::model::volume_source::VolumeSpec;
use crate::plugins::PluginError;
use crate::plugins::plugin::Published;

/// Whether the attach/detach controller looks after a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attachability {
    True,
    False,
    /// Found after a restart, and the node's status is not read yet.
    Uncertain,
}

/// What is known of the mount, or device, that all pods share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceState {
    NotMounted,
    Uncertain,
    Mounted,
}

/// What is known of one pod's mount. Not mounted is no entry at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MountState {
    Mounted,
    /// Counts as not mounted for the pod's start, and as mounted for taking
    /// away and for ReadWriteOncePod.
    Uncertain,
}

/// What an error says about the state it left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorClass {
    /// The step may be done, or may yet happen.
    Uncertain,
    /// It is certainly not done.
    Final,
}

impl ErrorClass {
    pub fn of(error: &PluginError) -> Self {
        if error.leaves_doubt() { Self::Uncertain } else { Self::Final }
    }
}

/// A volume on a node.
#[derive(Debug, Clone, PartialEq)]
pub struct ActualVolume {
    pub spec: VolumeSpec,
    pub plugin: &'static str,
    pub attachable: Attachability,
    pub device: DeviceState,
    /// Empty if there is none.
    pub device_path: String,
    /// Where it is mounted for all pods; empty if it never was.
    pub device_mount_path: String,
    /// What the node has of it in bytes.
    pub growth: NodeSize,
    /// By pod uid.
    pub pods: BTreeMap<Arc<str>, ActualMount>,
    /// Found on the host after a restart.
    pub is_reconstructed: bool,
}

/// How large a volume is on the node, and what became of growing it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeSize {
    /// `None`: what the claim says.
    pub size: Option<Quantity>,
    /// It cannot grow while it is in use.
    pub is_refused: bool,
    /// The last try has certainly failed.
    pub has_failed: bool,
}

/// A pod's mount of a volume.
#[derive(Debug, Clone, PartialEq)]
pub struct ActualMount {
    pub state: MountState,
    /// To be set up again: what it shows may have changed.
    pub remount: bool,
    /// As this pod uses it.
    pub spec: VolumeSpec,
    /// What the plugin gave; `None` until it did.
    pub published: Option<Published>,
    /// Mapped as a block device.
    pub is_block: bool,
    pub is_reconstructed: bool,
}

impl ActualMount {
    pub fn is_mounted(&self) -> bool {
        self.state == MountState::Mounted
    }
}

/// The volumes of one node by unique name.
#[derive(Debug, Default)]
pub struct Actual {
    pub volumes: BTreeMap<Arc<str>, ActualVolume>,
}

impl Actual {
    pub fn mount(&self, volume: &str, pod: &str) -> Option<&ActualMount> {
        self.volumes.get(volume)?.pods.get(pod)
    }

    /// Whether another pod than this one has the volume, or may have it.
    pub fn is_with_another_pod(&self, volume: &str, pod: &str) -> bool {
        self.volumes.get(volume).is_some_and(|own| own.pods.keys().any(|other| **other != *pod))
    }

    /// The volumes that a pod has, or may have.
    pub fn of_pod<'a>(&'a self, pod: &'a str) -> impl Iterator<Item = &'a Arc<str>> {
        self.volumes
            .iter()
            .filter(|(_, volume)| volume.pods.contains_key(pod))
            .map(|(name, _)| name)
    }
}

/// The state of a pod's mount after a failed try to set it up. Mounted is never
/// demoted: containers may be using it. Nor is one that was found after a
/// restart, for the same reason.
pub fn mount_after(
    before: Option<MountState>,
    class: ErrorClass,
    is_reconstructed: bool,
) -> Option<MountState> {
    match (class, before) {
        (_, Some(MountState::Mounted)) => Some(MountState::Mounted),
        (ErrorClass::Uncertain, _) => Some(MountState::Uncertain),
        (ErrorClass::Final, Some(MountState::Uncertain)) if is_reconstructed => {
            Some(MountState::Uncertain)
        }
        (ErrorClass::Final, _) => None,
    }
}

/// The same for the mount that all pods share.
pub fn device_after(before: DeviceState, class: ErrorClass, is_reconstructed: bool) -> DeviceState {
    match (class, before) {
        (_, DeviceState::Mounted) => DeviceState::Mounted,
        (ErrorClass::Uncertain, _) => DeviceState::Uncertain,
        (ErrorClass::Final, DeviceState::Uncertain) if is_reconstructed => DeviceState::Uncertain,
        (ErrorClass::Final, _) => DeviceState::NotMounted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_mount_leaves_behind_what_its_error_says() {
        use ErrorClass as E;
        use MountState::{Mounted, Uncertain};
        let rows = [
            (None, E::Uncertain, false, Some(Uncertain)),
            (None, E::Final, false, None),
            (Some(Uncertain), E::Uncertain, false, Some(Uncertain)),
            (Some(Uncertain), E::Final, false, None),
            (Some(Uncertain), E::Final, true, Some(Uncertain)),
            (Some(Mounted), E::Uncertain, false, Some(Mounted)),
            (Some(Mounted), E::Final, false, Some(Mounted)),
            (Some(Mounted), E::Final, true, Some(Mounted)),
        ];
        for (before, class, found, after) in rows {
            assert_eq!(mount_after(before, class, found), after, "{before:?} {class:?} {found}");
        }
    }

    #[test]
    fn a_failed_stage_leaves_behind_what_its_error_says() {
        use DeviceState::{Mounted, NotMounted, Uncertain};
        use ErrorClass as E;
        let rows = [
            (NotMounted, E::Uncertain, false, Uncertain),
            (NotMounted, E::Final, false, NotMounted),
            (Uncertain, E::Final, false, NotMounted),
            (Uncertain, E::Final, true, Uncertain),
            (Mounted, E::Final, false, Mounted),
            (Mounted, E::Uncertain, true, Mounted),
        ];
        for (before, class, found, after) in rows {
            assert_eq!(device_after(before, class, found), after, "{before:?} {class:?} {found}");
        }
    }
}
