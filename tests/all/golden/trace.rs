//! A recorded trace, with every state written out in full.

use std::collections::BTreeMap;
use std::fmt;

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
    Present(Value),
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

impl Trace {
    /// Writes the states out and checks that everything refers to something.
    pub fn from_file(file: TraceFile) -> Result<Self, Impossible> {
        let mut objects = BTreeMap::new();
        let mut left_over = Vec::new();
        for (name, object) in file.objects {
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
        let mut trace = Self {
            steps: file.steps,
            objects,
            order: file.order,
            order_by_run: file.order_by_run,
            events: file.events.into_iter().map(EventFile::recorded).collect(),
            left_over,
        };
        trace.drop_left_over();
        trace.check_references()?;
        Ok(trace)
    }

    /// Takes what concerns left-over objects out of the orders and the events.
    fn drop_left_over(&mut self) {
        let left = self.left_over.clone();
        let keep =
            |item: &String| object_of(item).is_none_or(|(o, _)| !left.iter().any(|l| l == o));
        self.order.retain_mut(|entry| match entry {
            OrderEntry::One(item) => keep(item),
            OrderEntry::Group(group) => {
                group.unordered.retain(keep);
                group.but.retain(|(a, b)| keep(a) && keep(b));
                !group.unordered.is_empty()
            }
        });
        for order in &mut self.order_by_run {
            order.retain(keep);
        }
        self.events.retain(|event| !left.contains(&event.event.object));
    }

    fn check_references(&self) -> Result<(), Impossible> {
        let items = self.order.iter().flat_map(OrderEntry::items);
        for item in items.chain(self.order_by_run.iter().flatten()) {
            let known = match object_of(item) {
                None => item.strip_prefix("step ").is_some_and(|n| n.parse::<usize>().is_ok()),
                Some((object, state)) => self
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

fn write_out(name: &str, object: ObjectFile) -> Result<RecordedObject, Impossible> {
    let impossible =
        |text: &str| Impossible { mark: format!("{name}:"), text: format!("{name}: {text}") };
    let mut initial = object.initial.map(State::Present);
    if let Some(State::Present(contents)) = &mut initial {
        without_nulls(contents);
    }
    let mut current = match &initial {
        Some(State::Present(contents)) => Some(contents.clone()),
        _ => None,
    };
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
        states.push(current.clone().map_or(State::Deleted, |mut contents| {
            without_nulls(&mut contents);
            State::Present(contents)
        }));
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
