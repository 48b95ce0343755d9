//! Lists of things that are no API objects, or that come ready made: the
//! journal, controllers, contexts. Bounded, so they are filtered as a whole.

use crate::model::object::Seconds;
use crate::ui::lists::filter::Filter;
use crate::ui::lists::{Cell, Column, Context, Listed, RowCells};
use crate::ui::sign::Sign;
use crate::ui::target::Target;

/// One ready-made row.
#[derive(Debug, Clone)]
pub struct PlainRow {
    pub id: String,
    pub sign: Sign,
    pub cells: Vec<Cell>,
    pub target: Option<Target>,
}

/// Ready-made rows in their given order.
#[derive(Debug, Default)]
pub struct PlainList {
    columns: &'static [Column],
    rows: Vec<PlainRow>,
    total: usize,
}

impl PlainList {
    /// The rows that pass the filter, in the order they come.
    pub fn new(columns: &'static [Column], rows: Vec<PlainRow>, filter: &Filter) -> Self {
        let total = rows.len();
        let passes = |row: &PlainRow| {
            filter.passes(None, |see| {
                let _ = row.cells.iter().any(|cell| see(&cell.text));
            })
        };
        let rows = rows.into_iter().filter(passes).collect();
        Self { columns, rows, total }
    }
}

impl Listed for PlainList {
    fn columns(&self) -> &'static [Column] {
        self.columns
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn total(&self) -> usize {
        self.total
    }

    fn id_at(&self, at: usize) -> Option<String> {
        self.rows.get(at).map(|row| row.id.clone())
    }

    fn position(&self, _: Context<'_>, id: &str) -> Option<usize> {
        self.rows.iter().position(|row| row.id == id)
    }

    fn row(&self, _: Context<'_>, at: usize) -> Option<RowCells> {
        self.rows.get(at).map(|row| RowCells { sign: row.sign, cells: row.cells.clone() })
    }

    fn target(&self, _: Context<'_>, id: &str) -> Option<Target> {
        self.rows.iter().find(|row| row.id == id)?.target.clone()
    }

    fn created(&self, _: Context<'_>, _: usize) -> Option<Seconds> {
        None
    }
}
