//! What the scheduler knows: nodes with the pods on them, claims, volumes and
//! classes, as the mirror has seen them, and on top what it has decided and
//! not yet seen come true.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use crate::controllers::scheduler::change::{Became, Change};
use crate::controllers::scheduler::stock::Stock;
use crate::model::attachment::Attachment;
use crate::model::claim::Claim;
use crate::model::class::StorageClass;
use crate::model::csi::{CsiCapacity, CsiDriver, CsiNode};
use crate::model::namespace::Namespace;
use crate::model::node::Node;
use crate::model::object::{Key, Meta};
use crate::model::pod::Pod;
use crate::model::resources::Resources;
use crate::model::volume::Volume;

/// A node, and what is on it.
#[derive(Debug, Clone, Default)]
pub struct NodeInfo {
    /// `None`: pods name a node that does not exist, or not yet.
    pub node: Option<Arc<Node>>,
    /// The pods on it that have not ended, those on their way included.
    pub pods: BTreeMap<Key, Arc<Pod>>,
    pub requested: Resources,
    /// With the usual amounts for containers that ask for none.
    pub usual: Resources,
    /// How many pods of one controller are on it, by the controller's uid.
    pub by_owner: HashMap<Arc<str>, usize>,
    /// How many of its pods want ports or disks of their own.
    particular: usize,
}

impl NodeInfo {
    fn add(&mut self, pod: Arc<Pod>) {
        self.requested.add(&pod.needs.requests);
        self.usual.add(&pod.needs.usual_requests);
        self.particular += usize::from(is_particular(&pod));
        if let Some(owner) = &pod.meta.owner {
            *self.by_owner.entry(owner.uid.clone()).or_default() += 1;
        }
        self.pods.insert(pod.meta.key.clone(), pod);
    }

    /// Takes a pod off, as a what-if or because it went.
    pub fn remove(&mut self, key: &Key) -> Option<Arc<Pod>> {
        let pod = self.pods.remove(key)?;
        self.requested.subtract(&pod.needs.requests);
        self.usual.subtract(&pod.needs.usual_requests);
        self.particular -= usize::from(is_particular(&pod));
        if let Some(owner) = &pod.meta.owner
            && let Some(count) = self.by_owner.get_mut(&owner.uid)
        {
            *count -= 1;
            if *count == 0 {
                self.by_owner.remove(&owner.uid);
            }
        }
        Some(pod)
    }

    /// The pods on it that want ports or disks of their own.
    pub fn particular_pods(&self) -> impl Iterator<Item = &Arc<Pod>> {
        let pods = (self.particular > 0).then(|| self.pods.values());
        pods.into_iter().flatten().filter(|pod| is_particular(pod))
    }
}

fn is_particular(pod: &Pod) -> bool {
    !pod.needs.host_ports.is_empty() || !pod.needs.disks.is_empty()
}

/// What the scheduler knows of a cluster.
#[derive(Debug, Default)]
pub struct Cache {
    nodes: BTreeMap<Arc<str>, NodeInfo>,
    node_count: usize,
    /// Every pod that has not ended, as last seen.
    pods: HashMap<Key, Arc<Pod>>,
    /// The node of each pod on a node, or on its way to one.
    placed: HashMap<Key, Arc<str>>,
    /// Pods on no node, by the node that room is made on for them.
    nominated: HashMap<Arc<str>, BTreeSet<Key>>,
    /// Pods on nodes that name a claim, ephemeral volumes apart.
    users: HashMap<Key, BTreeSet<Key>>,
    /// Pods on nodes that keep others away.
    keeping_away: BTreeSet<Key>,
    pub claims: HashMap<Key, Arc<Claim>>,
    /// Claims that are to be provisioned for a node, not yet written.
    selected: HashMap<Key, (Arc<str>, BTreeSet<Key>)>,
    pub stock: Stock,
    pub classes: HashMap<Arc<str>, Arc<StorageClass>>,
    pub csi_nodes: HashMap<Arc<str>, Arc<CsiNode>>,
    pub csi_drivers: HashMap<Arc<str>, Arc<CsiDriver>>,
    pub namespaces: HashMap<Arc<str>, Arc<Namespace>>,
    capacities: HashMap<Key, Arc<CsiCapacity>>,
    attachments: HashMap<Key, Arc<Attachment>>,
    attachments_by_node: HashMap<Arc<str>, BTreeSet<Key>>,
}

/// Whether the row is newer than the one held, if any.
fn is_news(held: Option<&Meta>, row: &Meta) -> bool {
    held.is_none_or(|held| held.version < row.version)
}

impl Cache {
    /// The nodes that exist, by name.
    pub fn nodes(&self) -> impl Iterator<Item = (&Arc<Node>, &NodeInfo)> {
        self.nodes.values().filter_map(|info| Some((info.node.as_ref()?, info)))
    }

    /// The nodes that exist, from this name on, and then those before it.
    pub fn nodes_from(&self, name: &Arc<str>) -> impl Iterator<Item = (&Arc<Node>, &NodeInfo)> {
        let (after, before) = (self.nodes.range(name.clone()..), self.nodes.range(..name.clone()));
        after.chain(before).filter_map(|(_, info)| Some((info.node.as_ref()?, info)))
    }

    pub fn node_count(&self) -> usize {
        self.node_count
    }

    pub fn node(&self, name: &str) -> Option<(&Arc<Node>, &NodeInfo)> {
        let info = self.nodes.get(name)?;
        Some((info.node.as_ref()?, info))
    }

    pub fn pod(&self, key: &Key) -> Option<&Arc<Pod>> {
        self.pods.get(key)
    }

    /// The pods that have not ended, in no order.
    pub fn pods(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.pods.values()
    }

    /// The node that a pod is on, or on its way to.
    pub fn node_of(&self, pod: &Key) -> Option<&Arc<str>> {
        self.placed.get(pod)
    }

    /// The node as it will be if the pods come that are nominated to it and no
    /// less important than this one; `None` if there are none.
    pub fn with_nominated(&self, pod: &Pod, node: &Node, info: &NodeInfo) -> Option<NodeInfo> {
        let keys = self.nominated.get(&node.meta.key.name)?.iter();
        let others = keys.filter(|key| **key != pod.meta.key && !self.placed.contains_key(key));
        let others = others.filter_map(|key| self.pods.get(key));
        let mut fuller: Option<NodeInfo> = None;
        for other in others.filter(|other| other.needs.priority >= pod.needs.priority) {
            fuller.get_or_insert_with(|| info.clone()).add(other.clone());
        }
        fuller
    }

    /// Pods on nodes that name this claim.
    pub fn users_of(&self, claim: &Key) -> impl Iterator<Item = &Key> {
        self.users.get(claim).into_iter().flatten()
    }

    /// Pods on nodes that keep others away, with their nodes.
    pub fn keeping_away(&self) -> impl Iterator<Item = (&Arc<Pod>, &Arc<Node>)> {
        self.keeping_away.iter().filter_map(|key| {
            let (node, info) = self.node(self.placed.get(key)?)?;
            Some((info.pods.get(key)?, node))
        })
    }

    /// The node that a claim is, or is about to be, provisioned for.
    pub fn selected_node<'a>(&'a self, claim: &'a Claim) -> Option<&'a str> {
        let promised = self.selected.get(&claim.meta.key).map(|(node, _)| &**node);
        promised.or_else(|| claim.meta.annotation("volume.kubernetes.io/selected-node"))
    }

    pub fn capacities(&self) -> impl Iterator<Item = &Arc<CsiCapacity>> {
        self.capacities.values()
    }

    pub fn attachments_on(&self, node: &str) -> impl Iterator<Item = &Arc<Attachment>> {
        let keys = self.attachments_by_node.get(node).into_iter().flatten();
        keys.filter_map(|key| self.attachments.get(key))
    }

    /// Puts a pod on a node before it is seen there.
    pub fn assume_pod(&mut self, key: &Key, node: &Arc<str>) {
        if let Some(pod) = self.pods.get(key).cloned() {
            self.place(pod, node.clone());
        }
    }

    /// Takes an assumed pod off again, unless it has been seen on its node.
    pub fn forget_pod(&mut self, key: &Key) {
        if self.pods.get(key).is_none_or(|pod| !pod.is_scheduled()) {
            self.displace(key);
        }
    }

    /// Promises that a claim of a pod will be provisioned for a node.
    pub fn select(&mut self, claim: &Key, node: &Arc<str>, pod: &Key) {
        let selected = self.selected.entry(claim.clone());
        let (_, pods) = selected.or_insert_with(|| (node.clone(), BTreeSet::new()));
        pods.insert(pod.clone());
    }

    /// Takes that back, unless other pods count on it.
    pub fn unselect(&mut self, claim: &Key, pod: &Key) {
        if let Some((_, pods)) = self.selected.get_mut(claim) {
            pods.remove(pod);
            if pods.is_empty() {
                self.selected.remove(claim);
            }
        }
    }

    /// How many promises are out: volumes and claims.
    pub fn promises(&self) -> usize {
        self.stock.promised() + self.selected.len()
    }

    fn place(&mut self, pod: Arc<Pod>, node: Arc<str>) {
        let key = pod.meta.key.clone();
        self.displace(&key);
        for used in pod.claims.iter().filter(|used| !used.ephemeral) {
            let claim = Key { namespace: key.namespace.clone(), name: used.claim.clone() };
            self.users.entry(claim).or_default().insert(key.clone());
        }
        if pod.needs.neighbours.as_ref().is_some_and(|n| !n.required_apart.is_empty()) {
            self.keeping_away.insert(key.clone());
        }
        self.nodes.entry(node.clone()).or_default().add(pod);
        self.placed.insert(key, node);
    }

    fn displace(&mut self, key: &Key) {
        let Some(node) = self.placed.remove(key) else { return };
        self.keeping_away.remove(key);
        let Some(info) = self.nodes.get_mut(&node) else { return };
        let pod = info.remove(key);
        if info.node.is_none() && info.pods.is_empty() {
            self.nodes.remove(&node);
        }
        for used in pod.iter().flat_map(|pod| &pod.claims) {
            let claim = Key { namespace: key.namespace.clone(), name: used.claim.clone() };
            if let Some(users) = self.users.get_mut(&claim) {
                users.remove(key);
                if users.is_empty() {
                    self.users.remove(&claim);
                }
            }
        }
    }

    /// Takes in a pod, or that it is gone. One that has ended counts as gone.
    pub fn put_pod(&mut self, key: &Key, row: Option<Arc<Pod>>) -> Option<Change> {
        let row = row.filter(|pod| !matches!(&*pod.phase, "Succeeded" | "Failed"));
        let before = self.pods.get(key).cloned();
        let Some(row) = row else {
            self.nominate(key, before.as_deref(), None);
            self.pods.remove(key);
            let was_on = self.placed.contains_key(key);
            self.displace(key);
            let gone = Became::of(before, None);
            return gone.map(|pod| Change::Pod { pod, was_on });
        };
        if !is_news(before.as_ref().map(|before| &before.meta), &row.meta) {
            return None;
        }
        self.nominate(key, before.as_deref(), Some(&row));
        // Another of the same name: what was assumed of the earlier is over.
        let same = before.as_ref().is_some_and(|before| before.meta.uid == row.meta.uid);
        if !same {
            self.displace(key);
        }
        let was_on = self.placed.contains_key(key);
        self.pods.insert(key.clone(), row.clone());
        if row.is_scheduled() {
            self.place(row.clone(), row.node.clone());
        } else if let Some(node) = self.placed.get(key).cloned() {
            self.place(row.clone(), node);
        }
        let pod = Became { before: before.filter(|_| same), after: Some(row) };
        Some(Change::Pod { pod, was_on })
    }

    fn nominate(&mut self, key: &Key, before: Option<&Pod>, after: Option<&Pod>) {
        let node = |pod: Option<&Pod>| {
            let waiting = pod.filter(|pod| !pod.is_scheduled() && !pod.nominated_node.is_empty());
            waiting.map(|pod| pod.nominated_node.clone())
        };
        if let Some(node) = node(before)
            && let Some(pods) = self.nominated.get_mut(&node)
        {
            pods.remove(key);
            if pods.is_empty() {
                self.nominated.remove(&node);
            }
        }
        if let Some(node) = node(after) {
            self.nominated.entry(node).or_default().insert(key.clone());
        }
    }

    pub fn put_node(&mut self, name: &Arc<str>, row: Option<Arc<Node>>) -> Option<Change> {
        let before = self.nodes.get(name).and_then(|info| info.node.clone());
        match &row {
            Some(row) => {
                if !is_news(before.as_ref().map(|before| &before.meta), &row.meta) {
                    return None;
                }
                self.nodes.entry(name.clone()).or_default().node = Some(row.clone());
            }
            None => {
                let info = self.nodes.get_mut(name)?;
                info.node = None;
                if info.pods.is_empty() {
                    self.nodes.remove(name);
                }
            }
        }
        self.node_count += usize::from(row.is_some());
        self.node_count -= usize::from(before.is_some());
        Became::of(before, row).map(Change::Node)
    }

    pub fn put_claim(&mut self, key: &Key, row: Option<Arc<Claim>>) -> Option<Change> {
        let before = self.claims.get(key).cloned();
        match &row {
            Some(row) => {
                if !is_news(before.as_ref().map(|before| &before.meta), &row.meta) {
                    return None;
                }
                self.claims.insert(key.clone(), row.clone());
            }
            None => {
                self.claims.remove(key);
                self.selected.remove(key);
            }
        }
        Became::of(before, row).map(Change::Claim)
    }

    pub fn put_volume(&mut self, name: &str, row: Option<Arc<Volume>>) -> Option<Change> {
        let before = match &row {
            Some(row) => self.stock.put(row.clone())?,
            None => self.stock.remove(name),
        };
        Became::of(before, row).map(Change::Volume)
    }

    pub fn put_class(&mut self, name: &Arc<str>, row: Option<Arc<StorageClass>>) -> Option<Change> {
        replace(&mut self.classes, name, row).map(Change::Class)
    }

    pub fn put_csi_node(&mut self, name: &Arc<str>, row: Option<Arc<CsiNode>>) -> Option<Change> {
        replace(&mut self.csi_nodes, name, row).map(Change::CsiNode)
    }

    pub fn put_csi_driver(
        &mut self,
        name: &Arc<str>,
        row: Option<Arc<CsiDriver>>,
    ) -> Option<Change> {
        replace(&mut self.csi_drivers, name, row).map(Change::CsiDriver)
    }

    pub fn put_namespace(&mut self, name: &Arc<str>, row: Option<Arc<Namespace>>) {
        replace(&mut self.namespaces, name, row);
    }

    pub fn put_capacity(&mut self, key: &Key, row: Option<Arc<CsiCapacity>>) -> Option<Change> {
        replace(&mut self.capacities, key, row).map(Change::Capacity)
    }

    pub fn put_attachment(&mut self, key: &Key, row: Option<Arc<Attachment>>) -> Option<Change> {
        let Became { before, after } = replace(&mut self.attachments, key, row)?;
        if let Some(before) = &before
            && let Some(keys) = self.attachments_by_node.get_mut(&before.node)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.attachments_by_node.remove(&before.node);
            }
        }
        match after {
            Some(row) => {
                self.attachments_by_node.entry(row.node.clone()).or_default().insert(key.clone());
                None
            }
            None => before.map(|before| Change::Detached { node: before.node.clone() }),
        }
    }
}

/// Puts a row in its place, or takes it away; `None` if nothing was there.
fn replace<K: Clone + Eq + Hash, T>(
    map: &mut HashMap<K, Arc<T>>,
    key: &K,
    row: Option<Arc<T>>,
) -> Option<Became<T>> {
    let before = match row.clone() {
        Some(row) => map.insert(key.clone(), row),
        None => map.remove(key),
    };
    Became::of(before, row)
}
