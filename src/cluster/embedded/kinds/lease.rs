//! Leases: who holds a duty, and since when it has been heard of.

use jiff::Timestamp;
use serde_json::Value;

use super::json::text;
use super::table::{AGE, NAME, age, column, name};
use crate::cluster::embedded::kind::{Column, ServedKind, Traits};
use crate::cluster::embedded::status::FieldErrors;
use crate::cluster::embedded::validation::{metadata, names};
use crate::model::kind;

/// Leases as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::LEASE,
    traits: Traits { unconditional_update: false, create_on_update: true, ..super::PLAIN },
    columns: COLUMNS,
    cells,
    validate,
    validate_update,
    ..super::BASE
};

const COLUMNS: &[Column] = &[NAME, column("Holder", "Who holds the lease."), AGE];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), text(object, "/spec/holderIdentity").into(), age(object, now)]
}

fn validate(object: &Value, errors: &mut FieldErrors) {
    metadata::validate(object, kind::LEASE, names::subdomain, errors);
    for (field, least, detail) in [
        ("leaseDurationSeconds", 1, "must be greater than 0"),
        ("leaseTransitions", 0, "must be greater than or equal to 0"),
    ] {
        let given = object.pointer(&format!("/spec/{field}")).and_then(Value::as_i64);
        if let Some(given) = given.filter(|given| *given < least) {
            errors.invalid(format!("spec.{field}"), given, detail);
        }
    }
}

fn validate_update(object: &Value, old: &Value, _: Option<&str>, errors: &mut FieldErrors) {
    metadata::validate_update(object, old, errors);
    validate(object, errors);
}
