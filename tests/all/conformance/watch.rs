//! Watches and streaming lists.

use std::time::Duration;

use serde_json::{Value, json};

use super::client::*;

fn watch_path(query: &str) -> String {
    format!("{CONFIG_MAPS}?watch=true&{query}")
}

async fn relabel(server: &Server, name: &str, labels: Value) -> Value {
    let patch = json!({"metadata": {"labels": labels}});
    server.patch("merge", &format!("{CONFIG_MAPS}/{name}"), &patch).await.ok()
}

/// Every watch of the checks below keeps these promises: versions rise, and no
/// change is sent twice.
#[track_caller]
fn keeps_order(events: &[Value]) {
    let versions: Vec<_> = events.iter().map(|event| version_of(&event["object"])).collect();
    assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_or_doubled_beside_a_writer_88() {
    let server = std::sync::Arc::new(Server::new());
    let writer = tokio::spawn({
        let server = server.clone();
        async move {
            for number in 0..300 {
                server.create(&config_map(&format!("m{number}"))).await;
                tokio::task::yield_now().await;
            }
        }
    });
    let list = loop {
        let list = server.get(CONFIG_MAPS).await.ok();
        if list["items"].as_array().is_some_and(|items| items.len() > 20) {
            break list;
        }
        tokio::task::yield_now().await;
    };
    let listed = list["items"].as_array().expect("items").len();
    let mut watch =
        server.watch(&watch_path(&format!("resourceVersion={}", version_of(&list)))).await;
    let mut events = Vec::new();
    while listed + events.len() < 300 {
        events.push(watch.next().await.expect("an event"));
    }
    writer.await.expect("no panic");
    keeps_order(&events);
    let last = events.last().map_or(0, |event| version_of(&event["object"]));
    assert!(events.is_empty() || last == server.embedded.revision());
}

#[tokio::test(start_paused = true)]
async fn without_a_version_everything_present_comes_first_89() {
    let server = Server::new();
    server.create(&config_map("b")).await;
    server.create(&config_map("a")).await;
    for query in ["", "resourceVersion=0"] {
        let mut watch = server.watch(&watch_path(query)).await;
        let mut present: Vec<String> = Vec::new();
        for event in watch.drain().await {
            assert_eq!(
                (&event["type"], &event["object"]["kind"]),
                (&"ADDED".into(), &"ConfigMap".into())
            );
            present.push(event["object"]["metadata"]["name"].to_string());
        }
        assert_eq!(present, ["\"a\"", "\"b\""]);
        let changed = relabel(&server, "a", json!({"q": query.len().to_string()})).await;
        assert_eq!(watch.short().await, format!("MODIFIED a@{}", version_of(&changed)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_version_is_an_error_in_the_stream_90() {
    let server = Server::new();
    for name in ["a", "b"] {
        server.create(&config_map(name)).await;
    }
    let oldest = server.embedded.revision() - 1;
    server.embedded.compact(oldest);
    let mut watch = server.watch(&watch_path("resourceVersion=3")).await;
    assert_eq!(watch.code, 200);
    let event = watch.next().await.expect("an event");
    assert_eq!(
        event,
        json!({"type": "ERROR", "object": {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": format!("too old resource version: 3 ({oldest})"), "reason": "Expired", "code": 410,
        }})
    );
    assert_eq!(watch.next().await, None);
    let mut resumed = server.watch(&watch_path(&format!("resourceVersion={oldest}"))).await;
    assert_eq!(resumed.short().await, format!("ADDED b@{}", oldest + 1));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_none_is_refused_without_a_stream_91() {
    let message =
        Server::new().get(&watch_path("resourceVersion=abc")).await.refusal(400, "BadRequest");
    assert!(message.starts_with("resourceVersion: Invalid value: \"abc\""), "{message}");
}

#[tokio::test(start_paused = true)]
async fn the_headers_come_before_any_event_92() {
    let server = Server::new();
    let mut watch = server.watch("/api/v1/nodes?watch=true&resourceVersion=0").await;
    assert_eq!(
        (watch.code, watch.headers["content-type"].to_str().ok()),
        (200, Some("application/json"))
    );
    assert!(watch.drain().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_cleanly_at_its_time_93() {
    let server = Server::new();
    let mut watch = server.watch(&watch_path("timeoutSeconds=2&resourceVersion=0")).await;
    server.clock.advance(Duration::from_millis(1900)).await;
    assert!(watch.drain().await.is_empty());
    server.clock.advance(Duration::from_millis(100)).await;
    assert_eq!(watch.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn bookmarks_come_each_minute_and_before_the_end_to_those_who_ask_94() {
    let server = Server::new();
    let now = server.embedded.revision();
    let mut asked = server
        .watch(&watch_path("allowWatchBookmarks=true&timeoutSeconds=100&resourceVersion=0"))
        .await;
    let mut not_asked = server.watch(&watch_path("timeoutSeconds=100&resourceVersion=0")).await;
    assert!(asked.drain().await.is_empty());
    let other = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}});
    server.create(&other).await;
    for seconds in [60, 38] {
        server.clock.advance(Duration::from_secs(seconds)).await;
        let bookmarks = asked.drain().await;
        // It covers what happened to other kinds.
        let metadata = json!({"resourceVersion": (now + 1).to_string()});
        let object = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata});
        assert_eq!(bookmarks, [json!({"type": "BOOKMARK", "object": object})]);
    }
    server.clock.advance(Duration::from_secs(2)).await;
    assert_eq!(asked.next().await, None);
    assert_eq!(not_asked.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_carries_the_last_state_and_a_newer_version_95() {
    let server = Server::new();
    let made = server.create(&config_map("a")).await;
    let mut watch =
        server.watch(&watch_path(&format!("resourceVersion={}", version_of(&made)))).await;
    server.delete(&path_of(&made)).await.ok();
    let event = watch.next().await.expect("an event");
    assert_eq!(event["type"], "DELETED");
    assert_eq!(event["object"]["data"], made["data"]);
    assert_eq!(version_of(&event["object"]), server.embedded.revision());
    assert!(version_of(&event["object"]) > version_of(&made));
}

#[tokio::test(start_paused = true)]
async fn objects_enter_and_leave_a_selector_96() {
    let server = Server::new();
    let made = server.create(&config_map("a")).await;
    let query = format!("labelSelector=x%3D1&resourceVersion={}", version_of(&made));
    let mut watch = server.watch(&watch_path(&query)).await;
    relabel(&server, "a", json!({"y": "2"})).await;
    let entered = relabel(&server, "a", json!({"x": "1"})).await;
    let inside = relabel(&server, "a", json!({"y": "3"})).await;
    let left = relabel(&server, "a", json!({"x": "2"})).await;
    relabel(&server, "a", json!({"y": "4"})).await;
    let events = watch.drain().await;
    let short: Vec<_> = events
        .iter()
        .map(|event| (event["type"].as_str().unwrap_or_default(), version_of(&event["object"])))
        .collect();
    assert_eq!(
        short,
        [
            ("ADDED", version_of(&entered)),
            ("MODIFIED", version_of(&inside)),
            ("DELETED", version_of(&left))
        ]
    );
    // The last state that matched, at the version of the change.
    assert_eq!(events[2]["object"]["metadata"]["labels"], json!({"x": "1", "y": "3"}));
}

#[tokio::test(start_paused = true)]
async fn one_object_can_be_watched_by_name_97() {
    let server = Server::new();
    server.create(&config_map("a")).await;
    let made = server.create(&config_map("b")).await;
    let mut watch =
        server.watch(&watch_path("fieldSelector=metadata.name%3Db&resourceVersion=0")).await;
    assert_eq!(watch.short().await, format!("ADDED b@{}", version_of(&made)));
    relabel(&server, "a", json!({"x": "1"})).await;
    let changed = relabel(&server, "b", json!({"x": "1"})).await;
    assert_eq!(watch.short().await, format!("MODIFIED b@{}", version_of(&changed)));
    assert!(watch.drain().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_sleeps_too_long_is_cut_off_and_can_resume_98() {
    let server = Server::with(|options| options.retention_bytes = 20_000);
    let mut watch = server.watch(&watch_path("resourceVersion=0")).await;
    assert!(watch.drain().await.is_empty());
    for number in 0..200 {
        server.create(&config_map(&format!("m{number}"))).await;
        server.delete(&format!("{CONFIG_MAPS}/m{number}")).await.ok();
    }
    let event = watch.next().await.expect("an event");
    assert_eq!((&event["type"], &event["object"]["code"]), (&"ERROR".into(), &410.into()));
    assert_eq!(watch.next().await, None);
    let list = server.get(CONFIG_MAPS).await.ok();
    let mut again =
        server.watch(&watch_path(&format!("resourceVersion={}", version_of(&list)))).await;
    let made = server.create(&config_map("new")).await;
    assert_eq!(again.short().await, format!("ADDED new@{}", version_of(&made)));
}

#[tokio::test(start_paused = true)]
async fn one_commit_reaches_five_hundred_watches_99() {
    let server = Server::new();
    let mut watches = Vec::new();
    for _ in 0..500 {
        watches.push(server.watch(&watch_path("resourceVersion=0")).await);
    }
    let made = server.create(&config_map("a")).await;
    for watch in &mut watches {
        assert_eq!(watch.short().await, format!("ADDED a@{}", version_of(&made)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_returns_is_seen_going_and_coming_100() {
    let server = Server::new();
    let first = server.create(&config_map("a")).await;
    server.delete(&path_of(&first)).await.ok();
    let second = server.create(&config_map("a")).await;
    let mut watch =
        server.watch(&watch_path(&format!("resourceVersion={}", version_of(&first)))).await;
    assert_eq!(watch.short().await, format!("DELETED a@{}", version_of(&second) - 1));
    assert_eq!(watch.short().await, format!("ADDED a@{}", version_of(&second)));
}

const STREAMING: &str =
    "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";

#[tokio::test(start_paused = true)]
async fn a_streaming_list_ends_with_a_bookmark_to_resume_from_101() {
    let server = Server::new();
    for name in ["a", "b"] {
        server.create(&config_map(name)).await;
    }
    let versions = ["", "&resourceVersion=", "&resourceVersion=0", "&resourceVersion=3"];
    for (round, version) in versions.into_iter().enumerate() {
        let mut watch = server.watch(&watch_path(&format!("{STREAMING}{version}"))).await;
        let events = watch.drain().await;
        let types: Vec<_> =
            events.iter().map(|event| event["type"].as_str().unwrap_or_default()).collect();
        assert_eq!(types, ["ADDED", "ADDED", "BOOKMARK"], "{version}");
        let end = &events[2]["object"];
        assert_eq!(end["metadata"]["annotations"], json!({"k8s.io/initial-events-end": "true"}));
        assert_eq!(
            (&end["kind"], version_of(end)),
            (&"ConfigMap".into(), server.embedded.revision())
        );
        let changed = relabel(&server, "a", json!({"round": round.to_string()})).await;
        let expected = format!("MODIFIED a@{}", version_of(&changed));
        assert_eq!(watch.short().await, expected);
        let mut resumed =
            server.watch(&watch_path(&format!("resourceVersion={}", version_of(end)))).await;
        assert_eq!(resumed.short().await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_streaming_list_of_the_future_fails_in_the_stream() {
    let server = Server::new();
    let path = watch_path(&format!("{STREAMING}&resourceVersion=9999"));
    let (mut watch, ()) = tokio::join!(server.watch(&path), async {
        server.clock.idle().await;
        server.clock.advance(Duration::from_secs(3)).await;
    });
    let event = watch.next().await.expect("an event");
    assert_eq!(
        (watch.code, &event["type"], &event["object"]["code"]),
        (200, &"ERROR".into(), &504.into())
    );
    assert_eq!(watch.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn streaming_lists_need_their_match_102() {
    let server = Server::new();
    for (query, why) in [
        (
            "sendInitialEvents=true",
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        (
            "resourceVersionMatch=NotOlderThan",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
        (
            "sendInitialEvents=true&resourceVersionMatch=Exact",
            "[resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan, resourceVersionMatch: Unsupported value: \"Exact\": supported values: \"NotOlderThan\"]",
        ),
    ] {
        let message = server.get(&watch_path(query)).await.refusal(422, "Invalid");
        assert_eq!(message, format!("ListOptions.meta.k8s.io \"\" is invalid: {why}"), "{query}");
    }
    server.get(&format!("{CONFIG_MAPS}?{STREAMING}")).await.refusal(422, "Invalid");
}

#[tokio::test(start_paused = true)]
async fn an_empty_kind_s_streaming_list_ends_at_once_103() {
    let server = Server::new();
    let mut watch = server.watch(&format!("/api/v1/nodes?watch=1&{STREAMING}")).await;
    let events = watch.drain().await;
    assert_eq!(events.len(), 1);
    assert_eq!(
        (&events[0]["type"], &events[0]["object"]["kind"]),
        (&"BOOKMARK".into(), &"Node".into())
    );
}

#[tokio::test(start_paused = true)]
async fn initial_events_can_be_declined_104() {
    let server = Server::new();
    server.create(&config_map("a")).await;
    let query =
        "sendInitialEvents=false&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = server.watch(&watch_path(query)).await;
    assert!(watch.drain().await.is_empty());
    let made = server.create(&config_map("b")).await;
    assert_eq!(watch.short().await, format!("ADDED b@{}", version_of(&made)));
}
