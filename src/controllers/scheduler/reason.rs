//! Why a pod is not placed, in Kubernetes' words and in ours.
//!
//! `Display` gives the words of the events; `details` says what was compared.

use std::fmt;
use std::sync::Arc;

use crate::model::fit::Refusals;
use crate::model::node::Taint;
use crate::model::object::Key;
use crate::model::quantity::Quantity;

/// The plugins that can refuse, in the order they are asked. NodeName is left
/// out: a pod that names its node is never scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Plugin {
    NodeUnschedulable,
    TaintToleration,
    NodeAffinity,
    NodePorts,
    NodeResourcesFit,
    VolumeRestrictions,
    NodeVolumeLimits,
    VolumeBinding,
    VolumeZone,
    PodTopologySpread,
    InterPodAffinity,
}

impl Plugin {
    pub const ALL: [Self; 11] = [
        Self::NodeUnschedulable,
        Self::TaintToleration,
        Self::NodeAffinity,
        Self::NodePorts,
        Self::NodeResourcesFit,
        Self::VolumeRestrictions,
        Self::NodeVolumeLimits,
        Self::VolumeBinding,
        Self::VolumeZone,
        Self::PodTopologySpread,
        Self::InterPodAffinity,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::NodeUnschedulable => "NodeUnschedulable",
            Self::TaintToleration => "TaintToleration",
            Self::NodeAffinity => "NodeAffinity",
            Self::NodePorts => "NodePorts",
            Self::NodeResourcesFit => "NodeResourcesFit",
            Self::VolumeRestrictions => "VolumeRestrictions",
            Self::NodeVolumeLimits => "NodeVolumeLimits",
            Self::VolumeBinding => "VolumeBinding",
            Self::VolumeZone => "VolumeZone",
            Self::PodTopologySpread => "PodTopologySpread",
            Self::InterPodAffinity => "InterPodAffinity",
        }
    }
}

/// A set of plugins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Plugins(u16);

impl Plugins {
    pub fn insert(&mut self, plugin: Plugin) {
        self.0 |= 1 << plugin as u16;
    }

    pub fn contains(self, plugin: Plugin) -> bool {
        self.0 & (1 << plugin as u16) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Plugin> for Plugins {
    fn from_iter<I: IntoIterator<Item = Plugin>>(plugins: I) -> Self {
        let mut set = Self::default();
        plugins.into_iter().for_each(|plugin| set.insert(plugin));
        set
    }
}

/// Why one node does not take the pod: the reasons of the first plugin that
/// refused.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeRefusal {
    pub plugin: Plugin,
    pub reasons: Vec<Reason>,
}

impl NodeRefusal {
    /// Whether pods of lower priority that went could make room (upstream:
    /// Unschedulable, not UnschedulableAndUnresolvable).
    pub fn is_resolvable(&self) -> bool {
        self.reasons.iter().all(Reason::is_resolvable)
    }
}

/// One reason against one node.
#[derive(Debug, Clone, PartialEq)]
pub enum Reason {
    Cordoned,
    Taint(Taint),
    /// The pod's node selector or required affinity.
    Affinity,
    /// The pod's affinity names nodes, and this is none of them.
    NotNamed,
    Port {
        port: i64,
    },
    TooManyPods {
        most: i64,
    },
    Insufficient {
        resource: Arc<str>,
        asked: i64,
        free: i64,
        most: i64,
    },
    /// Another pod uses a ReadWriteOncePod claim.
    ClaimInUse {
        claim: Arc<str>,
        by: Key,
    },
    DiskInUse {
        by: Key,
    },
    VolumeLimit {
        driver: Arc<str>,
        most: i64,
    },
    /// A bound claim's volume cannot be used here.
    VolumeElsewhere {
        claim: Arc<str>,
        volume: Arc<str>,
    },
    /// No volume for a claim, and none can be provisioned.
    NothingToBind {
        claim: Arc<str>,
        why: WhyNoVolume,
    },
    NotEnoughSpace {
        claim: Arc<str>,
        asked: Quantity,
    },
    VolumeMissing {
        claim: Arc<str>,
        volume: Arc<str>,
    },
    Zone {
        volume: Arc<str>,
        label: Arc<str>,
    },
    Spread {
        key: Arc<str>,
        missing_label: bool,
    },
    PodAffinity,
    PodAntiAffinity,
    /// A pod that is there does not want this one near.
    ExistingAntiAffinity,
}

/// Why a claim finds no volume on a node.
#[derive(Debug, Clone, PartialEq)]
pub enum WhyNoVolume {
    /// Its volume is being provisioned for another node.
    SelectedElsewhere { node: Arc<str> },
    /// A volume is reserved for it that cannot be used here.
    ReservedElsewhere,
    /// The class has no provisioner; `volumes` counts what speaks against each
    /// (only where asked for: it takes a look at every volume).
    NoProvisioner { volumes: Option<Box<Refusals>> },
    /// The class does not provision for this node.
    Topology,
}

impl Reason {
    /// Whether pods that went could change it.
    pub fn is_resolvable(&self) -> bool {
        match self {
            Self::Port { .. }
            | Self::TooManyPods { .. }
            | Self::ClaimInUse { .. }
            | Self::DiskInUse { .. }
            | Self::VolumeLimit { .. }
            | Self::PodAntiAffinity
            | Self::ExistingAntiAffinity => true,
            Self::Insufficient { asked, most, .. } => asked <= most,
            Self::Spread { missing_label, .. } => !missing_label,
            Self::Cordoned
            | Self::Taint(_)
            | Self::Affinity
            | Self::NotNamed
            | Self::VolumeElsewhere { .. }
            | Self::NothingToBind { .. }
            | Self::NotEnoughSpace { .. }
            | Self::VolumeMissing { .. }
            | Self::Zone { .. }
            | Self::PodAffinity => false,
        }
    }

    /// What was compared, in a sentence of ours.
    pub fn details(&self) -> String {
        match self {
            Self::Cordoned => "it is cordoned".into(),
            Self::Taint(Taint { key, value, effect, .. }) if value.is_empty() => {
                format!("its taint {key}:{effect} is not tolerated")
            }
            Self::Taint(Taint { key, value, effect, .. }) => {
                format!("its taint {key}={value}:{effect} is not tolerated")
            }
            Self::Affinity => "the pod's node selector or affinity does not admit it".into(),
            Self::NotNamed => "the pod's affinity names other nodes".into(),
            Self::Port { port } => format!("port {port} of the node is taken"),
            Self::TooManyPods { most } => format!("it takes {most} pods and has them"),
            Self::Insufficient { resource, asked, free, most } => {
                let amount = |amount: i64| shown(resource, amount);
                format!(
                    "{resource}: {} asked for, {} of {} free",
                    amount(*asked),
                    amount(*free),
                    amount(*most)
                )
            }
            Self::ClaimInUse { claim, by } => {
                format!("claim {claim} is for one pod alone, and {by} uses it")
            }
            Self::DiskInUse { by } => format!("{by} uses the same disk there"),
            Self::VolumeLimit { driver, most } => {
                format!("driver {driver} can attach {most} volumes there, not one more")
            }
            Self::VolumeElsewhere { claim, volume } => {
                format!("claim {claim} is bound to {volume}, which cannot be used there")
            }
            Self::NothingToBind { claim, why } => format!("claim {claim}: {why}"),
            Self::NotEnoughSpace { claim, asked } => {
                format!("claim {claim}: the driver has no {asked} left there")
            }
            Self::VolumeMissing { claim, volume } => {
                format!("claim {claim} is bound to {volume}, which does not exist")
            }
            Self::Zone { volume, label } => {
                format!("volume {volume} is of another {label}")
            }
            Self::Spread { key, missing_label: true } => format!("it has no label {key}"),
            Self::Spread { key, missing_label: false } => {
                format!("its {key} would have too many of these pods")
            }
            Self::PodAffinity => "no pod is there that this one wants to be near".into(),
            Self::PodAntiAffinity => "a pod is there that this one keeps away from".into(),
            Self::ExistingAntiAffinity => "a pod is there that keeps away from this one".into(),
        }
    }
}

/// An amount of a resource for people.
fn shown(resource: &str, amount: i64) -> String {
    match resource {
        "cpu" => format!("{amount}m"),
        "memory" | "ephemeral-storage" => Quantity::bytes(amount).to_string(),
        _ => amount.to_string(),
    }
}

impl fmt::Display for WhyNoVolume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SelectedElsewhere { node } if node.is_empty() => {
                f.write_str("its selected-node annotation is empty")
            }
            Self::SelectedElsewhere { node } => {
                write!(f, "its volume is being provisioned for {node}")
            }
            Self::ReservedElsewhere => {
                f.write_str("the volume reserved for it cannot be used there")
            }
            Self::NoProvisioner { volumes: Some(volumes) } if volumes.volumes > 0 => {
                write!(f, "{volumes}, and its class provisions none")
            }
            Self::NoProvisioner { .. } => {
                f.write_str("no volume fits there, and its class provisions none")
            }
            Self::Topology => f.write_str("its class provisions none for that node"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Self::Cordoned => "node(s) were unschedulable",
            Self::Taint(_) => "node(s) had untolerated taint(s)",
            Self::Affinity => "node(s) didn't match Pod's node affinity/selector",
            Self::NotNamed => "node(s) didn't satisfy plugin(s) [NodeAffinity]",
            Self::Port { .. } => "node(s) didn't have free ports for the requested pod ports",
            Self::TooManyPods { .. } => "Too many pods",
            Self::Insufficient { resource, .. } => return write!(f, "Insufficient {resource}"),
            Self::ClaimInUse { .. } => {
                "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access \
                 mode already in-use by another pod"
            }
            Self::DiskInUse { .. } => "node(s) had no available disk",
            Self::VolumeLimit { .. } => "node(s) exceed max volume count",
            Self::VolumeElsewhere { .. } => "node(s) didn't match PersistentVolume's node affinity",
            Self::NothingToBind { .. } => {
                "node(s) didn't find available persistent volumes to bind"
            }
            Self::NotEnoughSpace { .. } => "node(s) did not have enough free storage",
            Self::VolumeMissing { .. } => {
                "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
            }
            Self::Zone { .. } => "node(s) had no available volume zone",
            Self::Spread { missing_label: false, .. } => {
                "node(s) didn't match pod topology spread constraints"
            }
            Self::Spread { missing_label: true, .. } => {
                "node(s) didn't match pod topology spread constraints (missing required label)"
            }
            Self::PodAffinity => "node(s) didn't match pod affinity rules",
            Self::PodAntiAffinity => "node(s) didn't match pod anti-affinity rules",
            Self::ExistingAntiAffinity => {
                "node(s) didn't satisfy existing pods anti-affinity rules"
            }
        };
        f.write_str(words)
    }
}

/// Why no node is looked at (upstream: PreFilter).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whole {
    ClaimMissing {
        claim: Arc<str>,
    },
    /// The claim of an ephemeral volume is not made yet.
    EphemeralMissing {
        claim: Arc<str>,
    },
    ClaimLost {
        claim: Arc<str>,
        volume: Arc<str>,
    },
    ClaimDeleting {
        claim: Arc<str>,
    },
    NotOwner {
        claim: Key,
        pod: Key,
    },
    /// Claims that the volume controller has to bind first.
    UnboundImmediate {
        claims: Vec<Arc<str>>,
    },
    VolumeMissing {
        volume: Arc<str>,
    },
    /// The pod's affinity asks for nodes of different names at once.
    NamesConflict,
}

impl Whole {
    pub fn plugin(&self) -> Plugin {
        match self {
            Self::ClaimMissing { .. } => Plugin::VolumeRestrictions,
            Self::EphemeralMissing { .. }
            | Self::ClaimLost { .. }
            | Self::ClaimDeleting { .. }
            | Self::NotOwner { .. }
            | Self::UnboundImmediate { .. } => Plugin::VolumeBinding,
            Self::VolumeMissing { .. } => Plugin::VolumeZone,
            Self::NamesConflict => Plugin::NodeAffinity,
        }
    }
}

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClaimMissing { claim } => {
                write!(f, "persistentvolumeclaim \"{claim}\" not found")
            }
            Self::EphemeralMissing { claim } => write!(
                f,
                "waiting for ephemeral volume controller to create the persistentvolumeclaim \
                 \"{claim}\""
            ),
            Self::ClaimLost { claim, volume } => write!(
                f,
                "persistentvolumeclaim \"{claim}\" bound to non-existent persistentvolume \
                 \"{volume}\""
            ),
            Self::ClaimDeleting { claim } => {
                write!(f, "persistentvolumeclaim \"{claim}\" is being deleted")
            }
            Self::NotOwner { claim, pod } => {
                write!(f, "PVC {claim} was not created for pod {pod} (pod is not owner)")
            }
            Self::UnboundImmediate { .. } => {
                f.write_str("pod has unbound immediate PersistentVolumeClaims")
            }
            Self::VolumeMissing { volume } => {
                write!(f, "persistentvolume \"{volume}\" not found")
            }
            Self::NamesConflict => f.write_str("pod affinity terms conflict"),
        }
    }
}
