//! The writes to a Deployment's ReplicaSets.

use serde_json::json;

use crate::controllers::events::Note;
use crate::controllers::workloads::deployment::annotations;
use crate::controllers::workloads::deployment::decide::{Split, View, new_replicas};
use crate::controllers::workloads::owners::controller_reference;
use crate::controllers::workloads::shell::Act;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::replica_set::{REVISION, ReplicaSet};
use crate::model::template::{POD_TEMPLATE_HASH, replica_set_hash};
use crate::model::write::{Change, Reason, Write};

/// The ReplicaSet of a new template.
pub fn create(view: &View, split: &Split) -> Act {
    let target = view.target;
    let collisions = target.collisions() + view.collisions;
    let hash = replica_set_hash(target.spec("template"), collisions);
    let name = format!("{}-{hash}", target.row.meta.key.name);
    let replicas = new_replicas(view, split, 0);
    let mut template = target.spec("template").clone();
    template["metadata"]["labels"][POD_TEMPLATE_HASH] = hash.as_str().into();
    let mut selector = target.spec("selector").clone();
    selector["matchLabels"][POD_TEMPLATE_HASH] = hash.as_str().into();
    let owner =
        controller_reference(kind::DEPLOYMENT, &target.row.meta.key.name, &target.row.meta.uid);
    let mut notes = annotations::due(view.target, None, next_revision(split));
    notes.extend(annotations::counts(view.target));
    let body = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": name, "namespace": &*target.row.meta.key.namespace,
            "labels": template["metadata"]["labels"], "annotations": notes,
            "ownerReferences": [owner],
        },
        "spec": {
            "replicas": replicas, "selector": selector, "template": template,
            "minReadySeconds": target.spec("minReadySeconds").as_i64().unwrap_or(0),
        },
    });
    let done = (replicas > 0).then(|| scaled(view, "up", &name, 0, replicas));
    let write =
        write(view, &name, Change::Create(body), None, "D1", "no ReplicaSet has this template");
    let failed = format!("Failed to create new replica set {}: ", quoted(&name));
    let refused = vec![Note::warning(&target.row, "ReplicaSetCreateError", failed)];
    Act { write, done: done.into_iter().collect(), refused }
}

fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

/// The number of a template that was never there before: above all others.
fn next_revision(split: &Split) -> i64 {
    split.old.iter().map(|set| set.revision()).max().unwrap_or(0) + 1
}

/// Brings annotations and `minReadySeconds` of the new ReplicaSet, and the number
/// of the Deployment, up to date.
pub fn annotate(view: &View, split: &Split, new: &ReplicaSet) -> Option<Act> {
    // A template that is taken up again becomes the newest.
    let revision = new.revision().max(next_revision(split));
    let due = annotations::due(view.target, Some(new), revision);
    let least = view.target.spec("minReadySeconds").as_i64().unwrap_or(0);
    if !due.is_empty() || new.min_ready_seconds != least {
        let patch = json!({"metadata": {"annotations": due}, "spec": {"minReadySeconds": least}});
        let (name, version) = (&new.meta.key.name, Some(new.meta.version));
        let why = "it has the present template";
        return Some(Act::silent(write(view, name, Change::Merge(patch), version, "D2", why)));
    }
    let revision = revision.to_string();
    let target = view.target;
    if target.row.meta.annotation(REVISION) == Some(&revision) {
        return None;
    }
    let patch = json!({"metadata": {"annotations": {REVISION: revision}}});
    Some(Act::silent(Write {
        object: target.reference(),
        subresource: None,
        change: Change::Merge(patch),
        version: Some(target.row.meta.version),
        on_behalf_of: target.reference(),
        reason: Reason::new("D2", "its template has a new number"),
    }))
}

/// Scales a ReplicaSet, unless it has so many replicas already.
pub fn scale(view: &View, set: &ReplicaSet, replicas: i64, why: &str) -> Option<Act> {
    if set.replicas == replicas {
        // Only what was wanted then has changed.
        let differs = set.replicas > 0 && set.desired() != Some(view.target.row.replicas);
        return differs.then(|| {
            let patch = json!({"metadata": {"annotations": annotations::counts(view.target)}});
            let (name, version) = (&set.meta.key.name, Some(set.meta.version));
            let why = "another number of pods is wanted";
            Act::silent(write(view, name, Change::Merge(patch), version, "D3", why))
        });
    }
    let name = &set.meta.key.name;
    let patch = json!({"metadata": {"annotations": annotations::counts(view.target)}, "spec": {"replicas": replicas}});
    let direction = if replicas > set.replicas { "up" } else { "down" };
    Some(Act {
        write: write(view, name, Change::Merge(patch), Some(set.meta.version), "D3", why),
        done: vec![scaled(view, direction, name, set.replicas, replicas)],
        refused: Vec::new(),
    })
}

fn scaled(view: &View, direction: &str, name: &str, from: i64, to: i64) -> Note {
    let message = format!("Scaled {direction} replica set {name} from {from} to {to}");
    Note::normal(&view.target.row, "ScalingReplicaSet", message)
}

/// Deletes the oldest ReplicaSet beyond the history, once the roll-out is
/// complete.
pub fn clean_up(view: &View, split: &Split) -> Option<Act> {
    let complete = split.new.is_some_and(|new| {
        let wanted = view.target.row.replicas;
        new.replicas == wanted && new.status.available == wanted
    });
    let limit = view.target.spec("revisionHistoryLimit").as_i64().unwrap_or(10);
    let idle = |set: &&&std::sync::Arc<ReplicaSet>| {
        set.replicas == 0 && set.status.replicas == 0 && set.meta.deleting.is_none()
    };
    let mut unused: Vec<_> = split.old.iter().filter(idle).collect();
    let too_many = i64::try_from(split.old.len()).unwrap_or(i64::MAX) - limit;
    if !complete || too_many <= 0 {
        return None;
    }
    unused.sort_by_key(|set| (set.revision(), set.meta.key.name.clone()));
    let oldest = unused.first()?;
    let options = json!({"preconditions": {"uid": &*oldest.meta.uid}});
    let why = format!("only {limit} old templates are kept");
    let name = &oldest.meta.key.name;
    Some(Act::silent(write(view, name, Change::Delete(options), None, "D4", &why)))
}

fn write(
    view: &View,
    name: &str,
    change: Change,
    version: Option<u64>,
    rule: &str,
    why: &str,
) -> Write {
    let namespace = view.target.row.meta.key.namespace.clone();
    Write {
        object: ObjectRef::new(kind::REPLICA_SET, Key { namespace, name: name.into() }),
        subresource: None,
        change,
        version,
        on_behalf_of: view.target.reference(),
        reason: Reason::new(rule, why),
    }
}
