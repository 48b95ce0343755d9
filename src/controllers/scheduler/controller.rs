//! The shell: takes in changes, places pods, tells.

use std::collections::HashSet;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::json;

use super::place::{is_to_be_placed, place};
use crate::cluster::write_path::WriteError;
use crate::controllers::events::{Note, Recorder};
use crate::controllers::health::Health;
use crate::controllers::holds::HoldTable;
use crate::controllers::server::Server;
use crate::controllers::work_loop::{Outcome, Pass, Reconciler};
use crate::mirror::Mirror;
use crate::model::kind;
use crate::model::object::ObjectRef;
use crate::model::pod::Pod;
use crate::model::write::{Change, Reason, Write};

/// What the scheduler works with.
pub struct Parts {
    pub server: Arc<dyn Server>,
    pub mirror: Mirror,
    pub recorder: Recorder,
    pub health: Health,
}

/// The scheduler.
pub struct Scheduler {
    parts: Parts,
    holds: HoldTable,
}

impl Scheduler {
    pub fn new(parts: Parts) -> Self {
        Self { parts, holds: HoldTable::default() }
    }

    async fn pass(&self, object: ObjectRef) -> Pass {
        let mut permitted = false;
        loop {
            let placed = self.parts.mirror.read(|tables| {
                let pod = tables.pods.get(&object.key).filter(|pod| is_to_be_placed(pod))?.clone();
                Some((place(tables, &pod)?, pod))
            });
            let Some((node, pod)) = placed else {
                if permitted {
                    self.parts.server.nothing_to_do(&object, "no node takes it now");
                }
                return Pass::done();
            };
            match self.parts.server.perform(&binding(&pod, &node)).await {
                Ok(_) => {
                    self.parts.health.wrote();
                    let words = format!("Successfully assigned {} to {node}", pod.meta.key);
                    self.parts.recorder.tell(Note::normal(&*pod, "Scheduled", words));
                    return Pass::done();
                }
                Err(WriteError::DecideAgain { .. }) => permitted = true,
                Err(WriteError::NotFound { .. } | WriteError::Conflict { .. }) => {
                    return Pass::done();
                }
                Err(error) => return Pass::new(Outcome::Failed(error.to_string())),
            }
        }
    }
}

fn binding(pod: &Pod, node: &str) -> Write {
    let object = ObjectRef::new(kind::POD, pod.meta.key.clone());
    Write {
        object: object.clone(),
        subresource: Some("binding"),
        change: Change::Create(json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": &*pod.meta.key.name, "namespace": &*pod.meta.key.namespace,
                "uid": &*pod.meta.uid},
            "target": {"kind": "Node", "name": node},
        })),
        version: None,
        on_behalf_of: object,
        reason: Reason::new("bind", format!("{node} is the first node by name that takes it")),
    }
}

impl Reconciler for Scheduler {
    fn take_in(&self, changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        let mut pods: Vec<ObjectRef> = Vec::new();
        let other = changed.iter().any(|object| {
            object.kind == kind::NODE || object.kind == kind::PERSISTENT_VOLUME_CLAIM
        });
        self.parts.mirror.read(|tables| {
            let waits = |pod: &&Arc<Pod>| is_to_be_placed(pod);
            if other {
                let waiting = tables.pods.iter().filter(waits);
                pods.extend(waiting.map(|pod| ObjectRef::new(kind::POD, pod.meta.key.clone())));
                return;
            }
            pods.extend(changed.into_iter().filter(|object| {
                object.kind == kind::POD && tables.pods.get(&object.key).is_some_and(|p| waits(&p))
            }));
            pods.sort_by(|a, b| a.key.cmp(&b.key));
        });
        pods
    }

    fn everything(&self) -> Vec<ObjectRef> {
        Vec::new()
    }

    fn holds(&self) -> &HoldTable {
        &self.holds
    }

    fn reconcile(self: Arc<Self>, object: ObjectRef) -> BoxFuture<'static, Pass> {
        Box::pin(async move { self.pass(object).await })
    }
}
