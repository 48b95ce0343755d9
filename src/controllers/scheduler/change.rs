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

/// A change of something that scheduling looks at.
#[derive(Debug, Clone)]
pub enum Change {
    Node {
        before: Option<Arc<Node>>,
        after: Option<Arc<Node>>,
    },
    /// `was_on`: it was on a node before, or on its way to one.
    Pod {
        before: Option<Arc<Pod>>,
        after: Option<Arc<Pod>>,
        was_on: bool,
    },
    Claim {
        before: Option<Arc<Claim>>,
        after: Option<Arc<Claim>>,
    },
    Volume {
        before: Option<Arc<Volume>>,
        after: Option<Arc<Volume>>,
    },
    Class {
        before: Option<Arc<StorageClass>>,
        after: Option<Arc<StorageClass>>,
    },
    CsiNode {
        before: Option<Arc<CsiNode>>,
        after: Option<Arc<CsiNode>>,
    },
    CsiDriver {
        before: Option<Arc<CsiDriver>>,
        after: Option<Arc<CsiDriver>>,
    },
    Capacity {
        before: Option<Arc<CsiCapacity>>,
        after: Option<Arc<CsiCapacity>>,
    },
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
        match self {
            Self::Node { before, after: Some(after) } => {
                node_may_help(before.as_deref(), after, pod, by)
            }
            // A domain less may change how others are spread.
            Self::Node { after: None, .. } => by.contains(Plugin::PodTopologySpread),
            Self::Pod { before, after: None, was_on: true } => {
                before.as_deref().is_some_and(|gone| gone_pod_may_help(gone, pod, by))
            }
            Self::LetGo { pod: gone, volumes } => {
                let frees = |volume: &Arc<Volume>| volume_may_help(cache, volume, pod);
                gone_pod_may_help(gone, pod, by)
                    || by.contains(Plugin::VolumeBinding) && volumes.iter().any(frees)
            }
            Self::Pod { before, after: Some(after), .. } => {
                let relabelled = before.as_ref().is_none_or(|b| b.meta.labels != after.meta.labels);
                let came = before.as_ref().is_none_or(|before| !before.is_scheduled());
                let neighbours =
                    by.contains(Plugin::InterPodAffinity) || by.contains(Plugin::PodTopologySpread);
                after.is_scheduled() && neighbours && (relabelled || came)
            }
            Self::Pod { .. } => false,
            Self::Claim { after: Some(after), .. } => {
                let theirs = |plugin| by.contains(plugin);
                (theirs(Plugin::VolumeBinding)
                    || theirs(Plugin::VolumeRestrictions)
                    || theirs(Plugin::VolumeZone)
                    || theirs(Plugin::NodeVolumeLimits))
                    && uses(pod, &after.meta.key)
            }
            Self::Claim { after: None, .. } => false,
            Self::Volume { after: Some(after), .. } => {
                (by.contains(Plugin::VolumeBinding) || by.contains(Plugin::VolumeZone))
                    && volume_may_help(cache, after, pod)
            }
            Self::Volume { after: None, .. } => false,
            Self::Class { before, after: Some(after) } => {
                let changed = before.as_ref().is_none_or(|before| {
                    before.allowed_topologies != after.allowed_topologies
                        || before.binding_mode != after.binding_mode
                });
                changed
                    && (by.contains(Plugin::VolumeBinding) || by.contains(Plugin::VolumeZone))
                    && names_class(cache, pod, &after.meta.key.name)
            }
            Self::Class { after: None, .. } => false,
            Self::CsiNode { before, after: Some(after) } => {
                before.is_none() && by.contains(Plugin::VolumeBinding)
                    || by.contains(Plugin::NodeVolumeLimits)
                        && before.as_ref().is_none_or(|before| before.drivers != after.drivers)
            }
            Self::CsiNode { after: None, .. } => by.contains(Plugin::NodeVolumeLimits),
            Self::CsiDriver { before, after } => {
                let told = |driver: &Option<Arc<CsiDriver>>| {
                    driver.as_ref().is_some_and(|driver| driver.storage_capacity)
                };
                by.contains(Plugin::VolumeBinding) && told(before) && !told(after)
            }
            Self::Capacity { before, after: Some(after) } => {
                let most = |c: &CsiCapacity| c.largest_volume.or(c.capacity);
                by.contains(Plugin::VolumeBinding)
                    && before.as_ref().is_none_or(|before| {
                        most(before) < most(after) || before.nodes != after.nodes
                    })
                    && names_class(cache, pod, &after.class)
            }
            Self::Capacity { after: None, .. } => false,
            Self::Detached { .. } => by.contains(Plugin::NodeVolumeLimits),
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
