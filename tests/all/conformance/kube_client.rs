//! The cluster behind a `kube::Client`, as the rest of the program has it.

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher;
use serde_json::json;

use super::client::*;

fn client(server: &Server) -> kube::Client {
    kube::Client::new(server.embedded.base(), "default")
}

#[tokio::test(start_paused = true)]
async fn a_typed_client_creates_reads_patches_lists_and_deletes() {
    let server = Server::new();
    let maps: Api<ConfigMap> = Api::default_namespaced(client(&server));
    let map: ConfigMap = serde_json::from_value(config_map("a")).expect("a map");
    let made = maps.create(&PostParams::default(), &map).await.expect("created");
    let patch = Patch::Merge(json!({"data": {"b": "2"}}));
    let patched = maps.patch("a", &PatchParams::default(), &patch).await.expect("patched");
    assert_ne!(patched.metadata.resource_version, made.metadata.resource_version);
    assert_eq!(maps.list(&ListParams::default()).await.expect("a list").items, [patched]);
    maps.delete("a", &DeleteParams::default()).await.expect("deleted");
    assert!(maps.get_opt("a").await.expect("an answer").is_none());
}

#[tokio::test(start_paused = true)]
async fn watchers_of_both_kinds_see_what_is_there_and_what_comes() {
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let server = Server::new();
        server.create(&config_map("a")).await;
        let maps: Api<ConfigMap> = Api::default_namespaced(client(&server));
        let mut events = watcher(maps, config).boxed();
        let mut seen = Vec::new();
        while seen.len() < 3 {
            seen.push(match events.try_next().await.expect("no error").expect("no end") {
                watcher::Event::Init => "init".to_owned(),
                watcher::Event::InitApply(map) => map.metadata.name.unwrap_or_default(),
                watcher::Event::InitDone => "done".to_owned(),
                other => format!("{other:?}"),
            });
        }
        assert_eq!(seen, ["init", "a", "done"]);
        server.create(&config_map("b")).await;
        let next = events.try_next().await.expect("no error").expect("no end");
        assert!(
            matches!(next, watcher::Event::Apply(map) if map.metadata.name.as_deref() == Some("b"))
        );
    }
}
