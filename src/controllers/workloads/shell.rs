//! What the shells of these controllers share: one write after the other, each
//! decided on what came of the one before.

use std::sync::Arc;

use serde_json::Value;

use crate::cluster::write_path::WriteError;
use crate::controllers::events::{Note, Recorder};
use crate::controllers::health::Health;
use crate::controllers::server::Server;
use crate::controllers::work_loop::{Outcome, Pass};
use crate::mirror::Mirror;
use crate::model::clock::Clock;
use crate::model::object::ObjectRef;
use crate::model::write::{Change, Write};

/// More writes in one pass would mean that it never settles.
pub const STEPS_MAX: usize = 2000;

/// What a controller works with.
pub struct Parts {
    pub server: Arc<dyn Server>,
    pub mirror: Mirror,
    pub recorder: Recorder,
    pub clock: Arc<dyn Clock>,
    pub health: Health,
}

/// A write, and what is told about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Act {
    pub write: Write,
    /// Told once it is done.
    pub done: Vec<Note>,
    /// Told if it is refused, with the server's words at the end of each.
    pub refused: Vec<Note>,
}

impl Act {
    /// A write that nobody is told about.
    pub fn silent(write: Write) -> Self {
        Self { write, done: Vec::new(), refused: Vec::new() }
    }
}

/// How an act went.
#[derive(Debug)]
pub enum Carried {
    /// It was done; the server's answer, `null` if the object was gone already.
    Done(Value),
    /// It was held; decide again on what is there now.
    Again,
    /// The object is not what was decided on.
    Outdated,
    /// An object of that name is there already, in the server's words.
    Exists(String),
    /// The server refused it, in these words.
    Refused(String),
}

impl Carried {
    /// The end of a pass that cannot go on after this; `None` if it can.
    pub fn end(self) -> Option<Pass> {
        match self {
            Self::Done(_) | Self::Again => None,
            Self::Outdated => Some(Pass::new(Outcome::Outdated)),
            Self::Exists(why) | Self::Refused(why) => Some(Pass::new(Outcome::Failed(why))),
        }
    }
}

impl Parts {
    /// Performs an act, takes its answer into the mirror and tells its notes.
    pub async fn carry_out(&self, act: Act) -> Carried {
        let Act { write, done, refused } = act;
        match self.server.perform(&write).await {
            Ok(answer) => {
                self.health.wrote();
                self.mirror.observe_object(write.object.kind, &answer);
                self.tell(done);
                Carried::Done(answer)
            }
            Err(WriteError::DecideAgain { .. }) => Carried::Again,
            Err(WriteError::Conflict { .. }) => Carried::Outdated,
            // It has gone, which is what was wanted, or is for the next pass.
            Err(WriteError::NotFound { .. }) if matches!(write.change, Change::Delete(_)) => {
                Carried::Done(Value::Null)
            }
            Err(WriteError::NotFound { .. }) if write.version.is_some() => Carried::Outdated,
            // Ours, and not here yet, or somebody else's: told by nobody
            // upstream either.
            Err(error @ WriteError::AlreadyExists { .. }) => Carried::Exists(error.words()),
            Err(error) => {
                let words = error.words();
                self.tell(refused.into_iter().map(|mut note| {
                    note.message.push_str(&words);
                    note
                }));
                Carried::Refused(words)
            }
        }
    }

    pub fn tell(&self, notes: impl IntoIterator<Item = Note>) {
        notes.into_iter().for_each(|note| self.recorder.tell(note));
    }

    /// The end of a pass with nothing left to do; `permitted`: the gate had
    /// given its permit to a write that is not called for any more.
    pub fn rest(&self, object: &ObjectRef, permitted: bool, why: &str) -> Pass {
        if permitted {
            self.server.nothing_to_do(object, why);
        }
        Pass::done()
    }
}

/// A pass that did not come to an end.
pub fn unsettled() -> Pass {
    Pass::new(Outcome::Failed(format!("not settled after {STEPS_MAX} writes")))
}
