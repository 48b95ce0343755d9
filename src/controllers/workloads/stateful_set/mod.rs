//! StatefulSetController: pods with names of their own, one after the other,
//! each with its claims, which outlive it.
//!
//! ```text
//! set (read) + rows of pods, claims, revisions -> decide (pure) -> one act, or rest
//!        ^                                                             │
//!        └────────── what came of it is in the mirror at once <────────┘
//! ```
//!
//! A pass goes on, act by act, until there is nothing to do but wait; then it
//! writes the status that it found at its beginning, and changes wake the next.
//!
//! Invariants: at most one pod of an ordinal, since its name is fixed and none
//! is ever forced away; a claim is never changed but for its owner references,
//! and never deleted here. Deliberately absent: `maxUnavailable` of the update
//! strategy (a gate that is off by default), and Services: the controller
//! neither makes nor looks at them.
//!
//! Upstream: `pkg/controller/statefulset`. Rule ids `SS1` to `SS8` are the
//! sections of the specification.

pub mod because;
pub mod controller;
pub mod decide;
pub mod replica;
pub mod retention;
pub mod revisions;
pub mod set;
pub mod status;

#[cfg(test)]
mod cases;
