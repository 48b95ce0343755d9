//! One of several schedulers acts at a time: the one that holds the Lease.

use std::time::Duration;

use pvdeck::controllers::health::LoopState;
use pvdeck::model::kind;
use pvdeck::model::object::{Key, ObjectRef};
use serde_json::{Value, json};

use crate::by_hand::{ByHand, reference};
use crate::world::World;

fn lease(name: &str) -> ObjectRef {
    ObjectRef::new(kind::LEASE, Key::new("kube-system", name))
}

async fn holder(world: &World) -> (Value, Value) {
    let found = world.user.get(&lease("kube-scheduler")).await.expect("the Lease");
    (found["spec"]["holderIdentity"].clone(), found["spec"]["leaseTransitions"].clone())
}

async fn pod(world: &World, name: &str) {
    let containers = json!([{"name": "main", "image": "busybox:1.35"}]);
    let pod = json!({"metadata": {"name": name}, "spec": {"containers": containers}});
    world.user.create(kind::POD, pod).await;
    world.clock.idle().await;
}

async fn is_placed(world: &World, name: &str) -> bool {
    let pod = world.user.get(&reference(kind::POD, name)).await.expect("the pod");
    pod["spec"]["nodeName"].is_string()
}

/// Another scheduler takes the Lease, as one does that found it expired.
async fn take(world: &World, renewed: &str) {
    let taken = json!({"spec": {"holderIdentity": "real_1", "leaseDurationSeconds": 15,
        "leaseTransitions": 1, "renewTime": renewed}});
    world.user.merge(&lease("kube-scheduler"), taken).await;
}

#[test]
fn the_control_plane_of_the_embedded_cluster_holds_its_leases_and_renews_them() {
    World::run_without_machines(async |world| {
        assert_eq!(holder(&world).await, (json!("pvdeck"), json!(0)));
        let renewed = async |name: &str| {
            let found = world.user.get(&lease(name)).await.expect("the Lease");
            found["spec"]["renewTime"].as_str().expect("a time").to_owned()
        };
        for name in ["kube-scheduler", "kube-controller-manager"] {
            let before = renewed(name).await;
            world.clock.advance(Duration::from_secs(10)).await;
            assert!(renewed(name).await > before, "{name}");
        }
        let held = lease("kube-scheduler");
        world.user.delete(&held).await;
        world.clock.advance(Duration::from_secs(5)).await;
        assert_eq!(holder(&world).await.0, "pvdeck", "made anew");
    });
}

#[test]
fn behind_another_scheduler_ours_waits_until_that_one_is_not_heard_of_any_more() {
    World::run_without_machines(async |world| {
        pod(&world, "before").await;
        assert!(is_placed(&world, "before").await);
        take(&world, "2027-01-15T08:00:01.000000Z").await;
        world.clock.advance(Duration::from_secs(5)).await;
        let standing = world.controllers().into_iter().find(|one| one.actor == "kube-scheduler");
        let standing = standing.map(|one| one.figures.state);
        assert_eq!(standing, Some(LoopState::StandsBy { holder: "real_1".into() }));
        pod(&world, "meanwhile").await;
        world.clock.advance(Duration::from_secs(10)).await;
        // It renews once more, whatever time it says that is.
        take(&world, "2020-01-01T00:00:00.000000Z").await;
        world.clock.advance(Duration::from_secs(10)).await;
        assert!(!is_placed(&world, "meanwhile").await);
        assert_eq!(holder(&world).await, (json!("real_1"), json!(1)));
        // The others of its control plane go on: they have a Lease of their own.
        let set = json!({"metadata": {"name": "set"}, "spec": {"replicas": 1,
            "selector": {"matchLabels": {"app": "a"}}, "template": {
                "metadata": {"labels": {"app": "a"}},
                "spec": {"containers": [{"name": "main", "image": "busybox:1.35"}]}}}});
        world.user.create(kind::REPLICA_SET, set).await;
        world.clock.idle().await;
        assert_eq!(world.user.list(kind::POD).await.len(), 3);
        world.clock.advance(Duration::from_secs(15)).await;
        assert_eq!(holder(&world).await, (json!("pvdeck"), json!(2)));
        assert!(is_placed(&world, "meanwhile").await, "what waited is decided again");
    });
}

#[test]
fn a_pod_that_another_scheduler_placed_meanwhile_is_left_where_it_is() {
    World::run_without_machines(async |world| {
        take(&world, "2027-01-15T08:00:01.000000Z").await;
        world.clock.advance(Duration::from_secs(5)).await;
        pod(&world, "theirs").await;
        let binding = json!({"apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": "theirs", "namespace": "default"},
            "target": {"kind": "Node", "name": "node-2"}});
        let theirs = reference(kind::POD, "theirs");
        let bind = pvdeck::model::write::Change::Create(binding);
        world.user.try_write(&theirs, Some("binding"), bind).await.expect("bound");
        world.clock.advance(Duration::from_secs(30)).await;
        assert_eq!(holder(&world).await.0, "pvdeck");
        let pod = world.user.get(&theirs).await.expect("the pod");
        assert_eq!(pod["spec"]["nodeName"], "node-2");
    });
}
