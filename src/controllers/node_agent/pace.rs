//! How fast the agents of nodes are, and the container runtimes under them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Changes of the volumes in use within this time are told together.
const GATHER: Duration = Duration::from_secs(1);

/// What takes its time on every node. By default nothing does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pace {
    /// Between two turns of the status loop (upstream:
    /// `nodeStatusUpdateFrequency`): volumes in use that changed are told at
    /// the next. `None`: soon after they changed.
    pub status: Option<Duration>,
    /// Making a pod's sandbox and starting a container.
    pub start: Duration,
    /// Until the end of containers that were told to end is noticed.
    pub end: Duration,
    /// Taking away what the runtime has of a pod whose volumes are unmounted.
    pub clear: Duration,
}

impl Pace {
    /// How long after `now` a change of the volumes in use is told by an agent
    /// whose status loop had its first turn at `first`.
    pub fn until_told(self, first: Timestamp, now: Timestamp) -> Duration {
        let turn = self.status.and_then(|turn| SignedDuration::try_from(turn).ok());
        let Some(turn) = turn.filter(|turn| !turn.is_zero()) else { return GATHER };
        let into_turn = now.duration_since(first).as_nanos().rem_euclid(turn.as_nanos());
        u64::try_from(turn.as_nanos() - into_turn).map_or(GATHER, Duration::from_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_at_the_next_turn_of_the_loop() {
        let at = |ms: i64| Timestamp::from_millisecond(1_800_000_000_000 + ms).expect("in range");
        let loops = Pace { status: Some(Duration::from_secs(5)), ..Pace::default() };
        for (pace, first, now, expected) in [
            (Pace::default(), 0, 100, 1000),
            (loops, 0, 0, 5000),
            (loops, 0, 100, 4900),
            (loops, 0, 9_800, 200),
            (loops, 0, 10_000, 5000),
            (loops, 700, 100, 600),
            (Pace { status: Some(Duration::ZERO), ..loops }, 0, 100, 1000),
        ] {
            let told = pace.until_told(at(first), at(now));
            assert_eq!(told, Duration::from_millis(expected), "{pace:?} {first} {now}");
        }
    }
}
