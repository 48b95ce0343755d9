//! Commands, from a key or from the line after `:`.

use crossterm::event::{KeyCode, KeyEvent};

use crate::cluster::write_path::breakpoint::Breakpoint;
use crate::ui::command::{self, Act, Command, Refusal};
use crate::ui::data::{Access, Data};
use crate::ui::dialog::{Asked, Dialog};
use crate::ui::message::{Effect, GateOrder};
use crate::ui::state::{Fetched, PromptKind, State, TableId, View};
use crate::ui::update::{dialogs, editing, files, moving, opening, prompts, sorting};
use crate::ui::views;

/// A key where no dialog, prompt or editor takes it.
pub fn take_key(state: &mut State, data: &Data, key: KeyEvent) -> Vec<Effect> {
    if let Some(command) = data.keymap.act(key).and_then(command::of) {
        return run(state, data, command, "");
    }
    match key.code {
        KeyCode::Char('0') => narrow(state, None),
        KeyCode::Char(digit @ '1'..='9') => {
            let at = digit as usize - '1' as usize;
            match data.namespaces().get(at) {
                Some(namespace) => narrow(state, Some(namespace.clone())),
                None => Vec::new(),
            }
        }
        KeyCode::Char(letter @ 'A'..='Z') => sorting::by_letter(state, data, letter),
        _ => Vec::new(),
    }
}

/// A line typed after `:`.
pub fn run_line(state: &mut State, data: &Data, line: &str) -> Vec<Effect> {
    let (word, argument) = line.split_once(' ').unwrap_or((line, ""));
    match command::by_word(word) {
        Some(command) => run(state, data, command, argument.trim()),
        None => {
            let near = command::completions(word, data);
            let hint = match near.first() {
                Some(first) => format!("; `:{first}`?"),
                None => "; :help lists all".into(),
            };
            state.complain(format!("no command `{word}`{hint}"));
            Vec::new()
        }
    }
}

/// Does a command, if it is to be had now.
fn run(state: &mut State, data: &Data, command: &Command, argument: &str) -> Vec<Effect> {
    match command::why_not(command, state, data) {
        Ok(()) => act(state, data, command.act, argument),
        Err(Refusal::NotHere) if state.table().is_some() && data.target(state).is_none() => {
            state.complain(format!("no object is chosen for `{}`", command.words[0]));
            Vec::new()
        }
        Err(Refusal::NotHere) => {
            state.complain(format!("`{}` means nothing here", command.words[0]));
            Vec::new()
        }
        Err(Refusal::Because(why)) => {
            state.complain(format!("cannot {}: {why}", command.words[0]));
            Vec::new()
        }
    }
}

fn act(state: &mut State, data: &Data, act: Act, argument: &str) -> Vec<Effect> {
    match act {
        Act::Up | Act::Down | Act::Top | Act::Bottom | Act::PageUp | Act::PageDown => {
            moving::go(state, data, act);
        }
        Act::Left | Act::Right => moving::go(state, data, act),
        Act::Open => return opening::open(state, data),
        Act::Board => return opening::open_board(state, data, argument),
        Act::Files => return files::open(state, data),
        Act::Schedule => {
            let Some(pod) = data.target(state) else { return Vec::new() };
            state.open_about(TableId::Verdict, pod);
            return vec![Effect::Relens(TableId::Verdict)];
        }
        Act::CreateFile if argument.is_empty() => prompts::open_with(state, "file "),
        Act::CreateFile => return files::create(state, argument),
        Act::Output => opening::open_output(state),
        Act::Back => return back(state),
        Act::BackOrQuit => return back_or_quit(state),
        Act::Quit => return quit(state),
        Act::NextPane => return opening::next_page(state),
        Act::CommandLine => prompts::open(state, PromptKind::Command),
        Act::FilterLine if argument.is_empty() => prompts::open(state, PromptKind::Filter),
        Act::FilterLine => return prompts::set_filter(state, argument.to_owned()),
        Act::Help => state.open(View::Help),
        Act::Describe => opening::open_about(state, data, View::Describe),
        Act::Yaml => opening::open_about(state, data, View::Yaml),
        Act::Why => opening::open_about(state, data, View::Why),
        Act::UsedBy | Act::Relations => opening::open_about(state, data, View::Relations),
        Act::TimelineOf => return opening::open_timeline(state, data),
        Act::Edit => return editing::open(state, data),
        Act::Delete if state.table() == Some(TableId::Files) => files::open_delete(state),
        Act::Delete => dialogs::open_delete(state, data),
        Act::Rebind => dialogs::open_rebind(state, data),
        Act::Mark => mark(state, data),
        Act::Copy => return copy(state, data),
        Act::Save => return save(state, data, argument),
        Act::Sort => return sorting::by_title(state, data, argument),
        Act::Namespace => return namespace(state, data, argument),
        Act::Show(TableId::Contexts) | Act::Context if !argument.is_empty() => {
            return context(state, data, argument);
        }
        Act::Context => return opening::show(state, TableId::Contexts),
        Act::Show(table) => return opening::show(state, table),
        Act::Write => return vec![Effect::SetWritable(true)],
        Act::ReadOnly => return read_only(state, data),
        Act::Theme => return theme(state, data, argument),
        Act::Suspend => return vec![Effect::Suspend],
        Act::Redraw => return vec![Effect::Redraw],
        Act::Relist => {
            state.top_mut().fetched = Fetched::Nothing;
            state.say("listing again");
            return vec![Effect::Relist];
        }
        Act::Step => state.open(View::Step),
        Act::Next | Act::Pause | Act::Run | Act::Break => return step(state, act, argument),
    }
    Vec::new()
}

/// What the layer that is seen now has to be looked at through.
fn relens(state: &State) -> Vec<Effect> {
    state.table().map(Effect::Relens).into_iter().collect()
}

fn back(state: &mut State) -> Vec<Effect> {
    if state.table().is_some() && !state.top().list.filter.is_empty() {
        return prompts::set_filter(state, String::new());
    }
    if !state.top().list.marks.is_empty() {
        state.top_mut().list.marks.clear();
        return Vec::new();
    }
    state.close();
    relens(state)
}

fn back_or_quit(state: &mut State) -> Vec<Effect> {
    if state.close() {
        return relens(state);
    }
    state.dialog = Some(Dialog::Quit(Asked::new(state.now_ms)));
    Vec::new()
}

/// Ends the program.
pub fn quit(state: &mut State) -> Vec<Effect> {
    state.leaving = true;
    vec![Effect::Quit]
}

fn mark(state: &mut State, data: &Data) {
    let list = &mut state.top_mut().list;
    if let Some(id) = list.cursor.clone() {
        if !list.marks.remove(&id) {
            list.marks.insert(id);
        }
        moving::go(state, data, Act::Down);
    }
}

fn copy(state: &mut State, data: &Data) -> Vec<Effect> {
    let Some(target) = data.target(state) else { return Vec::new() };
    state.say(format!("copied {}; where the terminal cannot copy: :save FILE", target.key()));
    vec![Effect::Copy(target.key().to_string())]
}

fn save(state: &mut State, data: &Data, path: &str) -> Vec<Effect> {
    if path.is_empty() {
        state.complain(":save needs a file name");
        return Vec::new();
    }
    vec![Effect::Save { path: path.to_owned(), text: views::as_text(state, data) }]
}

pub fn narrow(state: &mut State, namespace: Option<String>) -> Vec<Effect> {
    state.namespace = namespace;
    relens(state)
}

fn namespace(state: &mut State, data: &Data, name: &str) -> Vec<Effect> {
    match name {
        "" => opening::show(state, TableId::Namespaces),
        "all" | "-" => narrow(state, None),
        name => {
            if !data.namespaces().iter().any(|known| known == name) {
                state.complain(format!("no namespace `{name}` is known; lists may stay empty"));
            }
            narrow(state, Some(name.to_owned()))
        }
    }
}

pub fn context(state: &mut State, data: &Data, name: &str) -> Vec<Effect> {
    if !data.session.contexts.iter().any(|known| known == name) {
        state.complain(format!("no context `{name}`; :ctx lists them"));
        return Vec::new();
    }
    state.say(format!("opening {name}"));
    vec![Effect::OpenContext(name.to_owned())]
}

fn read_only(state: &mut State, data: &Data) -> Vec<Effect> {
    if data.session.access != Access::Writable {
        state.say("read-only already");
        return Vec::new();
    }
    vec![Effect::SetWritable(false)]
}

fn theme(state: &mut State, data: &Data, name: &str) -> Vec<Effect> {
    if name.is_empty() {
        state.say(format!("themes: {}", data.session.themes.join(", ")));
        return Vec::new();
    }
    vec![Effect::LoadTheme(name.to_owned())]
}

fn step(state: &mut State, act: Act, argument: &str) -> Vec<Effect> {
    let order = match (act, argument) {
        (Act::Pause, _) => GateOrder::Pause,
        (Act::Run, _) => GateOrder::Run,
        (Act::Break, text) => match Breakpoint::parse(text) {
            Ok(_) => GateOrder::RunUntil(text.to_owned()),
            Err(error) => {
                state.complain(error);
                return Vec::new();
            }
        },
        (_, "") => GateOrder::Next(1),
        (_, text) => match text.parse() {
            Ok(count) => GateOrder::Next(count),
            Err(_) => {
                state.complain(format!("`{text}` is no number of writes"));
                return Vec::new();
            }
        },
    };
    // Who pauses wants to see what is held.
    if act == Act::Pause && state.table().is_some() {
        state.open(View::Step);
    }
    vec![Effect::Gate(order)]
}
