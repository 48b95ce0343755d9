//! VolumeRestrictions: claims for one pod alone, and disks that a node can have
//! once.

use std::sync::Arc;

use crate::controllers::scheduler::cache::{Cache, NodeInfo};
use crate::controllers::scheduler::claims::key_of;
use crate::controllers::scheduler::reason::Reason;
use crate::model::access_modes::AccessMode;
use crate::model::object::Key;
use crate::model::pod::Pod;

/// What keeps a pod from every node: claims for one pod alone that others use.
#[derive(Debug)]
pub struct Restrictions {
    /// Each claim, and the pods on nodes that use it.
    in_use: Vec<(Arc<str>, Vec<Key>)>,
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
        Self { in_use: in_use.collect() }
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
        match self.in_use.first() {
            Some((claim, users)) => {
                let by = users.first().cloned().unwrap_or_default();
                Err(Reason::ClaimInUse { claim: claim.clone(), by })
            }
            None => Ok(()),
        }
    }

    /// What is left of it if these pods went.
    pub fn without(&self, gone: &[Arc<Pod>]) -> Self {
        let stays = |user: &&Key| !gone.iter().any(|pod| pod.meta.key == **user);
        let left = self.in_use.iter().map(|(claim, users)| {
            (claim.clone(), users.iter().filter(stays).cloned().collect::<Vec<_>>())
        });
        Self { in_use: left.filter(|(_, users)| !users.is_empty()).collect() }
    }
}
