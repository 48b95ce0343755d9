//! What a VolumeAttachment says to the operation that waits for it.
//!
//! Upstream: `pkg/volume/csi/csi_attacher.go` (`verifyAttachmentStatus`,
//! `verifyDetachmentStatus`).

use std::time::Duration;

use crate::model::attachment::Attachment;

/// How long an operation waits for the driver's attacher.
pub const WAIT_MAX: Duration = Duration::from_secs(120);

/// The first look is not before this: also what is done at once takes so long.
pub const FIRST_LOOK: Duration = Duration::from_millis(500);

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    Done,
    Failed(String),
    Wait,
}

/// Whether it is attached. One that is not there may not have been seen yet.
pub fn look_for_attached(attachment: Option<&Attachment>) -> Look {
    let Some(attachment) = attachment else { return Look::Wait };
    if attachment.meta.deleting.is_some() {
        return Look::Failed("volume attachment is being deleted".to_owned());
    }
    if attachment.attached {
        return Look::Done;
    }
    match &attachment.attach_error {
        Some(error) => Look::Failed(error.message.to_string()),
        None => Look::Wait,
    }
}

/// Whether it is detached.
pub fn look_for_detached(attachment: Option<&Attachment>) -> Look {
    let Some(attachment) = attachment else { return Look::Done };
    match &attachment.detach_error {
        Some(error) => Look::Failed(error.message.to_string()),
        None => Look::Wait,
    }
}

/// Nobody attached it in time.
pub fn attach_timed_out(driver: &str, handle: &str) -> String {
    format!(
        "timed out waiting for external-attacher of {driver} CSI driver to attach volume {handle}"
    )
}

/// Nobody detached it in time. Which driver it was is not said, as upstream.
pub fn detach_timed_out(handle: &str) -> String {
    format!(
        "timed out waiting for external-attacher of unknown CSI driver to detach volume {handle}"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::row::Row;

    fn attachment(status: Value, deleting: bool) -> Attachment {
        let mut object = json!({"metadata": {"name": "csi-1"}, "status": status});
        if deleting {
            object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        }
        Attachment::from_object(&object).expect("a row")
    }

    #[test]
    fn an_attachment_is_read_as_upstream_reads_it() {
        let failed = |text: &str| Look::Failed(text.to_owned());
        let error = json!({"attached": false, "attachError": {"message": "no such disk"}});
        for (status, deleting, expected) in [
            (json!({"attached": false}), false, Look::Wait),
            (json!({"attached": true}), false, Look::Done),
            (json!({"attached": true}), true, failed("volume attachment is being deleted")),
            (error.clone(), false, failed("no such disk")),
            (error, true, failed("volume attachment is being deleted")),
        ] {
            let row = attachment(status.clone(), deleting);
            assert_eq!(look_for_attached(Some(&row)), expected, "{status}");
        }
        assert_eq!(look_for_attached(None), Look::Wait);
    }

    #[test]
    fn detaching_is_over_when_the_attachment_is_gone() {
        let error = json!({"attached": true, "detachError": {"message": "busy"}});
        assert_eq!(look_for_detached(Some(&attachment(error, true))), Look::Failed("busy".into()));
        assert_eq!(look_for_detached(Some(&attachment(json!({}), true))), Look::Wait);
        assert_eq!(look_for_detached(None), Look::Done);
    }
}
