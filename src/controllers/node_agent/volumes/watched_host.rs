//! A host that tells which commands an operation runs on it, so that the board
//! can show how far a step of a plugin is.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::model::clock::Clock;
use crate::plugins::host::command::Verb;
use crate::plugins::host::{
    Command, CommandRecord, FileAnswer, FileRequest, Host, HostError, MountTable, OnBehalf,
};
use crate::plugins::layout::Layout;

/// Passes everything on, and tells the verb of each command as it begins.
pub struct WatchedHost {
    pub host: Arc<dyn Host>,
    pub tell: Box<dyn Fn(Verb) + Send + Sync>,
}

impl fmt::Debug for WatchedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)
    }
}

impl Host for WatchedHost {
    fn node(&self) -> &Arc<str> {
        self.host.node()
    }

    fn layout(&self) -> &Layout {
        self.host.layout()
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        self.host.clock()
    }

    fn run(
        &self,
        on_behalf: &OnBehalf,
        command: Command,
    ) -> BoxFuture<'_, Result<CommandRecord, HostError>> {
        (self.tell)(command.verb());
        self.host.run(on_behalf, command)
    }

    fn file(&self, request: FileRequest) -> BoxFuture<'_, Result<FileAnswer, HostError>> {
        self.host.file(request)
    }

    fn mounts(&self) -> BoxFuture<'_, Result<MountTable, HostError>> {
        self.host.mounts()
    }

    fn records(&self) -> Vec<CommandRecord> {
        self.host.records()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.host.changes()
    }
}
