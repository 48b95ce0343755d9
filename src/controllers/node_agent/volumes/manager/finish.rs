//! Taking in what has ended: reads into the desired state, operations into the
//! actual one, and their events.

use std::sync::Arc;
use std::time::Duration;

use super::pass::{Finished, mark_attached};
use super::{Found, State, VolumeManager};
use crate::controllers::events::Note;
use crate::controllers::node_agent::volumes::actual::{
    ActualMount, Attachability, DeviceState, MountState, device_after, mount_after,
};
use crate::controllers::node_agent::volumes::desired::Processing;
use crate::controllers::node_agent::volumes::grow::GrowEnd;
use crate::controllers::node_agent::volumes::job::{End, Failure, MountEnd};
use crate::controllers::node_agent::volumes::operations::{OperationKey, PAUSE_MAX, PAUSE_MIN};
use crate::controllers::node_agent::volumes::pod::WantedPod;
use crate::controllers::node_agent::volumes::reads::PodRead;
use crate::model::event::Severity;
use crate::model::kind;
use crate::model::node::Node;
use crate::model::object::{Key, ObjectRef};
use crate::model::volume::VolumeMode;
use crate::plugins::plugin::Capability;

/// A pod that could not be read the first time is read once more after this.
const READ_AGAIN: Duration = Duration::from_millis(100);

impl VolumeManager {
    pub(super) fn finish(&self, finished: Finished) {
        let mut state = self.lock();
        state.is_dirty = true;
        state.in_flight -= 1;
        match finished {
            Finished::Pod { uid, read } => self.pod_read(&mut state, &uid, read),
            Finished::Node(node) => self.node_read(&mut state, node),
            Finished::Operation { key, pod, end } => {
                self.ended(&mut state, &key, pod.as_ref(), end);
            }
            Finished::Cleaned => {}
        }
    }

    fn pod_read(&self, state: &mut State, uid: &Arc<str>, read: PodRead) {
        let now = self.clock().now();
        // It may have been let go meanwhile.
        let Some(pod) = state.desired.pods.get_mut(uid) else { return };
        pod.is_reading = false;
        let is_first = pod.processing == Processing::Never;
        let mut is_complete = true;
        for (outer, result) in read {
            match result {
                Ok(volume) => state.desired.add(uid, volume),
                Err(error) => {
                    is_complete = false;
                    let Some(pod) = state.desired.pods.get_mut(uid) else { return };
                    // What was wanted before stays so.
                    if !pod.volumes.contains_key(&outer) {
                        let since = pod.refused.get(&outer).map_or(now, |(_, since)| *since);
                        pod.refused.insert(outer, (error.clone(), since));
                    }
                    pod.add_error(error);
                }
            }
        }
        let Some(pod) = state.desired.pods.get_mut(uid) else { return };
        if is_first {
            pod.processing = if is_complete {
                Processing::Processed
            } else {
                Processing::Again { at: now + READ_AGAIN }
            };
        }
        if is_complete {
            pod.is_complete = true;
            pod.drop_errors();
            set_up_again(state, uid);
        }
    }

    fn node_read(&self, state: &mut State, node: Result<Node, String>) {
        let Found::Unresolved { is_reading, failures, retry_at } = &mut state.found else { return };
        *is_reading = false;
        let node = match node {
            Ok(node) => node,
            Err(error) => {
                let name = self.parts.host.node();
                tracing::warn!(node = %name, error, "the node's status cannot be read");
                let pause = PAUSE_MIN.saturating_mul(1 << (*failures).min(16)).min(PAUSE_MAX);
                *failures += 1;
                *retry_at = Some(self.clock().now() + pause);
                return;
            }
        };
        for (name, volume) in &mut state.actual.volumes {
            if volume.attachable != Attachability::Uncertain {
                continue;
            }
            let listed = node.volumes_attached.iter().find(|attached| attached.name == *name);
            let Some(listed) = listed else {
                volume.attachable = Attachability::False;
                continue;
            };
            volume.attachable = Attachability::True;
            if volume.device != DeviceState::Mounted {
                volume.device_path = listed.device_path.to_string();
            }
        }
        state.found = Found::Resolved;
    }

    fn ended(&self, state: &mut State, key: &OperationKey, pod: Option<&Arc<str>>, end: End) {
        let failure = match end {
            End::Verified(Ok(device_path)) => {
                mark_attached(state, &key.volume, device_path, Attachability::True);
                None
            }
            End::Mounted(end) => pod.and_then(|pod| self.mount_ended(state, key, pod, *end)),
            End::Unmounted(Ok(())) => {
                if let (Some(volume), Some(pod)) = (state.actual.volumes.get_mut(&key.volume), pod)
                {
                    volume.pods.remove(pod);
                }
                None
            }
            End::Unmounted(Err(failure)) => {
                let volume = state.actual.volumes.get_mut(&key.volume);
                if let Some(mount) = pod.and_then(|pod| volume?.pods.get_mut(pod)) {
                    mount.state = MountState::Uncertain;
                }
                Some(failure)
            }
            End::DeviceUnmounted(Ok(())) => {
                if let Some(volume) = state.actual.volumes.get_mut(&key.volume) {
                    volume.device = DeviceState::NotMounted;
                    volume.device_mount_path.clear();
                }
                None
            }
            End::DeviceUnmounted(Err(failure)) => {
                if let Some(volume) = state.actual.volumes.get_mut(&key.volume)
                    && failure.leaves_doubt
                {
                    volume.device = DeviceState::Uncertain;
                }
                Some(failure)
            }
            End::Verified(Err(failure)) => Some(failure),
            End::Grown(end) => {
                let (failure, told) =
                    (end.failure.clone(), pod.and_then(|pod| wanted(state, key, pod)));
                if let (Some(pod), Some(failure)) = (&told, &failure)
                    && let Some(reason) = failure.reason
                {
                    self.tell(pod, Severity::Warning, reason, failure.text.clone());
                }
                self.grown(state, key, told.as_deref(), *end);
                failure
            }
        };
        match failure {
            None => {
                state.operations.succeeded(key);
                if let Some(journey) = state.journeys.get_mut(&key.volume) {
                    journey.at = None;
                }
            }
            Some(failure) => {
                let (node, volume) = (self.parts.host.node(), &key.volume);
                tracing::warn!(%node, %volume, "{}", failure.text);
                state.operations.failed(key, &failure.text, self.clock().now());
            }
        }
    }

    /// Takes in how a mount ended, and tells it; why it failed, if it did.
    fn mount_ended(
        &self,
        state: &mut State,
        key: &OperationKey,
        pod: &Arc<str>,
        end: MountEnd,
    ) -> Option<Failure> {
        let wanted = state.desired.volumes.get(&key.volume).and_then(|v| v.pods.get(pod));
        if let Some(wanted) = wanted {
            for note in &end.notes {
                let severity = if note.is_warning { Severity::Warning } else { Severity::Normal };
                self.tell(&wanted.pod, severity, note.reason, note.message.clone());
            }
            if let Some(Failure { reason: Some(reason), text, mismatch, .. }) = &end.failure {
                self.tell(&wanted.pod, Severity::Warning, reason, text.clone());
                if let (Some(text), Some((uid, version))) = (mismatch, &wanted.volume) {
                    let key = Key::cluster(wanted.spec.name.clone());
                    self.tell_of_volume(key, uid, *version, text.clone());
                }
            }
        }
        let spec = wanted.map(|wanted| wanted.spec.clone());
        let claimed = wanted.and_then(|wanted| Some(wanted.growth?.capacity));
        if let Some(grown) = end.grown {
            let pod = wanted.map(|wanted| wanted.pod.clone());
            self.grown(state, key, pod.as_deref(), grown);
        }
        let volume = state.actual.volumes.get_mut(&key.volume)?;
        if end.mount.as_ref().is_some_and(Result::is_ok) && volume.growth.size.is_none() {
            volume.growth.size = claimed;
        }
        // It may have become known meanwhile from the node's status.
        if let Some(path) = end.device_path.filter(|path| !path.is_empty()) {
            volume.device_path = path;
        }
        match end.device {
            Some(Ok(())) => {
                volume.device = DeviceState::Mounted;
                volume.device_mount_path = end.device_mount_path.unwrap_or_default();
            }
            Some(Err(class)) => {
                volume.device = device_after(volume.device, class, volume.is_reconstructed);
            }
            None => {}
        }
        let before = volume.pods.get(pod);
        let (state_before, is_reconstructed) =
            (before.map(|mount| mount.state), before.is_some_and(|mount| mount.is_reconstructed));
        // The pod may have been let go meanwhile: what was mounted is mounted.
        let spec = spec.or_else(|| before.map(|mount| mount.spec.clone()));
        let spec = spec.unwrap_or_else(|| volume.spec.clone());
        let is_block = volume.spec.mode == VolumeMode::Block;
        match end.mount {
            Some(Ok(published)) => {
                let mount = ActualMount {
                    state: MountState::Mounted,
                    remount: false,
                    spec,
                    published: Some(published),
                    is_block,
                    is_reconstructed: false,
                };
                volume.pods.insert(pod.clone(), mount);
            }
            Some(Err(class)) => match mount_after(state_before, class, is_reconstructed) {
                None => drop(volume.pods.remove(pod)),
                Some(after) => {
                    let mount = volume.pods.entry(pod.clone()).or_insert(ActualMount {
                        state: after,
                        remount: false,
                        spec,
                        published: None,
                        is_block,
                        is_reconstructed: false,
                    });
                    mount.state = after;
                }
            },
            None => {}
        }
        end.failure
    }

    /// Takes in how growing went, and tells it on pod and claim.
    fn grown(&self, state: &mut State, key: &OperationKey, pod: Option<&WantedPod>, end: GrowEnd) {
        for note in &end.notes {
            let severity = if note.is_warning { Severity::Warning } else { Severity::Normal };
            if let Some(pod) = pod {
                self.tell(pod, severity, note.reason, note.message.clone());
            }
            if let Some((claim, uid, version)) = &end.claim {
                self.parts.recorder.tell(Note {
                    regarding: ObjectRef::new(kind::PERSISTENT_VOLUME_CLAIM, claim.clone()),
                    uid: uid.clone(),
                    version: *version,
                    severity,
                    reason: note.reason,
                    message: note.message.clone(),
                    host: self.parts.host.node().clone(),
                });
            }
        }
        // What was read last counts until the claim is read again.
        let mounts = state.desired.volumes.get_mut(&key.volume);
        for mount in mounts.into_iter().flat_map(|volume| volume.pods.values_mut()) {
            mount.growth = end.growth.or(mount.growth);
        }
        if let Some(volume) = state.actual.volumes.get_mut(&key.volume) {
            volume.growth.size = end.size.or(volume.growth.size);
            volume.growth.is_refused = end.is_refused;
            volume.growth.has_failed = end.has_failed;
        }
    }

    pub(super) fn tell(
        &self,
        pod: &WantedPod,
        severity: Severity,
        reason: &'static str,
        message: String,
    ) {
        self.parts.recorder.tell(Note {
            regarding: ObjectRef::new(kind::POD, pod.key.clone()),
            uid: pod.uid.clone(),
            version: pod.version,
            severity,
            reason,
            message,
            host: self.parts.host.node().clone(),
        });
    }

    fn tell_of_volume(&self, key: Key, uid: &Arc<str>, version: u64, message: String) {
        self.parts.recorder.tell(Note {
            regarding: ObjectRef::new(kind::PERSISTENT_VOLUME, key),
            uid: uid.clone(),
            version,
            severity: Severity::Warning,
            reason: "FailedMountOnFilesystemMismatch",
            message,
            host: self.parts.host.node().clone(),
        });
    }
}

/// The pod that a volume is for, if it still is.
fn wanted(state: &State, key: &OperationKey, pod: &str) -> Option<Arc<WantedPod>> {
    Some(state.desired.volumes.get(&key.volume)?.pods.get(pod)?.pod.clone())
}

/// The pod has been read in full: what follows the API is set up again.
fn set_up_again(state: &mut State, uid: &Arc<str>) {
    let Some(pod) = state.desired.pods.get(uid) else { return };
    for unique in pod.volumes.values() {
        let follows = state
            .desired
            .volumes
            .get(unique)
            .is_some_and(|volume| volume.facts.can(Capability::Remount));
        let mount = state.actual.volumes.get_mut(unique).and_then(|own| own.pods.get_mut(uid));
        if let Some(mount) = mount.filter(|_| follows) {
            mount.remount = true;
        }
    }
}
