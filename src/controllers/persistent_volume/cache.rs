//! What the controller knows: the rows it watches, and the answers to its own
//! writes.
//!
//! The answers matter. Without them the watch's echo of a bind's first write
//! arrives before the others are seen, and the controller repairs what it is
//! in the middle of doing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::controllers::persistent_volume::index::VolumeIndex;
use crate::model::claim::Claim;
use crate::model::class::StorageClass;
use crate::model::object::{Key, Meta};
use crate::model::pod::Pod;
use crate::model::volume::Volume;

/// The volumes, claims, classes and pods of a cluster.
#[derive(Debug, Clone, Default)]
pub struct Cache {
    volumes: VolumeIndex,
    claims: HashMap<Key, Arc<Claim>>,
    classes: BTreeMap<Arc<str>, Arc<StorageClass>>,
    pods: HashMap<Key, Arc<Pod>>,
    pods_by_claim: HashMap<Key, BTreeSet<Key>>,
}

impl Cache {
    pub fn volumes(&self) -> &VolumeIndex {
        &self.volumes
    }

    pub fn volume(&self, name: &str) -> Option<&Arc<Volume>> {
        self.volumes.get(name)
    }

    pub fn claim(&self, key: &Key) -> Option<&Arc<Claim>> {
        self.claims.get(key)
    }

    /// All claims, in no order.
    pub fn claims(&self) -> impl Iterator<Item = &Arc<Claim>> {
        self.claims.values()
    }

    pub fn class(&self, name: &str) -> Option<&Arc<StorageClass>> {
        self.classes.get(name)
    }

    /// The class that claims without one get: of those marked, the newest, then
    /// the first by name.
    pub fn default_class(&self) -> Option<&Arc<StorageClass>> {
        let marked = self.classes.values().filter(|class| class.is_default());
        marked.min_by_key(|class| (std::cmp::Reverse(class.meta.created), &class.meta.key.name))
    }

    /// The pods that name this claim, by namespace and name.
    pub fn pods_of<'a>(&'a self, claim: &Key) -> impl Iterator<Item = &'a Arc<Pod>> + use<'a> {
        let keys = self.pods_by_claim.get(claim).into_iter().flatten();
        keys.filter_map(|key| self.pods.get(key))
    }

    /// Takes in a watched volume; false if a newer one is held.
    pub fn put_volume(&mut self, row: Arc<Volume>) -> bool {
        let held = self.volumes.get(&row.meta.key.name);
        let newer = is_current(held.map(|held| &held.meta), &row.meta);
        if newer {
            self.volumes.insert(row);
        }
        newer
    }

    /// Takes in a watched claim; false if a newer one is held.
    pub fn put_claim(&mut self, row: Arc<Claim>) -> bool {
        let held = self.claims.get(&row.meta.key);
        let newer = is_current(held.map(|held| &held.meta), &row.meta);
        if newer {
            self.claims.insert(row.meta.key.clone(), row);
        }
        newer
    }

    /// Takes in the answer to a write of ours, unless the watch has already
    /// seen the volume deleted.
    pub fn learn_volume(&mut self, row: Volume) {
        if self.volume(&row.meta.key.name).is_some_and(|held| held.meta.uid == row.meta.uid) {
            self.put_volume(Arc::new(row));
        }
    }

    /// Takes in the answer to a write of ours, unless the watch has already
    /// seen the claim deleted.
    pub fn learn_claim(&mut self, row: Claim) {
        if self.claim(&row.meta.key).is_some_and(|held| held.meta.uid == row.meta.uid) {
            self.put_claim(Arc::new(row));
        }
    }

    pub fn remove_volume(&mut self, name: &str) -> Option<Arc<Volume>> {
        self.volumes.remove(name)
    }

    pub fn remove_claim(&mut self, key: &Key) -> Option<Arc<Claim>> {
        self.claims.remove(key)
    }

    pub fn put_class(&mut self, row: Arc<StorageClass>) {
        self.classes.insert(row.meta.key.name.clone(), row);
    }

    pub fn remove_class(&mut self, name: &str) {
        self.classes.remove(name);
    }

    pub fn put_pod(&mut self, row: Arc<Pod>) {
        self.remove_pod(&row.meta.key);
        for claim in claims_of(&row) {
            self.pods_by_claim.entry(claim).or_default().insert(row.meta.key.clone());
        }
        self.pods.insert(row.meta.key.clone(), row);
    }

    pub fn remove_pod(&mut self, key: &Key) {
        let Some(pod) = self.pods.remove(key) else { return };
        for claim in claims_of(&pod) {
            if let Some(pods) = self.pods_by_claim.get_mut(&claim) {
                pods.remove(key);
                if pods.is_empty() {
                    self.pods_by_claim.remove(&claim);
                }
            }
        }
    }
}

/// The claims a pod names.
pub fn claims_of(pod: &Pod) -> impl Iterator<Item = Key> {
    let namespace = &pod.meta.key.namespace;
    pod.claims.iter().map(|claim| Key { namespace: namespace.clone(), name: claim.claim.clone() })
}

/// The store rule: a version is taken in unless a newer one is held. Equal
/// versions pass, or looking again at everything would do nothing.
fn is_current(held: Option<&Meta>, incoming: &Meta) -> bool {
    held.is_none_or(|held| held.version <= incoming.version)
}
