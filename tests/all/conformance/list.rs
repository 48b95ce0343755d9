//! Lists, pages and selectors.

use serde_json::{Value, json};

use super::client::*;

fn names(list: &Value) -> Vec<String> {
    let name = |item: &Value| item["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    list["items"].as_array().expect("items").iter().map(name).collect()
}

async fn maps(server: &Server, names: &[&str]) {
    for name in names {
        server.create(&config_map(name)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_is_no_null_78() {
    let list = Server::new().get("/api/v1/namespaces/nowhere/pods").await.ok();
    assert_eq!((&list["kind"], &list["items"]), (&"PodList".into(), &json!([])));
    assert!(version_of(&list) > 0);
}

#[tokio::test(start_paused = true)]
async fn pages_come_from_one_snapshot_79() {
    let server = Server::new();
    maps(&server, &["a", "b", "c", "d", "e"]).await;
    let mut path = format!("{CONFIG_MAPS}?limit=2");
    let mut pages = Vec::new();
    loop {
        let page = server.get(&path).await.ok();
        let metadata = page["metadata"].clone();
        pages.push((
            names(&page).concat(),
            metadata["remainingItemCount"].clone(),
            version_of(&page),
        ));
        server.create(&config_map(&format!("x{}", pages.len()))).await;
        match metadata["continue"].as_str() {
            Some(token) => path = format!("{CONFIG_MAPS}?limit=2&continue={token}"),
            None => break,
        }
    }
    let version = pages[0].2;
    assert_eq!(
        pages,
        [
            ("ab".to_owned(), json!(3), version),
            ("cd".to_owned(), json!(1), version),
            ("e".to_owned(), Value::Null, version),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_comes_and_goes_during_paging_is_not_in_later_pages_80() {
    let server = Server::new();
    maps(&server, &["a", "b", "d", "f"]).await;
    let first = server.get(&format!("{CONFIG_MAPS}?limit=2")).await.ok();
    maps(&server, &["c", "e"]).await;
    server.delete(&format!("{CONFIG_MAPS}/d")).await.ok();
    server.patch("merge", &format!("{CONFIG_MAPS}/f"), &json!({"data": {"a": "9"}})).await.ok();
    let token = first["metadata"]["continue"].as_str().expect("more");
    let second = server.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await.ok();
    assert_eq!(names(&second), ["d", "f"]);
    assert_eq!(second["items"][1]["data"]["a"], "1");
}

#[tokio::test(start_paused = true)]
async fn a_page_of_a_forgotten_snapshot_expires_with_a_way_on_81() {
    let server = Server::new();
    maps(&server, &["a", "b", "c"]).await;
    let first = server.get(&format!("{CONFIG_MAPS}?limit=2")).await.ok();
    let token = first["metadata"]["continue"].as_str().expect("more").to_owned();
    maps(&server, &["d"]).await;
    server.embedded.compact(server.embedded.revision());
    let answer = server.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await;
    let message = answer.refusal(410, "Expired");
    assert!(
        message.starts_with(
            "The provided continue parameter is too old to display a consistent list result."
        ),
        "{message}"
    );
    let rest = answer.json()["metadata"]["continue"].as_str().expect("a token").to_owned();
    let rest = server.get(&format!("{CONFIG_MAPS}?limit=5&continue={rest}")).await.ok();
    assert_eq!(names(&rest), ["c", "d"]);
    server.get(&format!("{CONFIG_MAPS}?continue=z9h")).await.refusal(400, "BadRequest");
}

#[tokio::test(start_paused = true)]
async fn any_state_is_listed_complete_82() {
    let server = Server::new();
    maps(&server, &["a", "b", "c"]).await;
    let list = server.get(&format!("{CONFIG_MAPS}?limit=1&resourceVersion=0")).await.ok();
    assert_eq!(names(&list), ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn an_exact_version_is_that_state_or_expired_83() {
    let server = Server::new();
    maps(&server, &["a"]).await;
    let version = server.embedded.revision();
    maps(&server, &["b"]).await;
    let path = format!("{CONFIG_MAPS}?resourceVersion={version}&resourceVersionMatch=Exact");
    let list = server.get(&path).await.ok();
    assert_eq!((names(&list), version_of(&list)), (vec!["a".to_owned()], version));
    let newer =
        format!("{CONFIG_MAPS}?resourceVersion={version}&resourceVersionMatch=NotOlderThan");
    assert_eq!(names(&server.get(&newer).await.ok()), ["a", "b"]);
    // The old rule: with a limit, a version means exactly it.
    let old = format!("{CONFIG_MAPS}?resourceVersion={version}&limit=5");
    assert_eq!(names(&server.get(&old).await.ok()), ["a"]);
    server.embedded.compact(version + 1);
    let message = server.get(&path).await.refusal(410, "Expired");
    assert_eq!(message, "The resourceVersion for the provided list is too old.");
}

#[tokio::test(start_paused = true)]
async fn a_version_of_the_future_is_waited_for_and_then_refused_84() {
    let server = Server::new();
    let now = server.embedded.revision();
    let path = format!("{CONFIG_MAPS}?resourceVersion=99999&resourceVersionMatch=NotOlderThan");
    let (answer, ()) = tokio::join!(server.get(&path), async {
        server.clock.idle().await;
        server.clock.advance(std::time::Duration::from_secs(3)).await;
    });
    assert_eq!(
        answer.refusal(504, "Timeout"),
        format!("Timeout: Too large resource version: 99999, current: {now}")
    );
    assert_eq!(answer.json()["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    assert_eq!(answer.header("retry-after"), "1");
    let soon = format!("{CONFIG_MAPS}?resourceVersion={}", now + 1);
    let map = config_map("a");
    let (list, _) = tokio::join!(server.get(&soon), server.create(&map));
    assert_eq!(names(&list.ok()), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn every_operator_of_label_selectors_selects_85() {
    let server = Server::new();
    for (name, labels) in
        [("a", json!({"x": "1"})), ("b", json!({"x": "2", "y": "1"})), ("c", json!({}))]
    {
        let mut map = config_map(name);
        map["metadata"]["labels"] = labels;
        server.create(&map).await;
    }
    for (selector, expected) in [
        ("x=1", "a"),
        ("x==1", "a"),
        ("x!=1", "bc"),
        ("x in (1,2)", "ab"),
        ("x notin (1)", "bc"),
        ("x", "ab"),
        ("!x", "c"),
        ("x>1", "b"),
        ("x<2", "a"),
        ("x,!y", "a"),
        ("x in (1,2),y=1", "b"),
    ] {
        let query: String = form_urlencoded::byte_serialize(selector.as_bytes()).collect();
        let list = server.get(&format!("{CONFIG_MAPS}?labelSelector={query}")).await.ok();
        assert_eq!(names(&list).concat(), expected, "{selector}");
    }
    let message = server
        .get(&format!("{CLAIMS}?labelSelector=a%20nearby%20b"))
        .await
        .refusal(400, "BadRequest");
    assert_eq!(
        message,
        "unable to parse requirement: found 'nearby', expected: in, notin, =, ==, !=, gt, lt"
    );
}

#[tokio::test(start_paused = true)]
async fn fields_select_where_a_kind_has_them_86() {
    let server = Server::new();
    for (name, node) in [("a", "n1"), ("b", "n2"), ("c", "")] {
        let mut pod = pod(name);
        if !node.is_empty() {
            pod["spec"]["nodeName"] = node.into();
        }
        server.create(&pod).await;
    }
    for (selector, expected) in [
        ("metadata.name=b", "b"),
        ("metadata.namespace=default", "abc"),
        ("spec.nodeName=n1", "a"),
        ("spec.nodeName!=n1", "bc"),
        ("spec.nodeName=", "c"),
        ("spec.nodeName==n2,status.phase=Pending", "b"),
        ("status.phase!=Succeeded,status.phase!=Failed", "abc"),
    ] {
        let query: String = form_urlencoded::byte_serialize(selector.as_bytes()).collect();
        let list = server.get(&format!("{PODS}?fieldSelector={query}")).await.ok();
        assert_eq!(names(&list).concat(), expected, "{selector}");
    }
    assert_eq!(
        server
            .get(&format!("{CLAIMS}?fieldSelector=spec.size%3D1"))
            .await
            .refusal(400, "BadRequest"),
        "\"spec.size\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
    );
    assert_eq!(
        server.get(&format!("{PODS}?fieldSelector=spec.size%3D1")).await.refusal(400, "BadRequest"),
        "field label not supported: spec.size"
    );
}

#[tokio::test(start_paused = true)]
async fn a_list_of_all_namespaces_is_ordered_87() {
    let server = Server::new();
    for (namespace, name) in
        [("kube-system", "b"), ("default", "z"), ("default", "a"), ("kube-public", "c")]
    {
        let mut map = config_map(name);
        map["metadata"]["namespace"] = namespace.into();
        server.create(&map).await;
    }
    let list = server.get("/api/v1/configmaps").await.ok();
    assert_eq!(names(&list), ["a", "z", "c", "b", "extension-apiserver-authentication"]);
    let page = server.get("/api/v1/configmaps?limit=3").await.ok();
    let token = page["metadata"]["continue"].as_str().expect("more");
    let rest = server.get(&format!("/api/v1/configmaps?limit=3&continue={token}")).await.ok();
    assert_eq!(names(&rest), ["b", "extension-apiserver-authentication"]);
}

#[tokio::test(start_paused = true)]
async fn options_that_do_not_go_together_are_refused() {
    let server = Server::new();
    let prefix = "ListOptions.meta.k8s.io \"\" is invalid: ";
    for (query, why) in [
        (
            "resourceVersionMatch=Exact",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (
            "resourceVersionMatch=Exact&resourceVersion=0",
            "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
        ),
        (
            "resourceVersionMatch=Exact&continue=x",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
        ),
        (
            "sendInitialEvents=true",
            "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list",
        ),
    ] {
        let message = server.get(&format!("{CLAIMS}?{query}")).await.refusal(422, "Invalid");
        assert_eq!(message, format!("{prefix}{why}"), "{query}");
    }
    let limit = server.get(&format!("{CLAIMS}?limit=many")).await.refusal(400, "BadRequest");
    assert_eq!(limit, "strconv.ParseInt: parsing \"many\": invalid syntax");
    server.get(&format!("{CLAIMS}?resourceVersion=abc")).await.refusal(400, "BadRequest");
}
