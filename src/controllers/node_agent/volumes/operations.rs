//! Which operations run on a node's volumes, and which wait after a failure.
//!
//! At most one operation runs per key. Keys match if the volumes are the same
//! and the pods are the same or one of them is for all pods. A failed operation
//! is not begun again before its pause is over: 500 ms, doubled with each
//! failure, at most 2 min 2 s; another kind of operation on the same key may.
//!
//! Upstream: `pkg/volume/util/nestedpendingoperations`,
//! `pkg/util/goroutinemap/exponentialbackoff`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

/// The pause after the first failure.
pub const PAUSE_MIN: Duration = Duration::from_millis(500);
/// The longest pause.
pub const PAUSE_MAX: Duration = Duration::from_secs(122);

/// What an operation works on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperationKey {
    /// The unique volume name.
    pub volume: Arc<str>,
    /// The pod's uid; `None`: for all pods.
    pub pod: Option<Arc<str>>,
}

impl OperationKey {
    pub fn volume(volume: &Arc<str>) -> Self {
        Self { volume: volume.clone(), pod: None }
    }

    pub fn pod(volume: &Arc<str>, pod: &Arc<str>) -> Self {
        Self { volume: volume.clone(), pod: Some(pod.clone()) }
    }

    /// Whether operations of the two may not run at once.
    pub fn matches(&self, other: &Self) -> bool {
        self.volume == other.volume && self.meets(other)
    }

    fn meets(&self, other: &Self) -> bool {
        self.pod.is_none() || other.pod.is_none() || self.pod == other.pod
    }
}

/// The operations, as metrics name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OperationName {
    Verify,
    Mount,
    Map,
    Unmount,
    Unmap,
    UnmountDevice,
    UnmapDevice,
    Grow,
}

impl OperationName {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Verify => "verify_controller_attached_volume",
            Self::Mount => "volume_mount",
            Self::Map => "map_volume",
            Self::Unmount => "volume_unmount",
            Self::Unmap => "unmap_volume",
            Self::UnmountDevice => "unmount_device",
            Self::UnmapDevice => "unmap_device",
            Self::Grow => "volume_fs_resize",
        }
    }
}

/// Why an operation is not begun now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotNow {
    /// One runs that it must not meet.
    Running,
    /// It failed; its pause ends then.
    Paused { until: Timestamp },
}

/// One operation that runs, or failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: OperationKey,
    pub name: OperationName,
    /// The pod it is for, if for one; its key may be for all.
    pub for_pod: Option<Arc<str>>,
    pub is_running: bool,
    /// How often it was begun, since it last succeeded.
    pub attempts: u32,
    /// What the last attempt failed with.
    pub error: Option<Arc<str>>,
    /// The end of the pause after the last failure.
    pub retry_at: Option<Timestamp>,
    pause: Duration,
}

/// The operations of one node. Few per volume: looked through one by one.
#[derive(Debug, Default)]
pub struct Operations {
    entries: HashMap<Arc<str>, Vec<Entry>>,
    running: usize,
}

impl Operations {
    /// How many run.
    pub fn running(&self) -> usize {
        self.running
    }

    /// Whether an operation runs that one of this key must not meet.
    pub fn is_running(&self, key: &OperationKey) -> bool {
        let entries = self.entries.get(&key.volume).into_iter().flatten();
        entries.into_iter().any(|entry| entry.is_running && key.meets(&entry.key))
    }

    /// Whether an operation runs that is for this pod, whatever its key.
    pub fn is_running_for(&self, pod: &str) -> bool {
        let mut entries = self.entries.values().flatten();
        entries.any(|entry| entry.is_running && entry.for_pod.as_deref() == Some(pod))
    }

    /// Whether an operation may begin now.
    pub fn why_not(
        &self,
        key: &OperationKey,
        name: OperationName,
        now: Timestamp,
    ) -> Result<(), NotNow> {
        if self.is_running(key) {
            return Err(NotNow::Running);
        }
        let Some(entry) = self.met(key) else { return Ok(()) };
        match entry.retry_at.filter(|_| entry.name == name) {
            Some(until) if until > now => Err(NotNow::Paused { until }),
            _ => Ok(()),
        }
    }

    /// The failed entry that a key meets.
    fn met(&self, key: &OperationKey) -> Option<&Entry> {
        let mut entries = self.entries.get(&key.volume)?.iter();
        entries.find(|entry| key.meets(&entry.key))
    }

    /// Notes that an operation begins. [`Operations::why_not`] must allow it.
    pub fn begin(&mut self, key: &OperationKey, name: OperationName, for_pod: Option<Arc<str>>) {
        self.running += 1;
        let entries = self.entries.entry(key.volume.clone()).or_default();
        let Some(entry) = entries.iter_mut().find(|entry| key.meets(&entry.key)) else {
            entries.push(Entry {
                key: key.clone(),
                name,
                for_pod,
                is_running: true,
                attempts: 1,
                error: None,
                retry_at: None,
                pause: Duration::ZERO,
            });
            return;
        };
        if entry.name != name {
            (entry.name, entry.pause, entry.attempts) = (name, Duration::ZERO, 0);
            (entry.error, entry.retry_at) = (None, None);
        }
        (entry.key, entry.for_pod) = (key.clone(), for_pod);
        entry.is_running = true;
        entry.attempts = entry.attempts.saturating_add(1);
    }

    /// Notes that it has succeeded: nothing is remembered of it.
    pub fn succeeded(&mut self, key: &OperationKey) {
        let Some(entries) = self.entries.get_mut(&key.volume) else { return };
        let before = entries.len();
        entries.retain(|entry| !(entry.is_running && entry.key == *key));
        self.running -= before - entries.len();
        if entries.is_empty() {
            self.entries.remove(&key.volume);
        }
    }

    /// Notes that it has failed; the end of its pause.
    pub fn failed(&mut self, key: &OperationKey, error: &str, now: Timestamp) -> Option<Timestamp> {
        let entries = self.entries.get_mut(&key.volume)?;
        let entry = entries.iter_mut().find(|entry| entry.is_running && entry.key == *key)?;
        self.running -= 1;
        entry.is_running = false;
        entry.pause =
            if entry.pause.is_zero() { PAUSE_MIN } else { (entry.pause * 2).min(PAUSE_MAX) };
        entry.error = Some(error.into());
        entry.retry_at = Some(now + entry.pause);
        entry.retry_at
    }

    /// What is known of a volume: running first, else the failure that is
    /// tried again first.
    pub fn of(&self, volume: &str) -> Option<&Entry> {
        let entries = self.entries.get(volume)?;
        entries.iter().min_by_key(|entry| (!entry.is_running, entry.retry_at))
    }

    /// Forgets the failures on a volume that is not there any more.
    pub fn forget(&mut self, volume: &str) {
        if let Some(entries) = self.entries.get_mut(volume) {
            entries.retain(|entry| entry.is_running);
            if entries.is_empty() {
                self.entries.remove(volume);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + ms).expect("in range")
    }

    fn key(pod: &str) -> OperationKey {
        OperationKey { volume: "v".into(), pod: (!pod.is_empty()).then(|| pod.into()) }
    }

    #[test]
    fn one_operation_runs_per_key_and_one_for_all_pods_meets_every_other() {
        let mut operations = Operations::default();
        operations.begin(&key("a"), OperationName::Unmount, None);
        let why_not = |operations: &Operations, pod: &str| {
            operations.why_not(&key(pod), OperationName::Mount, at(0))
        };
        assert_eq!(why_not(&operations, "a"), Err(NotNow::Running));
        assert_eq!(why_not(&operations, "b"), Ok(()));
        assert_eq!(why_not(&operations, ""), Err(NotNow::Running));
        operations.begin(&key("b"), OperationName::Unmount, None);
        assert_eq!(operations.running(), 2);
        operations.succeeded(&key("a"));
        assert_eq!(why_not(&operations, "a"), Ok(()));
        assert_eq!(why_not(&operations, ""), Err(NotNow::Running));
        operations.succeeded(&key("b"));
        assert_eq!((why_not(&operations, ""), operations.running()), (Ok(()), 0));
        assert!(operations.of("v").is_none());
    }

    #[test]
    fn pauses_double_up_to_two_minutes_and_two_seconds() {
        let mut operations = Operations::default();
        let mut pauses = Vec::new();
        let mut now = at(0);
        for _ in 0..11 {
            assert_eq!(operations.why_not(&key(""), OperationName::Mount, now), Ok(()));
            operations.begin(&key(""), OperationName::Mount, None);
            let until = operations.failed(&key(""), "no", now).expect("a pause");
            let early = operations.why_not(&key(""), OperationName::Mount, now);
            assert_eq!(early, Err(NotNow::Paused { until }));
            pauses.push(until.duration_since(now).as_millis());
            now = until;
        }
        let expected = [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 122_000, 122_000];
        assert_eq!(pauses[..10], expected);
        let entry = operations.of("v").expect("a failure");
        assert_eq!((entry.attempts, entry.error.as_deref()), (11, Some("no")));
    }

    #[test]
    fn another_operation_does_not_wait_for_the_failed_one() {
        let mut operations = Operations::default();
        operations.begin(&key(""), OperationName::Mount, None);
        operations.failed(&key(""), "no", at(0));
        assert!(operations.why_not(&key("a"), OperationName::Mount, at(1)).is_err());
        assert_eq!(operations.why_not(&key("a"), OperationName::Unmount, at(1)), Ok(()));
        operations.begin(&key("a"), OperationName::Unmount, None);
        operations.failed(&key("a"), "no", at(1));
        assert_eq!(operations.of("v").map(|entry| entry.attempts), Some(1));
    }
}
