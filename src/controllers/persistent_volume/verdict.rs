//! What a decision sees, and what comes of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::controllers::events::Note;
use crate::controllers::holds::Holds;
use crate::controllers::persistent_volume::because::Because;
use crate::controllers::persistent_volume::cache::Cache;
use crate::model::claim::Claim;
use crate::model::object::{Key, ObjectRef};
use crate::model::volume::Volume;
use crate::model::write::Write;
use crate::plugins::plugin::PluginFacts;

/// Everything a decision may look at.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub cache: &'a Cache,
    pub plugins: &'a [PluginFacts],
    /// Which objects are being worked on, and for whom.
    pub holds: &'a Holds,
    /// What was read from the server during this pass.
    pub live: &'a Live,
    /// Whether claims may be provisioned at all.
    pub dynamic_provisioning: bool,
}

/// Objects read from the server because the cache did not suffice; `None`: the
/// server has no such object.
#[derive(Debug, Clone, Default)]
pub struct Live {
    pub claims: BTreeMap<Key, Option<Arc<Claim>>>,
    pub volumes: BTreeMap<Arc<str>, Option<Arc<Volume>>>,
}

/// What to do next about one object, and why. Decided afresh each time: after a
/// write has been answered, the next call gives the next write.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub step: Step,
    /// To be told once the step has succeeded, at once if it is no write.
    pub events: Vec<Note>,
    /// To be told if the server refuses the write; the refusal is added to the
    /// message.
    pub if_refused: Option<Box<Note>>,
    pub because: Because,
    /// What can change this verdict.
    pub wake: Wake,
}

/// The next step.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Nothing is to be done now.
    Rest,
    /// Perform this, then decide again.
    Write(Box<Write>),
    /// Perform this; the change it makes starts the next pass.
    LastWrite(Box<Write>),
    /// Read this object from the server, then decide again.
    Get(ObjectRef),
    /// Look at this claim now.
    Enqueue(Key),
    /// Start this operation unless it is running or paused after an error.
    Run(Operation),
    /// The state is invalid; try again after a pause.
    Refuse(String),
}

/// Work that takes its time and runs beside the decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    Provision { claim: Key, uid: Arc<str>, class: Arc<str>, plugin: &'static str },
    Delete { volume: Arc<str>, uid: Arc<str>, plugin: &'static str },
    Recycle { volume: Arc<str>, uid: Arc<str> },
}

impl Operation {
    /// One operation of a name runs at a time.
    pub fn name(&self) -> String {
        match self {
            Self::Provision { claim, uid, .. } => format!("provision-{claim}[{uid}]"),
            Self::Delete { volume, uid, .. } => format!("delete-{volume}[{uid}]"),
            Self::Recycle { volume, uid } => format!("recycle-{volume}[{uid}]"),
        }
    }
}

/// What can change a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Only a change of the object itself, or of its partner.
    Change,
    /// Also classes, pods or other volumes; looked at again every round.
    Round,
}

impl Verdict {
    pub fn rest(because: Because, wake: Wake) -> Self {
        Self::new(Step::Rest, because, wake)
    }

    pub fn new(step: Step, because: Because, wake: Wake) -> Self {
        Self { step, events: Vec::new(), if_refused: None, because, wake }
    }

    pub fn write(write: Write, because: Because) -> Self {
        Self::new(Step::Write(Box::new(write)), because, Wake::Change)
    }

    pub fn telling(mut self, note: Note) -> Self {
        self.events.push(note);
        self
    }
}
