//! One schedule, played.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pvdeck::cluster::clock::ManualClock;
use pvdeck::cluster::embedded::Embedded;
use pvdeck::controllers::csi::embedded::{self as csi, Csi, EmbeddedDriver};
use pvdeck::controllers::host;
use pvdeck::controllers::machines::Machines;
use pvdeck::controllers::node_agent::pods::runtime::Runtimes;
use pvdeck::model::clock::Clock;
use pvdeck::model::kind;
use pvdeck::plugins::csi::node::CsiPlugin;
use pvdeck::plugins::host::command::Verb;
use pvdeck::plugins::host::simulated::World;
use pvdeck::plugins::host::simulated::mortal::Reached;
use pvdeck::plugins::host::simulated::rules::{Effect, Rule};
use pvdeck::plugins::host::{FileFault, Hosts};
use pvdeck::plugins::layout::Layout;
use pvdeck::session::Session;
use serde_json::json;

use super::objects::{DRIVER, LOCAL, is_given_up, pod_name};
use super::sound::{Watcher, why_not_whole};
use super::{Act, Covered, NODES};
use crate::bare_cluster::{self, BareCluster};
use crate::by_hand::{ByHand, reference};
use crate::crash::{Fault, Plan, faulty};

/// How finely time passes while someone may die.
const SLICE: Duration = Duration::from_secs(2);

pub struct Play {
    clock: ManualClock,
    embedded: Embedded,
    pub world: World,
    pub runtimes: Arc<Runtimes>,
    csi: Csi,
    pub user: kube::Client,
    pub watcher: Arc<Watcher>,
    plan: Arc<Plan>,
    pub session: Option<Session>,
    pub covered: Covered,
}

impl Play {
    /// A cluster whose claims are bound, and the program at work on it.
    pub async fn new() -> Self {
        let BareCluster { clock, embedded, user } = BareCluster::new();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let world = World::new(shared.clone(), Layout::default());
        let runtimes = Arc::new(Runtimes::default());
        for node in NODES {
            world.add(node);
            // What runs on a machine goes on whatever becomes of the program.
            drop(runtimes.of(&world.host(node).expect("a machine")));
        }
        world.add_directory(NODES[0], LOCAL);
        let driver = EmbeddedDriver::named(DRIVER);
        embedded.import(vec![driver.object()], "user").expect("imported");
        let csi = csi::start(&[driver], &world, &NODES, &shared);
        let watcher = Watcher::new(embedded.clone(), world.clone(), runtimes.clone());
        let plan = Plan::new(None);
        let mut play = Self {
            clock,
            embedded,
            world,
            runtimes,
            csi,
            user,
            watcher,
            plan,
            session: None,
            covered: Covered::default(),
        };
        play.make_objects().await;
        play.start(None);
        play.bind_claims().await;
        play
    }

    pub fn world(&self) -> &World {
        &self.world
    }

    /// Starts the program anew.
    pub fn start(&mut self, fate: Option<Fault>) {
        drop(self.session.take());
        self.account();
        let watcher = self.watcher.clone();
        self.plan = Plan::telling(fate, move |what| watcher.look(what));
        let reached = Reached { world: self.world.clone(), by: self.plan.process.clone() };
        let plugin = CsiPlugin::new(self.csi.on_nodes.clone(), None);
        let machines = Machines {
            runtimes: self.runtimes.clone(),
            ..Machines::of(reached, false).with_csi(plugin)
        };
        let controllers = host::Options {
            machines: Some(machines),
            csi: self.csi.clone(),
            ..host::Options::default()
        };
        let base = faulty(self.embedded.base(), self.plan.clone());
        let session = bare_cluster::start(&self.embedded, &self.clock, base, Some(controllers));
        self.session = Some(session);
    }

    /// Counts what became of a run of the program.
    fn account(&mut self) {
        self.covered.add("runs of the program", 1);
        let process = &self.plan.process;
        self.covered.add("operations on machines", process.changes());
        if process.killed_at().is_some() {
            self.covered.add("killed at an operation on a machine", 1);
        } else if process.is_dead() {
            self.covered.add("killed at a write", 1);
        } else if self.plan.fired().is_some() {
            self.covered.add("other faults of a write", 1);
        }
    }

    /// Where the program died, for people.
    pub fn last_death(&self) -> String {
        self.plan.fired().map(|at| format!("; failed at {at}")).unwrap_or_default()
    }

    pub async fn act(&mut self, act: &Act) {
        match act {
            Act::Pod { name, node, claims, does } => {
                self.pod(*name, *node, *claims, *does).await;
            }
            Act::Delete { name, by_force } => {
                let options = by_force.then(|| json!({"gracePeriodSeconds": 0}));
                self.delete_pod(&pod_name(*name), options.unwrap_or_else(|| json!({}))).await;
            }
            Act::Lose { node } => {
                self.covered.add("nodes lost", 1);
                self.world.lose(NODES[*node]);
                self.watcher.set_out_of_service(NODES[*node], true);
            }
            Act::Return { node } => self.bring_back(NODES[*node]).await,
            Act::GiveUp { node } => {
                let lost = self.world.snapshot().machines[NODES[*node]].lost;
                if lost {
                    self.taint(NODES[*node], true).await;
                }
            }
            Act::Reboot { node } => self.reboot(NODES[*node]),
            Act::StopAgent { node } => {
                self.covered.add("agents stopped", 1);
                self.agents(|agents| agents.stop(NODES[*node]));
            }
            Act::StartAgent { node } => self.agents(|agents| agents.start(NODES[*node])),
            Act::Restart { fate } => self.start(*fate),
            Act::Fault { node, verb, effect, after, times } => {
                let is_file = matches!(verb, Verb::ReadFiles | Verb::WriteFiles);
                let effect = match effect {
                    0 if is_file => Effect::FailFile(FileFault::NoSpace),
                    0 => Effect::Fail { exit: 32, output: "{object}: it does not work".into() },
                    1 => Effect::Slow { milliseconds: 7000 },
                    2 => Effect::Hang,
                    _ => Effect::LoseAnswer,
                };
                self.world.add_rule(Rule {
                    node: Some(NODES[*node].to_owned()),
                    verb: Some(*verb),
                    object: None,
                    after: *after,
                    times: Some(*times),
                    effect,
                });
            }
            Act::Calm => self.calm(),
            Act::Wait { seconds } => self.wait(Duration::from_secs(*seconds)).await,
        }
        self.wait(Duration::ZERO).await;
    }

    /// Faults stop; nodes that are lost stay so.
    fn calm(&self) {
        let state = self.world.snapshot();
        self.world.calm();
        for (node, _) in state.machines.iter().filter(|(_, machine)| machine.lost) {
            self.world.lose(node);
        }
    }

    fn agents(&self, act: impl FnOnce(&pvdeck::controllers::node_agent::agents::Agents)) {
        let session = self.session.as_ref();
        if let Some(agents) = session.and_then(|session| session.host.as_ref()?.agents()) {
            act(agents);
        }
    }

    /// The machine starts afresh, and nothing runs on it.
    fn reboot(&mut self, node: &str) {
        self.covered.add("reboots", 1);
        self.agents(|agents| agents.stop(node));
        self.world.reboot(node);
        self.runtimes.of(&self.world.host(node).expect("a machine")).forget_all();
        self.agents(|agents| agents.start(node));
    }

    /// A lost node answers again.
    pub async fn bring_back(&mut self, node: &str) {
        self.world.find_again(node);
        self.taint(node, false).await;
        self.agents(|agents| agents.start(node));
    }

    /// Lets time pass; a program that died is started again.
    async fn wait(&mut self, time: Duration) {
        self.wait_in(time, SLICE).await;
    }

    pub async fn wait_in(&mut self, time: Duration, slice: Duration) {
        let mut left = time;
        loop {
            let slice = left.min(slice);
            self.advance_by(slice).await;
            left -= slice;
            self.watcher.look("a while");
            self.service().await;
            if self.plan.process.is_dead() {
                self.start(None);
            }
            if left.is_zero() {
                return;
            }
        }
    }

    pub async fn advance_by(&self, time: Duration) {
        self.clock.advance(time).await;
    }

    /// A node that answers again and is Ready is in service again, if nothing
    /// was taken from it by force; else someone starts it afresh.
    async fn service(&mut self) {
        let state = self.world.snapshot();
        let watcher = self.watcher.clone();
        for node in NODES.into_iter().filter(|node| watcher.is_out_of_service(node)) {
            let found = self.user.get(&reference(kind::NODE, node)).await.unwrap_or_default();
            let conditions = found["status"]["conditions"].as_array();
            let is_ready = conditions
                .into_iter()
                .flatten()
                .any(|c| c["type"] == "Ready" && c["status"] == "True");
            let machine = &state.machines[node];
            if machine.lost || !is_ready || is_given_up(&found) {
                continue;
            }
            if why_not_whole(&state, node, machine).is_some() || self.has_lost_devices(node) {
                self.covered.add("volumes taken by force", 1);
                self.reboot(node);
            } else {
                self.covered.add("nodes out of service", 1);
                self.watcher.set_out_of_service(node, false);
            }
        }
    }

    /// Whether a container of a node runs whose device is gone.
    fn has_lost_devices(&self, node: &str) -> bool {
        let runtime = self.runtimes.of(&self.world.host(node).expect("a machine"));
        let state = self.world.snapshot();
        runtime.pods().iter().any(|pod| {
            let runs = runtime.seen(pod).runs();
            let inside = runtime.inside(pod);
            let devices = inside.iter().flat_map(|container| container.devices.iter());
            runs && devices.into_iter().any(|device| {
                let id = state.disk_at(node, &device.host_path);
                id.and_then(|id| state.disks.get(&id).cloned())
                    .is_none_or(|disk| !disk.attached.contains_key(node))
            })
        })
    }

    pub fn why_not_sound(&self) -> Result<(), String> {
        match self.watcher.wrong() {
            Some(wrong) => Err(format!("{wrong}{}", self.last_death())),
            None => Ok(()),
        }
    }

    /// Adds what was covered.
    pub fn count(&mut self, covered: &mut Covered) {
        drop(self.session.take());
        self.account();
        let (looks, revisions) = self.watcher.looks();
        covered.add("looks at the machines", looks);
        covered.add("revisions", revisions);
        let mut ran = BTreeSet::new();
        for commit in self.embedded.commits_after(0) {
            let Some(object) = commit.object_after() else { continue };
            if commit.kind == kind::POD && object["status"]["phase"] == "Running" {
                ran.insert(object["metadata"]["uid"].to_string());
            }
            if commit.kind != kind::EVENT {
                continue;
            }
            let message = object["message"].as_str().unwrap_or_default();
            if message.starts_with("Multi-Attach") {
                covered.add("refused as attached elsewhere", 1);
            }
            if object["reason"] == "FailedMount" {
                covered.add("failed mounts", 1);
            }
        }
        covered.add("pods that ran", ran.len());
        covered.add("schedules", 1);
        for (what, count) in std::mem::take(&mut self.covered.0) {
            covered.add(what, count);
        }
    }
}
