//! The machine under a node, in the words of those who manage its volumes.
//!
//! A [`Host`] does two things: it runs [`Command`]s (probe, format, check,
//! mount, unmount, …), each kept as a [`CommandRecord`] with argv, duration,
//! exit code and output; and it answers [`FileRequest`]s. Paths are those of
//! the node, `/var/lib/kubelet/...`, whatever lies underneath.
//!
//! - `Simulated`: everything in memory, with latency and faults by rule.
//! - `Linux`: the real thing, in a mount namespace and root of its own.
//!
//! Both take a [`Command`] value, and its argv is made in one place, so the
//! same scenario gives the same commands on both.
//!
//! A command that ran and failed is no [`HostError`]: it is a record whose
//! [`Exit`] says so. Which exit means what is decided above, the same way for
//! both hosts. Dropping a future gives up waiting; the host may still do it.

pub mod around;
pub mod command;
pub mod error;
pub mod files;
pub mod linux;
pub mod mount_table;
pub mod record;
pub mod simulated;

mod log;
mod process;

use std::fmt;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::watch;

pub use command::Command;
pub use error::{FileFault, HostError};
pub use files::{FileAnswer, FileKind, FileRequest, Files};
pub use mount_table::{MountEntry, MountTable};
pub use record::{CommandRecord, Exit, OnBehalf};

use crate::model::clock::Clock;
use crate::plugins::layout::Layout;

/// One node's machine. Cheap to share; every method may be called at any time
/// from many tasks at once. Keeping operations on one volume apart is the
/// caller's duty.
pub trait Host: Send + Sync + fmt::Debug {
    /// The node's name.
    fn node(&self) -> &Arc<str>;

    /// Where the kubelet of this node keeps things.
    fn layout(&self) -> &Layout;

    /// The time of the cluster that the node belongs to.
    fn clock(&self) -> &Arc<dyn Clock>;

    /// Runs a command to its end. `on_behalf` says which volume and pod the
    /// record is shown with. Errors only if the command could not be run or
    /// its end cannot be known: then it may have had its effect.
    fn run(
        &self,
        on_behalf: &OnBehalf,
        command: Command,
    ) -> BoxFuture<'_, Result<CommandRecord, HostError>>;

    /// Looks at or changes files. See [`Files`] for a method per request.
    fn file(&self, request: FileRequest) -> BoxFuture<'_, Result<FileAnswer, HostError>>;

    /// The mount table, oldest mount first.
    fn mounts(&self) -> BoxFuture<'_, Result<MountTable, HostError>>;

    /// Whether the machine answers at all; no answer comes as long as it is
    /// silent. Asked for every heartbeat, so it should cost little.
    fn answers(&self) -> BoxFuture<'_, bool> {
        self.mounts().map(|table| table.is_ok()).boxed()
    }

    /// The newest commands, oldest first, those still running included.
    fn records(&self) -> Vec<CommandRecord>;

    /// Rises when a command starts or ends.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// The hosts of all nodes of a cluster.
pub trait Hosts: Send + Sync + fmt::Debug {
    /// The machine under a node; `None` if this program has none for it.
    fn host(&self, node: &str) -> Option<Arc<dyn Host>>;
}

/// What is asked of disks.
pub type DiskFuture<'a, T = ()> = BoxFuture<'a, Result<T, HostError>>;

/// Remote disks, as a cloud has them: made and deleted by anyone, attached to
/// nodes, where each appears as a device. The same disk always holds the same
/// bytes, whichever node it is attached to.
pub trait Disks: Send + Sync + fmt::Debug {
    /// Makes a blank disk; one of that id being there already is success.
    fn create<'a>(&'a self, id: &'a str, bytes: u64) -> DiskFuture<'a>;

    /// Makes a disk with the content of another; one of that id being there
    /// already is success.
    fn copy<'a>(&'a self, from: &'a str, to: &'a str) -> DiskFuture<'a>;

    /// Deletes a disk; none being there is success. Refused while attached.
    fn delete<'a>(&'a self, id: &'a str) -> DiskFuture<'a>;

    /// Makes it larger; never smaller.
    fn grow<'a>(&'a self, id: &'a str, bytes: u64) -> DiskFuture<'a>;

    /// Attaches it and gives the device path on the node. Attached there
    /// already: the same path. Does not ask whether the node is alive.
    /// `shared` says whether other nodes may have it too; if not, and one has,
    /// the error is [`HostError::AttachedElsewhere`].
    fn attach<'a>(
        &'a self,
        on_behalf: &'a OnBehalf,
        id: &'a str,
        node: &'a str,
        shared: bool,
    ) -> DiskFuture<'a, String>;

    /// Detaches it; not being attached is success.
    fn detach<'a>(&'a self, on_behalf: &'a OnBehalf, id: &'a str, node: &'a str) -> DiskFuture<'a>;

    /// The nodes it is attached to, with their device paths.
    fn attached_to<'a>(&'a self, id: &'a str) -> DiskFuture<'a, Vec<(String, String)>>;
}
