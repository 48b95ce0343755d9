//! What stands in `examples/` is true: manifests are accepted, mistakes are
//! refused in the words that stand above them, scenarios play to their end.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::{Request, header};
use kube::client::Body;
use pvdeck::diagnosis;
use pvdeck::model::kind::Kind;
use pvdeck::model::object::{Key, ObjectRef};
use pvdeck::scenario::document::manifest_reference;
use pvdeck::scenario::play::{Pace, Player};
use pvdeck::scenario::{BUILT_IN, Scenario};
use serde_json::Value;

use crate::bare_cluster::BareCluster;
use crate::stand_in;
use crate::world::World;

fn files(folder: &str) -> Vec<(String, String)> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(folder);
    let entries =
        std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<(String, String)> = entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).expect("a text file"))
        })
        .collect();
    files.sort();
    files
}

/// Creates an object as kubectl does, and gives code and message.
async fn create(client: &kube::Client, object: &Value) -> (u16, String) {
    let reference = manifest_reference(object).expect("a manifest");
    let collection = reference.kind.collection_path(reference.key.namespace());
    let request = Request::post(format!("{collection}?fieldValidation=Strict"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(object.to_string().into_bytes()))
        .expect("a request");
    let response = client.send(request).await.expect("an answer");
    let code = response.status().as_u16();
    let body = response.into_body().collect_bytes().await.expect("a body");
    let answer: Value = serde_json::from_slice(&body).expect("JSON");
    (code, answer["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(start_paused = true)]
async fn every_example_manifest_is_accepted() {
    let client = kube::Client::new(BareCluster::new().embedded, "default");
    let mut refused = Vec::new();
    for (name, text) in files("manifests") {
        let objects: Vec<Value> =
            serde_yaml::from_multiple(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        for object in objects {
            let (code, message) = create(&client, &object).await;
            if code != 201 {
                refused.push(format!("{name}: {code} {message}"));
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn every_example_mistake_is_refused_in_the_words_above_it() {
    let client = kube::Client::new(BareCluster::new().embedded, "default");
    let mut wrong = Vec::new();
    for (name, text) in files("mistakes") {
        let expected = text.lines().find_map(|line| line.strip_prefix("# answer: "));
        let expected = expected.unwrap_or_else(|| panic!("{name} does not say what is answered"));
        let object: Value =
            serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        let (code, message) = create(&client, &object).await;
        let answer = format!("{code} {message}");
        if answer != expected {
            wrong.push(format!("{name}\n  stands there: {expected}\n  is answered:  {answer}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Creates the objects of a manifest, those without a namespace in `default`.
async fn apply(world: &World, name: &str, text: &str) {
    let objects: Vec<Value> =
        serde_yaml::from_multiple(text).unwrap_or_else(|error| panic!("{name}: {error}"));
    for object in objects {
        let (code, message) = create(&world.user, &object).await;
        assert_eq!(code, 201, "{name}: {message}");
    }
}

async fn get(world: &World, path: &str) -> Value {
    stand_in::request(&world.user, http::Method::GET, path, Value::Null).await.1
}

#[test]
fn example_manifests_make_pods_and_bind_claims() {
    World::run_without_machines(async |world| {
        for (name, text) in files("manifests") {
            apply(&world, &name, &text).await;
        }
        for _ in 0..20 {
            world.clock.advance(std::time::Duration::from_secs(16)).await;
            if !stand_in::run_pods(&world.user, |_| true).await {
                break;
            }
        }
        let claims = get(&world, "/api/v1/persistentvolumeclaims").await;
        let bound = |name: &str| {
            let claims = claims["items"].as_array().into_iter().flatten();
            let claim = claims.into_iter().find(|claim| claim["metadata"]["name"] == name);
            claim.map(|claim| claim["status"]["phase"].as_str().unwrap_or_default().to_owned())
        };
        for claim in ["shared", "registry", "uploads", "data-web-0", "data-web-1", "on-demand"] {
            assert_eq!(bound(claim).as_deref(), Some("Bound"), "{claim}");
        }
        assert_eq!(bound("everything-scratch").as_deref(), Some("Bound"), "made for its pod");
        let ready = |path: &'static str| {
            let world = &world;
            async move { get(world, path).await["status"]["readyReplicas"].clone() }
        };
        assert_eq!(ready("/apis/apps/v1/namespaces/kube-system/deployments/registry").await, 3);
        assert_eq!(ready("/apis/apps/v1/namespaces/default/deployments/site").await, 3);
        assert_eq!(ready("/apis/apps/v1/namespaces/default/statefulsets/web").await, 2);
    });
}

/// The systems that people start with, on nodes that really mount.
#[test]
fn pods_of_the_named_manifests_run_on_simulated_nodes() {
    const NAMED: [&str; 6] = [
        "storage-classes.yaml",
        "nfs.yaml",
        "local-volume.yaml",
        "local-provisioner.yaml",
        "stateful-set.yaml",
        "registry.yaml",
    ];
    World::run(async |world| {
        // The disk of which the manifest speaks.
        for node in ["node-1", "node-2"] {
            world.machines().add_directory(node, "/mnt/disks/ssd");
        }
        let named = files("manifests").into_iter().filter(|(name, _)| NAMED.contains(&&**name));
        let named: Vec<(String, String)> = named.collect();
        assert_eq!(named.len(), NAMED.len());
        for (name, text) in named {
            apply(&world, &name, &text).await;
        }
        let running = async || -> Vec<String> {
            let pods = get(&world, "/api/v1/pods").await;
            let pods = pods["items"].as_array().cloned().unwrap_or_default();
            let pods = pods.iter().filter(|pod| pod["status"]["phase"] == "Running");
            pods.map(|pod| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned())
                .collect()
        };
        let mut found = Vec::new();
        for _ in 0..120 {
            world.clock.advance(std::time::Duration::from_secs(1)).await;
            found = running().await;
            if found.len() == 7 {
                break;
            }
        }
        found.sort();
        let registry = found.iter().filter(|name| name.starts_with("registry-")).count();
        assert_eq!(registry, 3, "{found:?}");
        found.retain(|name| !name.starts_with("registry-"));
        assert_eq!(found, ["cruncher", "web-0", "web-1", "writer"]);
    });
}

/// What stands after a word at the beginning of a line of a manifest.
fn line<'a>(name: &str, text: &'a str, word: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(word));
    line.unwrap_or_else(|| panic!("{name} has no line `{word}`")).trim()
}

/// The object of a line such as `pod/default/web`.
fn object(name: &str, text: &str) -> ObjectRef {
    let parts: Vec<&str> = text.split('/').collect();
    let [kind, namespace, object] = parts[..] else { panic!("{name}: `{text}` is no object") };
    let kind = Kind::by_word(kind).unwrap_or_else(|| panic!("{name}: no kind `{kind}`"));
    ObjectRef::new(kind, Key::new(namespace, object))
}

#[test]
fn every_stuck_example_says_what_kubernetes_says_and_what_helps() {
    let mut wrong = Vec::new();
    for (name, text) in files("stuck") {
        let expected = line(&name, &text, "# says:");
        let next = line(&name, &text, "# next:");
        let look = object(&name, line(&name, &text, "# look:"));
        World::run_without_machines(async |world| {
            apply(&world, &name, &text).await;
            world.clock.advance(std::time::Duration::from_secs(20)).await;
            let events = get(&world, "/api/v1/events").await;
            let said: Vec<String> = events["items"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|event| {
                    let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
                    format!("{}: {}", text("reason"), text("message"))
                })
                .collect();
            if !said.iter().any(|said| said == expected) {
                wrong.push(format!("{name}\n  expected: {expected}\n  said: {said:#?}"));
            }
            let found = world.mirror().read(|tables| diagnosis::find(tables, &look));
            if found.as_ref().and_then(|found| found.next.as_deref()) != Some(next) {
                wrong.push(format!("{name}\n  next: {next}\n  found: {found:#?}"));
            }
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_example_scenario_comes_with_the_program_and_plays_to_its_end() {
    for (name, text) in files("scenarios") {
        let built_in = BUILT_IN.iter().find(|built_in| built_in.text == text);
        assert!(built_in.is_some(), "{name} is not among the built-in scenarios");
        let scenario = Scenario::read(&name, &text).unwrap_or_else(|bad| panic!("{bad}"));
        let played = World::run(async move |world| {
            let player = Player::new(&scenario, world.path(), world.mirror(), Pace::AtOnce)
                .with_machines(Some(Arc::new(world.machines().clone())));
            world.until(player.play()).await
        });
        if let Err(error) = played {
            panic!("{name}: {error}");
        }
    }
}

#[test]
fn the_readme_lists_every_scenario() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(readme).expect("the README");
    for scenario in BUILT_IN {
        assert!(readme.contains(&format!("| `{}` |", scenario.name)), "{}", scenario.name);
    }
}
