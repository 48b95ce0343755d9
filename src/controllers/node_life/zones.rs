//! How many nodes a zone has lost, and what that means for evictions: where
//! most is lost, the network is likelier at fault than the nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::node::{Node, Readiness};

/// Nodes with this label are not counted.
const EXCLUDED: &str = "node.kubernetes.io/exclude-disruption";
const REGION: [&str; 2] =
    ["failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"];
const ZONE: [&str; 2] = ["failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"];

/// A zone of at most so many nodes is small.
const SMALL: usize = 50;
/// One node each so often.
const NORMAL: Duration = Duration::from_secs(10);
const SLOW: Duration = Duration::from_secs(100);

/// How much of a zone is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Normal,
    /// More than two nodes, and at least 55 of a hundred.
    Partial,
    /// No node is Ready.
    Full,
}

/// The nodes of a zone, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Count {
    ready: usize,
    not_ready: usize,
}

/// All zones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Zones(BTreeMap<String, Count>);

/// The zone a node is in; nodes without labels are in one zone.
pub fn zone_of(node: &Node) -> String {
    let label = |names: [&str; 2]| {
        names.iter().find_map(|name| node.meta.label(name)).unwrap_or_default().to_owned()
    };
    format!("{}/{}", label(REGION), label(ZONE))
}

impl Count {
    fn state(self) -> State {
        let Self { ready, not_ready } = self;
        if ready == 0 && not_ready > 0 {
            State::Full
        } else if not_ready > 2 && not_ready * 100 >= (ready + not_ready) * 55 {
            State::Partial
        } else {
            State::Normal
        }
    }
}

impl Zones {
    /// Counts nodes; of those that are lost at the same time, `is_silent` knows
    /// before it is written, so that the first is judged with the others.
    pub fn count<'a>(
        nodes: impl Iterator<Item = &'a Node>,
        is_silent: impl Fn(&Node) -> bool,
    ) -> Self {
        let mut zones = BTreeMap::<String, Count>::new();
        for node in nodes.filter(|node| node.meta.label(EXCLUDED).is_none()) {
            let count = zones.entry(zone_of(node)).or_default();
            if node.ready == Readiness::Ready && !is_silent(node) {
                count.ready += 1;
            } else {
                count.not_ready += 1;
            }
        }
        Self(zones)
    }

    /// Whether nothing is Ready anywhere: then nothing is evicted, for it is
    /// likelier that the controller is cut off than that all nodes are.
    pub fn all_lost(&self) -> bool {
        !self.0.is_empty() && self.0.values().all(|count| count.state() == State::Full)
    }

    /// How long after one node of a zone the next may be tainted so that its
    /// pods go; `None`: none may.
    pub fn pause(&self, zone: &str) -> Option<Duration> {
        let count = self.0.get(zone).copied().unwrap_or_default();
        match count.state() {
            State::Normal => Some(NORMAL),
            State::Full => (!self.all_lost()).then_some(NORMAL),
            State::Partial => (count.ready + count.not_ready > SMALL).then_some(SLOW),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::row::Row;

    /// So many Ready and lost nodes in zone `a`, and in zone `b`.
    fn zones(a: (usize, usize), b: (usize, usize)) -> Zones {
        let mut nodes = Vec::new();
        for (zone, (ready, lost)) in [("a", a), ("b", b)] {
            for n in 0..ready + lost {
                let status = if n < ready { "True" } else { "Unknown" };
                let object = json!({
                    "metadata": {"name": format!("{zone}{n}"),
                        "labels": {"topology.kubernetes.io/zone": zone}},
                    "status": {"conditions": [{"type": "Ready", "status": status}]},
                });
                nodes.push(Node::from_object(&object).expect("a node"));
            }
        }
        Zones::count(nodes.iter(), |_| false)
    }

    /// Rows: zone a, zone b (Ready, lost), the pause in a, whether all is lost.
    #[test]
    fn the_more_is_lost_the_fewer_pods_go() {
        let none = (0, 0);
        for (a, b, pause, all_lost) in [
            ((1, 0), none, Some(NORMAL), false),
            ((0, 1), none, None, true),
            ((1, 1), none, Some(NORMAL), false),
            ((1, 2), none, Some(NORMAL), false),
            ((2, 3), none, None, false),
            ((3, 3), none, Some(NORMAL), false),
            ((0, 3), (1, 0), Some(NORMAL), false),
            ((0, 3), (0, 1), None, true),
            ((20, 31), none, Some(SLOW), false),
        ] {
            let zones = zones(a, b);
            assert_eq!(zones.pause("/a"), pause, "{a:?} {b:?}");
            assert_eq!(zones.all_lost(), all_lost, "{a:?} {b:?}");
        }
    }
}
