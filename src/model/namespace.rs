//! The row of a Namespace.

use std::sync::Arc;

use serde_json::Value;

use crate::model::kind::{self, Kind};
use crate::model::object::Meta;
use crate::model::row::{self, Malformed, Row};

/// What decisions and screens need of a Namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    pub meta: Meta,
    /// `Active` or `Terminating`; empty if unset.
    pub phase: Arc<str>,
}

impl Row for Namespace {
    const KIND: &'static Kind = kind::NAMESPACE;

    fn from_object(object: &Value) -> Result<Self, Malformed> {
        Ok(Self {
            meta: row::meta(Self::KIND, object)?,
            phase: row::text(&object["status"]["phase"]),
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}
