//! Creating objects.

use serde_json::json;

use super::client::*;

#[tokio::test(start_paused = true)]
async fn a_claim_gets_identity_status_and_finalizer_16() {
    let server = Server::new();
    let answer = server.post(CLAIMS, &claim("data")).await;
    assert_eq!(answer.code, 201);
    let claim = answer.json();
    assert_eq!(claim["metadata"]["uid"].as_str().map(str::len), Some(36));
    assert_eq!(claim["metadata"]["creationTimestamp"], "2026-01-01T00:00:00Z");
    assert!(version_of(&claim) > 0);
    assert_eq!(claim["status"], json!({"phase": "Pending"}));
    assert_eq!(claim["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
}

#[tokio::test(start_paused = true)]
async fn a_taken_name_is_refused_17() {
    let server = Server::new();
    server.create(&claim("data")).await;
    let message = server.post(CLAIMS, &claim("data")).await.refusal(409, "AlreadyExists");
    assert_eq!(message, "persistentvolumeclaims \"data\" already exists");
}
