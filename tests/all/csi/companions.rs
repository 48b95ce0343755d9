//! The companions of a driver in a process of their own, over HTTPS: a driver,
//! a served cluster that has it on its nodes only, and `csi-companions`.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use pvdeck::cluster::clock::RunningClock;
use pvdeck::cluster::connect::Contexts;
use pvdeck::cluster::write_path::WritePath;
use pvdeck::cluster::write_path::read_only::Access;
use pvdeck::mirror::Tables;
use pvdeck::model::claim::ClaimPhase;
use pvdeck::model::kind;
use pvdeck::model::write::Actor;
use pvdeck::session::Session;
use serde_json::{Value, json};

use crate::by_hand::{ByHand, reference};
use crate::served::Served;

const DRIVER: &str = "outside.example";

/// A process of ours, ended when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the program and waits for its first line.
fn start(folder: &Path, arguments: &[&str]) -> (Process, String) {
    use std::io::BufRead;
    let mut command = Command::new(env!("CARGO_BIN_EXE_pvdeck"));
    command.args(arguments).stdout(Stdio::piped());
    command.env("XDG_STATE_HOME", folder).env("HOME", folder);
    let mut child = command.spawn().expect("started");
    let mut line = String::new();
    let out = child.stdout.take().expect("stdout");
    std::io::BufReader::new(out).read_line(&mut line).expect("a line");
    (Process(child), line)
}

fn class() -> Value {
    json!({
        "metadata": {"name": "outside"}, "provisioner": DRIVER, "allowVolumeExpansion": true,
    })
}

fn claim() -> Value {
    json!({
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "outside",
            "resources": {"requests": {"storage": "1Mi"}},
        },
    })
}

fn pod() -> Value {
    json!({
        "metadata": {"name": "pod"},
        "spec": {
            "nodeName": "node-1", "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "main", "image": "busybox:1.35",
                "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        },
    })
}

/// The words that start a driver which is the same on all nodes.
fn driver<'a>(endpoint: &'a str, root: &'a str) -> Vec<&'a str> {
    let words = ["csi-driver", "--endpoint", endpoint, "--root", root, "--name", DRIVER];
    [&words[..], &["--backing", "directory", "--node-id", "all"]].concat()
}

/// A user of the served cluster.
struct User {
    client: kube::Client,
    session: Session,
}

impl User {
    async fn of(served: &Served) -> Self {
        let connect = async || {
            let contexts = Contexts::read(Some(&served.kubeconfig())).expect("read");
            contexts.expect("contexts").connect(None).await.expect("connected")
        };
        let path = WritePath::new(
            connect().await.base,
            "default",
            Arc::new(RunningClock::new()),
            Access::writable(),
        );
        let client = path.client(Actor("user".into()));
        let session = Session::live(connect().await, Access::locked(), None);
        Self { client, session }
    }

    /// The pod and the claim go, and with them the volume.
    async fn let_go(&self, folder: &Path) {
        self.client.delete(&reference(kind::POD, "pod")).await;
        self.client.delete(&reference(kind::PERSISTENT_VOLUME_CLAIM, "data")).await;
        let gone = |tables: &Tables| tables.volumes.is_empty() && tables.attachments.is_empty();
        self.until("everything is gone", gone).await;
        let left = std::fs::read_dir(folder.join("data/volumes"));
        assert_eq!(left.map(Iterator::count).unwrap_or_default(), 0, "no volume is left");
    }

    /// Waits until the mirror of the cluster shows something.
    async fn until(&self, what: &str, is_so: impl Fn(&Tables) -> bool) {
        let mut changes = self.session.mirror.subscribe();
        let shown = async {
            while !self.session.mirror.read(&is_so) {
                changes.changed().await;
            }
        };
        let shown = tokio::time::timeout(Duration::from_secs(90), shown).await;
        shown.unwrap_or_else(|_| panic!("it is never so that {what}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_comes_and_goes_is_on_the_nodes_meanwhile() {
    let folder = tempfile::tempdir().expect("a folder");
    let registry = folder.path().join("plugins_registry");
    std::fs::create_dir(&registry).expect("made");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (endpoint, root) = (format!("unix://{}", at("csi.sock")), at("data"));
    let registry = registry.display().to_string();
    let served = Served::start(&["--csi-registry", &registry]).await;
    let user = User::of(&served).await;
    let driver = driver(&endpoint, &root);
    let driver = [&driver[..], &["--registration-dir", &registry]].concat();
    let is_there = |tables: &Tables| {
        let drivers = tables.csi_nodes.iter().flat_map(|node| node.drivers.iter());
        drivers.filter(|driver| &*driver.name == DRIVER && &*driver.node_id == "all").count()
    };
    for _ in 0..2 {
        let (mut process, _) = start(folder.path(), &driver);
        user.until("it is on both nodes", |tables| is_there(tables) == 2).await;
        let id = i32::try_from(process.0.id()).expect("an id");
        let id = rustix::process::Pid::from_raw(id).expect("a process");
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("told");
        process.0.wait().expect("ended");
        user.until("it is on no node", |tables| is_there(tables) == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_provisions_attaches_and_grows_over_https() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("csi.sock");
    let endpoint = format!("unix://{}", socket.display());
    let root = folder.path().join("data").display().to_string();
    let driver = driver(&endpoint, &root);
    let (_driver, line) = start(folder.path(), &driver);
    assert!(line.contains("listens on"), "{line}");
    let served = Served::start(&["--csi", &endpoint, "--no-csi-companions"]).await;
    let user = User::of(&served).await;
    user.client.create(kind::STORAGE_CLASS, class()).await;
    user.client.create(kind::PERSISTENT_VOLUME_CLAIM, claim()).await;
    user.until("the claim waits for a provisioner", |tables| {
        let mut events = tables.events.iter();
        events.any(|event| &*event.reason == "ExternalProvisioning")
    })
    .await;
    let kubeconfig = served.kubeconfig().display().to_string();
    let companions = ["csi-companions", "--csi", &endpoint, "--kubeconfig", &kubeconfig];
    let (process, line) = start(folder.path(), &companions);
    assert!(line.starts_with("companions of outside.example run on https://"), "{line}");
    let bound = |tables: &Tables| tables.claims.iter().any(|one| one.phase == ClaimPhase::Bound);
    user.until("the claim is Bound", bound).await;
    // Killed, and another in its place: nothing is made twice.
    drop(process);
    user.client.create(kind::POD, pod()).await;
    user.until("the attachment waits", |tables| tables.attachments.iter().next().is_some()).await;
    let (_process, _) = start(folder.path(), &companions);
    let running = |tables: &Tables| tables.pods.iter().any(|pod| &*pod.phase == "Running");
    user.until("the pod runs", running).await;
    let more = json!({"spec": {"resources": {"requests": {"storage": "2Mi"}}}});
    user.client.merge(&reference(kind::PERSISTENT_VOLUME_CLAIM, "data"), more).await;
    let grown = |tables: &Tables| tables.claims.iter().all(|one| one.capacity == one.request);
    user.until("the claim has what it asks for", grown).await;
    user.let_go(folder.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_of_another_process_gives_a_pod_its_device() {
    let folder = tempfile::tempdir().expect("a folder");
    let endpoint = format!("unix://{}", folder.path().join("csi.sock").display());
    let root = folder.path().join("data").display().to_string();
    let driver = driver(&endpoint, &root);
    let (_driver, _) = start(folder.path(), &driver);
    let served = Served::start(&["--csi", &endpoint]).await;
    let user = User::of(&served).await;
    let (mut claim, mut pod) = (claim(), pod());
    claim["spec"]["volumeMode"] = "Block".into();
    let container = &mut pod["spec"]["containers"][0];
    container["volumeMounts"] = json!([]);
    container["volumeDevices"] = json!([{"name": "data", "devicePath": "/dev/data"}]);
    user.client.create(kind::STORAGE_CLASS, class()).await;
    user.client.create(kind::PERSISTENT_VOLUME_CLAIM, claim).await;
    user.client.create(kind::POD, pod).await;
    let running = |tables: &Tables| tables.pods.iter().any(|pod| &*pod.phase == "Running");
    user.until("the pod runs", running).await;
    user.let_go(folder.path()).await;
}
