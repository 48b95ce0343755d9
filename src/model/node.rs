//! The row of a Node, as far as storage is concerned.

use std::sync::Arc;

use serde_json::Value;

use crate::model::kind::{self, Kind};
use crate::model::object::{Meta, Seconds};
use crate::model::resources::Resources;
use crate::model::row::{self, Malformed, Row};

/// Annotation of a node whose kubelet leaves attaching to the controller.
pub const CONTROLLER_MANAGED: &str = "volumes.kubernetes.io/controller-managed-attach-detach";

/// What decisions and screens need of a Node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub meta: Meta,
    pub ready: Readiness,
    /// When the Ready condition last changed.
    pub ready_since: Option<Seconds>,
    /// The Ready condition's `lastHeartbeatTime`.
    pub heartbeat: Option<Seconds>,
    /// Type and status of every condition.
    pub conditions: Box<[(Arc<str>, Arc<str>)]>,
    /// `spec.unschedulable`: cordoned.
    pub unschedulable: bool,
    pub taints: Box<[Taint]>,
    /// `status.volumesInUse`: unique volume names that the kubelet still needs.
    pub volumes_in_use: Box<[Arc<str>]>,
    /// `status.volumesAttached`: what the node may mount.
    pub volumes_attached: Box<[AttachedVolume]>,
    /// `status.allocatable`, pods apart.
    pub allocatable: Box<Resources>,
    /// How many pods it takes.
    pub pods_max: i64,
    /// `status.nodeInfo.kubeletVersion`, empty if unset.
    pub kubelet: Arc<str>,
}

/// The status of the Ready condition; a missing one is `Unknown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Readiness {
    Ready,
    NotReady,
    Unknown,
}

impl Readiness {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::NotReady => "NotReady",
            Self::Unknown => "Unknown",
        }
    }
}

/// One entry of `status.volumesAttached`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttachedVolume {
    /// The unique volume name.
    pub name: Arc<str>,
    /// The device on the node; empty if there is none to tell.
    pub device_path: Arc<str>,
}

/// One entry of `spec.taints`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taint {
    pub key: Arc<str>,
    pub value: Arc<str>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: Arc<str>,
}

impl Node {
    /// Whether the attach/detach controller looks after its volumes; the
    /// annotation's value does not matter.
    pub fn is_managed(&self) -> bool {
        self.meta.annotation(CONTROLLER_MANAGED).is_some()
    }

    /// The status of a condition: `True`, `False`, `Unknown`; `None` if the
    /// node has no such condition.
    pub fn condition(&self, of_type: &str) -> Option<&str> {
        let mut conditions = self.conditions.iter();
        conditions.find(|(held, _)| &**held == of_type).map(|(_, status)| &**status)
    }

    /// The names of `status.volumesAttached`.
    pub fn attached_names(&self) -> impl Iterator<Item = &str> + Clone {
        self.volumes_attached.iter().map(|volume| &*volume.name)
    }
}

impl Row for Node {
    const KIND: &'static Kind = kind::NODE;

    fn from_object(object: &Value) -> Result<Self, Malformed> {
        let meta = row::meta(Self::KIND, object)?;
        let (spec, status) = (&object["spec"], &object["status"]);
        let ready = status["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == "Ready")
            .unwrap_or(&Value::Null);
        let taints = spec["taints"].as_array().into_iter().flatten().map(|taint| Taint {
            key: row::text(&taint["key"]),
            value: row::text(&taint["value"]),
            effect: row::text(&taint["effect"]),
        });
        let attached = status["volumesAttached"].as_array().into_iter().flatten();
        Ok(Self {
            ready: match ready["status"].as_str() {
                Some("True") => Readiness::Ready,
                Some("False") => Readiness::NotReady,
                _ => Readiness::Unknown,
            },
            ready_since: row::seconds(&ready["lastTransitionTime"]),
            heartbeat: row::seconds(&ready["lastHeartbeatTime"]),
            conditions: status["conditions"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|held| (row::text(&held["type"]), row::text(&held["status"])))
                .collect(),
            unschedulable: spec["unschedulable"].as_bool().unwrap_or(false),
            taints: taints.collect(),
            volumes_in_use: row::strings(&status["volumesInUse"]),
            volumes_attached: attached
                .filter_map(|volume| {
                    let name = volume["name"].as_str()?.into();
                    Some(AttachedVolume { name, device_path: row::text(&volume["devicePath"]) })
                })
                .collect(),
            allocatable: Box::new(Resources::from_json(
                &status["allocatable"],
                &Resources::default(),
            )),
            pods_max: row::quantity::<Self>(
                &meta,
                &status["allocatable"]["pods"],
                "status.allocatable.pods",
            )?
            .and_then(|pods| pods.units().try_into().ok())
            .unwrap_or(0),
            kubelet: row::text(&status["nodeInfo"]["kubeletVersion"]),
            meta,
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}
