//! The volume's side: what to do next about one volume. Rules V0-V9.
//!
//! Upstream: `syncVolume` in `pv_controller.go`. A volume's deletion timestamp
//! is looked at only so as not to add finalizers that would be refused.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::controllers::events::Note;
use crate::controllers::persistent_volume::annotations::{
    BOUND_BY_CONTROLLER, CONTROLLER_FINALIZER, EXTERNAL_PROVISIONER_FINALIZER, MIGRATED_TO,
    PROVISIONED_BY, has,
};
use crate::controllers::persistent_volume::because::Because;
use crate::controllers::persistent_volume::bind::{
    let_go, object, patch, patch_status, phase_of_volume,
};
use crate::controllers::persistent_volume::migration;
use crate::controllers::persistent_volume::provisioning::IN_TREE;
use crate::controllers::persistent_volume::reclaim;
use crate::controllers::persistent_volume::verdict::{Step, Verdict, View, Wake};
use crate::model::claim::Claim;
use crate::model::fit;
use crate::model::kind;
use crate::model::object::ObjectRef;
use crate::model::volume::{ClaimRef, ReclaimPolicy, Volume, VolumePhase};

/// What to do next about this volume.
pub fn decide_volume(view: &View<'_>, name: &str) -> Verdict {
    let Some(volume) = view.cache.volume(name) else {
        return Verdict::rest(Because::Gone, Wake::Change);
    };
    // V0 -> one write carries both, then the rules below.
    if let Some(verdict) = bookkeeping(volume) {
        return verdict;
    }
    let Some(by) = &volume.claim_ref else {
        // V1: -> Available, whatever it was (row 4-1).
        return phase(volume, VolumePhase::Available, Because::Unused);
    };
    if by.uid.is_empty() {
        // V2: -> Available, waiting for its claim (row 4-2).
        let because = Because::ReservedByName { claim: by.key.clone() };
        return phase(volume, VolumePhase::Available, because);
    }
    match claim_of(view, volume, by) {
        Lookup::Ask => {
            let object = ObjectRef::new(kind::PERSISTENT_VOLUME_CLAIM, by.key.clone());
            let because = Because::Ask { claim: by.key.clone() };
            Verdict::new(Step::Get(object), because, Wake::Change)
        }
        // V4: -> Released unless it failed already (rows 4-3, 4-4).
        Lookup::Gone => release(view, volume, Because::ClaimGone { claim: by.clone() }),
        Lookup::Found(claim) => with_claim(view, volume, claim),
    }
}

/// V5-V9: the claim that the volume refers to is there.
fn with_claim(view: &View<'_>, volume: &Volume, claim: &Claim) -> Verdict {
    let key = claim.meta.key.clone();
    if claim.volume_name.is_empty() {
        return match fit::same_volume_mode(claim, volume) {
            // V5a: unchanged, told at each pass (row 14-13-1).
            Err(_) => modes_differ(volume, claim),
            // V5b: the claim finishes the bind (row 4-5b).
            Ok(()) => {
                let because = Because::ClaimToFinish { claim: key.clone() };
                Verdict::new(Step::Enqueue(key), because, Wake::Round)
            }
        };
    }
    // V6: -> Bound (row 4-6).
    if claim.volume_name == volume.meta.key.name {
        return phase(volume, VolumePhase::Bound, Because::BoundTo { claim: key });
    }
    let other = claim.volume_name.clone();
    // V7: -> Released, then deleted (row 8-11).
    if has(&volume.meta, PROVISIONED_BY) && volume.reclaim_policy == ReclaimPolicy::Delete {
        return release(view, volume, Because::Surplus { claim: key, other });
    }
    // V8: without reference; V9: reserved by name. Then -> Available by V1, V2
    // (rows 4-7, 4-8).
    let by_user = !has(&volume.meta, BOUND_BY_CONTROLLER);
    let because = Because::BoundElsewhere { claim: key, other, by_user };
    Verdict::write(patch(volume, let_go(volume), &object(volume), "", &because), because)
}

/// The claim a volume refers to.
enum Lookup<'a> {
    Found(&'a Arc<Claim>),
    Gone,
    /// Only the server knows.
    Ask,
}

/// V3: the claim by name and uid. Before it counts as gone the server is asked,
/// as claims may be known here later than volumes; but a volume that is
/// released already needs no second opinion.
fn claim_of<'a>(view: &View<'a>, volume: &Volume, by: &ClaimRef) -> Lookup<'a> {
    let cached = view.cache.claim(&by.key);
    if let Some(claim) = cached.filter(|claim| claim.meta.uid == by.uid) {
        return Lookup::Found(claim);
    }
    if cached.is_none() && is_released(volume) {
        return Lookup::Gone;
    }
    match view.live.claims.get(&by.key) {
        None => Lookup::Ask,
        Some(Some(claim)) if claim.meta.uid == by.uid => Lookup::Found(claim),
        Some(_) => Lookup::Gone,
    }
}

fn is_released(volume: &Volume) -> bool {
    matches!(volume.phase, VolumePhase::Released | VolumePhase::Failed)
}

/// -> Released, then what the reclaim policy says.
fn release(view: &View<'_>, volume: &Volume, because: Because) -> Verdict {
    if is_released(volume) {
        return reclaim::decide(view, volume);
    }
    phase(volume, VolumePhase::Released, because)
}

/// The phase written, or rest if it is so.
fn phase(volume: &Volume, phase: VolumePhase, because: Because) -> Verdict {
    if volume.phase == phase {
        return Verdict::rest(because, Wake::Change);
    }
    let status = phase_of_volume(phase);
    Verdict::write(patch_status(volume, status, &object(volume), "", &because), because)
}

fn modes_differ(volume: &Volume, claim: &Claim) -> Verdict {
    let (pv, pvc) = (&volume.meta.key.name, &claim.meta.key.name);
    let to_volume = format!(
        "Cannot bind PersistentVolume to requested PersistentVolumeClaim \"{pvc}\" due to \
         incompatible volumeMode."
    );
    let to_claim = format!(
        "Cannot bind PersistentVolume \"{pv}\" to requested PersistentVolumeClaim due to \
         incompatible volumeMode."
    );
    let because = Because::ModesDiffer {
        claim: claim.meta.key.clone(),
        volume: volume.mode,
        wanted: claim.mode,
    };
    Verdict::rest(because, Wake::Round)
        .telling(Note::warning(volume, "VolumeMismatch", to_volume))
        .telling(Note::warning(claim, "VolumeMismatch", to_claim))
}

/// V0: the migration annotation and the finalizers of deletion.
fn bookkeeping(volume: &Volume) -> Option<Verdict> {
    let provisioner = migration::volume_provisioner(&volume.meta)?;
    let migrated = migration::migrated_to(&volume.meta, Some(provisioner));
    let finalizers = deletion_finalizers(volume, provisioner);
    let because = match (&migrated, &finalizers) {
        (None, None) => return None,
        (Some(driver), _) => Because::Migrated { driver: driver.as_str().map(Arc::from) },
        (None, Some(_)) => Because::Finalizers {
            provisioner: provisioner.into(),
            policy: volume.reclaim_policy.name().into(),
        },
    };
    let mut metadata = json!({});
    if let Some(driver) = migrated {
        metadata["annotations"] = json!({MIGRATED_TO: driver});
    }
    if let Some(finalizers) = finalizers {
        metadata["finalizers"] = finalizers;
    }
    let change = json!({ "metadata": metadata });
    Some(Verdict::write(patch(volume, change, &object(volume), "", &because), because))
}

/// The finalizers as they should be, if they are not: ours holds a volume made
/// in-tree with policy Delete until its backing store is gone.
pub fn deletion_finalizers(volume: &Volume, provisioner: &str) -> Option<Value> {
    let held = &volume.meta.finalizers;
    let without = |names: &[&str]| -> Vec<Arc<str>> {
        held.iter().filter(|name| !names.contains(&&***name)).cloned().collect()
    };
    let mut wanted = if migration::driver_of(provisioner).is_some() {
        without(&[CONTROLLER_FINALIZER])
    } else if !provisioner.starts_with(IN_TREE) {
        return None;
    } else if volume.reclaim_policy == ReclaimPolicy::Delete {
        without(&[EXTERNAL_PROVISIONER_FINALIZER])
    } else {
        without(&[CONTROLLER_FINALIZER, EXTERNAL_PROVISIONER_FINALIZER])
    };
    let in_tree_delete = volume.reclaim_policy == ReclaimPolicy::Delete
        && migration::driver_of(provisioner).is_none();
    if in_tree_delete
        && volume.meta.deleting.is_none()
        && !volume.meta.has_finalizer(CONTROLLER_FINALIZER)
    {
        wanted.push(CONTROLLER_FINALIZER.into());
    }
    let same = wanted.len() == held.len() && wanted.iter().zip(held.iter()).all(|(a, b)| a == b);
    (!same).then(|| wanted.iter().map(|name| Value::from(&**name)).collect())
}
