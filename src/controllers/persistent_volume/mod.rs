//! The PersistentVolume controller: binds claims to volumes, starts
//! provisioning, reclaims what is left.
//!
//! ```text
//! mirror, own answers -> cache -> decide_claim, decide_volume -> write | operation | event
//! ```
//!
//! Upstream: `pkg/controller/volume/persistentvolume`. Each decision gives the
//! next write only; its answer goes into the cache, and the decision is made
//! again. So a pass that is stopped anywhere, by a crash, a conflict or a shut
//! gate, goes on from what is there.
//!
//! Absent on purpose: expansion (its own controller), any memory of a bind
//! under way besides the objects themselves, and upstream's token bucket over
//! all retries of a queue (each object has its own pause).
//!
//! Better than upstream on purpose: a claim is not declared Lost, nor a volume
//! Released, before the server itself has said that the other is gone; the
//! claim that a new volume is for is woken at once; many binds are in flight;
//! finalizers are not added to a volume that is being deleted; the size of a
//! named volume is compared without overflow.

pub mod annotations;
pub mod because;
pub mod bind;
pub mod cache;
pub mod claim;
pub mod controller;
pub mod explain;
pub mod index;
pub mod latency;
pub mod verdict;
pub mod volume;

mod migration;
mod operations;
mod provisioning;
mod reclaim;
mod waiting;

#[cfg(test)]
pub(crate) mod cases;
