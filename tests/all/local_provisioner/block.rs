//! Block devices of local volumes are cleaned as their class says: on a
//! simulated node, and with the real commands on loop devices.
//!
//! The real one needs root and loop devices; it says `skipped:` without.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pvdeck::cluster::clock::ManualClock;
use pvdeck::controllers::host;
use pvdeck::controllers::machines::Machines;
use pvdeck::model::clock::Clock;
use pvdeck::model::kind;
use pvdeck::model::volume::VolumePhase;
use pvdeck::plugins::for_nodes;
use pvdeck::plugins::host::simulated::World;
use pvdeck::plugins::host::simulated::state::DiskContent;
use pvdeck::plugins::host::{Command, Disks, Exit, Files, Host, Hosts, OnBehalf};
use pvdeck::plugins::layout::Layout;
use pvdeck::session::{EmbeddedOptions, NodeMachines, Session};
use serde_json::{Value, json};

use crate::bare_cluster::clock;
use crate::by_hand::{ByHand, reference};
use crate::linux_host::{Loops, real_nodes, skip, why_not_here};

const NODE: &str = "node-1";
const MIB: u64 = 1 << 20;
const SECRET: &[u8] = b"what the last user left behind";
/// Where on the device it is.
const SECRET_AT: u64 = 8 * MIB;

/// Class and cleaner; each class has one device.
const CLASSES: [(&str, &[&str]); 4] = [
    ("quick", &["/scripts/quick_reset.sh"]),
    ("zero", &["/scripts/dd_zero.sh"]),
    ("shred", &["/scripts/shred.sh", "1"]),
    ("discard", &["/scripts/blkdiscard.sh"]),
];

struct Cluster {
    clock: ManualClock,
    session: Session,
    user: kube::Client,
}

impl Cluster {
    fn new(clock: &ManualClock, machines: Machines) -> Self {
        let controllers = host::Options { machines: Some(machines), ..host::Options::default() };
        let options = EmbeddedOptions {
            controllers: Some(controllers),
            machines: NodeMachines::Nothing,
            ..EmbeddedOptions::default()
        };
        let clock = clock.clone();
        let session = Session::embedded_on(Arc::new(clock.clone()), options).expect("opens");
        let embedded = session.demo.as_ref().expect("in this process").embedded.clone();
        let user = kube::Client::new(embedded, "default");
        Self { clock, session, user }
    }

    /// Classes with these cleaners, each with a directory of its own.
    async fn configure(&self, classes: &[(&str, &[&str])]) {
        let mut map = serde_json::Map::new();
        for (class, cleaner) in classes {
            let object = json!({"metadata": {"name": class},
                "provisioner": "kubernetes.io/no-provisioner"});
            self.user.create(kind::STORAGE_CLASS, object).await;
            let directory = format!("/mnt/{class}");
            map.insert(
                (*class).to_owned(),
                json!({"hostDir": directory, "mountDir": directory, "volumeMode": "Block",
                    "blockCleanerCommand": cleaner}),
            );
        }
        let data = json!({"storageClassMap": Value::Object(map).to_string()});
        let name = json!({"name": "local-provisioner-config", "namespace": "kube-system"});
        self.user.create(kind::CONFIG_MAP, json!({"metadata": name, "data": data})).await;
    }

    async fn claim(&self, class: &str) {
        let claim = json!({"metadata": {"name": class}, "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": class, "volumeMode": "Block",
            "resources": {"requests": {"storage": "10Mi"}}}});
        self.user.create(kind::PERSISTENT_VOLUME_CLAIM, claim).await;
    }

    async fn unclaim(&self, class: &str) {
        self.user.delete(&reference(kind::PERSISTENT_VOLUME_CLAIM, class)).await;
    }

    /// Phase and uid of the volume of each class.
    fn volumes(&self) -> BTreeMap<String, (VolumePhase, String)> {
        self.session.mirror.read(|tables| {
            let row = |volume: &Arc<pvdeck::model::volume::Volume>| {
                (volume.class.to_string(), (volume.phase, volume.meta.uid.to_string()))
            };
            tables.volumes.iter().map(row).collect()
        })
    }

    fn all(&self, phase: VolumePhase, count: usize) -> bool {
        let volumes = self.volumes();
        volumes.len() == count && volumes.values().all(|(own, _)| *own == phase)
    }

    fn events(&self, reason: &str) -> Vec<String> {
        self.session.mirror.read(|tables| {
            let of = tables.events.iter().filter(|event| *event.reason == *reason);
            of.map(|event| event.message.to_string()).collect()
        })
    }

    /// Lets time pass; real commands take real time.
    async fn until(&self, what: &str, done: impl Fn() -> bool) {
        for _ in 0..600 {
            if done() {
                return;
            }
            self.clock.advance(Duration::from_secs(1)).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("never {what}: {:?} {:?}", self.volumes(), self.events("VolumeFailedDelete"));
    }

    /// All volumes are claimed, used and given back, and come anew.
    async fn around(&self, classes: &[(&str, &[&str])]) {
        let count = classes.len();
        self.until("found", || self.all(VolumePhase::Available, count)).await;
        let before = self.volumes();
        for (class, _) in classes {
            self.claim(class).await;
        }
        self.until("bound", || self.all(VolumePhase::Bound, count)).await;
        for (class, _) in classes {
            self.unclaim(class).await;
        }
        self.until("clean", || self.all(VolumePhase::Available, count)).await;
        let after = self.volumes();
        for (class, (_, uid)) in &before {
            assert_ne!(*uid, after[class].1, "{class}: another volume of that name");
        }
        let wiping = self.events("VolumeDelete");
        assert_eq!(wiping.len(), count, "{wiping:?}");
        assert!(wiping.iter().all(|said| said.starts_with("Starting cleanup of Block PV")));
        assert_eq!(self.events("VolumeFailedDelete"), Vec::<String>::new());
    }
}

/// A simulated node with a device for each class, a filesystem on each.
async fn simulated(clock: &ManualClock, classes: &[(&str, &[&str])]) -> World {
    let world = World::new(Arc::new(clock.clone()), Layout::default());
    let host = world.add(NODE);
    for (class, _) in classes {
        let device = format!("/dev/{class}");
        world.add_device(NODE, &device, 16 * MIB);
        let format =
            Command::Format { device: device.clone(), fs_type: "ext4".into(), options: Vec::new() };
        host.run(&OnBehalf::default(), format).await.expect("it runs");
        let files = Files(&*host);
        files.make_directories(&format!("/mnt/{class}"), 0o755).await.expect("made");
        files.link(&format!("/mnt/{class}/disk"), &device).await.expect("linked");
    }
    world
}

#[tokio::test(start_paused = true)]
async fn a_simulated_device_is_blank_after_each_cleaner() {
    let clock = clock();
    let world = simulated(&clock, &CLASSES).await;
    let cluster = Cluster::new(&clock, Machines::of(world.clone(), false));
    cluster.configure(&CLASSES).await;
    cluster.around(&CLASSES).await;
    let state = world.snapshot();
    assert_eq!(state.disks.len(), CLASSES.len());
    for (id, disk) in &state.disks {
        assert_eq!(disk.content, DiskContent::Blank, "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cleaner_that_fails_keeps_its_volume_and_is_tried_each_round() {
    let classes: [(&str, &[&str]); 1] = [("own", &["/opt/wipe", "fast"])];
    let clock = clock();
    let world = simulated(&clock, &classes).await;
    let cluster = Cluster::new(&clock, Machines::of(world.clone(), false));
    cluster.configure(&classes).await;
    cluster.until("found", || cluster.all(VolumePhase::Available, 1)).await;
    cluster.claim("own").await;
    cluster.until("bound", || cluster.all(VolumePhase::Bound, 1)).await;
    cluster.unclaim("own").await;
    cluster.until("told", || !cluster.events("VolumeFailedDelete").is_empty()).await;
    assert!(cluster.all(VolumePhase::Released, 1));
    let said = cluster.events("VolumeFailedDelete");
    assert!(said[0].starts_with("Error cleaning PV \"local-pv-"), "{said:?}");
    assert!(
        said[0].contains(
            "the cleaner `/opt/wipe fast` failed on /mnt/own/disk: \
             `env LOCAL_PV_BLKDEVICE=/mnt/own/disk /opt/wipe fast`: \
             executable file not found in $PATH"
        ),
        "{said:?}"
    );
    let tried = || {
        let host = world.host(NODE).expect("a machine");
        let records = host.records();
        records.iter().filter(|record| matches!(record.command, Command::Wipe { .. })).count()
    };
    let before = tried();
    cluster.clock.advance(Duration::from_secs(31)).await;
    assert_eq!(tried(), before + 3, "once a round");
}

#[tokio::test]
async fn real_devices_are_cleaned_with_real_commands() {
    if let Some(why) = why_not_here() {
        return skip(why);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let disks = folder.path().join("disks");
    let _loops = Loops(disks.clone());
    let clock = clock();
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let nodes = match real_nodes(folder.path(), &[NODE], &shared) {
        Ok(nodes) => nodes,
        Err(why) => {
            return skip(&why);
        }
    };
    let host = nodes.host(NODE).expect("a node");
    let files = Files(&*host);
    for (class, _) in CLASSES {
        nodes.create(class, 16 * MIB).await.expect("a disk");
        let device = nodes.attach(&OnBehalf::default(), class, NODE, false).await;
        let device = device.expect("attached");
        files.make_directories(&format!("/mnt/{class}"), 0o755).await.expect("made");
        files.link(&format!("/mnt/{class}/disk"), &device).await.expect("linked");
        let format = Command::Format {
            device: device.clone(),
            fs_type: "ext4".into(),
            options: vec!["-F".into()],
        };
        let record = host.run(&OnBehalf::default(), format).await.expect("it runs");
        assert!(record.succeeded(), "{}", record.output());
        let file = fs::OpenOptions::new().write(true).open(&device).expect("the device");
        file.write_all_at(SECRET, SECRET_AT).expect("written");
        file.sync_all().expect("written");
    }
    let machines = Machines {
        hosts: nodes.clone(),
        disks: nodes.clone(),
        plugins: for_nodes(&(nodes.clone() as Arc<dyn Disks>), false),
        runtimes: Arc::default(),
        flex_volume: None,
    };
    let cluster = Cluster::new(&clock, machines);
    cluster.configure(&CLASSES).await;
    cluster.around(&CLASSES).await;
    for (class, _) in CLASSES {
        let probe = Command::Probe { device: format!("/mnt/{class}/disk") };
        let record = host.run(&OnBehalf::default(), probe).await.expect("it runs");
        assert_eq!(record.exit(), Some(Exit::Code(2)), "{class}: {}", record.output());
        // A quick reset promises no more than that nothing is recognised.
        if class != "quick" {
            assert!(!is_there(&disks, class), "{class}");
        }
    }
    drop(cluster);
    for (class, _) in CLASSES {
        nodes.detach(&OnBehalf::default(), class, NODE).await.expect("detached");
    }
}

/// Whether the secret is still in the disk's file.
fn is_there(disks: &Path, disk: &str) -> bool {
    let image = fs::read(disks.join(format!("{disk}.img"))).expect("the disk");
    image.windows(SECRET.len()).any(|bytes| bytes == SECRET)
}
