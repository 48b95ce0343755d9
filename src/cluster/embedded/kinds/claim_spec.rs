//! The rules of a claim's spec and of what an update may change in it.

use serde_json::{Value, json};

use super::json::{annotation, is_set, list, put, text};
use super::volume_spec::{known_access_modes, positive, volume_mode};
use crate::cluster::embedded::status::FieldErrors;
use crate::cluster::embedded::validation::{diff, immutable, names, selectors};
use crate::model::quantity::Quantity;

/// The old place of a claim's class.
pub const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

/// The rules of a claim's spec at `path`. `old` is the stored claim's spec.
pub fn validate(spec: &Value, path: &str, old: Option<&Value>, errors: &mut FieldErrors) {
    let modes = format!("{path}.accessModes");
    if list(spec, "/accessModes").is_empty() {
        errors.required(modes.as_str(), "at least 1 access mode is required");
    }
    if let Some(selector) = spec.get("selector").filter(|selector| !selector.is_null()) {
        let lenient = old.and_then(|old| old.get("selector")).is_some_and(selectors::has_bad_value);
        selectors::label_selector(selector, &format!("{path}.selector"), lenient, errors);
    }
    known_access_modes(spec, &modes, errors);
    requested_size(spec, &format!("{path}.resources[storage]"), errors);
    name(spec, "storageClassName", path, errors);
    volume_mode(spec, &format!("{path}.volumeMode"), errors);
    data_sources(spec, path, old, errors);
    name(spec, "volumeAttributesClassName", path, errors);
}

fn requested_size(spec: &Value, path: &str, errors: &mut FieldErrors) {
    match spec.pointer("/resources/requests/storage") {
        Some(value) if !value.is_null() => {
            let size = Quantity::parse(value.as_str().unwrap_or_default());
            positive(value, size.unwrap_or(Quantity::ZERO), path.to_owned(), errors);
        }
        _ => errors.required(path, ""),
    }
}

/// A class name may be empty, which says: none.
fn name(spec: &Value, field: &str, path: &str, errors: &mut FieldErrors) {
    let name = text(spec, &format!("/{field}"));
    if !name.is_empty() {
        for wrong in names::subdomain(name) {
            errors.invalid(format!("{path}.{field}"), name, wrong);
        }
    }
}

fn data_sources(spec: &Value, path: &str, old: Option<&Value>, errors: &mut FieldErrors) {
    // A stored group of either field lets any group pass.
    let had_group = old.is_some_and(|old| {
        is_set(old, "/dataSource/apiGroup") || is_set(old, "/dataSourceRef/apiGroup")
    });
    for field in ["dataSource", "dataSourceRef"] {
        let Some(source) = spec.get(field).filter(|source| !source.is_null()) else { continue };
        let path = format!("{path}.{field}");
        data_source(source, &path, had_group, errors);
        let namespace = text(source, "/namespace");
        if field == "dataSourceRef" && !namespace.is_empty() {
            for wrong in names::label(namespace) {
                errors.invalid(format!("{path}.namespace"), namespace, wrong);
            }
        }
    }
    if !is_set(spec, "/dataSource") || !is_set(spec, "/dataSourceRef") {
        return;
    }
    if !text(spec, "/dataSourceRef/namespace").is_empty() {
        let detail = "may not be specified when dataSourceRef.namespace is specified";
        errors.invalid(path, json!({}), detail);
    } else if ["apiGroup", "kind", "name"].iter().any(|field| {
        text(spec, &format!("/dataSource/{field}"))
            != text(spec, &format!("/dataSourceRef/{field}"))
    }) {
        errors.invalid(path, json!({}), "must match dataSourceRef");
    }
}

fn data_source(source: &Value, path: &str, had_group: bool, errors: &mut FieldErrors) {
    for field in ["name", "kind"] {
        if text(source, &format!("/{field}")).is_empty() {
            errors.required(format!("{path}.{field}"), "");
        }
    }
    let (group, kind) = (text(source, "/apiGroup"), text(source, "/kind"));
    if group.is_empty() && kind != "PersistentVolumeClaim" {
        let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        errors.invalid(path, kind, detail);
    }
    if !group.is_empty() && !had_group {
        for wrong in names::subdomain(group) {
            errors.invalid(format!("{path}.apiGroup"), group, wrong);
        }
    }
}

/// What an update may not change. The permitted changes are taken out of
/// copies of both specs, and the rest must be equal.
pub fn validate_changes(claim: &Value, old: &Value, errors: &mut FieldErrors) {
    let nothing = json!({});
    let mut new_spec = claim.get("spec").unwrap_or(&nothing).clone();
    let mut old_spec = old.get("spec").unwrap_or(&nothing).clone();
    if text(&old_spec, "/volumeName").is_empty() {
        take(&mut old_spec, &new_spec, "volumeName");
    }
    class_change(claim, old, &mut new_spec, &old_spec, errors);
    // The status is the stored one: updates of the spec do not carry it.
    if text(claim, "/status/phase") == "Bound" {
        if let Some(requests) = new_spec.pointer_mut("/resources/requests")
            && requests.is_object()
        {
            put(requests, "storage", old_spec.pointer("/resources/requests/storage").cloned());
        }
        take(&mut new_spec, &old_spec, "volumeAttributesClassName");
    }
    if new_spec != old_spec {
        errors.forbidden(
            "spec",
            format!(
                "spec is immutable after creation except resources.requests and \
                 volumeAttributesClassName for bound claims\n{}",
                diff::of_type(&old_spec, &new_spec, "core.v1.PersistentVolumeClaimSpec")
            ),
        );
    }
    shrinking(claim, old, errors);
    let mode = |claim: &Value| claim.pointer("/spec/volumeMode").cloned();
    immutable("volumeMode", mode(claim).as_ref(), mode(old).as_ref(), errors);
    attributes_class_change(claim, old, errors);
}

/// Makes `field` of one spec that of the other.
fn take(spec: &mut Value, other: &Value, field: &str) {
    put(spec, field, other.get(field).cloned());
}

/// A class may be given once, or move from the annotation to the field.
fn class_change(
    claim: &Value,
    old: &Value,
    new_spec: &mut Value,
    old_spec: &Value,
    errors: &mut FieldErrors,
) {
    let (before, after) = (annotation(old, CLASS_ANNOTATION), annotation(claim, CLASS_ANNOTATION));
    let (old_class, new_class) = (
        old_spec.get("storageClassName").and_then(Value::as_str),
        new_spec.get("storageClassName").and_then(Value::as_str),
    );
    let moves = before.is_some()
        && old_class.is_none()
        && new_class == before
        && (after.is_none() || after == before);
    if moves {
        put(new_spec, "storageClassName", None);
        return;
    }
    if before.unwrap_or_default() != after.unwrap_or_default() {
        let path = format!("metadata.annotations.{CLASS_ANNOTATION}");
        errors.invalid(path, after.unwrap_or_default(), "field is immutable");
    }
    let given_now =
        old_class.is_none() && new_class.is_some() && (before.is_none() || before == new_class);
    if given_now {
        take(new_spec, old_spec, "storageClassName");
    }
}

fn shrinking(claim: &Value, old: &Value, errors: &mut FieldErrors) {
    let size = |claim: &Value, pointer: &str| {
        Quantity::parse(text(claim, pointer)).unwrap_or(Quantity::ZERO)
    };
    const REQUEST: &str = "/spec/resources/requests/storage";
    let new = size(claim, REQUEST);
    if new < size(old, REQUEST) && new <= size(old, "/status/capacity/storage") {
        errors.forbidden(
            "spec.resources.requests.storage",
            "field can not be less than status.capacity",
        );
    }
}

fn attributes_class_change(claim: &Value, old: &Value, errors: &mut FieldErrors) {
    const FIELD: &str = "/spec/volumeAttributesClassName";
    const PATH: &str = "spec.volumeAttributesClassName";
    let (new, before) = (claim.pointer(FIELD), old.pointer(FIELD));
    if new == before || !is_set(old, "/status/currentVolumeAttributesClassName") {
        return;
    }
    match new.and_then(Value::as_str) {
        None => errors.forbidden(
            PATH,
            "update to nil is forbidden when status.currentVolumeAttributesClassName is not nil",
        ),
        Some("") => errors.forbidden(
            PATH,
            "update to empty string is forbidden when status.currentVolumeAttributesClassName is \
             not nil",
        ),
        Some(_) => {}
    }
}

/// The rules of what the status endpoint takes.
pub fn validate_status(claim: &Value, errors: &mut FieldErrors) {
    const STATES: &[&str] = &[
        "ControllerResizeInProgress",
        "ControllerResizeInfeasible",
        "NodeResizePending",
        "NodeResizeInProgress",
        "NodeResizeInfeasible",
    ];
    if text(claim, "/metadata/resourceVersion").is_empty() {
        errors.required("resourceVersion", "");
    }
    if list(claim, "/spec/accessModes").is_empty() {
        errors.required("Spec.accessModes", "");
    }
    for (resource, value) in super::json::entries(claim, "/status/capacity") {
        not_negative(value, format!("status.capacity[{resource}]"), errors);
    }
    for (resource, value) in super::json::entries(claim, "/status/allocatedResourceStatuses") {
        const PATH: &str = "status.allocatedResourceStatuses";
        resizable(resource, PATH, errors);
        if !value.as_str().is_some_and(|state| STATES.contains(&state)) {
            // The value shown is the key, as the server has it.
            errors.not_supported(PATH, resource.as_str(), STATES);
        }
    }
    for (resource, value) in super::json::entries(claim, "/status/allocatedResources") {
        if resizable(resource, "status.allocatedResources", errors) {
            not_negative(value, format!("status.allocatedResources[{resource}]"), errors);
        }
    }
}

fn not_negative(value: &Value, path: String, errors: &mut FieldErrors) {
    if let Ok(size) = Quantity::parse(value.as_str().unwrap_or_default())
        && size.is_negative()
    {
        let units = i64::try_from(size.units()).unwrap_or(i64::MIN);
        errors.invalid(path, units, "must be a valid resource quantity");
    }
}

/// A resource of Kubernetes' own that can be resized is `storage`. Whether
/// this one can be.
fn resizable(resource: &str, path: &str, errors: &mut FieldErrors) -> bool {
    let wrong = names::qualified(resource);
    let native = !resource.contains('/') || resource.starts_with("kubernetes.io/");
    let unknown = wrong.is_empty() && native && resource != "storage";
    let right = wrong.is_empty() && !unknown;
    for wrong in wrong {
        errors.invalid(path, resource, wrong);
    }
    if unknown {
        errors.not_supported(path, resource, &["storage"]);
    }
    right
}

/// Warnings about amounts that are no whole number of bytes.
pub fn warnings(spec: &Value, path: &str, warnings: &mut Vec<String>) {
    for side in ["requests", "limits"] {
        let given = text(spec, &format!("/resources/{side}/storage"));
        if Quantity::parse(given).is_ok_and(Quantity::is_fractional) {
            warnings.push(format!(
                "{path}.resources.{side}[storage]: fractional byte value \"{given}\" is invalid, \
                 must be an integer"
            ));
        }
    }
}
