//! The volumes, so arranged that a claim meets only those that can match.
//!
//! Without the index every claim would look at every volume, and binding
//! 50,000 pairs would take 2.5 billion comparisons.
//!
//! Free volumes stand in buckets of one class, attributes class, volume mode
//! and set of access modes, in order of size, then name. Volumes with a
//! `claimRef` stand under their claim, whatever their phase.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::model::access_modes::AccessModes;
use crate::model::claim::Claim;
use crate::model::fit::{self, Fit, Misfit, Search};
use crate::model::object::Key;
use crate::model::quantity::Quantity;
use crate::model::volume::{Volume, VolumeMode, VolumePhase};

/// All volumes of a cluster by name, by what they offer, and by claim.
///
/// Invariant: `free` and `by_claim` name only volumes in `by_name`, each in the
/// place its row calls for.
#[derive(Debug, Clone, Default)]
pub struct VolumeIndex {
    by_name: BTreeMap<Arc<str>, Arc<Volume>>,
    free: HashMap<Bucket, BTreeSet<(Quantity, Arc<str>)>>,
    by_claim: HashMap<Key, BTreeSet<Arc<str>>>,
    /// How many volumes offer exactly these modes.
    mode_sets: BTreeMap<AccessModes, usize>,
}

/// What free volumes of one bucket have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Bucket {
    class: Arc<str>,
    attributes_class: Arc<str>,
    mode: VolumeMode,
    access_modes: AccessModes,
}

impl VolumeIndex {
    pub fn get(&self, name: &str) -> Option<&Arc<Volume>> {
        self.by_name.get(name)
    }

    /// All volumes by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Volume>> {
        self.by_name.values()
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// The volumes whose `claimRef` names this claim, whichever its uid.
    pub fn of_claim<'a>(&'a self, claim: &Key) -> impl Iterator<Item = &'a Arc<Volume>> + use<'a> {
        self.by_claim.get(claim).into_iter().flatten().filter_map(|name| self.by_name.get(name))
    }

    /// The sets of access modes on offer that serve these, fewest modes first.
    pub fn serving(&self, wanted: AccessModes) -> impl Iterator<Item = AccessModes> {
        wanted.supersets().into_iter().filter(|modes| self.mode_sets.contains_key(modes))
    }

    /// The volume to bind to the claim: in the first set of access modes that
    /// has one, that reserved for the claim, else the smallest that fits.
    pub fn find(&self, claim: &Claim, search: &Search<'_>) -> Option<(&Arc<Volume>, Fit)> {
        let class: Arc<str> = claim.class.clone().unwrap_or_default();
        for access_modes in self.serving(claim.access_modes) {
            let reserved = self.of_claim(&claim.meta.key);
            for volume in reserved.filter(|volume| volume.access_modes == access_modes) {
                match fit::why_not_fit(claim, volume, search) {
                    Ok(fit) => return Some((volume, fit)),
                    Err(Misfit::ReservedElsewhere) => return None,
                    Err(_) => {}
                }
            }
            let bucket = Bucket {
                class: class.clone(),
                attributes_class: claim.attributes_class.clone(),
                mode: claim.mode,
                access_modes,
            };
            let from = (fit::request(claim), Arc::from(""));
            let free =
                self.free.get(&bucket).into_iter().flat_map(|free| free.range(from.clone()..));
            let chosen = free
                .filter_map(|(_, name)| self.by_name.get(name))
                .find_map(|volume| Some((volume, fit::why_not_fit(claim, volume, search).ok()?)));
            if chosen.is_some() {
                return chosen;
            }
        }
        None
    }

    /// Puts a volume in the place of its namesake.
    pub fn insert(&mut self, volume: Arc<Volume>) {
        self.remove(&volume.meta.key.name);
        let name = volume.meta.key.name.clone();
        *self.mode_sets.entry(volume.access_modes).or_default() += 1;
        match &volume.claim_ref {
            Some(claim) => {
                self.by_claim.entry(claim.key.clone()).or_default().insert(name.clone());
            }
            None if volume.phase == VolumePhase::Available && volume.meta.deleting.is_none() => {
                if let Some(size) = volume.capacity {
                    self.free.entry(bucket(&volume)).or_default().insert((size, name.clone()));
                }
            }
            // Not free yet, or not any more: no search may find it.
            None => {}
        }
        self.by_name.insert(name, volume);
    }

    /// Takes a volume out.
    pub fn remove(&mut self, name: &str) -> Option<Arc<Volume>> {
        let volume = self.by_name.remove(name)?;
        let name = volume.meta.key.name.clone();
        if let Some(count) = self.mode_sets.get_mut(&volume.access_modes) {
            *count -= 1;
            if *count == 0 {
                self.mode_sets.remove(&volume.access_modes);
            }
        }
        if let Some(claim) = &volume.claim_ref {
            if let Some(names) = self.by_claim.get_mut(&claim.key) {
                names.remove(&name);
                if names.is_empty() {
                    self.by_claim.remove(&claim.key);
                }
            }
        } else if let Some(size) = volume.capacity {
            let bucket = bucket(&volume);
            if let Some(free) = self.free.get_mut(&bucket) {
                free.remove(&(size, name));
                if free.is_empty() {
                    self.free.remove(&bucket);
                }
            }
        }
        Some(volume)
    }
}

fn bucket(volume: &Volume) -> Bucket {
    Bucket {
        class: volume.class.clone(),
        attributes_class: volume.attributes_class.clone(),
        mode: volume.mode,
        access_modes: volume.access_modes,
    }
}
