//! ResourceQuota and LimitRange: what they refuse, and what is charged.

use serde_json::{Value, json};

use super::client::*;

const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";
const LIMITS: &str = "/api/v1/namespaces/default/limitranges";

fn claim(name: &str, size: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
            "resources": {"requests": {"storage": size}},
        },
    })
}

async fn merge(server: &Server, path: &str, body: &Value) -> Answer {
    server.patch("merge", path, body).await
}

/// A quota whose limits are in force.
async fn quota(server: &Server, hard: Value) {
    let used: serde_json::Map<String, Value> =
        hard.as_object().expect("a map").keys().map(|key| (key.clone(), "0".into())).collect();
    let body = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"},
        "spec": {"hard": hard},
    });
    let made = server.post(QUOTAS, &body).await.ok();
    assert_eq!(made["status"], json!({}), "the limits are not in force yet");
    let status = json!({"status": {"hard": hard, "used": used}});
    merge(server, &format!("{QUOTAS}/q/status"), &status).await.ok();
}

async fn used(server: &Server) -> Value {
    server.get(&format!("{QUOTAS}/q")).await.ok()["status"]["used"].clone()
}

#[tokio::test(start_paused = true)]
async fn claims_are_charged_and_refused_once_the_quota_is_used() {
    let server = Server::new();
    quota(&server, json!({"persistentvolumeclaims": "2", "requests.storage": "5Gi"})).await;
    server.post(CLAIMS, &claim("a", "3Gi")).await.ok();
    assert_eq!(
        used(&server).await,
        json!({"persistentvolumeclaims": "1", "requests.storage": "3Gi"})
    );
    assert_eq!(
        server.post(CLAIMS, &claim("b", "3Gi")).await.refusal(403, "Forbidden"),
        "persistentvolumeclaims \"b\" is forbidden: exceeded quota: q, requested: \
         requests.storage=3Gi, used: requests.storage=3Gi, limited: requests.storage=5Gi"
    );
    // A dry run is checked and not charged.
    let dry = format!("{CLAIMS}?dryRun=All");
    server.post(&dry, &claim("b", "2Gi")).await.ok();
    server.post(&dry, &claim("b", "9Gi")).await.refusal(403, "Forbidden");
    assert_eq!(used(&server).await["persistentvolumeclaims"], "1");
    // A name that is taken has been charged all the same, as by the original.
    server.post(CLAIMS, &claim("a", "1Gi")).await.refusal(409, "AlreadyExists");
    assert_eq!(
        used(&server).await,
        json!({"persistentvolumeclaims": "2", "requests.storage": "4Gi"})
    );
    // What asks for nothing more is let in whatever is used.
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    merge(&server, &format!("{CLAIMS}/a"), &label).await.ok();
}

#[tokio::test(start_paused = true)]
async fn an_invalid_claim_is_not_charged_and_a_status_never_refused() {
    let server = Server::new();
    quota(&server, json!({"fast.storageclass.storage.k8s.io/requests.storage": "3Gi"})).await;
    server.post(CLAIMS, &claim("a", "-1")).await.refusal(422, "Invalid");
    server.post(CLAIMS, &claim("a", "2Gi")).await.ok();
    let key = "fast.storageclass.storage.k8s.io/requests.storage";
    assert_eq!(used(&server).await[key], "2Gi");
    let status = json!({"status": {"phase": "Bound", "allocatedResources": {"storage": "4Gi"}}});
    merge(&server, &format!("{CLAIMS}/a/status"), &status).await.ok();
    assert_eq!(used(&server).await[key], "4Gi");
}

#[tokio::test(start_paused = true)]
async fn a_claim_outside_the_limits_takes_no_write_but_of_its_status() {
    let server = Server::new();
    server.post(CLAIMS, &claim("old", "100Mi")).await.ok();
    let range = json!({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"},
        "spec": {"limits": [
            {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "4Gi"}},
        ]},
    });
    server.post(LIMITS, &range).await.ok();
    let too_small = "persistentvolumeclaims \"old\" is forbidden: minimum storage usage per \
                     PersistentVolumeClaim is 1Gi, but request is 100Mi";
    let bind = json!({"spec": {"volumeName": "pv-1"}});
    let old = format!("{CLAIMS}/old");
    assert_eq!(merge(&server, &old, &bind).await.refusal(403, "Forbidden"), too_small);
    let status = json!({"status": {"phase": "Lost"}});
    merge(&server, &format!("{old}/status"), &status).await.ok();
    server.post(CLAIMS, &claim("big", "5Gi")).await.refusal(403, "Forbidden");
    server.post(CLAIMS, &claim("right", "4Gi")).await.ok();
    // One that is going may lose its finalizers.
    server.delete(&old).await.ok();
    merge(&server, &old, &json!({"metadata": {"finalizers": null}})).await.ok();
    server.get(&old).await.refusal(404, "NotFound");
}
