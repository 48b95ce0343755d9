//! What StatefulSets, Deployments and ReplicaSets share: their endpoints, and
//! rules: a selector that selects the pods of the template, and counts that are
//! counts.

use serde_json::{Value, json};

use super::json::{entries, integer, is_set, list, text};
use super::table::wide;
use super::{pod_rules, pod_scheduling_rules, pod_template};
use crate::cluster::embedded::kind::{Column, ServedKind, Traits};
use crate::cluster::embedded::status::FieldErrors;
use crate::cluster::embedded::validation::{immutable, metadata, selectors};
use crate::model::kind;

/// A workload's row, to be completed by each kind.
pub const BASE: ServedKind = ServedKind {
    names: kind::DEPLOYMENT,
    categories: &["all"],
    subresources: &[super::SCALE, super::STATUS],
    traits: Traits { generation: true, ..super::PLAIN },
    default: pod_template::default_template,
    prepare: super::prepare_with_status,
    warnings,
    ..super::BASE
};

/// What is pointed out in a workload's pods.
pub fn warnings(object: &Value) -> Vec<String> {
    pod_scheduling_rules::warnings(&object["spec"]["template"]["spec"], "spec.template.spec")
}

/// Columns that all of them end with.
pub const CONTAINERS: Column = wide("Containers", "The names of its pods' containers.");
pub const IMAGES: Column = wide("Images", "The images of its pods' containers.");
pub const SELECTOR: Column = wide("Selector", "The labels by which it knows its pods.");

/// The update of a kind whose selector stays as it was made; `validate` is what
/// holds for new objects too.
pub fn update_with_fixed_selector(
    object: &Value,
    old: &Value,
    subresource: Option<&str>,
    validate: fn(&Value, &mut FieldErrors),
    errors: &mut FieldErrors,
) {
    metadata::validate_update(object, old, errors);
    if subresource.is_some() {
        return;
    }
    validate(object, errors);
    immutable(
        "spec.selector",
        object.pointer("/spec/selector"),
        old.pointer("/spec/selector"),
        errors,
    );
}

/// The rules of selector and template. `what` is the kind in small letters,
/// `pods` the spec that the template's pods will have.
pub fn selector_and_template(object: &Value, what: &Words, pods: &Value, errors: &mut FieldErrors) {
    let selector = object.pointer("/spec/selector").filter(|selector| !selector.is_null());
    let before = errors.0.len();
    match selector {
        None => errors.required("spec.selector", ""),
        Some(selector) => {
            selectors::label_selector(selector, "spec.selector", false, errors);
            if entries(selector, "/matchLabels").next().is_none()
                && list(selector, "/matchExpressions").is_empty()
            {
                let detail = format!("empty selector is invalid for {}", what.selector);
                errors.invalid("spec.selector", selector.clone(), detail);
            } else if errors.0.len() > before {
                // It selects nothing that could be compared.
                errors.invalid("spec.selector", selector.clone(), what.bad_selector);
                return;
            }
        }
    }
    let labels = object.pointer("/spec/template/metadata/labels");
    if !selector.is_some_and(|selector| selects(selector, labels)) {
        errors.invalid(
            "spec.template.metadata.labels",
            labels.cloned().unwrap_or_default(),
            "`selector` does not match template `labels`",
        );
    }
    let (labels, annotations) =
        ("/spec/template/metadata/labels", "/spec/template/metadata/annotations");
    metadata::labels(object, labels, "spec.template.labels", errors);
    metadata::annotations(object, annotations, "spec.template.annotations", errors);
    pod_rules::validate(pods, "spec.template.spec", errors);
    let policy = text(object, "/spec/template/spec/restartPolicy");
    if !matches!(policy, "" | "Always") {
        errors.not_supported("spec.template.spec.restartPolicy", policy, &["Always"]);
    }
    if is_set(object, "/spec/template/spec/activeDeadlineSeconds") {
        let detail = format!("activeDeadlineSeconds in {} is not Supported", what.deadline);
        errors.forbidden("spec.template.spec.activeDeadlineSeconds", detail);
    }
}

/// How the server names a kind in what it refuses; ReplicaSets and Deployments
/// share their rules there, and their words.
pub struct Words {
    /// Of an empty selector.
    pub selector: &'static str,
    /// Of a selector that cannot be used.
    pub bad_selector: &'static str,
    /// Of pods that would end by themselves.
    pub deadline: &'static str,
}

/// The words of Deployments and ReplicaSets.
pub const REPLICAS: &Words = &Words {
    selector: "deployment",
    bad_selector: "invalid label selector",
    deadline: "ReplicaSet",
};

/// The spec of a workload's pods as it stands.
pub fn pod_spec(object: &Value) -> Value {
    object.pointer("/spec/template/spec").cloned().unwrap_or_else(|| json!({}))
}

/// Whether the selector's terms hold for the labels.
fn selects(selector: &Value, labels: Option<&Value>) -> bool {
    let value = |key: &str| labels?.get(key)?.as_str();
    let equal =
        entries(selector, "/matchLabels").all(|(key, wanted)| value(key) == wanted.as_str());
    equal
        && list(selector, "/matchExpressions").iter().all(|term| {
            let found = value(text(term, "/key"));
            let listed = list(term, "/values").iter().any(|v| v.as_str() == found);
            match text(term, "/operator") {
                "In" => found.is_some() && listed,
                "NotIn" => found.is_none() || !listed,
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                _ => true,
            }
        })
}

/// Counts that may not be negative.
pub fn not_negative(object: &Value, fields: &[&str], errors: &mut FieldErrors) {
    for field in fields {
        let pointer = format!("/spec/{}", field.replace('.', "/"));
        let count = integer(object, &pointer);
        if is_set(object, &pointer) && count < 0 {
            let detail = "must be greater than or equal to 0";
            errors.invalid(format!("spec.{field}"), count, detail);
        }
    }
}
