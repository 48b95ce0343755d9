//! The rows of one kind, in the order the API lists them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::model::object::Key;
use crate::model::row::Row;

/// The rows of one kind by key and by uid.
///
/// Invariant: `by_uid` names exactly the keys in `rows`.
#[derive(Debug)]
pub struct Table<R> {
    rows: BTreeMap<Key, Arc<R>>,
    by_uid: HashMap<Arc<str>, Key>,
}

impl<R> Default for Table<R> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), by_uid: HashMap::new() }
    }
}

impl<R: Row> Table<R> {
    pub fn get(&self, key: &Key) -> Option<&Arc<R>> {
        self.rows.get(key)
    }

    pub fn by_uid(&self, uid: &str) -> Option<&Arc<R>> {
        self.rows.get(self.by_uid.get(uid)?)
    }

    /// All rows, by namespace, then name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<R>> {
        self.rows.values()
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Puts a row in unless a newer one is held; the key if anything changed.
    pub(super) fn apply(&mut self, row: R) -> Option<Key> {
        let meta = row.meta();
        let key = meta.key.clone();
        if let Some(held) = self.rows.get(&key) {
            let held = held.meta();
            if held.version >= meta.version && held.uid == meta.uid {
                return None;
            }
            if held.version > meta.version {
                return None;
            }
            if held.uid != meta.uid {
                self.by_uid.remove(&held.uid);
            }
        }
        self.by_uid.insert(meta.uid.clone(), key.clone());
        self.rows.insert(key.clone(), Arc::new(row));
        Some(key)
    }

    /// Takes a row out unless it is another object or newer; the key if it was
    /// there.
    pub(super) fn remove(&mut self, key: &Key, uid: &str, version: u64) -> Option<Key> {
        let held = self.rows.get(key)?.meta();
        if &*held.uid != uid || held.version > version {
            return None;
        }
        self.by_uid.remove(uid);
        self.rows.remove(key);
        Some(key.clone())
    }

    /// Swaps in a complete list; the keys that changed, appeared or went.
    pub(super) fn replace_all(&mut self, rows: Vec<R>) -> Vec<Key> {
        let mut changed = Vec::new();
        let mut gone = std::mem::take(&mut self.rows);
        self.by_uid.clear();
        for row in rows {
            let key = row.meta().key.clone();
            let held = gone.remove(&key);
            let row = match held {
                Some(held)
                    if held.meta().uid == row.meta().uid
                        && held.meta().version >= row.meta().version =>
                {
                    held
                }
                _ => {
                    changed.push(key.clone());
                    Arc::new(row)
                }
            };
            self.by_uid.insert(row.meta().uid.clone(), key.clone());
            self.rows.insert(key, row);
        }
        changed.extend(gone.into_keys());
        changed
    }
}
