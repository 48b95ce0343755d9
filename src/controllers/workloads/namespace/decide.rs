//! What a namespace that is going calls for next.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::model::kind::{self, Kind};
use crate::model::object::{Key, Meta, ObjectRef, Seconds};
use crate::model::write::{Change, Reason, Write};

/// The finalizer in `spec` that holds a namespace until it is empty.
const FINALIZER: &str = "kubernetes";

/// Everything that is known.
pub struct View<'a> {
    /// The namespace as the server has it.
    pub namespace: &'a Value,
    pub key: &'a Key,
    /// What is in it, events apart.
    pub content: &'a [(&'static Kind, &'a Meta)],
    /// What this pass has done.
    pub memory: &'a Memory,
    pub now: Seconds,
}

/// What this pass has done so far.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// Collections that were deleted: what is left of them waits.
    pub emptied: Vec<&'static Kind>,
    /// The server's words when it refused.
    pub failure: Option<String>,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    Write(Box<Write>),
    Fail(String),
    Rest(&'static str),
}

/// What the namespace calls for next.
pub fn decide(view: &View) -> Next {
    let metadata = &view.namespace["metadata"];
    if metadata["deletionTimestamp"].is_null() {
        return Next::Rest("it is not being deleted");
    }
    if view.namespace["status"]["phase"] != "Terminating" {
        let patch = json!({"status": {"phase": "Terminating"}});
        return status(view, patch, "it is being deleted");
    }
    let finalizers = view.namespace["spec"]["finalizers"].as_array();
    let ours = finalizers.is_some_and(|list| list.iter().any(|held| held == FINALIZER));
    if !ours {
        return Next::Rest("somebody else's finalizer holds it");
    }
    if let Some(kind) = next_to_empty(view) {
        return empty(view, kind);
    }
    let conditions = conditions(view);
    if view.content.is_empty() && view.memory.failure.is_none() {
        if !view.memory.emptied.contains(&kind::EVENT) {
            return empty(view, kind::EVENT);
        }
        return finalize(view);
    }
    if differ(&conditions, &view.namespace["status"]["conditions"]) {
        let patch = json!({"status": {"conditions": conditions}});
        return status(view, patch, "something is left in it");
    }
    match &view.memory.failure {
        Some(words) => Next::Fail(words.clone()),
        None => Next::Rest("what is left in it has still to go"),
    }
}

/// The next kind of which something is not yet being deleted; nothing but pods
/// while there are any.
fn next_to_empty(view: &View) -> Option<&'static Kind> {
    let has_pods = view.content.iter().any(|(kind, _)| **kind == *kind::POD);
    let mut left = view.content.iter().filter(|(kind, meta)| {
        meta.deleting.is_none()
            && (!has_pods || **kind == *kind::POD)
            && !view.memory.emptied.contains(kind)
    });
    if view.memory.failure.is_some() {
        return None;
    }
    left.next().map(|(kind, _)| *kind)
}

fn empty(view: &View, kind: &'static Kind) -> Next {
    let object = ObjectRef::new(kind, Key::new(view.key.name.clone(), ""));
    let why = if *kind == *kind::POD {
        "the namespace is being deleted, and pods go first"
    } else {
        "the namespace is being deleted, and its pods are gone"
    };
    write(view, object, None, Change::Delete(json!({})), None, "NS2", why)
}

fn status(view: &View, patch: Value, why: &str) -> Next {
    let version = view.namespace["metadata"]["resourceVersion"].as_str();
    let version = version.and_then(|version| version.parse().ok());
    let object = ObjectRef::new(kind::NAMESPACE, view.key.clone());
    write(view, object, Some("status"), Change::Merge(patch), version, "NS1", why)
}

/// The namespace without our finalizer: with no other left it is gone.
fn finalize(view: &View) -> Next {
    let mut namespace = view.namespace.clone();
    if let Some(finalizers) = namespace["spec"]["finalizers"].as_array_mut() {
        finalizers.retain(|held| held != FINALIZER);
    }
    let version = namespace["metadata"]["resourceVersion"].as_str();
    let version = version.and_then(|version| version.parse().ok());
    let object = ObjectRef::new(kind::NAMESPACE, view.key.clone());
    let change = Change::Replace(namespace);
    write(view, object, Some("finalize"), change, version, "NS3", "nothing is left in it")
}

fn write(
    view: &View,
    object: ObjectRef,
    subresource: Option<&'static str>,
    change: Change,
    version: Option<u64>,
    rule: &str,
    why: &str,
) -> Next {
    Next::Write(Box::new(Write {
        object,
        subresource,
        change,
        version,
        on_behalf_of: ObjectRef::new(kind::NAMESPACE, view.key.clone()),
        reason: Reason::new(rule, why),
    }))
}

/// The five conditions of a namespace that is going.
pub fn conditions(view: &View) -> Value {
    let (remaining, finalizers) = remains(view.content);
    let failure = view.memory.failure.as_deref();
    let held = &view.namespace["status"]["conditions"];
    let rows = [
        (
            "NamespaceDeletionDiscoveryFailure",
            false,
            "ResourcesDiscovered",
            "All resources successfully discovered".to_owned(),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            false,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed".to_owned(),
        ),
        match failure {
            Some(words) => (
                "NamespaceDeletionContentFailure",
                true,
                "ContentDeletionFailed",
                format!("Failed to delete all resource types, 1 remaining: {words}"),
            ),
            None => (
                "NamespaceDeletionContentFailure",
                false,
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization".to_owned(),
            ),
        },
        match &remaining {
            Some(what) => (
                "NamespaceContentRemaining",
                true,
                "SomeResourcesRemain",
                format!("Some resources are remaining: {what}"),
            ),
            None => (
                "NamespaceContentRemaining",
                false,
                "ContentRemoved",
                "All content successfully removed".to_owned(),
            ),
        },
        match &finalizers {
            Some(what) => (
                "NamespaceFinalizersRemaining",
                true,
                "SomeFinalizersRemain",
                format!("Some content in the namespace has finalizers remaining: {what}"),
            ),
            None => (
                "NamespaceFinalizersRemaining",
                false,
                "ContentHasNoFinalizers",
                "All content-preserving finalizers finished".to_owned(),
            ),
        },
    ];
    let now = jiff::Timestamp::from_second(view.now).unwrap_or_default();
    let now = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition = |(kind, holds, reason, message): (&str, bool, &str, String)| {
        let status = if holds { "True" } else { "False" };
        let before = held.as_array().and_then(|list| list.iter().find(|c| c["type"] == kind));
        let since = before.filter(|before| before["status"] == status);
        let since = since.map_or(json!(now), |before| before["lastTransitionTime"].clone());
        json!({"type": kind, "status": status, "lastTransitionTime": since,
            "reason": reason, "message": message})
    };
    rows.into_iter().map(condition).collect()
}

/// What is left, and which finalizers hold it: `persistentvolumeclaims. has 1
/// resource instances`.
fn remains(content: &[(&'static Kind, &Meta)]) -> (Option<String>, Option<String>) {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let mut finalizers: BTreeMap<&str, usize> = BTreeMap::new();
    for (kind, meta) in content {
        *kinds.entry(format!("{}.{}", kind.plural, kind.group)).or_default() += 1;
        for finalizer in meta.finalizers.iter() {
            *finalizers.entry(finalizer).or_default() += 1;
        }
    }
    let joined = |parts: Vec<String>| (!parts.is_empty()).then(|| parts.join(", "));
    let kinds = kinds.iter().map(|(kind, n)| format!("{kind} has {n} resource instances"));
    let held = finalizers.iter().map(|(name, n)| format!("{name} in {n} resource instances"));
    (joined(kinds.collect()), joined(held.collect()))
}

/// Whether conditions say something else, times apart.
fn differ(wanted: &Value, held: &Value) -> bool {
    let said = |conditions: &Value| -> Vec<Value> {
        let list = conditions.as_array().into_iter().flatten();
        list.map(|c| json!([c["type"], c["status"], c["reason"], c["message"]])).collect()
    };
    said(wanted) != said(held)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::row;

    fn namespace(extra: Value) -> Value {
        let mut namespace = json!({
            "metadata": {"name": "shop", "deletionTimestamp": "2026-01-01T00:00:00Z",
                "resourceVersion": "9"},
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Terminating"},
        });
        json_patch::merge(&mut namespace, &extra);
        namespace
    }

    fn meta(name: &str, deleting: bool, finalizer: Option<&str>) -> Meta {
        let time = deleting.then_some("2026-01-01T00:00:00Z");
        let object = json!({"metadata": {"name": name, "namespace": "shop",
            "deletionTimestamp": time, "finalizers": finalizer.map(|name| [name])}});
        row::meta(kind::POD, &object).expect("metadata")
    }

    fn next(namespace: &Value, content: &[(&'static Kind, &Meta)], memory: &Memory) -> String {
        let key = Key::cluster("shop");
        let view = View { namespace, key: &key, content, memory, now: 1_800_000_000 };
        match decide(&view) {
            Next::Rest(why) => format!("rest: {why}"),
            Next::Fail(why) => format!("fail: {why}"),
            Next::Write(write) => {
                format!("{} {}/{}", write.verb(), write.object, write.subresource.unwrap_or("-"))
            }
        }
    }

    /// Check 19: pods first and until gone, then the rest, then the namespace.
    #[test]
    fn pods_go_first_then_the_rest_then_the_namespace() {
        let (here, going) = (meta("a", false, None), meta("b", true, None));
        let claim = kind::PERSISTENT_VOLUME_CLAIM;
        let nothing = Memory::default();
        let events_gone = Memory { emptied: vec![kind::EVENT], ..Memory::default() };
        let plain = namespace(json!({}));
        let all: &[(&'static Kind, &Meta)] = &[(claim, &here), (kind::POD, &here)];
        assert_eq!(next(&plain, all, &nothing), "DELETE pods of shop/-");
        // The pod is going: the claim waits for it, and the conditions say so.
        let pod_going: &[(&'static Kind, &Meta)] = &[(claim, &here), (kind::POD, &going)];
        assert_eq!(next(&plain, pod_going, &nothing), "PATCH namespace/shop/status");
        let only_claim: &[(&'static Kind, &Meta)] = &[(claim, &here)];
        assert_eq!(next(&plain, only_claim, &nothing), "DELETE persistentvolumeclaims of shop/-");
        assert_eq!(next(&plain, &[], &nothing), "DELETE events of shop/-");
        assert_eq!(next(&plain, &[], &events_gone), "UPDATE namespace/shop/finalize");
        let active = namespace(json!({"metadata": {"deletionTimestamp": null}}));
        assert_eq!(next(&active, &[], &nothing), "rest: it is not being deleted");
        let unmarked = namespace(json!({"status": {"phase": "Active"}}));
        assert_eq!(next(&unmarked, &[], &nothing), "PATCH namespace/shop/status");
    }

    #[test]
    fn conditions_name_what_is_left_and_what_holds_it() {
        let held = meta("data", true, Some("kubernetes.io/pvc-protection"));
        let set = meta("web", true, None);
        let namespace = namespace(json!({}));
        let content: &[(&'static Kind, &Meta)] =
            &[(kind::PERSISTENT_VOLUME_CLAIM, &held), (kind::STATEFUL_SET, &set)];
        let view = View {
            namespace: &namespace,
            key: &Key::cluster("shop"),
            content,
            memory: &Memory::default(),
            now: 1_800_000_000,
        };
        let conditions = conditions(&view);
        let said = |at: usize| conditions[at]["message"].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            said(3),
            "Some resources are remaining: persistentvolumeclaims. has 1 resource instances, \
             statefulsets.apps has 1 resource instances"
        );
        assert_eq!(
            said(4),
            "Some content in the namespace has finalizers remaining: \
             kubernetes.io/pvc-protection in 1 resource instances"
        );
        assert!(!differ(&conditions, &conditions));
    }
}
