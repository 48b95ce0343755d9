//! CSINodes: which CSI drivers a node has, and by which name they know it.

use jiff::Timestamp;
use serde_json::Value;

use super::json::{integer, list, put, text};
use super::table::{AGE, NAME, age, name, typed};
use super::volume_source::driver_name;
use crate::cluster::embedded::kind::{Column, ServedKind, Traits};
use crate::cluster::embedded::status::FieldErrors;
use crate::cluster::embedded::validation::{IMMUTABLE, diff, duplicate, metadata, names};
use crate::model::kind;

/// CSINodes as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::CSI_NODE,
    traits: Traits { unconditional_update: false, delete_returns_object: true, ..super::PLAIN },
    columns: COLUMNS,
    cells,
    validate,
    validate_update,
    ..super::BASE
};

/// Bytes of a node's name in a driver's own words.
const NODE_ID_MAX: usize = 256;

const COLUMNS: &[Column] =
    &[NAME, typed("Drivers", "integer", "How many drivers are registered on the node."), AGE];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), list(object, "/spec/drivers").len().into(), age(object, now)]
}

fn validate(object: &Value, errors: &mut FieldErrors) {
    metadata::validate(object, kind::CSI_NODE, names::subdomain, errors);
    let mut seen = Vec::new();
    for (index, driver) in list(object, "/spec/drivers").iter().enumerate() {
        let path = format!("spec.drivers[{index}]");
        let own_name = text(driver, "/name");
        driver_name(own_name, &format!("{path}.name"), errors);
        let id = text(driver, "/nodeID");
        if id.is_empty() {
            errors.required(format!("{path}.nodeID"), "");
        }
        if id.len() > NODE_ID_MAX {
            let detail = format!("must be {NODE_ID_MAX} characters or less");
            errors.invalid(format!("{path}.nodeID"), id, detail);
        }
        let count = integer(driver, "/allocatable/count");
        if count < 0 {
            let detail = "must be greater than or equal to 0";
            errors.invalid(format!("{path}.allocatable.count"), count, detail);
        }
        if seen.contains(&own_name) {
            duplicate(format!("{path}.name"), own_name, errors);
        }
        seen.push(own_name);
        topology_keys(driver, &path, errors);
    }
}

/// The errors stand at the driver, as a real server has them.
fn topology_keys(driver: &Value, path: &str, errors: &mut FieldErrors) {
    let mut seen = Vec::new();
    for key in list(driver, "/topologyKeys").iter().filter_map(Value::as_str) {
        if key.is_empty() {
            errors.required(path, key);
        }
        if seen.contains(&key) {
            duplicate(path, key, errors);
        }
        seen.push(key);
        for wrong in names::qualified(key) {
            errors.invalid(path, key, wrong);
        }
    }
}

/// A driver that is registered stays as it is, but for how much it takes.
fn validate_update(object: &Value, old: &Value, _: Option<&str>, errors: &mut FieldErrors) {
    metadata::validate_update(object, old, errors);
    validate(object, errors);
    let without_limit = |driver: &Value| {
        let mut driver = driver.clone();
        put(&mut driver, "allocatable", None);
        driver
    };
    for before in list(old, "/spec/drivers") {
        let mut all = list(object, "/spec/drivers").iter();
        let Some(after) = all.find(|d| text(d, "/name") == text(before, "/name")) else { continue };
        if without_limit(before) != without_limit(after) {
            let after = without_limit(after);
            let shown = diff::internal_form(&after, "storage.v1.CSINodeDriver");
            errors.invalid("spec.drivers", shown, IMMUTABLE);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::*;
    use super::*;

    #[test]
    fn drivers_are_complete_unique_and_stay() {
        let driver = |id: &str, count: i64| json!({"name": "d", "nodeID": id, "topologyKeys": ["zone"], "allocatable": {"count": count}});
        let body = json!({
            "metadata": {"name": "n", "resourceVersion": "1"}, "spec": {"drivers": [driver("i", 3)]},
        });
        check_refusals(
            &ROW,
            &body,
            &[
                (json!({}), &[]),
                (
                    json!({"spec": {"drivers": [driver("", 1)]}}),
                    &["spec.drivers[0].nodeID: Required value"],
                ),
                (
                    json!({"spec": {"drivers": [driver("i", -1)]}}),
                    &[
                        "spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal \
                 to 0",
                    ],
                ),
                (
                    json!({"spec": {"drivers": [driver("i", 1), driver("j", 1)]}}),
                    &["spec.drivers[1].name: Duplicate value: \"d\""],
                ),
            ],
        );
        let stored = taken(&ROW, &body, &Objects(Vec::new())).expect("a node");
        let change =
            |driver: Value| change_refusals(&ROW, &stored, &json!({"spec": {"drivers": [driver]}}));
        assert!(change(driver("i", 9)).is_empty());
        assert_eq!(change(driver("j", 3)).len(), 1);
    }
}
