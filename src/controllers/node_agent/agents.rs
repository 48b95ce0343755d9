//! The agents of all nodes that have a machine: started as nodes appear,
//! stopped and started by hand, each told what concerns it.
//!
//! Cost follows change: of each change only the nodes hear that it is about.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::cluster::embedded::ContainerLogs;
use crate::controllers::events::Recorder;
use crate::controllers::health::Health;
use crate::controllers::machines::Machines;
use crate::controllers::node_agent::agent::{self, Told};
use crate::controllers::node_agent::boards::NodeBoards;
use crate::controllers::node_agent::pods::address_of_node;
use crate::controllers::node_agent::pods::runtime::{ContainerInside, Runtime};
use crate::controllers::node_agent::pods::worker::Shared;
use crate::controllers::node_agent::reporter;
use crate::controllers::node_agent::turns::{self, Turns};
use crate::controllers::node_agent::volumes::manager::{self, VolumeManager};
use crate::controllers::server::Server;
use crate::controllers::work_loop::words;
use crate::mirror::Mirror;
use crate::mirror::subscription::Subscription;
use crate::mirror::tables::Tables;
use crate::model::clock::{Clock, TimerUse};
use crate::model::kind;
use crate::model::node_board::NodeBoard;
use crate::model::object::{Key, ObjectRef};
use crate::model::volume::Volume;
use crate::plugins::host::CommandRecord;

/// An agent that ended by itself is started again after this.
const RESTART: Duration = Duration::from_secs(10);

/// Each agent's loops have their turns so much after those of the one before.
const STAGGER: Duration = Duration::from_millis(700);

/// What the agents work with.
pub struct Parts {
    pub machines: Machines,
    pub server: Arc<dyn Server>,
    pub mirror: Mirror,
    pub recorder: Recorder,
    pub clock: Arc<dyn Clock>,
    pub health: Health,
    /// Rises when a board may have changed.
    pub boards: watch::Sender<u64>,
}

/// All agents of a cluster.
pub struct Agents {
    parts: Parts,
    slots: Mutex<BTreeMap<Arc<str>, Slot>>,
    /// Nodes to start an agent for.
    wanted: Mutex<BTreeSet<Arc<str>>>,
    wake: Notify,
    busy: AtomicUsize,
}

enum Slot {
    Running {
        inbox: mpsc::UnboundedSender<Told>,
        shared: Arc<Shared>,
        task: AbortHandle,
    },
    /// By hand: it stays so until it is started by hand.
    Stopped,
}

impl fmt::Debug for Agents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agents").field("nodes", &self.slots().len()).finish_non_exhaustive()
    }
}

impl Agents {
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            slots: Mutex::default(),
            wanted: Mutex::default(),
            wake: Notify::new(),
            busy: AtomicUsize::new(0),
        }
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops a node's agent as if its process was killed. Running containers
    /// stay.
    pub fn stop(&self, node: &str) {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).remove(node);
        let before = self.slots().insert(node.into(), Slot::Stopped);
        if let Some(Slot::Running { task, .. }) = before {
            task.abort();
        }
    }

    /// Starts a node's agent that was stopped; it makes the node's object if
    /// there is none. Nothing happens if the node has no machine.
    pub fn start(&self, node: &str) {
        if matches!(self.slots().get(node), Some(Slot::Stopped) | None) {
            self.slots().remove(node);
            self.want(node.into());
        }
    }

    /// How many run.
    fn running(&self) -> u32 {
        let slots = self.slots();
        let running = slots.values().filter(|slot| matches!(slot, Slot::Running { .. }));
        running.count().try_into().unwrap_or(u32::MAX)
    }

    fn want(&self, node: Arc<str>) {
        if self.parts.machines.hosts.host(&node).is_some() {
            self.wanted.lock().unwrap_or_else(PoisonError::into_inner).insert(node);
            self.wake.notify_one();
        }
    }

    /// Whether no agent does anything but wait.
    pub fn is_idle(&self) -> bool {
        let starting = self.wanted.lock().unwrap_or_else(PoisonError::into_inner).len();
        let busy = |slot: &Slot| match slot {
            Slot::Running { shared, .. } => {
                shared.busy.load(Ordering::Acquire) > 0 || !shared.volumes.is_idle()
            }
            Slot::Stopped => false,
        };
        starting == 0 && self.busy.load(Ordering::Acquire) == 0 && !self.slots().values().any(busy)
    }

    pub(super) fn shared(&self, node: &str) -> Option<Arc<Shared>> {
        match self.slots().get(node) {
            Some(Slot::Running { shared, .. }) => Some(shared.clone()),
            Some(Slot::Stopped) | None => None,
        }
    }

    pub(super) fn mirror(&self) -> &Mirror {
        &self.parts.mirror
    }

    /// What people may see of a pod's containers: their mounts, the same as a
    /// `docker run` line, and their output.
    pub fn containers(&self, pod: &Key) -> Vec<ContainerInside> {
        let place = self.parts.mirror.read(|tables| {
            tables.pods.get(pod).map(|pod| (pod.node.clone(), pod.meta.uid.clone()))
        });
        let found = place.and_then(|(node, uid)| Some((self.runtime(&node)?, uid)));
        found.map(|(runtime, uid)| runtime.inside(&uid)).unwrap_or_default()
    }

    fn runtime(&self, node: &str) -> Option<Arc<Runtime>> {
        let host = self.parts.machines.hosts.host(node)?;
        Some(self.parts.machines.runtimes.of(&host))
    }

    /// Runs all agents until dropped.
    pub async fn run(self: Arc<Self>, mut changes: Subscription) {
        let mut tasks = JoinSet::new();
        let mut restarts = JoinSet::new();
        let mut router = Router::default();
        loop {
            let wanted =
                std::mem::take(&mut *self.wanted.lock().unwrap_or_else(PoisonError::into_inner));
            for node in wanted {
                self.begin(node, &mut tasks);
            }
            tokio::select! {
                changed = changes.changed() => {
                    for object in self.in_order(changed) {
                        self.route(&object, &mut router);
                    }
                }
                () = self.wake.notified() => {}
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => {
                    // An aborted task was stopped by hand.
                    if let Ok((node, why)) = ended {
                        self.ended(node, why, &mut restarts);
                    }
                }
                Some(Ok(node)) = restarts.join_next(), if !restarts.is_empty() => {
                    if !matches!(self.slots().get(&node), Some(Slot::Stopped)) {
                        self.slots().remove(&node);
                        self.want(node);
                    }
                }
            }
        }
    }

    fn ended(&self, node: Arc<str>, why: String, restarts: &mut JoinSet<Arc<str>>) {
        let now = self.parts.clock.now();
        self.parts.health.failed(now, format!("node/{node}"), why);
        let pause = self.parts.clock.sleep(RESTART, TimerUse::Work);
        restarts.spawn(pause.map(|()| node));
    }

    fn begin(self: &Arc<Self>, node: Arc<str>, tasks: &mut JoinSet<(Arc<str>, String)>) {
        let Some(host) = self.parts.machines.hosts.host(&node) else { return };
        let (inbox, told) = mpsc::unbounded_channel();
        let volumes = VolumeManager::new(manager::Parts {
            host: host.clone(),
            plugins: self.parts.machines.plugins.clone(),
            server: self.parts.server.clone(),
            recorder: self.parts.recorder.clone(),
            boards: self.parts.boards.clone(),
        });
        let work = volumes.clone().run().boxed();
        let first_turn = self.parts.clock.now() + STAGGER.saturating_mul(self.running());
        let shared = Shared {
            node: node.clone(),
            host_address: address_of_node(&node),
            runtime: self.parts.machines.runtimes.of(&host),
            host,
            volumes,
            server: self.parts.server.clone(),
            mirror: self.parts.mirror.clone(),
            recorder: self.parts.recorder.clone(),
            clock: self.parts.clock.clone(),
            reports: Turns::new(first_turn, turns::STATUS),
            relists: Turns::new(first_turn, turns::RELIST),
            // Until it has taken over its pods.
            busy: AtomicUsize::new(1),
        };
        let shared = Arc::new(shared);
        let (name, running) = (node.clone(), shared.clone());
        let work = async move {
            let object = reporter::register(&running).await;
            running.busy.fetch_sub(1, Ordering::AcqRel);
            agent::run(running, object, told, work).await;
        };
        let task = tasks.spawn(async move {
            let why = match AssertUnwindSafe(work).catch_unwind().await {
                Ok(()) => "it ended by itself".to_owned(),
                Err(panic) => format!("it panicked: {}", words(&*panic)),
            };
            tracing::error!(node = %name, why, "an agent has ended");
            (name, why)
        });
        self.slots().insert(node, Slot::Running { inbox, shared, task });
    }

    /// What changed as a watch tells it, in the order of the last changes: pods
    /// get their volumes in the order in which they came to their node.
    fn in_order(&self, changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        let mut changed: Vec<ObjectRef> = changed.into_iter().collect();
        self.parts.mirror.read(|tables| {
            changed.sort_by_cached_key(|object| tables.meta(object).map(|meta| meta.version));
        });
        changed
    }

    /// Tells a change to the nodes that it is about.
    fn route(&self, object: &ObjectRef, router: &mut Router) {
        if object.kind == kind::NODE {
            let name = &object.key.name;
            let exists = self.parts.mirror.read(|tables| tables.nodes.get(&object.key).is_some());
            let slots = self.slots();
            match slots.get(name) {
                Some(Slot::Running { inbox, .. }) => tell(inbox, Told::Node),
                Some(Slot::Stopped) => {}
                None => {
                    drop(slots);
                    if exists {
                        self.want(name.clone());
                    }
                }
            }
        } else if object.kind == kind::POD {
            let now = self.parts.mirror.read(|tables| {
                let pod = tables.pods.get(&object.key).filter(|pod| pod.is_scheduled());
                pod.map(|pod| pod.node.clone())
            });
            let before = router.moved(&object.key, now.clone());
            let slots = self.slots();
            let both = now.iter().chain(before.iter().filter(|node| Some(*node) != now.as_ref()));
            for node in both {
                if let Some(Slot::Running { inbox, .. }) = slots.get(node) {
                    tell(inbox, Told::Pod(object.key.clone()));
                }
            }
        } else if [kind::PERSISTENT_VOLUME_CLAIM, kind::PERSISTENT_VOLUME].contains(&object.kind) {
            let using = self.parts.mirror.read(|tables| users_of_grown(tables, object));
            let slots = self.slots();
            for (node, pod) in using {
                if let Some(Slot::Running { inbox, .. }) = slots.get(&node) {
                    tell(inbox, Told::Grown(pod));
                }
            }
        }
    }
}

/// The pods that use a volume that has more than its claim says, with their
/// nodes.
fn users_of_grown(tables: &Tables, object: &ObjectRef) -> Vec<(Arc<str>, Key)> {
    let claim = if object.kind == kind::PERSISTENT_VOLUME_CLAIM {
        Some(object.key.clone())
    } else {
        let volume = tables.volumes.get(&object.key);
        volume.and_then(|volume| Some(volume.claim_ref.as_ref()?.key.clone()))
    };
    let Some(claim) = claim.and_then(|key| tables.claims.get(&key)) else { return Vec::new() };
    let volume = tables.volumes.get(&Key::cluster(claim.volume_name.clone()));
    let grown = |volume: &Arc<Volume>| claim.capacity.is_some() && volume.capacity > claim.capacity;
    if !volume.is_some_and(grown) {
        return Vec::new();
    }
    let pods = tables.pods_using(&claim.meta.key).filter(|pod| pod.is_scheduled());
    pods.map(|pod| (pod.node.clone(), pod.meta.key.clone())).collect()
}

fn tell(inbox: &mpsc::UnboundedSender<Told>, told: Told) {
    // An agent that has ended looks for itself when it is started again.
    let _ = inbox.send(told);
}

/// Where each pod was last seen: of a deleted one only its key is told.
#[derive(Default)]
struct Router {
    nodes: HashMap<Key, Arc<str>>,
}

impl Router {
    /// Notes where a pod is now; where it was before.
    fn moved(&mut self, pod: &Key, now: Option<Arc<str>>) -> Option<Arc<str>> {
        match now {
            Some(node) => self.nodes.insert(pod.clone(), node),
            None => self.nodes.remove(pod),
        }
    }
}

impl ContainerLogs for Agents {
    fn printed(&self, pod: &Key, container: &str, previous: bool) -> Option<Vec<u8>> {
        let containers = self.containers(pod);
        let inside = containers.into_iter().find(|inside| &*inside.name == container)?;
        Some(if previous { inside.log_before } else { inside.log })
    }
}

impl NodeBoards for Agents {
    fn board(&self, node: &str) -> Option<NodeBoard> {
        Some(self.shared(node)?.volumes.board())
    }

    fn commands(&self, node: &str) -> Vec<CommandRecord> {
        self.parts.machines.hosts.host(node).map(|host| host.records()).unwrap_or_default()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.parts.boards.subscribe()
    }
}
