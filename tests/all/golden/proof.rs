//! The comparison proves itself: what was recorded is accepted, and with one
//! state, event, answer or place in the order changed it is refused.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::compare::differences;
use super::load::Recording;
use super::observation::{Happening, Observation, Outcome};
use super::trace::{OrderEntry, State, Trace, object_of};

/// How many changes were tried.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    pub accepted: usize,
    pub states: usize,
    pub events: usize,
    pub orders: usize,
    pub answers: usize,
    pub reorderings: usize,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.states += other.states;
        self.events += other.events;
        self.orders += other.orders;
        self.answers += other.answers;
        self.reorderings += other.reorderings;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} runs and {} free reorderings accepted; refused: {} changed states, {} changed \
             events, {} changed orders, {} changed answers",
            self.accepted, self.reorderings, self.states, self.events, self.orders, self.answers
        )
    }
}

/// Tries every change on one recording; what was judged wrongly.
pub fn prove(recording: &Recording) -> (Counts, Vec<String>) {
    let trace = &recording.trace;
    let mut proof = Proof { trace, counts: Counts::default(), wrong: Vec::new() };
    for (run, seen) in observations(trace).iter().enumerate() {
        let found = differences(trace, seen);
        proof.counts.accepted += 1;
        if let Some(first) = found.first() {
            proof.wrong.push(format!("run {run} refused: {first}"));
            continue;
        }
        proof.states(seen);
        proof.events(seen);
        proof.orders(seen);
        proof.answers(seen);
    }
    let wrong = proof.wrong.into_iter().map(|what| format!("{}: {what}", recording.name)).collect();
    (proof.counts, wrong)
}

/// What was recorded, as if it had just been observed: once for each run whose
/// order is recorded, else once.
pub fn observations(trace: &Trace) -> Vec<Observation> {
    let orders = if trace.order_by_run.is_empty() {
        vec![trace.order.iter().flat_map(in_some_order).collect()]
    } else {
        trace.order_by_run.clone()
    };
    orders.iter().map(|order| observation(trace, order)).collect()
}

fn observation(trace: &Trace, order: &[String]) -> Observation {
    let happening = |item: &String| match object_of(item) {
        None => Some(Happening::Step(item.strip_prefix("step ")?.parse().ok()?)),
        Some((object, n)) => Some(Happening::State {
            object: object.to_owned(),
            state: trace.objects.get(object)?.states.get(n - 1)?.clone(),
        }),
    };
    let outcome = |step: &super::trace::RecordedStep| Outcome {
        responses: step.responses.clone(),
        result: step.result.clone(),
        output: step.output.clone(),
    };
    Observation {
        steps: trace.steps.iter().map(|step| (step.step, outcome(step))).collect(),
        log: order.iter().filter_map(happening).collect(),
        events: trace.events.iter().map(|event| event.event.clone()).collect(),
    }
}

/// An entry's items in an order that its pairs allow.
fn in_some_order(entry: &OrderEntry) -> Vec<String> {
    let OrderEntry::Group(group) = entry else { return entry.items().to_vec() };
    let mut left = group.unordered.clone();
    let mut ordered = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let waits = |item: &String| group.but.iter().any(|(a, b)| b == item && left.contains(a));
        let at = left.iter().position(|item| !waits(item)).unwrap_or_default();
        ordered.push(left.remove(at));
    }
    ordered
}

struct Proof<'a> {
    trace: &'a Trace,
    counts: Counts,
    wrong: Vec<String>,
}

impl Proof<'_> {
    fn must_be_refused(&mut self, changed: &Observation, what: impl FnOnce() -> String) {
        if differences(self.trace, changed).is_empty() {
            self.wrong.push(format!("accepted although {}", what()));
        }
    }

    /// Every state: one field of another value, one field missing, the whole
    /// state missing, and the same state a second time after another.
    fn states(&mut self, seen: &Observation) {
        for at in 0..seen.log.len() {
            let Happening::State { object, state } = &seen.log[at] else { continue };
            let name = format!("state {at} of the log ({object})");
            let mut variants: Vec<(String, State)> =
                vec![("another kind of state".into(), opposite(state))];
            if let State::Present(contents) = state {
                let count = leaves(contents).len();
                if count > 0 {
                    let leaf = leaves(contents)[at % count].clone();
                    variants.push((
                        format!("{leaf} changed"),
                        State::Present(changed(contents, &leaf).into()),
                    ));
                    variants.push((
                        format!("{leaf} removed"),
                        State::Present(removed(contents, &leaf).into()),
                    ));
                }
            }
            for (what, variant) in variants {
                let mut other = seen.clone();
                other.log[at] = Happening::State { object: object.clone(), state: variant };
                self.counts.states += 1;
                self.must_be_refused(&other, || format!("{name} has {what}"));
            }
            if self.trace.objects[object].sequences.len() == 1 {
                let mut other = seen.clone();
                other.log.remove(at);
                self.counts.states += 1;
                self.must_be_refused(&other, || format!("{name} is missing"));
            }
        }
    }

    /// Every event: another text, missing (unless some run had it not), and one
    /// too many.
    fn events(&mut self, seen: &Observation) {
        for recorded in &self.trace.events {
            let mut without = seen.clone();
            without.events.remove(&recorded.event);
            let mut reworded = without.clone();
            let mut event = recorded.event.clone();
            event.message.push('.');
            reworded.events.insert(event.clone());
            self.counts.events += 1;
            self.must_be_refused(&reworded, || format!("an event reads {event}"));
            if !recorded.optional {
                self.counts.events += 1;
                self.must_be_refused(&without, || format!("without event {}", recorded.event));
            }
        }
        let Some(Happening::State { object, .. }) =
            seen.log.iter().find(|happening| matches!(happening, Happening::State { .. }))
        else {
            return;
        };
        let mut more = seen.clone();
        more.events.insert(super::trace::Event {
            object: object.clone(),
            kind: "Normal".into(),
            reason: "Unheard".into(),
            component: "nobody".into(),
            message: "never recorded".into(),
        });
        self.counts.events += 1;
        self.must_be_refused(&more, || "with an event too many".into());
    }

    /// Every two neighbours of the log change places. What the recorded order
    /// fixes must be refused; what it leaves free must be accepted.
    fn orders(&mut self, seen: &Observation) {
        let items = self.items(seen);
        for at in 1..seen.log.len() {
            let (first, second) = (&items[at - 1], &items[at]);
            let fixed = match (self.place(first), self.place(second)) {
                _ if same_object(first, second) => true,
                // Some run went without it: the order does not speak of it.
                (None, _) | (_, None) => continue,
                (Some(a), Some(b)) if a != b => true,
                (Some(a), _) => self.paired(a, first, second),
            };
            let mut other = seen.clone();
            other.log.swap(at - 1, at);
            if fixed {
                self.counts.orders += 1;
                self.must_be_refused(&other, || format!("`{first}` and `{second}` changed places"));
            } else {
                self.counts.reorderings += 1;
                if let Some(found) = differences(self.trace, &other).first() {
                    self.wrong.push(format!("`{first}`, `{second}` may change places: {found}"));
                }
            }
        }
    }

    /// Every answer, result and output differs once.
    fn answers(&mut self, seen: &Observation) {
        for (number, outcome) in &seen.steps {
            let mut variants: Vec<Outcome> = Vec::new();
            for at in 0..outcome.responses.len() {
                let mut other = outcome.clone();
                other.responses[at].code += 1;
                variants.push(other);
                let mut other = outcome.clone();
                match &mut other.responses[at].message {
                    Some(message) => message.push('.'),
                    none => *none = Some("refused".into()),
                }
                variants.push(other);
            }
            if outcome.result.is_some() {
                variants.push(Outcome { result: Some("timeout".into()), ..outcome.clone() });
            }
            if outcome.output.is_some() {
                variants.push(Outcome { output: None, ..outcome.clone() });
            }
            for variant in variants {
                let mut other = seen.clone();
                other.steps.insert(*number, variant);
                self.counts.answers += 1;
                self.must_be_refused(&other, || format!("step {number} answered otherwise"));
            }
        }
    }

    /// The log's items by the names that the recorded order has for them.
    fn items(&self, seen: &Observation) -> Vec<String> {
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        let order = observations(self.trace).into_iter().position(|other| other.log == seen.log);
        if let (Some(run), false) = (order, self.trace.order_by_run.is_empty()) {
            return self.trace.order_by_run[run].clone();
        }
        let mut items = Vec::with_capacity(seen.log.len());
        for happening in &seen.log {
            items.push(match happening {
                Happening::Step(n) => format!("step {n}"),
                Happening::State { object, .. } => {
                    let number = numbers.entry(object.as_str()).or_insert(0);
                    *number += 1;
                    format!("{object}@{number}")
                }
            });
        }
        items
    }

    /// The entry of the recorded order that an item is in.
    fn place(&self, item: &str) -> Option<usize> {
        self.trace.order.iter().position(|entry| entry.items().iter().any(|i| i == item))
    }

    fn paired(&self, entry: usize, first: &str, second: &str) -> bool {
        match &self.trace.order[entry] {
            OrderEntry::One(_) => true,
            OrderEntry::Group(group) => group.but.iter().any(|(a, b)| a == first && b == second),
        }
    }
}

fn same_object(first: &str, second: &str) -> bool {
    matches!((object_of(first), object_of(second)), (Some((a, _)), Some((b, _))) if a == b)
}

fn opposite(state: &State) -> State {
    match state {
        State::Present(_) => State::Deleted,
        State::Deleted => State::Present(serde_json::json!({"status": {"phase": "Back"}}).into()),
    }
}

/// JSON pointers to every scalar.
fn leaves(value: &Value) -> Vec<String> {
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    let below = |key: String, value| {
        leaves(value).into_iter().map(move |leaf| format!("/{key}{leaf}")).collect::<Vec<_>>()
    };
    match value {
        Value::Object(map) => map.iter().flat_map(|(k, v)| below(escaped(k), v)).collect(),
        Value::Array(list) => {
            list.iter().enumerate().flat_map(|(at, v)| below(at.to_string(), v)).collect()
        }
        _ => vec![String::new()],
    }
}

fn changed(contents: &Value, leaf: &str) -> Value {
    let mut contents = contents.clone();
    if let Some(value) = contents.pointer_mut(leaf) {
        *value = match value.take() {
            Value::String(text) => format!("{text}x").into(),
            Value::Bool(flag) => (!flag).into(),
            Value::Number(number) => (number.as_i64().unwrap_or_default() + 1).into(),
            other => other,
        };
    }
    contents
}

fn removed(contents: &Value, leaf: &str) -> Value {
    let mut contents = contents.clone();
    let (parent, key) = leaf.rsplit_once('/').unwrap_or_default();
    match contents.pointer_mut(parent) {
        Some(Value::Object(map)) => {
            map.shift_remove(&key.replace("~1", "/").replace("~0", "~"));
        }
        Some(Value::Array(list)) => {
            list.remove(key.parse().unwrap_or_default());
        }
        _ => {}
    }
    contents
}
