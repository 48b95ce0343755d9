//! Telling subscribers which objects changed.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::model::object::ObjectRef;

/// Everyone who wants to know what changed.
#[derive(Debug, Default)]
pub(super) struct Subscribers(Mutex<Vec<Arc<Dirty>>>);

impl Subscribers {
    /// A new one; `held` is what it starts with.
    pub(super) fn add(&self, held: impl FnOnce() -> HashSet<ObjectRef>) -> Subscription {
        let dirty = Arc::new(Dirty::default());
        // Listed before the objects are read, so that no change falls between.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(dirty.clone());
        dirty.mark(held());
        Subscription { dirty }
    }

    pub(super) fn mark(&self, changed: impl Iterator<Item = ObjectRef> + Clone) {
        let mut subscribers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A subscriber that was dropped leaves us as its only owner.
        subscribers.retain(|dirty| Arc::strong_count(dirty) > 1);
        for dirty in subscribers.iter() {
            dirty.mark(changed.clone());
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
    fn mark(&self, keys: impl IntoIterator<Item = ObjectRef>) {
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
    /// Waits until something changed and takes all of it, in no order. The set
    /// is empty when only the freshness of a kind changed.
    pub async fn changed(&mut self) -> HashSet<ObjectRef> {
        // The permit of a notification that came while nobody waited is kept,
        // so nothing is missed; one for keys already taken gives an empty set.
        self.dirty.changed.notified().await;
        self.take()
    }

    /// Takes what changed, without waiting.
    pub fn take(&self) -> HashSet<ObjectRef> {
        std::mem::take(&mut *self.dirty.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
