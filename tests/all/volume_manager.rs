//! A node's volume manager, the whole way of its volumes, on a simulated node
//! and on a real one with loop devices: same commands, same mount table, and on
//! the real one the files are really there.
//!
//! Needs root and loop devices for the real one; says `skipped:` without.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures::future::{BoxFuture, FutureExt, ready};
use pvdeck::cluster::clock::RunningClock;
use pvdeck::cluster::write_path::WriteError;
use pvdeck::controllers::events::Recorder;
use pvdeck::controllers::node_agent::volumes::manager::{Parts, VolumeManager};
use pvdeck::controllers::node_agent::volumes::{MountedVolume, NodeVolumes};
use pvdeck::controllers::server::{ReadError, Server};
use pvdeck::model::clock::Clock;
use pvdeck::model::kind::{self, Kind};
use pvdeck::model::node::Node;
use pvdeck::model::object::{Key, ObjectRef};
use pvdeck::model::row::Row;
use pvdeck::model::volume_source::VolumeSpec;
use pvdeck::model::write::Write;
use pvdeck::plugins::host::Files;
use pvdeck::plugins::host::simulated::World;
use pvdeck::plugins::layout::Layout;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::linux_host::{Loops, Nodes, Seen, real_nodes, skip, why_not_here};

const NODE: &str = "n1";
const NOTE: &[u8] = b"written by a pod";

/// A few objects, read only.
#[derive(Default)]
struct Objects(Mutex<BTreeMap<ObjectRef, Value>>);

impl Objects {
    fn put(&self, kind: &'static Kind, value: Value) {
        let text = |field: &str| value["metadata"][field].as_str().unwrap_or_default().to_owned();
        let key = Key::new(text("namespace"), text("name"));
        self.0.lock().expect("objects").insert(ObjectRef::new(kind, key), value);
    }
}

impl Server for Objects {
    fn get<'a>(&'a self, object: &'a ObjectRef) -> BoxFuture<'a, Result<Option<Value>, ReadError>> {
        ready(Ok(self.0.lock().expect("objects").get(object).cloned())).boxed()
    }

    fn list<'a>(
        &'a self,
        _: &'static Kind,
        _: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<Value>, ReadError>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn perform<'a>(&'a self, _: &'a Write) -> BoxFuture<'a, Result<Value, WriteError>> {
        ready(Ok(Value::Null)).boxed()
    }

    fn nothing_to_do(&self, _: &ObjectRef, _: &str) {}
}

/// The manager of a node, and who attaches for it.
struct Story<'a> {
    nodes: &'a Nodes,
    objects: Arc<Objects>,
    manager: Arc<VolumeManager>,
    task: JoinHandle<()>,
    attached: BTreeSet<Arc<str>>,
}

impl Drop for Story<'_> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn manager(nodes: &Nodes, objects: &Arc<Objects>) -> (Arc<VolumeManager>, JoinHandle<()>) {
    let manager = VolumeManager::new(Parts {
        host: nodes.host(NODE),
        plugins: nodes.plugins.clone(),
        server: objects.clone(),
        recorder: Recorder::new().0,
        boards: watch::Sender::new(0),
    });
    let task = tokio::spawn(manager.clone().run());
    (manager, task)
}

impl<'a> Story<'a> {
    fn new(nodes: &'a Nodes) -> Self {
        let objects = Arc::new(Objects::default());
        objects.put(kind::NODE, json!({"metadata": {"name": NODE}}));
        let (manager, task) = manager(nodes, &objects);
        Self { nodes, objects, manager, task, attached: BTreeSet::new() }
    }

    fn restart(&mut self) {
        self.task.abort();
        (self.manager, self.task) = manager(self.nodes, &self.objects);
    }

    async fn disk(&self, name: &str, mode: &str) {
        self.nodes.disks.create(name, 32 << 20).await.expect("a disk");
        let claim = format!("uid-{name}");
        self.objects.put(kind::PERSISTENT_VOLUME, volume(name, mode));
        self.objects.put(
            kind::PERSISTENT_VOLUME_CLAIM,
            json!({"metadata": {"namespace": "shop", "name": name, "uid": claim},
                "spec": {"volumeName": name}, "status": {"phase": "Bound"}}),
        );
    }

    /// Attaches and detaches by what is in use, and reports it.
    async fn control(&mut self) {
        let Some(list) = self.manager.in_use() else { return };
        self.manager.in_use_accepted(&list);
        let wanted: BTreeSet<Arc<str>> = list.into_iter().collect();
        if wanted == self.attached {
            return;
        }
        let plugin = self.nodes.plugins.by_name("pvdeck.dev/block-disk").expect("a plugin");
        let disk = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
        for gone in self.attached.difference(&wanted) {
            plugin.detach(&disk(gone), NODE).await.expect("detached");
        }
        let mut status = Vec::new();
        for name in &wanted {
            let spec = VolumeSpec::from_volume(&volume(&disk(name), "Filesystem"), false);
            let device = plugin.attach(&spec, NODE).await.expect("attached");
            status.push(json!({"name": &**name, "devicePath": device}));
        }
        let node = json!({"metadata": {"name": NODE}, "status": {"volumesAttached": status}});
        self.manager.node_changed(&Node::from_object(&node).expect("a node"));
        self.objects.put(kind::NODE, node);
        self.attached = wanted;
    }

    async fn start(&mut self, uid: &str) -> Vec<MountedVolume> {
        let (manager, uid) = (self.manager.clone(), uid.to_owned());
        let mut changes = manager.in_use_changes();
        let waiting = async { manager.wait_mounted(&uid).await.expect("mounted") };
        tokio::pin!(waiting);
        loop {
            self.control().await;
            tokio::select! {
                mounted = &mut waiting => return mounted,
                _ = changes.changed() => {}
            }
        }
    }

    /// Until nothing of the pod is mounted and nothing unwanted attached.
    async fn stop(&mut self, uid: &str, left: usize) {
        let manager = self.manager.clone();
        let mut changes = manager.in_use_changes();
        manager.let_go(uid);
        manager.wait_unmounted(uid).await.expect("unmounted");
        while self.attached.len() > left {
            self.control().await;
            if self.attached.len() > left {
                changes.changed().await.expect("a change");
            }
        }
    }
}

fn volume(name: &str, mode: &str) -> Value {
    json!({"metadata": {"name": name, "uid": format!("pv-{name}")}, "spec": {
        "accessModes": ["ReadWriteOnce"], "volumeMode": mode, "capacity": {"storage": "32Mi"},
        "claimRef": {"uid": format!("uid-{name}")},
        "flexVolume": {"driver": "pvdeck.dev/block-disk", "fsType": "ext4"},
    }})
}

fn pod(uid: &str, volume: &Value, field: &str) -> Value {
    let path = if field == "volumeDevices" { "devicePath" } else { "mountPath" };
    json!({
        "metadata": {"namespace": "shop", "name": uid, "uid": uid},
        "spec": {"volumes": [volume],
            "containers": [{"name": "app", field: [{"name": volume["name"], path: "/v"}]}]},
    })
}

fn claim(name: &str, read_only: bool) -> Value {
    json!({"name": name, "persistentVolumeClaim": {"claimName": name, "readOnly": read_only}})
}

/// A disk in two pods, one of which may only read; the agent killed and started
/// again between; a disk as a device; all of it taken away, and mounted again.
/// Gives what was seen after each.
async fn story(nodes: &Nodes) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut story = Story::new(nodes);
    story.disk("data", "Filesystem").await;
    story.disk("raw", "Block").await;
    story.manager.sources_ready();
    let writer = pod("writer", &claim("data", false), "volumeMounts");
    let reader = pod("reader", &claim("data", true), "volumeMounts");
    story.manager.want(&writer);
    let path = story.start("writer").await[0].host_path.clone();
    let host = nodes.host(NODE);
    let files = Files(&*host);
    files.write(&format!("{path}/note"), NOTE, 0o644).await.expect("written");
    story.manager.want(&reader);
    let mounted = story.start("reader").await;
    assert!(mounted[0].read_only);
    let read = files.read(&format!("{}/note", mounted[0].host_path), 100).await;
    assert_eq!(read.as_deref(), Ok(NOTE));
    seen.push(nodes.seen(NODE).await);

    story.restart();
    story.manager.want(&writer);
    story.manager.want(&reader);
    story.manager.sources_ready();
    story.start("writer").await;
    story.start("reader").await;
    seen.push(nodes.seen(NODE).await);

    story.manager.want(&pod("raw", &claim("raw", false), "volumeDevices"));
    let mounted = story.start("raw").await;
    assert!(mounted[0].is_block);
    let device = files.look(&mounted[0].host_path).await.expect("looked").expect("a device");
    assert_eq!(device.kind, pvdeck::plugins::host::FileKind::BlockDevice);
    story.stop("raw", 1).await;
    seen.push(nodes.seen(NODE).await);

    story.stop("reader", 1).await;
    story.stop("writer", 0).await;
    assert_eq!(nodes.disks.attached_to("data").await, Ok(Vec::new()));
    seen.push(nodes.seen(NODE).await);
    assert!(seen[3].mounts.is_empty(), "{:?}", seen[3].mounts);

    story.manager.want(&pod("again", &claim("data", false), "volumeMounts"));
    let path = story.start("again").await[0].host_path.clone();
    let read = files.read(&format!("{path}/note"), 100).await;
    assert_eq!(read.as_deref(), Ok(NOTE));
    seen.push(nodes.seen(NODE).await);
    story.stop("again", 0).await;
    seen
}

#[tokio::test]
async fn a_real_nodes_volumes_go_the_same_way_as_a_simulated_ones() {
    let clock: Arc<dyn Clock> = Arc::new(RunningClock::new());
    let world = World::new(clock.clone(), Layout::default());
    world.add(NODE);
    let simulated = story(&Nodes::new(Arc::new(world))).await;
    assert_eq!(simulated[0].mounts.len(), 3, "{simulated:#?}");
    assert_eq!(simulated[0], simulated[1], "after a restart nothing is done again");

    if let Some(why) = why_not_here() {
        skip(why);
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let _loops = Loops(folder.path().join("disks"));
    let nodes = match real_nodes(folder.path(), &[NODE], &clock) {
        Ok(nodes) => nodes,
        Err(why) => {
            skip(&why);
            return;
        }
    };
    let real = story(&Nodes::new(nodes)).await;
    for (at, (real, simulated)) in real.iter().zip(&simulated).enumerate() {
        assert_eq!(real, simulated, "step {at}");
    }
    let image = std::fs::read(folder.path().join("disks/data.img")).expect("the disk");
    assert!(image.windows(NOTE.len()).any(|bytes| bytes == NOTE), "really on the device");
}
