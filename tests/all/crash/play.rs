//! One playing of a story.

use std::sync::Arc;
use std::time::Duration;

use pvdeck::cluster::Base;
use pvdeck::cluster::clock::ManualClock;
use pvdeck::cluster::embedded::Embedded;
use pvdeck::controllers::csi::embedded::{self as csi, Csi, EmbeddedDriver};
use pvdeck::controllers::host;
use pvdeck::controllers::machines::Machines;
use pvdeck::controllers::node_agent::agents::Agents;
use pvdeck::controllers::node_agent::pods::runtime::Runtimes;
use pvdeck::model::clock::Clock;
use pvdeck::model::kind::{self, Kind};
use pvdeck::model::write::Change;
use pvdeck::plugins::csi::node::CsiPlugin;
use pvdeck::plugins::host::Hosts;
use pvdeck::plugins::host::simulated::World;
use pvdeck::plugins::host::simulated::mortal::Reached;
use pvdeck::plugins::layout::Layout;
use pvdeck::session::Session;
use serde_json::{Value, json};

use super::Story;
use super::plan::{Plan, faulty};
use crate::bare_cluster::{self, BareCluster};
use crate::by_hand::{ByHand, reference};

/// Timers of one phase. Housekeeping on the way counts: a roll-out that nobody
/// runs the pods of waits ten minutes for its deadline.
const STEPS_MAX: usize = 5_000;

/// The same while everything but the machines is dead.
const STEPS_DEAD: usize = 500;

pub struct Play {
    pub clock: ManualClock,
    pub embedded: Embedded,
    pub user: kube::Client,
    session: Option<Session>,
    pub plan: Arc<Plan>,
    /// The machines under the nodes, for those who do not die.
    pub world: Option<World>,
    /// The machines as controllers and agents reach them, and what runs there.
    pub machines: Option<Machines>,
    csi: Csi,
}

impl Play {
    /// A cluster whose nodes have this driver, and no story.
    pub fn with_driver(driver: &str, nodes: &[&str]) -> Self {
        Self::new(Plan::new(None), nodes, Some(driver))
    }

    pub fn new(plan: Arc<Plan>, nodes: &[&str], driver: Option<&str>) -> Self {
        let BareCluster { clock, embedded, user } = BareCluster::new();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let world = (!nodes.is_empty()).then(|| {
            let world = World::new(shared.clone(), Layout::default());
            nodes.iter().for_each(|node| drop(world.add(node)));
            world
        });
        let drivers: Vec<_> = driver.map(EmbeddedDriver::named).into_iter().collect();
        let objects = drivers.iter().map(EmbeddedDriver::object).collect();
        embedded.import(objects, "user").expect("imported");
        let csi = world.as_ref().map(|world| csi::start(&drivers, world, nodes, &shared));
        let csi = csi.unwrap_or_default();
        let machines = world.clone().map(|world| {
            // What runs on a machine goes on whatever becomes of the program.
            let runtimes = Arc::new(Runtimes::default());
            for node in nodes {
                drop(runtimes.of(&world.host(node).expect("a machine")));
            }
            let plugin = CsiPlugin::new(csi.on_nodes.clone(), None);
            let reached = Reached { world, by: plan.process.clone() };
            Machines { runtimes, ..Machines::of(reached, false).with_csi(plugin) }
        });
        let mut play = Self { clock, embedded, user, session: None, plan, world, machines, csi };
        play.open(faulty(play.embedded.base(), play.plan.clone()));
        play
    }

    fn open(&mut self, base: Base) {
        let (machines, csi) = (self.machines.clone(), self.csi.clone());
        let controllers = host::Options { machines, csi, ..host::Options::default() };
        let session = bare_cluster::start(&self.embedded, &self.clock, base, Some(controllers));
        self.session = Some(session);
    }

    /// Lets everything happen that will; new controllers take over from dead
    /// ones.
    pub async fn calm<S: Story>(&mut self) {
        for _ in 0..100 {
            let before = self.embedded.revision();
            let settled = self.settle().await;
            assert!(settled, "never at rest after {:?}: {}", self.plan.fired(), self.busy());
            self.restart_if_dead();
            if S::live(self).await {
                continue;
            }
            // A round of resync.
            self.clock.advance(Duration::from_secs(16)).await;
            if !self.plan.process.is_dead() && !self.changed_since(before) {
                return;
            }
        }
        panic!("no calm in 100 rounds");
    }

    /// Runs until quiet; whether it came to that. Who polls a server that is dead
    /// for ever is let go.
    async fn settle(&self) -> bool {
        self.clock.settle(STEPS_DEAD).await
            || self.plan.process.is_dead()
            || self.clock.settle(STEPS_MAX).await
    }

    /// What the controllers still do.
    fn busy(&self) -> String {
        let host = self.session.as_ref().and_then(|session| session.host.as_ref());
        let loops = host.map(pvdeck::controllers::host::Host::status).unwrap_or_default();
        let busy = loops.iter().filter(|one| one.figures.paused + one.figures.in_flight > 0);
        busy.map(|one| format!("{}: {:?}", one.name, one.figures)).collect::<Vec<_>>().join("; ")
    }

    /// Whether anything but events was written.
    fn changed_since(&self, revision: u64) -> bool {
        let commits = self.embedded.commits_after(revision);
        commits.iter().any(|commit| counts(commit.kind))
    }

    pub fn restart_if_dead(&mut self) {
        if self.plan.process.is_dead() {
            self.restart();
        }
    }

    /// Everything but the machines and the driver dies; others take over.
    pub fn restart(&mut self) {
        drop(self.session.take());
        self.plan.process.replace_if_dead();
        self.open(self.embedded.base());
    }

    /// The driver, and the calls to it.
    pub fn csi(&self) -> &Csi {
        &self.csi
    }

    pub fn agents(&self) -> &Arc<Agents> {
        let host = self.session.as_ref().and_then(|session| session.host.as_ref());
        host.and_then(host::Host::agents).expect("nodes with machines")
    }

    pub async fn create<S: Story>(&mut self, kind: &'static Kind, object: Value) {
        self.user.create(kind, object).await;
        self.calm::<S>().await;
    }

    /// Merges a patch into an object, which may be gone.
    pub async fn patch<S: Story>(&mut self, kind: &'static Kind, name: &str, patch: Value) {
        let (object, change) = (reference(kind, name), Change::Merge(patch));
        self.user.write_if_it_can_be(&object, None, change).await;
        self.calm::<S>().await;
    }

    pub async fn delete<S: Story>(&mut self, kind: &'static Kind, name: &str) {
        self.delete_with::<S>(kind, name, json!({})).await;
    }

    pub async fn delete_with<S: Story>(&mut self, kind: &'static Kind, name: &str, options: Value) {
        let (object, change) = (reference(kind, name), Change::Delete(options));
        self.user.write_if_it_can_be(&object, None, change).await;
        self.calm::<S>().await;
    }
}

/// Whether a change of such an object is one of the story.
pub fn counts(kind: &'static Kind) -> bool {
    ![kind::EVENT, kind::LEASE].contains(&kind)
}
