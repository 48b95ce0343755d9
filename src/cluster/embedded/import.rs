//! Objects that come in past admission and validation: what a fork, a dump or
//! a scenario begins with.

use serde_json::{Map, Value};

use crate::cluster::embedded::refusal::{already_exists, bad_request, internal};
use crate::cluster::embedded::registry::stored_kind;
use crate::cluster::embedded::status::ApiError;
use crate::cluster::embedded::store::history::Author;
use crate::cluster::embedded::store::object::Draft;
use crate::cluster::embedded::store::{Change, CommitError};
use crate::cluster::embedded::write::timestamp;
use crate::cluster::embedded::{Embedded, schema};
use crate::model::object::Key;

impl Embedded {
    /// Takes objects in as they are, in the order of their versions: uids,
    /// times, status and finalizers stay. A version stays where it is above
    /// the cluster's revision, else the object gets a new one. Stops at the
    /// first object of an unknown kind, with a field of a wrong type, or of a
    /// name that is taken.
    pub fn import(&self, objects: Vec<Value>, actor: &str) -> Result<(), ApiError> {
        let author = Author::named(actor);
        let mut objects = objects;
        objects.sort_by_key(version);
        objects.into_iter().try_for_each(|object| self.import_object(object, &author))
    }

    pub(super) fn import_object(&self, mut object: Value, author: &Author) -> Result<(), ApiError> {
        let text =
            |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (api_version, kind) = (text("/apiVersion"), text("/kind"));
        let served = self.registry().by_type(api_version, kind).ok_or_else(|| {
            bad_request(format!("no kind `{kind}` of `{api_version}` is served here"))
        })?;
        let key = Key::new(text("/metadata/namespace"), text("/metadata/name"));
        let wanted = version(&object);
        // Everything behind the store relies on the types of its fields.
        object = schema::decode_value(served.names(), object, schema::FieldValidation::Ignore)
            .map_err(|why| {
                bad_request(format!("{} `{key}` cannot be taken in: {why}", served.names()))
            })?
            .object;
        if let Some(shape) = served.row.shape {
            (shape.to_stored)(&mut object);
        }
        let now = self.now();
        if let Some(fields) = object.as_object_mut() {
            let metadata = fields.entry("metadata").or_insert_with(|| Map::new().into());
            if let Some(metadata) = metadata.as_object_mut() {
                let uid = || uuid::Uuid::new_v4().to_string().into();
                metadata.entry("uid").or_insert_with(uid);
                metadata.entry("creationTimestamp").or_insert_with(|| timestamp(now));
            }
        }
        schema::normalise(stored_kind(served.row), &mut object);
        let change = Change {
            table: served.table,
            next: Some(Draft::new(key.clone(), &object, served.stored_fields)),
            expected: None,
            author: author.clone(),
            reason: None,
            time: now,
            key: key.clone(),
        };
        match self.store().commit_at(change, |next| wanted.max(next)) {
            Ok(commit) => {
                self.note_lifetime(served, &commit);
                Ok(())
            }
            Err(CommitError::Raced) => Err(already_exists(served.names(), &key.name, false)),
            Err(CommitError::Log(error)) => Err(internal(error)),
        }
    }
}

fn version(object: &Value) -> u64 {
    let version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str);
    version.and_then(|version| version.parse().ok()).unwrap_or(0)
}
