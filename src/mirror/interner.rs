//! One copy of each text that many rows have in common.

use std::collections::HashSet;
use std::sync::Arc;

/// How many texts are held before the first look for unused ones.
const FIRST_SWEEP: usize = 4096;

/// Hands out shared copies. Texts that no row holds any more are dropped from
/// time to time, so that it is bounded by what the rows hold.
#[derive(Debug)]
pub(super) struct Interner {
    texts: HashSet<Arc<str>>,
    /// Look for unused texts at this many: twice as many as were in use last
    /// time, so that the walks cost a constant per text.
    sweep_at: usize,
}

impl Default for Interner {
    fn default() -> Self {
        Self { texts: HashSet::new(), sweep_at: FIRST_SWEEP }
    }
}

impl Interner {
    /// Replaces a text by the shared copy of it.
    pub(super) fn share(&mut self, text: &mut Arc<str>) {
        if let Some(held) = self.texts.get(&**text) {
            *text = held.clone();
            return;
        }
        if self.texts.len() >= self.sweep_at {
            self.texts.retain(|text| Arc::strong_count(text) > 1);
            self.sweep_at = (self.texts.len() * 2).max(FIRST_SWEEP);
        }
        self.texts.insert(text.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_become_one() {
        let mut interner = Interner::default();
        let (mut first, mut second) = (Arc::from("gold"), Arc::from("gold"));
        interner.share(&mut first);
        interner.share(&mut second);
        assert!(Arc::ptr_eq(&first, &second));
    }

    #[test]
    fn unused_texts_are_dropped() {
        let mut interner = Interner::default();
        for number in 0..10 * FIRST_SWEEP {
            interner.share(&mut Arc::from(number.to_string()));
        }
        assert!(interner.texts.len() <= FIRST_SWEEP);
    }
}
