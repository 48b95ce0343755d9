//! The taint eviction controller's shell: plans which pods leave when, and
//! deletes them then.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::eviction::{Act, Verdict, act, verdict};
use super::taints::NO_EXECUTE;
use super::writes::{disruption_target, pod_deletion, pod_reference, pod_status};
use crate::controllers::events::Note;
use crate::controllers::parts::{Parts, Written};
use crate::controllers::work_loop::{Pass, Reconciler};
use crate::model::kind;
use crate::model::node::{Node, Taint};
use crate::model::object::{Key, ObjectRef};
use crate::model::pod::Pod;
use crate::model::row::Row;
use crate::model::write::Reason;

/// The controller.
pub struct TaintEviction {
    parts: Parts,
    memory: Mutex<Memory>,
}

/// Counted from when each was first seen, so a restart counts anew, as
/// upstream.
#[derive(Default)]
struct Memory {
    plans: HashMap<Key, Plan>,
    /// The taints by which pods leave, of nodes that have any.
    taints: HashMap<Arc<str>, Vec<Taint>>,
}

/// A pod that is to leave.
struct Plan {
    pod: Arc<Pod>,
    at: Timestamp,
}

impl TaintEviction {
    pub fn new(parts: Parts) -> Self {
        Self { parts, memory: Mutex::default() }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a node's taints by which pods leave have changed.
    fn take_in_node(&self, key: &Key) -> bool {
        let node = self.parts.mirror.read(|tables| tables.nodes.get(key).cloned());
        let mut memory = self.memory();
        // A node that has gone takes no plan with it.
        let Some(node) = node else { return false };
        let evicting = |taint: &&Taint| &*taint.effect == NO_EXECUTE;
        let now: Vec<Taint> = node.taints.iter().filter(evicting).cloned().collect();
        let before = match now.is_empty() {
            true => memory.taints.remove(&key.name),
            false => memory.taints.insert(key.name.clone(), now.clone()),
        };
        before.unwrap_or_default() != now
    }

    fn planned(&self, key: &Key) -> Option<Timestamp> {
        self.memory().plans.get(key).map(|plan| plan.at)
    }

    /// Drops a plan and tells so.
    fn cancel(&self, key: &Key) {
        let plan = self.memory().plans.remove(key);
        if let Some(Plan { pod, .. }) = plan {
            let message = format!("Cancelling deletion of Pod {key}");
            self.parts.recorder.tell(Note::normal(&*pod, "TaintManagerEviction", message));
        }
    }

    async fn pass(&self, key: Key) -> Pass {
        let now = self.parts.clock.now();
        let (pod, node) = self.parts.mirror.read(|tables| {
            let pod = tables.pods.get(&key).cloned();
            let node =
                pod.as_ref().and_then(|pod| tables.nodes.get(&Key::cluster(pod.node.clone())));
            (pod, node.cloned())
        });
        let planned_for = self.memory().plans.get(&key).map(|plan| plan.pod.meta.uid.clone());
        let is_another =
            |pod: &Arc<Pod>| planned_for.as_ref().is_some_and(|uid| *uid != pod.meta.uid);
        if pod.as_ref().is_none_or(is_another) {
            self.cancel(&key);
        }
        let Some(pod) = pod else { return Pass::done() };
        let planned = self.planned(&key);
        match self.judge(&pod, node.as_deref(), planned, now) {
            Act::Nothing => {
                Pass { again_after: planned.and_then(|at| until(at, now)), ..Pass::done() }
            }
            Act::Cancel => {
                self.cancel(&key);
                Pass::done()
            }
            Act::Plan(at) => {
                self.memory().plans.insert(key, Plan { pod, at });
                Pass { again_after: until(at, now), ..Pass::done() }
            }
            Act::Evict => {
                if planned.is_some_and(|at| at > now) {
                    self.cancel(&key);
                }
                // One that goes already is not told to go again.
                let pass = match pod.meta.deleting {
                    Some(_) => Pass::done(),
                    None => self.evict(&pod).await,
                };
                self.memory().plans.remove(&key);
                pass
            }
        }
    }

    fn judge(
        &self,
        pod: &Pod,
        node: Option<&Node>,
        planned: Option<Timestamp>,
        now: Timestamp,
    ) -> Act {
        let verdict = match node {
            Some(node) => verdict(&node.taints, &pod.needs.tolerations),
            // What was planned stays planned.
            None if planned.is_some() => Verdict::After(Duration::ZERO),
            None => Verdict::Stay,
        };
        act(verdict, planned, now)
    }

    /// Says on the pod why it goes, then deletes it.
    async fn evict(&self, pod: &Arc<Pod>) -> Pass {
        let key = &pod.meta.key;
        let message = format!("Marking for deletion Pod {key}");
        self.parts.recorder.tell(Note::normal(&**pod, "TaintManagerEviction", message));
        let mut permitted = false;
        loop {
            let live = match self.parts.live(&pod_reference(&pod.meta)).await {
                Ok(live) => live,
                Err(pass) => return pass,
            };
            let still = live.as_ref().and_then(|live| {
                let row = Pod::from_object(live).ok()?;
                let same = row.meta.uid == pod.meta.uid && row.meta.deleting.is_none();
                (same && self.has_to_leave(&row)).then(|| (row, is_marked(live)))
            });
            let Some((row, marked)) = still else {
                let object = pod_reference(&pod.meta);
                return self.parts.rest(&object, permitted, "the pod may stay, or has gone");
            };
            let why = format!("node {} has a taint that it does not tolerate", row.node);
            let write = match marked {
                true => pod_deletion(&row.meta, None, Reason::new("TE3", why)),
                false => {
                    let condition = disruption_target(
                        "DeletionByTaintManager",
                        "Taint manager: deleting due to NoExecute taint",
                        self.parts.clock.now(),
                    );
                    let status = json!({"conditions": condition});
                    pod_status(&row.meta, status, Reason::new("TE2", why))
                }
            };
            match self.parts.write(&write).await {
                Written::Done(_) if marked => return Pass::done(),
                written => match written.end() {
                    Some(pass) => return pass,
                    None => permitted = matches!(written, Written::Again),
                },
            }
        }
    }

    /// Whether the pod still has to leave: nobody took the taint away while its
    /// deletion was held.
    fn has_to_leave(&self, pod: &Pod) -> bool {
        let node =
            self.parts.mirror.read(|t| t.nodes.get(&Key::cluster(pod.node.clone())).cloned());
        node.is_none_or(|node| verdict(&node.taints, &pod.needs.tolerations) != Verdict::Stay)
    }
}

fn until(at: Timestamp, now: Timestamp) -> Option<Duration> {
    Duration::try_from(at.duration_since(now)).ok()
}

/// Whether the pod says already why it goes.
fn is_marked(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions
        .filter(|held| held["type"] == "DisruptionTarget")
        .any(|held| held["status"] == "True" && held["reason"] == "DeletionByTaintManager")
}

impl Reconciler for TaintEviction {
    fn take_in(&self, changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        let mut pods: BTreeSet<Key> = BTreeSet::new();
        for object in &changed {
            if object.kind == kind::NODE && self.take_in_node(&object.key) {
                self.parts.mirror.read(|tables| {
                    pods.extend(tables.pods_on(&object.key.name).map(|pod| pod.meta.key.clone()));
                });
            }
        }
        let memory = self.memory();
        self.parts.mirror.read(|tables| {
            for object in changed.into_iter().filter(|object| object.kind == kind::POD) {
                let pod = tables.pods.get(&object.key);
                let concerned = memory.plans.contains_key(&object.key)
                    || pod.is_some_and(|pod| memory.taints.contains_key(&pod.node));
                if concerned {
                    pods.insert(object.key);
                }
            }
        });
        pods.into_iter().map(|key| ObjectRef::new(kind::POD, key)).collect()
    }

    fn reconcile(self: Arc<Self>, object: ObjectRef) -> BoxFuture<'static, Pass> {
        Box::pin(async move { self.pass(object.key).await })
    }
}
