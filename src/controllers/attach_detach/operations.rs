//! One operation at a time on a volume, and a growing pause after each failure.
//!
//! A volume that only one node may have is one key for all nodes; of a shared
//! one each node is a key of its own.
//!
//! Upstream: `pkg/volume/util/nestedpendingoperations`,
//! `pkg/util/goroutinemap/exponentialbackoff`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

/// The pause after the first failure; it doubles with each more.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(122);

/// What is done to a volume on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Doing {
    Attach,
    Detach,
}

/// What an operation excludes others from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationKey {
    pub volume: Arc<str>,
    /// `None`: all nodes.
    pub node: Option<Arc<str>>,
}

impl OperationKey {
    pub fn new(volume: &Arc<str>, node: &Arc<str>, shared: bool) -> Self {
        Self { volume: volume.clone(), node: shared.then(|| node.clone()) }
    }

    fn matches(&self, other: &Option<Arc<str>>) -> bool {
        self.node.is_none() || other.is_none() || self.node == *other
    }
}

/// Why an operation may not start now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotNow {
    /// Another one that excludes it is running.
    Running,
    /// It failed, and is not tried before this time.
    Until(Timestamp),
}

/// An operation that runs or has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    node: Option<Arc<str>>,
    /// The node it is for, whatever it excludes.
    pub on: Arc<str>,
    pub doing: Doing,
    pub running: bool,
    /// How often in a row it failed.
    pub failures: u32,
    pub last_error: Option<Arc<str>>,
    pub retry_at: Option<Timestamp>,
    /// When it was last begun.
    pub began: Timestamp,
}

/// The operations of one controller.
#[derive(Debug, Clone, Default)]
pub struct Operations {
    by_volume: HashMap<Arc<str>, Vec<Operation>>,
}

impl Operations {
    /// The record of a key: a running one that excludes it first, else its own.
    fn find(&self, key: &OperationKey) -> Option<(usize, &Operation)> {
        let held = self.by_volume.get(&key.volume)?;
        let matching = || held.iter().enumerate().filter(|(_, held)| key.matches(&held.node));
        let running = matching().find(|(_, held)| held.running);
        running.or_else(|| matching().find(|(_, held)| held.node == key.node))
    }

    pub fn is_running(&self, key: &OperationKey) -> bool {
        self.find(key).is_some_and(|(_, held)| held.running)
    }

    /// Whether an operation may start; the other kind is not held back by a
    /// failure of this one.
    pub fn why_not(&self, key: &OperationKey, doing: Doing, now: Timestamp) -> Option<NotNow> {
        let (_, held) = self.find(key)?;
        if held.running {
            return Some(NotNow::Running);
        }
        let until = held.retry_at.filter(|at| held.doing == doing && now < *at)?;
        Some(NotNow::Until(until))
    }

    /// Starts an operation that [`Operations::why_not`] allows.
    pub fn start(&mut self, key: &OperationKey, on: &Arc<str>, doing: Doing, now: Timestamp) {
        let fresh = Operation {
            node: key.node.clone(),
            on: on.clone(),
            doing,
            running: true,
            failures: 0,
            last_error: None,
            retry_at: None,
            began: now,
        };
        let at = self.find(key).map(|(at, _)| at);
        let held = self.by_volume.entry(key.volume.clone()).or_default();
        match at {
            Some(at) if held[at].doing == doing => {
                let Operation { failures, last_error, .. } = &held[at];
                held[at] =
                    Operation { failures: *failures, last_error: last_error.clone(), ..fresh };
            }
            Some(at) => held[at] = fresh,
            None => held.push(fresh),
        }
    }

    /// Ends what was started with this key.
    pub fn finish(&mut self, key: &OperationKey, error: Option<&str>, now: Timestamp) {
        let Some(held) = self.by_volume.get_mut(&key.volume) else { return };
        let Some(at) = held.iter().position(|held| held.running && held.node == key.node) else {
            return;
        };
        match error {
            None => {
                held.remove(at);
                if held.is_empty() {
                    self.by_volume.remove(&key.volume);
                }
            }
            Some(error) => {
                let operation = &mut held[at];
                operation.running = false;
                let doubled = PAUSE_MIN.saturating_mul(1 << operation.failures.min(16));
                operation.failures = operation.failures.saturating_add(1);
                operation.last_error = Some(error.into());
                operation.retry_at = Some(now + doubled.min(PAUSE_MAX));
            }
        }
    }

    /// Forgets the failures of volumes that are of no concern any more.
    pub fn retain(&mut self, mut concerns: impl FnMut(&str) -> bool) {
        self.by_volume.retain(|volume, held| {
            held.iter().any(|operation| operation.running) || concerns(volume)
        });
    }

    /// What runs or has failed on a volume.
    pub fn of<'a>(&'a self, volume: &str) -> impl Iterator<Item = &'a Operation> {
        self.by_volume.get(volume).into_iter().flatten()
    }
}
