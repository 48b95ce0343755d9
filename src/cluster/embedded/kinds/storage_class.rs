//! StorageClasses: how volumes of a class are made and bound.

use jiff::Timestamp;
use serde_json::Value;

use super::json::{annotation, fill, is_true, text};
use super::table::{AGE, NAME, age, column, or};
use crate::cluster::embedded::kind::{Column, ServedKind, Traits};
use crate::cluster::embedded::status::FieldErrors;
use crate::model::kind;

/// StorageClasses as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::STORAGE_CLASS,
    shape: None,
    categories: &[],
    subresources: &[],
    traits: Traits { delete_returns_object: true, ..super::PLAIN },
    columns: COLUMNS,
    cells,
    fields: super::NO_FIELDS,
    default,
    prepare: super::no_prepare,
    admit: super::no_admission,
    validate,
    validate_update,
    warnings: super::no_warnings,
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

fn validate(_: &Value, _: &mut FieldErrors) {}

fn validate_update(_: &Value, _: &Value, _: Option<&str>, _: &mut FieldErrors) {}
