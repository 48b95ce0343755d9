//! A host that tells which commands an operation runs on it, so that the board
//! can show how far a step of a plugin is.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};
use tokio::sync::watch;

use crate::model::clock::{Clock, TimerUse};
use crate::plugins::host::command::Verb;
use crate::plugins::host::{
    Command, CommandRecord, FileAnswer, FileRequest, Host, HostError, MountTable, OnBehalf,
};
use crate::plugins::layout::Layout;

/// Giving files to a group for longer than this is told (upstream:
/// `pkg/volume/volume_linux.go`).
const SLOW: Duration = Duration::from_secs(30);

/// Passes everything on, and tells the verb of each command as it begins, and
/// the path of files that take long to be given to a group.
pub struct WatchedHost {
    pub host: Arc<dyn Host>,
    pub tell: Box<dyn Fn(Verb) + Send + Sync>,
    pub slow: Box<dyn Fn(&str) + Send + Sync>,
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
        if !matches!(request, FileRequest::SetOwnership { .. }) {
            return self.host.file(request);
        }
        let path = request.path().to_owned();
        let (given, patience) =
            (self.host.file(request), self.clock().sleep(SLOW, TimerUse::Housekeeping));
        let given = async move {
            match select(given, patience).await {
                Either::Left((answer, _)) => answer,
                Either::Right(((), given)) => {
                    (self.slow)(&path);
                    given.await
                }
            }
        };
        given.boxed()
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
