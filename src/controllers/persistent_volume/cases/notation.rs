//! The notation of the tables: cells that stand for volumes and claims.
//!
//! `1Gi Available ref=me bc class=gold` is a volume, `1Gi Pending vol=V bd` a
//! claim; `V`, `C` and `me` stand for the row's own volume, claim and claim
//! with uid.

use serde_json::{Value, json};

/// The names that belong to a row's id.
#[derive(Debug, Clone)]
pub struct Names {
    pub id: String,
}

impl Names {
    pub fn volume(&self, name: &str) -> String {
        match name.strip_prefix('V') {
            Some("") => format!("volume{}", self.id),
            Some(rest) if rest.starts_with('_') || rest.starts_with('-') => {
                format!("volume{}{rest}", self.id).replace('_', "-")
            }
            _ => name.to_owned(),
        }
    }

    pub fn claim(&self) -> String {
        format!("claim{}", self.id)
    }

    pub fn uid(&self) -> String {
        format!("uid{}", self.id)
    }

    fn text(&self, text: &str) -> String {
        text.replace("$id", &self.id)
    }
}

fn modes(list: &str) -> Value {
    let long = |short: &str| match short {
        "RWO" => "ReadWriteOnce",
        "ROX" => "ReadOnlyMany",
        "RWX" => "ReadWriteMany",
        "RWOP" => "ReadWriteOncePod",
        other => panic!("no access mode: {other}"),
    };
    list.split(',').map(long).collect()
}

fn pairs(list: &str) -> Value {
    let pairs = list.split(',').map(|pair| pair.split_once('=').expect("key=value"));
    Value::Object(pairs.map(|(key, value)| (key.to_owned(), value.into())).collect())
}

fn finalizers(list: &str) -> Value {
    let names = list.trim_matches(['[', ']']).split(',').filter(|name| !name.is_empty());
    names
        .map(|name| match name {
            "PVC" => "kubernetes.io/pv-controller",
            "EXT" => "external-provisioner.volume.kubernetes.io/finalizer",
            "X" => "test.volume.kubernetes.io/finalizer",
            other => other,
        })
        .collect()
}

fn annotate(object: &mut Value, key: &str, value: &str) {
    object["metadata"]["annotations"][key] = value.into();
}

fn claim_ref(names: &Names, text: &str) -> Value {
    let (name, uid) = match text {
        "me" => (names.claim(), names.uid()),
        other => {
            let (name, uid) = other.split_once('/').expect("claim/uid");
            let name = if name == "me" { names.claim() } else { names.text(name) };
            (name, if uid == "-" { String::new() } else { names.text(uid) })
        }
    };
    let mut reference = json!({"kind": "PersistentVolumeClaim", "apiVersion": "v1",
        "namespace": "default", "name": name});
    if !uid.is_empty() {
        reference["uid"] = uid.into();
    }
    reference
}

/// A volume from its cell, or the changes of a result's cell to `before`.
pub fn volume(names: &Names, name: &str, cell: &str, before: Option<&Value>) -> Value {
    let mut object = before.cloned().unwrap_or_else(|| {
        json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": name, "uid": format!("uid-{name}")},
            "spec": {"capacity": {}, "accessModes": modes("RWO,ROX"),
                "persistentVolumeReclaimPolicy": "Retain", "storageClassName": ""},
            "status": {},
        })
    });
    // A result states reference and mark; what it does not is gone.
    if let Some(spec) = object["spec"].as_object_mut() {
        spec.remove("claimRef");
    }
    if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
        annotations.remove("pv.kubernetes.io/bound-by-controller");
    }
    let mut source = json!({"gcePersistentDisk": {"pdName": "disk"}});
    for token in cell.split_whitespace() {
        let (key, value) = token.split_once('=').unwrap_or((token, ""));
        match (key, value) {
            ("Available" | "Bound" | "Released" | "Failed" | "Pending", _) => {
                object["status"]["phase"] = key.into();
            }
            ("nophase", _) => object["status"] = json!({}),
            ("Retain" | "Delete" | "Recycle", _) => {
                object["spec"]["persistentVolumeReclaimPolicy"] = key.into();
            }
            // No server lets it pass.
            ("Shred", _) => object["spec"]["persistentVolumeReclaimPolicy"] = key.into(),
            ("Block" | "Filesystem", _) => object["spec"]["volumeMode"] = key.into(),
            ("ref", by) => object["spec"]["claimRef"] = claim_ref(names, by),
            ("bc", _) => annotate(&mut object, "pv.kubernetes.io/bound-by-controller", "yes"),
            ("pb", by) => {
                let by = if by.is_empty() { "kubernetes.io/mock-volume" } else { by };
                annotate(&mut object, "pv.kubernetes.io/provisioned-by", by);
            }
            ("migrated", to) => annotate(&mut object, "pv.kubernetes.io/migrated-to", to),
            ("resize", size) => {
                let key = "volume.alpha.kubernetes.io/pre-resize-capacity";
                annotate(&mut object, key, size);
            }
            ("class", class) => object["spec"]["storageClassName"] = class.into(),
            ("vac", class) => object["spec"]["volumeAttributesClassName"] = class.into(),
            ("modes", list) => object["spec"]["accessModes"] = modes(list),
            ("labels", list) => object["metadata"]["labels"] = pairs(list),
            ("fin", list) => object["metadata"]["finalizers"] = finalizers(list),
            ("uid", uid) => object["metadata"]["uid"] = uid.into(),
            ("csi", _) => {
                source = json!({"csi": {"driver": "driver", "volumeHandle": "handle"}});
            }
            ("node", list) => {
                let (key, value) = list.split_once(':').expect("key:value");
                object["spec"]["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": [
                    {"matchExpressions": [{"key": key, "operator": "In", "values": [value]}]}]}});
            }
            ("deleting", _) => {
                object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
            }
            (size, "") if size.starts_with(|c: char| c.is_ascii_digit()) => {
                object["spec"]["capacity"]["storage"] = size.into();
            }
            other => panic!("no token of a volume: {other:?}"),
        }
    }
    if before.is_none() {
        crate::controllers::persistent_volume::cases::world::merge(&mut object["spec"], &source);
    }
    object
}

/// A claim from its cell, or the changes of a result's cell to `before`.
pub fn claim(names: &Names, cell: &str, before: Option<&Value>) -> Value {
    let mut object = before.cloned().unwrap_or_else(|| {
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": names.claim(), "namespace": "default", "uid": names.uid()},
            "spec": {"accessModes": modes("RWO,ROX"), "resources": {"requests": {}}},
            "status": {},
        })
    });
    let (mut phase, mut capacity) = (None, None);
    for token in cell.split_whitespace() {
        let (key, value) = token.split_once('=').unwrap_or((token, ""));
        match (key, value) {
            ("Pending" | "Bound" | "Lost", _) => phase = Some(key),
            ("vol", name) => object["spec"]["volumeName"] = names.volume(&names.text(name)).into(),
            ("bc", _) => annotate(&mut object, "pv.kubernetes.io/bound-by-controller", "yes"),
            ("bd", _) => annotate(&mut object, "pv.kubernetes.io/bind-completed", "yes"),
            ("sp", by) => {
                let by = if by.is_empty() { "kubernetes.io/mock-volume" } else { by };
                annotate(&mut object, "volume.kubernetes.io/storage-provisioner", by);
                annotate(&mut object, "volume.beta.kubernetes.io/storage-provisioner", by);
            }
            ("ga", by) => annotate(&mut object, "volume.kubernetes.io/storage-provisioner", by),
            ("sn", node) => annotate(&mut object, "volume.kubernetes.io/selected-node", node),
            ("betaclass", class) => {
                annotate(&mut object, "volume.beta.kubernetes.io/storage-class", class);
            }
            ("class", class) => object["spec"]["storageClassName"] = class.into(),
            ("vac", class) => object["spec"]["volumeAttributesClassName"] = class.into(),
            ("modes", list) => object["spec"]["accessModes"] = modes(list),
            ("selector", list) => object["spec"]["selector"] = json!({"matchLabels": pairs(list)}),
            ("Block" | "Filesystem", _) => object["spec"]["volumeMode"] = key.into(),
            ("uid", uid) => object["metadata"]["uid"] = names.text(uid).into(),
            ("cap", size) => capacity = Some(size.to_owned()),
            ("snapshot", name) => {
                object["spec"]["dataSource"] = json!({"kind": "VolumeSnapshot", "name": name,
                    "apiGroup": "snapshot.storage.k8s.io"});
            }
            (size, "") if size.starts_with(|c: char| c.is_ascii_digit()) => {
                object["spec"]["resources"]["requests"]["storage"] = size.into();
            }
            other => panic!("no token of a claim: {other:?}"),
        }
    }
    match phase {
        Some("Bound") => {
            let size = object["spec"]["resources"]["requests"]["storage"].clone();
            let size = capacity.map_or(size, Value::from);
            object["status"] = json!({"phase": "Bound", "capacity": {"storage": size},
                "accessModes": object["spec"]["accessModes"]});
            let class = object["spec"]["volumeAttributesClassName"].clone();
            if !class.is_null() {
                object["status"]["currentVolumeAttributesClassName"] = class;
            }
        }
        Some(phase) => {
            object["status"] = json!({"phase": phase});
            if let Some(size) = capacity {
                object["status"]["capacity"] = json!({"storage": size});
            }
        }
        None => {}
    }
    object
}

/// An object as it is compared: without versions, empty maps and lists.
pub fn compared(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
    }
    if let Some(reference) = object["spec"]["claimRef"].as_object_mut() {
        reference.remove("resourceVersion");
    }
    prune(&mut object);
    object
}

fn prune(value: &mut Value) {
    if let Value::Object(map) = value {
        map.values_mut().for_each(prune);
        map.retain(|_, value| {
            !value.is_null()
                && value.as_object().is_none_or(|map| !map.is_empty())
                && value.as_array().is_none_or(|list| !list.is_empty())
        });
        map.sort_keys();
    }
}
