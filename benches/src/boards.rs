//! Frames about nodes: the list of many, the board of one while things change
//! on it and elsewhere, a claim's journey, and why among many volumes.

use pvdeck::mirror::{Mirror, Mirrored};
use pvdeck::model::claim::Claim;
use pvdeck::model::node::Node;
use pvdeck::model::object::ObjectRef;
use pvdeck::model::pod::Pod;
use pvdeck::model::volume::Volume;
use pvdeck::ui::state::TableId;
use serde_json::{Value, json};

use crate::frames::{Console, FRAMES, Measured};

/// Times and bytes with so many nodes that have so many volumes each.
pub fn run(nodes: usize, each: usize) -> Value {
    let mut console = Console::over(cluster(nodes, each), TableId::Nodes);
    console.frame();
    let mut list = Measured::default();
    for n in 0..FRAMES {
        list.take(|| console.key(if n % 16 < 8 { "j" } else { "k" }));
    }
    console.key("g\r");
    let (mut idle, mut here, mut elsewhere) = <(Measured, Measured, Measured)>::default();
    for n in 0..FRAMES {
        here.take(|| change(&mut console, 0, 0, n));
        elsewhere.take(|| change(&mut console, nodes - 1, 0, n));
        idle.take(|| console.frame());
    }
    console.key(":pvc\r");
    console.key("\r");
    let mut journey = Measured::default();
    for n in 0..FRAMES {
        journey.take(|| change(&mut console, 0, 0, FRAMES + n));
    }
    let pending = claim("waits", "", 1);
    put::<Claim>(&console.mirror, pending);
    console.changed(reference::<Claim>("waits"));
    console.key(":pvc\r/waits\r");
    let first = {
        let mut first = Measured::default();
        first.take(|| console.key("w"));
        first
    };
    let mut why = Measured::default();
    for n in 0..FRAMES {
        why.take(|| change(&mut console, 0, 0, 2 * FRAMES + n));
    }
    json!({
        "nodes": nodes, "volumes": nodes * each, "list_cursor_move": list.figures(),
        "board_nothing": idle.figures(), "board_change_here": here.figures(),
        "board_change_elsewhere": elsewhere.figures(), "journey_change": journey.figures(),
        "why_first": first.figures(), "why_change": why.figures(),
    })
}

fn meta(name: &str, version: usize) -> Value {
    json!({"namespace": "default", "name": name, "uid": name,
        "resourceVersion": version.to_string(), "creationTimestamp": "2026-11-21T09:00:00Z"})
}

fn put<R: Mirrored>(mirror: &Mirror, object: Value) {
    mirror.apply(R::from_object(&object).expect("a row"));
}

fn reference<R: Mirrored>(name: &str) -> ObjectRef {
    ObjectRef::new(R::KIND, pvdeck::model::object::Key::new("default", name))
}

fn claim(name: &str, volume: &str, version: usize) -> Value {
    let phase = if volume.is_empty() { "Pending" } else { "Bound" };
    json!({"metadata": meta(name, version), "spec": {"accessModes": ["ReadWriteOnce"],
        "storageClassName": "fast", "volumeName": volume,
        "resources": {"requests": {"storage": "10Gi"}}}, "status": {"phase": phase,
        "capacity": {"storage": "10Gi"}}})
}

fn pod(node: usize, at: usize, version: usize, phase: &str) -> Value {
    let claim = format!("c-{node}-{at}");
    json!({"metadata": meta(&format!("p-{node}-{at}"), version),
        "spec": {"nodeName": format!("node-{node}"), "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": claim}}]},
        "status": {"phase": phase}})
}

fn cluster(nodes: usize, each: usize) -> Mirror {
    let mirror = Mirror::default();
    for node in 0..nodes {
        let mut in_use = Vec::new();
        for at in 0..each {
            let (volume, name) = (format!("pv-{node}-{at}"), format!("c-{node}-{at}"));
            let reference = json!({"namespace": "default", "name": name, "uid": name});
            let mut object = json!({"metadata": meta(&volume, 1), "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
                "capacity": {"storage": "10Gi"}, "claimRef": reference,
                "csi": {"driver": "csi.fast.io", "volumeHandle": volume}},
                "status": {"phase": "Bound"}});
            object["metadata"]["namespace"] = "".into();
            put::<Volume>(&mirror, object);
            put::<Claim>(&mirror, claim(&name, &volume, 1));
            put::<Pod>(&mirror, pod(node, at, 1, "Running"));
            in_use.push(format!("kubernetes.io/csi/csi.fast.io^{volume}"));
        }
        let attached: Vec<_> = in_use.iter().map(|name| json!({"name": name})).collect();
        let ready = json!([{"type": "Ready", "status": "True"}]);
        let mut object = json!({"metadata": meta(&format!("node-{node}"), 1), "status": {
            "conditions": ready, "volumesInUse": in_use, "volumesAttached": attached}});
        object["metadata"]["namespace"] = "".into();
        put::<Node>(&mirror, object);
    }
    mirror
}

/// A pod of a node comes and goes, and the frame after it.
fn change(console: &mut Console, node: usize, at: usize, to: usize) -> usize {
    let phase = if to.is_multiple_of(2) { "Pending" } else { "Running" };
    let object = pod(node, at, 10 + to, phase);
    put::<Pod>(&console.mirror, object);
    console.changed(reference::<Pod>(&format!("p-{node}-{at}")))
}
