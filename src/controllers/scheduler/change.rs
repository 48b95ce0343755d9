//! What changed, and whether that can help a pod that was refused.
//!
//! Upstream: the queueing hints of the plugins. A pod is looked at again when
//! something changes that the plugins which refused it were asking for, not
//! from time to time.

use std::sync::Arc;

use crate::controllers::scheduler::cache::Cache;
use crate::controllers::scheduler::claims::{is_fully_bound, key_of};
use crate::controllers::scheduler::filters::admitted;
use crate::controllers::scheduler::reason::{Plugin, Plugins};
use crate::model::claim::Claim;
use crate::model::class::StorageClass;
use crate::model::csi::{CsiCapacity, CsiDriver, CsiNode};
use crate::model::fit;
use crate::model::node::Node;
use crate::model::object::Key;
use crate::model::pod::Pod;
use crate::model::volume::{Volume, VolumePhase};

/// An object before a change and after it: not there before it came, and not
/// after it went.
#[derive(Debug)]
pub struct Became<T> {
    pub before: Option<Arc<T>>,
    pub after: Option<Arc<T>>,
}

impl<T> Became<T> {
    /// `None`: there was none, and there is none.
    pub fn of(before: Option<Arc<T>>, after: Option<Arc<T>>) -> Option<Self> {
        (before.is_some() || after.is_some()).then_some(Self { before, after })
    }

    /// The object as it is now, if it is new or differs from before in this.
    fn new_or(&self, differs: impl FnOnce(&T, &T) -> bool) -> Option<&T> {
        let after = self.after.as_deref()?;
        self.before.as_deref().is_none_or(|before| differs(before, after)).then_some(after)
    }
}

/// A change of something that scheduling looks at.
#[derive(Debug)]
pub enum Change {
    Node(Became<Node>),
    /// `was_on`: it was on a node before, or on its way to one.
    Pod {
        pod: Became<Pod>,
        was_on: bool,
    },
    Claim(Became<Claim>),
    Volume(Became<Volume>),
    Class(Became<StorageClass>),
    CsiNode(Became<CsiNode>),
    CsiDriver(Became<CsiDriver>),
    Capacity(Became<CsiCapacity>),
    /// A volume is no longer attached to a node.
    Detached {
        node: Arc<str>,
    },
    /// A pod that was assumed on a node did not get there, and these volumes
    /// are no longer promised to it.
    LetGo {
        pod: Arc<Pod>,
        volumes: Vec<Arc<Volume>>,
    },
}

impl Change {
    /// Whether this can help the pod, which these plugins refused.
    pub fn may_help(&self, cache: &Cache, pod: &Pod, by: Plugins) -> bool {
        let is_by = |plugin| by.contains(plugin);
        let by_volumes = || is_by(Plugin::VolumeBinding) || is_by(Plugin::VolumeZone);
        match self {
            Self::Node(node) => match node.after.as_deref() {
                Some(after) => node_may_help(node.before.as_deref(), after, pod, by),
                // A domain less may change how others are spread.
                None => is_by(Plugin::PodTopologySpread),
            },
            Self::Pod { pod: Became { before: Some(gone), after: None }, was_on } => {
                *was_on && gone_pod_may_help(gone, pod, by)
            }
            Self::Pod { pod: other, .. } => {
                let came = |before: &Pod, after: &Pod| {
                    !before.is_scheduled() || before.meta.labels != after.meta.labels
                };
                (is_by(Plugin::InterPodAffinity) || is_by(Plugin::PodTopologySpread))
                    && other.new_or(came).is_some_and(Pod::is_scheduled)
            }
            Self::LetGo { pod: gone, volumes } => {
                let frees = |volume: &Arc<Volume>| volume_may_help(cache, volume, pod);
                gone_pod_may_help(gone, pod, by)
                    || is_by(Plugin::VolumeBinding) && volumes.iter().any(frees)
            }
            Self::Claim(claim) => {
                let theirs =
                    || is_by(Plugin::VolumeRestrictions) || is_by(Plugin::NodeVolumeLimits);
                (by_volumes() || theirs())
                    && claim.after.as_ref().is_some_and(|after| uses(pod, &after.meta.key))
            }
            Self::Volume(volume) => {
                let after = volume.after.as_ref();
                by_volumes() && after.is_some_and(|after| volume_may_help(cache, after, pod))
            }
            Self::Class(class) => {
                let changed = class.new_or(|before, after| {
                    before.allowed_topologies != after.allowed_topologies
                        || before.binding_mode != after.binding_mode
                });
                by_volumes()
                    && changed.is_some_and(|class| names_class(cache, pod, &class.meta.key.name))
            }
            Self::CsiNode(node) => {
                let limits = || node.new_or(|before, after| before.drivers != after.drivers);
                is_by(Plugin::VolumeBinding) && node.before.is_none()
                    || is_by(Plugin::NodeVolumeLimits)
                        && (node.after.is_none() || limits().is_some())
            }
            Self::CsiDriver(driver) => {
                let told = |driver: &Option<Arc<CsiDriver>>| {
                    driver.as_ref().is_some_and(|driver| driver.storage_capacity)
                };
                is_by(Plugin::VolumeBinding) && told(&driver.before) && !told(&driver.after)
            }
            Self::Capacity(capacity) => {
                let most = |capacity: &CsiCapacity| capacity.largest_volume.or(capacity.capacity);
                let more = capacity.new_or(|before, after| {
                    most(before) < most(after) || before.nodes != after.nodes
                });
                is_by(Plugin::VolumeBinding)
                    && more.is_some_and(|capacity| names_class(cache, pod, &capacity.class))
            }
            Self::Detached { .. } => is_by(Plugin::NodeVolumeLimits),
        }
    }
}

fn node_may_help(before: Option<&Node>, after: &Node, pod: &Pod, by: Plugins) -> bool {
    let Some(before) = before else { return true };
    let relabelled = before.meta.labels != after.meta.labels;
    Plugin::ALL.into_iter().filter(|plugin| by.contains(*plugin)).any(|plugin| match plugin {
        Plugin::NodeUnschedulable => before.unschedulable && !after.unschedulable,
        Plugin::TaintToleration => {
            pod.needs.untolerated(&before.taints).is_some()
                && pod.needs.untolerated(&after.taints).is_none()
        }
        Plugin::NodeAffinity => relabelled && admitted(pod, after),
        Plugin::NodeResourcesFit => {
            before.allocatable != after.allocatable || before.pods_max != after.pods_max
        }
        Plugin::VolumeBinding
        | Plugin::VolumeZone
        | Plugin::PodTopologySpread
        | Plugin::InterPodAffinity => relabelled,
        Plugin::NodePorts | Plugin::VolumeRestrictions | Plugin::NodeVolumeLimits => false,
    })
}

/// A pod left its node.
fn gone_pod_may_help(gone: &Pod, pod: &Pod, by: Plugins) -> bool {
    let shares_claim = || {
        gone.meta.key.namespace == pod.meta.key.namespace
            && gone.claims.iter().any(|a| pod.claims.iter().any(|b| a.claim == b.claim))
    };
    let shares_disk =
        || gone.needs.disks.iter().any(|a| pod.needs.disks.iter().any(|b| a.conflicts(b)));
    Plugin::ALL.into_iter().filter(|plugin| by.contains(*plugin)).any(|plugin| match plugin {
        Plugin::NodeResourcesFit | Plugin::PodTopologySpread | Plugin::InterPodAffinity => true,
        Plugin::NodePorts => gone
            .needs
            .host_ports
            .iter()
            .any(|a| pod.needs.host_ports.iter().any(|b| a.conflicts(b))),
        Plugin::VolumeRestrictions => shares_claim() || shares_disk(),
        Plugin::NodeVolumeLimits => !gone.claims.is_empty(),
        Plugin::NodeUnschedulable
        | Plugin::TaintToleration
        | Plugin::NodeAffinity
        | Plugin::VolumeBinding
        | Plugin::VolumeZone => false,
    })
}

fn uses(pod: &Pod, claim: &Key) -> bool {
    pod.meta.key.namespace == claim.namespace
        && pod.claims.iter().any(|used| used.claim == claim.name)
}

/// Whether the volume is of a claim of the pod, or may become that.
///
/// Upstream wakes every such pod at any change of any volume; with thousands of
/// both that is more than it can look at.
fn volume_may_help(cache: &Cache, volume: &Volume, pod: &Pod) -> bool {
    let claims = pod.claims.iter().filter_map(|used| cache.claims.get(&key_of(pod, used)));
    match &volume.claim_ref {
        Some(by) => uses(pod, &by.key),
        None => claims.into_iter().any(|claim| {
            if is_fully_bound(claim) {
                return claim.volume_name == volume.meta.key.name;
            }
            volume.phase == VolumePhase::Available
                && *volume.class == *claim.effective_class()
                && volume.capacity.is_some_and(|capacity| capacity >= fit::request(claim))
        }),
    }
}

fn names_class(cache: &Cache, pod: &Pod, class: &str) -> bool {
    pod.claims.iter().any(|used| {
        let claim = cache.claims.get(&key_of(pod, used));
        claim.is_some_and(|claim| claim.effective_class() == class)
    })
}
