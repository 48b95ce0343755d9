//! Agents that are stopped, started, and lost, and what they tell of nodes.

use std::time::Duration;

use pvdeck::model::clock::Clock;
use pvdeck::model::kind;
use pvdeck::model::object::{Key, ObjectRef};
use pvdeck::model::write::{Change, Write};
use serde_json::{Value, json};

use super::{Cluster, WAITS, claimed, key, local};

/// A pod that runs on a local volume.
async fn running(cluster: &Cluster) {
    cluster.make_directory("/mnt/data").await;
    cluster.claim(local("/mnt/data")).await;
    cluster
        .pod("pod-1", claimed(), "echo x >> /data/starts; trap 'exit 0' TERM; sleep 100000")
        .await;
    cluster.until_phase("pod-1", "Running").await;
}

#[test]
fn containers_stay_while_the_agent_is_stopped_and_are_taken_over() {
    Cluster::run(async |cluster| {
        running(&cluster).await;
        let (agents, second) = (cluster.world.agents().clone(), Duration::from_secs(1));
        let mounts = cluster.host("node-1").mounts().await.expect("mounts");
        agents.stop("node-1");
        cluster.world.clock.advance(second * 30).await;
        assert!(agents.list_files(&key("pod-1"), "data", "/").await.is_err());
        agents.start("node-1");
        cluster.world.clock.advance(second * 30).await;
        assert_eq!(cluster.file("node-1", "/mnt/data/starts").await.as_deref(), Some("x\n"));
        let now = cluster.host("node-1").mounts().await.expect("mounts");
        assert_eq!(now.0.len(), mounts.0.len(), "nothing was unmounted, nothing mounted twice");
        let pod = cluster.get(kind::POD, "pod-1").await.expect("a pod");
        assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
        let killing = cluster.told("pod-1").await;
        assert!(!killing.iter().any(|told| told.starts_with("Killing")), "{killing:?}");
    });
}

#[test]
fn a_pod_deleted_while_the_agent_was_stopped_goes_when_it_is_back() {
    for grace in [None, Some(0)] {
        Cluster::run(async |cluster| {
            running(&cluster).await;
            let agents = cluster.world.agents().clone();
            let base = cluster.host("node-1").mounts().await.expect("mounts").0.len();
            agents.stop("node-1");
            cluster.delete(kind::POD, "pod-1", grace).await;
            cluster.world.clock.advance(Duration::from_secs(60)).await;
            let left = cluster.get(kind::POD, "pod-1").await.is_some();
            assert_eq!(left, grace.is_none(), "only the agent ends a pod that is not forced");
            agents.start("node-1");
            cluster.until_phase("pod-1", "gone").await;
            cluster
                .until("unmounted", async || {
                    cluster.host("node-1").mounts().await.expect("mounts").0.len() < base
                })
                .await;
            let layout = cluster.host("node-1").layout().pods();
            let host = cluster.host("node-1");
            let files = pvdeck::plugins::host::Files(&*host);
            cluster
                .until("its directory is gone", async || {
                    files.list(&layout).await.is_ok_and(|entries| entries.is_empty())
                })
                .await;
            cluster.world.clock.settle(200).await;
            assert!(agents.is_idle());
        });
    }
}

#[test]
fn an_agent_that_starts_without_its_node_registers_it() {
    Cluster::run(async |cluster| {
        let agents = cluster.world.agents().clone();
        agents.stop("node-2");
        cluster.delete(kind::NODE, "node-2", None).await;
        cluster.world.clock.advance(Duration::from_secs(60)).await;
        assert!(cluster.get(kind::NODE, "node-2").await.is_none());
        agents.start("node-2");
        cluster
            .until("registered", async || cluster.get(kind::NODE, "node-2").await.is_some())
            .await;
        cluster
            .until("ready", async || {
                let node = cluster.get(kind::NODE, "node-2").await.unwrap_or_default();
                let conditions =
                    node["status"]["conditions"].as_array().cloned().unwrap_or_default();
                conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
            })
            .await;
        let node = cluster.get(kind::NODE, "node-2").await.expect("a node");
        assert_eq!(node["metadata"]["labels"]["kubernetes.io/hostname"], "node-2");
        assert_eq!(node["status"]["addresses"][0]["address"], "10.0.0.2");
    });
}

async fn lease(cluster: &Cluster) -> Value {
    let lease = ObjectRef::new(kind::LEASE, Key::new("kube-node-lease", "node-1"));
    cluster.world.get(&lease).await.expect("a lease")
}

#[test]
fn a_lease_is_renewed_every_ten_seconds_even_while_writes_are_held() {
    Cluster::run(async |cluster| {
        let first = lease(&cluster).await;
        assert_eq!(first["spec"]["holderIdentity"], "node-1");
        assert_eq!(first["metadata"]["ownerReferences"][0]["kind"], "Node");
        cluster.world.gate().shut();
        let version = |lease: &Value| lease["metadata"]["resourceVersion"].clone();
        let mut seen = std::collections::BTreeSet::from([version(&first).to_string()]);
        for _ in 0..100 {
            cluster.world.clock.advance(Duration::from_secs(1)).await;
            seen.insert(version(&lease(&cluster).await).to_string());
        }
        assert!((10..=12).contains(&seen.len()), "{seen:?}");
        let renewed: jiff::Timestamp = lease(&cluster).await["spec"]["renewTime"]
            .as_str()
            .and_then(|time| time.parse().ok())
            .expect("a time");
        let age = cluster.world.clock.now().duration_since(renewed);
        assert!(age.as_secs() <= 10, "{age}");
    });
}

#[test]
fn a_node_that_is_lost_reports_nothing_until_it_is_found() {
    Cluster::run(async |cluster| {
        cluster.world.machines().lose("node-1");
        cluster.world.clock.advance(Duration::from_secs(15)).await;
        let before = lease(&cluster).await;
        cluster.pod("pod-1", json!({"emptyDir": {}}), WAITS).await;
        cluster.world.clock.advance(Duration::from_secs(60)).await;
        assert_eq!(lease(&cluster).await["spec"]["renewTime"], before["spec"]["renewTime"]);
        assert_eq!(cluster.phase("pod-1").await, "Pending");
        cluster.world.machines().find_again("node-1");
        cluster.until_phase("pod-1", "Running").await;
        let renewed = lease(&cluster).await["spec"]["renewTime"].clone();
        assert_ne!(renewed, before["spec"]["renewTime"]);
    });
}

#[test]
fn pod_that_a_finalizer_keeps_is_deleted_once() {
    Cluster::run(async |cluster| {
        running(&cluster).await;
        let held = json!({"metadata": {"finalizers": ["example.com/held"]}});
        cluster.patch(kind::POD, "pod-1", held).await;
        cluster.delete(kind::POD, "pod-1", None).await;
        cluster.until_phase("pod-1", "Failed").await;
        cluster.world.clock.advance(Duration::from_secs(600)).await;
        let deletions = cluster.world.path().journal().read(0, |entries| {
            let of_pod = |write: &Write| write.object.kind == kind::POD;
            let deletes = |write: &Write| matches!(write.change, Change::Delete(_));
            entries.filter(|entry| of_pod(&entry.write) && deletes(&entry.write)).count()
        });
        assert_eq!(deletions, 1, "by its agent");
        let released = json!({"metadata": {"finalizers": null}});
        cluster.patch(kind::POD, "pod-1", released).await;
        cluster.until_phase("pod-1", "gone").await;
    });
}
