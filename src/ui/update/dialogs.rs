//! Questions before something happens: opening them, their keys, and what
//! becomes of them when their object changes or the cluster answers.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::json;

use crate::model::write::{Change, Reason, Write};
use crate::ui::consequence;
use crate::ui::data::Data;
use crate::ui::dialog::{Asked, Button, Delete, Dialog, Progress, Rebind};
use crate::ui::message::{Answer, Effect};
use crate::ui::rebind;
use crate::ui::state::State;
use crate::ui::target::Target;
use crate::ui::update::{commands, files};

/// Asks before deleting the marked objects, or the one under the cursor.
pub fn open_delete(state: &mut State, data: &Data) {
    let list = &state.top().list;
    let marked: Vec<Target> = state.table().map_or_else(Vec::new, |table| {
        let listed = data.listed(table);
        data.read(|context| {
            let targets = list.marks.iter().filter_map(|id| listed.target(context, id));
            targets.filter(Target::has_object).collect()
        })
    });
    let hidden = state.table().map_or(0, |table| {
        let listed = data.listed(table);
        data.read(|context| {
            list.marks.iter().filter(|id| listed.position(context, id).is_none()).count()
        })
    });
    let targets = match marked.is_empty() {
        true => data.target(state).into_iter().collect(),
        false => marked,
    };
    if targets.is_empty() {
        return;
    }
    let must_type = data.mirror.read(|tables| consequence::must_type(&targets, tables));
    state.dialog = Some(Dialog::Delete(Delete {
        asked: Asked::new(state.now_ms),
        targets,
        hidden,
        must_type,
        typed: String::new(),
        changed: false,
        progress: Progress::Asking,
    }));
}

/// Offers partners for the volume or claim.
pub fn open_rebind(state: &mut State, data: &Data) {
    let Some(from) = data.target(state) else { return };
    let first = data.mirror.read(|tables| rebind::candidates(&from, tables)).into_iter().next();
    state.dialog = Some(Dialog::Rebind(Rebind {
        asked: Asked::new(state.now_ms),
        from,
        cursor: first.map(|candidate| candidate.target.uid),
        at: 0,
        chosen: None,
        changed: false,
        progress: Progress::Asking,
    }));
}

pub fn take_key(state: &mut State, data: &Data, key: KeyEvent) -> Vec<Effect> {
    let ctrl_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    if ctrl_c {
        state.dialog = None;
        return Vec::new();
    }
    let now_ms = state.now_ms;
    match &mut state.dialog {
        Some(Dialog::Quit(asked)) => match asked.press(key, now_ms) {
            Some(Button::Confirm) => return commands::quit(state),
            Some(Button::Cancel) => state.dialog = None,
            None => {}
        },
        Some(Dialog::Delete(_)) => return delete_key(state, key),
        Some(Dialog::DeleteFile(_)) => return files::delete_key(state, key),
        Some(Dialog::Rebind(_)) => return rebind_key(state, data, key),
        None => {}
    }
    Vec::new()
}

fn delete_key(state: &mut State, key: KeyEvent) -> Vec<Effect> {
    let now_ms = state.now_ms;
    let Some(Dialog::Delete(delete)) = &mut state.dialog else { return Vec::new() };
    if delete.asked.is_deaf(now_ms) {
        return Vec::new();
    }
    match (&delete.progress, key.code) {
        (Progress::Writing(_), KeyCode::Esc)
        | (Progress::Failed(_), KeyCode::Esc | KeyCode::Enter) => {
            state.dialog = None;
            return Vec::new();
        }
        (Progress::Writing(_) | Progress::Failed(_), _) => return Vec::new(),
        (Progress::Asking, _) => {}
    }
    if delete.must_type.is_some() {
        match key.code {
            KeyCode::Char(char) if !key.modifiers.contains(KeyModifiers::CONTROL) => {
                delete.typed.push(char);
                return Vec::new();
            }
            KeyCode::Backspace => {
                delete.typed.pop();
                return Vec::new();
            }
            _ => {}
        }
    }
    match delete.asked.press(key, now_ms) {
        Some(Button::Cancel) => state.dialog = None,
        Some(Button::Confirm) => {
            if delete.must_type.as_ref().is_some_and(|name| *name != delete.typed) {
                return Vec::new();
            }
            return perform_deletes(state);
        }
        None => {}
    }
    Vec::new()
}

fn perform_deletes(state: &mut State) -> Vec<Effect> {
    let Some(Dialog::Delete(delete)) = &mut state.dialog else { return Vec::new() };
    let mut asks = Vec::new();
    let mut effects = Vec::new();
    for target in &delete.targets {
        state.next_ask += 1;
        let ask = state.next_ask;
        asks.push(ask);
        let write = Write {
            object: target.object(),
            subresource: None,
            change: Change::Delete(json!({"preconditions": {"uid": target.uid}})),
            version: Some(target.version),
            on_behalf_of: target.object(),
            reason: Reason::new("delete", "deleted at the console"),
        };
        effects.push(Effect::Perform { ask, write: Box::new(write) });
    }
    delete.progress = Progress::Writing(asks);
    effects
}

/// One of the deletions was answered.
pub fn deleted(state: &mut State, ask: u64, answer: Answer) -> Vec<Effect> {
    let Some(Dialog::Delete(delete)) = &mut state.dialog else { return Vec::new() };
    let Progress::Writing(asks) = &mut delete.progress else { return Vec::new() };
    match answer {
        Answer::Failed(message) | Answer::Conflict { message, .. } => {
            delete.progress = Progress::Failed(message);
            return Vec::new();
        }
        Answer::Written
        | Answer::Object(_)
        | Answer::WouldBe(_)
        | Answer::Files(_)
        | Answer::Content(_) => {}
    }
    asks.retain(|waiting| *waiting != ask);
    if asks.is_empty() {
        let text = match delete.targets.as_slice() {
            [target] => format!("asked to delete {}", target.title()),
            targets => format!("asked to delete {} objects", targets.len()),
        };
        state.dialog = None;
        state.top_mut().list.marks.clear();
        state.say(text);
    }
    Vec::new()
}

fn rebind_key(state: &mut State, data: &Data, key: KeyEvent) -> Vec<Effect> {
    let now_ms = state.now_ms;
    let Some(Dialog::Rebind(rebind)) = &mut state.dialog else { return Vec::new() };
    if rebind.asked.is_deaf(now_ms) {
        return Vec::new();
    }
    match (&rebind.progress, key.code) {
        (Progress::Writing(_), KeyCode::Esc)
        | (Progress::Failed(_), KeyCode::Esc | KeyCode::Enter) => {
            state.dialog = None;
            return Vec::new();
        }
        (Progress::Writing(_) | Progress::Failed(_), _) => return Vec::new(),
        (Progress::Asking, _) => {}
    }
    if rebind.chosen.is_none() {
        choose_partner(state, data, key);
        return Vec::new();
    }
    match rebind.asked.press(key, now_ms) {
        // Back to the choice, not out of it: Esc goes one layer.
        Some(Button::Cancel) => {
            rebind.chosen = None;
            rebind.asked = Asked::new(now_ms);
        }
        Some(Button::Confirm) => return next_rebind_write(state, data, 0),
        None => {}
    }
    Vec::new()
}

fn choose_partner(state: &mut State, data: &Data, key: KeyEvent) {
    let now_ms = state.now_ms;
    let Some(Dialog::Rebind(rebind)) = &mut state.dialog else { return };
    let candidates = data.mirror.read(|tables| rebind::candidates(&rebind.from, tables));
    let position = |uid: &String| candidates.iter().position(|c| c.target.uid == *uid);
    let at = rebind.cursor.as_ref().and_then(position);
    let last = candidates.len().saturating_sub(1);
    let moved = match key.code {
        KeyCode::Esc | KeyCode::Char('q') => {
            state.dialog = None;
            return;
        }
        KeyCode::Down | KeyCode::Char('j') => at.map_or(rebind.at, |at| at + 1),
        KeyCode::Up | KeyCode::Char('k') => at.unwrap_or(rebind.at).saturating_sub(1),
        KeyCode::PageDown => at.unwrap_or(rebind.at) + 10,
        KeyCode::PageUp => at.unwrap_or(rebind.at).saturating_sub(10),
        KeyCode::Enter => {
            let chosen = at.and_then(|at| candidates.get(at));
            match chosen {
                Some(chosen) if chosen.fits.is_ok() => {
                    rebind.chosen = Some(chosen.target.clone());
                    rebind.asked = Asked::new(now_ms);
                }
                Some(chosen) => {
                    let why = chosen.fits.clone().err().unwrap_or_default();
                    let title = chosen.target.title();
                    state.complain(format!("{title} does not fit: {why}"));
                }
                None => {}
            }
            return;
        }
        _ => return,
    };
    rebind.at = moved.min(last);
    rebind.cursor = candidates.get(rebind.at).map(|candidate| candidate.target.uid.clone());
}

/// Sends the pair's write number `at`.
fn next_rebind_write(state: &mut State, data: &Data, at: usize) -> Vec<Effect> {
    let Some(Dialog::Rebind(rebind)) = &mut state.dialog else { return Vec::new() };
    let Some(chosen) = &rebind.chosen else { return Vec::new() };
    let writes = data.mirror.read(|tables| {
        let (claim, volume) = rebind::pair(&rebind.from, chosen, tables)?;
        Some(rebind::writes(claim, volume))
    });
    let Some(write) = writes.and_then(|writes| writes.into_iter().nth(at)) else {
        rebind.progress = Progress::Failed("one of the two is gone".into());
        return Vec::new();
    };
    state.next_ask += 1;
    let ask = state.next_ask;
    rebind.progress = Progress::Writing(vec![ask]);
    rebind.at = at;
    vec![Effect::Perform { ask, write: Box::new(write) }]
}

/// A write of the pair was answered: the next one, or done.
pub fn rebound(state: &mut State, data: &Data, answer: Answer) -> Vec<Effect> {
    let Some(Dialog::Rebind(rebind)) = &mut state.dialog else { return Vec::new() };
    match answer {
        Answer::Failed(message) | Answer::Conflict { message, .. } => {
            let done = rebind.at;
            rebind.progress = Progress::Failed(match done {
                0 => format!("nothing was changed: {message}"),
                _ => format!("the volume is reserved, but the claim does not name it: {message}"),
            });
            return Vec::new();
        }
        Answer::Written
        | Answer::Object(_)
        | Answer::WouldBe(_)
        | Answer::Files(_)
        | Answer::Content(_) => {}
    }
    let Some(chosen) = &rebind.chosen else { return Vec::new() };
    let text = format!("gave {} to {}", rebind.from.title(), chosen.title());
    let more = data.mirror.read(|tables| {
        let (claim, _) = rebind::pair(&rebind.from, chosen, tables)?;
        Some(claim.volume_name.is_empty())
    });
    if rebind.at == 0 && more == Some(true) {
        return next_rebind_write(state, data, 1);
    }
    state.dialog = None;
    state.say(text);
    Vec::new()
}

/// A dialog whose object changed meanwhile says so and asks again.
pub fn notice_changes(state: &mut State, data: &Data) {
    let now_ms = state.now_ms;
    match &mut state.dialog {
        Some(Dialog::Delete(delete)) if delete.progress == Progress::Asking => {
            let mut changed = false;
            delete.targets.retain_mut(|target| match data.renewed(target) {
                Some(now) => {
                    changed |= now.version != target.version;
                    *target = now;
                    true
                }
                None => false,
            });
            if delete.targets.is_empty() {
                state.dialog = None;
                state.complain("it is gone already");
            } else if changed {
                delete.changed = true;
                delete.typed.clear();
                delete.must_type =
                    data.mirror.read(|tables| consequence::must_type(&delete.targets, tables));
                delete.asked = Asked::new(now_ms);
            }
        }
        Some(Dialog::Rebind(rebind)) if rebind.progress == Progress::Asking => {
            let Some(from) = data.renewed(&rebind.from) else {
                state.dialog = None;
                state.complain("it is gone");
                return;
            };
            let partner = rebind.chosen.as_ref().map(|chosen| data.renewed(chosen));
            let same = from.version == rebind.from.version
                && partner.as_ref().is_none_or(|now| *now == rebind.chosen);
            rebind.from = from;
            if !same && rebind.chosen.is_some() {
                rebind.changed = true;
                rebind.chosen = partner.flatten();
                rebind.asked = Asked::new(now_ms);
            }
        }
        _ => {}
    }
}
