//! Section M of the case file: who is protected, and for how long.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::attributes_class::AttributesClassProtection;
use super::claim::ClaimProtection;
use super::volume::VolumeProtection;
use crate::controllers::events::Recorder;
use crate::controllers::health::Health;
use crate::controllers::parts::Parts;
use crate::controllers::persistent_volume::cases::world::HastyClock;
use crate::controllers::persistent_volume::cases::world::{Fault, TestServer, block_on, reference};
use crate::controllers::work_loop::{Outcome, Reconciler};
use crate::mirror::{Mirror, Mirrored};
use crate::model::attributes_class::AttributesClass;
use crate::model::claim::Claim;
use crate::model::kind;
use crate::model::object::ObjectRef;
use crate::model::pod::Pod;
use crate::model::volume::Volume;

pub fn ids() -> Vec<String> {
    let claims = [1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 20, 21, 22, 23, 25, 26, 27];
    let volumes = [1, 2, 3, 4, 6];
    let claims = claims.iter().map(|n| format!("PP-{n}"));
    claims.chain(volumes.iter().map(|n| format!("VP-{n}"))).collect()
}

struct World {
    server: Arc<TestServer>,
    mirror: Mirror,
    controller: Arc<dyn Reconciler>,
}

fn world(make: fn(Parts) -> Arc<dyn Reconciler>) -> World {
    let (server, mirror) = (Arc::new(TestServer::default()), Mirror::default());
    let parts = Parts {
        server: server.clone(),
        mirror: mirror.clone(),
        recorder: Recorder::silent(),
        clock: Arc::new(HastyClock::new()),
        health: Health::default(),
    };
    World { server, mirror, controller: make(parts) }
}

fn claims() -> World {
    world(|parts| Arc::new(ClaimProtection::new(parts)))
}

impl World {
    /// An object that server and mirror have.
    fn have<R: Mirrored>(&self, object: Value) -> ObjectRef {
        let object = self.server.put(object);
        let now = self.server.object(&object).expect("just put");
        self.mirror.apply(R::from_object(&now).expect("a row"));
        object
    }

    /// Tells of changes; looks at what the controller wants to see until it
    /// has succeeded. What was asked of the server.
    fn changed(&self, objects: &[&ObjectRef]) -> Vec<String> {
        self.server.lock().actions.clear();
        let changed: HashSet<_> = objects.iter().map(|object| (*object).clone()).collect();
        let mut queue: std::collections::VecDeque<_> = self.controller.take_in(changed).into();
        while let Some(object) = queue.pop_front() {
            let pass = block_on(self.controller.clone().reconcile(object.clone()));
            if pass.outcome != Outcome::Done {
                queue.push_back(object);
            }
        }
        self.server.lock().actions.clone()
    }

    fn finalizers(&self, object: &ObjectRef) -> Value {
        let object = self.server.object(object);
        object.map_or(Value::Null, |object| object["metadata"]["finalizers"].clone())
    }
}

fn claim(namespace: &str, name: &str, state: &str) -> Value {
    with_state(
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": namespace, "uid": format!("{namespace}-{name}")},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }),
        "kubernetes.io/pvc-protection",
        state,
    )
}

fn volume(state: &str, phase: &str) -> Value {
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv", "uid": "pv"},
        "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}},
        "status": {"phase": phase},
    });
    with_state(volume, "kubernetes.io/pv-protection", state)
}

/// `F` puts the finalizer on, `del` sets the deletion timestamp.
fn with_state(mut object: Value, finalizer: &str, state: &str) -> Value {
    if state.contains('F') {
        object["metadata"]["finalizers"] = json!([finalizer]);
    }
    if state.contains("del") {
        object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    }
    object
}

fn pod(namespace: &str, uid: &str, claim: &str, node: &str, phase: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "pod", "namespace": namespace, "uid": uid},
        "spec": {"nodeName": node, "volumes": [
            {"name": "v", "persistentVolumeClaim": {"claimName": claim}},
            {"name": "e", "emptyDir": {}},
        ]},
        "status": {"phase": phase},
    })
}

fn refuse(world: &World, times: usize) {
    world.server.lock().faults = vec![Some(Fault::Error); times].into();
}

#[test]
fn pp_1_2_3_live_claims_get_the_finalizer() {
    let world = claims();
    let first = world.have::<Claim>(claim("default", "pvc", ""));
    let second = world.have::<Claim>(claim("namespace-2", "pvc", ""));
    let actions = world.changed(&[&first, &second]);
    assert_eq!(actions, ["PATCH default/pvc", "PATCH namespace-2/pvc"]);
    assert_eq!(world.finalizers(&first), json!(["kubernetes.io/pvc-protection"]));
    assert!(world.changed(&[&first, &second]).is_empty(), "PP-2");

    let world = claims();
    let refused = world.have::<Claim>(claim("default", "pvc", ""));
    refuse(&world, 2);
    assert_eq!(world.changed(&[&refused]), ["PATCH default/pvc"; 3], "PP-3");
}

#[test]
fn pp_4_6_7_unused_claims_lose_it_after_a_live_list() {
    let world = claims();
    let first = world.have::<Claim>(claim("default", "pvc", "F del"));
    let second = world.have::<Claim>(claim("namespace-2", "pvc", "F del"));
    let actions = world.changed(&[&first, &second]);
    let wanted =
        ["LIST(default)", "PATCH default/pvc", "LIST(namespace-2)", "PATCH namespace-2/pvc"];
    assert_eq!(actions, wanted);
    assert_eq!(world.server.object(&first), None, "it is gone");

    let world = claims();
    let refused = world.have::<Claim>(claim("default", "pvc", "F del"));
    refuse(&world, 2);
    let wanted = ["LIST(default)", "PATCH default/pvc"].repeat(3);
    assert_eq!(world.changed(&[&refused]), wanted, "PP-6");

    let world = claims();
    let first = world.have::<Claim>(claim("default", "pvc1", "F del"));
    let second = world.have::<Claim>(claim("default", "pvc2", "F del"));
    world.server.lock().failing_lists = 1;
    let actions = world.changed(&[&first, &second]);
    let list = "LIST(default)";
    let wanted = [list, list, "PATCH default/pvc2", list, "PATCH default/pvc1"];
    assert_eq!(actions, wanted, "PP-7");
}

#[test]
fn claims_looked_at_together_share_one_list() {
    let world = claims();
    let objects: Vec<_> = (0..5)
        .map(|n| world.have::<Claim>(claim("default", &format!("pvc{n}"), "F del")))
        .collect();
    let queue = world.controller.take_in(objects.into_iter().collect());
    let passes = queue.into_iter().map(|object| world.controller.clone().reconcile(object));
    block_on(futures::future::join_all(passes));
    let actions = world.server.lock().actions.clone();
    assert_eq!(actions.iter().filter(|action| action.starts_with("LIST")).count(), 1);
    assert_eq!(actions.len(), 6, "{actions:?}");
}

#[test]
fn pp_8_9_11_cached_pods_decide_without_a_list() {
    for (row, used, phase, actions) in [
        ("PP-8", "pvc", "Pending", &[][..]),
        ("PP-9", "another", "Pending", &["LIST(default)", "PATCH default/pvc"][..]),
        ("PP-11", "pvc", "Failed", &[][..]),
    ] {
        let world = claims();
        let claim = world.have::<Claim>(claim("default", "pvc", "F del"));
        world.have::<Pod>(pod("default", "pod", used, "node-1", phase));
        assert_eq!(world.changed(&[&claim]), actions, "{row}");
    }
}

#[test]
fn pp_12_13_pods_that_only_the_server_knows_keep_their_claims() {
    let world = claims();
    let claim_used = world.have::<Claim>(claim("default", "pvc", "F del"));
    world.server.put(pod("default", "pod", "pvc", "node-1", "Pending"));
    assert_eq!(world.changed(&[&claim_used]), ["LIST(default)"], "PP-12");

    let world = claims();
    let first = world.have::<Claim>(claim("default", "pvc", "F del"));
    let second = world.have::<Claim>(claim("default", "pvc2", "F del"));
    let third = world.have::<Claim>(claim("namespace-3", "pvc3", "F del"));
    world.server.put(pod("default", "pod", "pvc", "node-1", "Pending"));
    world.server.put(pod("namespace-3", "pod3", "pvc3", "node-1", "Pending"));
    let list = "LIST(default)";
    let wanted = [list, list, "PATCH default/pvc2", "LIST(namespace-3)"];
    assert_eq!(world.changed(&[&first, &second, &third]), wanted, "PP-13");
}

#[test]
fn pp_20_to_27_changes_of_pods() {
    let removed = ["LIST(default)", "PATCH default/pvc"];
    // Row, claim, pod before (uid, node), pod after, what is asked for.
    type State = Option<(&'static str, &'static str, &'static str)>;
    let rows: [(&str, &str, State, State, &[&str]); 7] = [
        ("PP-20", "F del", None, Some(("u", "n", "Running")), &[]),
        ("PP-21", "F del", None, Some(("u", "n", "Succeeded")), &[]),
        ("PP-22", "F del", None, Some(("u", "", "Pending")), &removed),
        ("PP-23", "F del", Some(("u", "n", "Running")), None, &removed),
        ("PP-25", "F", Some(("u", "n", "Running")), Some(("other", "n", "Running")), &[]),
        ("PP-26", "F del", Some(("u", "n", "Running")), Some(("other", "n", "Running")), &[]),
        ("PP-27", "F del", Some(("u", "", "Pending")), Some(("u", "n", "Pending")), &[]),
    ];
    for (row, state, before, after, wanted) in rows {
        let world = claims();
        let made = |(uid, node, phase)| pod("default", uid, "pvc", node, phase);
        let object = reference(&made(("u", "n", "Running")));
        if let Some(before) = before {
            world.have::<Pod>(made(before));
            world.changed(&[&object]);
        }
        world.have::<Claim>(claim("default", "pvc", state));
        match after {
            Some(after) => {
                world.have::<Pod>(made(after));
            }
            None => {
                world.server.lock().objects.remove(&object);
                world.mirror.remove::<Pod>(&object.key, "u", u64::MAX);
            }
        }
        assert_eq!(world.changed(&[&object]), wanted, "{row}");
    }
}

#[test]
fn an_ephemeral_claim_is_free_once_its_pod_is_shut_down() {
    for (state, wanted) in [("", 0), ("shut down", 2)] {
        let world = claims();
        let mut own = claim("default", "pod-data", "F del");
        own["metadata"]["ownerReferences"] =
            json!([{"kind": "Pod", "name": "pod", "uid": "u", "controller": true}]);
        let own = world.have::<Claim>(own);
        let mut pod = pod("default", "u", "another", "node-1", "Running");
        pod["spec"]["volumes"] = json!([{"name": "data", "ephemeral": {}}]);
        if !state.is_empty() {
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
            pod["metadata"]["deletionGracePeriodSeconds"] = 0.into();
        }
        world.have::<Pod>(pod);
        assert_eq!(world.changed(&[&own]).len(), wanted, "{state}");
    }
}

#[test]
fn vp_volumes_are_protected_while_bound() {
    for (row, state, phase, refused, actions) in [
        ("VP-1", "", "Available", 0, 1),
        ("VP-2", "F", "Available", 0, 0),
        ("VP-3", "", "Available", 2, 3),
        ("VP-4", "F del", "Released", 0, 1),
        ("VP-6", "F del", "Bound", 0, 0),
    ] {
        let world = world(|parts| Arc::new(VolumeProtection::new(parts)));
        let object = world.have::<Volume>(volume(state, phase));
        refuse(&world, refused);
        assert_eq!(world.changed(&[&object]), vec!["PATCH pv"; actions], "{row}");
    }
}

#[test]
fn an_attributes_class_is_protected_while_something_names_it() {
    let world = world(|parts| Arc::new(AttributesClassProtection::new(parts)));
    let class = |state: &str| {
        let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttributesClass",
            "metadata": {"name": "gold", "uid": "gold"}, "driverName": "d"});
        with_state(class, "kubernetes.io/vac-protection", state)
    };
    let object = world.have::<AttributesClass>(class(""));
    assert_eq!(world.changed(&[&object]), ["PATCH gold"]);
    let mut user = claim("default", "pvc", "");
    user["status"] = json!({"modifyVolumeStatus": {"targetVolumeAttributesClassName": "gold"}});
    let claim_object = world.have::<Claim>(user);
    world.changed(&[&claim_object]);
    world.have::<AttributesClass>(class("F del"));
    assert!(world.changed(&[&object]).is_empty(), "a claim is about to use it");
    world.server.lock().objects.remove(&claim_object);
    world.mirror.remove::<Claim>(&claim_object.key, "default-pvc", u64::MAX);
    assert_eq!(world.changed(&[&claim_object]), ["PATCH gold"], "the dropped name is looked at");
    assert_eq!(object.kind, kind::VOLUME_ATTRIBUTES_CLASS);
    assert_eq!(world.server.object(&object), None);
}
