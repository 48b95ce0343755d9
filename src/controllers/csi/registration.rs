//! Writes down which drivers a node has: its CSINode, and annotation and labels
//! of the Node. What a kubelet does when a driver has registered.
//!
//! Upstream: `pkg/volume/csi/nodeinfomanager`.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use pvdeck_csi_proto::csi;
use serde_json::{Value, json};

use crate::cluster::write_path::WriteError;
use crate::controllers::csi::retries::Retries;
use crate::controllers::csi::shell::patch;
use crate::controllers::node_agent::node_status;
use crate::controllers::parts::Parts;
use crate::controllers::work_loop::{Pass, Reconciler};
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::write::{Change, Reason, Write};
use crate::plugins::csi::client::Client;
use crate::plugins::csi::node_drivers::NodeDrivers;

/// The annotation of a node: its drivers' names for it.
pub const NODE_ID: &str = "csi.volume.kubernetes.io/nodeid";

const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MOST: Duration = Duration::from_secs(122);

/// What a driver says of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverOnNode {
    pub driver: String,
    pub node_id: String,
    /// Zero: no limit known.
    pub volumes_max: i64,
    pub topology: BTreeMap<String, String>,
}

/// Keeps CSINodes by what is registered.
pub struct Registration {
    shell: Parts,
    drivers: NodeDrivers,
    retries: Retries,
    /// What each driver said of each node; asked once.
    known: Mutex<BTreeMap<NodeAndDriver, DriverOnNode>>,
}

type NodeAndDriver = (Arc<str>, Arc<str>);

impl Registration {
    pub fn new(shell: Parts, drivers: NodeDrivers) -> Self {
        let retries = Retries::default();
        Self { shell, drivers, retries, known: Mutex::default() }
    }

    async fn pass(self: Arc<Self>, object: ObjectRef) -> Pass {
        let mut pass = Pass::done();
        match self.node(&object.key.name).await {
            Ok(()) => self.retries.succeeded(&object),
            Err(error) => {
                self.shell.health.failed(self.shell.clock.now(), object.to_string(), error);
                pass.again_after = Some(self.retries.failed(&object, RETRY_FIRST, RETRY_MOST));
            }
        }
        pass
    }

    /// Brings a node's objects up to what is registered there.
    pub async fn node(&self, name: &Arc<str>) -> Result<(), String> {
        let object = ObjectRef::new(kind::NODE, Key::cluster(name.clone()));
        let Some(node) = self.shell.get(&object).await? else { return Ok(()) };
        if !node_status::is_ready(&node) {
            // Drivers register with a kubelet that runs.
            return Ok(());
        }
        let mut registered = Vec::new();
        let drivers = self.drivers.on(name);
        self.forget_all_but(name, &drivers);
        for client in drivers {
            registered.push(self.info(name, &client).await?);
        }
        for one in &registered {
            if let Some(why) = why_not_here(&node, one) {
                return Err(why);
            }
        }
        let decide = |node: &Value| about_node(&object, node, &registered);
        self.shell.settle(&object, decide).await.map_err(|error| error.to_string())?;
        self.csi_node(name, &node, &registered).await
    }

    /// A driver that went and comes back is asked anew.
    fn forget_all_but(&self, node: &Arc<str>, drivers: &[Client]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_here = |driver: &Arc<str>| drivers.iter().any(|own| own.driver() == driver);
        known.retain(|(own, driver), _| own != node || is_here(driver));
    }

    async fn info(&self, node: &Arc<str>, client: &Client) -> Result<DriverOnNode, String> {
        let key = (node.clone(), client.driver().clone());
        let held = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(known) = held {
            return Ok(known);
        }
        let info = client.node_get_info(csi::NodeGetInfoRequest {}).await;
        let info = info.map_err(|error| error.to_string())?;
        let topology = info.accessible_topology.map(|topology| topology.segments);
        let found = DriverOnNode {
            driver: client.driver().to_string(),
            node_id: info.node_id,
            volumes_max: info.max_volumes_per_node,
            topology: topology.unwrap_or_default().into_iter().collect(),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(key, found.clone());
        Ok(found)
    }

    async fn csi_node(
        &self,
        name: &Arc<str>,
        node: &Value,
        registered: &[DriverOnNode],
    ) -> Result<(), String> {
        let object = ObjectRef::new(kind::CSI_NODE, Key::cluster(name.clone()));
        let words = |error: WriteError| error.to_string();
        let uid = &node["metadata"]["uid"];
        let leftover = |own: &Value| own["metadata"]["ownerReferences"][0]["uid"] != *uid;
        let gone = self
            .shell
            .settle(&object, |own| leftover(own).then(|| deletion(&object, own)))
            .await
            .map_err(words)?;
        if gone.is_none() {
            let write = creation(&object, name, uid, registered);
            return match self.shell.perform(&write).await {
                Ok(_) | Err(WriteError::AlreadyExists { .. }) => Ok(()),
                Err(error) => Err(error.to_string()),
            };
        }
        let settled = self.shell.settle(&object, |own| about_csi_node(&object, own, registered));
        settled.await.map(drop).map_err(words)
    }
}

/// A label that another value is to go over.
fn why_not_here(node: &Value, one: &DriverOnNode) -> Option<String> {
    one.topology.iter().find_map(|(key, value)| {
        let own = node["metadata"]["labels"][key].as_str()?;
        (own != value).then(|| {
            format!(
                "detected topology value collision: driver reported \"{key}\":\"{value}\" but \
                 existing label is \"{key}\":\"{own}\""
            )
        })
    })
}

/// The node's annotation and labels, if they are not as they should be.
fn about_node(object: &ObjectRef, node: &Value, registered: &[DriverOnNode]) -> Option<Write> {
    let ids: BTreeMap<&str, &str> =
        registered.iter().map(|one| (&*one.driver, &*one.node_id)).collect();
    let held = node["metadata"]["annotations"][NODE_ID].as_str();
    let held: BTreeMap<String, String> =
        held.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let same = held.len() == ids.len()
        && ids.iter().all(|(driver, id)| held.get(*driver).is_some_and(|own| own == id));
    let mut labels = serde_json::Map::new();
    for (key, value) in registered.iter().flat_map(|one| &one.topology) {
        if node["metadata"]["labels"][key] != **value {
            labels.insert(key.clone(), value.as_str().into());
        }
    }
    if same && labels.is_empty() {
        return None;
    }
    let text = if ids.is_empty() { Value::Null } else { json!(ids).to_string().into() };
    let mut metadata = json!({"annotations": {NODE_ID: text}});
    if !labels.is_empty() {
        metadata["labels"] = labels.into();
    }
    let why = "the drivers that have registered on the node, and their names for it";
    Some(patch(object, node, json!({"metadata": metadata}), Reason::new("csi-register", why)))
}

fn entry(one: &DriverOnNode) -> Value {
    let keys: Vec<&String> = one.topology.keys().collect();
    let mut entry = json!({"name": one.driver, "nodeID": one.node_id, "topologyKeys": keys});
    if one.volumes_max > 0 {
        entry["allocatable"] = json!({"count": one.volumes_max.min(i64::from(i32::MAX))});
    }
    if keys.is_empty() {
        entry["topologyKeys"] = Value::Null;
    }
    entry
}

fn creation(object: &ObjectRef, name: &str, uid: &Value, registered: &[DriverOnNode]) -> Write {
    let entries: Vec<Value> = registered.iter().map(entry).collect();
    Write {
        object: object.clone(),
        subresource: None,
        change: Change::Create(node_status::csi_node(name, uid, &entries)),
        version: None,
        on_behalf_of: object.clone(),
        reason: Reason::new("csi-register", "the node's drivers are to be known to the cluster"),
    }
}

fn deletion(object: &ObjectRef, own: &Value) -> Write {
    let uid = &own["metadata"]["uid"];
    Write {
        object: object.clone(),
        subresource: None,
        change: Change::Delete(json!({"preconditions": {"uid": uid}})),
        version: None,
        on_behalf_of: object.clone(),
        reason: Reason::new("csi-register", "it belongs to a node of that name that is gone"),
    }
}

/// The entries of drivers, if they are not as they should be.
fn about_csi_node(object: &ObjectRef, own: &Value, registered: &[DriverOnNode]) -> Option<Write> {
    let key = |entry: &Value| {
        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        let count = entry["allocatable"]["count"].as_i64();
        let keys = entry["topologyKeys"].as_array().cloned().unwrap_or_default();
        (text("name"), text("nodeID"), count, format!("{keys:?}"))
    };
    let held = own["spec"]["drivers"].as_array().into_iter().flatten().map(key);
    let entries: Vec<Value> = registered.iter().map(entry).collect();
    if held.eq(entries.iter().map(key)) {
        return None;
    }
    let change = json!({"spec": {"drivers": entries}});
    let why = "the drivers that have registered on the node";
    Some(patch(object, own, change, Reason::new("csi-register", why)))
}

impl Reconciler for Registration {
    fn take_in(&self, changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        let of_a_node = changed.into_iter().filter(|object| {
            (object.kind == kind::NODE || object.kind == kind::CSI_NODE)
                && self.drivers.knows(&object.key.name)
        });
        let mut nodes: Vec<ObjectRef> =
            of_a_node.map(|object| ObjectRef::new(kind::NODE, object.key)).collect();
        nodes.sort();
        nodes.dedup();
        nodes
    }

    /// The nodes whose drivers came or went.
    fn everything(&self) -> Vec<ObjectRef> {
        let changed = self.drivers.take_changed().into_iter();
        changed.map(|node| ObjectRef::new(kind::NODE, Key::cluster(node))).collect()
    }

    fn reconcile(self: Arc<Self>, object: ObjectRef) -> BoxFuture<'static, Pass> {
        Box::pin(self.pass(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registered() -> Vec<DriverOnNode> {
        vec![DriverOnNode {
            driver: "d.example".into(),
            node_id: "host-1".into(),
            volumes_max: 0,
            topology: BTreeMap::from([("zone".into(), "a".into())]),
        }]
    }

    #[test]
    fn a_node_gets_annotation_and_labels_once() {
        let object = ObjectRef::new(kind::NODE, Key::cluster("n"));
        let fresh = json!({"metadata": {"name": "n"}});
        let write = about_node(&object, &fresh, &registered()).expect("a write");
        let Change::Merge(change) = write.change else { panic!("a merge") };
        assert_eq!(change["metadata"]["annotations"][NODE_ID], r#"{"d.example":"host-1"}"#);
        assert_eq!(change["metadata"]["labels"]["zone"], "a");
        let done = json!({"metadata": {
            "annotations": {NODE_ID: r#"{"d.example":"host-1"}"#}, "labels": {"zone": "a"},
        }});
        assert_eq!(about_node(&object, &done, &registered()), None);
        assert!(about_node(&object, &done, &[]).is_some(), "the driver has gone");
        let other = json!({"metadata": {"labels": {"zone": "b"}}});
        assert_eq!(
            why_not_here(&other, &registered()[0]).expect("a collision"),
            "detected topology value collision: driver reported \"zone\":\"a\" but existing label \
             is \"zone\":\"b\""
        );
    }
}
