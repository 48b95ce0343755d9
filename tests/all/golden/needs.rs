//! What a recording of another folder needs that the program does not have.

use pvdeck::model::kind::Kind;
use serde_json::Value;

use super::load::{Recording, Step};

/// The components whose events the hosted controllers publish. Everything else
/// in a trace is the work of a part that is yet to come.
const BUILT: &[&str] = &[
    "persistentvolume-controller",
    "attachdetach-controller",
    "default-scheduler",
    "kubelet",
    "hostpath.csi.k8s.io_<host>_<uid>",
    "node-controller",
    "volume_expand",
    "external-resizer hostpath.csi.k8s.io",
    "taint-eviction-controller",
    "statefulset-controller",
    "deployment-controller",
    "replicaset-controller",
    "ephemeral_volume",
];

/// What can be done to the machine that the nodes share.
const TO_THE_MACHINE: &[&str] = &[
    "mkdir",
    "tmpfs",
    "size",
    "unmount",
    "remove",
    "write",
    "content",
    "read",
    "list",
    "flexvolumeDriver",
    "script",
    "localProvisioner",
    "node",
    "storageClass",
    "discoveryDir",
];

/// Each missing part with the step or event that needs it; empty if the
/// recording can be played.
pub fn missing(recording: &Recording) -> Vec<String> {
    let mut missing = Vec::new();
    let mut need = |what: String| {
        if !missing.contains(&what) {
            missing.push(what);
        }
    };
    for (number, step) in recording.steps.iter().enumerate() {
        if let Some(what) = needed_by(step) {
            need(format!("{what} (step {})", number + 1));
        }
    }
    for recorded in &recording.trace.events {
        let component = recorded.event.component.as_str();
        if !BUILT.contains(&component) {
            need(component.to_owned());
        }
    }
    missing
}

fn needed_by(step: &Step) -> Option<String> {
    match step {
        Step::Apply(objects) => objects.iter().find_map(needed_for),
        Step::Host(what) => {
            let known = what.keys().all(|key| TO_THE_MACHINE.contains(&key.as_str()));
            (!known).then(|| {
                let forms: Vec<&str> = what.keys().map(String::as_str).collect();
                format!("host {}", forms.join(" "))
            })
        }
        _ => None,
    }
}

/// What must be there before an object can come to life.
fn needed_for(object: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = text(&object["kind"]);
    Kind::by_type(&text(&object["apiVersion"]), &kind).is_none().then(|| format!("kind {kind}"))
}
