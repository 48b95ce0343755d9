//! From the store's commits to an observation.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::observation::{Happening, Observation, Outcome};
use super::project::{RECORDED_KINDS, recorded_fields};
use super::tokens::Tokens;
use super::trace::{Event, State};

/// One commit of the store, decoded.
#[derive(Debug)]
pub struct Committed {
    pub revision: u64,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

/// What was noted down while playing.
#[derive(Debug, Default)]
pub struct Notes {
    /// Each acting step and the store's revision just before it.
    pub markers: Vec<(usize, u64)>,
    pub outcomes: Vec<(usize, Outcome)>,
}

/// Puts commits and notes together, and what was there before.
pub fn observation(before: &[Value], commits: &[Committed], notes: &Notes) -> Observation {
    let mut tokens = Tokens::default();
    before.iter().for_each(|object| tokens.created(object));
    let mut log = Vec::new();
    let mut events = BTreeSet::new();
    let mut markers = notes.markers.iter().peekable();
    for commit in commits {
        while let Some((step, _)) = markers.next_if(|(_, before)| *before < commit.revision) {
            log.push(Happening::Step(*step));
        }
        if commit.before.is_none()
            && let Some(created) = &commit.after
        {
            tokens.created(created);
        }
        let Some(object) = commit.after.as_ref().or(commit.before.as_ref()) else { continue };
        let kind = object["kind"].as_str().unwrap_or_default();
        let about = object["involvedObject"]["kind"].as_str().unwrap_or_default();
        if kind == "Event" && RECORDED_KINDS.contains(&about) {
            let event = event(object, &tokens);
            // What a kubelet says about its own node is not recorded.
            if !(about == "Node" && event.component == "kubelet") {
                events.insert(event);
            }
        }
        if !RECORDED_KINDS.contains(&kind) {
            continue;
        }
        let state = commit.after.as_ref().map_or(State::Deleted, |after| {
            let mut fields = recorded_fields(after);
            tokens.value(&mut fields);
            sort_volumes(&mut fields);
            State::Present(Arc::new(fields))
        });
        let changed = match (&commit.before, &commit.after) {
            (Some(before), Some(after)) => recorded_fields(before) != recorded_fields(after),
            _ => true,
        };
        if changed {
            log.push(Happening::State { object: tokens.object_name(object), state });
        }
    }
    log.extend(markers.map(|(step, _)| Happening::Step(*step)));
    let outcomes = notes.outcomes.iter().map(|(step, outcome)| {
        let mut outcome = outcome.clone();
        for response in &mut outcome.responses {
            response.object = tokens.text(&response.object);
            response.message = response.message.as_ref().map(|message| tokens.text(message));
        }
        (*step, outcome)
    });
    Observation { steps: outcomes.collect(), log, events }
}

/// A node's volumes are told in no order; recorded by their tokens.
fn sort_volumes(fields: &mut Value) {
    for field in ["volumesInUse", "volumesAttached"] {
        let volumes = fields.pointer_mut(&format!("/status/{field}")).and_then(Value::as_array_mut);
        if let Some(volumes) = volumes {
            // The second of a name comes after the first.
            volumes.sort_by_cached_key(|volume| volume.to_string().replace('#', "~"));
        }
    }
}

/// The name of a provisioner without machine and run.
fn without_run(component: &str) -> String {
    match component.split_once("_pvdeck_") {
        Some((driver, _)) => format!("{driver}_<host>_<uid>"),
        None => component.to_owned(),
    }
}

fn event(object: &Value, tokens: &Tokens) -> Event {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let about = &object["involvedObject"];
    let component = match object["source"]["component"].as_str() {
        Some(component) if !component.is_empty() => component.to_owned(),
        _ => text(&object["reportingComponent"]),
    };
    Event {
        object: tokens.text(&format!("{}/{}", text(&about["kind"]), text(&about["name"]))),
        kind: text(&object["type"]),
        reason: text(&object["reason"]),
        component: without_run(&component),
        message: tokens.text(&text(&object["message"])),
    }
}
