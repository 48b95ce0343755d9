//! Where things are: line 1 says where one is, the last line what keys do,
//! between them the thing itself, below it what is to be said of the row under
//! the cursor.

use ratatui::layout::Rect;

use crate::ui::state::TableId;

/// Below this the console only says what it needs.
pub const WIDTH_MIN: u16 = 60;
/// See [`WIDTH_MIN`].
pub const HEIGHT_MIN: u16 = 15;

/// Lines above a table that say what it is about.
pub fn head_lines(table: TableId) -> u16 {
    match table {
        TableId::Board => 1,
        TableId::Files => 2,
        TableId::Verdict => 5,
        _ => 0,
    }
}

/// Lines of the strip below a table, its rule included. A board's says which
/// commands were run, so it gets a third of the screen; a kind of volume is
/// told in some sentences.
fn strip_lines(table: TableId, height: u16) -> u16 {
    match table {
        TableId::Board => (height / 3 + 1).clamp(3, 24),
        TableId::Plugins | TableId::Verdict => 5,
        _ => 3,
    }
}

/// The parts of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    pub title: Rect,
    /// Above some tables; else empty.
    pub head: Rect,
    pub body: Rect,
    /// Below a table; empty in views of text.
    pub strip: Rect,
    pub bar: Rect,
}

/// The parts of a screen of this size.
pub fn parts(area: Rect, table: Option<TableId>) -> Parts {
    let line = |y: u16, height: u16| Rect { x: area.x, y, width: area.width, height };
    let inner = area.height.saturating_sub(2);
    let head = table.map_or(0, head_lines).min(inner);
    let strip = table.map_or(0, |table| strip_lines(table, area.height)).min(inner - head);
    let body = inner - head - strip;
    let top = area.y + area.height.min(1);
    Parts {
        title: line(area.y, area.height.min(1)),
        head: line(top, head),
        body: line(top + head, body),
        strip: line(top + head + body, strip),
        bar: line(area.y + area.height.saturating_sub(1), u16::from(area.height > 1)),
    }
}

/// Rows of a table on a screen of this height: without title, head, headings,
/// strip and bar.
pub fn table_rows(height: u16, table: TableId) -> usize {
    let others = 2 + head_lines(table) + strip_lines(table, height) + 1;
    usize::from(height.saturating_sub(others))
}

/// Lines of a view of text.
pub fn text_rows(height: u16) -> usize {
    usize::from(height.saturating_sub(2))
}
