//! One pass: what is to be read, what is to be done, what the board shows.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;

use super::{Found, State, VolumeManager};
use crate::controllers::node_agent::volumes::actual::{
    ActualVolume, Attachability, DeviceState, MountState,
};
use crate::controllers::node_agent::volumes::board::{self, Journey};
use crate::controllers::node_agent::volumes::desired::Processing;
use crate::controllers::node_agent::volumes::job::{End, Failure, Job, MountFor};
use crate::controllers::node_agent::volumes::map::map;
use crate::controllers::node_agent::volumes::mount::mount;
use crate::controllers::node_agent::volumes::operations::{OperationKey, OperationName};
use crate::controllers::node_agent::volumes::reads::{self, PodRead};
use crate::controllers::node_agent::volumes::reconcile::{self, Action, Plan, View};
use crate::controllers::node_agent::volumes::reconstruct;
use crate::controllers::node_agent::volumes::take_away;
use crate::controllers::node_agent::volumes::watched_host::WatchedHost;
use crate::controllers::work_loop::words;
use crate::model::node::Node;
use crate::model::node_board::Stage;
use crate::model::volume_source::VolumeSpec;
use crate::plugins::host::command::Verb;

/// Something that ran beside the loop and has ended.
pub(super) enum Finished {
    Pod { uid: Arc<str>, read: PodRead },
    Node(Result<Node, String>),
    Operation { key: OperationKey, pod: Option<Arc<str>>, end: End },
    Cleaned,
}

type Running = BoxFuture<'static, Finished>;

impl VolumeManager {
    /// Decides and begins. Gives what runs now, and when to look again.
    pub(super) fn pass(self: &Arc<Self>) -> (Vec<Running>, Option<Timestamp>) {
        let now = self.clock().now();
        let (mut begun, mut wakes) = (Vec::new(), Vec::new());
        let mut state = self.lock();
        state.is_dirty = false;
        self.read_pods(&mut state, now, &mut begun, &mut wakes);
        let pods = &state.desired.pods;
        if state.sources_ready && pods.values().all(|pod| pod.processing != Processing::Never) {
            state.all_pods_added = true;
        }
        self.read_node(&mut state, now, &mut begun, &mut wakes);
        let plan = self.decide(&mut state, now);
        wakes.extend(plan.wake);
        for action in plan.actions {
            if let Action::Begin { key, name, pod } = action {
                begun.extend(self.begin(&mut state, key, name, pod));
            }
        }
        if state.may_take_away() {
            begun.extend(self.clean_unknown(&mut state));
        }
        state.in_flight += begun.len();
        self.report(&mut state, now);
        (begun, wakes.into_iter().min())
    }

    /// Begins to read the pods whose volumes are to be read.
    fn read_pods(
        &self,
        state: &mut State,
        now: Timestamp,
        begun: &mut Vec<Running>,
        wakes: &mut Vec<Timestamp>,
    ) {
        for (uid, pod) in &mut state.desired.pods {
            match pod.processing {
                _ if pod.is_reading => continue,
                Processing::Processed => continue,
                Processing::Again { at } if at > now => {
                    wakes.push(at);
                    continue;
                }
                Processing::Again { .. } | Processing::Asked => {
                    // Whoever asks from now on wants it read once more.
                    pod.processing = Processing::Processed;
                }
                Processing::Never => {}
            }
            pod.is_reading = true;
            let (server, plugins) = (self.parts.server.clone(), self.parts.plugins.clone());
            let (uid, pod) = (uid.clone(), pod.pod.clone());
            let read = async move {
                let read = reads::read_pod(&*server, &plugins, &pod).await;
                Finished::Pod { uid, read }
            };
            begun.push(read.boxed());
        }
    }

    /// Begins to read the node's status, if what was found waits for it.
    fn read_node(
        &self,
        state: &mut State,
        now: Timestamp,
        begun: &mut Vec<Running>,
        wakes: &mut Vec<Timestamp>,
    ) {
        let Found::Unresolved { is_reading, retry_at, .. } = &mut state.found else { return };
        if *is_reading {
            return;
        }
        if let Some(at) = retry_at.filter(|at| *at > now) {
            wakes.push(at);
            return;
        }
        *is_reading = true;
        let (server, node) = (self.parts.server.clone(), self.parts.host.node().clone());
        let read = async move { Finished::Node(reads::read_node(&*server, &node).await) };
        begun.push(read.boxed());
    }

    /// Decides until only operations are left to begin.
    fn decide(&self, state: &mut State, now: Timestamp) -> Plan {
        if matches!(state.found, Found::Nothing) {
            return Plan::default();
        }
        loop {
            let plan = reconcile::decide(&View {
                desired: &state.desired,
                actual: &state.actual,
                operations: &state.operations,
                node: &state.node,
                may_take_away: state.may_take_away(),
                now,
            });
            let mut is_over = true;
            for action in &plan.actions {
                match action {
                    Action::Begin { .. } => {}
                    Action::MarkAttached { volume } => {
                        mark_attached(state, volume, String::new(), Attachability::False);
                        is_over = false;
                    }
                    Action::Forget { volume } => {
                        state.actual.volumes.remove(volume);
                        state.operations.forget(volume);
                        is_over = false;
                    }
                }
            }
            if is_over {
                return plan;
            }
        }
    }

    /// Begins one operation.
    fn begin(
        self: &Arc<Self>,
        state: &mut State,
        key: OperationKey,
        name: OperationName,
        pod: Option<Arc<str>>,
    ) -> Option<Running> {
        let unique = key.volume.clone();
        let job = self.job(state, &unique, pod.as_ref(), name)?;
        state.operations.begin(&key, name, pod.clone());
        if let Some(journey) = state.journeys.get_mut(&unique)
            && state.operations.of(&unique).is_some_and(|operation| operation.attempts == 1)
        {
            journey.at = None;
        }
        let run: BoxFuture<'static, End> = match (name, &pod) {
            (OperationName::Verify, _) => self.verify(job).boxed(),
            (OperationName::Mount, Some(pod)) => {
                let target = target(state, &unique, pod)?;
                async move { End::Mounted(Box::new(mount(job, target).await)) }.boxed()
            }
            (OperationName::Map, Some(pod)) => {
                let target = target(state, &unique, pod)?;
                async move { End::Mounted(Box::new(map(job, target).await)) }.boxed()
            }
            (OperationName::Unmount, Some(pod)) => {
                doubt(state, &unique, pod);
                take_away::unmount(job, pod.clone()).map(End::Unmounted).boxed()
            }
            (OperationName::Unmap, Some(pod)) => {
                doubt(state, &unique, pod);
                take_away::unmap(job, pod.clone()).map(End::Unmounted).boxed()
            }
            (OperationName::UnmapDevice, _) => {
                take_away::unmap_device(job).map(End::DeviceUnmounted).boxed()
            }
            (OperationName::UnmountDevice, _) => {
                take_away::unmount_device(job).map(End::DeviceUnmounted).boxed()
            }
            // Each of these has its pod.
            (
                OperationName::Mount
                | OperationName::Map
                | OperationName::Unmount
                | OperationName::Unmap,
                None,
            ) => return None,
        };
        let finished = AssertUnwindSafe(run).catch_unwind().map(move |end| {
            let end = end.unwrap_or_else(|panic| panicked(name, &*panic));
            Finished::Operation { key, pod, end }
        });
        Some(finished.boxed())
    }

    /// What the operation works with; `None` if it has gone meanwhile.
    fn job(
        self: &Arc<Self>,
        state: &State,
        unique: &Arc<str>,
        pod: Option<&Arc<str>>,
        name: OperationName,
    ) -> Option<Job> {
        let wanted = state.desired.volumes.get(unique);
        let there = state.actual.volumes.get(unique);
        let own = pod.and_then(|pod| there?.pods.get(pod));
        let brings = matches!(name, OperationName::Mount | OperationName::Map);
        let spec: &VolumeSpec = if brings {
            &wanted?.pods.get(pod?)?.spec
        } else {
            let there = own.map(|mount| &mount.spec).or(there.map(|there| &there.spec));
            there.or(wanted.map(|wanted| &wanted.spec))?
        };
        let plugin = there.map_or_else(|| wanted.map(|w| w.facts.name), |there| Some(there.plugin));
        let plugin = self.parts.plugins.by_name(plugin?)?.clone();
        // What runs, and is set up again, shows as running.
        let is_shown = !(brings && own.is_some_and(|mount| mount.is_mounted()));
        let (manager, volume) = (self.clone(), unique.clone());
        let reached = move |stage| {
            if is_shown {
                manager.reached(&volume, stage);
            }
        };
        let reached = Arc::new(reached);
        let tell = {
            let reached = reached.clone();
            move |verb| {
                if let Some(stage) = stage_of(verb).filter(|_| brings) {
                    reached(stage);
                }
            }
        };
        let host = WatchedHost { host: self.parts.host.clone(), tell: Box::new(tell) };
        Some(Job {
            node: self.parts.host.node().clone(),
            host: Arc::new(host),
            server: self.parts.server.clone(),
            plugin,
            unique: unique.clone(),
            spec: spec.clone(),
            device: there.map_or(DeviceState::NotMounted, |there| there.device),
            device_path: there.map_or_else(String::new, |there| there.device_path.clone()),
            device_mount_path: there
                .map_or_else(String::new, |there| there.device_mount_path.clone()),
            provided: Default::default(),
            reached: Box::new(move |stage| reached(stage)),
        })
    }

    /// Whether the API server's node has the volume, and as which device.
    async fn verify_now(job: Job) -> Result<String, Failure> {
        let name = &job.spec.name;
        let node = reads::read_node(&*job.server, &job.node).await.map_err(|error| {
            Failure::silent(format!(
                "VerifyControllerAttachedVolume failed fetching node from API server for volume \
                 \"{name}\" : {error}"
            ))
        })?;
        let attached = node.volumes_attached.iter().find(|volume| volume.name == job.unique);
        attached.map(|volume| volume.device_path.to_string()).ok_or_else(|| {
            let text =
                format!("Volume not attached according to node status for volume \"{name}\" ");
            Failure::silent(text)
        })
    }

    fn verify(&self, job: Job) -> impl Future<Output = End> + Send + 'static {
        Self::verify_now(job).map(End::Verified)
    }

    /// Begins to clean away what could not be made out, once.
    fn clean_unknown(&self, state: &mut State) -> Vec<Running> {
        let unknown = std::mem::take(&mut state.unknown);
        let (desired, actual) = (&state.desired, &state.actual);
        let is_used = |uid: &str, name: &str| {
            desired.has_inner(uid, name)
                || desired.is_incomplete(uid)
                || actual.of_pod(uid).any(|unique| *actual.volumes[unique].spec.name == *name)
        };
        let unknown = unknown.into_iter();
        let unwanted = unknown.filter(|found| !is_used(&found.volume.pod_uid, &found.volume.name));
        let cleaning = unwanted.map(|found| {
            let host = self.parts.host.clone();
            let clean = async move {
                if let Err(error) = reconstruct::clean(&*host, &found).await {
                    let (node, path) = (host.node(), &found.path);
                    tracing::warn!(%node, path, %error, "a volume found is not cleaned away");
                }
                Finished::Cleaned
            };
            clean.boxed()
        });
        cleaning.collect()
    }

    /// An operation says how far it is.
    fn reached(&self, volume: &Arc<str>, stage: Stage) {
        let now = self.clock().now();
        let mut state = self.lock();
        if let Some(journey) = state.journeys.get_mut(volume) {
            journey.reached(stage);
        }
        if note_stage(&mut state, volume, now) {
            self.parts.boards.send_modify(|boards| *boards += 1);
        }
    }

    /// Brings the board and the list of volumes in use up to date.
    fn report(&self, state: &mut State, now: Timestamp) {
        let desired = state.desired.volumes.keys().chain(state.actual.volumes.keys());
        let names = desired.chain(&state.node.attached).chain(state.journeys.keys());
        let names: std::collections::BTreeSet<Arc<str>> = names.cloned().collect();
        for name in &names {
            note_stage(state, name, now);
        }
        self.parts.boards.send_modify(|boards| *boards += 1);
        self.changed.send_modify(|changed| *changed += 1);
        if !matches!(state.found, Found::Resolved) {
            return;
        }
        let list = reconcile::in_use(&state.desired, &state.actual);
        if state.in_use.as_ref() == Some(&list) {
            return;
        }
        // What we do not report any more counts as reported no more, whatever
        // the API server still has.
        state.node.accepted.retain(|name| list.binary_search(name).is_ok());
        state.in_use = Some(list);
        self.in_use.send_modify(|in_use| *in_use += 1);
    }
}

/// The stage that a command of a mount belongs to. That of the pod's own mount
/// is told before its commands.
fn stage_of(verb: Verb) -> Option<Stage> {
    match verb {
        Verb::Probe | Verb::Check => Some(Stage::Check),
        Verb::Format => Some(Stage::Format),
        Verb::Mount => Some(Stage::Stage),
        Verb::Unmount
        | Verb::Grow
        | Verb::IsReadOnly
        | Verb::LoopAttach
        | Verb::LoopLock
        | Verb::LoopDetach
        | Verb::LoopResize
        | Verb::LoopFind
        | Verb::Other
        | Verb::ReadFiles
        | Verb::WriteFiles => None,
    }
}

/// What is being taken away may be gone from now on.
fn doubt(state: &mut State, volume: &Arc<str>, pod: &Arc<str>) {
    let volume = state.actual.volumes.get_mut(volume);
    if let Some(mount) = volume.and_then(|volume| volume.pods.get_mut(pod)) {
        mount.state = MountState::Uncertain;
    }
}

pub(super) fn mark_attached(
    state: &mut State,
    volume: &Arc<str>,
    device_path: String,
    attachable: Attachability,
) {
    let Some(wanted) = state.desired.volumes.get(volume) else { return };
    let own = ActualVolume {
        spec: wanted.spec.clone(),
        plugin: wanted.facts.name,
        attachable,
        device: DeviceState::NotMounted,
        device_path: device_path.clone(),
        device_mount_path: String::new(),
        pods: Default::default(),
        is_reconstructed: false,
    };
    let there = state.actual.volumes.entry(volume.clone()).or_insert(own);
    // One that was found after a restart may have been detached meanwhile.
    there.attachable = attachable;
    if !device_path.is_empty() {
        there.device_path = device_path;
    }
}

/// Brings one volume's journey up to date; whether its stage changed.
fn note_stage(state: &mut State, name: &Arc<str>, now: Timestamp) -> bool {
    let stage = board::stage(&state.known(), name, state.journeys.get(name));
    let Some(stage) = stage else { return state.journeys.remove(name).is_some() };
    let wanted = state.desired.volumes.get(name);
    let spec = wanted.map(|volume| &volume.spec);
    let spec = spec.or(state.actual.volumes.get(name).map(|volume| &volume.spec));
    let journey = state.journeys.entry(name.clone()).or_insert_with(|| Journey::new(stage, now));
    if let Some(spec) = spec.filter(|spec| spec.name != journey.spec_name) {
        journey.spec_name = spec.name.clone();
        journey.kind = spec.source.field().into();
    } else if journey.spec_name.is_empty() {
        let inner = name.rsplit('/').next().unwrap_or_default();
        journey.spec_name = inner.into();
    }
    if journey.claim.is_none()
        && let Some(wanted) = wanted
    {
        journey.claim = wanted.pods.values().find_map(|mount| mount.claim.clone());
    }
    journey.enter(stage, now)
}

fn target(state: &State, unique: &Arc<str>, pod: &Arc<str>) -> Option<MountFor> {
    let mount = state.desired.volumes.get(unique)?.pods.get(pod)?;
    let is_with_another_pod = state.actual.is_with_another_pod(unique, pod);
    let is_new = state.actual.mount(unique, pod).is_none();
    Some(MountFor { pod: mount.pod.clone(), is_with_another_pod, is_new })
}

fn panicked(name: OperationName, panic: &(dyn std::any::Any + Send)) -> End {
    let text = format!("{} panicked: {}", name.word(), words(panic));
    let failure = Failure { leaves_doubt: true, ..Failure::silent(text) };
    match name {
        OperationName::Verify => End::Verified(Err(failure)),
        OperationName::Mount | OperationName::Map => {
            use crate::controllers::node_agent::volumes::actual::ErrorClass;
            use crate::controllers::node_agent::volumes::job::MountEnd;
            End::Mounted(Box::new(MountEnd {
                device: Some(Err(ErrorClass::Uncertain)),
                mount: Some(Err(ErrorClass::Uncertain)),
                failure: Some(failure),
                ..MountEnd::default()
            }))
        }
        OperationName::Unmount | OperationName::Unmap => End::Unmounted(Err(failure)),
        OperationName::UnmountDevice | OperationName::UnmapDevice => {
            End::DeviceUnmounted(Err(failure))
        }
    }
}
