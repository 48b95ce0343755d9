//! The templates that a set has and has had, as ControllerRevisions
//! (workloads 7).

use std::sync::Arc;

use serde_json::{Value, json};

use crate::controllers::workloads::owners::{adopt, controller_reference};
use crate::controllers::workloads::shell::Act;
use crate::controllers::workloads::stateful_set::decide::View;
use crate::controllers::workloads::stateful_set::set::{REVISION, Set, Update};
use crate::model::kind;
use crate::model::object::ObjectRef;
use crate::model::pod::Pod;
use crate::model::replica_set::ControllerRevision;
use crate::model::template;
use crate::model::write::{Change, Reason, Write};

/// The label with the hash in a revision's name.
const HASH: &str = "controller.kubernetes.io/hash";
/// Names leave room for the hash.
const PREFIX_MAX: usize = 223;

/// The two revisions that pods may be of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revisions {
    /// The one that all pods had when an update was last complete.
    pub current: Arc<str>,
    /// That of the set's template.
    pub update: Arc<str>,
    /// How many names were taken by other templates so far.
    pub collisions: i64,
}

impl Revisions {
    /// The revision that a new pod is made from (upstream:
    /// `newVersionedStatefulSetPod`).
    pub fn for_new_pod(&self, set: &Set, ordinal: i64) -> Arc<str> {
        let keeps = match set.update {
            Update::OnDelete => false,
            Update::Rolling { partition } => {
                ordinal < set.row.start.saturating_add(partition.max(0))
            }
        };
        if keeps { self.current.clone() } else { self.update.clone() }
    }
}

/// The revision that a pod was made from; empty if it does not say.
pub fn of(pod: &Pod) -> &str {
    pod.meta.label(REVISION).unwrap_or_default()
}

/// The revisions as the status names them, for a set that is going.
pub fn find(view: &View) -> Revisions {
    let status = &view.set.status;
    Revisions {
        current: status.current_revision.clone(),
        update: status.update_revision.clone(),
        collisions: status.collisions.unwrap_or(0),
    }
}

/// The set's revisions; `Err`: the write that brings them up to date first.
pub fn settle(view: &View) -> Result<Revisions, Box<Act>> {
    let set = view.set;
    if let Some(orphan) = view.orphan_revisions.iter().find(|held| held.meta.deleting.is_none()) {
        let object = ObjectRef::new(kind::CONTROLLER_REVISION, orphan.meta.key.clone());
        let write = adopt(object, &orphan.meta, &set.reference(), &set.meta().uid);
        return Err(Box::new(Act::silent(write)));
    }
    let digest = set.template_digest();
    let collisions = set.status.collisions.unwrap_or(0) + view.memory.collisions;
    let newest = view.revisions.iter().max_by_key(|held| (held.revision, &held.meta.key.name));
    let equal = view.revisions.iter().filter(|held| held.template == digest);
    let equal = equal.max_by_key(|held| (held.revision, &held.meta.key.name));
    let next = newest.map_or(1, |newest| newest.revision.saturating_add(1));
    let update = match (equal, newest) {
        (Some(equal), Some(newest)) if equal.revision < newest.revision => {
            return Err(Box::new(Act::silent(renumber(set, equal, next))));
        }
        (Some(equal), _) => equal.meta.key.name.clone(),
        (None, _) => {
            return Err(Box::new(Act::silent(create(set, next, collisions))));
        }
    };
    let current = &set.status.current_revision;
    let known = view.revisions.iter().any(|held| held.meta.key.name == *current);
    Ok(Revisions {
        current: if known { current.clone() } else { update.clone() },
        update,
        collisions,
    })
}

/// The name of the revision with this data (upstream: `ControllerRevisionName`).
pub fn name(set: &str, data: &Value, collisions: i64) -> (String, String) {
    let hash = template::revision_hash(&template::canonical(data), collisions);
    let prefix: String = set.chars().take(PREFIX_MAX).collect();
    (format!("{prefix}-{hash}"), hash)
}

fn create(set: &Set, revision: i64, collisions: i64) -> Write {
    let data = set.revision_data();
    let (name, hash) = name(set.name(), &data, collisions);
    let mut labels = set.template["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    labels.insert(HASH.into(), hash.into());
    let owner = controller_reference(kind::STATEFUL_SET, set.name(), &set.meta().uid);
    let mut body = json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {
            "name": name, "namespace": &*set.meta().key.namespace, "labels": labels,
            "ownerReferences": [owner],
        },
        "data": data, "revision": revision,
    });
    // Among them its change-cause, which `kubectl rollout history` shows.
    if set.annotations.is_object() {
        body["metadata"]["annotations"] = set.annotations.clone();
    }
    write(set, &name, Change::Create(body), None, "it keeps the set's new template")
}

/// An older template is the set's again: it becomes the newest.
fn renumber(set: &Set, held: &ControllerRevision, revision: i64) -> Write {
    let patch = Change::Merge(json!({"revision": revision}));
    let why = "the set went back to this template";
    write(set, &held.meta.key.name, patch, Some(held.meta.version), why)
}

fn write(set: &Set, name: &str, change: Change, version: Option<u64>, why: &str) -> Write {
    Write {
        object: ObjectRef::new(kind::CONTROLLER_REVISION, set.key(name)),
        subresource: None,
        change,
        version,
        on_behalf_of: set.reference(),
        reason: Reason::new("SS7", why),
    }
}

/// Deletes the oldest revision that no pod uses, if there are too many.
pub fn truncate(view: &View, revisions: &Revisions) -> Option<Act> {
    let set = view.set;
    let used = |name: &str| {
        name == &*revisions.current
            || name == &*revisions.update
            || view.pods.iter().any(|pod| of(pod) == name)
    };
    let mut unused: Vec<_> =
        view.revisions.iter().filter(|held| !used(&held.meta.key.name)).collect();
    if unused.len() <= set.history {
        return None;
    }
    unused.sort_by_key(|held| (held.revision, held.meta.key.name.clone()));
    let oldest = unused.first()?;
    let options = json!({"preconditions": {"uid": &*oldest.meta.uid}});
    let why = format!("only {} old templates are kept", set.history);
    Some(Act::silent(write(set, &oldest.meta.key.name, Change::Delete(options), None, &why)))
}
