//! Creating objects.

use serde_json::{Value, json};

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
    let answer = server.post(CLAIMS, &claim("data")).await;
    let message = answer.refusal(409, "AlreadyExists");
    assert_eq!(message, "persistentvolumeclaims \"data\" already exists");
    assert_eq!(answer.json()["details"]["kind"], "persistentvolumeclaims");
}

#[tokio::test(start_paused = true)]
async fn a_name_whose_holder_terminates_is_refused_18() {
    let server = Server::new();
    server.create(&claim("data")).await;
    server.delete(&format!("{CLAIMS}/data")).await.ok();
    let message = server.post(CLAIMS, &claim("data")).await.refusal(409, "AlreadyExists");
    assert_eq!(message, "object is being deleted: persistentvolumeclaims \"data\" already exists");
}

#[tokio::test(start_paused = true)]
async fn generated_names_differ_19() {
    let server = Server::new();
    let mut map = config_map("");
    map["metadata"] = json!({"generateName": "web-"});
    let mut names = Vec::new();
    for _ in 0..2 {
        let made = server.create(&map).await;
        let name = made["metadata"]["name"].as_str().expect("a name").to_owned();
        let random = name.strip_prefix("web-").expect("the base");
        assert_eq!(random.len(), 5);
        assert!(random.chars().all(|c| "bcdfghjklmnpqrstvwxz2456789".contains(c)), "{name}");
        assert_eq!(made["metadata"]["generateName"], "web-");
        names.push(name);
    }
    assert_ne!(names[0], names[1]);
    map["metadata"]["generateName"] = format!("{}-", "x".repeat(80)).into();
    let long = server.create(&map).await;
    assert_eq!(long["metadata"]["name"].as_str().map(str::len), Some(63));
}

#[tokio::test(start_paused = true)]
async fn an_object_needs_a_name_20() {
    let server = Server::new();
    let mut nameless = claim("");
    nameless["metadata"] = json!({});
    let answer = server.post(CLAIMS, &nameless).await;
    assert_eq!(
        answer.refusal(422, "Invalid"),
        "PersistentVolumeClaim \"\" is invalid: metadata.name: Required value: name or generateName is required"
    );
    assert_eq!(
        answer.json()["details"]["causes"],
        json!([{
            "reason": "FieldValueRequired",
            "message": "Required value: name or generateName is required",
            "field": "metadata.name",
        }])
    );
}

#[tokio::test(start_paused = true)]
async fn the_body_s_namespace_must_be_the_path_s_21() {
    let mut elsewhere = claim("data");
    elsewhere["metadata"]["namespace"] = "kube-system".into();
    let message = Server::new().post(CLAIMS, &elsewhere).await.refusal(400, "BadRequest");
    assert_eq!(
        message,
        "the namespace of the provided object does not match the namespace sent on the request"
    );
}

#[tokio::test(start_paused = true)]
async fn a_namespace_must_exist_22() {
    let path = "/api/v1/namespaces/nowhere/persistentvolumeclaims";
    let answer = Server::new().post(path, &claim("data")).await;
    assert_eq!(answer.refusal(404, "NotFound"), "namespaces \"nowhere\" not found");
    assert_eq!(answer.json()["details"], json!({"name": "nowhere", "kind": "namespaces"}));
}

#[tokio::test(start_paused = true)]
async fn a_terminating_namespace_takes_nothing_new_23() {
    let server = Server::new();
    server
        .create(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}))
        .await;
    let gone = server.delete("/api/v1/namespaces/shop").await.ok();
    assert_eq!(gone["status"]["phase"], "Terminating");
    let answer = server.post("/api/v1/namespaces/shop/configmaps", &config_map("a")).await;
    assert_eq!(
        answer.refusal(403, "Forbidden"),
        "configmaps \"a\" is forbidden: unable to create new content in namespace shop because it is being terminated"
    );
    let cause = &answer.json()["details"]["causes"][0];
    assert_eq!(
        (&cause["reason"], &cause["field"]),
        (&"NamespaceTerminating".into(), &"metadata.namespace".into())
    );
    // An empty namespace goes when its own finalizer does.
    let mut finalized = gone;
    finalized["spec"]["finalizers"] = json!([]);
    assert_eq!(server.put("/api/v1/namespaces/shop/finalize", &finalized).await.code, 200);
    server.get("/api/v1/namespaces/shop").await.refusal(404, "NotFound");
}

#[tokio::test(start_paused = true)]
async fn what_only_the_server_sets_is_ignored_25() {
    let server = Server::new();
    let mut presumptuous = volume("pv");
    presumptuous["metadata"]["uid"] = "11111111-1111-1111-1111-111111111111".into();
    presumptuous["metadata"]["creationTimestamp"] = "2001-01-01T00:00:00Z".into();
    presumptuous["metadata"]["deletionTimestamp"] = "2001-01-01T00:00:00Z".into();
    presumptuous["metadata"]["selfLink"] = "/x".into();
    presumptuous["metadata"]["generation"] = 7.into();
    presumptuous["status"] = json!({"phase": "Bound"});
    let made = server.create(&presumptuous).await;
    let metadata = &made["metadata"];
    assert_ne!(metadata["uid"], presumptuous["metadata"]["uid"]);
    assert_eq!(metadata["creationTimestamp"], "2026-01-01T00:00:00Z");
    for absent in ["deletionTimestamp", "selfLink", "generation", "managedFields"] {
        assert_eq!(metadata[absent], Value::Null, "{absent}");
    }
    assert_eq!(made["status"]["phase"], "Pending");
}

#[tokio::test(start_paused = true)]
async fn a_new_object_has_no_version_to_give_26() {
    let mut versioned = claim("data");
    versioned["metadata"]["resourceVersion"] = "5".into();
    let message = Server::new().post(CLAIMS, &versioned).await.refusal(400, "BadRequest");
    assert_eq!(message, "resourceVersion should not be set on objects to be created");
}

#[tokio::test(start_paused = true)]
async fn a_body_of_another_group_is_refused_30() {
    let server = Server::new();
    let mut other = claim("data");
    other["apiVersion"] = "apps/v1".into();
    let message = server.post(CLAIMS, &other).await.refusal(400, "BadRequest");
    assert_eq!(
        message,
        "the API version in the data (apps/v1) does not match the expected API version (v1)"
    );
    let message = server.post(CLAIMS, &volume("pv")).await.refusal(400, "BadRequest");
    assert!(
        message.starts_with(
            "PersistentVolume in version \"v1\" cannot be handled as a PersistentVolumeClaim: "
        ),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn repeated_owners_are_dropped_with_a_warning() {
    let server = Server::new();
    let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"});
    let mut owned = config_map("a");
    owned["metadata"]["ownerReferences"] = json!([owner, owner]);
    let answer = server.post(CONFIG_MAPS, &owned).await;
    assert_eq!(answer.ok()["metadata"]["ownerReferences"], json!([owner]));
    assert!(answer.header("warning").starts_with("299 - \".metadata.ownerReferences contains"));
}
