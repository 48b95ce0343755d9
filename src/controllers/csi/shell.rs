//! What all companions do alike: read, write until done, tell.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::cluster::write_path::WriteError;
use crate::controllers::events::Recorder;
use crate::controllers::health::Health;
use crate::controllers::server::Server;
use crate::mirror::Mirror;
use crate::model::clock::Clock;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::write::{Change, Reason, Write};

/// A write is decided again at most so often before the object is given up
/// until its next turn.
const TRIES: usize = 16;

/// The surroundings of a companion.
pub struct Shell {
    pub server: Arc<dyn Server>,
    pub mirror: Mirror,
    pub recorder: Recorder,
    pub clock: Arc<dyn Clock>,
    pub health: Health,
}

/// Names and values of a Secret.
pub type Secrets = std::collections::HashMap<String, String>;

impl Shell {
    /// An object as it is now. The error says what was tried.
    pub async fn get(&self, object: &ObjectRef) -> Result<Option<Value>, String> {
        self.server.get(object).await.map_err(|error| error.to_string())
    }

    /// An object that is expected to be there.
    pub async fn expect(&self, object: &ObjectRef) -> Result<Value, String> {
        let missing =
            || format!("{} \"{}\" not found", object.kind.qualified_plural(), object.key.name);
        self.get(object).await?.ok_or_else(missing)
    }

    /// The contents of a Secret.
    pub async fn secrets(&self, namespace: &str, name: &str) -> Result<Secrets, String> {
        let object = ObjectRef::new(kind::SECRET, Key::new(namespace, name));
        let secret = self.expect(&object).await.map_err(|error| {
            format!("error getting secret {name} in namespace {namespace}: {error}")
        })?;
        let data = secret["data"].as_object().into_iter().flatten();
        let text = |value: &Value| {
            let bytes = STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Ok(data.map(|(key, value)| (key.clone(), text(value))).collect())
    }

    /// Reads an object and performs what is decided on it, until nothing is
    /// decided any more; gives the object as it is then. `None`: it is gone.
    pub async fn settle(
        &self,
        object: &ObjectRef,
        decide: impl Fn(&Value) -> Option<Write>,
    ) -> Result<Option<Value>, WriteError> {
        self.settle_from(None, object, decide).await
    }

    /// The same, beginning with the object as it is known to be, without
    /// reading it first.
    pub async fn settle_from(
        &self,
        mut known: Option<Value>,
        object: &ObjectRef,
        decide: impl Fn(&Value) -> Option<Write>,
    ) -> Result<Option<Value>, WriteError> {
        let mut permitted = false;
        let mut last = None;
        for _ in 0..TRIES {
            let now = match known.take() {
                Some(known) => Some(known),
                None => self.read(object).await?,
            };
            let Some(now) = now else {
                self.nothing(permitted, object, "the object is gone");
                return Ok(None);
            };
            let Some(write) = decide(&now) else {
                self.nothing(permitted, object, "it is as it should be");
                return Ok(Some(now));
            };
            match self.server.perform(&write).await {
                Ok(_) => {
                    self.health.wrote();
                    permitted = false;
                }
                Err(WriteError::DecideAgain { .. }) => permitted = true,
                Err(error @ WriteError::Conflict { .. }) => last = Some(error),
                Err(WriteError::NotFound { .. }) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| WriteError::Conflict {
            verb: "PATCH",
            object: object.to_string(),
            message: format!("not settled after {TRIES} tries"),
        }))
    }

    async fn read(&self, object: &ObjectRef) -> Result<Option<Value>, WriteError> {
        self.server.get(object).await.map_err(|error| WriteError::Conflict {
            verb: "GET",
            object: error.object,
            message: error.message,
        })
    }

    fn nothing(&self, permitted: bool, object: &ObjectRef, why: &str) {
        if permitted {
            self.server.nothing_to_do(object, why);
        }
    }

    /// Performs one write that no longer depends on anything, as often as the
    /// gate asks for it.
    pub async fn perform(&self, write: &Write) -> Result<Value, WriteError> {
        loop {
            match self.server.perform(write).await {
                Err(WriteError::DecideAgain { .. }) => {}
                Ok(answer) => {
                    self.health.wrote();
                    return Ok(answer);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// A merge patch of an object on the version that was read.
pub fn patch(object: &ObjectRef, now: &Value, change: Value, reason: Reason) -> Write {
    let version = now["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok());
    Write {
        object: object.clone(),
        subresource: None,
        change: Change::Merge(change),
        version,
        on_behalf_of: object.clone(),
        reason,
    }
}

/// The same of its status.
pub fn patch_status(object: &ObjectRef, now: &Value, change: Value, reason: Reason) -> Write {
    Write { subresource: Some("status"), ..patch(object, now, change, reason) }
}

/// The finalizers of an object.
pub fn finalizers(object: &Value) -> Vec<&str> {
    let list = object["metadata"]["finalizers"].as_array().into_iter().flatten();
    list.filter_map(Value::as_str).collect()
}

/// Whether an object is being deleted.
pub fn is_deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}
