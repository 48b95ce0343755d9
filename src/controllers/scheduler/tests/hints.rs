//! Which change helps which refused pod.

use std::sync::Arc;

use serde_json::{Value, json};

use super::given::{
    Given, bound, claim, class, labelled, local, local_class, node, on, pod, reserved, user, with,
};
use crate::controllers::scheduler::change::{Became, Change};
use crate::controllers::scheduler::reason::{Plugin, Plugins};
use crate::model::node::Node;
use crate::model::pod::Pod;
use crate::model::row::Row;
use crate::model::volume::Volume;

fn row<R: Row>(mut object: Value) -> Option<Arc<R>> {
    object["metadata"]["resourceVersion"] = "9".into();
    Some(Arc::new(R::from_object(&object).expect("a row")))
}

fn nodes(before: Option<Value>, after: Option<Value>) -> Change {
    let (before, after) = (before.and_then(row::<Node>), after.and_then(row::<Node>));
    Change::Node(Became { before, after })
}

fn volume(after: Value) -> Change {
    Change::Volume(Became { before: None, after: row::<Volume>(after) })
}

fn left(pod: Value, was_on: bool) -> Change {
    Change::Pod { pod: Became { before: row::<Pod>(pod), after: None }, was_on }
}

fn gone(pod: Value) -> Change {
    left(pod, true)
}

#[track_caller]
fn helps(given: &Given, change: &Change, pod: &Value, by: Plugin) -> bool {
    let pod = Pod::from_object(pod).expect("a pod");
    change.may_help(&given.cache, &pod, Plugins::from_iter([by]))
}

#[test]
fn a_node_helps_by_what_changed_of_it() {
    let given = Given::default();
    let cordoned = || with(node("n"), json!({"spec": {"unschedulable": true}}));
    let tainted =
        || with(node("n"), json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}));
    let larger = with(node("n"), json!({"status": {"allocatable": {"cpu": "9"}}}));
    let plain = pod("p", json!({}));
    let picky = pod("p", json!({"nodeSelector": {"disk": "ssd"}}));
    let ssd = || labelled("n", json!({"disk": "ssd"}));
    for (what, change, pod, by, helped) in [
        ("a new node", nodes(None, Some(node("n"))), &plain, Plugin::VolumeBinding, true),
        (
            "the cordon is lifted",
            nodes(Some(cordoned()), Some(node("n"))),
            &plain,
            Plugin::NodeUnschedulable,
            true,
        ),
        (
            "a cordon",
            nodes(Some(node("n")), Some(cordoned())),
            &plain,
            Plugin::NodeUnschedulable,
            false,
        ),
        (
            "the taint is gone",
            nodes(Some(tainted()), Some(node("n"))),
            &plain,
            Plugin::TaintToleration,
            true,
        ),
        (
            "another taint",
            nodes(Some(tainted()), Some(tainted())),
            &plain,
            Plugin::TaintToleration,
            false,
        ),
        (
            "the label is there",
            nodes(Some(node("n")), Some(ssd())),
            &picky,
            Plugin::NodeAffinity,
            true,
        ),
        (
            "the label is gone",
            nodes(Some(ssd()), Some(node("n"))),
            &picky,
            Plugin::NodeAffinity,
            false,
        ),
        (
            "labels may admit a volume",
            nodes(Some(node("n")), Some(ssd())),
            &plain,
            Plugin::VolumeBinding,
            true,
        ),
        (
            "a heartbeat",
            nodes(Some(node("n")), Some(node("n"))),
            &plain,
            Plugin::VolumeBinding,
            false,
        ),
        (
            "more processor",
            nodes(Some(node("n")), Some(larger)),
            &plain,
            Plugin::NodeResourcesFit,
            true,
        ),
        ("a node less", nodes(Some(node("n")), None), &plain, Plugin::NodeResourcesFit, false),
    ] {
        assert_eq!(helps(&given, &change, pod, by), helped, "{what}");
    }
}

#[test]
fn a_volume_helps_the_pods_whose_claim_may_have_it() {
    let given = Given::of([
        local_class(),
        claim("data", "5Gi", "local"),
        bound("pv-1", claim("old", "1Gi", "local")),
        class("other", "x"),
        claim("else", "5Gi", "other"),
    ]);
    let of = |name: &str| user("p", &[name]);
    let free = || local("pv-1", "9Gi", "n1");
    let binding = Plugin::VolumeBinding;
    for (what, change, pod, helped) in [
        ("it fits", volume(free()), of("data"), true),
        ("it is too small", volume(local("pv-1", "1Gi", "n1")), of("data"), false),
        ("it is of another class", volume(free()), of("else"), false),
        (
            "it is not free yet",
            volume(with(free(), json!({"status": {"phase": "Pending"}}))),
            of("data"),
            false,
        ),
        ("it is another's", volume(reserved("else", "u", free())), of("data"), false),
        ("it is its own", volume(reserved("data", "u", free())), of("data"), true),
        ("its affinity changed", volume(free()), of("old"), true),
    ] {
        assert_eq!(helps(&given, &change, &pod, binding), helped, "{what}");
        assert!(!helps(&given, &change, &pod, Plugin::NodeAffinity), "{what}: nobody asked");
    }
}

#[test]
fn a_pod_that_goes_helps_those_it_stood_in_the_way_of() {
    let given = Given::default();
    let held = || on("n1", user("q", &["data"]));
    let port = || json!({"containers": [{"ports": [{"hostPort": 80}]}]});
    for (what, change, pod, by, helped) in [
        ("its claim", gone(held()), user("p", &["data"]), Plugin::VolumeRestrictions, true),
        ("another claim", gone(held()), user("p", &["more"]), Plugin::VolumeRestrictions, false),
        ("its share", gone(held()), pod("p", json!({})), Plugin::NodeResourcesFit, true),
        ("its port", gone(on("n1", pod("q", port()))), pod("p", port()), Plugin::NodePorts, true),
        ("no port", gone(held()), pod("p", port()), Plugin::NodePorts, false),
        ("its attached volume", gone(held()), user("p", &["x"]), Plugin::NodeVolumeLimits, true),
    ] {
        assert_eq!(helps(&given, &change, &pod, by), helped, "{what}");
    }
    let unplaced = left(user("q", &["data"]), false);
    assert!(!helps(&given, &unplaced, &user("p", &["data"]), Plugin::VolumeRestrictions));
}
