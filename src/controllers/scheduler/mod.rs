//! The scheduler: chooses the node that a pod runs on, and with it the volumes
//! of claims that wait for their first pod.
//!
//! ```text
//! mirror ─> cache ─> queue ─ pop ─> decide (pure) ─┬─> refused: condition, event
//!             ^         ^                          └─> assume ─> flight
//!             │         └── a change that can help ──────────────┤
//!             └──────────── answers to our own writes <──────────┘
//! flight: nominate -> reserve volumes, select nodes -> wait until bound -> binding
//! ```
//!
//! Upstream: `pkg/scheduler`, above all its plugin VolumeBinding. One pod is
//! decided at a time; flights go on beside each other, and what they have
//! promised is in the cache, so that no volume is given away twice. Nothing is
//! written before a pod's flight, and nothing is kept that the cluster does not
//! hold: after a restart a volume reserved shows by its `claimRef`, a claim by
//! its selected node, a pod by its nominated node.
//!
//! One scheduler acts at a time: the holder of the Lease `kube-scheduler` (see
//! [`crate::controllers::election`]).
//!
//! A pod that no node takes may have others of lower priority go: it is told,
//! nominated to their node, and looked at again when they are gone; the room is
//! kept for it meanwhile (see [`preemption`]).
//!
//! Absent on purpose: dynamic resource claims, extenders, image locality,
//! several profiles.

pub mod cache;
pub mod change;
pub mod claims;
pub mod decide;
pub mod explain;
pub mod explain_claim;
pub mod filters;
pub mod find;
pub mod preemption;
pub mod queue;
pub mod reason;
pub mod refusal;
pub mod score;
pub mod stock;

mod controller;
mod evict;
mod flight;
mod take_in;
mod writes;

#[cfg(test)]
mod tests;

pub use controller::run;
