//! The order of a list.

use crate::ui::data::Data;
use crate::ui::lists::Column;
use crate::ui::message::Effect;
use crate::ui::state::{State, TableId};

pub fn by_letter(state: &mut State, data: &Data, letter: char) -> Vec<Effect> {
    let Some(table) = state.table() else { return Vec::new() };
    let columns = data.listed(table).columns();
    match columns.iter().position(|column| column.sort == Some(letter)) {
        Some(column) => sort(state, table, column),
        None => Vec::new(),
    }
}

pub fn by_title(state: &mut State, data: &Data, title: &str) -> Vec<Effect> {
    let Some(table) = state.table() else { return Vec::new() };
    if title.is_empty() {
        let list = &mut state.top_mut().list;
        (list.sort, list.descending) = (None, false);
        return vec![Effect::Relens(table)];
    }
    let columns = data.listed(table).columns();
    let title = title.to_uppercase();
    let sortable = |column: &Column| column.sort.is_some();
    let found = columns
        .iter()
        .position(|c| sortable(c) && c.title == title)
        .or_else(|| columns.iter().position(|c| sortable(c) && c.title.starts_with(&title)));
    match found {
        Some(column) => sort(state, table, column),
        None => {
            let titles: Vec<_> =
                columns.iter().filter(|c| c.sort.is_some()).map(|c| c.title).collect();
            let known = titles.join(", ");
            state.complain(format!("no column `{title}` to sort by; there are {known}"));
            Vec::new()
        }
    }
}

fn sort(state: &mut State, table: TableId, column: usize) -> Vec<Effect> {
    let list = &mut state.top_mut().list;
    list.descending = list.sort == Some(column) && !list.descending;
    list.sort = Some(column);
    vec![Effect::Relens(table)]
}
