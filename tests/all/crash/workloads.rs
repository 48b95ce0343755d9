//! StatefulSets, Deployments, ownership: a crash at every write.

use std::collections::BTreeMap;

use pvdeck::model::kind::{self, Kind};
use serde_json::{Value, json};

use super::{Play, Story, survives_every_crash};
use crate::stand_in;

const KINDS: &[&Kind] = &[
    kind::STATEFUL_SET,
    kind::CONTROLLER_REVISION,
    kind::DEPLOYMENT,
    kind::REPLICA_SET,
    kind::POD,
    kind::PERSISTENT_VOLUME_CLAIM,
];

/// Generated names and times differ from run to run.
fn plain(object: &mut Value) {
    if let Some(prefix) = object["metadata"]["generateName"].as_str()
        && !object["metadata"]["labels"]["pod-template-hash"].is_null()
    {
        object["metadata"]["name"] = format!("{prefix}<generated>").into();
        object["metadata"]["uid"] = "<uid>".into();
    }
    for field in ["lastTransitionTime", "lastUpdateTime", "lastProbeTime", "observedGeneration"] {
        remove_everywhere(object, field);
    }
    // Which node a pod got may depend on who was there before.
    if let Some(spec) = object["spec"].as_object_mut() {
        spec.shift_remove("nodeName");
    }
}

fn remove_everywhere(value: &mut Value, field: &str) {
    match value {
        Value::Object(fields) => {
            fields.shift_remove(field);
            fields.values_mut().for_each(|value| remove_everywhere(value, field));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| remove_everywhere(item, field)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "app"}},
        "spec": {"containers": [{"name": "main", "image": image}]}})
}

/// A node that pods can be placed on.
fn offer_node(play: &Play) {
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "node-1", "labels": {"kubernetes.io/hostname": "node-1"}},
        "status": {
            "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    });
    play.embedded.import(vec![node], "kubelet").expect("a node");
}

/// A set grows, gets smaller, and its claim goes with the pod.
struct StatefulSets;

impl Story for StatefulSets {
    const KINDS: &'static [&'static Kind] = KINDS;

    async fn tell(play: &mut Play) {
        offer_node(play);
        play.calm::<Self>().await;
        let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
            "storageClassName": "std", "resources": {"requests": {"storage": "1Gi"}}}});
        let class = json!({"metadata": {"name": "std"}, "provisioner": "kubernetes.io/host-path"});
        play.create::<Self>(kind::STORAGE_CLASS, class).await;
        let set = json!({
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"serviceName": "web", "replicas": 2, "template": template("busybox:1.35"),
                "selector": {"matchLabels": {"app": "app"}}, "volumeClaimTemplates": [claim],
                "persistentVolumeClaimRetentionPolicy":
                    {"whenDeleted": "Retain", "whenScaled": "Delete"}},
        });
        play.create::<Self>(kind::STATEFUL_SET, set).await;
        play.patch::<Self>(kind::STATEFUL_SET, "web", json!({"spec": {"replicas": 1}})).await;
    }

    /// A pod comes only after the one below it is ready and after its claim,
    /// and the first claim is never another.
    fn sound_at_every_revision(play: &Play) -> Result<(), String> {
        let mut pods: BTreeMap<String, Value> = BTreeMap::new();
        let mut claims: BTreeMap<String, String> = BTreeMap::new();
        for commit in play.embedded.commits_after(0) {
            let name = commit.key.name.to_string();
            let after = commit.object_after();
            if commit.kind == kind::PERSISTENT_VOLUME_CLAIM {
                let Some(claim) = &after else { continue };
                let uid = claim["metadata"]["uid"].to_string();
                let first = claims.entry(name.clone()).or_insert_with(|| uid.clone());
                if *first != uid {
                    return Err(format!("{}: {name} is another claim", commit.revision));
                }
            }
            if commit.kind != kind::POD {
                continue;
            }
            let is_new = !pods.contains_key(&name);
            match after {
                Some(pod) => drop(pods.insert(name.clone(), pod)),
                None => drop(pods.remove(&name)),
            }
            if is_new && name == "web-1" {
                let below =
                    pods.get("web-0").is_some_and(|pod| pod["status"]["phase"] == "Running");
                if !below || !claims.contains_key("data-web-1") {
                    return Err(format!("{}: {name} came too early", commit.revision));
                }
            }
        }
        Ok(())
    }

    async fn live(play: &mut Play) -> bool {
        stand_in::run_pods(&play.user, |_| true).await
    }

    fn plain(object: &mut Value) {
        plain(object);
    }
}

#[test]
fn a_crash_at_any_write_for_a_stateful_set_leads_to_the_same_end() {
    survives_every_crash::<StatefulSets>(30);
}

/// A Deployment is rolled out, then deleted in the foreground; a pod has a
/// claim of its own.
struct Owned;

impl Story for Owned {
    const KINDS: &'static [&'static Kind] = KINDS;

    const EVERY_WAY: bool = false;

    async fn tell(play: &mut Play) {
        offer_node(play);
        play.calm::<Self>().await;
        let class = json!({"metadata": {"name": "std"}, "provisioner": "kubernetes.io/host-path"});
        play.create::<Self>(kind::STORAGE_CLASS, class).await;
        let app = |name: &str| {
            json!({"metadata": {"name": name, "namespace": "default"}, "spec": {
                "replicas": 1, "selector": {"matchLabels": {"app": "app"}},
                // Nobody runs pods before the controllers are at rest.
                "progressDeadlineSeconds": 7200, "template": template("busybox:1.35")}})
        };
        play.create::<Self>(kind::DEPLOYMENT, app("app")).await;
        let new = json!({"spec": {"template": template("busybox:1.36")}});
        play.patch::<Self>(kind::DEPLOYMENT, "app", new).await;
        let volume = json!({"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "std",
            "resources": {"requests": {"storage": "1Gi"}}}}}});
        let pod = json!({"metadata": {"name": "p", "namespace": "default"}, "spec": {
            "containers": [{"name": "main", "image": "i"}], "volumes": [volume]}});
        play.create::<Self>(kind::POD, pod).await;
        let mut gone = app("gone");
        gone["spec"]["selector"]["matchLabels"]["app"] = "gone".into();
        gone["spec"]["template"]["metadata"]["labels"]["app"] = "gone".into();
        play.create::<Self>(kind::DEPLOYMENT, gone).await;
        let foreground = json!({"propagationPolicy": "Foreground"});
        play.delete_with::<Self>(kind::DEPLOYMENT, "gone", foreground).await;
    }

    /// At most one pod more than wanted at any time; a creation without a name
    /// that is done twice makes two, as it does on any server.
    fn sound_at_every_revision(play: &Play) -> Result<(), String> {
        let mut pods: BTreeMap<String, Value> = BTreeMap::new();
        for commit in play.embedded.commits_after(0) {
            if commit.kind != kind::POD {
                continue;
            }
            match commit.object_after() {
                Some(pod) => drop(pods.insert(commit.key.name.to_string(), pod)),
                None => drop(pods.remove(&*commit.key.name)),
            }
            let counts = |pod: &&Value| {
                pod["metadata"]["deletionTimestamp"].is_null()
                    && pod["metadata"]["labels"]["app"] == "app"
            };
            let count = pods.values().filter(counts).count();
            if count > 2 + usize::from(play.plan.does_twice()) {
                return Err(format!("{}: {count} pods", commit.revision));
            }
        }
        Ok(())
    }

    async fn live(play: &mut Play) -> bool {
        stand_in::run_pods(&play.user, |_| true).await
    }

    fn plain(object: &mut Value) {
        plain(object);
    }
}

#[test]
fn a_crash_at_any_write_for_owned_objects_leads_to_the_same_end() {
    survives_every_crash::<Owned>(25);
}
