//! The rows of one kind, in the order the API lists them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::model::object::Key;
use crate::model::row::Row;

/// The rows of one kind by key and by uid.
///
/// Invariant: both maps hold the same rows.
#[derive(Debug)]
pub struct Table<R> {
    rows: BTreeMap<Key, Arc<R>>,
    by_uid: HashMap<Arc<str>, Arc<R>>,
    /// The version up to which the watch has told everything.
    reached: u64,
}

/// What became of one key: the row that was held, and the one that is.
#[derive(Debug)]
pub struct Change<R> {
    pub key: Key,
    pub before: Option<Arc<R>>,
    pub after: Option<Arc<R>>,
}

impl<R> Default for Table<R> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), by_uid: HashMap::new(), reached: 0 }
    }
}

impl<R: Row> Table<R> {
    pub fn get(&self, key: &Key) -> Option<&Arc<R>> {
        self.rows.get(key)
    }

    pub fn by_uid(&self, uid: &str) -> Option<&Arc<R>> {
        self.by_uid.get(uid)
    }

    /// All rows, by namespace, then name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<R>> {
        self.rows.values()
    }

    /// The rows of one namespace, by name.
    pub fn in_namespace(&self, namespace: Arc<str>) -> impl Iterator<Item = &Arc<R>> {
        let first = Key { namespace: namespace.clone(), name: "".into() };
        let rows = self.rows.range(first..);
        rows.take_while(move |(key, _)| key.namespace == namespace).map(|(_, row)| row)
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The watch has told everything up to this version.
    pub(super) fn reach(&mut self, version: u64) {
        self.reached = self.reached.max(version);
    }

    /// Nothing that the watch has told counts any more.
    pub(super) fn start_over(&mut self) {
        self.reached = 0;
    }

    /// Whether an answer of the server about an object that is not held is news:
    /// the watch has not come so far, or it would have told of the object, or
    /// of its deletion.
    pub(super) fn is_ahead(&self, version: u64) -> bool {
        version > self.reached
    }

    /// Puts a row in unless the one held is not older.
    pub(super) fn apply(&mut self, row: R) -> Option<Change<R>> {
        let meta = row.meta();
        let held = self.rows.get(&meta.key).map(|held| held.meta());
        if let Some(held) = held
            && (held.version > meta.version || held.version == meta.version && held.uid == meta.uid)
        {
            return None;
        }
        let (key, uid, row) = (meta.key.clone(), meta.uid.clone(), Arc::new(row));
        let before = self.rows.insert(key.clone(), row.clone());
        if let Some(before) = &before {
            self.by_uid.remove(&before.meta().uid);
        }
        self.by_uid.insert(uid, row.clone());
        Some(Change { key, before, after: Some(row) })
    }

    /// Takes a row out unless it is another object or newer.
    pub(super) fn remove(&mut self, key: &Key, uid: &str, version: u64) -> Option<Change<R>> {
        let held = self.rows.get(key)?.meta();
        if &*held.uid != uid || held.version > version {
            return None;
        }
        self.take(key)
    }

    /// Takes out every row that a list made at `version` would have named and
    /// did not. Rows newer than the list stay: they are not its business.
    pub(super) fn sweep(&mut self, listed: &HashSet<Arc<str>>, version: u64) -> Vec<Change<R>> {
        let gone = self.rows.values().map(|row| row.meta());
        let gone: Vec<Key> = gone
            .filter(|held| held.version <= version && !listed.contains(&held.uid))
            .map(|held| held.key.clone())
            .collect();
        gone.iter().filter_map(|key| self.take(key)).collect()
    }

    /// Takes a row out, whatever it is.
    pub(super) fn take(&mut self, key: &Key) -> Option<Change<R>> {
        let (key, row) = self.rows.remove_entry(key)?;
        self.by_uid.remove(&row.meta().uid);
        Some(Change { key, before: Some(row), after: None })
    }
}
