//! Node agents: what a kubelet does for the volumes and pods of one node.
//!
//! [`volumes`] makes the volumes of the node's pods appear on its host and
//! takes them away again.

pub mod boards;
pub mod volumes;
