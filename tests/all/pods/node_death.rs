//! A StatefulSet's pod whose node dies, and the disk that goes with it.

use std::time::Duration;

use pvdeck::model::kind;
use pvdeck::plugins::host::simulated::state::DiskContent;
use pvdeck::plugins::host::simulated::tree::Content;
use serde_json::{Value, json};

use super::Cluster;

const SCRIPT: &str = "echo started >> /data/starts; trap 'exit 0' TERM; sleep 100000";

/// A set of one pod with a remote disk, running; the node it is on, and the
/// other.
async fn running(cluster: &Cluster) -> (String, String) {
    let class = json!({"metadata": {"name": "disk"}, "provisioner": "pvdeck.dev/block-disk"});
    cluster.create(kind::STORAGE_CLASS, class).await;
    let set = json!({"metadata": {"name": "web"}, "spec": {
        "serviceName": "web", "replicas": 1, "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [{
                "name": "main", "image": "busybox:1.35", "command": ["sh", "-c", SCRIPT],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }]},
        },
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "disk",
            "resources": {"requests": {"storage": "1Gi"}}}}],
    }});
    cluster.create(kind::STATEFUL_SET, set).await;
    cluster.until_phase("web-0", "Running").await;
    let on = node_of(cluster).await;
    let other = if on == "node-1" { "node-2" } else { "node-1" };
    (on, other.to_owned())
}

async fn pod(cluster: &Cluster) -> Value {
    cluster.get(kind::POD, "web-0").await.unwrap_or_default()
}

async fn node_of(cluster: &Cluster) -> String {
    pod(cluster).await["spec"]["nodeName"].as_str().unwrap_or_default().to_owned()
}

async fn is_terminating(cluster: &Cluster) -> bool {
    pod(cluster).await["metadata"]["deletionTimestamp"].is_string()
}

async fn seconds(cluster: &Cluster, seconds: u64) {
    cluster.world.clock.advance(Duration::from_secs(seconds)).await;
}

/// The node is called lost after 50 seconds, its pod leaves 300 later and stays
/// Terminating, its claim bound.
async fn wait_for_eviction(cluster: &Cluster, node: &str) {
    let before = pod(cluster).await["metadata"]["uid"].clone();
    seconds(cluster, 65).await;
    let lost = cluster.get(kind::NODE, node).await.expect("the node");
    let taints: Vec<&Value> = lost["spec"]["taints"].as_array().into_iter().flatten().collect();
    assert!(
        taints.iter().all(|taint| taint["key"] == "node.kubernetes.io/unreachable"),
        "{taints:?}"
    );
    assert_eq!(taints.len(), 2, "{taints:?}");
    seconds(cluster, 275).await;
    assert!(!is_terminating(cluster).await, "its tolerations hold for 300 seconds");
    seconds(cluster, 30).await;
    assert!(is_terminating(cluster).await);
    seconds(cluster, 120).await;
    let still = pod(cluster).await;
    assert_eq!(still["metadata"]["uid"], before, "nobody ends it, and none takes its place");
    let claim = cluster.get(kind::PERSISTENT_VOLUME_CLAIM, "data-web-0").await.expect("the claim");
    assert_eq!(claim["status"]["phase"], "Bound");
    let told = cluster.told("web-0").await;
    assert!(told.contains(&"NodeNotReady: Node is not ready".to_owned()), "{told:?}");
    assert!(
        told.contains(&"TaintManagerEviction: Marking for deletion Pod default/web-0".to_owned()),
        "{told:?}"
    );
}

/// How often the container has noted its start on the disk.
fn starts(cluster: &Cluster) -> usize {
    let state = cluster.world.machines().snapshot();
    let disks: Vec<_> = state.disks.values().collect();
    assert_eq!(disks.len(), 1, "one disk, whichever node has it");
    let DiskContent::Filesystem { tree, .. } = &disks[0].content else { return 0 };
    match tree.get("/starts").map(|entry| &entry.content) {
        Some(Content::File(content)) => String::from_utf8_lossy(content).lines().count(),
        _ => 0,
    }
}

/// The nodes that have the disk.
fn attached(cluster: &Cluster) -> Vec<String> {
    let state = cluster.world.machines().snapshot();
    let disks = state.disks.values().flat_map(|disk| disk.attached.keys());
    disks.map(ToString::to_string).collect()
}

async fn until_running_on(cluster: &Cluster, node: &str) {
    cluster
        .until(&format!("running on {node}"), async || {
            let pod = pod(cluster).await;
            pod["spec"]["nodeName"] == node && pod["status"]["phase"] == "Running"
        })
        .await;
    assert_eq!(starts(cluster), 2, "it finds what it wrote before");
    assert_eq!(attached(cluster), [node]);
}

#[test]
fn pod_of_a_node_out_of_service_moves_at_once_and_its_disk_with_it() {
    Cluster::run(async |cluster| {
        let (on, other) = running(&cluster).await;
        assert_eq!((starts(&cluster), attached(&cluster)), (1, vec![on.clone()]));
        cluster.world.machines().lose(&on);
        wait_for_eviction(&cluster, &on).await;
        let lost = cluster.get(kind::NODE, &on).await.expect("the node");
        let mut taints = lost["spec"]["taints"].as_array().cloned().unwrap_or_default();
        taints.push(json!({"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}));
        let patch = json!({"spec": {"taints": taints}});
        cluster.patch(kind::NODE, &on, patch).await;
        seconds(&cluster, 25).await;
        assert_eq!(node_of(&cluster).await, other, "collected within 20 seconds and made anew");
        seconds(&cluster, 60).await;
        until_running_on(&cluster, &other).await;
    });
}

#[test]
fn pod_deleted_by_force_from_a_silent_node_gets_its_disk_after_six_minutes() {
    Cluster::run(async |cluster| {
        let (on, other) = running(&cluster).await;
        // Only the kubelet ends; the machine goes on.
        cluster.world.agents().stop(&on);
        wait_for_eviction(&cluster, &on).await;
        cluster.delete(kind::POD, "web-0", Some(0)).await;
        seconds(&cluster, 5).await;
        assert_eq!(node_of(&cluster).await, other);
        seconds(&cluster, 345).await;
        assert_eq!(attached(&cluster), [on.as_str()], "the old node may still write to it");
        assert_eq!(cluster.phase("web-0").await, "Pending");
        let told = cluster.told("web-0").await;
        let multi = |told: &String| told.starts_with("FailedAttachVolume: Multi-Attach error");
        assert!(told.iter().any(multi), "{told:?}");
        seconds(&cluster, 20).await;
        assert!(!attached(&cluster).contains(&on), "six minutes after the pod is gone");
        until_running_on(&cluster, &other).await;
    });
}

#[test]
fn node_that_comes_back_late_ends_its_pod_and_the_set_makes_it_anew() {
    Cluster::run(async |cluster| {
        let (on, _) = running(&cluster).await;
        let before = pod(&cluster).await["metadata"]["uid"].clone();
        cluster.world.machines().lose(&on);
        wait_for_eviction(&cluster, &on).await;
        cluster.world.machines().find_again(&on);
        cluster
            .until("another pod runs", async || {
                let pod = pod(&cluster).await;
                pod["metadata"]["uid"] != before && pod["status"]["phase"] == "Running"
            })
            .await;
        assert_eq!(starts(&cluster), 2);
        let node = cluster.get(kind::NODE, &on).await.expect("the node");
        assert!(node["spec"]["taints"].as_array().is_none_or(Vec::is_empty), "{node}");
    });
}
