//! What is there when a row starts, and what happens in between.

use serde_json::{Value, json};

use super::super::notation::{Names, claim, volume};
use super::super::world::{Fault, World};
use super::Section;
use super::rows::J;
use crate::model::object::ObjectRef;

fn script(text: &str) -> std::collections::VecDeque<Result<(), String>> {
    let entries = text.split(',').map(|entry| match entry {
        "ok" => Ok(()),
        "error" => Err("Mock provisioner error".to_owned()),
        text => Err(text.replace('_', " ")),
    });
    entries.collect()
}

pub(super) fn world(section: Section, call: &str) -> World {
    let words: Vec<&str> = call.split_whitespace().collect();
    let plugin = section.plugin && !words.contains(&"no-plugin");
    let world = World::new(plugin, !words.contains(&"off"));
    for (name, provisioner, waits, default) in section.classes {
        world.server.put(class(name, provisioner, *waits, *default));
    }
    world.server.put(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node1"}}));
    if section.rows == J {
        for (pod, phase) in
            [("running", "Running"), ("pending", "Pending"), ("completed", "Succeeded")]
        {
            world.server.put(json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": format!("{pod}Pod"), "namespace": "default"},
                "spec": {"volumes": [{"name": "v",
                    "persistentVolumeClaim": {"claimName": format!("{pod}Claim")}}]},
                "status": {"phase": phase},
            }));
        }
    }
    for word in words {
        if let Some(pods) = word.strip_prefix("pods=") {
            pods.split(',').for_each(|pod| waiting_pod(&world, call, pod));
        }
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "provision" => *world.plugin.provisions.lock().expect("script") = script(value),
            "deletes" => *world.plugin.deletes.lock().expect("script") = Some(script(value)),
            "recycle" => *world.plugin.recycles.lock().expect("script") = script(value),
            "creates" => {
                let (value, times) = value.split_once('*').unwrap_or((value, "1"));
                let times: usize = times.parse().expect("a number");
                let faults = value.split(',').map(|fault| match fault {
                    "exists" => Some(Fault::Exists),
                    _ => Some(Fault::Error),
                });
                let faults: Vec<_> = faults.collect();
                world.server.lock().creations = faults.repeat(times).into();
            }
            _ => {}
        }
    }
    world
}

/// A pod that is not scheduled and uses the row's claim.
fn waiting_pod(world: &World, call: &str, pod: &str) {
    let claim = if call.contains(',') { "claimC3c" } else { "claimC3b" };
    world.server.put(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod, "namespace": "default"},
        "spec": {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]},
    }));
}

fn class(name: &str, provisioner: &str, waits: bool, default: bool) -> Value {
    let mode = if waits { "WaitForFirstConsumer" } else { "Immediate" };
    let mut class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
        "provisioner": provisioner, "reclaimPolicy": "Delete", "volumeBindingMode": mode,
    });
    if default {
        class["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] =
            "true".into();
    }
    if name == "unsupported-mountoptions" {
        class["mountOptions"] = json!(["foo"]);
    }
    class
}

/// What the cache is made not to know.
pub(super) fn prepare(world: &World, call: &str, own_claim: &ObjectRef) {
    if call.contains("hide-claim") {
        let object = world.server.lock().objects.remove(own_claim).expect("the claim");
        world.refresh();
        world.server.put(object);
    }
    if call.contains("old-claim") {
        let mut object = world.server.object(own_claim).expect("the claim");
        object["metadata"]["uid"] = "uid4-12-new".into();
        world.server.put(object);
    }
}

/// What happens just before the operation starts.
pub(super) fn interfere(world: &World, call: &str, names: &Names, target: &ObjectRef) {
    if call.contains("vanishes") {
        world.server.lock().objects.remove(target);
    }
    if call.contains("appears") {
        let name = format!("pvc-{}", names.uid());
        let cell = "1Gi Bound ref=me Delete class=gold bc pb";
        world.server.put(volume(names, &name, cell, None));
    }
    if call.contains("recycled-already") {
        let object = world.server.object(target).expect("the volume");
        world.server.put(volume(names, &target.key.name, "Available", Some(&object)));
    }
    if call.contains("claim-returns") {
        world.server.put(claim(names, "10Gi Bound vol=V", None));
        let object = world.server.object(target).expect("the volume");
        world.server.put(volume(names, &target.key.name, "Bound ref=me bc", Some(&object)));
        world.refresh();
    }
}
