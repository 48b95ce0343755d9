//! One pod on its way: its volumes reserved, awaited, and the pod bound; or
//! told why it stays.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::sync::Notify;

use super::controller::{Landed, Scheduler, State};
use crate::cluster::write_path::WriteError;
use crate::controllers::events::Note;
use crate::controllers::scheduler::claims::is_fully_bound;
use crate::controllers::scheduler::decide::{Placement, Verdict};
use crate::controllers::scheduler::find::PlannedBind;
use crate::controllers::scheduler::preemption::Preemption;
use crate::controllers::scheduler::refusal::cut_for_event;
use crate::controllers::scheduler::writes;
use crate::model::claim::Claim;
use crate::model::clock::TimerUse;
use crate::model::fit;
use crate::model::kind;
use crate::model::object::Key;
use crate::model::pod::{Pod, Unscheduled};
use crate::model::row::Row;
use crate::model::volume::Volume;
use crate::model::write::Write;

/// How long a pod waits for its volumes to be bound (`bindTimeoutSeconds`).
const BIND_TIMEOUT: Duration = Duration::from_secs(600);

/// How often the volumes of a pod are looked at, the first time after so long
/// (`wait.PollUntilContextTimeout` in `volumebinding/binder.go`).
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why a flight does not go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    Gone,
    Again,
    /// The pod is not as it was thought to be: on a node already, or being
    /// deleted. What it is will be seen.
    Outdated,
    /// An error, in Kubernetes' words.
    Failed(String),
}

/// What one look at the awaited volumes says.
enum Awaited {
    Bound,
    NotYet,
}

impl Scheduler {
    /// Places the pod; a failed attempt is told, and tried again later.
    pub(super) async fn fly(
        &self,
        pod: &Arc<Pod>,
        placement: &Placement,
        woken: &Notify,
    ) -> Landed {
        let stopped = match self.place(pod, placement, woken).await {
            Ok(()) => {
                let node = &placement.node;
                let message = format!("Successfully assigned {} to {node}", pod.meta.key);
                self.parts.recorder.tell(Note::normal(&**pod, "Scheduled", message));
                return Landed::Bound;
            }
            Err(stopped) => stopped,
        };
        let now = self.parts.clock.now();
        self.lock().unreserve(pod, placement, now);
        match stopped {
            Stopped::Gone => Landed::Gone,
            Stopped::Again => Landed::Again,
            // If it still waits when its backoff ends, it is tried again.
            Stopped::Outdated => Landed::Failed,
            Stopped::Failed(error) => self.tell(pod, Verdict::Fail(error)).await,
        }
    }

    async fn place(
        &self,
        pod: &Arc<Pod>,
        placement: &Placement,
        woken: &Notify,
    ) -> Result<(), Stopped> {
        let plan = &placement.plan;
        if !plan.is_empty() {
            self.write_volumes(pod, placement).await?;
            self.wait_until_bound(pod, placement, woken).await?;
        }
        let bound = self.perform(pod, |state| {
            state.why_not_go_on(pod, placement)?;
            Ok(Some(writes::binding(pod, placement)))
        });
        match bound.await {
            Ok(_) => Ok(()),
            Err(Trouble::Stopped(stopped)) => Err(stopped),
            Err(Trouble::Refused(WriteError::NotFound { .. })) => Err(Stopped::Gone),
            Err(Trouble::Refused(WriteError::Conflict { .. })) => Err(Stopped::Outdated),
            Err(Trouble::Refused(error)) => {
                let error = api_words(&error);
                Err(Stopped::Failed(format!("running Bind plugin \"DefaultBinder\": {error}")))
            }
        }
    }

    /// Names the node on the pod, then reserves volumes, then asks for others
    /// to be provisioned. What was written stays, whatever fails after it.
    async fn write_volumes(&self, pod: &Arc<Pod>, placement: &Placement) -> Result<(), Stopped> {
        let nominated = self.perform(pod, |state| {
            let pod = state.why_not_go_on(pod, placement)?;
            Ok(writes::nominate(&pod, placement))
        });
        // Upstream goes on without it, too: it only tells others.
        if let Err(Trouble::Stopped(stopped)) = nominated.await {
            return Err(stopped);
        }
        for bind in &placement.plan.bind {
            let reserved = self.perform(pod, |state| {
                let pod = state.why_not_go_on(pod, placement)?;
                let (volume, claim) = state.pair(bind)?;
                Ok(writes::reserve(&pod, placement, &volume, &claim, bind.reserved))
            });
            if let Some(answer) = reserved.await.map_err(in_pre_bind)?
                && let Ok(row) = Volume::from_object(&answer)
            {
                self.lock().cache.put_volume(&bind.volume, Some(Arc::new(row)));
            }
        }
        for key in &placement.plan.provision {
            let selected = self.perform(pod, |state| {
                let pod = state.why_not_go_on(pod, placement)?;
                let claim = state.claim(key)?;
                Ok(writes::select_node(&pod, placement, &claim))
            });
            if let Some(answer) = selected.await.map_err(in_pre_bind)?
                && let Ok(row) = Claim::from_object(&answer)
            {
                self.lock().cache.put_claim(key, Some(Arc::new(row)));
            }
        }
        Ok(())
    }

    /// Waits until all claims are bound.
    ///
    /// Upstream looks every second, the first time after one. So it does here,
    /// but for looks that cannot tell anything new: what changed since the last
    /// is looked at when the next is due.
    async fn wait_until_bound(
        &self,
        pod: &Arc<Pod>,
        placement: &Placement,
        woken: &Notify,
    ) -> Result<(), Stopped> {
        let failed = |text: &str| {
            let text = format!("running PreBind plugin \"VolumeBinding\": binding volumes: {text}");
            Stopped::Failed(text)
        };
        // Nothing will come of it but another try, so it does not keep the
        // cluster from being quiet.
        let clock = &self.parts.clock;
        let mut timeout = clock.sleep(BIND_TIMEOUT, TimerUse::Housekeeping);
        let begun = clock.now();
        let _waiting = Waiting::new(self);
        loop {
            clock.sleep(until_next_look(clock.now().duration_since(begun)), TimerUse::Work).await;
            let seen = self.lock().look(pod, placement);
            match seen {
                Ok(Awaited::Bound) => return Ok(()),
                Ok(Awaited::NotYet) => {}
                Err(text) => return Err(failed(&text)),
            }
            tokio::select! {
                () = woken.notified() => {}
                () = &mut timeout => return Err(failed("context deadline exceeded")),
            }
        }
    }

    /// Tells the pod why it is on no node: by its condition and an event.
    pub(super) async fn tell(&self, pod: &Arc<Pod>, verdict: Verdict) -> Landed {
        let since = self.parts.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let mut verdict = verdict;
        let mut first = true;
        let told = self.perform(pod, |state| {
            let current = state.current(pod)?;
            // Held until now: what was true then may not be any more. An error
            // happened, whatever is true now.
            if !std::mem::take(&mut first) && matches!(verdict, Verdict::Refuse(_)) {
                verdict = state.decide(&current);
                if let Verdict::Refuse(refusal) = &verdict {
                    state.queue.refused(&pod.meta.key, refusal.refused_by());
                }
            }
            let why = unscheduled(&verdict).ok_or(Stopped::Again)?;
            let nominated = match &verdict {
                Verdict::Refuse(refusal) => refusal.nominated(&current.nominated_node),
                Verdict::Place(_) | Verdict::Fail(_) => "",
            };
            Ok(writes::unscheduled(&current, &why, nominated, &since))
        });
        let landed = match told.await {
            Err(Trouble::Stopped(Stopped::Again)) => return Landed::Again,
            Err(Trouble::Stopped(Stopped::Gone)) => return Landed::Gone,
            Err(Trouble::Refused(WriteError::NotFound { .. })) => return Landed::Gone,
            // It is told again after the next attempt.
            Err(Trouble::Stopped(Stopped::Failed(_) | Stopped::Outdated) | Trouble::Refused(_))
            | Ok(None) => None,
            Ok(Some(answer)) => Pod::from_object(&answer).ok(),
        };
        if let Some(row) = landed {
            self.lock().cache.put_pod(&pod.meta.key, Some(Arc::new(row)));
        }
        if let Some(why) = unscheduled(&verdict) {
            let message = cut_for_event(&why.message);
            self.parts.recorder.tell(Note::warning(&**pod, "FailedScheduling", message));
        }
        match verdict {
            Verdict::Refuse(refusal) => match &refusal.preemption {
                Some(Preemption::Victims(victims)) => self.make_room(pod, victims).await,
                Some(_) | None => Landed::Refused,
            },
            Verdict::Fail(error) => {
                let (now, object) = (self.parts.clock.now(), writes::pod_ref(pod).to_string());
                self.parts.health.failed(now, object, error);
                Landed::Failed
            }
            Verdict::Place(_) => Landed::Again,
        }
    }

    /// Performs the write that `decide` asks for, deciding again if it was
    /// held; its answer, or `None` if there was nothing to write.
    pub(super) async fn perform(
        &self,
        pod: &Pod,
        mut decide: impl FnMut(&mut State) -> Result<Option<Write>, Stopped>,
    ) -> Result<Option<serde_json::Value>, Trouble> {
        let mut permitted = false;
        loop {
            let decided = decide(&mut self.lock());
            let write = match decided {
                Ok(Some(write)) => write,
                other => {
                    if permitted {
                        let why = "what it was for is no longer so";
                        self.parts.server.nothing_to_do(&writes::pod_ref(pod), why);
                    }
                    return other.map(|_| None).map_err(Trouble::Stopped);
                }
            };
            match self.parts.server.perform(&write).await {
                Ok(answer) => {
                    self.parts.health.wrote();
                    return Ok(Some(answer));
                }
                Err(WriteError::DecideAgain { .. }) => permitted = true,
                Err(error) => return Err(Trouble::Refused(error)),
            }
        }
    }
}

/// How long until the next look, so long after the wait began.
fn until_next_look(waited: SignedDuration) -> Duration {
    let every = i128::try_from(LOOK_EVERY.as_nanos()).unwrap_or(i128::MAX);
    let left = every - waited.as_nanos().max(0) % every;
    u64::try_from(left).map_or(LOOK_EVERY, Duration::from_nanos)
}

/// Why a write was not made.
pub(super) enum Trouble {
    Stopped(Stopped),
    Refused(WriteError),
}

/// Counts a flight as waiting for others while it lives.
struct Waiting<'a>(&'a Scheduler);

impl<'a> Waiting<'a> {
    fn new(scheduler: &'a Scheduler) -> Self {
        scheduler.lock().waiting += 1;
        Self(scheduler)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

fn in_pre_bind(trouble: Trouble) -> Stopped {
    match trouble {
        Trouble::Stopped(stopped) => stopped,
        Trouble::Refused(error) => {
            let error = api_words(&error);
            Stopped::Failed(format!("running PreBind plugin \"VolumeBinding\": {error}"))
        }
    }
}

/// The API's own text of a refusal.
fn api_words(error: &WriteError) -> String {
    match error {
        WriteError::Conflict { message, .. }
        | WriteError::NotFound { message, .. }
        | WriteError::AlreadyExists { message, .. } => message.clone(),
        WriteError::Refused { status, .. } => status.message.clone(),
        other => other.to_string(),
    }
}

/// What the pod's condition is to say.
fn unscheduled(verdict: &Verdict) -> Option<Unscheduled> {
    let (reason, message) = match verdict {
        Verdict::Place(_) => return None,
        Verdict::Refuse(refusal) => ("Unschedulable", refusal.to_string()),
        Verdict::Fail(error) => ("SchedulerError", error.clone()),
    };
    Some(Unscheduled { reason: reason.into(), message: message.into() })
}

impl State {
    /// The pod as it is now, if it still waits for a node.
    pub(super) fn current(&self, pod: &Pod) -> Result<Arc<Pod>, Stopped> {
        let current = self.cache.pod(&pod.meta.key);
        let same = current.filter(|current| current.meta.uid == pod.meta.uid);
        same.filter(|current| !current.is_scheduled()).cloned().ok_or(Stopped::Gone)
    }

    /// Whether what was decided still holds: the pod as it is now.
    fn why_not_go_on(&self, pod: &Pod, placement: &Placement) -> Result<Arc<Pod>, Stopped> {
        let current = self.current(pod)?;
        if current.meta.deleting.is_some() {
            return Err(Stopped::Gone);
        }
        if self.cache.node(&placement.node).is_none() {
            return Err(Stopped::Again);
        }
        Ok(current)
    }

    fn claim(&self, key: &Key) -> Result<Arc<Claim>, Stopped> {
        self.cache.claims.get(key).cloned().ok_or(Stopped::Again)
    }

    /// A volume and the claim it is promised to, if they may still be paired.
    fn pair(&self, bind: &PlannedBind) -> Result<(Arc<Volume>, Arc<Claim>), Stopped> {
        let claim = self.claim(&bind.claim)?;
        let volume = self.cache.stock.seen(&bind.volume).cloned().ok_or(Stopped::Again)?;
        let free = volume.claim_ref.is_none() || fit::is_bound_to(&volume, &claim);
        let unnamed = claim.volume_name.is_empty() || claim.volume_name == bind.volume;
        if free && unnamed { Ok((volume, claim)) } else { Err(Stopped::Again) }
    }

    /// One look at what a flight waits for.
    fn look(&self, pod: &Pod, placement: &Placement) -> Result<Awaited, String> {
        let name = &placement.node;
        let Some((node, _)) = self.cache.node(name) else {
            return Err(format!("failed to get node \"{name}\": node \"{name}\" not found"));
        };
        let current = self.cache.pod(&pod.meta.key).filter(|now| now.meta.uid == pod.meta.uid);
        if current.is_none() {
            let pod = &pod.meta.key.name;
            return Err(format!("pod does not exist any more: pod \"{pod}\" not found"));
        }
        let why_not_usable = |volume: &Volume| {
            if fit::usable_on(volume, &node.meta.labels) {
                return Ok(());
            }
            let volume = &volume.meta.key.name;
            Err(format!(
                "pv \"{volume}\" node affinity doesn't match node \"{name}\": \
                 no matching NodeSelectorTerms"
            ))
        };
        let mut awaited = Awaited::Bound;
        for bind in &placement.plan.bind {
            let missing = |plural: &str, name: &str| {
                format!("failed to check binding: {plural} \"{name}\" not found")
            };
            let Some(volume) = self.cache.stock.seen(&bind.volume) else {
                return Err(missing(kind::PERSISTENT_VOLUME.singular, &bind.volume));
            };
            let Some(claim) = self.cache.claims.get(&bind.claim) else {
                return Err(missing(kind::PERSISTENT_VOLUME_CLAIM.singular, &bind.claim.name));
            };
            why_not_usable(volume)?;
            if volume.claim_ref.as_ref().is_none_or(|by| by.uid.is_empty()) {
                return Err(format!("ClaimRef got reset for pv \"{}\"", bind.volume));
            }
            if !is_fully_bound(claim) {
                awaited = Awaited::NotYet;
            }
        }
        for key in &placement.plan.provision {
            let Some(claim) = self.cache.claims.get(key) else {
                let (singular, name) = (kind::PERSISTENT_VOLUME_CLAIM.singular, &key.name);
                let error = format!("{singular} \"{name}\" not found");
                return Err(format!("failed to check provisioning pvc: {error}"));
            };
            match claim.meta.annotation("volume.kubernetes.io/selected-node") {
                Some(selected) if *selected == **name => {}
                _ if claim.has_no_annotations => {
                    return Err(format!(
                        "selectedNode annotation reset for PVC \"{}\"",
                        claim.meta.key.name
                    ));
                }
                _ => {
                    return Err(format!("provisioning failed for PVC \"{}\"", claim.meta.key.name));
                }
            }
            if !claim.volume_name.is_empty()
                && let Some(volume) = self.cache.stock.seen(&claim.volume_name)
            {
                why_not_usable(volume)?;
            }
            if !is_fully_bound(claim) || self.cache.stock.seen(&claim.volume_name).is_none() {
                awaited = Awaited::NotYet;
            }
        }
        Ok(awaited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_a_second_apart_and_the_first_is_after_one() {
        for (waited, left) in [(0, 1000), (1, 999), (999, 1), (1000, 1000), (2300, 700)] {
            let waited = SignedDuration::from_millis(waited);
            assert_eq!(until_next_look(waited), Duration::from_millis(left), "{waited}");
        }
    }
}
