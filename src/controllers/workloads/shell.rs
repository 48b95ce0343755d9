//! What the shells of these controllers share: one write after the other, each
//! decided on what came of the one before.

use serde_json::Value;

use crate::cluster::write_path::WriteError;
use crate::controllers::events::Note;
use crate::controllers::parts::{Parts, Written};
use crate::controllers::work_loop::{Outcome, Pass};
use crate::model::write::{Change, Write};

/// More writes in one pass would mean that it never settles.
pub const STEPS_MAX: usize = 2000;

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
    /// Performs an act and tells its notes.
    pub async fn carry_out(&self, act: Act) -> Carried {
        let Act { write, done, refused } = act;
        match self.write(&write).await {
            Written::Done(answer) => {
                self.tell_all(done);
                Carried::Done(answer)
            }
            Written::Again => Carried::Again,
            Written::Outdated => Carried::Outdated,
            // It has gone, which is what was wanted.
            Written::Gone(_) if matches!(write.change, Change::Delete(_)) => {
                Carried::Done(Value::Null)
            }
            Written::Gone(_) if write.version.is_some() => Carried::Outdated,
            // Ours, and not here yet, or somebody else's: told by nobody
            // upstream either.
            Written::Refused(error @ WriteError::AlreadyExists { .. }) => {
                Carried::Exists(error.words())
            }
            Written::Gone(error) | Written::Refused(error) => {
                let words = error.words();
                self.tell_all(refused.into_iter().map(|mut note| {
                    note.message.push_str(&words);
                    note
                }));
                Carried::Refused(words)
            }
        }
    }
}

/// A pass that did not come to an end.
pub fn unsettled() -> Pass {
    Pass::new(Outcome::Failed(format!("not settled after {STEPS_MAX} writes")))
}
