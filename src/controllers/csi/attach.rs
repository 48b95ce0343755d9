//! What to do about a VolumeAttachment of a driver, and the request that its
//! volume makes. Pure.
//!
//! Upstream: `pkg/controller/csi_handler.go` of external-attacher.

use pvdeck_csi_proto::csi::VolumeCapability;
use serde_json::{Value, json};

use crate::controllers::csi::shell::{finalizers, is_deleting, patch, patch_status};
use crate::model::access_modes::AccessModes;
use crate::model::object::ObjectRef;
use crate::model::volume::VolumeMode;
use crate::model::write::{Reason, Write};
use crate::plugins::csi::capability;
use crate::plugins::csi::driver::faults::CODES;

/// The annotation that keeps the driver's name for the node.
pub const NODE_ID: &str = "csi.alpha.kubernetes.io/node-id";

/// The attacher's finalizer, of volumes and attachments.
pub fn finalizer(driver: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' };
    let mut name: String = driver.chars().map(plain).collect();
    if name.ends_with('-') {
        name.push('X');
    }
    format!("external-attacher/{name}")
}

/// Adds a finalizer to a volume that is to be attached.
pub fn keep_volume(object: &ObjectRef, volume: &Value, finalizer: &str) -> Option<Write> {
    let mut list = finalizers(volume);
    if list.contains(&finalizer) || is_deleting(volume) {
        return None;
    }
    list.push(finalizer);
    let change = json!({"metadata": {"finalizers": list}});
    let why = "the volume is about to be attached, and must not go before it is detached";
    Some(patch(object, volume, change, Reason::new("attacher-4", why)))
}

/// Takes the finalizer off a deleted volume that nothing is attached of.
pub fn free_volume(object: &ObjectRef, volume: &Value, finalizer: &str) -> Option<Write> {
    let list = finalizers(volume);
    if !is_deleting(volume) || !list.contains(&finalizer) {
        return None;
    }
    let left: Vec<&str> = list.into_iter().filter(|name| *name != finalizer).collect();
    let change = json!({"metadata": {"finalizers": left}});
    let why = "the deleted volume is attached to no node";
    Some(patch(object, volume, change, Reason::new("attacher-pv", why)))
}

/// Marks an attachment before the driver is called: from here on it cannot
/// vanish without a detach.
pub fn mark(object: &ObjectRef, now: &Value, finalizer: &str, node_id: &str) -> Option<Write> {
    let mut list = finalizers(now);
    if list.contains(&finalizer) && now["metadata"]["annotations"][NODE_ID] == node_id {
        return None;
    }
    if !list.contains(&finalizer) {
        list.push(finalizer);
    }
    let change = json!({"metadata": {"finalizers": list, "annotations": {NODE_ID: node_id}}});
    let why = "the driver is about to be called, and its work must be undone one day";
    Some(patch(object, now, change, Reason::new("attacher-6", why)))
}

/// The driver has attached it.
pub fn attached(object: &ObjectRef, now: &Value, context: &Value) -> Option<Write> {
    let status = &now["status"];
    if status["attached"] == true && status["attachError"].is_null() {
        return None;
    }
    let mut change = json!({"attached": true, "attachError": null});
    if context.as_object().is_some_and(|context| !context.is_empty()) {
        change["attachmentMetadata"] = context.clone();
    }
    let why = "the driver has attached the volume to the node";
    let change = json!({"status": change});
    Some(patch_status(object, now, change, Reason::new("attacher-8", why)))
}

/// Attaching or detaching failed.
pub fn failed(object: &ObjectRef, now: &Value, field: &str, error: &str, time: &str) -> Write {
    let mut status = json!({field: {"message": error, "time": time}});
    if let Some(code) = code_of(error).filter(|_| field == "attachError") {
        status[field]["errorCode"] = code.into();
    }
    // The API insists on it.
    if !now["status"]["attached"].is_boolean() {
        status["attached"] = false.into();
    }
    let why = format!("the driver's answer is kept for others to see: {error}");
    let change = json!({"status": status});
    patch_status(object, now, change, Reason::new("attacher-error", why))
}

/// The number of the gRPC code that an error names, if a call ended with it: by
/// it a node knows that it has no room (feature MutableCSINodeAllocatableCount).
fn code_of(error: &str) -> Option<i32> {
    let (_, after) = error.split_once("rpc error: code = ")?;
    let name = after.split(' ').next()?;
    CODES.iter().find(|(known, _)| *known == name).map(|(_, code)| *code as i32)
}

/// The driver has detached it: the object may go.
pub fn release(object: &ObjectRef, now: &Value, finalizer: &str) -> Option<Write> {
    let list = finalizers(now);
    if !list.contains(&finalizer) {
        return None;
    }
    let left: Vec<&str> = list.into_iter().filter(|name| *name != finalizer).collect();
    let change = json!({"metadata": {"finalizers": left}});
    let why = "the driver has detached the volume from the node";
    Some(patch(object, now, change, Reason::new("detacher-4", why)))
}

/// After the release, if others keep the object.
pub fn detached(object: &ObjectRef, now: &Value) -> Option<Write> {
    let status = &now["status"];
    if status["attached"] != true && status["detachError"].is_null() {
        return None;
    }
    let change = json!({"status": {
        "attached": false, "detachError": null, "attachmentMetadata": null,
    }});
    let why = "the driver has detached the volume from the node";
    Some(patch_status(object, now, change, Reason::new("detacher-4", why)))
}

/// How a volume is to be published to a node.
pub fn capability_of(
    volume: &Value,
    default_fs_type: &str,
    multi_writer: bool,
) -> Result<VolumeCapability, String> {
    let spec = &volume["spec"];
    let mode = capability::attach_mode(AccessModes::from_json(&spec["accessModes"]), multi_writer)?;
    if VolumeMode::from_json(&spec["volumeMode"]) == VolumeMode::Block {
        return Ok(capability::block(mode));
    }
    let fs_type = spec["csi"]["fsType"].as_str().filter(|text| !text.is_empty());
    let options = spec["mountOptions"].as_array().into_iter().flatten();
    let options = options.filter_map(|option| option.as_str().map(str::to_owned)).collect();
    Ok(capability::mount(mode, fs_type.unwrap_or(default_fs_type), options))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kind;
    use crate::model::object::Key;

    fn object() -> ObjectRef {
        ObjectRef::new(kind::VOLUME_ATTACHMENT, Key::cluster("csi-1"))
    }

    #[test]
    fn an_error_of_a_call_tells_its_code() {
        assert_eq!(code_of("rpc error: code = ResourceExhausted desc = full"), Some(8));
        assert_eq!(code_of("rpc error: code = Canceled desc = gone"), Some(1));
        assert_eq!(code_of("PersistentVolume \"pv-1\" is marked for deletion"), None);
    }

    #[test]
    fn a_drivers_name_becomes_a_finalizer() {
        assert_eq!(finalizer("hostpath.csi.k8s.io"), "external-attacher/hostpath-csi-k8s-io");
        assert_eq!(finalizer("odd."), "external-attacher/odd-X");
    }

    #[test]
    fn an_attachment_is_marked_before_and_told_after_the_call() {
        let fresh = json!({"metadata": {"resourceVersion": "3"}, "status": {"attached": false}});
        let write = mark(&object(), &fresh, "f", "host-1").expect("a write");
        assert_eq!(write.version, Some(3));
        let marked = json!({
            "metadata": {"finalizers": ["f"], "annotations": {NODE_ID: "host-1"}},
            "status": {"attached": false},
        });
        assert_eq!(mark(&object(), &marked, "f", "host-1"), None);
        let told = attached(&object(), &marked, &json!({})).expect("a write");
        assert_eq!(told.subresource, Some("status"));
        let done = json!({"metadata": {}, "status": {"attached": true}});
        assert_eq!(attached(&object(), &done, &json!({})), None);
        assert_eq!(release(&object(), &done, "f"), None);
        assert!(release(&object(), &marked, "f").is_some());
        assert_eq!(detached(&object(), &marked), None);
        assert!(detached(&object(), &done).is_some());
    }
}
