//! ReplicaSets: a number of equal pods, usually on a Deployment's behalf.

use jiff::Timestamp;
use serde_json::Value;

use super::json::{child, fill, integer};
use super::pod_template;
use super::table::{AGE, NAME, age, containers, name, selector, typed};
use super::workload_rules as rules;
use crate::cluster::embedded::kind::{Column, ServedKind};
use crate::cluster::embedded::status::FieldErrors;
use crate::cluster::embedded::validation::{metadata, names};
use crate::model::kind;

/// ReplicaSets as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::REPLICA_SET,
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
    typed("Desired", "integer", "How many pods are wanted."),
    typed("Current", "integer", "How many pods there are."),
    typed("Ready", "integer", "How many pods are ready."),
    AGE,
    rules::CONTAINERS,
    rules::IMAGES,
    rules::SELECTOR,
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
    rules::selector_and_template(object, rules::REPLICAS, &rules::pod_spec(object), errors);
}
