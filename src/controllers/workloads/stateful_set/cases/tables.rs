//! One situation after the other: what is written, and what is waited for.

use serde_json::{Value, json};

use super::super::because::Because;
use super::super::decide::{Memory, Next};
use super::super::set::parse_pod_name;
use super::World;

/// A set that runs, all pods ready.
fn running(spec: Value) -> World {
    let mut world = World::new(spec);
    assert_eq!(world.settle(), Because::Complete);
    world
}

fn acts(world: &mut World) -> Vec<String> {
    let (log, _) = world.pass();
    log.into_iter().filter(|line| !line.ends_with("status")).collect()
}

#[test]
fn names_are_taken_apart_at_the_last_dash() {
    for (name, expected) in [
        ("web-0", Some(("web", 0))),
        ("my-web-12", Some(("my-web", 12))),
        ("web", None),
        ("web-", None),
        ("web-x", None),
        ("web--1", Some(("web-", 1))),
        ("web-99999999999", None),
    ] {
        assert_eq!(parse_pod_name(name), expected, "{name}");
    }
}

/// Check 6: a broken pod blocks scaling down, but not its own going.
#[test]
fn broken_pod_blocks_all_but_itself() {
    let scaled = |broken: &str| {
        let mut world = running(json!({"replicas": 3}));
        world.run(broken, false);
        world.set["spec"]["replicas"] = 1.into();
        world
    };
    let mut low = scaled("web-0");
    assert_eq!(acts(&mut low), [""; 0]);
    assert_eq!(low.pass().1, Because::PodNotReady { pod: "web-0".into() });
    let mut middle = scaled("web-1");
    assert_eq!(acts(&mut middle), ["DELETE web-2 "]);
    middle.finish_deletions();
    assert_eq!(acts(&mut middle), ["DELETE web-1 "], "it does not block itself");
    let mut high = scaled("web-2");
    assert_eq!(acts(&mut high), ["DELETE web-2 "]);
}

#[test]
fn pods_too_many_go_one_at_a_time() {
    let mut world = running(json!({"replicas": 3}));
    world.set["spec"]["replicas"] = 1.into();
    assert_eq!(acts(&mut world), ["DELETE web-2 "]);
    assert_eq!(world.pass().1, Because::PodTerminating { pod: "web-2".into() });
    world.finish_deletions();
    assert_eq!(acts(&mut world), ["DELETE web-1 "]);
    let mut parallel = running(json!({"replicas": 3, "podManagementPolicy": "Parallel"}));
    parallel.set["spec"]["replicas"] = 1.into();
    assert_eq!(acts(&mut parallel), ["DELETE web-2 ", "DELETE web-1 "]);
}

/// Check 4.
#[test]
fn claim_that_is_being_deleted_keeps_its_pod_away() {
    let mut world = World::new(json!({"replicas": 1}));
    world.claims.insert(
        "data-web-0".into(),
        json!({"metadata": {"name": "data-web-0", "namespace": "shop", "uid": "c",
            "deletionTimestamp": "2026-01-01T00:00:00Z"}}),
    );
    let acts = acts(&mut world);
    assert_eq!(acts.last().expect("one"), "give up web-0: pvc data-web-0 is being deleted");
    assert!(world.pods.is_empty());
}

/// Check 11: only where claims go when scaled away.
#[test]
fn claim_of_an_earlier_pod_is_waited_for_until_it_is_collected() {
    let stale = json!({"metadata": {"name": "data-web-0", "namespace": "shop", "uid": "c",
        "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "web-0",
            "uid": "yesterday", "controller": true}]}});
    let policy = |scaled: &str| json!({"replicas": 1, "persistentVolumeClaimRetentionPolicy": {"whenScaled": scaled}});
    let mut deleting = World::new(policy("Delete"));
    deleting.claims.insert("data-web-0".into(), stale.clone());
    let because = deleting.pass().1;
    let waits = Because::StaleClaim { claim: "data-web-0".into(), pod: "web-0".into() };
    assert_eq!(because, waits);
    let mut retaining = World::new(policy("Retain"));
    retaining.claims.insert("data-web-0".into(), stale);
    retaining.pass();
    assert!(retaining.pods.contains_key("web-0"));
}

/// The claims are tried one by one, then the pod is given up.
#[test]
fn refused_claim_does_not_keep_the_others_from_being_tried() {
    let two =
        json!([{"metadata": {"name": "a"}, "spec": {}}, {"metadata": {"name": "b"}, "spec": {}}]);
    let mut world = World::new(json!({"replicas": 1, "volumeClaimTemplates": two}));
    world.pass();
    world.pods.clear();
    world.claims.clear();
    let mut memory = Memory::default();
    memory.refused_claims.insert("a-web-0".into(), "exceeded quota".into());
    let Next::Act(act) = world.next(&memory) else { panic!("the other claim") };
    assert_eq!(&*act.write.object.key.name, "b-web-0");
    world.apply(&act, &mut memory);
    let Next::GiveUp { pod, error, told } = world.next(&memory) else { panic!("no pod") };
    assert_eq!((&*pod, &*error), ("web-0", "failed to create PVC a-web-0: exceeded quota"));
    assert_eq!(
        told[0].message,
        "Create Pod web-0 in StatefulSet web failed error: failed to create PVC a-web-0: exceeded \
         quota"
    );
}

#[test]
fn changed_labels_of_a_pod_are_put_right() {
    let mut world = running(json!({"replicas": 1}));
    let label = "statefulset.kubernetes.io/pod-name";
    world.pods.get_mut("web-0").expect("it runs")["metadata"]["labels"][label] = "x".into();
    assert_eq!(acts(&mut world), ["PATCH web-0 "]);
    assert_eq!(world.pods["web-0"]["metadata"]["labels"][label], "web-0");
}

/// Check 9: a policy changed later reaches all claims.
#[test]
fn changed_policy_reaches_the_claims_of_running_pods() {
    let mut world = running(json!({"replicas": 2}));
    world.set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] = "Delete".into();
    assert_eq!(acts(&mut world), ["PATCH data-web-0 ", "PATCH data-web-1 "]);
    let owner = |world: &World| world.claims["data-web-1"]["metadata"]["ownerReferences"].clone();
    assert_eq!(owner(&world)[0]["uid"], "set");
    world.set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] = "Retain".into();
    world.pass();
    assert_eq!(owner(&world), json!([]));
}

#[test]
fn old_revisions_beyond_the_history_go() {
    let mut world = running(json!({"replicas": 1, "revisionHistoryLimit": 1}));
    for image in ["a", "b", "c"] {
        world.set["spec"]["template"]["spec"]["image"] = image.into();
        world.settle();
    }
    assert_eq!(world.revisions.len(), 2, "the present one, and one to go back to");
}

#[test]
fn set_that_is_going_is_left_to_the_collector() {
    let mut world = running(json!({"replicas": 2}));
    world.set["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    world.pods.remove("web-0");
    assert_eq!(acts(&mut world), [""; 0]);
    assert_eq!(world.pass().1, Because::SetDeleted);
}
