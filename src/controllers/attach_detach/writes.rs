//! The writes of the controller, complete before anything is sent.

use serde_json::{Value, json};

use crate::controllers::attach_detach::because::Because;
use crate::controllers::attach_detach::volume::CsiVolume;
use crate::model::attachment::attachment_name;
use crate::model::kind;
use crate::model::node::{AttachedVolume, Node};
use crate::model::object::{Key, ObjectRef};
use crate::model::write::{Change, Write};

/// Replaces `status.volumesAttached` of a node.
pub fn report(node: &Node, attached: &[AttachedVolume], because: &Because) -> Write {
    let entry = |volume: &AttachedVolume| json!({"name": &*volume.name, "devicePath": &*volume.device_path});
    let list: Vec<Value> = attached.iter().map(entry).collect();
    // An empty list is taken away, as the API leaves it out.
    let list = if list.is_empty() { Value::Null } else { list.into() };
    let object = ObjectRef::new(kind::NODE, node.meta.key.clone());
    Write {
        object: object.clone(),
        subresource: Some("status"),
        change: Change::Merge(json!({"status": {"volumesAttached": list}})),
        version: Some(node.meta.version),
        on_behalf_of: object,
        reason: because.reason(),
    }
}

/// The VolumeAttachment of a CSI volume on a node.
pub fn attachment_ref(volume: &CsiVolume, node: &str) -> ObjectRef {
    let name = attachment_name(&volume.handle, &volume.driver, node);
    ObjectRef::new(kind::VOLUME_ATTACHMENT, Key::cluster(name))
}

/// Asks the driver's attacher to attach a PersistentVolume to a node.
pub fn create_attachment(volume: &CsiVolume, name: &str, node: &str, because: &Because) -> Write {
    let object = attachment_ref(volume, node);
    let body = json!({
        "apiVersion": kind::VOLUME_ATTACHMENT.api_version(),
        "kind": kind::VOLUME_ATTACHMENT.kind,
        "metadata": {"name": &*object.key.name},
        "spec": {
            "attacher": &*volume.driver,
            "nodeName": node,
            "source": {"persistentVolumeName": name},
        },
    });
    write(object, Change::Create(body), because)
}

/// Asks the driver's attacher to detach.
pub fn delete_attachment(volume: &CsiVolume, node: &str, because: &Because) -> Write {
    write(attachment_ref(volume, node), Change::Delete(json!({})), because)
}

fn write(object: ObjectRef, change: Change, because: &Because) -> Write {
    Write {
        object: object.clone(),
        subresource: None,
        change,
        version: None,
        on_behalf_of: object,
        reason: because.reason(),
    }
}
