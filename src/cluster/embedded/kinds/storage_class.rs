//! StorageClasses: how volumes of a class are made and bound.

use jiff::Timestamp;
use serde_json::Value;

use super::class_parts;
use super::json::{annotation, fill, is_true, list, text};
use super::table::{AGE, NAME, age, column, or};
use super::volume_spec::deprecated_label;
use crate::cluster::embedded::kind::{Column, ServedKind, Traits};
use crate::cluster::embedded::status::FieldErrors;
use crate::cluster::embedded::validation::{duplicate, immutable, metadata, names};
use crate::model::kind;

/// StorageClasses as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::STORAGE_CLASS,
    traits: Traits { delete_returns_object: true, ..super::PLAIN },
    columns: COLUMNS,
    cells,
    default,
    validate,
    validate_update,
    warnings,
    ..super::BASE
};

const COLUMNS: &[Column] = &[
    NAME,
    column("Provisioner", "Who makes volumes of this class."),
    column("ReclaimPolicy", "What becomes of its volumes when their claim is gone."),
    column("VolumeBindingMode", "Whether claims are bound at once or with their first pod."),
    column("AllowVolumeExpansion", "Whether claims of this class may grow."),
    AGE,
];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut name = text(object, "/metadata/name").to_owned();
    if is_default(object) {
        name.push_str(" (default)");
    }
    vec![
        name.into(),
        text(object, "/provisioner").into(),
        or(text(object, "/reclaimPolicy"), "Delete").into(),
        or(text(object, "/volumeBindingMode"), "Immediate").into(),
        is_true(object, "/allowVolumeExpansion").into(),
        age(object, now),
    ]
}

/// Whether the class is marked as the default, by the annotation or its
/// predecessor.
pub fn is_default(class: &Value) -> bool {
    [
        "storageclass.kubernetes.io/is-default-class",
        "storageclass.beta.kubernetes.io/is-default-class",
    ]
    .into_iter()
    .any(|key| annotation(class, key) == Some("true"))
}

fn default(object: &mut Value) {
    fill(object, "reclaimPolicy", "Delete");
    fill(object, "volumeBindingMode", "Immediate");
}

fn validate(object: &Value, errors: &mut FieldErrors) {
    metadata::validate(object, kind::STORAGE_CLASS, names::subdomain, errors);
    class_parts::provisioner(text(object, "/provisioner"), "provisioner", errors);
    class_parts::parameters(object, false, errors);
    let policy = text(object, "/reclaimPolicy");
    if !matches!(policy, "" | "Delete" | "Retain") {
        errors.not_supported("reclaimPolicy", policy, &["Delete", "Retain"]);
    }
    let mode = text(object, "/volumeBindingMode");
    if mode.is_empty() {
        errors.required("volumeBindingMode", "");
    } else if !matches!(mode, "Immediate" | "WaitForFirstConsumer") {
        errors.not_supported("volumeBindingMode", mode, &["Immediate", "WaitForFirstConsumer"]);
    }
    allowed_topologies(object, errors);
}

fn allowed_topologies(class: &Value, errors: &mut FieldErrors) {
    let mut terms: Vec<&[Value]> = Vec::new();
    for (index, term) in list(class, "/allowedTopologies").iter().enumerate() {
        let path = format!("allowedTopologies[{index}].matchLabelExpressions");
        let expressions = list(term, "/matchLabelExpressions");
        let mut keys = Vec::new();
        for (at, expression) in expressions.iter().enumerate() {
            let path = format!("{path}[{at}]");
            let mut values: Vec<&Value> = Vec::new();
            if list(expression, "/values").is_empty() {
                errors.required(format!("{path}.values"), "");
            }
            for (place, value) in list(expression, "/values").iter().enumerate() {
                if values.contains(&value) {
                    duplicate(format!("{path}.values[{place}]"), value.clone(), errors);
                }
                values.push(value);
            }
            let key = text(expression, "/key");
            for wrong in names::qualified(key) {
                errors.invalid(format!("{path}.key"), key, wrong);
            }
            if keys.contains(&key) {
                duplicate(format!("{path}.key"), key, errors);
            }
            keys.push(key);
        }
        if terms.contains(&expressions) {
            duplicate(path, "", errors);
        }
        terms.push(expressions);
    }
}

fn validate_update(object: &Value, old: &Value, _: Option<&str>, errors: &mut FieldErrors) {
    metadata::validate_update(object, old, errors);
    validate(object, errors);
    for field in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
        immutable(field, object.get(field), old.get(field), errors);
    }
}

fn warnings(object: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    for (index, term) in list(object, "/allowedTopologies").iter().enumerate() {
        for (at, expression) in list(term, "/matchLabelExpressions").iter().enumerate() {
            if let Some(warning) = deprecated_label(text(expression, "/key")) {
                warnings.push(format!(
                    "allowedTopologies[{index}].matchLabelExpressions[{at}].key: {warning}"
                ));
            }
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::*;
    use super::*;

    fn base() -> Value {
        json!({"metadata": {"name": "a"}, "provisioner": "p.example.com"})
    }

    #[test]
    fn a_new_class_is_refused_for_what_is_wrong_with_it() {
        let topology = |values: Value| json!({"allowedTopologies": [{"matchLabelExpressions": [{"key": "zone", "values": values}]}]});
        check_refusals(
            &ROW,
            &base(),
            &[
                (json!({}), &[]),
                (topology(json!(["a", "b"])), &[]),
                (json!({"provisioner": ""}), &["provisioner: Required value"]),
                (
                    json!({"reclaimPolicy": "Recycle"}),
                    &[
                        "reclaimPolicy: Unsupported value: \"Recycle\": supported values: \"Delete\", \
                 \"Retain\"",
                    ],
                ),
                (
                    json!({"parameters": {"": "x"}}),
                    &["parameters: Invalid value: \"\": field can not be empty."],
                ),
                (
                    json!({"parameters": {"a": "x".repeat(262_144)}}),
                    &["parameters: Too long: may not be more than 262144 bytes"],
                ),
                (
                    topology(json!([])),
                    &["allowedTopologies[0].matchLabelExpressions[0].values: Required value"],
                ),
                (
                    topology(json!(["a", "a"])),
                    &[
                        "allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: \"a\"",
                    ],
                ),
            ],
        );
    }

    #[test]
    fn a_stored_class_keeps_what_its_volumes_were_made_by() {
        let mut body = base();
        body["metadata"]["resourceVersion"] = "1".into();
        let stored = taken(&ROW, &body, &Objects(Vec::new())).expect("a class");
        check_changes(
            &ROW,
            &stored,
            &[
                (json!({"allowVolumeExpansion": true, "mountOptions": ["ro"]}), &[]),
                (
                    json!({"parameters": {"a": "b"}}),
                    &["parameters: Invalid value: {\"a\":\"b\"}: field is immutable"],
                ),
                (
                    json!({"volumeBindingMode": "WaitForFirstConsumer"}),
                    &[
                        "volumeBindingMode: Invalid value: \"WaitForFirstConsumer\": field is immutable",
                    ],
                ),
            ],
        );
    }
}
