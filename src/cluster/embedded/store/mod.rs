//! The revisioned object store: one counter, one history, one writer at a time.
//!
//! ```text
//! Change (encoded, with the version it was decided on)
//!    └─ commit: version check, next revision ─> table, history ─> watchers wake
//! ```
//!
//! Invariants: revisions only rise; a commit and its place in history are one
//! step; what a lock protects is touched for the length of a few map
//! operations, never for decoding, admission or validation. Readers take
//! shared states (`Arc<Stored>`) and leave.
//!
//! Watchers are not sent anything: each keeps the revision it has seen and
//! reads on from history when woken. So a slow one costs no memory, and is cut
//! off when history has moved past it.
//!
//! Knows no kind by name, no HTTP, no clock.

pub mod history;
pub mod object;

mod snapshot;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use jiff::Timestamp;
use tokio::sync::watch;

use crate::cluster::embedded::store::history::{Author, Commit};
use crate::cluster::embedded::store::object::{Draft, Stored};
use crate::model::kind::Kind;
use crate::model::object::Key;
use crate::model::write::Reason;

pub use snapshot::{Page, Span};

/// Where commits go before they count: the place for durability. A commit that
/// cannot be logged does not happen.
pub trait CommitLog: Send + Sync + fmt::Debug {
    /// Keeps a commit; once this returns it must survive.
    fn append(&self, commit: &Commit) -> Result<(), LogError>;
}

/// Why a commit could not be kept.
#[derive(Debug, thiserror::Error)]
#[error("the commit log refused a write: {0}")]
pub struct LogError(pub String);

/// Keeps nothing: the store lives as long as the process.
#[derive(Debug)]
pub struct Volatile;

impl CommitLog for Volatile {
    fn append(&self, _commit: &Commit) -> Result<(), LogError> {
        Ok(())
    }
}

/// A table's place in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableId(usize);

/// What to commit.
#[derive(Debug)]
pub struct Change {
    pub table: TableId,
    pub key: Key,
    /// The version that was decided on; `None`: the object must not exist.
    pub expected: Option<u64>,
    /// `None` deletes.
    pub next: Option<Draft>,
    pub author: Author,
    pub reason: Option<Reason>,
    pub time: Timestamp,
}

/// Why a change was not committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The object is not what was decided on: created, changed or deleted by
    /// another.
    #[error("the object has changed meanwhile")]
    Raced,
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A revision that history no longer reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// The oldest revision that can be resumed from.
    pub oldest: u64,
}

/// The commits of one table after some revision.
#[derive(Debug)]
pub struct Tail {
    pub commits: Vec<Arc<Commit>>,
    /// Everything of the table up to this revision has been read.
    pub up_to: u64,
}

/// The store. Shared by reference.
#[derive(Debug)]
pub struct Store {
    state: RwLock<State>,
    /// Per table, the revision of its last commit: what watchers wait on.
    changed: Vec<watch::Sender<u64>>,
    revision: watch::Sender<u64>,
    retention_bytes: usize,
    log: Box<dyn CommitLog>,
}

#[derive(Debug)]
struct State {
    revision: u64,
    /// History reaches back to commits after this revision.
    compacted: u64,
    tables: Vec<Table>,
    history: VecDeque<(TableId, Arc<Commit>)>,
    history_bytes: usize,
}

#[derive(Debug)]
struct Table {
    kind: &'static Kind,
    objects: BTreeMap<Key, Arc<Stored>>,
    log: VecDeque<Arc<Commit>>,
}

impl Store {
    /// An empty store with a table per kind, whose first commit follows
    /// `start`. History keeps `retention_bytes`.
    pub fn new(
        kinds: impl IntoIterator<Item = &'static Kind>,
        start: u64,
        retention_bytes: usize,
        log: Box<dyn CommitLog>,
    ) -> Self {
        let tables: Vec<_> = kinds
            .into_iter()
            .map(|kind| Table { kind, objects: BTreeMap::new(), log: VecDeque::new() })
            .collect();
        let changed = tables.iter().map(|_| watch::Sender::new(start)).collect();
        let state = State {
            revision: start,
            compacted: start,
            tables,
            history: VecDeque::new(),
            history_bytes: 0,
        };
        Self {
            state: RwLock::new(state),
            changed,
            revision: watch::Sender::new(start),
            retention_bytes,
            log,
        }
    }

    /// The table of a stored kind.
    pub fn table(&self, kind: &Kind) -> Option<TableId> {
        self.read().tables.iter().position(|table| table.kind == kind).map(TableId)
    }

    /// The revision of the last commit.
    pub fn revision(&self) -> u64 {
        self.read().revision
    }

    /// The oldest revision that can be resumed from.
    pub fn oldest(&self) -> u64 {
        self.read().compacted
    }

    /// Wakes whenever the store's revision rises.
    pub fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    /// Wakes whenever a table changes.
    pub fn changes(&self, table: TableId) -> watch::Receiver<u64> {
        self.changed[table.0].subscribe()
    }

    pub fn get(&self, table: TableId, key: &Key) -> Option<Arc<Stored>> {
        self.read().tables[table.0].objects.get(key).cloned()
    }

    /// Up to `limit` commits of a table after a revision.
    pub fn tail(&self, table: TableId, after: u64, limit: usize) -> Result<Tail, Compacted> {
        let state = self.read();
        if after < state.compacted {
            return Err(Compacted { oldest: state.compacted });
        }
        let log = &state.tables[table.0].log;
        let first = first_after(log, after);
        let commits: Vec<_> = log.range(first..).take(limit).cloned().collect();
        let up_to = match commits.last() {
            Some(last) if commits.len() == limit => last.revision,
            // A watch from the future has seen it already.
            _ => state.revision.max(after),
        };
        Ok(Tail { commits, up_to })
    }

    /// All commits after a revision that history still holds.
    pub fn commits_after(&self, after: u64) -> Vec<Arc<Commit>> {
        let state = self.read();
        let first = state.history.partition_point(|(_, commit)| commit.revision <= after);
        state.history.range(first..).map(|(_, commit)| commit.clone()).collect()
    }

    /// Commits a change as the next revision.
    pub fn commit(&self, change: Change) -> Result<Arc<Commit>, CommitError> {
        self.commit_at(change, |next| next)
    }

    /// Commits a change as the revision that `choose` makes of the next one;
    /// it must not be lower.
    pub fn commit_at(
        &self,
        change: Change,
        choose: impl FnOnce(u64) -> u64,
    ) -> Result<Arc<Commit>, CommitError> {
        let table = change.table;
        let mut state = self.write();
        let held = state.tables[table.0].objects.get(&change.key);
        if held.map(|stored| stored.version) != change.expected {
            return Err(CommitError::Raced);
        }
        let before = held.cloned();
        let next = state.revision + 1;
        let revision = choose(next).max(next);
        let after = change.next.map(|draft| Arc::new(draft.at_version(revision)));
        let commit = Arc::new(Commit {
            revision,
            kind: state.tables[table.0].kind,
            key: change.key,
            before,
            after,
            author: change.author,
            reason: change.reason,
            time: change.time,
        });
        self.log.append(&commit)?;
        state.apply(table, &commit);
        state.compact(self.retention_bytes);
        drop(state);
        self.changed[table.0].send_replace(revision);
        self.revision.send_replace(revision);
        Ok(commit)
    }

    /// Forgets history up to and including a revision.
    pub fn compact(&self, up_to: u64) {
        let mut state = self.write();
        while state.history.front().is_some_and(|(_, commit)| commit.revision <= up_to) {
            state.forget_oldest();
        }
        state.compacted = state.compacted.max(up_to.min(state.revision));
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of the first commit after a revision. Sought from the end, where
/// nearly every watch is: halving all of history touched a dozen commits that
/// nothing else had in the processor's cache.
fn first_after(log: &VecDeque<Arc<Commit>>, after: u64) -> usize {
    let (mut low, mut high) = (log.len(), log.len());
    let mut step = 1;
    while low > 0 && log[low - 1].revision > after {
        high = low - 1;
        low = high.saturating_sub(step);
        step *= 2;
    }
    while low < high {
        let middle = low.midpoint(high);
        if log[middle].revision > after {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

impl State {
    fn apply(&mut self, id: TableId, commit: &Arc<Commit>) {
        self.revision = commit.revision;
        let table = &mut self.tables[id.0];
        match &commit.after {
            Some(stored) => table.objects.insert(commit.key.clone(), stored.clone()),
            None => table.objects.remove(&commit.key),
        };
        table.log.push_back(commit.clone());
        self.history_bytes += commit.weight();
        self.history.push_back((id, commit.clone()));
    }

    fn compact(&mut self, retention_bytes: usize) {
        while self.history_bytes > retention_bytes && !self.history.is_empty() {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((id, commit)) = self.history.pop_front() {
            self.history_bytes = self.history_bytes.saturating_sub(commit.weight());
            self.compacted = commit.revision;
            self.tables[id.0].log.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
