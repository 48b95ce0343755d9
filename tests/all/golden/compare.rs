//! Whether an observation is what the recording allows: the rules under
//! "Comparing" of the recordings' README.

use std::collections::BTreeMap;
use std::fmt;

use super::fields;
use super::observation::{Observation, Outcome};
use super::order;
use super::trace::{RecordedObject, RecordedStep, Response, State, Trace};

/// One thing that is not as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference(pub String);

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// For one object: at which place of the log which recorded state came about.
/// `None`: a state that has no counterpart (only where single fields agree).
pub type Places = Vec<(usize, Option<usize>)>;

/// Everything that differs; empty if the recording holds.
pub fn differences(trace: &Trace, seen: &Observation) -> Vec<Difference> {
    let (mut found, places) = differences_but_order(trace, seen);
    if found.is_empty() {
        // The order speaks of recorded states, so it takes all of them matched.
        found.extend(order::difference(trace, seen, &places));
    }
    found
}

/// What differs whatever came first, and where the recorded states came about.
pub fn differences_but_order(
    trace: &Trace,
    seen: &Observation,
) -> (Vec<Difference>, BTreeMap<String, Vec<Places>>) {
    let mut found = Vec::new();
    steps(trace, seen, &mut found);
    let places = objects(trace, seen, &mut found);
    events(trace, seen, &mut found);
    (found, places)
}

fn steps(trace: &Trace, seen: &Observation, found: &mut Vec<Difference>) {
    let nothing = Outcome::default();
    for recorded in &trace.steps {
        let outcome = seen.steps.get(&recorded.step).unwrap_or(&nothing);
        let as_another_run = recorded.differs.iter().any(|other| allowed_by(other, outcome));
        if !as_another_run && let Some(what) = step(recorded, outcome) {
            found.push(Difference(format!("step {} ({}): {what}", recorded.step, recorded.op)));
        }
    }
}

fn step(recorded: &RecordedStep, outcome: &Outcome) -> Option<String> {
    if recorded.result != outcome.result {
        let word = |result: &Option<String>| result.clone().unwrap_or("nothing".into());
        return Some(format!(
            "recorded {}, here {}",
            word(&recorded.result),
            word(&outcome.result)
        ));
    }
    if recorded.output != outcome.output {
        return Some(format!("recorded {:?}, here {:?}", recorded.output, outcome.output));
    }
    let (here, there) = (&outcome.responses, &recorded.responses);
    let at = (0..here.len().max(there.len())).find(|at| here.get(*at) != there.get(*at))?;
    let text = |r: Option<&Response>| r.map_or("nothing".into(), ToString::to_string);
    Some(format!("recorded {}, here {}", text(there.get(at)), text(here.get(at))))
}

/// Whether another run's answers, given in the same form, are these.
fn allowed_by(other: &serde_json::Value, outcome: &Outcome) -> bool {
    let responses = serde_json::from_value(other["responses"].clone()).unwrap_or_default();
    let text = |key: &str| other[key].as_str().map(str::to_owned);
    *outcome == Outcome { responses, result: text("result"), output: text("output") }
}

/// Compares each object's states; the places at which they came about, one
/// list for each recorded sequence that fits.
fn objects(
    trace: &Trace,
    seen: &Observation,
    found: &mut Vec<Difference>,
) -> BTreeMap<String, Vec<Places>> {
    let lives = seen.lives();
    let mut places = BTreeMap::new();
    for (name, recorded) in &trace.objects {
        let life = lives.get(name.as_str()).map_or(&[][..], Vec::as_slice);
        let fitting = object(recorded, life);
        if fitting.is_empty() {
            found.push(Difference(format!("{name}: {}", where_object_differs(recorded, life))));
        }
        places.insert(name.clone(), fitting);
    }
    for name in lives.keys().filter(|name| !trace.objects.contains_key(**name)) {
        found.push(Difference(format!("{name}: not recorded at all")));
    }
    places
}

/// Rule 2: one list of places for each recorded sequence that this life
/// follows, or one where only the single fields agree.
fn object(recorded: &RecordedObject, life: &[(usize, &State)]) -> Vec<Places> {
    let by_sequence = |sequence: &Vec<usize>| {
        let wanted = sequence_without_repetitions(recorded, sequence);
        let same = wanted.len() == life.len()
            && wanted.iter().zip(life).all(|(n, (_, state))| recorded.states[n - 1] == **state);
        same.then(|| wanted.iter().zip(life).map(|(n, (at, _))| (*at, Some(*n))).collect())
    };
    let fitting: Vec<Places> = recorded.sequences.iter().filter_map(by_sequence).collect();
    if fitting.is_empty() && fields::agree(recorded, life) {
        return vec![places_by_contents(recorded, life)];
    }
    fitting
}

/// A sequence's states, leaving out those that repeat their predecessor.
pub fn sequence_without_repetitions(recorded: &RecordedObject, sequence: &[usize]) -> Vec<usize> {
    let mut distinct: Vec<usize> = Vec::with_capacity(sequence.len());
    for n in sequence {
        let repeats =
            distinct.last().is_some_and(|last| recorded.states[last - 1] == recorded.states[n - 1]);
        if !repeats {
            distinct.push(*n);
        }
    }
    distinct
}

/// Where only fields agree: each recorded state that occurred in every run is
/// the first one of the same contents.
fn places_by_contents(recorded: &RecordedObject, life: &[(usize, &State)]) -> Places {
    let in_every_run = |n: &usize| recorded.sequences.iter().all(|s| s.contains(n));
    let mut places: Places = life.iter().map(|(at, _)| (*at, None)).collect();
    for n in (1..=recorded.states.len()).filter(in_every_run) {
        let same = |(at, (_, state)): &(usize, &(usize, &State))| {
            places[*at].1.is_none() && **state == recorded.states[n - 1]
        };
        if let Some((at, _)) = life.iter().enumerate().find(same) {
            places[at].1 = Some(n);
        }
    }
    places
}

/// The first difference from the sequence that agrees longest.
fn where_object_differs(recorded: &RecordedObject, life: &[(usize, &State)]) -> String {
    let agreeing = |sequence: &Vec<usize>| {
        let wanted = sequence_without_repetitions(recorded, sequence);
        let agreed = wanted
            .iter()
            .zip(life)
            .take_while(|(n, (_, state))| recorded.states[**n - 1] == **state)
            .count();
        (agreed, wanted)
    };
    let Some((at, wanted)) =
        recorded.sequences.iter().map(agreeing).max_by_key(|(agreed, _)| *agreed)
    else {
        return "recorded without states".into();
    };
    let recorded_state = wanted.get(at).map(|n| &recorded.states[n - 1]);
    let here = life.get(at).map(|(_, state)| *state);
    let what = match (recorded_state, here) {
        (Some(State::Present(recorded)), Some(State::Present(here))) => {
            fields::first_difference(recorded, here)
        }
        (recorded, here) => format!("recorded {}, here {}", text(recorded), text(here)),
    };
    format!("state {}: {what}", at + 1)
}

fn text(state: Option<&State>) -> String {
    match state {
        None => "no further state".into(),
        Some(State::Deleted) => "deleted".into(),
        Some(State::Present(contents)) => contents.to_string(),
    }
}

/// Rule 4.
fn events(trace: &Trace, seen: &Observation, found: &mut Vec<Difference>) {
    for recorded in &trace.events {
        if !recorded.optional && !seen.events.contains(&recorded.event) {
            found.push(Difference(format!("event missing: {}", recorded.event)));
        }
    }
    for event in &seen.events {
        if !trace.events.iter().any(|recorded| recorded.event == *event) {
            found.push(Difference(format!("event not recorded: {event}")));
        }
    }
}
