//! The recorded fields of an object: what the recordings' README lists.

use serde_json::{Map, Value, json};

use super::trace::without_nulls;

/// Labels and annotations that a cluster of its own puts on nodes are left out;
/// these annotations concern the handling of volumes.
const NODE_ANNOTATIONS: &[&str] =
    &["csi.volume.kubernetes.io/nodeid", "volumes.kubernetes.io/controller-managed-attach-detach"];

/// The kinds whose states are recorded.
pub const RECORDED_KINDS: &[&str] = &[
    "Node",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Pod",
    "StorageClass",
    "VolumeAttachment",
    "CSINode",
    "StatefulSet",
];

/// The recorded fields of one object.
pub fn recorded_fields(object: &Value) -> Value {
    let kind = object["kind"].as_str().unwrap_or_default();
    let mut fields = match kind {
        "PersistentVolume" => volume(object),
        "PersistentVolumeClaim" => claim(object),
        "StorageClass" => class(object),
        "VolumeAttachment" => attachment(object),
        "CSINode" => csi_node(object),
        "Node" => node(object),
        "Pod" => pod(object),
        "StatefulSet" => stateful_set(object),
        _ => json!({}),
    };
    let metadata = metadata(kind, &object["metadata"]);
    if !metadata.is_empty() {
        fields["metadata"] = Value::Object(metadata);
    }
    without_nulls(&mut fields);
    fields
}

fn metadata(kind: &str, metadata: &Value) -> Map<String, Value> {
    let mut kept = Map::new();
    let mut keep = |key: &str, value: Value| {
        let empty = match &value {
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            other => other.is_null(),
        };
        if !empty {
            kept.insert(key.to_owned(), value);
        }
    };
    let labelled = ["PersistentVolume", "PersistentVolumeClaim"].contains(&kind);
    match kind {
        "Node" => {
            let concerning = |key: &str| NODE_ANNOTATIONS.contains(&key);
            keep("annotations", only(&metadata["annotations"], concerning));
            let custom =
                |key: &str| key == "kubernetes.io/hostname" || !key.contains("kubernetes.io/");
            keep("labels", only(&metadata["labels"], custom));
        }
        "CSINode" => {}
        _ => {
            keep("annotations", metadata["annotations"].clone());
            keep("labels", if labelled { metadata["labels"].clone() } else { Value::Null });
        }
    }
    let mut finalizers = metadata["finalizers"].clone();
    if let Value::Array(list) = &mut finalizers {
        list.sort_by_key(|name| name.as_str().unwrap_or_default().to_owned());
    }
    keep("finalizers", finalizers);
    if !metadata["deletionTimestamp"].is_null() {
        keep("deletionTimestamp", "set".into());
    }
    keep(
        "ownerReferences",
        each(&metadata["ownerReferences"], |owner| {
            let keys = ["blockOwnerDeletion", "controller", "kind", "name", "uid"];
            picked(owner, &keys)
        }),
    );
    if kind == "CSINode" {
        // Which plugins are migrated is not recorded; that it says so is.
        kept.insert("annotations".into(), json!({}));
    }
    kept
}

fn volume(object: &Value) -> Value {
    let mut spec = object["spec"].clone();
    if let Some(claim) = spec.get_mut("claimRef") {
        *claim = picked(claim, &["name", "namespace", "uid"]);
    }
    if let Some(csi) = spec.get_mut("csi") {
        *csi = picked(csi, &["driver", "fsType", "volumeHandle"]);
    }
    json!({"spec": spec, "status": picked(&object["status"], &["phase", "reason", "message"])})
}

fn claim(object: &Value) -> Value {
    let kept = [
        "accessModes",
        "storageClassName",
        "volumeMode",
        "volumeName",
        "selector",
        "dataSource",
        "dataSourceRef",
    ];
    let mut spec = picked(&object["spec"], &kept);
    // The recordings do not tell an empty class from none.
    if spec["storageClassName"] == "" {
        spec["storageClassName"] = Value::Null;
    }
    spec["requests"] = object["spec"]["resources"]["requests"].clone();
    let kept =
        ["phase", "accessModes", "capacity", "allocatedResources", "allocatedResourceStatuses"];
    let mut status = picked(&object["status"], &kept);
    if let Some(conditions) = object["status"].get("conditions") {
        let mut conditions: Vec<Value> =
            conditions.as_array().into_iter().flatten().map(condition).collect();
        // The recordings have them by type, as those of pods.
        conditions.sort_by_key(|condition| condition["type"].as_str().map(str::to_owned));
        status["conditions"] = conditions.into();
    }
    json!({"spec": spec, "status": status})
}

fn class(object: &Value) -> Value {
    let mut fields = object.clone();
    if let Some(fields) = fields.as_object_mut() {
        fields.retain(|key, _| !["metadata", "kind", "apiVersion"].contains(&key.as_str()));
    }
    fields
}

fn attachment(object: &Value) -> Value {
    let status = &object["status"];
    let mut kept = picked(status, &["attached", "attachmentMetadata"]);
    for error in ["attachError", "detachError"] {
        if let Some(found) = status.get(error) {
            kept[error] = picked(found, &["message"]);
        }
    }
    json!({"spec": object["spec"], "status": kept})
}

fn csi_node(object: &Value) -> Value {
    json!({"drivers": each(&object["spec"]["drivers"], |driver| picked(driver, &["name", "nodeID"]))})
}

fn node(object: &Value) -> Value {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready");
    let attached = &object["status"]["volumesAttached"];
    let mut spec = picked(&object["spec"], &["unschedulable"]);
    if let Some(taints) = object["spec"].get("taints") {
        spec["taints"] = each(taints, |taint| picked(taint, &["key", "value", "effect"]));
    }
    let in_use = object["status"].get("volumesInUse").cloned().unwrap_or_else(|| json!([]));
    let mut fields = json!({"status": {
        "volumesInUse": in_use,
        "volumesAttached": each(attached, |volume| picked(volume, &["name"])),
        "ready": ready.map(|condition| condition["status"].clone()),
    }});
    if spec.as_object().is_some_and(|spec| !spec.is_empty()) {
        fields["spec"] = spec;
    }
    fields
}

fn pod(object: &Value) -> Value {
    let mut spec = picked(&object["spec"], &["nodeName"]);
    let volumes = object["spec"]["volumes"].as_array().into_iter().flatten();
    let claims: Vec<Value> = volumes.filter_map(pod_claim).collect();
    if !claims.is_empty() {
        spec["claims"] = claims.into();
    }
    let mut status =
        picked(&object["status"], &["phase", "reason", "message", "nominatedNodeName"]);
    let wanted = ["PodScheduled", "Ready", "DisruptionTarget"];
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let mut conditions: Vec<Value> = conditions
        .filter(|found| wanted.iter().any(|kind| found["type"] == *kind))
        .map(condition)
        .collect();
    // The recordings have them by type.
    conditions.sort_by_key(|condition| condition["type"].as_str().map(str::to_owned));
    if !conditions.is_empty() {
        status["conditions"] = conditions.into();
    }
    let containers = each(&object["status"]["containerStatuses"], container);
    if containers.as_array().is_some_and(|list| !list.is_empty()) {
        status["containers"] = containers;
    }
    json!({"spec": spec, "status": status})
}

fn pod_claim(volume: &Value) -> Option<Value> {
    let name = &volume["name"];
    if let Some(claim) = volume.get("persistentVolumeClaim") {
        return Some(json!({"volume": name, "claimName": claim["claimName"]}));
    }
    if let Some(flex) = volume.get("flexVolume") {
        return Some(json!({"volume": name, "flexVolume": flex["driver"]}));
    }
    volume.get("ephemeral").map(|_| json!({"volume": name, "ephemeral": true}))
}

fn container(status: &Value) -> Value {
    let state = &status["state"];
    let mut kept = json!({"name": status["name"]});
    if state.get("running").is_some() {
        kept["running"] = json!({});
    }
    if let Some(waiting) = state.get("waiting") {
        kept["waiting"] = picked(waiting, &["reason"]);
    }
    if let Some(ended) = state.get("terminated") {
        kept["terminated"] = picked(ended, &["exitCode", "reason", "message"]);
    }
    kept
}

fn stateful_set(object: &Value) -> Value {
    let spec = ["replicas", "podManagementPolicy", "persistentVolumeClaimRetentionPolicy"];
    let status = ["replicas", "readyReplicas", "currentReplicas", "availableReplicas"];
    // A count that the API leaves out is recorded as none.
    let counts = status.map(|count| (count, object["status"][count].as_i64().unwrap_or(0)));
    let counts: serde_json::Map<String, Value> =
        counts.into_iter().map(|(count, value)| (count.to_owned(), value.into())).collect();
    json!({"spec": picked(&object["spec"], &spec), "status": counts})
}

fn condition(condition: &Value) -> Value {
    let mut kept = picked(condition, &["type", "status", "reason", "message"]);
    if let Some(kept) = kept.as_object_mut() {
        kept.retain(|_, value| value != "");
    }
    kept
}

fn picked(value: &Value, keys: &[&str]) -> Value {
    let fields = value.as_object().into_iter().flatten();
    let kept = fields.filter(|(key, _)| keys.contains(&key.as_str()));
    Value::Object(kept.map(|(key, value)| (key.clone(), value.clone())).collect())
}

fn only(map: &Value, wanted: impl Fn(&str) -> bool) -> Value {
    let entries = map.as_object().into_iter().flatten().filter(|(key, _)| wanted(key));
    Value::Object(entries.map(|(key, value)| (key.clone(), value.clone())).collect())
}

fn each(list: &Value, make: impl Fn(&Value) -> Value) -> Value {
    list.as_array().into_iter().flatten().map(make).collect()
}
