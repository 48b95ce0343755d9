//! What a ReplicaSet calls for next.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::controllers::events::Note;
use crate::controllers::workloads::owners::{self, controller_reference};
use crate::controllers::workloads::replica_set::ranking::rank;
use crate::controllers::workloads::shell::Act;
use crate::controllers::workloads::slow_start::batch_ends_after;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef, Seconds};
use crate::model::pod::Pod;
use crate::model::replica_set::ReplicaSet;
use crate::model::row;
use crate::model::write::{Change, Reason, Write};

/// The most pods that one pass makes or deletes (upstream: `BurstReplicas`).
const BURST: usize = 500;

/// Why a set's `ReplicaFailure` condition is true.
pub const FAILED_CREATE: &str = "FailedCreate";
pub const FAILED_DELETE: &str = "FailedDelete";

/// A ReplicaSet as its controller reads it from the server.
#[derive(Debug, Clone)]
pub struct Set {
    pub row: ReplicaSet,
    pub generation: i64,
    pub template: Value,
    /// `status` as it is, for its conditions and counts.
    pub status: Value,
}

impl Set {
    pub fn reference(&self) -> ObjectRef {
        ObjectRef::new(kind::REPLICA_SET, self.row.meta.key.clone())
    }
}

/// Everything that is known.
pub struct View<'a> {
    pub set: &'a Set,
    /// The pods that it controls.
    pub pods: &'a [Arc<Pod>],
    /// Pods of its namespace without a controller.
    pub orphans: &'a [Arc<Pod>],
    pub now: Seconds,
    pub memory: &'a Memory,
}

/// What this pass has done so far.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    pub writes: usize,
    /// How many pods the server refused.
    pub refused: usize,
    /// Its words when it first did, and which way.
    pub failure: Option<Failure>,
}

/// What went wrong, for the `ReplicaFailure` condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub reason: &'static str,
    pub message: String,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    Act(Box<Act>),
    /// A pod was refused: to be tried again.
    Fail(String),
    Rest {
        wake: Option<i64>,
    },
}

/// What the set calls for next.
pub fn decide(view: &View) -> Next {
    let going = view.set.row.meta.deleting.is_some();
    if !going
        && may_go_on(view.memory)
        && let Some(act) = membership(view).or_else(|| replicas(view))
    {
        return Next::Act(Box::new(act));
    }
    let status = status(view);
    if status != compared(&view.set.status) {
        return Next::Act(Box::new(Act::silent(status_write(view, status))));
    }
    match &view.memory.failure {
        Some(failure) => Next::Fail(failure.message.clone()),
        None if view.memory.writes >= BURST => Next::Rest { wake: Some(1) },
        None => Next::Rest { wake: wake(view) },
    }
}

/// Whether the pass may write more: a batch in which a pod was refused is the
/// last, and a refused deletion ends it.
fn may_go_on(memory: &Memory) -> bool {
    let tries = memory.writes + memory.refused;
    let is_last = |failure: &Failure| failure.reason != FAILED_CREATE || batch_ends_after(tries);
    tries < BURST && !memory.failure.as_ref().is_some_and(is_last)
}

/// Adopts pods that are selected, and lets go of those that are not any more.
fn membership(view: &View) -> Option<Act> {
    let (set, owner) = (&view.set.row, view.set.reference());
    let reference = |pod: &Pod| ObjectRef::new(kind::POD, pod.meta.key.clone());
    let adopted =
        view.orphans.iter().find(|pod| is_active(pod) && set.selector.matches(&pod.meta.labels));
    if let Some(pod) = adopted {
        let write = owners::adopt(reference(pod), &pod.meta, &owner, &set.meta.uid);
        return Some(Act::silent(write));
    }
    let released = view
        .pods
        .iter()
        .find(|pod| pod.meta.deleting.is_none() && !set.selector.matches(&pod.meta.labels))?;
    let write = owners::release(reference(released), &released.meta, &owner, &set.meta.uid);
    Some(Act::silent(write))
}

/// Whether a pod counts: it has not ended and is not being deleted.
pub fn is_active(pod: &Pod) -> bool {
    pod.meta.deleting.is_none() && !has_ended(pod)
}

/// Whether a pod is on its way out, and still holds what it uses.
fn is_terminating(pod: &Pod) -> bool {
    pod.meta.deleting.is_some() && !has_ended(pod)
}

fn has_ended(pod: &Pod) -> bool {
    matches!(&*pod.phase, "Failed" | "Succeeded")
}

fn active<'a>(view: &View<'a>) -> impl Iterator<Item = &'a Arc<Pod>> + use<'a> {
    view.pods.iter().filter(|pod| is_active(pod))
}

/// Makes a missing pod, or deletes one too many.
fn replicas(view: &View) -> Option<Act> {
    let set = &view.set.row;
    let wanted = usize::try_from(set.replicas).unwrap_or(0);
    let mut pods: Vec<Arc<Pod>> = active(view).cloned().collect();
    if pods.len() < wanted {
        let untried = wanted - pods.len() > view.memory.refused;
        return untried.then(|| create(view.set, pods.len()));
    }
    if pods.len() == wanted {
        return None;
    }
    let there = pods.len();
    rank(&mut pods);
    pods.first().map(|pod| delete(view.set, pod, there))
}

fn create(set: &Set, there: usize) -> Act {
    let row = &set.row;
    let prefix = generate_name(&row.meta.key.name);
    let mut metadata = json!({
        "generateName": prefix, "namespace": &*row.meta.key.namespace,
        "ownerReferences":
            [controller_reference(kind::REPLICA_SET, &row.meta.key.name, &row.meta.uid)],
    });
    for field in ["labels", "annotations", "finalizers"] {
        if !set.template["metadata"][field].is_null() {
            metadata[field] = set.template["metadata"][field].clone();
        }
    }
    let body = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": set.template["spec"],
    });
    let key = Key { namespace: row.meta.key.namespace.clone(), name: prefix.into() };
    let write = Write {
        object: ObjectRef::new(kind::POD, key),
        subresource: None,
        change: Change::Create(body),
        version: None,
        on_behalf_of: set.reference(),
        reason: Reason::new(
            "RS1",
            format!("{there} of the {} pods that are wanted exist", row.replicas),
        ),
    };
    Act {
        write,
        // Told by the shell: the pod's name is known only from the answer.
        done: Vec::new(),
        refused: vec![Note::warning(row, FAILED_CREATE, "Error creating: ")],
    }
}

/// What is told of a pod that was made.
pub fn created(set: &ReplicaSet, pod: &str) -> Note {
    Note::normal(set, "SuccessfulCreate", format!("Created pod: {pod}"))
}

/// The prefix of its pods' names.
fn generate_name(set: &str) -> String {
    format!("{set}-")
}

fn delete(set: &Set, pod: &Pod, there: usize) -> Act {
    let name = &pod.meta.key.name;
    let why =
        format!("pods: {there} there, {} wanted, and it is the least of them", set.row.replicas);
    let write = Write {
        object: ObjectRef::new(kind::POD, pod.meta.key.clone()),
        subresource: None,
        change: Change::Delete(json!({"preconditions": {"uid": &*pod.meta.uid}})),
        version: None,
        on_behalf_of: set.reference(),
        reason: Reason::new("RS2", why),
    };
    Act {
        write,
        done: vec![Note::normal(&set.row, "SuccessfulDelete", format!("Deleted pod: {name}"))],
        refused: vec![Note::warning(&set.row, FAILED_DELETE, "Error deleting: ")],
    }
}

/// When a pod becomes available by time alone.
fn wake(view: &View) -> Option<i64> {
    let least = view.set.row.min_ready_seconds;
    let waits = active(view).filter_map(|pod| {
        let left = pod.ready_since? + least - view.now;
        (left > 0).then_some(left)
    });
    waits.min()
}

/// The counts and conditions that the status should have.
fn status(view: &View) -> Value {
    let (set, least) = (&view.set.row, view.set.row.min_ready_seconds);
    let labels = row::pairs(&view.set.template["metadata"]["labels"], |_| true);
    let labelled = |pod: &Arc<Pod>| labels.iter().all(|l| pod.meta.labels.binary_search(l).is_ok());
    let ready: Vec<Seconds> = active(view).filter_map(|pod| pod.ready_since).collect();
    let mut found = json!({
        "replicas": active(view).count(),
        "fullyLabeledReplicas": active(view).filter(|pod| labelled(pod)).count(),
        "readyReplicas": ready.len(),
        "availableReplicas": ready.iter().filter(|since| view.now - **since >= least).count(),
        "terminatingReplicas": view.pods.iter().filter(|pod| is_terminating(pod)).count(),
        "observedGeneration": view.set.generation,
    });
    let held = view.set.status["conditions"].as_array().cloned().unwrap_or_default();
    let mut others: Vec<Value> =
        held.iter().filter(|held| held["type"] != "ReplicaFailure").cloned().collect();
    let complete = active(view).count() == usize::try_from(set.replicas).unwrap_or(0);
    match &view.memory.failure {
        Some(failure) => {
            let now = jiff::Timestamp::from_second(view.now).unwrap_or_default().to_string();
            let known = held
                .iter()
                .find(|held| held["type"] == "ReplicaFailure" && held["reason"] == failure.reason);
            others.push(known.cloned().unwrap_or_else(|| {
                json!({"type": "ReplicaFailure", "status": "True", "reason": failure.reason,
                    "message": failure.message, "lastTransitionTime": now})
            }));
        }
        // What failed before is over once everything is there.
        None if !complete => {
            others.extend(held.into_iter().filter(|held| held["type"] == "ReplicaFailure"));
        }
        None => {}
    }
    if !others.is_empty() {
        found["conditions"] = others.into();
    }
    found
}

/// The part of a status that is decided here, with its zeroes.
fn compared(status: &Value) -> Value {
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    let mut found = json!({
        "replicas": count("replicas"),
        "fullyLabeledReplicas": count("fullyLabeledReplicas"),
        "readyReplicas": count("readyReplicas"),
        "availableReplicas": count("availableReplicas"),
        "terminatingReplicas": count("terminatingReplicas"),
        "observedGeneration": count("observedGeneration"),
    });
    if status["conditions"].as_array().is_some_and(|list| !list.is_empty()) {
        found["conditions"] = status["conditions"].clone();
    }
    found
}

fn status_write(view: &View, mut status: Value) -> Write {
    let set = &view.set.row;
    let why = format!("pods: {} there, {} ready", status["replicas"], status["readyReplicas"]);
    if status["conditions"].is_null() {
        // Left out, a merge would keep those that are there.
        status["conditions"] = Value::Null;
    }
    Write {
        object: view.set.reference(),
        subresource: Some("status"),
        change: Change::Merge(json!({"status": status})),
        version: Some(set.meta.version),
        on_behalf_of: view.set.reference(),
        reason: Reason::new("RS3", why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::row::Row;

    /// A pass over a set without pods, of a server that takes so many of them
    /// and refuses the rest: how many it takes, and how many it refuses.
    fn pass(replicas: i64, takes: usize) -> (usize, usize) {
        let object = json!({
            "metadata": {"name": "app", "namespace": "n", "uid": "u", "resourceVersion": "1"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "app"}},
                "template": {"metadata": {"labels": {"app": "app"}}}},
        });
        let set = Set {
            row: ReplicaSet::from_object(&object).expect("a set"),
            generation: 1,
            template: object["spec"]["template"].clone(),
            status: Value::Null,
        };
        let (mut memory, mut pods) = (Memory::default(), Vec::new());
        loop {
            let view = View { set: &set, pods: &pods, orphans: &[], now: 0, memory: &memory };
            let Next::Act(act) = decide(&view) else { unreachable!("the status is last") };
            if act.write.object.kind == kind::REPLICA_SET {
                return (memory.writes, memory.refused);
            }
            if pods.len() < takes {
                let pod = json!({"metadata": {"name": format!("app-{}", pods.len()),
                    "namespace": "n", "labels": {"app": "app"}}});
                pods.push(Arc::new(Pod::from_object(&pod).expect("a pod")));
                memory.writes += 1;
            } else {
                memory.refused += 1;
                let failure = Failure { reason: FAILED_CREATE, message: "no".into() };
                memory.failure.get_or_insert(failure);
            }
        }
    }

    /// The rows of upstream's `TestSlowStartBatch`, and the most of one pass.
    #[test]
    fn pods_are_made_in_batches_that_double_until_one_is_refused() {
        for (replicas, takes, expected) in [
            (10, 0, (0, 1)),
            (10, 1, (1, 2)),
            (10, 2, (2, 1)),
            (10, 5, (5, 2)),
            (10, 8, (8, 2)),
            (10, 10, (10, 0)),
            (600, 600, (500, 0)),
        ] {
            assert_eq!(pass(replicas, takes), expected, "{takes} of {replicas} are taken");
        }
    }
}
