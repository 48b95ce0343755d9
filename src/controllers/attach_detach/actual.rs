//! The actual state of the world: which volume is attached to which node, as
//! far as known.
//!
//! A pair of volume and node is *attached* when an attach, or at a start the
//! node's status, said so; *uncertain* when something was tried and its outcome
//! is not known; detached when there is no entry.
//!
//! Upstream: `cache/actual_state_of_world.go`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use crate::controllers::attach_detach::volume::AttachableVolume;
use crate::model::node::AttachedVolume;

/// Which volumes are where, what each node is told of it, and what each uses.
#[derive(Debug, Clone, Default)]
pub struct ActualState {
    volumes: HashMap<Arc<str>, Entry>,
    /// The volumes of each node in the order in which they came: what was
    /// attached first is detached first. Names may hold uids, which tell nothing.
    by_node: HashMap<Arc<str>, BTreeMap<u64, Arc<str>>>,
    /// How many pairs there were so far.
    pairs: u64,
    /// The last known `volumesInUse` of each node.
    in_use: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// What was attached since it was reported: the node may be about to use it.
    assumed: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
}

#[derive(Debug, Clone, Default)]
struct Entry {
    volume: Option<Arc<AttachableVolume>>,
    nodes: BTreeMap<Arc<str>, Pair>,
}

/// A volume on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// Attached, not just possibly.
    pub confirmed: bool,
    pub device_path: Arc<str>,
    /// Since when nobody wants it there.
    pub detach_requested: Option<Timestamp>,
    /// The node is to be told in `volumesAttached`.
    pub reported: bool,
    /// Higher than that of any pair that came before it.
    turn: u64,
}

impl ActualState {
    /// It is attached; the node is to be told.
    pub fn mark_attached(
        &mut self,
        unique_name: &Arc<str>,
        volume: Option<&Arc<AttachableVolume>>,
        node: &Arc<str>,
        device_path: Arc<str>,
    ) {
        let pair = self.pair_mut(unique_name, volume, node);
        pair.confirmed = true;
        pair.reported = true;
        pair.device_path = device_path;
    }

    /// It may be attached.
    pub fn mark_uncertain(
        &mut self,
        unique_name: &Arc<str>,
        volume: Option<&Arc<AttachableVolume>>,
        node: &Arc<str>,
    ) {
        let pair = self.pair_mut(unique_name, volume, node);
        pair.confirmed = false;
        pair.device_path = "".into();
    }

    /// The pair, made if it is new: then the node is taken to use the volume
    /// until it says otherwise.
    fn pair_mut(
        &mut self,
        unique_name: &Arc<str>,
        volume: Option<&Arc<AttachableVolume>>,
        node: &Arc<str>,
    ) -> &mut Pair {
        let entry = self.volumes.entry(unique_name.clone()).or_default();
        if let Some(volume) = volume {
            entry.volume = Some(volume.clone());
        }
        entry.nodes.entry(node.clone()).or_insert_with(|| {
            self.pairs += 1;
            self.by_node.entry(node.clone()).or_default().insert(self.pairs, unique_name.clone());
            self.assumed.entry(node.clone()).or_default().insert(unique_name.clone());
            Pair {
                confirmed: false,
                device_path: "".into(),
                detach_requested: None,
                reported: false,
                turn: self.pairs,
            }
        })
    }

    /// Fills in what a volume is, of which only the name was known.
    pub fn learn_volume(&mut self, unique_name: &str, volume: &Arc<AttachableVolume>) {
        if let Some(entry) = self.volumes.get_mut(unique_name) {
            entry.volume.get_or_insert_with(|| volume.clone());
        }
    }

    /// It is not attached.
    pub fn mark_detached(&mut self, unique_name: &str, node: &str) {
        let Some(entry) = self.volumes.get_mut(unique_name) else { return };
        let pair = entry.nodes.remove(node);
        if entry.nodes.is_empty() {
            self.volumes.remove(unique_name);
        }
        if let (Some(pair), Some(volumes)) = (pair, self.by_node.get_mut(node)) {
            volumes.remove(&pair.turn);
            if volumes.is_empty() {
                self.by_node.remove(node);
            }
        }
    }

    /// The node's own report replaces all that was known or assumed.
    pub fn set_in_use(&mut self, node: &Arc<str>, volumes: &[Arc<str>]) {
        self.assumed.remove(node);
        if volumes.is_empty() {
            self.in_use.remove(node);
        } else {
            self.in_use.insert(node.clone(), volumes.iter().cloned().collect());
        }
    }

    /// The node is gone: what it said last holds, and it begins to use nothing.
    pub fn end_of_node(&mut self, node: &str) {
        self.assumed.remove(node);
    }

    /// Whether the node uses the volume, or may be about to.
    pub fn is_in_use(&self, unique_name: &str, node: &str) -> bool {
        [&self.in_use, &self.assumed]
            .iter()
            .any(|known| known.get(node).is_some_and(|volumes| volumes.contains(unique_name)))
    }

    /// Nobody wants it there since `now`, if not since before.
    pub fn request_detach(&mut self, unique_name: &str, node: &str, now: Timestamp) {
        if let Some(pair) = self.get_mut(unique_name, node) {
            pair.detach_requested.get_or_insert(now);
        }
    }

    /// It is wanted there, and attached.
    pub fn withdraw_detach(&mut self, unique_name: &str, node: &str) {
        if let Some(pair) = self.get_mut(unique_name, node) {
            pair.detach_requested = None;
        }
    }

    /// Whether the node is to be told that it is attached.
    pub fn report(&mut self, unique_name: &str, node: &str, reported: bool) {
        if let Some(pair) = self.get_mut(unique_name, node) {
            pair.reported = reported;
        }
    }

    fn get_mut(&mut self, unique_name: &str, node: &str) -> Option<&mut Pair> {
        self.volumes.get_mut(unique_name)?.nodes.get_mut(node)
    }

    pub fn get(&self, unique_name: &str, node: &str) -> Option<&Pair> {
        self.volumes.get(unique_name)?.nodes.get(node)
    }

    /// What the volume is, if that is known.
    pub fn volume(&self, unique_name: &str) -> Option<&Arc<AttachableVolume>> {
        self.volumes.get(unique_name)?.volume.as_ref()
    }

    /// What is, or may be, on a node, in the order in which it came.
    pub fn on<'a>(&'a self, node: &'a str) -> impl Iterator<Item = (&'a Arc<str>, &'a Pair)> {
        let names = self.by_node.get(node).into_iter().flat_map(BTreeMap::values);
        names.filter_map(move |name| Some((name, self.get(name, node)?)))
    }

    /// The nodes that have, or may have, a volume, by name.
    pub fn nodes_of<'a>(
        &'a self,
        unique_name: &str,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Pair)> {
        self.volumes.get(unique_name).into_iter().flat_map(|entry| &entry.nodes)
    }

    /// The nodes with anything attached, in no order.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_node.keys()
    }

    /// What `volumesAttached` of a node should be, in the order of attaching.
    pub fn report_of(&self, node: &str) -> Vec<AttachedVolume> {
        let reported = self.on(node).filter(|(_, pair)| pair.reported);
        let reported = reported.map(|(name, pair)| AttachedVolume {
            name: name.clone(),
            device_path: pair.device_path.clone(),
        });
        reported.collect()
    }

    /// Forgets what a node used that has nothing attached.
    pub fn forget_node(&mut self, node: &str) {
        if !self.by_node.contains_key(node) {
            self.in_use.remove(node);
            self.assumed.remove(node);
        }
    }
}
