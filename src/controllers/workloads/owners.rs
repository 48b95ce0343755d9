//! Owner references as they are written, and objects without a controller that
//! may be adopted.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::model::kind::Kind;
use crate::model::object::{Key, Meta, ObjectRef, OwnerReference};
use crate::model::write::{Change, Reason, Write};

/// The reference to a controlling owner, which waits for this object when it is
/// deleted in the foreground.
pub fn controller_reference(kind: &Kind, name: &str, uid: &str) -> Value {
    json!({
        "apiVersion": kind.api_version(), "kind": kind.kind, "name": name, "uid": uid,
        "controller": true, "blockOwnerDeletion": true,
    })
}

/// A reference as it came from the server.
pub fn as_json(owner: &OwnerReference) -> Value {
    let mut reference = json!({
        "apiVersion": &*owner.api_version, "kind": &*owner.kind, "name": &*owner.name,
        "uid": &*owner.uid,
    });
    if owner.controller {
        reference["controller"] = true.into();
    }
    if owner.blocks_deletion {
        reference["blockOwnerDeletion"] = true.into();
    }
    reference
}

/// The write that sets all owner references of an object.
pub fn set_owners(
    object: ObjectRef,
    meta: &Meta,
    owners: Vec<Value>,
    on_behalf_of: &ObjectRef,
    reason: Reason,
) -> Write {
    Write {
        object,
        subresource: None,
        change: Change::Merge(json!({"metadata": {
            "uid": &*meta.uid, "ownerReferences": owners,
        }})),
        version: Some(meta.version),
        on_behalf_of: on_behalf_of.clone(),
        reason,
    }
}

/// The write that makes `owner` the controller of an object that has none
/// (upstream: `ControllerRefManager`).
pub fn adopt(object: ObjectRef, meta: &Meta, owner: &ObjectRef, owner_uid: &str) -> Write {
    let mut owners: Vec<Value> = meta.owners().iter().map(as_json).collect();
    owners.push(controller_reference(owner.kind, &owner.key.name, owner_uid));
    let reason = Reason::new("adopt", "it is selected and has no controller");
    set_owners(object, meta, owners, owner, reason)
}

/// The write that lets an object go whose labels are not selected any more.
pub fn release(object: ObjectRef, meta: &Meta, owner: &ObjectRef, owner_uid: &str) -> Write {
    let kept = meta.owners().iter().filter(|held| &*held.uid != owner_uid);
    let owners = kept.map(as_json).collect();
    let reason = Reason::new("release", "its labels are not selected any more");
    set_owners(object, meta, owners, owner, reason)
}

/// Who controls each object: of a deleted one only its key is told.
#[derive(Debug, Default)]
pub struct Controllers {
    by_object: HashMap<Key, Arc<str>>,
}

impl Controllers {
    /// Notes how an object is now; `None`: it is gone. The uids of those that
    /// control it now and did before.
    pub fn note(&mut self, key: &Key, meta: Option<&Meta>) -> impl Iterator<Item = Arc<str>> {
        let now = meta.and_then(|meta| meta.owner.as_ref()).map(|owner| owner.uid.clone());
        let before = match &now {
            Some(uid) => self.by_object.insert(key.clone(), uid.clone()),
            None => self.by_object.remove(key),
        };
        now.into_iter().chain(before)
    }
}

/// Objects without a controller, by namespace: whoever selects one adopts it.
/// Kept from what changed; without it every pass would walk a namespace.
#[derive(Debug, Default)]
pub struct Orphans {
    by_namespace: HashMap<Arc<str>, BTreeSet<Key>>,
}

impl Orphans {
    /// Notes how an object is now; `None`: it is gone. Whether it is an orphan.
    pub fn note(&mut self, key: &Key, meta: Option<&Meta>) -> bool {
        let is_orphan = meta.is_some_and(|meta| meta.owner.is_none() && meta.deleting.is_none());
        if is_orphan {
            self.by_namespace.entry(key.namespace.clone()).or_default().insert(key.clone());
        } else if let Some(keys) = self.by_namespace.get_mut(&key.namespace) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_namespace.remove(&key.namespace);
            }
        }
        is_orphan
    }

    /// The orphans of a namespace, by name.
    pub fn of(&self, namespace: &str) -> impl Iterator<Item = &Key> {
        self.by_namespace.get(namespace).into_iter().flatten()
    }
}
