//! PersistentVolumes: storage as the cluster offers it.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::json::{add_finalizer, annotation, child, fill, is_set, put, restore, text};
use super::table::{AGE, NAME, age, class_of, column, name, or, phase, wide};
use super::volume_spec;
use crate::cluster::embedded::kind::{AdmissionView, Column, ServedKind, Traits};
use crate::cluster::embedded::status::{ApiError, FieldErrors};
use crate::cluster::embedded::validation::{metadata, names};
use crate::model::access_modes::AccessModes;
use crate::model::kind;
use crate::model::quantity::Quantity;

/// PersistentVolumes as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::PERSISTENT_VOLUME,
    subresources: &[super::STATUS],
    traits: Traits { delete_returns_object: true, ..super::PLAIN },
    columns: COLUMNS,
    cells,
    default,
    prepare,
    admit,
    validate,
    validate_update,
    warnings,
    ..super::BASE
};

const MOUNT_OPTIONS: &str = "volume.beta.kubernetes.io/mount-options";

const COLUMNS: &[Column] = &[
    NAME,
    column("Capacity", "How much it can hold."),
    column("Access Modes", "The ways in which it may be mounted."),
    column("Reclaim Policy", "What becomes of it when its claim is gone."),
    column("Status", "Its phase, or Terminating while it is being deleted."),
    column("Claim", "The claim it is bound to or reserved for."),
    column("StorageClass", "The class whose claims it serves."),
    column("VolumeAttributesClass", "The class of properties it was last given."),
    column("Reason", "Why it is in this phase, where that needs a word."),
    AGE,
    wide("VolumeMode", "Whether it is offered as a file system or as a block device."),
];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let claim = match object.pointer("/spec/claimRef") {
        Some(claim) if claim.is_object() => {
            format!("{}/{}", text(claim, "/namespace"), text(claim, "/name"))
        }
        _ => String::new(),
    };
    let modes = object.pointer("/spec/accessModes").map(AccessModes::from_json);
    vec![
        name(object),
        or(text(object, "/spec/capacity/storage"), "0").into(),
        modes.unwrap_or_default().to_string().into(),
        text(object, "/spec/persistentVolumeReclaimPolicy").into(),
        phase(object).into(),
        claim.into(),
        class_of(object).into(),
        attributes_class(object).into(),
        text(object, "/status/reason").into(),
        age(object, now),
        or(text(object, "/spec/volumeMode"), "<unset>").into(),
    ]
}

/// The name of the attributes class in the spec, or `<unset>`.
pub fn attributes_class(object: &Value) -> &str {
    object.pointer("/spec/volumeAttributesClassName").and_then(Value::as_str).unwrap_or("<unset>")
}

fn default(object: &mut Value) {
    if let Some(spec) = child(object, "spec") {
        default_spec(spec);
    }
    if let Some(status) = child(object, "status") {
        fill(status, "phase", "Pending");
    }
}

/// The defaults of a volume's spec, also where it is written inline.
pub fn default_spec(spec: &mut Value) {
    round_amounts(spec.get_mut("capacity"));
    fill(spec, "persistentVolumeReclaimPolicy", "Retain");
    fill(spec, "volumeMode", "Filesystem");
    default_source(spec);
}

/// Rounds the amounts of a map up to thousandths, the finest that is kept.
pub fn round_amounts(amounts: Option<&mut Value>) {
    for (_, value) in amounts.and_then(Value::as_object_mut).into_iter().flatten() {
        if let Some(amount) = value.as_str().and_then(|text| Quantity::parse(text).ok()) {
            *value = amount.rounded_up_to_milli().to_string().into();
        }
    }
}

/// The defaults of the volume sources that have any; volumes of pods share
/// them.
pub fn default_source(source: &mut Value) {
    const DEFAULTS: &[(&str, &[(&str, &str)])] = &[
        ("iscsi", &[("iscsiInterface", "default")]),
        ("rbd", &[("pool", "rbd"), ("user", "admin"), ("keyring", "/etc/ceph/keyring")]),
        ("azureDisk", &[("cachingMode", "ReadWrite"), ("fsType", "ext4"), ("kind", "Shared")]),
        ("scaleIO", &[("storageMode", "ThinProvisioned"), ("fsType", "xfs")]),
    ];
    for (kind, fields) in DEFAULTS {
        if let Some(inner) = source.get_mut(*kind) {
            for (field, default) in *fields {
                fill(inner, field, *default);
            }
        }
    }
    if let Some(disk) = source.get_mut("azureDisk") {
        fill(disk, "readOnly", false);
    }
    if let Some(path) = source.get_mut("hostPath") {
        fill(path, "type", "");
    }
}

fn prepare(object: &mut Value, old: Option<&Value>, subresource: Option<&str>, now: Timestamp) {
    let stamp = || Value::from(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    match (old, subresource) {
        (None, _) => {
            let status = json!({"phase": "Pending", "lastPhaseTransitionTime": stamp()});
            put(object, "status", Some(status));
        }
        (Some(old), Some("status")) => {
            restore(object, old, "spec");
            if let Some(status) = child(object, "status") {
                let time = transition_time(status, old, stamp);
                put(status, "lastPhaseTransitionTime", time);
            }
        }
        (Some(old), _) => restore(object, old, "status"),
    }
}

/// When the phase last changed, as the server keeps it: kept while the phase
/// stays, now when it changes or when the stored time is sent back with a
/// change, else what the client says.
fn transition_time(status: &Value, old: &Value, now: impl FnOnce() -> Value) -> Option<Value> {
    const TIME: &str = "lastPhaseTransitionTime";
    let given = status.get(TIME).filter(|time| !time.is_null());
    let stored = old.pointer("/status/lastPhaseTransitionTime").filter(|time| !time.is_null());
    let same_phase = text(status, "/phase") == text(old, "/status/phase");
    match (given, same_phase) {
        (None, true) => stored.cloned(),
        (None, false) => Some(now()),
        (Some(given), false) if Some(given) == stored => Some(now()),
        (Some(given), _) => Some(given.clone()),
    }
}

/// Admission `StorageObjectInUseProtection`.
fn admit(object: &mut Value, old: Option<&Value>, _: &dyn AdmissionView) -> Result<(), ApiError> {
    if old.is_none() {
        add_finalizer(object, "kubernetes.io/pv-protection");
    }
    Ok(())
}

fn validate(object: &Value, errors: &mut FieldErrors) {
    metadata::validate(object, kind::PERSISTENT_VOLUME, names::subdomain, errors);
    volume_spec::validate(object, None, errors);
    mount_option_annotation(object, errors);
}

/// The old annotation is only for sources that took mount options in its time.
fn mount_option_annotation(object: &Value, errors: &mut FieldErrors) {
    const SUPPORTED: &[&str] = &[
        "gcePersistentDisk",
        "awsElasticBlockStore",
        "glusterfs",
        "nfs",
        "rbd",
        "quobyte",
        "iscsi",
        "cinder",
        "cephfs",
        "azureFile",
        "vsphereVolume",
        "azureDisk",
        "photonPersistentDisk",
    ];
    let used = annotation(object, MOUNT_OPTIONS).is_some();
    if used && !SUPPORTED.iter().any(|source| is_set(object, &format!("/spec/{source}"))) {
        errors.forbidden(
            format!("metadata.annotations.{MOUNT_OPTIONS}"),
            "may not specify mount options for this volume type",
        );
    }
}

fn validate_update(
    object: &Value,
    old: &Value,
    subresource: Option<&str>,
    errors: &mut FieldErrors,
) {
    metadata::validate_update(object, old, errors);
    if subresource == Some("status") {
        if text(object, "/metadata/resourceVersion").is_empty() {
            errors.required("resourceVersion", "");
        }
        return;
    }
    metadata::validate(object, kind::PERSISTENT_VOLUME, names::subdomain, errors);
    volume_spec::validate(object, Some(old), errors);
    mount_option_annotation(object, errors);
    volume_spec::validate_changes(object, old, errors);
}

fn warnings(object: &Value) -> Vec<String> {
    const CLASS: &str = "volume.beta.kubernetes.io/storage-class";
    let mut warnings = Vec::new();
    if annotation(object, CLASS).is_some() {
        warnings.push(format!(
            "metadata.annotations[{CLASS}]: deprecated since v1.8; use \"storageClassName\" \
             attribute instead"
        ));
    }
    if annotation(object, MOUNT_OPTIONS).is_some() {
        warnings.push(format!(
            "metadata.annotations[{MOUNT_OPTIONS}]: deprecated since v1.31; use \"mountOptions\" \
             attribute instead"
        ));
    }
    if text(object, "/spec/persistentVolumeReclaimPolicy") == "Recycle" {
        warnings.push(
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. \
             Instead, the recommended approach is to use dynamic provisioning."
                .to_owned(),
        );
    }
    volume_spec::warnings(object, &mut warnings);
    warnings
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    const EARLIER: &str = "2025-01-01T00:00:00Z";
    const LATER: &str = "2025-06-01T00:00:00Z";
    const NOW: &str = "2026-01-01T00:00:00Z";

    fn status(phase: &str, time: Option<&str>) -> Value {
        match time {
            Some(time) => json!({"phase": phase, "lastPhaseTransitionTime": time}),
            None => json!({"phase": phase}),
        }
    }

    #[test]
    fn the_time_of_a_transition_is_kept_as_the_server_keeps_it() {
        let rows = [
            ("TS-1", status("Pending", None), status("Bound", None), status("Bound", Some(NOW))),
            (
                "TS-2",
                status("Pending", Some(EARLIER)),
                status("Bound", None),
                status("Bound", Some(NOW)),
            ),
            (
                "TS-3",
                status("Pending", None),
                status("Pending", Some(LATER)),
                status("Pending", Some(LATER)),
            ),
            (
                "TS-4",
                status("Pending", Some(EARLIER)),
                status("Bound", Some(LATER)),
                status("Bound", Some(LATER)),
            ),
            (
                "TS-5",
                status("Bound", Some(EARLIER)),
                status("Bound", Some(LATER)),
                status("Bound", Some(LATER)),
            ),
            (
                "TS-6",
                status("Pending", Some(EARLIER)),
                status("Bound", Some(EARLIER)),
                status("Bound", Some(NOW)),
            ),
        ];
        for (id, old, sent, stored) in rows {
            let mut old_volume = stored_volume();
            old_volume["status"] = old;
            let mut volume = old_volume.clone();
            volume["status"] = sent;
            prepare(&mut volume, Some(&old_volume), Some("status"), now());
            assert_eq!(volume["status"], stored, "{id}");
        }
        let mut volume = stored_volume();
        volume["status"] = status("Bound", Some(EARLIER));
        prepare(&mut volume, None, None, now());
        assert_eq!(volume["status"], status("Pending", Some(NOW)), "TS-7");
    }

    #[test]
    fn amounts_are_rounded_up_to_thousandths() {
        let mut spec = json!({"capacity": {"storage": "1.0001"}});
        default_spec(&mut spec);
        assert_eq!(spec["capacity"]["storage"], "1001m");
    }

    fn base() -> Value {
        json!({
            "metadata": {"name": "v"},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                "nfs": {"server": "s", "path": "/"},
            },
        })
    }

    #[test]
    fn a_new_volume_is_refused_for_what_is_wrong_with_it() {
        let other = |source: Value| {
            let mut spec = json!({"nfs": null});
            json_patch::merge(&mut spec, &source);
            json!({"spec": spec})
        };
        check_refusals(
            &ROW,
            &base(),
            &[
                (json!({}), &[]),
                (
                    json!({"spec": {"capacity": {"storage": "0"}}}),
                    &["spec.capacity[storage]: Invalid value: \"0\": must be greater than zero"],
                ),
                (
                    json!({"spec": {"capacity": {"cpu": "1"}}}),
                    &[
                        "spec.capacity: Unsupported value: {\"cpu\":\"1\",\"storage\":\"1Gi\"}: supported \
                 values: \"storage\"",
                    ],
                ),
                (
                    json!({"spec": {"nodeAffinity": {}}}),
                    &[
                        "spec.nodeAffinity.required: Required value: must specify required node constraints",
                    ],
                ),
                (
                    json!({"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": []}}}}),
                    &[
                        "spec.nodeAffinity.required.nodeSelectorTerms: Required value: must have at least \
                 one node selector term",
                    ],
                ),
                (
                    json!({"spec": {"volumeMode": "Tape"}}),
                    &[
                        "spec.volumeMode: Unsupported value: \"Tape\": supported values: \"Block\", \
                 \"Filesystem\"",
                    ],
                ),
                (
                    json!({"spec": {"volumeAttributesClassName": ""}}),
                    &[
                        "spec.volumeAttributesClassName: Required value: an empty string is disallowed",
                        "spec.csi: Required value: has to be specified when using volumeAttributesClassName",
                    ],
                ),
                (
                    other(
                        json!({"cephfs": {"monitors": ["a"]}, "csi": {"driver": "d", "volumeHandle": "h"}}),
                    ),
                    &["spec.csi: Forbidden: may not specify more than 1 volume type"],
                ),
                (
                    other(json!({"hostPath": {"path": "/a", "type": "Folder"}})),
                    &[
                        "spec.hostPath.type: Unsupported value: \"Folder\": supported values: \"\", \
                 \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \
                 \"FileOrCreate\", \"Socket\"",
                    ],
                ),
                (
                    other(json!({"iscsi": {"targetPortal": "p", "iqn": "x", "lun": 256}})),
                    &[
                        "spec.iscsi.iqn: Invalid value: \"x\": must be valid format",
                        "spec.iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive",
                    ],
                ),
                (
                    other(json!({"fc": {"targetWWNs": ["w"]}})),
                    &["spec.fc.lun: Required value: lun is required if targetWWNs is specified"],
                ),
                (
                    other(
                        json!({"csi": {"driver": "d", "volumeHandle": "h", "nodePublishSecretRef": {"name": "s"}}}),
                    ),
                    &["spec.csi.nodePublishSecretRef.namespace: Required value"],
                ),
            ],
        );
        let mut annotated = base();
        annotated["spec"] = json!({
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/a"},
        });
        annotated["metadata"]["annotations"] = json!({MOUNT_OPTIONS: "ro"});
        assert_eq!(
            refusals(&ROW, &annotated),
            ["metadata.annotations.volume.beta.kubernetes.io/mount-options: Forbidden: may not \
             specify mount options for this volume type",]
        );
    }

    #[test]
    fn options_of_a_flex_volume_stay_out_of_reserved_namespaces() {
        let mut volume = base();
        volume["spec"]["nfs"] = Value::Null;
        volume["spec"]["flexVolume"] =
            json!({"driver": "a/b", "options": {"kubernetes.io/secret": "x", "size": "1"}});
        assert_eq!(
            refusals(&ROW, &volume),
            ["spec.flexVolume.options[kubernetes.io/secret]: Invalid value: \
              \"kubernetes.io/secret\": kubernetes.io and k8s.io namespaces are reserved"]
        );
    }

    #[test]
    fn a_stored_volume_keeps_its_source_mode_and_affinity() {
        check_changes(
            &ROW,
            &stored_volume(),
            &[
                (json!({"spec": {"capacity": {"storage": "2Gi"}}}), &[]),
                (json!({"spec": {"claimRef": {"name": "c", "namespace": "n"}}}), &[]),
                (
                    json!({"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                        {"key": "a", "operator": "Exists"},
                    ]}]}}}}),
                    &[],
                ),
                (
                    json!({"spec": {"volumeMode": "Block"}}),
                    &["volumeMode: Invalid value: \"Block\": field is immutable"],
                ),
                (
                    json!({"spec": {"nfs": {"path": "/b"}}}),
                    &[
                        "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable \
                 after creation",
                    ],
                ),
            ],
        );
    }

    #[test]
    fn an_affinity_may_only_change_from_old_label_names_to_new_ones() {
        let affinity = |key: &str| {
            json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": key, "operator": "In", "values": ["a"]},
            ]}]}})
        };
        let mut stored = stored_volume();
        stored["spec"]["nodeAffinity"] = affinity("failure-domain.beta.kubernetes.io/zone");
        let to = |key: &str| json!({"spec": {"nodeAffinity": affinity(key)}});
        assert!(change_refusals(&ROW, &stored, &to("topology.kubernetes.io/zone")).is_empty());
        let refused = change_refusals(&ROW, &stored, &to("zone"));
        assert!(
            refused[0].ends_with("field is immutable, except for updating from beta label to GA")
        );
    }

    #[test]
    fn what_is_deprecated_is_warned_of() {
        let mut volume = base();
        volume["spec"]["persistentVolumeReclaimPolicy"] = "Recycle".into();
        volume["spec"]["glusterfs"] = json!({});
        volume["metadata"]["annotations"] = json!({"volume.beta.kubernetes.io/storage-class": "a"});
        volume["spec"]["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "beta.kubernetes.io/os", "operator": "Exists"},
        ]}]}});
        assert_eq!(
            warnings(&volume),
            [
                "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; \
             use \"storageClassName\" attribute instead",
                "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, \
             the recommended approach is to use dynamic provisioning.",
                "spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].key: \
             beta.kubernetes.io/os is deprecated since v1.14; use \"kubernetes.io/os\" instead",
                "spec.glusterfs: deprecated in v1.25, non-functional in v1.26+",
            ]
        );
    }
}
