//! The worker of one pod: looks, decides, does one step, and looks again.
//!
//! ```text
//! refresh -> decide -> step: status | mount | start | stop | let go | delete -> refresh ...
//! ```
//!
//! A worker keeps the object it last saw and how far it knows the volumes to
//! be; both are found again by one that begins anew. Dropping it ends it
//! between any two steps, held writes included.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, pending};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::decide::{Because, DEADLINE_EXCEEDED, Step, View, Volumes, decide, wants_volumes};
use super::mounts::{Around, ContainerMount, MountFault, docker_line, plan};
use super::runtime::{ContainerOrder, ContainerSeen, PodSeen, Runtime};
use super::shell::Program;
use super::spec::{ContainerSpec, PodObject};
use super::status::{Failure, StartFault};
use super::{addresses, directory, sub_path};
use crate::cluster::write_path::WriteError;
use crate::controllers::events::{Note, Recorder};
use crate::controllers::node_agent::turns::Turns;
use crate::controllers::node_agent::volumes::{NodeVolumes, NotMounted};
use crate::controllers::server::Server;
use crate::mirror::Mirror;
use crate::model::clock::{Clock, TimerUse};
use crate::model::event::Severity;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::pod::Pod;
use crate::model::row::Row;
use crate::model::write::{Change, Reason, Write};
use crate::plugins::host::{Files, Host, HostError, OnBehalf};

/// A pod whose step failed is looked at again after this (upstream: the pod
/// workers' back-off).
const RETRY: Duration = Duration::from_secs(10);
/// The server did not answer, or someone else was faster.
const RETRY_API: Duration = Duration::from_secs(1);

/// Why a pod is rejected whose volume has no room on the node.
const LIMIT_REACHED: &str = "VolumeAttachmentLimitExceeded";

/// What the workers of a node share.
pub struct Shared {
    pub node: Arc<str>,
    pub host_address: String,
    pub host: Arc<dyn Host>,
    pub runtime: Arc<Runtime>,
    pub volumes: Arc<dyn NodeVolumes>,
    pub server: Arc<dyn Server>,
    pub mirror: Mirror,
    pub recorder: Recorder,
    pub clock: Arc<dyn Clock>,
    /// When changes of the node's status are told.
    pub reports: Turns,
    /// When the runtime is looked at.
    pub relists: Turns,
    /// Workers that are in the middle of a step.
    pub busy: AtomicUsize,
}

impl Shared {
    /// Waits until the runtime is looked at again (upstream: the pod lifecycle
    /// event generator).
    pub fn relist(&self) -> BoxFuture<'static, ()> {
        self.clock.sleep(self.relists.until_next(self.clock.now()), TimerUse::Work)
    }
}

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

/// Counts a worker as busy as long as it is there.
struct Busy<'a>(&'a AtomicUsize);

impl<'a> Busy<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
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

    /// Tells the volumes whether they are wanted before any step is done.
    pub fn announce(&mut self) {
        let seen = self.shared.runtime.seen(&self.uid);
        let wanted = wants_volumes(self.view(&seen));
        // What a pod's volumes are never changes.
        if let Some(pod) = self.pod.as_ref().filter(|_| wanted && !self.announced) {
            self.shared.volumes.want(&pod.value);
        }
        self.announced = wanted;
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

    /// Reads the object again if the mirror knows of a newer one.
    async fn refresh(&mut self) -> Result<(), String> {
        let held = self.shared.mirror.read(|tables| {
            tables.pods.get(&self.key).map(|row| (row.meta.uid.clone(), row.meta.version))
        });
        let known = self.pod.as_ref().map(|pod| pod.version);
        match held {
            Some((uid, version)) if uid == self.uid => {
                let is_newer = known.is_none_or(|known| known < version);
                if is_newer {
                    self.read().await?;
                }
            }
            // Gone, or in its name's place another.
            _ if self.pod.is_some() => self.read().await?,
            _ => {}
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<(), String> {
        let object = ObjectRef::new(kind::POD, self.key.clone());
        let found = self.shared.server.get(&object).await.map_err(|error| error.to_string())?;
        let pod = found.and_then(PodObject::read).filter(|pod| pod.uid == self.uid);
        self.set(pod);
        Ok(())
    }

    fn set(&mut self, pod: Option<PodObject>) {
        self.pod = pod;
        self.announce();
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

    async fn write_status(&mut self, patch: Value, because: Because) -> Option<Duration> {
        let Some(pod) = &self.pod else { return None };
        if because == Because::TooLong {
            self.tell(Severity::Normal, DEADLINE_EXCEEDED.reason, &DEADLINE_EXCEEDED.message);
        }
        let write = Write {
            object: pod.reference(),
            subresource: Some("status"),
            change: Change::Merge(json!({"status": patch})),
            version: Some(pod.version),
            on_behalf_of: pod.reference(),
            reason: Reason::new("kubelet", format!("{because} (on {})", self.shared.node)),
        };
        let pause = self.write(&write).await;
        // Not if it is still to be written: its permit must not wait.
        let is_told = |step| !matches!(step, Step::WriteStatus { because, .. } if because == Because::ContainersEnded);
        self.is_unlisted |= because == Because::ContainersEnded && is_told(self.next_step().0);
        pause
    }

    async fn delete(&mut self) -> Option<Duration> {
        let Some(pod) = &self.pod else { return None };
        let options = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": &*pod.uid}});
        let text = "its containers have ended and its volumes are unmounted: it may go for good";
        let write = Write {
            object: pod.reference(),
            subresource: None,
            change: Change::Delete(options),
            version: None,
            on_behalf_of: pod.reference(),
            reason: Reason::new("kubelet", format!("{text} (on {})", self.shared.node)),
        };
        let pause = self.write(&write).await;
        if pause.is_none()
            && let Err(error) = self.read().await
        {
            tracing::warn!(pod = %self.key, error, "a deleted pod could not be looked for");
        }
        pause
    }

    /// Performs a write and takes in what the server answers. A conflict, or a
    /// write that was held, is decided afresh at once.
    async fn write(&mut self, write: &Write) -> Option<Duration> {
        match self.shared.server.perform(write).await {
            Ok(answer) => {
                if let Ok(row) = Pod::from_object(&answer) {
                    self.shared.mirror.observe(row);
                }
                if let Some(pod) = PodObject::read(answer).filter(|pod| pod.uid == self.uid) {
                    self.set(Some(pod));
                }
                None
            }
            Err(WriteError::DecideAgain { .. }) => {
                self.read_again(write).await;
                None
            }
            Err(WriteError::NotFound { .. } | WriteError::Conflict { .. }) => {
                match self.read().await {
                    Ok(()) => None,
                    Err(_) => Some(RETRY_API),
                }
            }
            Err(error) => {
                tracing::warn!(pod = %self.key, "{error}");
                Some(RETRY_API)
            }
        }
    }

    /// Looks anew before a permitted write is decided again, and says so if it
    /// is no longer called for.
    async fn read_again(&mut self, write: &Write) {
        if let Err(error) = self.read().await {
            tracing::warn!(pod = %self.key, error, "a pod could not be read");
        }
        let (step, _) = self.next_step();
        if !matches!(step, Step::WriteStatus { .. } | Step::Delete) {
            self.shared.server.nothing_to_do(&write.on_behalf_of, "the pod has changed meanwhile");
        }
    }

    /// Has the volumes mounted; ends early if the pod is no longer to run.
    async fn mount(&mut self) -> Option<Duration> {
        let shared = self.shared.clone();
        let uid = self.uid.clone();
        if let Some(pod) = &self.pod
            && let Err(error) = directory::make(&*shared.host, pod, None).await
        {
            return self.failed("the pod's directory could not be made", &error);
        }
        self.announce();
        let deadline = self.pod.as_ref().and_then(PodObject::deadline);
        let mut late = self.time(deadline);
        let mut waiting = shared.volumes.wait_mounted(&uid);
        let mounted = loop {
            tokio::select! {
                mounted = &mut waiting => break mounted,
                () = self.bell.notified() => {}
                () = &mut late => return None,
            }
            let refreshed = self.refresh().await;
            if refreshed.is_ok() && self.next_step().0 != Step::Mount {
                return None;
            }
        };
        match mounted {
            Ok(_) => {
                self.volumes = Volumes::Mounted;
                None
            }
            Err(NotMounted::Failed(why)) => {
                let message = format!("Unable to attach or mount volumes: {why}");
                self.tell(Severity::Warning, "FailedMount", &message);
                Some(RETRY)
            }
            Err(NotMounted::LimitReached(why)) => {
                let why =
                    format!("Node has reached its volume attachment limit, rejecting pod. {why}");
                self.tell(Severity::Warning, LIMIT_REACHED, &why);
                let message = format!("Pod was rejected: {why}").into();
                self.rejected = Some(Failure { reason: LIMIT_REACHED, message });
                None
            }
            Err(NotMounted::TimedOut(why)) => {
                tracing::info!(node = %shared.node, pod = %self.key, why, "volumes not mounted yet");
                Some(RETRY)
            }
        }
    }

    async fn start(
        &mut self,
        container: &str,
        attempt: u32,
        seen: &PodSeen,
    ) -> Result<Option<Duration>, HostError> {
        let shared = self.shared.clone();
        let Some(pod) = self.pod.clone() else { return Ok(None) };
        let Some(spec) = pod.all_containers().find(|spec| &*spec.name == container) else {
            return Ok(None);
        };
        shared.runtime.make_sandbox(&pod.uid, pod.on_host_network).await?;
        let address = shared.runtime.seen(&pod.uid).address;
        directory::make(&*shared.host, &pod, address.as_deref()).await?;
        if let Some(last) = seen.container(container).filter(|last| !last.runs())
            && attempt > 1
        {
            self.tell_back_off(last, &pod);
        }
        let image = &spec.image;
        let present = format!(
            "Container image \"{image}\" already present on machine and can be accessed by the pod"
        );
        self.tell(Severity::Normal, "Pulled", &present);
        let order = match self.order(&pod, spec, attempt).await {
            Ok(order) => order,
            Err(message) => {
                self.tell(Severity::Warning, "Failed", &format!("Error: {message}"));
                let now = shared.clock.now();
                let retry = now.checked_add(SignedDuration::try_from(RETRY).unwrap_or_default());
                self.fault = Some(StartFault {
                    container: container.to_owned(),
                    reason: "CreateContainerConfigError",
                    message,
                    retry: retry.unwrap_or(now),
                });
                // The status first; then it is tried again.
                return Ok(None);
            }
        };
        self.fault = None;
        shared.runtime.start(order).await?;
        self.is_unlisted = true;
        self.tell(Severity::Normal, "Created", "Container created");
        self.tell(Severity::Normal, "Started", "Container started");
        Ok(None)
    }

    /// What to tell the runtime; the error is for the pod's status.
    async fn order(
        &self,
        pod: &PodObject,
        spec: &ContainerSpec,
        attempt: u32,
    ) -> Result<ContainerOrder, String> {
        let shared = &self.shared;
        let layout = shared.host.layout();
        let id = addresses::container_id(&pod.uid, &spec.name, attempt);
        let termination_log = layout.termination_log(&pod.uid, &spec.name, &id[..8]);
        let mounted = shared.volumes.mounted(&pod.uid);
        let around = Around {
            pod_uid: &pod.uid,
            layout,
            mounted: &mounted,
            termination_log: &termination_log,
            has_hosts_file: true,
        };
        let planned = plan(&spec.value, around).map_err(|fault: MountFault| fault.to_string())?;
        for sub in planned.mounts.iter().filter_map(|planned| planned.sub_path.as_ref()) {
            let volume = mounted.iter().find(|m| m.outer_name == sub.outer_name);
            let on_behalf = OnBehalf {
                volume: volume.map(|m| m.unique_name.clone()).unwrap_or_default(),
                pod: Some(pod.uid.clone()),
            };
            let prepared = sub_path::prepare(&shared.host, &on_behalf, &spec.name, sub).await;
            prepared.map_err(|fault| fault.to_string())?;
        }
        let mounts: Vec<ContainerMount> = planned.mounts.into_iter().map(|p| p.mount).collect();
        let docker_line = docker_line(&spec.value, &mounts, &planned.devices);
        Ok(ContainerOrder {
            pod_uid: pod.uid.clone(),
            pod: pod.key.clone(),
            name: spec.name.clone(),
            attempt,
            image: spec.image.clone(),
            program: Program::of(&spec.command, &spec.args),
            environment: pod.environment(spec),
            mounts: mounts.into(),
            devices: planned.devices.into(),
            termination_log,
            message_from_log: spec.value["terminationMessagePolicy"] == "FallbackToLogsOnError",
            docker_line,
        })
    }

    /// Ends the containers; a shorter time that is asked for meanwhile counts.
    async fn stop(&mut self, grace: Duration, seen: &PodSeen) -> Option<Duration> {
        for container in seen.containers.iter().filter(|container| container.runs()) {
            let message = format!("Stopping container {}", container.name);
            self.tell(Severity::Normal, "Killing", &message);
        }
        let shared = self.shared.clone();
        let uid = self.uid.clone();
        let mut stopping = Box::pin(shared.runtime.stop(&uid, grace));
        loop {
            tokio::select! {
                stopped = &mut stopping => {
                    self.is_unlisted = true;
                    return stopped.err().and_then(|error| {
                        self.failed("containers could not be stopped", &error)
                    });
                }
                () = self.bell.notified() => {}
            }
            if self.refresh().await.is_err() {
                continue;
            }
            match self.next_step().0 {
                Step::Stop { grace: asked } if asked < grace => return None,
                _ => {}
            }
        }
    }

    async fn let_go(&mut self) -> Option<Duration> {
        let shared = self.shared.clone();
        shared.volumes.let_go(&self.uid);
        if std::mem::take(&mut self.is_unlisted) {
            shared.relist().await;
        }
        match shared.volumes.wait_unmounted(&self.uid).await {
            Ok(()) => {
                self.volumes = Volumes::Unmounted;
                None
            }
            Err(why) => {
                tracing::info!(node = %shared.node, pod = %self.key, why, "still mounted");
                Some(RETRY)
            }
        }
    }

    async fn forget(&self) -> Result<(), HostError> {
        self.shared.runtime.remove(&self.uid).await?;
        directory::remove(&*self.shared.host, &self.uid).await
    }

    fn tell_back_off(&self, last: &ContainerSeen, pod: &PodObject) {
        let message = format!(
            "Back-off restarting failed container {} in pod {}_{}({})",
            last.name, pod.key.name, pod.key.namespace, pod.uid
        );
        self.tell(Severity::Warning, "BackOff", &message);
    }

    fn tell(&self, severity: Severity, reason: &'static str, message: &str) {
        if self.key.name.is_empty() {
            // What is left of a pod whose name nobody knows any more.
            return;
        }
        self.shared.recorder.tell(Note {
            regarding: ObjectRef::new(kind::POD, self.key.clone()),
            uid: self.uid.clone(),
            version: self.pod.as_ref().map_or(0, |pod| pod.version),
            severity,
            reason,
            message: message.to_owned(),
            host: self.shared.node.clone(),
        });
    }
}
