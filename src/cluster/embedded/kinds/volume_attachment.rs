//! VolumeAttachments: the wish that a volume be attached to a node, and how it
//! went.

use jiff::Timestamp;
use serde_json::Value;

use super::json::{child, entries, fill, integer, is_true, put, restore, text};
use super::table::{AGE, NAME, age, column, name, typed};
use super::volume_source::driver_name;
use super::{persistent_volume, volume_spec};
use crate::cluster::embedded::kind::{Column, ServedKind, Traits};
use crate::cluster::embedded::status::FieldErrors;
use crate::cluster::embedded::validation::{IMMUTABLE, diff, metadata, names, too_long};
use crate::model::kind;

/// VolumeAttachments as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::VOLUME_ATTACHMENT,
    subresources: &[super::STATUS],
    traits: Traits { unconditional_update: false, delete_returns_object: true, ..super::PLAIN },
    columns: COLUMNS,
    cells,
    default,
    prepare,
    validate,
    validate_update,
    ..super::BASE
};

/// Bytes of all metadata of an attachment together.
const TEXTS_MAX: usize = 256 << 10;
/// Bytes of an error's message.
const MESSAGE_MAX: usize = 1024;

const COLUMNS: &[Column] = &[
    NAME,
    Column { format: "name", ..column("Attacher", "The driver that attaches and detaches.") },
    column("PV", "The volume, empty for one written inline."),
    column("Node", "The node it is to be attached to."),
    typed("Attached", "boolean", "Whether the driver has attached it."),
    AGE,
];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(object),
        text(object, "/spec/attacher").into(),
        text(object, "/spec/source/persistentVolumeName").into(),
        text(object, "/spec/nodeName").into(),
        is_true(object, "/status/attached").into(),
        age(object, now),
    ]
}

/// A volume written inline has the defaults of volumes.
fn default(object: &mut Value) {
    if let Some(spec) = object.pointer_mut("/spec/source/inlineVolumeSpec")
        && spec.is_object()
    {
        persistent_volume::default_spec(spec);
    }
    if let Some(status) = child(object, "status") {
        fill(status, "attached", false);
    }
}

/// Unlike volumes and claims, an attachment takes nothing but its status
/// through `/status`.
fn prepare(object: &mut Value, old: Option<&Value>, subresource: Option<&str>, _: Timestamp) {
    match (old, subresource) {
        (None, _) => put(object, "status", None),
        (Some(old), Some("status")) => {
            restore(object, old, "spec");
            let version = object.pointer("/metadata/resourceVersion").cloned();
            restore(object, old, "metadata");
            if let Some(metadata) = object.get_mut("metadata") {
                put(metadata, "resourceVersion", version);
            }
        }
        (Some(old), _) => restore(object, old, "status"),
    }
}

fn validate(object: &Value, errors: &mut FieldErrors) {
    metadata::validate(object, kind::VOLUME_ATTACHMENT, names::subdomain, errors);
    validate_either(object, errors);
    driver_name(text(object, "/spec/attacher"), "spec.attacher", errors);
    let volume = object.pointer("/spec/source/persistentVolumeName").and_then(Value::as_str);
    if let Some(name) = volume {
        for wrong in names::subdomain(name) {
            errors.invalid("spec.source.persistentVolumeName", name, wrong);
        }
    }
}

/// The rules for new and changed attachments alike.
fn validate_either(object: &Value, errors: &mut FieldErrors) {
    if text(object, "/spec/attacher").is_empty() {
        errors.required("spec.attacher", "");
    }
    source(object, errors);
    let node = text(object, "/spec/nodeName");
    for wrong in names::subdomain(node) {
        errors.invalid("spec.nodeName", node, wrong);
    }
    status(object, errors);
}

fn source(attachment: &Value, errors: &mut FieldErrors) {
    const PATH: &str = "spec.source";
    const ONE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    let inline = attachment.pointer("/spec/source/inlineVolumeSpec").filter(|s| !s.is_null());
    let volume = attachment.pointer("/spec/source/persistentVolumeName").and_then(Value::as_str);
    match (inline, volume) {
        (None, None) => errors.required(PATH, ONE),
        (Some(_), Some(_)) => errors.forbidden(PATH, ONE),
        (None, Some("")) => errors.required(
            format!("{PATH}.persistentVolumeName"),
            "must specify non empty persistentVolumeName",
        ),
        (None, Some(_)) => {}
        (Some(spec), None) => {
            volume_spec::validate_inline(spec, &format!("{PATH}.inlineVolumeSpec"), errors);
        }
    }
}

fn status(attachment: &Value, errors: &mut FieldErrors) {
    let metadata = entries(attachment, "/status/attachmentMetadata");
    let size: usize =
        metadata.map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if size > TEXTS_MAX {
        too_long("status.attachmentMetadata", TEXTS_MAX, errors);
    }
    for field in ["attachError", "detachError"] {
        if text(attachment, &format!("/status/{field}/message")).len() > MESSAGE_MAX {
            // The text names the other limit, as the server's does.
            too_long(format!("status.{field}.message"), TEXTS_MAX, errors);
        }
        let code = integer(attachment, &format!("/status/{field}/errorCode"));
        if code < 0 {
            let detail = "must be between 0 and 2147483647, inclusive";
            errors.invalid(format!("status.{field}.errorCode"), code, detail);
        }
    }
}

fn validate_update(object: &Value, old: &Value, _: Option<&str>, errors: &mut FieldErrors) {
    metadata::validate_update(object, old, errors);
    metadata::validate(object, kind::VOLUME_ATTACHMENT, names::subdomain, errors);
    validate_either(object, errors);
    if object.get("spec") != old.get("spec") {
        let spec = object.get("spec").cloned().unwrap_or_default();
        let shown = diff::internal_form(&spec, "storage.v1.VolumeAttachmentSpec");
        errors.invalid("spec", shown, IMMUTABLE);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::*;
    use super::*;

    fn base() -> Value {
        json!({
            "metadata": {"name": "a", "resourceVersion": "1"},
            "spec": {"attacher": "d", "nodeName": "n", "source": {"persistentVolumeName": "v"}},
        })
    }

    #[test]
    fn a_new_attachment_is_refused_for_what_is_wrong_with_it() {
        check_refusals(
            &ROW,
            &base(),
            &[
                (json!({}), &[]),
                (
                    json!({"spec": {"source": {"inlineVolumeSpec": {}}}}),
                    &["spec.source: Forbidden: must specify exactly one of inlineVolumeSpec and \
                 persistentVolumeName"],
                ),
                (
                    json!({"spec": {"attacher": ""}}),
                    &[
                        "spec.attacher: Required value",
                        "spec.attacher: Required value",
                        "spec.attacher: Invalid value: \"\": a lowercase RFC 1123 subdomain must \
                         consist of lower case alphanumeric characters, '-' or '.', and must start \
                         and end with an alphanumeric character (e.g. 'example.com', regex used for \
                         validation is \
                         '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                    ],
                ),
                (
                    json!({"spec": {"attacher": "x".repeat(64)}}),
                    &["spec.attacher: Too long: may not be more than 63 bytes"],
                ),
                (
                    json!({"spec": {"source": {"persistentVolumeName": null, "inlineVolumeSpec": {
                        "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
                        "csi": {"driver": "d", "volumeHandle": "h"},
                    }}}}),
                    &[
                        "spec.source.inlineVolumeSpec.capacity: Forbidden: may not be specified in the \
                     context of inline volumes",
                    ],
                ),
            ],
        );
    }

    #[test]
    fn a_stored_attachment_keeps_its_spec() {
        let stored = taken(&ROW, &base(), &Objects(Vec::new())).expect("an attachment");
        let refused = change_refusals(&ROW, &stored, &json!({"spec": {"nodeName": "m"}}));
        assert_eq!(
            refused,
            [
                "spec: Invalid value: {\"Attacher\":\"d\",\"Source\":{\"PersistentVolumeName\":\"v\",\
                 \"InlineVolumeSpec\":null},\"NodeName\":\"m\"}: field is immutable"
            ]
        );
    }

    #[test]
    fn the_status_endpoint_takes_the_status_alone() {
        let stored = taken(&ROW, &base(), &Objects(Vec::new())).expect("an attachment");
        let mut sent = stored.clone();
        sent["metadata"]["labels"] = json!({"a": "b"});
        sent["spec"]["nodeName"] = "m".into();
        sent["status"]["attached"] = true.into();
        prepare(&mut sent, Some(&stored), Some("status"), now());
        assert_eq!(sent["status"], json!({"attached": true}));
        assert_eq!((&sent["spec"], &sent["metadata"]), (&stored["spec"], &stored["metadata"]));
    }
}
