//! The last line: what keys do here, or the line being typed, or what just
//! happened. And the strip above it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::cluster::write_path::step_gate::Mode;
use crate::mirror::freshness::Freshness;
use crate::ui::command::{self, Act, Command, Refusal, Scope};
use crate::ui::data::Data;
use crate::ui::state::{Notice, Prompt, PromptKind, State, TableId, View};
use crate::ui::text;
use crate::ui::theme::Role;
use crate::ui::views::page::Page;
use crate::ui::views::{self, strip};

/// Draws the last line.
pub fn draw(buffer: &mut Buffer, area: Rect, state: &State, data: &Data) {
    if area.height == 0 {
        return;
    }
    let look = &data.look;
    let width = usize::from(area.width);
    if let Some(prompt) = &state.prompt {
        return draw_prompt(buffer, area, prompt, data);
    }
    if let Some(notice) = &state.notice {
        return draw_notice(buffer, area, notice, data);
    }
    // What leads everywhere else is always there, however much else is.
    let (last, first): (Vec<_>, Vec<_>) = command::ALL
        .iter()
        .filter(|command| !bar_word(command, state).is_empty())
        .filter(|command| command.scope != Scope::Stepping || steps_here(state, data))
        .partition(|command| matches!(command.act, Act::CommandLine | Act::Help));
    let reserved: usize = last.iter().map(|command| needed(command, state, data)).sum();
    let mut x = 1;
    for (command, room) in first
        .into_iter()
        .map(|command| (command, width.saturating_sub(reserved)))
        .chain(last.into_iter().map(|command| (command, width)))
    {
        let (key_role, role) = match command::why_not(command, state, data) {
            Ok(()) => (Role::Key, Role::Text),
            Err(Refusal::Because(_)) => (Role::Dim, Role::Dim),
            Err(Refusal::NotHere) => continue,
        };
        let word = bar_word(command, state);
        let needed = needed(command, state, data);
        if needed == 0 || x + needed > room {
            continue;
        }
        let key = first_key(command, data);
        let y = area.y;
        buffer.set_stringn(area.x + x as u16, y, &key, width - x, look.theme.style(key_role));
        let at = x + text::width(&key) + 1;
        buffer.set_stringn(area.x + at as u16, y, word, width - at, look.theme.style(role));
        x += needed;
    }
}

/// The word of a command in the bar. Tab means something of its own on a board.
fn bar_word(command: &Command, state: &State) -> &'static str {
    match (command.act, state.table()) {
        (Act::NextPane, Some(TableId::Board)) => "desired/actual",
        // They work, but are not what one looks at a board for.
        (
            Act::Edit | Act::Rebind | Act::Delete | Act::Describe | Act::Yaml | Act::FilterLine,
            Some(TableId::Board),
        ) => "",
        _ => command.bar,
    }
}

/// Stepping keys are named where one steps, and while writes are held.
fn steps_here(state: &State, data: &Data) -> bool {
    let held = data.stepping.as_ref().is_some_and(|stepping| stepping.mode != Mode::Open);
    held || matches!(state.top().view, View::Step)
}

/// A message, over the lines above where one line is not enough.
fn draw_notice(buffer: &mut Buffer, area: Rect, notice: &Notice, data: &Data) {
    const LINES_MAX: usize = 4;
    let width = usize::from(area.width);
    let style = data.look.theme.style(notice.role());
    let mut lines = text::wrap(&notice.text, width.saturating_sub(2));
    lines.truncate(LINES_MAX.min(usize::from(area.y) + 1));
    let first = area.y + 1 - lines.len() as u16;
    for (line, y) in lines.iter().zip(first..) {
        let fitted = text::fit(line, width.saturating_sub(1), data.look.glyphs);
        let pad = width.saturating_sub(1 + text::width(&fitted));
        let padded = format!(" {fitted}{:pad$}", "");
        buffer.set_stringn(area.x, y, &padded, width, style);
    }
}

fn first_key(command: &Command, data: &Data) -> String {
    data.keymap.keys(command).into_iter().next().unwrap_or_default()
}

/// Cells that a command takes in the bar; 0 for one without a key.
fn needed(command: &Command, state: &State, data: &Data) -> usize {
    match first_key(command, data) {
        key if key.is_empty() => 0,
        key => text::width(&key) + 1 + bar_word(command, state).len() + 2,
    }
}

fn draw_prompt(buffer: &mut Buffer, area: Rect, prompt: &Prompt, data: &Data) {
    let look = &data.look;
    let width = usize::from(area.width);
    let sign = match prompt.kind {
        PromptKind::Command => ":",
        PromptKind::Filter => "/",
    };
    let typed = format!("{sign}{}", prompt.text);
    // The end of what is typed has to be seen, not its beginning.
    let mut shown = typed.as_str();
    while text::width(shown) + 1 > width && !shown.is_empty() {
        shown = &shown[shown.chars().next().map_or(0, char::len_utf8)..];
    }
    buffer.set_stringn(area.x, area.y, shown, width, look.theme.style(Role::Input));
    let at = text::width(shown);
    if at < width {
        buffer.set_stringn(area.x + at as u16, area.y, " ", 1, look.theme.style(Role::Focused));
    }
    if prompt.kind == PromptKind::Command && !prompt.text.is_empty() {
        let hints = command::completions(&prompt.text, data).join("  ");
        let from = at + 3;
        if from < width {
            let fitted = text::fit(&hints, width - from, look.glyphs);
            let x = area.x + from as u16;
            buffer.set_stringn(x, area.y, &fitted, width - from, look.theme.style(Role::Dim));
        }
    }
}

/// Draws what is to be said of the row under the cursor.
pub fn draw_strip(buffer: &mut Buffer, area: Rect, state: &State, data: &Data, table: TableId) {
    if area.height == 0 {
        return;
    }
    let look = &data.look;
    let width = usize::from(area.width);
    let rule = look.glyphs.rule().repeat(width);
    buffer.set_stringn(area.x, area.y, &rule, width, look.theme.style(Role::Border));
    let mut lines: Vec<(Role, String)> = Vec::new();
    let shown = usize::from(area.height - 1);
    if let Some(Freshness::Stale { error, .. }) = data.freshness(table) {
        let text = format!("the server does not answer, trying again: {error}");
        lines.push((Role::Error, text::fit(&text, width.saturating_sub(2), look.glyphs).into()));
    }
    if table == TableId::Board && board_pane(buffer, area, state, data) {
        return;
    }
    let (role, said) = strip_text(state, data, table);
    let said = text::wrap(&said, width.saturating_sub(2));
    lines.extend(said.into_iter().map(|line| (role, line)));
    let more = lines.len() > shown;
    for (at, (role, line)) in lines.into_iter().take(shown).enumerate() {
        let cut = more && at + 1 == shown;
        let line = if cut { format!("{line} {}", look.glyphs.ellipsis()) } else { line };
        let fitted = text::fit(&line, width.saturating_sub(1), look.glyphs);
        let y = area.y + 1 + at as u16;
        buffer.set_stringn(area.x + 1, y, &fitted, width - 1, look.theme.style(role));
    }
}

/// What is known of the selected volume of a board; false if none is.
fn board_pane(buffer: &mut Buffer, area: Rect, state: &State, data: &Data) -> bool {
    let Some(facts) = state.top().about.as_ref().and_then(|node| data.boards.get(&node.name))
    else {
        return false;
    };
    let cursor = state.top().list.cursor.as_deref();
    let Some(row) = cursor.and_then(|id| facts.row(id)) else { return false };
    let mut page = Page::new(&data.look, usize::from(area.width));
    let lines = usize::from(area.height - 1);
    views::board::pane(&mut page, facts, row, data.instant(), lines);
    for (line, y) in page.into_lines().iter().take(lines).zip(area.y + 1..) {
        buffer.set_line(area.x, y, line, area.width);
    }
    true
}

fn strip_text(state: &State, data: &Data, table: TableId) -> (Role, String) {
    let list = &state.top().list;
    match data.freshness(table) {
        Some(Freshness::Forbidden { message }) => {
            return (Role::Error, format!("not permitted: {message}; no rows means: cannot tell"));
        }
        Some(Freshness::NotServed) => {
            return (Role::Error, "this server does not know the kind".into());
        }
        Some(
            Freshness::Loading { .. }
            | Freshness::Live
            | Freshness::LiveInNamespace { .. }
            | Freshness::Stale { .. },
        )
        | None => {}
    }
    if let Some(error) = state.top().files.as_ref().and_then(|at| at.error.clone()) {
        return (Role::Error, error);
    }
    if list.lost && !data.listed(table).is_empty() {
        return (Role::Fault, "what was under the cursor is gone; move to choose another".into());
    }
    let Some(id) = &list.cursor else { return (Role::Dim, nothing_text(state, data, table)) };
    let marks = match list.marks.len() {
        0 => String::new(),
        marks => format!("  [{marks} marked]"),
    };
    let said = data.read(|context| {
        let listed = data.listed(table);
        let at = listed.position(context, id)?;
        let target = listed.target(context, id);
        let said = strip::of_row(table, target.as_ref(), listed, at, &data.calls, context);
        Some(said)
    });
    (Role::Text, format!("{}{marks}", said.unwrap_or_default()))
}

fn nothing_text(state: &State, data: &Data, table: TableId) -> String {
    let list = &state.top().list;
    match table {
        _ if !list.filter.is_empty() => format!("nothing matches `{}`; Esc clears it", list.filter),
        _ if data.heard.is_none() => "waiting for the cluster".into(),
        TableId::Overview => {
            "Nothing needs you. :pvc claims  :pv volumes  :sc classes  ? help".into()
        }
        TableId::Files => "nothing is mounted here, or nothing is in it".into(),
        TableId::Verdict => views::verdict::no_row(state, data),
        TableId::Board => "no pod here has a volume, and none is attached".into(),
        _ if state.namespace.is_some() => "nothing in this namespace; 0 shows all".into(),
        _ => "nothing here".into(),
    }
}
