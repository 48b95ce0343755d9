//! What stands in `examples/` is true: manifests are accepted, mistakes are
//! refused in the words that stand above them, scenarios play to their end.

use std::path::{Path, PathBuf};

use http::{Request, header};
use kube::client::Body;
use pvdeck::scenario::document::manifest_reference;
use pvdeck::scenario::play::{Pace, Player};
use pvdeck::scenario::{BUILT_IN, Scenario};
use serde_json::Value;

use crate::world::{self, World};

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
    let (client, _clock) = world::bare();
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
    let (client, _clock) = world::bare();
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

#[test]
fn every_example_scenario_comes_with_the_program_and_plays_to_its_end() {
    for (name, text) in files("scenarios") {
        let built_in = BUILT_IN.iter().find(|built_in| built_in.text == text);
        assert!(built_in.is_some(), "{name} is not among the built-in scenarios");
        let scenario = Scenario::read(&name, &text).unwrap_or_else(|bad| panic!("{bad}"));
        let played = World::run(async move |world| {
            let player = Player::new(&scenario, world.path(), world.mirror(), Pace::AtOnce);
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
