//! The newest calls to drivers: request and reply as people may see them, how
//! long each took and how it ended.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;

/// How many calls are kept.
const CALLS_MAX: usize = 4096;

/// One call. Secrets are not in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub id: u64,
    pub driver: Arc<str>,
    /// The node whose driver was called; empty: the controller service.
    pub node: Arc<str>,
    /// `CreateVolume`, …
    pub rpc: &'static str,
    pub started: Timestamp,
    /// `None` while it is in flight.
    pub ended: Option<Timestamp>,
    /// `OK`, `NotFound`, …; empty while it is in flight.
    pub code: &'static str,
    pub request: Value,
    /// The reply, or the error's message.
    pub reply: Value,
}

impl Call {
    /// The volume or name that the call is about.
    pub fn subject(&self) -> &str {
        let of = |field: &str| self.request[field].as_str();
        of("volume_id").or(of("name")).unwrap_or_default()
    }
}

/// The calls of a cluster. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Calls {
    kept: Arc<Mutex<Kept>>,
    changes: Arc<watch::Sender<u64>>,
}

#[derive(Debug, Default)]
struct Kept {
    calls: VecDeque<Call>,
    last_id: u64,
}

impl Calls {
    /// All that are kept, oldest first.
    pub fn all(&self) -> Vec<Call> {
        self.lock().calls.iter().cloned().collect()
    }

    /// Rises when a call begins or ends.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down that a call begins; it ends with [`Calls::end`].
    pub(super) fn begin(&self, mut call: Call) -> u64 {
        let mut kept = self.lock();
        kept.last_id += 1;
        call.id = kept.last_id;
        kept.calls.push_back(call);
        if kept.calls.len() > CALLS_MAX {
            // What is in flight stays in sight.
            let oldest = kept.calls.iter().position(|call| call.ended.is_some());
            kept.calls.remove(oldest.unwrap_or_default());
        }
        let id = kept.last_id;
        drop(kept);
        self.changes.send_modify(|changes| *changes += 1);
        id
    }

    pub(super) fn end(&self, id: u64, at: Timestamp, code: &'static str, reply: Value) {
        let mut kept = self.lock();
        if let Some(call) = kept.calls.iter_mut().rev().find(|call| call.id == id) {
            (call.ended, call.code, call.reply) = (Some(at), code, reply);
        }
        drop(kept);
        self.changes.send_modify(|changes| *changes += 1);
    }
}

/// A message as people see it: what is unset is left out.
pub(super) fn shown(message: &impl serde::Serialize) -> Value {
    let mut value = serde_json::to_value(message).unwrap_or_default();
    strip(&mut value);
    value
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(strip);
            map.retain(|_, value| !is_unset(value));
        }
        Value::Array(list) => list.iter_mut().for_each(strip),
        _ => {}
    }
}

fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(true) => false,
    }
}
