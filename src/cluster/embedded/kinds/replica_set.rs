//! ReplicaSets: a number of equal pods, usually on a Deployment's behalf.

use jiff::Timestamp;
use serde_json::Value;

use super::json::{child, fill, integer};
use super::pod_template;
use super::table::{AGE, NAME, age, containers, name, selector, typed, wide};
use super::workload_rules::{self as rules, Template};
use crate::cluster::embedded::kind::{Column, ServedKind, Traits};
use crate::cluster::embedded::status::FieldErrors;
use crate::cluster::embedded::validation::{immutable, metadata, names};
use crate::model::kind;

/// ReplicaSets as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::REPLICA_SET,
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
    typed("Desired", "integer", "How many pods are wanted."),
    typed("Current", "integer", "How many pods there are."),
    typed("Ready", "integer", "How many pods are ready."),
    AGE,
    wide("Containers", "The names of its pods' containers."),
    wide("Images", "The images of its pods' containers."),
    wide("Selector", "The labels by which it knows its pods."),
];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let (names, images) = containers(object);
    vec![
        name(object),
        integer(object, "/spec/replicas").into(),
        integer(object, "/status/replicas").into(),
        integer(object, "/status/readyReplicas").into(),
        age(object, now),
        names.into(),
        images.into(),
        selector(object.pointer("/spec/selector")).into(),
    ]
}

fn default(object: &mut Value) {
    pod_template::default_template(object);
    if let Some(spec) = child(object, "spec") {
        fill(spec, "replicas", 1);
    }
}

fn validate(object: &Value, errors: &mut FieldErrors) {
    metadata::validate(object, kind::REPLICA_SET, names::subdomain, errors);
    rules::not_negative(object, &["replicas", "minReadySeconds"], errors);
    rules::selector_and_template(object, "deployment", Template::Whole, errors);
}

fn validate_update(
    object: &Value,
    old: &Value,
    subresource: Option<&str>,
    errors: &mut FieldErrors,
) {
    metadata::validate_update(object, old, errors);
    if subresource.is_some() {
        return;
    }
    validate(object, errors);
    let selector = |object: &Value| object.pointer("/spec/selector").cloned();
    immutable("spec.selector", selector(object).as_ref(), selector(old).as_ref(), errors);
}
