//! The shell of the garbage collector.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;

use crate::controllers::events::Note;
use crate::controllers::parts::Parts;
use crate::controllers::work_loop::{Outcome, Pass, Reconciler};
use crate::controllers::workloads::garbage::decide::{
    Dependent, FOREGROUND, Next, ORPHAN, Owner, View, decide,
};
use crate::controllers::workloads::garbage::graph::{Graph, place};
use crate::controllers::workloads::shell::{Act, Carried, STEPS_MAX, unsettled};
use crate::mirror::Tables;
use crate::model::event::Severity;
use crate::model::object::{Meta, ObjectRef, OwnerReference};

/// The controller.
pub struct GarbageCollector {
    parts: Parts,
    graph: Mutex<Graph>,
}

impl GarbageCollector {
    pub fn new(parts: Parts) -> Self {
        Self { parts, graph: Mutex::default() }
    }

    async fn pass(&self, object: ObjectRef) -> Pass {
        let mut permitted = false;
        for _ in 0..STEPS_MAX {
            let meta = self.parts.mirror.read(|tables| tables.meta(&object).cloned());
            let Some(meta) = meta else {
                return self.parts.rest(&object, permitted, "it is gone");
            };
            let owners = match self.owners(&object, &meta).await {
                Ok(owners) => owners,
                Err(error) => return Pass::new(Outcome::Failed(error)),
            };
            let next = self.parts.mirror.read(|tables| {
                let graph = self.lock();
                let dependents: Vec<Dependent> = graph
                    .dependents(&meta.uid)
                    .filter_map(|object| {
                        let meta = tables.meta(object)?;
                        Some(Dependent { object: object.clone(), meta })
                    })
                    // The graph may be behind what the pass itself has written.
                    .filter(|dependent| names(dependent.meta, &meta.uid))
                    .collect();
                decide(&View {
                    object: &object,
                    meta: &meta,
                    owners: &owners,
                    dependents: &dependents,
                })
            });
            let write = match next {
                Next::Rest(why) => return self.parts.rest(&object, permitted, &why.to_string()),
                Next::Write(write) => *write,
            };
            let last = write.object == object;
            match self.parts.carry_out(Act::silent(write)).await {
                Carried::Again => permitted = true,
                Carried::Done(_) if last => return Pass::done(),
                Carried::Done(_) => permitted = false,
                other => return other.end().unwrap_or_else(Pass::done),
            }
        }
        unsettled()
    }

    /// The object's owners, each with how it is. One that the mirror does not
    /// have is asked for at the server.
    async fn owners(
        &self,
        object: &ObjectRef,
        meta: &Meta,
    ) -> Result<Vec<(OwnerReference, Owner)>, String> {
        let mut owners = Vec::new();
        for owner in meta.owners() {
            let state = self.parts.mirror.read(|tables| state(tables, object, owner));
            let state = match state {
                Owner::Gone => {
                    self.tell_if_elsewhere(object, meta, owner);
                    self.ask(object, owner).await?
                }
                Owner::Invalid => {
                    self.tell_if_elsewhere(object, meta, owner);
                    state
                }
                Owner::There | Owner::Waiting | Owner::Unknown => state,
            };
            owners.push((owner.clone(), state));
        }
        Ok(owners)
    }

    async fn ask(&self, object: &ObjectRef, owner: &OwnerReference) -> Result<Owner, String> {
        let Some(place) = place(&object.key, owner) else { return Ok(Owner::Unknown) };
        let found = self.parts.server.get(&place).await.map_err(|error| error.to_string())?;
        let same = found.is_some_and(|found| found["metadata"]["uid"] == *owner.uid);
        Ok(if same { Owner::There } else { Owner::Gone })
    }

    /// An owner in another namespace than the dependent's is none; people
    /// should know.
    fn tell_if_elsewhere(&self, object: &ObjectRef, meta: &Meta, owner: &OwnerReference) {
        let Some(place) = place(&object.key, owner) else { return };
        let elsewhere = self.parts.mirror.read(|tables| {
            let found = tables.meta_by_uid(place.kind, &owner.uid);
            found.is_some_and(|found| found.key.namespace != object.key.namespace)
        });
        if !elsewhere || !place.kind.namespaced {
            return;
        }
        let OwnerReference { api_version, kind, name, uid, .. } = owner;
        let namespace = &object.key.namespace;
        let message = format!(
            "ownerRef [{api_version}/{kind}, namespace: {namespace}, name: {name}, uid: {uid}] \
             does not exist in namespace \"{namespace}\""
        );
        self.parts.tell_all([Note {
            regarding: object.clone(),
            uid: meta.uid.clone(),
            version: meta.version,
            severity: Severity::Warning,
            reason: "OwnerRefInvalidNamespace",
            message,
            host: "".into(),
        }]);
    }

    fn lock(&self) -> MutexGuard<'_, Graph> {
        self.graph.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn names(dependent: &Meta, uid: &str) -> bool {
    dependent.owners().iter().any(|owner| &*owner.uid == uid)
}

/// How an owner is, as far as the mirror knows.
fn state(tables: &Tables, object: &ObjectRef, owner: &OwnerReference) -> Owner {
    let Some(place) = place(&object.key, owner) else { return Owner::Unknown };
    if place.kind.namespaced && !object.kind.namespaced {
        return Owner::Invalid;
    }
    match tables.meta(&place).filter(|meta| meta.uid == owner.uid) {
        None => Owner::Gone,
        Some(meta) if meta.deleting.is_some() && meta.has_finalizer(FOREGROUND) => Owner::Waiting,
        Some(_) => Owner::There,
    }
}

/// Whether the owner named by this uid exists and is not waiting to go.
fn is_there(tables: &Tables, owner: &ObjectRef, uid: &str) -> bool {
    tables.meta(owner).is_some_and(|meta| {
        *meta.uid == *uid && !(meta.deleting.is_some() && meta.has_finalizer(FOREGROUND))
    })
}

/// Whether there is anything to do about an object.
fn is_called_for(tables: &Tables, object: &ObjectRef) -> bool {
    let Some(meta) = tables.meta(object) else { return false };
    if meta.deleting.is_some() {
        return meta.has_finalizer(FOREGROUND) || meta.has_finalizer(ORPHAN);
    }
    meta.owners().iter().any(|owner| state(tables, object, owner) != Owner::There)
}

impl Reconciler for GarbageCollector {
    fn take_in(&self, changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        let mut graph = self.lock();
        let mut called_for = BTreeSet::new();
        self.parts.mirror.read(|tables| {
            let mut touched = Vec::new();
            for object in changed {
                touched.extend(graph.note(&object, tables.meta(&object)));
                touched.push(object);
            }
            for object in touched {
                // As long as the owner is there, its dependents' own changes bring
                // whatever is to be done about them.
                for uid in graph.named_at(&object).filter(|uid| !is_there(tables, &object, uid)) {
                    let dependents =
                        graph.dependents(uid).filter(|dependent| is_called_for(tables, dependent));
                    called_for.extend(dependents.cloned());
                }
                if is_called_for(tables, &object) {
                    called_for.insert(object);
                }
            }
        });
        // Upstream in no order; here the newest first, as where too many are
        // scaled down, and of those that are equally new the longest unchanged.
        let mut called_for: Vec<ObjectRef> = called_for.into_iter().collect();
        self.parts.mirror.read(|tables| {
            called_for.sort_by_cached_key(|object| {
                tables.meta(object).map(|meta| (Reverse(meta.created), meta.version))
            });
        });
        called_for
    }

    fn reconcile(self: Arc<Self>, object: ObjectRef) -> BoxFuture<'static, Pass> {
        Box::pin(async move { self.pass(object).await })
    }
}
