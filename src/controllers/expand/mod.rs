//! Growing volumes whose claims ask for more.
//!
//! ```text
//! claim asks for more ─> controller ──────> says who is to do it, or grows the disk
//!                   └──> csi::resizer ────> ControllerExpandVolume
//!                                      both: volume's capacity, allocated size, conditions
//! node agent ─> grows the filesystem ─────> status.capacity
//! ```
//!
//! What was done stands in the claim's status, so that whoever is killed goes
//! on where it was: each step may be taken twice.
//!
//! [`growth`] reads that status, [`target`] says how large a volume is to
//! become, [`node`] what a node does, [`decide`] what the controller does, and
//! [`writes`] makes the patches; they import no client or runtime.
//!
//! Upstream: `pkg/controller/volume/expand`, `pkg/volume/util/resize_util.go`,
//! `pkg/volume/util/operationexecutor/node_expander.go`.

pub mod conditions;
pub mod controller;
pub mod decide;
pub mod growth;
pub mod node;
pub mod target;
pub mod writes;

#[cfg(test)]
pub(crate) mod cases;
