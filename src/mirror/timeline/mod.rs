//! What changed in a cluster, when, in words: a bounded ring of transitions.
//!
//! A transition is told from the rows before and after ([`told`]); who made it
//! and why is in the write path's journal, found by uid and version
//! ([`joined()`]). Events are not transitions: they are told elsewhere.

mod joined;
mod told;

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::Timestamp;

use crate::mirror::table::Change;
use crate::mirror::tables::Mirrored;
use crate::model::object::ObjectRef;
use crate::model::row::Row;
pub use joined::{Moment, joined};
pub use told::{Told, Words};

/// Transitions kept; older ones are dropped and counted.
pub const KEPT_MAX: usize = 10_000;

/// One object's step from one state to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// Rises by one with each transition.
    pub number: u64,
    /// When the mirror learned of it.
    pub time: Timestamp,
    pub object: ObjectRef,
    pub uid: Arc<str>,
    /// The version that the step made; of a deletion, the last one known.
    pub version: u64,
    pub what: What,
}

/// What happened to the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Appeared,
    /// What changed, one phrase each: `phase Pending -> Bound`.
    Changed(Box<[Box<str>]>),
    Gone,
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Appeared => f.write_str("created"),
            Self::Changed(phrases) => f.write_str(&phrases.join(", ")),
            Self::Gone => f.write_str("gone"),
        }
    }
}

/// The newest transitions of one cluster.
#[derive(Debug, Default)]
pub struct Timeline {
    kept: VecDeque<Arc<Transition>>,
    /// Number of the first transition in `kept`: as many were dropped.
    first: u64,
}

impl Timeline {
    /// From number `from` on, oldest first.
    pub fn since(&self, from: u64) -> impl DoubleEndedIterator<Item = &Arc<Transition>> {
        let skip = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.kept.iter().skip(skip)
    }

    /// The number that the next transition will get.
    pub fn next_number(&self) -> u64 {
        self.first + self.kept.len() as u64
    }

    /// How many were let go to stay within [`KEPT_MAX`].
    pub fn dropped(&self) -> u64 {
        self.first
    }

    /// Tells one change, unless nothing that a row holds has changed.
    pub(super) fn tell<R: Mirrored>(&mut self, time: Timestamp, change: &Change<R>) {
        match (&change.before, &change.after) {
            (Some(before), Some(after)) if before.meta().uid == after.meta().uid => {
                let phrases = told::phrases(&**before, &**after);
                if !phrases.is_empty() {
                    self.push(time, &**after, What::Changed(phrases.into()));
                }
            }
            // Another object of the same name: the deletion between was missed.
            (before, after) => {
                if let Some(before) = before {
                    self.push(time, &**before, What::Gone);
                }
                if let Some(after) = after {
                    self.push(time, &**after, What::Appeared);
                }
            }
        }
    }

    fn push<R: Row>(&mut self, time: Timestamp, row: &R, what: What) {
        let meta = row.meta();
        let transition = Transition {
            number: self.next_number(),
            time,
            object: ObjectRef::new(R::KIND, meta.key.clone()),
            uid: meta.uid.clone(),
            version: meta.version,
            what,
        };
        if self.kept.len() == KEPT_MAX {
            self.kept.pop_front();
            self.first += 1;
        }
        self.kept.push_back(Arc::new(transition));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::clock::ManualClock;
    use crate::mirror::Mirror;
    use crate::model::claim::Claim;
    use crate::model::node::Node;
    use crate::model::object::Key;
    use crate::model::volume::Volume;

    fn row<R: Row>(uid: &str, version: u64, mut object: Value) -> R {
        object["metadata"]["name"] = json!("a");
        object["metadata"]["uid"] = json!(uid);
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        R::from_object(&object).expect("a row")
    }

    #[track_caller]
    fn check<R: Mirrored>(rows: impl IntoIterator<Item = R>, expected: &[&str]) {
        let mirror = Mirror::default();
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        mirror.inner.clock.set(clock).expect("its first clock");
        rows.into_iter().for_each(|row| mirror.apply(row));
        let told: Vec<_> = mirror.timeline(|t| t.since(0).map(|t| t.what.to_string()).collect());
        assert_eq!(told, expected);
    }

    #[test]
    fn volume_on_its_way_to_be_bound() {
        let claim = json!({"namespace": "shop", "name": "data"});
        check::<Volume>(
            [
                row("u1", 1, json!({"status": {"phase": "Pending"}})),
                row("u1", 2, json!({"status": {"phase": "Available"}})),
                row(
                    "u1",
                    3,
                    json!({"spec": {"claimRef": claim}, "status": {"phase": "Available"}}),
                ),
                row("u1", 4, json!({"spec": {"claimRef": claim}, "status": {"phase": "Bound"}})),
                row("u1", 5, json!({"spec": {"claimRef": claim}, "status": {"phase": "Bound"}})),
            ],
            &[
                "created",
                "phase Pending -> Available",
                "claimRef none -> shop/data",
                "phase Available -> Bound",
            ],
        );
    }

    #[test]
    fn claim_bound_then_deleted_while_protected() {
        let bound = json!({"spec": {"volumeName": "pv-1"}, "status": {"phase": "Bound",
            "capacity": {"storage": "10Gi"}}});
        let mut deleting = bound.clone();
        deleting["metadata"] = json!({"deletionTimestamp": "2026-01-01T00:00:00Z",
            "finalizers": ["kubernetes.io/pvc-protection"]});
        check::<Claim>(
            [
                row("u1", 1, json!({"status": {"phase": "Pending"}})),
                row("u1", 2, bound),
                row("u1", 3, deleting),
            ],
            &[
                "created",
                "phase Pending -> Bound, volume none -> pv-1, capacity none -> 10Gi",
                "deletion asked for, finalizer kubernetes.io/pvc-protection added",
            ],
        );
    }

    #[test]
    fn successor_of_the_same_name_is_another_object() {
        check::<Claim>(
            [row("u1", 1, json!({})), row("u2", 2, json!({}))],
            &["created", "gone", "created"],
        );
    }

    #[test]
    fn heartbeat_of_a_node_is_no_transition() {
        let beat = |version, at: &str| {
            let ready = json!({"type": "Ready", "status": "True", "lastHeartbeatTime": at,
                "lastTransitionTime": "2026-01-01T00:00:00Z"});
            row::<Node>("u1", version, json!({"status": {"conditions": [ready]}}))
        };
        check([beat(1, "2026-01-01T00:00:10Z"), beat(2, "2026-01-01T00:00:20Z")], &["created"]);
    }

    #[test]
    fn oldest_transitions_are_dropped_and_counted() {
        let mut timeline = Timeline::default();
        let gone = |version| Change::<Volume> {
            key: Key::cluster("a"),
            before: Some(Arc::new(row("u1", version, json!({})))),
            after: None,
        };
        for version in 0..KEPT_MAX as u64 + 5 {
            timeline.tell(Timestamp::UNIX_EPOCH, &gone(version));
        }
        assert_eq!((timeline.dropped(), timeline.since(0).count()), (5, KEPT_MAX));
        let last = timeline.next_number() - 1;
        assert_eq!(timeline.since(last).map(|t| t.number).collect::<Vec<_>>(), [last]);
    }
}
