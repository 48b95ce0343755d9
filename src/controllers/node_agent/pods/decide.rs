//! What a node does next for one of its pods. Pure: the same view gives the
//! same step, and nothing is remembered from step to step but what the view
//! shows.
//!
//! ```text
//! first status -> volumes -> containers -> status ... -> stop -> status -> volumes let go -> gone
//! ```
//!
//! Upstream: `pkg/kubelet/pod_workers.go` (sync, terminating, terminated) and
//! `syncPod`, `syncTerminatingPod`, `syncTerminatedPod` in `kubelet.go`.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::backoff;
use super::runtime::PodSeen;
use super::spec::{ContainerSpec, PodObject};
use super::status::{self, Facts, Failure, Stage, StartFault, will_restart};

/// Containers get this long to end, however short the pod's own time is
/// (upstream: `minimumGracePeriodInSeconds`).
const MINIMUM_GRACE: u64 = 2;
/// A pod that is gone without a word gets the least.
const GONE_GRACE: u64 = MINIMUM_GRACE;

/// Why a pod is failed that ran too long.
pub const DEADLINE_EXCEEDED: Failure = Failure {
    reason: "DeadlineExceeded",
    message: Cow::Borrowed("Pod was active on the node longer than the specified deadline"),
};

/// How far the pod's volumes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Volumes {
    /// Not known to be mounted, or unmounted.
    #[default]
    Unknown,
    Mounted,
    Unmounted,
}

/// What is known of a pod.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The object; `None`: it is gone from the API.
    pub pod: Option<&'a PodObject>,
    pub seen: &'a PodSeen,
    pub volumes: Volumes,
    pub fault: Option<&'a StartFault>,
    /// The node does not take the pod, and why.
    pub rejected: Option<&'a Failure>,
    pub host_address: &'a str,
    pub now: Timestamp,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Write this part of the status.
    WriteStatus { patch: Value, because: Because },
    /// Have the volumes mounted.
    Mount,
    /// Start this container.
    Start { container: String, attempt: u32 },
    /// Have all containers end.
    Stop { grace: Duration },
    /// Have the volumes unmounted.
    LetGo,
    /// Delete the object for good.
    Delete,
    /// Nothing of the pod is left to look after.
    Forget,
    /// Nothing to do before something changes, or before this time.
    Rest { until: Option<Timestamp> },
}

/// Why a status is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    Starting { with_volumes: bool },
    Running,
    NotStarted(String),
    ContainersEnded,
    Ended,
    DeletedWhileRunning,
    DeletedBeforeStart,
    TooLong,
    Rejected,
}

impl std::fmt::Display for Because {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Starting { with_volumes: true } => {
                "the pod is on this node now: its volumes are mounted before its containers start"
            }
            Self::Starting { with_volumes: false } => {
                "the pod is on this node now: its containers are about to start"
            }
            Self::Running => "its containers are as the runtime shows them",
            Self::NotStarted(why) => return write!(f, "a container cannot be started: {why}"),
            Self::ContainersEnded => "all its containers have ended by themselves",
            Self::Ended => "nothing of it runs any more, and nothing is to be started again",
            Self::DeletedWhileRunning => "it is being deleted, and its containers were stopped",
            Self::DeletedBeforeStart => "it is being deleted, and no container was ever started",
            Self::TooLong => "it ran longer than its activeDeadlineSeconds",
            Self::Rejected => "the node cannot take it: one of its volumes cannot be attached here",
        })
    }
}

/// Why a pod is not to run, or no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Gone,
    Deleted,
    Finished,
    /// Someone has written its last phase already.
    Terminal,
    Deadline,
    Rejected,
}

/// Whether containers of the pod may run, or run still: then its volumes are
/// wanted.
pub fn wants_volumes(view: View<'_>) -> bool {
    match (why_it_ends(view), view.pod) {
        (None, Some(_)) => true,
        (_, _) => view.seen.runs(),
    }
}

/// The next step.
pub fn decide(view: View<'_>) -> Step {
    match (why_it_ends(view), view.pod) {
        (None, Some(pod)) => live(pod, view),
        (end, pod) => finish(end.unwrap_or(End::Gone), pod, view),
    }
}

fn why_it_ends(view: View<'_>) -> Option<End> {
    let Some(pod) = view.pod else { return Some(End::Gone) };
    if pod.is_deleting {
        return Some(End::Deleted);
    }
    if pod.is_terminal {
        return Some(End::Terminal);
    }
    if view.rejected.is_some() {
        return Some(End::Rejected);
    }
    if pod.deadline().is_some_and(|deadline| view.now >= deadline) {
        return Some(End::Deadline);
    }
    is_finished(pod, view.seen).then_some(End::Finished)
}

/// Whether every container has ended for good, or one of those that come
/// first has failed for good.
fn is_finished(pod: &PodObject, seen: &PodSeen) -> bool {
    let ended_for_good = |spec: &ContainerSpec, is_init: bool| {
        let ended = seen.container(&spec.name).and_then(|container| container.ended.as_ref());
        ended.filter(|ended| !will_restart(spec, ended, is_init, pod)).map(|ended| ended.exit_code)
    };
    let init_failed =
        pod.init.iter().any(|spec| ended_for_good(spec, true).is_some_and(|code| code != 0));
    let all_ended = pod.containers.iter().all(|spec| ended_for_good(spec, false).is_some());
    init_failed || (all_ended && !pod.containers.is_empty())
}

fn live(pod: &PodObject, view: View<'_>) -> Step {
    if pod.status()["startTime"].is_null() {
        let with_volumes = pod.value["spec"]["volumes"].as_array().is_some_and(|v| !v.is_empty());
        let because = Because::Starting { with_volumes };
        if let Some(step) = write_status(pod, Stage::Living, None, because, view) {
            return step;
        }
    }
    if view.volumes != Volumes::Mounted {
        return Step::Mount;
    }
    let (next, due) = next_start(pod, view);
    if let Some((container, attempt)) = next
        && view.fault.is_none_or(|fault| fault.container != container || view.now >= fault.retry)
    {
        return Step::Start { container, attempt };
    }
    let because = match view.fault {
        Some(fault) => Because::NotStarted(fault.message.clone()),
        None => Because::Running,
    };
    if let Some(step) = write_status(pod, Stage::Living, None, because, view) {
        return step;
    }
    let retry = view.fault.map(|fault| fault.retry);
    let until = due.into_iter().chain(pod.deadline()).chain(retry).min();
    Step::Rest { until }
}

/// The container to start now with its attempt, and when another is due.
fn next_start(pod: &PodObject, view: View<'_>) -> (Option<(String, u32)>, Option<Timestamp>) {
    let mut due = None;
    for spec in &pod.init {
        match start_of(spec, true, pod, view) {
            Start::Now(attempt) => return (Some((spec.name.to_string(), attempt)), None),
            Start::At(time) => due = Some(due.map_or(time, |due: Timestamp| due.min(time))),
            Start::Not => {}
        }
        let seen = view.seen.container(&spec.name);
        let done = seen.is_some_and(|container| match &container.ended {
            Some(ended) => ended.exit_code == 0 && !spec.is_sidecar,
            None => spec.is_sidecar,
        });
        if !done {
            return (None, due);
        }
    }
    for spec in &pod.containers {
        match start_of(spec, false, pod, view) {
            Start::Now(attempt) => return (Some((spec.name.to_string(), attempt)), due),
            Start::At(time) => due = Some(due.map_or(time, |due: Timestamp| due.min(time))),
            Start::Not => {}
        }
    }
    (None, due)
}

enum Start {
    Now(u32),
    At(Timestamp),
    Not,
}

fn start_of(spec: &ContainerSpec, is_init: bool, pod: &PodObject, view: View<'_>) -> Start {
    let Some(seen) = view.seen.container(&spec.name) else {
        // The runtime has lost it, or it was never started.
        let list = if is_init { "initContainerStatuses" } else { "containerStatuses" };
        let statuses = pod.status()[list].as_array().into_iter().flatten();
        let held = statuses.into_iter().find(|status| status["name"] == *spec.name);
        let started = held.is_some_and(|status| status["containerID"].is_string());
        let restarts = held.and_then(|status| status["restartCount"].as_u64()).unwrap_or_default();
        let restarts = u32::try_from(restarts).unwrap_or(u32::MAX);
        return Start::Now(if started { restarts.saturating_add(1) } else { restarts });
    };
    match &seen.ended {
        Some(ended) if will_restart(spec, ended, is_init, pod) => match backoff::due(seen) {
            Some(due) if due > view.now => Start::At(due),
            _ => Start::Now(seen.attempt.saturating_add(1)),
        },
        _ => Start::Not,
    }
}

fn finish(end: End, pod: Option<&PodObject>, view: View<'_>) -> Step {
    if view.seen.runs() {
        return Step::Stop { grace: grace(end, pod) };
    }
    let failure = match end {
        End::Deadline => Some(&DEADLINE_EXCEEDED),
        End::Rejected => view.rejected,
        End::Gone | End::Deleted | End::Finished | End::Terminal => None,
    };
    if let Some(pod) = pod.filter(|pod| end != End::Terminal && !pod.is_terminal) {
        if end == End::Finished {
            let because = Because::ContainersEnded;
            if let Some(step) = write_status(pod, Stage::Ending, None, because, view) {
                return step;
            }
        }
        let because = match end {
            End::Deadline => Because::TooLong,
            End::Rejected => Because::Rejected,
            End::Deleted if view.seen.containers.is_empty() => Because::DeletedBeforeStart,
            End::Deleted => Because::DeletedWhileRunning,
            End::Finished | End::Gone | End::Terminal => Because::Ended,
        };
        if let Some(step) = write_status(pod, Stage::Ended, failure, because, view) {
            return step;
        }
    }
    if view.volumes != Volumes::Unmounted {
        return Step::LetGo;
    }
    match end {
        End::Gone => Step::Forget,
        // Its deletion is done, but for the finalizers of others.
        End::Deleted if pod.is_some_and(PodObject::is_only_held) => Step::Rest { until: None },
        End::Deleted => Step::Delete,
        End::Finished | End::Terminal | End::Deadline | End::Rejected => Step::Rest { until: None },
    }
}

fn grace(end: End, pod: Option<&PodObject>) -> Duration {
    let seconds = match (end, pod) {
        (End::Gone, _) | (_, None) => GONE_GRACE,
        (_, Some(pod)) => pod.grace(),
    };
    Duration::from_secs(seconds.max(MINIMUM_GRACE))
}

fn write_status(
    pod: &PodObject,
    stage: Stage,
    failure: Option<&Failure>,
    because: Because,
    view: View<'_>,
) -> Option<Step> {
    let facts = Facts {
        pod,
        seen: view.seen,
        stage,
        host_address: view.host_address,
        fault: view.fault,
        failure,
        now: view.now,
    };
    let patch = status::difference(pod.status(), &status::desired(facts))?;
    Some(Step::WriteStatus { patch, because })
}
