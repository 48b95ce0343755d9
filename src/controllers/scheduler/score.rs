//! Which of the nodes that take a pod is best: 0 to 100 from each plugin, times
//! its weight.
//!
//! Absent on purpose: ImageLocality (nodes here have no images) and scoring by
//! storage capacity, which is off by default upstream too.

use std::sync::Arc;

use crate::controllers::scheduler::cache::NodeInfo;
use crate::controllers::scheduler::filters::Cycle;
use crate::model::node::Node;

const MOST: f64 = 100.0;

/// The points of one node.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Score {
    pub taints: f64,
    pub affinity: f64,
    pub spread: f64,
    pub neighbours: f64,
    pub least_allocated: f64,
    pub balance: f64,
}

impl Score {
    /// All with their weights.
    pub fn total(&self) -> i64 {
        let sum = 3.0 * self.taints
            + 2.0 * self.affinity
            + 2.0 * self.spread
            + 2.0 * self.neighbours
            + self.least_allocated
            + self.balance;
        sum as i64
    }
}

/// What one node says before it is compared with the others.
struct Raw {
    taints: f64,
    affinity: f64,
    spread: Option<f64>,
    neighbours: f64,
    score: Score,
}

/// The score of each of these nodes, in their order.
pub fn scores(cycle: &Cycle<'_>, nodes: &[(&Arc<Node>, &NodeInfo)]) -> Vec<Score> {
    let raw: Vec<Raw> = nodes.iter().map(|(node, info)| raw(cycle, node, info)).collect();
    let most = |of: fn(&Raw) -> f64| raw.iter().map(of).fold(0.0, f64::max);
    let (taints, affinity) = (most(|raw| raw.taints), most(|raw| raw.affinity));
    let spread = raw.iter().filter_map(|raw| raw.spread);
    let (thin, thick) = spread.fold((f64::MAX, 0.0), |(a, b): (f64, f64), s| (a.min(s), b.max(s)));
    let near = most(|raw| raw.neighbours);
    let far = raw.iter().map(|raw| raw.neighbours).fold(0.0, f64::min);
    let part = |of: f64, all: f64| if all > 0.0 { (MOST * of / all).floor() } else { 0.0 };
    let points = |raw: &Raw| Score {
        taints: MOST - part(raw.taints, taints),
        affinity: part(raw.affinity, affinity),
        spread: match raw.spread {
            None => 0.0,
            Some(_) if thick == 0.0 => MOST,
            Some(own) => (MOST * (thick + thin - own) / thick).floor(),
        },
        neighbours: part(raw.neighbours - far, near - far),
        ..raw.score
    };
    raw.iter().map(points).collect()
}

fn raw(cycle: &Cycle<'_>, node: &Node, info: &NodeInfo) -> Raw {
    let needs = &cycle.pod.needs;
    let disliked = node.taints.iter().filter(|taint| {
        &*taint.effect == "PreferNoSchedule"
            && !needs.tolerations.iter().any(|toleration| toleration.tolerates(taint))
    });
    let preferred = needs.preferred_nodes.iter();
    let preferred = preferred
        .filter(|(_, term)| term.matches_node(&node.meta.key.name, &node.meta.labels))
        .map(|(weight, _)| *weight as f64);
    Raw {
        taints: disliked.count() as f64,
        affinity: preferred.sum(),
        spread: cycle.spread_score(node, info),
        neighbours: cycle.neighbour_score(node) as f64,
        score: Score {
            least_allocated: least_allocated(cycle, node, info),
            balance: balance(cycle, node, info),
            ..Score::default()
        },
    }
}

/// How much of processor and memory would be left, in percent, on average.
fn least_allocated(cycle: &Cycle<'_>, node: &Node, info: &NodeInfo) -> f64 {
    let (has, used, asked) = (&node.allocatable, &info.usual, &cycle.pod.needs.usual_requests);
    let left = |most: i64, used: i64| -> i64 {
        if most <= 0 || used > most { 0 } else { (most - used).saturating_mul(100) / most }
    };
    let cpu = left(has.cpu_milli, used.cpu_milli.saturating_add(asked.cpu_milli));
    let memory = left(has.memory_bytes, used.memory_bytes.saturating_add(asked.memory_bytes));
    ((cpu + memory) / 2) as f64
}

/// How evenly processor and memory would be used. A pod that asks for neither
/// changes nothing about it.
fn balance(cycle: &Cycle<'_>, node: &Node, info: &NodeInfo) -> f64 {
    let (has, used, asked) = (&node.allocatable, &info.requested, &cycle.pod.needs.requests);
    if asked.cpu_milli == 0 && asked.memory_bytes == 0 {
        return 0.0;
    }
    let part = |most: i64, used: i64| -> Option<f64> {
        (most > 0).then(|| (used as f64 / most as f64).min(1.0))
    };
    let cpu = part(has.cpu_milli, used.cpu_milli.saturating_add(asked.cpu_milli));
    let memory = part(has.memory_bytes, used.memory_bytes.saturating_add(asked.memory_bytes));
    let deviation = match (cpu, memory) {
        (Some(cpu), Some(memory)) => (cpu - memory).abs() / 2.0,
        _ => 0.0,
    };
    ((1.0 - deviation) * MOST).floor()
}
