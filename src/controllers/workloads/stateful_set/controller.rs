//! The shell of the StatefulSet controller: reads the set, looks around in the
//! mirror, and carries out what is decided.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use serde_json::Value;

use crate::controllers::parts::Parts;
use crate::controllers::work_loop::{Outcome, Pass, Reconciler};
use crate::controllers::workloads::owners::Orphans;
use crate::controllers::workloads::shell::{Act, Carried, STEPS_MAX, unsettled};
use crate::controllers::workloads::stateful_set::decide::{Memory, Next, View, decide};
use crate::controllers::workloads::stateful_set::set::{Set, parse_pod_name};
use crate::mirror::Tables;
use crate::model::claim::Claim;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::pod::Pod;
use crate::model::replica_set::ControllerRevision;
use crate::model::stateful_set::StatefulSet;
use crate::model::template;
use crate::model::write::Change;

/// The controller.
pub struct StatefulSetController {
    parts: Parts,
    orphans: Mutex<ByKind>,
}

#[derive(Default)]
struct ByKind {
    pods: Orphans,
    revisions: Orphans,
}

/// What was seen of the mirror at once.
struct Seen {
    pods: Vec<Arc<Pod>>,
    orphans: Vec<Arc<Pod>>,
    claims: BTreeMap<Arc<str>, Arc<Claim>>,
    revisions: Vec<Arc<ControllerRevision>>,
    orphan_revisions: Vec<Arc<ControllerRevision>>,
}

/// What one pass has read and done.
#[derive(Default)]
struct Journey {
    set: Option<Set>,
    templates: HashMap<Arc<str>, Value>,
    memory: Memory,
    permitted: bool,
}

impl StatefulSetController {
    pub fn new(parts: Parts) -> Self {
        Self { parts, orphans: Mutex::default() }
    }

    async fn pass(self: Arc<Self>, object: ObjectRef) -> Pass {
        let mut journey = Journey::default();
        for _ in 0..STEPS_MAX {
            let set = match self.read(&object, &mut journey).await {
                Ok(Some(set)) => set,
                Ok(None) => return self.parts.rest(&object, journey.permitted, "it is gone"),
                Err(error) => return Pass::new(Outcome::Failed(error)),
            };
            let next = self.decide(&set, &journey);
            match next {
                Next::Act(act) => {
                    if let Some(pass) = self.act(*act, &mut journey).await {
                        return pass;
                    }
                }
                Next::Read(revision) => match self.read_template(&revision).await {
                    Ok(template) => {
                        journey.templates.insert(revision.key.name.clone(), template);
                    }
                    Err(error) => return Pass::new(Outcome::Failed(error)),
                },
                Next::GiveUp { pod, error, told } => {
                    self.parts.tell_all(told);
                    journey.memory.attempts += 1;
                    journey.memory.failed_pods.insert(pod, error);
                }
                Next::Fail { error } => return Pass::new(Outcome::Failed(error)),
                Next::Rest { because, wake } => {
                    let mut pass =
                        self.parts.rest(&object, journey.permitted, &because.to_string());
                    pass.operation = wake.map(|seconds| self.parts.wake(object, seconds));
                    return pass;
                }
            }
        }
        unsettled()
    }

    /// The set as the server has it; read once a pass, and again when a held
    /// write is decided again.
    async fn read(&self, object: &ObjectRef, journey: &mut Journey) -> Result<Option<Set>, String> {
        if journey.set.is_none() {
            let read = self.parts.server.get(object).await.map_err(|error| error.to_string())?;
            let set = read.as_ref().map(Set::from_object).transpose();
            journey.set = set.map_err(|malformed| malformed.to_string())?;
        }
        Ok(journey.set.clone())
    }

    async fn read_template(&self, revision: &ObjectRef) -> Result<Value, String> {
        let read = self.parts.server.get(revision).await.map_err(|error| error.to_string())?;
        let mut data = read.ok_or_else(|| format!("{revision} is gone"))?;
        let mut template = data["data"]["spec"]["template"].take();
        if let Some(fields) = template.as_object_mut() {
            fields.shift_remove("$patch");
        }
        Ok(template)
    }

    fn decide(&self, set: &Set, journey: &Journey) -> Next {
        let seen = self.see(set);
        decide(&View {
            set,
            pods: &seen.pods,
            orphans: &seen.orphans,
            claims: &seen.claims,
            revisions: &seen.revisions,
            orphan_revisions: &seen.orphan_revisions,
            templates: &journey.templates,
            now: self.parts.clock.now().as_second(),
            memory: &journey.memory,
        })
    }

    fn see(&self, set: &Set) -> Seen {
        let orphans = self.lock();
        self.parts.mirror.read(|tables| {
            let uid = &set.meta().uid;
            let namespace = &set.meta().key.namespace;
            let pods: Vec<Arc<Pod>> = tables.pods_owned_by(uid).cloned().collect();
            let names: BTreeSet<Arc<str>> = pods
                .iter()
                .map(|pod| pod.meta.key.name.clone())
                .chain(set.ordinals().map(|ordinal| set.pod_name(ordinal).into()))
                .collect();
            let claims = names.iter().flat_map(|pod| set.claims_of(pod)).filter_map(|(name, _)| {
                let claim = tables.claims.get(&set.key(name.clone()))?;
                Some((name, claim.clone()))
            });
            let revisions = orphans.revisions.of(namespace);
            let revisions = revisions.filter_map(|key| tables.controller_revisions.get(key));
            Seen {
                orphans: orphans
                    .pods
                    .of(namespace)
                    .filter_map(|key| tables.pods.get(key).cloned())
                    .collect(),
                claims: claims.collect(),
                revisions: tables.revisions_owned_by(uid).cloned().collect(),
                orphan_revisions: revisions
                    .filter(|held| set.selector().matches(&held.meta.labels))
                    .cloned()
                    .collect(),
                pods,
            }
        })
    }

    /// Carries out an act and remembers what the pass has to know of it.
    async fn act(&self, act: Act, journey: &mut Journey) -> Option<Pass> {
        let (object, change) = (act.write.object.clone(), act.write.change.clone());
        let name = object.key.name.clone();
        let before = self.parts.mirror.read(|tables| tables.pods.get(&object.key).cloned());
        let carried = self.parts.carry_out(act).await;
        if !matches!(carried, Carried::Again) {
            journey.permitted = false;
        }
        let creates = matches!(change, Change::Create(_));
        let memory = &mut journey.memory;
        match carried {
            Carried::Done(_) => {
                if object.kind == kind::POD {
                    memory.attempts += usize::from(creates);
                    memory.before.entry(name).or_insert(before);
                } else if object.kind == kind::STATEFUL_SET {
                    // The status is the last thing a pass writes, but for old
                    // revisions, for which it has to be read anew.
                    journey.set = None;
                }
                None
            }
            Carried::Again => {
                journey.permitted = true;
                journey.set = None;
                None
            }
            Carried::Refused(words) if creates && object.kind == kind::PERSISTENT_VOLUME_CLAIM => {
                memory.refused_claims.insert(name, words);
                None
            }
            Carried::Refused(words) | Carried::Exists(words)
                if creates && object.kind == kind::POD =>
            {
                memory.attempts += 1;
                memory.failed_pods.insert(name, words);
                None
            }
            Carried::Exists(_) if object.kind == kind::CONTROLLER_REVISION => {
                self.collide(&object, &change, journey).await
            }
            // The watch is about to bring it.
            Carried::Exists(_) => Some(Pass::new(Outcome::Outdated)),
            other => other.end(),
        }
    }

    /// The name of a new revision is taken: by the same template, or by another
    /// whose hash is the same.
    async fn collide(
        &self,
        object: &ObjectRef,
        change: &Change,
        journey: &mut Journey,
    ) -> Option<Pass> {
        let held = match self.read_template(object).await {
            Ok(template) => template::digest(&template),
            Err(error) => return Some(Pass::new(Outcome::Failed(error))),
        };
        let Change::Create(wanted) = change else { return None };
        if held == template::digest(&wanted["data"]["spec"]["template"]) {
            return Some(Pass::new(Outcome::Outdated));
        }
        journey.memory.collisions += 1;
        None
    }

    /// Looks at the set again after so many seconds.
    fn lock(&self) -> MutexGuard<'_, ByKind> {
        self.orphans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sets that a changed object may matter to.
    fn sets_of(&self, tables: &Tables, object: &ObjectRef, sets: &mut BTreeSet<Key>) {
        let key = &object.key;
        let sibling = |name: &str| Key { namespace: key.namespace.clone(), name: name.into() };
        if object.kind == kind::STATEFUL_SET {
            sets.insert(key.clone());
        } else if object.kind == kind::POD {
            let pod = tables.pods.get(key);
            self.lock().pods.note(key, pod.map(|pod| &pod.meta));
            if let Some((set, _)) = parse_pod_name(&key.name) {
                sets.insert(sibling(set));
            }
        } else if object.kind == kind::CONTROLLER_REVISION {
            let held = tables.controller_revisions.get(key);
            self.lock().revisions.note(key, held.map(|held| &held.meta));
            if let Some((set, _)) = key.name.rsplit_once('-') {
                sets.insert(sibling(set));
            }
        } else if object.kind == kind::PERSISTENT_VOLUME_CLAIM
            && let Some((pod, _)) = parse_pod_name(&key.name)
        {
            // `<template>-<set>-<ordinal>`, and each part may have dashes.
            sets.extend(pod.match_indices('-').map(|(at, _)| sibling(&pod[at + 1..])));
        }
    }
}

impl Reconciler for StatefulSetController {
    fn take_in(&self, changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        let mut sets = BTreeSet::new();
        self.parts.mirror.read(|tables| {
            changed.iter().for_each(|object| self.sets_of(tables, object, &mut sets));
            sets.retain(|key| tables.stateful_sets.get(key).is_some());
        });
        sets.into_iter().map(|key| ObjectRef::new(kind::STATEFUL_SET, key)).collect()
    }

    fn everything(&self) -> Vec<ObjectRef> {
        let reference =
            |set: &Arc<StatefulSet>| ObjectRef::new(kind::STATEFUL_SET, set.meta.key.clone());
        self.parts.mirror.read(|tables| tables.stateful_sets.iter().map(reference).collect())
    }

    fn reconcile(self: Arc<Self>, object: ObjectRef) -> BoxFuture<'static, Pass> {
        Box::pin(self.pass(object))
    }
}
