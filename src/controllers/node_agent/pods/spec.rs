//! A pod as its node reads it: the parts of the object that decide what runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::model::object::{Key, ObjectRef};
use crate::model::{kind, row};

/// `terminationGracePeriodSeconds` if unset.
const DEFAULT_GRACE_SECONDS: u64 = 30;

/// What becomes of a container that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

/// A pod, whole, with what is read from it often.
#[derive(Debug, Clone, PartialEq)]
pub struct PodObject {
    pub key: Key,
    pub uid: Arc<str>,
    pub version: u64,
    /// Run one after the other before the others.
    pub init: Vec<ContainerSpec>,
    pub containers: Vec<ContainerSpec>,
    pub restart_policy: RestartPolicy,
    pub grace_seconds: u64,
    pub deadline_seconds: Option<i64>,
    /// `metadata.deletionTimestamp` is set.
    pub is_deleting: bool,
    /// `metadata.deletionGracePeriodSeconds`.
    pub deletion_grace_seconds: Option<u64>,
    /// `status.phase` is Succeeded or Failed.
    pub is_terminal: bool,
    pub on_host_network: bool,
    /// The object as the server has it.
    pub value: Value,
}

/// A container of a pod.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerSpec {
    pub name: Arc<str>,
    pub image: Arc<str>,
    pub command: Vec<String>,
    pub args: Vec<String>,
    /// An init container that goes on running (`restartPolicy: Always`).
    pub is_sidecar: bool,
    /// As the pod has it.
    pub value: Value,
}

impl PodObject {
    /// Whether it was deleted at once and only finalizers keep it.
    pub fn is_only_held(&self) -> bool {
        let finalizers = self.value["metadata"]["finalizers"].as_array();
        self.is_deleting
            && self.deletion_grace_seconds == Some(0)
            && finalizers.is_some_and(|list| !list.is_empty())
    }

    /// Reads a pod; `None` if it has no name, uid or version.
    pub fn read(value: Value) -> Option<Self> {
        let metadata = &value["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default();
        let key = Key::new(text("namespace"), text("name"));
        let (uid, version) = (row::text(&metadata["uid"]), text("resourceVersion").parse().ok()?);
        let spec = &value["spec"];
        let containers = |field: &str| {
            let list = spec[field].as_array().map_or(&[][..], Vec::as_slice);
            list.iter().map(ContainerSpec::read).collect()
        };
        if key.name.is_empty() || uid.is_empty() {
            return None;
        }
        Some(Self {
            uid,
            version,
            init: containers("initContainers"),
            containers: containers("containers"),
            restart_policy: match spec["restartPolicy"].as_str() {
                Some("Never") => RestartPolicy::Never,
                Some("OnFailure") => RestartPolicy::OnFailure,
                _ => RestartPolicy::Always,
            },
            grace_seconds: spec["terminationGracePeriodSeconds"]
                .as_u64()
                .unwrap_or(DEFAULT_GRACE_SECONDS),
            deadline_seconds: spec["activeDeadlineSeconds"].as_i64(),
            is_deleting: metadata["deletionTimestamp"].is_string(),
            deletion_grace_seconds: metadata["deletionGracePeriodSeconds"].as_u64(),
            is_terminal: is_terminal(&value["status"]),
            on_host_network: spec["hostNetwork"] == true,
            key,
            value,
        })
    }

    pub fn reference(&self) -> ObjectRef {
        ObjectRef::new(kind::POD, self.key.clone())
    }

    pub fn status(&self) -> &Value {
        &self.value["status"]
    }

    /// All containers, those that come first first.
    pub fn all_containers(&self) -> impl Iterator<Item = &ContainerSpec> {
        self.init.iter().chain(&self.containers)
    }

    /// When its deadline is, once it was started.
    pub fn deadline(&self) -> Option<Timestamp> {
        let started: Timestamp = self.status()["startTime"].as_str()?.parse().ok()?;
        started.checked_add(jiff::SignedDuration::from_secs(self.deadline_seconds?)).ok()
    }

    /// How long its containers may take to end.
    pub fn grace(&self) -> u64 {
        self.deletion_grace_seconds.filter(|_| self.is_deleting).unwrap_or(self.grace_seconds)
    }

    /// The plain environment of a container, and what it asks of the pod.
    pub fn environment(&self, container: &ContainerSpec) -> BTreeMap<String, String> {
        let variables = container.value["env"].as_array().into_iter().flatten();
        let read = |variable: &Value| {
            let name = variable["name"].as_str()?.to_owned();
            if let Some(value) = variable["value"].as_str() {
                return Some((name, value.to_owned()));
            }
            let field = variable["valueFrom"]["fieldRef"]["fieldPath"].as_str()?;
            let pointer = format!("/{}", field.replace('.', "/"));
            Some((name, self.value.pointer(&pointer)?.as_str()?.to_owned()))
        };
        variables.filter_map(read).collect()
    }
}

impl ContainerSpec {
    fn read(value: &Value) -> Self {
        let words = |field: &str| {
            let words = value[field].as_array().into_iter().flatten();
            words.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Self {
            name: row::text(&value["name"]),
            image: row::text(&value["image"]),
            command: words("command"),
            args: words("args"),
            is_sidecar: value["restartPolicy"] == "Always",
            value: value.clone(),
        }
    }
}

/// Whether a status is of a pod that has ended for good.
pub fn is_terminal(status: &Value) -> bool {
    matches!(status["phase"].as_str(), Some("Succeeded" | "Failed"))
}
