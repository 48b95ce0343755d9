//! Which taints a node's conditions call for.

use serde_json::{Value, json};

use super::health::time;
use crate::model::node::Node;

pub const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// Set by hand: whoever is on the node will not come back.
pub const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

pub const NO_SCHEDULE: &str = "NoSchedule";
pub const NO_EXECUTE: &str = "NoExecute";

/// Condition and status, and the key of the taint they call for.
const CAUSES: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
];

/// A change of a node's taints: one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaintChange {
    pub effect: &'static str,
    /// Either these are added,
    pub add: Vec<&'static str>,
    /// or these are taken away.
    pub remove: Vec<&'static str>,
}

/// Whether pods may be made to leave a node that is not Ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eviction {
    Permitted,
    /// Not now.
    Withheld,
    /// Nothing is Ready anywhere: pods that were to leave are to stay.
    CalledOff,
}

fn has(node: &Node, key: &str, effect: &str) -> bool {
    node.taints.iter().any(|taint| &*taint.key == key && &*taint.effect == effect)
}

/// What keeps new pods away, made equal to the conditions: added first, then
/// taken away. A taint with one of these keys that was set by hand on a healthy
/// node goes, and so does the one that every node is made with.
pub fn no_schedule(node: &Node) -> Option<TaintChange> {
    let applies = |cause: &(&str, &str, &str)| node.condition(cause.0) == Some(cause.1);
    let (mut add, mut remove) = (Vec::new(), Vec::new());
    let causes = CAUSES.iter().map(|cause| (cause.2, applies(cause)));
    for (key, wanted) in causes.chain([(UNSCHEDULABLE, node.unschedulable)]) {
        match (wanted, has(node, key, NO_SCHEDULE)) {
            (true, false) => add.push(key),
            (false, true) => remove.push(key),
            (true, true) | (false, false) => {}
        }
    }
    if !add.is_empty() {
        remove.clear();
    }
    let change = TaintChange { effect: NO_SCHEDULE, add, remove };
    (!change.is_nothing()).then_some(change)
}

/// What makes pods leave. Changing from one key to the other is never
/// withheld.
pub fn no_execute(node: &Node, eviction: Eviction) -> Option<TaintChange> {
    let ready = node.condition("Ready")?;
    let held: Vec<_> =
        [NOT_READY, UNREACHABLE].into_iter().filter(|key| has(node, key, NO_EXECUTE)).collect();
    let wanted = match ready {
        "True" => None,
        _ if eviction == Eviction::CalledOff => None,
        "False" => Some(NOT_READY),
        _ => Some(UNREACHABLE),
    };
    let (add, remove) = match wanted {
        None => (Vec::new(), held),
        Some(key) if held.contains(&key) => {
            (Vec::new(), held.into_iter().filter(|other| *other != key).collect())
        }
        Some(_) if held.is_empty() && eviction == Eviction::Withheld => return None,
        Some(key) => (vec![key], Vec::new()),
    };
    let change = TaintChange { effect: NO_EXECUTE, add, remove };
    (!change.is_nothing()).then_some(change)
}

/// Whether a node is to be tainted for the first time so that its pods leave:
/// what zones and rates are asked for.
pub fn is_to_be_emptied(node: &Node) -> bool {
    no_execute(node, Eviction::Permitted).is_some_and(|change| !change.add.is_empty())
        && no_execute(node, Eviction::Withheld).is_none()
}

impl TaintChange {
    fn is_nothing(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }

    /// The merge patch that brings it about on a node as it is. Taints are one
    /// list, so the others are repeated.
    pub fn patch(&self, node: &Value, now: jiff::Timestamp) -> Value {
        let held = node["spec"]["taints"].as_array().into_iter().flatten();
        let goes = |taint: &Value| {
            taint["effect"] == self.effect && self.remove.iter().any(|key| taint["key"] == *key)
        };
        let mut taints: Vec<Value> = held.filter(|taint| !goes(taint)).cloned().collect();
        taints.extend(
            self.add
                .iter()
                .map(|key| json!({"key": key, "effect": self.effect, "timeAdded": time(now)})),
        );
        let taints = if taints.is_empty() { Value::Null } else { taints.into() };
        json!({"spec": {"taints": taints}})
    }

    /// Why, for people.
    pub fn words(&self) -> String {
        match self.add.first() {
            Some(key) => format!("its state calls for taint {key}:{}", self.effect),
            None => {
                let keys = self.remove.join(", ");
                format!("nothing calls for taint {keys}:{} any more", self.effect)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::row::Row;

    fn node(ready: Option<&str>, more: &[&str], cordoned: bool, taints: &[(&str, &str)]) -> Node {
        let mut conditions: Vec<Value> =
            ready.iter().map(|status| json!({"type": "Ready", "status": status})).collect();
        conditions.extend(more.iter().map(|kind| json!({"type": kind, "status": "True"})));
        let taints = taints.iter().map(|(key, effect)| json!({"key": key, "effect": effect}));
        let object = json!({
            "metadata": {"name": "n"},
            "spec": {"unschedulable": cordoned, "taints": taints.collect::<Vec<_>>()},
            "status": {"conditions": conditions},
        });
        Node::from_object(&object).expect("a node")
    }

    fn shown(change: Option<TaintChange>) -> String {
        let Some(change) = change else { return "-".into() };
        let short = |key: &&str| key.trim_start_matches("node.kubernetes.io/").to_owned();
        let add = change.add.iter().map(|key| format!("+{}", short(key)));
        let remove = change.remove.iter().map(|key| format!("-{}", short(key)));
        add.chain(remove).collect::<Vec<_>>().join(" ")
    }

    /// Rows: Ready, pressures, cordoned, taints held, the change.
    #[test]
    fn new_pods_are_kept_away_by_what_the_conditions_say() {
        let no = NO_SCHEDULE;
        for (ready, more, cordoned, held, expected) in [
            (Some("True"), &[][..], false, &[][..], "-"),
            (Some("False"), &[], false, &[], "+not-ready"),
            (Some("Unknown"), &[], false, &[], "+unreachable"),
            (Some("Unknown"), &[], false, &[(NOT_READY, no)], "+unreachable"),
            (Some("Unknown"), &[], false, &[(NOT_READY, no), (UNREACHABLE, no)], "-not-ready"),
            (None, &[], false, &[(NOT_READY, no)], "-not-ready"),
            (Some("True"), &["DiskPressure"], true, &[], "+disk-pressure +unschedulable"),
            (Some("True"), &[], false, &[(UNSCHEDULABLE, no)], "-unschedulable"),
            (Some("True"), &[], false, &[("mine", no), (NOT_READY, NO_EXECUTE)], "-"),
        ] {
            let change = no_schedule(&node(ready, more, cordoned, held));
            assert_eq!(shown(change), expected, "{ready:?} {more:?} {held:?}");
        }
    }

    /// Rows: Ready, taints held, eviction, the change.
    #[test]
    fn pods_leave_only_where_that_is_permitted() {
        use Eviction::{CalledOff, Permitted, Withheld};
        let no = NO_EXECUTE;
        for (ready, held, eviction, expected) in [
            (None, &[][..], Permitted, "-"),
            (
                Some("True"),
                &[(NOT_READY, no), (UNREACHABLE, no)],
                Withheld,
                "-not-ready -unreachable",
            ),
            (Some("Unknown"), &[], Permitted, "+unreachable"),
            (Some("False"), &[], Permitted, "+not-ready"),
            (Some("Unknown"), &[], Withheld, "-"),
            (Some("Unknown"), &[(NOT_READY, no)], Withheld, "+unreachable"),
            (Some("Unknown"), &[(NOT_READY, no), (UNREACHABLE, no)], Withheld, "-not-ready"),
            (Some("Unknown"), &[(UNREACHABLE, no)], CalledOff, "-unreachable"),
            (Some("Unknown"), &[], CalledOff, "-"),
        ] {
            let change = no_execute(&node(ready, &[], false, held), eviction);
            assert_eq!(shown(change), expected, "{ready:?} {held:?} {eviction:?}");
        }
    }

    #[test]
    fn other_taints_stay_as_they_are() {
        let object = json!({"spec": {"taints": [
            {"key": "mine", "effect": "NoSchedule", "timeAdded": "2020-01-01T00:00:00Z"},
            {"key": NOT_READY, "effect": "NoSchedule"},
        ]}});
        let remove = vec![NOT_READY];
        let change = TaintChange { effect: NO_SCHEDULE, add: Vec::new(), remove };
        let patch = change.patch(&object, jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(patch["spec"]["taints"], json!([object["spec"]["taints"][0]]));
        let gone = change.patch(&json!({}), jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(gone, json!({"spec": {"taints": null}}));
    }
}
