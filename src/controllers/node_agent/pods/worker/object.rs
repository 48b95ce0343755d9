//! The pod's object: read when it is newer, written with what was decided, and
//! what is told of it.

use std::time::Duration;

use serde_json::{Value, json};

use super::{RETRY_API, Worker};
use crate::cluster::write_path::WriteError;
use crate::controllers::events::Note;
use crate::controllers::node_agent::pods::decide::{Because, DEADLINE_EXCEEDED, Step};
use crate::controllers::node_agent::pods::spec::PodObject;
use crate::model::event::Severity;
use crate::model::kind;
use crate::model::object::ObjectRef;
use crate::model::pod::Pod;
use crate::model::row::Row;
use crate::model::write::{Change, Reason, Write};

impl Worker {
    /// Reads the object again if the mirror knows of a newer one.
    pub(super) async fn refresh(&mut self) -> Result<(), String> {
        let held = self.shared.mirror.read(|tables| {
            tables.pods.get(&self.key).map(|row| (row.meta.uid.clone(), row.meta.version))
        });
        let known = self.pod.as_ref().map(|pod| pod.version);
        match held {
            Some((uid, version)) if uid == self.uid => {
                let is_newer = known.is_none_or(|known| known < version);
                if is_newer {
                    self.read().await?;
                }
            }
            // Gone, or in its name's place another.
            _ if self.pod.is_some() => self.read().await?,
            _ => {}
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<(), String> {
        let object = ObjectRef::new(kind::POD, self.key.clone());
        let found = self.shared.server.get(&object).await.map_err(|error| error.to_string())?;
        let pod = found.and_then(PodObject::read).filter(|pod| pod.uid == self.uid);
        self.set(pod);
        Ok(())
    }

    fn set(&mut self, pod: Option<PodObject>) {
        self.pod = pod;
        self.announce();
    }

    pub(super) async fn write_status(
        &mut self,
        patch: Value,
        because: Because,
    ) -> Option<Duration> {
        let Some(pod) = &self.pod else { return None };
        if because == Because::TooLong {
            self.tell(Severity::Normal, DEADLINE_EXCEEDED.reason, &DEADLINE_EXCEEDED.message);
        }
        let write = Write {
            object: pod.reference(),
            subresource: Some("status"),
            change: Change::Merge(json!({"status": patch})),
            version: Some(pod.version),
            on_behalf_of: pod.reference(),
            reason: Reason::new("kubelet", format!("{because} (on {})", self.shared.node)),
        };
        let pause = self.write(&write).await;
        // Not if it is still to be written: its permit must not wait.
        let is_told = |step| !matches!(step, Step::WriteStatus { because, .. } if because == Because::ContainersEnded);
        self.is_unlisted |= because == Because::ContainersEnded && is_told(self.next_step().0);
        pause
    }

    pub(super) async fn delete(&mut self) -> Option<Duration> {
        let Some(pod) = &self.pod else { return None };
        let options = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": &*pod.uid}});
        let text = "its containers have ended and its volumes are unmounted: it may go for good";
        let write = Write {
            object: pod.reference(),
            subresource: None,
            change: Change::Delete(options),
            version: None,
            on_behalf_of: pod.reference(),
            reason: Reason::new("kubelet", format!("{text} (on {})", self.shared.node)),
        };
        let pause = self.write(&write).await;
        if pause.is_none()
            && let Err(error) = self.read().await
        {
            tracing::warn!(pod = %self.key, error, "a deleted pod could not be looked for");
        }
        pause
    }

    /// Performs a write and takes in what the server answers. A conflict, or a
    /// write that was held, is decided afresh at once.
    async fn write(&mut self, write: &Write) -> Option<Duration> {
        match self.shared.server.perform(write).await {
            Ok(answer) => {
                if let Ok(row) = Pod::from_object(&answer) {
                    self.shared.mirror.observe(row);
                }
                if let Some(pod) = PodObject::read(answer).filter(|pod| pod.uid == self.uid) {
                    self.set(Some(pod));
                }
                None
            }
            Err(WriteError::DecideAgain { .. }) => {
                self.read_again(write).await;
                None
            }
            Err(WriteError::NotFound { .. } | WriteError::Conflict { .. }) => {
                match self.read().await {
                    Ok(()) => None,
                    Err(_) => Some(RETRY_API),
                }
            }
            Err(error) => {
                tracing::warn!(pod = %self.key, "{error}");
                Some(RETRY_API)
            }
        }
    }

    /// Looks anew before a permitted write is decided again, and says so if it
    /// is no longer called for.
    async fn read_again(&mut self, write: &Write) {
        if let Err(error) = self.read().await {
            tracing::warn!(pod = %self.key, error, "a pod could not be read");
        }
        let (step, _) = self.next_step();
        if !matches!(step, Step::WriteStatus { .. } | Step::Delete) {
            self.shared.server.nothing_to_do(&write.on_behalf_of, "the pod has changed meanwhile");
        }
    }

    pub(super) fn tell(&self, severity: Severity, reason: &'static str, message: &str) {
        if self.key.name.is_empty() {
            // What is left of a pod whose name nobody knows any more.
            return;
        }
        self.shared.recorder.tell(Note {
            regarding: ObjectRef::new(kind::POD, self.key.clone()),
            uid: self.uid.clone(),
            version: self.pod.as_ref().map_or(0, |pod| pod.version),
            severity,
            reason,
            message: message.to_owned(),
            host: self.shared.node.clone(),
        });
    }
}
