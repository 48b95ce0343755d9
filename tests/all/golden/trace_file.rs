//! `trace.yaml` as it is written, and how it is written out.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use super::trace::{
    Event, OrderEntry, RecordedEvent, RecordedObject, RecordedStep, State, Trace, object_of,
    without_nulls,
};

/// `trace.yaml` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceFile {
    #[serde(rename = "title")]
    _title: String,
    #[serde(rename = "recorded_from")]
    _recorded_from: String,
    #[serde(rename = "runs")]
    _runs: u32,
    steps: Vec<RecordedStep>,
    objects: BTreeMap<String, ObjectFile>,
    order: Vec<OrderEntry>,
    #[serde(default, rename = "not_in_every_run")]
    _not_in_every_run: Vec<String>,
    #[serde(default)]
    order_by_run: Vec<Vec<String>>,
    events: Vec<EventFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventFile {
    object: String,
    #[serde(rename = "type")]
    kind: String,
    reason: String,
    component: String,
    message: String,
    #[serde(default, rename = "repeated")]
    _repeated: bool,
    seen_in_runs: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ObjectFile {
    initial: Option<Value>,
    states: Vec<StateFile>,
    #[serde(default)]
    sequences: Vec<SequenceFile>,
    fields: Option<BTreeMap<String, FieldFile>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StateFile {
    state: usize,
    full: Option<Value>,
    change: Option<Value>,
    #[serde(default)]
    deleted: bool,
    #[serde(default, rename = "by")]
    _by: Vec<String>,
    #[serde(rename = "seen_in_runs")]
    _seen_in_runs: Option<String>,
    #[serde(rename = "delay_seconds")]
    _delay_seconds: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SequenceFile {
    states: Vec<usize>,
    #[serde(rename = "runs")]
    _runs: u32,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum FieldFile {
    One(Vec<Value>),
    Any { any_of: Vec<Vec<Value>> },
}

impl EventFile {
    fn recorded(self) -> RecordedEvent {
        let Self { object, kind, reason, component, message, seen_in_runs, .. } = self;
        // Each kubelet has a directory of its own there, and here a machine.
        let message = ["node-1", "node-2"].iter().fold(message, |message, node| {
            message.replace(&format!("<root>/{node}/kubelet/"), "<kubelet>/")
        });
        RecordedEvent {
            event: Event { object, kind, reason, component, message },
            optional: seen_in_runs.is_some(),
        }
    }
}

/// What a well-formed file says that cannot be; `mark` finds the line.
pub struct Impossible {
    pub mark: String,
    pub text: String,
}

impl TraceFile {
    /// Writes the states out and checks that everything refers to something.
    pub fn written_out(self) -> Result<Trace, Impossible> {
        let mut objects = BTreeMap::new();
        let mut left_over = Vec::new();
        for (name, object) in self.objects {
            // Only nodes exist at the start of a scenario.
            if object.initial.is_some()
                && !name.starts_with("Node/")
                && !name.starts_with("CSINode/")
            {
                left_over.push(name);
                continue;
            }
            let written_out = write_out(&name, object)?;
            objects.insert(name, written_out);
        }
        let mut trace = Trace {
            steps: self.steps,
            objects,
            order: self.order,
            order_by_run: self.order_by_run,
            events: self.events.into_iter().map(EventFile::recorded).collect(),
            left_over,
        };
        drop_left_over(&mut trace);
        check_references(&trace)?;
        Ok(trace)
    }
}

/// Takes what concerns left-over objects out of the orders and the events.
fn drop_left_over(trace: &mut Trace) {
    let left = trace.left_over.clone();
    let keep = |item: &String| object_of(item).is_none_or(|(o, _)| !left.iter().any(|l| l == o));
    trace.order.retain_mut(|entry| match entry {
        OrderEntry::One(item) => keep(item),
        OrderEntry::Group(group) => {
            group.unordered.retain(keep);
            group.but.retain(|(a, b)| keep(a) && keep(b));
            !group.unordered.is_empty()
        }
    });
    for order in &mut trace.order_by_run {
        order.retain(keep);
    }
    trace.events.retain(|event| !left.contains(&event.event.object));
}

fn check_references(trace: &Trace) -> Result<(), Impossible> {
    let items = trace.order.iter().flat_map(OrderEntry::items);
    for item in items.chain(trace.order_by_run.iter().flatten()) {
        let known = match object_of(item) {
            None => item.strip_prefix("step ").is_some_and(|n| n.parse::<usize>().is_ok()),
            Some((object, state)) => trace
                .objects
                .get(object)
                .is_some_and(|object| (1..=object.states.len()).contains(&state)),
        };
        if !known {
            return Err(Impossible {
                mark: item.clone(),
                text: format!("the order names `{item}`, which is not among the objects"),
            });
        }
    }
    Ok(())
}

fn present(contents: &Value) -> State {
    let mut contents = contents.clone();
    without_nulls(&mut contents);
    State::Present(Arc::new(contents))
}

fn write_out(name: &str, object: ObjectFile) -> Result<RecordedObject, Impossible> {
    let impossible =
        |text: &str| Impossible { mark: format!("{name}:"), text: format!("{name}: {text}") };
    let mut current = object.initial;
    let initial = current.as_ref().map(present);
    let mut states = Vec::with_capacity(object.states.len());
    for (at, state) in object.states.into_iter().enumerate() {
        if state.state != at + 1 {
            return Err(impossible(&format!("state {} stands in place {}", state.state, at + 1)));
        }
        current = match (state.full, state.change, state.deleted) {
            (Some(full), None, false) => Some(full),
            (None, Some(change), false) => {
                let Some(mut contents) = current else {
                    return Err(impossible("a change needs a state to change"));
                };
                json_patch::merge(&mut contents, &change);
                Some(contents)
            }
            (None, None, true) => None,
            _ => return Err(impossible("a state has one of `full`, `change` and `deleted`")),
        };
        states.push(current.as_ref().map_or(State::Deleted, present));
    }
    let sequences = match object.sequences.as_slice() {
        [] => vec![(1..=states.len()).collect()],
        several => several.iter().map(|sequence| sequence.states.clone()).collect(),
    };
    if sequences.iter().flatten().any(|n| !(1..=states.len()).contains(n)) {
        return Err(impossible("a sequence names a state that is not there"));
    }
    let fields = object.fields.map(|fields| {
        let histories = fields.into_iter().map(|(path, field)| match field {
            FieldFile::One(history) => (path, vec![history]),
            FieldFile::Any { any_of } => (path, any_of),
        });
        histories.collect()
    });
    Ok(RecordedObject { initial, states, sequences, fields })
}
