//! StatefulSets (workloads 1 to 8).

use http::Method;
use pvdeck::model::kind;
use serde_json::{Value, json};

use super::{Cluster, template};
use crate::by_hand::reference;

fn set(extra: Value) -> Value {
    let mut set = json!({
        "metadata": {"name": "web"},
        "spec": {
            "serviceName": "web", "replicas": 3,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template("web", "busybox:1.35"),
            "volumeClaimTemplates": [{
                "metadata": {"name": "data", "labels": {"tier": "gold"}},
                "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "manual",
                    "resources": {"requests": {"storage": "1Gi"}}},
            }],
        },
    });
    crate::crash::merge(&mut set["spec"], extra);
    set
}

async fn offer_volumes(cluster: &Cluster, count: usize) {
    for number in 0..count {
        cluster
            .create(
                kind::PERSISTENT_VOLUME,
                json!({"metadata": {"name": format!("pv-{number}")}, "spec": {
                    "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                    "storageClassName": "manual", "hostPath": {"path": "/srv"}}}),
            )
            .await;
    }
}

async fn status(cluster: &Cluster) -> (i64, i64, i64, i64) {
    let set = cluster.get(kind::STATEFUL_SET, "web").await.expect("the set");
    let count = |field: &str| set["status"][field].as_i64().unwrap_or(0);
    (count("replicas"), count("readyReplicas"), count("currentReplicas"), count("updatedReplicas"))
}

/// Checks 1 to 3 and 13.
#[test]
fn pods_come_one_by_one_with_their_claims_first() {
    Cluster::run(async |cluster| {
        offer_volumes(&cluster, 3).await;
        cluster.create(kind::STATEFUL_SET, set(json!({}))).await;
        cluster.settle().await;
        assert_eq!(cluster.names(kind::POD).await, ["web-0"]);
        assert_eq!(cluster.names(kind::PERSISTENT_VOLUME_CLAIM).await, ["data-web-0"]);
        assert_eq!(status(&cluster).await, (1, 0, 1, 1));
        cluster.run_pods(Some(&["web-0"])).await;
        assert_eq!(cluster.names(kind::POD).await, ["web-0", "web-1"]);
        cluster.run_pods(None).await;
        assert_eq!(status(&cluster).await, (3, 3, 3, 3));

        let pod = cluster.get(kind::POD, "web-1").await.expect("the pod");
        let labels = &pod["metadata"]["labels"];
        assert_eq!(labels["app"], "web");
        assert_eq!(labels["statefulset.kubernetes.io/pod-name"], "web-1");
        assert_eq!(labels["apps.kubernetes.io/pod-index"], "1");
        let revisions = cluster.names(kind::CONTROLLER_REVISION).await;
        assert_eq!(revisions.len(), 1);
        assert_eq!(labels["controller-revision-hash"], revisions[0].as_str());
        assert_eq!(pod["spec"]["hostname"], "web-1");
        assert_eq!(pod["spec"]["subdomain"], "web");
        let volume = &pod["spec"]["volumes"][0];
        assert_eq!(volume["persistentVolumeClaim"]["claimName"], "data-web-1");
        let claim = cluster.get(kind::PERSISTENT_VOLUME_CLAIM, "data-web-1").await;
        let claim = claim.expect("the claim");
        assert_eq!(claim["metadata"]["labels"], json!({"app": "web", "tier": "gold"}));
        assert!(claim["metadata"]["ownerReferences"].is_null());
        let told = cluster.told("SuccessfulCreate").await;
        assert_eq!(told[0], "Create Claim data-web-0 Pod web-0 in StatefulSet web success");
        assert_eq!(told[3], "Create Pod web-0 in StatefulSet web successful");
        assert_eq!(told.len(), 6);
    });
}

/// Check 1: numbers from 5.
#[test]
fn ordinals_start_where_they_are_told_to() {
    Cluster::run(async |cluster| {
        offer_volumes(&cluster, 3).await;
        let extra = json!({"replicas": 2, "ordinals": {"start": 5}});
        cluster.create(kind::STATEFUL_SET, set(extra)).await;
        cluster.run_pods(None).await;
        assert_eq!(cluster.names(kind::POD).await, ["web-5", "web-6"]);
        let claims = cluster.names(kind::PERSISTENT_VOLUME_CLAIM).await;
        assert_eq!(claims, ["data-web-5", "data-web-6"]);
        // Moving the start takes the lower one away and adds the next above.
        cluster.patch(kind::STATEFUL_SET, "web", json!({"spec": {"ordinals": {"start": 6}}})).await;
        cluster.run_pods(None).await;
        assert_eq!(cluster.names(kind::POD).await, ["web-6", "web-7"]);
    });
}

#[test]
fn scaling_down_takes_the_highest_first_and_scaling_up_finds_the_claims_again() {
    Cluster::run(async |cluster| {
        offer_volumes(&cluster, 3).await;
        cluster.create(kind::STATEFUL_SET, set(json!({}))).await;
        cluster.run_pods(None).await;
        let claims = cluster.list(kind::PERSISTENT_VOLUME_CLAIM).await;
        let uids = |claims: &[Value]| -> Vec<Value> {
            claims.iter().map(|claim| claim["metadata"]["uid"].clone()).collect()
        };
        let scale = json!({"spec": {"replicas": 1}});
        let path = format!("{}/scale", reference(kind::STATEFUL_SET, "web").path());
        let (code, _) = cluster.send(Method::PATCH, &path, scale).await;
        assert_eq!(code, 200);
        cluster.settle().await;
        let deleting: Vec<String> = cluster
            .list(kind::POD)
            .await
            .iter()
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_string())
            .map(|pod| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(deleting, ["web-2"]);
        cluster.run_pods(None).await;
        assert_eq!(cluster.names(kind::POD).await, ["web-0"]);
        assert_eq!(cluster.names(kind::PERSISTENT_VOLUME_CLAIM).await.len(), 3);
        assert_eq!(
            cluster.told("SuccessfulDelete").await,
            [
                "Delete Pod web-1 in StatefulSet web successful",
                "Delete Pod web-2 in StatefulSet web successful"
            ]
        );
        let (_, scale) = cluster.send(Method::GET, &path, Value::Null).await;
        assert_eq!(scale["status"], json!({"replicas": 1, "selector": "app=web"}));
        cluster.patch(kind::STATEFUL_SET, "web", json!({"spec": {"replicas": 3}})).await;
        cluster.run_pods(None).await;
        let after = cluster.list(kind::PERSISTENT_VOLUME_CLAIM).await;
        assert_eq!(uids(&claims), uids(&after), "the same claims");
        assert_eq!(status(&cluster).await, (3, 3, 3, 3));
    });
}

/// Check 4, and recovery of a pod whose claim went while it was pending.
#[test]
fn claim_that_is_being_deleted_keeps_its_pod_from_coming() {
    Cluster::run(async |cluster| {
        offer_volumes(&cluster, 1).await;
        cluster.create(kind::STATEFUL_SET, set(json!({"replicas": 1}))).await;
        cluster.run_pods(None).await;
        cluster.delete(kind::PERSISTENT_VOLUME_CLAIM, "data-web-0", "Background").await;
        cluster.settle().await;
        // The pod uses it, so it stays, Terminating.
        let claim = cluster.get(kind::PERSISTENT_VOLUME_CLAIM, "data-web-0").await;
        assert!(claim.expect("held")["metadata"]["deletionTimestamp"].is_string());
        cluster.delete(kind::POD, "web-0", "Background").await;
        cluster.run_pods(None).await;
        cluster.seconds(1).await;
        cluster.run_pods(None).await;
        let claim = cluster.get(kind::PERSISTENT_VOLUME_CLAIM, "data-web-0").await;
        let claim = claim.expect("a new claim");
        assert!(claim["metadata"]["deletionTimestamp"].is_null());
        assert_eq!(cluster.names(kind::POD).await, ["web-0"]);
    });
}

/// Check 5.
#[test]
fn pod_that_ended_is_replaced() {
    Cluster::run(async |cluster| {
        offer_volumes(&cluster, 1).await;
        cluster.create(kind::STATEFUL_SET, set(json!({"replicas": 1}))).await;
        cluster.run_pods(None).await;
        let first = cluster.get(kind::POD, "web-0").await.expect("the pod");
        let path = format!("{}/status", reference(kind::POD, "web-0").path());
        cluster.send(Method::PATCH, &path, json!({"status": {"phase": "Succeeded"}})).await;
        cluster.run_pods(None).await;
        let second = cluster.get(kind::POD, "web-0").await.expect("another");
        assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);
        assert_eq!(status(&cluster).await, (1, 1, 1, 1));
    });
}

/// Checks 8 and 14: from the last down to the partition, and back.
#[test]
fn update_replaces_from_the_last_down_to_the_partition_and_can_be_taken_back() {
    Cluster::run(async |cluster| {
        offer_volumes(&cluster, 3).await;
        let rolling = json!({"updateStrategy": {"type": "RollingUpdate",
            "rollingUpdate": {"partition": 1}}});
        cluster.create(kind::STATEFUL_SET, set(rolling)).await;
        cluster.run_pods(None).await;
        let new = json!({"spec": {"template": template("web", "busybox:1.36")}});
        cluster.patch(kind::STATEFUL_SET, "web", new).await;
        cluster.settle().await;
        let going: Vec<_> = deleting(&cluster).await;
        assert_eq!(going, ["web-2"]);
        cluster.run_pods(None).await;
        assert_eq!(images(&cluster).await, ["1.35", "1.36", "1.36"]);
        assert_eq!(status(&cluster).await, (3, 3, 1, 2));
        // A pod below the partition comes back as it was.
        cluster.delete(kind::POD, "web-0", "Background").await;
        cluster.run_pods(None).await;
        assert_eq!(images(&cluster).await, ["1.35", "1.36", "1.36"]);
        let none = json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}});
        cluster.patch(kind::STATEFUL_SET, "web", none).await;
        cluster.run_pods(None).await;
        assert_eq!(images(&cluster).await, ["1.36", "1.36", "1.36"]);
        assert_eq!(status(&cluster).await, (3, 3, 3, 3));
        // The old template again: its revision gets the highest number.
        let old = json!({"spec": {"template": template("web", "busybox:1.35")}});
        cluster.patch(kind::STATEFUL_SET, "web", old).await;
        cluster.run_pods(None).await;
        assert_eq!(images(&cluster).await, ["1.35", "1.35", "1.35"]);
        let revisions = cluster.list(kind::CONTROLLER_REVISION).await;
        let mut numbers: Vec<i64> =
            revisions.iter().filter_map(|held| held["revision"].as_i64()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [2, 3]);
    });
}

async fn deleting(cluster: &Cluster) -> Vec<String> {
    let pods = cluster.list(kind::POD).await;
    let going = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_string());
    going.map(|pod| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect()
}

async fn images(cluster: &Cluster) -> Vec<String> {
    let image = |pod: &Value| {
        let image = pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default();
        image.trim_start_matches("busybox:").to_owned()
    };
    cluster.list(kind::POD).await.iter().map(image).collect()
}

/// Check 7.
#[test]
fn parallel_pods_wait_for_nobody() {
    Cluster::run(async |cluster| {
        offer_volumes(&cluster, 3).await;
        let extra = json!({"podManagementPolicy": "Parallel"});
        cluster.create(kind::STATEFUL_SET, set(extra)).await;
        cluster.settle().await;
        assert_eq!(cluster.names(kind::POD).await, ["web-0", "web-1", "web-2"]);
        cluster.run_pods(None).await;
        cluster.patch(kind::STATEFUL_SET, "web", json!({"spec": {"replicas": 0}})).await;
        cluster.settle().await;
        assert_eq!(deleting(&cluster).await.len(), 3);
        cluster.run_pods(None).await;
        assert_eq!(status(&cluster).await, (0, 0, 0, 0));
    });
}

#[test]
fn on_delete_waits_until_somebody_deletes() {
    Cluster::run(async |cluster| {
        offer_volumes(&cluster, 3).await;
        let extra = json!({"updateStrategy": {"type": "OnDelete"}});
        cluster.create(kind::STATEFUL_SET, set(extra)).await;
        cluster.run_pods(None).await;
        let new = json!({"spec": {"template": template("web", "busybox:1.36")}});
        cluster.patch(kind::STATEFUL_SET, "web", new).await;
        cluster.run_pods(None).await;
        assert_eq!(images(&cluster).await, ["1.35", "1.35", "1.35"]);
        cluster.delete(kind::POD, "web-1", "Background").await;
        cluster.run_pods(None).await;
        assert_eq!(images(&cluster).await, ["1.35", "1.36", "1.35"]);
    });
}

/// Check 2.
#[test]
fn min_ready_seconds_are_waited_for() {
    Cluster::run(async |cluster| {
        offer_volumes(&cluster, 2).await;
        let extra = json!({"replicas": 2, "minReadySeconds": 30});
        cluster.create(kind::STATEFUL_SET, set(extra)).await;
        cluster.run_pods(None).await;
        assert_eq!(cluster.names(kind::POD).await, ["web-0"]);
        cluster.seconds(31).await;
        assert_eq!(cluster.names(kind::POD).await, ["web-0", "web-1"]);
    });
}

/// Check 3: data survive because the claims do.
#[test]
fn pods_are_adopted_and_claims_found_by_a_set_of_the_same_name() {
    Cluster::run(async |cluster| {
        offer_volumes(&cluster, 3).await;
        cluster.create(kind::STATEFUL_SET, set(json!({}))).await;
        cluster.run_pods(None).await;
        // Without its references a pod belongs to nobody, until the set sees it.
        let none = json!({"metadata": {"ownerReferences": null}});
        cluster.patch(kind::POD, "web-1", none).await;
        cluster.settle().await;
        let pod = cluster.get(kind::POD, "web-1").await.expect("the pod");
        assert_eq!(pod["metadata"]["ownerReferences"][0]["name"], "web");
        // One whose labels are not selected any more is let go, and replaced
        // only when its name is free.
        cluster.patch(kind::POD, "web-2", json!({"metadata": {"labels": {"app": "x"}}})).await;
        cluster.settle().await;
        let pod = cluster.get(kind::POD, "web-2").await.expect("the pod");
        assert!(pod["metadata"]["ownerReferences"].is_null());
        assert_eq!(pod["metadata"]["labels"]["app"], "x");
    });
}
