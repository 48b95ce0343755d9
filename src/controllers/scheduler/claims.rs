//! A pod's claims, sorted by who has to act on them.
//!
//! Upstream: `podHasPVCs` and `GetPodVolumeClaims` of the plugin VolumeBinding.

use std::sync::Arc;

use crate::controllers::scheduler::cache::Cache;
use crate::controllers::scheduler::reason::Whole;
use crate::model::claim::{Claim, ClaimPhase};
use crate::model::class::BindingMode;
use crate::model::object::Key;
use crate::model::pod::{Pod, PodClaim};

/// The mark of a claim that was bound.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";

/// The claims of a pod that may be looked at on nodes.
#[derive(Debug, Default)]
pub struct PodClaims<'a> {
    pub bound: Vec<&'a Arc<Claim>>,
    /// Not bound, and of a class that waits for its first consumer.
    pub delayed: Vec<&'a Arc<Claim>>,
}

/// Why a pod cannot be looked at at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    Refused(Whole),
    /// An error, in Kubernetes' words.
    Failed(String),
}

/// Whether the claim names its volume and was bound to it. Its phase is not
/// looked at.
pub fn is_fully_bound(claim: &Claim) -> bool {
    !claim.volume_name.is_empty() && claim.meta.annotation(BIND_COMPLETED).is_some()
}

/// The key of a claim that a pod uses.
pub fn key_of(pod: &Pod, used: &PodClaim) -> Key {
    Key { namespace: pod.meta.key.namespace.clone(), name: used.claim.clone() }
}

/// Sorts the claims of a pod; the first problem in the order of its volumes
/// ends it.
pub fn sort<'a>(cache: &'a Cache, pod: &Pod) -> Result<PodClaims<'a>, Stop> {
    let find = |used: &PodClaim| cache.claims.get(&key_of(pod, used));
    // VolumeRestrictions looks first, and at claims by name only.
    for used in pod.claims.iter().filter(|used| !used.ephemeral) {
        if find(used).is_none() {
            return Err(Stop::Refused(Whole::ClaimMissing { claim: used.claim.clone() }));
        }
    }
    let mut claims = Vec::with_capacity(pod.claims.len());
    for used in &pod.claims {
        let claim = find(used)
            .ok_or_else(|| Stop::Refused(Whole::EphemeralMissing { claim: used.claim.clone() }))?;
        claims.push(why_not_usable(pod, used, claim).map(|()| claim).map_err(Stop::Refused)?);
    }
    let mut sorted = PodClaims::default();
    let mut immediate = Vec::new();
    for claim in claims {
        if is_fully_bound(claim) {
            sorted.bound.push(claim);
        } else if claim.volume_name.is_empty() && is_delayed(cache, claim)? {
            sorted.delayed.push(claim);
        } else {
            immediate.push(claim.meta.key.name.clone());
        }
    }
    if !immediate.is_empty() {
        return Err(Stop::Refused(Whole::UnboundImmediate { claims: immediate }));
    }
    // VolumeZone asks for the volumes, and so before any node is looked at.
    let missing = sorted.bound.iter().find(|claim| {
        cache.stock.seen(&claim.volume_name).is_none() && uses_by_name(pod, &claim.meta.key.name)
    });
    match missing {
        Some(claim) => {
            Err(Stop::Refused(Whole::VolumeMissing { volume: claim.volume_name.clone() }))
        }
        None => Ok(sorted),
    }
}

fn uses_by_name(pod: &Pod, claim: &Arc<str>) -> bool {
    pod.claims.iter().any(|used| !used.ephemeral && used.claim == *claim)
}

fn why_not_usable(pod: &Pod, used: &PodClaim, claim: &Claim) -> Result<(), Whole> {
    let name = used.claim.clone();
    if claim.phase == ClaimPhase::Lost {
        return Err(Whole::ClaimLost { claim: name, volume: claim.volume_name.clone() });
    }
    if claim.meta.deleting.is_some() {
        return Err(Whole::ClaimDeleting { claim: name });
    }
    let owned = claim.meta.owner.as_ref().is_some_and(|owner| owner.uid == pod.meta.uid);
    if used.ephemeral && !owned {
        return Err(Whole::NotOwner { claim: claim.meta.key.clone(), pod: pod.meta.key.clone() });
    }
    Ok(())
}

fn is_delayed(cache: &Cache, claim: &Claim) -> Result<bool, Stop> {
    // No class, or one that does not exist: as if at once.
    let Some(class) = cache.classes.get(claim.effective_class()) else { return Ok(false) };
    match class.binding_mode {
        Some(BindingMode::WaitForFirstConsumer) => Ok(true),
        Some(BindingMode::Immediate) => Ok(false),
        None => Err(Stop::Failed(format!(
            "running PreFilter plugin \"VolumeBinding\": VolumeBindingMode not set for \
             StorageClass \"{}\"",
            class.meta.key.name
        ))),
    }
}
