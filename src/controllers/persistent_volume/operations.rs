//! Which operations run, and which have to wait after an error.
//!
//! Upstream: `pkg/util/goroutinemap`. Nothing here retries: the next pass that
//! finds the pause over starts the operation again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(122);

/// The operations by name.
///
/// Invariant: a name without entry neither runs nor waits.
#[derive(Debug, Default)]
pub struct Operations {
    entries: Mutex<HashMap<String, Entry>>,
}

#[derive(Debug)]
struct Entry {
    running: bool,
    /// When it last failed, and how long it then has to wait.
    failed: Option<(Timestamp, Duration)>,
}

impl Operations {
    /// Whether the operation may start now; if so it counts as running until
    /// [`Operations::finish`].
    pub fn start(&self, name: &str, now: Timestamp) -> bool {
        let mut entries = self.lock();
        let entry =
            entries.entry(name.to_owned()).or_insert(Entry { running: false, failed: None });
        let waits = entry.failed.is_some_and(|(at, pause)| {
            Duration::try_from(now.duration_since(at)).is_ok_and(|passed| passed < pause)
        });
        if entry.running || waits {
            return false;
        }
        entry.running = true;
        true
    }

    /// Ends an operation: success forgets it, an error doubles its pause.
    pub fn finish(&self, name: &str, succeeded: bool, now: Timestamp) {
        let mut entries = self.lock();
        if succeeded {
            entries.remove(name);
            return;
        }
        if let Some(entry) = entries.get_mut(name) {
            entry.running = false;
            let pause = entry.failed.map_or(PAUSE_MIN, |(_, pause)| (pause * 2).min(PAUSE_MAX));
            entry.failed = Some((now, pause));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::ToSpan;

    #[test]
    fn a_failed_operation_waits_twice_as_long_each_time() {
        let operations = Operations::default();
        let mut now = Timestamp::from_second(1_800_000_000).expect("in range");
        assert!(operations.start("delete-pv", now));
        assert!(!operations.start("delete-pv", now), "it runs");
        operations.finish("delete-pv", false, now);
        assert!(!operations.start("delete-pv", now + 499.milliseconds()));
        now += 500.milliseconds();
        assert!(operations.start("delete-pv", now));
        operations.finish("delete-pv", false, now);
        assert!(!operations.start("delete-pv", now + 999.milliseconds()));
        assert!(operations.start("delete-pv", now + 1.seconds()));
        operations.finish("delete-pv", true, now);
        assert!(operations.start("delete-pv", now), "success forgets");
    }
}
