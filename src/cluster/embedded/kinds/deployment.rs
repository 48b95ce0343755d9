//! Deployments: any number of equal pods, replaced step by step.

use jiff::Timestamp;
use serde_json::Value;

use super::json::{child, fill, integer, text};
use super::pod_template;
use super::table::{AGE, NAME, age, column, containers, name, selector, wide};
use crate::cluster::embedded::kind::{Column, ServedKind, Traits};
use crate::cluster::embedded::status::FieldErrors;
use crate::model::kind;

/// Deployments as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::DEPLOYMENT,
    shape: None,
    categories: &["all"],
    subresources: &[super::SCALE, super::STATUS],
    traits: Traits { generation: true, ..super::PLAIN },
    columns: COLUMNS,
    cells,
    fields: super::NO_FIELDS,
    default,
    prepare: super::prepare_with_status,
    admit: super::no_admission,
    validate,
    validate_update,
    warnings: super::no_warnings,
};

const COLUMNS: &[Column] = &[
    NAME,
    column("Ready", "How many of its pods are ready, of how many wanted."),
    column("Up-to-date", "How many pods are of the newest template."),
    column("Available", "How many pods have been ready for long enough."),
    AGE,
    wide("Containers", "The names of its pods' containers."),
    wide("Images", "The images of its pods' containers."),
    wide("Selector", "The labels by which it knows its pods."),
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

fn validate(_: &Value, _: &mut FieldErrors) {}

fn validate_update(_: &Value, _: &Value, _: Option<&str>, _: &mut FieldErrors) {}
