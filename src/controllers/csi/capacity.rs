//! Publishes how much a driver can still provision: what external-provisioner
//! does with `--enable-capacity`.
//!
//! ```text
//! class x topology segment ─> GetCapacity ─> CSIStorageCapacity
//! ```
//!
//! One object for each class of the driver and each segment of its nodes,
//! refreshed each minute and when classes or segments change. Objects of ours
//! that are not wanted any more are deleted; so are second ones for the same,
//! which a kill between a creation and its answer may leave.
//!
//! Only for drivers whose CSIDriver asks for it: the scheduler looks at no
//! other's.
//!
//! Upstream: `pkg/capacity`.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use pvdeck_csi_proto::csi;
use pvdeck_csi_proto::csi::controller_service_capability::rpc;
use serde_json::{Value, json};

use crate::cluster::write_path::WriteError;
use crate::controllers::csi::Parts;
use crate::controllers::csi::retries::Retries;
use crate::controllers::csi::shell::patch;
use crate::controllers::work_loop::{Pass, Reconciler};
use crate::model::class::StorageClass;
use crate::model::csi::CsiNode;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::quantity::Quantity;
use crate::model::write::{Change, Reason, Write};

/// How often capacities are asked for (upstream: `--capacity-poll-interval`).
pub const POLL: Duration = Duration::from_secs(60);

/// Where the objects are: their namespace says nothing about who may use them.
const NAMESPACE: &str = "kube-system";
const DRIVER_LABEL: &str = "csi.storage.k8s.io/drivername";
const MANAGED_LABEL: &str = "csi.storage.k8s.io/managed-by";
const MANAGER: &str = "external-provisioner";

/// Labels that the nodes of a segment have; empty: all nodes.
pub type Segment = BTreeMap<String, String>;

/// What is left in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    pub segment: Segment,
    pub capacity: Quantity,
    pub largest_volume: Option<Quantity>,
}

/// What has to be written so that the objects of a class say what is left.
/// `held`: all objects of this driver and class.
pub fn decide(driver: &str, class: &str, rooms: &[Room], held: &[Value]) -> Vec<Write> {
    let mut kept: BTreeSet<usize> = BTreeSet::new();
    let mut writes = Vec::new();
    for room in rooms {
        let selector = selector(&room.segment);
        let own = held.iter().position(|one| one["nodeTopology"] == selector);
        kept.extend(own);
        writes.extend(match own {
            Some(at) => updated(room, &held[at]),
            None => Some(created(driver, class, room)),
        });
    }
    let rest = held.iter().enumerate().filter(|(at, _)| !kept.contains(at));
    writes.extend(rest.map(|(_, one)| deleted(one)));
    writes
}

fn selector(segment: &Segment) -> Value {
    if segment.is_empty() { json!({}) } else { json!({"matchLabels": segment}) }
}

fn created(driver: &str, class: &str, room: &Room) -> Write {
    let mut body = json!({
        "apiVersion": kind::CSI_STORAGE_CAPACITY.api_version(),
        "kind": kind::CSI_STORAGE_CAPACITY.kind,
        "metadata": {
            "generateName": "csisc-", "namespace": NAMESPACE,
            "labels": {DRIVER_LABEL: driver, MANAGED_LABEL: MANAGER},
        },
        "storageClassName": class,
        "nodeTopology": selector(&room.segment),
        "capacity": room.capacity.to_string(),
    });
    if let Some(largest) = room.largest_volume {
        body["maximumVolumeSize"] = largest.to_string().into();
    }
    let why = format!("the driver can provision {} more for this class here", room.capacity);
    let object = ObjectRef::new(kind::CSI_STORAGE_CAPACITY, Key::new(NAMESPACE, "csisc-"));
    Write {
        on_behalf_of: ObjectRef::new(kind::STORAGE_CLASS, Key::cluster(class)),
        object,
        subresource: None,
        change: Change::Create(body),
        version: None,
        reason: Reason::new("capacity", why),
    }
}

fn updated(room: &Room, held: &Value) -> Option<Write> {
    let size = |value: &Value| value.as_str().and_then(|text| Quantity::parse(text).ok());
    let same = size(&held["capacity"]) == Some(room.capacity)
        && size(&held["maximumVolumeSize"]) == room.largest_volume;
    let largest = room.largest_volume.map(|size| size.to_string());
    let change = json!({"capacity": room.capacity.to_string(), "maximumVolumeSize": largest});
    let why = format!("the driver can provision {} more for this class here", room.capacity);
    (!same).then(|| patch(&object_of(held), held, change, Reason::new("capacity", why)))
}

fn deleted(held: &Value) -> Write {
    let object = object_of(held);
    Write {
        on_behalf_of: object.clone(),
        object,
        subresource: None,
        change: Change::Delete(json!({"preconditions": {"uid": held["metadata"]["uid"]}})),
        version: None,
        reason: Reason::new("capacity", "no class or node asks for this capacity any more"),
    }
}

fn object_of(held: &Value) -> ObjectRef {
    let text = |field: &str| held["metadata"][field].as_str().unwrap_or_default().to_owned();
    ObjectRef::new(kind::CSI_STORAGE_CAPACITY, Key::new(text("namespace"), text("name")))
}

/// The publisher of one driver.
pub struct Publisher {
    parts: Parts,
    retries: Retries,
    /// The segments at the last look: only a change of them is news.
    segments: Mutex<BTreeSet<Segment>>,
}

impl Publisher {
    pub fn new(parts: Parts) -> Self {
        Self { parts, retries: Retries::default(), segments: Mutex::default() }
    }

    async fn pass(self: Arc<Self>, object: ObjectRef) -> Pass {
        let done = self.class(&object.key.name).await;
        self.parts.end(&self.retries, &object, done.map_err(|error| (error, None)))
    }

    async fn class(&self, name: &Arc<str>) -> Result<(), String> {
        let shell = &self.parts.shell;
        let driver = &self.parts.driver;
        if !self.is_asked_for() {
            return Ok(());
        }
        let class = ObjectRef::new(kind::STORAGE_CLASS, Key::cluster(name.clone()));
        let class = shell.get(&class).await?.filter(|class| class["provisioner"] == **driver);
        let rooms = match &class {
            Some(class) => self.rooms(class).await?,
            None => Vec::new(),
        };
        let all = shell.server.list(kind::CSI_STORAGE_CAPACITY, Some(NAMESPACE)).await;
        let mut held = all.map_err(|error| error.to_string())?;
        held.retain(|one| {
            one["metadata"]["labels"][DRIVER_LABEL] == **driver
                && one["metadata"]["labels"][MANAGED_LABEL] == MANAGER
                && one["storageClassName"] == **name
        });
        for write in decide(driver, name, &rooms, &held) {
            match shell.perform(&write).await {
                // Whoever changed it meanwhile is looked at the next time.
                Ok(_) | Err(WriteError::NotFound { .. } | WriteError::Conflict { .. }) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    /// Whether the driver's CSIDriver asks for it.
    fn is_asked_for(&self) -> bool {
        let key = Key::cluster(self.parts.driver.clone());
        self.parts.shell.mirror.read(|tables| {
            tables.csi_drivers.get(&key).is_some_and(|driver| driver.storage_capacity)
        })
    }

    /// What the driver says of each segment.
    async fn rooms(&self, class: &Value) -> Result<Vec<Room>, String> {
        let client = self.parts.client.with_deadline(self.parts.settings.timeout);
        let abilities = client.abilities().await.map_err(|error| error.to_string())?;
        if !abilities.can(rpc::Type::GetCapacity) {
            return Ok(Vec::new());
        }
        let entries = class["parameters"].as_object().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let parameters: std::collections::HashMap<String, String> =
            entries.map(|(key, value)| (key.clone(), text(value))).collect();
        let mut rooms = Vec::new();
        for segment in self.segments_now() {
            let topology = csi::Topology { segments: segment.clone().into_iter().collect() };
            let request = csi::GetCapacityRequest {
                volume_capabilities: Vec::new(),
                parameters: parameters.clone(),
                accessible_topology: (!segment.is_empty()).then_some(topology),
            };
            let reply = client.get_capacity(request).await.map_err(|error| error.to_string())?;
            rooms.push(Room {
                segment,
                capacity: Quantity::bytes(reply.available_capacity),
                largest_volume: reply.maximum_volume_size.map(Quantity::bytes),
            });
        }
        Ok(rooms)
    }

    /// The segments of the driver's nodes.
    fn segments_now(&self) -> BTreeSet<Segment> {
        self.parts.shell.mirror.read(|tables| {
            let of = |node: &Arc<CsiNode>| {
                let own = node.drivers.iter().find(|one| one.name == self.parts.driver)?;
                let labels = &tables.nodes.get(&node.meta.key)?.meta.labels;
                let value = |key: &Arc<str>| {
                    let (_, value) = labels.iter().find(|(own, _)| own == key)?;
                    Some((key.to_string(), value.to_string()))
                };
                own.topology_keys.iter().map(value).collect::<Option<Segment>>()
            };
            tables.csi_nodes.iter().filter_map(of).collect()
        })
    }

    fn classes(&self) -> Vec<ObjectRef> {
        self.parts.shell.mirror.read(|tables| {
            let own = |class: &&Arc<StorageClass>| class.provisioner == self.parts.driver;
            let classes = tables.classes.iter().filter(own);
            classes.map(|row| ObjectRef::new(kind::STORAGE_CLASS, row.meta.key.clone())).collect()
        })
    }

    /// Whether the segments are others than at the last look.
    fn have_segments_changed(&self) -> bool {
        let now = self.segments_now();
        let mut held = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = *held != now;
        *held = now;
        changed
    }
}

impl Reconciler for Publisher {
    fn take_in(&self, changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        let of = |kinds: &[&'static kind::Kind]| changed.iter().any(|o| kinds.contains(&o.kind));
        let mut classes: Vec<ObjectRef> =
            changed.iter().filter(|object| object.kind == kind::STORAGE_CLASS).cloned().collect();
        let driver = Key::cluster(self.parts.driver.clone());
        let is_told = changed.contains(&ObjectRef::new(kind::CSI_DRIVER, driver));
        if is_told || (of(&[kind::CSI_NODE, kind::NODE]) && self.have_segments_changed()) {
            classes.extend(self.classes());
        }
        classes.sort();
        classes.dedup();
        classes
    }

    fn everything(&self) -> Vec<ObjectRef> {
        self.classes()
    }

    fn reconcile(self: Arc<Self>, object: ObjectRef) -> BoxFuture<'static, Pass> {
        Box::pin(self.pass(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(zone: &str, gib: i64) -> Room {
        let segment = [("zone".to_owned(), zone.to_owned())].into();
        Room { segment, capacity: Quantity::bytes(gib << 30), largest_volume: None }
    }

    fn held(name: &str, zone: &str, capacity: &str) -> Value {
        json!({
            "metadata": {"name": name, "namespace": NAMESPACE, "uid": name, "resourceVersion": "3"},
            "nodeTopology": {"matchLabels": {"zone": zone}}, "capacity": capacity,
        })
    }

    #[test]
    fn each_segment_has_one_object_that_says_what_is_left() {
        let rows: [(&[Room], Vec<Value>, &[&str]); 5] = [
            (&[room("a", 1)], vec![], &["CREATE csisc-"]),
            (&[room("a", 1)], vec![held("x", "a", "1Gi")], &[]),
            (&[room("a", 2)], vec![held("x", "a", "1Gi")], &["PATCH x"]),
            (
                &[room("a", 1), room("b", 1)],
                vec![held("x", "a", "1Gi"), held("y", "a", "1Gi")],
                &["CREATE csisc-", "DELETE y"],
            ),
            (&[], vec![held("x", "a", "1Gi")], &["DELETE x"]),
        ];
        for (rooms, held, expected) in rows {
            let writes = decide("d", "fast", rooms, &held);
            let shown: Vec<String> = writes
                .iter()
                .map(|write| format!("{} {}", write.verb(), write.object.key.name))
                .collect();
            assert_eq!(shown, expected);
        }
    }
}
