//! CSIStorageCapacities: how much room a driver has left, where, for a class.

use jiff::Timestamp;
use serde_json::Value;

use super::json::text;
use super::table::{NAME, name, typed};
use crate::cluster::embedded::kind::{Column, ServedKind, Traits};
use crate::cluster::embedded::status::FieldErrors;
use crate::cluster::embedded::validation::{immutable, metadata, names, selectors};
use crate::model::kind;
use crate::model::quantity::Quantity;

/// CSIStorageCapacities as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::CSI_STORAGE_CAPACITY,
    traits: Traits { unconditional_update: false, ..super::PLAIN },
    columns: COLUMNS,
    cells,
    validate,
    validate_update,
    ..super::BASE
};

/// A real server has no printer for this kind: kubectl gets the columns of
/// kinds unknown to it.
const COLUMNS: &[Column] = &[NAME, typed("Created At", "date", "When the object was created.")];

fn cells(object: &Value, _: Timestamp) -> Vec<Value> {
    vec![name(object), text(object, "/metadata/creationTimestamp").into()]
}

fn validate(object: &Value, errors: &mut FieldErrors) {
    metadata::validate(object, kind::CSI_STORAGE_CAPACITY, names::subdomain, errors);
    if let Some(topology) = object.get("nodeTopology").filter(|topology| !topology.is_null()) {
        selectors::label_selector(topology, "nodeTopology", false, errors);
    }
    let class = text(object, "/storageClassName");
    for wrong in names::subdomain(class) {
        errors.invalid("storageClassName", class, wrong);
    }
    let amount = text(object, "/capacity");
    if Quantity::parse(amount).is_ok_and(Quantity::is_negative) {
        errors.invalid("capacity", amount, "must be greater than or equal to 0");
    }
}

fn validate_update(object: &Value, old: &Value, _: Option<&str>, errors: &mut FieldErrors) {
    metadata::validate_update(object, old, errors);
    for field in ["nodeTopology", "storageClassName"] {
        immutable(field, object.get(field), old.get(field), errors);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::*;
    use super::*;

    #[test]
    fn a_figure_is_not_negative_and_stays_where_it_is() {
        let body = json!({
            "metadata": {"name": "a", "namespace": "n", "resourceVersion": "1"},
            "storageClassName": "c", "capacity": "1Gi", "nodeTopology": {"matchLabels": {"z": "a"}},
        });
        check_refusals(
            &ROW,
            &body,
            &[
                (json!({}), &[]),
                (
                    json!({"capacity": "-1"}),
                    &["capacity: Invalid value: \"-1\": must be greater than or equal to 0"],
                ),
            ],
        );
        let stored = taken(&ROW, &body, &Objects(Vec::new())).expect("a capacity");
        check_changes(
            &ROW,
            &stored,
            &[
                (json!({"capacity": "2Gi"}), &[]),
                (
                    json!({"storageClassName": "d"}),
                    &["storageClassName: Invalid value: \"d\": field is immutable"],
                ),
            ],
        );
    }
}
