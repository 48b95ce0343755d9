//! Which node a pod may run on.

use std::sync::Arc;

use crate::mirror::Tables;
use crate::model::node::{Node, Readiness};
use crate::model::object::Key;
use crate::model::pod::Pod;
use crate::model::pod_needs::DEFAULT_SCHEDULER;

/// Whether the pod waits for this scheduler.
pub fn is_to_be_placed(pod: &Pod) -> bool {
    !pod.is_scheduled()
        && pod.meta.deleting.is_none()
        && !pod.needs.gated
        && *pod.needs.scheduler == *DEFAULT_SCHEDULER
        && !matches!(&*pod.phase, "Succeeded" | "Failed")
}

/// The first node by name that takes the pod; none while a claim of it is not
/// bound.
pub fn place(tables: &Tables, pod: &Pod) -> Option<Arc<str>> {
    let bound = |claim: &Arc<str>| {
        let key = Key { namespace: pod.meta.key.namespace.clone(), name: claim.clone() };
        tables.claims.get(&key).is_some_and(|claim| {
            !claim.volume_name.is_empty()
                && claim.meta.annotation("pv.kubernetes.io/bind-completed").is_some()
        })
    };
    if !pod.claims.iter().all(|used| bound(&used.claim)) {
        return None;
    }
    let nodes = tables.nodes.iter();
    nodes.filter(|node| takes(node, pod)).map(|node| node.meta.key.name.clone()).next()
}

fn takes(node: &Node, pod: &Pod) -> bool {
    node.ready == Readiness::Ready
        && !node.unschedulable
        && pod.needs.untolerated(&node.taints).is_none()
        && pod.needs.node_selector.iter().all(|(key, value)| node.meta.label(key) == Some(value))
}
