//! Lists of many objects: whole, in pages, by a selector, of a past state, and
//! what one write costs beside so many.

use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Over};
use crate::load;
use crate::measure::{Cost, Stopwatch, resident};

/// Writes between a version and its exact list.
const CHANGES: usize = 1000;

/// Lists over `count` volumes.
pub async fn run(over: Over, count: usize) -> Value {
    let cluster = Cluster::open(over).await;
    let client = cluster.client();
    let (before, _) = resident();
    load::create_all(&client, load::VOLUMES, count, load::volume).await;
    let (after, _) = resident();
    let version = cluster.embedded.revision();

    let (whole, bytes) = timed(&client, load::VOLUMES).await;
    let (selected, _) =
        timed(&client, &format!("{}?labelSelector=tier%3Dlead", load::VOLUMES)).await;
    let clock = Stopwatch::start();
    let mut pages = 0;
    let mut path = format!("{}?limit=500", load::VOLUMES);
    loop {
        let page: Value = client.request(get(&path)).await.expect("a page");
        pages += 1;
        match page["metadata"]["continue"].as_str() {
            Some(token) => path = format!("{}?limit=500&continue={token}", load::VOLUMES),
            None => break,
        }
    }
    let paged = clock.stop();

    let clock = Stopwatch::start();
    load::create_all(&client, load::CLAIMS, CHANGES, load::claim).await;
    let writes = clock.stop();
    for n in 0..CHANGES {
        relabel(&client, n * (count / CHANGES).max(1) % count).await;
    }
    let past = format!("{}?resourceVersion={version}&resourceVersionMatch=Exact", load::VOLUMES);
    let (past, _) = timed(&client, &past).await;
    let millis = |cost: Cost| cost.wall.as_secs_f64() * 1e3;
    json!({
        "over": over.name(), "objects": count, "bytes": bytes,
        "bytes_held_an_object": (after.saturating_sub(before)) as f64 / count as f64,
        "whole_millis": millis(whole), "selected_millis": millis(selected),
        "pages": pages, "paged_millis": millis(paged), "past_millis": millis(past),
        "write_micros_beside": writes.processor.as_secs_f64() * 1e6 / CHANGES as f64,
    })
}

async fn relabel(client: &kube::Client, n: usize) {
    let path = format!("{}/{}", load::VOLUMES, load::volume_name(n));
    let change = json!({"metadata": {"labels": {"run": "1"}}});
    load::write(client, http::Method::PATCH, &path, "application/merge-patch+json", &change).await;
}

fn get(path: &str) -> Request<Vec<u8>> {
    Request::get(path).body(Vec::new()).expect("a request")
}

/// Reads an answer to its end, undecoded.
async fn timed(client: &kube::Client, path: &str) -> (Cost, usize) {
    let clock = Stopwatch::start();
    let request = Request::get(path).body(kube::client::Body::empty()).expect("a request");
    let answer = client.send(request).await.expect("a list");
    let bytes = answer.into_body().collect().await.expect("its body").to_bytes();
    (clock.stop(), bytes.len())
}
