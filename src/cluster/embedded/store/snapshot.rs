//! Reading many objects as they are now, or as they were.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::cluster::embedded::store::object::Stored;
use crate::cluster::embedded::store::{Compacted, State, Store, Table, TableId};
use crate::model::object::Key;

/// Which part of a table to read, and as of when.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    pub table: TableId,
    /// All namespaces if `None`.
    pub namespace: Option<&'a str>,
    /// Only keys after this one.
    pub after: Option<&'a Key>,
    /// The state at this revision; the latest if `None`.
    pub at: Option<u64>,
    /// At most this many; the rest is counted.
    pub limit: Option<usize>,
}

/// The objects of one consistent state, ordered by namespace, then name.
#[derive(Debug)]
pub struct Page {
    /// The revision of that state.
    pub revision: u64,
    pub objects: Vec<Arc<Stored>>,
    /// How many matching objects follow after the limit.
    pub remaining: usize,
}

impl Store {
    /// Reads the matching objects of a span.
    pub fn list(
        &self,
        span: &Span<'_>,
        matches: impl Fn(&Stored) -> bool,
    ) -> Result<Page, Compacted> {
        let state = self.read();
        let revision = span.at.unwrap_or(state.revision).min(state.revision);
        if revision < state.compacted {
            return Err(Compacted { oldest: state.compacted });
        }
        let mut page = Page { revision, objects: Vec::new(), remaining: 0 };
        let limit = span.limit.unwrap_or(usize::MAX);
        let mut take = |stored: &Arc<Stored>| {
            if !matches(stored) {
            } else if page.objects.len() < limit {
                page.objects.push(stored.clone());
            } else {
                page.remaining += 1;
            }
        };
        let table = &state.tables[span.table.0];
        let since = table.before_after(revision);
        if since.is_empty() {
            table.range(span).for_each(|(_, stored)| take(stored));
        } else {
            table.rolled_back(span, &since).for_each(take);
        }
        Ok(page)
    }

    /// Reads the objects with these keys in order; those that are gone are left
    /// out.
    pub fn count(&self, table: TableId) -> usize {
        self.read().tables[table.0].objects.len()
    }

    /// Whether any object lives in a namespace.
    pub fn is_namespace_empty(&self, namespace: &str) -> bool {
        let state: &State = &self.read();
        state.tables.iter().all(|table| table.in_namespace(Some(namespace), None).next().is_none())
    }
}

impl Table {
    /// What each key that changed after a revision held at it.
    fn before_after(&self, revision: u64) -> BTreeMap<&Key, Option<&Arc<Stored>>> {
        let first = self.log.partition_point(|commit| commit.revision <= revision);
        let mut since = BTreeMap::new();
        for commit in self.log.range(first..) {
            since.entry(&commit.key).or_insert(commit.before.as_ref());
        }
        since
    }

    fn range<'a>(
        &'a self,
        span: &'a Span<'_>,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Stored>)> + 'a {
        self.in_namespace(span.namespace, span.after)
    }

    fn in_namespace<'a>(
        &'a self,
        namespace: Option<&'a str>,
        after: Option<&Key>,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Stored>)> + 'a {
        let first = namespace.map(|namespace| Key::new(namespace, ""));
        let start = match (after, first) {
            (Some(after), Some(first)) if *after >= first => Bound::Excluded(after.clone()),
            (Some(after), None) => Bound::Excluded(after.clone()),
            (_, Some(first)) => Bound::Included(first),
            (None, None) => Bound::Unbounded,
        };
        self.objects
            .range((start, Bound::Unbounded))
            .take_while(move |(key, _)| namespace.is_none_or(|n| *key.namespace == *n))
    }

    /// The span with the keys that changed since put back.
    fn rolled_back<'a>(
        &'a self,
        span: &'a Span<'_>,
        since: &'a BTreeMap<&'a Key, Option<&'a Arc<Stored>>>,
    ) -> impl Iterator<Item = &'a Arc<Stored>> + 'a {
        let inside = |key: &Key| {
            span.namespace.is_none_or(|namespace| *key.namespace == *namespace)
                && span.after.is_none_or(|after| key > after)
        };
        let mut changed = since
            .iter()
            .filter_map(move |(key, before)| before.filter(|_| inside(key)).map(|b| (*key, b)))
            .peekable();
        let mut unchanged = self.range(span).filter(|(key, _)| !since.contains_key(key)).peekable();
        std::iter::from_fn(move || match (changed.peek(), unchanged.peek()) {
            (Some((changed_key, _)), Some((key, _))) if changed_key < key => changed.next(),
            (Some(_), None) => changed.next(),
            _ => unchanged.next(),
        })
        .map(|(_, stored)| stored)
    }
}
