//! The controllers of what makes and owns pods, and of what goes with it:
//! StatefulSets, Deployments, ReplicaSets, claims of generic ephemeral volumes,
//! garbage collection by owner, and namespaces that are going.
//!
//! Each decides purely, one act after the other, from the mirror and one object
//! read whole; [`shell`] carries acts out. Knows `mirror`, `cluster`, `model`.
//! Upstream: `pkg/controller/{statefulset,deployment,replicaset,garbagecollector,
//! namespace,volume/ephemeral}`.

pub mod owners;
pub mod shell;
pub mod stateful_set;

use std::sync::Arc;

use crate::controllers::work_loop::Reconciler;
use crate::controllers::workloads::shell::Parts;
use crate::controllers::workloads::stateful_set::controller::StatefulSetController;

/// One of these controllers, as the host starts it.
pub struct Hosted {
    /// Its name in the controller manager.
    pub name: &'static str,
    /// In whose name it writes.
    pub actor: &'static str,
    /// The component that its events name.
    pub component: &'static str,
    pub make: fn(Parts) -> Arc<dyn Reconciler>,
}

/// All of them, in the order in which they start.
pub const ALL: &[Hosted] = &[Hosted {
    name: "statefulset-controller",
    actor: "statefulset-controller",
    component: "statefulset-controller",
    make: |parts| Arc::new(StatefulSetController::new(parts)),
}];
