//! The kinds that the embedded cluster serves: one file per kind, or per small
//! group of kinds, with its columns, cells, defaulting, validation, admission
//! and tests together.
//!
//! Order of an object's way in: [`super::schema::decode`] (after a patch
//! `decode_value`), `default`, `admit`, `prepare`, `validate`, and
//! [`super::schema::normalise`] before it is stored. Objects that come in
//! another shape turn to the stored one right after decoding. Invariant: nothing here reads a clock or
//! keeps state, and nothing panics on any JSON.

pub mod json;
pub mod table;

mod claim_spec;
mod class_parts;
mod config;
mod controller_revision;
mod csi_driver;
mod csi_node;
mod csi_storage_capacity;
mod deployment;
mod event;
mod lease;
mod limit_range;
pub mod namespace;
mod node;
mod outside;
mod persistent_volume;
pub mod persistent_volume_claim;
mod pod;
mod pod_changes;
mod pod_ports;
mod pod_rules;
mod pod_scheduling_rules;
mod pod_status;
mod pod_template;
pub mod priority_class;
mod replica_set;
mod resource_quota;
#[cfg(test)]
mod robustness;
mod service;
mod stateful_set;
mod storage_class;
#[cfg(test)]
mod testing;
mod volume_attachment;
mod volume_attributes_class;
mod volume_source;
mod volume_spec;
mod workload_rules;

use jiff::Timestamp;
use serde_json::Value;

use super::kind::{ServedKind, Subresource, Traits};
use crate::model::kind::{self, Kind};

/// Every served kind, in the order discovery lists them.
pub const ALL: &[&ServedKind] = &[
    &namespace::ROW,
    &node::ROW,
    &pod::ROW,
    &persistent_volume::ROW,
    &persistent_volume_claim::ROW,
    &service::ROW,
    &config::CONFIG_MAP,
    &config::SECRET,
    &config::SERVICE_ACCOUNT,
    &resource_quota::ROW,
    &limit_range::ROW,
    &event::ROW,
    &event::REGARDING_ROW,
    &stateful_set::ROW,
    &deployment::ROW,
    &replica_set::ROW,
    &controller_revision::ROW,
    &storage_class::ROW,
    &volume_attachment::ROW,
    &csi_node::ROW,
    &csi_driver::ROW,
    &csi_storage_capacity::ROW,
    &volume_attributes_class::ROW,
    &lease::ROW,
    &priority_class::ROW,
];

pub use outside::ALL as OUTSIDE;

/// The row of a kind, if it is served.
pub fn row(kind: &Kind) -> Option<&'static ServedKind> {
    ALL.iter().copied().find(|row| row.names == kind)
}

const READ_WRITE: &[&str] = &["get", "patch", "update"];
const STATUS: Subresource = Subresource { name: "status", verbs: READ_WRITE, body: None };
const SCALE: Subresource =
    Subresource { name: "scale", verbs: READ_WRITE, body: Some(("autoscaling", "v1", "Scale")) };

/// What most kinds have in common.
const PLAIN: Traits = Traits {
    unconditional_update: true,
    create_on_update: false,
    generation: false,
    delete_returns_object: false,
    graceful_deletion: false,
    lifetime: None,
};

/// A row in which a kind names what is its own. Each has names, columns, cells
/// and validation of its own: what stands here for those is never served.
const BASE: ServedKind = ServedKind {
    names: kind::NAMESPACE,
    shape: None,
    categories: &[],
    subresources: &[],
    traits: PLAIN,
    columns: &[],
    cells: |_, _| Vec::new(),
    fields: &[],
    default: |_| {},
    prepare: |_, _, _, _| {},
    admit: |_, _, _| Ok(()),
    validate: |_, _| {},
    validate_update: |_, _, _, _| {},
    warnings: |_| Vec::new(),
};

/// The reset that most kinds with a status make: the main endpoint takes
/// everything but the status, the status endpoint nothing but status and
/// metadata.
fn prepare_with_status(
    object: &mut Value,
    old: Option<&Value>,
    subresource: Option<&str>,
    _: Timestamp,
) {
    match (old, subresource) {
        (None, _) => json::put(object, "status", None),
        (Some(old), Some("status")) => json::restore(object, old, "spec"),
        (Some(old), _) => json::restore(object, old, "status"),
    }
}
