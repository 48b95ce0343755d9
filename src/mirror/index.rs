//! A secondary index: the keys of the rows that have something in common.

use std::borrow::Borrow;
use std::collections::btree_set::BTreeSet;
use std::collections::hash_map::{Entry, HashMap};
use std::hash::Hash;

use crate::model::object::Key;

/// Which rows point at what. Kept current by [`super::tables`], one change at
/// a time; without it, every question "who uses this?" would walk all rows.
#[derive(Debug)]
pub struct Index<K> {
    rows: HashMap<K, Keys>,
}

/// Most entries hold one key, and 100,000 of them must stay small.
#[derive(Debug)]
enum Keys {
    One(Key),
    Many(BTreeSet<Key>),
}

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self { rows: HashMap::new() }
    }
}

impl<K: Eq + Hash> Index<K> {
    /// The keys of the rows under `at`, sorted.
    pub(super) fn get<'a, Q: Eq + Hash + ?Sized>(
        &'a self,
        at: &Q,
    ) -> impl Iterator<Item = &'a Key> + use<'a, K, Q>
    where
        K: Borrow<Q>,
    {
        let (one, many) = match self.rows.get(at) {
            None => (None, None),
            Some(Keys::One(key)) => (Some(key), None),
            Some(Keys::Many(keys)) => (None, Some(keys.iter())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// How many rows there are under `at`.
    pub(super) fn count<Q: Eq + Hash + ?Sized>(&self, at: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        match self.rows.get(at) {
            None => 0,
            Some(Keys::One(_)) => 1,
            Some(Keys::Many(keys)) => keys.len(),
        }
    }

    /// Everything that a row points at, in no order.
    pub(super) fn points(&self) -> impl Iterator<Item = &K> {
        self.rows.keys()
    }

    /// The index's own copy of a key.
    pub(super) fn held_key<Q: Eq + Hash + ?Sized>(&self, at: &Q) -> Option<&K>
    where
        K: Borrow<Q>,
    {
        self.rows.get_key_value(at).map(|(key, _)| key)
    }

    pub(super) fn insert(&mut self, at: K, key: Key) {
        match self.rows.entry(at) {
            Entry::Vacant(place) => {
                place.insert(Keys::One(key));
            }
            Entry::Occupied(mut place) => match place.get_mut() {
                Keys::One(held) if *held == key => {}
                Keys::One(held) => {
                    let both = BTreeSet::from([held.clone(), key]);
                    place.insert(Keys::Many(both));
                }
                Keys::Many(keys) => {
                    keys.insert(key);
                }
            },
        }
    }

    pub(super) fn remove(&mut self, at: &K, key: &Key) {
        let empty = match self.rows.get_mut(at) {
            None => false,
            Some(Keys::One(held)) => held == key,
            Some(Keys::Many(keys)) => {
                keys.remove(key);
                keys.is_empty()
            }
        };
        if empty {
            self.rows.remove(at);
        }
    }
}
