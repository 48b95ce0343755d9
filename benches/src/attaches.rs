//! Attaching and mounting: so many simulated nodes, a pod with so many disks on
//! each, until every volume is attached and every pod runs. What is timed:
//!
//! - `attach`: from the pods' coming until each node's `volumesAttached` names
//!   all its volumes;
//! - `run`: until every pod runs, its volumes mounted;
//! - `idle`: the processor time of a stretch in which nothing changes, sweeps
//!   and heartbeats included, and how many nodes the attach/detach controller
//!   looked at meanwhile;
//! - `move`: a pod leaves its node and its like begins on another that has
//!   nothing yet, until it runs there.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use pvdeck::controllers::host;
use pvdeck::controllers::machines::Machines;
use pvdeck::mirror::Tables;
use pvdeck::model::node::CONTROLLER_MANAGED;
use pvdeck::model::object::Key;
use pvdeck::plugins::block_disk;
use pvdeck::plugins::host::Disks as _;
use pvdeck::plugins::host::simulated::World;
use pvdeck::plugins::layout::Layout;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Hosted, Over};
use crate::load;
use crate::measure::{Cost, Stopwatch, resident};
use crate::watched::{Screen, Watched};

const CONTROLLER: &str = "persistentvolume-attach-detach-controller";

/// One run, as a line of JSON.
pub async fn run(nodes: usize, each: usize, idle: Duration, frames: bool) -> Value {
    let cluster = Cluster::open(Over::Process).await;
    let world = World::new(cluster.clock.clone(), Layout::default());
    // One more, with nothing on it: where the moved pod goes.
    let mut objects: Vec<Value> = (0..=nodes).map(node).collect();
    for n in 0..nodes * each {
        world.create(&load::volume_name(n), 1 << 30).await.expect("a disk");
        objects.extend([volume(n), claim(n)]);
    }
    (0..=nodes).for_each(|n| drop(world.add(&node_name(n))));
    cluster.embedded.import(objects, "load").expect("imported");
    let machines = Some(Machines::of(world, false));
    let hosted = cluster.host(&host::Options { machines, ..host::Options::default() });
    settle(&hosted).await;

    let watched = frames.then(|| Watched::start(&hosted, Screen::Nodes));
    let (before, clock) = (cluster.embedded.revision(), Stopwatch::start());
    let pods = (0..nodes).map(|n| pod(&format!("pod-{n:04}"), n, n, each)).collect();
    cluster.embedded.import(pods, "load").expect("imported");
    let attached = |tables: &Tables| {
        let attached = tables.nodes.iter().map(|row| row.volumes_attached.len());
        attached.sum::<usize>() == nodes * each
    };
    until(&hosted, attached).await;
    let attach = clock.stop();
    until(&hosted, |tables| running(tables) == nodes).await;
    let run = clock.stop();

    let frames = watched.map(Watched::figures);
    settle(&hosted).await;
    let commits = commits_by_actor(&cluster, before);
    let (passes, clock) = (passes(&hosted), Stopwatch::start());
    tokio::time::sleep(idle).await;
    let (quiet, looked_at) = (clock.stop(), self::passes(&hosted) - passes);

    let (client, clock) = (cluster.client(), Stopwatch::start());
    let leaving = format!("{PODS}/pod-0000");
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 1});
    load::write(&client, Method::DELETE, &leaving, "application/json", &options).await;
    cluster.embedded.import(vec![pod("pod-moved", nodes, 0, each)], "load").expect("imported");
    let moved = Key::new("default", "pod-moved");
    until(&hosted, |tables| tables.pods.get(&moved).is_some_and(|pod| &*pod.phase == "Running"))
        .await;
    let moved = clock.stop();

    json!({
        "nodes": nodes, "volumes": nodes * each,
        "attach": cost(attach), "run": cost(run), "move": cost(moved),
        "idle": {"seconds": idle.as_secs(), "processor_millis": millis(quiet.processor),
            "nodes_looked_at": looked_at},
        "commits": commits, "frames": frames, "errors": errors(&hosted), "revision": cluster.embedded.revision(), "peak_bytes": resident().1,
    })
}

/// How many commits there were since, of which kind and by whom.
fn commits_by_actor(cluster: &Cluster, after: u64) -> Value {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for commit in cluster.embedded.commits_after(after) {
        let who = format!("{} by {}", commit.kind.plural, commit.author.actor);
        *counts.entry(who).or_default() += 1;
    }
    json!(counts)
}

const PODS: &str = "/api/v1/namespaces/default/pods";

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

pub fn cost(cost: Cost) -> Value {
    json!({"seconds": cost.wall.as_secs_f64(), "processor_seconds": cost.processor.as_secs_f64()})
}

fn passes(hosted: &Hosted) -> u64 {
    let status = hosted.host.status();
    let own = status.iter().find(|status| status.name == CONTROLLER);
    own.map_or(0, |status| status.figures.passes)
}

/// The controllers that had errors: how many, and the last one.
pub fn errors(hosted: &Hosted) -> Value {
    let failing = hosted.host.status().into_iter().filter(|status| status.figures.errors > 0);
    let told = failing.map(|status| {
        let last = status.figures.last_error.map(|last| format!("{}: {}", last.object, last.error));
        (status.name.to_owned(), json!([status.figures.errors, last]))
    });
    Value::Object(told.collect())
}

pub fn running(tables: &Tables) -> usize {
    tables.pods.iter().filter(|pod| &*pod.phase == "Running").count()
}

/// Waits until the controllers have nothing to do.
pub async fn settle(hosted: &Hosted) {
    while !hosted.host.is_idle() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until the mirror shows it, and looks twenty times a second: looking
/// at all nodes at each change would be what is measured.
pub async fn until(hosted: &Hosted, done: impl Fn(&Tables) -> bool) {
    while !hosted.mirror.read(|tables| done(tables)) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub fn node_name(n: usize) -> String {
    format!("node-{n:04}")
}

pub fn node(n: usize) -> Value {
    let capacity = json!({"cpu": "4", "memory": "8Gi", "pods": "110"});
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": node_name(n), "annotations": {CONTROLLER_MANAGED: "true"}},
        "spec": {},
        "status": {"capacity": capacity, "allocatable": capacity,
            "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

fn volume(n: usize) -> Value {
    disk(&load::volume_name(n), &load::claim_name(n))
}

fn claim(n: usize) -> Value {
    bound_claim(&load::claim_name(n), &load::volume_name(n))
}

/// The volume of a disk, bound to a claim.
pub fn disk(name: &str, claim: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": name, "uid": format!("uid-{name}"),
            "finalizers": ["kubernetes.io/pv-protection"]},
        "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": "default", "name": claim, "uid": format!("uid-{claim}")},
            "flexVolume": {"driver": block_disk::NAME, "fsType": "ext4"},
        },
        "status": {"phase": "Bound"},
    })
}

/// A claim, bound to that volume.
pub fn bound_claim(name: &str, volume: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"namespace": "default", "name": name, "uid": format!("uid-{name}"),
            "annotations": {"pv.kubernetes.io/bind-completed": "yes"},
            "finalizers": ["kubernetes.io/pvc-protection"]},
        "spec": {"volumeMode": "Filesystem", "accessModes": ["ReadWriteOnce"], "volumeName": volume,
            "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}}},
        "status": {"phase": "Bound", "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"}},
    })
}

/// A pod on node `on` with the volumes of number `of`.
pub fn pod(name: &str, on: usize, of: usize, each: usize) -> Value {
    let names = (of * each..(of + 1) * each).map(|n| (format!("v{n}"), load::claim_name(n)));
    let (mut volumes, mut mounts) = (Vec::new(), Vec::new());
    for (volume, claim) in names {
        mounts.push(json!({"name": volume, "mountPath": format!("/data/{volume}")}));
        volumes.push(json!({"name": volume, "persistentVolumeClaim": {"claimName": claim}}));
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "default", "name": name, "uid": format!("uid-{name}")},
        "spec": {"nodeName": node_name(on), "volumes": volumes,
            "containers": [{"name": "main", "image": "busybox", "volumeMounts": mounts}]},
        "status": {"phase": "Pending"},
    })
}
