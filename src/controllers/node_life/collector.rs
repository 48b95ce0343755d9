//! The pod garbage collector's shell: every 20 seconds, what nobody else will
//! delete is marked Failed and deleted at once.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::json;

use super::garbage::{Cause, ENDED_MAX, NodeState, cause, too_many};
use super::taints::OUT_OF_SERVICE;
use super::writes::{disruption_target, pod_deletion, pod_reference, pod_status};
use crate::controllers::parts::{Parts, Written};
use crate::controllers::work_loop::{Pass, Reconciler};
use crate::mirror::Tables;
use crate::model::kind;
use crate::model::node::Readiness;
use crate::model::object::{Key, ObjectRef};
use crate::model::pod::Pod;
use crate::model::row::Row;
use crate::model::write::{Reason, Write};

/// How often it looks.
pub const ROUND: Duration = Duration::from_secs(20);
/// How long a node must be missing, by its name.
const QUARANTINE: Duration = Duration::from_secs(40);

/// The collector.
pub struct PodCollector {
    parts: Parts,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// Since when each node is missing that pods are on.
    missing: HashMap<Arc<str>, Timestamp>,
    /// Ended pods of the last round that are too many.
    surplus: HashSet<Key>,
}

impl PodCollector {
    pub fn new(parts: Parts) -> Self {
        Self { parts, memory: Mutex::default() }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why a pod is to be collected now, as far as the mirror can tell.
    fn cause(&self, tables: &Tables, pod: &Pod) -> Option<Cause> {
        let memory = self.memory();
        let now = self.parts.clock.now();
        if memory.surplus.contains(&pod.meta.key) {
            return Some(Cause::Ended);
        }
        let gone = memory.missing.get(&pod.node).is_some_and(|since| *since + QUARANTINE <= now);
        cause(pod, node_state(tables, &pod.node, gone))
    }

    async fn pass(&self, key: Key) -> Pass {
        let object = ObjectRef::new(kind::POD, key.clone());
        let mut permitted = false;
        loop {
            let found = self.parts.mirror.read(|tables| {
                let pod = tables.pods.get(&key)?.clone();
                let cause = self.cause(tables, &pod)?;
                Some((pod, cause))
            });
            let write = match found {
                Some((pod, Cause::Orphaned)) => match self.is_gone(&pod.node).await {
                    Ok(true) => self.write(&pod, Cause::Orphaned).await,
                    Ok(false) => Ok(None),
                    Err(pass) => Err(pass),
                },
                Some((pod, cause)) => self.write(&pod, cause).await,
                None => Ok(None),
            };
            let write = match write {
                Ok(write) => write,
                Err(pass) => return pass,
            };
            let Some((write, is_last)) = write else {
                return self.parts.rest(&object, permitted, "somebody takes care of the pod");
            };
            match self.parts.write(&write).await {
                Written::Done(_) if is_last => return Pass::done(),
                written => match written.end() {
                    Some(pass) => return pass,
                    None => permitted = matches!(written, Written::Again),
                },
            }
        }
    }

    /// Asks the server before pods of a missing node are deleted.
    async fn is_gone(&self, node: &Arc<str>) -> Result<bool, Pass> {
        let object = ObjectRef::new(kind::NODE, Key::cluster(node.clone()));
        let is_gone = self.parts.live(&object).await?.is_none();
        if !is_gone {
            self.memory().missing.remove(node);
        }
        Ok(is_gone)
    }

    /// The next write, and whether it is the last: first the pod is marked
    /// Failed, unless it has ended, then deleted at once.
    async fn write(&self, pod: &Pod, cause: Cause) -> Result<Option<(Write, bool)>, Pass> {
        let live = self.parts.live(&pod_reference(&pod.meta)).await?;
        let Some(row) = live.and_then(|live| Pod::from_object(&live).ok()) else {
            return Ok(None);
        };
        if row.meta.uid != pod.meta.uid {
            return Ok(None);
        }
        let why = Reason::new("PG", cause.words());
        if matches!(&*row.phase, "Failed" | "Succeeded") {
            return Ok(Some((pod_deletion(&row.meta, Some(0), why), true)));
        }
        let mut status = json!({"phase": "Failed"});
        if let Some((reason, message)) = cause.condition() {
            status["conditions"] = disruption_target(reason, message, self.parts.clock.now());
        }
        Ok(Some((pod_status(&row.meta, status, why), false)))
    }
}

fn node_state(tables: &Tables, name: &Arc<str>, gone: bool) -> NodeState {
    match tables.nodes.get(&Key::cluster(name.clone())) {
        None if gone => NodeState::Gone,
        None => NodeState::There,
        Some(node) => {
            let marked = node.taints.iter().any(|taint| &*taint.key == OUT_OF_SERVICE);
            let out = marked && node.ready != Readiness::Ready;
            if out { NodeState::OutOfService } else { NodeState::There }
        }
    }
}

impl Reconciler for PodCollector {
    fn take_in(&self, _: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        Vec::new()
    }

    /// A round: notes which nodes are missing, and finds what is to go.
    fn everything(&self) -> Vec<ObjectRef> {
        let now = self.parts.clock.now();
        let found: BTreeSet<Key> = self.parts.mirror.read(|tables| {
            {
                let mut memory = self.memory();
                let absent = |name: &Arc<str>| {
                    !name.is_empty() && tables.nodes.get(&Key::cluster(name.clone())).is_none()
                };
                let missing: HashSet<Arc<str>> = tables
                    .pods
                    .iter()
                    .map(|pod| &pod.node)
                    .filter(|name| absent(name))
                    .cloned()
                    .collect();
                memory.missing.retain(|name, _| missing.contains(name));
                for name in missing {
                    memory.missing.entry(name).or_insert(now);
                }
                let ended = tables.pods.iter().filter(|pod| {
                    matches!(&*pod.phase, "Failed" | "Succeeded") && pod.meta.deleting.is_none()
                });
                let surplus = too_many(ended.map(|pod| &**pod), ENDED_MAX);
                memory.surplus = surplus.iter().map(|pod| pod.meta.key.clone()).collect();
            }
            let due = tables.pods.iter().filter(|pod| self.cause(tables, pod).is_some());
            due.map(|pod| pod.meta.key.clone()).collect()
        });
        found.into_iter().map(|key| ObjectRef::new(kind::POD, key)).collect()
    }

    fn reconcile(self: Arc<Self>, object: ObjectRef) -> BoxFuture<'static, Pass> {
        Box::pin(async move { self.pass(object.key).await })
    }
}
