//! One node with its volume manager, on a simulated machine, with an API of a
//! few objects and an attach/detach controller of a few lines.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, ready};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::cluster::clock::ManualClock;
use crate::cluster::write_path::WriteError;
use crate::controllers::events::{Note, Recorder};
use crate::controllers::node_agent::volumes::manager::{Parts, VolumeManager};
use crate::controllers::node_agent::volumes::{MountedVolume, NodeVolumes, NotMounted};
use crate::controllers::server::{ReadError, Server};
use crate::model::clock::Clock;
use crate::model::kind;
use crate::model::node::Node;
use crate::model::object::{Key, ObjectRef};
use crate::model::row::Row;
use crate::model::write::Write;
use crate::plugins::for_nodes;
use crate::plugins::host::simulated::World;
use crate::plugins::host::{Disks, Host, OnBehalf};
use crate::plugins::layout::Layout;

pub const NODE: &str = "n1";

/// The objects of an API server; reads only.
#[derive(Default)]
pub struct Objects {
    pub held: Mutex<BTreeMap<ObjectRef, Value>>,
    /// While set, nothing can be read.
    pub is_down: Mutex<bool>,
}

impl Objects {
    pub fn put(&self, kind: &'static kind::Kind, value: Value) {
        let text = |field: &str| value["metadata"][field].as_str().unwrap_or_default().to_owned();
        let key = Key::new(text("namespace"), text("name"));
        self.held.lock().expect("objects").insert(ObjectRef::new(kind, key), value);
    }

    pub fn change(&self, kind: &'static kind::Kind, key: Key, change: impl FnOnce(&mut Value)) {
        let mut held = self.held.lock().expect("objects");
        change(held.get_mut(&ObjectRef::new(kind, key)).expect("the object"));
    }
}

impl Server for Objects {
    fn get<'a>(&'a self, object: &'a ObjectRef) -> BoxFuture<'a, Result<Option<Value>, ReadError>> {
        let answer = if *self.is_down.lock().expect("objects") {
            Err(ReadError { object: object.to_string(), message: "connection refused".into() })
        } else {
            Ok(self.held.lock().expect("objects").get(object).cloned())
        };
        ready(answer).boxed()
    }

    fn list<'a>(
        &'a self,
        _: &'static kind::Kind,
        _: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<Value>, ReadError>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn perform<'a>(&'a self, _: &'a Write) -> BoxFuture<'a, Result<Value, WriteError>> {
        ready(Ok(Value::Null)).boxed()
    }

    fn nothing_to_do(&self, _: &ObjectRef, _: &str) {}
}

/// A node and all that its volumes need.
pub struct TestNode {
    pub clock: ManualClock,
    pub world: World,
    pub objects: Arc<Objects>,
    pub manager: Arc<VolumeManager>,
    task: JoinHandle<()>,
    notes: mpsc::Receiver<Note>,
    /// The pods that may run here, by uid.
    pub pods: BTreeMap<String, Value>,
    /// What the controller has attached: unique name to disk.
    pub attached: BTreeSet<String>,
}

impl Drop for TestNode {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// `<uid>/<volume>: <host path> <rw|ro>`.
pub fn shown(uid: &str, mounted: &[MountedVolume]) -> Vec<String> {
    let flag = |volume: &MountedVolume| if volume.read_only { "ro" } else { "rw" };
    let line = |v: &MountedVolume| format!("{uid}/{}: {} {}", v.outer_name, v.host_path, flag(v));
    mounted.iter().map(line).collect()
}

impl TestNode {
    pub async fn new() -> Self {
        Self::behind(|host| host).await
    }

    /// The first agent reaches its host through something.
    pub async fn behind(wrap: impl FnOnce(Arc<dyn Host>) -> Arc<dyn Host>) -> Self {
        use crate::plugins::host::Hosts;
        let clock = ManualClock::new(Timestamp::from_second(1_800_000_000).expect("in range"));
        let world = World::new(Arc::new(clock.clone()), Layout::default());
        world.add(NODE);
        let objects = Arc::new(Objects::default());
        objects.put(kind::NODE, json!({"metadata": {"name": NODE, "labels": {"zone": "a"}}}));
        let host = wrap(world.host(NODE).expect("a host"));
        let (manager, notes) = manager(host, &world, &objects);
        let task = tokio::spawn(manager.clone().run());
        let (pods, attached) = (BTreeMap::new(), BTreeSet::new());
        let node = Self { clock, world, objects, manager, task, notes, pods, attached };
        node.clock.idle().await;
        node
    }

    /// The agent is killed and started again: it knows nothing.
    pub async fn restart(&mut self) {
        self.task.abort();
        let (manager, notes) = manager(self.host(), &self.world, &self.objects);
        self.task = tokio::spawn(manager.clone().run());
        (self.manager, self.notes) = (manager, notes);
    }

    /// After a restart: the pods that run are told, and the node's status.
    pub fn tell_all(&self) {
        self.pods.values().for_each(|pod| self.manager.want(pod));
        self.manager.sources_ready();
        self.manager.node_changed(&self.row());
    }

    /// A claim bound to a block disk that exists.
    pub async fn disk(&self, name: &str, modes: &[&str], mode: &str) {
        self.world.create(name, 1 << 30).await.expect("a disk");
        self.claim(name, modes, mode, json!({"flexVolume": {"driver": "pvdeck.dev/block-disk"}}));
    }

    /// A claim bound to a volume with this source.
    pub fn claim(&self, name: &str, modes: &[&str], mode: &str, source: Value) {
        let mut spec = json!({"accessModes": modes, "volumeMode": mode,
            "capacity": {"storage": "1Gi"}, "claimRef": {"uid": format!("c-{name}")}});
        for (field, value) in source.as_object().expect("a source") {
            spec[field] = value.clone();
        }
        self.objects.put(
            kind::PERSISTENT_VOLUME,
            json!({"metadata": {"name": name, "uid": format!("v-{name}")}, "spec": spec}),
        );
        self.objects.put(
            kind::PERSISTENT_VOLUME_CLAIM,
            json!({
                "metadata": {"namespace": "shop", "name": name, "uid": format!("c-{name}")},
                "spec": {"volumeName": name}, "status": {"phase": "Bound"},
            }),
        );
    }

    /// A pod that uses these volumes, each at `/<name>`.
    pub fn pod(uid: &str, volumes: &[Value]) -> Value {
        let mounts: Vec<Value> = volumes
            .iter()
            .map(|v| json!({"name": v["name"], "mountPath": format!("/mnt/{}", v["name"].as_str().unwrap_or_default())}))
            .collect();
        json!({
            "metadata": {"namespace": "shop", "name": format!("pod-{uid}"), "uid": uid},
            "spec": {"volumes": volumes, "containers": [{"name": "app", "volumeMounts": mounts}]},
        })
    }

    /// An entry of `spec.volumes` for a claim of the same name.
    pub fn of_claim(name: &str) -> Value {
        json!({"name": name, "persistentVolumeClaim": {"claimName": name}})
    }

    pub fn want(&mut self, pod: Value) {
        self.manager.want(&pod);
        let uid = pod["metadata"]["uid"].as_str().expect("a uid").to_owned();
        self.pods.insert(uid, pod);
    }

    pub fn let_go(&mut self, uid: &str) {
        self.pods.remove(uid);
        self.manager.let_go(uid);
    }

    fn row(&self) -> Node {
        let object = ObjectRef::new(kind::NODE, Key::cluster(NODE));
        let held = self.objects.held.lock().expect("objects");
        Node::from_object(&held[&object]).expect("a node")
    }

    /// What the agent and the controller do about the node's status, until
    /// nothing changes: the list of volumes in use is written and accepted, and
    /// disks are attached and detached by it.
    pub async fn settle(&mut self) {
        for _ in 0..30 {
            self.clock.idle().await;
            if !self.control().await {
                return;
            }
        }
        panic!("the node does not settle");
    }

    /// One round of that; whether anything changed.
    pub async fn control(&mut self) -> bool {
        let in_use = self.manager.in_use();
        if let Some(list) = &in_use {
            self.manager.in_use_accepted(list);
        }
        let wanted: BTreeSet<String> = match in_use {
            Some(list) => list.iter().map(|name| name.to_string()).collect(),
            // The old list stays.
            None => self.attached.clone(),
        };
        let mut changed = false;
        for name in wanted.symmetric_difference(&self.attached.clone()) {
            let disk = name.rsplit('/').next().unwrap_or_default();
            let on_behalf = OnBehalf::volume(name.as_str());
            let is_new = wanted.contains(name);
            // Slow or failing attachment is not what is tested here.
            let done = if is_new {
                self.world.attach(&on_behalf, disk, NODE, true).await.map(drop)
            } else {
                self.world.detach(&on_behalf, disk, NODE).await
            };
            if done.is_ok() {
                changed = true;
                if is_new {
                    self.attached.insert(name.clone())
                } else {
                    self.attached.remove(name)
                };
            }
        }
        if changed {
            let mut list = Vec::new();
            for name in &self.attached {
                let disk = name.rsplit('/').next().unwrap_or_default();
                let nodes = self.world.attached_to(disk).await.unwrap_or_default();
                let device = nodes.into_iter().find(|(node, _)| node == NODE);
                list.push(json!({"name": name, "devicePath": device.map(|(_, path)| path)}));
            }
            self.objects.change(kind::NODE, Key::cluster(NODE), |node| {
                node["status"] = json!({"volumesAttached": list});
            });
            self.manager.node_changed(&self.row());
        }
        changed
    }

    /// Waits for a pod's volumes, the controller working meanwhile.
    pub async fn start(&mut self, uid: &str) -> Result<Vec<String>, NotMounted> {
        let (manager, waited) = (self.manager.clone(), uid.to_owned());
        let mut waiting = tokio::spawn(async move { manager.wait_mounted(&waited).await });
        for _ in 0..200 {
            self.settle().await;
            if let Some(ended) = (&mut waiting).now_or_never() {
                return ended.expect("no panic").map(|mounted| shown(uid, &mounted));
            }
            self.clock.advance(Duration::from_secs(1)).await;
        }
        panic!("waiting has no end");
    }

    pub fn host(&self) -> Arc<dyn Host> {
        use crate::plugins::host::Hosts;
        self.world.host(NODE).expect("a host")
    }

    /// The commands that were run, as one types them.
    pub fn commands(&self) -> Vec<String> {
        let records = self.host().records();
        records.iter().filter(|r| !r.line().starts_with("losetup")).map(|r| r.line()).collect()
    }

    /// The mount points below the kubelet's root, without it.
    pub async fn mount_points(&self) -> Vec<String> {
        let table = self.host().mounts().await.expect("a mount table");
        let root = Layout::default().root().to_owned();
        table.0.iter().filter_map(|m| m.target.strip_prefix(&root).map(str::to_owned)).collect()
    }

    /// Whether nothing of any volume is left on the node.
    pub async fn why_not_clean(&self) -> Option<String> {
        let (mounts, host) = (self.mount_points().await, self.host());
        let left = crate::controllers::node_agent::volumes::reconstruct::scan(&*host).await;
        let left = left.expect("a look");
        let state = self.world.snapshot();
        let devices = state.machines[NODE].loops.len();
        let clean =
            mounts.is_empty() && left.is_empty() && self.attached.is_empty() && devices == 0;
        (!clean).then(|| {
            let board = self.manager.board();
            format!("{mounts:?} {left:?} {:?} {devices} {board:#?}", self.attached)
        })
    }

    /// The events told since last asked: `reason: message`.
    pub fn events(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        while let Ok(note) = self.notes.try_recv() {
            told.push(format!("{}: {}", note.reason, note.message));
        }
        told
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

fn manager(
    host: Arc<dyn Host>,
    world: &World,
    objects: &Arc<Objects>,
) -> (Arc<VolumeManager>, mpsc::Receiver<Note>) {
    let (recorder, notes) = Recorder::new();
    let disks: Arc<dyn Disks> = Arc::new(world.clone());
    let parts = Parts {
        host,
        plugins: for_nodes(&disks, false),
        server: objects.clone(),
        recorder,
        boards: watch::Sender::new(0),
    };
    (VolumeManager::new(parts), notes)
}
