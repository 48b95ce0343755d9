//! The desired state of the world: which volume should be attached to which
//! node, and for which pods.
//!
//! Upstream: `cache/desired_state_of_world.go`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::controllers::attach_detach::volume::AttachableVolume;
use crate::model::object::Key;

/// Which volumes are wanted where.
#[derive(Debug, Clone, Default)]
pub struct DesiredState {
    managed: HashSet<Arc<str>>,
    nodes: HashMap<Arc<str>, BTreeMap<Arc<str>, Wanted>>,
    /// The nodes that want each volume.
    by_volume: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
    pods: HashMap<Key, PodEntry>,
}

/// A volume wanted on a node. It is gone with its last pod.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// As the first pod named it.
    pub volume: Arc<AttachableVolume>,
    /// When it was first decided about.
    pub since: Option<Timestamp>,
    /// Pods have been told that another node has it.
    pub multi_attach_told: bool,
    /// Those scheduled here that want it, by uid.
    pub pods: BTreeMap<Arc<str>, Key>,
}

/// A pod whose volumes are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodEntry {
    pub uid: Arc<str>,
    pub node: Arc<str>,
    /// Its volumes by their name in the pod: the unique names of those that
    /// are attached to nodes.
    pub volumes: BTreeMap<Arc<str>, Arc<str>>,
    /// Its inline volumes have been read.
    pub inline_read: bool,
    /// Nothing more is to be found out about its volumes.
    pub settled: bool,
}

impl DesiredState {
    /// From now on volumes are wanted on this node; whether it is news.
    pub fn manage(&mut self, node: &Arc<str>) -> bool {
        self.managed.insert(node.clone())
    }

    /// Forgets a node on which nothing is wanted; false if something is.
    pub fn unmanage(&mut self, node: &str) -> bool {
        if self.nodes.contains_key(node) {
            return false;
        }
        self.managed.remove(node);
        true
    }

    pub fn is_managed(&self, node: &str) -> bool {
        self.managed.contains(node)
    }

    pub fn pod(&self, key: &Key) -> Option<&PodEntry> {
        self.pods.get(key)
    }

    /// Wants a volume for a pod. `name` is the volume's in the pod.
    pub fn add(
        &mut self,
        pod: &Key,
        name: &Arc<str>,
        unique_name: &Arc<str>,
        volume: &Arc<AttachableVolume>,
    ) {
        let Some(entry) = self.pods.get_mut(pod) else { return };
        if entry.volumes.get(name).is_some_and(|held| held == unique_name) {
            return;
        }
        let (node, uid) = (entry.node.clone(), entry.uid.clone());
        entry.volumes.insert(name.clone(), unique_name.clone());
        let wanted = self.nodes.entry(node.clone()).or_default();
        let wanted = wanted.entry(unique_name.clone()).or_insert_with(|| Wanted {
            volume: volume.clone(),
            since: None,
            multi_attach_told: false,
            pods: BTreeMap::new(),
        });
        wanted.pods.insert(uid, pod.clone());
        self.by_volume.entry(unique_name.clone()).or_default().insert(node);
    }

    /// A pod on a node, its volumes still to be found. Another one of that
    /// name must have been removed.
    pub fn begin_pod(&mut self, key: &Key, uid: &Arc<str>, node: &Arc<str>) {
        self.pods.entry(key.clone()).or_insert_with(|| PodEntry {
            uid: uid.clone(),
            node: node.clone(),
            ..PodEntry::default()
        });
    }

    pub fn set_inline_read(&mut self, pod: &Key) {
        if let Some(entry) = self.pods.get_mut(pod) {
            entry.inline_read = true;
        }
    }

    pub fn settle(&mut self, pod: &Key, settled: bool) {
        if let Some(entry) = self.pods.get_mut(pod) {
            entry.settled = settled;
        }
    }

    /// A pod no longer wants any volume; the node that has one thing less to
    /// do.
    pub fn remove_pod(&mut self, key: &Key) -> Option<Arc<str>> {
        let entry = self.pods.remove(key)?;
        for unique_name in entry.volumes.values() {
            self.drop_wish(&entry.node, unique_name, &entry.uid);
        }
        Some(entry.node)
    }

    /// A pod no longer wants this volume: its kind is not attached any more.
    pub fn remove_volume(&mut self, pod: &Key, name: &str) {
        let Some(entry) = self.pods.get_mut(pod) else { return };
        let Some(unique_name) = entry.volumes.remove(name) else { return };
        // Two volumes of a pod may be the same one.
        if entry.volumes.values().any(|other| *other == unique_name) {
            return;
        }
        let (node, uid) = (entry.node.clone(), entry.uid.clone());
        self.drop_wish(&node, &unique_name, &uid);
    }

    fn drop_wish(&mut self, node: &Arc<str>, unique_name: &Arc<str>, uid: &str) {
        let Some(volumes) = self.nodes.get_mut(node) else { return };
        let Some(wanted) = volumes.get_mut(unique_name) else { return };
        wanted.pods.remove(uid);
        if !wanted.pods.is_empty() {
            return;
        }
        volumes.remove(unique_name);
        if volumes.is_empty() {
            self.nodes.remove(node);
        }
        if let Some(nodes) = self.by_volume.get_mut(unique_name) {
            nodes.remove(node);
            if nodes.is_empty() {
                self.by_volume.remove(unique_name);
            }
        }
    }

    /// What is wanted on a node, by unique name.
    pub fn on<'a>(&'a self, node: &str) -> impl Iterator<Item = (&'a Arc<str>, &'a Wanted)> {
        self.nodes.get(node).into_iter().flatten()
    }

    pub fn get(&self, node: &str, unique_name: &str) -> Option<&Wanted> {
        self.nodes.get(node)?.get(unique_name)
    }

    /// Since when each volume is wanted on a node.
    pub fn note_wishes(&mut self, node: &str, now: Timestamp) {
        for wanted in self.nodes.get_mut(node).into_iter().flat_map(BTreeMap::values_mut) {
            wanted.since.get_or_insert(now);
        }
    }

    pub fn tell_multi_attach(&mut self, node: &str, unique_name: &str) {
        let wanted = self.nodes.get_mut(node).and_then(|volumes| volumes.get_mut(unique_name));
        if let Some(wanted) = wanted {
            wanted.multi_attach_told = true;
        }
    }

    /// The nodes that want a volume, by name.
    pub fn nodes_wanting<'a>(&'a self, unique_name: &str) -> impl Iterator<Item = &'a Arc<str>> {
        self.by_volume.get(unique_name).into_iter().flatten()
    }

    /// The nodes with anything wanted, in no order.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<str>> {
        self.nodes.keys()
    }

    /// The pods whose volumes are wanted, in no order.
    pub fn pods(&self) -> impl Iterator<Item = (&Key, &PodEntry)> {
        self.pods.iter()
    }
}
