//! The node lifecycle controller's shell: looks at every node each 5 seconds
//! and whenever one changes, and brings conditions, taints and pods in line.
//!
//! One write at a time, each decided afresh, in the order in which a real
//! controller is seen to make them: conditions, NoSchedule, NoExecute, pods.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::health::{Seen, time, unknown};
use super::taints::{Eviction, TaintChange, is_to_be_emptied, no_execute, no_schedule};
use super::writes::pod_status;
use super::zones::{Zones, zone_of};
use crate::controllers::events::Note;
use crate::controllers::parts::{Parts, Written};
use crate::controllers::work_loop::{Outcome, Pass, Reconciler};
use crate::mirror::Mirror;
use crate::model::kind;
use crate::model::node::{Node, Readiness};
use crate::model::object::{Key, ObjectRef};
use crate::model::row::Row;
use crate::model::write::{Change, Reason, Write};

/// How often every node is looked at.
pub const ROUND: Duration = Duration::from_secs(5);
/// How long a node that is gone is remembered.
const MEMORY: Duration = Duration::from_secs(3600);
/// Where the Leases of nodes are.
const LEASES: &str = "kube-node-lease";

/// The controller.
pub struct NodeLifecycle {
    parts: Parts,
    memory: Mutex<Memory>,
    leases: tokio::sync::Mutex<Leases>,
}

/// What is known beyond the cluster; a restart begins anew.
#[derive(Default)]
struct Memory {
    started: bool,
    round: u64,
    /// The nodes that were told of as registered.
    known: BTreeMap<Arc<str>, Arc<Node>>,
    /// The nodes that this round has yet to look at.
    due: HashSet<Arc<str>>,
    /// Also of nodes that are gone, for a while: one that comes back under its
    /// name has to show a new sign of life (upstream forgets none).
    heard: HashMap<Arc<str>, Heard>,
    /// Counted when first asked for; a change of a node makes it void.
    zones: Option<Zones>,
    all_were_lost: bool,
    /// When the next node of a zone may be emptied.
    next: HashMap<String, Timestamp>,
}

/// What a node showed in the round that last looked at it.
struct Heard {
    uid: Arc<str>,
    seen: Seen,
    is_silent: bool,
}

/// The renewals of one round: one list for all nodes.
#[derive(Default)]
struct Leases {
    round: Option<u64>,
    renewed: Arc<HashMap<String, Timestamp>>,
}

/// What is to be written about a node next.
enum Step {
    Unknown(Value),
    Taint(TaintChange),
    /// A pod on it that nobody can say to be ready.
    Pod(Write),
}

impl NodeLifecycle {
    pub fn new(parts: Parts) -> Self {
        Self { parts, memory: Mutex::default(), leases: tokio::sync::Mutex::default() }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of nodes that came and went since this was last asked, and has all
    /// looked at. One that went and came back between is not noticed.
    fn register(&self) {
        let now: BTreeMap<Arc<str>, Arc<Node>> = self.parts.mirror.read(|tables| {
            tables.nodes.iter().map(|node| (node.meta.key.name.clone(), node.clone())).collect()
        });
        let before = std::mem::replace(&mut self.memory().known, now.clone());
        let tell = |node: &Node, reason, what: &str, how: &str| {
            let name = &node.meta.key.name;
            let message = format!("Node {name} event: {what} Node {name} {how} Controller");
            self.parts.recorder.tell(Note::normal(node, reason, message));
        };
        for (name, node) in &now {
            if !before.contains_key(name) {
                tell(node, "RegisteredNode", "Registered", "in");
            }
        }
        for (name, node) in &before {
            if !now.contains_key(name) {
                tell(node, "RemovingNode", "Removing", "from");
            }
        }
        let recent = self.parts.clock.now() - MEMORY;
        let kept = |name: &Arc<str>, heard: &mut Heard| {
            now.contains_key(name) || heard.seen.was_alive_after(recent)
        };
        let mut memory = self.memory();
        memory.heard.retain(kept);
        memory.due = now.into_keys().collect();
    }

    /// When each node's Lease was renewed, listed once a round.
    async fn renewals(&self) -> Result<Arc<HashMap<String, Timestamp>>, String> {
        let round = self.memory().round;
        let mut leases = self.leases.lock().await;
        if leases.round != Some(round) {
            let listed = self.parts.server.list(kind::LEASE, Some(LEASES)).await;
            let listed = listed.map_err(|error| error.to_string())?;
            let renewed = listed.iter().filter_map(|lease| {
                let name = lease["metadata"]["name"].as_str()?;
                let at = lease["spec"]["renewTime"].as_str()?.parse().ok()?;
                Some((name.to_owned(), at))
            });
            leases.renewed = Arc::new(renewed.collect());
            leases.round = Some(round);
        }
        Ok(leases.renewed.clone())
    }

    async fn pass(&self, key: Key) -> Pass {
        let renewals = match self.renewals().await {
            Ok(renewals) => renewals,
            Err(error) => return Pass::new(Outcome::Failed(error)),
        };
        let renewed = renewals.get(&*key.name).copied();
        let mut permitted: Option<ObjectRef> = None;
        loop {
            let row = self.parts.mirror.read(|tables| tables.nodes.get(&key).cloned());
            let step = row.and_then(|node| Some((self.next_step(&node, renewed)?, node)));
            let on_behalf_of = step.as_ref().map(|(step, node)| match step {
                Step::Pod(write) => write.on_behalf_of.clone(),
                Step::Unknown(_) | Step::Taint(_) => node_reference(node),
            });
            if let Some(held) = permitted.take_if(|held| Some(&*held) != on_behalf_of.as_ref()) {
                self.parts.server.nothing_to_do(&held, "the node's state calls for it no more");
            }
            let Some((step, node)) = step else { break };
            let written = match self.perform(step, &node).await {
                Ok(written) => written,
                Err(pass) => return pass,
            };
            match written.end() {
                Some(pass) => return pass,
                None => permitted = on_behalf_of.filter(|_| matches!(written, Written::Again)),
            }
        }
        Pass { again_after: self.wait_for_zone(&key), ..Pass::done() }
    }

    /// What is called for next; nothing once all is as it should be.
    fn next_step(&self, node: &Arc<Node>, renewed: Option<Timestamp>) -> Option<Step> {
        let now = self.parts.clock.now();
        let silent = self.memory().is_silent(node, renewed, now);
        if let Some(patch) = silent.then(|| unknown(node, now)).flatten() {
            return Some(Step::Unknown(patch));
        }
        if let Some(change) = no_schedule(node).or_else(|| no_execute(node, self.eviction(node))) {
            return Some(Step::Taint(change));
        }
        self.unready_pod(node, now).map(Step::Pod)
    }

    /// Whether pods may be made to leave this node now.
    fn eviction(&self, node: &Node) -> Eviction {
        if node.ready == Readiness::Ready {
            return Eviction::Withheld;
        }
        let now = self.parts.clock.now();
        let mut memory = self.memory();
        if !memory.is_as_heard(node) {
            // What it has said since is for the next round to judge.
            return Eviction::Withheld;
        }
        let zones = memory.zones(&self.parts.mirror, now);
        if zones.all_lost() {
            memory.all_were_lost = true;
            return Eviction::CalledOff;
        }
        let zone = zone_of(node);
        if zones.pause(&zone).is_none() {
            return Eviction::Withheld;
        }
        if std::mem::take(&mut memory.all_were_lost) {
            for heard in memory.heard.values_mut() {
                heard.seen.forgive(now);
                heard.is_silent = false;
            }
        }
        match memory.next.get(&zone) {
            Some(at) if *at > now => Eviction::Withheld,
            _ => Eviction::Permitted,
        }
    }

    /// How long a node that is to be emptied has to wait for those before it.
    fn wait_for_zone(&self, key: &Key) -> Option<Duration> {
        let node = self.parts.mirror.read(|tables| tables.nodes.get(key).cloned())?;
        if !is_to_be_emptied(&node) {
            return None;
        }
        let at = self.memory().next.get(&zone_of(&node)).copied()?;
        Duration::try_from(at.duration_since(self.parts.clock.now())).ok()
    }

    /// A pod on a silent node that still is said to be ready.
    fn unready_pod(&self, node: &Node, now: Timestamp) -> Option<Write> {
        if node.condition("Ready") != Some("Unknown") {
            return None;
        }
        self.parts.mirror.read(|tables| {
            let pod = tables.pods_on(&node.meta.key.name).find(|pod| pod.ready_since.is_some())?;
            let status = json!({"conditions": [
                {"type": "Ready", "status": "False", "lastTransitionTime": time(now)},
            ]});
            let why = format!("node {} has stopped posting its status", node.meta.key.name);
            Some(pod_status(&pod.meta, status, Reason::new("NL4", why)))
        })
    }

    async fn perform(&self, step: Step, node: &Arc<Node>) -> Result<Written, Pass> {
        match step {
            Step::Pod(write) => {
                let written = self.parts.write(&write).await;
                if matches!(written, Written::Done(_)) {
                    let pod = self
                        .parts
                        .mirror
                        .read(|tables| tables.pods.get(&write.object.key).cloned());
                    if let Some(pod) = pod {
                        let note = Note::warning(&*pod, "NodeNotReady", "Node is not ready");
                        self.parts.recorder.tell(note);
                    }
                }
                Ok(written)
            }
            Step::Unknown(patch) => {
                let why = Reason::new("NL2", "its kubelet stopped posting its status");
                let write = node_write(node, Some("status"), Change::Strategic(patch), why);
                let was_ready = node.ready == Readiness::Ready;
                let written = self.parts.write(&write).await;
                if matches!(written, Written::Done(_)) {
                    let mut memory = self.memory();
                    memory.zones = None;
                    if let Some(heard) = memory.heard.get_mut(&node.meta.key.name) {
                        heard.seen.called_unknown();
                    }
                    drop(memory);
                    if was_ready {
                        let name = &node.meta.key.name;
                        let message = format!("Node {name} status is now: NodeNotReady");
                        self.parts.recorder.tell(Note::normal(&**node, "NodeNotReady", message));
                    }
                }
                Ok(written)
            }
            Step::Taint(change) => self.taint(&change, node).await,
        }
    }

    /// Changes the taints of the node as the server has it.
    async fn taint(&self, change: &TaintChange, node: &Arc<Node>) -> Result<Written, Pass> {
        let live = self.parts.live(&node_reference(node)).await?.ok_or_else(Pass::done)?;
        if Node::from_object(&live).is_ok_and(|live| live.meta.version != node.meta.version) {
            self.parts.mirror.observe_object(kind::NODE, &live);
            return Err(Pass::new(Outcome::Outdated));
        }
        let now = self.parts.clock.now();
        let patch = Change::Merge(change.patch(&live, now));
        let first = is_to_be_emptied(node) && change.effect == super::taints::NO_EXECUTE;
        let write = node_write(node, None, patch, Reason::new("NL5", change.words()));
        let written = self.parts.write(&write).await;
        if first && matches!(written, Written::Done(_)) {
            let mut memory = self.memory();
            let zone = zone_of(node);
            if let Some(pause) = memory.zones(&self.parts.mirror, now).pause(&zone) {
                memory.next.insert(zone, now + pause);
            }
        }
        Ok(written)
    }
}

impl Memory {
    /// Whether the node was silent when a round last looked at it; what happens
    /// to a node between two rounds is no sign.
    fn is_silent(&mut self, node: &Node, renewed: Option<Timestamp>, now: Timestamp) -> bool {
        let name = &node.meta.key.name;
        let at_start = !self.started;
        if self.due.remove(name) {
            let first = || Seen::first(node, renewed, now, at_start);
            let mut seen = self.heard.remove(name).map_or_else(first, |heard| heard.seen);
            seen.observe(node, renewed, now);
            let is_silent = seen.is_silent(now);
            let uid = node.meta.uid.clone();
            self.heard.insert(name.clone(), Heard { uid, seen, is_silent });
        }
        self.is_as_heard(node) && self.heard.get(name).is_some_and(|heard| heard.is_silent)
    }

    /// Whether it has reported nothing since a round last looked at it.
    fn is_as_heard(&self, node: &Node) -> bool {
        let heard = self.heard.get(&node.meta.key.name);
        heard.is_some_and(|heard| heard.uid == node.meta.uid && heard.seen.is_still_so(node))
    }

    fn zones(&mut self, mirror: &Mirror, now: Timestamp) -> Zones {
        let heard = &self.heard;
        let is_silent = |node: &Node| {
            heard.get(&node.meta.key.name).is_some_and(|heard| heard.seen.is_silent(now))
        };
        let count = || {
            mirror.read(|tables| Zones::count(tables.nodes.iter().map(|node| &**node), is_silent))
        };
        self.zones.get_or_insert_with(count).clone()
    }
}

fn node_reference(node: &Node) -> ObjectRef {
    ObjectRef::new(kind::NODE, node.meta.key.clone())
}

fn node_write(
    node: &Node,
    subresource: Option<&'static str>,
    change: Change,
    reason: Reason,
) -> Write {
    Write {
        object: node_reference(node),
        subresource,
        change,
        version: Some(node.meta.version),
        on_behalf_of: node_reference(node),
        reason,
    }
}

impl Reconciler for NodeLifecycle {
    fn take_in(&self, changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        let is_first = self.memory().round == 0;
        if is_first {
            self.memory().round = 1;
            self.register();
        }
        let mut nodes: BTreeSet<Key> = BTreeSet::new();
        self.parts.mirror.read(|tables| {
            for object in changed {
                if object.kind == kind::NODE {
                    nodes.insert(object.key);
                } else if object.kind == kind::POD
                    && let Some(pod) = tables.pods.get(&object.key)
                    && pod.ready_since.is_some()
                    && let Some(node) = tables.nodes.get(&Key::cluster(pod.node.clone()))
                    && node.ready == Readiness::Unknown
                {
                    nodes.insert(node.meta.key.clone());
                }
            }
        });
        if !nodes.is_empty() {
            self.memory().zones = None;
        }
        nodes.into_iter().map(|key| ObjectRef::new(kind::NODE, key)).collect()
    }

    fn everything(&self) -> Vec<ObjectRef> {
        {
            let mut memory = self.memory();
            memory.round += 1;
            memory.started = true;
            memory.zones = None;
        }
        self.register();
        self.parts
            .mirror
            .read(|tables| tables.nodes.iter().map(|node| node_reference(node)).collect())
    }

    fn reconcile(self: Arc<Self>, object: ObjectRef) -> BoxFuture<'static, Pass> {
        Box::pin(async move { self.pass(object.key).await })
    }
}
