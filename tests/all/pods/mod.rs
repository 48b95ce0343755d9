//! Pods on the simulated nodes of a whole cluster.

mod agents;
mod bad_input;
mod files;
mod growth;
mod logs;
mod node_death;

use std::sync::Arc;
use std::time::Duration;

use pvdeck::model::kind::{self, Kind};
use pvdeck::model::object::Key;
use pvdeck::model::write::Change;
use pvdeck::plugins::host::{Files, Host, Hosts};
use serde_json::{Value, json};

use crate::by_hand::{ByHand, reference};
use crate::world::World;

/// A cluster whose nodes have machines.
pub struct Cluster {
    pub world: World,
}

impl Cluster {
    pub fn run(play: impl AsyncFnOnce(Self)) {
        World::run(async |world| play(Self { world }).await);
    }

    pub fn host(&self, node: &str) -> Arc<dyn Host> {
        self.world.machines().host(node).expect("a machine")
    }

    pub async fn create(&self, kind: &'static Kind, object: Value) {
        self.world.user.create(kind, object).await;
    }

    /// A volume of 1Gi in class `manual`, and a claim that binds to it, both
    /// called `data`.
    pub async fn claim(&self, source: Value) {
        let mut spec = json!({
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "storageClassName": "manual", "persistentVolumeReclaimPolicy": "Retain",
        });
        for (key, value) in source.as_object().into_iter().flatten() {
            spec[key] = value.clone();
        }
        let mode = spec["volumeMode"].clone();
        let volume = json!({"metadata": {"name": "data"}, "spec": spec});
        self.create(kind::PERSISTENT_VOLUME, volume).await;
        let claim = json!({"metadata": {"name": "data"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "manual", "volumeMode": mode,
            "resources": {"requests": {"storage": "1Gi"}},
        }});
        self.create(kind::PERSISTENT_VOLUME_CLAIM, claim).await;
        self.world.clock.settle(100).await;
    }

    /// A pod on node-1 whose volume `data` is at `/data`.
    pub async fn pod(&self, name: &str, volume: Value, script: &str) {
        let mut volume = volume;
        volume["name"] = "data".into();
        let pod = json!({"metadata": {"name": name}, "spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
            "nodeSelector": {"kubernetes.io/hostname": "node-1"},
            "containers": [{
                "name": "main", "image": "busybox:1.35", "command": ["sh", "-c", script],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }],
            "volumes": [volume],
        }});
        self.create(kind::POD, pod).await;
    }

    pub async fn delete(&self, kind: &'static Kind, name: &str, grace: Option<u32>) {
        let options = grace.map_or(json!({}), |grace| json!({"gracePeriodSeconds": grace}));
        self.world.user.write(&reference(kind, name), Change::Delete(options)).await;
    }

    pub async fn patch(&self, kind: &'static Kind, name: &str, change: Value) {
        self.world.user.merge(&reference(kind, name), change).await;
    }

    pub async fn get(&self, kind: &'static Kind, name: &str) -> Option<Value> {
        self.world.get(&reference(kind, name)).await
    }

    /// Lets time pass until it holds, at most ten minutes.
    pub async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        for _ in 0..1200 {
            if holds().await {
                return;
            }
            self.world.clock.advance(Duration::from_millis(500)).await;
        }
        panic!("never: {what}");
    }

    pub async fn phase(&self, pod: &str) -> String {
        let pod = self.get(kind::POD, pod).await;
        pod.map_or("gone".into(), |pod| {
            pod["status"]["phase"].as_str().unwrap_or_default().to_owned()
        })
    }

    pub async fn until_phase(&self, pod: &str, phase: &str) {
        self.until(&format!("{pod} {phase}"), async || self.phase(pod).await == phase).await;
    }

    /// `reason: message` of all events about a pod, in the order of their
    /// reasons.
    pub async fn told(&self, pod: &str) -> Vec<String> {
        let events = self.world.user.list(kind::EVENT).await;
        let mut told: Vec<String> = events
            .iter()
            .filter(|event| event["involvedObject"]["name"] == pod)
            .map(|event| {
                let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
                format!("{}: {}", text("reason"), text("message"))
            })
            .collect();
        told.sort();
        told
    }

    pub async fn until_told(&self, pod: &str, part: &str) {
        self.until(part, async || self.told(pod).await.iter().any(|told| told.contains(part)))
            .await;
    }

    pub async fn file(&self, node: &str, path: &str) -> Option<String> {
        let host = self.host(node);
        let read = Files(&*host).read(path, 1 << 20).await.ok()?;
        Some(String::from_utf8_lossy(&read).into_owned())
    }

    pub async fn make_directory(&self, path: &str) {
        let host = self.host("node-1");
        Files(&*host).make_directories(path, 0o755).await.expect("made");
    }
}

/// What waits until it is told to end.
pub const WAITS: &str = "trap 'exit 0' TERM; while :; do sleep 1; done";

/// The claim that [`Cluster::claim`] makes.
pub fn claimed() -> Value {
    json!({"persistentVolumeClaim": {"claimName": "data"}})
}

/// A local volume on node-1.
pub fn local(path: &str) -> Value {
    json!({"local": {"path": path}, "nodeAffinity": {"required": {"nodeSelectorTerms": [
        {"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-1"]},
        ]},
    ]}}})
}

/// A remote disk.
pub fn disk() -> Value {
    json!({"flexVolume": {"driver": "pvdeck.dev/block-disk"}})
}

pub fn key(pod: &str) -> Key {
    Key::new("default", pod)
}
