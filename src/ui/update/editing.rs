//! Keys and answers of the editor; its stages are in [`crate::ui::editor`].

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::ui::data::Data;
use crate::ui::dialog::{Asked, Button};
use crate::ui::editor::{Editor, Stage};
use crate::ui::message::{Answer, Effect};
use crate::ui::state::{State, View};

/// Opens the editor on the object under the cursor.
pub fn open(state: &mut State, data: &Data) -> Vec<Effect> {
    let Some(target) = data.target(state) else { return Vec::new() };
    let ask = state.ask();
    state.open(View::Editor(Box::new(Editor::loading(target.clone(), ask))));
    vec![Effect::Read { ask, target }]
}

pub fn take_key(state: &mut State, key: KeyEvent) -> Vec<Effect> {
    let now_ms = state.now_ms;
    let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    let View::Editor(editor) = &mut state.top_mut().view else { return Vec::new() };
    match &mut editor.stage {
        Stage::Loading(_) | Stage::Failed(_) => {
            let leaves = matches!(key.code, KeyCode::Esc | KeyCode::Char('q'));
            return if leaves { leave(state) } else { Vec::new() };
        }
        // Nothing is typed while the server is asked, but one may turn back.
        Stage::Checking(_) => {
            if key.code == KeyCode::Esc {
                editor.stage = Stage::Editing;
            }
        }
        Stage::Writing(_) => {}
        Stage::Editing => return edit(state, key, ctrl),
        Stage::Reviewing { asked, .. } => match asked.press(key, now_ms) {
            Some(Button::Confirm) => return apply(state),
            Some(Button::Cancel) => editor.stage = Stage::Editing,
            None => scroll(state, key),
        },
        Stage::Conflict { asked, .. } => match asked.press(key, now_ms) {
            Some(Button::Confirm) => editor.rebase(),
            Some(Button::Cancel) => {
                editor.stage = Stage::Editing;
                let what = "still on the version read first: applying it will conflict again";
                editor.message = Some(what.into());
            }
            None => scroll(state, key),
        },
        Stage::Leaving(asked) => match asked.press(key, now_ms) {
            Some(Button::Confirm) => return leave(state),
            Some(Button::Cancel) => editor.stage = Stage::Editing,
            None => {}
        },
    }
    Vec::new()
}

fn edit(state: &mut State, key: KeyEvent, ctrl: bool) -> Vec<Effect> {
    let now_ms = state.now_ms;
    let View::Editor(editor) = &mut state.top_mut().view else { return Vec::new() };
    match (key.code, ctrl) {
        (KeyCode::Char('x'), true) => return check(state),
        (KeyCode::Esc, _) | (KeyCode::Char('c'), true) if editor.is_changed() => {
            editor.stage = Stage::Leaving(Asked::new(now_ms));
        }
        (KeyCode::Esc, _) | (KeyCode::Char('c'), true) => return leave(state),
        (KeyCode::Char('z'), true) => return vec![Effect::Suspend],
        (KeyCode::Char('l'), true) => return vec![Effect::Redraw],
        _ => editor.typed(key),
    }
    Vec::new()
}

fn scroll(state: &mut State, key: KeyEvent) {
    let layer = state.top_mut();
    match key.code {
        KeyCode::Down | KeyCode::Char('j') => layer.scroll += 1,
        KeyCode::Up | KeyCode::Char('k') => layer.scroll = layer.scroll.saturating_sub(1),
        KeyCode::PageDown => layer.scroll += 10,
        KeyCode::PageUp => layer.scroll = layer.scroll.saturating_sub(10),
        _ => {}
    }
}

fn leave(state: &mut State) -> Vec<Effect> {
    state.close();
    state.table().map(Effect::Relens).into_iter().collect()
}

fn check(state: &mut State) -> Vec<Effect> {
    let ask = state.ask();
    let View::Editor(editor) = &mut state.top_mut().view else { return Vec::new() };
    match editor.write() {
        Ok(write) => {
            editor.stage = Stage::Checking(ask);
            editor.message = None;
            vec![Effect::DryRun { ask, write: Box::new(write) }]
        }
        Err(what) => {
            editor.message = Some(what);
            Vec::new()
        }
    }
}

fn apply(state: &mut State) -> Vec<Effect> {
    let ask = state.ask();
    let View::Editor(editor) = &mut state.top_mut().view else { return Vec::new() };
    match editor.write() {
        Ok(write) => {
            editor.stage = Stage::Writing(ask);
            vec![Effect::Perform { ask, write: Box::new(write) }]
        }
        Err(what) => {
            editor.message = Some(what);
            editor.stage = Stage::Editing;
            Vec::new()
        }
    }
}

/// Takes an answer that the editor in layer `at` waits for.
pub fn answered(state: &mut State, at: usize, answer: Answer) -> Vec<Effect> {
    let now_ms = state.now_ms;
    let layer = &mut state.layers[at];
    layer.scroll = 0;
    let View::Editor(editor) = &mut layer.view else { return Vec::new() };
    match answer {
        Answer::Object(object) => editor.loaded(&object),
        Answer::WouldBe(object) => editor.review(&object, now_ms),
        Answer::Written => {
            let title = editor.target.title();
            state.layers.remove(at);
            state.say(format!("applied to {title}"));
            return state.table().map(Effect::Relens).into_iter().collect();
        }
        Answer::Conflict { now: Some(now), .. } => editor.conflict(&now, now_ms),
        // To a question that no editor asks.
        Answer::Files(_) | Answer::Content(_) => {}
        Answer::Conflict { message, now: None } | Answer::Failed(message) => {
            if matches!(editor.stage, Stage::Loading(_)) {
                editor.stage = Stage::Failed(message);
            } else {
                editor.stage = Stage::Editing;
                editor.message = Some(message);
            }
        }
    }
    Vec::new()
}
