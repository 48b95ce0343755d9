//! The embedded API alone, no controllers: writes per second, the delay from
//! commit to event, and what many watchers cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use futures::{StreamExt as _, TryStreamExt as _};
use http::{Method, Request};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::cluster::{Cluster, Over};
use crate::load::{self, WRITERS};
use crate::measure::{Stopwatch, percentile};

/// Objects that are written to.
const OBJECTS: usize = 1000;
/// Writes one at a time, whose events' delay is taken.
const PACED: usize = 1000;
const PACE: Duration = Duration::from_millis(2);

/// Creates, patches, and the delay of a lone watcher.
pub async fn writes(over: Over, count: usize) -> Value {
    let cluster = Cluster::open(over).await;
    let client = cluster.client();
    let clock = Stopwatch::start();
    load::create_all(&client, load::CLAIMS, count, load::claim).await;
    let creates = clock.stop();

    let clock = Stopwatch::start();
    patch_all(&client, count).await;
    let patches = clock.stop();

    let mut delays = delays(&cluster).await;
    let per_second = |cost: crate::measure::Cost| count as f64 / cost.wall.as_secs_f64();
    let micros = |cost: crate::measure::Cost| cost.processor.as_secs_f64() * 1e6 / count as f64;
    json!({
        "over": over.name(), "writes": count,
        "creates": {"per_second": per_second(creates), "processor_micros_each": micros(creates)},
        "patches": {"per_second": per_second(patches), "processor_micros_each": micros(patches)},
        "delay_micros": {"median": percentile(&mut delays, 50), "p99": percentile(&mut delays, 99)},
    })
}

/// `watchers` of one kind while [`OBJECTS`] of it are written: until each has
/// every event.
pub async fn fan_out(over: Over, watchers: usize, writes: usize) -> Value {
    let cluster = Cluster::open(over).await;
    let client = cluster.client();
    load::create_all(&client, load::CLAIMS, OBJECTS, load::claim).await;
    let (got, ready) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(watchers + 1)));
    let from = cluster.embedded.revision();
    let tasks: Vec<_> = (0..watchers)
        .map(|_| {
            let (cluster, got, ready) = (client.clone(), got.clone(), ready.clone());
            tokio::spawn(async move {
                let mut events = watch(&cluster, from).await;
                ready.wait().await;
                let mut seen = 0;
                while seen < writes {
                    let (chunk, _) = events.next().await.expect("the watch goes on");
                    let lines = chunk.iter().filter(|byte| **byte == b'\n').count();
                    seen += lines;
                    got.fetch_add(lines, Ordering::Relaxed);
                }
            })
        })
        .collect();
    ready.wait().await;
    let clock = Stopwatch::start();
    patch_all(&client, writes).await;
    let written = clock.stop();
    for task in tasks {
        task.await.expect("a watcher ends well");
    }
    let whole = clock.stop();
    let events = got.load(Ordering::Relaxed) as f64;
    json!({
        "over": over.name(), "watchers": watchers, "writes": writes,
        "writes_per_second": writes as f64 / written.wall.as_secs_f64(),
        "events_per_second": events / whole.wall.as_secs_f64(),
        "processor_micros_an_event": whole.processor.as_secs_f64() * 1e6 / events,
    })
}

/// Patches a label, [`WRITERS`] at once.
async fn patch_all(client: &kube::Client, count: usize) {
    let tasks = (0..WRITERS).map(|first| {
        let client = client.clone();
        tokio::spawn(async move {
            for n in (first..count).step_by(WRITERS) {
                patch(&client, n % OBJECTS, n).await;
            }
        })
    });
    join_all(tasks.collect::<Vec<_>>()).await.into_iter().for_each(|ended| {
        ended.expect("a writer ends well");
    });
}

async fn patch(client: &kube::Client, claim: usize, to: usize) -> u64 {
    let path = format!("{}/{}", load::CLAIMS, load::claim_name(claim));
    let change = json!({"metadata": {"labels": {"run": to.to_string()}}});
    load::write(client, Method::PATCH, &path, "application/merge-patch+json", &change).await
}

type Events = futures::stream::BoxStream<'static, (bytes::Bytes, Timestamp)>;

/// A watch of claims from a version: chunks with the time each came.
async fn watch(client: &kube::Client, from: u64) -> Events {
    let uri = format!("/api/v1/persistentvolumeclaims?watch=true&resourceVersion={from}");
    let request = Request::get(uri).body(kube::client::Body::empty()).expect("a request");
    let answer = client.send(request).await.expect("a watch");
    let chunks = answer.into_body().into_data_stream();
    chunks.into_stream().map(|chunk| (chunk.expect("a chunk"), Timestamp::now())).boxed()
}

/// Microseconds from commit to event, writes coming one at a time.
async fn delays(cluster: &Cluster) -> Vec<f64> {
    let client = cluster.client();
    let from = cluster.embedded.revision();
    let mut events = watch(&client, from).await;
    let watcher = tokio::spawn(async move {
        let mut came = Vec::with_capacity(PACED);
        while came.len() < PACED {
            let (_, at) = events.next().await.expect("the watch goes on");
            came.push(at);
        }
        came
    });
    for n in 0..PACED {
        patch(&client, n % OBJECTS, n + 1_000_000).await;
        tokio::time::sleep(PACE).await;
    }
    let came = watcher.await.expect("the watcher ends well");
    let commits = cluster.embedded.commits_after(from);
    let delay = |(commit, at): (&Arc<_>, &Timestamp)| delay(commit, *at);
    commits.iter().zip(&came).map(delay).collect()
}

fn delay(commit: &pvdeck::cluster::embedded::store::history::Commit, at: Timestamp) -> f64 {
    at.duration_since(commit.time).as_secs_f64() * 1e6
}
