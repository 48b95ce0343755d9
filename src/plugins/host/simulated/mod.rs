//! Machines in memory: devices, mount tables and files of all nodes of a
//! cluster, the disks between them, and what the network exports.
//!
//! A [`World`] holds them all, so that a disk that moves to another node takes
//! its files along. Each [`Simulated`] host is a view of one machine. Nothing
//! happens by chance and nothing by real time: requests take effect in the
//! order in which their latency ends on the cluster's clock.
//!
//! [`World::snapshot`] is cheap, and [`World::restore`] brings it back.
//!
//! What the nodes of a cluster must survive is made here: requests that are
//! slow, fail, never begin, or are done without an answer ([`rules`]), and a
//! node that does not answer at all ([`World::lose`]); and whoever uses the
//! machines may be killed at any change to them ([`mortal`]). Records of
//! commands are not part of a snapshot.

pub mod mortal;
pub mod programs;
pub mod rules;
pub mod state;
pub mod tree;

mod commands;
mod disks;
mod files;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::{BoxFuture, FutureExt};
use tokio::sync::watch;

use crate::model::clock::{Clock, TimerUse};
use crate::plugins::host::command::Verb;
use crate::plugins::host::log::Log;
use crate::plugins::host::simulated::programs::Programs;
use crate::plugins::host::simulated::rules::{Effect, Latency, Rule, Rules};
use crate::plugins::host::simulated::state::{Disk, DiskContent, Machine, State};
use crate::plugins::host::simulated::tree::{Content, Entry};
use crate::plugins::host::{
    Command, CommandRecord, Exit, FileAnswer, FileRequest, Host, HostError, Hosts, MountTable,
    OnBehalf,
};
use crate::plugins::layout::Layout;

/// The number of requests about files that are kept.
const REQUESTS_MAX: usize = 4096;

/// All simulated machines of a cluster. Clones share them.
#[derive(Clone)]
pub struct World {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Arc<dyn Clock>,
    layout: Layout,
    held: Mutex<Held>,
    /// Rises when a rule goes or a node comes back: who waits looks again.
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Held {
    state: State,
    rules: Rules,
    hosts: BTreeMap<Arc<str>, Arc<Simulated>>,
    programs: Option<Arc<Programs>>,
    requests: VecDeque<FileRequested>,
}

/// A request about files that a node was asked; contents are not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRequested {
    pub node: Arc<str>,
    /// `mkdir`, `open`, `remove`, …
    pub doing: &'static str,
    pub path: String,
    pub is_change: bool,
}

/// One simulated machine.
pub struct Simulated {
    node: Arc<str>,
    world: World,
    log: Arc<Log>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("nodes", &self.lock().hosts.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulated").field("node", &self.node).finish_non_exhaustive()
    }
}

impl World {
    /// A world without machines, whose kubelets use `layout`. No latency.
    pub fn new(clock: Arc<dyn Clock>, layout: Layout) -> Self {
        let (held, changed) = (Mutex::default(), watch::Sender::new(0));
        Self { inner: Arc::new(Inner { clock, layout, held, changed }) }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.inner.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        self.inner.changed.send_modify(|changed| *changed += 1);
    }

    /// The host of a node; a machine is made if there is none yet.
    pub fn add(&self, node: &str) -> Arc<Simulated> {
        let mut held = self.lock();
        if let Some(host) = held.hosts.get(node) {
            return host.clone();
        }
        let name: Arc<str> = node.into();
        let log = Log::new(name.clone(), self.inner.clock.clone());
        let host = Arc::new(Simulated { node: name.clone(), world: self.clone(), log });
        let mut machine = Machine::default();
        // An empty machine has no file in the way.
        let _ = machine.root.make_directory(self.inner.layout.root(), 0o750, true);
        held.state.machines.entry(name.clone()).or_insert_with(|| Arc::new(machine));
        held.hosts.insert(name, host.clone());
        host
    }

    /// The node is scrapped: its machine is gone, and its disks are free.
    pub fn remove(&self, node: &str) {
        let mut held = self.lock();
        held.hosts.remove(node);
        held.state.machines.remove(node);
        for disk in held.state.disks.values_mut() {
            if disk.attached.contains_key(node) {
                Arc::make_mut(disk).attached.remove(node);
            }
        }
        drop(held);
        self.wake();
    }

    /// The node stops to answer until [`World::find_again`].
    pub fn lose(&self, node: &str) {
        self.set_lost(node, true);
    }

    /// A lost node answers again, as if nothing had been.
    pub fn find_again(&self, node: &str) {
        self.set_lost(node, false);
    }

    fn set_lost(&self, node: &str, lost: bool) {
        if let Some(machine) = self.lock().state.machine(node) {
            machine.lost = lost;
        }
        self.wake();
    }

    /// The machine starts afresh: mounts and files in memory are gone, disks
    /// stay attached.
    pub fn reboot(&self, node: &str) {
        if let Some(machine) = self.lock().state.machine(node) {
            machine.mounts.truncate(Machine::default().mounts.len());
            machine.memory.clear();
            machine.lost = false;
        }
        self.wake();
    }

    /// Makes a directory on a node's own disk, with those above it.
    pub fn add_directory(&self, node: &str, path: &str) {
        if let Some(machine) = self.lock().state.machine(node) {
            // A file that is in the way stays.
            let _ = machine.root.make_directory(path, 0o755, true);
        }
    }

    /// Gives a node a built-in disk, blank, at a path below `/dev`.
    pub fn add_device(&self, node: &str, device: &str, bytes: u64) {
        let id: Arc<str> = format!("{node}:{device}").into();
        let mut held = self.lock();
        let name = device.trim_start_matches("/dev/");
        let disk = Disk {
            bytes,
            content: DiskContent::Blank,
            read_only: false,
            attached: BTreeMap::from([(node.into(), name.to_owned())]),
        };
        held.state.disks.insert(id.clone(), Arc::new(disk));
        if let Some(machine) = held.state.machine(node) {
            let entry = Entry::new(Content::Device(id), 0o660);
            // `/dev` itself is a directory.
            let _ = machine.devices.put(&format!("/{name}"), entry);
        }
    }

    /// Puts something on a disk, by its id, or `<node>:<device>` if built in.
    pub fn set_content(&self, id: &str, content: DiskContent) {
        if let Some(disk) = self.lock().state.disk(id) {
            disk.content = content;
        }
    }

    /// How long requests take from now on.
    pub fn set_latency(&self, latency: Latency) {
        self.lock().rules.latency = latency;
    }

    /// Puts a rule in force; its number takes it away again.
    pub fn add_rule(&self, rule: Rule) -> u64 {
        self.lock().rules.add(rule)
    }

    pub fn remove_rule(&self, id: u64) {
        self.lock().rules.remove(id);
        self.wake();
    }

    /// Faults stop: all rules go, all nodes answer.
    pub fn calm(&self) {
        let mut held = self.lock();
        held.rules.clear();
        let nodes: Vec<Arc<str>> = held.state.machines.keys().cloned().collect();
        for node in nodes {
            if let Some(machine) = held.state.machine(&node).filter(|machine| machine.lost) {
                machine.lost = false;
            }
        }
        drop(held);
        self.wake();
    }

    /// Machines, disks and exports as they are now.
    pub fn snapshot(&self) -> State {
        self.lock().state.clone()
    }

    /// Puts machines, disks and exports back. Requests under way take effect
    /// on them, as those of a machine that was reset under its kubelet do.
    pub fn restore(&self, state: State) {
        let nodes: Vec<Arc<str>> = state.machines.keys().cloned().collect();
        self.lock().state = state;
        for node in nodes {
            self.add(&node);
        }
        self.wake();
    }

    /// The newest requests about files, oldest first.
    pub fn file_requests(&self) -> Vec<FileRequested> {
        self.lock().requests.iter().cloned().collect()
    }

    /// Waits until a node may act on a request, then lets it act. `outside`:
    /// the request does not go through the node itself.
    async fn act<T>(
        &self,
        node: &str,
        outside: bool,
        asked: (Verb, &[&str]),
        act: impl FnOnce(&mut State, Option<Effect>) -> T,
    ) -> Result<T, HostError> {
        let mut changed = self.inner.changed.subscribe();
        let treatment = self.lock().rules.treat(node, asked.0, asked.1);
        if !treatment.delay.is_zero() {
            self.inner.clock.sleep(treatment.delay, TimerUse::Work).await;
        }
        let (rule, effect) = treatment.effect.unzip();
        loop {
            {
                let held = self.lock();
                let Some(machine) = held.state.machines.get(node) else {
                    return Err(HostError::NodeLost { node: node.into() });
                };
                let hung =
                    effect == Some(Effect::Hang) && rule.is_some_and(|r| held.rules.holds(r));
                if !hung && (outside || !machine.lost) {
                    break;
                }
            }
            wait(&mut changed).await;
        }
        let answer = act(&mut self.lock().state, effect.clone());
        while effect == Some(Effect::LoseAnswer)
            && rule.is_some_and(|rule| self.lock().rules.holds(rule))
        {
            wait(&mut changed).await;
        }
        Ok(answer)
    }
}

/// Waits for a change; without anyone who could make one, forever.
async fn wait(changed: &mut watch::Receiver<u64>) {
    if changed.changed().await.is_err() {
        futures::future::pending::<()>().await;
    }
}

impl Simulated {
    async fn perform(
        &self,
        on_behalf: &OnBehalf,
        command: Command,
        outside: bool,
    ) -> Result<CommandRecord, HostError> {
        if let Command::Driver { .. } = command {
            return self.run_driver(on_behalf, command).await;
        }
        let running = self.log.start(on_behalf, command.clone());
        let source = match &command {
            Command::Mount { source, .. } => source,
            _ => "",
        };
        let asked = (command.verb(), &[command.object(), source][..]);
        let end = |state: &mut State, effect: Option<Effect>| match effect {
            Some(Effect::Fail { exit, output }) => {
                (Exit::Code(exit), output.replace("{object}", command.object()))
            }
            _ => commands::perform(state, &self.node, &command),
        };
        let (exit, output) = self.world.act(&self.node, outside, asked, end).await?;
        Ok(running.end(exit, &output))
    }
}

impl Host for Simulated {
    fn node(&self) -> &Arc<str> {
        &self.node
    }

    fn layout(&self) -> &Layout {
        &self.world.inner.layout
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        &self.world.inner.clock
    }

    fn run(
        &self,
        on_behalf: &OnBehalf,
        command: Command,
    ) -> BoxFuture<'_, Result<CommandRecord, HostError>> {
        let on_behalf = on_behalf.clone();
        async move { self.perform(&on_behalf, command, false).await }.boxed()
    }

    fn file(&self, request: FileRequest) -> BoxFuture<'_, Result<FileAnswer, HostError>> {
        async move {
            let is_change = request.is_change();
            let requested = FileRequested {
                node: self.node.clone(),
                doing: request.doing(),
                path: request.path().to_owned(),
                is_change,
            };
            {
                let requests = &mut self.world.lock().requests;
                requests.push_back(requested);
                if requests.len() > REQUESTS_MAX {
                    requests.pop_front();
                }
            }
            if let Some(answer) = self.world.of_real_programs(&request) {
                return answer.map_err(|fault| request.error(fault));
            }
            let verb = if is_change { Verb::WriteFiles } else { Verb::ReadFiles };
            let asked = (verb, &[request.path()][..]);
            let answer = |state: &mut State, effect: Option<Effect>| match effect {
                Some(Effect::FailFile(fault)) => Err(fault),
                _ => files::perform(state, &self.node, &request),
            };
            let answer = self.world.act(&self.node, false, asked, answer).await?;
            answer.map_err(|fault| request.error(fault))
        }
        .boxed()
    }

    fn mounts(&self) -> BoxFuture<'_, Result<MountTable, HostError>> {
        let asked = (Verb::ReadFiles, &["/proc/self/mountinfo"][..]);
        let table = |state: &mut State, _| {
            state.machines.get(&self.node).map(|machine| machine.table()).unwrap_or_default()
        };
        self.world.act(&self.node, false, asked, table).boxed()
    }

    fn answers(&self) -> BoxFuture<'_, bool> {
        let asked = (Verb::ReadFiles, &["/proc/self/mountinfo"][..]);
        self.world.act(&self.node, false, asked, |_, _| ()).map(|done| done.is_ok()).boxed()
    }

    fn records(&self) -> Vec<CommandRecord> {
        self.log.records()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.log.changes()
    }
}

impl Hosts for World {
    fn host(&self, node: &str) -> Option<Arc<dyn Host>> {
        self.lock().hosts.get(node).map(|host| host.clone() as Arc<dyn Host>)
    }
}

#[cfg(test)]
mod tests;
