//! How long a container that has ended waits for its next start. Pure.
//!
//! Upstream: `doBackOff` in `pkg/kubelet/kuberuntime`: 10 s, doubling to 5 min,
//! from the second start on; forgotten after 10 min of running.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::runtime::ContainerSeen;

const FIRST_SECONDS: u64 = 10;
const MOST_SECONDS: u64 = 300;
const FORGOTTEN: SignedDuration = SignedDuration::from_mins(10);

/// The pause before the next start; none before the first restart.
pub fn pause(seen: &ContainerSeen) -> Duration {
    let ran = seen.ended.as_ref().map(|ended| ended.at.duration_since(seen.started));
    if seen.attempt == 0 || ran.is_some_and(|ran| ran >= FORGOTTEN) {
        return Duration::ZERO;
    }
    let doubled = FIRST_SECONDS.saturating_mul(1 << (seen.attempt - 1).min(16));
    Duration::from_secs(doubled.min(MOST_SECONDS))
}

/// When the next start is due.
pub fn due(seen: &ContainerSeen) -> Option<Timestamp> {
    let ended = seen.ended.as_ref()?;
    ended.at.checked_add(SignedDuration::try_from(pause(seen)).ok()?).ok()
}
