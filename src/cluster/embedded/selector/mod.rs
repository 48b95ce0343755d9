//! Label and field selectors as query strings spell them.

mod field;
mod label;

use crate::cluster::embedded::refusal::bad_request;
use crate::cluster::embedded::registry::Served;
use crate::cluster::embedded::selector::field::FieldTerm;
use crate::cluster::embedded::status::ApiError;
use crate::cluster::embedded::store::object::Stored;
use crate::model::selector::Requirement;

/// The objects that a list or watch asks for.
#[derive(Debug, Clone, Default)]
pub struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<FieldTerm>,
}

impl Selector {
    /// Reads both selectors for a kind.
    pub fn parse(
        labels: Option<&str>,
        fields: Option<&str>,
        served: Served,
    ) -> Result<Self, ApiError> {
        Ok(Self {
            labels: label::parse(labels.unwrap_or_default()).map_err(bad_request)?,
            fields: field::parse(fields.unwrap_or_default(), served)?,
        })
    }

    /// Whether it selects by anything.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether an object in its present state is selected.
    pub fn matches(&self, stored: &Stored) -> bool {
        self.labels.iter().all(|requirement| requirement.holds(&stored.labels))
            && self.fields.iter().all(|term| term.holds(stored))
    }
}
