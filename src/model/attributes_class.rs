//! The row of a VolumeAttributesClass.

use std::sync::Arc;

use serde_json::Value;

use crate::model::kind::{self, Kind};
use crate::model::object::Meta;
use crate::model::row::{self, Malformed, Row};

/// What screens need of a VolumeAttributesClass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributesClass {
    pub meta: Meta,
    pub driver: Arc<str>,
    /// Sorted by key.
    pub parameters: Box<[(Arc<str>, Arc<str>)]>,
}

impl Row for AttributesClass {
    const KIND: &'static Kind = kind::VOLUME_ATTRIBUTES_CLASS;

    fn from_object(object: &Value) -> Result<Self, Malformed> {
        Ok(Self {
            meta: row::meta(Self::KIND, object)?,
            driver: row::text(&object["driverName"]),
            parameters: row::pairs(&object["parameters"], |_| true),
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}
