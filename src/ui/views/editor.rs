//! The editor as it is drawn: the text, or the diff that is to be confirmed.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;

use crate::ui::data::Data;
use crate::ui::dialog::{Asked, Button};
use crate::ui::diff::DiffLine;
use crate::ui::editor::{Editor, Stage};
use crate::ui::state::State;
use crate::ui::theme::Role;
use crate::ui::views::page::Page;

/// Draws the editor into `area`; its last line tells what keys do.
pub fn draw(buffer: &mut Buffer, area: Rect, state: &State, data: &Data, editor: &Editor) {
    if area.height < 2 {
        return;
    }
    let foot = Rect { y: area.y + area.height - 1, height: 1, ..area };
    let body = Rect { height: area.height - 1, ..area };
    match &editor.stage {
        Stage::Loading(_) => {
            lines(buffer, body, state, data, |page| page.say(Role::Dim, "reading ..."))
        }
        Stage::Failed(what) => lines(buffer, body, state, data, |page| page.say(Role::Error, what)),
        Stage::Editing | Stage::Checking(_) | Stage::Writing(_) | Stage::Leaving(_) => {
            draw_text(buffer, body, data, editor);
        }
        Stage::Reviewing { diff, .. } => lines(buffer, body, state, data, |page| {
            page.say(Role::Heading, "WHAT WOULD CHANGE, by the server's own dry run");
            diff_lines(page, diff);
        }),
        Stage::Conflict { theirs, ours, .. } => lines(buffer, body, state, data, |page| {
            page.say(
                Role::Fault,
                "SOMEONE ELSE CHANGED IT SINCE YOU READ IT. Nothing was written.",
            );
            page.say(Role::Heading, "THEIR CHANGES");
            diff_lines(page, theirs);
            page.say(Role::Heading, "YOURS, kept as typed");
            diff_lines(page, ours);
        }),
    }
    draw_foot(buffer, foot, data, editor);
}

fn draw_text(buffer: &mut Buffer, area: Rect, data: &Data, editor: &Editor) {
    let mut area_text = editor.text.0.clone();
    let theme = &data.look.theme;
    area_text.set_style(theme.style(Role::Text));
    area_text.set_cursor_line_style(ratatui::style::Style::new());
    area_text.set_cursor_style(theme.style(Role::Focused));
    area_text.set_line_number_style(theme.style(Role::Dim));
    area_text.render(area, buffer);
}

fn lines(
    buffer: &mut Buffer,
    area: Rect,
    state: &State,
    data: &Data,
    write: impl FnOnce(&mut Page<'_>),
) {
    let mut page = Page::new(&data.look, usize::from(area.width));
    write(&mut page);
    let lines = page.into_lines();
    let last = lines.len().saturating_sub(usize::from(area.height));
    let shown = lines.iter().skip(state.top().scroll.min(last));
    for (line, y) in shown.zip(area.y..area.y + area.height) {
        buffer.set_line(area.x, y, line, area.width);
    }
}

fn diff_lines(page: &mut Page<'_>, diff: &[DiffLine]) {
    if diff.is_empty() {
        page.say(Role::Dim, "(none)");
    }
    for line in diff {
        page.raw(line.kind.role(), &format!(" {} {}", line.kind.mark(), line.text));
    }
}

fn draw_foot(buffer: &mut Buffer, area: Rect, data: &Data, editor: &Editor) {
    let mut page = Page::new(&data.look, usize::from(area.width));
    match (&editor.stage, &editor.message) {
        (Stage::Editing, Some(message)) => page.say(Role::Error, message),
        (Stage::Editing, None) => page.pieces(&[
            (Role::Key, " ctrl-x"),
            (Role::Text, " check and show the diff  "),
            (Role::Key, "esc"),
            (Role::Text, " leave  "),
            (Role::Key, "ctrl-u ctrl-r"),
            (Role::Text, " undo, redo"),
        ]),
        (Stage::Loading(_) | Stage::Failed(_), _) => {
            page.pieces(&[(Role::Key, " esc"), (Role::Text, " back")]);
        }
        (Stage::Checking(_), _) => page.say(Role::Busy, "the server checks it ..."),
        (Stage::Writing(_), _) => page.say(Role::Busy, "writing ..."),
        (Stage::Reviewing { asked, .. }, _) => {
            buttons(&mut page, asked, "Back to the text", "Apply", "");
        }
        (Stage::Conflict { asked, .. }, _) => {
            let note = "  Tab changes, Enter presses";
            buttons(&mut page, asked, "Back to my text", "My text on top of theirs", note);
        }
        (Stage::Leaving(asked), _) => {
            buttons(&mut page, asked, "Stay", "Leave", "  what was typed is not applied");
        }
    }
    // A long message of the server takes lines of the text above.
    let lines = page.into_lines();
    let shown = lines.len().min(usize::from(area.y)).min(FOOT_LINES_MAX);
    for (line, y) in lines.iter().take(shown).zip(area.y + 1 - shown as u16..) {
        let blank = " ".repeat(usize::from(area.width));
        let style = data.look.theme.style(Role::Text);
        buffer.set_stringn(area.x, y, &blank, usize::from(area.width), style);
        buffer.set_line(area.x, y, line, area.width);
    }
}

/// Lines that a message may take.
const FOOT_LINES_MAX: usize = 5;

fn buttons(page: &mut Page<'_>, asked: &Asked, cancel: &str, confirm: &str, note: &str) {
    let role = |button| match asked.focus == button {
        true => Role::Focused,
        false => Role::Text,
    };
    page.pieces(&[
        (Role::Text, " "),
        (role(Button::Cancel), &format!("[ {cancel} ]")),
        (Role::Text, "  "),
        (role(Button::Confirm), &format!("[ {confirm} ]")),
        (Role::Dim, note),
    ]);
}
