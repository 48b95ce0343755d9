//! Runs the controllers: starts them when the mirror has seen everything once,
//! shows how each is doing, and stops them.
//!
//! Each loop is a task of its own whose handle is kept; one that ends by itself
//! shows as dead.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cluster::write_path::WritePath;
use crate::controllers::attach_detach;
use crate::controllers::attach_detach::controller::AttachDetachController;
use crate::controllers::csi::attacher::Attacher;
use crate::controllers::csi::capacity::{self, Publisher};
use crate::controllers::csi::embedded::Csi;
use crate::controllers::csi::modifier::Modifier;
use crate::controllers::csi::provisioner::Provisioner;
use crate::controllers::csi::published::{self, PublishedCheck};
use crate::controllers::csi::registration::Registration;
use crate::controllers::csi::registry;
use crate::controllers::csi::resizer::Resizer;
use crate::controllers::csi::shell::Shell;
use crate::controllers::csi::{self, HostedDriver, liveness};
use crate::controllers::events::{self, Recorder};
use crate::controllers::expand::controller::ExpandController;
use crate::controllers::health::{Figures, Health, LoopState};
use crate::controllers::local_provisioner::controller::{
    self as local_provisioner, LocalProvisioner,
};
use crate::controllers::machines::Machines;
use crate::controllers::node_agent::agents::{self, Agents};
use crate::controllers::node_agent::boards::NodeBoards;
use crate::controllers::node_agent::pace::Pace;
use crate::controllers::node_life;
use crate::controllers::node_life::collector::{self, PodCollector};
use crate::controllers::node_life::evictor::TaintEviction;
use crate::controllers::node_life::lifecycle::{self, NodeLifecycle};
use crate::controllers::persistent_volume::controller::{self, PersistentVolumeController};
use crate::controllers::protection::attributes_class::AttributesClassProtection;
use crate::controllers::protection::claim::ClaimProtection;
use crate::controllers::protection::settling::Settling;
use crate::controllers::protection::volume::VolumeProtection;
use crate::controllers::protection::{self};
use crate::controllers::resource_quota::controller::{
    self as resource_quota, ResourceQuotaController,
};
use crate::controllers::scheduler;
use crate::controllers::server::{ClusterServer, Server};
use crate::controllers::work_loop::{self, LoopSettings, Reconciler, words};
use crate::controllers::workloads;
use crate::mirror::{KINDS, Mirror};
use crate::model::clock::{Clock, TimerUse};
use crate::model::kind::{self, Kind};
use crate::plugins::block_disk::{self, BlockDisk};
use crate::plugins::csi::driver::state::identity;
use crate::plugins::host_path::{Directories, HostPath};
use crate::plugins::kinds::CONTROLLER_PLUGINS;
use crate::plugins::nfs::Nfs;
use crate::plugins::plugin::{PluginFacts, VolumePlugin};

/// What must have been listed before a controller may decide anything: a claim
/// whose volume has not been listed yet would be declared Lost.
const NEEDED: [&Kind; 6] = [
    kind::PERSISTENT_VOLUME,
    kind::PERSISTENT_VOLUME_CLAIM,
    kind::STORAGE_CLASS,
    kind::POD,
    kind::VOLUME_ATTRIBUTES_CLASS,
    kind::RESOURCE_QUOTA,
];

/// What the scheduler needs beside: a pod may be placed only by all that its
/// node and its volumes call for.
const NEEDED_TO_PLACE: [&Kind; 6] = [
    kind::NODE,
    kind::CSI_NODE,
    kind::CSI_DRIVER,
    kind::CSI_STORAGE_CAPACITY,
    kind::VOLUME_ATTACHMENT,
    kind::NAMESPACE,
];

/// What the attach/detach controller needs beside: a volume whose user it does
/// not know would be detached.
const NEEDED_TO_ATTACH: [&Kind; 4] =
    [kind::NODE, kind::CSI_NODE, kind::CSI_DRIVER, kind::VOLUME_ATTACHMENT];

/// How often the companions of drivers look at everything again (upstream:
/// their informers' resync).
const COMPANIONS_LOOK: Duration = Duration::from_secs(600);

/// How often drivers that came or went are written down.
const REGISTERED_LOOK: Duration = Duration::from_secs(1);

/// How often attached volumes are verified.
const VERIFY_EVERY: Duration = Duration::from_secs(60);

/// How often changes among the FlexVolume drivers are looked for.
const LOOK_FOR_DRIVERS: Duration = Duration::from_secs(1);

/// How the controllers run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether claims are provisioned at all.
    pub dynamic_provisioning: bool,
    /// Whether `kubernetes.io/host-path` provisions.
    pub host_path_provisioning: bool,
    /// How many claims and volumes are worked on at once.
    pub parallel: usize,
    /// How often all claims and volumes are looked at again.
    pub resync: Duration,
    /// The directories of the host-path provisioner.
    pub directories: Directories,
    /// The machines under the nodes; `None`: nothing is attached or mounted.
    pub machines: Option<Machines>,
    /// How fast the agents of the nodes are.
    pub pace: Pace,
    /// How much later than others the one looks at a volume's change who protects
    /// it: companions of drivers, which hold it too, come first then.
    pub volumes_settle: Duration,
    /// The CSI drivers that nodes have, and those whose companions run here.
    pub csi: Csi,
}

impl Default for Options {
    /// As the embedded cluster has it.
    fn default() -> Self {
        Self {
            dynamic_provisioning: true,
            host_path_provisioning: true,
            parallel: 64,
            resync: Duration::from_secs(15),
            directories: Directories::default(),
            machines: None,
            pace: Pace::default(),
            volumes_settle: Duration::ZERO,
            csi: Csi::default(),
        }
    }
}

/// One controller, for the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControllerStatus {
    /// Its name as Kubernetes has it: `persistentvolume-binder-controller`.
    pub name: &'static str,
    /// In whose name it writes.
    pub actor: &'static str,
    pub figures: Figures,
}

/// The running controllers of one cluster. Dropping it stops them at once;
/// [`Host::stop`] also waits until they have.
#[derive(Debug)]
pub struct Host {
    loops: Vec<Running>,
    recorders: Vec<Recorder>,
    agents: Option<Arc<Agents>>,
    local_provisioner: Option<Arc<LocalProvisioner>>,
    plugin_facts: Vec<PluginFacts>,
    stop: watch::Sender<bool>,
}

#[derive(Debug)]
struct Running {
    name: &'static str,
    actor: &'static str,
    health: Health,
    task: JoinHandle<()>,
}

/// Starts all controllers on a cluster. Needs a runtime. They wait until the
/// mirror is live for every kind they need.
pub fn start(path: &WritePath, mirror: &Mirror, clock: &Arc<dyn Clock>, options: &Options) -> Host {
    let server = |actor: &str| -> Arc<dyn Server> { Arc::new(ClusterServer::new(path, actor)) };
    start_with(&server, mirror, clock, options)
}

/// The same, with any server behind each actor: for tests that fail writes.
pub fn start_with(
    server: &dyn Fn(&str) -> Arc<dyn Server>,
    mirror: &Mirror,
    clock: &Arc<dyn Clock>,
    options: &Options,
) -> Host {
    let (mut host, stopping) = Host::empty();
    host.plugin_facts = controller_facts(options);
    let starter = Starter { mirror, clock, options, stopping };

    let binder = "persistent-volume-binder";
    let health = Health::default();
    let parts = controller::Parts {
        server: server(binder),
        mirror: mirror.clone(),
        recorder: host.recorder("persistentvolume-controller", server(binder), &starter),
        clock: clock.clone(),
        plugins: controller_plugins(options),
        facts: host.plugin_facts.clone(),
        dynamic_provisioning: options.dynamic_provisioning,
        health: health.clone(),
    };
    let name = "persistentvolume-binder-controller";
    let controller = Arc::new(PersistentVolumeController::new(parts));
    host.loops.push(starter.controller(name, binder, health, Some(options.resync), controller));
    start_csi(&mut host, &starter, server);

    let mut protect = |name, actor, make: &dyn Fn(protection::Parts) -> Arc<dyn Reconciler>| {
        let health = Health::default();
        let parts = protection::Parts {
            server: server(actor),
            mirror: mirror.clone(),
            health: health.clone(),
        };
        host.loops.push(starter.controller(name, actor, health, None, make(parts)));
    };
    protect("persistentvolumeclaim-protection-controller", "pvc-protection-controller", &|parts| {
        Arc::new(ClaimProtection::new(parts))
    });
    protect("persistentvolume-protection-controller", "pv-protection-controller", &|parts| {
        let (reconciler, pause) = (Arc::new(VolumeProtection::new(parts)), options.volumes_settle);
        match pause.is_zero() {
            true => reconciler,
            false => Arc::new(Settling { reconciler, clock: clock.clone(), pause }),
        }
    });
    let vac = "volumeattributesclass-protection-controller";
    protect(vac, vac, &|parts| Arc::new(AttributesClassProtection::new(parts)));

    let (actor, health) = ("kube-scheduler", Health::default());
    let parts = scheduler::Parts {
        server: server(actor),
        mirror: mirror.clone(),
        recorder: host.recorder("default-scheduler", server(actor), &starter),
        clock: clock.clone(),
        health: health.clone(),
    };
    let seen = mirror.clone();
    let place = async move {
        let changes = synced(&seen, &NEEDED_TO_PLACE).await;
        scheduler::run(parts, changes).await;
    };
    host.loops.push(starter.task(actor, actor, health, place.boxed()));
    let quotas = "resourcequota-controller";
    let health = Health::default();
    let parts = resource_quota::Parts {
        server: server(quotas),
        mirror: mirror.clone(),
        health: health.clone(),
    };
    let controller = Arc::new(ResourceQuotaController::new(parts));
    let round = Some(resource_quota::FULL_ROUND);
    host.loops.push(starter.controller(quotas, quotas, health, round, controller));
    start_node_life(&mut host, &starter, server);

    if let Some(machines) = &options.machines {
        attach_detach(&mut host, &starter, server, machines);
        host.look_for_drivers(machines, &starter);
        host.start_agents(machines, server, &starter);
        provide_local_volumes(&mut host, &starter, server, machines);
    }
    expander(&mut host, &starter, server);
    for hosted in workloads::ALL {
        let (server, health) = (server(hosted.actor), Health::default());
        let parts = workloads::shell::Parts {
            recorder: host.recorder(hosted.component, server.clone(), &starter),
            server,
            mirror: mirror.clone(),
            clock: clock.clone(),
            health: health.clone(),
        };
        let (name, actor, reconciler) = (hosted.name, hosted.actor, (hosted.make)(parts));
        // Whoever looks for owners must have seen all that can be one.
        host.loops.push(starter.controller_with(KINDS, name, actor, health, None, reconciler));
    }
    host
}

/// Starts the companions of drivers alone, on a cluster whose controllers run
/// elsewhere. Needs a runtime.
pub fn start_companions(
    path: &WritePath,
    mirror: &Mirror,
    clock: &Arc<dyn Clock>,
    csi: Csi,
) -> Host {
    let server = |actor: &str| -> Arc<dyn Server> { Arc::new(ClusterServer::new(path, actor)) };
    let (mut host, stopping) = Host::empty();
    let options = Options { csi, ..Options::default() };
    let starter = Starter { mirror, clock, options: &options, stopping };
    start_csi(&mut host, &starter, &server);
    host
}

/// Starts what writes down the nodes' drivers, and their companions.
fn start_csi(host: &mut Host, starter: &Starter<'_>, server: &dyn Fn(&str) -> Arc<dyn Server>) {
    let csi = &starter.options.csi;
    if csi.is_empty() {
        return;
    }
    let shell = |actor: &str, recorder: Recorder, health: &Health| Shell {
        server: server(actor),
        mirror: starter.mirror.clone(),
        recorder,
        clock: starter.clock.clone(),
        health: health.clone(),
    };
    let needed = &NEEDED_TO_ATTACH[..];
    let (name, actor, health) = ("csi-node-registration", "kubelet", Health::default());
    let recorder = host.recorder(actor, server(actor), starter);
    let registration = Registration::new(shell(actor, recorder, &health), csi.on_nodes.clone());
    let registration = Arc::new(registration);
    // Without a directory to watch, drivers are there from the start.
    let round = csi.registry.is_some().then_some(REGISTERED_LOOK);
    host.loops.push(starter.controller_with(needed, name, actor, health, round, registration));
    if let Some(watched) = csi.registry.clone() {
        let health = Health::default();
        health.change(|figures| figures.state = LoopState::Running);
        let work = registry::watch(watched, starter.clock.clone()).boxed();
        host.loops.push(starter.task("csi-registry", actor, health, work));
    }
    for driver in &csi.hosted {
        let provisioner = driver.provisioner();
        let parts = |shell| csi::Parts {
            driver: provisioner.clone(),
            client: driver.client.clone(),
            settings: driver.settings.clone(),
            shell,
        };
        let (actor, health) = ("csi-provisioner", Health::default());
        let run = identity(&format!("{provisioner}@{}", starter.clock.now()));
        let component: Arc<str> = format!("{provisioner}_pvdeck_{run}").into();
        let recorder = host.recorder_of(actor, component, server(actor), starter);
        let controller = Provisioner::new(parts(shell(actor, recorder, &health)));
        let (controller, resync) = (Arc::new(controller), Some(COMPANIONS_LOOK));
        host.loops.push(starter.controller_with(needed, actor, actor, health, resync, controller));
        let health = Health::default();
        let recorder = host.recorder(actor, server(actor), starter);
        let controller = Publisher::new(parts(shell(actor, recorder, &health)));
        let (name, round) = ("csi-capacity", Some(capacity::POLL));
        let controller = Arc::new(controller);
        host.loops.push(starter.controller_with(needed, name, actor, health, round, controller));
        if driver.is_stand_in() {
            continue;
        }
        let (actor, health) = ("csi-attacher", Health::default());
        let recorder = host.recorder(actor, server(actor), starter);
        let controller = Attacher::new(parts(shell(actor, recorder, &health)));
        let (controller, resync) = (Arc::new(controller), Some(COMPANIONS_LOOK));
        let check = Arc::new(PublishedCheck::new(controller.clone()));
        host.loops.push(starter.controller_with(needed, actor, actor, health, resync, controller));
        let (name, health, round) = ("csi-attacher-check", Health::default(), published::ROUND);
        host.loops.push(starter.controller_with(needed, name, actor, health, Some(round), check));
        let (actor, health) = ("csi-resizer", Health::default());
        let component: Arc<str> = format!("external-resizer {provisioner}").into();
        let recorder = host.recorder_of(actor, component, server(actor), starter);
        let controller = Resizer::new(parts(shell(actor, recorder.clone(), &health)));
        let controller = Arc::new(controller);
        host.loops.push(starter.controller_with(needed, actor, actor, health, resync, controller));
        let (name, health) = ("csi-modifier", Health::default());
        let controller = Arc::new(Modifier::new(parts(shell(actor, recorder, &health))));
        host.loops.push(starter.controller_with(needed, name, actor, health, resync, controller));
    }
    let own = csi.hosted.iter().filter(|driver| !driver.is_stand_in());
    let drivers: Vec<HostedDriver> = own.cloned().collect();
    let watch = liveness::watch(drivers, csi.on_nodes.clone(), starter.clock.clone());
    let (actor, health) = ("csi-livenessprobe", Health::default());
    health.change(|figures| figures.state = LoopState::Running);
    host.loops.push(starter.task(actor, actor, health, watch.boxed()));
}

/// Starts the controller that says who is to grow a volume.
fn expander(host: &mut Host, starter: &Starter<'_>, server: &dyn Fn(&str) -> Arc<dyn Server>) {
    let (actor, health) = ("expand-controller", Health::default());
    let shell = Shell {
        server: server(actor),
        mirror: starter.mirror.clone(),
        recorder: host.recorder("volume_expand", server(actor), starter),
        clock: starter.clock.clone(),
        health: health.clone(),
    };
    let machines = starter.options.machines.as_ref();
    let plugins = machines.map(|machines| machines.plugins.clone()).unwrap_or_default();
    let controller = Arc::new(ExpandController::new(shell, plugins));
    let name = "persistentvolume-expander-controller";
    host.loops.push(starter.controller(name, actor, health, None, controller));
}

/// Starts the attach/detach controller.
fn attach_detach(
    host: &mut Host,
    starter: &Starter<'_>,
    server: &dyn Fn(&str) -> Arc<dyn Server>,
    machines: &Machines,
) {
    let (actor, health) = ("attachdetach-controller", Health::default());
    let parts = attach_detach::controller::Parts {
        server: server(actor),
        mirror: starter.mirror.clone(),
        recorder: host.recorder(actor, server(actor), starter),
        clock: starter.clock.clone(),
        plugins: machines.plugins.clone(),
        force_detach: true,
        health: health.clone(),
    };
    let (name, resync) = ("persistentvolume-attach-detach-controller", Some(VERIFY_EVERY));
    let controller = Arc::new(AttachDetachController::new(parts));
    let needed = &NEEDED_TO_ATTACH[..];
    host.loops.push(starter.controller_with(needed, name, actor, health, resync, controller));
}

/// Starts the provisioner of local volumes; it idles until it is configured.
fn provide_local_volumes(
    host: &mut Host,
    starter: &Starter<'_>,
    server: &dyn Fn(&str) -> Arc<dyn Server>,
    machines: &Machines,
) {
    let (actor, health) = ("local-volume-provisioner", Health::default());
    let provisioner = Arc::new(LocalProvisioner::new(local_provisioner::Parts {
        server: server(actor),
        mirror: starter.mirror.clone(),
        recorder: host.recorder(actor, server(actor), starter),
        health: health.clone(),
        hosts: machines.hosts.clone(),
    }));
    host.local_provisioner = Some(provisioner.clone());
    let (round, needed) = (Some(local_provisioner::ROUND), &[kind::NODE, kind::CONFIG_MAP][..]);
    host.loops.push(starter.controller_with(needed, actor, actor, health, round, provisioner));
}

/// Who watches over nodes, and over the pods that go with them.
fn start_node_life(
    host: &mut Host,
    starter: &Starter<'_>,
    server: &dyn Fn(&str) -> Arc<dyn Server>,
) {
    let mut start = |name, actor, round, make: &dyn Fn(node_life::Parts) -> Arc<dyn Reconciler>| {
        let health = Health::default();
        let parts = node_life::Parts {
            server: server(actor),
            mirror: starter.mirror.clone(),
            recorder: host.recorder(actor, server(actor), starter),
            clock: starter.clock.clone(),
            health: health.clone(),
        };
        let need = &[kind::NODE][..];
        host.loops.push(starter.controller_with(need, name, actor, health, round, make(parts)));
    };
    start("node-lifecycle-controller", "node-controller", Some(lifecycle::ROUND), &|parts| {
        Arc::new(NodeLifecycle::new(parts))
    });
    let evictor = "taint-eviction-controller";
    start(evictor, evictor, None, &|parts| Arc::new(TaintEviction::new(parts)));
    let collector = "pod-garbage-collector-controller";
    start(collector, "pod-garbage-collector", Some(collector::ROUND), &|parts| {
        Arc::new(PodCollector::new(parts))
    });
}

/// The plugins that the controller of volumes can do something with.
fn controller_plugins(options: &Options) -> Vec<Arc<dyn VolumePlugin>> {
    let mut plugins: Vec<Arc<dyn VolumePlugin>> = vec![
        Arc::new(HostPath {
            provisioning: options.host_path_provisioning,
            directories: options.directories.clone(),
        }),
        Arc::new(Nfs),
    ];
    if let Some(machines) = &options.machines {
        plugins.push(Arc::new(BlockDisk::new(machines.disks.clone())));
    }
    plugins
}

/// What it knows of every plugin.
fn controller_facts(options: &Options) -> Vec<PluginFacts> {
    let mut facts = CONTROLLER_PLUGINS.to_vec();
    facts.extend(options.machines.is_some().then_some(block_disk::FACTS));
    facts
}

struct Starter<'a> {
    mirror: &'a Mirror,
    clock: &'a Arc<dyn Clock>,
    options: &'a Options,
    stopping: watch::Receiver<bool>,
}

impl Starter<'_> {
    fn controller(
        &self,
        name: &'static str,
        actor: &'static str,
        health: Health,
        resync: Option<Duration>,
        reconciler: Arc<dyn Reconciler>,
    ) -> Running {
        self.controller_with(&[], name, actor, health, resync, reconciler)
    }

    /// As [`Starter::controller`], for one that needs more kinds.
    fn controller_with(
        &self,
        more: &'static [&'static Kind],
        name: &'static str,
        actor: &'static str,
        health: Health,
        resync: Option<Duration>,
        reconciler: Arc<dyn Reconciler>,
    ) -> Running {
        let settings = LoopSettings { parallel: self.options.parallel.max(1), resync };
        let (mirror, clock, figures) = (self.mirror.clone(), self.clock.clone(), health.clone());
        let work = async move {
            let changes = synced(&mirror, more).await;
            work_loop::run(reconciler, changes, clock, figures, settings).await;
        };
        self.task(name, actor, health, work.boxed())
    }

    /// Spawns a task that ends when the host stops, and says so if it ends
    /// before.
    fn task(
        &self,
        name: &'static str,
        actor: &'static str,
        health: Health,
        work: BoxFuture<'static, ()>,
    ) -> Running {
        let mut stopping = self.stopping.clone();
        let figures = health.clone();
        let task = tokio::spawn(async move {
            let ended = tokio::select! {
                ended = AssertUnwindSafe(work).catch_unwind() => ended,
                _ = stopping.wait_for(|stop| *stop) => {
                    figures.change(|figures| figures.state = LoopState::Stopped);
                    return;
                }
            };
            let why = match ended {
                Ok(()) => "it ended by itself".to_owned(),
                Err(panic) => format!("it panicked: {}", words(&*panic)),
            };
            tracing::error!("{name}: {why}");
            figures.change(|figures| figures.state = LoopState::Dead { why });
        });
        Running { name, actor, health, task }
    }
}

/// Waits until the mirror is live for all that is needed, and subscribes.
async fn synced(
    mirror: &Mirror,
    more: &[&'static Kind],
) -> crate::mirror::subscription::Subscription {
    let mut changes = mirror.subscribe();
    let live = |kind| mirror.freshness_of(kind).is_some_and(|fresh| fresh.is_complete());
    while !NEEDED.iter().chain(more).all(|kind| live(kind)) {
        changes.changed().await;
    }
    // Subscribed anew: what was taken meanwhile counts as changed again.
    mirror.subscribe()
}

impl Host {
    /// A host that runs nothing yet, and what tells its loops to stop.
    fn empty() -> (Self, watch::Receiver<bool>) {
        let (stop, stopping) = watch::channel(false);
        let (loops, recorders) = (Vec::new(), Vec::new());
        (
            Self {
                loops,
                recorders,
                agents: None,
                local_provisioner: None,
                plugin_facts: CONTROLLER_PLUGINS.to_vec(),
                stop,
            },
            stopping,
        )
    }

    /// A recorder of events of `component`, and the task that sends them.
    fn recorder(
        &mut self,
        component: &'static str,
        server: Arc<dyn Server>,
        starter: &Starter<'_>,
    ) -> Recorder {
        self.recorder_of(component, component.into(), server, starter)
    }

    /// The same, sent by a task of another name.
    fn recorder_of(
        &mut self,
        task: &'static str,
        component: Arc<str>,
        server: Arc<dyn Server>,
        starter: &Starter<'_>,
    ) -> Recorder {
        let (recorder, notes) = Recorder::new();
        let sending = events::send_events(component, notes, server, starter.clock.clone());
        let health = Health::default();
        health.change(|figures| figures.state = LoopState::Running);
        self.loops.push(starter.task("event-recorder", task, health, sending.boxed()));
        self.recorders.push(recorder.clone());
        recorder
    }

    /// Starts an agent for each node that has a machine.
    fn start_agents(
        &mut self,
        machines: &Machines,
        server: &dyn Fn(&str) -> Arc<dyn Server>,
        starter: &Starter<'_>,
    ) {
        let (actor, health) = ("kubelet", Health::default());
        let agents = Arc::new(Agents::new(agents::Parts {
            machines: machines.clone(),
            server: server(actor),
            mirror: starter.mirror.clone(),
            recorder: self.recorder(actor, server(actor), starter),
            clock: starter.clock.clone(),
            health: health.clone(),
            pace: starter.options.pace,
            boards: watch::Sender::new(0),
        }));
        let (mirror, figures, running) = (starter.mirror.clone(), health.clone(), agents.clone());
        let work = async move {
            let changes = synced(&mirror, &[kind::NODE]).await;
            figures.change(|figures| figures.state = LoopState::Running);
            running.run(changes).await;
        };
        self.loops.push(starter.task("node-agents", actor, health, work.boxed()));
        self.agents = Some(agents);
    }

    /// Starts what looks for FlexVolume drivers, where there may be such.
    fn look_for_drivers(&mut self, machines: &Machines, starter: &Starter<'_>) {
        let Some(drivers) = machines.flex_volume.clone() else { return };
        let (clock, health) = (starter.clock.clone(), Health::default());
        health.change(|figures| figures.state = LoopState::Running);
        let work = async move {
            loop {
                drivers.look().await;
                clock.sleep(LOOK_FOR_DRIVERS, TimerUse::Housekeeping).await;
            }
        };
        self.loops.push(starter.task("flexvolume-prober", "kubelet", health, work.boxed()));
    }

    /// The provisioner of local volumes, where nodes have machines.
    pub fn local_provisioner(&self) -> Option<&Arc<LocalProvisioner>> {
        self.local_provisioner.as_ref()
    }

    /// What the controller of volumes knows of its plugins.
    pub fn plugin_facts(&self) -> &[PluginFacts] {
        &self.plugin_facts
    }

    /// The agents of the nodes that have a machine, if any has.
    pub fn agents(&self) -> Option<&Arc<Agents>> {
        self.agents.as_ref()
    }

    /// What every hosted node has and should have; `None`: no node is hosted.
    pub fn boards(&self) -> Option<Arc<dyn NodeBoards>> {
        self.agents.clone().map(|agents| agents as Arc<dyn NodeBoards>)
    }

    /// How each controller is doing.
    pub fn status(&self) -> Vec<ControllerStatus> {
        let status = self.loops.iter().map(|running| ControllerStatus {
            name: running.name,
            actor: running.actor,
            figures: running.health.figures(),
        });
        status.collect()
    }

    /// Whether no controller has anything to do now. Pauses show as timers of
    /// the clock.
    pub fn is_idle(&self) -> bool {
        self.recorders.iter().all(Recorder::is_empty)
            && self.loops.iter().all(|running| running.health.is_idle())
            && self.agents.as_ref().is_none_or(|agents| agents.is_idle())
    }

    /// Stops all controllers and waits until they have. Writes that are held
    /// are withdrawn.
    pub async fn stop(mut self) {
        // All loops may have ended by themselves.
        let _ = self.stop.send(true);
        let tasks = std::mem::take(&mut self.loops).into_iter().map(|running| running.task);
        for ended in join_all(tasks).await {
            if let Err(error) = ended {
                tracing::error!("a controller did not end well: {error}");
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.loops.iter().for_each(|running| running.task.abort());
    }
}
