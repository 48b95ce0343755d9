//! VolumeAttributesClasses: properties of a volume that may change in its life.

use jiff::Timestamp;
use serde_json::Value;

use super::class_parts;
use super::json::{add_finalizer, text};
use super::table::{AGE, NAME, age, column, name};
use crate::cluster::embedded::kind::{AdmissionView, Column, ServedKind, Traits};
use crate::cluster::embedded::status::{ApiError, FieldErrors};
use crate::cluster::embedded::validation::{metadata, names};
use crate::model::kind;

/// VolumeAttributesClasses as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::VOLUME_ATTRIBUTES_CLASS,
    traits: Traits { delete_returns_object: true, ..super::PLAIN },
    columns: COLUMNS,
    cells,
    admit,
    validate,
    validate_update,
    ..super::BASE
};

const COLUMNS: &[Column] =
    &[NAME, column("DriverName", "The CSI driver that knows these parameters."), AGE];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), text(object, "/driverName").into(), age(object, now)]
}

/// Admission `StorageObjectInUseProtection`.
fn admit(object: &mut Value, old: Option<&Value>, _: &dyn AdmissionView) -> Result<(), ApiError> {
    if old.is_none() {
        add_finalizer(object, "kubernetes.io/vac-protection");
    }
    Ok(())
}

fn validate(object: &Value, errors: &mut FieldErrors) {
    metadata::validate(object, kind::VOLUME_ATTRIBUTES_CLASS, names::subdomain, errors);
    class_parts::provisioner(text(object, "/driverName"), "driverName", errors);
    class_parts::parameters(object, true, errors);
}

fn validate_update(object: &Value, old: &Value, _: Option<&str>, errors: &mut FieldErrors) {
    metadata::validate_update(object, old, errors);
    for field in ["driverName", "parameters"] {
        if object.get(field) != old.get(field) {
            errors.forbidden(field, format!("updates to {field} are forbidden."));
        }
    }
    validate(object, errors);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::*;
    use super::*;

    #[test]
    fn driver_and_parameters_are_needed_and_stay() {
        let body = json!({
            "metadata": {"name": "gold", "resourceVersion": "1"},
            "driverName": "d.example.com", "parameters": {"iops": "1"},
        });
        check_refusals(
            &ROW,
            &body,
            &[
                (json!({}), &[]),
                (
                    json!({"parameters": null}),
                    &["parameters: Required value: must contain at least one key/value pair"],
                ),
                (json!({"driverName": ""}), &["driverName: Required value"]),
            ],
        );
        let stored = taken(&ROW, &body, &Objects(Vec::new())).expect("a class");
        assert_eq!(stored["metadata"]["finalizers"], json!(["kubernetes.io/vac-protection"]));
        check_changes(
            &ROW,
            &stored,
            &[
                (
                    json!({"parameters": {"iops": "2"}}),
                    &["parameters: Forbidden: updates to parameters are forbidden."],
                ),
                (
                    json!({"driverName": "e"}),
                    &["driverName: Forbidden: updates to driverName are forbidden."],
                ),
            ],
        );
    }
}
