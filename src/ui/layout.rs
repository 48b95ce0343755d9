//! Where things are: line 1 says where one is, the last line what keys do,
//! between them the thing itself, below it what is to be said of the row under
//! the cursor.

use ratatui::layout::Rect;

/// Below this the console only says what it needs.
pub const WIDTH_MIN: u16 = 60;
/// See [`WIDTH_MIN`].
pub const HEIGHT_MIN: u16 = 15;

/// Lines of the strip below a table, its rule included.
const STRIP_LINES: u16 = 3;

/// The parts of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    pub title: Rect,
    pub body: Rect,
    /// Below a table; empty in views of text.
    pub strip: Rect,
    pub bar: Rect,
}

/// The parts of a screen of this size.
pub fn parts(area: Rect, with_strip: bool) -> Parts {
    let line = |y: u16, height: u16| Rect { x: area.x, y, width: area.width, height };
    let strip = if with_strip { STRIP_LINES } else { 0 };
    let inner = area.height.saturating_sub(2);
    let strip = strip.min(inner);
    let body = inner - strip;
    let top = area.y;
    Parts {
        title: line(top, area.height.min(1)),
        body: line(top + area.height.min(1), body),
        strip: line(top + area.height.min(1) + body, strip),
        bar: line(top + area.height.saturating_sub(1), u16::from(area.height > 1)),
    }
}

/// Rows of a table on a screen of this height: without title, headings, strip
/// and bar.
pub fn table_rows(height: u16) -> usize {
    usize::from(height.saturating_sub(2 + STRIP_LINES + 1))
}

/// Lines of a view of text.
pub fn text_rows(height: u16) -> usize {
    usize::from(height.saturating_sub(2))
}
