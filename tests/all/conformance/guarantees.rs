//! What every watch promises, held against the history of a random run:
//! ordered, unique, reliable, filtered, resumable, bookmarkable.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use pvdeck::model::kind;
use serde_json::{Value, json};

use super::client::*;
use crate::bare_cluster;

/// One step of a run. Names, namespaces and labels come from small sets, so
/// that things happen to the same objects again and again.
#[derive(Debug, Clone)]
enum Step {
    Create {
        namespace: &'static str,
        name: &'static str,
        label: &'static str,
    },
    Relabel {
        namespace: &'static str,
        name: &'static str,
        label: &'static str,
    },
    Delete {
        namespace: &'static str,
        name: &'static str,
    },
    /// Opens a watch from now on.
    Open(Filter),
    /// Reads what a watch has; then leaves it open, or opens it anew from the
    /// last version it has seen.
    Read {
        watch: prop::sample::Index,
        anew: bool,
    },
}

/// What a watch selects.
#[derive(Debug, Clone, Copy)]
struct Filter {
    namespace: Option<&'static str>,
    label: Option<&'static str>,
    name: Option<&'static str>,
}

impl Filter {
    fn path(&self, version: u64) -> String {
        let collection = kind::CONFIG_MAP.collection_path(self.namespace);
        let mut path =
            format!("{collection}?watch=true&allowWatchBookmarks=true&resourceVersion={version}");
        if let Some(label) = self.label {
            path.push_str(&format!("&labelSelector=l%3D{label}"));
        }
        if let Some(name) = self.name {
            path.push_str(&format!("&fieldSelector=metadata.name%3D{name}"));
        }
        path
    }

    /// Simpler than the code it judges: it looks at whole objects.
    fn selects(&self, object: &Value) -> bool {
        let metadata = &object["metadata"];
        self.namespace.is_none_or(|namespace| metadata["namespace"] == namespace)
            && self.label.is_none_or(|label| metadata["labels"]["l"] == label)
            && self.name.is_none_or(|name| metadata["name"] == name)
    }
}

struct Open {
    filter: Filter,
    from: u64,
    /// Up to here everything has been seen.
    seen: u64,
    watch: Watch,
    events: Vec<Value>,
}

impl Open {
    async fn read(&mut self) {
        for event in self.watch.drain().await {
            let version = version_of(&event["object"]);
            let is_bookmark = event["type"] == "BOOKMARK";
            let in_order = if is_bookmark { version >= self.seen } else { version > self.seen };
            assert!(in_order, "ordered, unique: {version} after {}", self.seen);
            self.seen = version;
            if !is_bookmark {
                self.events.push(event);
            }
        }
    }
}

/// The events that a watch should have had, from the history of commits.
fn expected(server: &Server, filter: Filter, after: u64, up_to: u64) -> Vec<Value> {
    let mut events = Vec::new();
    for commit in server.embedded.commits_after(after) {
        if commit.kind != kind::CONFIG_MAP || commit.revision > up_to {
            continue;
        }
        let before = commit.object_before().filter(|object| filter.selects(object));
        let after = commit.object_after().filter(|object| filter.selects(object));
        let (kind, mut object) = match (before, after) {
            (None, Some(after)) => ("ADDED", after),
            (Some(_), Some(after)) => ("MODIFIED", after),
            (Some(before), None) => ("DELETED", before),
            (None, None) => continue,
        };
        object["metadata"]["resourceVersion"] = commit.revision.to_string().into();
        events.push(json!({"type": kind, "object": object}));
    }
    events
}

async fn play(steps: Vec<Step>) {
    let server = Server::new();
    let mut open: Vec<Open> = Vec::new();
    let path = |namespace: &str, name: &str| {
        format!("{}/{name}", kind::CONFIG_MAP.collection_path(Some(namespace)))
    };
    for step in steps {
        match step {
            Step::Create { namespace, name, label } => {
                let mut map = config_map(name);
                map["metadata"]["labels"] = json!({"l": label});
                server.post(&kind::CONFIG_MAP.collection_path(Some(namespace)), &map).await;
            }
            Step::Relabel { namespace, name, label } => {
                let patch = json!({"metadata": {"labels": {"l": label}}});
                server.patch("merge", &path(namespace, name), &patch).await;
            }
            Step::Delete { namespace, name } => {
                server.delete(&path(namespace, name)).await;
            }
            Step::Open(filter) => {
                let from = server.embedded.revision();
                let watch = server.watch(&filter.path(from)).await;
                open.push(Open { filter, from, seen: from, watch, events: Vec::new() });
            }
            Step::Read { watch, anew } if !open.is_empty() => {
                let at = watch.index(open.len());
                let reader = &mut open[at];
                // A bookmark may be the last thing seen.
                server.clock.advance(std::time::Duration::from_secs(61)).await;
                reader.read().await;
                if anew {
                    reader.watch = server.watch(&reader.filter.path(reader.seen)).await;
                }
            }
            Step::Read { .. } => {}
        }
    }
    for reader in &mut open {
        reader.read().await;
        let up_to = server.embedded.revision();
        let expected = expected(&server, reader.filter, reader.from, up_to);
        assert_eq!(reader.events, expected, "reliable, filtered: {:?}", reader.filter);
    }
    check_lists(&server).await;
}

/// The list at each version is what the commits up to it have made.
async fn check_lists(server: &Server) {
    let collection = kind::CONFIG_MAP.collection_path(Some("default"));
    let mut held: BTreeMap<String, u64> = BTreeMap::new();
    for commit in server.embedded.commits_after(0) {
        if commit.kind == kind::CONFIG_MAP && &*commit.key.namespace == "default" {
            match &commit.after {
                Some(stored) => held.insert(commit.key.name.to_string(), stored.version),
                None => held.remove(&*commit.key.name),
            };
        }
        let version = commit.revision;
        let path = format!("{collection}?resourceVersion={version}&resourceVersionMatch=Exact");
        let list = server.get(&path).await.ok();
        let listed: Vec<(String, u64)> = list["items"]
            .as_array()
            .expect("items")
            .iter()
            .map(|item| {
                (item["metadata"]["name"].as_str().unwrap_or_default().to_owned(), version_of(item))
            })
            .collect();
        assert_eq!(listed, held.clone().into_iter().collect::<Vec<_>>(), "at {version}");
    }
}

fn step() -> impl Strategy<Value = Step> {
    let namespace = || select(&["default", "kube-public"][..]);
    let name = || select(&["a", "b", "c"][..]);
    let label = || select(&["x", "y"][..]);
    let filter = (
        prop::option::of(namespace()),
        prop::option::of(label()),
        prop::option::weighted(0.3, name()),
    )
        .prop_map(|(namespace, label, name)| Filter { namespace, label, name });
    prop_oneof![
        4 => (namespace(), name(), label())
            .prop_map(|(namespace, name, label)| Step::Create { namespace, name, label }),
        6 => (namespace(), name(), label())
            .prop_map(|(namespace, name, label)| Step::Relabel { namespace, name, label }),
        3 => (namespace(), name()).prop_map(|(namespace, name)| Step::Delete { namespace, name }),
        2 => filter.prop_map(Step::Open),
        2 => (any::<prop::sample::Index>(), any::<bool>())
            .prop_map(|(watch, anew)| Step::Read { watch, anew }),
    ]
}

#[test]
fn every_watch_keeps_its_promises_in_random_runs() {
    let config = Config { cases: 60, failure_persistence: None, ..Config::default() };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let outcome = TestRunner::new_with_rng(config, random).run(
        &prop::collection::vec(step(), 1..80),
        |steps| {
            bare_cluster::run(play(steps));
            Ok(())
        },
    );
    outcome.unwrap_or_else(|error| panic!("{error}"));
}
