//! The pods that wait for a node.
//!
//! ```text
//! added ─> active ─ pop ─> busy ─┬─ refused ─> unschedulable ─ helped ─> backoff ─> active
//!            ^                   └─ failed ──> error backoff ─ its time comes ─┐
//!            └─────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Upstream: `pkg/scheduler/backend/queue`. A pod that was refused and may now
//! be helped has a backoff, which counts only while other pods are active: an
//! idle scheduler takes it at once. One whose attempt failed by an error waits
//! its time out.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::controllers::scheduler::reason::Plugins;
use crate::model::object::Key;

const BACKOFF_FIRST: SignedDuration = SignedDuration::from_secs(1);
const BACKOFF_MAX: SignedDuration = SignedDuration::from_secs(10);
/// A refused pod is looked at again after so long though nothing happened.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_mins(5);

/// The order of active pods: priority, then who came first.
type Turn = (Reverse<i32>, u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Active,
    /// Until when.
    Backoff(Timestamp),
    ErrorBackoff(Timestamp),
    /// Since when.
    Unschedulable(Timestamp),
    /// Its attempt is under way; whether something happened that may help it.
    Busy {
        helped: bool,
    },
}

#[derive(Debug)]
struct Waiting {
    turn: Turn,
    attempts: u32,
    refused_by: Plugins,
    place: Place,
}

/// The pods that wait for a node, each in one place.
///
/// Invariant: the sets name each pod of `waiting` in the one that its place
/// says, and no other.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: HashMap<Key, Waiting>,
    active: BTreeSet<(Turn, Key)>,
    backoff: BTreeSet<(Timestamp, Turn, Key)>,
    error_backoff: BTreeSet<(Timestamp, Turn, Key)>,
    unschedulable: BTreeSet<(Timestamp, Key)>,
    /// Busy ones that were refused, until that has been told.
    refused: BTreeSet<Key>,
    next: u64,
}

impl Queue {
    /// Adds a pod that is new; one that waits already stays where it is.
    pub fn add(&mut self, key: &Key, priority: i32) {
        if self.waiting.contains_key(key) {
            return;
        }
        let turn = (Reverse(priority), self.next);
        self.next += 1;
        self.active.insert((turn, key.clone()));
        let (attempts, refused_by, place) = (0, Plugins::default(), Place::Active);
        self.waiting.insert(key.clone(), Waiting { turn, attempts, refused_by, place });
    }

    pub fn remove(&mut self, key: &Key) {
        if let Some(waiting) = self.waiting.remove(key) {
            self.refused.remove(key);
            self.leave(key, waiting.turn, waiting.place);
        }
    }

    pub fn contains(&self, key: &Key) -> bool {
        self.waiting.contains_key(key)
    }

    /// The next pod to look at, which is busy from now on.
    pub fn pop(&mut self, now: Timestamp) -> Option<Key> {
        self.bring_back(now);
        let key = match self.active.first() {
            Some((_, key)) => key.clone(),
            None => self.backoff.first()?.2.clone(),
        };
        if let Some(waiting) = self.waiting.get_mut(&key) {
            waiting.attempts = waiting.attempts.saturating_add(1);
            waiting.refused_by = Plugins::default();
        }
        self.put(&key, Place::Busy { helped: false });
        Some(key)
    }

    /// Whether [`Queue::pop`] would give one.
    pub fn is_ready(&self, now: Timestamp) -> bool {
        !self.active.is_empty()
            || !self.backoff.is_empty()
            || self.error_backoff.first().is_some_and(|(until, ..)| *until <= now)
            || self
                .unschedulable
                .first()
                .is_some_and(|(since, _)| later(*since, FORGOTTEN_AFTER) <= now)
    }

    /// The attempt ended: no node takes the pod. From now on it can be helped.
    pub fn refused(&mut self, key: &Key, by: Plugins) {
        if let Some(waiting) = self.waiting.get_mut(key) {
            waiting.refused_by = by;
            self.refused.insert(key.clone());
        }
    }

    /// What came of a refused pod has been told: it waits for help, unless that
    /// came meanwhile.
    pub fn told(&mut self, key: &Key, now: Timestamp) {
        match self.waiting.get(key).map(|waiting| (waiting.place, waiting.attempts)) {
            Some((Place::Busy { helped: true }, attempts)) => {
                self.put(key, Place::Backoff(later(now, pause(attempts))));
            }
            Some((Place::Busy { helped: false }, _)) => self.put(key, Place::Unschedulable(now)),
            Some(_) | None => {}
        }
    }

    /// The attempt failed by an error: it waits its time out.
    pub fn failed(&mut self, key: &Key, now: Timestamp) {
        if let Some(waiting) = self.waiting.get(key) {
            let until = later(now, pause(waiting.attempts));
            self.put(key, Place::ErrorBackoff(until));
        }
    }

    /// The pod is to be looked at again at once.
    pub fn again(&mut self, key: &Key) {
        self.put(key, Place::Active);
    }

    /// The pod itself changed: whatever was against it may be gone.
    pub fn changed(&mut self, key: &Key, now: Timestamp) {
        let Some(waiting) = self.waiting.get(key) else { return };
        match waiting.place {
            Place::Unschedulable(_) => {
                let until = later(now, pause(waiting.attempts));
                self.put(key, Place::Backoff(until));
            }
            Place::Busy { .. } => self.put(key, Place::Busy { helped: true }),
            Place::Active | Place::Backoff(_) | Place::ErrorBackoff(_) => {}
        }
    }

    /// Moves the refused pods that `helps` says yes to.
    pub fn help(&mut self, now: Timestamp, helps: impl Fn(&Key, Plugins) -> bool) {
        let waiting = self.unschedulable.iter().map(|(_, key)| key).chain(&self.refused);
        let helped = waiting.filter(|key| {
            self.waiting.get(*key).is_some_and(|waiting| helps(key, waiting.refused_by))
        });
        let helped: Vec<Key> = helped.cloned().collect();
        helped.iter().for_each(|key| self.changed(key, now));
    }

    /// Whether any pod waits for help.
    pub fn anyone_to_help(&self) -> bool {
        !self.unschedulable.is_empty() || !self.refused.is_empty()
    }

    /// How long until a pod comes back by itself, and whether that is the end
    /// of a backoff.
    pub fn next_due(&self, now: Timestamp) -> Option<(Duration, bool)> {
        let error = self.error_backoff.first().map(|(until, ..)| (*until, true));
        let forgotten =
            self.unschedulable.first().map(|(since, _)| (later(*since, FORGOTTEN_AFTER), false));
        let (due, backoff) = error.into_iter().chain(forgotten).min()?;
        let left = Duration::try_from(due.duration_since(now)).unwrap_or_default();
        Some((left, backoff))
    }

    /// How many are ready, and how many wait out a backoff.
    pub fn figures(&self) -> (usize, usize) {
        (self.active.len() + self.backoff.len(), self.error_backoff.len())
    }

    fn bring_back(&mut self, now: Timestamp) {
        let due = |set: &BTreeSet<(Timestamp, Turn, Key)>| -> Vec<Key> {
            let due = set.iter().take_while(|(until, ..)| *until <= now);
            due.map(|(.., key)| key.clone()).collect()
        };
        let forgotten = self.unschedulable.iter();
        let forgotten = forgotten.take_while(|(since, _)| later(*since, FORGOTTEN_AFTER) <= now);
        let forgotten: Vec<Key> = forgotten.map(|(_, key)| key.clone()).collect();
        for key in due(&self.backoff).iter().chain(&due(&self.error_backoff)).chain(&forgotten) {
            self.put(key, Place::Active);
        }
    }

    fn put(&mut self, key: &Key, place: Place) {
        let Some(waiting) = self.waiting.get_mut(key) else { return };
        let (turn, before) = (waiting.turn, waiting.place);
        waiting.place = place;
        if !matches!(place, Place::Busy { .. }) {
            self.refused.remove(key);
        }
        self.leave(key, turn, before);
        match place {
            Place::Active => drop(self.active.insert((turn, key.clone()))),
            Place::Backoff(until) => drop(self.backoff.insert((until, turn, key.clone()))),
            Place::ErrorBackoff(until) => {
                self.error_backoff.insert((until, turn, key.clone()));
            }
            Place::Unschedulable(since) => drop(self.unschedulable.insert((since, key.clone()))),
            Place::Busy { .. } => {}
        }
    }

    fn leave(&mut self, key: &Key, turn: Turn, place: Place) {
        match place {
            Place::Active => drop(self.active.remove(&(turn, key.clone()))),
            Place::Backoff(until) => drop(self.backoff.remove(&(until, turn, key.clone()))),
            Place::ErrorBackoff(until) => {
                self.error_backoff.remove(&(until, turn, key.clone()));
            }
            Place::Unschedulable(since) => drop(self.unschedulable.remove(&(since, key.clone()))),
            // It may stay busy, and then what refused it still does.
            Place::Busy { .. } => {}
        }
    }
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// The backoff after so many attempts.
fn pause(attempts: u32) -> SignedDuration {
    let doubled = BACKOFF_FIRST.checked_mul(1 << attempts.saturating_sub(1).min(8));
    doubled.map_or(BACKOFF_MAX, |pause| pause.min(BACKOFF_MAX))
}
