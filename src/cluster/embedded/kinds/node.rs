//! Nodes: registered with a taint that only their first readiness takes away.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::json::{child, entries, fill, is_true, list, text};
use super::table::{AGE, NAME, age, column, name, or, wide};
use crate::cluster::embedded::kind::{AdmissionView, Column, SelectableField, ServedKind};
use crate::cluster::embedded::status::{ApiError, FieldErrors};
use crate::cluster::embedded::validation::{diff, duplicate, metadata, names};
use crate::model::kind;

/// Nodes as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::NODE,
    subresources: &[super::STATUS],
    columns: COLUMNS,
    cells,
    fields: &[SelectableField {
        label: "spec.unschedulable",
        value: |object| is_true(object, "/spec/unschedulable").to_string(),
    }],
    default,
    prepare,
    admit,
    validate,
    validate_update,
    ..super::BASE
};

const COLUMNS: &[Column] = &[
    NAME,
    column("Status", "Ready, NotReady or Unknown, and whether pods may be scheduled onto it."),
    column("Roles", "The roles given by the node-role.kubernetes.io labels."),
    AGE,
    column("Version", "The version of the node's kubelet."),
    wide("Internal-IP", "The address inside the cluster's network."),
    wide("External-IP", "The address reachable from outside."),
    wide("OS-Image", "The operating system the node reports."),
    wide("Kernel-Version", "The kernel the node reports."),
    wide("Container-Runtime", "The container runtime and its version."),
];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let info = |field: &str| {
        or(text(object, &format!("/status/nodeInfo/{field}")), "<unknown>").to_owned()
    };
    vec![
        name(object),
        status_words(object).into(),
        roles(object).into(),
        age(object, now),
        text(object, "/status/nodeInfo/kubeletVersion").into(),
        address(object, "InternalIP").into(),
        address(object, "ExternalIP").into(),
        info("osImage").into(),
        info("kernelVersion").into(),
        info("containerRuntimeVersion").into(),
    ]
}

fn status_words(node: &Value) -> String {
    let ready = list(node, "/status/conditions").iter().find(|c| text(c, "/type") == "Ready");
    let mut words = match ready.map(|condition| text(condition, "/status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if is_true(node, "/spec/unschedulable") {
        words.push_str(",SchedulingDisabled");
    }
    words
}

fn roles(node: &Value) -> String {
    let mut roles: Vec<&str> = entries(node, "/metadata/labels")
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) if !role.is_empty() => Some(role),
            _ if key == "kubernetes.io/role" => value.as_str().filter(|role| !role.is_empty()),
            _ => None,
        })
        .collect();
    roles.sort_unstable();
    roles.dedup();
    or(&roles.join(","), "<none>").to_owned()
}

fn address(node: &Value, kind: &str) -> String {
    let mut all = list(node, "/status/addresses").iter();
    let found = all.find(|address| text(address, "/type") == kind);
    or(found.map_or("", |address| text(address, "/address")), "<none>").to_owned()
}

/// What a node can take is what it has, unless it says otherwise.
fn default(object: &mut Value) {
    let capacity = object.pointer("/status/capacity").cloned();
    if let Some(capacity) = capacity
        && let Some(status) = child(object, "status")
        && status.get("allocatable").is_none_or(|allocatable| allocatable.is_null())
    {
        status["allocatable"] = capacity;
    }
}

fn prepare(object: &mut Value, old: Option<&Value>, subresource: Option<&str>, _: Timestamp) {
    // Nodes bring their status along when they register.
    match (old, subresource) {
        (None, _) => {}
        (Some(old), Some("status")) => super::json::restore(object, old, "spec"),
        (Some(old), _) => super::json::restore(object, old, "status"),
    }
}

/// Admission `TaintNodesByCondition`: a new node takes no pods until it is
/// seen to be ready.
fn admit(object: &mut Value, old: Option<&Value>, _: &dyn AdmissionView) -> Result<(), ApiError> {
    const NOT_READY: &str = "node.kubernetes.io/not-ready";
    if old.is_some() {
        return Ok(());
    }
    if let Some(spec) = child(object, "spec") {
        fill(spec, "taints", Value::Array(Vec::new()));
        if let Some(taints) = spec.get_mut("taints").and_then(Value::as_array_mut)
            && !taints
                .iter()
                .any(|t| text(t, "/key") == NOT_READY && text(t, "/effect") == "NoSchedule")
        {
            taints.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
        }
    }
    Ok(())
}

fn validate(object: &Value, errors: &mut FieldErrors) {
    metadata::validate(object, kind::NODE, names::subdomain, errors);
    taints(object, errors);
}

fn taints(node: &Value, errors: &mut FieldErrors) {
    const EFFECTS: &[&str] = &["NoExecute", "NoSchedule", "PreferNoSchedule"];
    let mut seen = Vec::new();
    for (index, taint) in list(node, "/spec/taints").iter().enumerate() {
        let path = format!("spec.taints[{index}]");
        let (key, effect) = (text(taint, "/key"), text(taint, "/effect"));
        for wrong in names::qualified(key) {
            errors.invalid(format!("{path}.key"), key, wrong);
        }
        let value = text(taint, "/value");
        for wrong in names::label_value(value) {
            errors.invalid(format!("{path}.value"), value, wrong);
        }
        if effect.is_empty() {
            errors.required(format!("{path}.effect"), "");
        } else if !EFFECTS.contains(&effect) {
            errors.not_supported(format!("{path}.effect"), effect, EFFECTS);
        }
        if seen.contains(&(key, effect)) {
            duplicate(path, diff::internal_form(taint, "core.v1.Taint"), errors);
        }
        seen.push((key, effect));
    }
}

fn validate_update(object: &Value, old: &Value, _: Option<&str>, errors: &mut FieldErrors) {
    metadata::validate_update(object, old, errors);
    taints(object, errors);
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn a_node_shows_readiness_roles_and_addresses() {
        let node = json!({
            "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": ""}},
            "spec": {"unschedulable": true},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "192.0.2.7"}],
                "nodeInfo": {"kubeletVersion": "v1.36.0"},
            },
        });
        let cells = cells(&node, now());
        assert_eq!(cells[1], "Ready,SchedulingDisabled");
        assert_eq!(cells[2], "control-plane");
        assert_eq!(cells[4..7], [json!("v1.36.0"), json!("192.0.2.7"), json!("<none>")]);
    }

    #[test]
    fn taints_are_named_once_and_with_a_known_effect() {
        let taint = |effect: &str| json!({"key": "a", "effect": effect});
        check_refusals(
            &ROW,
            &json!({"metadata": {"name": "n"}}),
            &[
                (
                    json!({"spec": {"taints": [taint("NoSchedule"), taint("NoSchedule")]}}),
                    &["spec.taints[1]: Duplicate value: {\"Key\":\"a\",\"Value\":\"\",\
                       \"Effect\":\"NoSchedule\",\"TimeAdded\":null}"],
                ),
                (
                    json!({"spec": {"taints": [taint("Never")]}}),
                    &["spec.taints[0].effect: Unsupported value: \"Never\": supported values: \
                 \"NoExecute\", \"NoSchedule\", \"PreferNoSchedule\""],
                ),
            ],
        );
    }
}
