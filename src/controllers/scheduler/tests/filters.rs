//! The filters that are not about volumes, and scoring.

use serde_json::{Value, json};

use super::given::{Given, check, labelled, node, on, pod, with};

const CORDONED: &str = "1 node(s) were unschedulable.";

fn affinity(terms: Value) -> Value {
    pod(
        "p",
        json!({"affinity": {"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}}),
    )
}

fn asks(requests: Value) -> Value {
    json!({"containers": [{"resources": {"requests": requests}}]})
}

#[test]
fn nodes_refuse_by_cordon_taint_selector_and_affinity() {
    let cordoned = with(node("n1"), json!({"spec": {"unschedulable": true}}));
    let taint = json!({"key": "k", "value": "v", "effect": "NoSchedule"});
    let tainted = with(node("n1"), json!({"spec": {"taints": [taint]}}));
    let one = |node: Value, spec: Value| Given::of([node]).answer(&pod("p", spec));
    let zones = || {
        let a = labelled("n1", json!({"zone": "a", "rank": "3"}));
        Given::of([a, labelled("n2", json!({"zone": "b"}))])
    };
    let tolerates = json!({"tolerations": [{"key": "node.kubernetes.io/unschedulable",
        "operator": "Exists", "effect": "NoSchedule"}]});
    let zone = |values: Value| json!([{"matchExpressions": [{"key": "zone", "operator": "In", "values": values}]}]);
    let named = |name: &str| {
        json!([{"matchFields": [
        {"key": "metadata.name", "operator": "In", "values": [name]}]}])
    };
    let rank = json!([{"matchExpressions": [{"key": "rank", "operator": "Gt", "values": ["2"]}]}]);
    let nowhere = "2 node(s) didn't match Pod's node affinity/selector.";
    let all = |text: &str| format!("0/1 nodes are available: {text}");
    check(&[
        ("a cordon", one(cordoned.clone(), json!({})), &all(CORDONED)),
        ("a cordon tolerated", one(cordoned, tolerates), "n1"),
        ("a taint", one(tainted.clone(), json!({})), &all("1 node(s) had untolerated taint(s).")),
        ("a taint tolerated", one(tainted, json!({"tolerations": [{"operator": "Exists"}]})), "n1"),
        ("a selector", zones().answer(&pod("p", json!({"nodeSelector": {"zone": "b"}}))), "n2"),
        ("no such label", zones().answer(&pod("p", json!({"nodeSelector": {"x": "b"}}))), nowhere),
        ("an affinity", zones().answer(&affinity(zone(json!(["b", "c"])))), "n2"),
        ("greater than", zones().answer(&affinity(rank)), "n1"),
        ("an empty term", zones().answer(&affinity(json!([{}]))), nowhere),
        ("a name", zones().answer(&affinity(named("n2"))), "n2"),
        (
            "a name that is not there",
            zones().answer(&affinity(named("n9"))),
            "2 node(s) didn't satisfy plugin(s) [NodeAffinity].",
        ),
    ]);
}

#[test]
fn resources_that_are_short_are_all_named() {
    let big = json!({"cpu": "3", "memory": "7Gi"});
    let given = Given::of([node("n1"), on("n1", pod("a", asks(big)))]);
    let answer = |spec: Value| given.answer(&pod("p", spec));
    let all = |text: &str| format!("0/1 nodes are available: {text}");
    check(&[
        ("fits", answer(asks(json!({"cpu": "1", "memory": "1Gi"}))), "n1"),
        ("cpu", answer(asks(json!({"cpu": "1100m"}))), &all("1 Insufficient cpu.")),
        (
            "both",
            answer(asks(json!({"cpu": "2", "memory": "2Gi"}))),
            &all("1 Insufficient cpu, 1 Insufficient memory."),
        ),
        (
            "another resource",
            answer(asks(json!({"example.com/gpu": "1"}))),
            &all("1 Insufficient example.com/gpu."),
        ),
    ]);
    let full = with(node("n1"), json!({"status": {"allocatable": {"pods": "1"}}}));
    let full = Given::of([full, on("n1", pod("a", json!({})))]);
    assert_eq!(full.answer(&pod("p", json!({}))), all("1 Too many pods."));
}

#[test]
fn a_pod_that_has_ended_holds_nothing() {
    let ended = with(
        on("n1", pod("a", asks(json!({"cpu": "4"})))),
        json!({"status": {"phase": "Succeeded"}}),
    );
    let given = Given::of([node("n1"), ended]);
    assert_eq!(given.answer(&pod("p", asks(json!({"cpu": "4"})))), "n1");
}

#[test]
fn ports_and_inline_disks_are_had_once_on_a_node() {
    let port = json!({"containers": [{"ports": [{"hostPort": 80}]}]});
    let disk = json!({"volumes": [{"name": "v", "gcePersistentDisk": {"pdName": "disk"}}]});
    for (spec, text) in [
        (port, "1 node(s) didn't have free ports for the requested pod ports."),
        (disk, "1 node(s) had no available disk."),
    ] {
        let given = Given::of([node("n1"), on("n1", pod("a", spec.clone()))]);
        assert_eq!(given.answer(&pod("p", spec)), format!("0/1 nodes are available: {text}"));
    }
}

fn near(kind: &str, app: &str, key: &str) -> Value {
    json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key}]}}})
}

fn app(name: &str, app: &str, spec: Value) -> Value {
    with(pod(name, spec), json!({"metadata": {"labels": {"app": app}}}))
}

#[test]
fn pods_are_near_or_apart_as_they_ask() {
    let host = "kubernetes.io/hostname";
    let there = || on("n1", app("a", "web", json!({})));
    let given = Given::two_nodes([there()]);
    let shy = on("n1", app("s", "db", near("podAntiAffinity", "web", host)));
    let together = |app_name: &str| app("p", app_name, near("podAffinity", "web", host));
    let nobody = "2 node(s) didn't match pod affinity rules.";
    let apart_everywhere = Given::two_nodes([there(), on("n2", app("b", "web", json!({})))]);
    check(&[
        ("near another", given.answer(&together("db")), "n1"),
        ("near nobody", Given::two_nodes([]).answer(&together("db")), nobody),
        ("the first of its kind", Given::two_nodes([]).answer(&together("web")), "n1"),
        ("apart", given.answer(&app("p", "web", near("podAntiAffinity", "web", host))), "n2"),
        (
            "apart, and they are everywhere",
            apart_everywhere.answer(&app("p", "x", near("podAntiAffinity", "web", host))),
            "2 node(s) didn't match pod anti-affinity rules.",
        ),
        (
            "the other wants to be alone",
            Given::two_nodes([shy.clone()]).answer(&app("p", "web", json!({}))),
            "n2",
        ),
        (
            "it alone on the only node",
            Given::of([node("n1"), shy]).answer(&app("p", "web", json!({}))),
            "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules.",
        ),
    ]);
}

#[test]
fn constraints_spread_pods_over_domains() {
    let constraint = |extra: Value| {
        let base = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "web"}}});
        app("p", "web", json!({"topologySpreadConstraints": [with(base, extra)]}))
    };
    let zones = [labelled("n1", json!({"zone": "a"})), labelled("n2", json!({"zone": "b"}))];
    let given = |pods: &[(&str, &str)]| {
        let pods = pods.iter().map(|(name, node)| on(node, app(name, "web", json!({}))));
        Given::of(zones.iter().cloned().chain(pods.collect::<Vec<_>>()))
    };
    let full = "1 node(s) didn't match Pod's node affinity/selector, \
                1 node(s) didn't match pod topology spread constraints.";
    let only_n1 = with(
        constraint(json!({"nodeAffinityPolicy": "Ignore"})),
        json!({"spec": {"nodeSelector": {"zone": "a"}}}),
    );
    check(&[
        ("the emptier zone", given(&[("a", "n1")]).answer(&constraint(json!({}))), "n2"),
        (
            "the skew allows it",
            given(&[("a", "n1")]).answer(&constraint(json!({"maxSkew": 2}))),
            "n1",
        ),
        ("no other node may be had", given(&[("a", "n1")]).answer(&only_n1), full),
        (
            "a label is missing",
            Given::two_nodes([]).answer(&constraint(json!({}))),
            "2 node(s) didn't match pod topology spread constraints (missing required label).",
        ),
        (
            "fewer domains than asked for",
            given(&[("a", "n1"), ("b", "n2")]).answer(&constraint(json!({"minDomains": 3}))),
            "2 node(s) didn't match pod topology spread constraints.",
        ),
    ]);
}

#[test]
fn of_nodes_that_take_a_pod_the_emptier_one_is_chosen_and_ties_go_by_name() {
    let web = |name: &str| {
        let owner = json!([{"kind": "StatefulSet", "name": "web", "uid": "u", "controller": true}]);
        with(pod(name, json!({})), json!({"metadata": {"ownerReferences": owner}}))
    };
    let plain = pod("p", json!({}));
    let busy = on("n1", pod("a", asks(json!({"cpu": "2"}))));
    let disliked = json!({"key": "k", "effect": "PreferNoSchedule"});
    let disliked = with(node("n1"), json!({"spec": {"taints": [disliked]}}));
    let preferred = json!({"affinity": {"nodeAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference":
            {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}}]}}});
    let ssd = labelled("n2", json!({"disk": "ssd"}));
    check(&[
        ("a tie", Given::two_nodes([]).answer(&plain), "n1"),
        ("one is busy", Given::two_nodes([busy]).answer(&plain), "n2"),
        (
            "one has a brother",
            Given::two_nodes([on("n1", web("web-0"))]).answer(&web("web-1")),
            "n2",
        ),
        ("one is disliked", Given::of([disliked, node("n2")]).answer(&plain), "n2"),
        ("one is preferred", Given::of([node("n1"), ssd]).answer(&pod("p", preferred)), "n2"),
    ]);
}

#[test]
fn a_large_cluster_is_not_looked_at_whole() {
    let nodes = (0..250).map(|n| node(&format!("n{n:03}")));
    let given = Given::of(nodes);
    let placement = given.placed(&pod("p", json!({})));
    assert!(placement.because.to_string().starts_with("120 of 120 nodes take it"));
}
