//! Leases: who holds a duty, and since when it has been heard of.

use jiff::Timestamp;
use serde_json::Value;

use super::json::text;
use super::table::{AGE, NAME, age, column, name};
use crate::cluster::embedded::kind::{Column, ServedKind, Traits};
use crate::cluster::embedded::status::FieldErrors;
use crate::model::kind;

/// Leases as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::LEASE,
    shape: None,
    categories: &[],
    subresources: &[],
    traits: Traits { unconditional_update: false, create_on_update: true, ..super::PLAIN },
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

const COLUMNS: &[Column] = &[NAME, column("Holder", "Who holds the lease."), AGE];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), text(object, "/spec/holderIdentity").into(), age(object, now)]
}

fn validate(_: &Value, _: &mut FieldErrors) {}

fn validate_update(_: &Value, _: &Value, _: Option<&str>, _: &mut FieldErrors) {}
