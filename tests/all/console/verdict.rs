//! Where a pod may go, node by node.

use std::sync::Arc;

use pvdeck::model::claim::Claim;
use pvdeck::model::node::Node;
use pvdeck::model::object::Key;
use pvdeck::model::pod::Pod;
use pvdeck::model::volume::Volume;
use pvdeck::ui::state::TableId;
use pvdeck::ui::verdict::Verdicts;
use serde_json::{Value, json};

use super::sample::{self, Console};
use super::screens::{check, picture, text};

const POD: &str = "uid-dev-worker";

fn node(name: &str, version: u64, spec: Value) -> Value {
    json!({"metadata": {"name": name, "uid": format!("uid--{name}"), "resourceVersion":
        version.to_string(), "creationTimestamp": "2026-08-23T09:41:07Z",
        "labels": {"kubernetes.io/hostname": name}}, "spec": spec, "status": {
        "allocatable": {"cpu": "4", "memory": "16Gi", "pods": "110"},
        "conditions": [{"type": "Ready", "status": "True",
            "lastTransitionTime": "2026-11-20T09:41:07Z"}],
        "nodeInfo": {"kubeletVersion": "v1.36.2"}}})
}

fn local(name: &str, version: u64, size: &str, on: &str) -> Value {
    let mut volume = sample::volume(name, version, "Available", size, "local", "Retain", None);
    let spec = volume["spec"].as_object_mut().expect("a spec");
    spec.remove("nfs");
    spec.insert("local".into(), json!({"path": format!("/mnt/{name}")}));
    spec.insert(
        "nodeAffinity".into(),
        json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "In", "values": [on]}]}]}}),
    );
    volume
}

fn worker(version: u64, cpu: &str) -> Value {
    json!({"metadata": {"namespace": "dev", "name": "worker", "uid": POD,
        "resourceVersion": version.to_string(), "creationTimestamp": "2026-11-21T09:40:59Z"},
        "spec": {
            "containers": [{"name": "work", "resources": {"requests": {"cpu": cpu}}}],
            "volumes": [{"name": "cache", "persistentVolumeClaim": {"claimName": "cache"}}]},
        "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled",
            "status": "False", "reason": "Unschedulable", "message": "0/5 nodes are available: \
            1 node(s) had untolerated taint(s), 1 node(s) were unschedulable, 3 node(s) didn't \
            find available persistent volumes to bind."}]}})
}

/// A pod with a delayed claim, and five nodes of which one could take it.
fn opened(console: &mut Console) {
    let taint = json!({"taints": [{"key": "gpu", "value": "only", "effect": "NoSchedule"}]});
    for (name, spec) in [
        ("node-1", json!({})),
        ("node-2", json!({})),
        ("node-3", taint),
        ("node-4", json!({"unschedulable": true})),
        ("node-5", json!({})),
    ] {
        console.apply::<Node>(node(name, 70, spec));
    }
    console.apply::<Volume>(local("local-1", 71, "500Mi", "node-1"));
    console.apply::<Volume>(local("local-2", 72, "2Gi", "node-2"));
    console.apply::<Pod>(worker(73, "1"));
    console.press(":po\r/worker\rs").wait(10_000);
}

fn verdicts(console: &Console) -> &Verdicts {
    &console.data.verdicts
}

#[test]
fn local_disks_of_a_node_and_whether_they_are_free() {
    check("describe_node", |console| {
        opened(console);
        console.press(":no\r/node-2\rd");
    });
    check("around_node", |console| {
        opened(console);
        console.press(":no\r/node-2\rx");
    });
}

#[test]
fn verdict_of_each_node_on_a_pod() {
    check("verdict", |console| {
        opened(console);
        console.press("j");
    });
}

#[test]
fn pod_that_no_node_is_asked_about_says_why() {
    check("verdict_whole", |console| {
        console.press(":po\r/mysql-0\r:schedule\r");
    });
}

/// The worker with this in its `spec`, seen from the scheduler's side.
fn opened_with(console: &mut Console, field: &str, value: Value) {
    opened(console);
    let mut pod = worker(80, "1");
    pod["spec"][field] = value;
    pod["status"]["conditions"] = json!([]);
    console.apply::<Pod>(pod).wait(10_000);
}

#[test]
fn gated_pod_is_asked_of_no_node_and_its_gate_is_named() {
    check("verdict_gated", |console| {
        opened_with(console, "schedulingGates", json!([{"name": "example.com/quota"}]));
    });
}

#[test]
fn claims_that_are_missing_stop_a_pod_and_stand_beside_those_that_do_not() {
    check("verdict_missing", |console| {
        let own = |name: &str, claim: &str| json!({"name": name, "persistentVolumeClaim": {"claimName": claim}});
        let scratch = json!({"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}});
        let volumes = json!([own("cache", "cache"), own("logs", "logs"), scratch]);
        opened_with(console, "volumes", volumes);
        console.press("j");
    });
}

#[test]
fn claim_in_the_way_of_a_pod_is_one_key_away() {
    let mut console = Console::sample(80, 24, "dark");
    console.press(":po\r/mysql-0\rs");
    assert_eq!(console.under_cursor(), "data-mysql-0");
    console.press("w");
    assert!(text(&picture(&console)).contains("claim shop/data-mysql-0"));
    console.press("\x1b\r");
    assert!(text(&picture(&console)).contains("journey"));
    console.press("\x1b\x1b");
    assert_eq!(console.state.table(), Some(TableId::Pods));
}

#[test]
fn pod_of_a_scheduler_that_is_silent_says_whose_turn_it_is() {
    let mut console = Console::sample(80, 24, "dark");
    opened_with(&mut console, "schedulerName", json!("batch"));
    assert!(text(&picture(&console)).contains("next start scheduler batch"));
}

#[test]
fn each_insufficient_resource_is_told_with_its_amounts() {
    let mut console = Console::sample(120, 40, "dark");
    opened(&mut console);
    console.apply::<Pod>(worker(74, "8")).press("/node-2\r");
    let shown = text(&picture(&console));
    assert!(shown.contains("0 of 5 nodes take it"), "{shown}");
    assert!(shown.contains("NodeResourcesFit says `Insufficient cpu`: cpu: 8000m asked for"));
}

#[test]
fn verdicts_are_worked_out_once_for_a_change() {
    let mut console = Console::sample(80, 24, "dark");
    opened(&mut console);
    let first = verdicts(&console).get(POD).expect("worked out").clone();
    assert_eq!(first.taking(), 1);
    console.press("jjk").wait(60_000);
    let same = verdicts(&console).get(POD).expect("still there");
    assert!(Arc::ptr_eq(&first, same), "nothing changed");
    console.apply::<Volume>(local("local-5", 75, "1Gi", "node-5")).wait(10_000);
    let anew = verdicts(&console).get(POD).expect("worked out anew");
    assert_eq!(anew.taking(), 2);
    assert!(text(&picture(&console)).contains("2 of 5 nodes take it"));
}

#[test]
fn pod_that_got_its_node_or_is_gone_is_said_to() {
    let mut console = Console::sample(80, 24, "dark");
    opened(&mut console);
    let mut placed = worker(76, "1");
    placed["spec"]["nodeName"] = "node-2".into();
    console
        .apply::<Claim>(sample::claim("dev", "cache", 77, 8, "Bound", "1Gi", "local", "local-2"));
    console.apply::<Pod>(placed).wait(10_000);
    assert!(text(&picture(&console)).contains("it is on node-2; below is what each node"));
    console.remove::<Pod>(Key::new("dev", "worker"));
    assert!(text(&picture(&console)).contains("it is gone"));
}

#[test]
fn verdict_is_for_pods_and_leads_to_the_node() {
    let mut console = Console::sample(80, 24, "dark");
    console.press(":pvc\rs");
    assert_eq!(console.state.table(), Some(TableId::Claims), "a claim goes to no node");
    opened(&mut console);
    assert_eq!(console.state.table(), Some(TableId::Verdict));
    assert_eq!(console.under_cursor(), "node-2", "what takes it comes first");
    console.press("\r");
    assert_eq!(console.state.table(), None);
    console.press("\x1b\x1b");
    assert_eq!(console.state.table(), Some(TableId::Pods));
}
