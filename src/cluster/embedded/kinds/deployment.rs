//! Deployments: any number of equal pods, replaced step by step.

use jiff::Timestamp;
use serde_json::Value;

use super::json::{child, fill, integer, text};
use super::pod_template;
use super::table::{AGE, NAME, age, column, containers, name, selector};
use super::workload_rules::{self as rules, Template};
use crate::cluster::embedded::kind::{Column, ServedKind};
use crate::cluster::embedded::status::FieldErrors;
use crate::cluster::embedded::validation::{metadata, names};
use crate::model::kind;

/// Deployments as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::DEPLOYMENT,
    columns: COLUMNS,
    cells,
    default,
    validate,
    validate_update: |object, old, subresource, errors| {
        rules::update_with_fixed_selector(object, old, subresource, validate, errors);
    },
    ..rules::BASE
};

const COLUMNS: &[Column] = &[
    NAME,
    column("Ready", "How many of its pods are ready, of how many wanted."),
    column("Up-to-date", "How many pods are of the newest template."),
    column("Available", "How many pods have been ready for long enough."),
    AGE,
    rules::CONTAINERS,
    rules::IMAGES,
    rules::SELECTOR,
];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let (names, images) = containers(object);
    let ready = integer(object, "/status/readyReplicas");
    vec![
        name(object),
        format!("{ready}/{}", integer(object, "/spec/replicas")).into(),
        integer(object, "/status/updatedReplicas").into(),
        integer(object, "/status/availableReplicas").into(),
        age(object, now),
        names.into(),
        images.into(),
        selector(object.pointer("/spec/selector")).into(),
    ]
}

fn default(object: &mut Value) {
    pod_template::default_template(object);
    let Some(spec) = child(object, "spec") else { return };
    fill(spec, "replicas", 1);
    fill(spec, "revisionHistoryLimit", 10);
    fill(spec, "progressDeadlineSeconds", 600);
    if let Some(strategy) = child(spec, "strategy") {
        fill(strategy, "type", "RollingUpdate");
        if text(strategy, "/type") == "RollingUpdate"
            && let Some(rolling) = child(strategy, "rollingUpdate")
        {
            fill(rolling, "maxUnavailable", "25%");
            fill(rolling, "maxSurge", "25%");
        }
    }
}

fn validate(object: &Value, errors: &mut FieldErrors) {
    metadata::validate(object, kind::DEPLOYMENT, names::subdomain, errors);
    rules::not_negative(object, &["replicas", "minReadySeconds", "revisionHistoryLimit"], errors);
    rules::selector_and_template(object, "deployment", Template::Whole, errors);
    rules::one_of(object, "strategy.type", &["Recreate", "RollingUpdate"], errors);
    let (wait, deadline) = (
        integer(object, "/spec/minReadySeconds"),
        object.pointer("/spec/progressDeadlineSeconds").and_then(Value::as_i64),
    );
    if let Some(deadline) = deadline.filter(|deadline| *deadline <= wait) {
        let detail = "must be greater than minReadySeconds";
        errors.invalid("spec.progressDeadlineSeconds", deadline, detail);
    }
}
