//! Binding: puts a pod on a node.

use serde_json::{Value, json};

use crate::cluster::embedded::Embedded;
use crate::cluster::embedded::refusal::{bad_request, not_found, stale};
use crate::cluster::embedded::reply::Reply;
use crate::cluster::embedded::status::{ApiError, FieldErrors};
use crate::cluster::embedded::write::{Call, Proposal, RACE_TRIES, timestamp};

impl Embedded {
    /// Answers a POST of a Binding; the call's path names the pod.
    pub(in crate::cluster::embedded) fn bind(&self, call: &Call) -> Result<Reply, ApiError> {
        let binding = call.value("core.v1.Binding")?;
        let named = binding["metadata"]["name"].as_str().unwrap_or_default();
        if !named.is_empty() && named != call.name() {
            return Err(bad_request("name in URL does not match name in Binding object"));
        }
        let node = target(&binding)?;
        let options = call.options("CreateOptions")?;
        let served = call.served();
        for _ in 0..RACE_TRIES {
            let held = self
                .store()
                .get(served.table, &call.key())
                .ok_or_else(|| not_found(served.names(), call.name()))?;
            let mut pod = served.stored_object(&held);
            check_bindable(&pod, &binding, call.name())?;
            bind(&mut pod, &binding, node, &timestamp(self.now()));
            if options.dry_run
                || self
                    .propose(Proposal {
                        served,
                        key: call.key(),
                        expected: Some(held.version),
                        next: Some(&pod),
                        author: &call.author,
                        reason: &call.reason,
                    })?
                    .is_some()
            {
                return Ok(Reply::value(201, &success()));
            }
        }
        Err(stale(served.names(), call.name()))
    }
}

/// The node that a Binding names.
fn target(binding: &Value) -> Result<&str, ApiError> {
    let mut errors = FieldErrors::default();
    let kind = binding["target"]["kind"].as_str().unwrap_or_default();
    if !matches!(kind, "" | "Node") {
        errors.not_supported("target.kind", kind, &["Node", "<empty>"]);
    }
    let node = binding["target"]["name"].as_str().unwrap_or_default();
    if node.is_empty() {
        errors.required("target.name", "");
    }
    if errors.is_empty() {
        return Ok(node);
    }
    let name = binding["metadata"]["name"].as_str().unwrap_or_default();
    Err(errors.into_error("", "Binding", name))
}

fn check_bindable(pod: &Value, binding: &Value, name: &str) -> Result<(), ApiError> {
    let uid = binding["metadata"]["uid"].as_str().unwrap_or_default();
    let held = pod["metadata"]["uid"].as_str().unwrap_or_default();
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    let gates = pod["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty());
    let why = if !uid.is_empty() && uid != held {
        format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {held}")
    } else if pod["metadata"]["deletionTimestamp"].is_string() {
        format!("pod {name} is being deleted, cannot be assigned to a host")
    } else if !node.is_empty() {
        format!("pod {name} is already assigned to node \"{node}\"")
    } else if gates {
        format!("pod {name} has non-empty .spec.schedulingGates")
    } else {
        return Ok(());
    };
    let message = format!("Operation cannot be fulfilled on pods/binding \"{name}\": {why}");
    Err(ApiError::new(409, "Conflict", message)
        .with_details(json!({"name": name, "kind": "pods/binding"})))
}

fn bind(pod: &mut Value, binding: &Value, node: &str, now: &Value) {
    pod["spec"]["nodeName"] = node.into();
    for field in ["labels", "annotations"] {
        for (name, value) in binding["metadata"][field].as_object().into_iter().flatten() {
            if value.is_string() {
                pod["metadata"][field][name] = value.clone();
            }
        }
    }
    if let Some(status) = pod.get_mut("status").and_then(Value::as_object_mut) {
        status.shift_remove("nominatedNodeName");
    }
    let condition = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now,
    });
    match pod["status"]["conditions"].as_array_mut() {
        Some(conditions) => {
            match conditions.iter_mut().find(|held| held["type"] == "PodScheduled") {
                Some(held) => *held = condition,
                None => conditions.push(condition),
            }
        }
        None => pod["status"]["conditions"] = json!([condition]),
    }
}

fn success() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})
}
