//! Objects of kinds with a lifetime (events) go by themselves.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::cluster::embedded::Embedded;
use crate::cluster::embedded::registry::Served;
use crate::cluster::embedded::store::history::{Author, Commit};
use crate::cluster::embedded::store::{Change, TableId};
use crate::model::clock::TimerUse;
use crate::model::object::Key;

/// What goes when, the first to go in front: there is one lifetime, so the
/// order of writes is the order of ends.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    queue: Mutex<VecDeque<Entry>>,
}

#[derive(Debug)]
struct Entry {
    due: Timestamp,
    table: TableId,
    key: Key,
    /// A later write gives the object another lifetime, and an entry of its own.
    version: u64,
}

/// How long housekeeping sleeps when nothing will go.
const IDLE: Duration = Duration::from_secs(3600);

impl Embedded {
    /// Remembers when an object is to go, and takes those whose time has come.
    pub(super) fn note_lifetime(&self, served: Served, commit: &Commit) {
        let Some(lifetime) = served.row.traits.lifetime else { return };
        if let Some(stored) = &commit.after {
            let lifetime = SignedDuration::try_from(lifetime).unwrap_or(SignedDuration::MAX);
            let due = commit.time.checked_add(lifetime).unwrap_or(Timestamp::MAX);
            let entry = Entry {
                due,
                table: served.table,
                key: stored.key.clone(),
                version: stored.version,
            };
            self.queue(|queue| queue.push_back(entry));
        }
        self.expire();
    }

    /// Removes objects whose lifetime has ended, for as long as it is polled.
    /// Without it they go when the next of their kind is written.
    pub async fn keep_house(self) {
        loop {
            self.expire();
            let next = self.queue(|queue| queue.front().map(|entry| entry.due));
            let pause = next.map_or(IDLE, |due| {
                Duration::try_from(due.duration_since(self.now())).unwrap_or_default()
            });
            self.clock().sleep(pause, TimerUse::Housekeeping).await;
        }
    }

    fn expire(&self) {
        let now = self.now();
        while let Some(entry) = self.queue(|queue| {
            let is_due = queue.front().is_some_and(|entry| entry.due <= now);
            if is_due { queue.pop_front() } else { None }
        }) {
            let change = Change {
                table: entry.table,
                key: entry.key,
                expected: Some(entry.version),
                next: None,
                author: Author::named("pvdeck"),
                reason: None,
                time: now,
            };
            // Written since, or gone already: not this entry's business.
            let _ = self.store().commit(change);
        }
    }

    fn queue<T>(&self, use_it: impl FnOnce(&mut VecDeque<Entry>) -> T) -> T {
        use_it(&mut self.inner.expiry.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
