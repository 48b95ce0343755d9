//! CSIStorageCapacities: how much room a driver has left, where, for a class.

use jiff::Timestamp;
use serde_json::Value;

use super::json::text;
use super::table::{NAME, name, typed};
use crate::cluster::embedded::kind::{Column, ServedKind, Traits};
use crate::cluster::embedded::status::FieldErrors;
use crate::model::kind;

/// CSIStorageCapacities as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::CSI_STORAGE_CAPACITY,
    shape: None,
    categories: &[],
    subresources: &[],
    traits: Traits { unconditional_update: false, ..super::PLAIN },
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

/// A real server has no printer for this kind: kubectl gets the columns of
/// kinds unknown to it.
const COLUMNS: &[Column] = &[NAME, typed("Created At", "date", "When the object was created.")];

fn cells(object: &Value, _: Timestamp) -> Vec<Value> {
    vec![name(object), text(object, "/metadata/creationTimestamp").into()]
}

fn validate(_: &Value, _: &mut FieldErrors) {}

fn validate_update(_: &Value, _: &Value, _: Option<&str>, _: &mut FieldErrors) {}
