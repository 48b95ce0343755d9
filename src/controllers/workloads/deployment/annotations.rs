//! What a Deployment writes into the annotations of its ReplicaSets: its own,
//! among them the change-cause that `kubectl rollout history` shows, the number
//! of the template, and what was wanted when a set was scaled.
//!
//! Upstream: `SetNewReplicaSetAnnotations` and `SetReplicasAnnotations` in
//! `pkg/controller/deployment/util/deployment_util.go`.

use serde_json::{Map, Value};

use crate::controllers::workloads::deployment::decide::Target;
use crate::model::replica_set::{DESIRED, MAX, REVISION, REVISION_HISTORY, ReplicaSet};

/// What is the Deployment's own, or the ReplicaSet's.
const NOT_COPIED: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED,
    MAX,
    "deprecated.deployment.rollback.to",
];

/// How long the list of earlier numbers may become.
const HISTORY_CHARS_MAX: usize = 2000;

/// The annotations that the ReplicaSet of the present template lacks, or has with
/// another value. What the Deployment does not have any more stays.
pub fn due(target: &Target, set: Option<&ReplicaSet>, revision: i64) -> Map<String, Value> {
    let held = |key: &str| set.and_then(|set| set.annotation(key));
    let own = target.object["metadata"]["annotations"].as_object();
    let copied = own
        .into_iter()
        .flatten()
        .filter(|(key, value)| !NOT_COPIED.contains(&key.as_str()) && held(key) != value.as_str());
    let mut due: Map<_, _> = copied.map(|(key, value)| (key.clone(), value.clone())).collect();
    let before = set.map_or(0, ReplicaSet::revision);
    if before < revision {
        due.insert(REVISION.into(), revision.to_string().into());
        if let Some(before) = held(REVISION)
            && let Some(history) = with_number(held(REVISION_HISTORY).unwrap_or_default(), before)
        {
            due.insert(REVISION_HISTORY.into(), history.into());
        }
    }
    due
}

/// The list of earlier numbers with one more; the oldest go where it becomes too
/// long. `None` if it would not fit even so.
fn with_number(history: &str, number: &str) -> Option<String> {
    if history.is_empty() {
        return Some(number.to_owned());
    }
    let mut kept = history;
    while kept.len() + 1 + number.len() > HISTORY_CHARS_MAX {
        kept = kept.split_once(',')?.1;
    }
    Some(format!("{kept},{number}"))
}

/// The annotations that remember what was wanted when a set was scaled.
pub fn counts(target: &Target) -> Map<String, Value> {
    let wanted = target.row.replicas;
    let surge = if target.row.recreates { 0 } else { target.limits.surge };
    let note = |key: &str, count: i64| (key.to_owned(), Value::from(count.to_string()));
    Map::from_iter([note(DESIRED, wanted), note(MAX, wanted + surge)])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::deployment::Deployment;
    use crate::model::row::Row;

    fn target(annotations: &Value) -> Target {
        let object =
            json!({"metadata": {"name": "d", "namespace": "n", "annotations": annotations}});
        Target::new(Deployment::from_object(&object).expect("a deployment"), object)
    }

    fn set(annotations: &Value) -> ReplicaSet {
        let object =
            json!({"metadata": {"name": "d-1", "namespace": "n", "annotations": annotations}});
        ReplicaSet::from_object(&object).expect("a set")
    }

    #[track_caller]
    fn check(own: Value, held: Option<Value>, revision: i64, expected: Value) {
        let set = held.as_ref().map(set);
        let due = due(&target(&own), set.as_ref(), revision);
        assert_eq!(Value::Object(due), expected, "{own} on {held:?}");
    }

    #[test]
    fn annotations_of_the_deployment_are_copied_but_for_bookkeeping() {
        let own = json!({"note": "a", "kubernetes.io/change-cause": "because",
            "kubectl.kubernetes.io/last-applied-configuration": "{}", REVISION: "7"});
        let all = json!({"note": "a", "kubernetes.io/change-cause": "because", REVISION: "1"});
        check(own.clone(), None, 1, all.clone());
        check(own.clone(), Some(all.clone()), 1, json!({}));
        let mut other = all;
        other["note"] = "b".into();
        other["more"] = "stays".into();
        check(own, Some(other), 1, json!({"note": "a"}));
    }

    #[test]
    fn a_template_taken_up_again_remembers_its_earlier_numbers() {
        let one = json!({REVISION: "1"});
        check(json!({}), Some(one), 3, json!({REVISION: "3", REVISION_HISTORY: "1"}));
        let two = json!({REVISION: "3", REVISION_HISTORY: "1"});
        check(json!({}), Some(two), 5, json!({REVISION: "5", REVISION_HISTORY: "1,3"}));
        assert_eq!(with_number(&"1234,".repeat(399), "7").map(|text| text.len()), Some(1997));
        let long = vec!["1234"; 400].join(",");
        let text = with_number(&long, "9999").expect("room is made");
        assert_eq!((text.len(), text.ends_with(",9999")), (1999, true));
    }
}
