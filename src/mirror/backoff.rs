//! Growing pauses between tries, with jitter.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(800);
const LONGEST: Duration = Duration::from_secs(30);

/// Pauses that double from one try to the next.
#[derive(Debug)]
pub(super) struct Backoff {
    /// Makes the jitter of one loop differ from another's: a server that comes
    /// back must not get all of them in the same moment.
    seed: u64,
    failures: u32,
}

impl Backoff {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, failures: 0 }
    }

    /// The pause after one more failure: half to one and a half of the nominal.
    pub(super) fn next(&mut self) -> Duration {
        let nominal = SHORTEST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        nominal.mul_f64(0.5 + self.fraction())
    }

    /// Whether nothing has failed since the last success.
    pub(super) fn is_fresh(&self) -> bool {
        self.failures == 0
    }

    /// After a success, pauses are short again.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Evenly spread over 0 to 1, the same for the same seed and try.
    fn fraction(&self) -> f64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, self.failures).hash(&mut hasher);
        (hasher.finish() >> 32) as f64 / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_start_again() {
        let mut backoff = Backoff::new(7);
        let pauses: Vec<_> = (0..12).map(|_| backoff.next()).collect();
        assert!(pauses[0] < Duration::from_millis(1200), "{pauses:?}");
        assert!(pauses[11] >= LONGEST / 2 && pauses[11] <= LONGEST * 3 / 2, "{pauses:?}");
        backoff.reset();
        assert!(backoff.next() < Duration::from_millis(1200));
    }

    #[test]
    fn loops_do_not_pause_alike() {
        assert_ne!(Backoff::new(1).next(), Backoff::new(2).next());
    }
}
