//! The writes that node life makes to pods.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::health::time;
use crate::model::kind;
use crate::model::object::{Meta, ObjectRef};
use crate::model::write::{Change, Reason, Write};

/// A pod by its metadata.
pub(super) fn pod_reference(meta: &Meta) -> ObjectRef {
    ObjectRef::new(kind::POD, meta.key.clone())
}

/// A write of a pod's status, decided on this version.
pub(super) fn pod_status(meta: &Meta, status: Value, reason: Reason) -> Write {
    Write {
        object: pod_reference(meta),
        subresource: Some("status"),
        change: Change::Strategic(json!({"status": status})),
        version: Some(meta.version),
        on_behalf_of: pod_reference(meta),
        reason,
    }
}

/// The condition that says why a pod is taken away.
pub(super) fn disruption_target(reason: &str, message: &str, now: Timestamp) -> Value {
    json!([{
        "type": "DisruptionTarget", "status": "True", "reason": reason, "message": message,
        "lastTransitionTime": time(now),
    }])
}

/// The deletion of this very pod, with its own grace period unless another is
/// given.
pub(super) fn pod_deletion(meta: &Meta, grace_seconds: Option<i64>, reason: Reason) -> Write {
    let mut options = json!({"preconditions": {"uid": &*meta.uid}});
    if let Some(seconds) = grace_seconds {
        options["gracePeriodSeconds"] = seconds.into();
    }
    Write {
        object: pod_reference(meta),
        subresource: None,
        change: Change::Delete(options),
        version: None,
        on_behalf_of: pod_reference(meta),
        reason,
    }
}
