//! Moving the cursor and scrolling.

use crate::ui::command::Act;
use crate::ui::data::Data;
use crate::ui::layout;
use crate::ui::state::{Place, State};
use crate::ui::views;

/// Cells scrolled to the side by one key.
const SHIFT_STEP: u16 = 8;

/// Moves by a command.
pub fn go(state: &mut State, data: &Data, act: Act) {
    match (act, state.table()) {
        (Act::Left, _) => {
            let layer = state.top_mut();
            layer.shift = layer.shift.saturating_sub(SHIFT_STEP);
        }
        (Act::Right, _) => {
            let layer = state.top_mut();
            layer.shift = layer.shift.saturating_add(SHIFT_STEP).min(SHIFT_STEP * 100);
        }
        (_, Some(table)) => {
            let rows = layout::table_rows(state.height, table);
            let len = data.listed(table).len();
            let list = &mut state.top_mut().list;
            let from = list.at;
            let at = match act {
                Act::Up => from.saturating_sub(1),
                // Where a row vanished, the next one has taken its place.
                Act::Down if list.lost => from,
                Act::Down => from + 1,
                Act::Top => 0,
                Act::Bottom => usize::MAX,
                Act::PageUp => from.saturating_sub(rows),
                Act::PageDown => from.saturating_add(rows),
                _ => from,
            };
            list.at = at.min(len.saturating_sub(1));
            list.cursor = data.listed(table).id_at(list.at);
            list.lost = false;
        }
        (_, None) => {
            let rows = layout::text_rows(state.height);
            let (scroll, place) = (views::scroll(state, data, rows), state.top().place);
            let place = match act {
                Act::Up => scroll.up(place, 1),
                Act::Down => scroll.down(place, 1),
                Act::Top => Place::default(),
                Act::Bottom => scroll.end(),
                Act::PageUp => scroll.up(place, rows),
                Act::PageDown => scroll.down(place, rows),
                _ => place,
            };
            drop(scroll);
            state.top_mut().place = place;
        }
    }
}

/// After the person filtered or sorted anew: a cursor whose row that hides goes
/// to the top. Nothing is lost by that, as it was meant.
pub fn settle_anew(state: &mut State, data: &Data) {
    if let Some(table) = state.table() {
        let list = &mut state.top_mut().list;
        let listed = data.listed(table);
        let seen = list
            .cursor
            .as_ref()
            .is_some_and(|id| data.read(|context| listed.position(context, id)).is_some());
        if !seen {
            (list.cursor, list.lost, list.at, list.top) = (None, false, 0, 0);
        }
    }
    settle(state, data);
}

/// Brings cursor and scroll position of the seen table into agreement with
/// its rows, after anything may have changed either.
pub fn settle(state: &mut State, data: &Data) {
    let Some(table) = state.table() else { return };
    let rows = layout::table_rows(state.height, table);
    let listed = data.listed(table);
    let list = &mut state.top_mut().list;
    let position =
        list.cursor.as_ref().and_then(|id| data.read(|context| listed.position(context, id)));
    match (&list.cursor, position) {
        (_, Some(at)) => list.at = at,
        (Some(_), None) => {
            list.cursor = None;
            list.lost = true;
        }
        (None, None) => {}
    }
    list.at = list.at.min(listed.len().saturating_sub(1));
    if list.cursor.is_none() && !list.lost {
        list.cursor = listed.id_at(list.at);
    }
    if list.at < list.top {
        list.top = list.at;
    } else if rows > 0 && list.at >= list.top + rows {
        list.top = list.at + 1 - rows;
    }
    list.top = list.top.min(listed.len().saturating_sub(rows));
    if !list.marks.is_empty() {
        // A mark goes with its object, but stays if only the filter hides it.
        data.read(|context| list.marks.retain(|id| listed.target(context, id).is_some()));
    }
}
