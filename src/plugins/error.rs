//! Why a plugin did not do what it was asked.

use crate::plugins::host::HostError;

/// A step of a plugin that failed. `Display` is what goes into events and the
/// pod's messages: Kubernetes' words where it has them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    /// It could not even start: no provisioner or deleter could be made.
    #[error("{0}")]
    NotCreated(String),
    /// The volume is in use for now.
    #[error("{0}")]
    InUse(String),
    /// It tried and failed. Certainly not done.
    #[error("{0}")]
    Failed(String),
    /// Not as long as the volume is in use; certainly not done.
    #[error("{0}")]
    NotInUse(String),
    /// It can never work as asked; certainly not done.
    #[error("{0}")]
    Infeasible(String),
    /// It tried and does not know: the step may be done or may yet happen.
    #[error("{0}")]
    Uncertain(String),
    /// Another node has the volume ("dangling attach"): it has to be detached
    /// there.
    #[error("disk {volume} is already attached to node {node}")]
    AttachedElsewhere { volume: String, node: String },
    /// The device holds another filesystem than the volume asks for, and the
    /// mount failed: told on the PV too.
    #[error("{0}")]
    FilesystemMismatch(String),
    /// No plugin is for such a volume.
    #[error("no volume plugin matched")]
    NoPluginMatched,
    /// The kind has no such step.
    #[error("{plugin} cannot {doing}")]
    Unsupported { plugin: &'static str, doing: &'static str },
}

impl PluginError {
    /// Whether the step may be done or may yet happen; an error without this
    /// mark is final (see the node agent's table of error classes).
    pub fn leaves_doubt(&self) -> bool {
        matches!(self, Self::Uncertain(_))
    }
}

impl From<HostError> for PluginError {
    /// Says which requests may still take effect; the operation is named by
    /// the step that failed.
    fn from(error: HostError) -> Self {
        match error {
            HostError::AttachedElsewhere { id, node } => {
                Self::AttachedElsewhere { volume: id, node }
            }
            error if error.leaves_doubt() => Self::Uncertain(error.to_string()),
            error => Self::Failed(error.to_string()),
        }
    }
}
