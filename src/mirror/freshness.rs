//! How current the picture of a kind is.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::kind::Kind;
use crate::model::object::Seconds;

/// How far the rows of one kind can be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freshness {
    /// The first list is on its way; its rows appear as they come.
    Loading { seen: usize },
    /// A watch is open: rows follow the server.
    Live,
    /// As `Live`, but of this namespace only: the user may not list the others.
    LiveInNamespace { namespace: Arc<str> },
    /// The server cannot be reached or understood. The rows are those of
    /// `since`, by the server's clock as far as that is known.
    Stale { since: Seconds, error: String },
    /// The user may not list or watch the kind: no rows means "cannot tell".
    Forbidden { message: String },
    /// The server does not serve the kind.
    NotServed,
}

impl Freshness {
    /// Whether an object without a row can be said not to exist.
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Live | Self::NotServed)
    }
}

/// The freshness of each kind; one that nothing watches has none.
pub type FreshnessByKind = HashMap<&'static Kind, Freshness>;
