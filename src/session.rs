//! One cluster, opened: its write path, its mirror, and for an embedded one the
//! cluster itself with its hosted controllers.
//!
//! The console, `serve`, scenarios and tests all work on a [`Session`]; what
//! kind of cluster is behind it shows only in [`Session::demo`].
//!
//! ```text
//! base ─> write path ─> one client per actor
//!              │               ├─> mirror (watch loops)
//!              │               └─> controllers ─> perform
//!              └─ step gate ─> clock stands while it is shut
//! ```

use std::sync::{Arc, Weak};

use serde_json::{Value, json};
use tokio::task::AbortHandle;

use crate::cluster::Base;
use crate::cluster::clock::RunningClock;
use crate::cluster::connect::Connection;
use crate::cluster::embedded::status::ApiError;
use crate::cluster::embedded::{ContainerLogs, Embedded, Options};
use crate::cluster::permissions::Permissions;
use crate::cluster::write_path::WritePath;
use crate::cluster::write_path::read_only::Access;
use crate::cluster::write_path::step_gate::{Mode, StepGate};
use crate::controllers::csi;
use crate::controllers::csi::embedded::{Csi, EmbeddedDriver};
use crate::controllers::csi::outside::{OutsideDrivers, Registry};
use crate::controllers::csi::registry::Watched;
use crate::controllers::host::{self, Host};
use crate::controllers::machines::Machines;
use crate::mirror::Mirror;
use crate::mirror::watch::{WatchOptions, Watching};
use crate::model::clock::Clock;
use crate::model::node::CONTROLLER_MANAGED;
use crate::model::write::Actor;
use crate::plugins::csi::calls::Calls;
use crate::plugins::csi::driver::Driver;
use crate::plugins::csi::node::CsiPlugin;
use crate::plugins::csi::node::outside::Show;
use crate::plugins::flex_volume;
use crate::plugins::flex_volume::drivers::FlexDrivers;
use crate::plugins::host::Disks;
use crate::plugins::host::simulated::World;
use crate::plugins::host::simulated::programs::Programs;
use crate::plugins::host::simulated::rules::Latency;
use crate::plugins::layout::Layout;

/// Who reads and writes for the person at the screen.
pub const CONSOLE: &str = "pvdeck";

/// The nodes of every new embedded cluster.
pub const NODES: [&str; 2] = ["node-1", "node-2"];

/// The machine that controllers run on, where they run a node's programs.
const CONTROL_PLANE: &str = "control-plane";

/// A disk of its own that each of them has, as a directory.
pub const LOCAL_DISK: &str = "/mnt/disks/ssd";

/// One cluster, opened. Everything it runs stops when it is dropped.
#[derive(Debug)]
pub struct Session {
    /// The context's name, or the demo's.
    pub name: String,
    /// The server's address; empty for a cluster in this process.
    pub server: String,
    pub path: WritePath,
    pub mirror: Mirror,
    pub permissions: Permissions,
    /// The hosted controllers, if any.
    pub host: Option<Host>,
    /// The cluster itself, if it is in this process.
    pub demo: Option<Demo>,
    watching: Watching,
    /// Keeps the clock by the gate, and takes away what has expired.
    upkeep: Option<AbortHandle>,
}

/// A cluster in this process.
#[derive(Debug)]
pub struct Demo {
    pub embedded: Embedded,
    /// Its clock, where that runs by itself: none in tests.
    pub clock: Option<RunningClock>,
    /// The simulated machines under its nodes, if it has such.
    pub world: Option<World>,
    /// The calls to its CSI drivers.
    pub calls: Calls,
    /// The drivers that run in this process.
    pub drivers: Vec<Driver>,
    /// The FlexVolume drivers of its nodes, if they may have such.
    pub flex_drivers: Option<FlexDrivers>,
}

/// What is under the nodes of an embedded cluster.
#[derive(Debug, Clone)]
pub enum NodeMachines {
    /// Nothing: no volume is attached or mounted by this program.
    Nothing,
    /// A simulated machine for each of [`NODES`].
    Simulated,
    /// These simulated machines, which may outlive the session.
    World(World),
}

/// How an embedded cluster is opened.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    pub name: String,
    pub access: Access,
    /// How the controllers are hosted; `None`: not at all. Machines that are
    /// given there stay.
    pub controllers: Option<host::Options>,
    pub machines: NodeMachines,
    /// CSI drivers in this process, on those machines.
    pub drivers: Vec<EmbeddedDriver>,
    /// CSI drivers that run outside, on the machine itself.
    pub outside: Option<OutsideDrivers>,
    /// A real directory in which such drivers announce themselves while the
    /// cluster runs, and one for the paths they are given.
    pub registry: Option<Registry>,
    /// Real FlexVolume drivers for the simulated machines.
    pub flex_volume: Option<Arc<Programs>>,
    /// Whether the nodes know the kinds of volumes that Kubernetes has no more.
    pub legacy_kinds: bool,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            name: "demo".into(),
            access: Access::writable(),
            controllers: Some(host::Options::default()),
            machines: NodeMachines::Simulated,
            drivers: Vec::new(),
            outside: None,
            registry: None,
            flex_volume: None,
            legacy_kinds: false,
        }
    }
}

impl NodeMachines {
    fn world(self, clock: &Arc<dyn Clock>) -> Option<World> {
        match self {
            Self::Nothing => None,
            Self::Simulated => {
                let world = World::new(clock.clone(), Layout::default());
                for node in NODES {
                    drop(world.add(node));
                    world.add_directory(node, LOCAL_DISK);
                }
                Some(world)
            }
            Self::World(world) => Some(world),
        }
    }
}

impl Session {
    /// A new embedded cluster on real time, which stands while the gate is
    /// shut. Call inside a runtime.
    pub fn embedded(options: EmbeddedOptions) -> Result<Self, ApiError> {
        let clock = RunningClock::new();
        let mut session = Self::embedded_on(Arc::new(clock.clone()), options)?;
        if let Some(world) = session.demo.as_ref().and_then(|demo| demo.world.as_ref()) {
            world.set_latency(Latency::realistic());
        }
        let follow = stand_while_shut(session.path.gate().clone(), clock.clone());
        if let Some(demo) = &mut session.demo {
            demo.clock = Some(clock);
            let house = demo.embedded.clone().keep_house();
            let both = async move { tokio::join!(follow, house) };
            session.upkeep = Some(tokio::spawn(both).abort_handle());
        }
        Ok(session)
    }

    /// A new embedded cluster on a clock of the caller's. Call inside a runtime.
    pub fn embedded_on(clock: Arc<dyn Clock>, options: EmbeddedOptions) -> Result<Self, ApiError> {
        let embedded = Self::cluster(&clock, &options)?;
        Ok(Self::over(embedded.base(), clock, embedded, options))
    }

    /// The cluster alone that is opened so: its nodes, and what its drivers say
    /// of themselves.
    pub fn cluster(
        clock: &Arc<dyn Clock>,
        options: &EmbeddedOptions,
    ) -> Result<Embedded, ApiError> {
        // Without controllers here it is there for those of others.
        let outside_kinds = options.controllers.is_none();
        let embedded = Embedded::new(Options { outside_kinds, ..Options::new(clock.clone()) });
        embedded.import(NODES.map(node).into(), "kubelet")?;
        let drivers = options.drivers.iter().map(EmbeddedDriver::object);
        embedded.import(drivers.collect(), CONSOLE)?;
        Ok(embedded)
    }

    /// An embedded cluster behind layers of the caller's, such as faults.
    pub fn over(
        base: Base,
        clock: Arc<dyn Clock>,
        embedded: Embedded,
        options: EmbeddedOptions,
    ) -> Self {
        let EmbeddedOptions {
            name,
            access,
            controllers,
            machines,
            drivers,
            outside,
            registry,
            flex_volume,
            legacy_kinds,
        } = options;
        let path = WritePath::new(base, "default", clock, access);
        let options = WatchOptions { hosting: controllers.is_some(), ..WatchOptions::default() };
        let mut session = Self::open(name, String::new(), path, options);
        let clock = session.path.clock().clone();
        let world = machines.world(&clock);
        let (mut calls, mut running, mut flex_drivers) = (Calls::default(), Vec::new(), None);
        if let Some(mut controllers) = controllers {
            if let Some(world) = &world {
                controllers.csi = csi::embedded::start(&drivers, world, &NODES, &clock);
            }
            if let Some(outside) = &outside {
                outside.join(&mut controllers.csi, &NODES, &clock);
            }
            if let Some(registry) = &registry {
                controllers.csi.registry = Some(Watched {
                    directory: registry.directory.clone(),
                    nodes: NODES.map(Arc::from).into(),
                    drivers: controllers.csi.on_nodes.clone(),
                    calls: controllers.csi.calls.clone(),
                });
            }
            if controllers.machines.is_none() {
                let paths = outside.map(|outside| outside.paths);
                let paths = paths.or(registry.map(|registry| registry.paths));
                let show = paths.zip(world.as_ref()).map(|(paths, world)| {
                    let disks: Arc<dyn Disks> = Arc::new(world.clone());
                    Show { paths, disks }
                });
                let plugin = CsiPlugin::new(controllers.csi.on_nodes.clone(), show);
                let machines = world.clone().map(|world| Machines::of(world, legacy_kinds));
                controllers.machines = machines.map(|machines| machines.with_csi(plugin));
                if let (Some(world), Some(programs)) = (&world, flex_volume) {
                    world.set_programs(programs);
                    let own = world.add(CONTROL_PLANE);
                    let with =
                        |machines: Machines| machines.with_flex_volume(flex_volume::DIRECTORY, own);
                    controllers.machines = controllers.machines.map(with);
                }
            }
            flex_drivers =
                controllers.machines.as_ref().and_then(|machines| machines.flex_volume.clone());
            calls = controllers.csi.calls.clone();
            running = controllers.csi.drivers.clone();
            let host = host::start(&session.path, &session.mirror, &clock, &controllers);
            if let Some(agents) = host.agents() {
                let logs: Weak<dyn ContainerLogs> = Arc::downgrade(agents) as _;
                embedded.tell_logs(logs);
            }
            session.host = Some(host);
        }
        session.demo =
            Some(Demo { embedded, clock: None, world, calls, drivers: running, flex_drivers });
        session
    }

    /// A live cluster. No controller is hosted on it.
    pub fn live(connection: Connection, access: Access, namespace: Option<String>) -> Self {
        let Connection { context, server, default_namespace, base } = connection;
        let path = WritePath::new(base, default_namespace, Arc::new(RunningClock::new()), access);
        let options = WatchOptions {
            namespace,
            heartbeat: true,
            hosting: false,
            seed: u64::from(std::process::id()),
        };
        Self::open(context, server, path, options)
    }

    /// The companions of drivers that run outside, on a cluster whose
    /// controllers run elsewhere.
    pub fn companions(connection: Connection, drivers: &OutsideDrivers) -> Self {
        let Connection { context, server, default_namespace, base } = connection;
        let clock: Arc<dyn Clock> = Arc::new(RunningClock::new());
        let access = Access::writable();
        let path = WritePath::new(base, default_namespace, clock.clone(), access);
        let options = WatchOptions {
            namespace: None,
            heartbeat: true,
            hosting: true,
            seed: u64::from(std::process::id()),
        };
        let mut session = Self::open(context, server, path, options);
        let mut csi = Csi::default();
        drivers.join(&mut csi, &[], &clock);
        let host = host::start_companions(&session.path, &session.mirror, &clock, &csi);
        session.host = Some(host);
        session
    }

    fn open(name: String, server: String, path: WritePath, options: WatchOptions) -> Self {
        let mirror = Mirror::default();
        let client = path.client(Actor(CONSOLE.into()));
        let watching = Watching::start(&mirror, client.clone(), path.clock().clone(), &options);
        Self {
            name,
            server,
            mirror,
            permissions: Permissions::new(client),
            host: None,
            demo: None,
            watching,
            upkeep: None,
            path,
        }
    }

    /// Lists everything again, at once.
    pub fn list_again(&self) {
        self.watching.list_again();
    }

    /// Whether the cluster is outside this process.
    pub fn is_live(&self) -> bool {
        self.demo.is_none()
    }

    /// One step of a paused demo: the first held write passes or, if none is
    /// held, time moves on to the next timer.
    pub fn step(&self) -> Stepped {
        if self.path.gate().pass_one() {
            return Stepped::Write;
        }
        let clock = self.demo.as_ref().and_then(|demo| demo.clock.as_ref());
        match clock.and_then(RunningClock::jump) {
            Some(by) => Stepped::Time(by),
            None => Stepped::Nothing,
        }
    }
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stepped {
    /// A held write was let pass.
    Write,
    /// Nothing was held; the clock moved on by this.
    Time(jiff::SignedDuration),
    /// Nothing was held and no timer waits, or the clock runs.
    Nothing,
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(task) = &self.upkeep {
            task.abort();
        }
    }
}

/// Keeps the clock still while every write waits, so that no timeout runs out
/// while someone reads.
async fn stand_while_shut(gate: StepGate, clock: RunningClock) {
    let mut changes = gate.changes();
    loop {
        match gate.mode() {
            Mode::Shut { permits: 0 } if !clock.is_standing() => clock.stand(),
            Mode::Shut { permits: 0 } => {}
            Mode::Open | Mode::Until(_) | Mode::Shut { .. } if clock.is_standing() => clock.run(),
            Mode::Open | Mode::Until(_) | Mode::Shut { .. } => {}
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// A node that is Ready, as its kubelet would report it.
fn node(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/hostname": name},
            "annotations": {CONTROLLER_MANAGED: "true"},
        },
        "spec": {},
        "status": {
            "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"},
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "KubeletReady",
                 "message": "kubelet is posting ready status"},
            ],
            "nodeInfo": {"kubeletVersion": "v1.36.0", "operatingSystem": "linux", "architecture": "amd64"},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::clock::ManualClock;
    use crate::cluster::write_path::{perform, perform_as_shown};
    use crate::model::kind;
    use crate::model::object::{Key, ObjectRef};
    use crate::model::write::{Change, Reason, Write};

    fn class(name: &str) -> Write {
        let object = ObjectRef::new(kind::STORAGE_CLASS, Key::cluster(name));
        let body = json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "metadata": {"name": name}, "provisioner": "kubernetes.io/no-provisioner",
        });
        Write {
            object: object.clone(),
            subresource: None,
            change: Change::Create(body),
            version: None,
            on_behalf_of: object,
            reason: Reason::new("test", "a class"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_shows_in_the_mirror_and_names_its_actor_in_the_history() {
        let clock = ManualClock::new(jiff::Timestamp::from_second(1_800_000_000).expect("a time"));
        let session = Session::embedded_on(Arc::new(clock.clone()), EmbeddedOptions::default())
            .expect("opens");
        let client = session.path.client(Actor("admin".into()));
        perform(&client, &class("manual")).await.expect("created");
        clock.idle().await;
        let seen = session.mirror.read(|t| t.classes.get(&Key::cluster("manual")).cloned());
        assert!(seen.is_some());
        assert_eq!(session.mirror.read(|tables| tables.nodes.len()), NODES.len());
        let embedded = &session.demo.as_ref().expect("a demo").embedded;
        let commits = embedded.commits_after(0);
        let said = commits.iter().map(|commit| format!("{commit:?}")).find(|c| c.contains("admin"));
        assert!(said.as_ref().is_some_and(|said| said.contains("a class")), "{said:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_binds_and_its_volume_is_released_when_it_goes() {
        let clock = ManualClock::new(jiff::Timestamp::from_second(1_800_000_000).expect("a time"));
        let session = Session::embedded_on(Arc::new(clock.clone()), EmbeddedOptions::default())
            .expect("opens");
        let client = session.path.client(Actor("admin".into()));
        let volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-1"},
            "spec": {"capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteMany"],
                "storageClassName": "manual", "nfs": {"server": "nfs.example", "path": "/x"}},
        });
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "claim-1", "namespace": "default"},
            "spec": {"accessModes": ["ReadWriteMany"], "storageClassName": "manual",
                "resources": {"requests": {"storage": "1Gi"}}},
        });
        let key = Key::new("default", "claim-1");
        for (kind, key, body) in [
            (kind::PERSISTENT_VOLUME, Key::cluster("pv-1"), volume),
            (kind::PERSISTENT_VOLUME_CLAIM, key.clone(), claim),
        ] {
            let object = ObjectRef::new(kind, key);
            let write = Write {
                object: object.clone(),
                on_behalf_of: object,
                change: Change::Create(body),
                ..class("")
            };
            perform(&client, &write).await.expect("created");
        }
        assert!(clock.settle(1000).await);
        let phase = |session: &Session| {
            session.mirror.read(|tables| {
                let claim = tables.claims.get(&key).map_or("gone", |claim| claim.phase.name());
                let volume =
                    tables.volumes.get(&Key::cluster("pv-1")).map_or("gone", |v| v.phase.name());
                (claim, volume)
            })
        };
        assert_eq!(phase(&session), ("Bound", "Bound"));
        let object = ObjectRef::new(kind::PERSISTENT_VOLUME_CLAIM, key.clone());
        let delete = Write {
            object: object.clone(),
            on_behalf_of: object,
            change: Change::Delete(json!({})),
            ..class("")
        };
        perform(&client, &delete).await.expect("deleted");
        assert!(clock.settle(1000).await);
        assert_eq!(phase(&session), ("gone", "Released"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_of_the_disks_class_gets_a_disk_that_goes_with_it() {
        let clock = ManualClock::new(jiff::Timestamp::from_second(1_800_000_000).expect("a time"));
        let session = Session::embedded_on(Arc::new(clock.clone()), EmbeddedOptions::default())
            .expect("opens");
        let client = session.path.client(Actor("admin".into()));
        let disk = json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "metadata": {"name": "disk"}, "provisioner": "pvdeck.dev/block-disk",
        });
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "claim-1", "namespace": "default"},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "disk",
                "resources": {"requests": {"storage": "1Gi"}}},
        });
        let object = ObjectRef::new(kind::PERSISTENT_VOLUME_CLAIM, Key::new("default", "claim-1"));
        for (object, body) in [
            (ObjectRef::new(kind::STORAGE_CLASS, Key::cluster("disk")), disk),
            (object.clone(), claim),
        ] {
            let on_behalf_of = object.clone();
            let write = Write { object, on_behalf_of, change: Change::Create(body), ..class("") };
            perform(&client, &write).await.expect("created");
        }
        assert!(clock.settle(1000).await);
        let world = session.demo.as_ref().and_then(|demo| demo.world.clone()).expect("machines");
        let disks = || world.snapshot().disks.values().map(|disk| disk.bytes).collect::<Vec<_>>();
        assert_eq!(disks(), [1 << 30]);
        let on_behalf_of = object.clone();
        let delete = Change::Delete(json!({}));
        let delete = Write { object, on_behalf_of, change: delete, ..class("") };
        perform(&client, &delete).await.expect("deleted");
        assert!(clock.settle(1000).await);
        assert!(disks().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn time_stands_while_the_gate_is_shut_and_steps_move_it() {
        // Agents would have writes of their own to let pass.
        let options =
            EmbeddedOptions { machines: NodeMachines::Nothing, ..EmbeddedOptions::default() };
        let session = Session::embedded(options).expect("opens");
        let clock = session.path.clock().clone();
        session.path.gate().shut();
        tokio::task::yield_now().await;
        let stood = clock.now();
        let client = session.path.client(Actor("admin".into()));
        let write = tokio::spawn(async move { perform_as_shown(&client, &class("a")).await });
        crate::cluster::clock::ManualClock::new(stood).idle().await;
        assert_eq!(session.step(), Stepped::Write);
        write.await.expect("joined").expect("created");
        assert_eq!(clock.now(), stood);
        assert!(matches!(session.step(), Stepped::Time(_)), "watches have timers");
        assert!(clock.now() > stood);
    }
}
