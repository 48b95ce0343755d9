//! What one object's owners call for.

use serde_json::{Value, json};

use crate::controllers::workloads::owners::as_json;
use crate::model::object::{Meta, ObjectRef, OwnerReference};
use crate::model::write::{Change, Reason, Write};

/// The finalizer of an object that goes after its dependents.
pub const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an object whose dependents are to be let go first.
pub const ORPHAN: &str = "orphan";

/// How an owner is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// It exists, with the uid that is named.
    There,
    /// There is none of that uid.
    Gone,
    /// It is being deleted and waits for its dependents.
    Waiting,
    /// Its kind is not known here: nothing can be said.
    Unknown,
    /// A namespaced owner of a cluster-wide object: never looked for.
    Invalid,
}

/// A dependent of the object, as far as it matters to it.
#[derive(Debug, Clone)]
pub struct Dependent<'a> {
    pub object: ObjectRef,
    pub meta: &'a Meta,
}

/// Everything that is known of one object.
pub struct View<'a> {
    pub object: &'a ObjectRef,
    pub meta: &'a Meta,
    /// Its owners, each with how it is.
    pub owners: &'a [(OwnerReference, Owner)],
    /// What names it as owner, by its uid.
    pub dependents: &'a [Dependent<'a>],
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    Write(Box<Write>),
    /// Nothing, or nothing before something changes.
    Rest(Rest),
}

/// Why nothing is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rest {
    Owned,
    BeingDeleted,
    WaitsForDependents,
    UnknownOwner { owner: String },
}

impl std::fmt::Display for Rest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Owned => write!(f, "an owner exists, or it never had one"),
            Self::BeingDeleted => write!(f, "it is being deleted"),
            Self::WaitsForDependents => write!(f, "it waits for its dependents"),
            Self::UnknownOwner { owner } => write!(f, "the kind of its owner {owner} is unknown"),
        }
    }
}

/// What the object calls for next (upstream: `attemptToDeleteItem`,
/// `attemptToOrphan`).
pub fn decide(view: &View) -> Next {
    let meta = view.meta;
    if meta.deleting.is_some() {
        if meta.has_finalizer(ORPHAN) {
            return orphan_dependents(view);
        }
        if meta.has_finalizer(FOREGROUND) {
            return after_dependents(view);
        }
        return Next::Rest(Rest::BeingDeleted);
    }
    by_owners(view)
}

/// The dependents lose their reference, then the finalizer goes.
fn orphan_dependents(view: &View) -> Next {
    let Some(dependent) = view.dependents.first() else {
        return remove_finalizer(view, ORPHAN, "its dependents are nobody's now");
    };
    let kept = dependent.meta.owners().iter().filter(|owner| owner.uid != view.meta.uid);
    let owners: Vec<Value> = kept.map(as_json).collect();
    let why = format!("{} goes without its dependents", view.object);
    Next::Write(Box::new(rewrite_owners(&dependent.object, dependent.meta, owners, "GC4", why)))
}

/// The finalizer goes once no dependent is left that blocks. The dependents
/// themselves are decided about one by one: for them the owner is waiting.
fn after_dependents(view: &View) -> Next {
    let blocks = |dependent: &Dependent| {
        let owners = dependent.meta.owners().iter();
        let mut own = owners.filter(|owner| owner.uid == view.meta.uid);
        own.any(|owner| owner.blocks_deletion)
    };
    if view.dependents.iter().any(blocks) {
        return Next::Rest(Rest::WaitsForDependents);
    }
    remove_finalizer(view, FOREGROUND, "its dependents are gone")
}

fn by_owners(view: &View) -> Next {
    let is = |wanted: Owner| move |(_, state): &&(OwnerReference, Owner)| *state == wanted;
    let first = |wanted| view.owners.iter().find(is(wanted)).map(|(owner, _)| owner);
    let named = |owner: &OwnerReference| format!("{}/{}", owner.kind.to_lowercase(), owner.name);
    if first(Owner::Invalid).is_some() {
        return Next::Rest(Rest::Owned);
    }
    if first(Owner::There).is_some() {
        let lost = first(Owner::Gone).or_else(|| first(Owner::Waiting));
        let Some(lost) = lost else { return Next::Rest(Rest::Owned) };
        let kept =
            view.owners.iter().filter(|(_, state)| matches!(state, Owner::There | Owner::Unknown));
        let owners = kept.map(|(owner, _)| as_json(owner)).collect();
        let why = format!("its owner {} is gone, another one exists", named(lost));
        let write = rewrite_owners(view.object, view.meta, owners, "GC1", why);
        return Next::Write(Box::new(write));
    }
    if let Some(owner) = first(Owner::Unknown) {
        return Next::Rest(Rest::UnknownOwner { owner: named(owner) });
    }
    if let Some(owner) = first(Owner::Waiting).filter(|_| !view.dependents.is_empty()) {
        let why = format!("its owner {} is being deleted and waits for it", named(owner));
        return delete(view, "Foreground", "GC2", why);
    }
    let Some(owner) = first(Owner::Gone).or_else(|| first(Owner::Waiting)) else {
        return Next::Rest(Rest::Owned);
    };
    let policy = if view.meta.has_finalizer(ORPHAN) {
        "Orphan"
    } else if view.meta.has_finalizer(FOREGROUND) {
        "Foreground"
    } else {
        "Background"
    };
    delete(view, policy, "GC3", format!("its owner {} is gone", named(owner)))
}

fn delete(view: &View, policy: &str, rule: &str, why: String) -> Next {
    let options = json!({"propagationPolicy": policy, "preconditions": {"uid": &*view.meta.uid}});
    Next::Write(Box::new(Write {
        object: view.object.clone(),
        subresource: None,
        change: Change::Delete(options),
        version: Some(view.meta.version),
        on_behalf_of: view.object.clone(),
        reason: Reason::new(rule, why),
    }))
}

fn rewrite_owners(
    object: &ObjectRef,
    meta: &Meta,
    owners: Vec<Value>,
    rule: &str,
    why: String,
) -> Write {
    crate::controllers::workloads::owners::set_owners(
        object.clone(),
        meta,
        owners,
        object,
        Reason::new(rule, why),
    )
}

fn remove_finalizer(view: &View, finalizer: &str, why: &str) -> Next {
    let left: Vec<&str> =
        view.meta.finalizers.iter().map(|name| &**name).filter(|name| *name != finalizer).collect();
    Next::Write(Box::new(Write {
        object: view.object.clone(),
        subresource: None,
        change: Change::Merge(json!({"metadata": {"finalizers": left}})),
        version: Some(view.meta.version),
        on_behalf_of: view.object.clone(),
        reason: Reason::new("GC5", why),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kind;
    use crate::model::object::Key;
    use crate::model::row;

    fn meta(extra: Value) -> Meta {
        let mut object = json!({"metadata": {"name": "x", "namespace": "n", "uid": "x",
            "resourceVersion": "7"}});
        json_patch::merge(&mut object["metadata"], &extra);
        row::meta(kind::POD, &object).expect("metadata")
    }

    fn owner(uid: &str, state: Owner) -> (OwnerReference, Owner) {
        let owner = OwnerReference {
            api_version: "apps/v1".into(),
            kind: "ReplicaSet".into(),
            name: uid.into(),
            uid: uid.into(),
            controller: true,
            blocks_deletion: true,
        };
        (owner, state)
    }

    fn decided(meta: &Meta, owners: &[(OwnerReference, Owner)], dependents: &[Meta]) -> String {
        let object = ObjectRef::new(kind::POD, Key::new("n", "x"));
        let dependents: Vec<Dependent> = dependents
            .iter()
            .map(|meta| Dependent { object: ObjectRef::new(kind::POD, meta.key.clone()), meta })
            .collect();
        match decide(&View { object: &object, meta, owners, dependents: &dependents }) {
            Next::Rest(rest) => format!("rest: {rest}"),
            Next::Write(write) => {
                let what = match &write.change {
                    Change::Delete(options) => options["propagationPolicy"].to_string(),
                    Change::Merge(patch) => patch["metadata"].to_string(),
                    other => format!("{other:?}"),
                };
                format!("{} {} {what}", write.reason.rule, write.verb())
            }
        }
    }

    /// Check 17: every mix of owners.
    #[test]
    fn owners_decide_what_becomes_of_an_object() {
        use Owner::{Gone, Invalid, There, Unknown, Waiting};
        let plain = meta(json!({}));
        let child = meta(json!({"name": "y", "ownerReferences": [{"uid": "x"}]}));
        let one = std::slice::from_ref(&child);
        let kept = "GC1 PATCH {\"uid\":\"x\",\"ownerReferences\":[{\"apiVersion\":\"apps/v1\",\
                    \"kind\":\"ReplicaSet\",\"name\":\"a\",\"uid\":\"a\",\"controller\":true,\
                    \"blockOwnerDeletion\":true}]}";
        for (owners, dependents, expected) in [
            (vec![], &[][..], "rest: an owner exists, or it never had one"),
            (vec![There], &[], "rest: an owner exists, or it never had one"),
            (vec![There, Gone], &[], kept),
            (vec![There, Waiting], &[], kept),
            (vec![Gone], &[], "GC3 DELETE \"Background\""),
            (vec![Gone, Gone], &[], "GC3 DELETE \"Background\""),
            (vec![Waiting], &[], "GC3 DELETE \"Background\""),
            (vec![Waiting], one, "GC2 DELETE \"Foreground\""),
            (vec![Gone], one, "GC3 DELETE \"Background\""),
            (vec![Unknown], &[], "rest: the kind of its owner replicaset/a is unknown"),
            (vec![Unknown, Gone], &[], "rest: the kind of its owner replicaset/a is unknown"),
            (vec![Invalid], &[], "rest: an owner exists, or it never had one"),
        ] {
            let named: Vec<_> =
                owners.iter().zip(["a", "b"]).map(|(state, uid)| owner(uid, *state)).collect();
            assert_eq!(decided(&plain, &named, dependents), expected, "{owners:?}");
        }
    }

    #[test]
    fn finalizers_say_how_an_object_goes() {
        let going = |finalizer: &str| {
            meta(json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [finalizer]}))
        };
        let dependent = |blocks: bool| {
            meta(json!({"name": "y", "uid": "y", "ownerReferences": [
                {"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "x",
                    "blockOwnerDeletion": blocks},
            ]}))
        };
        let none = "GC5 PATCH {\"finalizers\":[]}";
        for (finalizer, dependents, expected) in [
            (FOREGROUND, vec![], none),
            (FOREGROUND, vec![dependent(true)], "rest: it waits for its dependents"),
            (FOREGROUND, vec![dependent(false)], none),
            (ORPHAN, vec![], none),
            (ORPHAN, vec![dependent(true)], "GC4 PATCH {\"uid\":\"y\",\"ownerReferences\":[]}"),
            ("example.com/mine", vec![dependent(true)], "rest: it is being deleted"),
        ] {
            assert_eq!(decided(&going(finalizer), &[], &dependents), expected, "{finalizer}");
        }
        let own_way = meta(json!({"finalizers": [ORPHAN]}));
        let gone = [owner("a", Owner::Gone)];
        assert_eq!(decided(&own_way, &gone, &[]), "GC3 DELETE \"Orphan\"");
    }
}
