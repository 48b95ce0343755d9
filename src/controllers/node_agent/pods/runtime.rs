//! The container runtime of one node, simulated: it knows which containers
//! run, executes what it understands of their commands, and goes on while the
//! node's agent is stopped.
//!
//! ```text
//! agent ─ start, stop, remove ─> Runtime ─> a task per container ─> files of the host
//!   ^                               │
//!   └──── changed pods, seen ───────┘
//! ```
//!
//! Its mounts are made in a namespace that only its processes see: the host's
//! mount table does not show them. A host path that is not there is made a
//! directory, as real runtimes do.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, pending};
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::addresses;
use super::container_files::ContainerFiles;
use super::mounts::{ContainerDevice, ContainerMount};
use super::shell::Program;
use super::shell::parse::Node;
use super::shell::run::{Kept, Process};
use crate::controllers::node_agent::turns::RELIST;
use crate::model::clock::TimerUse;
use crate::model::object::Key;
use crate::plugins::host::{Files, Host, HostError};

/// The longest termination message that is read.
const MESSAGE_BYTES_MAX: u64 = 4096;
/// Of a container's output as its message.
const MESSAGE_FROM_LOG_MAX: usize = 2048;
/// How long a pod's sandbox takes to be made, and to be taken down, about as
/// long as in a real runtime.
const SANDBOX: Duration = Duration::from_millis(400);
/// The exit code of a process that was killed.
const KILLED: i32 = 137;

/// The container runtimes of all nodes.
#[derive(Debug, Default)]
pub struct Runtimes {
    by_node: Mutex<BTreeMap<Arc<str>, Arc<Runtime>>>,
}

impl Runtimes {
    /// The runtime of a machine; one is made if there is none yet.
    pub fn of(&self, host: &Arc<dyn Host>) -> Arc<Runtime> {
        let mut by_node = self.by_node.lock().unwrap_or_else(PoisonError::into_inner);
        let runtime = by_node.entry(host.node().clone());
        runtime.or_insert_with(|| Arc::new(Runtime::new(host.clone()))).clone()
    }
}

/// A container to start.
pub struct ContainerOrder {
    pub pod_uid: Arc<str>,
    /// Its name is what the container calls its host.
    pub pod: Key,
    pub name: Arc<str>,
    /// 0, then one more with each restart.
    pub attempt: u32,
    pub image: Arc<str>,
    pub program: Program,
    pub environment: BTreeMap<String, String>,
    pub mounts: Arc<[ContainerMount]>,
    pub devices: Arc<[ContainerDevice]>,
    /// The file its last words are read from.
    pub termination_log: String,
    /// `FallbackToLogsOnError`: its output counts if it left no message.
    pub message_from_log: bool,
    /// The same with `docker run`.
    pub docker_line: String,
}

/// A pod as the runtime sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodSeen {
    /// What it is called, once a container of it was started.
    pub key: Key,
    /// Its address; `None`: it has no sandbox.
    pub address: Option<Arc<str>>,
    /// In the order of their first start.
    pub containers: Vec<ContainerSeen>,
}

/// A container as the runtime sees it: its newest run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSeen {
    pub name: Arc<str>,
    pub id: Arc<str>,
    pub attempt: u32,
    pub started: Timestamp,
    /// `None`: it runs.
    pub ended: Option<Ended>,
    /// How the run before ended.
    pub last: Option<LastRun>,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub exit_code: i32,
    pub message: String,
    pub at: Timestamp,
}

/// An earlier run of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRun {
    pub id: Arc<str>,
    pub started: Timestamp,
    pub ended: Ended,
}

/// What people may see of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerInside {
    pub name: Arc<str>,
    pub mounts: Arc<[ContainerMount]>,
    pub devices: Arc<[ContainerDevice]>,
    pub docker_line: String,
    /// The newest of its output.
    pub log: Vec<u8>,
    /// That of the run before.
    pub log_before: Vec<u8>,
}

impl PodSeen {
    pub fn container(&self, name: &str) -> Option<&ContainerSeen> {
        self.containers.iter().find(|container| &*container.name == name)
    }

    pub fn runs(&self) -> bool {
        self.containers.iter().any(ContainerSeen::runs)
    }
}

impl ContainerSeen {
    pub fn runs(&self) -> bool {
        self.ended.is_none()
    }
}

/// What a process is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Signal {
    None,
    Terminate,
    Kill,
}

/// One node's containers.
pub struct Runtime {
    host: Arc<dyn Host>,
    inner: Mutex<Inner>,
    /// Dropped with the runtime, and the processes with it.
    processes: Mutex<JoinSet<()>>,
    news: Notify,
}

#[derive(Default)]
struct Inner {
    pods: BTreeMap<Arc<str>, Sandbox>,
    addresses: u32,
    changed: HashSet<Arc<str>>,
}

#[derive(Default)]
struct Sandbox {
    key: Key,
    address: Option<Arc<str>>,
    containers: Vec<Container>,
}

struct Container {
    seen: ContainerSeen,
    inside: ContainerInside,
    kept: Arc<Kept>,
    root: String,
    signal: watch::Sender<Signal>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").field("node", self.host.node()).finish_non_exhaustive()
    }
}

impl Runtime {
    pub fn new(host: Arc<dyn Host>) -> Self {
        Self { host, inner: Mutex::default(), processes: Mutex::default(), news: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it has of a pod.
    pub fn seen(&self, pod_uid: &str) -> PodSeen {
        let inner = self.lock();
        let Some(sandbox) = inner.pods.get(pod_uid) else { return PodSeen::default() };
        let containers = sandbox.containers.iter().map(|container| container.seen.clone());
        PodSeen {
            key: sandbox.key.clone(),
            address: sandbox.address.clone(),
            containers: containers.collect(),
        }
    }

    /// What people may see of a pod's containers.
    pub fn inside(&self, pod_uid: &str) -> Vec<ContainerInside> {
        let inner = self.lock();
        let containers = inner.pods.get(pod_uid).into_iter().flat_map(|pod| &pod.containers);
        let told = |container: &Container| ContainerInside {
            log: container.kept.log(),
            ..container.inside.clone()
        };
        containers.map(told).collect()
    }

    /// The uids of all pods it has.
    pub fn pods(&self) -> Vec<Arc<str>> {
        self.lock().pods.keys().cloned().collect()
    }

    /// Waits until a container ends; the pods whose containers have since this
    /// was last asked.
    pub async fn changed(&self) -> HashSet<Arc<str>> {
        loop {
            let mut news = std::pin::pin!(self.news.notified());
            // Listening before looking, so that no news falls between.
            news.as_mut().enable();
            let changed = std::mem::take(&mut self.lock().changed);
            if !changed.is_empty() {
                return changed;
            }
            news.await;
        }
    }

    /// Gives a pod its network: its address. One that has one keeps it.
    pub async fn make_sandbox(
        &self,
        pod_uid: &Arc<str>,
        on_host_network: bool,
    ) -> Result<(), HostError> {
        // A machine that does not answer starts nothing.
        self.host.mounts().await?;
        if self.seen(pod_uid).address.is_none() {
            self.host.clock().sleep(SANDBOX, TimerUse::Work).await;
        }
        let node = self.host.node().clone();
        let mut inner = self.lock();
        let Inner { pods, addresses, .. } = &mut *inner;
        let sandbox = pods.entry(pod_uid.clone()).or_default();
        sandbox.address.get_or_insert_with(|| {
            if on_host_network {
                return addresses::of_node(&node).into();
            }
            *addresses += 1;
            addresses::of_pod(&node, *addresses).into()
        });
        Ok(())
    }

    /// Starts a container; one of that name that runs already is left alone.
    pub async fn start(self: &Arc<Self>, order: ContainerOrder) -> Result<(), HostError> {
        if self.seen(&order.pod_uid).container(&order.name).is_some_and(ContainerSeen::runs) {
            return Ok(());
        }
        let files = Files(&*self.host);
        let directory = order.termination_log.rsplit_once('/').map_or("/", |(path, _)| path);
        files.make_directories(directory, 0o750).await?;
        files.write(&order.termination_log, b"", 0o666).await?;
        for mount in order.mounts.iter().filter(|mount| !mount.volume.is_empty()) {
            if files.look(&mount.host_path).await?.is_none() {
                files.make_directories(&mount.host_path, 0o755).await?;
            }
        }
        let id = addresses::container_id(&order.pod_uid, &order.name, order.attempt);
        let root = format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}/rootfs");
        let (signal, signals) = watch::channel(Signal::None);
        let kept = Arc::new(Kept::default());
        let process = self.process(&order, &root, kept.clone());
        self.note_start(&order, id, root, kept, signal);
        let (runtime, pod, name) =
            (Arc::downgrade(self), order.pod_uid.clone(), order.name.clone());
        let host = self.host.clone();
        let task = async move {
            let exit_code = live(&process, &order.program, signals).await;
            let message = last_words(&*host, &order, &process.kept, exit_code).await;
            if let Some(runtime) = runtime.upgrade() {
                runtime.note_end(&pod, &name, order.attempt, exit_code, message);
            }
        };
        let mut processes = self.processes.lock().unwrap_or_else(PoisonError::into_inner);
        while processes.try_join_next().is_some() {}
        processes.spawn(task);
        Ok(())
    }

    fn process(&self, order: &ContainerOrder, root: &str, kept: Arc<Kept>) -> Process {
        Process {
            files: ContainerFiles {
                host: self.host.clone(),
                mounts: order.mounts.clone(),
                devices: order.devices.clone(),
                root: root.to_owned(),
            },
            clock: self.host.clock().clone(),
            environment: order.environment.clone(),
            hostname: order.pod.name.to_string(),
            kept,
        }
    }

    fn note_start(
        &self,
        order: &ContainerOrder,
        id: String,
        root: String,
        kept: Arc<Kept>,
        signal: watch::Sender<Signal>,
    ) {
        let mut inner = self.lock();
        let sandbox = inner.pods.entry(order.pod_uid.clone()).or_default();
        sandbox.key = order.pod.clone();
        let containers = &mut sandbox.containers;
        let before = containers.iter().position(|container| container.seen.name == order.name);
        let last = before.and_then(|at| {
            let seen = &containers[at].seen;
            let ended = seen.ended.clone()?;
            Some(LastRun { id: seen.id.clone(), started: seen.started, ended })
        });
        let container = Container {
            seen: ContainerSeen {
                name: order.name.clone(),
                id: id.into(),
                attempt: order.attempt,
                started: self.host.clock().now(),
                ended: None,
                last,
            },
            inside: ContainerInside {
                name: order.name.clone(),
                mounts: order.mounts.clone(),
                devices: order.devices.clone(),
                docker_line: order.docker_line.clone(),
                log: Vec::new(),
                log_before: before.map(|at| containers[at].kept.log()).unwrap_or_default(),
            },
            kept,
            root,
            signal,
        };
        match before {
            Some(at) => containers[at] = container,
            None => containers.push(container),
        }
    }

    fn note_end(&self, pod: &Arc<str>, name: &str, attempt: u32, exit_code: i32, message: String) {
        let at = self.host.clock().now();
        let mut inner = self.lock();
        let containers = inner.pods.get_mut(pod).into_iter().flat_map(|pod| &mut pod.containers);
        for container in containers {
            if &*container.seen.name == name && container.seen.attempt == attempt {
                container.seen.ended = Some(Ended { exit_code, message: message.clone(), at });
            }
        }
        inner.changed.insert(pod.clone());
        drop(inner);
        self.news.notify_waiters();
    }

    /// Tells all containers of a pod to end, and kills those that still run
    /// after `grace`. Returns when none runs and their network is taken down.
    pub async fn stop(&self, pod_uid: &str, grace: Duration) -> Result<(), HostError> {
        self.host.mounts().await?;
        self.signal(pod_uid, Signal::Terminate);
        let mut time = self.host.clock().sleep(grace, TimerUse::Work);
        loop {
            let mut news = std::pin::pin!(self.news.notified());
            news.as_mut().enable();
            if !self.seen(pod_uid).runs() {
                break;
            }
            tokio::select! {
                () = news => {}
                () = &mut time => {
                    self.signal(pod_uid, Signal::Kill);
                    time = Box::pin(pending());
                }
            }
        }
        if self.seen(pod_uid).address.is_some() {
            self.host.clock().sleep(SANDBOX, TimerUse::Work).await;
        }
        Ok(())
    }

    fn signal(&self, pod_uid: &str, signal: Signal) {
        let inner = self.lock();
        for container in inner.pods.get(pod_uid).into_iter().flat_map(|pod| &pod.containers) {
            container.signal.send_if_modified(|held| {
                let stronger = *held < signal;
                *held = (*held).max(signal);
                stronger
            });
        }
    }

    /// Forgets a pod: its containers' own files go. Nothing of it may run.
    pub async fn remove(&self, pod_uid: &str) -> Result<(), HostError> {
        let roots: Vec<String> = {
            let inner = self.lock();
            let containers = inner.pods.get(pod_uid).into_iter().flat_map(|pod| &pod.containers);
            containers.map(|container| container.root.clone()).collect()
        };
        for root in roots {
            let directory = root.trim_end_matches("/rootfs");
            Files(&*self.host).remove_tree(directory).await?;
        }
        self.lock().pods.remove(pod_uid);
        Ok(())
    }

    /// The machine was started afresh: nothing runs.
    pub fn forget_all(&self) {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        let mut inner = self.lock();
        let pods = std::mem::take(&mut inner.pods);
        inner.changed.extend(pods.into_keys());
        drop(inner);
        self.news.notify_waiters();
    }
}

/// Runs a program until it ends or is killed; its exit code.
async fn live(process: &Process, program: &Program, mut signals: watch::Receiver<Signal>) -> i32 {
    let began = process.clock.now();
    let mut running = Box::pin(async {
        match program {
            Program::Script(node) => process.run(node).await.unwrap_or(KILLED),
            Program::Service => pending().await,
        }
    });
    let mut ending: BoxFuture<'_, Option<i32>> = pending().boxed();
    loop {
        tokio::select! {
            biased;
            changed = signals.changed() => {
                let signal = *signals.borrow_and_update();
                if changed.is_err() || signal == Signal::Kill {
                    return KILLED;
                }
                if signal == Signal::Terminate {
                    ending = at_term(process, program).boxed();
                }
            }
            code = &mut ending => match code {
                Some(code) => return code,
                None => ending = pending().boxed(),
            },
            code = &mut running => {
                // A container that was short is seen to run all the same: ends
                // are noticed once in a second, as by a kubelet's relist.
                let ran = process.clock.now().duration_since(began);
                let ran = Duration::try_from(ran).unwrap_or_default();
                process.clock.sleep(RELIST.saturating_sub(ran), TimerUse::Work).await;
                return code;
            }
        }
    }
}

/// What TERM makes of a process; `None`: it goes on.
async fn at_term(process: &Process, program: &Program) -> Option<i32> {
    match program {
        Program::Service => Some(0),
        Program::Script(_) => {
            let trap: Node = process.kept.trap()?;
            match process.kept.until_command_ends(process.clock.now()) {
                Some(Duration::ZERO) => {}
                Some(left) => process.clock.sleep(left, TimerUse::Work).await,
                None => pending().await,
            }
            process.run_trap(&trap).await
        }
    }
}

/// What a container leaves as its message.
async fn last_words(
    host: &dyn Host,
    order: &ContainerOrder,
    kept: &Kept,
    exit_code: i32,
) -> String {
    // A machine that is gone has no last words.
    let read = Files(host).read(&order.termination_log, MESSAGE_BYTES_MAX).await;
    let mut bytes = read.unwrap_or_default();
    if bytes.is_empty() && order.message_from_log && exit_code != 0 {
        bytes = kept.log();
        let over = bytes.len().saturating_sub(MESSAGE_FROM_LOG_MAX);
        bytes.drain(..over);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
