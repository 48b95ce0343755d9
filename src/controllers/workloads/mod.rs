//! The controllers of what makes and owns pods, and of what goes with it:
//! StatefulSets, Deployments, ReplicaSets, claims of generic ephemeral volumes,
//! garbage collection by owner, and namespaces that are going.
//!
//! Each decides purely, one act after the other, from the mirror and one object
//! read whole; [`shell`] carries acts out. Knows `mirror`, `cluster`, `model`.
//! Upstream: `pkg/controller/{statefulset,deployment,replicaset,garbagecollector,
//! namespace,volume/ephemeral}`.

pub mod deployment;
pub mod ephemeral_claim;
pub mod garbage;
pub mod namespace;
pub mod owners;
pub mod replica_set;
pub mod shell;
pub mod stateful_set;

use std::sync::Arc;

use crate::controllers::work_loop::Reconciler;
use crate::controllers::workloads::deployment::controller::DeploymentController;
use crate::controllers::workloads::ephemeral_claim::EphemeralClaims;
use crate::controllers::workloads::garbage::controller::GarbageCollector;
use crate::controllers::workloads::namespace::controller::NamespaceController;
use crate::controllers::workloads::replica_set::controller::ReplicaSetController;
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
pub const ALL: &[Hosted] = &[
    Hosted {
        name: "statefulset-controller",
        actor: "statefulset-controller",
        component: "statefulset-controller",
        make: |parts| Arc::new(StatefulSetController::new(parts)),
    },
    Hosted {
        name: "deployment-controller",
        actor: "deployment-controller",
        component: "deployment-controller",
        make: |parts| Arc::new(DeploymentController::new(parts)),
    },
    Hosted {
        name: "replicaset-controller",
        actor: "replicaset-controller",
        component: "replicaset-controller",
        make: |parts| Arc::new(ReplicaSetController::new(parts)),
    },
    Hosted {
        name: "ephemeral-volume-controller",
        actor: "ephemeral-volume-controller",
        component: "ephemeral_volume",
        make: |parts| Arc::new(EphemeralClaims::new(parts)),
    },
    Hosted {
        name: "garbage-collector-controller",
        actor: "generic-garbage-collector",
        component: "garbage-collector-controller",
        make: |parts| Arc::new(GarbageCollector::new(parts)),
    },
    Hosted {
        name: "namespace-controller",
        actor: "namespace-controller",
        component: "namespace-controller",
        make: |parts| Arc::new(NamespaceController::new(parts)),
    },
];
