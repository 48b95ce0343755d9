//! A recorded trace, with every state written out in full.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

/// What was observed, as `trace.yaml` has it.
#[derive(Debug, Clone)]
pub struct Trace {
    pub steps: Vec<RecordedStep>,
    pub objects: BTreeMap<String, RecordedObject>,
    pub order: Vec<OrderEntry>,
    /// The complete orders of the runs, where they differ in their transitions.
    pub order_by_run: Vec<Vec<String>>,
    pub events: Vec<RecordedEvent>,
    /// Objects that an earlier recording left behind: they existed at the start
    /// although no scenario begins with anything but nodes.
    pub left_over: Vec<String>,
}

/// The answers to one step.
#[derive(Debug, Clone, Deserialize, Default, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct RecordedStep {
    pub step: usize,
    pub op: String,
    #[serde(default)]
    pub responses: Vec<Response>,
    pub result: Option<String>,
    pub output: Option<String>,
    /// What another run answered instead.
    #[serde(default)]
    pub differs: Vec<Value>,
}

/// One answer of the API.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Response {
    pub object: String,
    pub code: u16,
    pub reason: Option<String>,
    pub message: Option<String>,
}

impl fmt::Display for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.object, self.code)?;
        if let Some(reason) = &self.reason {
            write!(f, " {reason}")?;
        }
        if let Some(message) = &self.message {
            write!(f, " {message:?}")?;
        }
        Ok(())
    }
}

/// One object's recorded life.
#[derive(Debug, Clone)]
pub struct RecordedObject {
    /// Its fields at the start, if it existed then.
    pub initial: Option<State>,
    /// In the file's order; index `n` is state `n + 1`.
    pub states: Vec<State>,
    /// Which states occurred, in what order; one entry unless the runs differ.
    pub sequences: Vec<Vec<usize>>,
    /// Given if the runs differ: what each changed field went through.
    pub fields: Option<BTreeMap<String, Vec<Vec<Value>>>>,
}

/// The recorded fields of an object at one point.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Shared: most observations repeat what others hold.
    Present(Arc<Value>),
    Deleted,
}

/// One entry of the global order.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum OrderEntry {
    One(String),
    Group(Group),
}

/// Items whose inner order is free, apart from these pairs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub unordered: Vec<String>,
    #[serde(default)]
    pub but: Vec<(String, String)>,
}

impl OrderEntry {
    pub fn items(&self) -> &[String] {
        match self {
            Self::One(item) => std::slice::from_ref(item),
            Self::Group(group) => &group.unordered,
        }
    }
}

/// One event of the recorded set.
#[derive(Debug, Clone)]
pub struct RecordedEvent {
    pub event: Event,
    /// Whether some run went without it.
    pub optional: bool,
}

/// An event as far as it is compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    pub object: String,
    /// `Normal` or `Warning`.
    pub kind: String,
    pub reason: String,
    pub component: String,
    pub message: String,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {} by {}: {:?}",
            self.object, self.kind, self.reason, self.component, self.message
        )
    }
}

/// Splits `Kind/name@n`; `None` for a step marker.
pub fn object_of(item: &str) -> Option<(&str, usize)> {
    let (object, state) = item.rsplit_once('@')?;
    Some((object, state.parse().ok()?))
}

/// Takes out fields that are null: the API means the same by absent and null.
pub fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(without_nulls),
        _ => {}
    }
}
