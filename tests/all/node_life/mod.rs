//! Node life through the whole path, on a clock moved by hand: nodes without a
//! kubelet, made by hand, live and die.

mod schedules;

use std::time::Duration;

use pvdeck::model::kind;
use pvdeck::model::object::ObjectRef;
use serde_json::{Value, json};

use crate::by_hand::reference;
use crate::world::World;

/// A node is called dead in the first round, of 5 seconds, that is 50 seconds
/// after the one that first saw it Ready.
const DEATH: Duration = Duration::from_secs(61);

/// A node without a kubelet, made Ready by hand.
async fn node_by_hand(world: &World, name: &str) -> ObjectRef {
    let node = reference(kind::NODE, name);
    let labels = json!({"kubernetes.io/hostname": name});
    world.create(kind::NODE, json!({"metadata": {"name": name, "labels": labels}})).await;
    let room = json!({"cpu": "2", "memory": "4Gi", "pods": "10"});
    let ready = json!([{"type": "Ready", "status": "True", "reason": "KubeletReady",
        "message": "by hand", "lastHeartbeatTime": "2100-01-01T00:00:00Z",
        "lastTransitionTime": "2020-01-01T00:00:00Z"}]);
    let status = json!({"capacity": room, "allocatable": room, "conditions": ready});
    world.patch_status(&node, status).await;
    node
}

/// A pod that was put on a node and is said to be ready.
async fn pod_on(world: &World, name: &str, node: &str) -> ObjectRef {
    let pod = reference(kind::POD, name);
    let containers = json!([{"name": "main", "image": "busybox:1.35"}]);
    let body = json!({"metadata": {"name": name},
        "spec": {"nodeName": node, "containers": containers}});
    world.create(kind::POD, body).await;
    let ready = json!([{"type": "Ready", "status": "True"}]);
    let status = json!({"phase": "Running", "conditions": ready});
    world.patch_status(&pod, status).await;
    pod
}

fn taints(node: &Value) -> Vec<String> {
    let taints = node["spec"]["taints"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let name = |taint: &Value| {
        let key = text(&taint["key"]);
        let key = key.trim_start_matches("node.kubernetes.io/").to_owned();
        format!("{key}:{}", text(&taint["effect"]))
    };
    taints.map(name).collect()
}

fn condition(object: &Value, of_type: &str) -> Value {
    let mut conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.find(|held| held["type"] == of_type).cloned().unwrap_or_default()
}

/// Reason and message of all events about an object, sorted.
fn events(world: &World, about: &ObjectRef) -> Vec<String> {
    world.mirror().read(|tables| {
        let of = tables.events.iter().filter(|event| {
            *event.about.kind == *about.kind.kind && *event.about.key.name == *about.key.name
        });
        let mut lines: Vec<String> =
            of.map(|event| format!("{}: {}", event.reason, event.message)).collect();
        lines.sort();
        lines.dedup();
        lines
    })
}

#[test]
fn node_that_comes_back_with_an_old_heartbeat_is_unknown_in_the_next_round() {
    World::run(async |world| {
        let node = node_by_hand(&world, "node-3").await;
        world.clock.advance(DEATH).await;
        world.delete(&node).await;
        world.clock.advance(Duration::from_secs(6)).await;
        node_by_hand(&world, "node-3").await;
        let found = world.get(&node).await.expect("the node");
        assert_eq!(condition(&found, "Ready")["status"], "True", "not before a round");
        world.clock.advance(Duration::from_secs(6)).await;
        let found = world.get(&node).await.expect("the node");
        assert_eq!(condition(&found, "Ready")["status"], "Unknown");
        let beat = json!({"conditions": [{"type": "Ready", "status": "True",
            "lastHeartbeatTime": "2100-01-01T00:00:10Z"}]});
        world.patch_status(&node, beat).await;
        world.clock.advance(Duration::from_secs(45)).await;
        let found = world.get(&node).await.expect("the node");
        assert_eq!(condition(&found, "Ready")["status"], "True", "a new sign of life");
    });
}

#[test]
fn silent_node_is_called_unknown_and_its_pods_leave_when_their_time_is_over() {
    World::run(async |world| {
        let node = node_by_hand(&world, "node-3").await;
        let found = world.get(&node).await.expect("the node");
        assert_eq!(taints(&found), Vec::<String>::new(), "no taint on a node that is Ready");
        let pod = pod_on(&world, "pod-1", "node-3").await;
        world.clock.advance(Duration::from_secs(45)).await;
        let ready = condition(&world.get(&node).await.expect("the node"), "Ready");
        assert_eq!(ready["status"], "True");
        world.clock.advance(Duration::from_secs(16)).await;
        let found = world.get(&node).await.expect("the node");
        let ready = condition(&found, "Ready");
        assert_eq!(ready["status"], "Unknown");
        assert_eq!(ready["message"], "Kubelet stopped posting node status.");
        assert_eq!(ready["lastHeartbeatTime"], "2100-01-01T00:00:00Z");
        let pressure = condition(&found, "DiskPressure");
        assert_eq!(pressure["reason"], "NodeStatusNeverUpdated");
        assert_eq!(taints(&found), ["unreachable:NoSchedule", "unreachable:NoExecute"]);
        let on_it = world.get(&pod).await.expect("the pod");
        assert_eq!(condition(&on_it, "Ready")["status"], "False");
        world.clock.advance(Duration::from_secs(290)).await;
        let on_it = world.get(&pod).await.expect("the pod");
        assert!(on_it["metadata"]["deletionTimestamp"].is_null());
        world.clock.advance(Duration::from_secs(15)).await;
        let on_it = world.get(&pod).await.expect("it terminates for ever");
        assert!(on_it["metadata"]["deletionTimestamp"].is_string());
        let target = condition(&on_it, "DisruptionTarget");
        assert_eq!(target["reason"], "DeletionByTaintManager");
        assert_eq!(target["message"], "Taint manager: deleting due to NoExecute taint");
        assert_eq!(
            events(&world, &node),
            [
                "NodeNotReady: Node node-3 status is now: NodeNotReady",
                "RegisteredNode: Node node-3 event: Registered Node node-3 in Controller",
            ]
        );
        assert_eq!(
            events(&world, &pod),
            [
                "NodeNotReady: Node is not ready",
                "TaintManagerEviction: Marking for deletion Pod default/pod-1",
            ]
        );
    });
}

#[test]
fn node_that_comes_back_in_time_keeps_its_pods() {
    World::run(async |world| {
        let node = node_by_hand(&world, "node-3").await;
        let pod = pod_on(&world, "pod-1", "node-3").await;
        world.clock.advance(DEATH).await;
        let back = json!([{"type": "Ready", "status": "True",
            "lastHeartbeatTime": "2100-02-01T00:00:00Z"}]);
        world.patch_status(&node, json!({"conditions": back})).await;
        world.clock.advance(Duration::from_secs(1)).await;
        let found = world.get(&node).await.expect("the node");
        assert_eq!(taints(&found), Vec::<String>::new());
        world.clock.advance(Duration::from_secs(40)).await;
        let on_it = world.get(&pod).await.expect("the pod");
        assert!(on_it["metadata"]["deletionTimestamp"].is_null());
        let cancelled = "TaintManagerEviction: Cancelling deletion of Pod default/pod-1";
        assert!(events(&world, &pod).contains(&cancelled.to_owned()));
    });
}

#[test]
fn pods_of_a_deleted_node_are_collected_after_its_quarantine() {
    World::run(async |world| {
        let node = node_by_hand(&world, "node-3").await;
        let pod = pod_on(&world, "pod-1", "node-3").await;
        // A node that comes and goes within a round is never told of.
        world.clock.advance(Duration::from_secs(6)).await;
        let start = world.revision();
        world.delete(&node).await;
        world.clock.advance(Duration::from_secs(39)).await;
        assert!(world.get(&pod).await.is_some());
        world.clock.advance(Duration::from_secs(22)).await;
        assert_eq!(world.get(&pod).await, None);
        let removed = "RemovingNode: Node node-3 event: Removing Node node-3 from Controller";
        assert!(events(&world, &node).contains(&removed.to_owned()));
        let commits = world.commits_after(start);
        let pods = commits.iter().filter_map(|commit| commit.after.as_ref());
        let failed: Vec<&Value> =
            pods.filter(|object| object["status"]["phase"] == "Failed").collect();
        let target = condition(failed[0], "DisruptionTarget");
        assert_eq!(target["message"], "PodGC: node no longer exists");
        assert_eq!(condition(failed[0], "Ready")["status"], "True", "Ready to the end");
    });
}

#[test]
fn node_back_under_its_name_saves_its_pods() {
    World::run(async |world| {
        let node = node_by_hand(&world, "node-3").await;
        let pod = pod_on(&world, "pod-1", "node-3").await;
        world.delete(&node).await;
        world.clock.advance(Duration::from_secs(35)).await;
        node_by_hand(&world, "node-3").await;
        world.clock.advance(Duration::from_secs(45)).await;
        assert!(world.get(&pod).await.is_some());
    });
}

#[test]
fn pods_leave_a_node_out_of_service_only_once_they_terminate_and_it_is_lost() {
    World::run(async |world| {
        let node = node_by_hand(&world, "node-3").await;
        let pod = pod_on(&world, "pod-1", "node-3").await;
        world.delete(&pod).await;
        let taint = json!([{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]);
        world.merge(&node, json!({"spec": {"taints": taint}})).await;
        world.clock.advance(Duration::from_secs(25)).await;
        assert!(world.get(&pod).await.is_some(), "the node is Ready");
        world.clock.advance(Duration::from_secs(60)).await;
        assert_eq!(world.get(&pod).await, None);
    });
}

#[test]
fn cordon_shows_as_a_taint_and_imported_nodes_live_on() {
    World::run(async |world| {
        let node = reference(kind::NODE, "node-3");
        node_by_hand(&world, "node-3").await;
        world.merge(&node, json!({"spec": {"unschedulable": true}})).await;
        let found = world.get(&node).await.expect("the node");
        assert_eq!(taints(&found), ["unschedulable:NoSchedule"]);
        world.merge(&node, json!({"spec": {"unschedulable": null}})).await;
        let found = world.get(&node).await.expect("the node");
        assert_eq!(taints(&found), Vec::<String>::new());
        world.clock.advance(Duration::from_secs(600)).await;
        let imported = world.get(&reference(kind::NODE, "node-1")).await.expect("the node");
        assert_eq!(condition(&imported, "Ready")["status"], "True");
    });
}

/// Five nodes of which three are lost: nobody knows what is at fault.
#[test]
fn most_nodes_lost_at_once_lose_no_pod() {
    World::run(async |world| {
        for name in ["node-3", "node-4", "node-5"] {
            node_by_hand(&world, name).await;
        }
        let pod = pod_on(&world, "pod-1", "node-4").await;
        world.clock.advance(Duration::from_secs(400)).await;
        for name in ["node-3", "node-4", "node-5"] {
            let found = world.get(&reference(kind::NODE, name)).await.expect("the node");
            assert_eq!(taints(&found)[0], "unreachable:NoSchedule", "{name}");
        }
        let on_it = world.get(&pod).await.expect("the pod");
        assert!(on_it["metadata"]["deletionTimestamp"].is_null());
    });
}
