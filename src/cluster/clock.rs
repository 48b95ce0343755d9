//! The clocks of clusters: the only place where real time is read.
//!
//! - [`RunningClock`]: real time, which can stand still. A live cluster's never
//!   does; an embedded cluster's stands while its step gate is shut, so that no
//!   timeout runs out while someone reads the screen.
//! - [`ManualClock`]: moves only when told to, by jumping to the next timer.
//!   Tests and forks use it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::model::clock::{Clock, TimerUse};

/// Nothing is due within this time: the cluster is quiet.
const QUIET_HORIZON: SignedDuration = SignedDuration::from_hours(1);

/// The timers that have not fired, by due time.
#[derive(Debug, Default)]
struct Timers {
    waiting: BTreeMap<(Timestamp, u64), Timer>,
    next_id: u64,
}

#[derive(Debug)]
struct Timer {
    usage: TimerUse,
    fire: oneshot::Sender<()>,
}

impl Timers {
    fn add(&mut self, due: Timestamp, usage: TimerUse) -> (u64, oneshot::Receiver<()>) {
        let (fire, fired) = oneshot::channel();
        let id = self.next_id;
        self.next_id += 1;
        self.waiting.insert((due, id), Timer { usage, fire });
        (id, fired)
    }

    /// Fires everything that is due at `now`.
    fn fire(&mut self, now: Timestamp) {
        while let Some(entry) = self.waiting.first_entry() {
            if entry.key().0 > now {
                break;
            }
            // A dropped sleeper no longer cares.
            let _ = entry.remove().fire.send(());
        }
    }

    fn next_due(&self, usage: Option<TimerUse>) -> Option<Timestamp> {
        self.waiting
            .iter()
            .find(|(_, timer)| usage.is_none_or(|usage| timer.usage == usage))
            .map(|((due, _), _)| *due)
    }
}

/// Takes the timer away when its sleeper is dropped.
struct Registered<S: TimerHolder> {
    holder: S,
    key: (Timestamp, u64),
}

trait TimerHolder {
    fn forget(&self, key: (Timestamp, u64));
}

impl<S: TimerHolder> Drop for Registered<S> {
    fn drop(&mut self) {
        self.holder.forget(self.key);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by)
        .ok()
        .and_then(|by| time.checked_add(by).ok())
        .unwrap_or(Timestamp::MAX)
}

/// Real time that can stand still. Clones share it.
#[derive(Debug, Clone)]
pub struct RunningClock {
    inner: Arc<Running>,
}

#[derive(Debug)]
struct Running {
    state: Mutex<RunningState>,
    /// Rises when the clock starts, stands or jumps: sleepers look again.
    changed: watch::Sender<u64>,
}

#[derive(Debug)]
struct RunningState {
    /// The cluster's time at `since`.
    base: Timestamp,
    /// When the clock was last set going; `None` while it stands.
    since: Option<Instant>,
    timers: Timers,
}

impl RunningState {
    fn now(&self) -> Timestamp {
        match self.since {
            Some(since) => later(self.base, since.elapsed()),
            None => self.base,
        }
    }
}

impl Default for RunningClock {
    fn default() -> Self {
        Self::new()
    }
}

impl RunningClock {
    /// A clock that shows the machine's time and runs.
    pub fn new() -> Self {
        let state = RunningState {
            base: Timestamp::now(),
            since: Some(Instant::now()),
            timers: Timers::default(),
        };
        Self {
            inner: Arc::new(Running { state: Mutex::new(state), changed: watch::Sender::new(0) }),
        }
    }

    /// Stops the time; does nothing if it stands.
    pub fn stand(&self) {
        self.change(|state| {
            state.base = state.now();
            state.since = None;
        });
    }

    /// Lets the time run on from where it stood.
    pub fn run(&self) {
        self.change(|state| {
            if state.since.is_none() {
                state.since = Some(Instant::now());
            }
        });
    }

    pub fn is_standing(&self) -> bool {
        lock(&self.inner.state).since.is_none()
    }

    /// Moves a standing clock to its next timer and fires it; the time it
    /// moved by, or `None` if the clock runs or no timer waits.
    pub fn jump(&self) -> Option<SignedDuration> {
        let mut moved = None;
        self.change(|state| {
            if state.since.is_some() {
                return;
            }
            if let Some(due) = state.timers.next_due(None) {
                let to = due.max(state.base);
                moved = Some(to.duration_since(state.base));
                state.base = to;
                state.timers.fire(to);
            }
        });
        moved
    }

    fn change(&self, change: impl FnOnce(&mut RunningState)) {
        change(&mut lock(&self.inner.state));
        self.inner.changed.send_modify(|epoch| *epoch += 1);
    }
}

impl TimerHolder for RunningClock {
    fn forget(&self, key: (Timestamp, u64)) {
        lock(&self.inner.state).timers.waiting.remove(&key);
    }
}

impl Clock for RunningClock {
    fn now(&self) -> Timestamp {
        lock(&self.inner.state).now()
    }

    fn sleep(&self, duration: Duration, usage: TimerUse) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        let mut changed = self.inner.changed.subscribe();
        let (due, key, mut fired) = {
            let mut state = lock(&self.inner.state);
            let due = later(state.now(), duration);
            let (id, fired) = state.timers.add(due, usage);
            (due, (due, id), fired)
        };
        let registered = Registered { holder: clock.clone(), key };
        Box::pin(async move {
            let _registered = registered;
            loop {
                let (now, standing) = {
                    let state = lock(&clock.inner.state);
                    (state.now(), state.since.is_none())
                };
                if now >= due {
                    return;
                }
                let left = Duration::try_from(due.duration_since(now)).unwrap_or_default();
                tokio::select! {
                    _ = &mut fired => return,
                    () = tokio::time::sleep(left), if !standing => {}
                    result = changed.changed() => if result.is_err() { return },
                }
            }
        })
    }
}

/// A clock that moves only when told to. Clones share it.
///
/// Its runtime must be a current-thread one with paused time: then
/// [`ManualClock::idle`] returns exactly when no task has anything left to do.
#[derive(Debug, Clone)]
pub struct ManualClock {
    state: Arc<Mutex<ManualState>>,
}

#[derive(Debug)]
struct ManualState {
    now: Timestamp,
    timers: Timers,
}

/// Of the runtime's paused time: longer than requests that follow one another
/// take, where they take any.
const BEYOND_REQUESTS: Duration = Duration::from_secs(1);

impl ManualClock {
    pub fn new(start: Timestamp) -> Self {
        Self { state: Arc::new(Mutex::new(ManualState { now: start, timers: Timers::default() })) }
    }

    /// Waits until every task of the runtime waits for something that only
    /// time or the caller can bring.
    pub async fn idle(&self) {
        // Paused time advances only when nothing else can run.
        tokio::time::sleep(BEYOND_REQUESTS).await;
    }

    /// Moves the time on by `duration`, firing the timers on the way one after
    /// the other and letting their tasks run until idle after each.
    pub async fn advance(&self, duration: Duration) {
        let end = later(self.now(), duration);
        self.idle().await;
        while self.jump_before(end) {
            self.idle().await;
        }
        lock(&self.state).now = end;
        self.idle().await;
    }

    /// Moves to the next timer, if one waits, and lets its task run until idle.
    pub async fn step(&self) -> bool {
        self.idle().await;
        let moved = self.jump_before(Timestamp::MAX);
        self.idle().await;
        moved
    }

    /// Runs until quiet: nothing to do, and no timer but housekeeping due
    /// within an hour. Gives up after `steps` timers; whether it got quiet.
    pub async fn settle(&self, steps: usize) -> bool {
        self.idle().await;
        for _ in 0..steps {
            let next_work = {
                let state = lock(&self.state);
                let horizon = state.now.checked_add(QUIET_HORIZON).unwrap_or(Timestamp::MAX);
                state.timers.next_due(Some(TimerUse::Work)).filter(|due| *due <= horizon)
            };
            let Some(due) = next_work else { return true };
            // Housekeeping that falls due before fires on the way.
            self.jump_before(due);
            self.idle().await;
        }
        false
    }

    /// Jumps to the next timer due no later than `end` and fires it.
    fn jump_before(&self, end: Timestamp) -> bool {
        let mut state = lock(&self.state);
        match state.timers.next_due(None) {
            Some(due) if due <= end => {
                state.now = state.now.max(due);
                let now = state.now;
                state.timers.fire(now);
                true
            }
            _ => false,
        }
    }
}

impl TimerHolder for ManualClock {
    fn forget(&self, key: (Timestamp, u64)) {
        lock(&self.state).timers.waiting.remove(&key);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        lock(&self.state).now
    }

    fn sleep(&self, duration: Duration, usage: TimerUse) -> BoxFuture<'static, ()> {
        let (key, fired) = {
            let mut state = lock(&self.state);
            let due = later(state.now, duration);
            let (id, fired) = state.timers.add(due, usage);
            ((due, id), fired)
        };
        let registered = Registered { holder: self.clone(), key };
        Box::pin(async move {
            let _registered = registered;
            // The sender goes only by firing, or with the clock itself.
            let _ = fired.await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Timestamp {
        Timestamp::from_second(1_800_000_000).expect("in range")
    }

    #[tokio::test(start_paused = true)]
    async fn manual_time_moves_only_when_told() {
        let clock = ManualClock::new(start());
        let sleeper = tokio::spawn(clock.sleep(Duration::from_secs(10), TimerUse::Work));
        clock.idle().await;
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_secs(9)).await;
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_secs(1)).await;
        assert!(sleeper.is_finished());
        assert_eq!(clock.now(), start() + SignedDuration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn settling_ignores_housekeeping_and_far_timers() {
        let clock = ManualClock::new(start());
        let resync = tokio::spawn(clock.sleep(Duration::from_secs(15), TimerUse::Housekeeping));
        let far = tokio::spawn(clock.sleep(Duration::from_secs(7200), TimerUse::Work));
        assert!(clock.settle(10).await);
        assert_eq!(clock.now(), start());
        let near = tokio::spawn(clock.sleep(Duration::from_secs(20), TimerUse::Work));
        clock.idle().await;
        assert!(clock.settle(10).await);
        assert!(resync.is_finished() && near.is_finished() && !far.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_sleep_takes_its_timer_away() {
        let clock = ManualClock::new(start());
        drop(clock.sleep(Duration::from_secs(1), TimerUse::Work));
        assert!(!clock.step().await);
        assert_eq!(clock.now(), start());
    }

    #[tokio::test(start_paused = true)]
    async fn a_standing_clock_holds_its_sleepers_until_it_runs() {
        let clock = RunningClock::new();
        clock.stand();
        let stood = clock.now();
        let sleeper = tokio::spawn(clock.sleep(Duration::from_secs(5), TimerUse::Work));
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(clock.now(), stood);
        assert!(!sleeper.is_finished());
        clock.run();
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert!(sleeper.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn a_standing_clock_can_jump_to_its_next_timer() {
        let clock = RunningClock::new();
        clock.stand();
        let sleeper = tokio::spawn(clock.sleep(Duration::from_secs(5), TimerUse::Work));
        tokio::task::yield_now().await;
        assert_eq!(clock.jump(), Some(SignedDuration::from_secs(5)));
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(sleeper.is_finished());
        assert_eq!(clock.jump(), None);
    }
}
