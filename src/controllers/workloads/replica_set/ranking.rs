//! Which pods a ReplicaSet gives up first (upstream: `ActivePodsWithRanks`).

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use crate::model::object::Seconds;
use crate::model::pod::Pod;

/// The annotation by which users say what losing a pod costs.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Sorts pods, those to be deleted first: without a node; Pending before
/// Unknown before Running; not ready; cheap; with many siblings on its node;
/// ready more recently; restarted more often; newer. Ties break by name.
pub fn rank(pods: &mut [Arc<Pod>]) {
    let mut siblings: HashMap<Arc<str>, usize> = HashMap::new();
    for pod in pods.iter() {
        *siblings.entry(pod.node.clone()).or_default() += 1;
    }
    pods.sort_by_cached_key(|pod| {
        let ready = pod.ready_since;
        (
            pod.is_scheduled(),
            phase_rank(&pod.phase),
            ready.is_some(),
            deletion_cost(pod),
            Reverse(siblings.get(&pod.node).copied().unwrap_or(0)),
            Reverse(bucket(ready)),
            Reverse(pod.restarts),
            Reverse(bucket(Some(pod.meta.created))),
            pod.meta.key.name.clone(),
        )
    });
}

fn phase_rank(phase: &str) -> u8 {
    match phase {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    }
}

/// What losing the pod costs; 0 if it does not say, or nonsense.
fn deletion_cost(pod: &Pod) -> i32 {
    pod.meta.annotation(DELETION_COST).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Times as they are compared; a pod that was never ready is the newest.
fn bucket(time: Option<Seconds>) -> Seconds {
    time.unwrap_or(Seconds::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::row::Row;

    fn pod(name: &str, mut object: Value) -> Arc<Pod> {
        let mut metadata = json!({"name": name, "namespace": "n",
            "creationTimestamp": "2026-01-01T00:00:00Z"});
        if object["metadata"].is_object() {
            json_patch::merge(&mut metadata, &object["metadata"]);
        }
        object["metadata"] = metadata;
        Arc::new(Pod::from_object(&object).expect("a pod"))
    }

    /// Each row is given up before those below it.
    #[test]
    fn pods_are_given_up_in_the_order_of_their_worth() {
        let ready =
            |since: &str| json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]);
        let running = |extra: Value| {
            let mut pod = json!({"spec": {"nodeName": "node-1"}, "status": {"phase": "Running",
                "conditions": ready("2026-01-01T01:00:00Z")}});
            json_patch::merge(&mut pod, &extra);
            pod
        };
        let cost = |cost: &str| json!({"metadata": {"annotations": {DELETION_COST: cost}}});
        let mut pods = vec![
            pod("a-unassigned", json!({"status": {"phase": "Running"}})),
            pod("b-pending", json!({"spec": {"nodeName": "x"}, "status": {"phase": "Pending"}})),
            pod("c-unknown", json!({"spec": {"nodeName": "x"}, "status": {"phase": "Unknown"}})),
            pod("d-not-ready", running(json!({"status": {"conditions": null}}))),
            pod("e-cheap", running(cost("-5"))),
            pod("f-crowded", running(json!({}))),
            pod(
                "g-newly-ready",
                running(json!({"spec": {"nodeName": "y"},
                "status": {"conditions": ready("2026-01-01T05:00:00Z")}})),
            ),
            pod(
                "h-restarted",
                running(json!({"spec": {"nodeName": "z"},
                "status": {"containerStatuses": [{"restartCount": 3}]}})),
            ),
            pod(
                "i-new",
                running(json!({"spec": {"nodeName": "u"},
                "metadata": {"creationTimestamp": "2026-01-01T00:30:00Z"}})),
            ),
            pod("j-old", running(json!({"spec": {"nodeName": "v"}}))),
            pod("k-dear", running(cost("7"))),
        ];
        let names = |pods: &[Arc<Pod>]| -> Vec<Arc<str>> {
            pods.iter().map(|pod| pod.meta.key.name.clone()).collect()
        };
        let expected = names(&pods);
        for _ in 0..pods.len() {
            pods.rotate_left(1);
            let mut ranked = pods.clone();
            rank(&mut ranked);
            assert_eq!(names(&ranked), expected);
        }
    }
}
