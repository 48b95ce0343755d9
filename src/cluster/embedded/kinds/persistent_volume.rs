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

/// PersistentVolumes as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::PERSISTENT_VOLUME,
    shape: None,
    categories: &[],
    subresources: &[super::STATUS],
    traits: Traits { delete_returns_object: true, ..super::PLAIN },
    columns: COLUMNS,
    cells,
    fields: super::NO_FIELDS,
    default,
    prepare,
    admit,
    validate,
    validate_update,
    warnings,
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
    fill(spec, "persistentVolumeReclaimPolicy", "Retain");
    fill(spec, "volumeMode", "Filesystem");
    default_source(spec);
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
