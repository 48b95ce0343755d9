//! Deleting static local volumes (workloads 14): the wrong order ends stuck
//! with its reason shown, the right one clean.

use pvdeck::diagnosis;
use pvdeck::model::kind::{self, Kind};
use serde_json::{Value, json};

use super::{Cluster, template};
use crate::by_hand::reference;

/// A local volume of node-1 that the claim of `web-0` is bound to.
async fn running_set(cluster: &Cluster) {
    let affinity = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-1"]}]}]}});
    let volume = json!({"metadata": {"name": "disk-1"}, "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Retain", "storageClassName": "local",
        "local": {"path": "/mnt/disks/a"}, "nodeAffinity": affinity}});
    cluster.create(kind::PERSISTENT_VOLUME, volume).await;
    let set = json!({"metadata": {"name": "web"}, "spec": {"serviceName": "web", "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}}, "template": template("web", "busybox:1.35"),
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "local",
            "resources": {"requests": {"storage": "1Gi"}}}}]}});
    cluster.create(kind::STATEFUL_SET, set).await;
    cluster.run_pods(None).await;
    cluster.seconds(16).await;
    cluster.run_pods(None).await;
    let claim = cluster.get(kind::PERSISTENT_VOLUME_CLAIM, "data-web-0").await;
    assert_eq!(claim.expect("the claim")["status"]["phase"], "Bound");
}

/// What the console tells of a volume or the claim: facts and the next step.
fn said(cluster: &Cluster, kind: &'static Kind, name: &str) -> (Vec<String>, String) {
    let found =
        cluster.world.mirror().read(|tables| diagnosis::find(tables, &reference(kind, name)));
    let found = found.expect("it is there");
    let facts = found.facts.into_iter().map(|fact| fact.text).collect();
    (facts, found.next.unwrap_or_default())
}

fn is_terminating(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

async fn volume(cluster: &Cluster) -> Option<Value> {
    cluster.get(kind::PERSISTENT_VOLUME, "disk-1").await
}

async fn claim(cluster: &Cluster) -> Option<Value> {
    cluster.get(kind::PERSISTENT_VOLUME_CLAIM, "data-web-0").await
}

#[test]
fn volume_deleted_first_hangs_on_its_claim_and_goes_with_it() {
    Cluster::run(async |cluster| {
        running_set(&cluster).await;
        cluster.delete(kind::PERSISTENT_VOLUME, "disk-1", "Background").await;
        cluster.seconds(60).await;
        let held = volume(&cluster).await.expect("held");
        assert!(is_terminating(&held));
        assert_eq!(held["status"]["phase"], "Bound", "the reason");
        assert_eq!(held["metadata"]["finalizers"], json!(["kubernetes.io/pv-protection"]));
        let end = "scale its set down so that pod web-0 ends: deleted, it would come back";
        let (facts, next) = said(&cluster, kind::PERSISTENT_VOLUME, "disk-1");
        assert_eq!(
            facts,
            [
                "it is being deleted, and claim default/data-web-0 is bound to it",
                "pod web-0 uses that claim",
            ]
        );
        assert_eq!(next, format!("{end}, then delete claim default/data-web-0"));
        // The claim goes next, and hangs on its pod.
        cluster.delete(kind::PERSISTENT_VOLUME_CLAIM, "data-web-0", "Background").await;
        cluster.seconds(60).await;
        let held = claim(&cluster).await.expect("held");
        assert_eq!(held["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
        let (facts, next) = said(&cluster, kind::PERSISTENT_VOLUME_CLAIM, "data-web-0");
        assert_eq!((facts.len(), facts[0].as_str()), (1, "it is being deleted"));
        assert_eq!(next, end);
        // Scaled away, the pod lets the claim go, the claim the volume.
        cluster.patch(kind::STATEFUL_SET, "web", json!({"spec": {"replicas": 0}})).await;
        cluster.run_pods(None).await;
        cluster.seconds(16).await;
        assert!(claim(&cluster).await.is_none());
        assert!(volume(&cluster).await.is_none());
    });
}

#[test]
fn pod_deleted_instead_of_scaled_away_comes_back_with_a_new_claim() {
    Cluster::run(async |cluster| {
        running_set(&cluster).await;
        let first = claim(&cluster).await.expect("the claim");
        cluster.delete(kind::PERSISTENT_VOLUME_CLAIM, "data-web-0", "Background").await;
        cluster.delete(kind::POD, "web-0", "Background").await;
        cluster.run_pods(None).await;
        cluster.seconds(16).await;
        let second = claim(&cluster).await.expect("made again by the set");
        assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);
        assert_eq!(second["status"]["phase"], "Pending");
        // The disk is kept with its data, and for nobody until its admin says so.
        assert_eq!(volume(&cluster).await.expect("kept")["status"]["phase"], "Released");
        assert_eq!(cluster.names(kind::POD).await, ["web-0"]);
    });
}

#[test]
fn pods_then_claim_then_volume_ends_clean() {
    Cluster::run(async |cluster| {
        running_set(&cluster).await;
        cluster.patch(kind::STATEFUL_SET, "web", json!({"spec": {"replicas": 0}})).await;
        cluster.run_pods(None).await;
        cluster.delete(kind::PERSISTENT_VOLUME_CLAIM, "data-web-0", "Background").await;
        cluster.settle().await;
        assert!(claim(&cluster).await.is_none());
        assert_eq!(volume(&cluster).await.expect("kept")["status"]["phase"], "Released");
        cluster.delete(kind::PERSISTENT_VOLUME, "disk-1", "Background").await;
        cluster.settle().await;
        assert!(volume(&cluster).await.is_none());
    });
}
