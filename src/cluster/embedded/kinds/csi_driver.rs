//! CSIDrivers: what a CSI driver needs of the cluster.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::json::{child, fill, integer, is_set, is_true, list, text};
use super::table::{AGE, NAME, age, column, name, or, typed};
use crate::cluster::embedded::kind::{Column, ServedKind, Traits};
use crate::cluster::embedded::status::FieldErrors;
use crate::model::kind;

/// CSIDrivers as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::CSI_DRIVER,
    shape: None,
    categories: &[],
    subresources: &[],
    traits: Traits { unconditional_update: false, delete_returns_object: true, ..super::PLAIN },
    columns: COLUMNS,
    cells,
    fields: super::NO_FIELDS,
    default,
    prepare,
    admit: super::no_admission,
    validate,
    validate_update,
    warnings: super::no_warnings,
};

const COLUMNS: &[Column] = &[
    NAME,
    typed("AttachRequired", "boolean", "Whether volumes must be attached before they are mounted."),
    typed("PodInfoOnMount", "boolean", "Whether the driver is told which pod a mount is for."),
    typed("StorageCapacity", "boolean", "Whether scheduling asks for the driver's free capacity."),
    column("TokenRequests", "The audiences the driver wants service account tokens for."),
    typed("RequiresRepublish", "boolean", "Whether mounts are renewed while their pod runs."),
    column("Modes", "The ways of life of volumes that the driver supports."),
    AGE,
];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let flag = |field: &str| is_true(object, &format!("/spec/{field}"));
    let audiences = if is_set(object, "/spec/tokenRequests") {
        let all = list(object, "/spec/tokenRequests").iter();
        all.map(|request| text(request, "/audience")).collect::<Vec<_>>().join(",")
    } else {
        "<unset>".to_owned()
    };
    let modes: Vec<_> =
        list(object, "/spec/volumeLifecycleModes").iter().filter_map(Value::as_str).collect();
    vec![
        name(object),
        flag("attachRequired").into(),
        flag("podInfoOnMount").into(),
        flag("storageCapacity").into(),
        audiences.into(),
        flag("requiresRepublish").into(),
        or(&modes.join(","), "<none>").into(),
        age(object, now),
    ]
}

fn default(object: &mut Value) {
    let Some(spec) = child(object, "spec") else { return };
    fill(spec, "attachRequired", true);
    for flag in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
        fill(spec, flag, false);
    }
    fill(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    if list(spec, "/volumeLifecycleModes").is_empty() {
        spec["volumeLifecycleModes"] = json!(["Persistent"]);
    }
}

/// A changed spec is a new generation; the first has none.
fn prepare(object: &mut Value, old: Option<&Value>, _: Option<&str>, _: Timestamp) {
    let Some(old) = old else { return };
    let generation = integer(old, "/metadata/generation");
    let changed = object.get("spec") != old.get("spec");
    if let Some(metadata) = child(object, "metadata") {
        let generation = generation.saturating_add(i64::from(changed));
        super::json::put(metadata, "generation", (generation > 0).then(|| generation.into()));
    }
}

fn validate(_: &Value, _: &mut FieldErrors) {}

fn validate_update(_: &Value, _: &Value, _: Option<&str>, _: &mut FieldErrors) {}
