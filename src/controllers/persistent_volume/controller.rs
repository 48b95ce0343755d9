//! The shell: takes in changes, decides, performs, tells.

mod delete;
mod provision;
mod recycle;
mod take_in;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::cluster::write_path::WriteError;
use crate::controllers::events::Note;
use crate::controllers::holds::{Hold, HoldTable};
use crate::controllers::parts::Parts;
use crate::controllers::persistent_volume::because::Because;
use crate::controllers::persistent_volume::cache::Cache;
use crate::controllers::persistent_volume::claim::decide_claim;
use crate::controllers::persistent_volume::latency::Latency;
use crate::controllers::persistent_volume::operations::Operations;
use crate::controllers::persistent_volume::verdict::{Live, Operation, Step, Verdict, View, Wake};
use crate::controllers::persistent_volume::volume::decide_volume;
use crate::controllers::persistent_volume::waiting::Waiting;
use crate::controllers::work_loop::{Outcome, Pass, Reconciler};
use crate::model::claim::Claim;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::row::Row;
use crate::model::volume::Volume;
use crate::model::write::Write;
use crate::plugins::plugin::{PluginFacts, VolumePlugin};

/// A pass has at most so many steps: more means that two rules disagree, and
/// the loop must not follow them for ever.
const STEPS_MAX: usize = 24;

/// How often all claims and volumes are looked at again (upstream:
/// `--pvclaimbinder-sync-period`).
pub const RESYNC: Duration = Duration::from_secs(15);

/// The plugins that the controller has, and whether it provisions.
pub struct Provisioning {
    /// Those that can do something; all others are known by their facts.
    pub plugins: Vec<Arc<dyn VolumePlugin>>,
    /// What is known of every plugin.
    pub facts: Vec<PluginFacts>,
    /// Whether claims are provisioned at all.
    pub dynamic: bool,
}

/// The controller of persistent volumes and claims.
pub struct PersistentVolumeController {
    parts: Parts,
    provisioning: Provisioning,
    state: Mutex<State>,
    holds: HoldTable,
    operations: Operations,
}

#[derive(Default)]
struct State {
    cache: Cache,
    latency: Latency,
    waiting: Waiting,
    /// Recycler pods whose end an operation waits for.
    awaited_pods: HashMap<Key, mpsc::UnboundedSender<PodNews>>,
}

/// What an operation hears about its recycler pod.
enum PodNews {
    Changed,
    Event(Key),
}

impl PersistentVolumeController {
    pub fn new(parts: Parts, provisioning: Provisioning) -> Self {
        Self {
            parts,
            provisioning,
            state: Mutex::default(),
            holds: HoldTable::default(),
            operations: Operations::default(),
        }
    }

    /// Since when claims are being provisioned and volumes deleted.
    pub fn latency(&self) -> Latency {
        self.lock().latency.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rule that an object's next decision follows.
    #[cfg(test)]
    pub(crate) fn rule_now(&self, object: &ObjectRef) -> Option<&'static str> {
        let verdict = self.decide(object, &Live::default(), &mut None);
        verdict.ok().map(|verdict| verdict.because.rule())
    }

    /// Decides what to do next about an object, and holds the volume that the
    /// decision wants to write for a claim, so that no other bind takes it.
    fn decide(
        &self,
        object: &ObjectRef,
        live: &Live,
        reserved: &mut Option<Hold>,
    ) -> Result<Verdict, ObjectRef> {
        let mut state = self.lock();
        let verdict = self.holds.read(|holds| {
            let view = View {
                cache: &state.cache,
                plugins: &self.provisioning.facts,
                holds,
                live,
                dynamic_provisioning: self.provisioning.dynamic,
            };
            if object.kind == kind::PERSISTENT_VOLUME_CLAIM {
                decide_claim(&view, &object.key)
            } else {
                decide_volume(&view, &object.key.name)
            }
        });
        self.time(&mut state.latency, object, &verdict);
        note_waiting(&mut state, object, &verdict);
        drop(state);
        if let Step::Write(write) = &verdict.step
            && write.object != *object
            && reserved.as_ref().is_none_or(|hold| *hold.object() != write.object)
        {
            *reserved = None;
            let hold = self.holds.try_hold(&write.object, object);
            *reserved = Some(hold.ok_or_else(|| write.object.clone())?);
        }
        Ok(verdict)
    }

    fn time(&self, latency: &mut Latency, object: &ObjectRef, verdict: &Verdict) {
        let now = || self.parts.clock.now();
        match &verdict.because {
            Because::External { .. } | Because::Provision { .. } => {
                latency.provisioning_requested(&object.key, now());
            }
            Because::Bound { .. } if verdict.step == Step::Rest => {
                latency.provisioning_over(&object.key);
            }
            Because::DeletedByOthers | Because::Delete { .. } => {
                latency.deletion_requested(&object.key.name, now());
            }
            _ => {}
        }
    }

    /// One pass: decide and perform until nothing is left to do.
    async fn pass(self: Arc<Self>, object: ObjectRef) -> Pass {
        let mut live = Live::default();
        let mut reserved = None;
        // The gate gave its permit: what is decided now is to be done at once.
        let mut permitted = false;
        for _ in 0..STEPS_MAX {
            let verdict = match self.decide(&object, &live, &mut reserved) {
                Ok(verdict) => verdict,
                Err(held) => return Pass::new(Outcome::Blocked(held)),
            };
            let (write, last) = match verdict.step {
                Step::Write(write) => (write, false),
                Step::LastWrite(write) => (write, true),
                other => {
                    // Having to read first is no decision yet.
                    if permitted && !matches!(other, Step::Get(_)) {
                        let why = verdict.because.to_string();
                        self.parts.server.nothing_to_do(&object, &why);
                        permitted = false;
                    }
                    self.tell(verdict.events);
                    match self.without_write(other, &mut live).await {
                        Some(pass) => return pass,
                        None => continue,
                    }
                }
            };
            match self.perform(&write).await {
                Ok(()) => {
                    permitted = false;
                    self.tell(verdict.events);
                    if last {
                        return Pass::done();
                    }
                }
                Err(WriteError::DecideAgain { .. }) => {
                    permitted = true;
                    // What was read before the wait may have changed since.
                    live = Live::default();
                }
                Err(WriteError::Conflict { .. }) => return Pass::new(Outcome::Outdated),
                Err(error) => {
                    if let Some(mut note) = verdict.if_refused {
                        note.message.push_str(&error.words());
                        self.parts.recorder.tell(*note);
                    }
                    return Pass::new(Outcome::Failed(error.to_string()));
                }
            }
        }
        Pass::new(Outcome::Failed(format!("not settled after {STEPS_MAX} steps")))
    }

    /// A step that writes nothing; `None` if the pass goes on.
    async fn without_write(self: &Arc<Self>, step: Step, live: &mut Live) -> Option<Pass> {
        let mut pass = Pass::done();
        match step {
            Step::Rest | Step::Write(_) | Step::LastWrite(_) => {}
            Step::Get(wanted) => match self.read(&wanted, live).await {
                Ok(()) => return None,
                Err(error) => pass.outcome = Outcome::Failed(error),
            },
            Step::Enqueue(claim) => {
                pass.enqueue.push(ObjectRef::new(kind::PERSISTENT_VOLUME_CLAIM, claim));
            }
            Step::Run(operation) => pass.operation = self.start(operation),
            Step::Refuse(error) => pass.outcome = Outcome::Failed(error),
        }
        Some(pass)
    }

    async fn read(&self, wanted: &ObjectRef, live: &mut Live) -> Result<(), String> {
        let object = self.parts.server.get(wanted).await.map_err(|error| error.to_string())?;
        let malformed = |error: crate::model::row::Malformed| error.to_string();
        if wanted.kind == kind::PERSISTENT_VOLUME_CLAIM {
            let row = object.map(|object| Claim::from_object(&object)).transpose();
            live.claims.insert(wanted.key.clone(), row.map_err(malformed)?.map(Arc::new));
        } else {
            let row = object.map(|object| Volume::from_object(&object)).transpose();
            live.volumes.insert(wanted.key.name.clone(), row.map_err(malformed)?.map(Arc::new));
        }
        Ok(())
    }

    /// Performs a write and takes in its answer.
    async fn perform(&self, write: &Write) -> Result<(), WriteError> {
        let answer = self.parts.server.perform(write).await?;
        self.parts.health.wrote();
        self.learn(write, &answer);
        Ok(())
    }

    fn learn(&self, write: &Write, answer: &Value) {
        let mut state = self.lock();
        if write.object.kind == kind::PERSISTENT_VOLUME {
            if let Ok(row) = Volume::from_object(answer) {
                state.cache.learn_volume(row);
            }
        } else if write.object.kind == kind::PERSISTENT_VOLUME_CLAIM
            && let Ok(row) = Claim::from_object(answer)
        {
            // The class that a claim got is not taken in: the watch brings it
            // and starts the next pass.
            state.cache.learn_claim(row);
        }
    }

    fn tell(&self, notes: Vec<Note>) {
        notes.into_iter().for_each(|note| self.parts.recorder.tell(note));
    }

    /// Starts an operation unless it runs or has to wait.
    fn start(self: &Arc<Self>, operation: Operation) -> Option<BoxFuture<'static, Vec<ObjectRef>>> {
        let name = operation.name();
        if !self.operations.start(&name, self.parts.clock.now()) {
            return None;
        }
        // Also when it panics or is dropped the operation must not stay running.
        let running = Running { controller: self.clone(), name, succeeded: false };
        Some(Box::pin(async move {
            // The whole guard moves in here, not only the fields used below.
            let mut running = running;
            let controller = running.controller.clone();
            let done = match operation {
                Operation::Provision { claim, uid, class, plugin } => {
                    controller.provision(&claim, &uid, &class, plugin).await
                }
                Operation::Delete { volume, uid, plugin } => {
                    controller.delete(&volume, &uid, plugin).await
                }
                Operation::Recycle { volume, uid } => controller.recycle(&volume, &uid).await,
            };
            if let Err(error) = &done {
                tracing::warn!("{}: {error}", running.name);
                let now = controller.parts.clock.now();
                controller.parts.health.failed(now, running.name.clone(), error.clone());
            }
            running.succeeded = done.is_ok();
            Vec::new()
        }))
    }

    fn plugin(&self, name: &str) -> Option<&Arc<dyn VolumePlugin>> {
        self.provisioning.plugins.iter().find(|plugin| plugin.facts().name == name)
    }

    /// The volume as it is now, if it is still the one of this uid.
    async fn live_volume(&self, object: &ObjectRef, uid: &str) -> Option<(Value, Volume)> {
        let value = self.parts.server.get(object).await.ok()??;
        let volume = Volume::from_object(&value).ok()?;
        (*volume.meta.uid == *uid).then_some((value, volume))
    }

    /// Reads a volume, decides and writes until the decision is to rest. For
    /// operations, which work on what the server has, not on the cache.
    async fn settle_volume(
        &self,
        object: &ObjectRef,
        uid: &str,
        decide: &(dyn Fn(&Volume) -> Verdict + Sync),
    ) -> Result<(), String> {
        let mut permitted = false;
        for _ in 0..STEPS_MAX {
            let verdict = match self.live_volume(object, uid).await {
                Some((_, volume)) => decide(&volume),
                None => Verdict::rest(Because::Gone, Wake::Change),
            };
            let Step::Write(write) = verdict.step else {
                if permitted {
                    self.parts.server.nothing_to_do(object, &verdict.because.to_string());
                }
                return Ok(());
            };
            match self.perform(&write).await {
                Ok(()) => {
                    permitted = false;
                    self.tell(verdict.events);
                }
                Err(WriteError::DecideAgain { .. }) => permitted = true,
                Err(WriteError::Conflict { .. }) => {}
                Err(error) => return Err(error.words()),
            }
        }
        Err(format!("not settled after {STEPS_MAX} steps"))
    }
}

impl Reconciler for PersistentVolumeController {
    fn take_in(&self, changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        self.take_in_changes(changed)
    }

    /// All claims, then all volumes; a claim that is Bound to a Bound volume
    /// of its own included, since its partner may have changed.
    fn everything(&self) -> Vec<ObjectRef> {
        let state = self.lock();
        let claims = state.cache.claims().map(|claim| claim.meta.key.clone());
        let mut claims: Vec<_> =
            claims.map(|key| ObjectRef::new(kind::PERSISTENT_VOLUME_CLAIM, key)).collect();
        claims.sort();
        let volumes = state.cache.volumes().iter();
        claims.extend(
            volumes.map(|row| ObjectRef::new(kind::PERSISTENT_VOLUME, row.meta.key.clone())),
        );
        claims
    }

    fn is_settled(&self, object: &ObjectRef) -> bool {
        // What it holds for a write it lets go at once: a pass decides again.
        let verdict = self.decide(object, &Live::default(), &mut None);
        verdict.is_ok_and(|verdict| verdict.step == Step::Rest && verdict.events.is_empty())
    }

    fn holds(&self) -> HoldTable {
        self.holds.clone()
    }

    fn reconcile(self: Arc<Self>, object: ObjectRef) -> BoxFuture<'static, Pass> {
        Box::pin(self.pass(object))
    }
}

/// Remembers a claim that waits for a volume or a class, and forgets one that
/// no longer does.
fn note_waiting(state: &mut State, object: &ObjectRef, verdict: &Verdict) {
    if object.kind != kind::PERSISTENT_VOLUME_CLAIM {
        return;
    }
    match state.cache.claim(&object.key) {
        Some(claim) if verdict.wake == Wake::Round => state.waiting.insert(claim),
        Some(_) | None => state.waiting.remove(&object.key),
    }
}

/// An operation that runs; its end is noted however it ends.
struct Running {
    controller: Arc<PersistentVolumeController>,
    name: String,
    succeeded: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        let now = self.controller.parts.clock.now();
        self.controller.operations.finish(&self.name, self.succeeded, now);
    }
}
