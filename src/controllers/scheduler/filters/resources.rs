//! NodeResourcesFit: whether the node has left what the pod asks for.

use std::sync::Arc;

use crate::controllers::scheduler::cache::NodeInfo;
use crate::controllers::scheduler::reason::Reason;
use crate::model::node::Node;
use crate::model::pod::Pod;

/// All that the node has not enough of.
pub fn why_not_enough(pod: &Pod, node: &Node, info: &NodeInfo) -> Vec<Reason> {
    let mut short = Vec::new();
    let held = i64::try_from(info.pods.len()).unwrap_or(i64::MAX);
    if held + 1 > node.pods_max {
        short.push(Reason::TooManyPods { most: node.pods_max });
    }
    let (asked, has, used) = (&pod.needs.requests, &node.allocatable, &info.requested);
    let mut compare = |resource: &str, asked: i64, most: i64, used: i64| {
        let free = most.saturating_sub(used);
        if asked > 0 && asked > free {
            short.push(Reason::Insufficient { resource: Arc::from(resource), asked, free, most });
        }
    };
    compare("cpu", asked.cpu_milli, has.cpu_milli, used.cpu_milli);
    compare("memory", asked.memory_bytes, has.memory_bytes, used.memory_bytes);
    compare(
        "ephemeral-storage",
        asked.ephemeral_storage_bytes,
        has.ephemeral_storage_bytes,
        used.ephemeral_storage_bytes,
    );
    for (name, amount) in &asked.others {
        compare(name, *amount, has.other(name), used.other(name));
    }
    short
}
