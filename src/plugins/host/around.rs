//! A host around a host: something is done with requests on their way to a
//! machine, or with the answers on their way back.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::watch;

use super::{
    Command, CommandRecord, FileAnswer, FileRequest, Host, HostError, MountTable, OnBehalf,
};
use crate::model::clock::Clock;
use crate::plugins::layout::Layout;

/// What is done with requests; those that are not named are passed on.
pub trait Around: Send + Sync {
    /// See [`Host::run`].
    fn run<'a>(
        &'a self,
        host: &'a dyn Host,
        on_behalf: &OnBehalf,
        command: Command,
    ) -> BoxFuture<'a, Result<CommandRecord, HostError>> {
        host.run(on_behalf, command)
    }

    /// See [`Host::file`].
    fn file<'a>(
        &'a self,
        host: &'a dyn Host,
        request: FileRequest,
    ) -> BoxFuture<'a, Result<FileAnswer, HostError>> {
        host.file(request)
    }

    /// See [`Host::mounts`].
    fn mounts<'a>(&'a self, host: &'a dyn Host) -> BoxFuture<'a, Result<MountTable, HostError>> {
        host.mounts()
    }
}

/// A machine with something around it.
pub struct Surrounded<A> {
    pub host: Arc<dyn Host>,
    pub around: A,
}

impl<A> fmt::Debug for Surrounded<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)
    }
}

impl<A: Around> Host for Surrounded<A> {
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
        self.around.run(&*self.host, on_behalf, command)
    }

    fn file(&self, request: FileRequest) -> BoxFuture<'_, Result<FileAnswer, HostError>> {
        self.around.file(&*self.host, request)
    }

    fn mounts(&self) -> BoxFuture<'_, Result<MountTable, HostError>> {
        self.around.mounts(&*self.host)
    }

    fn answers(&self) -> BoxFuture<'_, bool> {
        self.host.answers()
    }

    fn records(&self) -> Vec<CommandRecord> {
        self.host.records()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.host.changes()
    }
}
