//! Where a pod goes, or why nowhere: a function of what is known to a node with
//! the volumes to write, or to the reasons of every node.
//!
//! Ties go to the first node by name, where upstream throws dice.

use std::fmt;
use std::sync::Arc;

use crate::controllers::scheduler::cache::{Cache, NodeInfo};
use crate::controllers::scheduler::claims::{self, Stop};
use crate::controllers::scheduler::filters::{Cycle, NoNode};
use crate::controllers::scheduler::find::Plan;
use crate::controllers::scheduler::preemption::{preempt, victims_on};
use crate::controllers::scheduler::reason::NodeRefusal;
use crate::controllers::scheduler::refusal::Refusal;
use crate::controllers::scheduler::score::scores;
use crate::model::node::Node;
use crate::model::pod::Pod;
use crate::model::pod_needs::DEFAULT_SCHEDULER;

/// Up to so many nodes all are looked at; beyond, only a share.
const LOOK_AT_ALL: usize = 100;
/// The least share of nodes in percent.
const SHARE_MIN: usize = 5;

/// What comes of looking at a pod.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Place(Placement),
    /// No node takes it.
    Refuse(Refusal),
    /// An error, in Kubernetes' words.
    Fail(String),
}

/// The node chosen for a pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Placement {
    pub node: Arc<str>,
    pub plan: Plan,
    pub because: Because,
}

/// Why this node.
#[derive(Debug, Clone, PartialEq)]
pub enum Because {
    /// It was chosen before, and the choice still holds.
    Nominated,
    /// It is the only one that takes the pod, of so many looked at.
    Only { looked_at: usize },
    /// It has the highest score, or is the first by name of those that do.
    Best { taking: usize, looked_at: usize, score: i64, equals: usize },
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nominated => f.write_str("it was chosen before"),
            Self::Only { looked_at: 1 } => f.write_str("it is the only node"),
            Self::Only { looked_at } => write!(f, "of {looked_at} nodes it alone takes the pod"),
            Self::Best { taking, looked_at, score, equals: 0 } => {
                write!(f, "{taking} of {looked_at} nodes take it, this one scores most: {score}")
            }
            Self::Best { taking, looked_at, score, equals } => write!(
                f,
                "{taking} of {looked_at} nodes take it; {} score {score}, this is the first by name",
                equals + 1
            ),
        }
    }
}

/// Whether the pod waits for this scheduler.
pub fn is_to_be_placed(pod: &Pod) -> bool {
    !pod.is_scheduled()
        && !pod.needs.is_gated()
        && *pod.needs.scheduler == *DEFAULT_SCHEDULER
        && !matches!(&*pod.phase, "Succeeded" | "Failed")
}

/// Where this pod goes. `from` is the node to look at first in a large cluster,
/// where not all nodes are looked at.
pub fn decide(cache: &Cache, pod: &Pod, from: &Arc<str>) -> Verdict {
    let refused = |whole| {
        let nodes = cache.node_count();
        Verdict::Refuse(Refusal {
            nodes,
            whole: Some(whole),
            by_node: Vec::new(),
            preemption: None,
        })
    };
    if cache.node_count() == 0 {
        let nodes = 0;
        return Verdict::Refuse(Refusal {
            nodes,
            whole: None,
            by_node: Vec::new(),
            preemption: None,
        });
    }
    let claims = match claims::sort(cache, pod) {
        Ok(claims) => claims,
        Err(Stop::Refused(whole)) => return refused(whole),
        Err(Stop::Failed(error)) => return Verdict::Fail(error),
    };
    let cycle = match Cycle::new(cache, pod, &claims, false) {
        Ok(cycle) => cycle,
        Err(Stop::Refused(whole)) => return refused(whole),
        Err(Stop::Failed(error)) => return Verdict::Fail(error),
    };
    place(cache, pod, &cycle, from)
}

fn place(cache: &Cache, pod: &Pod, cycle: &Cycle<'_>, from: &Arc<str>) -> Verdict {
    if let Some((node, info)) = cache.node(&pod.nominated_node)
        && let Ok(plan) = cycle.filter(node, info)
    {
        let node = node.meta.key.name.clone();
        return Verdict::Place(Placement { node, plan, because: Because::Nominated });
    }
    let enough = nodes_to_find(cache.node_count());
    let start = if enough < cache.node_count() { from.clone() } else { Arc::from("") };
    let (mut taking, mut by_node) = (Vec::new(), Vec::new());
    for (node, info) in cache.nodes_from(&start) {
        match cycle.filter(node, info) {
            Ok(plan) => taking.push((node, info, plan)),
            Err(NoNode::Refused(refusal)) => by_node.push((node.meta.key.name.clone(), refusal)),
            Err(NoNode::Failed(error)) => return Verdict::Fail(error),
        }
        if taking.len() == enough {
            break;
        }
    }
    let looked_at = taking.len() + by_node.len();
    if taking.len() <= 1 {
        return match taking.pop() {
            Some((node, _, plan)) => {
                let node = node.meta.key.name.clone();
                Verdict::Place(Placement { node, plan, because: Because::Only { looked_at } })
            }
            None => {
                let preemption = Some(preempt(cache, pod, cycle, &by_node));
                let nodes = cache.node_count();
                Verdict::Refuse(Refusal { nodes, whole: None, by_node, preemption })
            }
        };
    }
    let candidates: Vec<_> = taking.iter().map(|(node, info, _)| (*node, *info)).collect();
    let totals: Vec<i64> = scores(cycle, &candidates).iter().map(|score| score.total()).collect();
    let best = totals.iter().copied().max().unwrap_or(0);
    let name = |at: usize| &candidates[at].0.meta.key.name;
    let equal = (0..totals.len()).filter(|at| totals[*at] == best);
    let equals = equal.clone().count().saturating_sub(1);
    let chosen = equal.min_by_key(|at| name(*at)).unwrap_or(0);
    let because = Because::Best { taking: taking.len(), looked_at, score: best, equals };
    let (node, _, plan) = taking.swap_remove(chosen);
    Verdict::Place(Placement { node: node.meta.key.name.clone(), plan, because })
}

/// How many nodes that take the pod are enough (upstream:
/// `numFeasibleNodesToFind`).
fn nodes_to_find(nodes: usize) -> usize {
    if nodes < LOOK_AT_ALL {
        return nodes;
    }
    let share = 50_usize.saturating_sub(nodes / 125).max(SHARE_MIN);
    (nodes * share / 100).max(LOOK_AT_ALL)
}

/// The pod's verdict on one node.
#[derive(Debug, Clone, PartialEq)]
pub struct OnNode {
    pub node: Arc<str>,
    pub answer: Result<Fits, NodeRefusal>,
    /// It refuses, and would not if these pods of lower priority went, of which
    /// none could stay.
    pub in_the_way: Vec<Arc<Pod>>,
}

/// A node that takes the pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Fits {
    pub plan: Plan,
    pub score: i64,
}

/// The verdict on every node, with all that can be said about each.
pub fn on_every_node(cache: &Cache, pod: &Pod) -> Result<Vec<OnNode>, Stop> {
    let claims = claims::sort(cache, pod)?;
    let cycle = Cycle::new(cache, pod, &claims, true)?;
    let mut answers = Vec::with_capacity(cache.node_count());
    let mut taking: Vec<(&Arc<Node>, &NodeInfo)> = Vec::new();
    for (node, info) in cache.nodes() {
        let mut in_the_way = Vec::new();
        let answer = match cycle.filter(node, info) {
            Ok(plan) => {
                taking.push((node, info));
                Ok(Fits { plan, score: 0 })
            }
            Err(NoNode::Refused(refusal)) => {
                if refusal.is_resolvable() {
                    in_the_way = victims_on(pod, &cycle, node, info).unwrap_or_default();
                }
                Err(refusal)
            }
            Err(NoNode::Failed(error)) => return Err(Stop::Failed(error)),
        };
        answers.push(OnNode { node: node.meta.key.name.clone(), answer, in_the_way });
    }
    let mut scores = scores(&cycle, &taking).into_iter();
    for fits in answers.iter_mut().filter_map(|on| on.answer.as_mut().ok()) {
        fits.score = scores.next().map_or(0, |score| score.total());
    }
    Ok(answers)
}
