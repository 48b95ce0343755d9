//! Pods are placed with their volumes: the scheduler and the volume controller
//! together, through the whole path, on a clock moved by hand.

use std::time::Duration;

use http::Request;
use pvdeck::cluster::write_path::perform;
use pvdeck::model::kind::{self, Kind};
use pvdeck::model::object::{Key, ObjectRef};
use pvdeck::model::write::{Change, Reason, Write};
use serde_json::{Value, json};

use crate::world::World;

fn reference(kind: &'static Kind, name: &str) -> ObjectRef {
    let key = if kind.namespaced { Key::new("default", name) } else { Key::cluster(name) };
    ObjectRef::new(kind, key)
}

async fn write(world: &World, kind: &'static Kind, name: &str, change: Change) {
    let object = reference(kind, name);
    let write = Write {
        on_behalf_of: object.clone(),
        object,
        subresource: None,
        change,
        version: None,
        reason: Reason::new("user", "a test"),
    };
    perform(&world.user, &write).await.expect("written");
}

async fn create(world: &World, kind: &'static Kind, mut object: Value) {
    object["apiVersion"] = kind.api_version().into();
    object["kind"] = kind.kind.into();
    let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
    write(world, kind, &name, Change::Create(object)).await;
}

async fn get(world: &World, kind: &'static Kind, name: &str) -> Value {
    let request = Request::get(reference(kind, name).path()).body(Vec::new()).expect("a request");
    world.user.request(request).await.expect("it is there")
}

async fn class(world: &World, name: &str, provisioner: &str) {
    let class = json!({"metadata": {"name": name}, "provisioner": provisioner,
        "volumeBindingMode": "WaitForFirstConsumer"});
    create(world, kind::STORAGE_CLASS, class).await;
}

async fn local(world: &World, name: &str, node: &str) {
    let expression = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node]});
    let affinity = json!({"nodeSelectorTerms": [{"matchExpressions": [expression]}]});
    let volume = json!({
        "metadata": {"name": name},
        "spec": {"capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"],
            "storageClassName": "local", "local": {"path": format!("/disks/{name}")},
            "nodeAffinity": {"required": affinity}},
    });
    create(world, kind::PERSISTENT_VOLUME, volume).await;
}

async fn claim(world: &World, name: &str, class: &str) {
    let claim = json!({
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "resources": {"requests": {"storage": "1Gi"}}},
    });
    create(world, kind::PERSISTENT_VOLUME_CLAIM, claim).await;
}

async fn pod(world: &World, name: &str, claim: &str, extra: Value) {
    let mut spec = json!({
        "containers": [{"name": "main", "image": "busybox:1.35"}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}],
    });
    let (spec_map, extra) = (spec.as_object_mut(), extra.as_object().cloned());
    spec_map.expect("a map").extend(extra.unwrap_or_default());
    let pod = json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec});
    create(world, kind::POD, pod).await;
}

/// Why a pod is on no node: reason and message of its condition.
async fn why_not(world: &World, name: &str) -> (String, String) {
    let pod = get(world, kind::POD, name).await;
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let scheduled = conditions.iter().find(|c| c["type"] == "PodScheduled").cloned();
    let scheduled = scheduled.unwrap_or_default();
    let text = |field: &str| scheduled[field].as_str().unwrap_or_default().to_owned();
    (text("reason"), text("message"))
}

async fn node_of(world: &World, name: &str) -> String {
    let pod = get(world, kind::POD, name).await;
    pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned()
}

/// Lets time pass until nothing is left to do.
async fn calm(world: &World) {
    assert!(world.clock.settle(2000).await, "it settles");
}

const NO_VOLUME: &str = "0/2 nodes are available: 2 node(s) didn't find available persistent \
                         volumes to bind. no new claims to deallocate, preemption: 0/2 nodes are \
                         available: 2 Preemption is not helpful for scheduling.";

#[test]
fn a_claim_is_bound_to_the_volume_of_the_node_that_its_pod_may_go_to() {
    World::run(async |world| {
        class(&world, "local", "kubernetes.io/no-provisioner").await;
        local(&world, "pv-1", "node-1").await;
        local(&world, "pv-2", "node-2").await;
        claim(&world, "data", "local").await;
        calm(&world).await;
        let phase =
            get(&world, kind::PERSISTENT_VOLUME_CLAIM, "data").await["status"]["phase"].clone();
        assert_eq!(phase, "Pending", "on purpose");
        let only = json!({"nodeSelector": {"kubernetes.io/hostname": "node-2"}});
        pod(&world, "web", "data", only).await;
        calm(&world).await;
        let claim = get(&world, kind::PERSISTENT_VOLUME_CLAIM, "data").await;
        assert_eq!(claim["spec"]["volumeName"], "pv-2");
        assert_eq!(node_of(&world, "web").await, "node-2");
        let pod = get(&world, kind::POD, "web").await;
        assert_eq!(pod["status"]["nominatedNodeName"], Value::Null);
    });
}

#[test]
fn of_two_pods_that_race_for_one_volume_one_gets_it_and_the_other_is_told_why() {
    World::run(async |world| {
        class(&world, "local", "kubernetes.io/no-provisioner").await;
        local(&world, "pv-1", "node-1").await;
        calm(&world).await;
        for name in ["a", "b"] {
            claim(&world, name, "local").await;
        }
        world.gate().shut();
        for name in ["a", "b"] {
            pod(&world, name, name, json!({})).await;
        }
        world.clock.idle().await;
        let held: Vec<String> = world
            .gate()
            .held()
            .iter()
            .filter(|held| held.actor.0 == "kube-scheduler")
            .map(|held| held.write.reason.rule.clone())
            .collect();
        assert_eq!(held, ["nominate", "refuse"], "decided before anything is written");
        world.gate().open();
        calm(&world).await;
        assert_eq!(node_of(&world, "a").await, "node-1");
        assert_eq!(why_not(&world, "b").await, ("Unschedulable".into(), NO_VOLUME.into()));
        local(&world, "pv-2", "node-2").await;
        calm(&world).await;
        assert_eq!(node_of(&world, "b").await, "node-2", "the new volume woke it");
    });
}

#[test]
fn a_pod_that_goes_before_it_is_bound_leaves_its_volume_to_the_next() {
    World::run(async |world| {
        class(&world, "local", "kubernetes.io/no-provisioner").await;
        local(&world, "pv-1", "node-1").await;
        calm(&world).await;
        for name in ["a", "b"] {
            claim(&world, name, "local").await;
        }
        world.gate().shut();
        for name in ["a", "b"] {
            pod(&world, name, name, json!({})).await;
        }
        world.clock.idle().await;
        write(&world, kind::POD, "a", Change::Delete(json!({}))).await;
        world.clock.idle().await;
        let held = world.gate().held();
        let held = held.iter().filter(|held| held.write.on_behalf_of == reference(kind::POD, "a"));
        assert_eq!(held.count(), 0, "what was held for it is withdrawn");
        world.gate().open();
        calm(&world).await;
        assert_eq!(node_of(&world, "b").await, "node-1");
    });
}

#[test]
fn a_volume_that_vanishes_between_find_and_bind_is_found_missing_and_another_is_taken() {
    World::run(async |world| {
        class(&world, "local", "kubernetes.io/no-provisioner").await;
        local(&world, "pv-1", "node-1").await;
        claim(&world, "data", "local").await;
        calm(&world).await;
        world.gate().shut();
        pod(&world, "web", "data", json!({})).await;
        world.clock.idle().await;
        let unprotect = json!({"metadata": {"finalizers": null}});
        write(&world, kind::PERSISTENT_VOLUME, "pv-1", Change::Merge(unprotect)).await;
        write(&world, kind::PERSISTENT_VOLUME, "pv-1", Change::Delete(json!({}))).await;
        world.clock.idle().await;
        world.gate().open();
        calm(&world).await;
        assert_eq!(why_not(&world, "web").await.1, NO_VOLUME);
        local(&world, "pv-2", "node-2").await;
        calm(&world).await;
        assert_eq!(node_of(&world, "web").await, "node-2");
    });
}

#[test]
fn a_node_that_goes_while_the_pod_is_on_its_way_is_not_bound_to() {
    World::run(async |world| {
        class(&world, "fast", "csi.example").await;
        claim(&world, "data", "fast").await;
        pod(&world, "web", "data", json!({})).await;
        calm(&world).await;
        let selected = "volume.kubernetes.io/selected-node";
        let claim = get(&world, kind::PERSISTENT_VOLUME_CLAIM, "data").await;
        assert_eq!(claim["metadata"]["annotations"][selected], "node-1");
        let waiting = get(&world, kind::POD, "web").await;
        assert_eq!(waiting["status"]["nominatedNodeName"], "node-1");
        write(&world, kind::NODE, "node-1", Change::Delete(json!({}))).await;
        calm(&world).await;
        let stuck = "0/1 nodes are available: 1 node(s) didn't find available persistent volumes \
                     to bind. no new claims to deallocate, preemption: 0/1 nodes are available: 1 \
                     Preemption is not helpful for scheduling.";
        assert_eq!(why_not(&world, "web").await.1, stuck, "the claim is still for the node");
        // The remedy: the annotation is taken off.
        let off = json!({"metadata": {"annotations": {selected: null}}});
        write(&world, kind::PERSISTENT_VOLUME_CLAIM, "data", Change::Merge(off)).await;
        calm(&world).await;
        let claim = get(&world, kind::PERSISTENT_VOLUME_CLAIM, "data").await;
        assert_eq!(claim["metadata"]["annotations"][selected], "node-2");
    });
}

#[test]
fn a_provisioner_that_rejects_the_node_has_the_pod_decided_afresh() {
    World::run(async |world| {
        class(&world, "fast", "csi.example").await;
        claim(&world, "data", "fast").await;
        pod(&world, "web", "data", json!({})).await;
        calm(&world).await;
        // It cannot provision there, and node-1 is cordoned meanwhile.
        let cordon = json!({"spec": {"unschedulable": true}});
        write(&world, kind::NODE, "node-1", Change::Merge(cordon)).await;
        let selected = "volume.kubernetes.io/selected-node";
        let off = json!({"metadata": {"annotations": {selected: null}}});
        write(&world, kind::PERSISTENT_VOLUME_CLAIM, "data", Change::Merge(off)).await;
        // The scheduler looks at the volumes once a second.
        world.clock.advance(Duration::from_secs(1)).await;
        let failed = "running PreBind plugin \"VolumeBinding\": binding volumes: provisioning \
                      failed for PVC \"data\"";
        assert_eq!(why_not(&world, "web").await, ("SchedulerError".into(), failed.into()));
        let waiting = get(&world, kind::POD, "web").await;
        assert_eq!(waiting["status"]["nominatedNodeName"], Value::Null);
        calm(&world).await;
        let claim = get(&world, kind::PERSISTENT_VOLUME_CLAIM, "data").await;
        assert_eq!(claim["metadata"]["annotations"][selected], "node-2");
        // The provisioner's volume for node-2.
        let uid = claim["metadata"]["uid"].clone();
        let volume = json!({
            "metadata": {"name": "pv-made"},
            "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                "storageClassName": "fast", "csi": {"driver": "csi.example", "volumeHandle": "h"},
                "claimRef": {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "uid": uid,
                    "namespace": "default", "name": "data"}},
        });
        create(&world, kind::PERSISTENT_VOLUME, volume).await;
        // No driver mounts it: the node tries for ever.
        world.clock.advance(Duration::from_secs(20)).await;
        assert_eq!(node_of(&world, "web").await, "node-2");
    });
}

#[test]
fn after_ten_minutes_without_a_volume_the_attempt_ends_and_the_choice_stays() {
    World::run(async |world| {
        class(&world, "fast", "csi.example").await;
        claim(&world, "data", "fast").await;
        pod(&world, "web", "data", json!({})).await;
        world.clock.advance(Duration::from_secs(599)).await;
        assert_eq!(why_not(&world, "web").await, (String::new(), String::new()));
        world.clock.advance(Duration::from_secs(2)).await;
        let timeout = "running PreBind plugin \"VolumeBinding\": binding volumes: context deadline \
                       exceeded";
        assert_eq!(why_not(&world, "web").await, ("SchedulerError".into(), timeout.into()));
        let claim = get(&world, kind::PERSISTENT_VOLUME_CLAIM, "data").await;
        let selected = &claim["metadata"]["annotations"]["volume.kubernetes.io/selected-node"];
        assert_eq!(selected, "node-1");
        calm(&world).await;
        let again = get(&world, kind::POD, "web").await;
        assert_eq!(again["status"]["nominatedNodeName"], "node-1", "it is tried again");
    });
}

#[test]
fn every_write_of_a_placement_is_shown_and_says_why() {
    World::run(async |world| {
        class(&world, "local", "kubernetes.io/no-provisioner").await;
        local(&world, "pv-1", "node-1").await;
        local(&world, "pv-2", "node-2").await;
        claim(&world, "data", "local").await;
        calm(&world).await;
        world.gate().shut();
        let only = json!({"nodeSelector": {"kubernetes.io/hostname": "node-2"}});
        pod(&world, "web", "data", only).await;
        let mut shown = Vec::new();
        for _ in 0..40 {
            world.clock.idle().await;
            for held in world.gate().held() {
                let what = format!("{}: {}", held.actor, held.write.reason.text);
                if held.actor.0 == "kube-scheduler" && !shown.contains(&what) {
                    shown.push(what);
                }
            }
            // With nothing held a step lets time run to the next timer.
            if !world.gate().pass_one() {
                world.clock.step().await;
            }
        }
        assert_eq!(
            shown,
            [
                "kube-scheduler: it will go to node-2: of 2 nodes it alone takes the pod",
                "kube-scheduler: pod web goes to node-2, and pv-2 (5Gi) is the smallest there that \
                 fits its claim data",
                "kube-scheduler: to node-2: its claims are bound; of 2 nodes it alone takes the pod",
            ]
        );
        assert_eq!(node_of(&world, "web").await, "node-2");
    });
}

#[test]
fn a_pod_held_back_by_gates_or_of_another_scheduler_is_left_alone() {
    World::run(async |world| {
        let gated = json!({"schedulingGates": [{"name": "example.com/wait"}], "volumes": []});
        pod(&world, "gated", "none", gated).await;
        pod(&world, "theirs", "none", json!({"schedulerName": "other", "volumes": []})).await;
        calm(&world).await;
        for name in ["gated", "theirs"] {
            assert_eq!(node_of(&world, name).await, "");
        }
    });
}
