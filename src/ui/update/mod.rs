//! The one function that changes the state.
//!
//! Pure but for its argument: no clock, no cluster, no terminal. Time comes
//! with the message; what has to be done outside goes back as effects.

mod answers;
mod commands;
mod dialogs;
mod editing;
mod files;
mod moving;
mod opening;
mod prompts;
mod sorting;

use crossterm::event::KeyEvent;

use crate::ui::data::Data;
use crate::ui::message::{Effect, Message};
use crate::ui::state::{Fetched, State, TableId, View};
use crate::ui::terminal::input::Input;

use moving::settle;
pub use moving::settle_anew;

/// Takes in a message that came at `now_ms`; what is to be done outside.
pub fn update(state: &mut State, data: &Data, message: Message, now_ms: u64) -> Vec<Effect> {
    state.now_ms = now_ms;
    if state.notice.as_ref().is_some_and(|notice| notice.until_ms <= now_ms) {
        state.notice = None;
    }
    let mut effects = match message {
        Message::Input(input) => take_input(state, data, input),
        Message::Resize { width, height } => {
            (state.width, state.height) = (width, height);
            vec![Effect::Redraw]
        }
        Message::Tick => files::refresh(state).into_iter().collect(),
        Message::Changed => {
            dialogs::notice_changes(state, data);
            Vec::new()
        }
        Message::Answer { ask, answer } => answers::take(state, data, ask, answer),
        Message::Notice { text, failed } => {
            if failed {
                state.complain(text);
            } else {
                state.say(text);
            }
            Vec::new()
        }
        Message::ContextOpened => {
            let (width, height, history) =
                (state.width, state.height, std::mem::take(&mut state.history));
            let first = TableId::Overview;
            *state = State { now_ms, history, ..State::new(width, height, first) };
            if data.scenario.is_some() {
                state.open(View::Step);
            }
            state.say(format!("opened {}", data.session.context));
            vec![Effect::Relens(first)]
        }
    };
    fetch(state, &mut effects);
    settle(state, data);
    effects
}

fn take_input(state: &mut State, data: &Data, input: Input) -> Vec<Effect> {
    match input {
        Input::Key(key) => take_key(state, data, key),
        Input::Paste(text) => prompts::paste(state, &text),
        Input::Focus(true) => vec![Effect::Redraw],
        Input::Focus(false) | Input::SynchronizedUpdates(_) => Vec::new(),
    }
}

fn take_key(state: &mut State, data: &Data, key: KeyEvent) -> Vec<Effect> {
    if state.dialog.is_some() {
        return dialogs::take_key(state, data, key);
    }
    if state.prompt.is_some() {
        return prompts::take_key(state, data, key);
    }
    if matches!(state.top().view, View::Editor(_)) {
        return editing::take_key(state, key);
    }
    commands::take_key(state, data, key)
}

/// Asks for what the seen layer shows and does not have.
fn fetch(state: &mut State, effects: &mut Vec<Effect>) {
    if let Some(order) = files::order(state.top()) {
        let ask = state.ask();
        state.top_mut().fetched = Fetched::Asked(ask);
        effects.push(Effect::Files { ask, order });
    }
    let View::Yaml(target) = &state.top().view else { return };
    if state.top().fetched == Fetched::Nothing {
        let target = target.clone();
        let ask = state.ask();
        state.top_mut().fetched = Fetched::Asked(ask);
        effects.push(Effect::Read { ask, target });
    }
}
