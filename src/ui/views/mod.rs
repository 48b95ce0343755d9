//! The views of text: pages of lines made from state and data. Tables are
//! drawn by [`super::widgets::table`].

pub mod board;
pub mod calls;
pub mod describe;
pub mod dialogs;
pub mod driver;
pub mod editor;
pub mod files;
pub mod help;
pub mod journey;
pub mod page;
pub mod related;
pub mod scroll;
pub mod step;
pub mod strip;
pub mod verdict;
pub mod why;

use crate::ui::data::Data;
use crate::ui::state::{Fetched, State, View};
use crate::ui::theme::Role;
use crate::ui::views::page::{Page, Part};
use crate::ui::views::scroll::Scroll;

/// The seen view of text, to be scrolled through.
pub fn scroll<'a>(
    state: &'a State,
    data: &'a Data,
    lines: usize,
) -> Scroll<'a, impl Fn(Part) -> Page<'a>> {
    Scroll { write: move |part| document(state, data, part), lines }
}

/// A part of a view of text; tables and the editor have none.
fn document<'a>(state: &State, data: &'a Data, part: Part) -> Page<'a> {
    let mut page = Page::of_part(&data.look, usize::from(state.width), part);
    match &state.top().view {
        View::Table(_) | View::Editor(_) => {}
        View::Help => help::write(&mut page, state, data),
        View::Step => step::write(&mut page, state, data),
        View::Journey(target) => journey::write(&mut page, target, data),
        View::Why(target) => why::write(&mut page, target, data),
        View::Describe(target) => describe::write(&mut page, target, data),
        View::Calls(target) => calls::write(&mut page, target, data),
        View::Relations(target) => related::write(&mut page, target, data),
        View::BoardVolume { node, volume } => board::write(&mut page, node, volume, data),
        View::Output { node, volume } => board::output(&mut page, node, volume, data),
        View::Yaml(_) | View::File { .. } => match &state.top().fetched {
            Fetched::Nothing | Fetched::Asked(_) => page.say(Role::Dim, "reading ..."),
            Fetched::Failed(what) => page.say(Role::Error, what),
            Fetched::Lines(lines) => page.each(lines, |page, line| page.raw(Role::Text, line)),
        },
    }
    page
}

/// All rows or lines of the seen view as plain text: for a file.
pub fn as_text(state: &State, data: &Data) -> String {
    let mut text = String::new();
    let Some(table) = state.table() else {
        if let View::Editor(editor) = &state.top().view {
            return editor.text.text();
        }
        for line in document(state, data, Part::Whole).into_lines() {
            text.push_str(line.to_string().trim_end());
            text.push('\n');
        }
        return text;
    };
    let listed = data.listed(table);
    let titles: Vec<_> = listed.columns().iter().map(|column| column.title).collect();
    text.push_str(&titles.join("\t"));
    text.push('\n');
    data.read(|context| {
        for row in (0..listed.len()).filter_map(|at| listed.row(context, at)) {
            let cells: Vec<_> = row.cells.iter().map(|cell| &*cell.text).collect();
            text.push_str(&cells.join("\t"));
            text.push('\n');
        }
    });
    text
}
