//! What a node does next about its volumes: desired and actual state in,
//! actions out.
//!
//! ```text
//!  1  has, not wanted by the pod      -> unmount (or unmap)
//!  2  wanted, not attached            -> wait, verify, or mark attached
//!     wanted, attached, not mounted   -> mount (or map)
//!     mounted, and its volume grew    -> grow
//!  3  no pod has it, nobody wants it  -> unmount the device, or forget
//! ```
//!
//! Steps 1 and 3 only when all pods are known and what was found after a
//! restart has been held against the node's status.
//!
//! Upstream: `pkg/kubelet/volumemanager/reconciler/reconciler.go` and
//! `reconciler_common.go`. SELinux labels are not told apart.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use crate::controllers::node_agent::volumes::actual::{
    Actual, ActualVolume, Attachability, DeviceState, MountState,
};
use crate::controllers::node_agent::volumes::desired::{Desired, DesiredVolume};
use crate::controllers::node_agent::volumes::grow;
use crate::controllers::node_agent::volumes::operations::{
    NotNow, OperationKey, OperationName, Operations,
};
use crate::model::volume::VolumeMode;
use crate::plugins::plugin::{Capability, PluginFacts};

/// What the decision goes by.
pub struct View<'a> {
    pub desired: &'a Desired,
    pub actual: &'a Actual,
    pub operations: &'a Operations,
    pub node: &'a NodeLists,
    /// All pods are known, and so is what was there after a restart.
    pub may_take_away: bool,
    pub now: Timestamp,
}

/// What the API server says of the node's volumes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct NodeLists {
    /// The names in `status.volumesAttached`, as last seen.
    pub attached: BTreeSet<Arc<str>>,
    /// Those of our `status.volumesInUse` that it has accepted.
    pub accepted: BTreeSet<Arc<str>>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Run an operation.
    Begin { key: OperationKey, name: OperationName, pod: Option<Arc<str>> },
    /// The plugin needs no attaching: it is there.
    MarkAttached { volume: Arc<str> },
    /// Nothing of it is left on the node.
    Forget { volume: Arc<str> },
}

/// What to do now, and when to look again.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub actions: Vec<Action>,
    /// The end of the first pause.
    pub wake: Option<Timestamp>,
}

/// Why an attachable volume that is wanted is not looked for yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAttached {
    /// The API server has not accepted it among the node's `volumesInUse`.
    InUseNotAccepted,
    /// The node's status does not list it among `volumesAttached`.
    NotInNodeStatus,
}

impl NotAttached {
    /// In the kubelet's words where it has some.
    pub fn text(self, volume: &str) -> String {
        match self {
            Self::InUseNotAccepted => {
                format!("volume {volume} is not yet reported among the node's volumes in use")
            }
            Self::NotInNodeStatus => format!("volume {volume} is not yet in node's status"),
        }
    }
}

/// Whether an attachable volume may be verified; no error, no pause.
pub fn why_not_verify(
    name: &Arc<str>,
    volume: &DesiredVolume,
    node: &NodeLists,
) -> Option<NotAttached> {
    if !volume.is_attachable() {
        return None;
    }
    if !node.accepted.contains(name) {
        return Some(NotAttached::InUseNotAccepted);
    }
    (!node.attached.contains(name)).then_some(NotAttached::NotInNodeStatus)
}

/// The key of a mount: shared volumes are mounted for one pod after the other.
fn mount_key(facts: &PluginFacts, volume: &Arc<str>, pod: &Arc<str>) -> OperationKey {
    if facts.can(Capability::Attach) || facts.can(Capability::Stage) {
        return OperationKey::volume(volume);
    }
    OperationKey::pod(volume, pod)
}

/// Decides.
pub fn decide(view: &View<'_>) -> Plan {
    let mut planner = Planner { view, plan: Plan::default(), begun: Vec::new() };
    if view.may_take_away {
        planner.unmount();
    }
    planner.mount();
    if view.may_take_away {
        planner.unmount_devices();
    }
    planner.plan
}

struct Planner<'a> {
    view: &'a View<'a>,
    plan: Plan,
    /// What this plan begins: not yet among the operations.
    begun: Vec<OperationKey>,
}

impl Planner<'_> {
    fn is_running(&self, key: &OperationKey) -> bool {
        self.view.operations.is_running(key) || self.begun.iter().any(|own| own.matches(key))
    }

    fn begin(&mut self, key: OperationKey, name: OperationName, pod: Option<&Arc<str>>) {
        if self.is_running(&key) {
            return;
        }
        match self.view.operations.why_not(&key, name, self.view.now) {
            Ok(()) => {
                self.begun.push(key.clone());
                let pod = pod.cloned();
                self.plan.actions.push(Action::Begin { key, name, pod });
            }
            Err(NotNow::Running) => {}
            Err(NotNow::Paused { until }) => {
                let wake = self.plan.wake.map_or(until, |wake| wake.min(until));
                self.plan.wake = Some(wake);
            }
        }
    }

    /// Step 1.
    fn unmount(&mut self) {
        let View { desired, actual, .. } = self.view;
        for (name, volume) in &actual.volumes {
            for (pod, mount) in &volume.pods {
                // A pod that runs may have it, although it could not be read.
                if desired.is_wanted_by(name, pod) || desired.is_incomplete(pod) {
                    continue;
                }
                let operation =
                    if mount.is_block { OperationName::Unmap } else { OperationName::Unmount };
                self.begin(OperationKey::pod(name, pod), operation, Some(pod));
            }
        }
    }

    /// Step 2, in the order in which the volumes came to be wanted: names may
    /// hold uids, which tell nothing.
    fn mount(&mut self) {
        let mut volumes: Vec<_> = self.view.desired.volumes.iter().collect();
        volumes.sort_by_key(|(_, volume)| volume.wanted_first());
        for (name, volume) in volumes {
            for pod in self.in_turn(name, volume) {
                if self.is_running(&OperationKey::volume(name)) {
                    break;
                }
                let there = self.view.actual.volumes.get(name);
                match there.filter(|there| is_attached(volume, there)) {
                    Some(there) => self.mount_for(name, volume, there, pod),
                    None => {
                        self.attach(name, volume);
                        break;
                    }
                }
            }
        }
    }

    /// The pods of a volume as they came to want it, beginning after the one for
    /// which it was tried last: one that is always refused must not keep the
    /// others from it.
    fn in_turn<'b>(&self, name: &str, volume: &'b DesiredVolume) -> Vec<&'b Arc<str>> {
        let mut pods: Vec<_> = volume.pods.iter().collect();
        pods.sort_by_key(|(_, mount)| mount.turn);
        let last = self.view.operations.of(name).and_then(|failed| failed.for_pod.as_ref());
        let tried = last.and_then(|last| pods.iter().position(|(pod, _)| *pod == last));
        pods.rotate_left(tried.map_or(0, |at| at + 1));
        pods.into_iter().map(|(pod, _)| pod).collect()
    }

    fn attach(&mut self, name: &Arc<str>, volume: &DesiredVolume) {
        if !volume.is_attachable() {
            self.plan.actions.push(Action::MarkAttached { volume: name.clone() });
        } else if why_not_verify(name, volume, self.view.node).is_none() {
            self.begin(OperationKey::volume(name), OperationName::Verify, None);
        }
    }

    fn mount_for(
        &mut self,
        name: &Arc<str>,
        volume: &DesiredVolume,
        actual: &ActualVolume,
        pod: &Arc<str>,
    ) {
        // Found after a restart: its device is known with the node's status.
        if volume.is_attachable() && actual.attachable == Attachability::Uncertain {
            return;
        }
        let needed = actual
            .pods
            .get(pod)
            .is_none_or(|mount| mount.remount || mount.state == MountState::Uncertain);
        if !needed {
            self.grow(name, volume, actual, pod);
            return;
        }
        let operation = match volume.spec.mode {
            VolumeMode::Block => OperationName::Map,
            VolumeMode::Filesystem => OperationName::Mount,
        };
        self.begin(mount_key(&volume.facts, name, pod), operation, Some(pod));
    }

    /// What a pod has may have become too small for its volume.
    fn grow(
        &mut self,
        name: &Arc<str>,
        volume: &DesiredVolume,
        actual: &ActualVolume,
        pod: &Arc<str>,
    ) {
        let Some(mount) = volume.pods.get(pod) else { return };
        let growth = mount.growth.as_ref();
        if grow::is_called_for(&volume.facts, &mount.spec, growth, &actual.growth) {
            self.begin(OperationKey::volume(name), OperationName::Grow, Some(pod));
        }
    }

    /// Step 3.
    fn unmount_devices(&mut self) {
        let View { desired, actual, .. } = self.view;
        for (name, volume) in &actual.volumes {
            let key = OperationKey::volume(name);
            let is_needed = !volume.pods.is_empty() || desired.volumes.contains_key(name);
            if is_needed || self.is_running(&key) {
                continue;
            }
            match volume.device {
                DeviceState::NotMounted => {
                    self.plan.actions.push(Action::Forget { volume: name.clone() });
                }
                DeviceState::Mounted | DeviceState::Uncertain => {
                    let operation = match volume.spec.mode {
                        VolumeMode::Block => OperationName::UnmapDevice,
                        VolumeMode::Filesystem => OperationName::UnmountDevice,
                    };
                    self.begin(key, operation, None);
                }
            }
        }
    }
}

/// Whether a volume that is there is attached as well. One that was found after
/// a restart may have been detached meanwhile: it is looked for again.
fn is_attached(wanted: &DesiredVolume, there: &ActualVolume) -> bool {
    !wanted.is_attachable() || there.attachable != Attachability::False
}

/// What `status.volumesInUse` has to be: the attachable volumes that are
/// wanted, and those that are there; sorted.
pub fn in_use(desired: &Desired, actual: &Actual) -> Vec<Arc<str>> {
    let wanted = desired.volumes.iter().filter(|(_, volume)| volume.is_attachable());
    let there = actual.volumes.iter();
    let there = there.filter(|(_, volume)| volume.attachable == Attachability::True);
    let names: BTreeSet<&Arc<str>> =
        wanted.map(|(name, _)| name).chain(there.map(|(name, _)| name)).collect();
    names.into_iter().cloned().collect()
}
