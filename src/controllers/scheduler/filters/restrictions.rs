//! VolumeRestrictions: claims for one pod alone, and disks that a node can have
//! once.

use std::sync::Arc;

use crate::controllers::scheduler::cache::{Cache, NodeInfo};
use crate::controllers::scheduler::claims::key_of;
use crate::controllers::scheduler::reason::Reason;
use crate::model::access_modes::AccessMode;
use crate::model::object::Key;
use crate::model::pod::Pod;

/// What keeps a pod from every node: a claim for one pod alone that others use.
#[derive(Debug)]
pub struct Restrictions {
    /// The claim, and the pods on nodes that use it.
    in_use: Option<(Arc<str>, Vec<Key>)>,
}

impl Restrictions {
    pub fn new(cache: &Cache, pod: &Pod) -> Self {
        let by_name = pod.claims.iter().filter(|used| !used.ephemeral);
        let in_use = by_name.filter_map(|used| {
            let key = key_of(pod, used);
            let alone = cache.claims.get(&key)?.access_modes.contains(AccessMode::ReadWriteOncePod);
            let users = cache.users_of(&key).filter(|user| **user != pod.meta.key);
            let users: Vec<Key> = users.cloned().collect();
            (alone && !users.is_empty()).then(|| (used.claim.clone(), users))
        });
        Self { in_use: in_use.into_iter().next() }
    }

    pub fn why_not(&self, pod: &Pod, info: &NodeInfo) -> Result<(), Reason> {
        let disks = &pod.needs.disks;
        if !disks.is_empty() {
            let shared = info.particular_pods().find(|other| {
                other.needs.disks.iter().any(|held| disks.iter().any(|disk| disk.conflicts(held)))
            });
            if let Some(other) = shared {
                return Err(Reason::DiskInUse { by: other.meta.key.clone() });
            }
        }
        match &self.in_use {
            Some((claim, users)) => {
                let by = users.first().cloned().unwrap_or_default();
                Err(Reason::ClaimInUse { claim: claim.clone(), by })
            }
            None => Ok(()),
        }
    }

    /// Whether the claim would be free if these pods went.
    pub fn is_freed_by(&self, gone: &[Arc<Pod>]) -> bool {
        self.in_use.as_ref().is_some_and(|(_, users)| {
            users.iter().all(|user| gone.iter().any(|pod| pod.meta.key == *user))
        })
    }
}
