//! The claims that wait for a volume or a class, so that the right one is
//! woken when something comes up.
//!
//! Without this a claim waits for the next round, up to 15 seconds. Only one
//! claim is woken for a volume, since only one can have it: the oldest that it
//! fits. Whoever is passed over still has the round.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::model::claim::Claim;
use crate::model::fit::{self, Search};
use crate::model::object::{Key, Seconds};
use crate::model::volume::{Volume, VolumePhase};

/// At most so many claims are looked at for one volume, so that thousands
/// that it does not fit cost nothing.
const LOOKED_AT: usize = 64;

/// Waiting claims by their effective class, oldest first.
///
/// Invariant: `of` names the place of each key in `by_class`.
#[derive(Debug, Default)]
pub struct Waiting {
    by_class: HashMap<Arc<str>, BTreeSet<(Seconds, Key)>>,
    of: HashMap<Key, (Arc<str>, Seconds)>,
}

impl Waiting {
    pub fn contains(&self, claim: &Key) -> bool {
        self.of.contains_key(claim)
    }

    pub fn insert(&mut self, claim: &Claim) {
        let key = &claim.meta.key;
        let class: Arc<str> = claim.class.clone().unwrap_or_default();
        if self.of.get(key).is_some_and(|(held, _)| *held == class) {
            return;
        }
        self.remove(key);
        let created = claim.meta.created;
        self.by_class.entry(class.clone()).or_default().insert((created, key.clone()));
        self.of.insert(key.clone(), (class, created));
    }

    pub fn remove(&mut self, claim: &Key) {
        let Some((class, created)) = self.of.remove(claim) else { return };
        if let Some(claims) = self.by_class.get_mut(&class) {
            claims.remove(&(created, claim.clone()));
            if claims.is_empty() {
                self.by_class.remove(&class);
            }
        }
    }

    /// Takes out the oldest claim that a free volume fits. It comes back if its
    /// next pass leaves it waiting.
    pub fn take_for<'a>(
        &mut self,
        volume: &Volume,
        claim: impl Fn(&Key) -> Option<&'a Arc<Claim>>,
    ) -> Option<Key> {
        if volume.phase != VolumePhase::Available || volume.meta.deleting.is_some() {
            return None;
        }
        let oldest = self.by_class.get(&volume.class).into_iter().flatten().take(LOOKED_AT);
        let fits = |key: &Key| {
            claim(key).is_some_and(|claim| {
                claim.volume_name.is_empty()
                    && fit::why_not_fit(claim, volume, &Search::IMMEDIATE).is_ok()
            })
        };
        let chosen = oldest.map(|(_, key)| key).find(|key| fits(key)).cloned()?;
        self.remove(&chosen);
        Some(chosen)
    }

    /// The claims of a class; of the default class also those without one.
    pub fn of_class(&self, class: &str, default: bool) -> impl Iterator<Item = Key> {
        let own = self.by_class.get(class);
        let without = self.by_class.get("").filter(|_| default);
        own.into_iter().chain(without).flatten().map(|(_, key)| key.clone())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::row::Row;

    fn claim(name: &str, gib: u32, created: u32) -> Arc<Claim> {
        let claim = json!({
            "metadata": {"name": name, "namespace": "d", "uid": name,
                "creationTimestamp": format!("2026-01-01T00:00:{created:02}Z")},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "gold",
                "resources": {"requests": {"storage": format!("{gib}Gi")}}},
        });
        Arc::new(Claim::from_object(&claim).expect("a claim"))
    }

    fn volume(gib: u32, phase: &str) -> Volume {
        let volume = json!({
            "metadata": {"name": "v"},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "gold",
                "capacity": {"storage": format!("{gib}Gi")}},
            "status": {"phase": phase},
        });
        Volume::from_object(&volume).expect("a volume")
    }

    #[test]
    fn a_volume_wakes_the_oldest_claim_it_fits_and_each_claim_once() {
        let claims = [claim("young", 1, 9), claim("large", 8, 1), claim("old", 2, 5)];
        let mut waiting = Waiting::default();
        claims.iter().for_each(|claim| waiting.insert(claim));
        let find = |key: &Key| claims.iter().find(|claim| claim.meta.key == *key);
        let mut woken =
            |volume: &Volume| waiting.take_for(volume, find).map(|key| key.name.to_string());
        assert_eq!(woken(&volume(4, "Pending")), None, "it is not free yet");
        assert_eq!(woken(&volume(4, "Available")).as_deref(), Some("old"));
        assert_eq!(woken(&volume(4, "Available")).as_deref(), Some("young"));
        assert_eq!(woken(&volume(4, "Available")), None);
        assert_eq!(woken(&volume(9, "Available")).as_deref(), Some("large"));
    }

    #[test]
    fn a_class_wakes_its_claims_and_the_default_class_those_without() {
        let mut waiting = Waiting::default();
        waiting.insert(&claim("c", 1, 1));
        let mut classless = (*claim("n", 1, 2)).clone();
        classless.class = None;
        waiting.insert(&classless);
        let names = |class: &str, default: bool| -> Vec<String> {
            waiting.of_class(class, default).map(|key| key.name.to_string()).collect()
        };
        assert_eq!(names("gold", false), ["c"]);
        assert_eq!(names("gold", true), ["c", "n"]);
        assert_eq!(names("silver", true), ["n"]);
    }
}
