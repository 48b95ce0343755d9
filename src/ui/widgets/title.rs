//! Line 1: where one is, whether one can do harm, how current it is.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::cluster::write_path::step_gate::Mode;
use crate::mirror::freshness::Freshness;
use crate::ui::age::clock_time;
use crate::ui::data::{Access, Data};
use crate::ui::state::{State, TableId, View};
use crate::ui::text;
use crate::ui::theme::Role;

pub fn draw(buffer: &mut Buffer, area: Rect, state: &State, data: &Data) {
    let style = |role| data.look.theme.style(role);
    let (freshness_role, freshness) = freshness(state, data);
    let right = format!(" {freshness} ");
    let right_width = text::width(&right).min(usize::from(area.width));
    let room = usize::from(area.width) - right_width;
    let mut x = 0;
    let mut put = |text: &str, role| {
        let fitted = text::fit(text, room.saturating_sub(x), data.look.glyphs);
        buffer.set_stringn(area.x + x as u16, area.y, &fitted, room.saturating_sub(x), style(role));
        x += text::width(&fitted);
    };
    put(" pvdeck ", Role::Title);
    put(&format!(" {} ", data.session.context), Role::Title);
    match data.session.access {
        Access::ReadOnly | Access::Locked => put(" READ-ONLY ", Role::Safe),
        Access::Writable if data.session.live => put(" WRITABLE ", Role::Danger),
        Access::Writable => {}
    }
    if let Some(stepping) = &data.stepping {
        match (&stepping.mode, stepping.held.len()) {
            (Mode::Open, _) => {}
            (Mode::Shut { .. }, held) => put(&format!(" PAUSED {held} held "), Role::Danger),
            (Mode::Until(_), _) => put(" RUNNING to break ", Role::Busy),
        }
    }
    put(&format!("  {}", what_is_seen(state, data)), Role::Text);
    let problems = data.problems();
    if problems > 0 {
        put(&format!("  {problems} need you"), Role::Fault);
    }
    let x = area.x + room as u16;
    buffer.set_stringn(x, area.y, &right, right_width, style(freshness_role));
}

/// `claims 12 of 128  ns shop`.
fn what_is_seen(state: &State, data: &Data) -> String {
    let namespace = match &state.namespace {
        Some(namespace) => format!("  ns {namespace}"),
        None => String::new(),
    };
    let Some(table) = state.table() else {
        return match &state.top().view {
            View::Help => "help".into(),
            View::Step => "stepping".into(),
            View::Editor(editor) => format!("edit {}", editor.target.title()),
            View::Yaml(target) => format!("yaml {}", target.title()),
            View::Describe(target) => format!("describe {}", target.title()),
            View::Relations(target) => format!("relations {}", target.title()),
            View::Calls(target) => format!("calls {}", target.title()),
            View::Journey(_) => "journey".into(),
            View::Why(_) => "why".into(),
            View::BoardVolume { node, .. } => format!("volume on {}", node.name),
            View::File { volume, path, .. } => format!("file {volume}:{path}"),
            View::Output { node, .. } => format!("output on {}", node.name),
            View::Table(_) => String::new(),
        };
    };
    let listed = data.listed(table);
    let about = match &state.top().about {
        Some(target) if [TableId::Board].contains(&table) => format!(" of {}", target.name),
        Some(target) => format!(" of {}", target.title()),
        None => String::new(),
    };
    let count = match (listed.len(), listed.total()) {
        (len, total) if len == total => format!("{total}"),
        (len, total) => format!("{len} of {total}"),
    };
    format!("{}{about} {count}{namespace}", table.title())
}

/// How current the picture is, and since when it is not.
fn freshness(state: &State, data: &Data) -> (Role, String) {
    let heard = data.heard.map(clock_time).unwrap_or_default();
    let seen = state.table().and_then(|table| data.freshness(table));
    match seen {
        Some(Freshness::Stale { since, .. }) => {
            (Role::Error, format!("STALE since {}", clock_time(since)))
        }
        Some(Freshness::Forbidden { .. }) => (Role::Error, "NOT PERMITTED".into()),
        Some(Freshness::NotServed) => (Role::Error, "NOT SERVED".into()),
        Some(Freshness::Loading { seen }) => (Role::Busy, format!("loading {seen}")),
        Some(Freshness::LiveInNamespace { namespace, .. }) => {
            (Role::Busy, format!("live, only ns {namespace}"))
        }
        Some(Freshness::Live) | None if data.heard.is_none() => (Role::Busy, "waiting".into()),
        Some(Freshness::Live) | None => (Role::Dim, format!("live {heard}")),
    }
}
