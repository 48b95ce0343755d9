//! The shell: takes in what changed, decides, runs operations beside the loop,
//! and takes in their ends.
//!
//! ```text
//! want, let_go, node status ─┐
//! ends of operations ────────┼─> wake -> pass: decide -> begin operations
//! ends of pauses, sweep ─────┘
//! ```
//!
//! The loop never waits for an operation. While nothing changes it sleeps,
//! but for a slow sweep.

mod begin;
mod finish;
mod foresee;
mod pass;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};
use futures::stream::{FuturesUnordered, StreamExt};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{Notify, watch};

use crate::controllers::events::Recorder;
use crate::controllers::node_agent::turns::Turns;
use crate::controllers::node_agent::volumes::actual::Actual;
use crate::controllers::node_agent::volumes::board::{self, Journey, Known};
use crate::controllers::node_agent::volumes::desired::{Desired, Processing};
use crate::controllers::node_agent::volumes::operations::{Operations, PAUSE_MAX, PAUSE_MIN};
use crate::controllers::node_agent::volumes::pod::WantedPod;
use crate::controllers::node_agent::volumes::reads;
use crate::controllers::node_agent::volumes::reconcile::NodeLists;
use crate::controllers::node_agent::volumes::reconstruct::{self, FoundPath};
use crate::controllers::node_agent::volumes::waiting;
use crate::controllers::node_agent::volumes::{MountedVolume, NodeVolumes, NotMounted};
use crate::controllers::server::Server;
use crate::model::clock::{Clock, TimerUse};
use crate::model::node::Node;
use crate::model::node_board::{BoardRow, NodeBoard};
use crate::model::volume_source::VolumeSource;
use crate::plugins::host::{Host, HostError};
use crate::plugins::plugin::{Capability, Plugins};

/// How long a pod's start, or end, waits for its volumes.
const PATIENCE: Duration = Duration::from_secs(123);
/// How often a waiting pod looks (upstream: `podAttachAndMountRetryInterval`).
const LOOK: Duration = Duration::from_millis(300);
/// How often volumes that follow the API are set up again, and everything is
/// looked at once more.
const SWEEP: Duration = Duration::from_secs(60);
/// Agents sweep at different times.
const SWEEP_SPREAD_SECONDS: u64 = 30;
/// So many turns, then other tasks get theirs.
const TURNS: usize = 32;

/// What a volume manager works with.
pub struct Parts {
    pub host: Arc<dyn Host>,
    pub plugins: Plugins,
    pub server: Arc<dyn Server>,
    pub recorder: Recorder,
    /// Rises when this node's board changes; shared by all nodes.
    pub boards: watch::Sender<u64>,
}

/// The volume manager of one node.
pub struct VolumeManager {
    parts: Parts,
    state: Mutex<State>,
    wake: Notify,
    /// Rises when something that a waiting pod looks at changed.
    changed: watch::Sender<u64>,
    in_use: watch::Sender<u64>,
}

/// What was found after the start.
#[derive(Debug, Default)]
enum Found {
    /// Not looked yet.
    #[default]
    Nothing,
    /// Entered; the node's status is to be read.
    Unresolved { is_reading: bool, failures: u32, retry_at: Option<Timestamp> },
    /// Held against the node's status.
    Resolved,
}

#[derive(Default)]
struct State {
    desired: Desired,
    actual: Actual,
    operations: Operations,
    node: NodeLists,
    sources_ready: bool,
    /// All pods there were when the sources became ready have been read.
    all_pods_added: bool,
    found: Found,
    /// What could not be made out, until it is cleaned away.
    unknown: Vec<FoundPath>,
    journeys: BTreeMap<Arc<str>, Journey>,
    in_use: Option<Vec<Arc<str>>>,
    /// Reads and operations under way.
    in_flight: usize,
    /// Something changed since the last pass.
    is_dirty: bool,
}

impl State {
    fn may_take_away(&self) -> bool {
        self.all_pods_added && matches!(self.found, Found::Resolved)
    }

    fn known(&self) -> Known<'_> {
        Known {
            desired: &self.desired,
            actual: &self.actual,
            operations: &self.operations,
            node: &self.node,
            may_take_away: self.may_take_away(),
        }
    }
}

impl fmt::Debug for VolumeManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VolumeManager")
            .field("node", self.parts.host.node())
            .finish_non_exhaustive()
    }
}

impl VolumeManager {
    /// A manager that knows nothing yet. [`VolumeManager::run`] makes it work.
    pub fn new(parts: Parts) -> Arc<Self> {
        let (changed, in_use) = (watch::Sender::new(0), watch::Sender::new(0));
        let (state, wake) = (Mutex::default(), Notify::new());
        Arc::new(Self { parts, state, wake, changed, in_use })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        self.parts.host.clock()
    }

    /// Has the loop look again.
    fn poke(&self, state: &mut State) {
        state.is_dirty = true;
        self.wake.notify_one();
    }

    /// Works until dropped. First finds out what is on the host.
    pub async fn run(self: Arc<Self>) {
        self.reconstruct().await;
        let mut running: FuturesUnordered<BoxFuture<'static, pass::Finished>> =
            FuturesUnordered::new();
        let mut sweep = self.next_sweep();
        let (mut due, mut timer) = (None, futures::future::pending().boxed());
        let mut turns = 0_usize;
        loop {
            let (begun, wake) = self.pass();
            running.extend(begun);
            if wake != due {
                due = wake;
                timer = self.timer(wake);
            }
            tokio::select! {
                biased;
                Some(finished) = running.next() => self.finish(finished),
                () = self.wake.notified() => {}
                () = &mut timer => (due, timer) = (None, self.timer(None)),
                () = &mut sweep => {
                    self.sweep();
                    sweep = self.next_sweep();
                }
            }
            turns += 1;
            if turns.is_multiple_of(TURNS) {
                tokio::task::yield_now().await;
            }
        }
    }

    fn timer(&self, at: Option<Timestamp>) -> BoxFuture<'static, ()> {
        let Some(at) = at else { return futures::future::pending().boxed() };
        let left = Duration::try_from(at.duration_since(self.clock().now())).unwrap_or_default();
        self.clock().sleep(left, TimerUse::Work)
    }

    fn next_sweep(&self) -> BoxFuture<'static, ()> {
        let name = self.parts.host.node().bytes();
        let spread = name.fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let spread = Duration::from_secs(spread % SWEEP_SPREAD_SECONDS);
        self.clock().sleep(SWEEP + spread, TimerUse::Housekeeping)
    }

    /// Has the pods read again whose volumes follow the API.
    fn sweep(&self) {
        let mut state = self.lock();
        let Desired { pods, volumes, .. } = &mut state.desired;
        for pod in pods.values_mut() {
            let mut own = pod.volumes.values().filter_map(|unique| volumes.get(unique));
            if own.any(|volume| volume.facts.can(Capability::Remount)) {
                pod.processing = Processing::Asked;
            }
        }
        state.is_dirty = true;
    }

    /// Finds out what is on the host; tries until it knows.
    async fn reconstruct(&self) {
        let mut pause = PAUSE_MIN;
        let (actual, unknown) = loop {
            match self.found().await {
                Ok(found) => break found,
                Err(error) => {
                    let node = self.parts.host.node();
                    tracing::warn!(%node, %error, "what is mounted cannot be found out");
                    self.clock().sleep(pause, TimerUse::Work).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        };
        let mut state = self.lock();
        state.found = if actual.volumes.is_empty() {
            Found::Resolved
        } else {
            Found::Unresolved { is_reading: false, failures: 0, retry_at: None }
        };
        (state.actual, state.unknown) = (actual, unknown);
        state.is_dirty = true;
    }

    async fn found(&self) -> Result<(Actual, Vec<FoundPath>), HostError> {
        let found = reconstruct::scan(&*self.parts.host).await?;
        reconstruct::enter(&self.parts.host, &self.parts.plugins, found).await
    }

    /// Waits until `look` has an answer, at most so long; else what it says then.
    /// Looks at once, and after every [`LOOK`] in which something changed.
    async fn wait<T>(
        &self,
        look: impl Fn(&mut State) -> Option<T>,
        at_last: impl FnOnce(&mut State) -> T,
    ) -> T {
        let mut changed = self.changed.subscribe();
        let mut patience = self.clock().sleep(PATIENCE, TimerUse::Work);
        let looks = Turns::new(self.clock().now(), LOOK);
        loop {
            if let Some(answer) = look(&mut self.lock()) {
                return answer;
            }
            let change = changed.changed().boxed();
            match select(change, patience).await {
                Either::Left((_, still)) => patience = still,
                Either::Right(((), _)) => return at_last(&mut self.lock()),
            }
            self.clock().sleep(looks.until_next(self.clock().now()), TimerUse::Work).await;
            changed.mark_unchanged();
        }
    }

    /// Whether a driver has said that the node has no room for a volume that the
    /// pod waits for.
    async fn has_no_room(&self, pod_uid: &str) -> bool {
        let awaited: Vec<VolumeSource> = {
            let State { desired, actual, .. } = &*self.lock();
            let Some(pod) = desired.pods.get(pod_uid) else { return false };
            let unattached =
                pod.volumes.values().filter(|name| !actual.volumes.contains_key(*name));
            let wanted = unattached.filter_map(|name| desired.volumes.get(name));
            wanted.filter(|volume| volume.is_attachable()).map(|v| v.spec.source.clone()).collect()
        };
        for source in awaited {
            if let VolumeSource::Csi(csi) = source
                && reads::has_no_room(&*self.parts.server, self.parts.host.node(), &csi).await
            {
                return true;
            }
        }
        false
    }

    fn look_mounted(
        state: &mut State,
        uid: &str,
    ) -> Option<Result<Vec<MountedVolume>, NotMounted>> {
        let State { desired, actual, .. } = state;
        let Some(pod) = desired.pods.get_mut(uid) else {
            let text = format!("pod {uid} is not wanted on this node any more");
            return Some(Err(NotMounted::TimedOut(text)));
        };
        let errors = pod.take_errors();
        let missing = waiting::missing(desired, actual, &desired.pods[uid]);
        if missing.is_nothing() {
            return Some(Ok(waiting::mounted(desired, actual, uid)));
        }
        errors.map(|errors| Err(NotMounted::Failed(missing.text(&errors))))
    }
}

impl NodeVolumes for VolumeManager {
    fn want(&self, pod: &Value) {
        let pod = WantedPod::from_object(pod);
        let mut state = self.lock();
        state.desired.want(pod);
        self.poke(&mut state);
    }

    fn read_again(&self, pod_uid: &str) {
        let mut state = self.lock();
        if let Some(pod) = state.desired.pods.get_mut(pod_uid)
            && pod.processing != Processing::Never
        {
            pod.processing = Processing::Asked;
            self.poke(&mut state);
        }
    }

    fn let_go(&self, pod_uid: &str) {
        let mut state = self.lock();
        state.desired.let_go(pod_uid);
        self.poke(&mut state);
        drop(state);
        self.changed.send_modify(|changed| *changed += 1);
    }

    fn sources_ready(&self) {
        let mut state = self.lock();
        if !state.sources_ready {
            state.sources_ready = true;
            self.poke(&mut state);
        }
    }

    fn node_changed(&self, node: &Node) {
        let mut state = self.lock();
        let attached = &mut state.node.attached;
        if attached.len() == node.volumes_attached.len()
            && node.attached_names().all(|name| attached.contains(name))
        {
            return;
        }
        *attached = node.volumes_attached.iter().map(|volume| volume.name.clone()).collect();
        self.poke(&mut state);
    }

    fn wait_mounted<'a>(
        &'a self,
        pod_uid: &'a str,
    ) -> BoxFuture<'a, Result<Vec<MountedVolume>, NotMounted>> {
        {
            let mut state = self.lock();
            if let Some(pod) = state.desired.pods.get_mut(pod_uid)
                && !pod.pod.volumes.is_empty()
            {
                if pod.processing != Processing::Never {
                    pod.processing = Processing::Asked;
                    // What an earlier reading found is out of date.
                    pod.drop_errors();
                }
                self.poke(&mut state);
            }
        }
        let at_last = move |state: &mut State| {
            let missing = state.desired.pods.get(pod_uid);
            let missing = missing.map(|pod| waiting::missing(&state.desired, &state.actual, pod));
            match missing.unwrap_or_default() {
                missing if missing.is_nothing() => {
                    Ok(waiting::mounted(&state.desired, &state.actual, pod_uid))
                }
                missing => Err(NotMounted::TimedOut(missing.text("context deadline exceeded"))),
            }
        };
        let waited = self.wait(move |state| Self::look_mounted(state, pod_uid), at_last);
        let judged = async move {
            match waited.await {
                Err(NotMounted::Failed(why) | NotMounted::TimedOut(why))
                    if self.has_no_room(pod_uid).await =>
                {
                    Err(NotMounted::LimitReached(why))
                }
                result => result,
            }
        };
        judged.boxed()
    }

    fn wait_unmounted<'a>(&'a self, pod_uid: &'a str) -> BoxFuture<'a, Result<(), String>> {
        let look = move |state: &mut State| {
            let is_wanted = state.desired.pods.contains_key(pod_uid);
            let is_free = state.actual.of_pod(pod_uid).next().is_none();
            // A mount that is under way may yet make an entry.
            let may_come = || state.operations.is_running_for(pod_uid);
            (!is_wanted && is_free && !may_come()).then_some(Ok(()))
        };
        let at_last = move |state: &mut State| {
            let names: Vec<Arc<str>> = state.actual.of_pod(pod_uid).cloned().collect();
            let names = waiting::list(&names);
            Err(format!("mounted volumes={names}: context deadline exceeded"))
        };
        self.wait(look, at_last).boxed()
    }

    fn mounted(&self, pod_uid: &str) -> Vec<MountedVolume> {
        let state = self.lock();
        waiting::mounted(&state.desired, &state.actual, pod_uid)
    }

    fn in_use(&self) -> Option<Vec<Arc<str>>> {
        self.lock().in_use.clone()
    }

    fn in_use_changes(&self) -> watch::Receiver<u64> {
        self.in_use.subscribe()
    }

    fn in_use_accepted(&self, list: &[Arc<str>]) {
        let mut state = self.lock();
        let accepted = list.iter().cloned().collect();
        if state.node.accepted != accepted {
            state.node.accepted = accepted;
            self.poke(&mut state);
        }
    }

    fn board(&self) -> NodeBoard {
        let records = self.parts.host.records();
        let state = self.lock();
        let known = state.known();
        let row = |(name, journey)| {
            let upcoming = self.upcoming(&state, name, journey, &records);
            BoardRow { upcoming, ..board::row(&known, name, journey) }
        };
        let mut rows: Vec<_> = state
            .journeys
            .iter()
            .map(row)
            .chain(state.desired.pods.values().flat_map(board::refused))
            .collect();
        rows.sort_by(|a, b| (&a.name, &a.unique_name).cmp(&(&b.name, &b.unique_name)));
        NodeBoard { node: self.parts.host.node().clone(), rows, is_inferred: false }
    }

    fn is_idle(&self) -> bool {
        let state = self.lock();
        !state.is_dirty && state.in_flight == 0
    }
}
