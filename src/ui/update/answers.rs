//! What the cluster answered. An answer to a question that nobody waits for
//! any more is dropped.

use crate::ui::data::Data;
use crate::ui::dialog::Dialog;
use crate::ui::message::{Answer, Effect};
use crate::ui::state::{Fetched, State, View};
use crate::ui::update::{dialogs, editing, files};
use crate::ui::yaml;

pub fn take(state: &mut State, data: &Data, ask: u64, answer: Answer) -> Vec<Effect> {
    if state.dialog.as_ref().is_some_and(|dialog| dialog.waits_for(ask)) {
        return match &state.dialog {
            Some(Dialog::Rebind(_)) => dialogs::rebound(state, data, answer),
            Some(Dialog::DeleteFile(_)) => files::deleted(state, answer),
            _ => dialogs::deleted(state, ask, answer),
        };
    }
    for at in 0..state.layers.len() {
        if files::created(state, at, ask, &answer) {
            return Vec::new();
        }
        let layer = &mut state.layers[at];
        if layer.refreshing.take_if(|asked| *asked == ask).is_some() {
            let changed = files::refreshed(layer, answer);
            return state.table().filter(|_| changed).map(Effect::Relens).into_iter().collect();
        }
        if layer.fetched == Fetched::Asked(ask) && !matches!(layer.view, View::Yaml(_)) {
            layer.fetched = files::fetched(layer, answer);
            return state.table().map(Effect::Relens).into_iter().collect();
        }
        if layer.fetched == Fetched::Asked(ask) {
            layer.fetched = match answer {
                Answer::Object(object) => {
                    Fetched::Lines(yaml::to_text(&object).lines().map(str::to_owned).collect())
                }
                Answer::Failed(what) => Fetched::Failed(what),
                Answer::WouldBe(_)
                | Answer::Written
                | Answer::Files(_)
                | Answer::Content(_)
                | Answer::Conflict { .. } => {
                    Fetched::Failed("the answer was to another question".into())
                }
            };
            return Vec::new();
        }
        if let View::Editor(editor) = &mut layer.view
            && editor.waits_for(ask)
        {
            return editing::answered(state, at, answer);
        }
    }
    // A write whose dialog was left goes on; its failure must not be silent.
    if let Answer::Failed(what) | Answer::Conflict { message: what, .. } = answer {
        state.complain(what);
    }
    Vec::new()
}
