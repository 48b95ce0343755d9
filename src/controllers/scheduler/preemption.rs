//! Which pods make room for one of higher priority that no node takes: the fewest
//! and least important ones of one node.
//!
//! Upstream: `pkg/scheduler/framework/preemption` and its plugin
//! DefaultPreemption. As there, only nodes count whose refusal another pod's
//! going can mend, and of a node's pods of lower priority all are thought away
//! first and then given back where they fit, the most important first.
//!
//! Different here: there are no PodDisruptionBudgets to spare; pods of a required
//! affinity of the pod are never taken; and what keeps pods apart or spread is
//! judged as if all stayed, so nobody goes where that alone refuses. Nodes are
//! gone through by name, where upstream begins anywhere.

use std::cmp::Reverse;
use std::fmt;
use std::sync::Arc;

use crate::controllers::scheduler::cache::{Cache, NodeInfo};
use crate::controllers::scheduler::filters::{Cycle, NoNode};
use crate::controllers::scheduler::reason::NodeRefusal;
use crate::model::node::Node;
use crate::model::object::Seconds;
use crate::model::pod::Pod;

/// So many nodes to choose from are enough, or a tenth of them if that is more.
const CANDIDATES_MIN: usize = 100;

/// What preemption says of a pod that no node takes.
#[derive(Debug, Clone, PartialEq)]
pub enum Preemption {
    /// These pods are to go.
    Victims(Victims),
    /// A line for each node, or for each reason that would remain there.
    NotHelpful(Vec<String>),
    /// The pod's `preemptionPolicy`.
    Never,
    /// Pods already go from the node it is nominated to.
    UnderWay,
}

/// Pods that make room on a node, the most important first.
#[derive(Debug, Clone, PartialEq)]
pub struct Victims {
    pub node: Arc<str>,
    pub pods: Vec<Arc<Pod>>,
}

impl fmt::Display for Victims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.pods.iter().map(|pod| pod.meta.key.to_string()).collect();
        write!(f, "{} of lower priority on {}", names.join(", "), self.node)
    }
}

/// What preemption says of a pod that these nodes refused.
pub fn preempt(
    cache: &Cache,
    pod: &Pod,
    cycle: &Cycle<'_>,
    by_node: &[(Arc<str>, NodeRefusal)],
) -> Preemption {
    if !pod.needs.may_preempt {
        return Preemption::Never;
    }
    if is_under_way(cache, pod, by_node) {
        return Preemption::UnderWay;
    }
    let enough = CANDIDATES_MIN.max(cache.node_count() / 10);
    let (mut left, mut candidates) = (Vec::new(), Vec::new());
    for (name, refusal) in by_node {
        if !refusal.is_resolvable() {
            left.push("Preemption is not helpful for scheduling".to_owned());
            continue;
        }
        let Some((node, info)) = cache.node(name) else { continue };
        match victims_on(pod, cycle, node, info) {
            Ok(pods) => candidates.push(Victims { node: name.clone(), pods }),
            Err(lines) => left.extend(lines),
        }
        if candidates.len() == enough {
            break;
        }
    }
    let best = candidates.into_iter().min_by_key(harm);
    best.map_or(Preemption::NotHelpful(left), Preemption::Victims)
}

/// Whether pods that made room for it on the node it is nominated to are still
/// going, and that node can take it at all.
fn is_under_way(cache: &Cache, pod: &Pod, by_node: &[(Arc<str>, NodeRefusal)]) -> bool {
    let nominated = &pod.nominated_node;
    let hopeless =
        by_node.iter().any(|(node, refusal)| node == nominated && !refusal.is_resolvable());
    let Some((_, info)) = cache.node(nominated).filter(|_| !hopeless) else { return false };
    info.pods.values().any(|other| {
        other.preempted
            && other.meta.deleting.is_some()
            && other.needs.priority < pod.needs.priority
    })
}

/// The pods that would go from this node; else what it says then, a line for
/// each reason.
pub fn victims_on(
    pod: &Pod,
    cycle: &Cycle<'_>,
    node: &Node,
    info: &NodeInfo,
) -> Result<Vec<Arc<Pod>>, Vec<String>> {
    let lower = |other: &&Arc<Pod>| {
        other.needs.priority < pod.needs.priority && !cycle.is_wanted_near(other)
    };
    let mut lower: Vec<Arc<Pod>> = info.pods.values().filter(lower).cloned().collect();
    if lower.is_empty() {
        return Err(vec!["No preemption victims found for incoming pod".to_owned()]);
    }
    match cycle.filter_without(node, info, &lower) {
        Ok(_) => {}
        Err(NoNode::Refused(refusal)) => {
            return Err(refusal.reasons.iter().map(ToString::to_string).collect());
        }
        Err(NoNode::Failed(error)) => return Err(vec![error]),
    }
    lower.sort_by_key(|other| importance(other));
    let mut victims = lower.clone();
    for spared in &lower {
        let without: Vec<_> =
            victims.iter().filter(|other| !Arc::ptr_eq(other, spared)).cloned().collect();
        if cycle.filter_without(node, info, &without).is_ok() {
            victims = without;
        }
    }
    Ok(victims)
}

/// The most important first: by priority, then who runs for longest.
fn importance(pod: &Pod) -> (Reverse<i32>, Seconds, Arc<str>) {
    (Reverse(pod.needs.priority), started(pod), pod.meta.key.name.clone())
}

/// A pod that has not started counts as starting now.
fn started(pod: &Pod) -> Seconds {
    pod.started.unwrap_or(Seconds::MAX)
}

/// What a choice destroys, the least first: the highest priority, the sum of
/// priorities, the number of pods, and the age of the oldest important one
/// (upstream: `pickOneNodeForPreemption`).
fn harm(victims: &Victims) -> (i32, i64, usize, Reverse<Seconds>) {
    let pods = &victims.pods;
    let highest = pods.iter().map(|pod| pod.needs.priority).max().unwrap_or(i32::MIN);
    // Raised, so that no priority counts for less than none.
    let sum = pods.iter().map(|pod| i64::from(pod.needs.priority) - i64::from(i32::MIN)).sum();
    let important = pods.iter().filter(|pod| pod.needs.priority == highest);
    let oldest = important.map(|pod| started(pod)).min().unwrap_or(Seconds::MAX);
    (highest, sum, pods.len(), Reverse(oldest))
}
