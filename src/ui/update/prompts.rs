//! Lines typed at the bottom: commands after `:`, filters after `/`.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::ui::command;
use crate::ui::data::Data;
use crate::ui::lists::filter::Filter;
use crate::ui::message::Effect;
use crate::ui::state::{Prompt, PromptKind, State, View};
use crate::ui::update::commands;

/// Commands remembered.
const HISTORY_MAX: usize = 100;

/// Opens a prompt.
pub fn open(state: &mut State, kind: PromptKind) {
    let before = state.top().list.filter.clone();
    let text = match kind {
        PromptKind::Command => String::new(),
        PromptKind::Filter => before.clone(),
    };
    state.notice = None;
    state.prompt = Some(Prompt { kind, text, before, recalled: None });
}

/// Opens the command line with the beginning of a command.
pub fn open_with(state: &mut State, text: &str) {
    open(state, PromptKind::Command);
    if let Some(prompt) = &mut state.prompt {
        prompt.text = text.to_owned();
    }
}

/// Pasted text goes where text is typed, and nowhere else.
pub fn paste(state: &mut State, text: &str) -> Vec<Effect> {
    if state.dialog.is_some() {
        return Vec::new();
    }
    if let Some(prompt) = &mut state.prompt {
        prompt.text.push_str(text.lines().next().unwrap_or_default());
        return typed(state);
    }
    if let View::Editor(editor) = &mut state.top_mut().view {
        editor.pasted(text);
    }
    Vec::new()
}

pub fn take_key(state: &mut State, data: &Data, key: KeyEvent) -> Vec<Effect> {
    let Some(prompt) = &mut state.prompt else { return Vec::new() };
    let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    match (key.code, ctrl) {
        (KeyCode::Esc, _) | (KeyCode::Char('c'), true) => return cancel(state),
        (KeyCode::Enter, _) => return enter(state, data),
        (KeyCode::Backspace, _) if prompt.text.is_empty() => return cancel(state),
        (KeyCode::Backspace, _) => {
            prompt.text.pop();
        }
        (KeyCode::Char('u'), true) => prompt.text.clear(),
        (KeyCode::Char('w'), true) => {
            let kept = prompt.text.trim_end().rfind(' ').map_or(0, |at| at + 1);
            prompt.text.truncate(kept);
        }
        (KeyCode::Tab, _) => complete(prompt, data),
        (KeyCode::Up, _) => recall(state, 1),
        (KeyCode::Down, _) => recall(state, -1),
        (KeyCode::Char(char), false) => prompt.text.push(char),
        _ => {}
    }
    typed(state)
}

fn cancel(state: &mut State) -> Vec<Effect> {
    let Some(prompt) = state.prompt.take() else { return Vec::new() };
    match prompt.kind {
        PromptKind::Command => Vec::new(),
        PromptKind::Filter => set_filter(state, prompt.before),
    }
}

fn enter(state: &mut State, data: &Data) -> Vec<Effect> {
    let Some(prompt) = state.prompt.take() else { return Vec::new() };
    match prompt.kind {
        PromptKind::Filter => {
            if let Err(error) = Filter::parse(&prompt.text) {
                state.complain(error);
                return set_filter(state, prompt.before);
            }
            set_filter(state, prompt.text)
        }
        PromptKind::Command => {
            let text = prompt.text.trim().to_owned();
            if text.is_empty() {
                return Vec::new();
            }
            state.history.retain(|old| *old != text);
            state.history.push(text.clone());
            if state.history.len() > HISTORY_MAX {
                state.history.remove(0);
            }
            commands::run_line(state, data, &text)
        }
    }
}

/// A filter narrows while it is typed; half a selector narrows nothing yet.
fn typed(state: &mut State) -> Vec<Effect> {
    match &state.prompt {
        Some(Prompt { kind: PromptKind::Filter, text, .. }) if Filter::parse(text).is_ok() => {
            let text = text.clone();
            set_filter(state, text)
        }
        _ => Vec::new(),
    }
}

/// Filters the seen table.
pub fn set_filter(state: &mut State, text: String) -> Vec<Effect> {
    let Some(table) = state.table() else { return Vec::new() };
    let list = &mut state.top_mut().list;
    if list.filter == text {
        return Vec::new();
    }
    list.filter = text;
    vec![Effect::Relens(table)]
}

/// Completes as far as all candidates agree.
fn complete(prompt: &mut Prompt, data: &Data) {
    if prompt.kind != PromptKind::Command {
        return;
    }
    let candidates = command::completions(&prompt.text, data);
    let Some(first) = candidates.first() else { return };
    let agreed = candidates.iter().fold(first.as_str(), |agreed, candidate| {
        let same = agreed.chars().zip(candidate.chars()).take_while(|(a, b)| a == b);
        let bytes = same.map(|(char, _)| char.len_utf8()).sum();
        &agreed[..bytes]
    });
    prompt.text = match candidates.len() {
        1 if !agreed.contains(' ') => format!("{agreed} "),
        _ => agreed.to_owned(),
    };
}

/// Goes back and forth in what was typed before.
fn recall(state: &mut State, older: isize) {
    let Some(prompt) = &mut state.prompt else { return };
    if prompt.kind != PromptKind::Command {
        return;
    }
    let at = match (prompt.recalled, older) {
        (None, 1..) => Some(0),
        (None, _) => None,
        (Some(at), older) => at.checked_add_signed(older),
    };
    match at {
        None => {
            prompt.recalled = None;
            prompt.text.clear();
        }
        Some(at) => {
            if let Some(text) = state.history.iter().rev().nth(at) {
                prompt.recalled = Some(at);
                prompt.text = text.clone();
            }
        }
    }
}
