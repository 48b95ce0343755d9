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
use crate::plugins::host::files::Progress;
use crate::plugins::host::{
    Command, CommandRecord, FileAnswer, FileRequest, Host, HostError, MountTable, OnBehalf,
};
use crate::plugins::layout::Layout;

/// Giving files to a group for longer than this is told, and then how far it
/// is (upstream: `pkg/volume/volume_linux.go`).
const SLOW: Duration = Duration::from_secs(30);
const STILL_SLOW: Duration = Duration::from_secs(60);

/// What is told of files that take long to be given to a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowOwnership {
    /// It takes longer than one expects.
    Begun,
    /// So many files are done.
    Processed(u64),
}

/// Passes everything on, and tells the verb of each command as it begins, and
/// the path of files that take long to be given to a group.
pub struct WatchedHost {
    pub host: Arc<dyn Host>,
    pub tell: Box<dyn Fn(Verb) + Send + Sync>,
    pub slow: TellSlow,
}

/// Told of a path and of how far its files are.
pub type TellSlow = Box<dyn Fn(&str, SlowOwnership) + Send + Sync>;

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
        let FileRequest::SetOwnership { progress, .. } = &request else {
            return self.host.file(request);
        };
        let (path, progress) = (request.path().to_owned(), progress.clone());
        let mut given = self.host.file(request);
        let given = async move {
            let begun: fn(&Progress) -> SlowOwnership = |_| SlowOwnership::Begun;
            let processed = |progress: &Progress| SlowOwnership::Processed(progress.files());
            let (mut patience, mut told) = (SLOW, begun);
            loop {
                let pause = self.clock().sleep(patience, TimerUse::Housekeeping);
                match select(given, pause).await {
                    Either::Left((answer, _)) => return answer,
                    Either::Right(((), still)) => given = still,
                }
                (self.slow)(&path, told(&progress));
                (patience, told) = (STILL_SLOW, processed);
            }
        };
        given.boxed()
    }

    fn mounts(&self) -> BoxFuture<'_, Result<MountTable, HostError>> {
        self.host.mounts()
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
