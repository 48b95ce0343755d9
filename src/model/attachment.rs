//! The row of a VolumeAttachment.

use std::fmt::Write;
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

/// The name of the VolumeAttachment of a CSI volume on a node, a function of
/// the three (upstream: `getAttachmentName` of `pkg/volume/csi`).
pub fn attachment_name(handle: &str, driver: &str, node: &str) -> String {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    [handle, driver, node].iter().for_each(|part| digest.update(part.as_bytes()));
    let mut name = String::from("csi-");
    for byte in digest.finish().as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attachment_is_named_after_volume_driver_and_node() {
        // sha256sum of `no-such-volumehostpath.csi.k8s.ionode-1`.
        let name = attachment_name("no-such-volume", "hostpath.csi.k8s.io", "node-1");
        assert_eq!(name, "csi-5487fa9ef61dc702ca2b168fa79b37723c6747c433ddbbe4d55088ef52dea904");
    }
}
