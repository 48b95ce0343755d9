//! Commands, from a key or from the line after `:`.

use crossterm::event::{KeyCode, KeyEvent};

use crate::cluster::write_path::breakpoint::Breakpoint;
use crate::model::kind;
use crate::ui::command::{self, Act, Command, Refusal};
use crate::ui::data::{Access, Data};
use crate::ui::dialog::{Asked, Dialog};
use crate::ui::lists::Column;
use crate::ui::message::{Effect, GateOrder};
use crate::ui::state::{Fetched, Layer, PromptKind, State, TableId, View};
use crate::ui::target::Target;
use crate::ui::update::{dialogs, editing, files, moving, prompts};
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
        KeyCode::Char(letter @ 'A'..='Z') => sort_by_letter(state, data, letter),
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
            state.complain(format!("no object is chosen to {}", command.words[0]));
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
        Act::Open => return open(state, data),
        Act::Board => return open_board(state, data, argument),
        Act::Files => return files::open(state, data),
        Act::Schedule => {
            let Some(pod) = data.target(state) else { return Vec::new() };
            state.open_about(TableId::Verdict, pod);
            return vec![Effect::Relens(TableId::Verdict)];
        }
        Act::CreateFile if argument.is_empty() => prompts::open_with(state, "file "),
        Act::CreateFile => return files::create(state, argument),
        Act::Output => open_output(state),
        Act::Back => return back(state),
        Act::BackOrQuit => return back_or_quit(state),
        Act::Quit => return quit(state),
        Act::NextPane => return next_page(state),
        Act::CommandLine => prompts::open(state, PromptKind::Command),
        Act::FilterLine if argument.is_empty() => prompts::open(state, PromptKind::Filter),
        Act::FilterLine => return prompts::set_filter(state, argument.to_owned()),
        Act::Help => state.open(View::Help),
        Act::Describe => open_about(state, data, View::Describe),
        Act::Yaml => open_about(state, data, View::Yaml),
        Act::Why => open_about(state, data, View::Why),
        Act::UsedBy | Act::Relations => open_about(state, data, View::Relations),
        Act::TimelineOf => return open_timeline(state, data),
        Act::Edit => return editing::open(state, data),
        Act::Delete if state.table() == Some(TableId::Files) => files::open_delete(state),
        Act::Delete => dialogs::open_delete(state, data),
        Act::Rebind => dialogs::open_rebind(state, data),
        Act::Mark => mark(state, data),
        Act::Copy => return copy(state, data),
        Act::Save => return save(state, data, argument),
        Act::Sort => return sort_by_title(state, data, argument),
        Act::Namespace => return namespace(state, data, argument),
        Act::Show(TableId::Contexts) | Act::Context if !argument.is_empty() => {
            return context(state, data, argument);
        }
        Act::Context => return show(state, TableId::Contexts),
        Act::Show(table) => return show(state, table),
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

fn show(state: &mut State, table: TableId) -> Vec<Effect> {
    state.open(View::Table(table));
    state.top_mut().about = None;
    vec![Effect::Relens(table)]
}

/// What the layer that is seen now has to be looked at through.
fn relens(state: &State) -> Vec<Effect> {
    state.table().map(Effect::Relens).into_iter().collect()
}

fn open(state: &mut State, data: &Data) -> Vec<Effect> {
    let chosen = state.top().list.cursor.clone();
    match (state.table(), chosen) {
        (Some(TableId::Contexts), Some(name)) => return context(state, data, &name),
        (Some(TableId::Namespaces), Some(name)) => {
            state.close();
            return narrow(state, Some(name));
        }
        (Some(TableId::Files), _) => return files::enter(state),
        (Some(TableId::Controllers), _) => return show(state, TableId::Timeline),
        _ => {}
    }
    if let (Some(TableId::Board), Some((node, volume))) = (state.table(), state.board_volume()) {
        let (node, volume) = (node.clone(), volume.to_owned());
        state.open(View::BoardVolume { node, volume });
        return Vec::new();
    }
    if let View::BoardVolume { node, volume } = &state.top().view {
        let Some(claim) = data.claim_on_board(&node.name, volume) else { return Vec::new() };
        state.open(View::Journey(claim));
        return Vec::new();
    }
    if matches!(state.top().view, View::Journey(_)) {
        return open_board_of_journey(state, data);
    }
    let Some(target) = data.target(state) else { return Vec::new() };
    if state.table() == Some(TableId::Workloads) {
        state.open_about(TableId::Tree, target);
        return vec![Effect::Relens(TableId::Tree)];
    }
    if target.kind == kind::NODE && matches!(state.table(), Some(TableId::Nodes | TableId::Tree)) {
        return open_board(state, data, "");
    }
    let view = match target.kind {
        kind if kind == kind::PERSISTENT_VOLUME_CLAIM => View::Journey(target),
        _ => View::Describe(target),
    };
    state.open(view);
    Vec::new()
}

/// The board of a node: the named one, the chosen one, or the chosen pod's.
fn open_board(state: &mut State, data: &Data, name: &str) -> Vec<Effect> {
    let node = match name {
        "" => data.target(state).and_then(|target| data.node_of(&target)),
        name => data.node(name),
    };
    let Some(node) = node else {
        match name {
            "" => state.complain("name a node, or choose one, or a pod that has one"),
            name => state.complain(format!("no node `{name}`; :nodes lists them")),
        }
        return Vec::new();
    };
    state.open_about(TableId::Board, node);
    vec![Effect::Relens(TableId::Board)]
}

/// From a claim's journey: the board of the node where it is stuck, or of its
/// first, with the cursor on its volume.
fn open_board_of_journey(state: &mut State, data: &Data) -> Vec<Effect> {
    let Some((node, volume)) = data.board_of_journey(state) else {
        state.complain("no node has its volume, or is to have it yet");
        return Vec::new();
    };
    state.open_about(TableId::Board, node);
    state.top_mut().list.cursor = volume;
    vec![Effect::Relens(TableId::Board)]
}

/// What the commands for the chosen volume of a node printed, or what CSI
/// drivers were asked and answered.
fn open_output(state: &mut State) {
    if let Some(target) = state.calls_of().cloned() {
        state.open(View::Calls(target));
        return;
    }
    let Some((node, volume)) = state.board_volume() else { return };
    let view = View::Output { node: node.clone(), volume: volume.to_owned() };
    match state.top().view {
        View::BoardVolume { .. } | View::Output { .. } => *state.top_mut() = Layer::new(view),
        _ => state.open(view),
    }
}

fn open_about(state: &mut State, data: &Data, view: fn(Target) -> View) {
    let Some(target) = data.target(state) else { return };
    // Pages about one object lie beside each other, not on top.
    if state.top().target().is_some() {
        *state.top_mut() = Layer::new(view(target));
    } else {
        state.open(view(target));
    }
}

fn open_timeline(state: &mut State, data: &Data) -> Vec<Effect> {
    let target = data.target(state);
    let effects = show(state, TableId::Timeline);
    state.top_mut().about = target;
    effects
}

/// Tab: the next page about the same object.
fn next_page(state: &mut State) -> Vec<Effect> {
    let is_claim = |target: &Target| target.kind == kind::PERSISTENT_VOLUME_CLAIM;
    if state.table() == Some(TableId::Board) {
        let layer = state.top_mut();
        layer.aspect = layer.aspect.next();
        return vec![Effect::Relens(TableId::Board)];
    }
    let next = match state.top().view.clone() {
        View::Journey(target) => View::Why(target),
        View::Why(target) => View::Describe(target),
        View::Describe(target) => View::Relations(target),
        View::Relations(target) => View::Yaml(target),
        View::Yaml(target) if is_claim(&target) => View::Journey(target),
        View::Yaml(target) => View::Describe(target),
        View::BoardVolume { node, volume } => View::Output { node, volume },
        View::Output { node, volume } => View::BoardVolume { node, volume },
        View::Table(_)
        | View::Help
        | View::Step
        | View::Calls(_)
        | View::File { .. }
        | View::Editor(_) => {
            return Vec::new();
        }
    };
    *state.top_mut() = Layer::new(next);
    Vec::new()
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

fn sort_by_letter(state: &mut State, data: &Data, letter: char) -> Vec<Effect> {
    let Some(table) = state.table() else { return Vec::new() };
    let columns = data.listed(table).columns();
    match columns.iter().position(|column| column.sort == Some(letter)) {
        Some(column) => sort(state, table, column),
        None => Vec::new(),
    }
}

fn sort_by_title(state: &mut State, data: &Data, title: &str) -> Vec<Effect> {
    let Some(table) = state.table() else { return Vec::new() };
    if title.is_empty() {
        let list = &mut state.top_mut().list;
        (list.sort, list.descending) = (None, false);
        return vec![Effect::Relens(table)];
    }
    let columns = data.listed(table).columns();
    let title = title.to_uppercase();
    let sortable = |column: &Column| column.sort.is_some();
    let found = columns
        .iter()
        .position(|c| sortable(c) && c.title == title)
        .or_else(|| columns.iter().position(|c| sortable(c) && c.title.starts_with(&title)));
    match found {
        Some(column) => sort(state, table, column),
        None => {
            let titles: Vec<_> =
                columns.iter().filter(|c| c.sort.is_some()).map(|c| c.title).collect();
            let known = titles.join(", ");
            state.complain(format!("no column `{title}` to sort by; there are {known}"));
            Vec::new()
        }
    }
}

fn sort(state: &mut State, table: TableId, column: usize) -> Vec<Effect> {
    let list = &mut state.top_mut().list;
    list.descending = list.sort == Some(column) && !list.descending;
    list.sort = Some(column);
    vec![Effect::Relens(table)]
}

fn narrow(state: &mut State, namespace: Option<String>) -> Vec<Effect> {
    state.namespace = namespace;
    relens(state)
}

fn namespace(state: &mut State, data: &Data, name: &str) -> Vec<Effect> {
    match name {
        "" => show(state, TableId::Namespaces),
        "all" | "-" => narrow(state, None),
        name => {
            if !data.namespaces().iter().any(|known| known == name) {
                state.complain(format!("no namespace `{name}` is known; lists may stay empty"));
            }
            narrow(state, Some(name.to_owned()))
        }
    }
}

fn context(state: &mut State, data: &Data, name: &str) -> Vec<Effect> {
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
