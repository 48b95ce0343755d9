//! Why a host could not do what it was asked.

use std::sync::Arc;

/// A request that could not be carried out, or whose end is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// The machine does not answer; the request may or may not take effect.
    #[error("node {node} does not answer")]
    NodeLost { node: Arc<str> },
    /// A request about files. Printed as Go prints it: `mkdir /x: file exists`.
    #[error("{doing} {path}: {fault}")]
    File { doing: &'static str, path: String, fault: FileFault },
    /// A disk that the disks' service does not know.
    #[error("disk {id} not found")]
    NoSuchDisk { id: String },
    /// The disk is attached, and that must end first.
    #[error("disk {id} is attached to node {node}")]
    DiskInUse { id: String, node: String },
    /// The disk is on another node, which has it for itself.
    #[error("disk {id} is already attached to node {node}")]
    AttachedElsewhere { id: String, node: String },
    /// A service or a command that failed, in its own words.
    #[error("{text}")]
    Failed { text: String },
    /// A real host needs rights that the process lacks.
    #[error("a Linux host needs root: {missing}; run as root, or use simulated nodes")]
    NotPermitted { missing: String },
}

/// What the file system said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileFault {
    #[error("no such file or directory")]
    NotFound,
    #[error("file exists")]
    Exists,
    #[error("not a directory")]
    NotADirectory,
    #[error("is a directory")]
    IsADirectory,
    #[error("directory not empty")]
    NotEmpty,
    #[error("no space left on device")]
    NoSpace,
    #[error("read-only file system")]
    ReadOnly,
    #[error("device or resource busy")]
    Busy,
    #[error("permission denied")]
    Denied,
    /// The larger of what was asked for and what one answer may hold.
    #[error("larger than {max_bytes} bytes")]
    TooLarge { max_bytes: u64 },
    #[error("{0}")]
    Other(String),
}

impl HostError {
    /// Whether it says that the file is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::File { fault: FileFault::NotFound, .. })
    }

    /// Whether the request may have taken effect all the same.
    pub fn leaves_doubt(&self) -> bool {
        matches!(self, Self::NodeLost { .. })
    }
}
