//! The volumes of one node, inferred from what the API shows: for clusters
//! whose kubelets run elsewhere.
//!
//! ```text
//! pods of the node ──> claims ──> volumes ─┐
//! VolumeAttachments to the node ───────────┼─> one row per volume ─> stage, error
//! status.volumesAttached, volumesInUse ────┤
//! events about the pods ───────────────────┘
//! ```
//!
//! Costs what is on the node, found by index. What only the kubelet knows (the
//! moment of a mount, the next retry, volumes that are no claims) is left out,
//! and the board says that it is inferred.
//!
//! Rules come from what the attach/detach controller and a kubelet write
//! (upstream: `attach_detach_controller.go`, `operation_generator.go`).

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::mirror::Tables;
use crate::model::attachment::Attachment;
use crate::model::event::Event;
use crate::model::node::Node;
use crate::model::node_board::{BoardPod, BoardRow, NodeBoard, OnNode, Stage, StageSpan};
use crate::model::object::{Key, Seconds};
use crate::model::pod::Pod;
use crate::model::volume::Volume;

/// What a volume's kind says of it; the kinds are known above this layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeFacts {
    /// As in `status.volumesAttached`: `kubernetes.io/csi/<driver>^<handle>`.
    pub unique_name: Arc<str>,
    /// Attached by a controller before a node can use it.
    pub attaches: bool,
    /// Mounted once for all pods before it is mounted for each.
    pub stages: bool,
}

/// What is asked of the kinds.
pub trait Kinds {
    fn facts(&self, volume: &Volume) -> VolumeFacts;
    /// Where a kubelet has the volume for a pod; empty if that is not known.
    fn host_path(&self, volume: &Volume, pod_uid: &str) -> String;
}

/// The board of a node as far as the API shows it.
pub fn infer(tables: &Tables, node: &Node, kinds: &dyn Kinds) -> NodeBoard {
    let mut parts: BTreeMap<Arc<str>, Part<'_>> = BTreeMap::new();
    let name = &node.meta.key.name;
    for pod in tables.pods_on(name).filter(|pod| !matches!(&*pod.phase, "Succeeded" | "Failed")) {
        for used in &pod.claims {
            let key = Key::new(pod.meta.key.namespace.clone(), used.claim.clone());
            let claim = tables.claims.get(&key).filter(|claim| !claim.volume_name.is_empty());
            let Some(claim) = claim else { continue };
            let part = parts.entry(claim.volume_name.clone()).or_default();
            part.claim = Some(key);
            part.pods.push((pod, &used.volume));
        }
    }
    for attachment in tables.attachments_on(name).filter(|row| !row.volume.is_empty()) {
        parts.entry(attachment.volume.clone()).or_default().attachment = Some(attachment);
    }
    let mut rows: Vec<BoardRow> =
        parts.iter().map(|(name, part)| part.row(name, node, tables, kinds)).collect();
    rows.extend(unexplained(node, &rows));
    rows.sort_by(|a, b| (&a.name, &a.unique_name).cmp(&(&b.name, &b.unique_name)));
    NodeBoard { node: name.clone(), rows, is_inferred: true }
}

/// What the node reports and no pod or attachment explains.
fn unexplained(node: &Node, rows: &[BoardRow]) -> Vec<BoardRow> {
    let mut names: Vec<&Arc<str>> =
        node.volumes_attached.iter().map(|volume| &volume.name).collect();
    names.extend(node.volumes_in_use.iter());
    names.sort();
    names.dedup();
    let unknown = names.into_iter().filter(|name| rows.iter().all(|row| row.unique_name != **name));
    unknown.map(|name| left_over(node, name)).collect()
}

fn left_over(node: &Node, unique_name: &Arc<str>) -> BoardRow {
    let in_use = node.volumes_in_use.contains(unique_name);
    let last = unique_name.rsplit(['/', '^']).next().unwrap_or(unique_name);
    let plugin = unique_name.strip_prefix("kubernetes.io/").unwrap_or(unique_name);
    BoardRow {
        unique_name: unique_name.clone(),
        name: last.into(),
        kind: plugin.split('/').next().unwrap_or_default().into(),
        claim: None,
        pods: Vec::new(),
        on_node: if in_use { OnNode::Uncertain } else { OnNode::Attached },
        stage: if in_use { Stage::Unstage } else { Stage::Detach },
        since: timestamp(node.meta.created),
        attempts: 0,
        last_error: None,
        next_retry: None,
        is_busy: false,
        device_path: String::new(),
        stage_path: String::new(),
        spans: Vec::new(),
        upcoming: Vec::new(),
    }
}

/// Everything that speaks of one volume on the node.
#[derive(Default)]
struct Part<'a> {
    claim: Option<Key>,
    /// Each pod with the volume's name inside it.
    pods: Vec<(&'a Arc<Pod>, &'a Arc<str>)>,
    attachment: Option<&'a Arc<Attachment>>,
}

/// What the node and the controller say of one volume.
#[derive(Clone, Copy)]
struct Said {
    attaches: bool,
    stages: bool,
    attached: bool,
    in_use: bool,
}

impl<'a> Part<'a> {
    fn row(&self, name: &Arc<str>, node: &Node, tables: &Tables, kinds: &dyn Kinds) -> BoardRow {
        let volume = tables.volumes.get(&Key::cluster(name.clone()));
        let facts = volume.map(|volume| kinds.facts(volume)).unwrap_or(VolumeFacts {
            unique_name: name.clone(),
            attaches: self.attachment.is_some(),
            stages: false,
        });
        let mut reported = node.volumes_attached.iter();
        let device = reported.find(|volume| volume.name == facts.unique_name);
        let attached = self.attachment.is_some_and(|row| row.attached) || device.is_some();
        let in_use = node.volumes_in_use.contains(&facts.unique_name);
        let said = Said { attaches: facts.attaches, stages: facts.stages, attached, in_use };
        let failure = self.failure(name, tables);
        let stage = self.stage(said, failure);
        let since = self.since(stage, tables);
        let error = match stage {
            Stage::Running => None,
            stage => self.error(stage, failure),
        };
        BoardRow {
            unique_name: facts.unique_name,
            name: name.clone(),
            kind: volume.map(|volume| volume.source.field.clone()).unwrap_or_default(),
            claim: self.claim.clone(),
            pods: self.board_pods(volume.map(|volume| &**volume), kinds),
            on_node: on_node(stage, said),
            stage,
            since: timestamp(since),
            attempts: failure.filter(|_| error.is_some()).map_or(1, |event| event.count),
            is_busy: stage != Stage::Running && error.is_none(),
            last_error: error,
            next_retry: None,
            device_path: device.map(|volume| volume.device_path.to_string()).unwrap_or_default(),
            stage_path: String::new(),
            spans: self.spans(stage, since, tables),
            upcoming: Vec::new(),
        }
    }

    fn board_pods(&self, volume: Option<&Volume>, kinds: &dyn Kinds) -> Vec<BoardPod> {
        let pods = self.pods.iter().map(|(pod, _)| BoardPod {
            pod: pod.meta.key.clone(),
            uid: pod.meta.uid.clone(),
            wanted: pod.meta.deleting.is_none(),
            host_path: volume
                .map(|volume| kinds.host_path(volume, &pod.meta.uid))
                .unwrap_or_default(),
            container_paths: Vec::new(),
            read_only: false,
        });
        pods.collect()
    }

    /// The newest event that says a step of this volume failed.
    fn failure<'t>(&self, name: &str, tables: &'t Tables) -> Option<&'t Arc<Event>> {
        let quoted = format!("\"{name}\"");
        let about = self.pods.iter().flat_map(|(pod, inner)| {
            tables.events_about(&pod.meta.uid).map(move |event| (event, *inner))
        });
        let failures = about.filter(|(event, inner)| {
            event.reason.starts_with("Failed")
                && (event.message.contains(&quoted) || names_inside(&event.message, inner))
        });
        failures.map(|(event, _)| event).max_by_key(|event| event.last_seen)
    }

    fn stage(&self, said: Said, failure: Option<&Arc<Event>>) -> Stage {
        let mut wanted = self.pods.iter().filter(|(pod, _)| pod.meta.deleting.is_none()).peekable();
        if wanted.peek().is_none() {
            return match (self.pods.is_empty(), said.in_use) {
                (false, _) => Stage::Unpublish,
                (true, true) if said.stages => Stage::Unstage,
                (true, true) => Stage::Unpublish,
                (true, false) => Stage::Detach,
            };
        }
        if wanted.all(|(pod, _)| &*pod.phase == "Running") {
            return Stage::Running;
        }
        if said.attaches && !said.attached {
            return Stage::Attach;
        }
        let step = failure.map_or("", |event| &*event.message);
        if step.contains("WaitForAttach") {
            Stage::Wait
        } else if step.contains(".SetUp ") || step.contains("MapPodDevice") {
            Stage::Publish
        } else if said.stages {
            Stage::Stage
        } else {
            Stage::Publish
        }
    }

    /// What the stage it is in failed with.
    fn error(&self, stage: Stage, failure: Option<&Arc<Event>>) -> Option<Arc<str>> {
        let told = self.attachment.and_then(|row| match stage {
            Stage::Attach => row.attach_error.as_deref(),
            Stage::Detach => row.detach_error.as_deref(),
            _ => None,
        });
        if let Some(error) = told {
            return Some(Arc::from(&*error.message));
        }
        let failure = failure.filter(|event| match stage {
            Stage::Attach => &*event.reason == "FailedAttachVolume",
            Stage::Detach | Stage::Unstage => false,
            _ => &*event.reason != "FailedAttachVolume",
        });
        failure.map(|event| event.message.clone())
    }

    /// When the stage was come to, as far as can be told.
    fn since(&self, stage: Stage, tables: &Tables) -> Seconds {
        let attachment = self.attachment;
        match stage {
            Stage::Attach => attachment.map(|row| row.meta.created),
            Stage::Detach => attachment.and_then(|row| row.meta.deleting),
            Stage::Unpublish => self.pods.iter().filter_map(|(pod, _)| pod.meta.deleting).min(),
            Stage::Running => self.told(tables, "Started"),
            _ => self.told(tables, "SuccessfulAttachVolume"),
        }
        .or_else(|| self.scheduled(tables))
        .or_else(|| attachment.map(|row| row.meta.created))
        .unwrap_or_default()
    }

    /// When the earliest of its pods came to the node.
    fn scheduled(&self, tables: &Tables) -> Option<Seconds> {
        let created = || self.pods.iter().map(|(pod, _)| pod.meta.created).min();
        self.told(tables, "Scheduled").or_else(created)
    }

    /// When something of this reason was first said of one of its pods.
    fn told(&self, tables: &Tables, reason: &str) -> Option<Seconds> {
        let events = self.pods.iter().flat_map(|(pod, _)| tables.events_about(&pod.meta.uid));
        events.filter(|event| &*event.reason == reason).map(|event| event.first_seen).min()
    }

    fn spans(&self, stage: Stage, since: Seconds, tables: &Tables) -> Vec<StageSpan> {
        let attached = self.told(tables, "SuccessfulAttachVolume");
        let began = self.attachment.map(|row| row.meta.created).or(self.scheduled(tables));
        let mut spans = Vec::new();
        if let (Some(began), Some(ended)) = (began, attached.filter(|_| stage != Stage::Attach)) {
            let ended = Some(timestamp(ended.max(began)));
            spans.push(StageSpan { stage: Stage::Attach, began: timestamp(began), ended });
        }
        let up = attached.or(self.scheduled(tables)).filter(|_| stage == Stage::Running);
        if let Some(began) = up {
            let ended = Some(timestamp(since.max(began)));
            spans.push(StageSpan { stage: Stage::Publish, began: timestamp(began), ended });
        }
        spans.push(StageSpan { stage, began: timestamp(since), ended: None });
        spans
    }
}

/// Whether the summary of a pod's mounts lists this volume of it as not
/// mounted: `unmounted volumes=[data cache], …`.
fn names_inside(message: &str, inner: &str) -> bool {
    let Some((_, rest)) = message.split_once("unmounted volumes=[") else { return false };
    let list = rest.split(']').next().unwrap_or_default();
    list.split([' ', ',']).any(|name| name == inner)
}

fn on_node(stage: Stage, said: Said) -> OnNode {
    match stage {
        Stage::Running | Stage::Unpublish => OnNode::Mounted,
        Stage::Unstage => OnNode::Staged,
        Stage::Publish if said.stages => OnNode::Staged,
        _ if said.attached && said.attaches => OnNode::Attached,
        _ => OnNode::Absent,
    }
}

fn timestamp(at: Seconds) -> Timestamp {
    Timestamp::from_second(at).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::mirror::{Mirror, Mirrored};
    use crate::model::claim::Claim;

    struct Csi;

    impl Kinds for Csi {
        fn facts(&self, volume: &Volume) -> VolumeFacts {
            let unique_name = format!("kubernetes.io/csi/d^{}", volume.source.place).into();
            VolumeFacts { unique_name, attaches: true, stages: true }
        }

        fn host_path(&self, volume: &Volume, pod_uid: &str) -> String {
            format!("/pods/{pod_uid}/{}", volume.meta.key.name)
        }
    }

    const PV: &str = "kubernetes.io/csi/d^h1";

    struct World(Mirror);

    impl World {
        fn new(pod: Value, attached: Value) -> Self {
            let world = Self(Mirror::default());
            let csi = json!({"driver": "d", "volumeHandle": "h1"});
            world.put::<Volume>("", "pv-1", json!({"spec": {"csi": csi}}));
            world.put::<Claim>("s", "data", json!({"spec": {"volumeName": "pv-1"}}));
            if !pod.is_null() {
                let volume =
                    json!({"name": "data", "persistentVolumeClaim": {"claimName": "data"}});
                let spec = json!({"nodeName": "n1", "volumes": [volume]});
                world.put::<Pod>("s", "web-0", json!({"spec": spec, "status": pod}));
            }
            if !attached.is_null() {
                let spec = json!({"nodeName": "n1", "source": {"persistentVolumeName": "pv-1"}});
                let row = json!({"spec": spec, "status": attached});
                world.put::<Attachment>("", "va", row);
            }
            world
        }

        fn put<R: Mirrored>(&self, namespace: &str, name: &str, mut object: Value) {
            object["metadata"] = json!({"namespace": namespace, "name": name, "uid": name,
                "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"});
            self.0.apply(R::from_object(&object).expect("a row"));
        }

        fn event(&self, reason: &str, message: &str) {
            let about = json!({"uid": "web-0"});
            let event = json!({"involvedObject": about, "reason": reason, "message": message,
                "count": 4, "firstTimestamp": "2026-01-01T00:00:05Z",
                "lastTimestamp": "2026-01-01T00:00:09Z"});
            self.put::<Event>("s", reason, event);
        }

        /// `stage onNode attempts`, then the error.
        fn row(&self, status: Value) -> String {
            self.put::<Node>("", "n1", json!({"status": status}));
            let board = self.0.read(|tables| {
                let node = tables.nodes.get(&Key::cluster("n1")).expect("a node");
                infer(tables, node, &Csi)
            });
            assert!(board.is_inferred);
            let [row] = board.rows.as_slice() else { panic!("{board:?}") };
            let error = row.last_error.as_deref().unwrap_or("-");
            format!("{} {} {} {error}", row.stage, row.on_node.word(), row.attempts)
        }
    }

    #[test]
    fn each_state_of_the_api_tells_its_stage() {
        let pending = || json!({"phase": "Pending"});
        let attached = || json!({"attached": true});
        let in_use = || json!({"volumesInUse": [PV]});
        let world = World::new(pending(), json!({"attached": false}));
        assert_eq!(world.row(json!({})), "attach - 1 -");
        let refused = json!({"attached": false, "attachError": {"message": "no slot"}});
        assert_eq!(World::new(pending(), refused).row(json!({})), "attach - 1 no slot");
        let world = World::new(pending(), attached());
        assert_eq!(world.row(in_use()), "stage attached 1 -");
        let message = "MountVolume.SetUp failed for volume \"pv-1\" : no such share";
        world.event("FailedMount", message);
        assert_eq!(world.row(in_use()), format!("publish staged 4 {message}"));
        let world = World::new(json!({"phase": "Running"}), attached());
        assert_eq!(world.row(in_use()), "running mounted 1 -");
        let world = World::new(Value::Null, attached());
        assert_eq!(world.row(in_use()), "unstage staged 1 -");
        assert_eq!(World::new(Value::Null, attached()).row(json!({})), "detach attached 1 -");
    }

    #[test]
    fn summary_of_unmounted_volumes_counts_for_those_it_lists() {
        let message = "Unable to attach or mount volumes: unmounted volumes=[data], \
                       unattached volumes=[data]: timed out waiting for the condition";
        assert!(names_inside(message, "data"));
        assert!(!names_inside(message, "dat"));
        assert!(!names_inside("no list", "data"));
    }

    #[test]
    fn what_nothing_explains_is_shown_by_its_own_name() {
        let world = World(Mirror::default());
        let status = json!({"volumesAttached": [{"name": PV}]});
        assert_eq!(world.row(status), "detach attached 0 -");
    }

    #[test]
    fn event_of_another_volume_is_not_held_against_this_one() {
        let world = World::new(json!({"phase": "Pending"}), json!({"attached": true}));
        world.event("FailedMount", "MountVolume.SetUp failed for volume \"pv-10\" : no");
        assert_eq!(world.row(json!({"volumesInUse": [PV]})), "stage attached 1 -");
    }
}
