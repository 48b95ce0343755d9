//! What all companions do alike: read, write until done, tell.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::cluster::write_path::WriteError;
use crate::controllers::events::Note;
use crate::controllers::parts::Parts;
use crate::controllers::server::settle;
use crate::model::event::Severity;
use crate::model::kind::{self, Kind};
use crate::model::object::{Key, Meta, ObjectRef};
use crate::model::write::{Change, Reason, Write};

/// Names and values of a Secret.
pub type Secrets = std::collections::HashMap<String, String>;

impl Parts {
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
        known: Option<Value>,
        object: &ObjectRef,
        decide: impl Fn(&Value) -> Option<Write>,
    ) -> Result<Option<Value>, WriteError> {
        settle(&*self.server, known, object, decide, || self.health.wrote()).await
    }

    /// Now, as the API writes times.
    pub fn time(&self) -> String {
        self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// Tells something about an object as it was read.
    pub fn tell(
        &self,
        kind: &'static Kind,
        object: &Value,
        severity: Severity,
        reason: &'static str,
        message: String,
    ) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &object["metadata"];
        let key = Key::new(text(&metadata["namespace"]), text(&metadata["name"]));
        self.recorder.tell(Note {
            regarding: ObjectRef::new(kind, key),
            uid: text(&metadata["uid"]).into(),
            version: text(&metadata["resourceVersion"]).parse().unwrap_or_default(),
            severity,
            reason,
            message,
            host: "".into(),
        });
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

/// As much of an object as its finalizers are decided on.
pub fn as_seen(meta: &Meta) -> Value {
    let finalizers: Vec<&str> = meta.finalizers.iter().map(|name| &**name).collect();
    let mut seen = json!({"metadata": {
        "resourceVersion": meta.version.to_string(), "finalizers": finalizers,
    }});
    if meta.deleting.is_some() {
        seen["metadata"]["deletionTimestamp"] = "set".into();
    }
    seen
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
