//! The row of a Node, as far as storage is concerned.

use std::sync::Arc;

use serde_json::Value;

use crate::model::kind::{self, Kind};
use crate::model::object::{Meta, Seconds};
use crate::model::row::{self, Malformed, Row};

/// What decisions and screens need of a Node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub meta: Meta,
    pub ready: Readiness,
    /// When the Ready condition last changed.
    pub ready_since: Option<Seconds>,
    /// `spec.unschedulable`: cordoned.
    pub unschedulable: bool,
    pub taints: Box<[Taint]>,
    /// `status.volumesInUse`: unique volume names that the kubelet still needs.
    pub volumes_in_use: Box<[Arc<str>]>,
    /// The names of `status.volumesAttached`.
    pub volumes_attached: Box<[Arc<str>]>,
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

/// One entry of `spec.taints`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taint {
    pub key: Arc<str>,
    pub value: Arc<str>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: Arc<str>,
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
            unschedulable: spec["unschedulable"].as_bool().unwrap_or(false),
            taints: taints.collect(),
            volumes_in_use: row::strings(&status["volumesInUse"]),
            volumes_attached: attached
                .filter_map(|volume| volume["name"].as_str())
                .map(Arc::from)
                .collect(),
            kubelet: row::text(&status["nodeInfo"]["kubeletVersion"]),
            meta,
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}
