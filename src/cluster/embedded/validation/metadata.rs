//! The rules of `metadata`, alike for every kind but for the name's form.

use serde_json::Value;

use super::names::{self, NameRule};
use super::{immutable, too_long};
use crate::cluster::embedded::kinds::json::{entries, integer, is_set, is_true, list, text};
use crate::cluster::embedded::status::FieldErrors;
use crate::model::kind::Kind;

/// Key and value bytes of all annotations together.
const ANNOTATIONS_MAX: usize = 256 << 10;

/// The rules for a new object.
pub fn validate(object: &Value, kind: &Kind, rule: NameRule, errors: &mut FieldErrors) {
    let prefix = text(object, "/metadata/generateName");
    if !prefix.is_empty() {
        // What is generated may complete what the prefix alone is not.
        for wrong in rule(prefix.trim_end_matches(['-', '.'])) {
            errors.invalid("metadata.generateName", prefix, wrong);
        }
    }
    let name = text(object, "/metadata/name");
    if name.is_empty() {
        errors.required("metadata.name", "name or generateName is required");
    } else {
        for wrong in rule(name) {
            errors.invalid("metadata.name", name, wrong);
        }
    }
    let namespace = text(object, "/metadata/namespace");
    match (kind.namespaced, namespace.is_empty()) {
        (true, true) => errors.required("metadata.namespace", ""),
        (true, false) => {
            for wrong in names::label(namespace) {
                errors.invalid("metadata.namespace", namespace, wrong);
            }
        }
        (false, false) => errors.forbidden("metadata.namespace", "not allowed on this type"),
        (false, true) => {}
    }
    if integer(object, "/metadata/generation") < 0 {
        let generation = integer(object, "/metadata/generation");
        errors.invalid("metadata.generation", generation, "must be greater than or equal to 0");
    }
    maps(object, errors);
    owners(object, errors);
    finalizers(object, errors);
}

/// The rules for a changed object. A real server checks these both for all
/// kinds alike and for each kind, so that each refusal has two causes.
pub fn validate_update(object: &Value, old: &Value, errors: &mut FieldErrors) {
    let mut found = FieldErrors::default();
    update_once(object, old, &mut found);
    errors.0.extend(found.0.iter().cloned());
    errors.0.append(&mut found.0);
}

fn update_once(object: &Value, old: &Value, errors: &mut FieldErrors) {
    if is_set(old, "/metadata/deletionTimestamp") {
        no_new_finalizers(object, old, errors);
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        let (new, old) = (&object["metadata"][field], &old["metadata"][field]);
        if new != old {
            immutable(&format!("metadata.{field}"), Some(new), Some(old), errors);
        }
    }
    maps(object, errors);
    owners(object, errors);
}

/// Labels and annotations.
pub fn maps(object: &Value, errors: &mut FieldErrors) {
    labels(object, "/metadata/labels", "metadata.labels", errors);
    annotations(object, "/metadata/annotations", "metadata.annotations", errors);
}

/// The rules of a map of labels.
pub fn labels(object: &Value, pointer: &str, path: &str, errors: &mut FieldErrors) {
    for (key, value) in entries(object, pointer) {
        for wrong in names::qualified(key) {
            errors.invalid(path, key.as_str(), wrong);
        }
        let value = value.as_str().unwrap_or_default();
        for wrong in names::label_value(value) {
            errors.invalid(path, value, wrong);
        }
    }
}

/// The rules of a map of annotations.
pub fn annotations(object: &Value, pointer: &str, path: &str, errors: &mut FieldErrors) {
    let mut size = 0;
    for (key, value) in entries(object, pointer) {
        for wrong in names::qualified(&key.to_lowercase()) {
            errors.invalid(path, key.as_str(), wrong);
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_MAX {
        too_long(path, ANNOTATIONS_MAX, errors);
    }
}

fn owners(object: &Value, errors: &mut FieldErrors) {
    const PATH: &str = "metadata.ownerReferences";
    let mut controller: Option<String> = None;
    for owner in list(object, "/metadata/ownerReferences") {
        for (field, detail) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if text(owner, &format!("/{field}")).is_empty() {
                errors.invalid(format!("{PATH}.{field}"), "", detail);
            }
        }
        if text(owner, "/apiVersion") == "v1" && text(owner, "/kind") == "Event" {
            let detail = "/v1, Kind=Event is disallowed from being an owner";
            errors.invalid(PATH, owner.clone(), detail);
        }
        if is_true(owner, "/controller") {
            let this = format!("{}/{}", text(owner, "/kind"), text(owner, "/name"));
            if let Some(first) = &controller {
                let all = object.pointer("/metadata/ownerReferences").cloned();
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in \
                     references for {first} and {this}"
                );
                errors.invalid(PATH, all.unwrap_or_default(), detail);
            } else {
                controller = Some(this);
            }
        }
    }
}

fn finalizers(object: &Value, errors: &mut FieldErrors) {
    const PATH: &str = "metadata.finalizers";
    const STANDARD: &[&str] = &["kubernetes", "orphan", "foregroundDeletion"];
    let all: Vec<&str> =
        list(object, "/metadata/finalizers").iter().filter_map(Value::as_str).collect();
    for name in &all {
        for wrong in names::qualified(name) {
            errors.invalid(PATH, *name, wrong);
        }
    }
    if all.contains(&"orphan") && all.contains(&"foregroundDeletion") {
        let detail = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.invalid(PATH, all.clone(), detail);
    }
    for (index, name) in all.iter().enumerate() {
        if !name.contains('/') && !STANDARD.contains(name) {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.invalid(format!("{PATH}[{index}]"), *name, detail);
        }
    }
}

fn no_new_finalizers(object: &Value, old: &Value, errors: &mut FieldErrors) {
    let of = |object: &Value| -> Vec<String> {
        let all = list(object, "/metadata/finalizers").iter();
        all.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let before = of(old);
    let mut added: Vec<_> = of(object).into_iter().filter(|name| !before.contains(name)).collect();
    if added.is_empty() {
        return;
    }
    added.sort();
    added.dedup();
    let shown: Vec<_> = added.iter().map(|name| format!("{name:?}")).collect();
    errors.forbidden(
        "metadata.finalizers",
        format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers \
             []string{{{}}}",
            shown.join(", ")
        ),
    );
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::kind;

    #[track_caller]
    fn check(metadata: Value, expected: &[&str]) {
        let object = json!({"metadata": metadata});
        let mut errors = FieldErrors::default();
        validate(&object, kind::PERSISTENT_VOLUME, names::subdomain, &mut errors);
        let texts: Vec<_> = errors.0.iter().map(ToString::to_string).collect();
        assert_eq!(texts, expected);
    }

    #[test]
    fn an_object_needs_a_name_and_a_cluster_scoped_one_no_namespace() {
        check(json!({}), &["metadata.name: Required value: name or generateName is required"]);
        check(
            json!({"name": "a", "namespace": "b"}),
            &["metadata.namespace: Forbidden: not allowed on this type"],
        );
    }

    #[test]
    fn a_finalizer_is_standard_or_qualified() {
        check(
            json!({"name": "a", "finalizers": ["x", "a.b/c", "orphan"]}),
            &[
                "metadata.finalizers[0]: Invalid value: \"x\": name is neither a standard finalizer \
               name nor is it fully qualified",
            ],
        );
    }

    #[test]
    fn a_terminating_object_takes_no_new_finalizer() {
        let old = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/b"]}});
        let mut new = old.clone();
        new["metadata"]["finalizers"] = json!(["a/b", "x.example.com/y"]);
        let mut errors = FieldErrors::default();
        validate_update(&new, &old, &mut errors);
        let expected = "metadata.finalizers: Forbidden: no new finalizers can be added if the \
                        object is being deleted, found new finalizers []string{\"x.example.com/y\"}";
        let texts: Vec<_> = errors.0.iter().map(ToString::to_string).collect();
        assert_eq!(texts, [expected, expected]);
    }
}
