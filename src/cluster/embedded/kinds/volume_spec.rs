//! The rules of a volume's spec: in volumes, and written inline in attachments.

use serde_json::{Value, json};

use super::json::{is_set, items_mut, list, text};
use super::volume_source;
use crate::cluster::embedded::status::FieldErrors;
use crate::cluster::embedded::validation::{IMMUTABLE, diff, immutable, names, selectors};
use crate::model::access_modes::{AccessMode, AccessModes};
use crate::model::quantity::Quantity;

/// The rules of `/spec` of a volume, new or changed from `old`.
pub fn validate(volume: &Value, old: Option<&Value>, errors: &mut FieldErrors) {
    let nothing = json!({});
    let spec = volume.get("spec").unwrap_or(&nothing);
    access_modes(spec, "spec", errors);
    capacity(spec, errors);
    let policy = text(spec, "/persistentVolumeReclaimPolicy");
    if !matches!(policy, "" | "Recycle" | "Delete" | "Retain") {
        let supported = &["Delete", "Recycle", "Retain"];
        errors.not_supported("spec.persistentVolumeReclaimPolicy", policy, supported);
    }
    if is_set(spec, "/nodeAffinity") {
        let lenient = old
            .and_then(|old| old.pointer("/spec/nodeAffinity"))
            .is_some_and(selectors::has_bad_value);
        let affinity = &spec["nodeAffinity"];
        selectors::volume_node_affinity(affinity, "spec.nodeAffinity", lenient, errors);
    }
    volume_source::validate(spec, "spec", errors);
    if is_root(text(spec, "/hostPath/path")) && policy == "Recycle" {
        errors.forbidden(
            "spec.persistentVolumeReclaimPolicy",
            "may not be 'recycle' for a hostPath mount of '/'",
        );
    }
    let class = text(spec, "/storageClassName");
    if !class.is_empty() {
        for wrong in names::subdomain(class) {
            errors.invalid("spec.storageClassName", class, wrong);
        }
    }
    volume_mode(spec, "spec.volumeMode", errors);
    attributes_class(spec, errors);
}

/// The rules of a spec that is written inline at `path`.
pub fn validate_inline(spec: &Value, path: &str, errors: &mut FieldErrors) {
    const HERE: &str = "may not be specified in the context of inline volumes";
    for field in ["claimRef", "capacity"] {
        if is_set(spec, &format!("/{field}")) {
            errors.forbidden(format!("{path}.{field}"), HERE);
        }
    }
    if !is_set(spec, "/csi") {
        let detail = "has to be specified in the context of inline volumes";
        errors.required(format!("{path}.csi"), detail);
    }
    access_modes(spec, path, errors);
    if !matches!(text(spec, "/persistentVolumeReclaimPolicy"), "" | "Retain") {
        let detail = "may only be Retain in the context of inline volumes";
        errors.forbidden(format!("{path}.persistentVolumeReclaimPolicy"), detail);
    }
    if is_set(spec, "/nodeAffinity") {
        errors.forbidden(format!("{path}.nodeAffinity"), HERE);
    }
    volume_source::validate(spec, path, errors);
    if !text(spec, "/storageClassName").is_empty() {
        errors.forbidden(format!("{path}.storageClassName"), HERE);
    }
    if !matches!(text(spec, "/volumeMode"), "" | "Filesystem") {
        let detail =
            "may not specify volumeMode other than Filesystem in the context of inline volumes";
        errors.forbidden(format!("{path}.volumeMode"), detail);
    }
}

/// The access modes at `path`, which volumes must have.
fn access_modes(spec: &Value, path: &str, errors: &mut FieldErrors) {
    let path = format!("{path}.accessModes");
    if list(spec, "/accessModes").is_empty() {
        errors.required(path.as_str(), "");
    }
    known_access_modes(spec, &path, errors);
}

/// Each access mode must exist, and the single-pod one stands alone.
pub fn known_access_modes(spec: &Value, path: &str, errors: &mut FieldErrors) {
    for mode in list(spec, "/accessModes") {
        if mode.as_str().and_then(AccessMode::by_name).is_none() {
            let supported: Vec<_> = AccessMode::ALL.iter().map(|mode| mode.name()).collect();
            errors.not_supported(path, mode.clone(), &supported);
        }
    }
    let modes = spec.get("accessModes").map(AccessModes::from_json).unwrap_or_default();
    if modes.contains(AccessMode::ReadWriteOncePod) && modes.len() > 1 {
        errors.forbidden(path, "may not use ReadWriteOncePod with other access modes");
    }
}

/// A volume mode, if there is one, must exist.
pub fn volume_mode(spec: &Value, path: &str, errors: &mut FieldErrors) {
    if let Some(mode) = spec.get("volumeMode").filter(|mode| !mode.is_null())
        && !matches!(mode.as_str(), Some("Block" | "Filesystem"))
    {
        errors.not_supported(path, mode.clone(), &["Block", "Filesystem"]);
    }
}

fn capacity(spec: &Value, errors: &mut FieldErrors) {
    const PATH: &str = "spec.capacity";
    let nothing = serde_json::Map::new();
    let given = spec.get("capacity").and_then(Value::as_object);
    let capacity = given.unwrap_or(&nothing);
    if capacity.is_empty() {
        errors.required(PATH, "");
    }
    if !capacity.contains_key("storage") || capacity.len() > 1 {
        let shown = given.map_or(Value::Null, |map| map.clone().into());
        errors.not_supported(PATH, shown, &["storage"]);
    }
    for (resource, value) in capacity {
        let path = format!("{PATH}[{resource}]");
        let Ok(size) = Quantity::parse(value.as_str().unwrap_or_default()) else { continue };
        if size.is_negative() {
            let units = i64::try_from(size.units()).unwrap_or(i64::MIN);
            errors.invalid(path.as_str(), units, "must be a valid resource quantity");
        }
        positive(value, size, path, errors);
    }
}

/// A size must be more than nothing.
pub fn positive(value: &Value, size: Quantity, path: String, errors: &mut FieldErrors) {
    if size <= Quantity::ZERO {
        errors.invalid(path, value.clone(), "must be greater than zero");
    }
}

fn attributes_class(spec: &Value, errors: &mut FieldErrors) {
    const PATH: &str = "spec.volumeAttributesClassName";
    let Some(class) = spec.get("volumeAttributesClassName").and_then(Value::as_str) else { return };
    if class.is_empty() {
        errors.required(PATH, "an empty string is disallowed");
    } else {
        for wrong in names::subdomain(class) {
            errors.invalid(PATH, class, wrong);
        }
    }
    if !is_set(spec, "/csi") {
        errors.required("spec.csi", "has to be specified when using volumeAttributesClassName");
    }
}

/// Whether a path is the root, however it is spelled.
fn is_root(path: &str) -> bool {
    let depth = path.split('/').fold(0_usize, |depth, step| match step {
        "" | "." => depth,
        ".." => depth.saturating_sub(1),
        _ => depth + 1,
    });
    path.starts_with('/') && depth == 0
}

/// What an update may not change.
pub fn validate_changes(volume: &Value, old: &Value, errors: &mut FieldErrors) {
    let nothing = json!({});
    let (mut new_spec, old_spec) =
        (volume.get("spec").unwrap_or(&nothing).clone(), old.get("spec").unwrap_or(&nothing));
    // This one may be added to a volume that has none.
    if !is_set(old_spec, "/csi/controllerExpandSecretRef")
        && let Some(csi) = new_spec.get_mut("csi")
    {
        super::json::put(csi, "controllerExpandSecretRef", None);
    }
    if diff::VOLUME_SOURCES.iter().any(|source| new_spec.get(*source) != old_spec.get(*source)) {
        errors.forbidden(
            "spec.persistentvolumesource",
            format!(
                "spec.persistentvolumesource is immutable after creation\n{}",
                diff::of_volume_sources(old_spec, &new_spec)
            ),
        );
    }
    immutable("volumeMode", new_spec.get("volumeMode"), old_spec.get("volumeMode"), errors);
    if let Some(before) = old_spec.get("nodeAffinity").filter(|affinity| !affinity.is_null()) {
        node_affinity_change(new_spec.get("nodeAffinity"), before, errors);
    }
    let had_class = is_set(old_spec, "/volumeAttributesClassName");
    if had_class && !is_set(&new_spec, "/volumeAttributesClassName") {
        errors.forbidden(
            "spec.volumeAttributesClassName",
            "update from non-nil value to nil is forbidden",
        );
    }
}

/// Old names of node labels, the names that replaced them, and since when.
const RENAMED_LABELS: [(&str, &str, &str); 5] = [
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone", "v1.17"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region", "v1.17"),
    ("beta.kubernetes.io/os", "kubernetes.io/os", "v1.14"),
    ("beta.kubernetes.io/arch", "kubernetes.io/arch", "v1.14"),
    ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type", "v1.17"),
];

/// Node affinity may only go from old label names to their successors.
fn node_affinity_change(new: Option<&Value>, old: &Value, errors: &mut FieldErrors) {
    let new = new.unwrap_or(&Value::Null);
    let (mut renamed_old, mut renamed_new) = (old.clone(), new.clone());
    for affinity in [&mut renamed_old, &mut renamed_new] {
        for term in items_mut(affinity, "/required/nodeSelectorTerms") {
            for expression in items_mut(term, "/matchExpressions") {
                let key = text(expression, "/key");
                let successor =
                    RENAMED_LABELS.iter().find(|(old, ..)| *old == key).map(|(_, new, _)| *new);
                if let Some(successor) = successor {
                    expression["key"] = successor.into();
                }
            }
        }
    }
    if renamed_old != renamed_new {
        let detail = format!("{IMMUTABLE}, except for updating from beta label to GA");
        let shown = match new {
            Value::Null => Value::Null,
            new => diff::internal_form(new, "core.v1.VolumeNodeAffinity"),
        };
        errors.invalid("nodeAffinity", shown, detail);
    }
}

/// The warning for a deprecated node label, if it is one.
pub fn deprecated_label(key: &str) -> Option<String> {
    let (_, successor, since) = RENAMED_LABELS.iter().find(|(old, ..)| *old == key)?;
    Some(format!("{key} is deprecated since {since}; use \"{successor}\" instead"))
}

/// Warnings for deprecated node labels and volume sources.
pub fn warnings(volume: &Value, warnings: &mut Vec<String>) {
    let terms = list(volume, "/spec/nodeAffinity/required/nodeSelectorTerms");
    for (index, term) in terms.iter().enumerate() {
        for (at, expression) in list(term, "/matchExpressions").iter().enumerate() {
            if let Some(warning) = deprecated_label(text(expression, "/key")) {
                warnings.push(format!(
                    "spec.nodeAffinity.required.nodeSelectorTerms[{index}].matchExpressions[{at}]\
                     .key: {warning}"
                ));
            }
        }
    }
    for (source, shown, since) in [
        ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
        (
            "photonPersistentDisk",
            "photonPersistentDisk",
            "deprecated in v1.11, non-functional in v1.16+",
        ),
        ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
        ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
        ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
        ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
    ] {
        if is_set(volume, &format!("/spec/{source}")) {
            warnings.push(format!("spec.{shown}: {since}"));
        }
    }
}
