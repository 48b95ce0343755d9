//! CSIDrivers: what a CSI driver needs of the cluster.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::json::{child, fill, integer, is_set, is_true, list, text};
use super::table::{AGE, NAME, age, column, name, or, typed};
use crate::cluster::embedded::kind::{Column, ServedKind, Traits};
use crate::cluster::embedded::status::{FieldErrorKind, FieldErrors};
use crate::cluster::embedded::validation::{duplicate, immutable, metadata, names};
use crate::model::kind;

/// CSIDrivers as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::CSI_DRIVER,
    traits: Traits { unconditional_update: false, delete_returns_object: true, ..super::PLAIN },
    columns: COLUMNS,
    cells,
    default,
    prepare,
    validate,
    validate_update,
    ..super::BASE
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

fn validate(object: &Value, errors: &mut FieldErrors) {
    metadata::validate(object, kind::CSI_DRIVER, names::subdomain, errors);
    for flag in ["attachRequired", "podInfoOnMount", "storageCapacity"] {
        if !is_set(object, &format!("/spec/{flag}")) {
            errors.required(format!("spec.{flag}"), "");
        }
    }
    let policy = text(object, "/spec/fsGroupPolicy");
    if !matches!(policy, "" | "ReadWriteOnceWithFSType" | "File" | "None") {
        let supported = &["File", "None", "ReadWriteOnceWithFSType"];
        errors.not_supported("spec.fsGroupPolicy", policy, supported);
    }
    token_requests(object, errors);
    for mode in list(object, "/spec/volumeLifecycleModes") {
        if !matches!(mode.as_str(), Some("Persistent" | "Ephemeral")) {
            // Not sorted, as elsewhere.
            let detail = "supported values: \"Persistent\", \"Ephemeral\"";
            let kind = FieldErrorKind::NotSupported;
            errors.push("spec.volumeLifecycleModes", kind, mode.clone(), detail);
        }
    }
    let period = object.pointer("/spec/nodeAllocatableUpdatePeriodSeconds").and_then(Value::as_i64);
    if let Some(period) = period.filter(|period| *period < 10) {
        let detail = "must be greater than or equal to 10 seconds";
        errors.invalid("spec.nodeAllocatableUpdatePeriodSeconds", period, detail);
    }
    if is_true(object, "/spec/serviceAccountTokenInSecrets")
        && list(object, "/spec/tokenRequests").is_empty()
    {
        let detail = "must be unset if spec.tokenRequests is empty";
        errors.invalid("spec.serviceAccountTokenInSecrets", true, detail);
    }
}

fn token_requests(driver: &Value, errors: &mut FieldErrors) {
    const SECONDS_MIN: i64 = 600;
    const SECONDS_MAX: i64 = 1 << 32;
    let mut seen = Vec::new();
    for (index, request) in list(driver, "/spec/tokenRequests").iter().enumerate() {
        let path = format!("spec.tokenRequests[{index}]");
        let audience = text(request, "/audience");
        if seen.contains(&audience) {
            duplicate(format!("{path}.audience"), audience, errors);
            continue;
        }
        seen.push(audience);
        let Some(seconds) = request.get("expirationSeconds").and_then(Value::as_i64) else {
            continue;
        };
        let path = format!("{path}.expirationSeconds");
        if seconds < SECONDS_MIN {
            errors.invalid(path, seconds, "may not specify a duration less than 10 minutes");
        } else if seconds > SECONDS_MAX {
            errors.invalid(path, seconds, "may not specify a duration larger than 2^32 seconds");
        }
    }
}

fn validate_update(object: &Value, old: &Value, _: Option<&str>, errors: &mut FieldErrors) {
    metadata::validate_update(object, old, errors);
    validate(object, errors);
    for (field, path) in [
        // The path is the server's own.
        ("attachRequired", "spec.attachedRequired"),
        ("volumeLifecycleModes", "spec.volumeLifecycleModes"),
    ] {
        let pointer = format!("/spec/{field}");
        immutable(path, object.pointer(&pointer), old.pointer(&pointer), errors);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn a_driver_is_refused_for_what_is_wrong_with_it() {
        let body = json!({"metadata": {"name": "d", "resourceVersion": "1"}, "spec": {}});
        check_refusals(
            &ROW,
            &body,
            &[
                (json!({}), &[]),
                (
                    json!({"spec": {"fsGroupPolicy": "Some"}}),
                    &[
                        "spec.fsGroupPolicy: Unsupported value: \"Some\": supported values: \"File\", \
                 \"None\", \"ReadWriteOnceWithFSType\"",
                    ],
                ),
                (
                    json!({"spec": {"tokenRequests": [{"audience": "a"}, {"audience": "a"}]}}),
                    &["spec.tokenRequests[1].audience: Duplicate value: \"a\""],
                ),
                (
                    json!({"spec": {"nodeAllocatableUpdatePeriodSeconds": 9}}),
                    &[
                        "spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 9: must be greater than or \
                 equal to 10 seconds",
                    ],
                ),
            ],
        );
        let stored = taken(&ROW, &body, &Objects(Vec::new())).expect("a driver");
        check_changes(
            &ROW,
            &stored,
            &[
                (json!({"spec": {"podInfoOnMount": true}}), &[]),
                (
                    json!({"spec": {"attachRequired": false}}),
                    &["spec.attachedRequired: Invalid value: false: field is immutable"],
                ),
            ],
        );
    }

    #[test]
    fn a_changed_spec_is_a_new_generation() {
        let body = json!({"metadata": {"name": "d"}, "spec": {}});
        let stored = taken(&ROW, &body, &Objects(Vec::new())).expect("a driver");
        assert!(stored["metadata"].get("generation").is_none());
        let mut changed = stored.clone();
        changed["spec"]["podInfoOnMount"] = true.into();
        prepare(&mut changed, Some(&stored), None, now());
        assert_eq!(changed["metadata"]["generation"], 1);
    }
}
