//! Commits: what changed, by whom and why.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::cluster::embedded::store::object::Stored;
use crate::model::kind::Kind;
use crate::model::object::Key;
use crate::model::write::{Actor, Reason};

/// Who sent a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    pub actor: Actor,
    /// The user behind the credential, on a served socket.
    pub user: Option<Arc<str>>,
    /// The whole `User-Agent`; empty if none was sent.
    pub user_agent: Arc<str>,
    /// `fieldManager`, if given.
    pub field_manager: Option<Arc<str>>,
}

impl Author {
    /// An author inside this program.
    pub fn named(name: &str) -> Self {
        Self {
            actor: Actor(name.to_owned()),
            user: None,
            user_agent: "".into(),
            field_manager: None,
        }
    }
}

/// One revision of the store.
#[derive(Debug)]
pub struct Commit {
    pub revision: u64,
    pub kind: &'static Kind,
    pub key: Key,
    /// `None` for a creation.
    pub before: Option<Arc<Stored>>,
    /// `None` for a deletion.
    pub after: Option<Arc<Stored>>,
    pub author: Author,
    /// `None`: the write did not come by our write path.
    pub reason: Option<Reason>,
    pub time: Timestamp,
}

impl Commit {
    /// The object before, decoded.
    pub fn object_before(&self) -> Option<Value> {
        self.before.as_ref().map(|stored| stored.to_value(self.kind))
    }

    /// The object after, decoded.
    pub fn object_after(&self) -> Option<Value> {
        self.after.as_ref().map(|stored| stored.to_value(self.kind))
    }

    /// The bytes that only history keeps alive, roughly.
    pub fn weight(&self) -> usize {
        size_of::<Self>() + self.before.as_ref().map_or(0, |stored| stored.weight())
    }
}
