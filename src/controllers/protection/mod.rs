//! Keeps claims, volumes and attributes classes from vanishing while they are
//! used: a finalizer on each, taken off when nothing uses it any more.
//!
//! ```text
//! mirror -> duty of one object (pure) -> [live list of pods] -> finalizer added | taken off
//! ```
//!
//! Upstream: `pvcprotection`, `pvprotection`, `vacprotection` in
//! `pkg/controller/volume`.

pub mod attributes_class;
pub mod claim;
pub mod volume;

use serde_json::json;

use crate::model::object::{Meta, ObjectRef};
use crate::model::row::Row;
use crate::model::write::{Change, Reason, Write};

/// What the finalizer of one object calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    Nothing,
    Add,
    /// Take it off, if nothing uses the object.
    RemoveUnlessUsed,
}

/// What an object's metadata calls for.
pub fn duty(meta: &Meta, finalizer: &str) -> Duty {
    match (meta.deleting.is_some(), meta.has_finalizer(finalizer)) {
        (false, false) => Duty::Add,
        (true, true) => Duty::RemoveUnlessUsed,
        (false, true) | (true, false) => Duty::Nothing,
    }
}

/// The write that puts the finalizer on.
fn adding<R: Row>(row: &R, finalizer: &str, rule: &str) -> Write {
    let kept = row.meta().finalizers.iter().map(|name| &**name);
    write(row, kept.chain([finalizer]).collect(), rule, "it must not vanish while it is used")
}

/// The write that takes the finalizer off.
fn removing<R: Row>(row: &R, finalizer: &str, rule: &str) -> Write {
    let left = row.meta().finalizers.iter().map(|name| &**name);
    let left = left.filter(|name| *name != finalizer).collect();
    write(row, left, rule, "it is being deleted and nothing uses it")
}

fn write<R: Row>(row: &R, finalizers: Vec<&str>, rule: &str, why: &str) -> Write {
    let object = ObjectRef::new(R::KIND, row.meta().key.clone());
    Write {
        object: object.clone(),
        subresource: None,
        change: Change::Merge(json!({"metadata": {"finalizers": finalizers}})),
        version: Some(row.meta().version),
        on_behalf_of: object,
        reason: Reason::new(rule, why),
    }
}

/// Why there may be nothing to write.
const SETTLED: &str = "its finalizer is right as it is";

#[cfg(test)]
pub(crate) mod tests;
