//! The shell: takes in changes, decides, performs, tells.

mod attach;
mod csi;
mod detach;
mod populate;
mod take_in;
mod verify;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::cluster::write_path::WriteError;
use crate::controllers::attach_detach::actual::ActualState;
use crate::controllers::attach_detach::because::Because;
use crate::controllers::attach_detach::decide::{self, Step, Verdict, View};
use crate::controllers::attach_detach::desired::DesiredState;
use crate::controllers::attach_detach::multi_attach;
use crate::controllers::attach_detach::operations::{Doing, OperationKey, Operations};
use crate::controllers::attach_detach::resolve;
use crate::controllers::attach_detach::volume::{AttachableVolume, is_shared};
use crate::controllers::attach_detach::writes;
use crate::controllers::events::Note;
use crate::controllers::parts::Parts;
use crate::controllers::work_loop::{Outcome, Pass, Reconciler};
use crate::mirror::Tables;
use crate::model::event::Severity;
use crate::model::kind;
use crate::model::node::Node;
use crate::model::object::{Key, ObjectRef};
use crate::model::row::Row;
use crate::model::write::Write;
use crate::plugins::plugin::Plugins;

/// A pass has at most so many steps that start no operation: more means that
/// two rules disagree, and the loop must not follow them for ever.
const STEPS_MAX: usize = 256;

/// The attach/detach controller. Its loop's objects are nodes.
pub struct AttachDetachController {
    parts: Parts,
    plugins: Plugins,
    state: Mutex<State>,
    /// Held while it is found out what pods want: no node is decided about
    /// before all that is known is taken in.
    populating: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// What was attached before has been taken over.
    recovered: bool,
    desired: DesiredState,
    actual: ActualState,
    operations: Operations,
    /// What was read of PersistentVolumes, by name, with the uid.
    volumes: HashMap<Arc<str>, (Arc<str>, Option<resolve::Named>)>,
    /// The plugins as all pods have been looked at.
    plugins_revision: u64,
    /// Since when each node has something attached that it was not told of.
    untold: HashMap<Arc<str>, Timestamp>,
    /// Which drivers want no attaching.
    unattached_drivers: HashSet<Arc<str>>,
    /// Pods whose volumes are to be found out.
    dirty: BTreeSet<Key>,
    /// What may be left from before the start and is not taken over yet.
    leftovers: BTreeSet<Leftover>,
    /// Of both, those for which something has to be asked first: not looked at
    /// again at each change meanwhile.
    unanswered: (BTreeSet<Key>, BTreeSet<Leftover>),
    /// Nodes on which something was found left behind.
    found_on: BTreeSet<Arc<str>>,
    /// Nodes that are to be verified.
    sweep: HashSet<Arc<str>>,
    verifying: HashSet<Arc<str>>,
    /// VolumeAttachments that an operation waits for.
    awaited: HashMap<Arc<str>, Arc<Notify>>,
}

/// Something that may tell of an attachment that no node's status tells of.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Leftover {
    Attachment(Key),
    /// A PersistentVolume whose plugin can tell where it is.
    Volume(Arc<str>),
}

/// An attach or a detach that has been entered as running.
struct Operation {
    node: Arc<str>,
    unique_name: Arc<str>,
    volume: Option<Arc<AttachableVolume>>,
    key: OperationKey,
    because: Because,
    work: Work,
}

enum Work {
    /// For these pods, by uid.
    Attach(Vec<(Arc<str>, Key)>),
    Detach {
        verify: bool,
    },
}

/// What a decision leaves to be done.
enum Next {
    Rest {
        again_at: Option<Timestamp>,
    },
    /// Write, and when that is done the volume is off the node's list.
    Write {
        write: Box<Write>,
        taken_off: Option<Arc<str>>,
    },
    Tell(Vec<Note>),
    Run(Box<Operation>),
}

impl AttachDetachController {
    pub fn new(parts: Parts, plugins: Plugins) -> Self {
        Self { parts, plugins, state: Mutex::default(), populating: tokio::sync::Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides about a node. An operation that is called for is entered as
    /// running at once, so that no other pass starts one on the same volume.
    fn decide(&self, node: &Arc<str>) -> (Next, Because) {
        let now = self.parts.clock.now();
        let mut state = self.lock();
        let row =
            self.parts.mirror.read(|tables| tables.nodes.get(&Key::cluster(node.clone())).cloned());
        state.note_requests(node, now);
        state.desired.note_wishes(node, now);
        let verdict = decide::decide(&View {
            desired: &state.desired,
            actual: &state.actual,
            operations: &state.operations,
            name: node,
            node: row.as_deref(),
            untold_since: state.untold.get(node).copied(),
            // As upstream unless it is told otherwise.
            force_detach: true,
            now,
        });
        let because = verdict.because.clone();
        (self.next(&mut state, node, row.as_deref(), verdict, now), because)
    }

    fn next(
        &self,
        state: &mut State,
        node: &Arc<str>,
        row: Option<&Node>,
        verdict: Verdict,
        now: Timestamp,
    ) -> Next {
        let Verdict { step, because, again_at } = verdict;
        match (step, row) {
            (Step::TakeOff { volume }, Some(row)) => {
                let mut list = state.actual.report_of(node);
                list.retain(|reported| reported.name != volume);
                let write = Box::new(writes::report(row, &list, &because));
                Next::Write { write, taken_off: Some(volume) }
            }
            (Step::Report, Some(row)) => {
                let list = state.actual.report_of(node);
                Next::Write {
                    write: Box::new(writes::report(row, &list, &because)),
                    taken_off: None,
                }
            }
            // Both are only decided of a node that is there.
            (Step::Rest | Step::TakeOff { .. } | Step::Report, _) => Next::Rest { again_at },
            (Step::RefuseMultiAttach { volume }, _) => {
                state.desired.tell_multi_attach(node, &volume);
                let refusals = multi_attach::refusals(&state.desired, &state.actual, &volume, node);
                let notes = refusals.into_iter().map(|(uid, pod, message)| {
                    self.note(uid, pod, Severity::Warning, multi_attach::FAILED_ATTACH, message)
                });
                Next::Tell(notes.collect())
            }
            (Step::Attach { volume }, _) => {
                let Some(wanted) = state.desired.get(node, &volume) else {
                    return Next::Rest { again_at };
                };
                let pods = wanted.pods.iter().map(|(uid, key)| (uid.clone(), key.clone()));
                let (pods, known) = (pods.collect(), wanted.volume.clone());
                Next::Run(state.enter(node, volume, Some(known), because, Work::Attach(pods), now))
            }
            (Step::Detach { volume, verify }, _) => {
                let known = state.actual.volume(&volume).cloned();
                Next::Run(state.enter(node, volume, known, because, Work::Detach { verify }, now))
            }
        }
    }

    /// Something to tell about a pod, as it was when it was last seen.
    fn note(
        &self,
        uid: Arc<str>,
        pod: Key,
        severity: Severity,
        reason: &'static str,
        message: String,
    ) -> Note {
        let version = |tables: &Tables| tables.pods.get(&pod).map_or(0, |row| row.meta.version);
        let version = self.parts.mirror.read(version);
        let regarding = ObjectRef::new(kind::POD, pod);
        Note { regarding, uid, version, severity, reason, message, host: "".into() }
    }

    /// One pass over a node: what pods want is found out, then decided and
    /// performed until nothing is left to do, or an operation starts.
    async fn pass(self: Arc<Self>, object: ObjectRef) -> Pass {
        let node = object.key.name.clone();
        if let Err(error) = self.populate(&node).await {
            return Pass::new(Outcome::Failed(error));
        }
        let found_on = std::mem::take(&mut self.lock().found_on);
        if !found_on.is_empty() {
            // They may have nothing else that has them looked at.
            let enqueue = found_on.iter().chain([&node]).map(node_ref).collect();
            return Pass { enqueue, ..Pass::done() };
        }
        if let Some(verification) = self.begin_verification(&node) {
            return Pass { operation: Some(verification), enqueue: vec![object], ..Pass::done() };
        }
        // The gate gave its permit: what is decided now is to be done at once.
        let mut permitted = false;
        for _ in 0..STEPS_MAX {
            let (next, because) = self.decide(&node);
            if permitted && !matches!(next, Next::Write { .. }) {
                self.parts.server.nothing_to_do(&object, &because.to_string());
                permitted = false;
            }
            match next {
                Next::Rest { again_at } => {
                    self.forget_if_gone(&node);
                    let after = again_at.map(|at| at.duration_since(self.parts.clock.now()));
                    // A time that has come is due now.
                    let after = after.map(|after| after.try_into().unwrap_or_default());
                    return Pass { again_after: after, ..Pass::done() };
                }
                Next::Tell(notes) => {
                    notes.into_iter().for_each(|note| self.parts.recorder.tell(note))
                }
                Next::Run(operation) => {
                    let operation = self.clone().run(*operation);
                    return Pass {
                        operation: Some(operation),
                        enqueue: vec![object],
                        ..Pass::done()
                    };
                }
                Next::Write { write, taken_off } => match self.perform(&write).await {
                    Ok(row) => {
                        permitted = false;
                        self.told(&node, taken_off.as_ref());
                        if let Ok(row) = Node::from_object(&row) {
                            self.parts.mirror.observe(row);
                        }
                    }
                    Err(WriteError::DecideAgain { .. }) => permitted = true,
                    Err(WriteError::Conflict { .. } | WriteError::NotFound { .. }) => {
                        return Pass::new(Outcome::Outdated);
                    }
                    Err(error) => return Pass::new(Outcome::Failed(error.to_string())),
                },
            }
        }
        Pass::new(Outcome::Failed(format!("not settled after {STEPS_MAX} steps")))
    }

    /// The node has been told what it has; this volume is off its list.
    fn told(&self, node: &Arc<str>, taken_off: Option<&Arc<str>>) {
        let mut state = self.lock();
        state.untold.remove(node);
        if let Some(volume) = taken_off {
            state.actual.report(volume, node, false);
        }
    }

    async fn perform(&self, write: &Write) -> Result<serde_json::Value, WriteError> {
        let answer = self.parts.server.perform(write).await?;
        self.parts.health.wrote();
        Ok(answer)
    }

    /// Nothing is kept of a node that is gone and has nothing.
    fn forget_if_gone(&self, node: &str) {
        let mut state = self.lock();
        let here = |tables: &Tables| tables.nodes.get(&Key::cluster(node)).is_some();
        if !self.parts.mirror.read(here) && state.desired.unmanage(node) {
            state.actual.forget_node(node);
            state.untold.remove(node);
            state.sweep.remove(node);
        }
    }

    /// Carries out an operation; gives the nodes that its end concerns.
    fn run(self: Arc<Self>, operation: Operation) -> BoxFuture<'static, Vec<ObjectRef>> {
        // Also when it panics or is dropped it must not stay running.
        let mut running = Running { controller: self, operation, ended: false };
        Box::pin(async move {
            let (controller, operation) = (running.controller.clone(), &running.operation);
            match &operation.work {
                Work::Attach(pods) => controller.attach(operation, pods).await,
                Work::Detach { verify } => controller.detach(operation, *verify).await,
            }
            running.ended = true;
            controller.concerned(&running.operation)
        })
    }

    /// Ends an operation that has changed the actual state.
    fn end(&self, state: &mut State, operation: &Operation, error: Option<&str>) {
        let now = self.parts.clock.now();
        state.operations.finish(&operation.key, error, now);
        if let Some(error) = error {
            tracing::warn!("{} on {}: {error}", operation.unique_name, operation.node);
            let object = format!("{} on {}", operation.unique_name, operation.node);
            self.parts.health.failed(now, object, error.to_owned());
        }
    }

    /// The nodes that have or want what an operation was about.
    fn concerned(&self, operation: &Operation) -> Vec<ObjectRef> {
        let state = self.lock();
        let mut nodes: BTreeSet<&Arc<str>> =
            state.desired.nodes_wanting(&operation.unique_name).collect();
        nodes.extend(state.actual.nodes_of(&operation.unique_name).map(|(node, _)| node));
        nodes.insert(&operation.node);
        nodes.into_iter().map(node_ref).collect()
    }
}

fn node_ref(node: &Arc<str>) -> ObjectRef {
    ObjectRef::new(kind::NODE, Key::cluster(node.clone()))
}

impl State {
    /// Since when each volume on a node is not wanted there.
    fn note_requests(&mut self, node: &str, now: Timestamp) {
        let pairs: Vec<(Arc<str>, bool)> =
            self.actual.on(node).map(|(name, pair)| (name.clone(), pair.confirmed)).collect();
        for (name, confirmed) in pairs {
            let wanted = self.desired.get(node, &name).is_some();
            if !wanted {
                self.actual.request_detach(&name, node, now);
            } else if confirmed {
                self.actual.withdraw_detach(&name, node);
            }
        }
    }

    /// Enters an operation as running.
    fn enter(
        &mut self,
        node: &Arc<str>,
        unique_name: Arc<str>,
        volume: Option<Arc<AttachableVolume>>,
        because: Because,
        work: Work,
        now: Timestamp,
    ) -> Box<Operation> {
        let key = OperationKey::new(&unique_name, node, is_shared(volume.as_deref()));
        let doing = match work {
            Work::Attach(_) => Doing::Attach,
            Work::Detach { .. } => Doing::Detach,
        };
        self.operations.start(&key, node, doing, now);
        let node = node.clone();
        Box::new(Operation { node, unique_name, volume, key, because, work })
    }
}

/// Sees to it that an operation's record ends with it.
struct Running {
    controller: Arc<AttachDetachController>,
    operation: Operation,
    ended: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let Operation { node, unique_name, volume, .. } = &self.operation;
        let mut state = self.controller.lock();
        state.actual.mark_uncertain(unique_name, volume.as_ref(), node);
        self.controller.end(&mut state, &self.operation, Some("it was cut off"));
    }
}

impl Reconciler for AttachDetachController {
    fn take_in(&self, changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        self.take_in_changes(changed)
    }

    fn everything(&self) -> Vec<ObjectRef> {
        self.begin_sweep()
    }

    fn reconcile(self: Arc<Self>, object: ObjectRef) -> BoxFuture<'static, Pass> {
        Box::pin(self.pass(object))
    }
}
