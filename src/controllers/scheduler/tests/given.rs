//! Small clusters, put together from objects.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::controllers::scheduler::cache::Cache;
use crate::controllers::scheduler::decide::{Placement, Verdict, decide};
use crate::model::attachment::Attachment;
use crate::model::claim::Claim;
use crate::model::class::StorageClass;
use crate::model::csi::{CsiCapacity, CsiDriver, CsiNode};
use crate::model::namespace::Namespace;
use crate::model::node::Node;
use crate::model::object::Key;
use crate::model::pod::Pod;
use crate::model::row::Row;
use crate::model::volume::Volume;

/// A cluster under construction; each object put in is newer than the last.
#[derive(Default)]
pub struct Given {
    pub cache: Cache,
    version: u64,
}

/// Two objects as one: what `with` says replaces what `base` says.
pub fn with(mut base: Value, with: Value) -> Value {
    merge(&mut base, &with);
    base
}

fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

pub fn node(name: &str) -> Value {
    json!({"kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"}}})
}

/// A node with more labels.
pub fn labelled(name: &str, labels: Value) -> Value {
    with(node(name), json!({"metadata": {"labels": labels}}))
}

pub fn pod(name: &str, spec: Value) -> Value {
    json!({"kind": "Pod", "metadata": {"name": name, "namespace": "d", "uid": format!("uid-{name}")},
        "spec": spec})
}

/// A pod that uses these claims.
pub fn user(name: &str, claims: &[&str]) -> Value {
    let volumes: Vec<Value> = claims
        .iter()
        .map(|claim| json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}}))
        .collect();
    pod(name, json!({"volumes": volumes}))
}

/// The same on a node.
pub fn on(node: &str, pod: Value) -> Value {
    with(pod, json!({"spec": {"nodeName": node}}))
}

pub fn class(name: &str, provisioner: &str) -> Value {
    json!({"kind": "StorageClass", "metadata": {"name": name}, "provisioner": provisioner,
        "volumeBindingMode": "WaitForFirstConsumer"})
}

/// The class of local volumes.
pub fn local_class() -> Value {
    class("local", "kubernetes.io/no-provisioner")
}

pub fn claim(name: &str, size: &str, class: &str) -> Value {
    json!({"kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "d", "uid": format!("uid-{name}")},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "resources": {"requests": {"storage": size}}},
        "status": {"phase": "Pending"}})
}

/// The same bound to a volume.
pub fn bound(volume: &str, claim: Value) -> Value {
    let annotations = json!({"pv.kubernetes.io/bind-completed": "yes"});
    with(
        claim,
        json!({"metadata": {"annotations": annotations},
        "spec": {"volumeName": volume}, "status": {"phase": "Bound"}}),
    )
}

/// The same with a node selected.
pub fn selected(node: &str, claim: Value) -> Value {
    with(claim, json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": node}}}))
}

/// A free local volume.
pub fn local(name: &str, size: &str, node: &str) -> Value {
    let expression = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node]});
    with(
        anywhere(name, size),
        json!({"spec": {"nodeAffinity": {"required": {
        "nodeSelectorTerms": [{"matchExpressions": [expression]}]}}}}),
    )
}

/// A free volume that every node can use.
pub fn anywhere(name: &str, size: &str) -> Value {
    json!({"kind": "PersistentVolume", "metadata": {"name": name, "uid": format!("uid-{name}")},
        "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"],
            "storageClassName": "local"},
        "status": {"phase": "Available"}})
}

/// The same with a `claimRef`.
pub fn reserved(claim: &str, uid: &str, volume: Value) -> Value {
    with(volume, json!({"spec": {"claimRef": {"namespace": "d", "name": claim, "uid": uid}}}))
}

impl Given {
    pub fn of(objects: impl IntoIterator<Item = Value>) -> Self {
        let mut given = Self::default();
        objects.into_iter().for_each(|object| given.put(object));
        given
    }

    /// Two plain nodes, and these.
    pub fn two_nodes(objects: impl IntoIterator<Item = Value>) -> Self {
        Self::of([node("n1"), node("n2")].into_iter().chain(objects))
    }

    pub fn put(&mut self, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        fn row<R: Row>(object: &Value) -> Arc<R> {
            Arc::new(R::from_object(object).expect("a row"))
        }
        let cache = &mut self.cache;
        let name: Arc<str> = object["metadata"]["name"].as_str().expect("a name").into();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let key = Key::new(namespace, name.clone());
        match object["kind"].as_str().expect("a kind") {
            "Node" => drop(cache.put_node(&name, Some(row::<Node>(&object)))),
            "Pod" => drop(cache.put_pod(&key, Some(row::<Pod>(&object)))),
            "PersistentVolume" => drop(cache.put_volume(&name, Some(row::<Volume>(&object)))),
            "PersistentVolumeClaim" => drop(cache.put_claim(&key, Some(row::<Claim>(&object)))),
            "StorageClass" => drop(cache.put_class(&name, Some(row::<StorageClass>(&object)))),
            "CSINode" => drop(cache.put_csi_node(&name, Some(row::<CsiNode>(&object)))),
            "CSIDriver" => drop(cache.put_csi_driver(&name, Some(row::<CsiDriver>(&object)))),
            "CSIStorageCapacity" => {
                cache.put_capacity(&key, Some(row::<CsiCapacity>(&object)));
            }
            "VolumeAttachment" => {
                cache.put_attachment(&key, Some(row::<Attachment>(&object)));
            }
            "Namespace" => cache.put_namespace(&name, Some(row::<Namespace>(&object))),
            other => panic!("no row for {other}"),
        }
    }

    pub fn decide(&self, pod: &Value) -> Verdict {
        let pod = Pod::from_object(pod).expect("a pod");
        decide(&self.cache, &pod, &Arc::from(""))
    }

    /// Where the pod goes.
    #[track_caller]
    pub fn placed(&self, pod: &Value) -> Placement {
        match self.decide(pod) {
            Verdict::Place(placement) => placement,
            Verdict::Refuse(refusal) => panic!("refused: {refusal}"),
            Verdict::Fail(error) => panic!("failed: {error}"),
        }
    }

    /// In a line: the node, then what is bound and provisioned, or the text of
    /// the refusal without what preemption says.
    pub fn answer(&self, pod: &Value) -> String {
        match self.decide(pod) {
            Verdict::Place(placement) => {
                let plan = &placement.plan;
                let bind = plan.bind.iter().map(|b| format!(" {}={}", b.claim.name, b.volume));
                let provision = plan.provision.iter().map(|claim| format!(" {}=new", claim.name));
                format!("{}{}", placement.node, bind.chain(provision).collect::<String>())
            }
            Verdict::Refuse(refusal) => {
                let text = refusal.to_string();
                let text = text.split(" no new claims").next().unwrap_or_default();
                text.trim_start_matches("0/2 nodes are available: ").to_owned()
            }
            Verdict::Fail(error) => format!("error: {error}"),
        }
    }
}

/// Compares answers row by row and shows every one that differs.
#[track_caller]
pub fn check(rows: &[(&str, String, &str)]) {
    let wrong: Vec<String> = rows
        .iter()
        .filter(|(_, got, wanted)| got != wanted)
        .map(|(row, got, wanted)| format!("{row}\n  wanted: {wanted}\n  got:    {got}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
