//! The files in a mounted volume: opening, going down and up, reading one,
//! creating one, deleting one after asking. Replaces nothing. What is seen is
//! asked for again every second: no machine tells when files change.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::model::object::Key;
use crate::ui::data::Data;
use crate::ui::dialog::{Asked, Button, DeleteFile, Dialog, Progress};
use crate::ui::lists::files::{FileRowKind, FilesAt, UP};
use crate::ui::message::{Answer, Effect, FilesOrder};
use crate::ui::state::{Fetched, Layer, State, TableId, View};
use crate::ui::target::Target;

/// The longest text that is read onto a page.
const SHOWN_BYTES_MAX: usize = 256 * 1024;

/// Opens the files of what is chosen.
pub fn open(state: &mut State, data: &Data) -> Vec<Effect> {
    let (pod, volume) = match data.files_of(state) {
        Ok(found) => found,
        Err(why) => {
            state.complain(why);
            return Vec::new();
        }
    };
    state.open_about(TableId::Files, pod);
    go(state, FilesAt::root(&volume))
}

/// Shows another place of the same pod.
fn go(state: &mut State, at: FilesAt) -> Vec<Effect> {
    let about = state.top().about.clone();
    let layer = Layer { about, files: Some(at), ..Layer::new(View::Table(TableId::Files)) };
    *state.top_mut() = layer;
    vec![Effect::Relens(TableId::Files)]
}

/// Enter: into a volume or directory, up, or onto a file.
pub fn enter(state: &mut State) -> Vec<Effect> {
    let layer = state.top();
    let (Some(at), Some(name), Some(pod)) = (&layer.files, &layer.list.cursor, &layer.about) else {
        return Vec::new();
    };
    if name == UP {
        let above = at.above();
        return go(state, above);
    }
    let Some(row) = at.rows.iter().find(|row| row.name == *name) else { return Vec::new() };
    match row.kind {
        FileRowKind::Volume => {
            let below = FilesAt::root(name);
            go(state, below)
        }
        FileRowKind::Directory => {
            let below = FilesAt { path: at.path_of(name), ..FilesAt::root(&at.volume) };
            go(state, below)
        }
        FileRowKind::File | FileRowKind::Link => {
            let (pod, volume, path) = (pod.clone(), at.volume.clone(), at.path_of(name));
            state.open(View::File { pod, volume, path });
            Vec::new()
        }
        FileRowKind::Other => {
            state.complain(format!("{name} is no file: it has nothing to read"));
            Vec::new()
        }
    }
}

/// `:file NAME TEXT`: a new file where one is. One that is there stays.
pub fn create(state: &mut State, argument: &str) -> Vec<Effect> {
    let (name, text) = argument.split_once(' ').unwrap_or((argument, ""));
    if name.is_empty() || name.contains('/') || name == "." || name == UP {
        state.complain("`:file NAME TEXT` makes a file here; NAME without `/`");
        return Vec::new();
    }
    let ask = state.ask();
    let layer = state.top_mut();
    let (Some(at), Some(pod)) = (&mut layer.files, &layer.about) else { return Vec::new() };
    if at.rows.iter().any(|row| row.name == name) {
        state.complain(format!("{name} is there already and is not replaced; take another name"));
        return Vec::new();
    }
    at.creating = Some((ask, name.to_owned()));
    let order = FilesOrder::Create {
        pod: pod.key(),
        volume: at.volume.clone(),
        path: at.path_of(name),
        content: format!("{text}\n"),
    };
    vec![Effect::Files { ask, order }]
}

/// Asks before deleting the file or directory under the cursor.
pub fn open_delete(state: &mut State) {
    let layer = state.top();
    let (Some(at), Some(pod)) = (&layer.files, &layer.about) else { return };
    let chosen = layer.list.cursor.as_deref().filter(|name| *name != UP);
    let row = chosen.and_then(|name| at.rows.iter().find(|row| row.name == name));
    let Some(row) = row.filter(|row| row.kind != FileRowKind::Volume) else {
        state.complain("no file is chosen to delete");
        return;
    };
    let what = match row.kind {
        FileRowKind::File => format!("file of {} bytes", row.size),
        FileRowKind::Directory => "directory, which must be empty".to_owned(),
        FileRowKind::Link => format!("link to {}", row.note),
        FileRowKind::Volume | FileRowKind::Other => "special file".to_owned(),
    };
    let dialog = DeleteFile {
        asked: Asked::new(state.now_ms),
        pod: pod.clone(),
        volume: at.volume.clone(),
        path: at.path_of(&row.name),
        what,
        must_type: row.name.clone(),
        typed: String::new(),
        progress: Progress::Asking,
    };
    state.dialog = Some(Dialog::DeleteFile(dialog));
}

/// A key while it is asked.
pub fn delete_key(state: &mut State, key: KeyEvent) -> Vec<Effect> {
    let now_ms = state.now_ms;
    let Some(Dialog::DeleteFile(delete)) = &mut state.dialog else { return Vec::new() };
    if delete.asked.is_deaf(now_ms) {
        return Vec::new();
    }
    match (&delete.progress, key.code) {
        (Progress::Asking, KeyCode::Char(char))
            if !key.modifiers.contains(KeyModifiers::CONTROL) =>
        {
            delete.typed.push(char);
        }
        (Progress::Asking, KeyCode::Backspace) => drop(delete.typed.pop()),
        (Progress::Asking, _) => match delete.asked.press(key, now_ms) {
            Some(Button::Cancel) => state.dialog = None,
            Some(Button::Confirm) if delete.typed == delete.must_type => {
                state.next_ask += 1;
                let ask = state.next_ask;
                delete.progress = Progress::Writing(vec![ask]);
                let order = FilesOrder::Delete {
                    pod: delete.pod.key(),
                    volume: delete.volume.clone(),
                    path: delete.path.clone(),
                };
                return vec![Effect::Files { ask, order }];
            }
            Some(Button::Confirm) | None => {}
        },
        (Progress::Writing(_), KeyCode::Esc)
        | (Progress::Failed(_), KeyCode::Esc | KeyCode::Enter) => state.dialog = None,
        (Progress::Writing(_) | Progress::Failed(_), _) => {}
    }
    Vec::new()
}

/// Takes the answer to a deletion.
pub fn deleted(state: &mut State, answer: Answer) -> Vec<Effect> {
    let Some(Dialog::DeleteFile(delete)) = &mut state.dialog else { return Vec::new() };
    if let Answer::Failed(what) = answer {
        delete.progress = Progress::Failed(what);
        return Vec::new();
    }
    let text = format!("deleted {}", delete.path);
    state.dialog = None;
    state.say(text);
    refresh(state).into_iter().collect()
}

/// Asks once more for what is seen of files, if nothing is asked already.
pub fn refresh(state: &mut State) -> Option<Effect> {
    let layer = state.top();
    let is_idle = matches!(layer.fetched, Fetched::Lines(_) | Fetched::Failed(_));
    let order = files_order(layer).filter(|_| is_idle && layer.refreshing.is_none())?;
    let ask = state.ask();
    state.top_mut().refreshing = Some(ask);
    Some(Effect::Files { ask, order })
}

/// Takes the answer to [`refresh`]; whether it says anything new.
pub fn refreshed(layer: &mut Layer, answer: Answer) -> bool {
    let before = (layer.fetched.clone(), layer.files.clone());
    layer.fetched = fetched(layer, answer);
    before != (layer.fetched.clone(), layer.files.clone())
}

/// What the seen layer has to ask for, if it shows files and has not asked.
pub fn order(layer: &Layer) -> Option<FilesOrder> {
    if layer.fetched != Fetched::Nothing {
        return None;
    }
    files_order(layer)
}

fn files_order(layer: &Layer) -> Option<FilesOrder> {
    match (&layer.view, &layer.files, &layer.about) {
        (View::Table(TableId::Files), Some(at), Some(pod)) => Some(list_order(at, pod)),
        (View::File { pod, volume, path }, ..) => {
            let (pod, volume, path) = (pod.key(), volume.clone(), path.clone());
            Some(FilesOrder::Read { pod, volume, path })
        }
        _ => None,
    }
}

fn list_order(at: &FilesAt, pod: &Target) -> FilesOrder {
    let pod: Key = pod.key();
    match at.volume.as_str() {
        "" => FilesOrder::Volumes { pod },
        volume => FilesOrder::List { pod, volume: volume.to_owned(), path: at.path.clone() },
    }
}

/// Takes the answer to a new file in layer `at`; false if it waits for none.
pub fn created(state: &mut State, at: usize, ask: u64, answer: &Answer) -> bool {
    let layer = &mut state.layers[at];
    let Some(files) = &mut layer.files else { return false };
    let Some((_, name)) = files.creating.take_if(|(asked, _)| *asked == ask) else { return false };
    match answer {
        Answer::Failed(what) => state.complain(format!("{name} was not created: {what}")),
        _ => {
            layer.fetched = Fetched::Nothing;
            state.say(format!("created {name}"));
        }
    }
    true
}

/// Takes an answer that a layer waits for; what it then has fetched.
pub fn fetched(layer: &mut Layer, answer: Answer) -> Fetched {
    match (answer, &mut layer.files) {
        (Answer::Files(rows), Some(at)) => {
            (at.rows, at.error) = (rows, None);
            Fetched::Lines(Vec::new())
        }
        (Answer::Content(bytes), _) => Fetched::Lines(lines(&bytes)),
        (Answer::Failed(what), Some(at)) => {
            (at.rows, at.error) = (Vec::new(), Some(what.clone()));
            Fetched::Failed(what)
        }
        (Answer::Failed(what), None) => Fetched::Failed(what),
        _ => Fetched::Failed("the answer was to another question".into()),
    }
}

/// A file as text; what is no text shows as replacement characters.
fn lines(bytes: &[u8]) -> Vec<String> {
    let shown = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    let mut lines: Vec<String> =
        String::from_utf8_lossy(shown).lines().map(str::to_owned).collect();
    if shown.len() < bytes.len() {
        lines.push(format!("[{} bytes more]", bytes.len() - shown.len()));
    }
    if lines.is_empty() {
        lines.push("[empty]".into());
    }
    lines
}
