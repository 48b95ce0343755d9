//! The row of a ReplicaSet.

use serde_json::Value;

use crate::model::kind::{self, Kind};
use crate::model::object::{Meta, Pairs, lookup};
use crate::model::row::{self, Malformed, Row, Sharing};
use crate::model::selector::LabelSelector;
use crate::model::template;

/// What decisions and screens need of a ReplicaSet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaSet {
    pub meta: Meta,
    /// All its annotations: those of its Deployment are copied to it.
    pub annotations: Pairs,
    /// `spec.replicas`; one if unset.
    pub replicas: i64,
    pub min_ready_seconds: i64,
    pub selector: LabelSelector,
    /// What its pod template says; see [`template::digest`].
    pub template: u64,
    pub status: ReplicaSetStatus,
    /// The message of a `ReplicaFailure` condition.
    pub failure: Option<Box<str>>,
}

/// The counts that a ReplicaSet's controller found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplicaSetStatus {
    pub replicas: i64,
    pub ready: i64,
    pub available: i64,
    /// Pods that are being deleted and have not ended; `None` from a
    /// controller that does not count them.
    pub terminating: Option<i64>,
    pub observed_generation: i64,
}

impl ReplicaSet {
    pub fn annotation(&self, key: &str) -> Option<&str> {
        lookup(&self.annotations, key)
    }

    /// The number that its Deployment gave it (annotation
    /// `deployment.kubernetes.io/revision`); 0 without one.
    pub fn revision(&self) -> i64 {
        self.annotation(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// How many pods its Deployment wanted when it was last scaled.
    pub fn desired(&self) -> Option<i64> {
        self.annotation(DESIRED).and_then(|text| text.parse().ok())
    }

    /// How many pods there might have been in all then, surge included.
    pub fn most(&self) -> Option<i64> {
        let most = self.annotation(MAX).and_then(|text| text.parse().ok());
        most.filter(|most| *most > 0)
    }
}

/// Which template of a Deployment came when; on ReplicaSet and Deployment.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// Which numbers a template had before that one, taken up again.
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// How many pods the Deployment wanted in all when a ReplicaSet was scaled.
pub const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// How many there might have been in all then, surge included.
pub const MAX: &str = "deployment.kubernetes.io/max-replicas";

impl Row for ReplicaSet {
    const KIND: &'static Kind = kind::REPLICA_SET;

    fn from_object(object: &Value) -> Result<Self, Malformed> {
        let (spec, status) = (&object["spec"], &object["status"]);
        let count = |field: &str| status[field].as_i64().unwrap_or(0);
        let mut conditions = status["conditions"].as_array().into_iter().flatten();
        let failure = conditions
            .find(|held| held["type"] == "ReplicaFailure" && held["status"] == "True")
            .map(|held| held["message"].as_str().unwrap_or_default().into());
        Ok(Self {
            meta: row::meta(Self::KIND, object)?,
            annotations: row::all_annotations(object),
            replicas: spec["replicas"].as_i64().unwrap_or(1),
            min_ready_seconds: spec["minReadySeconds"].as_i64().unwrap_or(0),
            selector: LabelSelector::from_json(&spec["selector"]).unwrap_or_default(),
            template: template::digest(&spec["template"]),
            status: ReplicaSetStatus {
                replicas: count("replicas"),
                ready: count("readyReplicas"),
                available: count("availableReplicas"),
                terminating: status["terminatingReplicas"].as_i64(),
                observed_generation: count("observedGeneration"),
            },
            failure,
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn share(&mut self, with: &mut dyn Sharing) {
        row::share_meta(&mut self.meta, with);
        with.pairs(&mut self.annotations);
    }
}

/// The row of a ControllerRevision: a template that a StatefulSet has had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControllerRevision {
    pub meta: Meta,
    /// The highest is the newest.
    pub revision: i64,
    /// What its template says; see [`template::digest`].
    pub template: u64,
}

impl Row for ControllerRevision {
    const KIND: &'static Kind = kind::CONTROLLER_REVISION;

    fn from_object(object: &Value) -> Result<Self, Malformed> {
        Ok(Self {
            meta: row::meta(Self::KIND, object)?,
            revision: object["revision"].as_i64().unwrap_or(0),
            template: template::digest(&object["data"]["spec"]["template"]),
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}
