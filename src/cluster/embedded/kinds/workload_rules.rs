//! What StatefulSets, Deployments and ReplicaSets share: their endpoints, and
//! rules: a selector that selects the pods of the template, and counts that are
//! counts.

use serde_json::{Value, json};

use super::json::{entries, integer, is_set, list, text};
use super::table::wide;
use super::{pod_rules, pod_template};
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
    ..super::BASE
};

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

/// How a kind's template is looked into.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// As pods are.
    Whole,
    /// Labels only: its mounts may name volumes of claim templates.
    LabelsOnly,
}

/// The rules of selector and template. `what` is the kind in small letters.
pub fn selector_and_template(
    object: &Value,
    what: &str,
    template: Template,
    errors: &mut FieldErrors,
) {
    let Some(selector) = object.pointer("/spec/selector").filter(|s| !s.is_null()) else {
        errors.required("spec.selector", "");
        return;
    };
    selectors::label_selector(selector, "spec.selector", false, errors);
    if entries(selector, "/matchLabels").next().is_none()
        && list(selector, "/matchExpressions").is_empty()
    {
        let detail = format!("empty selector is invalid for {what}");
        errors.invalid("spec.selector", selector.clone(), detail);
        return;
    }
    let labels = object.pointer("/spec/template/metadata/labels");
    if !selects(selector, labels) {
        errors.invalid(
            "spec.template.metadata.labels",
            labels.cloned().unwrap_or_default(),
            "`selector` does not match template `labels`",
        );
    }
    let pointer = "/spec/template/metadata/labels";
    metadata::labels(object, pointer, "spec.template.metadata.labels", errors);
    if template == Template::Whole {
        let nothing = json!({});
        let spec = object.pointer("/spec/template/spec").unwrap_or(&nothing);
        pod_rules::validate(spec, "spec.template.spec", errors);
    }
    let policy = text(object, "/spec/template/spec/restartPolicy");
    if !matches!(policy, "" | "Always") {
        errors.not_supported("spec.template.spec.restartPolicy", policy, &["Always"]);
    }
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
        let pointer = format!("/spec/{field}");
        let count = integer(object, &pointer);
        if is_set(object, &pointer) && count < 0 {
            let detail = "must be greater than or equal to 0";
            errors.invalid(format!("spec.{field}"), count, detail);
        }
    }
}

/// A field of the spec that holds one of a few words, if anything.
pub fn one_of(object: &Value, field: &str, words: &[&str], errors: &mut FieldErrors) {
    let word = text(object, &format!("/spec/{}", field.replace('.', "/")));
    if !word.is_empty() && !words.contains(&word) {
        errors.not_supported(format!("spec.{field}"), word, words);
    }
}
