//! Opening what a key or a word asks for: views, pages about an object, boards.

use crate::model::kind;
use crate::ui::data::Data;
use crate::ui::message::Effect;
use crate::ui::state::{Layer, State, TableId, View};
use crate::ui::target::Target;
use crate::ui::update::{commands, files};

pub fn show(state: &mut State, table: TableId) -> Vec<Effect> {
    state.open(View::Table(table));
    state.top_mut().about = None;
    vec![Effect::Relens(table)]
}

pub fn open(state: &mut State, data: &Data) -> Vec<Effect> {
    let chosen = state.top().list.cursor.clone();
    match (state.table(), chosen) {
        (Some(TableId::Contexts), Some(name)) => return commands::context(state, data, &name),
        (Some(TableId::Namespaces), Some(name)) => {
            state.close();
            return commands::narrow(state, Some(name));
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
pub fn open_board(state: &mut State, data: &Data, name: &str) -> Vec<Effect> {
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
pub fn open_board_of_journey(state: &mut State, data: &Data) -> Vec<Effect> {
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
pub fn open_output(state: &mut State) {
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

pub fn open_about(state: &mut State, data: &Data, view: fn(Target) -> View) {
    let Some(target) = data.target(state) else { return };
    // Pages about one object lie beside each other, not on top.
    if state.top().target().is_some() {
        *state.top_mut() = Layer::new(view(target));
    } else {
        state.open(view(target));
    }
}

pub fn open_timeline(state: &mut State, data: &Data) -> Vec<Effect> {
    let target = data.target(state);
    let effects = show(state, TableId::Timeline);
    state.top_mut().about = target;
    effects
}

/// Tab: the next page about the same object.
pub fn next_page(state: &mut State) -> Vec<Effect> {
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
