//! The rows of one cluster, by kind, and who points at whom.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use crate::mirror::index::Index;
use crate::mirror::interner::Interner;
use crate::mirror::table::{Change, Table};
use crate::mirror::timeline::Told;
use crate::model::attachment::Attachment;
use crate::model::claim::Claim;
use crate::model::csi::CsiNode;
use crate::model::event::Event;
use crate::model::kind::{self, Kind};
use crate::model::object::{Key, Meta, ObjectRef, Seconds};
use crate::model::pod::{Pod, PodClaim};
use crate::model::replica_set::{ControllerRevision, ReplicaSet};
use crate::model::row::Row;
use crate::model::selector::Operator;
use crate::model::volume::Volume;

/// How many events are kept, the server's and those it has forgotten.
pub const EVENTS_KEPT_MAX: usize = 20_000;

/// The node label that local volumes name in their node affinity.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// A kind that the mirror keeps rows of.
pub trait Mirrored: Told {
    fn table(tables: &Tables) -> &Table<Self>;
    fn table_mut(tables: &mut Tables) -> &mut Table<Self>;
    /// Keeps the indexes in step with one change.
    fn reindex(indexes: &mut Indexes, change: &Change<Self>);
    /// Takes over the names and uids that the row's partner holds already.
    fn share_with_partner(row: &mut Self, tables: &Tables);
}

/// Hands the list of the kinds that have rows to another macro: field, row,
/// the function that keeps its indexes, and the one that shares names with the
/// row's partner. The first are watched first.
macro_rules! for_each_kind {
    ($with:ident) => {
        $with! {
            claims: $crate::model::claim::Claim, index_claim, share_with_volume;
            volumes: $crate::model::volume::Volume, index_volume, share_with_claim;
            classes: $crate::model::class::StorageClass, unindexed, alone;
            pods: $crate::model::pod::Pod, index_pod, alone;
            /// Also events that the server has forgotten, up to [`EVENTS_KEPT_MAX`].
            events: $crate::model::event::Event, index_event, alone;
            attachments: $crate::model::attachment::Attachment, index_attachment, alone;
            nodes: $crate::model::node::Node, unindexed, alone;
            csi_drivers: $crate::model::csi::CsiDriver, unindexed, alone;
            csi_nodes: $crate::model::csi::CsiNode, index_csi_node, alone;
            csi_capacities: $crate::model::csi::CsiCapacity, unindexed, alone;
            attributes_classes: $crate::model::attributes_class::AttributesClass, unindexed, alone;
            stateful_sets: $crate::model::stateful_set::StatefulSet, unindexed, alone;
            deployments: $crate::model::deployment::Deployment, unindexed, alone;
            replica_sets: $crate::model::replica_set::ReplicaSet, index_replica_set, alone;
            controller_revisions: $crate::model::replica_set::ControllerRevision, index_revision, alone;
            services: $crate::model::service::Service, unindexed, alone;
            config_maps: $crate::model::bare::ConfigMap, unindexed, alone;
            secrets: $crate::model::bare::Secret, unindexed, alone;
            service_accounts: $crate::model::bare::ServiceAccount, unindexed, alone;
            namespaces: $crate::model::namespace::Namespace, unindexed, alone;
            quotas: $crate::model::quota::ResourceQuota, unindexed, alone;
            limit_ranges: $crate::model::limit_range::LimitRange, unindexed, alone;
        }
    };
}
pub(super) use for_each_kind;

macro_rules! tables {
    ($($(#[$doc:meta])* $field:ident: $row:ty, $reindex:ident, $share:ident;)*) => {
        /// The rows of one cluster.
        #[derive(Debug, Default)]
        pub struct Tables {
            $($(#[$doc])* pub $field: Table<$row>,)*
            pub(super) indexes: Indexes,
            interner: Interner,
        }

        impl Tables {
            /// Every object that is held.
            pub fn objects(&self) -> impl Iterator<Item = ObjectRef> {
                std::iter::empty()$(.chain(self.$field.iter().map(reference)))*
            }

            /// The metadata of an object of any kind that has rows; events apart,
            /// which outlive their deletion here.
            pub fn meta(&self, object: &ObjectRef) -> Option<&Meta> {
                $(if *object.kind == *<$row as Row>::KIND {
                    return self.$field.get(&object.key).map(|row| row.meta());
                })*
                None
            }

            /// The metadata of the object of a kind that has this uid.
            pub fn meta_by_uid(&self, kind: &Kind, uid: &str) -> Option<&Meta> {
                $(if *kind == *<$row as Row>::KIND {
                    return self.$field.by_uid(uid).map(|row| row.meta());
                })*
                None
            }

            /// The metadata of everything in a namespace, kind by kind; events
            /// apart, which outlive their deletion here.
            pub fn in_namespace(&self, namespace: &Arc<str>) -> Vec<(&'static Kind, &Meta)> {
                let mut found = Vec::new();
                $(if <$row as Row>::KIND.namespaced && *<$row as Row>::KIND != *kind::EVENT {
                    let rows = self.$field.in_namespace(namespace.clone());
                    found.extend(rows.map(|row| (<$row as Row>::KIND, row.meta())));
                })*
                found
            }
        }

        /// The kinds that have rows.
        pub const KINDS: &[&Kind] = &[$(<$row as Row>::KIND),*];

        $(impl Mirrored for $row {
            fn table(tables: &Tables) -> &Table<Self> {
                &tables.$field
            }

            fn table_mut(tables: &mut Tables) -> &mut Table<Self> {
                &mut tables.$field
            }

            fn reindex(indexes: &mut Indexes, change: &Change<Self>) {
                if let Some(before) = &change.before {
                    $reindex(indexes, &change.key, before, Presence::Gone);
                }
                if let Some(after) = &change.after {
                    $reindex(indexes, &change.key, after, Presence::Here);
                }
            }

            fn share_with_partner(row: &mut Self, tables: &Tables) {
                $share(row, tables);
            }
        })*
    };
}
for_each_kind!(tables);

fn reference<R: Row>(row: &Arc<R>) -> ObjectRef {
    ObjectRef::new(R::KIND, row.meta().key.clone())
}

/// Who points at whom; read through the methods of [`Tables`].
#[derive(Debug, Default)]
pub struct Indexes {
    volumes_by_claim: Index<Key>,
    claims_by_volume: Index<Arc<str>>,
    pods_by_claim: Index<Key>,
    pods_by_node: Index<Arc<str>>,
    pods_by_owner: Index<Arc<str>>,
    replica_sets_by_owner: Index<Arc<str>>,
    revisions_by_owner: Index<Arc<str>>,
    attachments_by_volume: Index<Arc<str>>,
    attachments_by_node: Index<Arc<str>>,
    volumes_by_host: Index<Arc<str>>,
    csi_nodes_by_driver: Index<Arc<str>>,
    events_by_uid: Index<Arc<str>>,
    /// Oldest first: what goes when there are too many.
    events_by_age: BTreeSet<(Seconds, Key)>,
    events_dropped: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    Here,
    Gone,
}

impl Tables {
    /// The volumes whose `claimRef` names this claim, whichever its uid.
    pub fn volumes_of<'a>(
        &'a self,
        claim: &Key,
    ) -> impl Iterator<Item = &'a Arc<Volume>> + use<'a> {
        rows(&self.volumes, self.indexes.volumes_by_claim.get(claim))
    }

    /// The claims whose `spec.volumeName` is this volume.
    pub fn claims_of<'a>(&'a self, volume: &str) -> impl Iterator<Item = &'a Arc<Claim>> + use<'a> {
        rows(&self.claims, self.indexes.claims_by_volume.get(volume))
    }

    /// The pods that use this claim, terminated ones too.
    pub fn pods_using<'a>(&'a self, claim: &Key) -> impl Iterator<Item = &'a Arc<Pod>> + use<'a> {
        rows(&self.pods, self.indexes.pods_by_claim.get(claim))
    }

    /// The pods that are to run on this node, terminated ones too.
    pub fn pods_on<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a Arc<Pod>> + use<'a> {
        rows(&self.pods, self.indexes.pods_by_node.get(node))
    }

    /// The pods whose controller has this uid.
    pub fn pods_owned_by<'a>(&'a self, uid: &str) -> impl Iterator<Item = &'a Arc<Pod>> + use<'a> {
        rows(&self.pods, self.indexes.pods_by_owner.get(uid))
    }

    /// The ReplicaSets whose controller has this uid.
    pub fn replica_sets_owned_by<'a>(
        &'a self,
        uid: &str,
    ) -> impl Iterator<Item = &'a Arc<ReplicaSet>> + use<'a> {
        rows(&self.replica_sets, self.indexes.replica_sets_by_owner.get(uid))
    }

    /// The ControllerRevisions whose controller has this uid.
    pub fn revisions_owned_by<'a>(
        &'a self,
        uid: &str,
    ) -> impl Iterator<Item = &'a Arc<ControllerRevision>> + use<'a> {
        rows(&self.controller_revisions, self.indexes.revisions_by_owner.get(uid))
    }

    /// The attachments to this node.
    pub fn attachments_on<'a>(
        &'a self,
        node: &str,
    ) -> impl Iterator<Item = &'a Arc<Attachment>> + use<'a> {
        rows(&self.attachments, self.indexes.attachments_by_node.get(node))
    }

    /// The volumes whose node affinity names this host: its local volumes.
    pub fn volumes_at<'a>(&'a self, host: &str) -> impl Iterator<Item = &'a Arc<Volume>> + use<'a> {
        rows(&self.volumes, self.indexes.volumes_by_host.get(host))
    }

    /// The nodes that this CSI driver is registered on.
    pub fn csi_nodes_with<'a>(
        &'a self,
        driver: &str,
    ) -> impl Iterator<Item = &'a Arc<CsiNode>> + use<'a> {
        rows(&self.csi_nodes, self.indexes.csi_nodes_by_driver.get(driver))
    }

    /// On how many nodes a CSI driver is registered, without a look at them.
    pub fn csi_nodes_count(&self, driver: &str) -> usize {
        self.indexes.csi_nodes_by_driver.count(driver)
    }

    /// The CSI drivers that are registered on any node, in no order.
    pub fn registered_drivers(&self) -> impl Iterator<Item = &Arc<str>> {
        self.indexes.csi_nodes_by_driver.points()
    }

    /// The attachments of this volume, at most one per node.
    pub fn attachments_of<'a>(
        &'a self,
        volume: &str,
    ) -> impl Iterator<Item = &'a Arc<Attachment>> + use<'a> {
        rows(&self.attachments, self.indexes.attachments_by_volume.get(volume))
    }

    /// The events about the object with this uid, by name, not by time.
    pub fn events_about<'a>(&'a self, uid: &str) -> impl Iterator<Item = &'a Arc<Event>> + use<'a> {
        rows(&self.events, self.indexes.events_by_uid.get(uid))
    }

    /// How many events were let go to stay within [`EVENTS_KEPT_MAX`].
    pub fn events_dropped(&self) -> u64 {
        self.indexes.events_dropped
    }

    pub(super) fn apply<R: Mirrored>(&mut self, mut row: R) -> Option<Change<R>> {
        row.share(&mut self.interner);
        R::share_with_partner(&mut row, self);
        let change = R::table_mut(self).apply(row)?;
        R::reindex(&mut self.indexes, &change);
        Some(change)
    }

    pub(super) fn remove<R: Mirrored>(
        &mut self,
        key: &Key,
        uid: &str,
        version: u64,
    ) -> Option<Change<R>> {
        let change = R::table_mut(self).remove(key, uid, version)?;
        R::reindex(&mut self.indexes, &change);
        Some(change)
    }

    pub(super) fn sweep<R: Mirrored>(
        &mut self,
        listed: &HashSet<Arc<str>>,
        version: u64,
    ) -> Vec<Change<R>> {
        let gone = R::table_mut(self).sweep(listed, version);
        gone.iter().for_each(|change| R::reindex(&mut self.indexes, change));
        gone
    }

    /// Lets the oldest events go until at most `most` are held.
    pub(super) fn trim_events(&mut self, most: usize) -> Vec<Change<Event>> {
        let mut gone = Vec::new();
        while self.events.len() > most
            && let Some((_, key)) = self.indexes.events_by_age.first().cloned()
            && let Some(change) = self.events.take(&key)
        {
            Event::reindex(&mut self.indexes, &change);
            self.indexes.events_dropped += 1;
            gone.push(change);
        }
        gone
    }
}

fn rows<'a, R: Row, K: Iterator<Item = &'a Key>>(
    table: &'a Table<R>,
    keys: K,
) -> impl Iterator<Item = &'a Arc<R>> + use<'a, R, K> {
    keys.filter_map(|key| table.get(key))
}

impl<K: Eq + std::hash::Hash> Index<K> {
    fn set(&mut self, at: K, key: &Key, presence: Presence) {
        match presence {
            Presence::Here => self.insert(at, key.clone()),
            Presence::Gone => self.remove(&at, key),
        }
    }
}

/// For kinds whose rows have no partner, or few rows.
fn alone<R>(_: &mut R, _: &Tables) {}

/// A bound pair tells each other's name and uid: one copy of each will do.
fn share_with_claim(volume: &mut Volume, tables: &Tables) {
    if let Some(name) = tables.indexes.claims_by_volume.held_key(&*volume.meta.key.name) {
        volume.meta.key.name = name.clone();
    }
    let Some(reference) = &mut volume.claim_ref else { return };
    if let Some(claim) = tables.claims.get(&reference.key) {
        reference.key = claim.meta.key.clone();
        if reference.uid == claim.meta.uid {
            reference.uid = claim.meta.uid.clone();
        }
    }
}

fn share_with_volume(claim: &mut Claim, tables: &Tables) {
    if let Some(volume) = tables.volumes.get(&Key::cluster(claim.volume_name.clone())) {
        claim.volume_name = volume.meta.key.name.clone();
    }
    if let Some(key) = tables.indexes.volumes_by_claim.held_key(&claim.meta.key) {
        claim.meta.key = key.clone();
    }
    let volume = tables.volumes_of(&claim.meta.key).next();
    if let Some(reference) = volume.and_then(|volume| volume.claim_ref.as_ref())
        && reference.uid == claim.meta.uid
    {
        claim.meta.uid = reference.uid.clone();
    }
}

/// For kinds that nothing asks for by what they point at.
fn unindexed<R>(_: &mut Indexes, _: &Key, _: &R, _: Presence) {}

fn index_volume(indexes: &mut Indexes, key: &Key, volume: &Volume, presence: Presence) {
    if let Some(claim) = &volume.claim_ref {
        indexes.volumes_by_claim.set(claim.key.clone(), key, presence);
    }
    for host in hosts(volume) {
        indexes.volumes_by_host.set(host.clone(), key, presence);
    }
}

/// The hosts that a volume's node affinity names, each once.
fn hosts(volume: &Volume) -> BTreeSet<&Arc<str>> {
    let terms = volume.node_affinity.iter().flat_map(|affinity| affinity.terms.iter());
    let wants = terms.flat_map(|term| term.expressions.iter());
    let hosts = wants.filter(|want| &*want.key == HOSTNAME && want.operator == Operator::In);
    hosts.flat_map(|want| want.values.iter()).collect()
}

fn index_claim(indexes: &mut Indexes, key: &Key, claim: &Claim, presence: Presence) {
    if !claim.volume_name.is_empty() {
        indexes.claims_by_volume.set(claim.volume_name.clone(), key, presence);
    }
}

fn index_csi_node(indexes: &mut Indexes, key: &Key, node: &CsiNode, presence: Presence) {
    for driver in &node.drivers {
        indexes.csi_nodes_by_driver.set(driver.name.clone(), key, presence);
    }
}

fn index_pod(indexes: &mut Indexes, key: &Key, pod: &Pod, presence: Presence) {
    for PodClaim { claim, .. } in &pod.claims {
        let claim = Key { namespace: key.namespace.clone(), name: claim.clone() };
        indexes.pods_by_claim.set(claim, key, presence);
    }
    if pod.is_scheduled() {
        indexes.pods_by_node.set(pod.node.clone(), key, presence);
    }
    if let Some(owner) = &pod.meta.owner {
        indexes.pods_by_owner.set(owner.uid.clone(), key, presence);
    }
}

fn index_replica_set(indexes: &mut Indexes, key: &Key, row: &ReplicaSet, presence: Presence) {
    if let Some(owner) = &row.meta.owner {
        indexes.replica_sets_by_owner.set(owner.uid.clone(), key, presence);
    }
}

fn index_revision(indexes: &mut Indexes, key: &Key, row: &ControllerRevision, presence: Presence) {
    if let Some(owner) = &row.meta.owner {
        indexes.revisions_by_owner.set(owner.uid.clone(), key, presence);
    }
}

fn index_attachment(indexes: &mut Indexes, key: &Key, row: &Attachment, presence: Presence) {
    if !row.volume.is_empty() {
        indexes.attachments_by_volume.set(row.volume.clone(), key, presence);
    }
    if !row.node.is_empty() {
        indexes.attachments_by_node.set(row.node.clone(), key, presence);
    }
}

fn index_event(indexes: &mut Indexes, key: &Key, event: &Event, presence: Presence) {
    if !event.about.uid.is_empty() {
        indexes.events_by_uid.set(event.about.uid.clone(), key, presence);
    }
    let age = (event.last_seen, key.clone());
    match presence {
        Presence::Here => indexes.events_by_age.insert(age),
        Presence::Gone => indexes.events_by_age.remove(&age),
    };
}
