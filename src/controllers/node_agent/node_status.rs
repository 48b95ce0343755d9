//! What an agent tells of its node: that it is there and ready, what it can
//! take, and which attachable volumes it uses. Pure.
//!
//! Upstream: `pkg/kubelet/kubelet_node_status.go`, `pkg/kubelet/nodestatus`.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::controllers::node_agent::pods::status::seconds;
use crate::model::kind;
use crate::model::node::CONTROLLER_MANAGED;
use crate::plugins::kinds;

/// The conditions of a healthy node: type, status, reason, message.
const HEALTHY: [(&str, &str, &str, &str); 4] = [
    (
        "MemoryPressure",
        "False",
        "KubeletHasSufficientMemory",
        "kubelet has sufficient memory available",
    ),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
];

/// What its agent says of a node that it has only just made.
const NOT_YET_READY: &str = "[container runtime status check may not have completed yet, \
                             CSINode is not yet initialized]";

/// A node as its agent registers it, if there is none: not ready yet.
pub fn registration(node: &str, address: &str, now: Timestamp) -> Value {
    let mut status = facts(node, address, &json!({}));
    let time = seconds(now);
    let conditions = HEALTHY.iter().map(|(kind, wanted, reason, message)| {
        let (status, reason, message) = match *kind {
            "Ready" => ("False", "KubeletNotReady", NOT_YET_READY),
            _ => (*wanted, *reason, *message),
        };
        condition([kind, status, reason, message], &time, None)
    });
    status["conditions"] = conditions.collect();
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": node, "labels": labels(node), "annotations": {CONTROLLER_MANAGED: "true"},
        },
        "spec": {},
        "status": status,
    })
}

/// Tells which in-tree plugins CSI drivers do the work of: all that can be.
const MIGRATED_PLUGINS: &str = "storage.alpha.kubernetes.io/migrated-plugins";

/// The CSINode of a node, with what is said there of its drivers.
pub fn csi_node(node: &str, node_uid: &Value, drivers: &[Value]) -> Value {
    let owner = json!({"apiVersion": "v1", "kind": "Node", "name": node, "uid": node_uid});
    let migrated: BTreeSet<&str> = kinds::migrated_plugins().collect();
    let migrated = migrated.into_iter().collect::<Vec<_>>().join(",");
    json!({
        "apiVersion": kind::CSI_NODE.api_version(), "kind": kind::CSI_NODE.kind,
        "metadata": {
            "name": node, "ownerReferences": [owner], "annotations": {MIGRATED_PLUGINS: migrated},
        },
        "spec": {"drivers": drivers},
    })
}

fn labels(node: &str) -> Value {
    json!({
        "kubernetes.io/hostname": node, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": "amd64",
    })
}

/// What a node that was there before lacks of what its agent gives it.
pub fn metadata_patch(node: &Value, name: &str) -> Option<Value> {
    let metadata = &node["metadata"];
    let mut patch = json!({});
    if metadata["annotations"][CONTROLLER_MANAGED].is_null() {
        patch["annotations"] = json!({CONTROLLER_MANAGED: "true"});
    }
    if metadata["labels"]["kubernetes.io/hostname"].is_null() {
        patch["labels"] = json!({"kubernetes.io/hostname": name});
    }
    let is_needed = patch.as_object().is_some_and(|patch| !patch.is_empty());
    is_needed.then(|| json!({"metadata": patch}))
}

/// Why the status is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// Something in it is not as it should be.
    Changed,
    /// Only the volumes in use.
    InUse,
    /// Nothing, but it is time.
    Heartbeat,
}

impl std::fmt::Display for Because {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Changed => "the node is ready and tells what it has",
            Self::InUse => {
                "the volumes that the node uses have changed; none that is listed is detached"
            }
            Self::Heartbeat => "the node is well: its regular report",
        })
    }
}

/// The patch to the status, if one is called for.
pub fn patch(
    node: &Value,
    address: &str,
    in_use: Option<&[Arc<str>]>,
    is_due: bool,
    now: Timestamp,
) -> Option<(Value, Because)> {
    let (name, status) = (node["metadata"]["name"].as_str().unwrap_or_default(), &node["status"]);
    let mut patch = facts(name, address, status);
    let held_now = |kind: &str| {
        let conditions = status["conditions"].as_array().into_iter().flatten();
        conditions.into_iter().find(|condition| condition["type"] == kind)
    };
    let is_well = HEALTHY.iter().all(|(kind, wanted, reason, _)| {
        held_now(kind).is_some_and(|held| held["status"] == *wanted && held["reason"] == *reason)
    });
    let is_complete = patch.as_object().is_none_or(serde_json::Map::is_empty);
    let in_use = in_use.filter(|list| !same_list(&status["volumesInUse"], list));
    let because = match (is_well && is_complete, in_use) {
        (false, _) => Because::Changed,
        (true, Some(_)) => Because::InUse,
        (true, None) if is_due => Because::Heartbeat,
        (true, None) => return None,
    };
    if let Some(list) = in_use {
        patch["volumesInUse"] = list.iter().map(|name| &**name).collect();
    }
    let time = seconds(now);
    let conditions = HEALTHY.iter().map(|(kind, wanted, reason, message)| {
        let held = held_now(kind).filter(|held| held["status"] == *wanted);
        let since = held.map(|held| held["lastTransitionTime"].clone()).filter(Value::is_string);
        condition([kind, wanted, reason, message], &time, since)
    });
    patch["conditions"] = conditions.collect();
    Some((json!({"status": patch}), because))
}

/// A condition as it is now: type, status, reason and message. `since`: when its
/// status became so; now, if not given.
fn condition(said: [&str; 4], now: &str, since: Option<Value>) -> Value {
    let [kind, status, reason, message] = said;
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastHeartbeatTime": now, "lastTransitionTime": since.unwrap_or_else(|| now.into()),
    })
}

/// The facts about the machine that the status lacks.
fn facts(name: &str, address: &str, status: &Value) -> Value {
    let mut patch = json!({});
    let has_address = status["addresses"]
        .as_array()
        .is_some_and(|list| list.iter().any(|entry| entry["type"] == "InternalIP"));
    if !has_address {
        patch["addresses"] = json!([
            {"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name},
        ]);
    }
    if status["capacity"].is_null() {
        let amounts = json!({"cpu": "4", "memory": "8Gi", "pods": "110"});
        patch["capacity"] = amounts.clone();
        patch["allocatable"] = amounts;
    }
    if status["nodeInfo"]["kubeletVersion"].as_str().is_none_or(str::is_empty) {
        patch["nodeInfo"] = json!({
            "kubeletVersion": "v1.36.0", "operatingSystem": "linux", "architecture": "amd64",
            "containerRuntimeVersion": "containerd://2.2.0", "osImage": "simulated",
            "kernelVersion": "6.12.0", "machineID": "", "systemUUID": "", "bootID": "",
            "kubeProxyVersion": "",
        });
    }
    patch
}

fn same_list(held: &Value, wanted: &[Arc<str>]) -> bool {
    let held = held.as_array().map_or(&[][..], Vec::as_slice);
    held.len() == wanted.len() && held.iter().zip(wanted).all(|(h, w)| *h == **w)
}

/// `status.volumesInUse` as the server has it.
pub fn in_use_of(node: &Value) -> Vec<Arc<str>> {
    let list = node["status"]["volumesInUse"].as_array().into_iter().flatten();
    list.filter_map(Value::as_str).map(Arc::from).collect()
}

/// When the status was last written by an agent.
pub fn last_heartbeat(node: &Value) -> Option<Timestamp> {
    let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
    let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready")?;
    ready["lastHeartbeatTime"].as_str()?.parse().ok()
}

/// Whether its Ready condition is true.
pub fn is_ready(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).expect("in range")
    }

    fn list(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    fn new_node() -> Value {
        registration("node-1", "10.0.0.1", now())
    }

    /// The node after a patch whose lists of conditions are whole.
    fn patched(mut node: Value, patch: &Value) -> Value {
        for (key, value) in patch["status"].as_object().into_iter().flatten() {
            node["status"][key] = value.clone();
        }
        node
    }

    #[test]
    fn a_new_node_is_described_and_then_left_alone_until_its_heartbeat() {
        let node = new_node();
        assert!(!is_ready(&node));
        let used = list(&["a/b"]);
        let (first, because) =
            patch(&node, "10.0.0.1", Some(&used), false, now()).expect("a patch");
        assert_eq!(because, Because::Changed);
        assert_eq!(first["status"]["volumesInUse"], json!(["a/b"]));
        let node = patched(node, &first);
        assert!(is_ready(&node));
        assert_eq!(node["status"]["addresses"][0]["address"], "10.0.0.1");
        assert_eq!(patch(&node, "10.0.0.1", Some(&used), false, now()), None);
        let (beat, because) = patch(&node, "10.0.0.1", Some(&used), true, now()).expect("a beat");
        assert_eq!(
            (because, beat["status"].as_object().map(|s| s.len())),
            (Because::Heartbeat, Some(1))
        );
    }

    #[test]
    fn volumes_in_use_are_written_when_known_and_different() {
        let node = patched(
            new_node(),
            &patch(&new_node(), "10.0.0.1", None, false, now()).expect("a patch").0,
        );
        assert_eq!(patch(&node, "", Some(&[]), false, now()), None, "none is the same as no list");
        let (change, because) =
            patch(&node, "", Some(&list(&["x/y"])), false, now()).expect("a patch");
        assert_eq!(because, Because::InUse);
        let node = patched(node, &change);
        assert_eq!(in_use_of(&node), list(&["x/y"]));
        assert_eq!(patch(&node, "", None, false, now()), None, "unknown: the old list stays");
        let (change, _) = patch(&node, "", Some(&[]), false, now()).expect("a patch");
        assert_eq!(change["status"]["volumesInUse"], json!([]));
    }

    #[test]
    fn a_node_that_was_given_up_reports_back() {
        let mut node = patched(
            new_node(),
            &patch(&new_node(), "10.0.0.1", None, false, now()).expect("a patch").0,
        );
        node["status"]["conditions"][3]["status"] = "Unknown".into();
        node["status"]["conditions"][3]["reason"] = "NodeStatusUnknown".into();
        assert!(!is_ready(&node));
        let (change, because) = patch(&node, "", None, false, now()).expect("a patch");
        assert_eq!(because, Because::Changed);
        assert!(is_ready(&patched(node, &change)));
    }
}
