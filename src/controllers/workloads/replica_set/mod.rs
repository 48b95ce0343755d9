//! ReplicaSetController: so many equal pods, of any name (workloads 9).
//!
//! Upstream: `pkg/controller/replicaset`. What a pass makes is in the mirror at
//! once, so nothing is counted twice and no expectations are kept.

pub mod controller;
pub mod decide;
pub mod ranking;
