//! The shell: pops pods, decides, and lets their flights go.

use std::collections::{BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::{self, BoxFuture};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::Notify;

use crate::controllers::events::Note;
use crate::controllers::health::LoopState;
use crate::controllers::parts::Parts;
use crate::controllers::scheduler::cache::Cache;
use crate::controllers::scheduler::change::Change;
use crate::controllers::scheduler::decide::{Because, Placement, Verdict, decide, is_to_be_placed};
use crate::controllers::scheduler::queue::Queue;
use crate::controllers::work_loop::words;
use crate::mirror::subscription::Subscription;
use crate::model::clock::TimerUse;
use crate::model::object::Key;
use crate::model::pod::Pod;

/// So many turns, then other tasks get theirs.
const TURNS: usize = 32;

/// The scheduler: what it knows, and what it is doing.
pub(super) struct Scheduler {
    pub(super) parts: Parts,
    state: Mutex<State>,
}

/// Everything that changes.
#[derive(Default)]
pub(super) struct State {
    pub(super) cache: Cache,
    pub(super) queue: Queue,
    pub(super) flights: HashMap<Key, Flight>,
    /// The flights that wait for a claim to be bound.
    pub(super) by_claim: HashMap<Key, BTreeSet<Key>>,
    /// Where the next search begins in a large cluster.
    from: Option<Arc<str>>,
    /// How many flights wait for others to bind.
    pub(super) waiting: usize,
}

/// A pod on its way.
pub(super) struct Flight {
    pub(super) pod: Arc<Pod>,
    /// `None`: it is only being told why it stays.
    pub(super) placement: Option<Placement>,
    /// Something changed that the flight may be waiting for.
    pub(super) woken: Arc<Notify>,
    /// The pod is gone: whatever is held for it is withdrawn.
    pub(super) gone: Arc<Notify>,
}

/// How a flight ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Landed {
    /// The pod is on its node.
    Bound,
    /// The pod is gone, or somebody else placed it.
    Gone,
    /// It has been told that no node takes it.
    Refused,
    Failed,
    /// It is to be decided afresh.
    Again,
}

/// Schedules pods until dropped.
pub async fn run(parts: Parts, mut changes: Subscription) {
    let clock = parts.clock.clone();
    parts.health.change(|figures| figures.state = LoopState::Running);
    let scheduler = Arc::new(Scheduler { parts, state: Mutex::default() });
    let mut flights: FuturesUnordered<BoxFuture<'static, (Key, Landed)>> = FuturesUnordered::new();
    let mut turns = 0;
    loop {
        // Whatever else is ready: it is to be decided on what is there now.
        let changed = changes.take();
        if !changed.is_empty() {
            scheduler.take_in(changed);
        }
        let (ready, due) = {
            let state = scheduler.lock();
            (state.queue.is_ready(clock.now()), state.queue.next_due(clock.now()))
        };
        scheduler.report(flights.len());
        let attempt = if ready { future::ready(()).boxed() } else { future::pending().boxed() };
        let wait = match due {
            Some((left, true)) => clock.sleep(left, TimerUse::Work),
            Some((left, false)) => clock.sleep(left, TimerUse::Housekeeping),
            None => future::pending().boxed(),
        };
        tokio::select! {
            biased;
            Some((key, landed)) = flights.next() => scheduler.land(&key, landed),
            () = attempt => flights.extend(scheduler.attempt()),
            changed = changes.changed() => scheduler.take_in(changed),
            () = wait => {}
        }
        turns += 1;
        if turns % TURNS == 0 {
            tokio::task::yield_now().await;
        }
    }
}

impl Scheduler {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the next pod; the flight that comes of it.
    fn attempt(self: &Arc<Self>) -> Option<BoxFuture<'static, (Key, Landed)>> {
        let mut state = self.lock();
        let key = state.queue.pop(self.parts.clock.now())?;
        self.parts.health.change(|figures| figures.passes += 1);
        let Some(pod) = state.cache.pod(&key).filter(|pod| is_to_be_placed(pod)).cloned() else {
            state.queue.remove(&key);
            return None;
        };
        if pod.meta.deleting.is_some() {
            let message = format!("skip schedule deleting pod: {}", pod.meta.key);
            self.parts.recorder.tell(Note::warning(&*pod, "FailedScheduling", message));
            state.queue.remove(&key);
            return None;
        }
        let verdict = state.decide(&pod);
        let placement = match &verdict {
            Verdict::Place(placement) => Some(placement.clone()),
            Verdict::Refuse(_) | Verdict::Fail(_) => None,
        };
        if let Some(placement) = &placement {
            state.assume(&pod, placement);
        }
        if let Verdict::Refuse(refusal) = &verdict {
            state.queue.refused(&key, refusal.refused_by());
        }
        let (woken, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let flight = Flight {
            pod: pod.clone(),
            placement: placement.clone(),
            woken: woken.clone(),
            gone: gone.clone(),
        };
        state.flights.insert(key.clone(), flight);
        drop(state);
        let scheduler = self.clone();
        let flight = async move {
            let landing = async {
                match placement {
                    Some(placement) => scheduler.fly(&pod, &placement, &woken).await,
                    None => scheduler.tell(&pod, verdict).await,
                }
            };
            tokio::select! {
                biased;
                landed = landing => landed,
                () = gone.notified() => Landed::Gone,
            }
        };
        Some(Box::pin(AssertUnwindSafe(flight).catch_unwind().map(|landed| {
            let landed = landed.unwrap_or_else(|panic| {
                tracing::error!("placing {key}: panicked: {}", words(&*panic));
                Landed::Failed
            });
            (key, landed)
        })))
    }

    /// Takes in how a flight ended.
    fn land(&self, key: &Key, landed: Landed) {
        let now = self.parts.clock.now();
        let mut state = self.lock();
        let Some(flight) = state.flights.remove(key) else { return };
        match landed {
            Landed::Bound => {
                if let Some(placement) = &flight.placement {
                    state.keep_promises(&flight.pod, placement);
                }
            }
            Landed::Gone | Landed::Refused | Landed::Failed | Landed::Again => {
                if let Some(placement) = &flight.placement {
                    state.unreserve(&flight.pod, placement, now);
                }
            }
        }
        // Another pod of that name may have come meanwhile.
        let successor = state.cache.pod(key).filter(|pod| pod.meta.uid != flight.pod.meta.uid);
        if let Some(pod) = successor.filter(|pod| is_to_be_placed(pod)).cloned() {
            state.queue.remove(key);
            state.queue.add(key, pod.needs.priority);
            return;
        }
        match landed {
            Landed::Bound | Landed::Gone => state.queue.remove(key),
            Landed::Refused => state.queue.told(key, now),
            Landed::Failed => state.queue.failed(key, now),
            Landed::Again => state.queue.again(key),
        }
    }

    fn report(&self, flights: usize) {
        let state = self.lock();
        let (ready, paused) = state.queue.figures();
        self.parts.health.change(|figures| {
            figures.queued = ready;
            figures.in_flight = flights.saturating_sub(state.waiting);
            figures.paused = paused + state.waiting;
        });
    }
}

impl State {
    /// Decides about a pod; a panic on one does not end the others.
    pub(super) fn decide(&mut self, pod: &Pod) -> Verdict {
        let from = self.from.clone().unwrap_or_default();
        let cache = &self.cache;
        let decided = std::panic::catch_unwind(AssertUnwindSafe(|| decide(cache, pod, &from)));
        let verdict =
            decided.unwrap_or_else(|panic| Verdict::Fail(format!("panicked: {}", words(&*panic))));
        if let Verdict::Place(Placement { because, .. }) = &verdict {
            let looked_at = match because {
                Because::Nominated => 0,
                Because::Only { looked_at } | Because::Best { looked_at, .. } => *looked_at,
            };
            if looked_at < self.cache.node_count() {
                let next = self.cache.nodes_from(&from).nth(looked_at);
                self.from = next.map(|(node, _)| node.meta.key.name.clone());
            }
        }
        verdict
    }

    /// Counts the pod and its volumes as placed before they are.
    fn assume(&mut self, pod: &Pod, placement: &Placement) {
        let key = &pod.meta.key;
        self.cache.assume_pod(key, &placement.node);
        for bind in &placement.plan.bind {
            if let Some(claim) = self.cache.claims.get(&bind.claim).cloned() {
                self.cache.stock.promise(&bind.volume, &claim, key);
            }
            self.by_claim.entry(bind.claim.clone()).or_default().insert(key.clone());
        }
        for claim in &placement.plan.provision {
            self.cache.select(claim, &placement.node, key);
            self.by_claim.entry(claim.clone()).or_default().insert(key.clone());
        }
    }

    /// Takes back what was assumed, and wakes who can use it.
    pub(super) fn unreserve(
        &mut self,
        pod: &Arc<Pod>,
        placement: &Placement,
        now: jiff::Timestamp,
    ) {
        let (key, plan) = (&pod.meta.key, &placement.plan);
        let mut claims = plan.bind.iter().map(|bind| &bind.claim).chain(&plan.provision);
        let counted = |claim: &Key| self.by_claim.get(claim).is_some_and(|pods| pods.contains(key));
        if self.cache.node_of(key).is_none() && !claims.any(counted) {
            // It was taken back before.
            return;
        }
        let planned = plan.bind.iter();
        let volumes = planned.filter_map(|bind| self.cache.stock.seen(&bind.volume)).cloned();
        let volumes = volumes.collect();
        self.cache.forget_pod(key);
        self.keep_promises(pod, placement);
        self.help(&[Change::LetGo { pod: pod.clone(), volumes }], now);
    }

    /// Ends the promises made for a pod: what came of them shows in the rows.
    fn keep_promises(&mut self, pod: &Pod, placement: &Placement) {
        let key = &pod.meta.key;
        let bound = placement.plan.bind.iter().map(|bind| &bind.claim);
        for claim in bound.chain(&placement.plan.provision) {
            if let Some(pods) = self.by_claim.get_mut(claim) {
                pods.remove(key);
                if pods.is_empty() {
                    self.by_claim.remove(claim);
                }
            }
            self.cache.unselect(claim, key);
        }
        for bind in &placement.plan.bind {
            self.cache.stock.release(&bind.volume, key);
        }
    }

    /// Moves the refused pods that these changes may help.
    pub(super) fn help(&mut self, changes: &[Change], now: jiff::Timestamp) {
        if changes.is_empty() || !self.queue.anyone_to_help() {
            return;
        }
        let cache = &self.cache;
        self.queue.help(now, |key, by| {
            let pod = cache.pod(key);
            pod.is_some_and(|pod| changes.iter().any(|change| change.may_help(cache, pod, by)))
        });
    }
}
