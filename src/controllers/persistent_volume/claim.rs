//! The claim's side: what to do next about one claim. Rules C0-C9, B1-B5.
//!
//! Upstream: `syncClaim` in `pv_controller.go`. A claim's deletion timestamp is
//! never looked at: a claim being deleted is still bound.

use std::sync::Arc;

use crate::controllers::events::Note;
use crate::controllers::persistent_volume::annotations::{
    BIND_COMPLETED, BOUND_BY_CONTROLLER, MIGRATED_TO, SELECTED_NODE, has,
};
use crate::controllers::persistent_volume::because::{Because, Wish};
use crate::controllers::persistent_volume::bind::{
    bind, object, patch, patch_status, unbound_status,
};
use crate::controllers::persistent_volume::migration;
use crate::controllers::persistent_volume::provisioning;
use crate::controllers::persistent_volume::verdict::{Step, Verdict, View, Wake};
use crate::model::claim::{Claim, ClaimPhase};
use crate::model::class::BindingMode;
use crate::model::fit::{self, Fit, Search};
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::volume::Volume;
use serde_json::json;

/// What to do next about this claim.
pub fn decide_claim(view: &View<'_>, key: &Key) -> Verdict {
    let Some(claim) = view.cache.claim(key) else {
        return Verdict::rest(Because::Gone, Wake::Change);
    };
    // C0 -> the annotation, then one of the branches below.
    let provisioner = migration::claim_provisioner(&claim.meta);
    if let Some(migrated) = migration::migrated_to(&claim.meta, provisioner) {
        let because = Because::Migrated { driver: migrated.as_str().map(Arc::from) };
        let change = json!({"metadata": {"annotations": {MIGRATED_TO: migrated}}});
        return Verdict::write(patch(&**claim, change, &object(&**claim), "", &because), because);
    }
    if has(&claim.meta, BIND_COMPLETED) {
        bound(view, claim)
    } else if claim.volume_name.is_empty() {
        unbound(view, claim)
    } else {
        named(view, claim)
    }
}

/// Whether the claim's class waits for its first consumer; an error if the
/// class has no binding mode, which cannot be behind a real API server.
pub fn is_delayed(view: &View<'_>, claim: &Claim) -> Result<bool, Because> {
    let name = claim.effective_class();
    // No class, or one that does not exist => not delayed.
    let Some(class) = view.cache.class(name).filter(|_| !name.is_empty()) else {
        return Ok(false);
    };
    match class.binding_mode {
        Some(BindingMode::Immediate) => Ok(false),
        Some(BindingMode::WaitForFirstConsumer) => Ok(true),
        None => Err(Because::NoBindingMode { class: name.into() }),
    }
}

/// C1-C5: the claim names no volume.
fn unbound(view: &View<'_>, claim: &Claim) -> Verdict {
    let delayed = match is_delayed(view, claim) {
        Ok(delayed) => delayed,
        Err(because) => {
            let text = format!("error finding PV for claim \"{}\": {because}", claim.meta.key);
            return Verdict::new(Step::Refuse(text), because, Wake::Round);
        }
    };
    let whom = object(claim);
    let excluded = |volume: &Volume| held_for_another(view, volume, &whom);
    let search = Search { delayed, node: None, excluded: &excluded };
    // C1: Pending -> Bound (row 1-1, and 1-6 if reserved).
    if let Some((volume, fit)) = view.cache.volumes().find(claim, &search) {
        let (wish, name, capacity) = (wish(claim), volume.meta.key.name.clone(), volume.capacity);
        let because = match fit {
            Fit::Reserved => Because::Reserved { wish, volume: name, capacity },
            Fit::Free => Because::Smallest { wish, volume: name, capacity },
        };
        return bind(volume, claim, because);
    }
    // C2: the class is written, and its change starts the next pass (row 15-5).
    if claim.class.is_none()
        && let Some(class) = view.cache.default_class()
    {
        let class = class.meta.key.name.clone();
        let because = Because::DefaultClass { class: class.clone() };
        let change = json!({"spec": {"storageClassName": &*class}});
        let write = patch(claim, change, &whom, "", &because);
        return Verdict::new(Step::LastWrite(Box::new(write)), because, Wake::Change);
    }
    // C3: stays Pending (row 1-13).
    if delayed && !has(&claim.meta, SELECTED_NODE) {
        return wait_for_consumer(view, claim);
    }
    // C4: provisioning; the phase stays as it is (section H).
    if !claim.effective_class().is_empty() {
        return provisioning::decide(view, claim);
    }
    // C5: -> Pending (rows 1-2, 1-3).
    let message = "no persistent volumes available for this claim and no storage class is set";
    pending(claim, Because::NoVolumeNoClass, Some(Note::normal(claim, "FailedBinding", message)))
}

/// C3a-C3c.
fn wait_for_consumer(view: &View<'_>, claim: &Claim) -> Verdict {
    let class: Arc<str> = claim.effective_class().into();
    let waiting = view.cache.pods_of(&claim.meta.key);
    let pods: Vec<Arc<str>> = waiting
        .filter(|pod| !pod.is_terminated() && !pod.is_scheduled())
        .map(|pod| pod.meta.key.name.clone())
        .collect();
    let note = match &pods[..] {
        [] => Note::normal(
            claim,
            "WaitForFirstConsumer",
            "waiting for first consumer to be created before binding",
        ),
        [pod] => {
            let message = format!("waiting for pod {pod} to be scheduled");
            Note::normal(claim, "WaitForPodScheduled", message)
        }
        pods => {
            let message = format!("waiting for pods {} to be scheduled", pods.join(","));
            Note::normal(claim, "WaitForPodScheduled", message)
        }
    };
    let because = if pods.is_empty() {
        Because::WaitsForConsumer { class }
    } else {
        Because::WaitsForPods { class, pods }
    };
    pending(claim, because, Some(note))
}

/// C6-C9: the claim names its volume.
fn named(view: &View<'_>, claim: &Claim) -> Verdict {
    let name = &claim.volume_name;
    // C9: -> Pending (row 2-1).
    let Some(volume) = view.cache.volume(name) else {
        return pending(claim, Because::NamedMissing { volume: name.clone() }, None);
    };
    let Some(by) = &volume.claim_ref else {
        return match fit::why_not_satisfy(claim, volume) {
            // C6b: Pending -> Bound (row 2-3).
            Ok(()) => bind(volume, claim, Because::NamedFree { volume: name.clone() }),
            // C6a: -> Pending (rows 2-9 to 2-11).
            Err(misfit) => {
                let words = misfit.kubernetes_words().unwrap_or_default();
                let message = format!("Cannot bind to requested volume \"{name}\": {words}");
                let because = Because::NamedUnsuitable { volume: name.clone(), misfit };
                pending(claim, because, Some(Note::warning(claim, "VolumeMismatch", message)))
            }
        };
    };
    // C7: Pending -> Bound without looking whether it suits (row 2-4).
    if fit::is_bound_to(volume, claim) {
        return bind(volume, claim, Because::NamedReserved { volume: name.clone() });
    }
    let message = format!("volume \"{name}\" already bound to a different claim.");
    let note = Note::warning(claim, "FailedBinding", message);
    let own_choice = has(&claim.meta, BOUND_BY_CONTROLLER);
    let because = Because::NamedTaken { volume: name.clone(), by: by.clone(), own_choice };
    if !own_choice {
        // C8a: -> Pending (row 2-6).
        return pending(claim, because, Some(note));
    }
    // C8b: unchanged, an error.
    let text = format!(
        "invalid binding of claim \"{}\" to volume \"{name}\": volume already claimed by \"{}\"",
        claim.meta.key, by.key
    );
    Verdict::new(Step::Refuse(text), because, Wake::Round).telling(note)
}

/// B1-B5: the claim was bound before.
fn bound(view: &View<'_>, claim: &Claim) -> Verdict {
    let name = &claim.volume_name;
    // B1: -> Lost (row 3-1).
    if name.is_empty() {
        let message = "Bound claim has lost reference to PersistentVolume. \
                       Data on the volume is lost!";
        return lost(claim, Because::LostName, "ClaimLost", message);
    }
    let Some(volume) = view.cache.volume(name) else {
        return match view.live.volumes.get(name) {
            // The watch of volumes may lag behind that of claims, and Lost
            // frightens people: the server is asked first.
            None => {
                let object = ObjectRef::new(kind::PERSISTENT_VOLUME, Key::cluster(name.clone()));
                let because = Because::VolumeNotSeen { volume: name.clone() };
                Verdict::new(Step::Get(object), because, Wake::Change)
            }
            Some(Some(_)) => {
                Verdict::rest(Because::VolumeNotSeen { volume: name.clone() }, Wake::Round)
            }
            // B2: -> Lost (row 5-7).
            Some(None) => {
                let message = "Bound claim has lost its PersistentVolume. \
                               Data on the volume is lost!";
                lost(claim, Because::LostVolume { volume: name.clone() }, "ClaimLost", message)
            }
        };
    };
    match &volume.claim_ref {
        // B3: -> Bound (row 3-3).
        None => bind(volume, claim, Because::LetGo { volume: name.clone() }),
        // B4: -> Bound (row 3-5).
        Some(by) if by.uid == claim.meta.uid => {
            bind(volume, claim, Because::Bound { volume: name.clone() })
        }
        // B5: -> Lost (rows 3-4, 3-6).
        Some(by) => {
            let message = "Two claims are bound to the same volume, this one is bound incorrectly";
            let because = Because::Misbound { volume: name.clone(), by: by.clone() };
            lost(claim, because, "ClaimMisbound", message)
        }
    }
}

/// The status of a claim that waits; the event is told at each pass, once the
/// status is right.
pub fn pending(claim: &Claim, because: Because, note: Option<Note>) -> Verdict {
    if let Some(status) = unbound_status(claim, ClaimPhase::Pending) {
        let write = patch_status(claim, status, &object(claim), "", &because);
        return Verdict::write(write, because);
    }
    let mut verdict = Verdict::rest(because, Wake::Round);
    verdict.events.extend(note);
    verdict
}

/// The status of a claim that lost its volume; the event is told only when the
/// phase changes.
fn lost(claim: &Claim, because: Because, reason: &'static str, message: &str) -> Verdict {
    let Some(status) = unbound_status(claim, ClaimPhase::Lost) else {
        return Verdict::rest(because, Wake::Round);
    };
    let verdict =
        Verdict::write(patch_status(claim, status, &object(claim), "", &because), because);
    if claim.phase == ClaimPhase::Lost {
        return verdict;
    }
    verdict.telling(Note::warning(claim, reason, message))
}

fn wish(claim: &Claim) -> Wish {
    Wish {
        claim: claim.meta.key.name.clone(),
        request: fit::request(claim),
        access_modes: claim.access_modes,
        class: claim.effective_class().into(),
    }
}

/// Whether the bind of another claim in flight has chosen this volume.
fn held_for_another(view: &View<'_>, volume: &Volume, claim: &ObjectRef) -> bool {
    view.holds
        .holder(&object(volume))
        .is_some_and(|holder| holder.kind == kind::PERSISTENT_VOLUME_CLAIM && holder != claim)
}
