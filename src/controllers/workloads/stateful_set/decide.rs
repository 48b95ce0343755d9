//! What a StatefulSet calls for next: one act, something to read first, or
//! rest (workloads 3 to 5).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::controllers::events::Note;
use crate::controllers::workloads::owners;
use crate::controllers::workloads::shell::Act;
use crate::controllers::workloads::stateful_set::because::Because;
use crate::controllers::workloads::stateful_set::replica::{self, Blocked, Health};
use crate::controllers::workloads::stateful_set::revisions::{self, Revisions};
use crate::controllers::workloads::stateful_set::set::{Set, Update, parse_pod_name};
use crate::controllers::workloads::stateful_set::status;
use crate::model::claim::Claim;
use crate::model::kind;
use crate::model::object::{ObjectRef, Seconds};
use crate::model::pod::Pod;
use crate::model::replica_set::ControllerRevision;
use crate::model::write::{Change, Reason, Write};

/// Everything that is known.
pub struct View<'a> {
    pub set: &'a Set,
    /// The pods that the set controls.
    pub pods: &'a [Arc<Pod>],
    /// Pods without a controller that it selects.
    pub orphans: &'a [Arc<Pod>],
    /// The claims of its pods, by name, as far as they exist.
    pub claims: &'a BTreeMap<Arc<str>, Arc<Claim>>,
    pub revisions: &'a [Arc<ControllerRevision>],
    /// Revisions without a controller that its selector selects.
    pub orphan_revisions: &'a [Arc<ControllerRevision>],
    /// Templates of older revisions that were read, by the revision's name.
    pub templates: &'a HashMap<Arc<str>, Value>,
    pub now: Seconds,
    pub memory: &'a Memory,
}

/// What this pass has done so far; it begins empty.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// Claims whose creation the server refused, with its words.
    pub refused_claims: BTreeMap<Arc<str>, String>,
    /// Pods that were not made, for a claim's or their own sake, and why.
    pub failed_pods: BTreeMap<Arc<str>, String>,
    /// How many pods were made or tried: where the next one falls in its batch.
    pub attempts: usize,
    /// How many names of revisions turned out to be taken by other templates.
    pub collisions: i64,
    /// Pods that this pass wrote, as they were before: `None` for one it made.
    /// The status tells of the pass's beginning.
    pub before: BTreeMap<Arc<str>, Option<Arc<Pod>>>,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    Act(Box<Act>),
    /// The template of an older revision is needed.
    Read(ObjectRef),
    /// This pod cannot be made now; the others may.
    GiveUp {
        pod: Arc<str>,
        error: String,
        told: Vec<Note>,
    },
    /// Something could not be done: the pass is to be tried again.
    Fail {
        error: String,
    },
    Rest {
        because: Because,
        wake: Option<i64>,
    },
}

/// What the set calls for next.
pub fn decide(view: &View) -> Next {
    if view.set.meta().deleting.is_some() {
        let revisions = revisions::find(view);
        let rest = Next::Rest { because: Because::SetDeleted, wake: None };
        return status::decide(view, &revisions).unwrap_or(rest);
    }
    if let Some(act) = membership(view) {
        return act;
    }
    let revisions = match revisions::settle(view) {
        Ok(revisions) => revisions,
        Err(act) => return Next::Act(act),
    };
    let (because, wake) = match pods(view, &revisions) {
        Ok(blocked) => blocked,
        Err(next) => return *next,
    };
    if let Some(next) = status::decide(view, &revisions) {
        return next;
    }
    if let Some(act) = revisions::truncate(view, &revisions) {
        return Next::Act(Box::new(act));
    }
    let memory = view.memory;
    if let Some(error) = memory.failed_pods.values().chain(memory.refused_claims.values()).next() {
        return Next::Fail { error: error.clone() };
    }
    Next::Rest { because, wake }
}

/// Adopts pods that are selected, and lets go of those that are not any more.
fn membership(view: &View) -> Option<Next> {
    let set = view.set;
    let owner = set.reference();
    let is_member = |pod: &Pod| {
        parse_pod_name(&pod.meta.key.name).is_some_and(|(parent, _)| parent == set.name())
    };
    let adopted = view.orphans.iter().find(|pod| {
        pod.meta.deleting.is_none() && is_member(pod) && set.selector().matches(&pod.meta.labels)
    });
    if let Some(pod) = adopted {
        let write = owners::adopt(pod_reference(pod), &pod.meta, &owner, &set.meta().uid);
        return Some(Next::Act(Box::new(Act::silent(write))));
    }
    let released = view
        .pods
        .iter()
        .find(|pod| pod.meta.deleting.is_none() && !set.selector().matches(&pod.meta.labels))?;
    let write = owners::release(pod_reference(released), &released.meta, &owner, &set.meta().uid);
    Some(Next::Act(Box::new(Act::silent(write))))
}

/// Pods by ordinal: those in range, and those too many, highest first.
pub struct Sorted<'a> {
    pub in_range: BTreeMap<i64, &'a Arc<Pod>>,
    pub condemned: Vec<(i64, &'a Arc<Pod>)>,
}

/// Sorts pods; those whose name is none of a pod of this set are ignored.
pub fn sorted<'a>(set: &Set, pods: impl Iterator<Item = &'a Arc<Pod>>) -> Sorted<'a> {
    let mut sorted = Sorted { in_range: BTreeMap::new(), condemned: Vec::new() };
    for pod in pods {
        match parse_pod_name(&pod.meta.key.name) {
            Some((parent, ordinal)) if parent == set.name() => {
                if set.ordinals().contains(&ordinal) {
                    sorted.in_range.insert(ordinal, pod);
                } else {
                    sorted.condemned.push((ordinal, pod));
                }
            }
            Some(_) | None => {}
        }
    }
    sorted.condemned.sort_by_key(|(ordinal, _)| -ordinal);
    sorted
}

type Stopped = (Because, Option<i64>);

/// Phases 1 to 4. `Err`: the next act; `Ok`: what is waited for.
fn pods(view: &View, revisions: &Revisions) -> Result<Stopped, Box<Next>> {
    let set = view.set;
    let sorted = sorted(set, view.pods.iter());
    let mut first_wait: Option<Stopped> = None;
    for ordinal in set.ordinals() {
        let pod = sorted.in_range.get(&ordinal).map(|pod| &***pod);
        match replica::decide(view, revisions, ordinal, pod)? {
            Blocked::No => {}
            Blocked::Stop(because, wake) if !set.parallel => return Ok((because, wake)),
            Blocked::Stop(because, wake) => {
                first_wait.get_or_insert((because, wake));
            }
        }
    }
    if !view.memory.failed_pods.is_empty() {
        return Ok(first_wait.unwrap_or((Because::Complete, None)));
    }
    for (_, pod) in &sorted.condemned {
        if let Some(next) = replica::owners_of_claims(view, pod, true) {
            return Err(next);
        }
    }
    if let Some(stopped) = scale_down(view, &sorted)? {
        return Ok(stopped);
    }
    if let Some(stopped) = update(view, &sorted, revisions)? {
        return Ok(stopped);
    }
    Ok(first_wait.unwrap_or((Because::Complete, None)))
}

/// Phase 3: pods too many, highest ordinal first. All pods in range are
/// available by now, so that the first unavailable one of the set is the next
/// to go, and does not block itself.
fn scale_down(view: &View, sorted: &Sorted) -> Result<Option<Stopped>, Box<Next>> {
    let set = view.set;
    let mut waits = None;
    for (_, pod) in &sorted.condemned {
        if pod.meta.deleting.is_none() {
            let why = format!("it is beyond the {} pods that are wanted", set.row.replicas);
            return Err(delete_pod(set, pod, "SS3", why));
        }
        let because = Because::PodTerminating { pod: pod.meta.key.name.clone() };
        if !set.parallel {
            return Ok(Some((because, None)));
        }
        waits.get_or_insert((because, None));
    }
    Ok(waits)
}

/// Phase 4: one pod of another revision at a time, from the last index down to
/// the partition (workloads 4).
fn update(
    view: &View,
    sorted: &Sorted,
    revisions: &Revisions,
) -> Result<Option<Stopped>, Box<Next>> {
    let set = view.set;
    let Update::Rolling { partition } = set.update else { return Ok(None) };
    let lowest = set.row.start.saturating_add(partition.max(0));
    for ordinal in set.ordinals().rev().take_while(|ordinal| *ordinal >= lowest) {
        let Some(pod) = sorted.in_range.get(&ordinal) else {
            let pod = set.pod_name(ordinal).into();
            return Ok(Some((Because::UpdateWaits { pod }, None)));
        };
        let is_new = revisions::of(pod) == &*revisions.update;
        if !is_new && pod.meta.deleting.is_none() {
            let why = format!("it was made from another template than {}", revisions.update);
            return Err(delete_pod(set, pod, "SS4", why));
        }
        if replica::health(pod, set, view.now) != Health::Available {
            let wake = replica::seconds_until_available(pod, set, view.now);
            let pod = pod.meta.key.name.clone();
            return Ok(Some((Because::UpdateWaits { pod }, wake)));
        }
    }
    Ok(None)
}

/// Deletes a pod, which may take its time.
pub fn delete_pod(set: &Set, pod: &Pod, rule: &str, why: String) -> Box<Next> {
    let name = &pod.meta.key.name;
    let write = Write {
        object: pod_reference(pod),
        subresource: None,
        change: Change::Delete(json!({"preconditions": {"uid": &*pod.meta.uid}})),
        version: None,
        on_behalf_of: set.reference(),
        reason: Reason::new(rule, why),
    };
    let told = |outcome: &str| format!("Delete Pod {name} in StatefulSet {} {outcome}", set.name());
    Box::new(Next::Act(Box::new(Act {
        write,
        done: vec![Note::normal(&set.row, "SuccessfulDelete", told("successful"))],
        refused: vec![Note::warning(&set.row, "FailedDelete", told("failed error: "))],
    })))
}

pub fn pod_reference(pod: &Pod) -> ObjectRef {
    ObjectRef::new(kind::POD, pod.meta.key.clone())
}
