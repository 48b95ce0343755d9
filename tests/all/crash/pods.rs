//! Pods of a node and their volume: a crash of everything but the machine at
//! every write.

use pvdeck::model::kind::{self, Kind};
use pvdeck::plugins::host::Files;
use serde_json::{Value, json};

use super::{Play, Story, survives_every_crash};

struct Pods;

impl Story for Pods {
    const KINDS: &'static [&'static Kind] =
        &[kind::PERSISTENT_VOLUME, kind::PERSISTENT_VOLUME_CLAIM, kind::POD, kind::NODE];
    const NODES: &'static [&'static str] = &["node-1"];

    async fn tell(play: &mut Play) {
        story(play).await;
    }

    /// No container is started twice, and none before its volume is there.
    fn sound_at_every_revision(play: &Play) -> Result<(), String> {
        for commit in play.embedded.commits_after(0) {
            let pod = commit.object_after().filter(|_| commit.kind == kind::POD);
            let restarts =
                pod.as_ref().map(|pod| &pod["status"]["containerStatuses"][0]["restartCount"]);
            if restarts.is_some_and(|count| count.as_u64().unwrap_or_default() > 0) {
                return Err(format!("{}: a container was started again", commit.key));
            }
        }
        Ok(())
    }

    fn plain(object: &mut Value) {
        without_times(object);
    }
}

/// Times and ids differ from run to run.
pub fn without_times(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(without_times),
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                let varies = name.ends_with("Time")
                    || name.ends_with("At")
                    || ["containerID", "deletionTimestamp", "resourceVersion"]
                        .contains(&name.as_str());
                if varies && field.is_string() {
                    *field = "<varies>".into();
                } else {
                    without_times(field);
                }
            }
        }
        _ => {}
    }
}

#[test]
fn a_crash_at_any_write_starts_no_container_twice_and_leads_to_the_same_end() {
    survives_every_crash::<Pods>(12);
}

fn pod(name: &str, script: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "default"}, "spec": {
        "nodeName": "node-1", "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
        "containers": [{
            "name": "main", "image": "busybox:1.35", "command": ["sh", "-c", script],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
    }})
}

/// A pod that runs until it is deleted, and one that ends by itself and tells
/// what the first has left.
async fn story(play: &mut Play) {
    if let Some(host) = play.machines.as_ref().and_then(|machines| machines.hosts.host("node-1")) {
        Files(&*host).make_directories("/mnt/data", 0o755).await.expect("made");
    }
    let labels = json!({"kubernetes.io/hostname": "node-1"});
    play.create::<Pods>(kind::NODE, json!({"metadata": {"name": "node-1", "labels": labels}}))
        .await;
    let affinity = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-1"]},
    ]}]}});
    let volume = json!({"metadata": {"name": "pv-1"}, "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
        "storageClassName": "manual", "persistentVolumeReclaimPolicy": "Retain",
        "local": {"path": "/mnt/data"}, "nodeAffinity": affinity,
    }});
    play.create::<Pods>(kind::PERSISTENT_VOLUME, volume).await;
    let claim = json!({"metadata": {"name": "data", "namespace": "default"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "storageClassName": "manual",
        "resources": {"requests": {"storage": "1Gi"}},
    }});
    play.create::<Pods>(kind::PERSISTENT_VOLUME_CLAIM, claim).await;
    let waits = "echo started >> /data/log; trap 'exit 0' TERM; while :; do sleep 1; done";
    play.create::<Pods>(kind::POD, pod("first", waits)).await;
    play.delete::<Pods>(kind::POD, "first").await;
    play.create::<Pods>(kind::POD, pod("second", "cat /data/log > /dev/termination-log")).await;
}
