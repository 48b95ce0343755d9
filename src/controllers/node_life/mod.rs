//! Node life: who is alive, what may run where, and what goes when a node goes.
//!
//! ```text
//! heartbeats, Leases ─> health ──┐
//! conditions, cordon ─> taints ──┼─> lifecycle ─> conditions, taints, pods not ready
//! nodes lost per zone ─> zones ──┘
//! NoExecute taints, tolerations ─> eviction ─> evictor ─> pods deleted in time
//! nodes gone ─> garbage ─> collector ─> their pods deleted
//! ```
//!
//! [`health`], [`taints`], [`zones`], [`eviction`] and [`garbage`] decide and
//! know no shell; the others watch and write. What is kept in memory (when a
//! sign of life was last seen, which pods are to go when) starts afresh with
//! the process, as it does upstream: a restart gives every node a new grace.
//!
//! Upstream: `pkg/controller/nodelifecycle`, `pkg/controller/tainteviction`,
//! `pkg/controller/podgc`.

pub mod collector;
pub mod eviction;
pub mod evictor;
pub mod garbage;
pub mod health;
pub mod lifecycle;
pub mod taints;
pub mod zones;

mod writes;
