//! DeploymentController: equal pods, replaced step by step, by one ReplicaSet
//! for each template (workloads 9).
//!
//! ```text
//! deployment (read) + rows of its ReplicaSets -> decide (pure) -> one act, or rest
//! ```
//!
//! Deliberately absent: rollback by annotation, which the API no longer has.
//! Upstream: `pkg/controller/deployment`.

pub mod annotations;
pub mod controller;
pub mod decide;
pub mod limits;
pub mod proportion;
pub mod replica_sets;
pub mod status;
