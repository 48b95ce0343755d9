//! The attach/detach controller: wants volumes attached where pods are, and
//! says on each node which of them it may mount.
//!
//! ```text
//! pods, claims, volumes ─> resolve ─> DesiredState ─┐
//! node status, operations' ends ────> ActualState ──┼─> decide(node) ─> write | operation | event
//! running and failed operations ────> Operations ───┘
//! ```
//!
//! Upstream: `pkg/controller/volume/attachdetach`,
//! `pkg/volume/util/operationexecutor`, `pkg/volume/csi/csi_attacher.go`.
//!
//! The decision about a node is pure and gives the next step only. An attach or
//! a detach runs beside the passes; its end wakes the nodes that have or want
//! the volume. Nothing runs while nothing changes, but for the sweep: once a
//! minute each node is looked at and asked whether all is attached still.
//!
//! To detach, the volume is first taken off the node's `volumesAttached`; only
//! when that is written is the node itself read for `volumesInUse`. A node
//! writes `volumesInUse` before it looks at `volumesAttached`. So one of the
//! two always sees the other, and a volume is never pulled from under a pod.
//! These steps must not be reordered or merged.
//!
//! Nothing is kept but what can be read again: on a start the attached volumes
//! come from the nodes' status, and what was under way from VolumeAttachments.
//!
//! Better than upstream on purpose: a shared volume's device path is kept per
//! node; a CSI handle that contains `^` can be detached; a pod that is gone
//! lets go of all its volumes at once; a `volumesAttached` that differs from
//! what is known is always put right. Absent on purpose: inline volumes of
//! kinds that are translated to CSI.

pub mod actual;
pub mod attachment;
pub mod because;
pub mod controller;
pub mod decide;
pub mod desired;
pub mod operations;
pub mod resolve;
pub mod volume;

mod multi_attach;
mod writes;

#[cfg(test)]
mod cases;
