//! Writes: the steps from a request to a commit.
//!
//! Everything up to the commit works on a snapshot and holds no lock; the
//! commit refuses what was decided on another version, and then the work is
//! done again, or the client told.

mod create;
mod delete;
mod delete_options;
mod metadata;
mod patch;
mod update;

use bytes::Bytes;
use serde_json::Value;

use crate::cluster::embedded::Embedded;
use crate::cluster::embedded::form;
use crate::cluster::embedded::kind::AdmissionView;
use crate::cluster::embedded::negotiate::Form;
use crate::cluster::embedded::path::ResourcePath;
use crate::cluster::embedded::query::Query;
use crate::cluster::embedded::refusal::{
    bad_options, bad_request, internal, unknown_object_format,
};
use crate::cluster::embedded::registry::Served;
use crate::cluster::embedded::reply::Reply;
use crate::cluster::embedded::schema::{self, FieldValidation, Format};
use crate::cluster::embedded::status::ApiError;
use crate::cluster::embedded::store::history::{Author, Commit};
use crate::cluster::embedded::store::object::{Draft, Stored};
use crate::cluster::embedded::store::{Change, CommitError, Span};
use crate::model::kind::Kind;
use crate::model::object::Key;
use crate::model::write::Reason;
use std::sync::Arc;

pub(super) use metadata::timestamp;
pub(super) use update::Updated;

/// How often a write that lost a race is tried again on what is there now. A
/// try is cheap here, so that many writers of one object all get through.
pub(super) const RACE_TRIES: usize = 100;

/// A writing request, as far as all of them are alike.
#[derive(Debug)]
pub(super) struct Call {
    pub path: ResourcePath,
    pub query: Query,
    pub content_type: String,
    pub body: Bytes,
    pub form: Form,
    pub author: Author,
    pub reason: Option<Reason>,
}

/// The options that every write knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct WriteOptions {
    pub dry_run: bool,
    pub validation: FieldValidation,
}

/// What became of a write.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Committed, or found to change nothing.
    Stored(Arc<Stored>),
    /// Not stored: a dry run, or an update that completed a deletion. In the
    /// stored shape.
    Unstored(Value),
}

impl Call {
    /// The same request at another path, without its body.
    pub fn clone_for(&self, path: ResourcePath) -> Self {
        Self {
            path,
            query: self.query.clone(),
            content_type: self.content_type.clone(),
            body: Bytes::new(),
            form: self.form,
            author: self.author.clone(),
            reason: self.reason.clone(),
        }
    }

    pub fn served(&self) -> Served {
        self.path.served
    }

    pub fn key(&self) -> Key {
        let namespace = self.path.namespace.as_deref().unwrap_or_default();
        Key::new(namespace, self.path.name.as_deref().unwrap_or_default())
    }

    pub fn name(&self) -> &str {
        self.path.name.as_deref().unwrap_or_default()
    }

    pub fn subresource(&self) -> Option<&str> {
        self.path.subresource.as_deref()
    }

    /// How the body is written; 415 if in none of the known ways.
    pub fn format(&self) -> Result<Format, ApiError> {
        Format::named(&self.content_type).ok_or_else(unknown_object_format)
    }

    /// The body as a value of a type, for bodies that are not served objects.
    pub fn value(&self, type_name: &str) -> Result<Value, ApiError> {
        let of =
            schema::named(type_name).ok_or_else(|| internal(format!("no type {type_name}")))?;
        schema::decode_as(of, &self.body, self.format()?).map_err(bad_request)
    }

    /// Reads the options; `kind` names them in refusals.
    pub fn options(&self, kind: &str) -> Result<WriteOptions, ApiError> {
        let dry_run = dry_run(self.query.all("dryRun"), kind)?;
        let validation = match self.query.get("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                return Err(bad_options(kind, |errors| {
                    errors.not_supported("fieldValidation", other, &["Ignore", "Strict", "Warn"]);
                }));
            }
        };
        Ok(WriteOptions { dry_run, validation })
    }
}

/// Whether nothing is to be stored.
fn dry_run<'a>(values: impl Iterator<Item = &'a str>, kind: &str) -> Result<bool, ApiError> {
    let mut dry = false;
    for value in values {
        if value != "All" {
            return Err(bad_options(kind, |errors| {
                errors.not_supported("dryRun", value, &["All"]);
            }));
        }
        dry = true;
    }
    Ok(dry)
}

/// What a commit needs beside the object.
#[derive(Debug)]
pub(super) struct Proposal<'a> {
    pub served: Served,
    pub key: Key,
    /// The version that was decided on; `None` for a creation.
    pub expected: Option<u64>,
    /// `None` deletes.
    pub next: Option<&'a Value>,
    pub author: &'a Author,
    pub reason: &'a Option<Reason>,
}

impl Embedded {
    /// Commits an object in its stored shape. `None`: another was faster.
    pub(super) fn propose(&self, proposal: Proposal<'_>) -> Result<Option<Arc<Commit>>, ApiError> {
        let Proposal { served, key, expected, next, author, reason } = proposal;
        let change = Change {
            table: served.table,
            next: next.map(|object| Draft::new(key.clone(), object, served.stored_fields)),
            key,
            expected,
            author: author.clone(),
            reason: reason.clone(),
            time: self.now(),
        };
        match self.store().commit(change) {
            Ok(commit) => {
                self.note_lifetime(served, &commit);
                Ok(Some(commit))
            }
            Err(CommitError::Raced) => Ok(None),
            Err(CommitError::Log(error)) => Err(internal(error)),
        }
    }

    /// The answer to a write of an object.
    pub(super) fn written(&self, code: u16, call: &Call, outcome: &Outcome) -> Reply {
        let body = match outcome {
            Outcome::Stored(stored) => {
                form::object(call.served(), stored, stored.version, call.form, self.now())
            }
            Outcome::Unstored(object) => {
                form::unstored(call.served(), object, call.form, self.now())
            }
        };
        Reply::json(code, body)
    }
}

/// What admission sees: the store as it is now.
impl AdmissionView for Embedded {
    fn list(&self, kind: &'static Kind, namespace: Option<&str>) -> Vec<Value> {
        let Some(served) = self.registry().by_kind(kind) else { return Vec::new() };
        let span = Span { table: served.table, namespace, after: None, at: None, limit: None };
        // The latest state is never compacted.
        let page = self.store().list(&span, |_| true);
        page.map(|page| page.objects.iter().map(|stored| served.object(stored)).collect())
            .unwrap_or_default()
    }

    fn get(&self, kind: &'static Kind, namespace: Option<&str>, name: &str) -> Option<Value> {
        let served = self.registry().by_kind(kind)?;
        let key = Key::new(namespace.unwrap_or_default(), name);
        self.store().get(served.table, &key).map(|stored| served.object(&stored))
    }
}
