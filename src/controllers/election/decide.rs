//! What a candidate does about a Lease.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::model::write::Change;

/// How long a Lease is good for after its last renewal (upstream's default).
pub const DURATION: SignedDuration = SignedDuration::from_secs(15);

/// A Lease as a candidate sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub version: u64,
    pub spec: Value,
    /// When it was first seen like this, by the candidate's own clock: what
    /// others write into it need not be true.
    pub since: Timestamp,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Writing this makes, or keeps, us the holder.
    Write { change: Change, version: Option<u64>, why: &'static str },
    /// Somebody else holds it.
    StandBy { holder: Arc<str> },
}

/// What `me` does about the Lease `name`.
pub fn decide(name: &str, lease: Option<&Seen>, me: &str, now: Timestamp) -> Step {
    let Some(seen) = lease else {
        let spec = spec(me, now, now, 0);
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "namespace": super::keeper::NAMESPACE}, "spec": spec,
        });
        return Step::Write { change: Change::Create(lease), version: None, why: "nobody leads" };
    };
    let holder = seen.spec["holderIdentity"].as_str().unwrap_or_default();
    let patch = |spec: Value, why| Step::Write {
        change: Change::Merge(json!({"spec": spec})),
        version: Some(seen.version),
        why,
    };
    if holder == me {
        return patch(json!({"renewTime": micro(now)}), "the leader is alive");
    }
    let seconds = seen.spec["leaseDurationSeconds"].as_i64().unwrap_or(0);
    let good_for = SignedDuration::from_secs(seconds);
    if !holder.is_empty() && now.duration_since(seen.since) < good_for {
        return Step::StandBy { holder: holder.into() };
    }
    let transitions = seen.spec["leaseTransitions"].as_i64().unwrap_or(0).saturating_add(1);
    patch(spec(me, now, now, transitions), "whoever led is not heard of any more")
}

fn spec(me: &str, acquired: Timestamp, renewed: Timestamp, transitions: i64) -> Value {
    json!({
        "holderIdentity": me, "leaseDurationSeconds": DURATION.as_secs(),
        "acquireTime": micro(acquired), "renewTime": micro(renewed),
        "leaseTransitions": transitions,
    })
}

/// A `MicroTime`.
fn micro(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("in range")
    }

    /// A Lease of this holder, seen like this for so many seconds: who holds it
    /// afterwards, as the how manieth, and how it is written.
    fn after(holder: &str, seconds: i64) -> (String, i64, &'static str) {
        let spec = json!({"holderIdentity": holder, "leaseDurationSeconds": 15,
            "leaseTransitions": 4, "renewTime": "2100-01-01T00:00:00.000000Z"});
        let seen = Seen { version: 7, spec: spec.clone(), since: at(0) };
        match decide("kube-scheduler", Some(&seen), "me", at(seconds)) {
            Step::StandBy { holder } => (holder.to_string(), 4, "not at all"),
            Step::Write { change: Change::Merge(patch), version: Some(7), .. } => {
                let mut spec = spec;
                json_patch::merge(&mut spec, &patch["spec"]);
                let how = if patch["spec"]["acquireTime"].is_null() { "renewed" } else { "taken" };
                let transitions = spec["leaseTransitions"].as_i64().expect("a count");
                (spec["holderIdentity"].as_str().expect("a holder").to_owned(), transitions, how)
            }
            Step::Write { .. } => unreachable!("it is there"),
        }
    }

    #[test]
    fn a_lease_is_taken_once_its_holder_has_not_renewed_it_for_as_long_as_it_lasts() {
        for (holder, seconds, expected) in [
            ("me", 0, ("me", 4, "renewed")),
            ("me", 100, ("me", 4, "renewed")),
            ("other", 0, ("other", 4, "not at all")),
            ("other", 14, ("other", 4, "not at all")),
            ("other", 15, ("me", 5, "taken")),
            // It was given up.
            ("", 0, ("me", 5, "taken")),
        ] {
            let (who, transitions, how) = after(holder, seconds);
            assert_eq!((&*who, transitions, how), expected, "{holder} after {seconds} s");
        }
    }

    #[test]
    fn a_lease_that_is_not_there_is_made() {
        let Step::Write { change: Change::Create(lease), version: None, .. } =
            decide("kube-scheduler", None, "me", at(0))
        else {
            panic!("it is made");
        };
        assert_eq!(
            lease["metadata"],
            json!({"name": "kube-scheduler", "namespace": "kube-system"})
        );
        assert_eq!(lease["spec"]["leaseDurationSeconds"], 15);
        assert_eq!(lease["spec"]["renewTime"], "2027-01-15T08:00:00.000000Z");
    }
}
