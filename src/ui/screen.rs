//! Drawing: state and data to a picture. Pure, and only what is seen.

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::ui::data::Data;
use crate::ui::layout::{self, HEIGHT_MIN, WIDTH_MIN};
use crate::ui::state::{State, TableId, View};
use crate::ui::text;
use crate::ui::theme::Role;
use crate::ui::views;
use crate::ui::views::page::Page;
use crate::ui::widgets::{bar, table, title};

/// Draws the whole screen.
pub fn draw(state: &State, data: &Data, frame: &mut Frame<'_>) {
    let area = frame.area();
    draw_into(state, data, area, frame.buffer_mut());
}

/// Draws the screen into a part of a buffer.
pub fn draw_into(state: &State, data: &Data, area: Rect, buffer: &mut Buffer) {
    buffer.set_style(area, data.look.theme.style(Role::Text));
    if area.width < WIDTH_MIN || area.height < HEIGHT_MIN {
        return too_small(data, area, buffer);
    }
    let seen = state.table();
    let parts = layout::parts(area, seen);
    title::draw(buffer, parts.title, state, data);
    match (&state.top().view, seen) {
        (_, Some(seen)) => {
            head(buffer, parts.head, state, data, seen);
            table::draw(buffer, parts.body, state, data, seen);
            bar::draw_strip(buffer, parts.strip, state, data, seen);
        }
        (View::Editor(editor), None) => {
            let all = Rect { height: parts.body.height + parts.bar.height, ..parts.body };
            views::editor::draw(buffer, all, state, data, editor);
        }
        (_, None) => text_view(buffer, parts.body, state, data),
    }
    let editing = matches!(state.top().view, View::Editor(_));
    if !editing || state.prompt.is_some() || state.notice.is_some() {
        let blank = " ".repeat(usize::from(area.width));
        let style = data.look.theme.style(Role::Text);
        buffer.set_stringn(parts.bar.x, parts.bar.y, &blank, usize::from(area.width), style);
        bar::draw(buffer, parts.bar, state, data);
    }
    views::dialogs::draw(buffer, area, state, data);
}

/// What some tables say above themselves.
fn head(buffer: &mut Buffer, area: Rect, state: &State, data: &Data, table: TableId) {
    let mut page = Page::new(&data.look, usize::from(area.width));
    match (table, &state.top().about) {
        (TableId::Board, Some(node)) => views::board::head(&mut page, node, data),
        (TableId::Verdict, Some(pod)) => views::verdict::head(&mut page, pod, data),
        (TableId::Files, Some(pod)) => views::files::head(&mut page, pod, state.top(), data),
        _ => {}
    }
    for (line, y) in page.into_lines().iter().zip(area.y..area.y + area.height) {
        buffer.set_line(area.x, y, line, area.width);
    }
}

fn text_view(buffer: &mut Buffer, area: Rect, state: &State, data: &Data) {
    let layer = state.top();
    let shown = views::scroll(state, data, usize::from(area.height)).seen(layer.place);
    for (line, y) in shown.into_iter().zip(area.y..area.y + area.height) {
        let line = if layer.shift == 0 { line } else { shifted(line, layer.shift) };
        buffer.set_line(area.x, y, &line, area.width);
    }
}

/// A line without its first cells.
fn shifted(line: ratatui::text::Line<'static>, shift: u16) -> ratatui::text::Line<'static> {
    let mut left = usize::from(shift);
    let spans = line.spans.into_iter().filter_map(|span| {
        let chars = span.content.chars().count();
        let skip = left.min(chars);
        left -= skip;
        let rest: String = span.content.chars().skip(skip).collect();
        (!rest.is_empty()).then(|| ratatui::text::Span::styled(rest, span.style))
    });
    spans.collect::<Vec<_>>().into()
}

fn too_small(data: &Data, area: Rect, buffer: &mut Buffer) {
    let needed =
        format!("pvdeck needs {WIDTH_MIN}x{HEIGHT_MIN}; this is {}x{}", area.width, area.height);
    let lines = text::wrap(&needed, usize::from(area.width));
    for (line, y) in lines.iter().zip(area.y..area.y.saturating_add(area.height)) {
        let style = data.look.theme.style(Role::Title);
        buffer.set_stringn(area.x, y, line, usize::from(area.width), style);
    }
}
