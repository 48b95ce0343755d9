//! A crash at every write: a story is played once to count the controllers'
//! writes; then, for each of them and each way to fail there, it is played
//! afresh, with new controllers built from the cluster alone where the old
//! ones died. The end must be the same, every revision sound, and nothing left
//! to do.

mod binding;
mod growing;
mod machine;
mod node_life;
mod placing;
mod pods;
mod provisioner;
mod workloads;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request, Response};
use jiff::Timestamp;
use kube::client::Body;
use pvdeck::cluster::Base;
use pvdeck::cluster::clock::ManualClock;
use pvdeck::cluster::embedded::{Embedded, Options};
use pvdeck::cluster::write_path::read_only::Access;
use pvdeck::cluster::write_path::{WriteError, WritePath, perform};
use pvdeck::controllers::csi::embedded::{self as csi, Csi, EmbeddedDriver};
use pvdeck::controllers::host;
use pvdeck::controllers::machines::Machines;
use pvdeck::controllers::node_agent::agents::Agents;
use pvdeck::model::clock::Clock;
use pvdeck::model::kind::{self, Kind};
use pvdeck::model::object::{Key, ObjectRef};
use pvdeck::model::write::{Actor, Change, Reason, Write};
use pvdeck::plugins::csi::node::CsiPlugin;
use pvdeck::plugins::for_nodes;
use pvdeck::plugins::host::Disks;
use pvdeck::plugins::host::simulated::World;
use pvdeck::plugins::layout::Layout;
use pvdeck::session::{EmbeddedOptions, NodeMachines, Session};

use self::machine::MortalHosts;
use serde_json::{Value, json};
use tower::{BoxError, ServiceExt, service_fn};

/// How the write goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    KilledBefore,
    KilledAfterCommit,
    Conflict,
    DoneTwice,
}

pub const WAYS: [Way; 4] =
    [Way::KilledBefore, Way::KilledAfterCommit, Way::Conflict, Way::DoneTwice];

/// What is to go wrong, and what was seen.
#[derive(Default)]
pub struct Plan {
    pub fault: Option<(usize, Way)>,
    /// The request to a machine at which everything but the machines dies, and
    /// whether it is done.
    pub last_request: Option<(usize, bool)>,
    pub seen: AtomicUsize,
    /// The requests to machines.
    pub asked: AtomicUsize,
    pub dead: AtomicBool,
    /// The write at which the fault fired.
    pub fired: Mutex<Option<String>>,
}

/// Timers of one phase. Housekeeping on the way counts: a roll-out that nobody
/// runs the pods of waits ten minutes for its deadline.
const STEPS_MAX: usize = 5_000;

/// The same while everything but the machines is dead.
const STEPS_DEAD: usize = 500;

/// Events and Leases come and go whatever happens.
const UNCOUNTED: [&str; 2] = ["/events", "/leases"];

/// A base below which the plan's fault happens.
pub fn faulty(base: Base, plan: Arc<Plan>) -> Base {
    service_fn(move |request: Request<Body>| {
        let (base, plan) = (base.clone(), plan.clone());
        async move {
            if plan.dead.load(Ordering::SeqCst) {
                return std::future::pending().await;
            }
            let counts = request.extensions().get::<Reason>().is_some()
                && !UNCOUNTED.iter().any(|part| request.uri().path().contains(part));
            if !counts || request.method() == Method::GET {
                return base.oneshot(request).await;
            }
            let number = plan.seen.fetch_add(1, Ordering::SeqCst);
            match plan.fault.filter(|(at, _)| *at == number) {
                None => base.oneshot(request).await,
                Some((_, way)) => fail(base, &plan, way, request).await,
            }
        }
    })
    .boxed_clone()
}

async fn fail(
    base: Base,
    plan: &Plan,
    way: Way,
    request: Request<Body>,
) -> Result<Response<Body>, BoxError> {
    let (parts, body) = request.into_parts();
    let why = parts.extensions.get::<Reason>().map(|r| format!("{}: {}", r.rule, r.text));
    let write = format!("{} {} ({})", parts.method, parts.uri.path(), why.unwrap_or_default());
    *plan.fired.lock().expect("the plan") = Some(write);
    let body = body.collect_bytes().await?.to_vec();
    let again = || Request::from_parts(parts.clone(), Body::from(body.clone()));
    match way {
        Way::KilledBefore => {}
        Way::KilledAfterCommit => {
            base.oneshot(again()).await?;
        }
        Way::Conflict => {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                "message": "the object has been modified", "reason": "Conflict", "code": 409});
            let mut answer = Response::new(Body::from(status.to_string().into_bytes()));
            *answer.status_mut() = http::StatusCode::CONFLICT;
            return Ok(answer);
        }
        Way::DoneTwice => {
            base.clone().oneshot(again()).await?;
            return base.oneshot(again()).await;
        }
    }
    plan.dead.store(true, Ordering::SeqCst);
    std::future::pending().await
}

/// A story, and what is to hold of it.
pub trait Story {
    /// The kinds whose objects must be the same in the end.
    const KINDS: &'static [&'static Kind];

    /// The nodes that have machines, which go on whatever happens to the
    /// controllers.
    const NODES: &'static [&'static str] = &[];

    /// The CSI driver that the nodes have, if any; it goes on as well.
    const DRIVER: Option<&'static str> = None;

    /// Whether each write goes wrong in every way each time; a story that takes
    /// long has two ways for each but in long runs.
    const EVERY_WAY: bool = true;

    async fn tell(play: &mut Play);

    /// What must hold at each revision.
    fn sound_at_every_revision(play: &Play) -> Result<(), String>;

    /// What the world does that no controller here does, such as running pods;
    /// whether it did anything.
    async fn live(_play: &mut Play) -> bool {
        false
    }

    /// Takes out of an object what differs from run to run.
    fn plain(object: &mut Value);
}

/// One playing of a story.
pub struct Play {
    pub clock: ManualClock,
    pub embedded: Embedded,
    pub user: kube::Client,
    session: Option<Session>,
    plan: Arc<Plan>,
    /// The machines under the nodes, and what runs there.
    machines: Option<Machines>,
    /// The same machines, for those who do not die.
    world: Option<World>,
    csi: Csi,
}

impl Play {
    /// A cluster whose nodes have this driver, and no story.
    pub fn with_driver(driver: &str, nodes: &[&str]) -> Self {
        Self::new(Plan::default(), nodes, Some(driver))
    }

    fn new(plan: Plan, nodes: &[&str], driver: Option<&str>) -> Self {
        let clock = ManualClock::new(Timestamp::from_second(1_800_000_000).expect("in range"));
        let embedded = Embedded::new(Options::new(Arc::new(clock.clone())));
        let base = embedded.base();
        let path =
            WritePath::new(base.clone(), "default", Arc::new(clock.clone()), Access::writable());
        let user = path.client(Actor("user".into()));
        let plan = Arc::new(plan);
        let world = (!nodes.is_empty()).then(|| {
            let world = World::new(Arc::new(clock.clone()), Layout::default());
            nodes.iter().for_each(|node| drop(world.add(node)));
            world
        });
        let drivers: Vec<_> = driver.map(EmbeddedDriver::named).into_iter().collect();
        let objects = drivers.iter().map(EmbeddedDriver::object).collect();
        embedded.import(objects, "user").expect("imported");
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let csi = world.as_ref().map(|world| csi::start(&drivers, world, nodes, &shared));
        let csi = csi.unwrap_or_default();
        let machines = world.clone().map(|world| {
            let disks: Arc<dyn Disks> = Arc::new(world.clone());
            let plugins = for_nodes(&disks, false);
            let hosts = Arc::new(MortalHosts { world, plan: plan.clone() });
            Machines { hosts, disks, plugins, runtimes: Arc::default(), flex_volume: None }
                .with_csi(CsiPlugin::new(csi.on_nodes.clone(), None))
        });
        let mut play = Self { clock, embedded, user, session: None, plan, machines, world, csi };
        play.session = Some(play.open(faulty(base, play.plan.clone())));
        play
    }

    fn open(&self, base: Base) -> Session {
        let clock = Arc::new(self.clock.clone());
        let (machines, csi) = (self.machines.clone(), self.csi.clone());
        let options = EmbeddedOptions {
            machines: NodeMachines::Nothing,
            controllers: Some(host::Options { machines, csi, ..host::Options::default() }),
            ..EmbeddedOptions::default()
        };
        Session::over(base, clock, self.embedded.clone(), options)
    }

    /// Lets everything happen that will; new controllers take over from dead
    /// ones.
    pub async fn calm<S: Story>(&mut self) {
        for _ in 0..100 {
            let before = self.embedded.revision();
            let settled = self.settle().await;
            assert!(settled, "never at rest after {:?}: {}", self.plan.fired.lock(), self.busy());
            self.restart_if_dead();
            if S::live(self).await {
                continue;
            }
            // A round of resync.
            self.clock.advance(Duration::from_secs(16)).await;
            let is_dead = self.plan.dead.load(Ordering::SeqCst);
            if !is_dead && !self.changed_since(before) {
                return;
            }
        }
        panic!("no calm in 100 rounds");
    }

    /// Runs until quiet; whether it came to that. Who polls a server that is dead
    /// for ever is let go.
    async fn settle(&self) -> bool {
        self.clock.settle(STEPS_DEAD).await
            || self.plan.dead.load(Ordering::SeqCst)
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

    fn restart_if_dead(&mut self) {
        if self.plan.dead.load(Ordering::SeqCst) && self.session.is_some() {
            self.restart();
        }
    }

    /// Everything but the machines and the driver dies; others take over.
    pub fn restart(&mut self) {
        self.plan.dead.store(false, Ordering::SeqCst);
        drop(self.session.take());
        self.session = Some(self.open(self.embedded.base()));
    }

    /// The driver, and the calls to it.
    pub fn csi(&self) -> &Csi {
        &self.csi
    }

    pub fn agents(&self) -> &Arc<Agents> {
        let host = self.session.as_ref().and_then(|session| session.host.as_ref());
        host.and_then(host::Host::agents).expect("nodes with machines")
    }

    pub async fn write(
        &self,
        object: ObjectRef,
        subresource: Option<&'static str>,
        change: Change,
    ) {
        let write = Write {
            on_behalf_of: object.clone(),
            object,
            subresource,
            change,
            version: None,
            reason: Reason::new("user", "the story says so"),
        };
        match perform(&self.user, &write).await {
            Ok(_) | Err(WriteError::NotFound { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    pub async fn create<S: Story>(&mut self, kind: &'static Kind, mut object: Value) {
        object["apiVersion"] = kind.api_version().into();
        object["kind"] = kind.kind.into();
        let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
        self.write(reference(kind, &name), None, Change::Create(object)).await;
        self.calm::<S>().await;
    }

    pub async fn delete<S: Story>(&mut self, kind: &'static Kind, name: &str) {
        self.write(reference(kind, name), None, Change::Delete(json!({}))).await;
        self.calm::<S>().await;
    }

    pub async fn get(&self, object: &ObjectRef) -> Option<Value> {
        let request = Request::get(object.path()).body(Vec::new()).expect("a request");
        self.user.request(request).await.ok()
    }

    pub async fn list(&self, kind: &'static Kind) -> Vec<Value> {
        let path = kind.collection_path(kind.namespaced.then_some("default"));
        let request = Request::get(path).body(Vec::new()).expect("a request");
        let list: Value = self.user.request(request).await.expect("a list");
        list["items"].as_array().cloned().unwrap_or_default()
    }
}

/// Whether a change of such an object is one of the story.
fn counts(kind: &'static Kind) -> bool {
    ![kind::EVENT, kind::LEASE].contains(&kind)
}

pub fn merge(into: &mut Value, extra: Value) {
    if let (Value::Object(into), Value::Object(extra)) = (into, extra) {
        into.extend(extra);
    }
}

pub fn reference(kind: &'static Kind, name: &str) -> ObjectRef {
    let key = if kind.namespaced { Key::new("default", name) } else { Key::cluster(name) };
    ObjectRef::new(kind, key)
}

/// The story's objects at the end, without what differs from run to run.
fn ending<S: Story>(play: &Play) -> String {
    let mut objects: BTreeMap<(String, Key), Value> = BTreeMap::new();
    let mut uids = Vec::new();
    for commit in play.embedded.commits_after(0) {
        if !S::KINDS.contains(&commit.kind) {
            continue;
        }
        let at = (commit.kind.plural.to_owned(), commit.key.clone());
        match commit.object_after() {
            Some(object) => {
                let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
                uids.push((uid, format!("<uid:{}>", commit.key.name)));
                objects.insert(at, object);
            }
            None => {
                objects.remove(&at);
            }
        }
    }
    let mut lines: Vec<String> = objects
        .into_iter()
        .map(|((plural, _), mut object)| {
            for field in ["resourceVersion", "creationTimestamp", "generation"] {
                object["metadata"].as_object_mut().expect("metadata").shift_remove(field);
            }
            S::plain(&mut object);
            object.sort_all_objects();
            let mut line = format!("{plural} {object}");
            for (uid, token) in &uids {
                line = line.replace(uid.as_str(), token);
            }
            line
        })
        .collect();
    lines.sort();
    lines.join("\n")
}

/// Plays a story with one fault; the plan and the end.
fn play<S: Story>(plan: Plan) -> Result<(Arc<Plan>, String), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let mut play = Play::new(plan, S::NODES, S::DRIVER);
        S::tell(&mut play).await;
        S::sound_at_every_revision(&play)?;
        let end = ending::<S>(&play);
        let revision = play.embedded.revision();
        play.restart();
        play.calm::<S>().await;
        let left: Vec<_> = play.embedded.commits_after(revision);
        let left = left.iter().filter(|commit| counts(commit.kind));
        let left: Vec<_> = left.map(|commit| format!("{} {}", commit.kind, commit.key)).collect();
        if !left.is_empty() {
            return Err(format!("not settled: {left:?}"));
        }
        Ok((play.plan.clone(), end))
    })
}

/// What goes wrong in one playing.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Write(usize, Way),
    /// A kill at a request to a machine, before it is done or after.
    Request(usize, bool),
}

impl Fault {
    fn plan(self) -> Plan {
        match self {
            Self::Write(at, way) => Plan { fault: Some((at, way)), ..Plan::default() },
            Self::Request(at, done) => Plan { last_request: Some((at, done)), ..Plan::default() },
        }
    }
}

/// Every write of a story goes wrong in every way, once each.
pub fn survives_every_crash<S: Story>(writes_min: usize) {
    survives::<S>(writes_min, |plan| {
        let writes = plan.seen.load(Ordering::SeqCst);
        let all = S::EVERY_WAY || std::env::var_os("PVDECK_LONG").is_some();
        let ways = |at: usize| {
            let ways = WAYS.into_iter().enumerate().filter(move |(n, _)| all || n % 2 == at % 2);
            ways.map(move |(_, way)| Fault::Write(at, way))
        };
        (writes, (0..writes).flat_map(ways).collect())
    });
}

/// Everything but the machines is killed before and after each request to them
/// that changes something.
pub fn survives_every_kill<S: Story>(requests_min: usize) {
    survives::<S>(requests_min, |plan| {
        let requests = plan.asked.load(Ordering::SeqCst);
        let ways = |at| [false, true].map(|done| Fault::Request(at, done));
        (requests, (0..requests).flat_map(ways).collect())
    });
}

/// Plays a story once without fault, then with each of the faults that may
/// happen in it.
fn survives<S: Story>(least: usize, faults: impl Fn(&Plan) -> (usize, Vec<Fault>)) {
    let (plan, wanted) = play::<S>(Plan::default()).expect("the story without fault");
    let (count, cases) = faults(&plan);
    println!("{count} places, {} plays; without fault they end as\n{wanted}", cases.len());
    assert!(count > least, "the story is told: {count}");
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let shares: Vec<&[Fault]> = cases.chunks(cases.len().div_ceil(threads)).collect();
    let wanted = &wanted;
    let failed: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = shares
            .iter()
            .map(|share| {
                scope.spawn(move || -> Vec<_> {
                    share.iter().filter_map(|case| check::<S>(*case, wanted)).collect()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker")).collect()
    });
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), cases.len(), failed.join("\n"));
}

/// Plays one fault; what is wrong about it.
fn check<S: Story>(fault: Fault, wanted: &str) -> Option<String> {
    let outcome = play::<S>(fault.plan()).and_then(|(plan, end)| {
        let fired = plan.fired.lock().expect("the plan").clone();
        let fired = fired.ok_or("the fault did not fire")?;
        if end == wanted {
            return Ok(());
        }
        let differs = end.lines().zip(wanted.lines()).find(|(found, wanted)| found != wanted);
        Err(format!("at {fired}: the end differs: {differs:?}"))
    });
    outcome.err().map(|why| format!("{fault:?}: {why}"))
}
