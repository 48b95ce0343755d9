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
pub mod settling;
pub mod volume;

use std::sync::Arc;

use serde_json::{Value, json};

use crate::cluster::write_path::WriteError;
use crate::controllers::health::Health;
use crate::controllers::server::Server;
use crate::controllers::work_loop::{Outcome, Pass};
use crate::mirror::Mirror;
use crate::model::object::{Meta, ObjectRef};
use crate::model::row::Row;
use crate::model::write::{Change, Reason, Write};

/// What a protection controller works with.
pub struct Parts {
    pub server: Arc<dyn Server>,
    pub mirror: Mirror,
    pub health: Health,
}

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

/// How one write of a pass went.
enum Written {
    Ended(Pass),
    /// It was held; decide again.
    Again,
}

impl Parts {
    async fn perform(&self, write: &Write) -> (Written, Option<Value>) {
        match self.server.perform(write).await {
            Ok(answer) => {
                self.health.wrote();
                (Written::Ended(Pass::done()), Some(answer))
            }
            Err(WriteError::DecideAgain { .. }) => (Written::Again, None),
            // It has gone, which is what was wanted.
            Err(WriteError::NotFound { .. }) => (Written::Ended(Pass::done()), None),
            Err(WriteError::Conflict { .. }) => {
                (Written::Ended(Pass::new(Outcome::Outdated)), None)
            }
            Err(error) => (Written::Ended(Pass::new(Outcome::Failed(error.to_string()))), None),
        }
    }

    /// Takes the answer to a write into the mirror, so that the next pass does
    /// not decide on what was before it.
    fn learn<R: crate::mirror::Mirrored>(&self, answer: Option<Value>) {
        if let Some(Ok(row)) = answer.map(|answer| R::from_object(&answer)) {
            self.mirror.observe(row);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
