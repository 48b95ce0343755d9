//! Runs the controllers: starts them when the mirror has seen everything once,
//! shows how each is doing, and stops them.
//!
//! ```text
//! hosted (a row per controller), companions (of drivers), scheduler, agents
//!    └──> loops: a task each ──> work_loop
//! ```

mod companions;
mod hosted;
mod loops;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::watch;

use crate::cluster::write_path::WritePath;
use crate::controllers::csi::embedded::Csi;
use crate::controllers::election::{self, Keeper, Leadership, LedServer};
use crate::controllers::health::{Figures, LoopState};
use crate::controllers::host::loops::{Looks, Loops, Tasks, Title, synced};
use crate::controllers::local_provisioner::controller::{
    self as local_provisioner, LocalProvisioner,
};
use crate::controllers::machines::Machines;
use crate::controllers::node_agent::agents::{self, Agents};
use crate::controllers::node_agent::boards::NodeBoards;
use crate::controllers::scheduler;
use crate::controllers::server::{ClusterServer, Server};
use crate::mirror::Mirror;
use crate::model::clock::{Clock, TimerUse};
use crate::model::kind::{self, Kind};
use crate::plugins::host_path::Directories;
use crate::plugins::kinds::CONTROLLER_PLUGINS;
use crate::plugins::plugin::PluginFacts;

/// What the scheduler needs beside what all need: a pod may be placed only by
/// all that its node and its volumes call for.
const TO_PLACE: [&Kind; 6] = [
    kind::NODE,
    kind::CSI_NODE,
    kind::CSI_DRIVER,
    kind::CSI_STORAGE_CAPACITY,
    kind::VOLUME_ATTACHMENT,
    kind::NAMESPACE,
];

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
    /// The directories of the host-path provisioner.
    pub directories: Directories,
    /// The machines under the nodes; `None`: nothing is attached or mounted.
    pub machines: Option<Machines>,
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
            directories: Directories::default(),
            machines: None,
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
    /// Which of several of that name it is: whose, or for what; else empty.
    pub of: Arc<str>,
    pub figures: Figures,
}

/// The cluster as each actor sees it.
pub type Servers<'a> = dyn Fn(&str) -> Arc<dyn Server> + 'a;

/// The running controllers of one cluster. Dropping it stops them at once;
/// [`Host::stop`] also waits until they have.
#[derive(Debug)]
pub struct Host {
    tasks: Tasks,
    agents: Option<Arc<Agents>>,
    local_provisioner: Option<Arc<LocalProvisioner>>,
    plugin_facts: Vec<PluginFacts>,
    stop: watch::Sender<bool>,
}

/// Starts all controllers on a cluster. Needs a runtime. They wait until the
/// mirror is live for every kind they need.
///
/// Those of the control plane write while the host holds their Lease; see
/// [`election`].
pub fn start(path: &WritePath, mirror: &Mirror, clock: &Arc<dyn Clock>, options: &Options) -> Host {
    let duties = election::DUTIES.map(|duty| (duty, Leadership::default()));
    let plain = servers(path);
    let led = |actor: &str| -> Arc<dyn Server> {
        let duty = election::duty_of(actor);
        match duties.iter().find(|(held, _)| Some(*held) == duty) {
            Some((_, leadership)) => Arc::new(LedServer::new(path, actor, leadership.clone())),
            None => plain(actor),
        }
    };
    let mut host = start_with(&led, mirror, clock, options);
    let (stopping, running) = (host.stop.subscribe(), std::mem::take(&mut host.tasks));
    let parallel = options.parallel;
    let mut loops = Loops { servers: &plain, mirror, clock, parallel, stopping, running };
    for (duty, leadership) in duties.clone() {
        let parts = loops.parts(duty.lease, None);
        let title = Title::new("leader-election", duty.lease).of(duty.lease);
        let health = parts.health.clone();
        loops.task(title, health, election::keep(Keeper { duty, leadership, parts }).boxed());
    }
    Host { tasks: loops.running, ..host }
}

/// The same, with any server behind each actor: for tests that fail writes.
pub fn start_with(
    servers: &Servers<'_>,
    mirror: &Mirror,
    clock: &Arc<dyn Clock>,
    options: &Options,
) -> Host {
    let (stop, mut loops) = loops(servers, mirror, clock, options.parallel);
    hosted::BINDER.start(&mut loops, options);
    companions::start(&mut loops, &options.csi);
    for controller in hosted::OTHERS {
        controller.start(&mut loops, options);
    }
    place(&mut loops);
    let mut host = Host { plugin_facts: hosted::plugin_facts(options), ..Host::empty(stop) };
    if let Some(machines) = &options.machines {
        look_for_drivers(&mut loops, machines);
        host.agents = Some(start_agents(&mut loops, machines));
        host.local_provisioner = Some(provide_local_volumes(&mut loops, machines));
    }
    Host { tasks: loops.running, ..host }
}

/// Starts the companions of drivers alone, on a cluster whose controllers run
/// elsewhere. Needs a runtime.
pub fn start_companions(
    path: &WritePath,
    mirror: &Mirror,
    clock: &Arc<dyn Clock>,
    csi: &Csi,
) -> Host {
    let servers = servers(path);
    let (stop, mut loops) = loops(&servers, mirror, clock, Options::default().parallel);
    companions::start(&mut loops, csi);
    Host { tasks: loops.running, ..Host::empty(stop) }
}

/// The cluster behind its write path, as each actor sees it.
fn servers(path: &WritePath) -> impl Fn(&str) -> Arc<dyn Server> {
    |actor| Arc::new(ClusterServer::new(path, actor))
}

/// No tasks yet, and what tells those to come to stop.
fn loops<'a>(
    servers: &'a Servers<'a>,
    mirror: &'a Mirror,
    clock: &'a Arc<dyn Clock>,
    parallel: usize,
) -> (watch::Sender<bool>, Loops<'a>) {
    let (stop, stopping) = watch::channel(false);
    (stop, Loops { servers, mirror, clock, parallel, stopping, running: Tasks::default() })
}

/// Starts the scheduler.
fn place(loops: &mut Loops<'_>) {
    let actor = "kube-scheduler";
    let parts = loops.parts(actor, Some("default-scheduler"));
    let (mirror, health) = (loops.mirror.clone(), parts.health.clone());
    let work = async move {
        let changes = synced(&mirror, &TO_PLACE).await;
        scheduler::run(parts, changes).await;
    };
    loops.task(Title::new(actor, actor), health, work.boxed());
}

/// Starts an agent for each node that has a machine.
fn start_agents(loops: &mut Loops<'_>, machines: &Machines) -> Arc<Agents> {
    let actor = "kubelet";
    let parts = loops.parts(actor, Some(actor));
    let (mirror, health) = (parts.mirror.clone(), parts.health.clone());
    let agents = Arc::new(Agents::new(agents::Parts {
        machines: machines.clone(),
        server: parts.server,
        mirror: parts.mirror,
        recorder: parts.recorder,
        clock: parts.clock,
        health: parts.health,
        boards: watch::Sender::new(0),
    }));
    let (figures, running) = (health.clone(), agents.clone());
    let work = async move {
        let changes = synced(&mirror, &[kind::NODE]).await;
        figures.change(|figures| figures.state = LoopState::Running);
        running.run(changes).await;
    };
    loops.task(Title::new("node-agents", actor), health, work.boxed());
    agents
}

/// Starts what looks for FlexVolume drivers, where there may be such.
fn look_for_drivers(loops: &mut Loops<'_>, machines: &Machines) {
    let Some(drivers) = machines.flex_volume.clone() else { return };
    let clock = loops.clock.clone();
    let work = async move {
        loop {
            drivers.look().await;
            clock.sleep(LOOK_FOR_DRIVERS, TimerUse::Housekeeping).await;
        }
    };
    loops.service(Title::new("flexvolume-prober", "kubelet"), work.boxed());
}

/// Starts the provisioner of local volumes; it idles until it is configured.
fn provide_local_volumes(loops: &mut Loops<'_>, machines: &Machines) -> Arc<LocalProvisioner> {
    let actor = "local-volume-provisioner";
    let parts = loops.parts(actor, Some(actor));
    let health = parts.health.clone();
    let provisioner = Arc::new(LocalProvisioner::new(parts, machines.hosts.clone()));
    let needs = &[kind::NODE, kind::CONFIG_MAP];
    let looks = Looks { needs, round: Some(local_provisioner::ROUND) };
    loops.controller(Title::new(actor, actor), looks, &health, provisioner.clone());
    provisioner
}

impl Host {
    /// A host that runs nothing yet.
    fn empty(stop: watch::Sender<bool>) -> Self {
        Self {
            tasks: Tasks::default(),
            agents: None,
            local_provisioner: None,
            plugin_facts: CONTROLLER_PLUGINS.to_vec(),
            stop,
        }
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
        self.tasks.status()
    }

    /// Whether no controller has anything to do now. Pauses show as timers of
    /// the clock.
    pub fn is_idle(&self) -> bool {
        self.tasks.is_idle() && self.agents.as_ref().is_none_or(|agents| agents.is_idle())
    }

    /// Stops all controllers and waits until they have. Writes that are held
    /// are withdrawn.
    pub async fn stop(mut self) {
        // All loops may have ended by themselves.
        let _ = self.stop.send(true);
        self.tasks.ended().await;
    }
}
