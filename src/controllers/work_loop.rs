//! The loop of one controller: what changed is looked at, many objects at a
//! time, each by one pass at a time.
//!
//! ```text
//! changes, resync, pauses -> queue -> passes (bounded) -> done | failed: pause | blocked: parked
//! ```
//!
//! Everything runs in the loop's own task: nothing is spawned and forgotten,
//! and dropping the loop drops what it has under way, held writes included.

use std::any::Any;
use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use futures::{FutureExt, future};
use jiff::Timestamp;

use crate::controllers::health::{Health, LoopState};
use crate::controllers::holds::{Hold, HoldTable};
use crate::mirror::subscription::Subscription;
use crate::model::clock::{Clock, TimerUse};
use crate::model::object::ObjectRef;

/// The pause after an object's first failure; it doubles with each more.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(1000);
/// So many turns, then other tasks get theirs: the loop may have work without
/// end that never waits.
const TURNS: usize = 64;
/// So many settled objects of a round in one turn: changes come before the
/// rest.
const LOOKS: usize = 32;

/// What became of one pass over an object.
pub struct Pass {
    pub outcome: Outcome,
    /// Objects to look at now.
    pub enqueue: Vec<ObjectRef>,
    /// Work to go on beside the passes; gives objects to look at when it ends.
    pub operation: Option<BoxFuture<'static, Vec<ObjectRef>>>,
    /// Look at the object again after this long, whatever happens before.
    pub again_after: Option<Duration>,
}

/// How a pass ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// To be tried again after a pause.
    Failed(String),
    /// As failed, but nothing to worry people with: a conflict, decided afresh.
    Outdated,
    /// To be tried again when this object is let go.
    Blocked(ObjectRef),
}

impl Pass {
    pub fn new(outcome: Outcome) -> Self {
        Self { outcome, enqueue: Vec::new(), operation: None, again_after: None }
    }

    pub fn done() -> Self {
        Self::new(Outcome::Done)
    }
}

/// A controller as its loop sees it.
pub trait Reconciler: Send + Sync {
    /// Takes in what changed; the objects to look at, in order.
    fn take_in(&self, changed: HashSet<ObjectRef>) -> Vec<ObjectRef>;

    /// Everything there is to look at, for a resync.
    fn everything(&self) -> Vec<ObjectRef> {
        Vec::new()
    }

    /// Whether a look in a resync can be left out: as far as is known, there is
    /// nothing to do about the object. Nearly all are so, and a pass costs more
    /// than finding that out.
    fn is_settled(&self, _object: &ObjectRef) -> bool {
        false
    }

    /// What it works on; a table of its own, to share, where a pass also holds
    /// objects other than the one it looks at.
    fn holds(&self) -> HoldTable {
        HoldTable::default()
    }

    /// Looks at one object and does what is called for.
    fn reconcile(self: Arc<Self>, object: ObjectRef) -> BoxFuture<'static, Pass>;
}

/// How a loop runs.
#[derive(Clone)]
pub struct LoopSettings {
    /// How many objects are worked on at once.
    pub parallel: usize,
    /// How often everything is looked at again.
    pub resync: Option<Duration>,
}

/// Runs a controller until dropped.
pub async fn run(
    reconciler: Arc<dyn Reconciler>,
    mut changes: Subscription,
    clock: Arc<dyn Clock>,
    health: Health,
    settings: LoopSettings,
) {
    health.change(|figures| figures.state = LoopState::Running);
    let mut work = WorkLoop::new(reconciler, clock.clone(), health, settings.parallel);
    let next_resync = || match settings.resync {
        Some(period) => clock.sleep(period, TimerUse::Housekeeping),
        None => future::pending().boxed(),
    };
    let mut resync = next_resync();
    let mut turns = 0;
    loop {
        work.start();
        work.report();
        tokio::select! {
            biased;
            changed = changes.changed() => work.take_in(changed),
            Some((object, pass, hold)) = work.passes.next() => work.finish(object, pass, hold),
            Some(objects) = work.operations.next() => work.enqueue(objects),
            Some(object) = work.pauses.next() => work.wake(object),
            () = &mut resync => {
                work.begin_round();
                resync = next_resync();
            }
            // The round is in its stretch of settled objects.
            () = future::ready(()), if work.has_room_for_round() => {}
        }
        turns += 1;
        if turns % TURNS == 0 {
            work.report();
            tokio::task::yield_now().await;
        }
    }
}

type Finished = (ObjectRef, Pass, Hold);

struct WorkLoop {
    holds: HoldTable,
    reconciler: Arc<dyn Reconciler>,
    clock: Arc<dyn Clock>,
    health: Health,
    parallel: usize,
    /// Invariant: `queued` names exactly what is in `queue`.
    queue: VecDeque<ObjectRef>,
    queued: HashSet<ObjectRef>,
    /// What the resync is still to look at: whenever the queue is empty, so
    /// that a change never waits behind 100,000 objects that have none.
    round: VecDeque<ObjectRef>,
    /// Objects that wait until another, or their own pass, is let go.
    parked: HashMap<ObjectRef, Vec<ObjectRef>>,
    failures: HashMap<ObjectRef, u32>,
    passes: FuturesUnordered<BoxFuture<'static, Finished>>,
    operations: FuturesUnordered<BoxFuture<'static, Vec<ObjectRef>>>,
    pauses: FuturesUnordered<BoxFuture<'static, ObjectRef>>,
    /// When each object that asked for it is looked at again: a pass that asks
    /// each time must not leave a timer each time.
    due: HashMap<ObjectRef, Timestamp>,
}

impl WorkLoop {
    fn new(
        reconciler: Arc<dyn Reconciler>,
        clock: Arc<dyn Clock>,
        health: Health,
        parallel: usize,
    ) -> Self {
        Self {
            holds: reconciler.holds(),
            reconciler,
            clock,
            health,
            parallel,
            queue: VecDeque::new(),
            queued: HashSet::new(),
            round: VecDeque::new(),
            parked: HashMap::new(),
            failures: HashMap::new(),
            passes: FuturesUnordered::new(),
            operations: FuturesUnordered::new(),
            pauses: FuturesUnordered::new(),
            due: HashMap::new(),
        }
    }

    fn take_in(&mut self, changed: HashSet<ObjectRef>) {
        let objects = self.reconciler.take_in(changed);
        self.enqueue(objects);
    }

    fn enqueue(&mut self, objects: impl IntoIterator<Item = ObjectRef>) {
        for object in objects {
            if self.queued.insert(object.clone()) {
                self.queue.push_back(object);
            }
        }
    }

    /// Starts as many passes as there is room for.
    fn start(&mut self) {
        for freed in self.holds.take_freed() {
            let parked = self.parked.remove(&freed);
            self.enqueue(parked.into_iter().flatten());
        }
        while self.passes.len() < self.parallel
            && let Some(object) = self.next()
        {
            let Some(hold) = self.holds.try_hold(&object, &object) else {
                self.park(object.clone(), object);
                continue;
            };
            let pass = AssertUnwindSafe(self.reconciler.clone().reconcile(object.clone()));
            self.passes.push(Box::pin(async move {
                let pass = pass.catch_unwind().await;
                (object, pass.unwrap_or_else(|panic| failed(&*panic)), hold)
            }));
        }
    }

    fn next(&mut self) -> Option<ObjectRef> {
        if let Some(object) = self.queue.pop_front() {
            self.queued.remove(&object);
            return Some(object);
        }
        for _ in 0..LOOKS {
            let object = self.round.pop_front()?;
            if !self.is_settled(&object) {
                return Some(object);
            }
        }
        None
    }

    /// One that cannot even be looked at is left to a pass, which says so.
    fn is_settled(&self, object: &ObjectRef) -> bool {
        let look = AssertUnwindSafe(|| self.reconciler.is_settled(object));
        std::panic::catch_unwind(look).unwrap_or(false)
    }

    /// Whether the round could go on now.
    fn has_room_for_round(&self) -> bool {
        !self.round.is_empty() && self.passes.len() < self.parallel
    }

    /// Looks at everything again, unless that is still going on.
    fn begin_round(&mut self) {
        if self.round.is_empty() {
            self.round = self.reconciler.everything().into();
        }
    }

    fn park(&mut self, object: ObjectRef, until_free: ObjectRef) {
        let parked = self.parked.entry(until_free).or_default();
        if !parked.contains(&object) {
            parked.push(object);
        }
    }

    fn finish(&mut self, object: ObjectRef, pass: Pass, hold: Hold) {
        match pass.outcome {
            Outcome::Done => {
                self.failures.remove(&object);
            }
            Outcome::Failed(error) => {
                tracing::warn!("{object}: {error}");
                self.health.failed(self.clock.now(), object.to_string(), error);
                self.pause(object.clone());
            }
            Outcome::Outdated => self.pause(object.clone()),
            Outcome::Blocked(by) => {
                // It may have been let go in the meantime.
                if self.holds.read(|holds| holds.holder(&by).is_none()) {
                    self.enqueue([object.clone()]);
                } else {
                    self.park(object.clone(), by);
                }
            }
        }
        drop(hold);
        if let Some(after) = pass.again_after {
            self.look_again(object, after);
        }
        self.enqueue(pass.enqueue);
        if let Some(operation) = pass.operation {
            let operation = AssertUnwindSafe(operation).catch_unwind();
            self.operations.push(Box::pin(operation.map(|ended| {
                ended.unwrap_or_else(|panic| {
                    tracing::error!("an operation panicked: {}", words(&*panic));
                    Vec::new()
                })
            })));
        }
        self.health.change(|figures| figures.passes += 1);
    }

    fn pause(&mut self, object: ObjectRef) {
        let failures = self.failures.entry(object.clone()).or_default();
        let pause = PAUSE_MIN.saturating_mul(1_u32.checked_shl(*failures).unwrap_or(u32::MAX));
        *failures = (*failures + 1).min(31);
        let pause = self.clock.sleep(pause.min(PAUSE_MAX), TimerUse::Work);
        self.pauses.push(Box::pin(pause.map(|()| object)));
    }

    /// Sets a timer unless one fires as early.
    fn look_again(&mut self, object: ObjectRef, after: Duration) {
        let at = self.clock.now() + after;
        if self.due.get(&object).is_some_and(|due| *due <= at) {
            return;
        }
        self.due.insert(object.clone(), at);
        let pause = self.clock.sleep(after, TimerUse::Work);
        self.pauses.push(Box::pin(pause.map(|()| object)));
    }

    /// A pause is over.
    fn wake(&mut self, object: ObjectRef) {
        let now = self.clock.now();
        if self.due.get(&object).is_some_and(|due| *due <= now) {
            self.due.remove(&object);
        }
        self.enqueue([object]);
    }

    fn report(&self) {
        self.health.change(|figures| {
            figures.queued = self.queue.len() + self.round.len();
            figures.in_flight = self.passes.len();
            figures.operations = self.operations.len();
            figures.paused = self.pauses.len();
        });
    }
}

fn failed(panic: &(dyn Any + Send)) -> Pass {
    Pass::new(Outcome::Failed(format!("panicked: {}", words(panic))))
}

/// What a panic said.
pub fn words(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no words")
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::cluster::clock::ManualClock;
    use crate::mirror::Mirror;
    use crate::model::kind;
    use crate::model::object::Key;

    fn object(name: &str) -> ObjectRef {
        ObjectRef::new(kind::PERSISTENT_VOLUME, Key::cluster(name))
    }

    type Script = dyn Fn(&Scripted, ObjectRef) -> BoxFuture<'static, Pass> + Send + Sync;

    /// Looks at the same objects each time and does what its script says.
    struct Scripted {
        objects: Vec<ObjectRef>,
        holds: HoldTable,
        looked_at: Mutex<Vec<(ObjectRef, Timestamp)>>,
        clock: ManualClock,
        script: Box<Script>,
    }

    impl Reconciler for Scripted {
        fn take_in(&self, _changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
            self.objects.clone()
        }

        fn everything(&self) -> Vec<ObjectRef> {
            self.objects.clone()
        }

        fn is_settled(&self, object: &ObjectRef) -> bool {
            assert!(&*object.key.name != "broken", "a broken row");
            object.key.name.starts_with("settled")
        }

        fn holds(&self) -> HoldTable {
            self.holds.clone()
        }

        fn reconcile(self: Arc<Self>, object: ObjectRef) -> BoxFuture<'static, Pass> {
            let now = self.clock.now();
            self.looked_at.lock().expect("the log").push((object.clone(), now));
            (self.script)(&self, object)
        }
    }

    struct Running {
        reconciler: Arc<Scripted>,
        clock: ManualClock,
        health: Health,
        _task: tokio::task::JoinHandle<()>,
    }

    async fn running(
        names: &[&str],
        script: impl Fn(&Scripted, ObjectRef) -> BoxFuture<'static, Pass> + Send + Sync + 'static,
    ) -> Running {
        running_with(names, None, script).await
    }

    const ROUND: Duration = Duration::from_secs(15);

    async fn running_rounds(
        names: &[&str],
        script: impl Fn(&Scripted, ObjectRef) -> BoxFuture<'static, Pass> + Send + Sync + 'static,
    ) -> Running {
        running_with(names, Some(ROUND), script).await
    }

    async fn running_with(
        names: &[&str],
        resync: Option<Duration>,
        script: impl Fn(&Scripted, ObjectRef) -> BoxFuture<'static, Pass> + Send + Sync + 'static,
    ) -> Running {
        let clock = ManualClock::new(Timestamp::from_second(1_800_000_000).expect("in range"));
        let reconciler = Arc::new(Scripted {
            objects: names.iter().map(|name| object(name)).collect(),
            holds: HoldTable::default(),
            looked_at: Mutex::default(),
            clock: clock.clone(),
            script: Box::new(script),
        });
        let (mirror, health) = (Mirror::default(), Health::default());
        let settings = LoopSettings { parallel: 2, resync };
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let work = run(reconciler.clone(), mirror.subscribe(), shared, health.clone(), settings);
        let task = tokio::spawn(work);
        clock.idle().await;
        Running { reconciler, clock, health, _task: task }
    }

    impl Running {
        fn times(&self) -> Vec<i64> {
            let looked_at = self.reconciler.looked_at.lock().expect("the log");
            let first = looked_at[0].1;
            let since = |at: &Timestamp| at.duration_since(first).as_millis();
            looked_at.iter().map(|(_, at)| since(at).try_into().expect("short")).collect()
        }
    }

    fn now(pass: Pass) -> BoxFuture<'static, Pass> {
        future::ready(pass).boxed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_object_is_tried_again_after_twice_the_pause() {
        let failing = |_: &Scripted, _| now(Pass::new(Outcome::Failed("no".into())));
        let running = running(&["a"], failing).await;
        running.clock.advance(Duration::from_millis(100)).await;
        assert_eq!(running.times(), [0, 5, 15, 35, 75]);
        let figures = running.health.figures();
        assert_eq!((figures.errors, figures.paused), (5, 1));
        assert_eq!(figures.last_error.expect("an error").error, "no");
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_has_passes_only_for_what_is_not_settled() {
        let names: Vec<String> = (0..1000).map(|n| format!("settled-{n}")).collect();
        let names = names.iter().map(|name| &**name).chain(["open", "broken"]);
        let names: Vec<&str> = names.collect();
        let running = running_rounds(&names, |_, _| now(Pass::done())).await;
        let first = running.health.figures().passes;
        running.clock.advance(ROUND).await;
        let passes = running.health.figures().passes - first;
        let looked_at = running.reconciler.looked_at.lock().expect("the log");
        let last: Vec<&str> = looked_at.iter().rev().take(2).map(|(o, _)| &*o.key.name).collect();
        assert_eq!((passes, &last[..]), (2, &["broken", "open"][..]));
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_is_looked_at_again_when_it_asked_and_leaves_one_timer() {
        let again = |scripted: &Scripted, _| {
            let seen = scripted.looked_at.lock().expect("the log").len();
            let seconds = if seen == 1 { 3 } else { 2 };
            now(Pass { again_after: Some(Duration::from_secs(seconds)), ..Pass::done() })
        };
        let running = running(&["a"], again).await;
        assert_eq!(running.health.figures().paused, 1);
        running.clock.advance(Duration::from_millis(7500)).await;
        assert_eq!(running.times(), [0, 3000, 5000, 7000]);
        assert_eq!(running.health.figures().paused, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_in_a_pass_fails_that_object_only() {
        let script = |_: &Scripted, object: ObjectRef| -> BoxFuture<'static, Pass> {
            Box::pin(async move {
                assert!(&*object.key.name != "bad", "a broken row");
                Pass::done()
            })
        };
        let running = running(&["bad", "good"], script).await;
        let figures = running.health.figures();
        assert_eq!(figures.state, LoopState::Running);
        assert_eq!(figures.passes, 2);
        let error = figures.last_error.expect("an error").error;
        assert!(error.starts_with("panicked: ") && error.contains("a broken row"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_blocked_object_goes_on_when_the_other_is_let_go() {
        let script = |scripted: &Scripted, which: ObjectRef| -> BoxFuture<'static, Pass> {
            let (clock, holds) = (scripted.clock.clone(), scripted.holds.clone());
            Box::pin(async move {
                let slow = object("slow");
                if which == slow {
                    clock.sleep(Duration::from_secs(1), TimerUse::Work).await;
                    return Pass::done();
                }
                match holds.try_hold(&slow, &which) {
                    Some(_hold) => Pass::done(),
                    None => Pass::new(Outcome::Blocked(slow)),
                }
            })
        };
        let running = running(&["slow", "wants-slow"], script).await;
        assert_eq!(running.times(), [0, 0]);
        assert_eq!(running.health.figures().in_flight, 1);
        running.clock.advance(Duration::from_secs(2)).await;
        assert_eq!(running.times(), [0, 0, 1000], "looked at again at once, and only then");
        assert!(running.health.is_idle());
    }
}
