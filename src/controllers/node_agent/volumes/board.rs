//! A node's board, from what its agent knows.
//!
//! A volume's way is kept as a [`Journey`]: the stage it is in, and the spans
//! of those before. While an operation is tried again the stage does not go
//! back, so that its age says how long the volume has been stuck there.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use crate::controllers::node_agent::volumes::actual::{
    Actual, ActualVolume, Attachability, DeviceState,
};
use crate::controllers::node_agent::volumes::desired::{Desired, DesiredMount, DesiredPod};
use crate::controllers::node_agent::volumes::operations::{Entry, OperationName, Operations};
use crate::controllers::node_agent::volumes::pod::{PodSource, PodVolume};
use crate::controllers::node_agent::volumes::reconcile::{NodeLists, why_not_verify};
use crate::model::node_board::{BoardPod, BoardRow, OnNode, Stage, StageSpan};
use crate::model::object::Key;

/// How many spans of a volume are kept.
const SPANS_MAX: usize = 32;

/// A volume's way on one node.
#[derive(Debug, Clone)]
pub struct Journey {
    pub stage: Stage,
    pub since: Timestamp,
    /// How far an operation got that is under way, or tried again.
    pub at: Option<Stage>,
    /// Kept after the volume has left, for the rows of what is detached.
    pub spec_name: Arc<str>,
    pub kind: Arc<str>,
    pub claim: Option<Key>,
    spans: VecDeque<StageSpan>,
}

impl Journey {
    pub fn new(stage: Stage, now: Timestamp) -> Self {
        let span = StageSpan { stage, began: now, ended: None };
        Self {
            stage,
            since: now,
            at: None,
            spec_name: "".into(),
            kind: "".into(),
            claim: None,
            spans: VecDeque::from([span]),
        }
    }

    /// An operation says how far it is. When it is tried again, it counts from
    /// where it got before.
    pub fn reached(&mut self, stage: Stage) {
        self.at = self.at.max(Some(stage));
    }

    /// Comes into a stage; nothing changes if it is the present one.
    pub fn enter(&mut self, stage: Stage, now: Timestamp) -> bool {
        if self.stage == stage {
            return false;
        }
        if let Some(last) = self.spans.back_mut() {
            last.ended = Some(now);
        }
        self.spans.push_back(StageSpan { stage, began: now, ended: None });
        if self.spans.len() > SPANS_MAX {
            self.spans.pop_front();
        }
        (self.stage, self.since) = (stage, now);
        true
    }
}

/// What the board is made from.
pub struct Known<'a> {
    pub desired: &'a Desired,
    pub actual: &'a Actual,
    pub operations: &'a Operations,
    pub node: &'a NodeLists,
    /// All pods are known: what none of them wants goes.
    pub may_take_away: bool,
}

/// The stage of a volume, if it is on the board at all.
pub fn stage(known: &Known<'_>, name: &Arc<str>, journey: Option<&Journey>) -> Option<Stage> {
    let (wanted, there) = (known.desired.volumes.get(name), known.actual.volumes.get(name));
    let operation = known.operations.of(name);
    let settled = match (wanted, there) {
        (None, None) if known.node.attached.contains(name) => Stage::Detach,
        (None, None) => return None,
        (Some(wanted), None) if wanted.is_attachable() => Stage::Attach,
        (Some(_), None) => Stage::Wait,
        (Some(wanted), Some(there)) => {
            let is_mounted = |pod: &Arc<str>| there.pods.get(pod).is_some_and(|m| m.is_mounted());
            let leaving = there.pods.keys().any(|pod| !wanted.pods.contains_key(pod));
            match there.device {
                _ if wanted.pods.keys().all(is_mounted) && !leaving => Stage::Running,
                _ if wanted.pods.keys().all(is_mounted) => Stage::Unpublish,
                DeviceState::Mounted => Stage::Publish,
                DeviceState::NotMounted | DeviceState::Uncertain => Stage::Wait,
            }
        }
        (None, Some(there)) if !there.pods.is_empty() && !known.may_take_away => Stage::Running,
        (None, Some(there)) if !there.pods.is_empty() => Stage::Unpublish,
        (None, Some(there)) => match there.device {
            DeviceState::NotMounted => Stage::Detach,
            DeviceState::Mounted | DeviceState::Uncertain => Stage::Unstage,
        },
    };
    let (Some(operation), Some(journey)) = (operation, journey) else { return Some(settled) };
    Some(operating(operation, journey).unwrap_or(settled))
}

/// The stage of an operation that runs, or is tried again.
fn operating(operation: &Entry, journey: &Journey) -> Option<Stage> {
    match operation.name {
        OperationName::Verify => Some(Stage::Attach),
        // What runs, and grows, shows as running.
        OperationName::Grow => None,
        OperationName::Unmount | OperationName::Unmap => Some(Stage::Unpublish),
        OperationName::UnmountDevice | OperationName::UnmapDevice => Some(Stage::Unstage),
        OperationName::Mount | OperationName::Map => journey.at,
    }
}

/// One volume's row.
pub fn row(known: &Known<'_>, name: &Arc<str>, journey: &Journey) -> BoardRow {
    let (wanted, there) = (known.desired.volumes.get(name), known.actual.volumes.get(name));
    let operation = known.operations.of(name);
    let waits = wanted.filter(|_| there.is_none());
    let waits = waits.and_then(|wanted| why_not_verify(name, wanted, known.node));
    let failed = operation.and_then(|operation| operation.error.clone());
    BoardRow {
        unique_name: name.clone(),
        name: journey.spec_name.clone(),
        kind: journey.kind.clone(),
        claim: journey.claim.clone(),
        pods: pods(known, name),
        on_node: there.map_or(OnNode::Absent, on_node),
        stage: journey.stage,
        since: journey.since,
        attempts: operation.map_or(0, |operation| operation.attempts),
        last_error: failed.or_else(|| waits.map(|waits| waits.text(name).into())),
        next_retry: operation
            .filter(|operation| !operation.is_running)
            .and_then(|operation| operation.retry_at),
        is_busy: operation.is_some_and(|operation| operation.is_running),
        device_path: there.map_or_else(String::new, |there| there.device_path.clone()),
        stage_path: there.map_or_else(String::new, |there| there.device_mount_path.clone()),
        spans: journey.spans.iter().copied().collect(),
        upcoming: Vec::new(),
    }
}

fn on_node(there: &ActualVolume) -> OnNode {
    let uncertain = there.pods.values().any(|mount| !mount.is_mounted())
        || there.device == DeviceState::Uncertain;
    match there.device {
        _ if uncertain => OnNode::Uncertain,
        _ if !there.pods.is_empty() => OnNode::Mounted,
        DeviceState::Mounted => OnNode::Staged,
        _ if there.attachable == Attachability::Uncertain => OnNode::Uncertain,
        DeviceState::NotMounted | DeviceState::Uncertain => OnNode::Attached,
    }
}

fn pods(known: &Known<'_>, name: &Arc<str>) -> Vec<BoardPod> {
    let mut pods: BTreeMap<&Arc<str>, BoardPod> = BTreeMap::new();
    let wanted = known.desired.volumes.get(name).map(|volume| &volume.pods);
    for (uid, mount) in wanted.into_iter().flatten() {
        pods.insert(uid, wanted_pod(mount));
    }
    let there = known.actual.volumes.get(name).map(|volume| &volume.pods);
    for (uid, mount) in there.into_iter().flatten() {
        let pod = pods.entry(uid).or_insert_with(|| BoardPod {
            pod: Key::default(),
            uid: uid.clone(),
            wanted: false,
            host_path: String::new(),
            container_paths: Vec::new(),
            read_only: mount.spec.read_only,
        });
        if let Some(published) = &mount.published {
            pod.host_path.clone_from(&published.host_path);
            pod.read_only |= published.read_only;
        }
    }
    pods.into_values().collect()
}

fn wanted_pod(mount: &DesiredMount) -> BoardPod {
    let uses: Vec<&PodVolume> =
        mount.outer.iter().filter_map(|outer| mount.pod.volume(outer)).collect();
    BoardPod {
        pod: mount.pod.key.clone(),
        uid: mount.pod.uid.clone(),
        wanted: true,
        host_path: String::new(),
        container_paths: uses.iter().flat_map(|used| used.container_paths.clone()).collect(),
        read_only: mount.spec.read_only || uses.iter().all(|used| used.is_read_only),
    }
}

/// The rows of a pod's volumes that could not be read: they have no unique
/// name yet.
pub fn refused(pod: &DesiredPod) -> impl Iterator<Item = BoardRow> + '_ {
    pod.refused.iter().map(|(outer, (error, since))| {
        let used = pod.pod.volume(outer);
        let (kind, claim) = match used.map(|used| &used.source) {
            Some(PodSource::Claim { name, .. }) => {
                ("".into(), Some(Key::new(pod.pod.key.namespace.clone(), name.clone())))
            }
            Some(PodSource::Inline(spec)) => (spec.source.field().into(), None),
            None => ("".into(), None),
        };
        BoardRow {
            unique_name: "".into(),
            name: outer.clone(),
            kind,
            claim,
            pods: vec![BoardPod {
                pod: pod.pod.key.clone(),
                uid: pod.pod.uid.clone(),
                wanted: true,
                host_path: String::new(),
                container_paths: used.map_or_else(Vec::new, |used| used.container_paths.clone()),
                read_only: used.is_some_and(|used| used.is_read_only),
            }],
            on_node: OnNode::Absent,
            stage: Stage::Attach,
            since: *since,
            attempts: 0,
            last_error: Some(error.as_str().into()),
            next_retry: None,
            is_busy: false,
            device_path: String::new(),
            stage_path: String::new(),
            spans: vec![StageSpan { stage: Stage::Attach, began: *since, ended: None }],
            upcoming: Vec::new(),
        }
    })
}
