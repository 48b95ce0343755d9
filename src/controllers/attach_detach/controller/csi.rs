//! Attaching and detaching through VolumeAttachments: the driver's attacher
//! does the work, and says in the status what came of it.

use std::sync::Arc;

use tokio::sync::Notify;

use super::attach::AttachFailure;
use super::{AttachDetachController, Operation};
use crate::cluster::write_path::WriteError;
use crate::controllers::attach_detach::attachment::{
    FIRST_LOOK, Look, WAIT_MAX, attach_timed_out, detach_timed_out, look_for_attached,
    look_for_detached,
};
use crate::controllers::attach_detach::volume::CsiVolume;
use crate::controllers::attach_detach::writes;
use crate::model::attachment::Attachment;
use crate::model::clock::TimerUse;
use crate::model::object::{Key, ObjectRef};
use crate::model::row::Row;
use crate::model::write::Write;

/// Nobody asks for it any more.
const CALLED_OFF: &str = "it is not asked for any more";

impl AttachDetachController {
    /// Makes the VolumeAttachment and waits until the driver has attached.
    pub(super) async fn attach_csi(
        &self,
        operation: &Operation,
        volume: &CsiVolume,
        name: &str,
    ) -> Result<(), AttachFailure> {
        let node = &operation.node;
        let failed = |error: String, told: bool| AttachFailure {
            step: "Attach",
            error,
            uncertain_on: Some(node.clone()),
            told,
        };
        let object = writes::attachment_ref(volume, node);
        let awaited = self.watch_for(&object.key.name);
        if self.attachment(&object.key).is_none() {
            let create = writes::create_attachment(volume, name, node, &operation.because);
            let wanted = || self.lock().desired.get(node, &operation.unique_name).is_some();
            match self.perform_while(&create, wanted).await {
                Ok(None) => return Err(failed(CALLED_OFF.to_owned(), false)),
                Ok(Some(_)) | Err(WriteError::AlreadyExists { .. }) => {}
                Err(error) => {
                    let text =
                        format!("kubernetes.io/csi: attacher.Attach failed: {}", said(&error));
                    return Err(failed(text, true));
                }
            }
        }
        let look = || look_for_attached(self.attachment(&object.key).as_deref());
        match self.wait_for(&awaited, look).await {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(failed(error, true)),
            None => Err(failed(attach_timed_out(&volume.driver, &volume.handle), true)),
        }
    }

    /// Deletes the VolumeAttachment and waits until it is gone.
    pub(super) async fn detach_csi(
        &self,
        operation: &Operation,
        volume: &CsiVolume,
    ) -> Result<(), String> {
        let node = &operation.node;
        let object = writes::attachment_ref(volume, node);
        let awaited = self.watch_for(&object.key.name);
        let delete = writes::delete_attachment(volume, node, &operation.because);
        let unwanted = || self.lock().desired.get(node, &operation.unique_name).is_none();
        let uid = match self.perform_while(&delete, unwanted).await {
            Err(WriteError::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(said(&error)),
            Ok(None) => return Err(CALLED_OFF.to_owned()),
            Ok(Some(answer)) => Attachment::from_object(&answer).ok().map(|row| {
                let uid = row.meta.uid.clone();
                self.parts.mirror.observe(row);
                uid
            }),
        };
        loop {
            let seen = || {
                self.attachment(&object.key)
                    .filter(|row| uid.as_ref().is_none_or(|uid| *uid == row.meta.uid))
            };
            let look = || look_for_detached(seen().as_deref());
            match self.wait_for(&awaited, look).await {
                Some(Err(error)) => return Err(error),
                None => return Err(detach_timed_out(&volume.handle)),
                Some(Ok(())) => {}
            }
            // The cache may not have seen it come, far less go.
            let still_there = match self.parts.server.get(&object).await {
                Ok(None) => false,
                Ok(Some(value)) => uid.as_ref().is_none_or(|uid| value["metadata"]["uid"] == **uid),
                Err(error) => return Err(error.to_string()),
            };
            if !still_there {
                return Ok(());
            }
            awaited.changed.notified().await;
        }
    }

    /// Performs a write as long as it is asked for; `None` if, when its permit
    /// came, it was not.
    async fn perform_while(
        &self,
        write: &Write,
        asked_for: impl Fn() -> bool,
    ) -> Result<Option<serde_json::Value>, WriteError> {
        loop {
            match self.perform(write).await {
                Err(WriteError::DecideAgain { .. }) if asked_for() => {}
                Err(WriteError::DecideAgain { .. }) => {
                    self.parts.server.nothing_to_do(&write.on_behalf_of, CALLED_OFF);
                    return Ok(None);
                }
                done => return done.map(Some),
            }
        }
    }

    /// Looks at each change, at most for as long as the driver may take; `None`
    /// if that was not enough.
    async fn wait_for(
        &self,
        awaited: &Awaited<'_>,
        look: impl Fn() -> Look,
    ) -> Option<Result<(), String>> {
        let clock = &self.parts.clock;
        let mut timeout = clock.sleep(WAIT_MAX, TimerUse::Work);
        clock.sleep(FIRST_LOOK, TimerUse::Work).await;
        loop {
            match look() {
                Look::Done => return Some(Ok(())),
                Look::Failed(error) => return Some(Err(error)),
                Look::Wait => {}
            }
            tokio::select! {
                biased;
                () = awaited.changed.notified() => {}
                () = &mut timeout => return None,
            }
        }
    }

    fn attachment(&self, key: &Key) -> Option<Arc<Attachment>> {
        self.parts.mirror.read(|tables| tables.attachments.get(key).cloned())
    }

    /// Hears of changes of a VolumeAttachment until dropped.
    fn watch_for(&self, name: &Arc<str>) -> Awaited<'_> {
        let changed = Arc::new(Notify::new());
        self.lock().awaited.insert(name.clone(), changed.clone());
        Awaited { controller: self, name: name.clone(), changed }
    }

    /// Tells the operation that waits for a VolumeAttachment.
    pub(super) fn attachment_changed(&self, object: &ObjectRef, state: &super::State) {
        if let Some(changed) = state.awaited.get(&object.key.name) {
            changed.notify_one();
        }
    }
}

/// A VolumeAttachment that one operation waits for: two on the same volume and
/// node never run at once.
struct Awaited<'a> {
    controller: &'a AttachDetachController,
    name: Arc<str>,
    changed: Arc<Notify>,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.controller.lock().awaited.remove(&self.name);
    }
}

/// The server's own words.
fn said(error: &WriteError) -> String {
    match error {
        WriteError::Refused { status, .. } => status.message.clone(),
        other => other.to_string(),
    }
}
