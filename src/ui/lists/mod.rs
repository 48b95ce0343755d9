//! The tables that views show: which rows, in which order, and one row's cells.
//!
//! ```text
//! mirror rows ─> Order (sorted, filtered; kept current by changed keys) ─┐
//! journal, controllers, contexts: plain rows ─────────────────────────────┴─> Listed
//! ```
//!
//! A frame asks a [`Listed`] for the rows it shows and for nothing else, so it
//! costs the same with 100 rows as with 100,000.

pub mod filter;
pub mod order;
pub mod others;
pub mod plain;
pub mod problems;
pub mod timeline;

pub mod attachments;
pub mod board;
pub mod claims;
pub mod classes;
pub mod deployments;
pub mod drivers;
pub mod events;
pub mod files;
pub mod nodes;
pub mod plugins;
pub mod pod_claims;
pub mod pods;
pub mod stateful_sets;
pub mod tree;
pub mod verdict;
pub mod volumes;
pub mod workloads;

use std::borrow::Cow;

use crate::mirror::Tables;
use crate::model::object::Seconds;
use crate::ui::reason::Reasons;
use crate::ui::sign::Sign;
use crate::ui::target::Target;
use crate::ui::theme::Role;

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    pub title: &'static str,
    /// The letter that, with shift, sorts by this column.
    pub sort: Option<char>,
    /// Cells it takes at least.
    pub width: u16,
    /// Its share of what is left over; 0: none.
    pub grow: u16,
    /// Numbers stand to the right.
    pub right: bool,
    /// What is too long is cut in front: the ends of paths differ.
    pub is_path: bool,
    /// 0: always shown; the highest go first where there is no room.
    pub priority: u8,
}

/// A column of text, as wide as said.
pub const fn column(title: &'static str, sort: char, width: u16, priority: u8) -> Column {
    Column { title, sort: Some(sort), width, grow: 0, right: false, is_path: false, priority }
}

impl Column {
    pub const fn growing(self, grow: u16) -> Self {
        Self { grow, ..self }
    }

    pub const fn to_the_right(self) -> Self {
        Self { right: true, ..self }
    }

    pub const fn of_paths(self) -> Self {
        Self { is_path: true, ..self }
    }

    pub const fn unsorted(self) -> Self {
        Self { sort: None, ..self }
    }
}

/// What one cell shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    pub text: Cow<'static, str>,
    pub role: Role,
}

impl Cell {
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), role: Role::Text }
    }

    pub fn with(text: impl Into<Cow<'static, str>>, role: Role) -> Self {
        Self { text: text.into(), role }
    }

    /// A text, or a dash where there is none.
    pub fn or_dash(text: &str) -> Self {
        match text {
            "" => Self::with("-", Role::Dim),
            text => Self::new(text.to_owned()),
        }
    }
}

/// One row, ready to draw.
#[derive(Debug, Clone)]
pub struct RowCells {
    pub sign: Sign,
    pub cells: Vec<Cell>,
}

/// What rows are formatted and ordered with.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    pub tables: &'a Tables,
    /// The cluster's present.
    pub now: Seconds,
    pub reasons: &'a Reasons,
}

/// What a view lists. Rows are named by an id that stays with the object:
/// its uid, or for other things a name of their own.
pub trait Listed {
    fn columns(&self) -> &'static [Column];
    /// How many rows the filter lets through.
    fn len(&self) -> usize;
    /// How many there are without the filter.
    fn total(&self) -> usize;
    fn id_at(&self, at: usize) -> Option<String>;
    fn position(&self, context: Context<'_>, id: &str) -> Option<usize>;
    fn row(&self, context: Context<'_>, at: usize) -> Option<RowCells>;
    /// The object behind a row, if it is one.
    fn target(&self, context: Context<'_>, id: &str) -> Option<Target>;
    /// When the earliest of the shown ages changes its text, in seconds.
    fn created(&self, context: Context<'_>, at: usize) -> Option<Seconds>;

    /// What is said of a row below the table, where that is more than its cells.
    fn told(&self, _id: &str) -> Option<String> {
        None
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
