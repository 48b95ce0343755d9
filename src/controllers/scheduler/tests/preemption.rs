//! Who makes room for whom.

use serde_json::{Value, json};

use super::given::{Given, bound, check, claim, labelled, local, node, on, pod, user, with};
use crate::controllers::scheduler::decide::Verdict;
use crate::controllers::scheduler::preemption::Preemption;

/// A pod of this priority that asks for so many of a node's four processors.
fn asks(name: &str, priority: i64, cpu: &str) -> Value {
    let containers = json!([{"resources": {"requests": {"cpu": cpu}}}]);
    pod(name, json!({"priority": priority, "containers": containers}))
}

/// The same on a node, running since this second of a minute.
fn runs(node: &str, since: u32, pod: Value) -> Value {
    let started = format!("2026-01-01T00:00:{since:02}Z");
    on(node, with(pod, json!({"status": {"startTime": started}})))
}

/// In a line: the node and who goes from it, or what preemption says.
fn answer(given: &Given, pod: &Value) -> String {
    let refusal = match given.decide(pod) {
        Verdict::Refuse(refusal) => refusal,
        Verdict::Place(placement) => return format!("placed on {}", placement.node),
        Verdict::Fail(error) => return error,
    };
    match refusal.preemption {
        None => "not asked".to_owned(),
        Some(Preemption::Never) => "never".to_owned(),
        Some(Preemption::UnderWay) => "under way".to_owned(),
        Some(Preemption::NotHelpful(lines)) => lines.join("; "),
        Some(Preemption::Victims(victims)) => {
            let names = victims.pods.iter().map(|pod| format!(" {}", pod.meta.key.name));
            format!("{}:{}", victims.node, names.collect::<String>())
        }
    }
}

#[test]
fn on_one_node_the_least_important_go_and_as_few_as_will_do() {
    let urgent = asks("urgent", 10, "2");
    let one = |pods: Vec<Value>| Given::of([node("n1")].into_iter().chain(pods));
    check(&[
        (
            "of equals the younger goes",
            answer(
                &one(vec![
                    runs("n1", 2, asks("young", 0, "2")),
                    runs("n1", 1, asks("old", 0, "2")),
                ]),
                &urgent,
            ),
            "n1: young",
        ),
        (
            "the lower goes, however old",
            answer(
                &one(vec![runs("n1", 1, asks("low", 0, "2")), runs("n1", 2, asks("mid", 5, "2"))]),
                &urgent,
            ),
            "n1: low",
        ),
        (
            "one large pod rather than itself and a small one",
            answer(
                &one(vec![
                    runs("n1", 1, asks("small", 0, "1")),
                    runs("n1", 2, asks("large", 0, "3")),
                ]),
                &urgent,
            ),
            "n1: large",
        ),
        (
            "equals are not touched",
            answer(&one(vec![runs("n1", 1, asks("equal", 10, "4"))]), &urgent),
            "No preemption victims found for incoming pod",
        ),
        (
            "what is left would still be too much",
            answer(
                &one(vec![
                    runs("n1", 1, asks("low", 0, "1")),
                    runs("n1", 1, asks("high", 20, "3")),
                ]),
                &urgent,
            ),
            "Insufficient cpu",
        ),
        (
            "a policy forbids it",
            answer(
                &one(vec![runs("n1", 1, asks("low", 0, "4"))]),
                &with(urgent.clone(), json!({"spec": {"preemptionPolicy": "Never"}})),
            ),
            "never",
        ),
    ]);
}

#[test]
fn of_several_nodes_the_one_where_least_is_lost() {
    let urgent = asks("urgent", 10, "4");
    let two = |left: Vec<Value>, right: Vec<Value>| {
        let left = left.into_iter().map(|pod| runs("n1", 1, pod));
        let right = right.into_iter().map(|pod| runs("n2", 2, pod));
        Given::two_nodes(left.chain(right))
    };
    check(&[
        (
            "the lower highest priority",
            answer(
                &two(
                    vec![asks("a", 5, "4")],
                    vec![asks("b", 4, "1"), asks("c", 4, "1"), asks("d", 4, "1")],
                ),
                &urgent,
            ),
            "n2: b c d",
        ),
        (
            "then the lower sum",
            answer(
                &two(vec![asks("a", 5, "2"), asks("b", 5, "2")], vec![asks("c", 5, "4")]),
                &urgent,
            ),
            "n2: c",
        ),
        (
            "then the younger",
            answer(&two(vec![asks("a", 5, "4")], vec![asks("b", 5, "4")]), &urgent),
            "n2: b",
        ),
    ]);
    let equal =
        Given::two_nodes([runs("n2", 1, asks("a", 5, "4")), runs("n1", 1, asks("b", 5, "4"))]);
    assert_eq!(answer(&equal, &urgent), "n1: b", "the first by name");
}

#[test]
fn nobody_goes_where_the_pods_volumes_are_not() {
    let low = |node: &str| runs(node, 1, asks(&format!("low-{node}"), 0, "4"));
    let elsewhere = [local("pv", "5Gi", "n2"), bound("pv", claim("data", "1Gi", "local"))];
    let given = Given::two_nodes([low("n1"), low("n2")].into_iter().chain(elsewhere));
    let urgent = with(user("urgent", &["data"]), asks("urgent", 10, "1"));
    assert_eq!(answer(&given, &urgent), "n2: low-n2");
}

#[test]
fn a_claim_for_one_pod_alone_is_freed_by_its_user() {
    let alone = json!({"spec": {"accessModes": ["ReadWriteOncePod"]}});
    let data = with(bound("pv", claim("data", "1Gi", "local")), alone);
    let holder = on("n1", with(user("holder", &["data"]), json!({"spec": {"priority": 0}})));
    let urgent = with(user("urgent", &["data"]), json!({"spec": {"priority": 10}}));
    let with_volume_on = |there: &str| {
        Given::of([node("n1"), local("pv", "5Gi", there), data.clone(), holder.clone()])
    };
    assert_eq!(answer(&with_volume_on("n1"), &urgent), "n1: holder");
    assert_eq!(
        answer(&with_volume_on("n9"), &urgent),
        "node(s) didn't match PersistentVolume's node affinity",
        "its going would not help"
    );
}

#[test]
fn a_pod_that_is_wanted_near_is_not_taken() {
    let near = json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "db"}}}]}}});
    let friend = with(asks("friend", 0, "2"), json!({"metadata": {"labels": {"app": "db"}}}));
    let given = Given::of([
        labelled("n1", json!({"zone": "a"})),
        runs("n1", 2, friend),
        runs("n1", 1, asks("other", 0, "2")),
    ]);
    let urgent = with(asks("urgent", 10, "2"), json!({"spec": near}));
    assert_eq!(answer(&given, &urgent), "n1: other");
}

#[test]
fn room_that_is_made_for_one_is_not_given_to_another() {
    let nominated = |priority: i64| {
        with(asks("waits", priority, "4"), json!({"status": {"nominatedNodeName": "n1"}}))
    };
    let given = |priority: i64| Given::of([node("n1"), nominated(priority)]);
    check(&[
        (
            "of higher priority",
            answer(&given(10), &asks("late", 0, "1")),
            "No preemption victims found for incoming pod",
        ),
        (
            "of the same",
            answer(&given(0), &asks("late", 0, "1")),
            "No preemption victims found for incoming pod",
        ),
        ("of lower", answer(&given(0), &asks("late", 5, "1")), "placed on n1"),
        ("itself", answer(&given(0), &nominated(0)), "placed on n1"),
    ]);
}

#[test]
fn while_its_victims_go_a_pod_has_no_more_of_them() {
    let going = json!({
        "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"},
        "status": {"conditions": [{"type": "DisruptionTarget", "status": "True",
            "reason": "PreemptionByScheduler"}]},
    });
    let victim = with(runs("n1", 1, asks("victim", 0, "4")), going);
    let urgent =
        |node: &str| with(asks("urgent", 10, "4"), json!({"status": {"nominatedNodeName": node}}));
    let given = Given::two_nodes([victim, runs("n2", 1, asks("other", 0, "4"))]);
    assert_eq!(answer(&given, &urgent("n1")), "under way");
    let Verdict::Refuse(refusal) = given.decide(&urgent("n1")) else { panic!("refused") };
    assert!(refusal.to_string().ends_with(
        "no new claims to deallocate, preemption: not eligible due to a terminating pod on the \
         nominated node."
    ));
    assert_eq!(refusal.nominated("n1"), "n1");
    // On a node that cannot take it any more nothing is to be waited for.
    let cordoned = with(node("n1"), json!({"spec": {"unschedulable": true}}));
    let mut given = given;
    given.put(cordoned);
    assert_eq!(answer(&given, &urgent("n1")), "n2: other");
}
