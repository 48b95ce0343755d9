//! Whether a node still shows a sign of life, and what is written if not.
//!
//! A sign is a heartbeat that changed or a Lease renewed later than last seen;
//! what counts is when it was seen, by the controller's own clock, so that a
//! heartbeat dated in the future buys no more than one grace.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::model::node::Node;
use crate::model::object::Seconds;

/// How long a node may be silent.
pub const GRACE: Duration = Duration::from_secs(50);
/// How long a new one may take until its first report.
pub const STARTUP_GRACE: Duration = Duration::from_secs(60);

/// The conditions that nobody vouches for once a node is silent.
const VOUCHED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// What was last seen of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    has_ready: bool,
    heartbeat: Option<Seconds>,
    /// The Lease's `renewTime`.
    renewed: Option<Timestamp>,
    alive_at: Timestamp,
    /// There from the start, Ready, and never with a heartbeat or a Lease: an
    /// imported node that no kubelet ever stood behind is not called dead for
    /// want of one.
    is_scenery: bool,
}

impl Seen {
    /// A node at first sight. `at_start`: it was there before the controller.
    pub fn first(node: &Node, renewed: Option<Timestamp>, now: Timestamp, at_start: bool) -> Self {
        let has_ready = node.condition("Ready").is_some();
        let created = Timestamp::from_second(node.meta.created).unwrap_or(now);
        Self {
            has_ready,
            heartbeat: node.heartbeat,
            renewed,
            alive_at: if has_ready { now } else { created },
            is_scenery: at_start && has_ready && node.heartbeat.is_none() && renewed.is_none(),
        }
    }

    /// Takes in what is there now.
    pub fn observe(&mut self, node: &Node, renewed: Option<Timestamp>, now: Timestamp) {
        let has_ready = node.condition("Ready").is_some();
        let later = renewed.is_some_and(|now| self.renewed.is_none_or(|before| before < now));
        if later || has_ready != self.has_ready || node.heartbeat != self.heartbeat {
            self.alive_at = now;
        }
        if later {
            self.renewed = renewed;
        }
        self.has_ready = has_ready;
        self.heartbeat = node.heartbeat;
        self.is_scenery &= node.heartbeat.is_none() && self.renewed.is_none();
    }

    /// Whether the node has not reported anything since.
    pub fn is_still_so(&self, node: &Node) -> bool {
        let has_ready = node.condition("Ready").is_some();
        (has_ready, node.heartbeat) == (self.has_ready, self.heartbeat)
    }

    /// Its Ready condition was written, by us: that is no report of its own.
    pub fn called_unknown(&mut self) {
        self.has_ready = true;
    }

    /// Gives a new grace.
    pub fn forgive(&mut self, now: Timestamp) {
        self.alive_at = now;
    }

    /// Whether the last sign of life was seen after `moment`.
    pub fn was_alive_after(&self, moment: Timestamp) -> bool {
        self.alive_at > moment
    }

    /// Whether the grace is over.
    pub fn is_silent(&self, now: Timestamp) -> bool {
        let grace = if self.has_ready { GRACE } else { STARTUP_GRACE };
        !self.is_scenery && now > self.alive_at + grace
    }
}

/// The conditions of a silent node that are to become Unknown, as a strategic
/// merge patch of its status; `None` if they all are.
pub fn unknown(node: &Node, now: Timestamp) -> Option<Value> {
    let changed = VOUCHED.iter().filter_map(|kind| {
        let said = match node.condition(kind) {
            Some("Unknown") => return None,
            Some(_) => json!({
                "reason": "NodeStatusUnknown",
                "message": "Kubelet stopped posting node status.",
            }),
            None => json!({
                "reason": "NodeStatusNeverUpdated",
                "message": "Kubelet never posted node status.",
                "lastHeartbeatTime": time(Timestamp::from_second(node.meta.created).unwrap_or(now)),
            }),
        };
        let mut condition =
            json!({"type": kind, "status": "Unknown", "lastTransitionTime": time(now)});
        json_patch::merge(&mut condition, &said);
        Some(condition)
    });
    let changed: Vec<Value> = changed.collect();
    (!changed.is_empty()).then(|| json!({"status": {"conditions": changed}}))
}

/// A moment as the API writes it.
pub fn time(moment: Timestamp) -> Value {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::row::Row;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("in range")
    }

    /// A node made at 0, with the heartbeat of its Ready condition, if any.
    fn node(ready: Option<Option<&str>>) -> Node {
        let conditions: Vec<Value> = ready
            .iter()
            .map(|beat| json!({"type": "Ready", "status": "True", "lastHeartbeatTime": beat}))
            .collect();
        let object = json!({
            "metadata": {"name": "n", "creationTimestamp": time(at(0))},
            "status": {"conditions": conditions},
        });
        Node::from_object(&object).expect("a node")
    }

    const FUTURE: &str = "2100-01-01T00:00:00Z";

    /// Rows: at start?, the node first seen at 10 s, what is seen at 30 s (node,
    /// Lease renewed), and from when on it counts as silent.
    #[test]
    fn silence_is_counted_from_the_last_sign_of_life() {
        let beat = |beat| node(Some(Some(beat)));
        let renewed = Some(at(-1000));
        for (what, at_start, first, (then, lease), expected) in [
            ("never reported", false, node(None), (node(None), None), Some(60)),
            ("reported late", false, node(None), (beat(FUTURE), None), Some(80)),
            ("by hand", false, beat(FUTURE), (beat(FUTURE), None), Some(60)),
            ("no heartbeat", false, node(Some(None)), (node(Some(None)), None), Some(60)),
            ("beats", false, beat(FUTURE), (beat("2101-01-01T00:00:00Z"), None), Some(80)),
            ("renews", false, beat(FUTURE), (beat(FUTURE), renewed), Some(80)),
            ("imported", true, node(Some(None)), (node(Some(None)), None), None),
            ("imported, renews", true, node(Some(None)), (node(Some(None)), renewed), Some(80)),
            ("a restart", true, beat(FUTURE), (beat(FUTURE), None), Some(60)),
        ] {
            let mut seen = Seen::first(&first, None, at(10), at_start);
            seen.observe(&first, None, at(20));
            seen.observe(&then, lease, at(30));
            let silent = (30..200).find(|second| seen.is_silent(at(*second)));
            assert_eq!(silent, expected.map(|second| second + 1), "{what}");
        }
    }

    #[test]
    fn silent_node_loses_what_it_vouched_for() {
        let patch = unknown(&node(Some(Some(FUTURE))), at(60)).expect("a patch");
        let conditions = patch["status"]["conditions"].as_array().expect("a list");
        let reasons: Vec<_> = conditions.iter().map(|c| c["reason"].clone()).collect();
        assert_eq!(reasons[0], "NodeStatusUnknown");
        assert!(reasons[1..].iter().all(|reason| reason == "NodeStatusNeverUpdated"));
        let mut object = json!({"metadata": {"name": "n"}});
        json_patch::merge(&mut object, &patch);
        let after = Node::from_object(&object).expect("a node");
        assert_eq!(unknown(&after, at(70)), None, "settled");
    }
}
