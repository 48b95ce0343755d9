//! CSINodes: which CSI drivers a node has, and by which name they know it.

use jiff::Timestamp;
use serde_json::Value;

use super::json::list;
use super::table::{AGE, NAME, age, name, typed};
use crate::cluster::embedded::kind::{Column, ServedKind, Traits};
use crate::cluster::embedded::status::FieldErrors;
use crate::model::kind;

/// CSINodes as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::CSI_NODE,
    shape: None,
    categories: &[],
    subresources: &[],
    traits: Traits { unconditional_update: false, delete_returns_object: true, ..super::PLAIN },
    columns: COLUMNS,
    cells,
    fields: super::NO_FIELDS,
    default: super::no_default,
    prepare: super::no_prepare,
    admit: super::no_admission,
    validate,
    validate_update,
    warnings: super::no_warnings,
};

const COLUMNS: &[Column] =
    &[NAME, typed("Drivers", "integer", "How many drivers are registered on the node."), AGE];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), list(object, "/spec/drivers").len().into(), age(object, now)]
}

fn validate(_: &Value, _: &mut FieldErrors) {}

fn validate_update(_: &Value, _: &Value, _: Option<&str>, _: &mut FieldErrors) {}
