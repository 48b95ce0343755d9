//! The timeline: who did what, when and why. Newest first.

use crate::cluster::write_path::journal::{Entry, Outcome};
use crate::model::object::{ObjectRef, Seconds};
use crate::ui::age::clock_time;
use crate::ui::lists::filter::Filter;
use crate::ui::lists::{Cell, Column, Context, Listed, RowCells, column};
use crate::ui::sign::Sign;
use crate::ui::target::Target;

const COLUMNS: &[Column] = &[
    column("TIME", 'T', 8, 0).unsorted(),
    column("WHO", 'W', 12, 0).growing(1).unsorted(),
    column("DID", 'D', 6, 0).unsorted(),
    column("OBJECT", 'O', 18, 0).growing(2).unsorted(),
    column("OUTCOME", 'U', 8, 1).growing(1).unsorted(),
    column("BECAUSE", 'B', 20, 0).growing(6).unsorted(),
];

/// The entries that are looked at, kept in step with the journal.
#[derive(Debug, Default)]
pub struct Timeline {
    /// Oldest first, as the journal has them.
    entries: Vec<Entry>,
    total: usize,
}

/// What became of a write, in a word, and as a sign.
pub fn outcome(outcome: &Outcome) -> (Sign, String) {
    match outcome {
        Outcome::Pending => (Sign::Busy, "sent".into()),
        Outcome::Done { version: 0, .. } => (Sign::Ok, "done".into()),
        Outcome::Done { version, .. } => (Sign::Ok, format!("r{version}")),
        Outcome::Refused { code, .. } => (Sign::Fault, format!("refused {code}")),
        Outcome::Unknown { .. } => (Sign::Unknown, "unknown".into()),
        Outcome::Withdrawn { .. } => (Sign::NotYet, "withdrawn".into()),
    }
}

/// What there is to say about an entry: its reason, or what went wrong.
pub fn because(entry: &Entry) -> String {
    match &entry.outcome {
        Outcome::Refused { message, .. } => message.to_string(),
        Outcome::Unknown { what } => what.to_string(),
        Outcome::Withdrawn { why } => why.to_string(),
        Outcome::Pending | Outcome::Done { .. } => entry.write.reason.text.clone(),
    }
}

/// `pvc/shop/data`: an object by its kind's short name.
pub fn object_text(object: &ObjectRef) -> String {
    let word = object.kind.short.first().copied().unwrap_or(object.kind.singular);
    format!("{word}/{}", object.key)
}

fn cells(entry: &Entry) -> RowCells {
    let (sign, word) = outcome(&entry.outcome);
    let object = match entry.write.subresource {
        Some(part) => format!("{}/{part}", object_text(&entry.write.object)),
        None => object_text(&entry.write.object),
    };
    let cells = vec![
        Cell::new(clock_time(entry.time.as_second())),
        Cell::new(entry.actor.to_string()),
        Cell::new(entry.write.verb()),
        Cell::new(object),
        Cell::with(word, sign.role()),
        Cell::new(because(entry)),
    ];
    RowCells { sign, cells }
}

impl Timeline {
    /// Takes over the entries that pass; of one object only, if one is given.
    pub fn follow(&mut self, journal: &[Entry], filter: Filter, about: Option<&Target>) {
        self.total = journal.len();
        let passes = |entry: &&Entry| {
            let about = about.map(Target::object);
            let concerns = about.is_none_or(|object| {
                entry.write.object == object || entry.write.on_behalf_of == object
            });
            concerns
                && filter.passes(None, |see| {
                    let _ = cells(entry).cells.iter().any(|cell| see(&cell.text));
                })
        };
        self.entries = journal.iter().filter(passes).cloned().collect();
    }

    fn entry(&self, at: usize) -> Option<&Entry> {
        self.entries.iter().rev().nth(at)
    }
}

impl Listed for Timeline {
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn len(&self) -> usize {
        self.entries.len()
    }

    fn total(&self) -> usize {
        self.total
    }

    fn id_at(&self, at: usize) -> Option<String> {
        self.entry(at).map(|entry| entry.number.to_string())
    }

    fn position(&self, _: Context<'_>, id: &str) -> Option<usize> {
        let number: u64 = id.parse().ok()?;
        let at = self.entries.binary_search_by_key(&number, |entry| entry.number).ok()?;
        Some(self.entries.len() - 1 - at)
    }

    fn row(&self, _: Context<'_>, at: usize) -> Option<RowCells> {
        self.entry(at).map(cells)
    }

    fn target(&self, context: Context<'_>, id: &str) -> Option<Target> {
        let entry = self.entry(self.position(context, id)?)?;
        let object = &entry.write.object;
        let tables = context.tables;
        let claim = tables
            .claims
            .get(&object.key)
            .filter(|_| is(object, crate::model::kind::PERSISTENT_VOLUME_CLAIM));
        let volume = tables
            .volumes
            .get(&object.key)
            .filter(|_| is(object, crate::model::kind::PERSISTENT_VOLUME));
        claim
            .map(|row| Target::new(object.kind, &row.meta))
            .or_else(|| volume.map(|row| Target::new(object.kind, &row.meta)))
    }

    fn created(&self, _: Context<'_>, _: usize) -> Option<Seconds> {
        None
    }
}

fn is(object: &ObjectRef, kind: &'static crate::model::kind::Kind) -> bool {
    object.kind == kind
}
