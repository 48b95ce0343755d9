//! One wanted pod: its claims, itself, and whether the next may come
//! (workloads 2, 3 phase 1).

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::controllers::events::Note;
use crate::controllers::workloads::owners::set_owners;
use crate::controllers::workloads::shell::Act;
use crate::controllers::workloads::slow_start::batch_ends_after;
use crate::controllers::workloads::stateful_set::because::Because;
use crate::controllers::workloads::stateful_set::decide::{Next, View, delete_pod, pod_reference};
use crate::controllers::workloads::stateful_set::retention::{self, Verdict};
use crate::controllers::workloads::stateful_set::revisions::{self, Revisions};
use crate::controllers::workloads::stateful_set::set::{
    POD_NAME, Set, identity_labels, parse_pod_name,
};
use crate::model::kind;
use crate::model::object::{ObjectRef, Seconds};
use crate::model::pod::Pod;
use crate::model::selector::Operator;
use crate::model::write::{Change, Reason, Write};

/// Whether the pods after one may be looked at.
#[derive(Debug, Clone, PartialEq)]
pub enum Blocked {
    No,
    /// Where pods wait for each other: not before this.
    Stop(Because, Option<i64>),
}

/// How far a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Being deleted, not running, or not ready.
    NotReady,
    /// Ready, but not for `minReadySeconds`.
    Ready,
    Available,
}

/// A pod's health, deletion counted as none.
pub fn health(pod: &Pod, set: &Set, now: Seconds) -> Health {
    let running = &*pod.phase == "Running" && pod.meta.deleting.is_none();
    match pod.ready_since.filter(|_| running) {
        None => Health::NotReady,
        Some(since) if now - since < set.min_ready_seconds => Health::Ready,
        Some(_) => Health::Available,
    }
}

fn is_pending(pod: &Pod) -> bool {
    &*pod.phase == "Pending" && pod.meta.deleting.is_none()
}

/// When a ready pod will be available, in seconds from now.
pub fn seconds_until_available(pod: &Pod, set: &Set, now: Seconds) -> Option<i64> {
    let since = pod.ready_since.filter(|_| health(pod, set, now) == Health::Ready)?;
    Some((since + set.min_ready_seconds - now).max(1))
}

/// What a wanted pod calls for. `Err`: the next act.
pub fn decide(
    view: &View,
    revisions: &Revisions,
    ordinal: i64,
    pod: Option<&Pod>,
) -> Result<Blocked, Box<Next>> {
    let set = view.set;
    let Some(pod) = pod else { return create(view, revisions, ordinal) };
    let name = pod.meta.key.name.clone();
    let is_made_now = matches!(view.memory.before.get(&name), Some(None));
    if is_made_now && !set.parallel {
        // Whatever else it calls for is for the next pass.
        return Ok(Blocked::Stop(Because::PodNotReady { pod: name }, None));
    }
    if matches!(&*pod.phase, "Failed" | "Succeeded") {
        if pod.meta.deleting.is_none() {
            let why = format!("it has ended ({}) and is to run again", pod.phase);
            return Err(delete_pod(set, pod, "SS3", why));
        }
        return Ok(Blocked::Stop(Because::PodEnded { pod: name }, None));
    }
    if is_pending(pod)
        && let Some(next) =
            missing_claim(view, &name).or_else(|| owners_of_claims(view, pod, false))
    {
        return Err(next);
    }
    if pod.meta.deleting.is_some() {
        return Ok(Blocked::Stop(Because::PodTerminating { pod: name }, None));
    }
    let blocked = match health(pod, set, view.now) {
        Health::NotReady => Blocked::Stop(Because::PodNotReady { pod: name }, None),
        Health::Ready => {
            let seconds = seconds_until_available(pod, set, view.now).unwrap_or(1);
            Blocked::Stop(Because::PodNotLongReady { pod: name, seconds }, Some(seconds))
        }
        Health::Available => Blocked::No,
    };
    if blocked != Blocked::No && !set.parallel {
        return Ok(blocked);
    }
    match identity(set, pod).or_else(|| owners_of_claims(view, pod, false)) {
        Some(next) => Err(next),
        None => Ok(blocked),
    }
}

/// A pod that is not there: its claims first, then itself.
fn create(view: &View, revisions: &Revisions, ordinal: i64) -> Result<Blocked, Box<Next>> {
    let set = view.set;
    let name: Arc<str> = set.pod_name(ordinal).into();
    let nothing = Because::PodNotReady { pod: name.clone() };
    if view.memory.failed_pods.contains_key(&name) || batch_is_over(view) {
        return Ok(Blocked::Stop(nothing, None));
    }
    let stale = set.claims_of(&name).map(|(claim, _)| claim).find(|claim| {
        view.claims.get(claim).is_some_and(|claim| retention::is_stale(set, &name, claim))
    });
    if let Some(claim) = stale {
        return Ok(Blocked::Stop(Because::StaleClaim { claim, pod: name }, None));
    }
    if let Some(next) = missing_claim(view, &name) {
        return Err(next);
    }
    let errors = claim_errors(view, &name);
    if let Some(error) = aggregate(&errors) {
        let message = pod_message(set, "Create", &name, &format!("failed error: {error}"));
        let told = vec![Note::warning(&set.row, "FailedCreate", message)];
        return Err(Box::new(Next::GiveUp { pod: name, error, told }));
    }
    let revision = revisions.for_new_pod(set, ordinal);
    let template = if *revision == *revisions.update {
        &set.template
    } else if let Some(template) = view.templates.get(&revision) {
        template
    } else {
        let key = set.key(revision);
        return Err(Box::new(Next::Read(ObjectRef::new(kind::CONTROLLER_REVISION, key))));
    };
    let write = Write {
        object: ObjectRef::new(kind::POD, set.key(name.clone())),
        subresource: None,
        change: Change::Create(set.pod(ordinal, template, &revision)),
        version: None,
        on_behalf_of: set.reference(),
        reason: Reason::new("SS3", why_create(set, ordinal)),
    };
    let told = |outcome: &str| pod_message(set, "Create", &name, outcome);
    Err(Box::new(Next::Act(Box::new(Act {
        write,
        done: vec![Note::normal(&set.row, "SuccessfulCreate", told("successful"))],
        refused: vec![Note::warning(&set.row, "FailedCreate", told("failed error: "))],
    }))))
}

fn why_create(set: &Set, ordinal: i64) -> String {
    let wanted = set.row.replicas;
    if set.parallel {
        return format!("it is one of the {wanted} pods that are wanted");
    }
    if ordinal == set.row.start {
        return format!("it is the first of the {wanted} pods that are wanted");
    }
    format!("{} is ready, it is the next of the {wanted} wanted", set.pod_name(ordinal - 1))
}

/// Whether a pod failed in the batch that has ended.
fn batch_is_over(view: &View) -> bool {
    !view.memory.failed_pods.is_empty() && batch_ends_after(view.memory.attempts)
}

/// The next claim that is missing and was not refused in this pass.
fn missing_claim(view: &View, pod: &Arc<str>) -> Option<Box<Next>> {
    let set = view.set;
    let (claim, template) = set.claims_of(pod).find(|(claim, _)| {
        !view.claims.contains_key(claim) && !view.memory.refused_claims.contains_key(claim)
    })?;
    let write = Write {
        object: ObjectRef::new(kind::PERSISTENT_VOLUME_CLAIM, set.key(claim.clone())),
        subresource: None,
        change: Change::Create(set.claim(&claim, template, &match_labels(set))),
        version: None,
        on_behalf_of: set.reference(),
        reason: Reason::new("SS2", format!("{pod} needs it, and it does not exist yet")),
    };
    let name = set.name();
    let done = format!("Create Claim {claim} Pod {pod} in StatefulSet {name} success");
    let refused =
        format!("Create Claim {claim} for Pod {pod} in StatefulSet {name} failed error: ");
    Some(Box::new(Next::Act(Box::new(Act {
        write,
        done: vec![Note::normal(&set.row, "SuccessfulCreate", done)],
        refused: vec![Note::warning(&set.row, "FailedCreate", refused)],
    }))))
}

/// The labels that the selector names with their values.
fn match_labels(set: &Set) -> Value {
    let equal = set.selector().requirements.iter().filter(|requirement| {
        requirement.operator == Operator::In && requirement.values.len() == 1
    });
    let mut labels = Map::new();
    for requirement in equal {
        labels.insert(requirement.key.to_string(), (&*requirement.values[0]).into());
    }
    labels.into()
}

/// What keeps a pod from its claims.
fn claim_errors(view: &View, pod: &str) -> Vec<String> {
    let mut errors = Vec::new();
    for (claim, _) in view.set.claims_of(pod) {
        if let Some(words) = view.memory.refused_claims.get(&claim) {
            errors.push(format!("failed to create PVC {claim}: {words}"));
        } else if view.claims.get(&claim).is_some_and(|claim| claim.meta.deleting.is_some()) {
            errors.push(format!("pvc {claim} is being deleted"));
        }
    }
    errors
}

/// Errors as one text (upstream: `errors.NewAggregate`).
fn aggregate(errors: &[String]) -> Option<String> {
    match errors {
        [] => None,
        [one] => Some(one.clone()),
        more => Some(format!("[{}]", more.join(", "))),
    }
}

fn pod_message(set: &Set, verb: &str, pod: &str, outcome: &str) -> String {
    format!("{verb} Pod {pod} in StatefulSet {} {outcome}", set.name())
}

/// A pod whose own labels were changed gets them back.
fn identity(set: &Set, pod: &Pod) -> Option<Box<Next>> {
    let name = &pod.meta.key.name;
    if pod.meta.label(POD_NAME) == Some(name) {
        return None;
    }
    let (_, ordinal) = parse_pod_name(name)?;
    let labels: Map<_, _> = identity_labels(name, ordinal)
        .into_iter()
        .map(|(label, value)| (label.to_owned(), value.into()))
        .collect();
    let write = Write {
        object: pod_reference(pod),
        subresource: None,
        change: Change::Merge(json!({"metadata": {"labels": labels}})),
        version: Some(pod.meta.version),
        on_behalf_of: set.reference(),
        reason: Reason::new("SS1", "the labels that tell it from the others were changed"),
    };
    Some(Box::new(Next::Act(Box::new(updating(set, name, write)))))
}

/// A write that repairs a pod or its claims.
fn updating(set: &Set, pod: &str, write: Write) -> Act {
    let told = |outcome: &str| pod_message(set, "Update", pod, outcome);
    Act {
        write,
        done: vec![Note::normal(&set.row, "SuccessfulUpdate", told("successful"))],
        refused: vec![Note::warning(&set.row, "FailedUpdate", told("failed error: "))],
    }
}

/// The next claim of a pod whose owners are not those the policy asks for.
pub fn owners_of_claims(view: &View, pod: &Pod, condemned: bool) -> Option<Box<Next>> {
    let set = view.set;
    let name = &pod.meta.key.name;
    let claims = set.claims_of(name).filter_map(|(claim, _)| view.claims.get(&claim));
    for claim in claims {
        let (owners, conflicting) = match retention::judge(set, pod, claim, condemned) {
            Verdict::AsWanted | Verdict::Conflicting(None) => continue,
            Verdict::Rewrite(owners) => (owners, false),
            Verdict::Conflicting(Some(owners)) => (owners, true),
        };
        let rule = Reason::new("SS6", why_owners(set, condemned, conflicting));
        let object = ObjectRef::new(kind::PERSISTENT_VOLUME_CLAIM, claim.meta.key.clone());
        let write = set_owners(object, &claim.meta, owners, &set.reference(), rule);
        let mut act = updating(set, name, write);
        let claim = &claim.meta.key.name;
        for note in &mut act.refused {
            note.message
                .push_str(&format!("could not update claim {claim} for delete policy ownerRefs: "));
        }
        if condemned || is_pending(pod) {
            // Part of making or taking away the pod: no update of it.
            act.done.clear();
        }
        if conflicting {
            act.done.push(conflict_note(set, claim));
        }
        return Some(Box::new(Next::Act(Box::new(act))));
    }
    None
}

fn conflict_note(set: &Set, claim: &str) -> Note {
    let message = format!(
        "PersistentVolumeClaim {claim} has a conflicting OwnerReference that acts as a manging \
         controller, the retention policy is ignored for this claim"
    );
    Note::warning(&set.row, "ConflictingController", message)
}

fn why_owners(set: &Set, condemned: bool, conflicting: bool) -> String {
    if conflicting {
        return "somebody else controls it, so the retention policy does not hold".into();
    }
    let policy = |delete: bool| if delete { "Delete" } else { "Retain" };
    let row = &set.row;
    let (deleted, scaled) =
        (policy(row.deletes_claims_with_set), policy(row.deletes_claims_when_scaled));
    let whose = match retention::keeper(set, condemned) {
        retention::Keeper::Nobody => "nobody's",
        retention::Keeper::Set => "the set's",
        retention::Keeper::Pod => "its pod's, with which it goes",
    };
    format!("whenDeleted {deleted}, whenScaled {scaled}: it is {whose}")
}

/// The name of the revision that a pod was made from.
pub fn is_at(pod: &Pod, revision: &str) -> bool {
    revisions::of(pod) == revision
}
