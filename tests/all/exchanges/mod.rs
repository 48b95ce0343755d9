//! The recorded exchanges with a real server, replayed in order against one
//! embedded cluster: same requests, same answers, but for the listed
//! exceptions.

mod compare;

use http::Uri;
use serde_json::{Value, json};

use crate::conformance::client::{Answer, CLAIMS, Server, VOLUMES};
use compare::{Bindings, age_or_equal};

const FILES: [(&str, &str); 5] = [
    ("01", include_str!("../../exchanges/01-create-and-defaults.yaml")),
    ("02", include_str!("../../exchanges/02-refusals.yaml")),
    ("03", include_str!("../../exchanges/03-update-and-patch.yaml")),
    ("05", include_str!("../../exchanges/05-lists-tables-watch.yaml")),
    ("06", include_str!("../../exchanges/06-delete.yaml")),
];

/// Where we differ on purpose: file, entry, why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("02", "resourceVersion set", "a client's mistake is 400, not 500"),
    ("02", "an unknown group", "a Status says the same as a plain text, and more"),
    ("02", "list at a version of the future", "the message names how many writes there were"),
    ("02", "watch at a version that is none", "a client's mistake is 400, not 500"),
    ("02", "bad continue", "the message quotes a byte of the recorded token"),
    ("02", "no credential", "in process the caller is known"),
    ("05", "events as a table", "the recorded server reports an event of its own"),
    ("05", "streaming list of one class", "bookmarks carry nothing but their version"),
];

/// What was left out of the recordings.
async fn prepare(server: &Server, what: &str, bindings: &mut Bindings) {
    match what {
        // The end of file 04, which builds it by server-side apply.
        "volumes as a table" => {
            let volume = json!({
                "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-apply"},
                "spec": {
                    "capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"],
                    "nfs": {"server": "192.0.2.1", "path": "/"},
                    "claimRef": {"namespace": "default", "name": "c"},
                },
            });
            let made = server.post(VOLUMES, &volume).await.ok();
            bindings.bind("<uid-33>", made["metadata"]["uid"].as_str().unwrap_or_default());
            let version = made["metadata"]["resourceVersion"].as_str().unwrap_or_default();
            bindings.bind("<rv-48>", version);
        }
        // These writes were made while the watch was open.
        "watch from a version: modified, added, modified, deleted" => {
            let claim = |name: &str| format!("{CLAIMS}/{name}");
            let label = json!({"metadata": {"labels": {"w": "1"}}});
            server.patch("merge", &claim("c-empty"), &label).await.ok();
            let watched = json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": "c-watch"},
                "spec": {
                    "accessModes": ["ReadWriteOnce"], "storageClassName": "",
                    "resources": {"requests": {"storage": "1Gi"}},
                },
            });
            server.post(CLAIMS, &watched).await.ok();
            let free = json!({"metadata": {"finalizers": null}});
            server.patch("merge", &claim("c-watch"), &free).await.ok();
            server.delete(&claim("c-watch")).await.ok();
        }
        _ => {}
    }
}

/// What came back: code, headers that are compared, body.
struct Answered {
    code: u16,
    warning: String,
    retry_after: String,
    media: String,
    body: Value,
}

async fn send(server: &Server, entry: &Value, bindings: &Bindings) -> Answered {
    let request = &entry["request"];
    let path = bindings.fill(request["path"].as_str().unwrap_or_default());
    let method = request["method"].as_str().unwrap_or_default();
    let _: Uri = path.parse().expect("a path");
    let mut call = server.call(method, &path);
    if let Some(accept) = request["accept"].as_str() {
        call = call.header("accept", accept);
    }
    match &request["body"] {
        Value::Null => {}
        body => {
            let media = request["contentType"].as_str().unwrap_or("application/json");
            let text = match body {
                Value::String(text) => text.clone(),
                body => bindings.fill_value(body).to_string(),
            };
            call = call.header("content-type", media).body(text);
        }
    }
    if entry["answer"]["code"] == 200 && path.contains("watch=true") {
        let mut watch = call.watch().await;
        let body = Value::Array(watch.drain().await);
        return Answered {
            code: watch.code,
            warning: String::new(),
            retry_after: String::new(),
            media: "application/json".to_owned(),
            body,
        };
    }
    // Requests that wait for a version of the future wait on the cluster's clock.
    let (answer, ()) = tokio::join!(call.send(), async { while server.clock.step().await {} });
    let mut answered = read(&answer);
    if entry["answer"]["body"].is_array() {
        // Refused watches are recorded as a list, too.
        answered.body = Value::Array(vec![answered.body]);
    }
    answered
}

fn read(answer: &Answer) -> Answered {
    let media = answer.header("content-type");
    Answered {
        code: answer.code,
        warning: answer.header("warning").to_owned(),
        retry_after: answer.header("retry-after").to_owned(),
        media: media.to_owned(),
        body: if media.starts_with("application/json") {
            answer.json()
        } else {
            answer.text().into()
        },
    }
}

/// How an answer differs from the recorded one.
fn differences(expected: &Value, answer: &Answered, bindings: &mut Bindings) -> Vec<String> {
    let mut found = Vec::new();
    if expected["code"] != answer.code {
        found.push(format!("code: {} became {}", expected["code"], answer.code));
    }
    for (name, ours) in [("warning", &answer.warning), ("retry-after", &answer.retry_after)] {
        let theirs = expected[name].as_str().unwrap_or_default();
        if theirs != ours {
            found.push(format!("{name}: `{theirs}` became `{ours}`"));
        }
    }
    let media = expected["contentType"].as_str().unwrap_or("application/json");
    if !answer.media.starts_with(media.split(';').next().unwrap_or_default()) {
        found.push(format!("content type: `{media}` became `{}`", answer.media));
    }
    compare::values(&expected["body"], &answer.body, "", bindings, age_or_equal, &mut found);
    found
}

#[tokio::test(start_paused = true)]
async fn recorded_exchanges_agree() {
    let server = Server::new();
    let mut bindings = Bindings::default();
    let (mut total, mut agree, mut report) = (0, 0, Vec::new());
    let mut used = Vec::new();
    for (file, text) in FILES {
        let entries: Vec<Value> = serde_yaml::from_str_with_options(
            text,
            serde_yaml::options! { budget: None, with_snippet: false, strict_booleans: true },
        )
        .expect("a recording");
        for entry in entries {
            let what = entry["what"].as_str().unwrap_or_default().to_owned();
            prepare(&server, &what, &mut bindings).await;
            let answer = send(&server, &entry, &bindings).await;
            let found = differences(&entry["answer"], &answer, &mut bindings);
            let exception = EXCEPTIONS.iter().find(|(f, w, _)| *f == file && *w == what);
            total += 1;
            match (found.is_empty(), exception) {
                (true, None) => agree += 1,
                (false, Some(exception)) => used.push(exception),
                (true, Some(_)) => report.push(format!("{file} {what}: agrees, but is excepted")),
                (false, None) => report.push(format!("{file} {what}:\n  {}", found.join("\n  "))),
            }
        }
    }
    println!("{agree} of {total} agree, {} exceptions", used.len());
    for (file, what, why) in &used {
        println!("  {file} {what}: {why}");
    }
    assert!(report.is_empty(), "{}", report.join("\n"));
    assert_eq!(used.len(), EXCEPTIONS.len(), "an exception names no entry");
}
