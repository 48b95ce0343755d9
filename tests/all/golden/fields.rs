//! Field by field: what a field, or an element of a list, went through.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::trace::{RecordedObject, State};

const ABSENT: &str = "absent";
const PRESENT: &str = "present";

/// Each field's succession of values.
type Histories = BTreeMap<String, Vec<Value>>;

/// The second half of rule 2: whether, interleaving apart, each field goes
/// through what was recorded. Only where the runs themselves differed.
///
/// What may differ is which writer came first, not what one write changes: so
/// each step from state to state must be one that some run took.
pub fn agree(recorded: &RecordedObject, life: &[(usize, &State)]) -> bool {
    let Some(allowed) = &recorded.fields else { return false };
    let initial = recorded.initial.iter();
    let states: Vec<&State> = initial.clone().chain(life.iter().map(|(_, state)| *state)).collect();
    let deletions = |states: &[&State]| states.iter().filter(|s| ***s == State::Deleted).count();
    let run = |sequence: &Vec<usize>| -> Vec<&State> {
        initial.clone().chain(sequence.iter().map(|n| &recorded.states[n - 1])).collect()
    };
    let runs: Vec<Vec<&State>> = recorded.sequences.iter().map(run).collect();
    if !runs.iter().any(|run| deletions(run) == deletions(&states)) {
        return false;
    }
    let taken: Vec<Step> = runs.iter().flat_map(|states| steps(states)).collect();
    if !steps(&states).iter().all(|step| taken.contains(step)) {
        return false;
    }
    // Fields that never changed are not listed; they are as in any one run.
    let constant = runs.first().map(|run| histories(run)).unwrap_or_default();
    let here = histories(&states);
    let paths: BTreeSet<&String> =
        here.keys().chain(constant.keys()).chain(allowed.keys()).collect();
    let absent = vec![Value::from(ABSENT)];
    paths.into_iter().all(|path| {
        let history = here.get(path).unwrap_or(&absent);
        match allowed.get(path) {
            Some(any_of) => any_of.contains(history),
            None => history.len() == 1 && Some(history) == constant.get(path),
        }
    })
}

/// What an object's fields went through in its recorded runs, for one whose
/// runs agreed.
pub fn recorded_histories(recorded: &RecordedObject) -> BTreeMap<String, Vec<Vec<Value>>> {
    let mut all: BTreeMap<String, Vec<Vec<Value>>> = BTreeMap::new();
    for sequence in &recorded.sequences {
        let states = sequence.iter().map(|n| &recorded.states[n - 1]);
        let states: Vec<&State> = recorded.initial.iter().chain(states).collect();
        for (path, history) in histories(&states) {
            all.entry(path).or_default().push(history);
        }
    }
    all
}

/// What changes from one state to the next: for each field its values before
/// and after. An object's first state is a change from nothing; its deletion
/// comes after the last finalizers are taken away, which the store does in one.
type Step = BTreeMap<String, (Option<Value>, Option<Value>)>;

fn steps(states: &[&State]) -> Vec<Step> {
    let mut before = BTreeMap::new();
    let mut steps = Vec::new();
    for state in states {
        let State::Present(contents) = state else {
            before.retain(|path: &String, _| path.starts_with("metadata.finalizers["));
            let finalizers = std::mem::take(&mut before).into_iter();
            let last: Step = finalizers.map(|(path, value)| (path, (Some(value), None))).collect();
            if !last.is_empty() {
                steps.push(last);
            }
            steps.push(Step::from([("deleted".into(), (None, Some(true.into())))]));
            continue;
        };
        let after = flattened(contents);
        let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let step: Step = paths
            .into_iter()
            .filter(|path| before.get(*path) != after.get(*path))
            .map(|path| (path.clone(), (before.get(path).cloned(), after.get(path).cloned())))
            .collect();
        if !step.is_empty() {
            steps.push(step);
        }
        before = after;
    }
    steps
}

/// Every field's succession of values over these states. A deletion takes the
/// last finalizers away and leaves no other value.
fn histories(states: &[&State]) -> Histories {
    let mut flat: Vec<BTreeMap<String, Value>> = Vec::new();
    for state in states {
        match state {
            State::Present(contents) => flat.push(flattened(contents)),
            State::Deleted => {
                let mut last = flat.last().cloned().unwrap_or_default();
                last.retain(|path, _| !path.starts_with("metadata.finalizers["));
                flat.push(last);
            }
        }
    }
    let paths: BTreeSet<&String> = flat.iter().flat_map(BTreeMap::keys).collect();
    let history = |path: &String| {
        let mut values: Vec<Value> = Vec::new();
        for state in &flat {
            let value = state.get(path).cloned().unwrap_or_else(|| ABSENT.into());
            if values.last() != Some(&value) {
                values.push(value);
            }
        }
        values
    };
    paths.into_iter().map(|path| (path.clone(), history(path))).collect()
}

/// An object's fields by path: `status.phase`, `metadata.finalizers[x]`,
/// `status.conditions[Ready].reason`.
fn flattened(contents: &Value) -> BTreeMap<String, Value> {
    let mut fields = BTreeMap::new();
    flatten(contents, "", &mut fields);
    fields
}

fn flatten(value: &Value, path: &str, fields: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(value, &path, fields);
            }
        }
        Value::Array(list) => {
            for element in list {
                flatten_element(element, path, fields);
            }
        }
        scalar => {
            fields.insert(path.to_owned(), scalar.clone());
        }
    }
}

fn flatten_element(element: &Value, path: &str, fields: &mut BTreeMap<String, Value>) {
    let key = ["name", "type"].into_iter().find(|key| element[*key].is_string());
    let id = match (key, element) {
        (Some(key), _) => element[key].as_str().unwrap_or_default().to_owned(),
        (None, Value::String(text)) => text.clone(),
        (None, other) => match other["key"].as_str() {
            Some(key) => key.to_owned(),
            None => other.to_string(),
        },
    };
    let path = format!("{path}[{id}]");
    fields.insert(path.clone(), PRESENT.into());
    for (name, value) in element.as_object().into_iter().flatten() {
        if Some(name.as_str()) != key {
            flatten(value, &format!("{path}.{name}"), fields);
        }
    }
}

/// The first field in which two states of one object differ.
pub fn first_difference(recorded: &Value, here: &Value) -> String {
    let (recorded, here) = (flattened(recorded), flattened(here));
    let paths: BTreeSet<&String> = recorded.keys().chain(here.keys()).collect();
    let text = |value: Option<&Value>| value.map_or(ABSENT.into(), Value::to_string);
    paths.into_iter().find(|path| recorded.get(*path) != here.get(*path)).map_or(
        "the order within a list".into(),
        |path| {
            format!("{path}: recorded {}, here {}", text(recorded.get(path)), text(here.get(path)))
        },
    )
}
