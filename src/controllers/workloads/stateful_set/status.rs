//! The counts of a set's status (workloads 8).

use std::sync::Arc;

use serde_json::{Value, json};

use crate::controllers::workloads::shell::Act;
use crate::controllers::workloads::stateful_set::decide::{Next, View, sorted};
use crate::controllers::workloads::stateful_set::replica::is_at;
use crate::controllers::workloads::stateful_set::revisions::Revisions;
use crate::controllers::workloads::stateful_set::set::{Set, Status, Update};
use crate::model::object::Seconds;
use crate::model::pod::Pod;
use crate::model::write::{Change, Reason, Write};

/// The write that brings the status up to date, if it is not.
///
/// It tells what the pass found at its beginning: pods that the pass itself
/// made or deleted count as before, and their changes wake the next pass.
pub fn decide(view: &View, revisions: &Revisions) -> Option<Next> {
    let before = &view.memory.before;
    let untouched = view.pods.iter().filter(|pod| !before.contains_key(&pod.meta.key.name));
    let pods: Vec<Arc<Pod>> = untouched.chain(before.values().flatten()).cloned().collect();
    let found = count(view.set, &pods, revisions, view.now);
    if found == view.set.status {
        return None;
    }
    let set = view.set;
    let write = Write {
        object: set.reference(),
        subresource: Some("status"),
        change: Change::Merge(json!({"status": as_json(&found)})),
        version: Some(set.meta().version),
        on_behalf_of: set.reference(),
        reason: Reason::new("SS8", why(&set.status, &found)),
    };
    Some(Next::Act(Box::new(Act::silent(write))))
}

/// The status that a set with these pods should have.
pub fn count(set: &Set, pods: &[Arc<Pod>], revisions: &Revisions, now: Seconds) -> Status {
    let mut status = Status {
        observed_generation: set.generation,
        current_revision: revisions.current.clone(),
        update_revision: revisions.update.clone(),
        collisions: Some(revisions.collisions),
        ..Status::default()
    };
    let sorted = sorted(set, pods.iter());
    let all = sorted.in_range.values().chain(sorted.condemned.iter().map(|(_, pod)| pod));
    for pod in all.filter(|pod| !pod.phase.is_empty()) {
        status.replicas += 1;
        // Readiness counts also while a pod is being deleted.
        if let Some(since) = pod.ready_since.filter(|_| &*pod.phase == "Running") {
            status.ready += 1;
            status.available += i64::from(now - since >= set.min_ready_seconds);
        }
        if pod.meta.deleting.is_none() {
            status.current += i64::from(is_at(pod, &revisions.current));
            status.updated += i64::from(is_at(pod, &revisions.update));
        }
    }
    complete_update(set, &mut status);
    status
}

/// An update is complete when all pods are ready at its revision (workloads 4).
fn complete_update(set: &Set, status: &mut Status) {
    if matches!(set.update, Update::Rolling { .. })
        && status.current_revision != status.update_revision
        && status.updated == status.replicas
        && status.ready == status.replicas
        && status.replicas == set.row.replicas
    {
        status.current = status.updated;
        status.current_revision = status.update_revision.clone();
    }
}

fn as_json(status: &Status) -> Value {
    json!({
        "observedGeneration": status.observed_generation,
        "replicas": status.replicas,
        "readyReplicas": status.ready,
        "availableReplicas": status.available,
        "currentReplicas": status.current,
        "updatedReplicas": status.updated,
        "currentRevision": &*status.current_revision,
        "updateRevision": &*status.update_revision,
        "collisionCount": status.collisions.unwrap_or(0),
    })
}

fn why(held: &Status, found: &Status) -> String {
    let counts = |status: &Status| (status.replicas, status.ready, status.current, status.updated);
    if counts(held) != counts(found) {
        return format!("pods: {} there, {} ready", found.replicas, found.ready);
    }
    if held.current_revision != found.current_revision {
        return format!("all pods are of {} now", found.current_revision);
    }
    if held.available != found.available {
        return format!("{} pods were ready for long enough", found.available);
    }
    "the set's new form was looked at".into()
}
