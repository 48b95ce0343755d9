//! Watch caches: compact rows of what a cluster holds, kept current, and the
//! stream of their transitions.
//!
//! One mirror per cluster, shared by the console and the hosted controllers.
//! Knows `cluster` and `model`. Never writes to the cluster.
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

pub mod table;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::Notify;

use crate::mirror::table::Table;
use crate::model::claim::Claim;
use crate::model::class::StorageClass;
use crate::model::kind::Kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::pod::Pod;
use crate::model::row::Row;
use crate::model::volume::Volume;

/// The rows of one cluster.
#[derive(Debug, Default)]
pub struct Tables {
    pub volumes: Table<Volume>,
    pub claims: Table<Claim>,
    pub classes: Table<StorageClass>,
    pub pods: Table<Pod>,
}

/// A kind that the mirror keeps rows of.
pub trait Mirrored: Row {
    fn table(tables: &Tables) -> &Table<Self>;
    fn table_mut(tables: &mut Tables) -> &mut Table<Self>;
}

macro_rules! mirrored {
    ($($row:ty => $field:ident),* $(,)?) => {$(
        impl Mirrored for $row {
            fn table(tables: &Tables) -> &Table<Self> {
                &tables.$field
            }

            fn table_mut(tables: &mut Tables) -> &mut Table<Self> {
                &mut tables.$field
            }
        }
    )*};
}

mirrored! { Volume => volumes, Claim => claims, StorageClass => classes, Pod => pods }

/// The live picture of one cluster. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Mirror {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    tables: RwLock<Tables>,
    subscribers: Mutex<Vec<Arc<Dirty>>>,
}

impl Mirror {
    /// Reads the tables; `read` must be brief and must not write or await.
    pub fn read<T>(&self, read: impl FnOnce(&Tables) -> T) -> T {
        read(&self.inner.tables.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes in a row that the cluster sent: from a watch, or as the answer to
    /// a write. Older versions than the one held are dropped.
    pub fn apply<R: Mirrored>(&self, row: R) {
        self.change::<R>(|table| table.apply(row));
    }

    /// Takes in the answer to one of our writes. Only an object that is known
    /// is updated: one that the watch has already seen deleted must not return.
    pub fn observe<R: Mirrored>(&self, row: R) {
        self.change::<R>(|table| {
            let known = table.get(&row.meta().key).is_some_and(|r| r.meta().uid == row.meta().uid);
            if known { table.apply(row) } else { None }
        });
    }

    /// Takes an object out, unless the one held is another of that name or
    /// newer than the deletion.
    pub fn remove<R: Mirrored>(&self, key: &Key, uid: &str, version: u64) {
        self.change::<R>(|table| table.remove(key, uid, version));
    }

    /// Swaps in a complete list: what it does not name is gone.
    pub fn replace_all<R: Mirrored>(&self, rows: Vec<R>) {
        let changed = {
            let mut tables = self.inner.tables.write().unwrap_or_else(PoisonError::into_inner);
            R::table_mut(&mut tables).replace_all(rows)
        };
        self.notify(R::KIND, changed);
    }

    /// A new subscriber; it starts with everything that is held marked changed.
    pub fn subscribe(&self) -> Subscription {
        let dirty = Arc::new(Dirty::default());
        self.inner.subscribers.lock().unwrap_or_else(PoisonError::into_inner).push(dirty.clone());
        self.read(|tables| {
            fn all<R: Row>(table: &Table<R>) -> impl Iterator<Item = ObjectRef> {
                table.iter().map(|row| ObjectRef::new(R::KIND, row.meta().key.clone()))
            }
            dirty.mark(
                all(&tables.volumes)
                    .chain(all(&tables.claims))
                    .chain(all(&tables.classes))
                    .chain(all(&tables.pods)),
            );
        });
        Subscription { dirty }
    }

    fn change<R: Mirrored>(&self, change: impl FnOnce(&mut Table<R>) -> Option<Key>) {
        let changed = {
            let mut tables = self.inner.tables.write().unwrap_or_else(PoisonError::into_inner);
            change(R::table_mut(&mut tables))
        };
        self.notify(R::KIND, changed);
    }

    fn notify(&self, kind: &'static Kind, keys: impl IntoIterator<Item = Key>) {
        let changed: Vec<_> = keys.into_iter().map(|key| ObjectRef::new(kind, key)).collect();
        if changed.is_empty() {
            return;
        }
        let mut subscribers = self.inner.subscribers.lock().unwrap_or_else(PoisonError::into_inner);
        // A subscriber that was dropped leaves us as its only owner.
        subscribers.retain(|dirty| Arc::strong_count(dirty) > 1);
        for dirty in subscribers.iter() {
            dirty.mark(changed.iter().cloned());
        }
    }
}

/// The objects that changed since a subscriber last asked.
#[derive(Debug, Default)]
struct Dirty {
    keys: Mutex<HashSet<ObjectRef>>,
    changed: Notify,
}

impl Dirty {
    fn mark(&self, keys: impl Iterator<Item = ObjectRef>) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).extend(keys);
        self.changed.notify_one();
    }
}

/// One subscriber's view of what changed.
#[derive(Debug)]
pub struct Subscription {
    dirty: Arc<Dirty>,
}

impl Subscription {
    /// Waits until something changed and takes all of it, in no order.
    pub async fn changed(&mut self) -> HashSet<ObjectRef> {
        loop {
            let waiting = self.dirty.changed.notified();
            let keys = self.take();
            if !keys.is_empty() {
                return keys;
            }
            waiting.await;
        }
    }

    /// Takes what changed, without waiting.
    pub fn take(&self) -> HashSet<ObjectRef> {
        std::mem::take(&mut *self.dirty.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
