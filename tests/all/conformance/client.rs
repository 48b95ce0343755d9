//! Raw requests to an embedded cluster in this process, and its raw answers.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use pvdeck::cluster::clock::ManualClock;
use pvdeck::cluster::embedded::{Embedded, Options, ReplyBody};
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// A cluster of its own, on a clock that moves only when told to. For runtimes
/// with paused time.
pub struct Server {
    pub embedded: Embedded,
    pub clock: ManualClock,
}

/// An answer that has ended.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.bytes)))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body of a success.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert!((200..300).contains(&self.code), "{}: {}", self.code, self.text());
        self.json()
    }

    /// The message of a refusal, which must be a Status that agrees with
    /// itself.
    #[track_caller]
    pub fn refusal(&self, code: u16, reason: &str) -> String {
        let status = self.json();
        assert_eq!(self.code, code, "{status}");
        assert_eq!(status["code"], code, "{status}");
        assert_eq!(status["kind"], "Status");
        assert_eq!(status["status"], "Failure");
        assert_eq!(status["reason"].as_str().unwrap_or_default(), reason, "{status}");
        status["message"].as_str().unwrap_or_default().to_owned()
    }
}

/// A request in the making.
pub struct Call<'a> {
    server: &'a Server,
    request: http::request::Builder,
    body: Bytes,
}

impl Call<'_> {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    async fn start(self) -> http::Response<ReplyBody> {
        let request = self.request.body(Full::new(self.body)).expect("a request");
        self.server.embedded.clone().oneshot(request).await.expect("never fails")
    }

    pub async fn send(self) -> Answer {
        let (parts, body) = self.start().await.into_parts();
        let bytes = body.collect().await.expect("never fails").to_bytes();
        Answer { code: parts.status.as_u16(), headers: parts.headers, bytes }
    }

    /// Opens a watch; its headers are there.
    pub async fn watch(self) -> Watch {
        let (parts, body) = self.start().await.into_parts();
        Watch { code: parts.status.as_u16(), headers: parts.headers, body, rest: Vec::new() }
    }
}

/// An open watch.
pub struct Watch {
    pub code: u16,
    pub headers: HeaderMap,
    body: ReplyBody,
    rest: Vec<u8>,
}

impl Watch {
    /// The next event, or `None` at the end.
    pub async fn next(&mut self) -> Option<Value> {
        let next = tokio::time::timeout(std::time::Duration::from_secs(10), self.next_or_wait());
        next.await.expect("an event or the end in time")
    }

    /// The next event, or `None` at the end. Waits for ever.
    async fn next_or_wait(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("a JSON document a line"));
            }
            match self.body.frame().await {
                Some(frame) => {
                    let frame = frame.expect("never fails");
                    self.rest.extend_from_slice(&frame.into_data().expect("data"));
                }
                None => {
                    assert!(self.rest.is_empty(), "half an event at the end");
                    return None;
                }
            }
        }
    }

    /// The next event in short: `ADDED name@version`.
    pub async fn short(&mut self) -> String {
        match self.next().await {
            Some(event) => format!(
                "{} {}@{}",
                event["type"].as_str().unwrap_or("?"),
                event["object"]["metadata"]["name"].as_str().unwrap_or_default(),
                version_of(&event["object"]),
            ),
            None => "END".to_owned(),
        }
    }

    /// The events that are there already.
    pub async fn drain(&mut self) -> Vec<Value> {
        let mut events = Vec::new();
        while let Ok(Some(event)) =
            tokio::time::timeout(std::time::Duration::from_millis(1), self.next_or_wait()).await
        {
            events.push(event);
        }
        events
    }
}

impl Server {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Options)) -> Self {
        let start = "2026-01-01T00:00:00Z".parse().expect("a time");
        let clock = ManualClock::new(start);
        let mut options = Options::new(Arc::new(clock.clone()));
        change(&mut options);
        Self { embedded: Embedded::new(options), clock }
    }

    pub fn call(&self, method: &str, path: &str) -> Call<'_> {
        Call {
            server: self,
            request: Request::builder().method(method).uri(path),
            body: Bytes::new(),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path).send().await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path).json(body).send().await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.call("PUT", path).json(body).send().await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path).send().await
    }

    pub async fn delete_with(&self, path: &str, options: &Value) -> Answer {
        self.call("DELETE", path).json(options).send().await
    }

    /// PATCHes with `json`, `merge` or `strategic-merge`.
    pub async fn patch(&self, kind: &str, path: &str, body: &Value) -> Answer {
        let media = format!("application/{kind}-patch+json");
        self.call("PATCH", path).header("content-type", &media).body(body.to_string()).send().await
    }

    pub async fn watch(&self, path: &str) -> Watch {
        self.call("GET", path).watch().await
    }

    /// Creates an object at its collection and returns it.
    pub async fn create(&self, object: &Value) -> Value {
        self.post(&collection_of(object), object).await.ok()
    }
}

/// The collection of an object, by its type and namespace.
pub fn collection_of(object: &Value) -> String {
    let kind = pvdeck::model::kind::Kind::by_type(
        object["apiVersion"].as_str().expect("apiVersion"),
        object["kind"].as_str().expect("kind"),
    );
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
    kind.expect("a known kind").collection_path(Some(namespace))
}

/// The object's own path.
pub fn path_of(object: &Value) -> String {
    format!("{}/{}", collection_of(object), object["metadata"]["name"].as_str().expect("a name"))
}

/// An object's version as a number.
#[track_caller]
pub fn version_of(object: &Value) -> u64 {
    let version = object["metadata"]["resourceVersion"].as_str();
    version.and_then(|version| version.parse().ok()).unwrap_or(0)
}

pub const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
pub const VOLUMES: &str = "/api/v1/persistentvolumes";
pub const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub const PODS: &str = "/api/v1/namespaces/default/pods";
pub const SETS: &str = "/apis/apps/v1/namespaces/default/statefulsets";

pub fn claim(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    })
}

pub fn volume(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "nfs": {"server": "192.0.2.1", "path": "/"},
        },
    })
}

pub fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}

pub fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    })
}

pub fn stateful_set(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
        "spec": {
            "serviceName": name, "replicas": 1, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        },
    })
}
