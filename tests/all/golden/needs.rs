//! What a recording needs that the program does not have yet.

use pvdeck::model::kind::Kind;
use serde_json::Value;

use super::load::{Recording, Step};

/// The components whose events the hosted controllers publish. Everything else
/// in a trace is the work of a part that is yet to come.
const BUILT: &[&str] = &["persistentvolume-controller", "hostpath.csi.k8s.io_<host>_<uid>"];

/// What is done to the machine's disk, which only a kubelet or a driver would
/// notice: performed by doing nothing.
const UNNOTICED: &[&str] = &["mkdir", "tmpfs", "unmount", "remove", "write"];

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
        Step::Apply(objects) => objects.iter().find_map(unknown_kind),
        Step::Host(what) => {
            let unnoticed = what.keys().any(|key| UNNOTICED.contains(&key.as_str()));
            (!unnoticed).then(|| {
                let forms: Vec<&str> = what.keys().map(String::as_str).collect();
                format!("host {}", forms.join(" "))
            })
        }
        Step::Kubelet(kubelet) => Some(format!("kubelet {} {}", kubelet.action, kubelet.node)),
        _ => None,
    }
}

fn unknown_kind(object: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = text(&object["kind"]);
    Kind::by_type(&text(&object["apiVersion"]), &kind).is_none().then(|| format!("kind {kind}"))
}
