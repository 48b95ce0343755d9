//! The overview: everything that needs a person, of all kinds, worst first.

use std::collections::{BTreeSet, HashMap};

use crate::model::claim::Claim;
use crate::model::kind::{self, Kind};
use crate::model::node::Node;
use crate::model::object::{Key, Seconds};
use crate::model::row::Row;
use crate::model::volume::Volume;
use crate::ui::age::age;
use crate::ui::lists::order::{Lens, Listing};
use crate::ui::lists::{Cell, Column, Context, Listed, RowCells, claims, column, volumes};
use crate::ui::sign::Sign;
use crate::ui::target::Target;
use crate::ui::theme::Role;

const COLUMNS: &[Column] = &[
    column("KIND", 'K', 4, 0).unsorted(),
    column("OBJECT", 'O', 18, 0).growing(2).unsorted(),
    column("STATE", 'S', 11, 0).unsorted(),
    column("AGE", 'A', 5, 1).to_the_right().unsorted(),
    column("WHY", 'W', 24, 0).growing(6).unsorted(),
];

/// From this many changes at once, one pass over all is cheaper.
const FEW_CHANGES: usize = 32;

/// One thing that needs a person.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Problem {
    sign: Sign,
    kind: &'static Kind,
    key: Key,
    uid: String,
}

/// All of them, kept current change by change.
///
/// Invariant: `seen` are those of `all` that the lens lets through, in order.
#[derive(Debug, Default)]
pub struct Problems {
    all: BTreeSet<Problem>,
    by_object: HashMap<(&'static Kind, Key), Problem>,
    lens: Lens,
    seen: Vec<Problem>,
}

impl Problems {
    /// Takes in that these rows of a kind changed, came or went.
    pub fn touch<'a, R: Listing>(
        &mut self,
        keys: impl Iterator<Item = &'a Key>,
        context: Context<'_>,
    ) {
        let (mut gone, mut come) = (Vec::new(), Vec::new());
        for key in keys {
            if let Some(old) = self.by_object.remove(&(R::KIND, key.clone())) {
                self.all.remove(&old);
                gone.push(old);
            }
            let Some(row) = R::table(context.tables).get(key) else { continue };
            come.extend(self.add(&**row, context));
        }
        if gone.len() + come.len() > FEW_CHANGES {
            return self.filter();
        }
        for old in gone {
            if let Ok(at) = self.seen.binary_search(&old) {
                self.seen.remove(at);
            }
        }
        for new in come.into_iter().filter(|problem| passes(&self.lens, problem)) {
            if let Err(at) = self.seen.binary_search(&new) {
                self.seen.insert(at, new);
            }
        }
    }

    fn add<R: Listing>(&mut self, row: &R, context: Context<'_>) -> Option<Problem> {
        let sign = row.glance(context);
        if !sign.needs_person() {
            return None;
        }
        let (key, uid) = (row.meta().key.clone(), row.meta().uid.to_string());
        let problem = Problem { sign, kind: R::KIND, key: key.clone(), uid };
        self.by_object.insert((R::KIND, key), problem.clone());
        self.all.insert(problem.clone());
        Some(problem)
    }

    pub fn rebuild(&mut self, context: Context<'_>) {
        self.all.clear();
        self.by_object.clear();
        for row in context.tables.claims.iter() {
            self.add(&**row, context);
        }
        for row in context.tables.volumes.iter() {
            self.add(&**row, context);
        }
        for row in context.tables.nodes.iter() {
            self.add(&**row, context);
        }
        self.filter();
    }

    pub fn set_lens(&mut self, lens: Lens) {
        if lens != self.lens {
            self.lens = lens;
            self.filter();
        }
    }

    fn filter(&mut self) {
        let lens = &self.lens;
        self.seen = self.all.iter().filter(|problem| passes(lens, problem)).cloned().collect();
    }

    fn cells(&self, problem: &Problem, context: Context<'_>) -> Option<RowCells> {
        let tables = context.tables;
        let (state, created, why) = match problem.kind {
            kind if kind == kind::PERSISTENT_VOLUME_CLAIM => {
                let claim: &Claim = tables.claims.get(&problem.key)?;
                let reason = context.reasons.get(&problem.uid);
                let why = reason.map(|reason| reason.short.clone()).unwrap_or_default();
                (claims::state_word(claim).to_owned(), claim.meta.created, why)
            }
            kind if kind == kind::PERSISTENT_VOLUME => {
                let volume: &Volume = tables.volumes.get(&problem.key)?;
                let why = volume.message.as_deref().or(volume.reason.as_deref());
                let why = why.unwrap_or_default().to_owned();
                (volumes::state_word(volume).to_owned(), volume.meta.created, why)
            }
            _ => {
                let node: &Node = tables.nodes.get(&problem.key)?;
                let why = format!("{} volumes in use there", node.volumes_in_use.len());
                let since = node.ready_since.unwrap_or(node.meta.created);
                (node.ready.name().to_owned(), since, why)
            }
        };
        let word = problem.kind.short.first().copied().unwrap_or(problem.kind.singular);
        let cells = vec![
            Cell::with(word, Role::Dim),
            Cell::new(problem.key.to_string()),
            Cell::with(state, problem.sign.role()),
            Cell::new(age(created, context.now)),
            Cell::new(why),
        ];
        Some(RowCells { sign: problem.sign, cells })
    }
}

fn passes(lens: &Lens, problem: &Problem) -> bool {
    let namespace = &*problem.key.namespace;
    let here = lens.namespace.as_deref().is_none_or(|n| namespace.is_empty() || namespace == n);
    here && lens.filter.passes(None, |see| {
        let _ = see(&problem.key.name) || see(namespace) || see(problem.kind.singular);
    })
}

impl Listed for Problems {
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn len(&self) -> usize {
        self.seen.len()
    }

    fn total(&self) -> usize {
        self.all.len()
    }

    fn id_at(&self, at: usize) -> Option<String> {
        self.seen.get(at).map(|problem| problem.uid.clone())
    }

    fn position(&self, context: Context<'_>, id: &str) -> Option<usize> {
        let target = self.target(context, id)?;
        let problem = self.by_object.get(&(target.kind, target.key()))?;
        self.seen.binary_search(problem).ok()
    }

    fn row(&self, context: Context<'_>, at: usize) -> Option<RowCells> {
        self.cells(self.seen.get(at)?, context)
    }

    fn target(&self, context: Context<'_>, id: &str) -> Option<Target> {
        let tables = context.tables;
        if let Some(claim) = tables.claims.by_uid(id) {
            return Some(Target::new(Claim::KIND, &claim.meta));
        }
        if let Some(volume) = tables.volumes.by_uid(id) {
            return Some(Target::new(Volume::KIND, &volume.meta));
        }
        Some(Target::new(Node::KIND, &tables.nodes.by_uid(id)?.meta))
    }

    fn created(&self, context: Context<'_>, at: usize) -> Option<Seconds> {
        let problem = self.seen.get(at)?;
        let target = self.target(context, &problem.uid)?;
        context.tables.claims.by_uid(&target.uid).map(|claim| claim.meta.created)
    }
}
