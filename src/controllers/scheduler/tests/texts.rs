//! The texts of section 14, whole.

use serde_json::{Value, json};

use super::given::{Given, claim, class, local, local_class, node, on, pod, user, with};
use crate::controllers::scheduler::decide::{Verdict, on_every_node};
use crate::controllers::scheduler::refusal::cut_for_event;
use crate::model::pod::Pod;
use crate::model::row::Row;

#[track_caller]
fn text(given: &Given, pod: &Value) -> String {
    match given.decide(pod) {
        Verdict::Refuse(refusal) => refusal.to_string(),
        other => panic!("{other:?}"),
    }
}

fn tainted(name: &str) -> Value {
    with(node(name), json!({"spec": {"taints": [{"key": "k", "effect": "NoExecute"}]}}))
}

#[test]
fn reasons_are_counted_and_sorted_as_texts() {
    let data = [local_class(), claim("data", "1Gi", "local")];
    let given = Given::of([node("n1"), tainted("n2"), tainted("n3")].into_iter().chain(data));
    assert_eq!(
        text(&given, &user("p", &["data"])),
        "0/3 nodes are available: 1 node(s) didn't find available persistent volumes to bind, 2 \
         node(s) had untolerated taint(s). no new claims to deallocate, preemption: 0/3 nodes are \
         available: 3 Preemption is not helpful for scheduling."
    );
}

#[test]
fn ten_stands_before_two() {
    let small =
        |n: usize| with(node(&format!("s{n}")), json!({"status": {"allocatable": {"cpu": "1"}}}));
    let cordoned = |name: &str| with(node(name), json!({"spec": {"unschedulable": true}}));
    let nodes = (0..10).map(small).chain([cordoned("c1"), cordoned("c2")]);
    let asks = json!({"containers": [{"resources": {"requests": {"cpu": "2"}}}]});
    assert_eq!(
        text(&Given::of(nodes), &pod("p", asks)),
        "0/12 nodes are available: 10 Insufficient cpu, 2 node(s) were unschedulable. no new claims \
         to deallocate, preemption: 0/12 nodes are available: 12 Preemption is not helpful for \
         scheduling."
    );
}

#[test]
fn preemption_says_where_it_could_not_help() {
    let full =
        on("n1", pod("a", json!({"containers": [{"resources": {"requests": {"cpu": "4"}}}]})));
    let elsewhere = local("pv", "5Gi", "n9");
    let objects = [full, elsewhere, super::given::bound("pv", claim("data", "1Gi", "local"))];
    let given = Given::two_nodes(objects);
    let asks = json!({"containers": [{"resources": {"requests": {"cpu": "1"}}}]});
    let both = with(user("p", &["data"]), json!({"spec": asks}));
    assert_eq!(
        text(&given, &both),
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) didn't match PersistentVolume's node \
         affinity. no new claims to deallocate, preemption: 0/2 nodes are available: 1 No preemption \
         victims found for incoming pod, 1 Preemption is not helpful for scheduling."
    );
    let never = with(both, json!({"spec": {"preemptionPolicy": "Never"}}));
    assert!(text(&given, &never).ends_with(
        "affinity. no new claims to deallocate, preemption: not eligible due to \
         preemptionPolicy=Never."
    ));
}

#[test]
fn a_pod_of_higher_priority_would_have_victims() {
    let spec = |cpu: &str, priority: i64| {
        json!({"priority": priority,
        "containers": [{"resources": {"requests": {"cpu": cpu}}}]})
    };
    let given = Given::of([node("n1"), on("n1", pod("a", spec("4", 0)))]);
    assert_eq!(
        text(&given, &pod("p", spec("1", 10))),
        "0/1 nodes are available: 1 Insufficient cpu."
    );
    let urgent = Pod::from_object(&pod("p", spec("1", 10))).expect("a pod");
    let answers = on_every_node(&given.cache, &urgent).expect("an answer");
    let in_the_way: Vec<&str> =
        answers[0].in_the_way.iter().map(|other| &*other.meta.key.name).collect();
    assert_eq!(in_the_way, ["a"]);
    let given = Given::of([
        node("n1"),
        on("n1", pod("a", spec("3", 20))),
        on("n1", pod("b", spec("1", 0))),
    ]);
    assert_eq!(
        text(&given, &pod("p", spec("2", 10))),
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 \
         nodes are available: 1 Insufficient cpu."
    );
}

#[test]
fn without_nodes_or_before_any_is_looked_at() {
    let none = Given::of([]);
    assert_eq!(text(&none, &pod("p", json!({}))), "no nodes available to schedule pods");
    let given = Given::of([node("a"), node("b"), node("c"), class("x", "y")]);
    assert_eq!(
        text(&given, &user("p", &["data"])),
        "0/3 nodes are available: persistentvolumeclaim \"data\" not found. not found"
    );
}

#[test]
fn an_event_holds_1024_bytes_and_says_that_it_was_cut() {
    let short = "x".repeat(1024);
    assert_eq!(cut_for_event(&short), short);
    let cut = cut_for_event(&"ä".repeat(600));
    assert!(cut.len() <= 1024 && cut.ends_with("ä ..."), "{}", cut.len());
}
