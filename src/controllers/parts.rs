//! What every controller works with, and how one write of it goes.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::Value;

use crate::cluster::write_path::WriteError;
use crate::controllers::events::{Note, Recorder};
use crate::controllers::health::Health;
use crate::controllers::server::Server;
use crate::controllers::work_loop::{Outcome, Pass};
use crate::mirror::Mirror;
use crate::model::clock::{Clock, TimerUse};
use crate::model::object::ObjectRef;
use crate::model::write::Write;

/// What every controller works with.
#[derive(Clone)]
pub struct Parts {
    pub server: Arc<dyn Server>,
    pub mirror: Mirror,
    pub recorder: Recorder,
    pub clock: Arc<dyn Clock>,
    pub health: Health,
}

/// How one write went.
#[derive(Debug)]
pub enum Written {
    /// It was done; the server's answer.
    Done(Value),
    /// It was held: decide again on what is there now.
    Again,
    /// There is no such object, or no place for it.
    Gone(WriteError),
    /// The object is not what was decided on.
    Outdated,
    Refused(WriteError),
}

impl Written {
    /// The end of a pass that cannot go on after this; `None` if it can. With
    /// an object that is gone, what called for the write is gone too.
    pub fn end(&self) -> Option<Pass> {
        match self {
            Self::Done(_) | Self::Again => None,
            Self::Gone(_) => Some(Pass::done()),
            Self::Outdated => Some(Pass::new(Outcome::Outdated)),
            Self::Refused(error) => Some(Pass::new(Outcome::Failed(error.to_string()))),
        }
    }
}

impl Parts {
    /// Performs a write and takes its answer into the mirror, so that what comes
    /// next is not decided on what was before it.
    pub async fn write(&self, write: &Write) -> Written {
        match self.server.perform(write).await {
            Ok(answer) => {
                self.health.wrote();
                self.mirror.observe_object(write.object.kind, &answer);
                Written::Done(answer)
            }
            Err(WriteError::DecideAgain { .. }) => Written::Again,
            Err(error @ WriteError::NotFound { .. }) => Written::Gone(error),
            Err(WriteError::Conflict { .. }) => Written::Outdated,
            Err(error) => Written::Refused(error),
        }
    }

    /// A pass of at most one write: the one that is decided on, and decided on
    /// again if it was held. `settled` says why there may be nothing to write.
    pub async fn write_once<F>(
        &self,
        object: &ObjectRef,
        settled: &str,
        mut decide: impl FnMut() -> F,
    ) -> Pass
    where
        F: Future<Output = Result<Option<Write>, String>>,
    {
        let mut permitted = false;
        loop {
            let write = match decide().await {
                Ok(Some(write)) => write,
                Ok(None) => return self.rest(object, permitted, settled),
                Err(why) => return Pass::new(Outcome::Failed(why)),
            };
            match self.write(&write).await {
                Written::Again => permitted = true,
                written => return written.end().unwrap_or_else(Pass::done),
            }
        }
    }

    /// The object as the server has it now; the end of the pass if it cannot be
    /// read.
    pub async fn live(&self, object: &ObjectRef) -> Result<Option<Value>, Pass> {
        let read = self.server.get(object).await;
        read.map_err(|error| Pass::new(Outcome::Failed(error.to_string())))
    }

    /// The end of a pass with nothing left to do; `permitted`: the gate had
    /// given its permit to a write that is not called for any more.
    pub fn rest(&self, object: &ObjectRef, permitted: bool, why: &str) -> Pass {
        if permitted {
            self.server.nothing_to_do(object, why);
        }
        Pass::done()
    }

    /// Names an object again after so many seconds.
    pub fn wake(&self, object: ObjectRef, seconds: i64) -> BoxFuture<'static, Vec<ObjectRef>> {
        let seconds = u64::try_from(seconds).unwrap_or(1);
        let sleep = self.clock.sleep(Duration::from_secs(seconds), TimerUse::Work);
        sleep.map(move |()| vec![object]).boxed()
    }

    /// Tells all of these.
    pub fn tell_all(&self, notes: impl IntoIterator<Item = Note>) {
        notes.into_iter().for_each(|note| self.recorder.tell(note));
    }
}
