//! One copy of what many rows have in common.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use crate::model::object::Pairs;
use crate::model::row::Sharing;

/// How many values are held before the first look for unused ones.
const FIRST_SWEEP: usize = 4096;

/// One copy of each value that rows hold. Values that no row holds any more are
/// dropped from time to time, so that it is bounded by what the rows hold.
#[derive(Debug)]
struct Pool<T: ?Sized> {
    held: HashSet<Arc<T>>,
    /// Look for unused values at this many: twice as many as were in use last
    /// time, so that the walks cost a constant per value.
    sweep_at: usize,
}

impl<T: ?Sized> Default for Pool<T> {
    fn default() -> Self {
        Self { held: HashSet::new(), sweep_at: FIRST_SWEEP }
    }
}

impl<T: ?Sized + Eq + Hash> Pool<T> {
    /// Replaces a value by the shared copy of it, or makes it that, after
    /// `prepare` had it alone.
    fn share(&mut self, value: &mut Arc<T>, prepare: impl FnOnce(&mut T)) {
        if let Some(held) = self.held.get(&**value) {
            *value = held.clone();
            return;
        }
        if let Some(alone) = Arc::get_mut(value) {
            prepare(alone);
        }
        if self.held.len() >= self.sweep_at {
            self.held.retain(|value| Arc::strong_count(value) > 1);
            self.sweep_at = (self.held.len() * 2).max(FIRST_SWEEP);
        }
        self.held.insert(value.clone());
    }
}

/// The shared texts, lists of texts, and labels or annotations of one mirror.
#[derive(Debug, Default)]
pub(super) struct Interner {
    texts: Pool<str>,
    lists: Pool<[Arc<str>]>,
    pairs: Pool<[(Arc<str>, Arc<str>)]>,
}

impl Sharing for Interner {
    fn text(&mut self, text: &mut Arc<str>) {
        self.texts.share(text, |_| {});
    }

    fn texts(&mut self, list: &mut Arc<[Arc<str>]>) {
        let texts = &mut self.texts;
        self.lists.share(list, |list| list.iter_mut().for_each(|text| texts.share(text, |_| {})));
    }

    fn pairs(&mut self, pairs: &mut Pairs) {
        let texts = &mut self.texts;
        self.pairs.share(pairs, |pairs| {
            for (key, value) in pairs {
                texts.share(key, |_| {});
                texts.share(value, |_| {});
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_become_one() {
        let mut interner = Interner::default();
        let (mut first, mut second) = (Arc::from("gold"), Arc::from("gold"));
        interner.text(&mut first);
        interner.text(&mut second);
        assert!(Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn equal_labels_become_one_with_shared_texts() {
        let labels = || -> Pairs { Arc::from([(Arc::from("tier"), Arc::from("gold"))]) };
        let mut interner = Interner::default();
        let (mut first, mut second) = (labels(), labels());
        interner.pairs(&mut first);
        interner.pairs(&mut second);
        assert!(Arc::ptr_eq(&first, &second));
        let mut value = Arc::from("gold");
        interner.text(&mut value);
        assert!(Arc::ptr_eq(&value, &first[0].1));
    }

    #[test]
    fn unused_texts_are_dropped() {
        let mut interner = Interner::default();
        for number in 0..10 * FIRST_SWEEP {
            interner.text(&mut Arc::from(number.to_string()));
        }
        assert!(interner.texts.held.len() <= FIRST_SWEEP);
    }
}
