//! Namespaces: made Active, deleted in two steps through their own finalizer.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::json::{child, is_set, list, restore, text};
use super::table::{AGE, NAME, age, column, name, phase};
use crate::cluster::embedded::kind::{Column, SelectableField, ServedKind, Subresource, Traits};
use crate::cluster::embedded::status::{ApiError, FieldErrors};
use crate::cluster::embedded::validation::{metadata, names};
use crate::model::kind;

/// Namespaces as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::NAMESPACE,
    subresources: &[
        Subresource { name: "finalize", verbs: &["update"], body: None },
        super::STATUS,
    ],
    traits: Traits { delete_returns_object: true, ..super::PLAIN },
    columns: COLUMNS,
    cells,
    fields: &[SelectableField {
        label: "status.phase",
        value: |object| text(object, "/status/phase").to_owned(),
    }],
    default,
    prepare,
    validate,
    validate_update,
    ..super::BASE
};

const COLUMNS: &[Column] =
    &[NAME, column("Status", "Active, or Terminating while its content is deleted."), AGE];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), phase(object).into(), age(object, now)]
}

/// The label that lets selectors choose a namespace by name.
fn default(object: &mut Value) {
    let own_name = text(object, "/metadata/name").to_owned();
    if !own_name.is_empty()
        && let Some(labels) = child(object, "metadata").and_then(|meta| child(meta, "labels"))
    {
        labels["kubernetes.io/metadata.name"] = own_name.into();
    }
}

fn prepare(object: &mut Value, old: Option<&Value>, subresource: Option<&str>, _: Timestamp) {
    let Some(old) = old else {
        if let Some(spec) = child(object, "spec") {
            let list = spec.get("finalizers").and_then(Value::as_array).cloned();
            let mut list = list.unwrap_or_default();
            if !list.iter().any(|finalizer| finalizer == "kubernetes") {
                list.push("kubernetes".into());
            }
            spec["finalizers"] = list.into();
        }
        super::json::put(object, "status", Some(json!({"phase": "Active"})));
        return;
    };
    match subresource {
        Some("finalize") => restore(object, old, "status"),
        Some(_) => restore(object, old, "spec"),
        None => {
            restore(object, old, "spec");
            restore(object, old, "status");
        }
    }
}

fn validate(object: &Value, errors: &mut FieldErrors) {
    metadata::validate(object, kind::NAMESPACE, names::label, errors);
    finalizers(object, errors);
}

fn finalizers(object: &Value, errors: &mut FieldErrors) {
    for name in list(object, "/spec/finalizers").iter().filter_map(Value::as_str) {
        for wrong in names::qualified(name) {
            errors.invalid("spec.finalizers", name, wrong);
        }
    }
}

fn validate_update(
    object: &Value,
    old: &Value,
    subresource: Option<&str>,
    errors: &mut FieldErrors,
) {
    metadata::validate_update(object, old, errors);
    if subresource == Some("finalize") {
        finalizers(object, errors);
    }
}

/// Refuses to create anything in a namespace that is going: admission
/// `NamespaceLifecycle`. `plural` and `name` are those of the new object.
pub fn refuse_if_terminating(namespace: &Value, plural: &str, name: &str) -> Result<(), ApiError> {
    let terminating = is_set(namespace, "/metadata/deletionTimestamp")
        || text(namespace, "/status/phase") == "Terminating";
    if !terminating {
        return Ok(());
    }
    let own_name = text(namespace, "/metadata/name");
    let why = format!("namespace {own_name} is being terminated");
    let message = format!(
        "{plural} \"{name}\" is forbidden: unable to create new content in namespace {own_name} \
         because it is being terminated"
    );
    let details = json!({
        "name": name,
        "kind": plural.split('.').next(),
        "causes": [{
            "reason": "NamespaceTerminating", "message": why, "field": "metadata.namespace",
        }],
    });
    Err(ApiError::new(403, "Forbidden", message).with_details(details))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_made_in_a_namespace_that_is_going() {
        let namespace = json!({"metadata": {"name": "shop"}, "status": {"phase": "Terminating"}});
        let refused = refuse_if_terminating(&namespace, "statefulsets.apps", "web").unwrap_err();
        assert_eq!(
            refused.message,
            "statefulsets.apps \"web\" is forbidden: unable to create new content in namespace shop \
             because it is being terminated"
        );
        let details = refused.details.unwrap_or_default();
        assert_eq!(details["causes"][0]["reason"], "NamespaceTerminating");
        assert_eq!(details["kind"], "statefulsets");
        assert!(refuse_if_terminating(&json!({"metadata": {"name": "shop"}}), "pods", "p").is_ok());
    }
}
