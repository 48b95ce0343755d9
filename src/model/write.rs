//! A write as a value: what to change, which version it was decided on, and
//! why. Decisions return these; `cluster::write_path::perform` sends them.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::object::ObjectRef;

/// Who writes: a controller's or a person's name, as field manager and user
/// agent too.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Actor(pub String);

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a write is made: the rule that asked for it and the sentence that the
/// deciding code's own refusal or cause renders to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The rule's id in the behaviour it follows, such as `C1` or `W2`.
    pub rule: String,
    /// The cause in words, without the object's name where it is the subject.
    pub text: String,
}

impl Reason {
    pub fn new(rule: impl Into<String>, text: impl Into<String>) -> Self {
        Self { rule: rule.into(), text: text.into() }
    }
}

/// What to do to the object.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// POST to the collection. The object's name may be left to `generateName`,
    /// then [`Write::object`]'s name is that prefix.
    Create(Value),
    /// PUT the whole object.
    Replace(Value),
    /// PATCH with RFC 7386. With [`Write::version`] it holds only for that
    /// version; fields it does not name stay as they are, also those that this
    /// program does not know.
    Merge(Value),
    /// PATCH by the rules of the kind (lists merged by their keys).
    Strategic(Value),
    /// DELETE with these `DeleteOptions` (an object; may be empty). Of an object
    /// without a name: of all of its kind in its namespace.
    Delete(Value),
}

/// One write, complete before anything is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    pub object: ObjectRef,
    /// `status`, `scale`, `binding`, … or none for the object itself.
    pub subresource: Option<&'static str>,
    pub change: Change,
    /// The `resourceVersion` the decision was made on. The server refuses the
    /// write if the object has changed since. For a delete it becomes a
    /// precondition.
    pub version: Option<u64>,
    /// The object whose reconciliation asked for this write: the claim whose
    /// bind reserves a volume. Held writes are told apart by actor and this.
    pub on_behalf_of: ObjectRef,
    pub reason: Reason,
}

impl Write {
    /// The verb as screens name it.
    pub fn verb(&self) -> &'static str {
        match self.change {
            Change::Create(_) => "CREATE",
            Change::Replace(_) => "UPDATE",
            Change::Merge(_) | Change::Strategic(_) => "PATCH",
            Change::Delete(_) => "DELETE",
        }
    }
}
