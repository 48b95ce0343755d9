//! A node is drained: its pods are evicted, a StatefulSet makes them anew, the
//! scheduler finds other nodes, and their disks leave the node and come there.
//! Every other node has a pod with as many disks, attached and mounted.
//!
//! - `moved`: from the first request of the drain until every evicted pod runs
//!   elsewhere;
//! - `empty`: until the node's status tells of no volume any more;
//! - `volumes_on`: how many nodes have the moved volumes.
//!
//! The wall time holds waits that Kubernetes has too: a second for containers
//! to end, a second in which a node gathers what it tells of the volumes in
//! use.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::{Method, Request, header};
use pvdeck::controllers::host;
use pvdeck::controllers::machines::Machines;
use pvdeck::mirror::Tables;
use pvdeck::model::object::Key;
use pvdeck::plugins::host::Disks as _;
use pvdeck::plugins::host::simulated::World;
use pvdeck::plugins::layout::Layout;
use serde_json::{Value, json};

use crate::attaches::{
    bound_claim, cost, disk, errors, node, node_name, pod, running, settle, until,
};
use crate::cluster::{Cluster, Over};
use crate::load;
use crate::measure::{Stopwatch, resident};
use crate::watched::{Screen, Watched};

const SET: &str = "moving";
const DRAINED: &str = "node-0000";

/// One run, as a line of JSON.
pub async fn run(nodes: usize, each: usize, frames: bool) -> Value {
    let cluster = Cluster::open(Over::Process).await;
    let world = World::new(cluster.clock.clone(), Layout::default());
    (0..nodes).for_each(|n| drop(world.add(&node_name(n))));
    let mut objects: Vec<Value> = (0..nodes).map(node).collect();
    let moving = (0..each).map(|n| (format!("disk-{SET}-{n}"), format!("data-{SET}-{n}")));
    let staying = (each..nodes * each).map(|n| (load::volume_name(n), load::claim_name(n)));
    for (volume, claim) in moving.chain(staying) {
        world.create(&volume, 1 << 30).await.expect("a disk");
        objects.extend([disk(&volume, &claim), bound_claim(&claim, &volume)]);
    }
    objects.push(set(each));
    objects.extend((0..each).map(replica));
    objects.extend((1..nodes).map(|n| pod(&format!("pod-{n:04}"), n, n, each)));
    cluster.embedded.import(objects, "load").expect("imported");
    let machines = Some(Machines::of(world, false));
    let hosted = cluster.host(&host::Options { machines, ..host::Options::default() });
    until(&hosted, |tables| running(tables) == each + nodes - 1).await;
    settle(&hosted).await;

    let watched = frames.then(|| Watched::start(&hosted, Screen::BoardOf(DRAINED)));
    let (client, clock) = (cluster.client(), Stopwatch::start());
    let cordon = json!({"spec": {"unschedulable": true}});
    let path = format!("/api/v1/nodes/{DRAINED}");
    load::write(&client, Method::PATCH, &path, "application/merge-patch+json", &cordon).await;
    for n in 0..each {
        evict(&client, &format!("{SET}-{n}")).await;
    }
    until(&hosted, |tables| {
        let moved = replicas(tables, each).filter(|pod| &*pod.node != DRAINED);
        moved.filter(|pod| &*pod.phase == "Running").count() == each
    })
    .await;
    let moved = clock.stop();
    until(&hosted, |tables| {
        let drained = tables.nodes.get(&Key::cluster(DRAINED));
        drained.is_some_and(|row| row.volumes_attached.is_empty() && row.volumes_in_use.is_empty())
    })
    .await;
    let empty = clock.stop();
    let on: BTreeSet<Arc<str>> =
        hosted.mirror.read(|tables| replicas(tables, each).map(|pod| pod.node.clone()).collect());
    json!({
        "nodes": nodes, "volumes": nodes * each, "moved_volumes": each, "moved": cost(moved),
        "empty": cost(empty), "volumes_on": on.len(), "frames": watched.map(Watched::figures),
        "errors": errors(&hosted), "peak_bytes": resident().1,
    })
}

/// The pods of the set that are there.
fn replicas(tables: &Tables, each: usize) -> impl Iterator<Item = &Arc<pvdeck::model::pod::Pod>> {
    (0..each).filter_map(|n| tables.pods.get(&Key::new("default", format!("{SET}-{n}"))))
}

async fn evict(client: &kube::Client, name: &str) {
    let body = json!({
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": name, "namespace": "default"},
    });
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("/api/v1/namespaces/default/pods/{name}/eviction"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.to_string().into_bytes())
        .expect("a request");
    client.request::<Value>(request).await.expect("evicted");
}

fn template() -> Value {
    json!({
        "metadata": {"labels": {"app": SET}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": "busybox",
                "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
        },
    })
}

/// Its pods are made from no revision of it: `OnDelete` leaves them alone.
fn set(replicas: usize) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"namespace": "default", "name": SET, "uid": SET, "generation": 1},
        "spec": {
            "replicas": replicas, "serviceName": SET, "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "OnDelete"}, "revisionHistoryLimit": 10,
            "selector": {"matchLabels": {"app": SET}}, "template": template(),
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "",
                "resources": {"requests": {"storage": "1Gi"}}}}],
        },
        "status": {"replicas": 0},
    })
}

/// Pod number `n` of the set, on the node that is to be drained.
fn replica(n: usize) -> Value {
    let (name, mut spec) = (format!("{SET}-{n}"), template()["spec"].clone());
    spec["nodeName"] = DRAINED.into();
    spec["volumes"] = json!([{"name": "data",
        "persistentVolumeClaim": {"claimName": format!("data-{name}")}}]);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "namespace": "default", "name": name, "uid": format!("uid-{name}"),
            "labels": {"app": SET, "statefulset.kubernetes.io/pod-name": name,
                "apps.kubernetes.io/pod-index": n.to_string()},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": SET,
                "uid": SET, "controller": true, "blockOwnerDeletion": true}],
        },
        "spec": spec, "status": {"phase": "Pending"},
    })
}
