//! The shell of the namespace controller.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::Value;

use crate::controllers::parts::Parts;
use crate::controllers::work_loop::{Outcome, Pass, Reconciler};
use crate::controllers::workloads::namespace::decide::{Memory, Next, View, decide};
use crate::controllers::workloads::shell::{Act, Carried, STEPS_MAX, unsettled};
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};

/// The controller.
pub struct NamespaceController {
    parts: Parts,
}

impl NamespaceController {
    pub fn new(parts: Parts) -> Self {
        Self { parts }
    }

    async fn pass(&self, object: ObjectRef) -> Pass {
        let mut memory = Memory::default();
        let mut permitted = false;
        for _ in 0..STEPS_MAX {
            // Its finalizers are no part of the row.
            let namespace = match self.parts.server.get(&object).await {
                Ok(Some(namespace)) => namespace,
                Ok(None) => return self.parts.rest(&object, permitted, "it is gone"),
                Err(error) => return Pass::new(Outcome::Failed(error.to_string())),
            };
            let write = match self.decide(&namespace, &object.key, &memory) {
                Next::Write(write) => *write,
                Next::Fail(error) => return Pass::new(Outcome::Failed(error)),
                Next::Rest(why) => return self.parts.rest(&object, permitted, why),
            };
            let written = write.object.clone();
            let carried = self.parts.carry_out(Act::silent(write)).await;
            permitted = matches!(carried, Carried::Again);
            match carried {
                Carried::Done(_) if written == object => {}
                Carried::Done(_) => memory.emptied.push(written.kind),
                Carried::Refused(words) if written != object => memory.failure = Some(words),
                Carried::Again => {}
                other => return other.end().unwrap_or_else(Pass::done),
            }
        }
        unsettled()
    }

    fn decide(&self, namespace: &Value, key: &Key, memory: &Memory) -> Next {
        self.parts.mirror.read(|tables| {
            let content = tables.in_namespace(&key.name);
            let now = self.parts.clock.now().as_second();
            decide(&View { namespace, key, content: &content, memory, now })
        })
    }
}

impl Reconciler for NamespaceController {
    fn take_in(&self, changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        let namespaces: BTreeSet<Key> = self.parts.mirror.read(|tables| {
            let affected = changed.into_iter().map(|object| {
                if object.kind == kind::NAMESPACE {
                    object.key
                } else {
                    Key::cluster(object.key.namespace)
                }
            });
            let going = |key: &Key| {
                tables.namespaces.get(key).is_some_and(|row| row.meta.deleting.is_some())
            };
            affected.filter(going).collect()
        });
        namespaces.into_iter().map(|key| ObjectRef::new(kind::NAMESPACE, key)).collect()
    }

    fn reconcile(self: Arc<Self>, object: ObjectRef) -> BoxFuture<'static, Pass> {
        Box::pin(async move { self.pass(object).await })
    }
}
