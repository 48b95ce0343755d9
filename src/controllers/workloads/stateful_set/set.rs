//! A StatefulSet as its controller reads it from the server.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::controllers::workloads::owners::controller_reference;
use crate::model::kind;
use crate::model::object::{Key, Meta, ObjectRef};
use crate::model::row::{self, Malformed, Row};
use crate::model::selector::LabelSelector;
use crate::model::stateful_set::StatefulSet;
use crate::model::template;

/// The label with the pod's own name: a Service can select one pod by it.
pub const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
/// The label with the pod's ordinal.
pub const POD_INDEX: &str = "apps.kubernetes.io/pod-index";
/// The label with the name of the ControllerRevision the pod was made from.
pub const REVISION: &str = "controller-revision-hash";

/// A StatefulSet with its templates.
#[derive(Debug, Clone)]
pub struct Set {
    /// The row of the same object, for notes.
    pub row: StatefulSet,
    pub generation: i64,
    /// `podManagementPolicy: Parallel`: no pod waits for another.
    pub parallel: bool,
    pub update: Update,
    pub min_ready_seconds: i64,
    /// How many revisions that no pod uses are kept.
    pub history: usize,
    pub template: Value,
    pub claim_templates: Vec<Value>,
    /// Its annotations, which its revisions get too.
    pub annotations: Value,
    pub status: Status,
}

/// How pods come to a new template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// When someone deletes them.
    OnDelete,
    /// One by one, from the last index down to `partition`.
    Rolling { partition: i64 },
}

/// `status` of a StatefulSet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    pub observed_generation: i64,
    pub replicas: i64,
    pub ready: i64,
    pub available: i64,
    pub current: i64,
    pub updated: i64,
    pub current_revision: Arc<str>,
    pub update_revision: Arc<str>,
    pub collisions: Option<i64>,
}

impl Set {
    pub fn from_object(object: &Value) -> Result<Self, Malformed> {
        let (spec, status) = (&object["spec"], &object["status"]);
        let count = |field: &str| status[field].as_i64().unwrap_or(0);
        let update = match spec["updateStrategy"]["type"].as_str() {
            Some("OnDelete") => Update::OnDelete,
            _ => Update::Rolling {
                partition: spec["updateStrategy"]["rollingUpdate"]["partition"]
                    .as_i64()
                    .unwrap_or(0),
            },
        };
        // A negative limit keeps all.
        let history = spec["revisionHistoryLimit"].as_i64().unwrap_or(10);
        Ok(Self {
            row: StatefulSet::from_object(object)?,
            generation: object["metadata"]["generation"].as_i64().unwrap_or(0),
            parallel: spec["podManagementPolicy"] == "Parallel",
            update,
            min_ready_seconds: spec["minReadySeconds"].as_i64().unwrap_or(0),
            history: usize::try_from(history).unwrap_or(usize::MAX),
            template: spec["template"].clone(),
            claim_templates: spec["volumeClaimTemplates"].as_array().cloned().unwrap_or_default(),
            annotations: object["metadata"]["annotations"].clone(),
            status: Status {
                observed_generation: count("observedGeneration"),
                replicas: count("replicas"),
                ready: count("readyReplicas"),
                available: count("availableReplicas"),
                current: count("currentReplicas"),
                updated: count("updatedReplicas"),
                current_revision: row::text(&status["currentRevision"]),
                update_revision: row::text(&status["updateRevision"]),
                collisions: status["collisionCount"].as_i64(),
            },
        })
    }

    pub fn meta(&self) -> &Meta {
        &self.row.meta
    }

    pub fn name(&self) -> &str {
        &self.meta().key.name
    }

    pub fn reference(&self) -> ObjectRef {
        ObjectRef::new(kind::STATEFUL_SET, self.meta().key.clone())
    }

    pub fn selector(&self) -> &LabelSelector {
        &self.row.selector
    }

    /// The ordinals that are wanted, in order.
    pub fn ordinals(&self) -> std::ops::Range<i64> {
        let start = self.row.start;
        start..start.saturating_add(self.row.replicas.max(0))
    }

    pub fn pod_name(&self, ordinal: i64) -> String {
        format!("{}-{ordinal}", self.name())
    }

    /// The claims of a pod with their templates, in template order.
    pub fn claims_of(&self, pod: &str) -> impl Iterator<Item = (Arc<str>, &Value)> {
        self.claim_templates.iter().map(move |template| {
            let name = template["metadata"]["name"].as_str().unwrap_or_default();
            (format!("{name}-{pod}").into(), template)
        })
    }

    pub fn key(&self, name: impl Into<Arc<str>>) -> Key {
        Key { namespace: self.meta().key.namespace.clone(), name: name.into() }
    }

    /// The claim made from a template: named, labelled, of nobody.
    pub fn claim(&self, name: &str, template: &Value, match_labels: &Value) -> Value {
        let mut labels = template["metadata"]["labels"].as_object().cloned().unwrap_or_default();
        // The selector's labels win: its pods' claims are found by them.
        labels.extend(match_labels.as_object().cloned().unwrap_or_default());
        let mut metadata = json!({
            "name": name, "namespace": &*self.meta().key.namespace, "labels": labels,
        });
        let annotations = &template["metadata"]["annotations"];
        if annotations.is_object() {
            metadata["annotations"] = annotations.clone();
        }
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": metadata, "spec": template["spec"],
        })
    }

    /// The pod of an ordinal, from a revision's template.
    pub fn pod(&self, ordinal: i64, template: &Value, revision: &str) -> Value {
        let name = self.pod_name(ordinal);
        let mut metadata = json!({
            "name": name, "namespace": &*self.meta().key.namespace,
            "generateName": format!("{}-", self.name()),
        });
        for field in ["labels", "annotations", "finalizers"] {
            if !template["metadata"][field].is_null() {
                metadata[field] = template["metadata"][field].clone();
            }
        }
        for (label, value) in identity_labels(&name, ordinal) {
            metadata["labels"][label] = value.into();
        }
        metadata["labels"][REVISION] = revision.into();
        let owner = controller_reference(kind::STATEFUL_SET, self.name(), &self.meta().uid);
        metadata["ownerReferences"] = json!([owner]);
        let mut spec = template["spec"].clone();
        spec["hostname"] = name.as_str().into();
        spec["subdomain"] = (&*self.row.service).into();
        spec["volumes"] = self.volumes(&name, &template["spec"]["volumes"]);
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    }

    /// A pod's volumes: its claims, then those of the template that no claim
    /// takes the name of.
    fn volumes(&self, pod: &str, of_template: &Value) -> Value {
        let mut volumes: Vec<Value> = Vec::new();
        for (claim, template) in self.claims_of(pod) {
            let name = &template["metadata"]["name"];
            volumes.push(json!({
                "name": name, "persistentVolumeClaim": {"claimName": &*claim},
            }));
        }
        let claims = volumes.len();
        for volume in of_template.as_array().into_iter().flatten() {
            if volumes[..claims].iter().all(|claim| claim["name"] != volume["name"]) {
                volumes.push(volume.clone());
            }
        }
        volumes.into()
    }

    /// The data of the ControllerRevision that holds the set's template.
    pub fn revision_data(&self) -> Value {
        let mut template = self.template.clone();
        template["$patch"] = "replace".into();
        json!({"spec": {"template": template}})
    }

    pub fn template_digest(&self) -> u64 {
        template::digest(&self.template)
    }
}

/// The labels that tell one pod of a set from the others.
pub fn identity_labels(pod: &str, ordinal: i64) -> [(&'static str, String); 2] {
    [(POD_NAME, pod.to_owned()), (POD_INDEX, ordinal.to_string())]
}

/// The set's name and the ordinal that a pod's name consists of (upstream:
/// `getParentNameAndOrdinal`, pattern `(.*)-([0-9]+)$`).
pub fn parse_pod_name(name: &str) -> Option<(&str, i64)> {
    let (set, ordinal) = name.rsplit_once('-')?;
    let digits = !ordinal.is_empty() && ordinal.bytes().all(|digit| digit.is_ascii_digit());
    // The original reads 32 bits, and takes what is larger for no ordinal.
    let ordinal = ordinal.parse::<i32>().ok().filter(|_| digits)?;
    Some((set, i64::from(ordinal)))
}
