//! The operation that deletes what is behind a volume, then the volume.

use serde_json::{Value, json};

use super::PersistentVolumeController;
use crate::controllers::events::Note;
use crate::controllers::persistent_volume::annotations::CONTROLLER_FINALIZER;
use crate::controllers::persistent_volume::because::Because;
use crate::controllers::persistent_volume::bind::{object, patch};
use crate::controllers::persistent_volume::reclaim;
use crate::controllers::persistent_volume::verdict::{Verdict, Wake};
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::volume::Volume;
use crate::model::write::{Change, Reason, Write};
use crate::plugins::error::PluginError;

impl PersistentVolumeController {
    /// Deletes the backing store, takes our finalizer off, deletes the volume.
    /// An error means: try again after a pause. The deleter runs again if the
    /// volume outlives its own deletion, so it must bear that.
    pub(super) async fn delete(&self, name: &str, uid: &str, plugin: &str) -> Result<(), String> {
        let object = ObjectRef::new(kind::PERSISTENT_VOLUME, Key::cluster(name));
        let Some((value, volume)) = self.live_volume(&object, uid).await else { return Ok(()) };
        if !reclaim::is_without_claim(&self.lock().cache, &volume) {
            return Ok(());
        }
        let deleted = match self.plugin(plugin) {
            Some(plugin) => plugin.delete(value).await,
            None => Err(PluginError::Failed(format!("no volume plugin matched name: {plugin}"))),
        };
        let why = match deleted {
            Ok(()) => match self.delete_volume(&object, uid).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    format!("persistent volume controller can't update finalizer: {error}")
                }
            },
            Err(PluginError::InUse(text)) => {
                self.parts.recorder.tell(Note::normal(&volume, "VolumeDelete", text.clone()));
                return Err(text);
            }
            Err(PluginError::NotCreated(text)) => {
                format!("failed to create deleter for volume \"{name}\": {text}")
            }
            Err(error) => error.to_string(),
        };
        let fail = |volume: &Volume| {
            let because = Because::DeleteFailed { why: why.as_str().into() };
            reclaim::fail(volume, "VolumeFailedDelete", because)
        };
        self.settle_volume(&object, uid, &fail).await?;
        Err(why)
    }

    /// The volume is held meanwhile: its own sync would put the finalizer back.
    async fn delete_volume(&self, object: &ObjectRef, uid: &str) -> Result<(), String> {
        let _hold = self.holds.hold(object, object).await;
        self.settle_volume(object, uid, &without_finalizer).await?;
        if let Err(error) = self.settle_volume(object, uid, &deletion).await {
            // A later sync tries again.
            tracing::warn!("{object}: {error}");
        }
        Ok(())
    }
}

fn without_finalizer(volume: &Volume) -> Verdict {
    if !volume.meta.has_finalizer(CONTROLLER_FINALIZER) {
        return Verdict::rest(Because::Deleted, Wake::Change);
    }
    let left = volume.meta.finalizers.iter().filter(|name| &***name != CONTROLLER_FINALIZER);
    let left: Vec<Value> = left.map(|name| Value::from(&**name)).collect();
    let change = json!({"metadata": {"finalizers": left}});
    Verdict::write(patch(volume, change, &object(volume), "", &Because::Deleted), Because::Deleted)
}

fn deletion(volume: &Volume) -> Verdict {
    if volume.meta.deleting.is_some() {
        return Verdict::rest(Because::Deleted, Wake::Change);
    }
    let write = Write {
        object: object(volume),
        subresource: None,
        change: Change::Delete(json!({"preconditions": {"uid": &*volume.meta.uid}})),
        version: None,
        on_behalf_of: object(volume),
        reason: Reason::new(Because::Deleted.rule(), Because::Deleted.to_string()),
    };
    Verdict::write(write, Because::Deleted)
}
