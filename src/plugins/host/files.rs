//! Files of a node: what may be asked, and a method for each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::plugins::host::error::HostError;
use crate::plugins::host::{FileFault, Host};

/// A question about files, or a change. Paths are the node's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileRequest {
    /// What is at a path. Follows symbolic links unless told not to.
    Look { path: String, follow: bool },
    /// The entries of a directory, by name.
    List { path: String },
    /// The content of a file of at most this many bytes.
    Read { path: String, max_bytes: u64 },
    /// Creates or replaces a file.
    Write { path: String, content: Vec<u8>, mode: u32 },
    /// Makes a directory with this very mode; one being there is success, its
    /// mode untouched. With `parents`, those too.
    MakeDirectory { path: String, mode: u32, parents: bool },
    /// Makes a symbolic link, in place of one that is there.
    Link { path: String, to: String },
    /// Removes a file or symbolic link.
    RemoveFile { path: String },
    /// Removes an empty directory. Never recursive.
    RemoveDirectory { path: String },
    /// Removes what is inside a directory, and it, but never crosses a mount:
    /// one inside makes it fail before anything is removed.
    RemoveTree { path: String },
    /// Gives a tree to a group. See [`Ownership`].
    SetOwnership { path: String, ownership: Ownership, progress: Progress },
    /// How many bytes the filesystem that a directory is on, or a block device,
    /// holds in all.
    Capacity { path: String },
    /// Opens a device so that no one else may have it: [`FileFault::Busy`] if
    /// someone has.
    OpenExclusively { path: String },
}

impl FileRequest {
    /// The path it is about.
    pub fn path(&self) -> &str {
        match self {
            Self::Look { path, .. }
            | Self::List { path }
            | Self::Read { path, .. }
            | Self::Write { path, .. }
            | Self::MakeDirectory { path, .. }
            | Self::Link { path, .. }
            | Self::RemoveFile { path }
            | Self::RemoveDirectory { path }
            | Self::RemoveTree { path }
            | Self::SetOwnership { path, .. }
            | Self::Capacity { path }
            | Self::OpenExclusively { path } => path,
        }
    }

    /// The word that Go puts before the path in an error.
    pub fn doing(&self) -> &'static str {
        match self {
            Self::Look { follow: true, .. } => "stat",
            Self::Look { follow: false, .. } => "lstat",
            Self::List { .. } | Self::Read { .. } | Self::Write { .. } => "open",
            Self::MakeDirectory { .. } => "mkdir",
            Self::Link { .. } => "symlink",
            Self::RemoveFile { .. } | Self::RemoveDirectory { .. } | Self::RemoveTree { .. } => {
                "remove"
            }
            Self::SetOwnership { .. } => "chown",
            Self::Capacity { .. } => "statfs",
            Self::OpenExclusively { .. } => "open",
        }
    }

    pub fn is_change(&self) -> bool {
        match self {
            Self::Look { .. }
            | Self::List { .. }
            | Self::Read { .. }
            | Self::Capacity { .. }
            | Self::OpenExclusively { .. } => false,
            Self::Write { .. }
            | Self::MakeDirectory { .. }
            | Self::Link { .. }
            | Self::RemoveFile { .. }
            | Self::RemoveDirectory { .. }
            | Self::RemoveTree { .. }
            | Self::SetOwnership { .. } => true,
        }
    }

    pub fn error(&self, fault: FileFault) -> HostError {
        HostError::File { doing: self.doing(), path: self.path().to_owned(), fault }
    }
}

/// A pod's `fsGroup` and what goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    pub group: u32,
    /// Mode bits added are 0440 instead of 0660.
    pub read_only: bool,
    /// `fsGroupChangePolicy: OnRootMismatch`: nothing is done if the root
    /// already has group, bits and setgid.
    pub only_on_root_mismatch: bool,
}

/// How far a request is that takes long; its copies count together.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<AtomicU64>);

impl Progress {
    /// One more file is done.
    pub fn one_more(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The files done.
    pub fn files(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How far it is is no part of what was asked.
impl PartialEq for Progress {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Progress {}

/// The answer to a [`FileRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileAnswer {
    /// To a change.
    Done,
    /// To a look; `None` if nothing is there.
    Looked(Option<FileFacts>),
    Listed(Vec<FileEntry>),
    Read(Vec<u8>),
    /// Bytes.
    Capacity(u64),
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    pub kind: FileKind,
    pub mode: u32,
    pub group: u32,
    /// Of a file, in bytes.
    pub size: u64,
    /// Where a symbolic link points.
    pub link: Option<String>,
    /// When it was last changed, in nanoseconds since 1970; 0 where nobody
    /// keeps that.
    pub modified: i128,
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    pub name: String,
    pub facts: FileFacts,
}

/// What kind of thing is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    Directory,
    File,
    Link,
    BlockDevice,
    CharacterDevice,
    Socket,
    Other,
}

/// The files of a host, a method per request.
#[derive(Debug, Clone, Copy)]
pub struct Files<'a>(pub &'a dyn Host);

impl Files<'_> {
    async fn change(self, request: FileRequest) -> Result<(), HostError> {
        self.0.file(request).await.map(|_| ())
    }

    /// What is at a path, symbolic links followed; `None` if nothing is.
    pub async fn look(self, path: &str) -> Result<Option<FileFacts>, HostError> {
        self.looked(FileRequest::Look { path: path.to_owned(), follow: true }).await
    }

    /// The same without following a link at the path itself.
    pub async fn look_at_link(self, path: &str) -> Result<Option<FileFacts>, HostError> {
        self.looked(FileRequest::Look { path: path.to_owned(), follow: false }).await
    }

    async fn looked(self, request: FileRequest) -> Result<Option<FileFacts>, HostError> {
        match self.0.file(request).await? {
            FileAnswer::Looked(facts) => Ok(facts),
            _ => Ok(None),
        }
    }

    /// The entries of a directory, by name.
    pub async fn list(self, path: &str) -> Result<Vec<FileEntry>, HostError> {
        match self.0.file(FileRequest::List { path: path.to_owned() }).await? {
            FileAnswer::Listed(entries) => Ok(entries),
            _ => Ok(Vec::new()),
        }
    }

    /// The same of a directory that may not be there: then it has none.
    pub async fn entries(self, path: &str) -> Result<Vec<FileEntry>, HostError> {
        match self.list(path).await {
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            listed => listed,
        }
    }

    /// A file's content, refused if larger than `max_bytes`.
    pub async fn read(self, path: &str, max_bytes: u64) -> Result<Vec<u8>, HostError> {
        match self.0.file(FileRequest::Read { path: path.to_owned(), max_bytes }).await? {
            FileAnswer::Read(content) => Ok(content),
            _ => Ok(Vec::new()),
        }
    }

    /// The size of the filesystem under a directory, or of a block device.
    pub async fn capacity(self, path: &str) -> Result<u64, HostError> {
        match self.0.file(FileRequest::Capacity { path: path.to_owned() }).await? {
            FileAnswer::Capacity(bytes) => Ok(bytes),
            _ => Ok(0),
        }
    }

    pub async fn write(self, path: &str, content: &[u8], mode: u32) -> Result<(), HostError> {
        let (path, content) = (path.to_owned(), content.to_vec());
        self.change(FileRequest::Write { path, content, mode }).await
    }

    /// Makes a directory and those above it.
    pub async fn make_directories(self, path: &str, mode: u32) -> Result<(), HostError> {
        self.change(FileRequest::MakeDirectory { path: path.to_owned(), mode, parents: true }).await
    }

    pub async fn link(self, path: &str, to: &str) -> Result<(), HostError> {
        self.change(FileRequest::Link { path: path.to_owned(), to: to.to_owned() }).await
    }

    /// Removes a file; none being there is success.
    pub async fn remove_file(self, path: &str) -> Result<(), HostError> {
        gone(self.change(FileRequest::RemoveFile { path: path.to_owned() }).await)
    }

    /// Removes an empty directory; none being there is success.
    pub async fn remove_directory(self, path: &str) -> Result<(), HostError> {
        gone(self.change(FileRequest::RemoveDirectory { path: path.to_owned() }).await)
    }

    /// Removes a directory with its content, never across a mount; none being
    /// there is success.
    pub async fn remove_tree(self, path: &str) -> Result<(), HostError> {
        gone(self.change(FileRequest::RemoveTree { path: path.to_owned() }).await)
    }

    pub async fn set_ownership(self, path: &str, ownership: Ownership) -> Result<(), HostError> {
        let (path, progress) = (path.to_owned(), Progress::default());
        self.change(FileRequest::SetOwnership { path, ownership, progress }).await
    }

    /// Whether someone else has the device open for himself or mounted.
    pub async fn is_busy(self, device: &str) -> Result<bool, HostError> {
        match self.change(FileRequest::OpenExclusively { path: device.to_owned() }).await {
            Err(HostError::File { fault: FileFault::Busy, .. }) => Ok(true),
            Err(error) => Err(error),
            Ok(()) => Ok(false),
        }
    }
}

fn gone(removed: Result<(), HostError>) -> Result<(), HostError> {
    match removed {
        Err(error) if error.is_not_found() => Ok(()),
        removed => removed,
    }
}

/// The names of a path; `.` and empty ones left out, `..` taken back.
pub fn names_of_path(path: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name.to_owned()),
        }
    }
    names
}
