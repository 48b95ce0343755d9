//! The newest calls to drivers: request and reply as people may see them, how
//! long each took and how it ended.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
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

    /// How long it took; `None` while it is in flight.
    pub fn took(&self) -> Option<SignedDuration> {
        Some(self.ended?.duration_since(self.started))
    }

    /// Whether it ended in another way than well.
    pub fn failed(&self) -> bool {
        self.ended.is_some() && self.code != OK
    }
}

/// The code of a call that went well.
pub const OK: &str = "OK";

/// The calls that say what a driver can do: the newest answers to them are
/// kept however many other calls follow.
const ABILITIES: [&str; 3] =
    ["GetPluginCapabilities", "ControllerGetCapabilities", "NodeGetCapabilities"];

/// What the calls of one kind to a driver amount to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RpcFigures {
    pub driver: Arc<str>,
    pub rpc: &'static str,
    pub ended: usize,
    pub in_flight: usize,
    /// Of all that have ended.
    pub total: SignedDuration,
    pub slowest: SignedDuration,
    /// How many ended with which code, those that went well left out.
    pub failures: BTreeMap<&'static str, usize>,
    /// The newest failure, and what was said.
    pub last_failure: Option<(Timestamp, &'static str, String)>,
}

impl RpcFigures {
    /// How long one takes on the average.
    pub fn mean(&self) -> SignedDuration {
        i32::try_from(self.ended).ok().and_then(|n| self.total.checked_div(n)).unwrap_or_default()
    }

    fn count(&mut self, call: &Call) {
        let Some(took) = call.took() else {
            self.in_flight += 1;
            return;
        };
        self.ended += 1;
        self.total += took;
        self.slowest = self.slowest.max(took);
        if call.failed() {
            *self.failures.entry(call.code).or_default() += 1;
            let said = call.reply.as_str().unwrap_or_default().to_owned();
            self.last_failure = Some((call.ended.unwrap_or(call.started), call.code, said));
        }
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
    /// The newest answers to [`ABILITIES`], by driver and call.
    abilities: BTreeMap<(Arc<str>, &'static str), Value>,
}

impl Calls {
    /// All that are kept, oldest first.
    pub fn all(&self) -> Vec<Call> {
        self.lock().calls.iter().cloned().collect()
    }

    /// What the calls that are kept amount to, by driver and kind.
    pub fn figures(&self) -> Vec<RpcFigures> {
        let kept = self.lock();
        let mut figures: BTreeMap<(&str, &str), RpcFigures> = BTreeMap::new();
        for call in &kept.calls {
            let own = figures.entry((&call.driver, call.rpc)).or_insert_with(|| RpcFigures {
                driver: call.driver.clone(),
                rpc: call.rpc,
                ..RpcFigures::default()
            });
            own.count(call);
        }
        figures.into_values().collect()
    }

    /// The newest calls that pass, oldest first, at most so many.
    pub fn newest(&self, passes: impl Fn(&Call) -> bool, max: usize) -> Vec<Call> {
        let kept = self.lock();
        let newest = kept.calls.iter().rev().filter(|call| passes(call)).take(max);
        let mut newest: Vec<Call> = newest.cloned().collect();
        newest.reverse();
        newest
    }

    /// The newest answers of drivers about what they can do, by driver and
    /// call.
    pub fn abilities(&self) -> Vec<(Arc<str>, &'static str, Value)> {
        let kept = self.lock();
        let said = kept.abilities.iter();
        said.map(|((driver, rpc), reply)| (driver.clone(), *rpc, reply.clone())).collect()
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
        let Kept { calls, abilities, .. } = &mut *kept;
        if let Some(call) = calls.iter_mut().rev().find(|call| call.id == id) {
            if code == OK && ABILITIES.contains(&call.rpc) {
                abilities.insert((call.driver.clone(), call.rpc), reply.clone());
            }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(driver: &str, rpc: &'static str, volume: &str) -> Call {
        Call {
            id: 0,
            driver: driver.into(),
            node: "".into(),
            rpc,
            started: Timestamp::UNIX_EPOCH,
            ended: None,
            code: "",
            request: json!({"volume_id": volume}),
            reply: Value::Null,
        }
    }

    #[test]
    fn figures_tell_flight_time_and_codes_per_call() {
        let calls = Calls::default();
        let end = |id, ms, code, reply| {
            let at = Timestamp::from_millisecond(ms).expect("a time");
            calls.end(id, at, code, reply);
        };
        let first = calls.begin(call("a", "NodeStageVolume", "v"));
        let second = calls.begin(call("a", "NodeStageVolume", "w"));
        calls.begin(call("a", "NodeStageVolume", "v"));
        end(first, 20, OK, Value::Null);
        end(second, 60, "NotFound", "no such volume".into());
        let figures = calls.figures();
        let [own] = &figures[..] else { panic!("{figures:?}") };
        assert_eq!((own.ended, own.in_flight), (2, 1));
        assert_eq!((own.mean().as_millis(), own.slowest.as_millis()), (40, 60));
        assert_eq!(own.failures, [("NotFound", 1)].into());
        assert!(own.last_failure.as_ref().is_some_and(|(_, _, said)| said == "no such volume"));
        let of_one = calls.newest(|call| call.subject() == "v", 1);
        assert_eq!(of_one.iter().map(|call| call.id).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn what_a_driver_can_do_outlives_the_calls() {
        let calls = Calls::default();
        let id = calls.begin(call("a", "NodeGetCapabilities", ""));
        calls.end(id, Timestamp::UNIX_EPOCH, OK, json!({"capabilities": []}));
        for _ in 0..=CALLS_MAX {
            let id = calls.begin(call("a", "NodePublishVolume", "v"));
            calls.end(id, Timestamp::UNIX_EPOCH, OK, Value::Null);
        }
        assert!(calls.figures().iter().all(|own| own.rpc != "NodeGetCapabilities"));
        assert_eq!(calls.abilities().len(), 1);
    }
}
