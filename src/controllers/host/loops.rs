//! Tasks: each a loop whose handle is kept, and that shows as dead if it ends by
//! itself.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{ControllerStatus, Servers};
use crate::controllers::events::{self, Recorder};
use crate::controllers::health::{Health, LoopState};
use crate::controllers::parts::Parts;
use crate::controllers::work_loop::{self, LoopSettings, Reconciler, words};
use crate::mirror::Mirror;
use crate::mirror::subscription::Subscription;
use crate::model::clock::Clock;
use crate::model::kind::{self, Kind};

/// What must have been listed before a controller may decide anything: a claim
/// whose volume has not been listed yet would be declared Lost.
const NEEDED: [&Kind; 6] = [
    kind::PERSISTENT_VOLUME,
    kind::PERSISTENT_VOLUME_CLAIM,
    kind::STORAGE_CLASS,
    kind::POD,
    kind::VOLUME_ATTRIBUTES_CLASS,
    kind::RESOURCE_QUOTA,
];

/// What sends the events of a controller.
const RECORDER: &str = "event-recorder";

/// What a loop is called, and in whose name it writes.
#[derive(Debug, Clone)]
pub(super) struct Title {
    /// Its name as Kubernetes has it: `persistentvolume-binder-controller`.
    pub name: &'static str,
    pub actor: &'static str,
    /// Which of several of that name it is: whose, or for what; else empty.
    pub of: Arc<str>,
}

impl Title {
    /// The only one of its name.
    pub fn new(name: &'static str, actor: &'static str) -> Self {
        Self { name, actor, of: "".into() }
    }

    /// One of several.
    pub fn of(self, of: &str) -> Self {
        Self { of: of.into(), ..self }
    }
}

/// When a controller looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Looks {
    /// Beyond [`NEEDED`], what must have been listed before.
    pub needs: &'static [&'static Kind],
    /// How often it looks at everything again; `None`: at what changed only.
    pub round: Option<Duration>,
}

/// The tasks that run, and what each new one is given.
pub(super) struct Loops<'a> {
    pub servers: &'a Servers<'a>,
    pub mirror: &'a Mirror,
    pub clock: &'a Arc<dyn Clock>,
    /// How many objects a controller works on at once.
    pub parallel: usize,
    pub stopping: watch::Receiver<bool>,
    pub running: Tasks,
}

/// Tasks, and the recorders whose notes some of them send.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    tasks: Vec<Task>,
    recorders: Vec<Recorder>,
}

#[derive(Debug)]
struct Task {
    title: Title,
    health: Health,
    handle: JoinHandle<()>,
}

impl Loops<'_> {
    /// What a controller works with; `component`: whose events it tells, if it
    /// tells any.
    pub fn parts(&mut self, actor: &'static str, component: Option<&'static str>) -> Parts {
        let recorder = match component {
            Some(component) => self.recorder(component, component.into(), actor),
            None => Recorder::silent(),
        };
        self.parts_with(actor, recorder)
    }

    /// The same, telling its events by a recorder that is there.
    pub fn parts_with(&self, actor: &str, recorder: Recorder) -> Parts {
        Parts {
            server: (self.servers)(actor),
            mirror: self.mirror.clone(),
            recorder,
            clock: self.clock.clone(),
            health: Health::default(),
        }
    }

    /// A recorder of events of `component`, and the task, of that name, that
    /// sends them.
    pub fn recorder(&mut self, task: &'static str, component: Arc<str>, actor: &str) -> Recorder {
        let (recorder, notes) = Recorder::new();
        let server = (self.servers)(actor);
        let sending = events::send_events(component, notes, server, self.clock.clone());
        self.service(Title::new(RECORDER, task).of(task), sending.boxed());
        self.running.recorders.push(recorder.clone());
        recorder
    }

    /// Runs a controller as soon as what it needs is seen.
    pub fn controller(
        &mut self,
        title: Title,
        looks: Looks,
        health: &Health,
        reconciler: Arc<dyn Reconciler>,
    ) {
        let settings = LoopSettings { parallel: self.parallel.max(1), resync: looks.round };
        let (mirror, clock, figures) = (self.mirror.clone(), self.clock.clone(), health.clone());
        let work = async move {
            let changes = synced(&mirror, looks.needs).await;
            work_loop::run(reconciler, changes, clock, figures, settings).await;
        };
        self.task(title, health.clone(), work.boxed());
    }

    /// Runs what has nothing to show but that it runs.
    pub fn service(&mut self, title: Title, work: BoxFuture<'static, ()>) {
        let health = Health::default();
        health.change(|figures| figures.state = LoopState::Running);
        self.task(title, health, work);
    }

    /// Spawns a task that ends when the host stops, and says so if it ends
    /// before.
    pub fn task(&mut self, title: Title, health: Health, work: BoxFuture<'static, ()>) {
        let mut stopping = self.stopping.clone();
        let figures = health.clone();
        let handle = tokio::spawn(async move {
            let ended = tokio::select! {
                ended = AssertUnwindSafe(work).catch_unwind() => ended,
                _ = stopping.wait_for(|stop| *stop) => {
                    figures.change(|figures| figures.state = LoopState::Stopped);
                    return;
                }
            };
            let why = match ended {
                Ok(()) => "it ended by itself".to_owned(),
                Err(panic) => format!("it panicked: {}", words(&*panic)),
            };
            tracing::error!("{}: {why}", title.name);
            figures.change(|figures| figures.state = LoopState::Dead { why });
        });
        self.running.tasks.push(Task { title, health, handle });
    }
}

impl Tasks {
    /// How each is doing. What sends a controller's events is listed only when
    /// it does not.
    pub fn status(&self) -> Vec<ControllerStatus> {
        let status = self.tasks.iter().map(|task| ControllerStatus {
            name: task.title.name,
            actor: task.title.actor,
            of: task.title.of.clone(),
            figures: task.health.figures(),
        });
        let sends = |status: &ControllerStatus| {
            status.name == RECORDER && status.figures.state == LoopState::Running
        };
        status.filter(|status| !sends(status)).collect()
    }

    /// Whether none has anything to do now.
    pub fn is_idle(&self) -> bool {
        self.recorders.iter().all(Recorder::is_empty)
            && self.tasks.iter().all(|task| task.health.is_idle())
    }

    /// Waits until all have ended, as they were told to.
    pub async fn ended(&mut self) {
        let handles = std::mem::take(&mut self.tasks).into_iter().map(|task| task.handle);
        for ended in join_all(handles).await {
            if let Err(error) = ended {
                tracing::error!("a controller did not end well: {error}");
            }
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.tasks.iter().for_each(|task| task.handle.abort());
    }
}

/// Waits until the mirror is live for all that is needed, and subscribes.
pub(super) async fn synced(mirror: &Mirror, more: &[&'static Kind]) -> Subscription {
    let mut changes = mirror.subscribe();
    let live = |kind| mirror.freshness_of(kind).is_some_and(|fresh| fresh.is_complete());
    while !NEEDED.iter().chain(more).all(|kind| live(kind)) {
        changes.changed().await;
    }
    // Subscribed anew: what was taken meanwhile counts as changed again.
    mirror.subscribe()
}
