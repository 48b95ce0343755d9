//! What is to be done next about the volumes of one node.
//!
//! First what is to be detached, then what is to be attached, then what the
//! node is to be told: a volume that moves must leave before it comes.
//!
//! Upstream: `reconciler/reconciler.go`.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::controllers::attach_detach::actual::{ActualState, Pair};
use crate::controllers::attach_detach::because::{Because, Force};
use crate::controllers::attach_detach::desired::{DesiredState, Wanted};
use crate::controllers::attach_detach::operations::{Doing, NotNow, OperationKey, Operations};
use crate::controllers::attach_detach::volume::is_shared;
use crate::model::node::{AttachedVolume, Node, Readiness};

/// How long a node that is not Ready may keep a volume that nobody wants there.
pub const UNMOUNT_WAIT_MAX: Duration = Duration::from_secs(360);

/// How long a new wish waits before it is looked at. Upstream's reconciler
/// looks around every 100 ms (`TimerConfig.ReconcilerLoopPeriod` in
/// `attach_detach_controller.go`), so that what the node itself first says of a
/// pod, at once, comes before an attachment for it. One timer for what is new
/// does the same without looking when there is nothing new.
pub const NEW_WISH_WAIT: Duration = Duration::from_millis(100);

/// How long the node is told nothing of what has been attached while more is
/// being attached to it. Upstream tells it with the same look around, so that
/// thirty volumes are one or two writes, not thirty of ever longer lists.
pub const REPORT_WAIT: Duration = Duration::from_millis(100);

/// The taint with which an admin says that a node is shut down; its value and
/// effect do not matter.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Everything a decision about a node may look at.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub desired: &'a DesiredState,
    pub actual: &'a ActualState,
    pub operations: &'a Operations,
    pub name: &'a Arc<str>,
    /// The node as the API has it; `None`: it is gone.
    pub node: Option<&'a Node>,
    /// When the first volume was attached that the node has not been told of.
    pub untold_since: Option<Timestamp>,
    /// Whether waiting for an unmount ends after [`UNMOUNT_WAIT_MAX`].
    pub force_detach: bool,
    pub now: Timestamp,
}

/// How it stands with a volume on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Attached and wanted.
    Attached,
    /// An operation runs that excludes any other.
    Busy,
    /// The last try failed; the next is due at this time.
    Paused { doing: Doing, until: Timestamp },
    /// Not wanted, but the node still uses it; it may be pulled away at this
    /// time.
    InUse { force_at: Option<Timestamp> },
    /// To be detached. `verify`: only if the node itself says that it does not
    /// use it.
    Detach { force: Option<Force>, verify: bool },
    /// Wanted only just now; looked at from this time on.
    New { until: Timestamp },
    /// Wanted, but these nodes have it and only one may.
    Exclusive { nodes: Vec<Arc<str>> },
    /// To be attached.
    Attach,
}

/// The next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing is to be done now.
    Rest,
    /// Write `volumesAttached` without this volume, then decide again.
    TakeOff { volume: Arc<str> },
    /// Start to detach.
    Detach { volume: Arc<str>, verify: bool },
    /// Start to attach.
    Attach { volume: Arc<str> },
    /// Tell the pods that another node has it.
    RefuseMultiAttach { volume: Arc<str> },
    /// Write `volumesAttached` as it should be.
    Report,
}

/// What to do next about a node, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub step: Step,
    pub because: Because,
    /// When the verdict changes by itself, if it does.
    pub again_at: Option<Timestamp>,
}

impl Verdict {
    fn new(step: Step, because: Because) -> Self {
        Self { step, because, again_at: None }
    }
}

/// How it stands with a volume that is on the node and not wanted there.
fn unwanted(view: &View<'_>, unique_name: &Arc<str>, pair: &Pair) -> Standing {
    let shared = is_shared(view.actual.volume(unique_name).map(|volume| &**volume));
    let key = OperationKey::new(unique_name, view.name, shared);
    match view.operations.why_not(&key, Doing::Detach, view.now) {
        Some(NotNow::Running) => return Standing::Busy,
        Some(NotNow::Until(until)) => return Standing::Paused { doing: Doing::Detach, until },
        None => {}
    }
    let requested = pair.detach_requested.unwrap_or(view.now);
    let force_at = requested + UNMOUNT_WAIT_MAX;
    let waited =
        view.force_detach && view.now.duration_since(requested) >= signed(UNMOUNT_WAIT_MAX);
    let healthy = view.node.is_some_and(|node| node.ready == Readiness::Ready);
    let taints = view.node.map(|node| &*node.taints).unwrap_or_default();
    let out_of_service = taints.iter().any(|taint| &*taint.key == OUT_OF_SERVICE);
    let verify = !waited && !out_of_service;
    if !view.actual.is_in_use(unique_name, view.name) {
        return Standing::Detach { force: None, verify };
    }
    if waited && !healthy {
        return Standing::Detach { force: Some(Force::Timeout), verify };
    }
    if out_of_service {
        return Standing::Detach { force: Some(Force::OutOfService), verify };
    }
    let force_at = (!healthy && view.force_detach).then_some(force_at);
    Standing::InUse { force_at }
}

/// How it stands with a volume that is wanted on the node.
fn wanted(view: &View<'_>, unique_name: &Arc<str>, wanted: &Wanted) -> Standing {
    let key = OperationKey::new(unique_name, view.name, wanted.volume.shared);
    // Asked first: an operation changes the actual state before its record ends.
    let why_not = view.operations.why_not(&key, Doing::Attach, view.now);
    if why_not == Some(NotNow::Running) {
        return Standing::Busy;
    }
    if view.actual.get(unique_name, view.name).is_some_and(|pair| pair.confirmed) {
        return Standing::Attached;
    }
    let due = wanted.since.map(|since| since + NEW_WISH_WAIT);
    if let Some(until) = due.filter(|due| view.now < *due) {
        return Standing::New { until };
    }
    let holders = view.actual.nodes_of(unique_name).filter(|(_, pair)| pair.confirmed);
    let nodes: Vec<Arc<str>> = holders.map(|(node, _)| node.clone()).collect();
    if !wanted.volume.shared && !nodes.is_empty() {
        return Standing::Exclusive { nodes };
    }
    match why_not {
        Some(NotNow::Until(until)) => Standing::Paused { doing: Doing::Attach, until },
        Some(NotNow::Running) | None => Standing::Attach,
    }
}

/// How it stands with a volume on the node, be it there or wanted; `None` if it
/// is neither.
pub fn standing(view: &View<'_>, unique_name: &Arc<str>) -> Option<Standing> {
    if let Some(wish) = view.desired.get(view.name, unique_name) {
        return Some(wanted(view, unique_name, wish));
    }
    let pair = view.actual.get(unique_name, view.name)?;
    Some(unwanted(view, unique_name, pair))
}

/// Decides the next step about a node.
pub fn decide(view: &View<'_>) -> Verdict {
    let mut again_at = None;
    let mut again =
        |at: Timestamp| again_at = Some(again_at.map_or(at, |held: Timestamp| held.min(at)));
    for (unique_name, pair) in view.actual.on(view.name) {
        if view.desired.get(view.name, unique_name).is_some() {
            continue;
        }
        match unwanted(view, unique_name, pair) {
            Standing::Detach { force, verify } => {
                return detach(view, unique_name, pair, force, verify);
            }
            Standing::Paused { until, .. } => again(until),
            Standing::InUse { force_at } => force_at.into_iter().for_each(&mut again),
            // The end of an operation wakes the node; the others are no
            // outcome of what is not wanted.
            Standing::Busy
            | Standing::Attached
            | Standing::New { .. }
            | Standing::Exclusive { .. }
            | Standing::Attach => {}
        }
    }
    let mut busy = false;
    for (unique_name, wish) in view.desired.on(view.name) {
        match wanted(view, unique_name, wish) {
            Standing::Attach => {
                return Verdict::new(
                    Step::Attach { volume: unique_name.clone() },
                    wanted_by(view, unique_name, wish),
                );
            }
            Standing::Exclusive { nodes } if !wish.multi_attach_told => {
                return Verdict::new(
                    Step::RefuseMultiAttach { volume: unique_name.clone() },
                    Because::Exclusive { volume: wish.volume.name.clone(), nodes },
                );
            }
            Standing::New { until } | Standing::Paused { until, .. } => again(until),
            // Its end wakes this node.
            Standing::Busy => busy = true,
            // A change at the other node wakes this one.
            Standing::Exclusive { .. }
            | Standing::Attached
            | Standing::Detach { .. }
            | Standing::InUse { .. } => {}
        }
    }
    if let Some(because) = report(view) {
        let due = view.untold_since.map(|since| since + REPORT_WAIT);
        match due.filter(|due| busy && view.now < *due) {
            Some(due) => again(due),
            None => return Verdict { step: Step::Report, because, again_at },
        }
    }
    Verdict { step: Step::Rest, because: Because::Settled, again_at }
}

fn wanted_by(view: &View<'_>, unique_name: &Arc<str>, wish: &Wanted) -> Because {
    let pod = wish.pods.values().min().cloned().unwrap_or_default();
    Because::WantedBy { volume: told_name(view, unique_name), node: view.name.clone(), pod }
}

/// The volume leaves `volumesAttached` before anything else is done. On a node
/// that is gone nobody reads it.
fn detach(
    view: &View<'_>,
    unique_name: &Arc<str>,
    pair: &Pair,
    force: Option<Force>,
    verify: bool,
) -> Verdict {
    let volume = unique_name.clone();
    let because =
        Because::Unwanted { volume: told_name(view, unique_name), node: view.name.clone(), force };
    let told = |node: &Node| node.attached_names().any(|name| name == &**unique_name);
    if view.node.is_some_and(|node| pair.reported || told(node)) {
        return Verdict::new(Step::TakeOff { volume }, because);
    }
    Verdict::new(Step::Detach { volume, verify }, because)
}

/// The name that people know a volume by.
fn told_name(view: &View<'_>, unique_name: &Arc<str>) -> Arc<str> {
    let wanted = view.desired.get(view.name, unique_name).map(|wish| &wish.volume);
    let volume = wanted.or_else(|| view.actual.volume(unique_name));
    volume.map_or_else(|| unique_name.clone(), |volume| volume.name.clone())
}

/// What the node is yet to be told, if anything. A node that is gone is not,
/// nor one that looks after its volumes itself.
fn report(view: &View<'_>) -> Option<Because> {
    if !view.desired.is_managed(view.name) && view.actual.on(view.name).next().is_none() {
        return None;
    }
    let mut told: Vec<AttachedVolume> = view.node?.volumes_attached.to_vec();
    told.sort();
    let mut right = view.actual.report_of(view.name);
    right.sort();
    if told == right {
        return None;
    }
    let missing = |from: &[AttachedVolume], others: &[AttachedVolume]| -> Vec<Arc<str>> {
        let missing = from.iter().filter(|volume| !others.contains(volume));
        missing.map(|volume| told_name(view, &volume.name)).collect()
    };
    let attached = missing(&right, &told);
    let gone = missing(&told, &right).into_iter().filter(|name| !attached.contains(name)).collect();
    Some(Because::Report { attached, gone })
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
