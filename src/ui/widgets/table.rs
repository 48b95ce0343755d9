//! A table: headings and the rows that are seen, nothing else.
//!
//! Column widths follow from the width of the screen alone, so that scrolling
//! never makes columns jump (and never redraws what did not change). The row
//! under the cursor is set off up to its name only: restyling all of it would
//! send the whole line twice for each key.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use crate::ui::data::{Data, Look};
use crate::ui::lists::{Cell, Column, Context, Listed};
use crate::ui::state::{ListState, State, TableId};
use crate::ui::text;
use crate::ui::theme::Role;

/// Cells left of the columns: cursor, sign, and the mark of a change.
const GUTTER: u16 = 3;

/// A column that is shown, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Placed {
    column: usize,
    x: u16,
    width: u16,
}

/// Draws a table into `area`: one line of headings, then rows.
pub fn draw(buffer: &mut Buffer, area: Rect, state: &State, data: &Data, table: TableId) {
    if area.height == 0 || area.width == 0 {
        return;
    }
    let layer = state.top();
    let listed = data.listed(table);
    let hidden = hidden_columns(listed.columns(), state);
    let placed = place(listed.columns(), &hidden, area.width, layer.shift);
    headings(buffer, area, listed.columns(), &placed, &layer.list, &data.look);
    data.read(|context| {
        let rows = usize::from(area.height - 1);
        for line in 0..rows.min(listed.len().saturating_sub(layer.list.top)) {
            let at = layer.list.top + line;
            let y = area.y + 1 + line as u16;
            let line = Rect { y, height: 1, ..area };
            row(buffer, line, state, data, context, listed, at, &placed);
        }
    });
}

/// A namespace that all rows share needs no column.
fn hidden_columns(columns: &[Column], state: &State) -> Vec<usize> {
    let narrowed = state.namespace.is_some();
    columns
        .iter()
        .enumerate()
        .filter(|(_, column)| narrowed && column.title == "NAMESPACE" && columns.len() > 2)
        .map(|(at, _)| at)
        .collect()
}

/// Chooses the columns that fit, by priority, and shares out what is left.
/// `shift` takes columns after the first two off the left.
fn place(columns: &[Column], hidden: &[usize], width: u16, shift: u16) -> Vec<Placed> {
    let mut chosen: Vec<usize> =
        (0..columns.len()).filter(|column| !hidden.contains(column)).collect();
    let skipped = usize::from(shift / 8).min(chosen.len().saturating_sub(2));
    let kept = chosen.len().min(2);
    chosen.drain(kept..kept + skipped.min(chosen.len() - kept));
    let room = width.saturating_sub(GUTTER);
    let needed = |chosen: &[usize]| -> u16 {
        chosen.iter().map(|&column| columns[column].width + 1).sum::<u16>().saturating_sub(1)
    };
    while chosen.len() > 1 && needed(&chosen) > room {
        let lowest =
            chosen.iter().copied().max_by_key(|&column| (columns[column].priority, column));
        chosen.retain(|column| Some(*column) != lowest);
    }
    let spare = room.saturating_sub(needed(&chosen));
    let shares: u16 = chosen.iter().map(|&column| columns[column].grow).sum();
    let mut x = GUTTER;
    let mut given = 0;
    let mut placed = Vec::new();
    for (at, &column) in chosen.iter().enumerate() {
        let grow = columns[column].grow;
        let extra = match shares {
            0 => 0,
            _ if at + 1 == chosen.len() && grow > 0 => spare - given,
            shares => spare * grow / shares,
        };
        given += extra;
        let width = (columns[column].width + extra).min(room.saturating_sub(x - GUTTER));
        placed.push(Placed { column, x, width });
        x += width + 1;
    }
    placed
}

fn headings(
    buffer: &mut Buffer,
    area: Rect,
    columns: &[Column],
    placed: &[Placed],
    list: &ListState,
    look: &Look,
) {
    let style = look.theme.style(Role::Heading);
    for place in placed {
        let column = &columns[place.column];
        let sorted = match (list.sort == Some(place.column), list.descending) {
            (true, false) => look.glyphs.ascending(),
            (true, true) => look.glyphs.descending(),
            (false, _) => "",
        };
        let title = format!("{}{sorted}", column.title);
        put(buffer, area, *place, &title, style, column, look);
    }
}

#[expect(clippy::too_many_arguments, reason = "one call, from the loop over rows")]
fn row(
    buffer: &mut Buffer,
    line: Rect,
    state: &State,
    data: &Data,
    context: Context<'_>,
    listed: &dyn Listed,
    at: usize,
    placed: &[Placed],
) {
    let (Some(id), Some(cells)) = (listed.id_at(at), listed.row(context, at)) else { return };
    let look = &data.look;
    let list = &state.top().list;
    let selected = list.cursor.as_deref() == Some(&*id);
    let marked = list.marks.contains(&id);
    let changed = data.is_changed(&id, state.now_ms);
    let style = |role| look.theme.style(role);
    let cursor = match (selected, marked) {
        (true, _) => (">", style(Role::Selected)),
        (false, true) => ("+", style(Role::Marked)),
        (false, false) => (" ", style(Role::Text)),
    };
    set(buffer, line, 0, cursor.0, cursor.1);
    let sign_style = if selected { style(Role::Selected) } else { style(cells.sign.role()) };
    set(buffer, line, 1, cells.sign.mark(), sign_style);
    let changed_mark = if changed { ("'", style(Role::Changed)) } else { (" ", cursor.1) };
    set(buffer, line, 2, changed_mark.0, if selected { cursor.1 } else { changed_mark.1 });
    // The leading columns up to the name carry cursor, mark and change.
    let name = listed.columns().iter().position(is_name).unwrap_or(0);
    for place in placed {
        let Some(cell) = cells.cells.get(place.column) else { continue };
        let leading = place.column <= name;
        let style = match (leading, selected, marked, changed) {
            (true, true, ..) => style(Role::Selected),
            (true, false, true, _) => style(Role::Marked),
            (true, false, false, true) => style(Role::Changed),
            _ => cell_style(cell, look),
        };
        if leading && selected {
            let width = place.width + u16::from(place.column < name);
            let end = (place.x + width).min(line.width);
            for x in place.x..end {
                set(buffer, line, x, " ", style);
            }
        }
        put(buffer, line, *place, &cell.text, style, &listed.columns()[place.column], look);
    }
}

fn is_name(column: &Column) -> bool {
    ["NAME", "OBJECT", "CONTROLLER", "CONTEXT", "NAMESPACE"].contains(&column.title)
        && column.title != "NAMESPACE"
}

fn cell_style(cell: &Cell, look: &Look) -> Style {
    look.theme.style(cell.role)
}

fn set(buffer: &mut Buffer, line: Rect, x: u16, text: &str, style: Style) {
    if x < line.width {
        buffer.set_stringn(line.x + x, line.y, text, usize::from(line.width - x), style);
    }
}

fn put(
    buffer: &mut Buffer,
    line: Rect,
    place: Placed,
    text: &str,
    style: Style,
    column: &Column,
    look: &Look,
) {
    let cells = usize::from(place.width);
    let short = if column.is_path { &*text::short_path(text, cells) } else { text };
    let fitted = text::fit(short, cells, look.glyphs);
    let used = text::width(&fitted) as u16;
    let x = if column.right { place.x + place.width.saturating_sub(used) } else { place.x };
    set(buffer, line, x, &fitted, style);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::lists::column;

    const COLUMNS: &[Column] = &[
        column("NAME", 'N', 10, 0).growing(1),
        column("SIZE", 'S', 6, 0),
        column("CLASS", 'C', 10, 1),
        column("NOTE", 'O', 20, 2).growing(3),
    ];

    fn widths(width: u16, shift: u16) -> Vec<(usize, u16)> {
        place(COLUMNS, &[], width, shift).iter().map(|place| (place.column, place.width)).collect()
    }

    #[test]
    fn columns_go_by_priority_and_the_rest_is_shared() {
        assert_eq!(widths(60, 0), [(0, 12), (1, 6), (2, 10), (3, 26)]);
        assert_eq!(widths(40, 0), [(0, 19), (1, 6), (2, 10)]);
        assert_eq!(widths(21, 0), [(0, 11), (1, 6)]);
        assert_eq!(widths(5, 0), [(0, 2)]);
        assert_eq!(widths(0, 0), [(0, 0)]);
    }

    #[test]
    fn scrolling_sideways_keeps_the_first_two_columns() {
        assert_eq!(widths(60, 8).iter().map(|(column, _)| *column).collect::<Vec<_>>(), [0, 1, 3]);
        assert_eq!(widths(40, 800).iter().map(|(column, _)| *column).collect::<Vec<_>>(), [0, 1]);
    }
}
