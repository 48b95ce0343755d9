//! Watch caches: compact rows of what a cluster holds, kept current, and the
//! stream of their transitions.
//!
//! One mirror per cluster, shared by the console and the hosted controllers; a
//! change of context makes a new one, so that late answers of an earlier
//! context have nowhere to go. Knows `cluster` and `model`. Never writes to the
//! cluster.
//!
//! ```text
//! watch loop (one per kind) ──┐
//! answers to our own writes ──┴─> Mirror::apply ─> Tables ─> readers, briefly
//!                                       │
//!                                       └─> dirty sets (one per subscriber), timeline
//! ```
//!
//! A row is replaced only by one of a version not older (versions compare as
//! numbers), so an answer that overtakes its watch event is not undone by it.
//! Subscribers get keys, not rows: a slow one sees the newest state, and its
//! memory is bounded by the number of objects.

pub mod complaint;
pub mod freshness;
pub mod index;
pub mod inferred_board;
pub mod subscription;
pub mod table;
pub mod tables;
pub mod timeline;
pub mod watch;

mod backoff;
mod follow;
mod interner;
mod link;
mod reader;

#[cfg(test)]
mod watch_tests;

use std::any::TypeId;
use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::mirror::complaint::{Complaint, Complaints};
use crate::mirror::freshness::{Freshness, FreshnessByKind};
use crate::mirror::subscription::{Subscribers, Subscription};
use crate::mirror::table::Change;
use crate::mirror::tables::EVENTS_KEPT_MAX;
use crate::mirror::tables::for_each_kind;
pub use crate::mirror::tables::{KINDS, Mirrored, Tables};
use crate::mirror::timeline::Timeline;
use crate::model::clock::Clock;
use crate::model::event::Event;
use crate::model::kind::Kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::row::Row;

/// The live picture of one cluster. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Mirror {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    tables: RwLock<Tables>,
    freshness: RwLock<FreshnessByKind>,
    complaints: Mutex<Complaints>,
    timeline: Mutex<Timeline>,
    /// Tells when transitions happen; set by the watch loops.
    clock: OnceLock<Arc<dyn Clock>>,
    subscribers: Subscribers,
    revision: AtomicU64,
    /// Milliseconds by which the server's clock is ahead.
    server_ahead_ms: AtomicI64,
}

impl Mirror {
    /// Reads the tables; `read` must be brief and must not write or await.
    pub fn read<T>(&self, read: impl FnOnce(&Tables) -> T) -> T {
        read(&self.inner.tables.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes in a row that the cluster sent: from a watch, or as the answer to
    /// a write. Older versions than the one held are dropped.
    pub fn apply<R: Mirrored>(&self, row: R) {
        self.change(|tables| tables.apply(row).into_iter().collect());
    }

    /// Takes in a page of a list. What the first list brings was there before:
    /// no news for the timeline.
    fn load<R: Mirrored>(&self, rows: Vec<R>, news: News) {
        let load =
            |tables: &mut Tables| rows.into_iter().filter_map(|row| tables.apply(row)).collect();
        self.change_as(news, load);
    }

    /// Empties a kind of which nothing is known any more: not that it went.
    fn forget_all<R: Mirrored>(&self) {
        let nothing = HashSet::new();
        self.change_as::<R>(News::Old, |tables| {
            R::table_mut(tables).start_over();
            tables.sweep(&nothing, u64::MAX)
        });
    }

    /// Takes in the answer to one of our writes, so that who wrote decides next
    /// on what came of it. An object that is not known is taken in only ahead of
    /// the watch: one that the watch has already seen deleted must not return.
    pub fn observe<R: Mirrored>(&self, row: R) {
        self.change(|tables| {
            let table = R::table(tables);
            let held = table.get(&row.meta().key);
            let known = held.is_some_and(|held| held.meta().uid == row.meta().uid);
            let news = known || table.is_ahead(row.meta().version);
            if news { tables.apply(row).into_iter().collect() } else { Vec::new() }
        });
    }

    /// The watch of a kind has told everything up to this version.
    fn reached<R: Mirrored>(&self, version: u64) {
        let mut tables = self.inner.tables.write().unwrap_or_else(PoisonError::into_inner);
        R::table_mut(&mut tables).reach(version);
    }

    /// Takes an object out, unless the one held is another of that name or
    /// newer than the deletion. An event stays: what it tells has happened.
    pub fn remove<R: Mirrored>(&self, key: &Key, uid: &str, version: u64) {
        if !outlives_deletion::<R>() {
            self.change::<R>(|tables| tables.remove(key, uid, version).into_iter().collect());
        }
    }

    /// Swaps in a complete list: what it does not name is gone.
    pub fn replace_all<R: Mirrored>(&self, rows: Vec<R>) {
        let listed: HashSet<_> = rows.iter().map(|row| row.meta().uid.clone()).collect();
        self.load(rows, News::Tell);
        self.sweep::<R>(&listed, u64::MAX);
    }

    /// Takes out what a complete list made at `version` did not name (by uid).
    pub fn sweep<R: Mirrored>(&self, listed: &HashSet<Arc<str>>, version: u64) {
        if !outlives_deletion::<R>() {
            self.change::<R>(|tables| tables.sweep(listed, version));
        }
    }

    /// Reads the transitions; `read` must be brief.
    pub fn timeline<T>(&self, read: impl FnOnce(&Timeline) -> T) -> T {
        read(&self.inner.timeline.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How current each watched kind is.
    pub fn freshness(&self) -> FreshnessByKind {
        self.inner.freshness.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How current one kind is; `None` if nothing watches it.
    pub fn freshness_of(&self, kind: &'static Kind) -> Option<Freshness> {
        let freshness = self.inner.freshness.read().unwrap_or_else(PoisonError::into_inner);
        freshness.get(kind).cloned()
    }

    /// Says how current a kind is; subscribers are woken if that is news.
    pub fn set_freshness(&self, kind: &'static Kind, now: Freshness) {
        let mut freshness = self.inner.freshness.write().unwrap_or_else(PoisonError::into_inner);
        let news = freshness.get(kind) != Some(&now);
        freshness.insert(kind, now);
        drop(freshness);
        if news {
            self.notify(std::iter::empty());
        }
    }

    /// What the server sent that could not be read, newest last.
    pub fn complaints(&self) -> Complaints {
        self.inner.complaints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn complain(&self, time: Timestamp, text: String) {
        tracing::warn!(text, "skipped what cannot be read");
        let mut complaints = self.inner.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        complaints.add(Complaint { time, text });
        drop(complaints);
        self.notify(std::iter::empty());
    }

    /// How far the server's clock is ahead of the cluster's [`Clock`]: to be
    /// added before an age is told. Zero where the server does not say.
    pub fn server_ahead(&self) -> SignedDuration {
        SignedDuration::from_millis(self.inner.server_ahead_ms.load(Ordering::Relaxed))
    }

    fn set_server_ahead(&self, ahead: Option<SignedDuration>) {
        if let Some(ms) = ahead.and_then(|ahead| i64::try_from(ahead.as_millis()).ok()) {
            self.inner.server_ahead_ms.store(ms, Ordering::Relaxed);
        }
    }

    /// A number that rises with every change of a row or of a freshness.
    pub fn revision(&self) -> u64 {
        self.inner.revision.load(Ordering::Acquire)
    }

    /// A new subscriber; it starts with everything that is held marked changed.
    pub fn subscribe(&self) -> Subscription {
        self.inner.subscribers.add(|| self.read(|tables| tables.objects().collect()))
    }

    fn change<R: Mirrored>(&self, change: impl FnOnce(&mut Tables) -> Vec<Change<R>>) {
        self.change_as(News::Tell, change);
    }

    fn change_as<R: Mirrored>(
        &self,
        news: News,
        change: impl FnOnce(&mut Tables) -> Vec<Change<R>>,
    ) {
        let (changed, dropped) = {
            let mut tables = self.inner.tables.write().unwrap_or_else(PoisonError::into_inner);
            let changed = change(&mut tables);
            let dropped = tables.trim_events(EVENTS_KEPT_MAX);
            // Still under the lock, so that transitions are in the order of
            // the changes.
            if news == News::Tell && !outlives_deletion::<R>() && !changed.is_empty() {
                self.tell(&changed);
            }
            (changed, dropped)
        };
        if changed.is_empty() && dropped.is_empty() {
            return;
        }
        fn changed_key<R: Row>(change: &Change<R>) -> ObjectRef {
            ObjectRef::new(R::KIND, change.key.clone())
        }
        self.notify(changed.iter().map(changed_key).chain(dropped.iter().map(changed_key)));
    }

    /// Tells changes to the timeline. A mirror that was never watched has no
    /// clock, and a step without a time is no part of a story.
    fn tell<R: Mirrored>(&self, changes: &[Change<R>]) {
        let Some(now) = self.inner.clock.get().map(|clock| clock.now()) else { return };
        let mut timeline = self.inner.timeline.lock().unwrap_or_else(PoisonError::into_inner);
        changes.iter().for_each(|change| timeline.tell(now, change));
    }

    fn notify(&self, changed: impl Iterator<Item = ObjectRef> + Clone) {
        self.inner.revision.fetch_add(1, Ordering::AcqRel);
        self.inner.subscribers.mark(changed);
    }
}

macro_rules! observe_object {
    ($($(#[$doc:meta])* $field:ident: $row:ty, $reindex:ident, $share:ident;)*) => {
        impl Mirror {
            /// [`Mirror::observe`] for an object of any kind; one that has no rows,
            /// or that cannot be read, is left to the watch.
            pub fn observe_object(&self, kind: &'static Kind, object: &Value) {
                $(if *kind == *<$row as Row>::KIND {
                    if let Ok(row) = <$row as Row>::from_object(object) {
                        self.observe(row);
                    }
                    return;
                })*
            }
        }
    };
}
for_each_kind!(observe_object);

/// Whether changes are news to the timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    Tell,
    Old,
}

/// Whether rows stay when the server has deleted the object: the server forgets
/// events after an hour, a person asking why still needs them.
fn outlives_deletion<R: Row>() -> bool {
    TypeId::of::<R>() == TypeId::of::<Event>()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::claim::Claim;
    use crate::model::csi::CsiNode;
    use crate::model::pod::Pod;
    use crate::model::volume::Volume;

    fn row<R: Row>(namespace: &str, name: &str, version: u64, mut object: Value) -> R {
        object["metadata"] = json!({"namespace": namespace, "name": name,
            "uid": format!("uid-{name}"), "resourceVersion": version.to_string()});
        R::from_object(&object).expect("a row")
    }

    fn claimed(name: &str, version: u64, claim: &str) -> Volume {
        let reference = json!({"namespace": "shop", "name": claim});
        row("", name, version, json!({"spec": {"claimRef": reference}}))
    }

    fn names<'a, R: Row>(rows: impl Iterator<Item = &'a Arc<R>>) -> Vec<String> {
        rows.map(|row| row.meta().key.name.to_string()).collect()
    }

    #[test]
    fn volume_that_changes_its_claim_moves_in_the_index() {
        let mirror = Mirror::default();
        let (one, two) = (Key::new("shop", "one"), Key::new("shop", "two"));
        mirror.apply(claimed("pv-a", 1, "one"));
        mirror.apply(claimed("pv-b", 2, "one"));
        mirror.apply(claimed("pv-a", 3, "two"));
        mirror.read(|tables| {
            assert_eq!(names(tables.volumes_of(&one)), ["pv-b"]);
            assert_eq!(names(tables.volumes_of(&two)), ["pv-a"]);
        });
        mirror.remove::<Volume>(&Key::cluster("pv-a"), "uid-pv-a", 4);
        mirror.read(|tables| assert_eq!(tables.volumes_of(&two).count(), 0));
    }

    #[test]
    fn claims_and_pods_are_found_by_what_they_name() {
        let mirror = Mirror::default();
        mirror.apply(row::<Claim>("shop", "data", 1, json!({"spec": {"volumeName": "pv-a"}})));
        let volume = json!({"name": "v", "persistentVolumeClaim": {"claimName": "data"}});
        mirror.apply(row::<Pod>("shop", "web-0", 2, json!({"spec": {"volumes": [volume]}})));
        mirror.read(|tables| {
            assert_eq!(names(tables.claims_of("pv-a")), ["data"]);
            assert_eq!(names(tables.pods_using(&Key::new("shop", "data"))), ["web-0"]);
        });
        mirror.replace_all(Vec::<Pod>::new());
        mirror.read(|tables| {
            assert_eq!(tables.pods_using(&Key::new("shop", "data")).count(), 0);
        });
    }

    #[test]
    fn what_is_on_a_node_is_found_by_its_name() {
        let mirror = Mirror::default();
        let hostname = json!([{"matchExpressions": [{"key": "kubernetes.io/hostname",
            "operator": "In", "values": ["node-1"]}]}]);
        let affinity = json!({"required": {"nodeSelectorTerms": hostname}});
        mirror.apply(row::<Volume>("", "pv-1", 1, json!({"spec": {"nodeAffinity": affinity}})));
        mirror.apply(claimed("pv-2", 2, "one"));
        mirror.apply(row::<Pod>("shop", "web-0", 3, json!({"spec": {"nodeName": "node-1"}})));
        mirror.apply(row::<Pod>("shop", "web-1", 4, json!({"spec": {}})));
        let attached = json!({"spec": {"nodeName": "node-1"}});
        mirror.apply(row::<crate::model::attachment::Attachment>("", "va-1", 5, attached));
        mirror.read(|tables| {
            assert_eq!(names(tables.volumes_at("node-1")), ["pv-1"]);
            assert_eq!(names(tables.pods_on("node-1")), ["web-0"]);
            assert_eq!(names(tables.attachments_on("node-1")), ["va-1"]);
        });
        mirror.apply(row::<Pod>("shop", "web-0", 6, json!({"spec": {"nodeName": "node-2"}})));
        mirror.read(|tables| assert_eq!(tables.pods_on("node-1").count(), 0));
    }

    #[test]
    fn drivers_are_found_by_name_while_a_node_has_them() {
        let drivers = |names: &[&str]| {
            let driver = |name: &&str| json!({"name": name, "nodeID": "n"});
            json!({"spec": {"drivers": names.iter().map(driver).collect::<Vec<_>>()}})
        };
        let mirror = Mirror::default();
        mirror.apply(row::<CsiNode>("", "node-1", 1, drivers(&["fast", "slow"])));
        mirror.apply(row::<CsiNode>("", "node-2", 2, drivers(&["fast"])));
        mirror.read(|tables| {
            assert_eq!(names(tables.csi_nodes_with("fast")), ["node-1", "node-2"]);
            assert_eq!((tables.csi_nodes_count("fast"), tables.csi_nodes_count("slow")), (2, 1));
        });
        mirror.apply(row::<CsiNode>("", "node-1", 3, drivers(&["fast"])));
        mirror.read(|tables| {
            let there: Vec<&str> = tables.registered_drivers().map(|name| &**name).collect();
            assert_eq!(there, ["fast"]);
            assert_eq!(tables.csi_nodes_count("slow"), 0);
        });
    }

    #[test]
    fn answer_to_a_creation_is_taken_in_only_ahead_of_the_watch() {
        let mirror = Mirror::default();
        mirror.reached::<Volume>(7);
        mirror.observe(claimed("pv-gone", 7, "one"));
        mirror.observe(claimed("pv-made", 8, "one"));
        mirror.read(|tables| assert_eq!(names(tables.volumes.iter()), ["pv-made"]));
        mirror.remove::<Volume>(&Key::cluster("pv-made"), "uid-pv-made", 9);
        mirror.reached::<Volume>(9);
        mirror.observe(claimed("pv-made", 8, "one"));
        mirror.read(|tables| assert!(tables.volumes.is_empty()));
    }

    #[test]
    fn rows_newer_than_a_list_survive_its_sweep() {
        let mirror = Mirror::default();
        mirror.apply(claimed("pv-old", 5, "one"));
        mirror.apply(claimed("pv-new", 9, "one"));
        mirror.sweep::<Volume>(&HashSet::new(), 7);
        mirror.read(|tables| assert_eq!(names(tables.volumes.iter()), ["pv-new"]));
    }

    #[test]
    fn event_that_the_server_forgot_is_kept() {
        let mirror = Mirror::default();
        let about = json!({"involvedObject": {"uid": "uid-data"}});
        mirror.apply(row::<Event>("shop", "data.1", 1, about));
        mirror.remove::<Event>(&Key::new("shop", "data.1"), "uid-data.1", 2);
        mirror.replace_all(Vec::<Event>::new());
        mirror.read(|tables| assert_eq!(tables.events_about("uid-data").count(), 1));
    }

    #[test]
    fn too_many_events_let_the_oldest_go() {
        let mut tables = Tables::default();
        for number in 0..5 {
            let at = format!("2026-01-01T00:00:0{}Z", 9 - number);
            let object = json!({"involvedObject": {"uid": "uid-data"}, "lastTimestamp": at,
                "firstTimestamp": "2026-01-01T00:00:00Z"});
            tables.apply(row::<Event>("shop", &format!("e{number}"), number + 1, object));
        }
        tables.trim_events(2);
        assert_eq!(names(tables.events_about("uid-data")), ["e0", "e1"]);
        assert_eq!(tables.events_dropped(), 3);
    }

    #[tokio::test]
    async fn subscriber_hears_of_rows_and_of_freshness() {
        let mirror = Mirror::default();
        mirror.apply(claimed("pv-a", 1, "one"));
        let mut subscription = mirror.subscribe();
        let pv = ObjectRef::new(Volume::KIND, Key::cluster("pv-a"));
        assert_eq!(subscription.changed().await, HashSet::from([pv]));
        mirror.set_freshness(Volume::KIND, Freshness::Live);
        assert!(subscription.changed().await.is_empty());
        assert_eq!(mirror.freshness_of(Volume::KIND), Some(Freshness::Live));
    }
}
