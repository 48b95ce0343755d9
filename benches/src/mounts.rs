//! Volumes of many nodes on simulated machines: one pod a node that uses so
//! many block disks.
//!
//! Each node's volume manager reads every claim, volume and node status from
//! the embedded API. Disks are attached beside it, at once: what is timed is
//! the managers' work and what they read.
//!
//! - `mount`: from the first pod until every volume is mounted;
//! - `idle`: the processor time of so many seconds in which nothing happens;
//! - `held_bytes_each`: of a mounted volume, machines and their records
//!   included, as the allocator counts them;
//! - `unmount`: until all of it is gone.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use pvdeck::cluster::write_path::WritePath;
use pvdeck::cluster::write_path::read_only::Access;
use pvdeck::controllers::events::Recorder;
use pvdeck::controllers::node_agent::volumes::NodeVolumes;
use pvdeck::controllers::node_agent::volumes::manager::{Parts, VolumeManager};
use pvdeck::controllers::server::{ClusterServer, Server};
use pvdeck::model::node::Node;
use pvdeck::model::row::Row;
use pvdeck::plugins::for_nodes;
use pvdeck::plugins::host::simulated::World;
use pvdeck::plugins::host::{Disks, Hosts, OnBehalf};
use pvdeck::plugins::layout::Layout;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::cluster::{Cluster, Over};
use crate::load;
use crate::measure::{Cost, Stopwatch};
use crate::memory;

struct Bench {
    cluster: Cluster,
    world: World,
    managers: Vec<Arc<VolumeManager>>,
    volumes: usize,
}

/// One run, as a line of JSON.
pub async fn run(nodes: usize, volumes: usize, seconds: u64) -> Value {
    let before = memory::count_from_here();
    let bench = Bench::open(nodes, volumes).await;
    let prepared = memory::held();
    let clock = Stopwatch::start();
    join_all((0..nodes).map(|n| bench.mount(n))).await;
    let mounted = clock.stop();
    let held = memory::held() - prepared;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = Stopwatch::start();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let idle = idle.stop();
    let clock = Stopwatch::start();
    join_all((0..nodes).map(|n| bench.unmount(n))).await;
    let unmounted = clock.stop();
    let count = nodes * volumes;
    json!({
        "nodes": nodes, "volumes": volumes,
        "mount": cost(mounted, count), "unmount": cost(unmounted, count),
        "idle_seconds": seconds, "idle_processor_millis": idle.processor.as_secs_f64() * 1e3,
        "held_bytes_each": held as f64 / count as f64,
        "prepared_bytes": prepared - before,
    })
}

fn cost(cost: Cost, count: usize) -> Value {
    json!({
        "wall_seconds": cost.wall.as_secs_f64(),
        "per_second": count as f64 / cost.wall.as_secs_f64(),
        "processor_micros_each": cost.processor.as_secs_f64() * 1e6 / count as f64,
    })
}

fn node_name(n: usize) -> String {
    format!("node-{n:04}")
}

fn disk_name(node: usize, volume: usize) -> String {
    format!("disk-{node:04}-{volume:02}")
}

impl Bench {
    async fn open(nodes: usize, volumes: usize) -> Self {
        let cluster = Cluster::open(Over::Process).await;
        let world = World::new(cluster.clock.clone(), Layout::default());
        let mut objects = Vec::new();
        for n in 0..nodes {
            let name = node_name(n);
            objects.push(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}));
            world.add(&name);
            for v in 0..volumes {
                let disk = disk_name(n, v);
                world.create(&disk, 1 << 30).await.expect("a disk");
                objects.extend(claim_and_volume(&disk));
            }
        }
        cluster.embedded.import(objects, "bench").expect("imported");
        let access = Access::writable();
        let path = WritePath::new(cluster.base.clone(), "default", cluster.clock.clone(), access);
        let server: Arc<dyn Server> = Arc::new(ClusterServer::new(&path, "kubelet"));
        let disks: Arc<dyn Disks> = Arc::new(world.clone());
        let (plugins, boards) = (for_nodes(&disks, false), watch::Sender::new(0));
        let managers = (0..nodes).map(|n| {
            let manager = VolumeManager::new(Parts {
                host: world.host(&node_name(n)).expect("a host"),
                plugins: plugins.clone(),
                server: server.clone(),
                recorder: Recorder::new().0,
                boards: boards.clone(),
            });
            tokio::spawn(manager.clone().run());
            manager.sources_ready();
            manager
        });
        let managers = managers.collect();
        Self { cluster, world, managers, volumes }
    }

    /// Has a node's pod start: attaches, reports, waits.
    async fn mount(&self, n: usize) {
        let (manager, name) = (&self.managers[n], node_name(n));
        let mut changes = manager.in_use_changes();
        manager.want(&pod(n, self.volumes));
        let list = loop {
            let list = manager.in_use().unwrap_or_default();
            if list.len() == self.volumes {
                break list;
            }
            changes.changed().await.expect("a manager");
        };
        let mut attached = Vec::new();
        for unique in &list {
            let disk = unique.rsplit('/').next().unwrap_or_default();
            let on_behalf = OnBehalf::volume(unique.clone());
            let device = self.world.attach(&on_behalf, disk, &name, false).await;
            let device = device.expect("attached");
            attached.push(json!({"name": &**unique, "devicePath": device}));
        }
        let patch = json!({"status": {"volumesAttached": attached}});
        let path = format!("/api/v1/nodes/{name}/status");
        let merge = "application/merge-patch+json";
        load::write(&self.cluster.client(), http::Method::PATCH, &path, merge, &patch).await;
        manager.in_use_accepted(&list);
        let node = json!({"metadata": {"name": name}, "status": patch["status"]});
        manager.node_changed(&Node::from_object(&node).expect("a node"));
        let mounted = manager.wait_mounted(&uid(n)).await.expect("mounted");
        assert_eq!(mounted.len(), self.volumes);
    }

    async fn unmount(&self, n: usize) {
        let manager = &self.managers[n];
        let mut changes = manager.in_use_changes();
        manager.let_go(&uid(n));
        while manager.in_use().is_none_or(|list| !list.is_empty()) {
            changes.changed().await.expect("a manager");
        }
    }
}

fn uid(n: usize) -> String {
    format!("pod-{n}")
}

fn pod(n: usize, volumes: usize) -> Value {
    let names: Vec<String> = (0..volumes).map(|v| disk_name(n, v)).collect();
    let claim = |name: &String| json!({"name": name, "persistentVolumeClaim": {"claimName": name}});
    let mount = |name: &String| json!({"name": name, "mountPath": format!("/{name}")});
    json!({
        "metadata": {"namespace": "default", "name": uid(n), "uid": uid(n)},
        "spec": {
            "volumes": names.iter().map(claim).collect::<Vec<_>>(),
            "containers": [{"name": "app",
                "volumeMounts": names.iter().map(mount).collect::<Vec<_>>()}],
        },
    })
}

fn claim_and_volume(disk: &str) -> [Value; 2] {
    let bound = json!({"phase": "Bound"});
    let modes = json!(["ReadWriteOnce"]);
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": disk, "uid": format!("v-{disk}")},
        "spec": {
            "accessModes": modes, "capacity": {"storage": "1Gi"}, "volumeMode": "Filesystem",
            "claimRef": {"namespace": "default", "name": disk, "uid": format!("c-{disk}")},
            "flexVolume": {"driver": "pvdeck.dev/block-disk"},
        },
        "status": bound,
    });
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"namespace": "default", "name": disk, "uid": format!("c-{disk}")},
        "spec": {"accessModes": modes, "volumeName": disk, "volumeMode": "Filesystem",
            "resources": {"requests": {"storage": "1Gi"}}},
        "status": bound,
    });
    [volume, claim]
}
