//! The shell of the ReplicaSet controller.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use serde_json::Value;

use crate::controllers::parts::Parts;
use crate::controllers::work_loop::{Outcome, Pass, Reconciler};
use crate::controllers::workloads::owners::{Controllers, Orphans};
use crate::controllers::workloads::replica_set::decide::{
    FAILED_CREATE, FAILED_DELETE, Failure, Memory, Next, Set, View, created, decide,
};
use crate::controllers::workloads::shell::{Act, Carried, STEPS_MAX, unsettled};
use crate::mirror::Tables;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::pod::Pod;
use crate::model::replica_set::ReplicaSet;
use crate::model::row::{Malformed, Row};
use crate::model::write::Change;

/// The controller.
pub struct ReplicaSetController {
    parts: Parts,
    known: Mutex<Known>,
}

/// What is remembered of pods.
#[derive(Default)]
struct Known {
    orphans: Orphans,
    controllers: Controllers,
}

impl Set {
    fn from_object(mut object: Value) -> Result<Self, Malformed> {
        Ok(Self {
            row: ReplicaSet::from_object(&object)?,
            generation: object["metadata"]["generation"].as_i64().unwrap_or(0),
            template: object["spec"]["template"].take(),
            status: object["status"].take(),
        })
    }
}

impl ReplicaSetController {
    pub fn new(parts: Parts) -> Self {
        Self { parts, known: Mutex::default() }
    }

    async fn pass(self: Arc<Self>, object: ObjectRef) -> Pass {
        let mut memory = Memory::default();
        let mut permitted = false;
        let mut read: Option<Set> = None;
        for _ in 0..STEPS_MAX {
            let set = match read.take() {
                Some(set) => set,
                None => match self.read(&object).await {
                    Ok(Some(set)) => set,
                    Ok(None) => return self.parts.rest(&object, permitted, "it is gone"),
                    Err(error) => return Pass::new(Outcome::Failed(error)),
                },
            };
            match self.decide(&set, &memory) {
                Next::Act(act) => {
                    let wrote_status = act.write.object == object;
                    match self.act(&set, *act, &mut memory, &mut permitted).await {
                        Err(pass) => return *pass,
                        // Held writes are decided again on what is there now.
                        Ok(()) => read = (!permitted && !wrote_status).then_some(set),
                    }
                }
                Next::Fail(error) => return Pass::new(Outcome::Failed(error)),
                Next::Rest { wake } => {
                    let mut pass = self.parts.rest(&object, permitted, "its pods are as wanted");
                    pass.operation = wake.map(|seconds| self.parts.wake(object, seconds));
                    return pass;
                }
            }
        }
        unsettled()
    }

    async fn read(&self, object: &ObjectRef) -> Result<Option<Set>, String> {
        let read = self.parts.server.get(object).await.map_err(|error| error.to_string())?;
        read.map(Set::from_object).transpose().map_err(|malformed| malformed.to_string())
    }

    fn decide(&self, set: &Set, memory: &Memory) -> Next {
        let known = self.lock();
        self.parts.mirror.read(|tables| {
            let meta = &set.row.meta;
            let pods: Vec<Arc<Pod>> = tables.pods_owned_by(&meta.uid).cloned().collect();
            let orphans = known.orphans.of(&meta.key.namespace);
            let orphans: Vec<Arc<Pod>> =
                orphans.filter_map(|key| tables.pods.get(key).cloned()).collect();
            let now = self.parts.clock.now().as_second();
            decide(&View { set, pods: &pods, orphans: &orphans, now, memory })
        })
    }

    async fn act(
        &self,
        set: &Set,
        act: Act,
        memory: &mut Memory,
        permitted: &mut bool,
    ) -> Result<(), Box<Pass>> {
        let failing = match act.write.change {
            Change::Create(_) => Some(FAILED_CREATE),
            Change::Delete(_) => Some(FAILED_DELETE),
            Change::Replace(_) | Change::Merge(_) | Change::Strategic(_) => None,
        };
        let carried = self.parts.carry_out(act).await;
        *permitted = matches!(carried, Carried::Again);
        match (carried, failing) {
            (Carried::Refused(message) | Carried::Exists(message), Some(reason)) => {
                memory.refused += 1;
                memory.failure.get_or_insert(Failure { reason, message });
                Ok(())
            }
            (Carried::Done(answer), Some(reason)) => {
                memory.writes += 1;
                if reason == FAILED_CREATE {
                    let name = answer["metadata"]["name"].as_str().unwrap_or_default();
                    self.parts.tell_all([created(&set.row, name)]);
                }
                Ok(())
            }
            (carried, _) => carried.end().map_or(Ok(()), |pass| Err(Box::new(pass))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sets that a changed pod may matter to.
    fn take_in_pod(&self, tables: &Tables, key: &Key, sets: &mut BTreeSet<Key>) {
        let mut known = self.lock();
        let pod = tables.pods.get(key);
        let is_orphan = known.orphans.note(key, pod.map(|pod| &pod.meta));
        for uid in known.controllers.note(key, pod.map(|pod| &pod.meta)) {
            let set = tables.replica_sets.by_uid(&uid);
            sets.extend(set.map(|set| set.meta.key.clone()));
        }
        if let Some(pod) = pod.filter(|_| is_orphan) {
            let all = tables.replica_sets.in_namespace(key.namespace.clone());
            let selecting = all.filter(|set| set.selector.matches(&pod.meta.labels));
            sets.extend(selecting.map(|set| set.meta.key.clone()));
        }
    }
}

impl Reconciler for ReplicaSetController {
    fn take_in(&self, changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        let mut sets = BTreeSet::new();
        self.parts.mirror.read(|tables| {
            for object in changed {
                if object.kind == kind::REPLICA_SET {
                    sets.insert(object.key);
                } else if object.kind == kind::POD {
                    self.take_in_pod(tables, &object.key, &mut sets);
                }
            }
            sets.retain(|key| tables.replica_sets.get(key).is_some());
        });
        sets.into_iter().map(|key| ObjectRef::new(kind::REPLICA_SET, key)).collect()
    }

    fn reconcile(self: Arc<Self>, object: ObjectRef) -> BoxFuture<'static, Pass> {
        Box::pin(self.pass(object))
    }
}
