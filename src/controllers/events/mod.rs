//! Telling people what happened: Events about objects.
//!
//! A loop tells a [`Note`] and goes on; a task of its own turns notes into
//! Events, repeats into counts, and sends them, so that no sync waits for them.
//!
//! ```text
//! Recorder::tell(Note) -> queue (1000) -> correlate -> create, or patch the count
//! ```
//!
//! Upstream: client-go's `tools/record`. Notes beyond the queue are dropped, as
//! there.

mod correlate;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::cluster::write_path::WriteError;
use crate::controllers::events::correlate::{Correlator, Send};
use crate::controllers::server::Server;
use crate::model::clock::Clock;
use crate::model::event::Severity;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::row::Row;
use crate::model::write::{Change, Reason, Write};

/// How many notes may wait to be sent.
const QUEUE: usize = 1000;

/// Something to be told about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub regarding: ObjectRef,
    pub uid: Arc<str>,
    pub version: u64,
    pub severity: Severity,
    pub reason: &'static str,
    pub message: String,
    /// The node whose agent tells it; empty if none does.
    pub host: Arc<str>,
}

impl Note {
    pub fn normal<R: Row>(row: &R, reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(row, Severity::Normal, reason, message)
    }

    pub fn warning<R: Row>(row: &R, reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(row, Severity::Warning, reason, message)
    }

    pub fn new<R: Row>(
        row: &R,
        severity: Severity,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        let meta = row.meta();
        Self {
            regarding: ObjectRef::new(R::KIND, meta.key.clone()),
            uid: meta.uid.clone(),
            version: meta.version,
            severity,
            reason,
            message: message.into(),
            host: "".into(),
        }
    }

    /// The same, told by a node's agent.
    pub fn from_node(self, node: &Arc<str>) -> Self {
        Self { host: node.clone(), ..self }
    }
}

/// Where loops tell their notes. Clones share the queue.
#[derive(Debug, Clone)]
pub struct Recorder {
    queue: mpsc::Sender<Note>,
}

impl Recorder {
    /// A recorder, and the queue that [`send_events`] is to empty.
    pub fn new() -> (Self, mpsc::Receiver<Note>) {
        let (queue, notes) = mpsc::channel(QUEUE);
        (Self { queue }, notes)
    }

    /// A recorder for who tells nothing.
    pub fn silent() -> Self {
        Self::new().0
    }

    /// Tells a note; it is lost if the queue is full or closed.
    pub fn tell(&self, note: Note) {
        if let Err(error) = self.queue.try_send(note) {
            // Thousands may be lost at once; the log should not be filled by it.
            tracing::debug!("an event was not recorded: {error}");
        }
    }

    /// Whether notes wait to be sent.
    pub fn is_empty(&self) -> bool {
        self.queue.capacity() == self.queue.max_capacity()
    }
}

/// Sends notes as Events of `component` until every recorder is gone. What the
/// server refuses is logged and let go.
pub async fn send_events(
    component: impl Into<Arc<str>>,
    mut notes: mpsc::Receiver<Note>,
    server: Arc<dyn Server>,
    clock: Arc<dyn Clock>,
) {
    let component = &*component.into();
    let mut correlator = Correlator::default();
    let mut names = Names::default();
    while let Some(note) = notes.recv().await {
        let now = clock.now();
        let (note, send) = correlator.correlate(note, now);
        let key = match send {
            Send::Nothing => continue,
            Send::Create => create(component, &note, now, &mut names, &*server).await,
            Send::Count { event, count } => {
                let counted = patch_count(component, &note, &event, count, now);
                match server.perform(&counted).await {
                    Ok(_) => Some(event),
                    // It has been cleaned away meanwhile.
                    Err(WriteError::NotFound { .. }) => {
                        create(component, &note, now, &mut names, &*server).await
                    }
                    Err(error) => {
                        tracing::warn!("the count of an event was not recorded: {error}");
                        Some(event)
                    }
                }
            }
        };
        if let Some(key) = key {
            correlator.sent(&note, key);
        }
    }
}

async fn create(
    component: &str,
    note: &Note,
    now: Timestamp,
    names: &mut Names,
    server: &dyn Server,
) -> Option<Key> {
    // A name of the same moment may be taken by an earlier run.
    for _ in 0..3 {
        let key = names.next(note, now);
        let write = Write {
            object: ObjectRef::new(kind::EVENT, key.clone()),
            subresource: None,
            change: Change::Create(event(component, note, &key, now)),
            version: None,
            on_behalf_of: note.regarding.clone(),
            reason: Reason::new("event", note.reason),
        };
        match server.perform(&write).await {
            Ok(_) => return Some(key),
            Err(WriteError::AlreadyExists { .. }) => {}
            Err(error) => {
                tracing::warn!("an event was not recorded: {error}");
                return None;
            }
        }
    }
    None
}

/// Names of events: the object's, and the moment in hexadecimal nanoseconds,
/// each later than the one before, also while the clock stands.
#[derive(Debug, Default)]
struct Names {
    last: i128,
}

impl Names {
    fn next(&mut self, note: &Note, now: Timestamp) -> Key {
        self.last = now.as_nanosecond().max(self.last + 1);
        let Key { namespace, name } = &note.regarding.key;
        // Events about cluster-scoped objects are kept in `default`.
        let namespace = if namespace.is_empty() { "default" } else { namespace };
        Key::new(namespace, format!("{name}.{:x}", self.last))
    }
}

fn event(component: &str, note: &Note, key: &Key, now: Timestamp) -> Value {
    let regarding = &note.regarding;
    let mut involved = json!({
        "kind": regarding.kind.kind,
        "apiVersion": regarding.kind.api_version(),
        "name": &*regarding.key.name,
        "uid": &*note.uid,
        "resourceVersion": note.version.to_string(),
    });
    if let Some(namespace) = regarding.key.namespace() {
        involved["namespace"] = namespace.into();
    }
    if is_newer(component) {
        return json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": &*key.name, "namespace": &*key.namespace},
            "involvedObject": involved,
            "action": action(note.reason),
            "reason": note.reason,
            "message": note.message,
            "type": note.severity.name(),
            "eventTime": micros(now),
            "source": {},
            "firstTimestamp": null,
            "lastTimestamp": null,
            "reportingComponent": component,
            "reportingInstance": format!("{component}-pvdeck"),
        });
    }
    let time = seconds(now);
    let mut source = json!({"component": component});
    if !note.host.is_empty() {
        source["host"] = (*note.host).into();
    }
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": &*key.name, "namespace": &*key.namespace},
        "involvedObject": involved,
        "reason": note.reason,
        "message": note.message,
        "source": source,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
        "type": note.severity.name(),
        "eventTime": null,
        "reportingComponent": component,
        "reportingInstance": &*note.host,
    })
}

fn patch_count(component: &str, note: &Note, event: &Key, count: u32, now: Timestamp) -> Write {
    let patch = if is_newer(component) {
        json!({"series": {"count": count, "lastObservedTime": micros(now)}})
    } else {
        json!({"count": count, "lastTimestamp": seconds(now), "message": note.message})
    };
    Write {
        object: ObjectRef::new(kind::EVENT, event.clone()),
        subresource: None,
        change: Change::Merge(patch),
        version: None,
        on_behalf_of: note.regarding.clone(),
        reason: Reason::new("event", note.reason),
    }
}

/// Whether a component writes Events of the newer kind, those of
/// `events.k8s.io`: of those hosted here, the scheduler alone.
fn is_newer(component: &str) -> bool {
    component == "default-scheduler"
}

/// What a component was doing: the newer Events say so.
fn action(reason: &str) -> &'static str {
    match reason {
        "Scheduled" => "Binding",
        "Preempted" => "Preempting",
        _ => "Scheduling",
    }
}

/// A time as the newer Events have it.
fn micros(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// A time as the API writes it, in whole seconds.
fn seconds(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::persistent_volume::cases::world::{HastyClock, TestServer, block_on};

    fn note(kind: &'static kind::Kind, key: Key) -> Note {
        Note {
            regarding: ObjectRef::new(kind, key),
            uid: "u".into(),
            version: 7,
            severity: Severity::Warning,
            reason: "FailedBinding",
            message: "no".into(),
            host: "".into(),
        }
    }

    fn send(notes: Vec<Note>, server: &Arc<TestServer>) {
        send_as("a-controller", notes, server);
    }

    fn send_as(component: &'static str, notes: Vec<Note>, server: &Arc<TestServer>) {
        let (recorder, queue) = Recorder::new();
        notes.into_iter().for_each(|note| recorder.tell(note));
        drop(recorder);
        let clock = Arc::new(HastyClock::new());
        block_on(send_events(component, queue, server.clone(), clock));
    }

    #[test]
    fn a_note_becomes_an_event_and_its_repeats_a_count() {
        let server = Arc::new(TestServer::default());
        let claim = note(kind::PERSISTENT_VOLUME_CLAIM, Key::new("shop", "data"));
        send(vec![claim.clone(), claim.clone(), claim], &server);
        let events: Vec<Value> = server.lock().objects.values().cloned().collect();
        let [event] = &events[..] else { panic!("one event: {events:?}") };
        assert_eq!(event["metadata"]["namespace"], "shop");
        assert_eq!(event["metadata"]["name"], "data.18fae27693b40000");
        assert_eq!(event["count"], 3);
        assert_eq!(event["type"], "Warning");
        assert_eq!(event["source"], json!({"component": "a-controller"}));
        assert_eq!(event["lastTimestamp"], "2027-01-15T08:00:00Z");
        let involved = json!({"kind": "PersistentVolumeClaim", "apiVersion": "v1",
            "name": "data", "uid": "u", "resourceVersion": "7", "namespace": "shop"});
        assert_eq!(event["involvedObject"], involved);
    }

    #[test]
    fn the_scheduler_s_events_are_of_the_newer_kind_and_repeats_a_series() {
        let server = Arc::new(TestServer::default());
        let pod = Note { reason: "FailedScheduling", ..note(kind::POD, Key::new("shop", "web")) };
        send_as("default-scheduler", vec![pod.clone(), pod], &server);
        let events: Vec<Value> = server.lock().objects.values().cloned().collect();
        let [event] = &events[..] else { panic!("one event: {events:?}") };
        assert_eq!(event["reportingComponent"], "default-scheduler");
        assert_eq!((&event["action"], &event["source"]), (&json!("Scheduling"), &json!({})));
        assert_eq!(event["eventTime"], "2027-01-15T08:00:00.000000Z");
        assert_eq!(event["series"]["count"], 2);
    }

    #[test]
    fn events_about_cluster_wide_objects_are_kept_in_default() {
        let server = Arc::new(TestServer::default());
        send(vec![note(kind::PERSISTENT_VOLUME, Key::cluster("pv"))], &server);
        let state = server.lock();
        let (object, event) = state.objects.first_key_value().expect("an event");
        assert_eq!(&*object.key.namespace, "default");
        assert!(event["involvedObject"]["namespace"].is_null());
    }

    #[test]
    fn an_event_that_was_cleaned_away_is_made_anew() {
        let server = Arc::new(TestServer::default());
        let claim = note(kind::PERSISTENT_VOLUME_CLAIM, Key::new("shop", "data"));
        let (recorder, queue) = Recorder::new();
        recorder.tell(claim.clone());
        block_on(async {
            let clock = Arc::new(HastyClock::new());
            let sending = send_events("a-controller", queue, server.clone(), clock);
            let telling = async {
                tokio::task::yield_now().await;
                server.lock().objects.clear();
                recorder.tell(claim);
                drop(recorder);
            };
            futures::join!(sending, telling);
        });
        assert_eq!(server.lock().objects.len(), 1);
    }
}
