//! Deletion.

use serde_json::{Value, json};

use super::client::*;

#[tokio::test(start_paused = true)]
async fn some_kinds_answer_a_deletion_with_a_status_68() {
    let server = Server::new();
    let set = server.create(&stateful_set("web")).await;
    let answer = server.delete(&path_of(&set)).await.ok();
    assert_eq!(
        answer,
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": {
                "name": "web", "group": "apps", "kind": "statefulsets", "uid": set["metadata"]["uid"],
            },
        })
    );
    let class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "local"},
        "provisioner": "kubernetes.io/no-provisioner",
    });
    let class = server.create(&class).await;
    let answer = server.delete(&path_of(&class)).await.ok();
    assert_eq!(
        (&answer["kind"], &answer["metadata"]["uid"]),
        (&"StorageClass".into(), &class["metadata"]["uid"])
    );
    assert_eq!(version_of(&answer), server.embedded.revision());
}

#[tokio::test(start_paused = true)]
async fn a_protected_claim_stays_until_its_finalizer_goes_69() {
    let server = Server::new();
    server.create(&claim("c")).await;
    let path = format!("{CLAIMS}/c");
    let marked = server.delete(&path).await.ok();
    assert_eq!(marked["metadata"]["deletionTimestamp"], "2026-01-01T00:00:00Z");
    assert_eq!(server.get(&path).await.ok(), marked);
    let patch = json!({"metadata": {"finalizers": null}});
    server.patch("merge", &path, &patch).await.ok();
    server.get(&path).await.refusal(404, "NotFound");
}

#[tokio::test(start_paused = true)]
async fn a_deletion_s_preconditions_must_hold_70() {
    let server = Server::new();
    let map = server.create(&config_map("a")).await;
    let uid = map["metadata"]["uid"].as_str().expect("a uid").to_owned();
    let version = version_of(&map);
    let with = |what: &str, value: &str| {
        let mut options = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
        options["preconditions"][what] = value.into();
        options
    };
    let path = path_of(&map);
    assert_eq!(
        server.delete_with(&path, &with("uid", "other")).await.refusal(409, "Conflict"),
        format!(
            "Operation cannot be fulfilled on ConfigMap \"a\": the UID in the precondition (other) does not match the \
             UID in record ({uid}). The object might have been deleted and then recreated"
        )
    );
    assert_eq!(
        server.delete_with(&path, &with("resourceVersion", "1")).await.refusal(409, "Conflict"),
        format!(
            "Operation cannot be fulfilled on ConfigMap \"a\": the ResourceVersion in the precondition (1) does not \
             match the ResourceVersion in record ({version}). The object might have been modified"
        )
    );
    server.delete_with(&path, &with("uid", &uid)).await.ok();
}

async fn scheduled_pod(server: &Server) -> String {
    let made = server.create(&pod("p")).await;
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "n"},
    });
    assert_eq!(server.post(&format!("{PODS}/p/binding"), &binding).await.code, 201);
    path_of(&made)
}

#[tokio::test(start_paused = true)]
async fn a_pod_on_a_node_has_its_grace_71() {
    let server = Server::new();
    let path = scheduled_pod(&server).await;
    let marked = server.delete(&path).await.ok();
    let metadata = &marked["metadata"];
    assert_eq!(metadata["deletionGracePeriodSeconds"], 30);
    assert_eq!(metadata["deletionTimestamp"], "2026-01-01T00:00:30Z");
    assert_eq!(metadata["generation"], 2);
    // A longer grace is ignored, a shorter one counts.
    let longer = server.delete_with(&path, &json!({"gracePeriodSeconds": 60})).await.ok();
    assert_eq!(longer, marked);
    let shorter = server.delete_with(&path, &json!({"gracePeriodSeconds": 5})).await.ok();
    assert_eq!(shorter["metadata"]["deletionTimestamp"], "2026-01-01T00:00:05Z");
    server.delete_with(&path, &json!({"gracePeriodSeconds": 0})).await.ok();
    server.get(&path).await.refusal(404, "NotFound");
}

#[tokio::test(start_paused = true)]
async fn a_pod_without_a_node_goes_at_once_71() {
    let server = Server::new();
    let made = server.create(&pod("p")).await;
    let mut watch =
        server.watch(&format!("{PODS}?watch=1&resourceVersion={}", version_of(&made))).await;
    let gone = server.delete(&path_of(&made)).await.ok();
    assert_eq!((&gone["kind"], &gone["metadata"]["generation"]), (&"Pod".into(), &2.into()));
    assert_eq!(gone["metadata"]["deletionGracePeriodSeconds"], 0);
    let events = watch.drain().await;
    let types: Vec<_> = events.iter().map(|event| event["type"].as_str()).collect();
    assert_eq!(types, [Some("MODIFIED"), Some("DELETED")]);
    assert_eq!(
        events[1]["object"]["metadata"]["resourceVersion"],
        gone["metadata"]["resourceVersion"]
    );
}

#[tokio::test(start_paused = true)]
async fn options_count_in_the_query_as_in_the_body_73() {
    let server = Server::new();
    let by_query = scheduled_pod(&server).await;
    let marked = server.delete(&format!("{by_query}?gracePeriodSeconds=7")).await.ok();
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 7);
    server.create(&config_map("a")).await;
    for options in
        ["propagationPolicy=Foreground", "propagationPolicy=Orphan", "orphanDependents=true"]
    {
        let map = server.create(&config_map("q")).await;
        let marked = server.delete(&format!("{}?{options}", path_of(&map))).await.ok();
        let finalizer =
            if options.ends_with("Foreground") { "foregroundDeletion" } else { "orphan" };
        assert_eq!(marked["metadata"]["finalizers"], json!([finalizer]), "{options}");
        let body = json!({"metadata": {"finalizers": null}});
        server.patch("merge", &path_of(&map), &body).await.ok();
    }
    let map = server.create(&config_map("b")).await;
    let marked =
        server.delete_with(&path_of(&map), &json!({"propagationPolicy": "Foreground"})).await;
    assert_eq!(marked.ok()["metadata"]["finalizers"], json!(["foregroundDeletion"]));
}

#[tokio::test(start_paused = true)]
async fn old_and_new_propagation_do_not_go_together_74() {
    let server = Server::new();
    let map = server.create(&config_map("a")).await;
    let both = json!({"propagationPolicy": "Foreground", "orphanDependents": true});
    assert_eq!(
        server.delete_with(&path_of(&map), &both).await.refusal(422, "Invalid"),
        "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Invalid value: \"Foreground\": orphanDependents \
         and deletionPropagation cannot be both set"
    );
    let unknown = json!({"propagationPolicy": "Sideways"});
    server.delete_with(&path_of(&map), &unknown).await.refusal(422, "Invalid");
}

#[tokio::test(start_paused = true)]
async fn a_collection_s_deletion_takes_only_what_matches_75() {
    let server = Server::new();
    for (name, label) in [("a", "x"), ("b", "y"), ("c", "x")] {
        let mut map = config_map(name);
        map["metadata"]["labels"] = json!({"l": label});
        server.create(&map).await;
    }
    let deleted = server.delete(&format!("{CONFIG_MAPS}?labelSelector=l%3Dx")).await.ok();
    assert_eq!(
        (&deleted["kind"], deleted["items"].as_array().map(Vec::len)),
        (&"ConfigMapList".into(), Some(2))
    );
    let left = server.get(CONFIG_MAPS).await.ok();
    assert_eq!(left["items"][0]["metadata"]["name"], "b");
    assert_eq!(left["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_second_deletion_finds_nothing_or_what_waits_77() {
    let server = Server::new();
    server.create(&claim("c")).await;
    server.create(&config_map("m")).await;
    let first = server.delete(&format!("{CLAIMS}/c")).await.ok();
    let second = server.delete(&format!("{CLAIMS}/c")).await;
    assert_eq!((second.code, second.json()), (200, first));
    server.delete(&format!("{CONFIG_MAPS}/m")).await.ok();
    server.delete(&format!("{CONFIG_MAPS}/m")).await.refusal(404, "NotFound");
}

#[tokio::test(start_paused = true)]
async fn the_first_namespaces_cannot_be_deleted() {
    let server = Server::new();
    let message = server.delete("/api/v1/namespaces/default").await.refusal(403, "Forbidden");
    assert_eq!(message, "namespaces \"default\" is forbidden: this namespace may not be deleted");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_answers_as_if_and_stores_nothing_113() {
    let server = Server::new();
    let made = server.create(&claim("c")).await;
    let map = server.create(&config_map("m")).await;
    let before = server.embedded.revision();
    let dry = server.post(&format!("{CONFIG_MAPS}?dryRun=All"), &config_map("new")).await;
    assert_eq!(dry.code, 201);
    assert_eq!(dry.json()["metadata"]["uid"].as_str().map(str::len), Some(36));
    assert_eq!(dry.json()["metadata"]["resourceVersion"], Value::Null);
    server
        .post(&format!("{CONFIG_MAPS}?dryRun=All"), &config_map("m"))
        .await
        .refusal(409, "AlreadyExists");
    let path = format!("{CONFIG_MAPS}/m?dryRun=All");
    let patched = server.patch("merge", &path, &json!({"data": {"a": "9"}})).await.ok();
    assert_eq!((&patched["data"]["a"], version_of(&patched)), (&"9".into(), version_of(&map)));
    assert_eq!(server.delete(&path).await.ok()["status"], "Success");
    let deleted = server.delete(&format!("{CLAIMS}/c?dryRun=All")).await.ok();
    assert!(deleted["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(version_of(&deleted), version_of(&made));
    assert_eq!(server.embedded.revision(), before);
    assert_eq!(server.get(&format!("{CLAIMS}/c")).await.ok(), made);
    assert_eq!(
        server
            .post(&format!("{CONFIG_MAPS}?dryRun=Some"), &config_map("x"))
            .await
            .refusal(422, "Invalid"),
        "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: \"Some\": supported values: \"All\""
    );
}
