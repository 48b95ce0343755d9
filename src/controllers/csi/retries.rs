//! How long to wait before trying again: doubling, for ever.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::object::ObjectRef;

/// The failures of objects since their last success.
#[derive(Debug, Default)]
pub struct Retries(Mutex<HashMap<ObjectRef, u32>>);

impl Retries {
    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectRef, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a failure; the pause before the next try.
    pub fn failed(&self, object: &ObjectRef, first: Duration, most: Duration) -> Duration {
        let mut counts = self.lock();
        let count = counts.entry(object.clone()).or_default();
        let pause = first.saturating_mul(1_u32.checked_shl(*count).unwrap_or(u32::MAX));
        *count = (*count + 1).min(31);
        pause.min(most)
    }

    pub fn succeeded(&self, object: &ObjectRef) {
        self.lock().remove(object);
    }
}
