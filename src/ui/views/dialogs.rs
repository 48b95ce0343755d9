//! The boxes that ask: their lines, and how they are drawn over what is below.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Clear, Widget};

use crate::ui::consequence;
use crate::ui::data::Data;
use crate::ui::dialog::{Asked, Button, Delete, DeleteFile, Dialog, Progress, Rebind};
use crate::ui::rebind;
use crate::ui::sign::Sign;
use crate::ui::state::State;
use crate::ui::text;
use crate::ui::theme::Role;
use crate::ui::views::page::Page;

/// Targets named one by one in a question about many.
const TARGETS_SHOWN: usize = 5;

/// Draws the dialog, if one is open, over `area`.
pub fn draw(buffer: &mut Buffer, area: Rect, state: &State, data: &Data) {
    let Some(dialog) = &state.dialog else { return };
    let width = area.width.saturating_sub(4).min(100);
    let mut page = Page::new(&data.look, usize::from(width.saturating_sub(2)));
    let room = usize::from(area.height.saturating_sub(4));
    let title = match dialog {
        Dialog::Quit(asked) => {
            page.say(Role::Text, "Leave pvdeck? A demo's cluster ends with it.");
            buttons(&mut page, asked, "Stay", "Quit", true);
            "QUIT"
        }
        Dialog::Delete(delete) => {
            of_delete(&mut page, delete, data);
            "DELETE"
        }
        Dialog::DeleteFile(delete) => {
            of_file(&mut page, delete);
            "DELETE FILE"
        }
        Dialog::Rebind(rebind) => {
            of_rebind(&mut page, rebind, data, room);
            "REBIND"
        }
    };
    draw_box(buffer, area, width, title, &page.into_lines(), data);
}

fn draw_box(
    buffer: &mut Buffer,
    area: Rect,
    width: u16,
    title: &str,
    lines: &[Line<'_>],
    data: &Data,
) {
    let height = (lines.len() as u16).saturating_add(2).min(area.height);
    if width < 4 || height < 3 {
        return;
    }
    let x = area.x + (area.width - width) / 2;
    let y = area.y + (area.height - height) / 2;
    let outer = Rect { x, y, width, height };
    Clear.render(outer, buffer);
    let style = data.look.theme.style(Role::Border);
    let glyphs = data.look.glyphs;
    let rule = glyphs.rule().repeat(usize::from(width));
    buffer.set_style(outer, data.look.theme.style(Role::Text));
    buffer.set_stringn(x, y, &rule, usize::from(width), style);
    buffer.set_stringn(x, y + height - 1, &rule, usize::from(width), style);
    let title = format!(" {title} ");
    let title_style = data.look.theme.style(Role::Title);
    buffer.set_stringn(x + 2, y, &title, usize::from(width - 2), title_style);
    // The last lines hold the buttons: they must be seen, whatever is long.
    let shown = usize::from(height - 2);
    let skip = if lines.len() > shown { lines.len() - shown } else { 0 };
    let first = usize::from(skip > 0);
    let seen = lines.iter().take(first).chain(lines.iter().skip(first + skip));
    for (line, row) in seen.zip(y + 1..y + height - 1) {
        buffer.set_line(x + 1, row, line, width - 2);
    }
}

fn buttons(page: &mut Page<'_>, asked: &Asked, cancel: &str, confirm: &str, ready: bool) {
    page.blank();
    let role = |button| match asked.focus == button {
        true => Role::Focused,
        false => Role::Text,
    };
    let confirm_role = match (ready, asked.focus) {
        (false, Button::Cancel) => Role::Dim,
        _ => role(Button::Confirm),
    };
    page.pieces(&[
        (Role::Text, " "),
        (role(Button::Cancel), &format!("[ {cancel} ]")),
        (Role::Text, "   "),
        (confirm_role, &format!("[ {confirm} ]")),
        (Role::Dim, "   Tab changes, Enter presses, Esc cancels"),
    ]);
}

fn of_delete(page: &mut Page<'_>, delete: &Delete, data: &Data) {
    data.mirror.read(|tables| {
        for target in delete.targets.iter().take(TARGETS_SHOWN) {
            page.say(Role::Title, &format!("Delete {}", consequence::title(target, tables)));
            for (sign, text) in consequence::of_deleting(target, tables).lines {
                page.signed(sign, "", 0, &text);
            }
        }
        let more = delete.targets.len().saturating_sub(TARGETS_SHOWN);
        if more > 0 {
            let losing = delete
                .targets
                .iter()
                .skip(TARGETS_SHOWN)
                .filter(|target| consequence::of_deleting(target, tables).loses_data);
            let text = format!("and {more} more, {} of which lose data", losing.count());
            page.say(Role::Title, &text);
        }
    });
    if delete.hidden > 0 {
        let text = format!("{} of the marked ones are hidden by the filter!", delete.hidden);
        page.say(Role::Fault, &text);
    }
    if delete.changed {
        page.say(Role::Fault, "It changed while this was open: look again.");
    }
    if outcome(page, &delete.progress, "deleting ...") {
        return;
    }
    let ready = delete.must_type.as_ref().is_none_or(|name| *name == delete.typed);
    if let Some(name) = &delete.must_type {
        type_to_confirm(page, name, &delete.typed);
    }
    buttons(page, &delete.asked, "Cancel", "Delete", ready);
}

fn type_to_confirm(page: &mut Page<'_>, name: &str, typed: &str) {
    page.blank();
    page.pieces(&[
        (Role::Text, " Type "),
        (Role::Key, name),
        (Role::Text, " to confirm: "),
        (Role::Input, typed),
        (Role::Focused, " "),
    ]);
}

fn of_file(page: &mut Page<'_>, delete: &DeleteFile) {
    page.say(Role::Title, &format!("Delete {} in volume {}", delete.path, delete.volume));
    page.signed(Sign::Busy, "", 0, &format!("a {}", delete.what));
    let used = format!("pod {} has the volume mounted and may be using it", delete.pod.key());
    page.signed(Sign::Busy, "", 0, &used);
    page.signed(Sign::Fault, "", 0, "what it holds is lost: a volume keeps no copy");
    if outcome(page, &delete.progress, "deleting ...") {
        return;
    }
    type_to_confirm(page, &delete.must_type, &delete.typed);
    let ready = delete.typed == delete.must_type;
    buttons(page, &delete.asked, "Cancel", "Delete", ready);
}

/// Says how writing goes; false while nothing is written yet.
fn outcome(page: &mut Page<'_>, progress: &Progress, busy: &str) -> bool {
    match progress {
        Progress::Asking => false,
        Progress::Writing(_) => {
            page.say(Role::Busy, &format!("{busy}  Esc leaves this question; the write goes on"));
            true
        }
        Progress::Failed(what) => {
            page.say(Role::Error, what);
            page.say(Role::Dim, "Esc closes");
            true
        }
    }
}

fn of_rebind(page: &mut Page<'_>, dialog: &Rebind, data: &Data, room: usize) {
    data.mirror.read(|tables| {
        page.say(Role::Title, &format!("Rebind {}", consequence::title(&dialog.from, tables)));
        let Some(chosen) = &dialog.chosen else {
            partners(page, dialog, &rebind::candidates(&dialog.from, tables), room);
            return;
        };
        page.say(Role::Text, &format!("with {}", consequence::title(chosen, tables)));
        page.blank();
        let Some((claim, volume)) = rebind::pair(&dialog.from, chosen, tables) else {
            page.say(Role::Error, "one of the two is gone");
            return;
        };
        for (at, write) in rebind::writes(claim, volume).iter().enumerate() {
            page.say(Role::Text, &format!("{} {} {}", at + 1, write.verb(), write.object));
            for (added, line) in rebind::lines(write) {
                let (mark, role) = if added { ("+", Role::Added) } else { ("-", Role::Removed) };
                page.pieces(&[(role, &format!("    {mark} {line}"))]);
            }
        }
        if dialog.changed {
            page.say(Role::Fault, "One of the two changed while this was open: look again.");
        }
        if !outcome(page, &dialog.progress, "writing ...") {
            page.say(Role::Dim, "Then the controller binds the two.");
            buttons(page, &dialog.asked, "Back", "Rebind", true);
        }
    });
}

fn partners(page: &mut Page<'_>, dialog: &Rebind, candidates: &[rebind::Candidate], room: usize) {
    if candidates.is_empty() {
        page.say(Role::Text, "There is nothing it could be given to.");
        page.say(Role::Dim, "Esc closes");
        return;
    }
    page.say(Role::Dim, "Choose the partner: j k move, Enter chooses, Esc cancels");
    let rows = room.saturating_sub(3).max(1);
    let at =
        dialog.cursor.as_ref().and_then(|uid| candidates.iter().position(|c| c.target.uid == *uid));
    let top = at.unwrap_or(0).saturating_sub(rows.saturating_sub(1));
    for candidate in candidates.iter().skip(top).take(rows) {
        let selected = dialog.cursor.as_deref() == Some(&*candidate.target.uid);
        let (mark, role) = match &candidate.fits {
            Ok(()) => ("*", Role::Ok),
            Err(_) => ("x", Role::Lost),
        };
        let verdict = match &candidate.fits {
            Ok(()) => "fits".to_owned(),
            Err(why) => why.clone(),
        };
        let name = text::fit(&candidate.target.key().to_string(), 24, page.glyphs()).into_owned();
        let pad = 24_usize.saturating_sub(text::width(&name));
        let cursor = if selected { Role::Selected } else { Role::Text };
        page.pieces(&[
            (cursor, if selected { ">" } else { " " }),
            (role, &format!("{mark} ")),
            (cursor, &format!("{name}{:pad$}", "")),
            (Role::Text, &format!(" {:<32}", candidate.facts)),
            (role, &format!(" {verdict}")),
        ]);
    }
}
