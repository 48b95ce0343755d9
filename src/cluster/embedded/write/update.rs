//! Replacing an object, and what replacing and patching share: the way from
//! the wanted object to the commit.

use serde_json::Value;

use super::create::refuse_invalid;
use super::metadata::{self, settle_namespace, text};
use super::{Call, Outcome, Proposal, RACE_TRIES, WriteOptions};
use crate::cluster::embedded::Embedded;
use crate::cluster::embedded::refusal::{bad_request, not_found, other_uid, stale};
use crate::cluster::embedded::registry::stored_kind;
use crate::cluster::embedded::reply::Reply;
use crate::cluster::embedded::schema;
use crate::cluster::embedded::status::{ApiError, FieldErrors};
use crate::cluster::embedded::store::object::Stored;
use std::sync::Arc;

/// What became of one try to update.
#[derive(Debug)]
pub(in crate::cluster::embedded) enum Updated {
    Done(Outcome),
    /// Another write came between: decide again.
    Raced,
}

impl Embedded {
    /// Answers a PUT of an object or a subresource that is the object.
    pub(in crate::cluster::embedded) fn replace(&self, call: &Call) -> Result<Reply, ApiError> {
        let options = call.options("UpdateOptions")?;
        let served = call.served();
        let names = served.names();
        let decoded = schema::decode(names, &call.body, call.format()?, options.validation)?;
        let mut object = decoded.object;
        let mut warnings = decoded.warnings;
        check_name(call, &mut object)?;
        settle_namespace(&mut object, &call.path)?;
        let asked = text(&object, "resourceVersion").to_owned();
        for _ in 0..RACE_TRIES {
            let Some(held) = self.store().get(served.table, &call.key()) else {
                if served.row.traits.create_on_update && call.subresource().is_none() {
                    let outcome = self.create_object(call, options, object, &mut warnings)?;
                    return Ok(self.written(201, call, &outcome).with_warnings(warnings));
                }
                return Err(not_found(names, call.name()));
            };
            self.check_identity(call, &object, &held)?;
            if asked.is_empty() && !served.row.traits.unconditional_update {
                let mut errors = FieldErrors::default();
                errors.invalid("metadata.resourceVersion", 0, "must be specified for an update");
                refuse_invalid(call, call.name(), errors)?;
            }
            if !asked.is_empty() && asked != held.version.to_string() {
                return Err(stale(names, call.name()));
            }
            let old = served.stored_object(&held);
            let updated = self.update(call, options, object.clone(), &held, &old, &mut warnings)?;
            match updated {
                Updated::Done(outcome) => {
                    return Ok(self.written(200, call, &outcome).with_warnings(warnings));
                }
                Updated::Raced if !asked.is_empty() => return Err(stale(names, call.name())),
                Updated::Raced => {}
            }
        }
        Err(stale(names, call.name()))
    }

    /// A uid in the wanted object must be that of the stored one.
    pub(super) fn check_identity(
        &self,
        call: &Call,
        object: &Value,
        held: &Stored,
    ) -> Result<(), ApiError> {
        let asked = text(object, "uid");
        if asked.is_empty() || *asked == *held.uid {
            return Ok(());
        }
        let namespace = call.path.namespace.as_deref();
        Err(other_uid(call.served().names(), namespace, call.name(), asked, &held.uid))
    }

    /// Brings the stored object, `held` and decoded as `old`, to the wanted
    /// one, given in the endpoint's shape.
    pub(in crate::cluster::embedded) fn update(
        &self,
        call: &Call,
        options: WriteOptions,
        mut object: Value,
        held: &Arc<Stored>,
        old: &Value,
        warnings: &mut Vec<String>,
    ) -> Result<Updated, ApiError> {
        let served = call.served();
        if let Some(shape) = served.row.shape {
            (shape.to_stored)(&mut object);
        }
        let asked_version = text(&object, "resourceVersion").to_owned();
        let mut errors = FieldErrors::default();
        metadata::carry_over(&mut object, old, &mut errors);
        let repeated = metadata::drop_repeated_owners(&mut object);
        (served.row.default)(&mut object);
        if call.subresource().is_none() {
            (served.row.admit)(&mut object, Some(old), self)?;
        }
        (served.row.prepare)(&mut object, Some(old), call.subresource(), self.now());
        schema::normalise(stored_kind(served.row), &mut object);
        (served.row.validate_update)(&object, old, call.subresource(), &mut errors);
        refuse_invalid(call, call.name(), errors)?;
        self.admit_valid(call, options, &object, Some(old))?;
        if served.row.traits.generation && object.get("spec") != old.get("spec") {
            metadata::raise_generation(&mut object);
        }
        // Who writes a status is not to blame for the spec.
        let fresh = match call.subresource() {
            None => (served.row.warnings)(&object),
            Some(_) => Vec::new(),
        };
        for warning in repeated.into_iter().chain(fresh) {
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        let version =
            if asked_version.is_empty() { held.version.to_string() } else { asked_version };
        self.commit_update(call, options, object, old, held, version)
    }

    fn commit_update(
        &self,
        call: &Call,
        options: WriteOptions,
        mut object: Value,
        old: &Value,
        held: &Arc<Stored>,
        version: String,
    ) -> Result<Updated, ApiError> {
        let is_complete = is_deletion_complete(&object);
        if !is_complete && object == *old {
            return Ok(Updated::Done(Outcome::Stored(held.clone())));
        }
        if options.dry_run {
            return Ok(Updated::Done(Outcome::Unstored(object)));
        }
        let proposed = self.propose(Proposal {
            served: call.served(),
            key: call.key(),
            expected: Some(held.version),
            next: (!is_complete).then_some(&object),
            author: &call.author,
            reason: &call.reason,
        })?;
        let Some(commit) = proposed else { return Ok(Updated::Raced) };
        Ok(Updated::Done(match &commit.after {
            Some(stored) => Outcome::Stored(stored.clone()),
            None => {
                // The client gets what it sent, not a deletion's answer.
                metadata::metadata(&mut object).insert("resourceVersion".into(), version.into());
                Outcome::Unstored(object)
            }
        }))
    }
}

/// Whether an object was only waiting for finalizers that are gone now.
pub(super) fn is_deletion_complete(object: &Value) -> bool {
    let grace = object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or_default();
    // Namespaces have finalizers of their own.
    let own = object["kind"] == "Namespace"
        && object["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
    metadata::is_terminating(object)
        && metadata::finalizers(object).next().is_none()
        && grace == 0
        && !own
}

/// The name in the object must be that of the path; absent, it is taken from it.
fn check_name(call: &Call, object: &mut Value) -> Result<(), ApiError> {
    let given = text(object, "name");
    if given == call.name() {
        return Ok(());
    }
    if given.is_empty() {
        return Err(bad_request(format!(
            "name must be provided: the name of the object is empty, the name on the URL is {}",
            call.name()
        )));
    }
    Err(bad_request(format!(
        "the name of the object ({given}) does not match the name on the URL ({})",
        call.name()
    )))
}
