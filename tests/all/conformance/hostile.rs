//! Whatever is sent, there is an answer, and it is not the server's fault.

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::client::*;

/// Words that paths, keys and texts are made of: right in some places, wrong in
/// most.
const WORDS: &[&str] = &[
    "a",
    "b",
    "default",
    "api",
    "apis",
    "v1",
    "apps",
    "storage.k8s.io",
    "events.k8s.io",
    "namespaces",
    "pods",
    "persistentvolumes",
    "persistentvolumeclaims",
    "statefulsets",
    "storageclasses",
    "events",
    "leases",
    "configmaps",
    "nodes",
    "bindings",
    "status",
    "scale",
    "binding",
    "eviction",
    "finalize",
    "log",
    "exec",
    "authorization.k8s.io",
    "authentication.k8s.io",
    "selfsubjectaccessreviews",
    "selfsubjectrulesreviews",
    "selfsubjectreviews",
    "openapi",
    "v2",
    "v3",
    "version",
    "readyz",
    "%zz",
    "%00",
    "",
    "..",
    "\u{00e4}",
    "$patch",
    "-1",
    "0",
    "1Gi",
    "2026-01-01T00:00:00Z",
    "delete",
];

const KEYS: &[&str] = &[
    "kind",
    "apiVersion",
    "metadata",
    "name",
    "namespace",
    "generateName",
    "uid",
    "resourceVersion",
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
    "deletionTimestamp",
    "creationTimestamp",
    "spec",
    "status",
    "replicas",
    "template",
    "containers",
    "selector",
    "matchLabels",
    "accessModes",
    "capacity",
    "storage",
    "resources",
    "requests",
    "nodeName",
    "target",
    "conditions",
    "type",
    "claimRef",
    "data",
    "$patch",
    "$retainKeys",
    "$setElementOrder/containers",
    "preconditions",
    "$deleteFromPrimitiveList/finalizers",
    "gracePeriodSeconds",
    "propagationPolicy",
    "op",
    "path",
    "value",
    "from",
    "involvedObject",
    "regarding",
    "series",
    "eventTime",
    "deleteOptions",
    "taints",
];

const KINDS: &[&str] = &[
    "Pod",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "StatefulSet",
    "Event",
    "Scale",
    "Binding",
];

const QUERIES: &[&str] = &[
    "watch=1&timeoutSeconds=1",
    "limit=1",
    "limit=-5",
    "limit=x",
    "continue=eyJ9",
    "resourceVersion=0",
    "resourceVersion=1&resourceVersionMatch=Exact",
    "resourceVersion=-1",
    "labelSelector=a%20in%20(",
    "labelSelector=((((",
    "labelSelector=!a,b%3Dc",
    "fieldSelector=metadata.name%3Da",
    "fieldSelector=%5C",
    "fieldSelector=spec.nodeName!%3D",
    "dryRun=All",
    "dryRun=x",
    "force=true",
    "fieldValidation=Strict",
    "fieldValidation=x",
    "pretty=1",
    "%",
    "&&&=",
    "gracePeriodSeconds=-3",
    "propagationPolicy=Orphan",
    "includeObject=Object",
    "sendInitialEvents=true",
    "",
];

const TYPES: &[&str] = &[
    "",
    "application/json",
    "application/yaml",
    "application/merge-patch+json",
    "text/plain",
    "application/strategic-merge-patch+json",
    "application/json-patch+json",
    "application/apply-patch+yaml",
    "application/vnd.kubernetes.protobuf",
];

const ACCEPTS: &[&str] = &[
    "",
    "*/*",
    "application/yaml",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    ";;;,,q=",
    "text/html",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json",
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
];

#[derive(Debug, Clone)]
struct Sent {
    method: &'static str,
    path: String,
    content_type: &'static str,
    accept: &'static str,
    body: Vec<u8>,
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        select(WORDS).prop_map(Value::from),
        select(KINDS).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inside| {
        prop_oneof![
            prop::collection::vec(inside.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((select(KEYS).prop_map(str::to_owned), inside), 0..6)
                .prop_map(|fields| fields.into_iter().collect::<Value>()),
        ]
    })
}

/// A good object of a collection with some of its parts made senseless.
fn nearly_good() -> impl Strategy<Value = (&'static str, Value)> {
    let good = select(vec![
        (PODS, pod("a")),
        (VOLUMES, volume("a")),
        (CLAIMS, claim("a")),
        (SETS, stateful_set("a")),
        (CONFIG_MAPS, config_map("a")),
    ]);
    let parts = prop::collection::vec((select(KEYS), value()), 0..3);
    (good, parts, any::<prop::sample::Selector>()).prop_map(
        |((collection, mut object), parts, place)| {
            for (key, part) in parts {
                let field = place.select(["metadata", "spec", "status"]);
                match object.get_mut(field).and_then(Value::as_object_mut) {
                    Some(fields) => fields.insert(key.to_owned(), part),
                    None => object
                        .as_object_mut()
                        .and_then(|fields| fields.insert(key.to_owned(), part)),
                };
            }
            (collection, object)
        },
    )
}

/// Anything, anywhere.
fn wild() -> impl Strategy<Value = Sent> {
    let path = prop::collection::vec(select(WORDS), 0..8).prop_map(|words| words.join("/"));
    let body = prop_oneof![
        value().prop_map(|value| value.to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..40),
        Just(Vec::new()),
    ];
    let method = select(&["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"][..]);
    (method, path, select(TYPES), select(ACCEPTS), body).prop_map(
        |(method, path, content_type, accept, body)| Sent {
            method,
            path,
            content_type,
            accept,
            body,
        },
    )
}

/// What a client might send that is not quite right.
fn near() -> impl Strategy<Value = Sent> {
    const BELOW: &[&str] = &["a", "a", "a/status", "a/scale", "a/binding", "a/eviction", "b"];
    let how = prop_oneof![
        4 => Just(("POST", "", "application/json")),
        2 => Just(("PUT", "/", "application/json")),
        2 => Just(("PATCH", "/", "application/merge-patch+json")),
        2 => Just(("PATCH", "/", "application/strategic-merge-patch+json")),
        1 => Just(("PATCH", "/", "application/json-patch+json")),
        2 => Just(("DELETE", "/", "application/json")),
        1 => Just(("GET", "/", "")),
        1 => Just(("GET", "", "")),
        1 => Just(("POST", "/", "application/json")),
    ];
    let body = prop_oneof![
        6 => Just(None),
        2 => value().prop_map(Some),
        1 => prop::collection::vec(value(), 0..3).prop_map(|items| Some(items.into())),
    ];
    let accept = prop_oneof![6 => Just(""), 1 => select(ACCEPTS)];
    (how, nearly_good(), select(BELOW), body, accept).prop_map(
        |(how, good, below, body, accept)| {
            let (method, joint, content_type) = how;
            let path = format!("{}{joint}{}", good.0, if joint.is_empty() { "" } else { below });
            let body = match (method, body) {
                // Most deletions come without options.
                ("DELETE", None) => Vec::new(),
                (_, body) => body.unwrap_or(good.1).to_string().into_bytes(),
            };
            Sent {
                method,
                path: path.trim_start_matches('/').to_owned(),
                content_type,
                accept,
                body,
            }
        },
    )
}

fn sent() -> impl Strategy<Value = Sent> {
    let pairs = prop_oneof![
        3 => Just(Vec::new()),
        1 => prop::collection::vec(select(QUERIES), 1..3),
    ];
    (prop_oneof![1 => wild(), 4 => near()], pairs).prop_map(|(mut sent, pairs)| {
        let path: String = sent.path.chars().filter(char::is_ascii).collect();
        sent.path = format!("/{path}?{}", pairs.join("&"));
        sent
    })
}

#[test]
fn every_request_is_answered_without_an_error_of_ours() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let server = Server::new();
    let config = Config { cases: 2000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    let codes = RefCell::new(BTreeMap::<u16, usize>::new());
    let outcome = runner.run(&sent(), |sent| {
        let mut call = server.call(sent.method, &sent.path).body(sent.body.clone());
        for (name, value) in [("content-type", sent.content_type), ("accept", sent.accept)] {
            if !value.is_empty() {
                call = call.header(name, value);
            }
        }
        // A watch is opened and left.
        let watch = runtime.block_on(async {
            tokio::time::timeout(std::time::Duration::from_secs(1), call.watch()).await
        });
        let code = watch.map_or(200, |watch| watch.code);
        *codes.borrow_mut().entry(code).or_default() += 1;
        prop_assert!((200..500).contains(&code) || code == 504 || code == 501, "{code}");
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    // The requests reach deep enough to be taken, and to be refused variously.
    let codes = codes.into_inner();
    println!("{codes:?}");
    assert!(codes.len() >= 8 && codes.get(&201).is_some_and(|count| *count > 10), "{codes:?}");
    // It still works.
    runtime.block_on(async {
        let map = config_map("afterwards");
        server.create(&map).await;
        let list = server.get("/api/v1/configmaps").await.ok();
        assert!(list["items"].as_array().is_some_and(|items| !items.contains(&json!(null))));
    });
}
