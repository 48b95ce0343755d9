//! Workloads down to their volumes, and the kinds of volumes.

use pvdeck::model::claim::Claim;
use pvdeck::model::deployment::Deployment;
use pvdeck::model::event::Event;
use pvdeck::model::object::Key;
use pvdeck::model::pod::Pod;
use pvdeck::model::replica_set::ReplicaSet;
use pvdeck::model::stateful_set::StatefulSet;
use pvdeck::ui::state::{TableId, View};
use serde_json::{Value, json};

use super::sample::{self, Console};
use super::screens::{check, picture, text};

fn meta(name: &str, version: u64, owner: Option<(&str, &str)>) -> Value {
    let mut meta = json!({"namespace": "shop", "name": name, "uid": format!("uid-shop-{name}"),
        "resourceVersion": version.to_string(), "creationTimestamp": "2026-11-20T09:41:07Z"});
    if let Some((kind, owner)) = owner {
        meta["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": kind, "name": owner,
            "uid": format!("uid-shop-{owner}"), "controller": true}]);
    }
    meta
}

fn pod(name: &str, version: u64, owner: (&str, &str), claim: &str, node: &str) -> Value {
    let phase = if node.is_empty() { "Pending" } else { "Running" };
    let mut pod = json!({"metadata": meta(name, version, Some(owner)), "spec": {"nodeName": node,
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]},
        "status": {"phase": phase}});
    if node.is_empty() {
        pod["status"]["conditions"] = json!([{"type": "PodScheduled", "status": "False",
            "reason": "Unschedulable", "message": "0/2 nodes are available: 2 node(s) didn't find \
            available persistent volumes to bind."}]);
    }
    pod
}

/// A set of two that had three, and a rollout under way.
fn workloads(console: &mut Console) {
    let template = json!([{"metadata": {"name": "data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
        "resources": {"requests": {"storage": "20Gi"}}}}]);
    console.apply::<StatefulSet>(json!({"metadata": meta("mysql", 60, None),
        "spec": {"replicas": 2, "serviceName": "mysql", "volumeClaimTemplates": template},
        "status": {"readyReplicas": 1}}));
    let set = ("StatefulSet", "mysql");
    console.apply::<Pod>(pod("mysql-0", 61, set, "data-mysql-0", ""));
    console.apply::<Pod>(pod("mysql-1", 62, set, "data-mysql-1", "node-1"));
    console.remove::<Pod>(Key::new("shop", "mysql-2"));
    console.apply::<Deployment>(json!({"metadata": meta("web", 63, None),
        "spec": {"replicas": 2}, "status": {"readyReplicas": 2, "updatedReplicas": 1,
            "conditions": [{"type": "Progressing", "reason": "ReplicaSetUpdated"}]}}));
    let mut old = meta("web-1", 64, Some(("Deployment", "web")));
    old["annotations"] = json!({"deployment.kubernetes.io/revision": "1"});
    console.apply::<ReplicaSet>(json!({"metadata": old, "spec": {"replicas": 1},
        "status": {"readyReplicas": 1}}));
    let mut new = meta("web-2", 65, Some(("Deployment", "web")));
    new["annotations"] = json!({"deployment.kubernetes.io/revision": "2"});
    console.apply::<ReplicaSet>(json!({"metadata": new, "spec": {"replicas": 1},
        "status": {"readyReplicas": 1}}));
    console
        .apply::<Claim>(sample::claim("shop", "site", 66, 90, "Bound", "1Gi", "manual", "pv-01"));
    console.apply::<Pod>(pod("web-1-a", 67, ("ReplicaSet", "web-1"), "site", "node-1"));
    console.apply::<Pod>(pod("web-2-b", 68, ("ReplicaSet", "web-2"), "site", "node-2"));
    console.wait(10_000);
}

#[test]
fn workloads_in_one_list() {
    check("workloads", |console| {
        workloads(console);
        console.press(":workloads\r");
    });
}

#[test]
fn tree_of_a_stateful_set_down_to_its_nodes() {
    check("tree_sts", |console| {
        workloads(console);
        console.press(":wl\r/mysql\r\rj");
    });
}

#[test]
fn tree_of_a_rollout_on_a_shared_claim() {
    check("tree_deploy", |console| {
        workloads(console);
        console.press(":wl\r/web\r\r");
    });
}

#[test]
fn deployments() {
    check("deployments", |console| {
        workloads(console);
        console.press(":deploy\r");
    });
}

#[test]
fn why_a_set_is_stuck_and_what_helps() {
    check("why_sts", |console| {
        workloads(console);
        console.press(":sts\r/mysql\rw").wait(10_000);
    });
}

#[test]
fn set_that_may_make_no_pod_says_so_until_it_has_them() {
    let mut console = Console::sample(80, 24, "dark");
    workloads(&mut console);
    console.remove::<Pod>(Key::new("shop", "mysql-0"));
    let seen = |console: &mut Console| {
        console.press(":workloads\r").wait(1);
        text(&picture(console))
    };
    assert!(seen(&mut console).contains("~ shop      mysql"), "nothing was said yet");
    let message = "create Pod mysql-0 in StatefulSet mysql failed: exceeded quota";
    console.apply::<Event>(json!({"metadata": meta("refused", 80, None), "type": "Warning",
        "reason": "FailedCreate", "message": message, "count": 9,
        "involvedObject": {"kind": "StatefulSet", "namespace": "shop", "name": "mysql",
            "uid": "uid-shop-mysql"}}));
    let shown = seen(&mut console);
    assert!(shown.contains("! shop      mysql"), "{shown}");
    assert!(shown.contains("shop/mysql: FailedCreate: create Pod mysql-0"), "{shown}");
    console.press("\r");
    assert!(text(&picture(&console)).contains("FailedCreate"));
    console.apply::<Pod>(pod("mysql-0", 81, ("StatefulSet", "mysql"), "data-mysql-0", "node-1"));
    let shown = seen(&mut console);
    assert!(shown.contains("~ shop      mysql"), "it has its pods: {shown}");
}

#[test]
fn why_a_pod_is_on_no_node_and_what_helps() {
    check("why_pod", |console| {
        workloads(console);
        console.press(":po\r/mysql-0\rw").wait(10_000);
    });
}

#[test]
fn kinds_of_volumes_with_what_each_can_do() {
    check("plugins", |console| {
        console.press(":plugins\r");
    });
}

#[test]
fn every_object_of_a_tree_can_be_opened() {
    let mut console = Console::sample(120, 40, "dark");
    workloads(&mut console);
    console.press(":wl\r/mysql\r\r");
    assert_eq!(console.state.table(), Some(TableId::Tree));
    let mut seen = Vec::new();
    for _ in 0..9 {
        seen.push(console.under_cursor());
        console.press("j");
    }
    assert_eq!(
        seen,
        [
            "mysql",
            "mysql-0",
            "data-mysql-0",
            "mysql-1",
            "data-mysql-1",
            "pvc-7c1f0e",
            "node-1",
            "data-mysql-2",
            "pvc-91aa41"
        ]
    );
    console.press("gjj\r");
    assert!(
        matches!(&console.state.top().view, View::Journey(claim) if claim.name == "data-mysql-0")
    );
    console.press("\x1bjjjj\r");
    assert_eq!(console.state.table(), Some(TableId::Board));
}
