//! The loops of an agent that look in turns, at fixed times after its start,
//! and not when something changes: what happens between two turns is seen at
//! the second. Nobody is woken while there is nothing to be seen.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// How often an agent tells of its node what has changed (upstream:
/// `nodeStatusUpdateFrequency`; half of its default, since every volume that is
/// attached waits for it).
pub const STATUS: Duration = Duration::from_secs(5);

/// How often it looks at what runs (upstream: `genericPlegRelistPeriod`).
pub const RELIST: Duration = Duration::from_secs(1);

/// One such loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turns {
    first: Timestamp,
    period: Duration,
}

impl Turns {
    pub fn new(first: Timestamp, period: Duration) -> Self {
        Self { first, period }
    }

    /// How long after `now` the next turn is; never at once.
    pub fn until_next(self, now: Timestamp) -> Duration {
        let period = SignedDuration::try_from(self.period).unwrap_or_default().as_nanos();
        if period == 0 {
            return Duration::ZERO;
        }
        let into_turn = now.duration_since(self.first).as_nanos().rem_euclid(period);
        u64::try_from(period - into_turn).map_or(self.period, Duration::from_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_comes_at_a_whole_number_of_periods_after_the_first() {
        let at = |ms: i64| Timestamp::from_millisecond(1_800_000_000_000 + ms).expect("in range");
        for (first, now, expected) in [
            (0, 0, 5000),
            (0, 100, 4900),
            (0, 9_800, 200),
            (0, 10_000, 5000),
            (700, 100, 600),
            (700, 700, 5000),
        ] {
            let turns = Turns::new(at(first), STATUS);
            assert_eq!(turns.until_next(at(now)), Duration::from_millis(expected), "{first} {now}");
        }
    }
}
