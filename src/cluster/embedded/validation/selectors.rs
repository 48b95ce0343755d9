//! The rules of label selectors and node selectors.

use serde_json::Value;

use super::metadata::labels;
use super::names;
use crate::cluster::embedded::kinds::json::{is_set, list, text};
use crate::cluster::embedded::status::FieldErrors;

const NEEDS_VALUES: &str = "must be specified when `operator` is 'In' or 'NotIn'";
const NO_VALUES: &str = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
const BAD_OPERATOR: &str = "not a valid selector operator";

/// A label selector at `path`. What the stored one has wrong already is let
/// pass: `lenient`.
pub fn label_selector(selector: &Value, path: &str, lenient: bool, errors: &mut FieldErrors) {
    labels(selector, "/matchLabels", &format!("{path}.matchLabels"), errors);
    for (index, term) in list(selector, "/matchExpressions").iter().enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        match text(term, "/operator") {
            "In" | "NotIn" if list(term, "/values").is_empty() => {
                errors.required(format!("{path}.values"), NEEDS_VALUES);
            }
            "Exists" | "DoesNotExist" if !list(term, "/values").is_empty() => {
                errors.forbidden(format!("{path}.values"), NO_VALUES);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.invalid(format!("{path}.operator"), other, BAD_OPERATOR),
        }
        key_and_values(term, &path, lenient, errors);
    }
}

fn key_and_values(term: &Value, path: &str, lenient: bool, errors: &mut FieldErrors) {
    let key = text(term, "/key");
    for wrong in names::qualified(key) {
        errors.invalid(format!("{path}.key"), key, wrong);
    }
    if lenient {
        return;
    }
    for (index, value) in list(term, "/values").iter().enumerate() {
        let value = value.as_str().unwrap_or_default();
        for wrong in names::label_value(value) {
            errors.invalid(format!("{path}.values[{index}]"), value, wrong);
        }
    }
}

/// A volume's node affinity at `path`.
pub fn volume_node_affinity(affinity: &Value, path: &str, lenient: bool, errors: &mut FieldErrors) {
    if !is_set(affinity, "/required") {
        errors.required(format!("{path}.required"), "must specify required node constraints");
        return;
    }
    if let Some(required) = affinity.get("required") {
        node_selector(required, &format!("{path}.required"), lenient, errors);
    }
}

/// A node selector at `path`.
pub fn node_selector(selector: &Value, path: &str, lenient: bool, errors: &mut FieldErrors) {
    let path = format!("{path}.nodeSelectorTerms");
    let terms = list(selector, "/nodeSelectorTerms");
    if terms.is_empty() {
        errors.required(path, "must have at least one node selector term");
        return;
    }
    for (index, term) in terms.iter().enumerate() {
        node_selector_term(term, &format!("{path}[{index}]"), lenient, errors);
    }
}

/// One term of a node selector at `path`.
pub fn node_selector_term(term: &Value, path: &str, lenient: bool, errors: &mut FieldErrors) {
    for (at, expression) in list(term, "/matchExpressions").iter().enumerate() {
        node_expression(expression, &format!("{path}.matchExpressions[{at}]"), lenient, errors);
    }
    for (at, field) in list(term, "/matchFields").iter().enumerate() {
        node_field(field, &format!("{path}.matchFields[{at}]"), errors);
    }
}

fn node_expression(term: &Value, path: &str, lenient: bool, errors: &mut FieldErrors) {
    let values = list(term, "/values");
    let at_values = format!("{path}.values");
    match text(term, "/operator") {
        "In" | "NotIn" if values.is_empty() => errors.required(at_values, NEEDS_VALUES),
        "Exists" | "DoesNotExist" if !values.is_empty() => errors.forbidden(at_values, NO_VALUES),
        "Lt" | "Gt" if values.len() != 1 => {
            let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
            errors.required(at_values, detail);
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Lt" | "Gt" => {}
        other => errors.invalid(format!("{path}.operator"), other, BAD_OPERATOR),
    }
    key_and_values(term, path, lenient, errors);
}

fn node_field(term: &Value, path: &str, errors: &mut FieldErrors) {
    match text(term, "/operator") {
        "In" | "NotIn" => {
            if list(term, "/values").len() != 1 {
                let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                errors.required(format!("{path}.values"), detail);
            }
        }
        other => errors.invalid(format!("{path}.operator"), other, BAD_OPERATOR),
    }
    let key = text(term, "/key");
    if key != "metadata.name" {
        errors.invalid(format!("{path}.key"), key, "not a valid field selector key");
        return;
    }
    for (index, value) in list(term, "/values").iter().enumerate() {
        let value = value.as_str().unwrap_or_default();
        for wrong in names::subdomain(value) {
            errors.invalid(format!("{path}.values[{index}]"), value, wrong);
        }
    }
}

/// Whether a selector or node affinity has a value that is no label value: the
/// reason to let such values pass in updates.
pub fn has_bad_value(selector: &Value) -> bool {
    match selector {
        Value::Object(map) => {
            let values = map.get("values").and_then(Value::as_array).into_iter().flatten();
            let bad =
                values.filter_map(Value::as_str).any(|value| !names::label_value(value).is_empty());
            bad || map.values().any(has_bad_value)
        }
        Value::Array(list) => list.iter().any(has_bad_value),
        _ => false,
    }
}
