//! The row of a VolumeAttachment.

use std::sync::Arc;

use serde_json::Value;

use crate::model::kind::{self, Kind};
use crate::model::object::{Meta, Seconds};
use crate::model::row::{self, Malformed, Row, Sharing};

/// What decisions and screens need of a VolumeAttachment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    pub meta: Meta,
    /// The driver that attaches.
    pub attacher: Arc<str>,
    pub node: Arc<str>,
    /// `spec.source.persistentVolumeName`, empty for an inline source.
    pub volume: Arc<str>,
    pub attached: bool,
    pub attach_error: Option<Box<VolumeError>>,
    pub detach_error: Option<Box<VolumeError>>,
}

/// Why the last attach or detach failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeError {
    pub message: Box<str>,
    pub since: Option<Seconds>,
}

impl Row for Attachment {
    const KIND: &'static Kind = kind::VOLUME_ATTACHMENT;

    fn from_object(object: &Value) -> Result<Self, Malformed> {
        let (spec, status) = (&object["spec"], &object["status"]);
        let error = |value: &Value| {
            value.is_object().then(|| {
                Box::new(VolumeError {
                    message: value["message"].as_str().unwrap_or_default().into(),
                    since: row::seconds(&value["time"]),
                })
            })
        };
        Ok(Self {
            meta: row::meta(Self::KIND, object)?,
            attacher: row::text(&spec["attacher"]),
            node: row::text(&spec["nodeName"]),
            volume: row::text(&spec["source"]["persistentVolumeName"]),
            attached: status["attached"].as_bool().unwrap_or(false),
            attach_error: error(&status["attachError"]),
            detach_error: error(&status["detachError"]),
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn share(&mut self, with: &mut dyn Sharing) {
        row::share_meta(&mut self.meta, with);
        with.text(&mut self.attacher);
        with.text(&mut self.node);
        with.text(&mut self.volume);
    }
}
