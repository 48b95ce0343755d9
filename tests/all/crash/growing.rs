//! A volume of a driver is made, used, grown and changed: a crash of everything
//! but the machine and the driver at every write.

use pvdeck::model::kind::{self, Kind};
use serde_json::{Value, json};

use super::pods::without_times;
use super::{Play, Story, survives_every_crash};

const DRIVER: &str = "csi.pvdeck.dev";

struct Growing;

impl Story for Growing {
    const KINDS: &'static [&'static Kind] = &[
        kind::PERSISTENT_VOLUME,
        kind::PERSISTENT_VOLUME_CLAIM,
        kind::POD,
        kind::NODE,
        kind::VOLUME_ATTACHMENT,
    ];
    const NODES: &'static [&'static str] = &["node-1"];
    const DRIVER: Option<&'static str> = Some(DRIVER);
    const EVERY_WAY: bool = false;

    async fn tell(play: &mut Play) {
        story(play).await;
    }

    /// The claim never tells more than its volume has, and the driver never
    /// made a second volume.
    fn sound_at_every_revision(play: &Play) -> Result<(), String> {
        let made = play.csi().drivers[0].state().volumes.len();
        let ended = play.embedded.commits_after(0);
        let sizes: Vec<String> = ended
            .iter()
            .filter(|commit| commit.kind == kind::PERSISTENT_VOLUME_CLAIM)
            .filter_map(|commit| commit.object_after())
            .filter_map(|claim| Some(claim["status"]["capacity"]["storage"].as_str()?.to_owned()))
            .collect();
        let mut steps = sizes.clone();
        steps.dedup();
        match (made, &*steps) {
            (1, [small, large]) if small == "1Gi" && large == "2Gi" => Ok(()),
            _ => Err(format!("{made} volumes made, of {steps:?}")),
        }
    }

    fn plain(object: &mut Value) {
        without_times(object);
        without_handles(object);
        if object["kind"] == kind::VOLUME_ATTACHMENT.kind {
            // It would be told by the attachment's name.
            object["metadata"]["uid"] = "<uid>".into();
        }
        let finalizers = object.pointer_mut("/metadata/finalizers").and_then(Value::as_array_mut);
        if let Some(finalizers) = finalizers {
            // Two companions take theirs when they come to it.
            finalizers.sort_by_key(ToString::to_string);
        }
        // Which provisioner made it is not the same after a crash.
        let attributes = object.pointer_mut("/spec/csi/volumeAttributes");
        if let Some(attributes) = attributes.and_then(Value::as_object_mut) {
            attributes.shift_remove("storage.kubernetes.io/csiProvisionerIdentity");
        }
    }
}

/// The driver's name of a volume follows from the claim's uid, and the name of
/// an attachment from that.
fn without_handles(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(without_handles),
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                if name == "volumeHandle" {
                    *field = "<handle>".into();
                }
                without_handles(field);
            }
        }
        Value::String(text) => {
            if let Some((before, _)) = text.split_once('^') {
                *text = format!("{before}^<handle>");
            } else if text.len() == 68 && text.starts_with("csi-") {
                *text = "<attachment>".to_owned();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[test]
fn a_crash_at_any_write_of_a_growth_leads_to_the_same_end() {
    survives_every_crash::<Growing>(25);
}

async fn story(play: &mut Play) {
    let labels = json!({"kubernetes.io/hostname": "node-1"});
    let node = json!({"metadata": {"name": "node-1", "labels": labels}});
    play.create::<Growing>(kind::NODE, node).await;
    let class = json!({
        "metadata": {"name": "csi"}, "provisioner": DRIVER, "allowVolumeExpansion": true,
    });
    play.create::<Growing>(kind::STORAGE_CLASS, class).await;
    let claim = json!({"metadata": {"name": "data", "namespace": "default"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "storageClassName": "csi",
        "resources": {"requests": {"storage": "1Gi"}},
    }});
    play.create::<Growing>(kind::PERSISTENT_VOLUME_CLAIM, claim).await;
    let pod = json!({"metadata": {"name": "pod", "namespace": "default"}, "spec": {
        "nodeName": "node-1", "terminationGracePeriodSeconds": 1,
        "containers": [{
            "name": "main", "image": "busybox:1.35",
            "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
    }});
    play.create::<Growing>(kind::POD, pod).await;
    let more = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
    play.patch::<Growing>(kind::PERSISTENT_VOLUME_CLAIM, "data", more).await;
    let gold = json!({
        "metadata": {"name": "gold"}, "driverName": DRIVER, "parameters": {"iops": "9"},
    });
    play.create::<Growing>(kind::VOLUME_ATTRIBUTES_CLASS, gold).await;
    let golden = json!({"spec": {"volumeAttributesClassName": "gold"}});
    play.patch::<Growing>(kind::PERSISTENT_VOLUME_CLAIM, "data", golden).await;
}
