//! Node agents: what a kubelet does for the volumes and pods of one node.
//!
//! ```text
//! mirror ─> Agents ─ told ─> agent (one task per node that has a machine)
//!                              ├─ pods      worker per pod: decide, status, containers
//!                              ├─ volumes   desired, actual, reconciler
//!                              ├─ reporter  the node's status
//!                              └─ lease
//! ```
//!
//! [`volumes`] makes the volumes of the node's pods appear on its host and
//! takes them away again; [`pods`] runs the pods on a simulated container
//! runtime; [`files`] looks into mounted volumes. An agent can be stopped and
//! started at any time: containers go on running meanwhile, and everything it
//! needs is found again in the API and on the host.

pub mod agent;
pub mod agents;
pub mod boards;
pub mod files;
pub mod pods;
pub mod volumes;

mod lease;
pub(crate) mod node_status;
mod reporter;
mod turns;
