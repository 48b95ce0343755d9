//! The three kinds of patches.

use serde_json::{Value, json};

use super::client::*;

async fn map_with(server: &Server, data: &Value) -> String {
    let mut map = config_map("a");
    map["data"] = data.clone();
    path_of(&server.create(&map).await)
}

#[tokio::test(start_paused = true)]
async fn a_json_patch_succeeds_whole_or_not_at_all_44() {
    let server = Server::new();
    let path = map_with(&server, &json!({"a": "1"})).await;
    let patch = json!([
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "add", "path": "/data/b", "value": "2"},
    ]);
    assert_eq!(server.patch("json", &path, &patch).await.ok()["data"], json!({"a": "1", "b": "2"}));
    for bad in [
        json!([{"op": "replace", "path": "/data/a", "value": "9"}, {"op": "test", "path": "/data/a", "value": "0"}]),
        json!([{"op": "remove", "path": "/data/none"}]),
    ] {
        let message = server.patch("json", &path, &bad).await.refusal(422, "Invalid");
        assert_eq!(message, "the server rejected our request due to an error in our request");
    }
    assert_eq!(server.get(&path).await.ok()["data"], json!({"a": "1", "b": "2"}));
    let many = Value::from(vec![json!({"op": "test", "path": "/data/a", "value": "1"}); 10_001]);
    let message = server.patch("json", &path, &many).await.refusal(413, "RequestEntityTooLarge");
    assert!(message.ends_with("is 10000, got 10001"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_merge_patch_deletes_by_null_and_replaces_lists_45() {
    let server = Server::new();
    let path = map_with(&server, &json!({"a": "1", "b": "2", "c": "3"})).await;
    let patch = json!({"data": {"a": null, "d": "4"}});
    let data = server.patch("merge", &path, &patch).await.ok()["data"].clone();
    assert_eq!(data, json!({"b": "2", "c": "3", "d": "4"}));
    server.create(&volume("pv")).await;
    let patch = json!({"spec": {"accessModes": ["ReadWriteMany"]}});
    let pv = server.patch("merge", &format!("{VOLUMES}/pv"), &patch).await.ok();
    assert_eq!(pv["spec"]["accessModes"], json!(["ReadWriteMany"]));
}

#[tokio::test(start_paused = true)]
async fn containers_and_their_variables_merge_by_name_46() {
    let server = Server::new();
    let mut set = stateful_set("s");
    set["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "X", "value": "1"}]);
    server.create(&set).await;
    let containers = json!([
        {"name": "c", "env": [{"name": "Y", "value": "2"}]},
        {"name": "d", "image": "j"},
    ]);
    let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    let set = server.patch("strategic-merge", &format!("{SETS}/s"), &patch).await.ok();
    let containers =
        set["spec"]["template"]["spec"]["containers"].as_array().expect("a list").clone();
    let names: Vec<_> = containers.iter().map(|c| c["name"].as_str().unwrap_or_default()).collect();
    assert_eq!(names, ["c", "d"]);
    assert_eq!(containers[0]["image"], "i");
    let env: Vec<_> =
        containers[0]["env"].as_array().expect("env").iter().map(|e| e["name"].as_str()).collect();
    assert_eq!(env, [Some("Y"), Some("X")]);
    assert_eq!(set["metadata"]["generation"], 2);
}

#[tokio::test(start_paused = true)]
async fn an_owner_is_deleted_by_uid_47() {
    let server = Server::new();
    let owner = |uid: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid});
    let mut owned = config_map("a");
    owned["metadata"]["ownerReferences"] = json!([owner("one"), owner("two")]);
    let owned = server.create(&owned).await;
    let patch = json!({"metadata": {
        "uid": owned["metadata"]["uid"],
        "ownerReferences": [{"$patch": "delete", "uid": "one"}],
    }});
    let left = server.patch("strategic-merge", &path_of(&owned), &patch).await.ok();
    assert_eq!(left["metadata"]["ownerReferences"], json!([owner("two")]));
    let mut wrong = patch;
    wrong["metadata"]["uid"] = "11111111-1111-1111-1111-111111111111".into();
    server.patch("strategic-merge", &path_of(&owned), &wrong).await.refusal(409, "Conflict");
}

#[tokio::test(start_paused = true)]
async fn directives_order_delete_retain_and_replace_48() {
    let server = Server::new();
    let mut set = stateful_set("s");
    set["spec"]["template"]["spec"]["containers"] =
        json!([{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]);
    set["spec"]["template"]["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
    set["metadata"]["finalizers"] = json!(["x.example.com/one", "x.example.com/two"]);
    server.create(&set).await;
    let path = format!("{SETS}/s");
    let template = |spec: Value| json!({"spec": {"template": {"spec": spec}}});
    let names = |set: &Value| -> Vec<String> {
        let containers = set["spec"]["template"]["spec"]["containers"].as_array().cloned();
        let name = |c: &Value| c["name"].as_str().unwrap_or_default().to_owned();
        containers.unwrap_or_default().iter().map(name).collect()
    };
    let order = template(json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}));
    let set = server.patch("strategic-merge", &path, &order).await.ok();
    assert_eq!(names(&set), ["b", "a"]);
    let delete =
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["x.example.com/one"]}});
    let set = server.patch("strategic-merge", &path, &delete).await.ok();
    assert_eq!(set["metadata"]["finalizers"], json!(["x.example.com/two"]));
    let retain = template(json!({"volumes": [
        {"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/d"}},
    ]}));
    let set = server.patch("strategic-merge", &path, &retain).await.ok();
    let volume = &set["spec"]["template"]["spec"]["volumes"][0];
    assert_eq!((&volume["hostPath"]["path"], &volume["emptyDir"]), (&"/d".into(), &Value::Null));
    let replace =
        template(json!({"containers": [{"$patch": "replace"}, {"name": "n", "image": "j"}]}));
    let set = server.patch("strategic-merge", &path, &replace).await.ok();
    assert_eq!(names(&set), ["n"]);
}

#[tokio::test(start_paused = true)]
async fn a_patch_of_a_stale_version_is_a_conflict_50() {
    let server = Server::new();
    let path = map_with(&server, &json!({"a": "1"})).await;
    let version = server.get(&path).await.ok()["metadata"]["resourceVersion"].clone();
    server.patch("merge", &path, &json!({"data": {"a": "2"}})).await.ok();
    let stale = json!({"metadata": {"resourceVersion": version}, "data": {"a": "3"}});
    for kind in ["merge", "strategic-merge"] {
        server.patch(kind, &path, &stale).await.refusal(409, "Conflict");
    }
    assert_eq!(
        server.patch("merge", &path, &json!({"data": {"a": "3"}})).await.ok()["data"]["a"],
        "3"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn patches_without_a_version_are_retried_by_the_server_50() {
    let server = std::sync::Arc::new(Server::new());
    let path = map_with(&server, &json!({})).await;
    let writers = (0..4).map(|writer| {
        let (server, path) = (server.clone(), path.clone());
        tokio::spawn(async move {
            for number in 0..50 {
                let mut patch = json!({"data": {}});
                patch["data"][format!("k{writer}-{number}")] = "x".into();
                server.patch("merge", &path, &patch).await.ok();
            }
        })
    });
    for writer in futures::future::join_all(writers).await {
        writer.expect("no panic");
    }
    let map = server.get(&path).await.ok();
    assert_eq!(map["data"].as_object().map(serde_json::Map::len), Some(200));
}

#[tokio::test(start_paused = true)]
async fn a_patch_of_unknown_type_is_refused_51() {
    let server = Server::new();
    let path = map_with(&server, &json!({})).await;
    let call = server.call("PATCH", &path).header("content-type", "application/x-patch").body("{}");
    call.send().await.refusal(415, "UnsupportedMediaType");
    // Applying needs ownership of fields, which is not kept here.
    let apply = server.call("PATCH", &path).header("content-type", "application/apply-patch+yaml");
    let message = apply.body("{}").send().await.refusal(415, "UnsupportedMediaType");
    assert!(message.contains("application/strategic-merge-patch+json"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_patch_of_nothing_is_refused_52() {
    let server = Server::new();
    for kind in ["merge", "strategic-merge"] {
        let answer = server.patch(kind, &format!("{CLAIMS}/none"), &json!({})).await;
        assert_eq!(answer.refusal(404, "NotFound"), "persistentvolumeclaims \"none\" not found");
    }
}

#[tokio::test(start_paused = true)]
async fn conditions_merge_by_type_53() {
    let server = Server::new();
    server.create(&pod("p")).await;
    let path = format!("{PODS}/p/status");
    let patch = |kind: &str, status: &str| json!({"status": {"conditions": [{"type": kind, "status": status}]}});
    server.patch("strategic-merge", &path, &patch("Ready", "False")).await.ok();
    server.patch("strategic-merge", &path, &patch("PodScheduled", "True")).await.ok();
    let pod = server.patch("strategic-merge", &path, &patch("Ready", "True")).await.ok();
    let held: Vec<_> = pod["status"]["conditions"]
        .as_array()
        .expect("conditions")
        .iter()
        .map(|c| (c["type"].as_str().unwrap_or_default(), c["status"].as_str().unwrap_or_default()))
        .collect();
    assert_eq!(held, [("PodScheduled", "True"), ("Ready", "True")]);
    assert_eq!(pod["metadata"]["generation"], 1);
}

#[tokio::test(start_paused = true)]
async fn what_kubectl_sends_for_small_edits_works_54() {
    let server = Server::new();
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}});
    server.create(&node).await;
    server.create(&stateful_set("s")).await;
    let set = format!("{SETS}/s");
    let image = json!([{"name": "c", "image": "j"}]);
    let image = json!({"spec": {"template": {"spec": {
        "$setElementOrder/containers": [{"name": "c"}], "containers": image,
    }}}});
    let taints = json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
    for (kind, path, patch, pointer, expected) in [
        (
            "merge",
            set.as_str(),
            json!({"metadata": {"labels": {"x": "y"}}}),
            "/metadata/labels/x",
            json!("y"),
        ),
        (
            "merge",
            &set,
            json!({"metadata": {"annotations": {"x": "y"}}}),
            "/metadata/annotations/x",
            json!("y"),
        ),
        ("strategic-merge", "/api/v1/nodes/n", taints, "/spec/taints/0/key", json!("k")),
        (
            "strategic-merge",
            "/api/v1/nodes/n",
            json!({"spec": {"unschedulable": true}}),
            "/spec/unschedulable",
            json!(true),
        ),
        ("strategic-merge", &set, image, "/spec/template/spec/containers/0/image", json!("j")),
        (
            "merge",
            &format!("{set}/scale"),
            json!({"spec": {"replicas": 3}}),
            "/spec/replicas",
            json!(3),
        ),
    ] {
        let answer = server.patch(kind, path, &patch).await;
        assert_eq!(answer.ok().pointer(pointer), Some(&expected), "{path} {patch}");
    }
}

#[tokio::test(start_paused = true)]
async fn force_is_for_applying_only_55() {
    let server = Server::new();
    let path = map_with(&server, &json!({})).await;
    let message = server
        .patch("merge", &format!("{path}?force=true"), &json!({}))
        .await
        .refusal(422, "Invalid");
    assert_eq!(
        message,
        "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch"
    );
}

#[tokio::test(start_paused = true)]
async fn a_patch_cannot_move_an_object_or_make_it_senseless() {
    let server = Server::new();
    let path = map_with(&server, &json!({"a": "1"})).await;
    server
        .patch("merge", &path, &json!({"metadata": {"name": "b"}}))
        .await
        .refusal(400, "BadRequest");
    let patch = json!({"data": {"a": 5}});
    let message = server.patch("merge", &path, &patch).await.refusal(422, "Invalid");
    assert!(message.starts_with(" \"\" is invalid: patch: Invalid value: \""), "{message}");
}
