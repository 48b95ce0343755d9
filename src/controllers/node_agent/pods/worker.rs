//! The worker of one pod: looks, decides, does one step, and looks again.
//!
//! ```text
//! refresh -> decide -> step: status | mount | start | stop | let go | delete -> refresh ...
//! ```
//!
//! A worker keeps the object it last saw and how far it knows the volumes to
//! be; both are found again by one that begins anew. Dropping it ends it
//! between any two steps, held writes included.

mod containers;
mod object;
mod shared;
mod volumes;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, pending};
use jiff::Timestamp;
use tokio::sync::Notify;

use self::shared::Busy;
pub use self::shared::Shared;
use super::decide::{Because, Step, View, Volumes, decide};
use super::directory;
use super::runtime::PodSeen;
use super::spec::PodObject;
use super::status::{Failure, StartFault};
use crate::model::clock::TimerUse;
use crate::model::object::Key;
use crate::plugins::host::{Files, HostError};

/// A pod whose step failed is looked at again after this (upstream: the pod
/// workers' back-off).
const RETRY: Duration = Duration::from_secs(10);
/// The server did not answer, or someone else was faster.
const RETRY_API: Duration = Duration::from_secs(1);

/// The worker of one pod.
pub struct Worker {
    shared: Arc<Shared>,
    key: Key,
    uid: Arc<str>,
    /// Rung when the pod may have changed.
    bell: Arc<Notify>,
    pod: Option<PodObject>,
    volumes: Volumes,
    fault: Option<StartFault>,
    /// Why the node does not take it.
    rejected: Option<Failure>,
    /// The volumes were told that they are wanted.
    announced: bool,
    /// It made containers start or end since the runtime was last looked at
    /// (upstream: its entry in the pod cache is older than its last sync).
    is_unlisted: bool,
}

/// What a worker does after a step.
enum Turn {
    Again,
    Pause(Duration),
    Rest(Option<Timestamp>),
    Over,
}

/// Whether a step begins with what the list of the runtime says. What a stopped
/// pod's containers came to is asked at once, and its volumes are let go.
fn goes_by_list(step: &Step) -> bool {
    match step {
        Step::WriteStatus { because, .. } => matches!(because, Because::Running | Because::Ended),
        Step::Mount
        | Step::LetGo
        | Step::Start { .. }
        | Step::Stop { .. }
        | Step::Delete
        | Step::Forget
        | Step::Rest { .. } => false,
    }
}

impl Worker {
    /// A worker for the pod of that uid. `pod`: the object, if it was read.
    pub fn new(
        shared: Arc<Shared>,
        key: Key,
        uid: Arc<str>,
        bell: Arc<Notify>,
        pod: Option<PodObject>,
    ) -> Self {
        Self {
            shared,
            key,
            uid,
            bell,
            pod,
            volumes: Volumes::default(),
            fault: None,
            rejected: None,
            announced: false,
            is_unlisted: false,
        }
    }

    /// Looks after the pod until nothing is left of it.
    pub async fn run(mut self) {
        loop {
            match self.turn().await {
                Turn::Again => {}
                Turn::Pause(pause) => self.pause(pause).await,
                Turn::Rest(until) => self.rest(until).await,
                Turn::Over => return,
            }
        }
    }

    async fn turn(&mut self) -> Turn {
        let shared = self.shared.clone();
        // A machine that does not answer has no kubelet that could write: two
        // would contend for the pod's status, this and whoever calls it lost.
        let _ = Files(&*shared.host).look("/").await;
        let busy = Busy::new(&shared.busy);
        if let Err(error) = self.refresh().await {
            tracing::warn!(pod = %self.key, error, "a pod could not be read");
            return Turn::Pause(RETRY_API);
        }
        let (step, seen) = self.next_step();
        if self.is_unlisted && goes_by_list(&step) {
            drop(busy);
            shared.relist().await;
            self.is_unlisted = false;
            return Turn::Again;
        }
        let _busy = match step {
            // These wait for others.
            Step::Mount | Step::Stop { .. } | Step::LetGo => None,
            _ => Some(busy),
        };
        let pause = match step {
            Step::Rest { until } => return Turn::Rest(until),
            Step::Forget => match self.forget().await {
                Ok(()) => return Turn::Over,
                Err(error) => self.failed("a pod could not be forgotten", &error),
            },
            step => self.perform(step, &seen).await,
        };
        pause.map_or(Turn::Again, Turn::Pause)
    }

    fn view<'a>(&'a self, seen: &'a PodSeen) -> View<'a> {
        View {
            pod: self.pod.as_ref(),
            seen,
            volumes: self.volumes,
            fault: self.fault.as_ref(),
            rejected: self.rejected.as_ref(),
            host_address: &self.shared.host_address,
            now: self.shared.clock.now(),
        }
    }

    fn next_step(&self) -> (Step, PodSeen) {
        let seen = self.shared.runtime.seen(&self.uid);
        (decide(self.view(&seen)), seen)
    }

    async fn rest(&self, until: Option<Timestamp>) {
        let time = self.time(until);
        tokio::select! {
            () = self.bell.notified() => {}
            () = time => {}
        }
    }

    fn time(&self, until: Option<Timestamp>) -> BoxFuture<'static, ()> {
        let Some(until) = until else { return pending().boxed() };
        let left = Duration::try_from(until.duration_since(self.shared.clock.now()));
        self.shared.clock.sleep(left.unwrap_or_default(), TimerUse::Work)
    }

    /// Waits before the next try, unless the pod's end is asked for.
    async fn pause(&mut self, pause: Duration) {
        let mut time = self.shared.clock.sleep(pause, TimerUse::Work);
        let was_ending = self.is_ending();
        loop {
            tokio::select! {
                () = &mut time => return,
                () = self.bell.notified() => {}
            }
            if self.refresh().await.is_ok() && !was_ending && self.is_ending() {
                return;
            }
        }
    }

    fn is_ending(&self) -> bool {
        self.pod.as_ref().is_none_or(|pod| pod.is_deleting || pod.is_terminal)
    }

    /// Does a step; how long to wait before the next try if it failed.
    async fn perform(&mut self, step: Step, seen: &PodSeen) -> Option<Duration> {
        match step {
            Step::WriteStatus { patch, because } => self.write_status(patch, because).await,
            Step::Mount => self.mount().await,
            Step::Start { container, attempt } => match self.start(&container, attempt, seen).await
            {
                Ok(pause) => pause,
                Err(error) => self.failed("a container could not be started", &error),
            },
            Step::Stop { grace } => self.stop(grace, seen).await,
            Step::LetGo => self.let_go().await,
            Step::Delete => self.delete().await,
            Step::Forget | Step::Rest { .. } => None,
        }
    }

    fn failed(&self, what: &str, error: &HostError) -> Option<Duration> {
        tracing::warn!(node = %self.shared.node, pod = %self.key, %error, "{what}");
        Some(RETRY)
    }

    async fn forget(&self) -> Result<(), HostError> {
        self.shared.runtime.remove(&self.uid).await?;
        directory::remove(&*self.shared.host, &self.uid).await
    }
}
