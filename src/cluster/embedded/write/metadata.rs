//! What the server itself keeps in metadata, whatever a client sends.

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::cluster::embedded::path::ResourcePath;
use crate::cluster::embedded::refusal::bad_request;
use crate::cluster::embedded::status::{ApiError, FieldErrors};

/// Fields that only the server sets.
const SYSTEM: &[&str] = &[
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "managedFields",
    "generation",
    "resourceVersion",
];

/// A moment as the API writes it.
pub fn timestamp(moment: Timestamp) -> Value {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into()
}

/// The metadata of an object, made if absent.
pub fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    let fields = as_map(object);
    as_map(fields.entry("metadata").or_insert(Value::Null))
}

fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(fields) => fields,
        _ => unreachable!("it was just made a map"),
    }
}

/// A text of the metadata; empty if absent.
pub fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// Whether the object is being deleted.
pub fn is_terminating(object: &Value) -> bool {
    !text(object, "deletionTimestamp").is_empty()
}

/// The finalizers of an object.
pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// An object's namespace must be that of the path; absent, it is taken from it.
pub fn settle_namespace(object: &mut Value, path: &ResourcePath) -> Result<(), ApiError> {
    let given = text(object, "namespace").to_owned();
    match path.namespace.as_deref() {
        Some(namespace) if given.is_empty() => {
            metadata(object).insert("namespace".into(), namespace.into());
        }
        Some(namespace) if given != namespace => {
            return Err(bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        Some(_) => {}
        None => {
            metadata(object).shift_remove("namespace");
        }
    }
    Ok(())
}

/// Makes the metadata of a new object: a new identity, nothing that the client
/// may not set.
pub fn begin(object: &mut Value, has_generation: bool, now: Timestamp) {
    let metadata = metadata(object);
    for field in SYSTEM {
        metadata.shift_remove(*field);
    }
    metadata.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
    if has_generation {
        metadata.insert("generation".into(), 1.into());
    }
    metadata.insert("creationTimestamp".into(), timestamp(now));
}

/// Carries over what an update may not change; refuses a try to.
pub fn carry_over(object: &mut Value, old: &Value, errors: &mut FieldErrors) {
    let given = text(object, "creationTimestamp").to_owned();
    if !given.is_empty() && given != text(old, "creationTimestamp") {
        errors.invalid("metadata.creationTimestamp", given, "field is immutable");
    }
    let metadata = metadata(object);
    for field in SYSTEM {
        match &old["metadata"][*field] {
            Value::Null => {
                metadata.shift_remove(*field);
            }
            kept if metadata.get(*field) == Some(kept) => {}
            kept => {
                metadata.insert((*field).into(), kept.clone());
            }
        }
    }
}

/// Drops repeated owner references; a warning if there were any.
pub fn drop_repeated_owners(object: &mut Value) -> Option<String> {
    let owners = metadata(object).get_mut("ownerReferences")?.as_array_mut()?;
    let mut seen: Vec<Value> = Vec::new();
    let mut repeated = Vec::new();
    owners.retain(|owner| {
        let fresh = !seen.contains(owner);
        if fresh {
            seen.push(owner.clone());
        } else {
            repeated.push(owner["uid"].as_str().unwrap_or_default().to_owned());
        }
        fresh
    });
    (!repeated.is_empty()).then(|| {
        format!(
            ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, \
             and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) \
             observed: {}",
            repeated.join(", ")
        )
    })
}

/// Counts the object's generation on.
pub fn raise_generation(object: &mut Value) {
    let metadata = metadata(object);
    if let Some(generation) = metadata.get("generation").and_then(Value::as_i64) {
        metadata.insert("generation".into(), (generation + 1).into());
    }
}
