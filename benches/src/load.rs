//! The load generator: volumes and claims, written by many at once.

use futures::stream::{self, StreamExt as _};
use http::{Method, Request, header};
use serde_json::{Value, json};

/// How many writes are under way at once.
pub const WRITERS: usize = 64;

/// Sizes differ, so that finding the smallest volume that fits is work.
const SIZES: usize = 64;

/// Volume number `n`.
pub fn volume(n: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": volume_name(n), "labels": {"tier": "gold", "made-by": "load"}},
        "spec": {
            "capacity": {"storage": format!("{}Gi", n % SIZES + 1)},
            "accessModes": ["ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "manual",
            "nfs": {"server": "nfs.example", "path": format!("/exports/{n}")},
        },
    })
}

pub fn volume_name(n: usize) -> String {
    format!("pv-{n:06}")
}

/// Claim number `n`, which the volume of that number fits exactly.
pub fn claim(n: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": claim_name(n), "namespace": "default", "labels": {"app": "load"}},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "manual",
            "resources": {"requests": {"storage": format!("{}Gi", n % SIZES + 1)}},
        },
    })
}

pub fn claim_name(n: usize) -> String {
    format!("claim-{n:06}")
}

pub const VOLUMES: &str = "/api/v1/persistentvolumes";
pub const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";

/// Sends one write; the answered object's version.
pub async fn write(
    client: &kube::Client,
    method: Method,
    path: &str,
    content_type: &str,
    body: &Value,
) -> u64 {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, content_type)
        .body(body.to_string().into_bytes())
        .expect("a request");
    let answer: Value = client.request(request).await.expect("written");
    let version = answer["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    version.parse().expect("a version")
}

pub async fn create(client: &kube::Client, path: &str, object: &Value) -> u64 {
    write(client, Method::POST, path, "application/json", object).await
}

/// Creates `count` objects, [`WRITERS`] at once.
pub async fn create_all(
    client: &kube::Client,
    path: &'static str,
    count: usize,
    object: impl Fn(usize) -> Value + Copy + Send + 'static,
) {
    let tasks = (0..WRITERS.min(count.max(1))).map(|first| {
        let client = client.clone();
        tokio::spawn(async move {
            for n in (first..count).step_by(WRITERS) {
                create(&client, path, &object(n)).await;
            }
        })
    });
    stream::iter(tasks.collect::<Vec<_>>())
        .for_each(|task| async { task.await.expect("a writer ends well") })
        .await;
}
