//! Taking in what the mirror has seen: the cache brought up to date, and the
//! objects that are to be looked at because of it.

use std::collections::HashSet;
use std::sync::Arc;

use super::{PersistentVolumeController, PodNews, State};
use crate::controllers::persistent_volume::annotations::SELECTED_NODE;
use crate::model::claim::ClaimPhase;
use crate::model::class::BindingMode;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::volume::Volume;

fn volume_ref(name: impl Into<Arc<str>>) -> ObjectRef {
    ObjectRef::new(kind::PERSISTENT_VOLUME, Key::cluster(name))
}

fn claim_ref(key: Key) -> ObjectRef {
    ObjectRef::new(kind::PERSISTENT_VOLUME_CLAIM, key)
}

impl PersistentVolumeController {
    pub(super) fn take_in_changes(&self, changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        let mut changed: Vec<_> = changed.into_iter().collect();
        // Volumes before claims: a new volume may be what a new claim needs.
        changed.sort_by(|a, b| b.kind.cmp(a.kind).then_with(|| a.key.cmp(&b.key)));
        changed.sort_by_key(|object| object.kind != kind::PERSISTENT_VOLUME);
        let mut queue = Vec::new();
        let mut state = self.lock();
        for object in changed {
            if object.kind == kind::PERSISTENT_VOLUME {
                self.take_in_volume(&mut state, &object.key.name, &mut queue);
            } else if object.kind == kind::PERSISTENT_VOLUME_CLAIM {
                self.take_in_claim(&mut state, object.key, &mut queue);
            } else if object.kind == kind::STORAGE_CLASS {
                self.take_in_class(&mut state, &object.key, &mut queue);
            } else if object.kind == kind::POD {
                self.take_in_pod(&mut state, object.key);
            } else if object.kind == kind::EVENT {
                self.take_in_event(&state, &object.key);
            }
        }
        queue
    }

    fn take_in_volume(&self, state: &mut State, name: &Arc<str>, queue: &mut Vec<ObjectRef>) {
        let key = Key::cluster(name.clone());
        match self.parts.mirror.read(|tables| tables.volumes.get(&key).cloned()) {
            Some(row) => {
                if state.cache.put_volume(row.clone()) {
                    queue.push(volume_ref(name.clone()));
                    self.wake_claims(state, &row, queue);
                }
            }
            None => {
                let gone = state.cache.remove_volume(name);
                state.latency.deletion_over(name);
                // Its claim turns Lost at once.
                queue.extend(
                    gone.and_then(|gone| gone.claim_ref.clone()).map(|by| claim_ref(by.key)),
                );
            }
        }
    }

    /// The claims that this volume may be what they wait for. They would find
    /// it at the next round anyway; people should not have to wait for that.
    fn wake_claims(&self, state: &mut State, volume: &Volume, queue: &mut Vec<ObjectRef>) {
        if let Some(by) = &volume.claim_ref {
            // Reserved by name: its claim may have been there first.
            let waits = state.waiting.contains(&by.key);
            queue.extend(waits.then(|| claim_ref(by.key.clone())));
            return;
        }
        let State { cache, waiting, .. } = state;
        let class = cache.class(&volume.class).and_then(|class| class.binding_mode);
        // Of a class that waits for a first consumer nobody takes it unasked.
        if class != Some(BindingMode::WaitForFirstConsumer) {
            queue.extend(waiting.take_for(volume, |key| cache.claim(key)).map(claim_ref));
        }
        self.parts.mirror.read(|tables| {
            let naming = tables.claims_of(&volume.meta.key.name);
            let unbound = naming.filter(|claim| claim.phase != ClaimPhase::Bound);
            queue.extend(unbound.map(|claim| claim_ref(claim.meta.key.clone())));
        });
    }

    fn take_in_claim(&self, state: &mut State, key: Key, queue: &mut Vec<ObjectRef>) {
        let row = self.parts.mirror.read(|tables| tables.claims.get(&key).cloned());
        let held = state.cache.claim(&key).map(|held| held.meta.uid.clone());
        // Another of that name may have come before it was seen to go.
        if held != row.as_ref().map(|row| row.meta.uid.clone()) {
            Self::let_claim_go(state, &key, queue);
        }
        if let Some(row) = row
            && state.cache.put_claim(row)
        {
            queue.push(claim_ref(key));
        }
    }

    /// A claim is gone: its volume is released at once, also one that was only
    /// reserved when the claim went.
    fn let_claim_go(state: &mut State, key: &Key, queue: &mut Vec<ObjectRef>) {
        let gone = state.cache.remove_claim(key);
        state.latency.provisioning_over(key);
        state.waiting.remove(key);
        let reserved = state.cache.volumes().of_claim(key);
        queue.extend(reserved.map(|row| volume_ref(row.meta.key.name.clone())));
        let named = gone.map(|gone| gone.volume_name.clone());
        queue.extend(named.filter(|name| !name.is_empty()).map(volume_ref));
    }

    fn take_in_class(&self, state: &mut State, key: &Key, queue: &mut Vec<ObjectRef>) {
        match self.parts.mirror.read(|tables| tables.classes.get(key).cloned()) {
            Some(row) => {
                let (default, mode) = (row.is_default(), row.binding_mode);
                state.cache.put_class(row);
                let State { cache, waiting, .. } = state;
                // Those that wait for a consumer go on waiting, and say so at
                // the next round.
                let may_go_on = |key: &Key| {
                    mode != Some(BindingMode::WaitForFirstConsumer)
                        || cache
                            .claim(key)
                            .is_some_and(|claim| claim.meta.annotation(SELECTED_NODE).is_some())
                };
                let woken = waiting.of_class(&key.name, default).filter(may_go_on);
                queue.extend(woken.map(claim_ref));
            }
            None => state.cache.remove_class(&key.name),
        }
    }

    fn take_in_pod(&self, state: &mut State, key: Key) {
        match self.parts.mirror.read(|tables| tables.pods.get(&key).cloned()) {
            Some(row) => state.cache.put_pod(row),
            None => state.cache.remove_pod(&key),
        }
        if let Some(waiting) = state.awaited_pods.get(&key) {
            // An operation that has ended no longer listens.
            let _ = waiting.send(PodNews::Changed);
        }
    }

    /// Hands an Event about a recycler pod to the operation that waits for it.
    fn take_in_event(&self, state: &State, key: &Key) {
        if state.awaited_pods.is_empty() {
            return;
        }
        let event = self.parts.mirror.read(|tables| tables.events.get(key).cloned());
        let Some(event) = event.filter(|event| &*event.about.kind == kind::POD.kind) else {
            return;
        };
        if let Some(waiting) = state.awaited_pods.get(&event.about.key) {
            let _ = waiting.send(PodNews::Event(key.clone()));
        }
    }
}
