//! What a Deployment calls for next.

use std::sync::Arc;

use serde_json::Value;

use crate::controllers::workloads::deployment::limits::Limits;
use crate::controllers::workloads::deployment::proportion;
use crate::controllers::workloads::deployment::replica_sets as sets;
use crate::controllers::workloads::deployment::status;
use crate::controllers::workloads::owners;
use crate::controllers::workloads::shell::Act;
use crate::model::deployment::Deployment;
use crate::model::kind;
use crate::model::object::{ObjectRef, Seconds};
use crate::model::replica_set::ReplicaSet;
use crate::model::template;

/// A Deployment as its controller reads it from the server.
#[derive(Debug, Clone)]
pub struct Target {
    pub row: Deployment,
    pub generation: i64,
    /// What its template says; see [`template::digest`].
    pub digest: u64,
    pub limits: Limits,
    pub object: Value,
}

impl Target {
    pub fn new(row: Deployment, object: Value) -> Self {
        let spec = &object["spec"];
        Self {
            generation: object["metadata"]["generation"].as_i64().unwrap_or(0),
            digest: template::digest(&spec["template"]),
            limits: Limits::of(&spec["strategy"], row.replicas),
            row,
            object,
        }
    }

    pub fn reference(&self) -> ObjectRef {
        ObjectRef::new(kind::DEPLOYMENT, self.row.meta.key.clone())
    }

    pub fn spec(&self, field: &str) -> &Value {
        &self.object["spec"][field]
    }

    pub fn is_paused(&self) -> bool {
        *self.spec("paused") == true
    }

    pub fn collisions(&self) -> i64 {
        self.object["status"]["collisionCount"].as_i64().unwrap_or(0)
    }
}

/// Everything that is known.
pub struct View<'a> {
    pub target: &'a Target,
    /// The ReplicaSets that it controls.
    pub sets: &'a [Arc<ReplicaSet>],
    /// ReplicaSets of its namespace without a controller.
    pub orphans: &'a [Arc<ReplicaSet>],
    /// Whether a pod of an old ReplicaSet still runs; asked for `Recreate`.
    pub old_pods_run: bool,
    pub now: Seconds,
    /// Names that turned out to be taken by other templates.
    pub collisions: i64,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    Act(Box<Act>),
    Rest { wake: Option<i64> },
}

/// The ReplicaSet of the present template and the others, oldest first.
pub struct Split<'a> {
    pub new: Option<&'a Arc<ReplicaSet>>,
    pub old: Vec<&'a Arc<ReplicaSet>>,
}

/// Finds the ReplicaSet of the template: of several the oldest (upstream:
/// `FindNewReplicaSet`).
pub fn split<'a>(view: &View<'a>) -> Split<'a> {
    let mut sets: Vec<&Arc<ReplicaSet>> = view.sets.iter().collect();
    sets.sort_by_key(|set| (set.meta.created, set.meta.key.name.clone()));
    let new = sets.iter().position(|set| set.template == view.target.digest);
    let new = new.map(|at| sets.remove(at));
    Split { new, old: sets }
}

/// What the Deployment calls for next.
pub fn decide(view: &View) -> Next {
    let split = split(view);
    let going = view.target.row.meta.deleting.is_some();
    if !going && let Some(act) = membership(view).or_else(|| roll_out(view, &split)) {
        return Next::Act(Box::new(act));
    }
    if let Some(act) = status::decide(view, &split) {
        return Next::Act(Box::new(act));
    }
    if !going && let Some(act) = sets::clean_up(view, &split) {
        return Next::Act(Box::new(act));
    }
    Next::Rest { wake: status::seconds_until_deadline(view, &split) }
}

/// Adopts ReplicaSets that are selected, and lets go of those that are not.
fn membership(view: &View) -> Option<Act> {
    let (row, owner) = (&view.target.row, view.target.reference());
    let reference = |set: &ReplicaSet| ObjectRef::new(kind::REPLICA_SET, set.meta.key.clone());
    let adopted = view.orphans.iter().find(|set| row.selector.matches(&set.meta.labels));
    if let Some(set) = adopted {
        let write = owners::adopt(reference(set), &set.meta, &owner, &row.meta.uid);
        return Some(Act::silent(write));
    }
    let released = view
        .sets
        .iter()
        .find(|set| set.meta.deleting.is_none() && !row.selector.matches(&set.meta.labels))?;
    let write = owners::release(reference(released), &released.meta, &owner, &row.meta.uid);
    Some(Act::silent(write))
}

/// The next write that brings pods to the template. While paused nothing is
/// rolled out, and only the count is followed.
fn roll_out(view: &View, split: &Split) -> Option<Act> {
    let target = view.target;
    if target.is_paused() {
        return proportion::scale(view, split);
    }
    if target.row.recreates {
        return recreate(view, split);
    }
    if proportion::is_due(view, split)
        && let Some(act) = proportion::scale(view, split)
    {
        return Some(act);
    }
    let Some(new) = split.new else { return Some(sets::create(view, split)) };
    sets::annotate(view, split, new)
        .or_else(|| grow(view, split, new))
        .or_else(|| shrink(view, split, new))
}

/// All old pods go before the first new one comes.
fn recreate(view: &View, split: &Split) -> Option<Act> {
    let old = split.old.iter().find(|set| set.replicas > 0);
    if let Some(old) = old {
        return sets::scale(view, old, 0, "old pods go before new ones come");
    }
    if view.old_pods_run {
        return None;
    }
    let Some(new) = split.new else { return Some(sets::create(view, split)) };
    let why = "no pod of an old template runs any more";
    sets::annotate(view, split, new)
        .or_else(|| sets::scale(view, new, view.target.row.replicas, why))
}

/// How many pods the new ReplicaSet may have now (upstream:
/// `NewRSNewReplicas`).
pub fn new_replicas(view: &View, split: &Split, there: i64) -> i64 {
    let wanted = view.target.row.replicas;
    if view.target.row.recreates {
        return wanted;
    }
    let all = there + split.old.iter().map(|set| set.replicas).sum::<i64>();
    let most = wanted + view.target.limits.surge;
    there + (most - all).clamp(0, (wanted - there).max(0))
}

fn grow(view: &View, split: &Split, new: &ReplicaSet) -> Option<Act> {
    let wanted = view.target.row.replicas;
    if new.replicas > wanted {
        return sets::scale(view, new, wanted, "fewer pods are wanted");
    }
    let replicas = new_replicas(view, split, new.replicas);
    let why = format!("at most {} pods may exist meanwhile", wanted + view.target.limits.surge);
    sets::scale(view, new, replicas, &why)
}

/// Takes old pods away: first those that are not healthy, then as many as may
/// be missing (upstream: `reconcileOldReplicaSets`).
fn shrink(view: &View, split: &Split, new: &ReplicaSet) -> Option<Act> {
    let Limits { unavailable, .. } = view.target.limits;
    let wanted = view.target.row.replicas;
    let least = wanted - unavailable;
    let old: i64 = split.old.iter().map(|set| set.replicas).sum();
    if old == 0 {
        return None;
    }
    let new_unavailable = new.replicas - new.status.available;
    let mut may_go = (old + new.replicas - least - new_unavailable).max(0);
    for set in split.old.iter().filter(|set| set.replicas > 0) {
        let unhealthy = (set.replicas - set.status.available).clamp(0, may_go);
        if unhealthy > 0 {
            return sets::scale(view, set, set.replicas - unhealthy, "its pods are not healthy");
        }
        may_go -= unhealthy;
    }
    let available: i64 = view.sets.iter().map(|set| set.status.available.min(set.replicas)).sum();
    let may_go = (available - least).max(0);
    let set = split.old.iter().find(|set| set.replicas > 0)?;
    let why = format!("{available} pods are available, at least {least} have to be");
    sets::scale(view, set, set.replicas - may_go.min(set.replicas), &why)
}
