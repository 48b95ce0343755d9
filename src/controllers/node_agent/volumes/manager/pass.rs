//! One pass: what is to be read, what is to be done, what the board shows.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;

use super::{Found, State, VolumeManager};
use crate::controllers::node_agent::volumes::actual::{
    ActualVolume, Attachability, DeviceState, NodeSize,
};
use crate::controllers::node_agent::volumes::board::{self, Journey};
use crate::controllers::node_agent::volumes::desired::Processing;
use crate::controllers::node_agent::volumes::job::End;
use crate::controllers::node_agent::volumes::operations::OperationKey;
use crate::controllers::node_agent::volumes::reads::{self, PodRead};
use crate::controllers::node_agent::volumes::reconcile::{self, Action, Plan, View};
use crate::model::node::Node;
use crate::model::node_board::Stage;

/// Something that ran beside the loop and has ended.
pub(super) enum Finished {
    Pod { uid: Arc<str>, read: PodRead },
    Node(Result<Node, String>),
    Operation { key: OperationKey, pod: Option<Arc<str>>, end: End },
    Cleaned,
}

pub(super) type Running = BoxFuture<'static, Finished>;

impl VolumeManager {
    /// Decides and begins. Gives what runs now, and when to look again.
    pub(super) fn pass(self: &Arc<Self>) -> (Vec<Running>, Option<Timestamp>) {
        let now = self.clock().now();
        let (mut begun, mut wakes) = (Vec::new(), Vec::new());
        let mut state = self.lock();
        state.is_dirty = false;
        self.read_pods(&mut state, now, &mut begun, &mut wakes);
        let pods = &state.desired.pods;
        if state.sources_ready && pods.values().all(|pod| pod.processing != Processing::Never) {
            state.all_pods_added = true;
        }
        self.read_node(&mut state, now, &mut begun, &mut wakes);
        let plan = self.decide(&mut state, now);
        wakes.extend(plan.wake);
        for action in plan.actions {
            if let Action::Begin { key, name, pod } = action {
                begun.extend(self.begin(&mut state, key, name, pod));
            }
        }
        if state.may_take_away() {
            begun.extend(self.clean_unknown(&mut state));
        }
        state.in_flight += begun.len();
        self.report(&mut state, now);
        (begun, wakes.into_iter().min())
    }

    /// Begins to read the pods whose volumes are to be read.
    fn read_pods(
        &self,
        state: &mut State,
        now: Timestamp,
        begun: &mut Vec<Running>,
        wakes: &mut Vec<Timestamp>,
    ) {
        let pods = state.desired.pods.iter_mut();
        let mut due: Vec<_> = pods
            .filter(|(_, pod)| !pod.is_reading && pod.processing != Processing::Processed)
            .collect();
        // What is read first is mounted first, and uids tell nothing.
        due.sort_by_key(|(_, pod)| pod.turn);
        for (uid, pod) in due {
            match pod.processing {
                Processing::Again { at } if at > now => {
                    wakes.push(at);
                    continue;
                }
                Processing::Again { .. } | Processing::Asked => {
                    // Whoever asks from now on wants it read once more.
                    pod.processing = Processing::Processed;
                }
                Processing::Never | Processing::Processed => {}
            }
            pod.is_reading = true;
            let (server, plugins) = (self.parts.server.clone(), self.parts.plugins.clone());
            let (uid, pod) = (uid.clone(), pod.pod.clone());
            let read = async move {
                let read = reads::read_pod(&*server, &plugins, &pod).await;
                Finished::Pod { uid, read }
            };
            begun.push(read.boxed());
        }
    }

    /// Begins to read the node's status, if what was found waits for it.
    fn read_node(
        &self,
        state: &mut State,
        now: Timestamp,
        begun: &mut Vec<Running>,
        wakes: &mut Vec<Timestamp>,
    ) {
        let Found::Unresolved { is_reading, retry_at, .. } = &mut state.found else { return };
        if *is_reading {
            return;
        }
        if let Some(at) = retry_at.filter(|at| *at > now) {
            wakes.push(at);
            return;
        }
        *is_reading = true;
        let (server, node) = (self.parts.server.clone(), self.parts.host.node().clone());
        let read = async move { Finished::Node(reads::read_node(&*server, &node).await) };
        begun.push(read.boxed());
    }

    /// Decides until only operations are left to begin.
    fn decide(&self, state: &mut State, now: Timestamp) -> Plan {
        if matches!(state.found, Found::Nothing) {
            return Plan::default();
        }
        loop {
            let plan = reconcile::decide(&View {
                desired: &state.desired,
                actual: &state.actual,
                operations: &state.operations,
                node: &state.node,
                may_take_away: state.may_take_away(),
                now,
            });
            let mut is_over = true;
            for action in &plan.actions {
                match action {
                    Action::Begin { .. } => {}
                    Action::MarkAttached { volume } => {
                        mark_attached(state, volume, String::new(), Attachability::False);
                        is_over = false;
                    }
                    Action::Forget { volume } => {
                        state.actual.volumes.remove(volume);
                        state.operations.forget(volume);
                        is_over = false;
                    }
                }
            }
            if is_over {
                return plan;
            }
        }
    }

    /// An operation says how far it is.
    pub(super) fn reached(&self, volume: &Arc<str>, stage: Stage) {
        let now = self.clock().now();
        let mut state = self.lock();
        if let Some(journey) = state.journeys.get_mut(volume) {
            journey.reached(stage);
        }
        if note_stage(&mut state, volume, now) {
            self.parts.boards.send_modify(|boards| *boards += 1);
        }
    }

    /// Brings the board and the list of volumes in use up to date.
    fn report(&self, state: &mut State, now: Timestamp) {
        let desired = state.desired.volumes.keys().chain(state.actual.volumes.keys());
        let names = desired.chain(&state.node.attached).chain(state.journeys.keys());
        let names: std::collections::BTreeSet<Arc<str>> = names.cloned().collect();
        for name in &names {
            note_stage(state, name, now);
        }
        self.parts.boards.send_modify(|boards| *boards += 1);
        self.changed.send_modify(|changed| *changed += 1);
        if !matches!(state.found, Found::Resolved) {
            return;
        }
        let list = reconcile::in_use(&state.desired, &state.actual);
        if state.in_use.as_ref() == Some(&list) {
            return;
        }
        // What we do not report any more counts as reported no more, whatever
        // the API server still has.
        state.node.accepted.retain(|name| list.binary_search(name).is_ok());
        state.in_use = Some(list);
        self.in_use.send_modify(|in_use| *in_use += 1);
    }
}

pub(super) fn mark_attached(
    state: &mut State,
    volume: &Arc<str>,
    device_path: String,
    attachable: Attachability,
) {
    let Some(wanted) = state.desired.volumes.get(volume) else { return };
    let own = ActualVolume {
        spec: wanted.spec.clone(),
        plugin: wanted.facts.name,
        attachable,
        device: DeviceState::NotMounted,
        device_path: device_path.clone(),
        device_mount_path: String::new(),
        growth: NodeSize::default(),
        pods: Default::default(),
        is_reconstructed: false,
    };
    let there = state.actual.volumes.entry(volume.clone()).or_insert(own);
    // One that was found after a restart may have been detached meanwhile.
    there.attachable = attachable;
    if !device_path.is_empty() {
        there.device_path = device_path;
    }
}

/// Brings one volume's journey up to date; whether its stage changed.
fn note_stage(state: &mut State, name: &Arc<str>, now: Timestamp) -> bool {
    let stage = board::stage(&state.known(), name, state.journeys.get(name));
    let Some(stage) = stage else { return state.journeys.remove(name).is_some() };
    let wanted = state.desired.volumes.get(name);
    let spec = wanted.map(|volume| &volume.spec);
    let spec = spec.or(state.actual.volumes.get(name).map(|volume| &volume.spec));
    let journey = state.journeys.entry(name.clone()).or_insert_with(|| Journey::new(stage, now));
    if let Some(spec) = spec.filter(|spec| spec.name != journey.spec_name) {
        journey.spec_name = spec.name.clone();
        journey.kind = spec.source.field().into();
    } else if journey.spec_name.is_empty() {
        let inner = name.rsplit('/').next().unwrap_or_default();
        journey.spec_name = inner.into();
    }
    if journey.claim.is_none()
        && let Some(wanted) = wanted
    {
        journey.claim = wanted.pods.values().find_map(|mount| mount.claim.clone());
    }
    journey.enter(stage, now)
}
