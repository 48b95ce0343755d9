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
pub mod slow_start;
pub mod stateful_set;
