//! VolumeAttachments: the wish that a volume be attached to a node, and how it
//! went.

use jiff::Timestamp;
use serde_json::Value;

use super::json::{is_true, put, restore, text};
use super::table::{AGE, NAME, age, column, name, typed};
use crate::cluster::embedded::kind::{Column, ServedKind, Traits};
use crate::cluster::embedded::status::FieldErrors;
use crate::model::kind;

/// VolumeAttachments as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::VOLUME_ATTACHMENT,
    shape: None,
    categories: &[],
    subresources: &[super::STATUS],
    traits: Traits { unconditional_update: false, delete_returns_object: true, ..super::PLAIN },
    columns: COLUMNS,
    cells,
    fields: super::NO_FIELDS,
    default: super::no_default,
    prepare,
    admit: super::no_admission,
    validate,
    validate_update,
    warnings: super::no_warnings,
};

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

fn validate(_: &Value, _: &mut FieldErrors) {}

fn validate_update(_: &Value, _: &Value, _: Option<&str>, _: &mut FieldErrors) {}
