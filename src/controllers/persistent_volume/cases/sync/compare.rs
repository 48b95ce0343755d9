//! What a row says is there afterwards, and what was told.

use serde_json::Value;

use super::super::notation::{Names, claim, compared, volume};
use super::super::world::World;
use super::volumes;
use crate::model::event::Severity;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};

pub(super) fn expect(
    expected: &mut Vec<(ObjectRef, Option<Value>)>,
    names: &Names,
    after: &str,
    claim_after: &str,
    own_claim: &ObjectRef,
) {
    if after == "gone" {
        expected[0].1 = None;
    }
    let message = after.split_once("; message ").map(|(_, message)| message);
    let mut cells: Vec<(String, String)> =
        volumes(names, after).into_iter().map(|(name, cell)| (name, cell.to_owned())).collect();
    if after == "PROV" {
        let claim = expected.iter().find(|(object, _)| object == own_claim);
        let class =
            claim.and_then(|(_, claim)| claim.as_ref()?["spec"]["storageClassName"].as_str());
        let phase = if claim_after.contains("Bound") { "Bound" } else { "Pending" };
        let class = class.unwrap_or_default();
        let cell = format!("1Gi {phase} ref=me Delete class={class} bc pb fin=[PVC]");
        cells.push((format!("pvc-{}", names.uid()), cell));
    }
    for (name, cell) in cells {
        let object = ObjectRef::new(kind::PERSISTENT_VOLUME, Key::cluster(&*name));
        let held = expected.iter().position(|(other, _)| *other == object);
        if cell == "gone" {
            expected[held.expect("a volume")].1 = None;
            continue;
        }
        let before = held.and_then(|at| expected[at].1.clone());
        let unmigrated = cell == "unmigrated";
        let mut wanted = match (unmigrated, before.as_ref()) {
            (true, Some(before)) => before.clone(),
            (_, before) => volume(names, &name, &cell, before),
        };
        if unmigrated && let Some(annotations) = wanted["metadata"]["annotations"].as_object_mut() {
            annotations.remove("pv.kubernetes.io/migrated-to");
        }
        if let Some(message) = message {
            wanted["status"]["message"] = message.into();
        }
        match held {
            Some(at) => expected[at].1 = Some(wanted),
            None => expected.push((object, Some(wanted))),
        }
    }
    if matches!(claim_after, "=" | "-") {
        return;
    }
    let held = expected.iter().position(|(object, _)| object == own_claim);
    let before = held.and_then(|at| expected[at].1.clone());
    let wanted = match claim_after.strip_prefix("migrated=") {
        Some(driver) => {
            let mut wanted = before.expect("a claim");
            wanted["metadata"]["annotations"]["pv.kubernetes.io/migrated-to"] = driver.into();
            wanted
        }
        None => claim(names, claim_after, before.as_ref()),
    };
    match held {
        Some(at) => expected[at].1 = Some(wanted),
        None => expected.push((own_claim.clone(), Some(wanted))),
    }
}

pub(super) fn differences(world: &World, expected: &[(ObjectRef, Option<Value>)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (object, wanted) in expected {
        let found = world.server.object(object).as_ref().map(compared);
        let wanted = wanted.as_ref().map(compared);
        if found != wanted {
            let text = |value: Option<Value>| value.map_or("nothing".into(), |v| v.to_string());
            wrong.push(format!(
                "{object} is {}\n      but should be {}",
                text(found),
                text(wanted)
            ));
        }
    }
    let kinds = [kind::PERSISTENT_VOLUME, kind::PERSISTENT_VOLUME_CLAIM];
    for object in world.server.lock().objects.keys() {
        let known = expected.iter().any(|(other, _)| other == object);
        if kinds.contains(&object.kind) && !known {
            wrong.push(format!("{object} should not be there"));
        }
    }
    wrong
}

pub(super) fn events_differ(
    world: &mut World,
    events: &str,
    enqueued: &[ObjectRef],
    own_claim: &ObjectRef,
) -> Vec<String> {
    let notes = world.notes();
    let told: Vec<String> = notes
        .iter()
        .map(|note| {
            let severity = if note.severity == Severity::Normal { "N" } else { "W" };
            format!("{severity} {} ~{}", note.reason, note.message)
        })
        .collect();
    if events == "enqueued" {
        let right = told.is_empty() && enqueued == [own_claim.clone()];
        return (!right)
            .then(|| format!("told {told:?}, enqueued {enqueued:?}"))
            .into_iter()
            .collect();
    }
    let repeats = events.ends_with('…');
    let wanted: Vec<&str> = match events.trim_end_matches('…').trim() {
        "-" => Vec::new(),
        list => list.split(" & ").collect(),
    };
    let matches = |wanted: &str, told: &str| {
        let (head, message) = wanted.split_once(" ~").unwrap_or((wanted, ""));
        told.starts_with(&format!("{head} ~")) && told.contains(message)
    };
    let right = if repeats {
        !told.is_empty() && told.iter().all(|told| matches(wanted[0], told))
    } else {
        told.len() == wanted.len() && wanted.iter().zip(&told).all(|(w, t)| matches(w, t))
    };
    (!right).then(|| format!("told {told:?}, but should {wanted:?}")).into_iter().collect()
}
