//! Pods placed per second: nodes with local volumes each, and pods whose claims
//! wait for them.
//!
//! What is timed is the creation of the pods until all are on their nodes, with
//! their claims bound: nine writes each, events apart. The nodes, volumes and
//! claims are there before. In the middle everything may be listed again, as
//! after a 410, or the controllers stopped and new ones started.

use std::collections::HashSet;
use std::time::Duration;

use clap::ValueEnum;
use pvdeck::controllers::host;
use pvdeck::mirror::Tables;
use pvdeck::model::claim::ClaimPhase;
use pvdeck::model::object::Key;
use pvdeck::model::volume::VolumePhase;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Hosted, Over};
use crate::load;
use crate::measure::{Stopwatch, resident};
use crate::memory::{bound_claim, bound_volume};

/// What happens when half of the pods are placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Halfway {
    Nothing,
    /// Everything is listed again.
    ListAgain,
    /// The controllers and the mirror are dropped, and new ones started.
    Restart,
}

const CLASSES: &str = "/apis/storage.k8s.io/v1/storageclasses";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// The number of the first pair that is there and bound before; far above those
/// of the volumes that are placed.
const FIRST_BESIDE: usize = 900_000;

/// How many volumes of each node are of which size: none is like the next.
const SIZES: usize = 8;

/// One run, as a line of JSON.
pub async fn run(
    nodes: usize,
    volumes_each: usize,
    pods: usize,
    beside: usize,
    halfway: Halfway,
) -> Value {
    let cluster = Cluster::open(Over::Process).await;
    let numbers = FIRST_BESIDE..FIRST_BESIDE + beside;
    let pairs = numbers.flat_map(|n| [bound_volume(n), bound_claim(n)]).collect();
    cluster.embedded.import(pairs, "load").expect("pairs");
    cluster.embedded.import((0..nodes).map(node).collect(), "kubelet").expect("nodes");
    let mut hosted = cluster.host(&host::Options::default());
    let client = cluster.client();
    load::create(&client, CLASSES, &class()).await;
    let volumes = nodes * volumes_each;
    load::create_all(&client, load::VOLUMES, volumes, move |n| volume(n, nodes)).await;
    until(&hosted, |tables| {
        let free = tables.volumes.iter().filter(|row| row.phase == VolumePhase::Available);
        free.count() == volumes
    })
    .await;
    load::create_all(&client, load::CLAIMS, pods, claim).await;
    until(&hosted, |tables| tables.claims.len() == pods + beside).await;

    let clock = Stopwatch::start();
    let writing = load::create_all(&client, PODS, pods, pod);
    let placing = async {
        until(&hosted, |tables| placed(tables) * 2 >= pods).await;
        match halfway {
            Halfway::Nothing => {}
            Halfway::ListAgain => hosted.list_again(),
            Halfway::Restart => {
                let options = host::Options::default();
                let old = std::mem::replace(&mut hosted, cluster.host(&options));
                old.host.stop().await;
            }
        }
        until(&hosted, |tables| placed(tables) == pods).await;
    };
    tokio::join!(writing, placing);
    let cost = clock.stop();
    until(&hosted, |tables| {
        let bound = tables.claims.iter().filter(|row| row.phase == ClaimPhase::Bound);
        bound.count() == pods + beside
    })
    .await;
    let wrong = hosted.mirror.read(wrong);
    let errors: u64 = hosted.host.status().iter().map(|status| status.figures.errors).sum();
    json!({
        "nodes": nodes, "volumes": volumes, "pods": pods, "beside": beside, "halfway": format!("{halfway:?}"),
        "placed_per_second": pods as f64 / cost.wall.as_secs_f64(),
        "processor_micros_each": cost.processor.as_secs_f64() * 1e6 / pods as f64,
        "wrong": wrong, "errors": errors, "peak_bytes": resident().1,
    })
}

fn placed(tables: &Tables) -> usize {
    tables.pods.iter().filter(|row| row.is_scheduled()).count()
}

/// How many pods are not where their volume is, or share it.
fn wrong(tables: &Tables) -> usize {
    let mut taken = HashSet::new();
    let right = tables.pods.iter().filter(|pod| {
        pod.claims.iter().all(|used| {
            let claim = tables.claims.get(&Key::new("default", used.claim.clone()));
            let volume = claim.map(|claim| claim.volume_name.clone()).unwrap_or_default();
            let row = tables.volumes.get(&Key::cluster(volume.clone()));
            let node = tables.nodes.get(&Key::cluster(pod.node.clone()));
            let reached = row
                .zip(node)
                .is_some_and(|(row, node)| pvdeck::model::fit::usable_on(row, &node.meta.labels));
            reached && taken.insert(volume)
        })
    });
    tables.pods.len() - right.count()
}

/// Looks from time to time: looking at each change would be most of the work.
async fn until(hosted: &Hosted, done: impl Fn(&Tables) -> bool) {
    while !hosted.mirror.read(&done) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn node(n: usize) -> Value {
    let name = node_name(n);
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {},
        "status": {
            "capacity": {"cpu": "32", "memory": "128Gi", "pods": "110"},
            "allocatable": {"cpu": "32", "memory": "128Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

fn node_name(n: usize) -> String {
    format!("node-{n:04}")
}

fn class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "local"},
        "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer",
    })
}

fn volume(n: usize, nodes: usize) -> Value {
    let expression = json!({"key": "kubernetes.io/hostname", "operator": "In",
        "values": [node_name(n % nodes)]});
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": load::volume_name(n)},
        "spec": {
            "capacity": {"storage": format!("{}Gi", n / nodes % SIZES + 1)},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "local",
            "local": {"path": format!("/disks/{n}")},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}},
        },
    })
}

fn claim(n: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": load::claim_name(n), "namespace": "default"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "local",
            "resources": {"requests": {"storage": format!("{}Gi", n % SIZES + 1)}},
        },
    })
}

fn pod(n: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("pod-{n:06}"), "namespace": "default"},
        "spec": {
            "containers": [{"name": "main", "image": "busybox:1.35",
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}],
            "volumes": [{"name": "data",
                "persistentVolumeClaim": {"claimName": load::claim_name(n)}}],
        },
    })
}
