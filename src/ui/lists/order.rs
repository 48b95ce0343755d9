//! The rows of one kind, sorted and filtered, kept current change by change.
//!
//! Sorting everything anew on each change would make a frame cost what exists;
//! here it costs what changed: a few changes are put in place one by one, many
//! are merged in one pass.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::collections::HashSet;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::mirror::Mirrored;
use crate::model::object::{Key, Seconds};
use crate::ui::lists::filter::Filter;
use crate::ui::lists::{Column, Context, Listed, RowCells};
use crate::ui::sign::Sign;
use crate::ui::target::Target;

/// From this many changes at once, one pass over all rows is cheaper.
const FEW_CHANGES: usize = 32;

/// A kind that can be listed.
pub trait Listing: Mirrored {
    const COLUMNS: &'static [Column];

    fn sign(&self, context: Context<'_>) -> Sign;

    /// What can be told of it without comparing it with others: it says the
    /// same for as long as neither the row nor those it points at change.
    fn glance(&self, context: Context<'_>) -> Sign {
        self.sign(context)
    }

    /// The cells, one for each of [`Self::COLUMNS`].
    fn cells(&self, context: Context<'_>) -> Vec<super::Cell>;

    /// Where the row stands when sorted by a column; by none, what needs a
    /// person comes first.
    fn rank(&self, column: Option<usize>, context: Context<'_>) -> Rank;

    /// Shows the texts that a filter searches, until one is found.
    fn texts(&self, see: &mut dyn FnMut(&str) -> bool);
}

/// What rows are sorted by, before their names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    Number(i64),
    Text(Arc<str>),
}

impl Rank {
    /// A quantity's rank; what exceeds 64 bits ranks as the largest.
    pub fn quantity(units: Option<i128>) -> Self {
        Self::Number(units.map_or(-1, |units| i64::try_from(units).unwrap_or(i64::MAX)))
    }
}

/// Which rows, in which order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lens {
    pub namespace: Option<Box<str>>,
    pub filter: Filter,
    /// A column of the kind; none: what needs a person first.
    pub sort: Option<usize>,
    pub descending: bool,
}

#[derive(Debug, Clone)]
struct Entry {
    rank: Rank,
    key: Key,
    uid: Arc<str>,
}

/// The rows of one kind under a lens.
///
/// Invariant: `sorted` holds one entry for each key in `ranks`, sorted by the
/// lens.
#[derive(Debug)]
pub struct Order<R> {
    lens: Lens,
    sorted: Vec<Entry>,
    ranks: HashMap<Key, Rank>,
    total: usize,
    row: PhantomData<fn() -> R>,
}

impl<R> Default for Order<R> {
    fn default() -> Self {
        Self {
            lens: Lens::default(),
            sorted: Vec::new(),
            ranks: HashMap::new(),
            total: 0,
            row: PhantomData,
        }
    }
}

impl<R: Listing> Order<R> {
    pub fn lens(&self) -> &Lens {
        &self.lens
    }

    /// Looks through another lens: everything is filtered and sorted anew.
    pub fn set_lens(&mut self, lens: Lens, context: Context<'_>) {
        if lens != self.lens {
            self.lens = lens;
            self.rebuild(context);
        }
    }

    /// Filters and sorts everything anew.
    pub fn rebuild(&mut self, context: Context<'_>) {
        let table = R::table(context.tables);
        let mut sorted: Vec<_> = table.iter().filter_map(|row| self.entry(row, context)).collect();
        sorted.sort_unstable_by(|a, b| self.compare(a, b));
        self.ranks = sorted.iter().map(|e| (e.key.clone(), e.rank.clone())).collect();
        self.sorted = sorted;
        self.total = table.len();
    }

    /// Takes in that these rows changed, came or went.
    pub fn touch<'a>(&mut self, keys: impl Iterator<Item = &'a Key>, context: Context<'_>) {
        let table = R::table(context.tables);
        self.total = table.len();
        let mut keys: HashSet<&Key> = keys.collect();
        let mut fresh: Vec<_> =
            keys.iter().filter_map(|key| self.entry(table.get(key)?, context)).collect();
        if keys.len() <= FEW_CHANGES {
            for entry in fresh {
                keys.remove(&entry.key);
                self.put_in(entry);
            }
            // What is left has gone, or no longer passes the filter.
            for key in keys {
                self.take_out(key);
            }
            return;
        }
        self.sorted.retain(|entry| !keys.contains(&entry.key));
        for key in keys {
            self.ranks.remove(key);
        }
        self.ranks.extend(fresh.iter().map(|e| (e.key.clone(), e.rank.clone())));
        // The sort finds the run that is in order already and merges.
        self.sorted.append(&mut fresh);
        let mut sorted = std::mem::take(&mut self.sorted);
        sorted.sort_by(|a, b| self.compare(a, b));
        self.sorted = sorted;
    }

    fn take_out(&mut self, key: &Key) {
        let Some(rank) = self.ranks.remove(key) else { return };
        if let Ok(at) = self.search(&rank, key) {
            self.sorted.remove(at);
        }
    }

    /// Puts an entry in the place of its namesake. Most changes leave a row
    /// where it is, and then nothing is moved.
    fn put_in(&mut self, entry: Entry) {
        if self.ranks.get(&entry.key) == Some(&entry.rank)
            && let Ok(at) = self.search(&entry.rank, &entry.key)
        {
            self.sorted[at] = entry;
            return;
        }
        self.take_out(&entry.key);
        let (Ok(at) | Err(at)) = self.search(&entry.rank, &entry.key);
        self.ranks.insert(entry.key.clone(), entry.rank.clone());
        self.sorted.insert(at, entry);
    }

    fn entry(&self, row: &R, context: Context<'_>) -> Option<Entry> {
        let meta = row.meta();
        let here = self.lens.namespace.as_deref().is_none_or(|namespace| {
            meta.key.namespace.is_empty() || &*meta.key.namespace == namespace
        });
        let passes = here && self.lens.filter.passes(Some(meta), |see| row.texts(see));
        passes.then(|| Entry {
            rank: row.rank(self.lens.sort, context),
            key: meta.key.clone(),
            uid: meta.uid.clone(),
        })
    }

    fn search(&self, rank: &Rank, key: &Key) -> Result<usize, usize> {
        self.sorted.binary_search_by(|entry| self.compare_to(entry, rank, key))
    }

    fn compare(&self, a: &Entry, b: &Entry) -> Ordering {
        self.compare_to(a, &b.rank, &b.key)
    }

    /// Names stay in ascending order where the ranks are equal.
    fn compare_to(&self, entry: &Entry, rank: &Rank, key: &Key) -> Ordering {
        let by_rank = entry.rank.cmp(rank);
        let by_rank = if self.lens.descending { by_rank.reverse() } else { by_rank };
        by_rank.then_with(|| entry.key.cmp(key))
    }

    /// The row at a place.
    pub fn held<'a>(&self, context: Context<'a>, at: usize) -> Option<&'a Arc<R>> {
        R::table(context.tables).get(&self.sorted.get(at)?.key)
    }
}

impl<R: Listing> Listed for Order<R> {
    fn columns(&self) -> &'static [Column] {
        R::COLUMNS
    }

    fn len(&self) -> usize {
        self.sorted.len()
    }

    fn total(&self) -> usize {
        self.total
    }

    fn id_at(&self, at: usize) -> Option<String> {
        self.sorted.get(at).map(|entry| entry.uid.to_string())
    }

    fn position(&self, context: Context<'_>, id: &str) -> Option<usize> {
        let key = &R::table(context.tables).by_uid(id)?.meta().key;
        self.search(self.ranks.get(key)?, key).ok()
    }

    fn row(&self, context: Context<'_>, at: usize) -> Option<RowCells> {
        let row = self.held(context, at)?;
        Some(RowCells { sign: row.sign(context), cells: row.cells(context) })
    }

    fn target(&self, context: Context<'_>, id: &str) -> Option<Target> {
        Some(Target::new(R::KIND, R::table(context.tables).by_uid(id)?.meta()))
    }

    fn created(&self, context: Context<'_>, at: usize) -> Option<Seconds> {
        Some(self.held(context, at)?.meta().created)
    }
}
