//! Counts and conditions of a Deployment.

use serde_json::{Value, json};

use crate::controllers::workloads::deployment::decide::{Split, View};
use crate::controllers::workloads::shell::Act;
use crate::model::object::Seconds;
use crate::model::replica_set::ReplicaSet;
use crate::model::write::{Change, Reason, Write};

/// The counts that are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counts {
    replicas: i64,
    updated: i64,
    ready: i64,
    available: i64,
}

impl Counts {
    fn of(view: &View, split: &Split) -> Self {
        let sum = |of: fn(&ReplicaSet) -> i64| view.sets.iter().map(|set| of(set)).sum();
        Self {
            replicas: sum(|set| set.status.replicas),
            updated: split.new.map_or(0, |new| new.status.replicas),
            ready: sum(|set| set.status.ready),
            available: sum(|set| set.status.available),
        }
    }

    fn held(status: &Value) -> Self {
        let count = |field: &str| status[field].as_i64().unwrap_or(0);
        Self {
            replicas: count("replicas"),
            updated: count("updatedReplicas"),
            ready: count("readyReplicas"),
            available: count("availableReplicas"),
        }
    }
}

/// The write that brings the status up to date, if it is not.
pub fn decide(view: &View, split: &Split) -> Option<Act> {
    let target = view.target;
    let held = &target.object["status"];
    let found = status(view, split);
    let same = found.as_object().into_iter().flatten().all(|(field, value)| {
        let zero = value == &json!(0) || value == &json!([]);
        held[field] == *value || (zero && held[field].is_null())
    });
    if same {
        return None;
    }
    let Counts { available, updated, .. } = Counts::of(view, split);
    let why = format!("{available} pods are available, {updated} are of the present template");
    Some(Act::silent(Write {
        object: target.reference(),
        subresource: Some("status"),
        change: Change::Merge(json!({"status": found})),
        version: Some(target.row.meta.version),
        on_behalf_of: target.reference(),
        reason: Reason::new("D5", why),
    }))
}

fn status(view: &View, split: &Split) -> Value {
    let target = view.target;
    let counts = Counts::of(view, split);
    let mut found = json!({
        "observedGeneration": target.generation,
        "replicas": counts.replicas,
        "updatedReplicas": counts.updated,
        "readyReplicas": counts.ready,
        "availableReplicas": counts.available,
        "unavailableReplicas": unavailable(view, counts),
        "conditions": conditions(view, split, counts),
    });
    if let Some(terminating) = terminating(view) {
        found["terminatingReplicas"] = terminating.into();
    }
    let collisions = target.collisions() + view.collisions;
    if collisions > 0 {
        found["collisionCount"] = collisions.into();
    }
    found
}

/// How many pods are on their way out; unknown where a set that has been looked
/// at does not say (`GetTerminatingReplicaCountForReplicaSets`).
fn terminating(view: &View) -> Option<i64> {
    let looked_at = view
        .sets
        .iter()
        .filter(|set| set.status.observed_generation > 0 || set.status.terminating.is_some());
    looked_at.map(|set| set.status.terminating).sum()
}

fn unavailable(view: &View, counts: Counts) -> i64 {
    let all: i64 = view.sets.iter().map(|set| set.replicas).sum();
    (all - counts.available).max(0)
}

/// A condition as it should be.
struct Wanted {
    kind: &'static str,
    status: &'static str,
    reason: &'static str,
    message: String,
    /// Something moved: its update time is now, although it says the same.
    moved: bool,
}

fn conditions(view: &View, split: &Split, counts: Counts) -> Value {
    let held = view.target.object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let mut wanted = vec![available(view, counts)];
    wanted.extend(progressing(view, split, counts, &held));
    wanted.extend(failing(view));
    let now = time(view.now);
    let mut conditions: Vec<Value> = Vec::new();
    for Wanted { kind, status, reason, message, moved } in wanted {
        let before = held.iter().find(|held| held["type"] == kind);
        let same = before.filter(|held| held["status"] == status && held["reason"] == reason);
        if let Some(same) = same.filter(|_| !moved) {
            conditions.push(same.clone());
            continue;
        }
        let since = before.filter(|held| held["status"] == status);
        let since = since.map_or(json!(now), |held| held["lastTransitionTime"].clone());
        conditions.push(json!({
            "type": kind, "status": status, "lastUpdateTime": now,
            "lastTransitionTime": since, "reason": reason, "message": message,
        }));
    }
    // What is not decided anew stays, but for a failure that is over.
    let known = |held: &&Value| conditions.iter().any(|new| new["type"] == held["type"]);
    let kept = held.iter().filter(|held| !known(held) && held["type"] != "ReplicaFailure");
    let kept: Vec<Value> = kept.cloned().collect();
    conditions.extend(kept);
    // In the order in which they are held, new ones last.
    let place = |condition: &Value| {
        held.iter().position(|held| held["type"] == condition["type"]).unwrap_or(held.len())
    };
    conditions.sort_by_key(place);
    conditions.into()
}

fn available(view: &View, counts: Counts) -> Wanted {
    let least = view.target.row.replicas - view.target.limits.unavailable;
    let enough = counts.available >= least;
    let not = if enough { "has" } else { "does not have" };
    Wanted {
        kind: "Available",
        status: if enough { "True" } else { "False" },
        reason: if enough { "MinimumReplicasAvailable" } else { "MinimumReplicasUnavailable" },
        message: format!("Deployment {not} minimum availability."),
        moved: false,
    }
}

/// A ReplicaSet whose pods are refused.
fn failing(view: &View) -> Option<Wanted> {
    let message = view.sets.iter().find_map(|set| set.failure.as_deref())?;
    Some(Wanted {
        kind: "ReplicaFailure",
        status: "True",
        reason: "FailedCreate",
        message: message.to_owned(),
        moved: false,
    })
}

/// Whether all pods are of the present template and available.
fn is_complete(view: &View, counts: Counts) -> bool {
    let wanted = view.target.row.replicas;
    counts.updated == wanted && counts.replicas == wanted && counts.available == wanted
}

/// How the roll-out goes (upstream: `syncRolloutStatus`); `None`: as it is.
fn progressing(view: &View, split: &Split, counts: Counts, held: &[Value]) -> Option<Wanted> {
    let before = held.iter().find(|held| held["type"] == "Progressing");
    let reason = before.and_then(|held| held["reason"].as_str()).unwrap_or_default();
    let wanted = |status, reason, what: &str, moved| {
        let set = split.new.map(|new| &*new.meta.key.name);
        let own = &view.target.row.meta.key.name;
        let message = match (reason, set) {
            ("NewReplicaSetCreated", set) => {
                format!("Created new replica set \"{}\"", set.unwrap_or_default())
            }
            (_, Some(set)) => format!("ReplicaSet \"{set}\" {what}"),
            (_, None) => format!("Deployment \"{own}\" {what}"),
        };
        Some(Wanted { kind: "Progressing", status, reason, message, moved })
    };
    if view.target.is_paused() {
        return None;
    }
    let held_counts = Counts::held(&view.target.object["status"]);
    let complete = is_complete(view, counts);
    // Completed before, and only scaled since: not a roll-out.
    if reason == "NewReplicaSetAvailable"
        && counts.updated == counts.replicas
        && split.new.is_some()
    {
        return None;
    }
    if complete {
        return wanted("True", "NewReplicaSetAvailable", "has successfully progressed.", false);
    }
    if before.is_none() && split.new.is_some() {
        return wanted("True", "NewReplicaSetCreated", "", false);
    }
    if counts.updated > held_counts.updated
        || counts.replicas - counts.updated < held_counts.replicas - held_counts.updated
        || counts.ready > held_counts.ready
        || counts.available > held_counts.available
        || reason == "NewReplicaSetAvailable"
    {
        return wanted("True", "ReplicaSetUpdated", "is progressing.", true);
    }
    if deadline(view, before).is_some_and(|deadline| deadline <= view.now) {
        return wanted("False", "ProgressDeadlineExceeded", "has timed out progressing.", false);
    }
    None
}

/// When the roll-out counts as stuck: so long after it last moved.
fn deadline(view: &View, before: Option<&Value>) -> Option<Seconds> {
    let condition = before?;
    let seconds = view.target.spec("progressDeadlineSeconds").as_i64()?;
    let moved = condition["lastUpdateTime"].as_str()?.parse::<jiff::Timestamp>().ok()?;
    moved.as_second().checked_add(seconds)
}

/// When to look again for a roll-out that does not move.
pub fn seconds_until_deadline(view: &View, split: &Split) -> Option<i64> {
    if is_complete(view, Counts::of(view, split)) || view.target.is_paused() {
        return None;
    }
    let conditions = view.target.object["status"]["conditions"].as_array()?;
    let progressing = conditions.iter().find(|held| held["type"] == "Progressing")?;
    if matches!(
        progressing["reason"].as_str(),
        Some("NewReplicaSetAvailable" | "ProgressDeadlineExceeded")
    ) {
        return None;
    }
    Some((deadline(view, Some(progressing))? - view.now).max(1))
}

fn time(now: Seconds) -> String {
    let now = jiff::Timestamp::from_second(now).unwrap_or_default();
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
