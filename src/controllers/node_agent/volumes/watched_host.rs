//! What tells which commands an operation runs on its host, so that the board
//! can show how far a step of a plugin is.

use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};

use crate::model::clock::TimerUse;
use crate::plugins::host::around::Around;
use crate::plugins::host::command::Verb;
use crate::plugins::host::files::Progress;
use crate::plugins::host::{
    Command, CommandRecord, FileAnswer, FileRequest, Host, HostError, OnBehalf,
};

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

/// Tells the verb of each command as it begins, and the path of files that take
/// long to be given to a group.
pub struct Watching {
    pub tell: Box<dyn Fn(Verb) + Send + Sync>,
    pub slow: TellSlow,
}

/// Told of a path and of how far its files are.
pub type TellSlow = Box<dyn Fn(&str, SlowOwnership) + Send + Sync>;

impl Around for Watching {
    fn run<'a>(
        &'a self,
        host: &'a dyn Host,
        on_behalf: &OnBehalf,
        command: Command,
    ) -> BoxFuture<'a, Result<CommandRecord, HostError>> {
        (self.tell)(command.verb());
        host.run(on_behalf, command)
    }

    fn file<'a>(
        &'a self,
        host: &'a dyn Host,
        request: FileRequest,
    ) -> BoxFuture<'a, Result<FileAnswer, HostError>> {
        let FileRequest::SetOwnership { progress, .. } = &request else {
            return host.file(request);
        };
        let (path, progress) = (request.path().to_owned(), progress.clone());
        let mut given = host.file(request);
        let given = async move {
            let begun: fn(&Progress) -> SlowOwnership = |_| SlowOwnership::Begun;
            let processed = |progress: &Progress| SlowOwnership::Processed(progress.files());
            let (mut patience, mut told) = (SLOW, begun);
            loop {
                let pause = host.clock().sleep(patience, TimerUse::Housekeeping);
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
}
