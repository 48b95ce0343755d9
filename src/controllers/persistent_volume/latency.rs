//! Since when claims are being provisioned and volumes deleted.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::model::object::Key;

/// Start times of what takes its time; each ends with its object's.
#[derive(Debug, Clone, Default)]
pub struct Latency {
    provisioning: HashMap<Key, Timestamp>,
    deleting: HashMap<Arc<str>, Timestamp>,
    deletions: u64,
}

impl Latency {
    pub fn provisioning_requested(&mut self, claim: &Key, now: Timestamp) {
        self.provisioning.entry(claim.clone()).or_insert(now);
    }

    /// The claim is bound or gone.
    pub fn provisioning_over(&mut self, claim: &Key) {
        self.provisioning.remove(claim);
    }

    pub fn deletion_requested(&mut self, volume: &Arc<str>, now: Timestamp) {
        self.deleting.entry(volume.clone()).or_insert(now);
    }

    /// The volume is gone.
    pub fn deletion_over(&mut self, volume: &str) {
        if self.deleting.remove(volume).is_some() {
            self.deletions += 1;
        }
    }

    /// Since when the claim is being provisioned.
    pub fn provisioning_since(&self, claim: &Key) -> Option<Timestamp> {
        self.provisioning.get(claim).copied()
    }

    /// Since when the volume is being deleted.
    pub fn deleting_since(&self, volume: &str) -> Option<Timestamp> {
        self.deleting.get(volume).copied()
    }

    /// How many deletions were seen through.
    pub fn deletions(&self) -> u64 {
        self.deletions
    }
}
