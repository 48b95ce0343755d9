//! The operation that empties a volume and gives it free. It never fails for
//! the operations' map: each sync of a volume that waits starts it anew.

use std::collections::HashSet;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{PersistentVolumeController, PodNews};
use crate::cluster::write_path::WriteError;
use crate::controllers::events::Note;
use crate::controllers::persistent_volume::because::Because;
use crate::controllers::persistent_volume::bind::{
    let_go, object, patch, patch_status, phase_of_volume,
};
use crate::controllers::persistent_volume::reclaim;
use crate::controllers::persistent_volume::verdict::{Verdict, Wake};
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::volume::{ClaimRef, Volume, VolumePhase};
use crate::model::write::{Change, Reason, Write};
use crate::plugins::plugin::{Capability, Recycling};

impl PersistentVolumeController {
    pub(super) async fn recycle(&self, name: &str, uid: &str) -> Result<(), String> {
        let object = ObjectRef::new(kind::PERSISTENT_VOLUME, Key::cluster(name));
        let Some((value, volume)) = self.live_volume(&object, uid).await else { return Ok(()) };
        let (released, users) = {
            let state = self.lock();
            (reclaim::is_without_claim(&state.cache, &volume), users(&state.cache, &volume))
        };
        if !released {
            return Ok(());
        }
        if !users.is_empty() {
            let message = format!("Volume is used by pods: {}", users.join(","));
            self.parts.recorder.tell(Note::normal(&volume, "VolumeFailedRecycle", message));
            return Ok(());
        }
        let plugin = self.provisioning.facts.iter().find(|plugin| plugin.supports(&volume.source));
        let plugin = plugin
            .filter(|plugin| plugin.can(Capability::Recycle))
            .and_then(|p| self.plugin(p.name));
        let Some(plugin) = plugin else {
            return self
                .recycling_failed(&object, uid, "No recycler plugin found for the volume!")
                .await;
        };
        let recycled = match plugin.recycle(value).await {
            Recycling::Done(done) => done.map_err(|error| error.to_string()),
            Recycling::Pod(pod) => self.run_recycler(&volume, *pod).await,
        };
        if let Err(error) = recycled {
            return self.recycling_failed(&object, uid, &format!("Recycle failed: {error}")).await;
        }
        self.parts.recorder.tell(Note::normal(&volume, "VolumeRecycled", "Volume recycled"));
        let Some(was) = volume.claim_ref.clone() else { return Ok(()) };
        let _hold = self.holds.hold(&object, &object).await;
        if let Err(error) = self.settle_volume(&object, uid, &|now| set_free(now, &was)).await {
            // It is recycled again later.
            tracing::warn!("{object}: {error}");
        }
        Ok(())
    }

    async fn recycling_failed(
        &self,
        object: &ObjectRef,
        uid: &str,
        why: &str,
    ) -> Result<(), String> {
        let fail = |volume: &Volume| {
            let because = Because::RecycleFailed { why: why.into() };
            reclaim::fail(volume, "VolumeFailedRecycle", because)
        };
        if let Err(error) = self.settle_volume(object, uid, &fail).await {
            tracing::warn!("{object}: {error}");
        }
        Ok(())
    }

    /// Creates the recycler pod, waits for its end, deletes it.
    async fn run_recycler(&self, volume: &Volume, pod: Value) -> Result<(), String> {
        let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
        let key = Key::new(text("namespace"), text("name"));
        let (waiting, mut news) = mpsc::unbounded_channel();
        self.lock().awaited_pods.insert(key.clone(), waiting);
        let _awaited = Awaited { controller: self, key: key.clone() };
        let create = pod_write(&key, Change::Create(pod), volume);
        match self.perform_as_decided(&create).await {
            Ok(_) => {}
            Err(WriteError::AlreadyExists { .. }) => {
                return Err(match self.delete_recycler(&key, volume).await {
                    Ok(()) => "old recycler pod found, will retry later".to_owned(),
                    Err(error) => format!("failed to delete old recycler pod {key}: {error}"),
                });
            }
            Err(error) => {
                return Err(format!("unexpected error creating recycler pod:  {}", error.words()));
            }
        }
        let ended = self.await_recycler(volume, &key, &mut news).await;
        let deleted = self.delete_recycler(&key, volume).await;
        match (ended, deleted) {
            (Err(error), _) => Err(error),
            (Ok(()), Err(error)) => Err(format!("failed to delete recycler pod: {error}")),
            (Ok(()), Ok(())) => Ok(()),
        }
    }

    /// Waits until the pod has ended, copying its events to the volume.
    async fn await_recycler(
        &self,
        volume: &Volume,
        key: &Key,
        news: &mut mpsc::UnboundedReceiver<PodNews>,
    ) -> Result<(), String> {
        let mut told = HashSet::new();
        let mut seen = false;
        while let Some(news) = news.recv().await {
            match news {
                PodNews::Event(event) if told.insert(event.clone()) => {
                    self.copy_event(volume, &event);
                }
                PodNews::Event(_) => {}
                PodNews::Changed => {
                    let pod = ObjectRef::new(kind::POD, key.clone());
                    let pod = self.parts.server.get(&pod).await.map_err(|e| e.to_string())?;
                    let Some(pod) = pod else {
                        // The watch may tell of an earlier pod's end.
                        if seen {
                            return Err("failed to recycle volume: recycler pod was deleted".into());
                        }
                        continue;
                    };
                    seen = true;
                    match pod["status"]["phase"].as_str() {
                        Some("Succeeded") => return Ok(()),
                        Some("Failed") => return Err(failure(&pod)),
                        _ => {}
                    }
                }
            }
        }
        Err("failed to recycle volume: recycler pod watcher failed".into())
    }

    fn copy_event(&self, volume: &Volume, event: &Key) {
        let event = self.parts.mirror.read(|tables| tables.events.get(event).cloned());
        if let Some(event) = event {
            let message = format!("Recycler pod: {}", event.message);
            self.parts.recorder.tell(Note::new(volume, event.severity, "RecyclerPod", message));
        }
    }

    async fn delete_recycler(&self, key: &Key, volume: &Volume) -> Result<(), String> {
        let delete = pod_write(key, Change::Delete(json!({})), volume);
        match self.perform_as_decided(&delete).await {
            Ok(_) | Err(WriteError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.words()),
        }
    }

    /// A write that comes out the same however often it is decided.
    pub(super) async fn perform_as_decided(&self, write: &Write) -> Result<(), WriteError> {
        loop {
            match self.perform(write).await {
                Err(WriteError::DecideAgain { .. }) => {}
                done => return done,
            }
        }
    }
}

/// Stops listening for a pod.
struct Awaited<'a> {
    controller: &'a PersistentVolumeController,
    key: Key,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.controller.lock().awaited_pods.remove(&self.key);
    }
}

fn failure(pod: &Value) -> String {
    let message = pod["status"]["message"].as_str().filter(|message| !message.is_empty());
    let message = message.unwrap_or("pod failed, pod.Status.Message unknown");
    format!("failed to recycle volume: {message}")
}

fn pod_write(key: &Key, change: Change, volume: &Volume) -> Write {
    Write {
        object: ObjectRef::new(kind::POD, key.clone()),
        subresource: None,
        change,
        version: None,
        on_behalf_of: object(volume),
        reason: Reason::new(Because::Recycle.rule(), Because::Recycle.to_string()),
    }
}

/// The running pods that still use the volume by the claim's name. If a claim
/// of that name exists again, the pods are its, not the volume's.
fn users(
    cache: &crate::controllers::persistent_volume::cache::Cache,
    volume: &Volume,
) -> Vec<String> {
    let Some(by) = &volume.claim_ref else { return Vec::new() };
    if cache.claim(&by.key).is_some() {
        return Vec::new();
    }
    let pods = cache.pods_of(&by.key).filter(|pod| !pod.is_terminated());
    pods.map(|pod| pod.meta.key.to_string()).collect()
}

/// What sets a recycled volume free; nothing once another claim has it.
fn set_free(volume: &Volume, was: &ClaimRef) -> Verdict {
    let whom = object(volume);
    if volume.claim_ref.as_ref() == Some(was) && !was.uid.is_empty() {
        let write = patch(volume, let_go(volume), &whom, "", &Because::Recycled);
        return Verdict::write(write, Because::Recycled);
    }
    let free = volume.claim_ref.as_ref().is_none_or(|by| by.uid.is_empty());
    if free && volume.phase != VolumePhase::Available {
        let status = phase_of_volume(VolumePhase::Available);
        let write = patch_status(volume, status, &whom, "", &Because::Recycled);
        return Verdict::write(write, Because::Recycled);
    }
    Verdict::rest(Because::Recycled, Wake::Change)
}
