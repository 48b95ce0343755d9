//! The attach/detach controller on an embedded cluster with simulated machines,
//! its nodes' kubelets and the drivers' attachers played by hand.

mod behaviour;
mod crash;
mod schedules;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use pvdeck::cluster::Base;
use pvdeck::cluster::clock::ManualClock;
use pvdeck::cluster::embedded::Embedded;
use pvdeck::controllers::attach_detach::controller::AttachDetachController;
use pvdeck::controllers::events::{Recorder, send_events};
use pvdeck::controllers::health::Health;
use pvdeck::controllers::parts::Parts;
use pvdeck::controllers::server::{ClusterServer, Server};
use pvdeck::controllers::work_loop::{self, LoopSettings};
use pvdeck::mirror::freshness::Freshness;
use pvdeck::model::clock::Clock;
use pvdeck::model::kind::{self, Kind};
use pvdeck::model::node::CONTROLLER_MANAGED;
use pvdeck::model::write::Change;
use pvdeck::plugins::for_nodes;
use pvdeck::plugins::host::Disks;
use pvdeck::plugins::host::simulated::World;
use pvdeck::plugins::layout::Layout;
use pvdeck::session::Session;
use serde_json::{Value, json};

use crate::bare_cluster::{self, BareCluster};
use crate::by_hand::{ByHand, reference};

const ACTOR: &str = "attachdetach-controller";
const BLOCK_DISK: &str = "pvdeck.dev/block-disk";
const DRIVER: &str = "disk.example";

/// What a node's kubelet knows, played by hand.
#[derive(Default)]
struct Kubelet {
    mounted: BTreeSet<String>,
    stopped: bool,
}

/// One cluster with the controller.
struct Play {
    clock: ManualClock,
    embedded: Embedded,
    world: World,
    user: kube::Client,
    running: Option<Running>,
    kubelets: BTreeMap<String, Kubelet>,
}

/// The controller with a mirror of its own, as after a start.
struct Running {
    /// Its watches end with it.
    _session: Session,
    health: Health,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.iter().for_each(|task| task.abort());
    }
}

/// Runs something in a runtime of its own, whose time stands.
fn run<T>(play: impl AsyncFnOnce() -> T) -> T {
    bare_cluster::run(play())
}

fn unique(volume: &str) -> String {
    if volume.starts_with("csi") {
        return format!("kubernetes.io/csi/{DRIVER}^handle-{volume}");
    }
    format!("{BLOCK_DISK}/{volume}")
}

impl Play {
    /// A cluster with these nodes and no controller yet.
    fn new(nodes: &[&str]) -> Self {
        let BareCluster { clock, embedded, user } = BareCluster::new();
        let world = World::new(Arc::new(clock.clone()), Layout::default());
        let mut play =
            Self { clock, embedded, world, user, running: None, kubelets: BTreeMap::new() };
        for node in nodes {
            play.add_node(node);
        }
        play
    }

    /// The same with a controller that has taken in everything.
    async fn started(nodes: &[&str]) -> Self {
        let mut play = Self::new(nodes);
        play.start(play.embedded.base());
        play.calm().await;
        play
    }

    fn add_node(&mut self, name: &str) {
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "annotations": {CONTROLLER_MANAGED: "true"}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        });
        self.embedded.import(vec![node], "kubelet").expect("imported");
        self.world.add(name);
        self.kubelets.entry(name.to_owned()).or_default();
    }

    /// Starts the controller on a cluster behind `base`.
    fn start(&mut self, base: Base) {
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let session = bare_cluster::start(&self.embedded, &self.clock, base, None);
        let server = || -> Arc<dyn Server> { Arc::new(ClusterServer::new(&session.path, ACTOR)) };
        let (recorder, notes) = Recorder::new();
        let health = Health::default();
        let disks: Arc<dyn Disks> = Arc::new(self.world.clone());
        let parts = Parts {
            server: server(),
            mirror: session.mirror.clone(),
            recorder,
            clock: clock.clone(),
            health: health.clone(),
        };
        let controller = Arc::new(AttachDetachController::new(parts, for_nodes(&disks, false)));
        let events = tokio::spawn(send_events(ACTOR, notes, server(), clock.clone()));
        let (mirror, figures) = (session.mirror.clone(), health.clone());
        let work = tokio::spawn(async move {
            let mut changes = mirror.subscribe();
            let needed = [
                kind::POD,
                kind::NODE,
                kind::PERSISTENT_VOLUME,
                kind::PERSISTENT_VOLUME_CLAIM,
                kind::CSI_DRIVER,
                kind::VOLUME_ATTACHMENT,
            ];
            let live = |kind| {
                mirror.freshness_of(kind).is_some_and(|fresh: Freshness| fresh.is_complete())
            };
            while !needed.iter().all(|kind| live(kind)) {
                changes.changed().await;
            }
            let settings = LoopSettings { parallel: 8, resync: Some(Duration::from_secs(60)) };
            work_loop::run(controller, mirror.subscribe(), clock, figures, settings).await;
        });
        self.running = Some(Running { _session: session, health, tasks: vec![events, work] });
    }

    /// The process ends and begins anew.
    fn restart(&mut self) {
        self.stop();
        self.start(self.embedded.base());
    }

    fn stop(&mut self) {
        drop(self.running.take());
    }

    fn passes(&self) -> u64 {
        self.running.as_ref().map_or(0, |running| running.health.figures().passes)
    }

    /// A bound pair: names that begin with `csi` are a CSI driver's, those that
    /// begin with `many` may be on many nodes.
    async fn volume(&self, name: &str) {
        let many = name.starts_with("many") || name.starts_with("csi-many");
        let mode = if many { "ReadWriteMany" } else { "ReadWriteOnce" };
        let source = if name.starts_with("csi") {
            json!({"csi": {"driver": DRIVER, "volumeHandle": format!("handle-{name}")}})
        } else {
            self.world.create(name, 1 << 30).await.expect("a disk");
            json!({"flexVolume": {"driver": BLOCK_DISK}})
        };
        self.bound_volume(name, mode, source);
    }

    fn bound_volume(&self, name: &str, mode: &str, source: Value) {
        let mut volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": name, "uid": format!("uid-{name}")},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": [mode],
                "claimRef": {"namespace": "default", "name": name, "uid": format!("uid-claim-{name}")},
            },
            "status": {"phase": "Bound"},
        });
        let spec = volume["spec"].as_object_mut().expect("a spec");
        spec.extend(source.as_object().expect("a source").clone());
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"namespace": "default", "name": name, "uid": format!("uid-claim-{name}")},
            "spec": {"accessModes": [mode], "volumeName": name,
                "resources": {"requests": {"storage": "1Gi"}}},
            "status": {"phase": "Bound"},
        });
        self.embedded.import(vec![volume, claim], "user").expect("imported");
    }

    /// A running pod on a node with these claims.
    async fn pod(&self, name: &str, node: &str, claims: &[&str]) {
        let volumes: Vec<Value> = claims
            .iter()
            .map(|claim| json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}}))
            .collect();
        self.pod_with(name, node, volumes.into()).await;
    }

    async fn pod_with(&self, name: &str, node: &str, volumes: Value) {
        let pod = json!({
            "metadata": {"name": name},
            "spec": {
                "nodeName": node, "terminationGracePeriodSeconds": 0, "volumes": volumes,
                "containers": [{"name": "main", "image": "busybox"}],
            },
        });
        self.user.create(kind::POD, pod).await;
    }

    async fn delete(&self, kind: &'static Kind, name: &str) {
        let at_once = Change::Delete(json!({"gracePeriodSeconds": 0}));
        self.user.write_if_it_can_be(&reference(kind, name), None, at_once).await;
    }

    /// What the driver's attacher says of a volume on a node.
    async fn attacher_says(&self, volume: &str, node: &str, status: Value) {
        let found = self.attachment(volume, node).await.expect("a VolumeAttachment");
        let name = found["metadata"]["name"].as_str().expect("a name");
        self.user.patch_status(&reference(kind::VOLUME_ATTACHMENT, name), status).await;
    }

    async fn attachment(&self, volume: &str, node: &str) -> Option<Value> {
        let all = self.user.list(kind::VOLUME_ATTACHMENT).await;
        all.into_iter().find(|attachment| {
            let spec = &attachment["spec"];
            spec["nodeName"] == node && spec["source"]["persistentVolumeName"] == volume
        })
    }

    /// The names in one of the two lists of a node.
    async fn names(&self, node: &str, list: &str) -> BTreeSet<String> {
        let node = self.user.get(&reference(kind::NODE, node)).await.unwrap_or_default();
        let entries = node["status"][list].as_array().cloned().unwrap_or_default();
        let name = |entry: &Value| entry["name"].as_str().or(entry.as_str()).map(str::to_owned);
        entries.iter().filter_map(name).collect()
    }

    async fn set_in_use(&self, node: &str, volumes: &BTreeSet<String>) {
        let status = json!({"volumesInUse": volumes});
        self.user.patch_status(&reference(kind::NODE, node), status).await;
    }

    async fn set_ready(&self, node: &str, status: &str) {
        let conditions = json!([{"type": "Ready", "status": status}]);
        let status = json!({"conditions": conditions});
        self.user.patch_status(&reference(kind::NODE, node), status).await;
    }

    /// Unique names of what pods on a node want.
    async fn wanted_on(&self, node: &str) -> BTreeSet<String> {
        let pods = self.user.list(kind::POD).await;
        let here = pods.iter().filter(|pod| pod["spec"]["nodeName"] == node);
        let volumes =
            here.flat_map(|pod| pod["spec"]["volumes"].as_array().cloned().unwrap_or_default());
        volumes
            .filter_map(|volume| {
                Some(unique(volume["persistentVolumeClaim"]["claimName"].as_str()?))
            })
            .collect()
    }

    /// One look of a node's kubelet: it unmounts what no pod wants, says what
    /// it uses, and mounts what it may. Whether it did anything.
    async fn kubelet(&mut self, node: &str) -> bool {
        if self.kubelets.get(node).is_none_or(|kubelet| kubelet.stopped) {
            return false;
        }
        let wanted = self.wanted_on(node).await;
        let (told, attached) =
            (self.names(node, "volumesInUse").await, self.names(node, "volumesAttached").await);
        let kubelet = self.kubelets.get_mut(node).expect("a kubelet");
        let before = kubelet.mounted.clone();
        kubelet.mounted.retain(|name| wanted.contains(name));
        let mounted = kubelet.mounted.clone();
        let in_use: BTreeSet<String> = wanted.union(&mounted).cloned().collect();
        if in_use != told {
            self.set_in_use(node, &in_use).await;
            return true;
        }
        // Its own list is accepted: what it may mount, it mounts.
        let kubelet = self.kubelets.get_mut(node).expect("a kubelet");
        kubelet.mounted.extend(wanted.intersection(&attached).cloned());
        kubelet.mounted != before
    }

    /// The nodes that a disk is attached to.
    fn disk(&self, name: &str) -> Vec<String> {
        let state = self.world.snapshot();
        let disk = state.disks.get(name).expect("a disk");
        disk.attached.keys().map(ToString::to_string).collect()
    }

    /// Lets everything happen that will without the sweep.
    async fn calm(&self) {
        assert!(self.clock.settle(2000).await, "it settles");
    }

    /// Kubelets and controller go on until nobody does anything.
    async fn work(&mut self) {
        let nodes: Vec<String> = self.kubelets.keys().cloned().collect();
        for _ in 0..50 {
            let mut changed = false;
            for node in &nodes {
                changed |= self.kubelet(node).await;
                self.calm().await;
            }
            if !changed {
                return;
            }
        }
        panic!("the kubelets never rest");
    }

    /// The messages of events about pods, with their reason and pod.
    async fn told(&self) -> Vec<String> {
        let events = self.user.list(kind::EVENT).await;
        let mut told: Vec<_> = events
            .iter()
            .map(|event| {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let component = text(&event["source"]["component"]);
                assert_eq!(component, ACTOR);
                let (about, reason) =
                    (text(&event["involvedObject"]["name"]), text(&event["reason"]));
                format!("{about} {} {reason}: {}", text(&event["type"]), text(&event["message"]))
            })
            .collect();
        told.sort();
        told
    }
}
