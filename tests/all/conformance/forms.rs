//! Discovery, tables and partial metadata, health and version.

use serde_json::{Value, json};

use super::client::*;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
    application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";

fn find<'a>(list: &'a Value, key: &str, name: &str) -> &'a Value {
    let items = list.as_array().expect("a list");
    items.iter().find(|item| item[key] == name).unwrap_or_else(|| panic!("no {name} in {list}"))
}

#[tokio::test(start_paused = true)]
async fn discovery_comes_aggregated_to_those_who_ask_106() {
    let server = Server::new();
    for (path, group, resource, kind) in [
        ("/api", None, "persistentvolumeclaims", "PersistentVolumeClaim"),
        ("/apis", Some("apps"), "statefulsets", "StatefulSet"),
    ] {
        let answer = server.call("GET", path).header("accept", AGGREGATED).send().await;
        assert_eq!(
            answer.header("content-type"),
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        );
        let document = answer.ok();
        assert_eq!(document["kind"], "APIGroupDiscoveryList");
        let items = &document["items"];
        let item = match group {
            Some(group) => {
                items.as_array().and_then(|i| i.iter().find(|i| i["metadata"]["name"] == group))
            }
            None => items.get(0),
        };
        let version = &item.expect("the group")["versions"][0];
        assert_eq!((&version["version"], &version["freshness"]), (&"v1".into(), &"Current".into()));
        let entry = find(&version["resources"], "resource", resource);
        assert_eq!(
            (&entry["scope"], &entry["responseKind"]["kind"]),
            (&"Namespaced".into(), &kind.into())
        );
        assert!(entry["verbs"].as_array().expect("verbs").contains(&"watch".into()));
        let status = find(&entry["subresources"], "subresource", "status");
        assert_eq!(status["verbs"], json!(["get", "patch", "update"]));
    }
    let older = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
    let answer = server.call("GET", "/apis").header("accept", older).send().await;
    assert_eq!(
        (answer.header("content-type"), &answer.ok()["apiVersion"]),
        (older, &"apidiscovery.k8s.io/v2beta1".into())
    );
}

#[tokio::test(start_paused = true)]
async fn the_old_discovery_is_complete_107() {
    let server = Server::new();
    assert_eq!(server.get("/api").await.ok()["versions"], json!(["v1"]));
    let groups = server.get("/apis").await.ok();
    let storage = find(&groups["groups"], "name", "storage.k8s.io");
    assert_eq!(
        storage["preferredVersion"],
        json!({"groupVersion": "storage.k8s.io/v1", "version": "v1"})
    );
    let group = server.get("/apis/storage.k8s.io").await.ok();
    assert_eq!((&group["kind"], &group["name"]), (&"APIGroup".into(), &"storage.k8s.io".into()));
    let core = server.get("/api/v1").await.ok();
    assert_eq!((&core["kind"], &core["groupVersion"]), (&"APIResourceList".into(), &"v1".into()));
    let pods = find(&core["resources"], "name", "pods");
    assert_eq!(
        pods,
        &json!({
            "name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod",
            "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
            "shortNames": ["po"], "categories": ["all"],
        })
    );
    let apps = server.get("/apis/apps/v1").await.ok();
    let scale = find(&apps["resources"], "name", "statefulsets/scale");
    assert_eq!((&scale["group"], &scale["kind"]), (&"autoscaling".into(), &"Scale".into()));
    for review in ["selfsubjectaccessreviews", "selfsubjectrulesreviews"] {
        let reviews = server.get("/apis/authorization.k8s.io/v1").await.ok();
        assert_eq!(find(&reviews["resources"], "name", review)["verbs"], json!(["create"]));
    }
    // Whatever is announced is there: every list answers.
    for group in groups["groups"].as_array().expect("groups") {
        let version = group["preferredVersion"]["groupVersion"].as_str().expect("a version");
        let resources = server.get(&format!("/apis/{version}")).await.ok();
        for resource in resources["resources"].as_array().expect("resources") {
            let verbs = resource["verbs"].as_array().expect("verbs");
            if verbs.contains(&"list".into()) {
                let name = resource["name"].as_str().expect("a name");
                server.get(&format!("/apis/{version}/{name}")).await.ok();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_known_document_is_not_sent_again_108() {
    let server = Server::new();
    for accept in [AGGREGATED, "application/json"] {
        let first = server.call("GET", "/apis").header("accept", accept).send().await;
        let tag = first.header("etag").to_owned();
        assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() > 10, "{tag}");
        let again =
            server.call("GET", "/apis").header("accept", accept).header("if-none-match", &tag);
        let again = again.send().await;
        assert_eq!((again.code, again.bytes.len()), (304, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn version_and_health_are_told_109() {
    let server = Server::new();
    let version = server.get("/version").await.ok();
    assert_eq!((&version["major"], &version["minor"]), (&"1".into(), &"36".into()));
    assert!(version["gitVersion"].as_str().is_some_and(|v| v.starts_with("v1.36.")));
    for path in ["/healthz", "/livez", "/readyz"] {
        let answer = server.get(path).await;
        assert_eq!((answer.code, answer.text().as_str()), (200, "ok"));
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        assert!(server.get(&format!("{path}?verbose")).await.text().contains("check passed"));
    }
    let paths = server.get("/").await.ok();
    assert!(paths["paths"].as_array().is_some_and(|paths| paths.contains(&"/apis/apps/v1".into())));
}

#[tokio::test(start_paused = true)]
async fn each_change_of_a_table_watch_is_a_row_115() {
    let server = Server::new();
    server.create(&claim("a")).await;
    let path = format!("{CLAIMS}?watch=true&resourceVersion=0&allowWatchBookmarks=true");
    let mut watch = server.call("GET", &path).header("accept", TABLE).watch().await;
    let first = watch.next().await.expect("an event");
    assert_eq!((&first["type"], &first["object"]["kind"]), (&"ADDED".into(), &"Table".into()));
    assert_eq!(first["object"]["columnDefinitions"][0]["name"], "Name");
    assert_eq!(first["object"]["rows"][0]["cells"][0], "a");
    let patch = json!({"metadata": {"labels": {"x": "y"}}});
    server.patch("merge", &format!("{CLAIMS}/a"), &patch).await.ok();
    let second = watch.next().await.expect("an event");
    assert_eq!(
        (&second["type"], &second["object"]["columnDefinitions"]),
        (&"MODIFIED".into(), &Value::Null)
    );
    assert_eq!(second["object"]["rows"][0]["object"]["metadata"]["labels"], json!({"x": "y"}));
    server.clock.advance(std::time::Duration::from_secs(60)).await;
    let bookmark = watch.next().await.expect("a bookmark");
    assert_eq!(
        (&bookmark["object"]["kind"], &bookmark["object"]["rows"]),
        (&"Table".into(), &json!([]))
    );
    assert_eq!(version_of(&bookmark["object"]), server.embedded.revision());
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_one_object_loses_nothing_115() {
    let server = Server::new();
    server.create(&claim("a")).await;
    let path = format!("{CLAIMS}?watch=true&fieldSelector=metadata.name%3Da");
    let mut watch = server.call("GET", &path).header("accept", TABLE).watch().await;
    for number in 0..5 {
        let patch = json!({"metadata": {"labels": {"x": number.to_string()}}});
        server.patch("merge", &format!("{CLAIMS}/a"), &patch).await.ok();
    }
    let rows: Vec<_> = watch.drain().await.iter().map(|e| version_of(&e["object"])).collect();
    assert_eq!(rows.len(), 6);
    assert!(rows.is_sorted());
}

#[tokio::test(start_paused = true)]
async fn a_table_s_rows_carry_what_was_asked_for() {
    let server = Server::new();
    let made = server.create(&config_map("a")).await;
    for (query, object) in [
        (
            "",
            json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": made["metadata"]}),
        ),
        ("&includeObject=None", Value::Null),
        ("&includeObject=Object", made.clone()),
    ] {
        let path = format!("{CONFIG_MAPS}?limit=500{query}");
        let table = server.call("GET", &path).header("accept", TABLE).send().await.ok();
        assert_eq!(
            (&table["kind"], &table["apiVersion"]),
            (&"Table".into(), &"meta.k8s.io/v1".into())
        );
        assert_eq!(version_of(&table), server.embedded.revision());
        assert_eq!(table["rows"][0]["object"], object, "{query}");
    }
    let missing = server.call("GET", &format!("{CONFIG_MAPS}/none")).header("accept", TABLE);
    missing.send().await.refusal(404, "NotFound");
}

#[tokio::test(start_paused = true)]
async fn metadata_alone_can_be_had_116() {
    let server = Server::new();
    let made = server.create(&claim("a")).await;
    let accept = |kind: &str| {
        format!(
            "application/vnd.kubernetes.protobuf;as={kind};g=meta.k8s.io;v=v1,application/json;as={kind};g=meta.k8s.io;v=v1,application/json"
        )
    };
    let partial = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": made["metadata"]});
    let one = server
        .call("GET", &format!("{CLAIMS}/a"))
        .header("accept", &accept("PartialObjectMetadata"));
    assert_eq!(one.send().await.ok(), partial);
    let list = server
        .call("GET", CLAIMS)
        .header("accept", &accept("PartialObjectMetadataList"))
        .send()
        .await
        .ok();
    assert_eq!(
        (&list["kind"], &list["items"]),
        (&"PartialObjectMetadataList".into(), &json!([partial]))
    );
    let path = format!("{CLAIMS}?watch=true");
    let mut watch =
        server.call("GET", &path).header("accept", &accept("PartialObjectMetadata")).watch().await;
    assert_eq!(watch.next().await, Some(json!({"type": "ADDED", "object": partial})));
    server
        .patch("merge", &format!("{CLAIMS}/a"), &json!({"metadata": {"finalizers": null}}))
        .await
        .ok();
    server.delete(&format!("{CLAIMS}/a")).await.ok();
    assert_eq!(watch.next().await.expect("an event")["type"], "MODIFIED");
    let gone = watch.next().await.expect("an event");
    assert_eq!(
        (&gone["type"], version_of(&gone["object"])),
        (&"DELETED".into(), server.embedded.revision())
    );
    assert_eq!(gone["object"]["spec"], Value::Null);
}
