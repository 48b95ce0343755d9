//! Pods that bring their claims along: a crash at every write of placing them.

use std::collections::BTreeMap;

use pvdeck::model::kind::{self, Kind};
use pvdeck::model::object::Key;
use serde_json::{Value, json};

use super::{Play, Story, merge, survives_every_crash};
use crate::by_hand::{ByHand, reference};

struct Placing;

impl Story for Placing {
    const KINDS: &'static [&'static Kind] =
        &[kind::PERSISTENT_VOLUME, kind::PERSISTENT_VOLUME_CLAIM, kind::POD];

    async fn tell(play: &mut Play) {
        story(play).await;
    }

    fn sound_at_every_revision(play: &Play) -> Result<(), String> {
        sound_at_every_revision(play)
    }

    fn plain(object: &mut Value) {
        if !object["status"]["lastPhaseTransitionTime"].is_null() {
            object["status"]["lastPhaseTransitionTime"] = "<time>".into();
        }
        for condition in object["status"]["conditions"].as_array_mut().into_iter().flatten() {
            condition["lastTransitionTime"] = "<time>".into();
        }
        if let Some(reference) = object["spec"]["claimRef"].as_object_mut() {
            reference.shift_remove("resourceVersion");
        }
    }
}

#[test]
fn a_crash_at_any_write_of_a_placement_leads_to_the_same_end() {
    survives_every_crash::<Placing>(40);
}

impl Play {
    async fn local(&mut self, name: &str, size: &str, node: &str, extra: Value) {
        let term = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node]});
        let terms = json!([{"matchExpressions": [term]}]);
        let mut volume = json!({
            "metadata": {"name": name},
            "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"],
                "storageClassName": "local", "local": {"path": format!("/disks/{name}")},
                "nodeAffinity": {"required": {"nodeSelectorTerms": terms}}},
        });
        merge(&mut volume["spec"], extra);
        self.create::<Placing>(kind::PERSISTENT_VOLUME, volume).await;
    }

    async fn claim_of(&mut self, class: &str, name: &str, size: &str) {
        let claim = json!({
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
                "resources": {"requests": {"storage": size}}},
        });
        self.create::<Placing>(kind::PERSISTENT_VOLUME_CLAIM, claim).await;
    }

    async fn pod(&mut self, name: &str, claims: &[&str], extra: Value) {
        let volume =
            |claim: &&str| json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}});
        let mut pod = json!({
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"containers": [{"name": "main", "image": "busybox:1.35"}],
                // No kubelet tells that the nodes are well.
                "tolerations": [{"operator": "Exists"}],
                "volumes": claims.iter().map(volume).collect::<Vec<_>>()},
        });
        merge(&mut pod["spec"], extra);
        self.create::<Placing>(kind::POD, pod).await;
    }
}

/// A node without a machine, of four processors, that takes so many pods.
pub async fn ready_node<S: Story>(play: &mut Play, name: &str, pods: &str) {
    let allocatable = json!({"cpu": "4", "memory": "8Gi", "pods": pods});
    let node = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"capacity": allocatable, "allocatable": allocatable,
            "conditions": [{"type": "Ready", "status": "True"}]},
    });
    play.create::<S>(kind::NODE, node).await;
    // A new node is tainted until it is found ready.
    let untainted = json!({"spec": {"taints": null}});
    play.user.merge(&reference(kind::NODE, name), untainted).await;
}

/// A local volume each, one of them reserved by name; two claims that only one
/// node can serve together, and that node is full; a claim whose volume
/// somebody else provisions.
async fn story(play: &mut Play) {
    play.calm::<Placing>().await;
    for name in ["node-1", "node-2"] {
        ready_node::<Placing>(play, name, "3").await;
    }
    for (name, provisioner) in [("local", "kubernetes.io/no-provisioner"), ("fast", "csi.example")]
    {
        let class = json!({"metadata": {"name": name}, "provisioner": provisioner,
            "volumeBindingMode": "WaitForFirstConsumer"});
        play.create::<Placing>(kind::STORAGE_CLASS, class).await;
    }
    play.local("pv-1", "5Gi", "node-1", json!({})).await;
    play.local("pv-2", "5Gi", "node-2", json!({})).await;
    for name in ["one", "two", "three"] {
        play.claim_of("local", name, "1Gi").await;
        play.pod(name, &[name], json!({})).await;
    }
    let reserved = json!({"claimRef": {"namespace": "default", "name": "three"}});
    play.local("pv-3", "9Gi", "node-2", reserved).await;
    play.local("pv-4", "2Gi", "node-2", json!({})).await;
    play.local("pv-5", "3Gi", "node-2", json!({})).await;
    play.claim_of("local", "left", "1Gi").await;
    play.claim_of("local", "right", "3Gi").await;
    let there = json!({"nodeSelector": {"kubernetes.io/hostname": "node-2"}});
    play.pod("filler", &[], there).await;
    play.pod("pair", &["left", "right"], json!({})).await;
    let at_once = json!({"gracePeriodSeconds": 0});
    play.delete_with::<Placing>(kind::POD, "filler", at_once).await;
    play.claim_of("fast", "made", "1Gi").await;
    play.pod("waits", &["made"], json!({})).await;
    let claim = play.user.get(&reference(kind::PERSISTENT_VOLUME_CLAIM, "made")).await;
    let made = json!({
        "metadata": {"name": "pv-made"},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "storageClassName": "fast", "csi": {"driver": "csi.example", "volumeHandle": "h"},
            "claimRef": {"kind": "PersistentVolumeClaim", "apiVersion": "v1",
                "namespace": "default", "name": "made",
                "uid": claim.expect("the claim")["metadata"]["uid"]}},
    });
    play.create::<Placing>(kind::PERSISTENT_VOLUME, made).await;
}

/// What must hold at each revision: no pod is on a node before its claims are
/// bound, or where it cannot reach them, and no volume has two claims.
fn sound_at_every_revision(play: &Play) -> Result<(), String> {
    let mut objects: BTreeMap<(&'static str, Key), Value> = BTreeMap::new();
    for commit in play.embedded.commits_after(0) {
        let at = (commit.kind.plural, commit.key.clone());
        match commit.object_after() {
            Some(object) => objects.insert(at, object),
            None => objects.remove(&at),
        };
        let mut owners: BTreeMap<&str, &Key> = BTreeMap::new();
        for ((plural, key), object) in &objects {
            let sound = match *plural {
                "pods" => within_reach(key, object, &objects),
                "persistentvolumeclaims" => match object["spec"]["volumeName"].as_str() {
                    Some(name) => match owners.insert(name, key) {
                        Some(other) => Err(format!("{key} and {other} have {name}")),
                        None => Ok(()),
                    },
                    None => Ok(()),
                },
                _ => Ok(()),
            };
            sound.map_err(|why| format!("{}: {why}", commit.revision))?;
        }
    }
    let placed = objects.iter().filter(|((plural, _), _)| *plural == "pods");
    let placed = placed.filter(|(_, pod)| pod["spec"]["nodeName"].is_string()).count();
    if placed == 5 { Ok(()) } else { Err(format!("{placed} of 5 pods are placed")) }
}

/// Whether a pod on a node has its claims bound, to volumes of that node.
fn within_reach(
    key: &Key,
    pod: &Value,
    objects: &BTreeMap<(&'static str, Key), Value>,
) -> Result<(), String> {
    let Some(node) = pod["spec"]["nodeName"].as_str() else { return Ok(()) };
    for volume in pod["spec"]["volumes"].as_array().into_iter().flatten() {
        let Some(name) = volume["persistentVolumeClaim"]["claimName"].as_str() else { continue };
        let claim = objects.get(&("persistentvolumeclaims", Key::new("default", name)));
        let bound = claim.and_then(|claim| claim["spec"]["volumeName"].as_str());
        let bound = bound.ok_or(format!("{key} is on {node}, and {name} is not bound"))?;
        let volume = objects.get(&("persistentvolumes", Key::cluster(bound)));
        let volume = volume.ok_or(format!("{key} is on {node}, and {bound} is missing"))?;
        let terms = &volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"];
        let host = terms[0]["matchExpressions"][0]["values"][0].as_str();
        if host.is_some_and(|host| host != node) {
            return Err(format!("{key} is on {node}, and {bound} is not"));
        }
    }
    Ok(())
}
