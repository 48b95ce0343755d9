//! Pods: who uses storage.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::json::{child, fill, integer, is_true, list, put, restore, text};
use super::pod_template::default_spec;
use super::table::{AGE, NAME, age, column, name, or, wide};
use super::{
    pod_changes, pod_rules, pod_scheduling_rules, pod_status, pod_template, priority_class,
};
use crate::cluster::embedded::kind::{
    AdmissionView, Column, SelectableField, ServedKind, Subresource, Traits,
};
use crate::cluster::embedded::status::{ApiError, FieldErrors};
use crate::cluster::embedded::validation::{metadata, names};
use crate::model::kind;
use crate::model::pod_needs::GATED;

/// Pods as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::POD,
    categories: &["all"],
    subresources: &[
        Subresource { name: "binding", verbs: &["create"], body: Some(("", "v1", "Binding")) },
        Subresource {
            name: "eviction",
            verbs: &["create"],
            body: Some(("policy", "v1", "Eviction")),
        },
        Subresource { name: "log", verbs: &["get"], body: None },
        super::STATUS,
    ],
    traits: Traits {
        generation: true,
        delete_returns_object: true,
        graceful_deletion: true,
        ..super::PLAIN
    },
    columns: COLUMNS,
    cells,
    fields: FIELDS,
    default,
    prepare,
    admit,
    validate,
    validate_update,
    warnings: |pod| pod_scheduling_rules::warnings(&pod["spec"], "spec"),
    ..super::BASE
};

const COLUMNS: &[Column] = &[
    NAME,
    column("Ready", "How many of its containers are ready, of how many."),
    column("Status", "What it is doing, or what it waits for."),
    column("Restarts", "How often its containers were started again, and when last."),
    AGE,
    wide("IP", "Its address."),
    wide("Node", "The node it runs on."),
    wide("Nominated Node", "The node on which room is being made for it."),
    wide("Readiness Gates", "How many of the conditions others must set are met."),
];

const FIELDS: &[SelectableField] = &[
    SelectableField { label: "spec.host", value: |o| text(o, "/spec/nodeName").to_owned() },
    SelectableField { label: "spec.nodeName", value: |o| text(o, "/spec/nodeName").to_owned() },
    SelectableField {
        label: "spec.restartPolicy",
        value: |o| text(o, "/spec/restartPolicy").to_owned(),
    },
    SelectableField {
        label: "spec.schedulerName",
        value: |o| text(o, "/spec/schedulerName").to_owned(),
    },
    SelectableField {
        label: "spec.serviceAccountName",
        value: |o| text(o, "/spec/serviceAccountName").to_owned(),
    },
    SelectableField {
        label: "spec.hostNetwork",
        value: |o| is_true(o, "/spec/hostNetwork").to_string(),
    },
    SelectableField { label: "status.phase", value: |o| text(o, "/status/phase").to_owned() },
    SelectableField { label: "status.podIP", value: |o| text(o, "/status/podIP").to_owned() },
    SelectableField {
        label: "status.podIPs",
        value: |o| {
            let all = list(o, "/status/podIPs").iter();
            all.map(|address| text(address, "/ip")).collect::<Vec<_>>().join(",")
        },
    },
    SelectableField {
        label: "status.nominatedNodeName",
        value: |o| text(o, "/status/nominatedNodeName").to_owned(),
    },
];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let shown = pod_status::summary(object, now);
    let or_none = |pointer: &str| Value::from(or(text(object, pointer), "<none>"));
    vec![
        name(object),
        format!("{}/{}", shown.ready, shown.containers).into(),
        shown.words.into(),
        shown.restarts.into(),
        age(object, now),
        or_none("/status/podIP"),
        or_none("/spec/nodeName"),
        or_none("/status/nominatedNodeName"),
        readiness_gates(object).into(),
    ]
}

fn readiness_gates(pod: &Value) -> String {
    let gates = list(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let met = |gate: &&Value| {
        list(pod, "/status/conditions").iter().any(|condition| {
            text(condition, "/type") == text(gate, "/conditionType")
                && text(condition, "/status") == "True"
        })
    };
    format!("{}/{}", gates.iter().filter(met).count(), gates.len())
}

fn default(object: &mut Value) {
    if let Some(spec) = child(object, "spec") {
        default_spec(spec);
        fill(spec, "enableServiceLinks", true);
    }
    if let Some(status) = child(object, "status") {
        fill(status, "phase", "Pending");
    }
}

fn prepare(object: &mut Value, old: Option<&Value>, subresource: Option<&str>, now: Timestamp) {
    match (old, subresource) {
        (None, _) => {
            if integer(object, "/spec/terminationGracePeriodSeconds") < 0 {
                object["spec"]["terminationGracePeriodSeconds"] = 1.into();
            }
            let class = pod_template::quality_of_service(object);
            let mut status = json!({"phase": "Pending", "qosClass": class});
            if !list(object, "/spec/schedulingGates").is_empty() {
                status["conditions"] = json!([{
                    "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
                    "message": GATED,
                    "lastTransitionTime": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                }]);
            }
            put(object, "status", Some(status));
        }
        (Some(old), Some("status")) => {
            restore(object, old, "spec");
            // Owners and finalizers are for the main endpoint.
            if let Some((metadata, old)) = child(object, "metadata").zip(old.get("metadata")) {
                restore(metadata, old, "ownerReferences");
                restore(metadata, old, "finalizers");
            }
            if let Some(status) = child(object, "status") {
                fill(status, "qosClass", text(old, "/status/qosClass"));
            }
        }
        (Some(old), _) => restore(object, old, "status"),
    }
}

/// Admission `Priority`, and on create `DefaultTolerationSeconds`.
fn admit(
    object: &mut Value,
    old: Option<&Value>,
    view: &dyn AdmissionView,
) -> Result<(), ApiError> {
    priority_class::admit_pod(object, old, view)?;
    let Some(spec) = child(object, "spec").filter(|_| old.is_none()) else { return Ok(()) };
    fill(spec, "tolerations", Value::Array(Vec::new()));
    if let Some(tolerations) = spec.get_mut("tolerations").and_then(Value::as_array_mut) {
        for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
            if !tolerations.iter().any(|toleration| tolerates(toleration, key)) {
                tolerations.push(json!({
                    "key": key, "operator": "Exists", "effect": "NoExecute",
                    "tolerationSeconds": 300,
                }));
            }
        }
    }
    Ok(())
}

/// Whether the toleration says anything of eviction for this taint.
fn tolerates(toleration: &Value, key: &str) -> bool {
    matches!(text(toleration, "/key"), "" if text(toleration, "/operator") == "Exists")
        && matches!(text(toleration, "/effect"), "" | "NoExecute")
        || text(toleration, "/key") == key
            && matches!(text(toleration, "/effect"), "" | "NoExecute")
}

fn validate(object: &Value, errors: &mut FieldErrors) {
    metadata::validate(object, kind::POD, names::subdomain, errors);
    let nothing = json!({});
    pod_rules::validate(object.get("spec").unwrap_or(&nothing), "spec", errors);
}

fn validate_update(
    object: &Value,
    old: &Value,
    subresource: Option<&str>,
    errors: &mut FieldErrors,
) {
    metadata::validate_update(object, old, errors);
    if subresource.is_none() {
        pod_changes::validate(object, old, errors);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn base() -> Value {
        json!({
            "metadata": {"name": "p", "namespace": "n", "resourceVersion": "1"},
            "spec": {
                "containers": [{"name": "c", "image": "i"}],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "a"}}],
            },
        })
    }

    fn with_container(change: Value) -> Value {
        let mut container = json!({"name": "c", "image": "i"});
        json_patch::merge(&mut container, &change);
        json!({"spec": {"containers": [container]}})
    }

    #[test]
    fn a_new_pod_is_refused_for_what_is_wrong_with_it() {
        check_refusals(
            &ROW,
            &base(),
            &[
                (json!({}), &[]),
                (json!({"spec": {"containers": null}}), &["spec.containers: Required value"]),
                (
                    with_container(json!({"image": null})),
                    &["spec.containers[0].image: Required value"],
                ),
                (
                    with_container(json!({"volumeMounts": [{"name": "x", "mountPath": "/a"}]})),
                    &["spec.containers[0].volumeMounts[0].name: Not found: \"x\""],
                ),
                (
                    with_container(json!({"volumeMounts": [
                        {"name": "data", "mountPath": "/a"}, {"name": "data", "mountPath": "/a"},
                    ]})),
                    &[
                        "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/a\": must be \
                     unique",
                    ],
                ),
                (
                    with_container(
                        json!({"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}}),
                    ),
                    &[
                        "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than \
                     or equal to cpu limit of 1",
                    ],
                ),
                (
                    json!({"spec": {"volumes": [{"name": "a", "persistentVolumeClaim": {}}]}}),
                    &["spec.volumes[0].persistentVolumeClaim.claimName: Required value"],
                ),
                (
                    json!({"spec": {"volumes": [{"name": "a"}, {"name": "a"}]}}),
                    &["spec.volumes[1].name: Duplicate value: \"a\""],
                ),
                (
                    json!({"spec": {"restartPolicy": "Never again"}}),
                    &["spec.restartPolicy: Unsupported value: \"Never again\": supported values: \
                 \"Always\", \"OnFailure\", \"Never\""],
                ),
            ],
        );
    }

    #[test]
    fn a_stored_pod_takes_other_images_and_tolerations() {
        let stored = taken(&ROW, &base(), &Objects(Vec::new())).expect("a pod");
        let image = |image: &str| {
            let mut containers = stored["spec"]["containers"].clone();
            containers[0]["image"] = image.into();
            json!({"spec": {"containers": containers}})
        };
        assert!(change_refusals(&ROW, &stored, &image("j")).is_empty());
        let refused = change_refusals(&ROW, &stored, &json!({"spec": {"nodeName": "n"}}));
        assert_eq!(refused.len(), 1);
        assert!(refused[0].starts_with("spec: Forbidden: pod updates may not change fields"));
        assert!(refused[0].contains("+ \"NodeName\": \"n\""), "{}", refused[0]);
    }

    #[test]
    fn a_new_pod_gets_tolerations_priority_and_its_class_of_service() {
        let pod = taken(&ROW, &base(), &Objects(Vec::new())).expect("a pod");
        assert_eq!(pod["spec"]["tolerations"].as_array().map(Vec::len), Some(2));
        assert_eq!(pod["spec"]["priority"], 0);
        assert_eq!(pod["spec"]["schedulerName"], "default-scheduler");
        assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 30);
        assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
        let own = json!([{"operator": "Exists"}]);
        let mut body = base();
        body["spec"]["terminationGracePeriodSeconds"] = (-5).into();
        body["spec"]["tolerations"] = own.clone();
        let pod = taken(&ROW, &body, &Objects(Vec::new())).expect("a pod");
        assert_eq!(pod["spec"]["tolerations"], own);
        assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 1);
    }

    #[test]
    fn a_gated_pod_says_since_when_it_is_held_back() {
        let mut body = base();
        body["spec"]["schedulingGates"] = json!([{"name": "example.com/x"}]);
        let pod = taken(&ROW, &body, &Objects(Vec::new())).expect("a pod");
        let condition = &pod["status"]["conditions"][0];
        assert_eq!(condition["reason"], "SchedulingGated");
        assert_eq!(condition["lastTransitionTime"], "2026-01-01T00:00:00Z");
    }
}
