//! What the schedule is played with: claims with their volumes, and pods.

use std::time::Duration;

use pvdeck::model::kind;
use pvdeck::model::write::Change;
use pvdeck::plugins::block_disk;
use pvdeck::plugins::host::Disks;
use serde_json::{Value, json};

use super::play::Play;
use super::{CLAIMS, Does, NODES};
use crate::by_hand::{ByHand, reference};

pub const DRIVER: &str = "disk.example";
/// Where the first node's local volume is.
pub const LOCAL: &str = "/mnt/disks/one";
const GIVEN_UP: &str = "node.kubernetes.io/out-of-service";

impl Play {
    pub async fn make_objects(&self) {
        for node in NODES {
            let labels = json!({"kubernetes.io/hostname": node});
            self.user
                .create(kind::NODE, json!({"metadata": {"name": node, "labels": labels}}))
                .await;
        }
        self.user
            .create(
                kind::STORAGE_CLASS,
                json!({"metadata": {"name": "driven"}, "provisioner": DRIVER}),
            )
            .await;
        for claim in CLAIMS {
            let (mode, spec) = match claim {
                "one-pod" => ("ReadWriteOncePod", disk()),
                "many" => ("ReadWriteMany", disk()),
                "local" => ("ReadWriteOnce", local()),
                _ => ("ReadWriteOnce", disk()),
            };
            let volume_mode = if claim == "device" { "Block" } else { "Filesystem" };
            let class = if claim == "driven" { claim } else { "" };
            let object = json!({"metadata": {"name": claim}, "spec": {
                "accessModes": [mode], "storageClassName": class, "volumeMode": volume_mode,
                "resources": {"requests": {"storage": "64Mi"}},
            }});
            self.user.create(kind::PERSISTENT_VOLUME_CLAIM, object).await;
            if claim == "driven" {
                continue;
            }
            let mut spec = spec;
            spec["capacity"] = json!({"storage": "64Mi"});
            spec["accessModes"] = json!([mode]);
            spec["volumeMode"] = volume_mode.into();
            spec["claimRef"] = json!({"namespace": "default", "name": claim});
            spec["persistentVolumeReclaimPolicy"] = "Retain".into();
            self.user
                .create(kind::PERSISTENT_VOLUME, json!({"metadata": {"name": claim}, "spec": spec}))
                .await;
            if claim != "local" {
                self.world.create(claim, 64 << 20).await.expect("a disk");
                self.watcher.know(claim, format!("{}/{claim}", block_disk::NAME));
            }
        }
    }

    pub async fn bind_claims(&self) {
        self.advance_by(Duration::from_secs(20)).await;
        for claim in CLAIMS {
            let found = self.user.get(&reference(kind::PERSISTENT_VOLUME_CLAIM, claim)).await;
            let found = found.expect("a claim");
            assert_eq!(found["status"]["phase"], "Bound", "{claim}");
            if claim == "driven" {
                let volume = found["spec"]["volumeName"].as_str().expect("a volume");
                let volume = self.user.get(&reference(kind::PERSISTENT_VOLUME, volume)).await;
                let volume = volume.expect("a volume");
                let handle = volume["spec"]["csi"]["volumeHandle"].as_str().expect("a handle");
                self.watcher.know(claim, format!("kubernetes.io/csi/{DRIVER}^{handle}"));
            }
        }
    }

    pub async fn pod(&self, name: usize, node: Option<usize>, claims: (usize, usize), does: Does) {
        let mut claims = vec![CLAIMS[claims.0], CLAIMS[claims.1]];
        claims.dedup();
        let script = match does {
            Does::Waits => "trap 'exit 0' TERM; while :; do sleep 1; done",
            Does::IsDeaf => "sleep 100000",
            Does::Writes => "hostname > /many/file; sleep 3",
        };
        let volumes: Vec<Value> = claims
            .iter()
            .map(|claim| json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}}))
            .chain([json!({"name": "scratch", "emptyDir": {}})])
            .collect();
        let (devices, directories): (Vec<&str>, Vec<&str>) =
            claims.iter().copied().partition(|claim| *claim == "device");
        let mounts: Vec<Value> = directories
            .iter()
            .map(|name| json!({"name": name, "mountPath": format!("/{name}")}))
            .chain([json!({"name": "scratch", "mountPath": "/scratch"})])
            .collect();
        let devices: Vec<Value> = devices
            .iter()
            .map(|name| json!({"name": name, "devicePath": format!("/dev/{name}")}))
            .collect();
        let mut spec = json!({
            "restartPolicy": "OnFailure", "terminationGracePeriodSeconds": 3,
            "containers": [{
                "name": "main", "image": "busybox:1.35", "command": ["sh", "-c", script],
                "volumeMounts": mounts, "volumeDevices": devices,
            }],
            "volumes": volumes,
        });
        if let Some(node) = node {
            spec["nodeName"] = NODES[node].into();
        }
        let object = json!({"metadata": {"name": pod_name(name)}, "spec": spec});
        self.user.create_if_missing(kind::POD, object).await;
    }

    pub async fn taint(&self, node: &str, given_up: bool) {
        let object = reference(kind::NODE, node);
        let Some(found) = self.user.get(&object).await else { return };
        if is_given_up(&found) == given_up {
            return;
        }
        let taints = found["spec"]["taints"].as_array().cloned().unwrap_or_default();
        let mut taints: Vec<Value> =
            taints.into_iter().filter(|taint| taint["key"] != GIVEN_UP).collect();
        if given_up {
            taints.push(json!({"key": GIVEN_UP, "value": "down", "effect": "NoExecute"}));
        }
        let tainted = Change::Merge(json!({"spec": {"taints": taints}}));
        self.user.write_if_it_can_be(&object, None, tainted).await;
    }

    pub async fn delete_pod(&self, name: &str, options: Value) {
        let pod = reference(kind::POD, name);
        self.user.write_if_it_can_be(&pod, None, Change::Delete(options)).await;
    }
}

pub fn pod_name(number: usize) -> String {
    format!("pod-{number}")
}

fn disk() -> Value {
    json!({"flexVolume": {"driver": block_disk::NAME}})
}

fn local() -> Value {
    let terms = json!([{"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODES[0]]},
    ]}]);
    json!({
        "local": {"path": LOCAL},
        "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
    })
}

pub fn is_given_up(node: &Value) -> bool {
    let taints = node["spec"]["taints"].as_array();
    taints.into_iter().flatten().any(|taint| taint["key"] == GIVEN_UP)
}

pub fn claims_of(pod: &Value) -> Vec<String> {
    let volumes = pod["spec"]["volumes"].as_array();
    let claims = volumes.into_iter().flatten().filter_map(|volume| {
        volume["persistentVolumeClaim"]["claimName"].as_str().map(str::to_owned)
    });
    claims.collect()
}
