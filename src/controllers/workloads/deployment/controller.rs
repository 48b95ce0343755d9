//! The shell of the Deployment controller.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;

use crate::controllers::parts::Parts;
use crate::controllers::work_loop::{Outcome, Pass, Reconciler};
use crate::controllers::workloads::deployment::decide::{Next, Target, View, decide};
use crate::controllers::workloads::owners::{Controllers, Orphans};
use crate::controllers::workloads::shell::{Carried, STEPS_MAX, unsettled};
use crate::mirror::Tables;
use crate::model::deployment::Deployment;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::replica_set::ReplicaSet;
use crate::model::row::Row;
use crate::model::template;
use crate::model::write::Change;

/// The controller.
pub struct DeploymentController {
    parts: Parts,
    known: Mutex<Known>,
}

/// What is remembered of ReplicaSets and pods.
#[derive(Default)]
struct Known {
    orphans: Orphans,
    of_sets: Controllers,
    of_pods: Controllers,
}

impl DeploymentController {
    pub fn new(parts: Parts) -> Self {
        Self { parts, known: Mutex::default() }
    }

    async fn pass(self: Arc<Self>, object: ObjectRef) -> Pass {
        let (mut permitted, mut collisions) = (false, 0);
        let mut read: Option<Target> = None;
        for _ in 0..STEPS_MAX {
            let target = match read.take() {
                Some(target) => target,
                None => match self.read(&object).await {
                    Ok(Some(target)) => target,
                    Ok(None) => return self.parts.rest(&object, permitted, "it is gone"),
                    Err(error) => return Pass::new(Outcome::Failed(error)),
                },
            };
            let act = match self.decide(&target, collisions) {
                Next::Act(act) => act,
                Next::Rest { wake } => {
                    let mut pass =
                        self.parts.rest(&object, permitted, "its ReplicaSets are as wanted");
                    pass.operation = wake.map(|seconds| self.parts.wake(object, seconds));
                    return pass;
                }
            };
            let (written, change) = (act.write.object.clone(), act.write.change.clone());
            let carried = self.parts.carry_out(*act).await;
            permitted = matches!(carried, Carried::Again);
            match carried {
                // What was written to the Deployment itself is read again.
                Carried::Done(_) => read = (written != object).then_some(target),
                Carried::Again => {}
                Carried::Exists(_) => match self.collides(&written, &change).await {
                    Ok(true) => collisions += 1,
                    // The watch is about to bring it.
                    Ok(false) => return Pass::new(Outcome::Outdated),
                    Err(error) => return Pass::new(Outcome::Failed(error)),
                },
                Carried::Outdated => return Pass::new(Outcome::Outdated),
                Carried::Refused(words) => return Pass::new(Outcome::Failed(words)),
            }
        }
        unsettled()
    }

    async fn read(&self, object: &ObjectRef) -> Result<Option<Target>, String> {
        let read = self.parts.server.get(object).await.map_err(|error| error.to_string())?;
        let Some(whole) = read else { return Ok(None) };
        let row = Deployment::from_object(&whole).map_err(|malformed| malformed.to_string())?;
        Ok(Some(Target::new(row, whole)))
    }

    /// Whether the ReplicaSet that has the name of a new one is of another
    /// template.
    async fn collides(&self, object: &ObjectRef, change: &Change) -> Result<bool, String> {
        let Change::Create(wanted) = change else { return Ok(false) };
        let held = self.parts.server.get(object).await.map_err(|error| error.to_string())?;
        let digest = |set: &serde_json::Value| template::digest(&set["spec"]["template"]);
        Ok(held.is_some_and(|held| digest(&held) != digest(wanted)))
    }

    fn decide(&self, target: &Target, collisions: i64) -> Next {
        let known = self.lock();
        self.parts.mirror.read(|tables| {
            let meta = &target.row.meta;
            let sets: Vec<Arc<ReplicaSet>> =
                tables.replica_sets_owned_by(&meta.uid).cloned().collect();
            let orphans = known.orphans.of(&meta.key.namespace);
            let orphans: Vec<Arc<ReplicaSet>> =
                orphans.filter_map(|key| tables.replica_sets.get(key).cloned()).collect();
            let old = sets.iter().filter(|set| set.template != target.digest);
            let old_pods_run = target.row.recreates
                && old
                    .flat_map(|set| tables.pods_owned_by(&set.meta.uid))
                    .any(|pod| !matches!(&*pod.phase, "Failed" | "Succeeded"));
            let now = self.parts.clock.now().as_second();
            decide(&View { target, sets: &sets, orphans: &orphans, old_pods_run, now, collisions })
        })
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The Deployments that a changed ReplicaSet may matter to, and those that
    /// wait for a pod to go.
    fn take_in_dependent(&self, tables: &Tables, object: &ObjectRef, found: &mut BTreeSet<Key>) {
        let mut known = self.lock();
        let meta = tables.meta(object);
        if object.kind == kind::REPLICA_SET {
            for uid in known.of_sets.note(&object.key, meta) {
                let deployment = tables.deployments.by_uid(&uid);
                found.extend(deployment.map(|row| row.meta.key.clone()));
            }
            if known.orphans.note(&object.key, meta)
                && let Some(meta) = meta
            {
                let all = tables.deployments.in_namespace(object.key.namespace.clone());
                let selecting = all.filter(|row| row.selector.matches(&meta.labels));
                found.extend(selecting.map(|row| row.meta.key.clone()));
            }
            return;
        }
        for uid in known.of_pods.note(&object.key, meta) {
            let set = tables.replica_sets.by_uid(&uid);
            let deployment = set
                .and_then(|set| set.meta.owner.as_ref())
                .and_then(|owner| tables.deployments.by_uid(&owner.uid))
                .filter(|row| row.recreates);
            found.extend(deployment.map(|row| row.meta.key.clone()));
        }
    }
}

impl Reconciler for DeploymentController {
    fn take_in(&self, changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        let mut found = BTreeSet::new();
        self.parts.mirror.read(|tables| {
            for object in changed {
                if object.kind == kind::DEPLOYMENT {
                    found.insert(object.key);
                } else if object.kind == kind::REPLICA_SET || object.kind == kind::POD {
                    self.take_in_dependent(tables, &object, &mut found);
                }
            }
            found.retain(|key| tables.deployments.get(key).is_some());
        });
        found.into_iter().map(|key| ObjectRef::new(kind::DEPLOYMENT, key)).collect()
    }

    fn reconcile(self: Arc<Self>, object: ObjectRef) -> BoxFuture<'static, Pass> {
        Box::pin(self.pass(object))
    }
}
