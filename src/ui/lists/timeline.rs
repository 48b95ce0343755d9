//! The timeline: who did what, when and why, and what was seen to happen that
//! no write of ours made. Newest first.

use crate::cluster::write_path::journal::{Entry, Outcome};
use crate::mirror::Mirror;
use crate::mirror::timeline::{Moment, Transition, What, joined};
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

/// The moments that are looked at, kept in step with journal and mirror.
#[derive(Debug, Default)]
pub struct Timeline {
    /// Oldest first.
    moments: Vec<Moment>,
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

fn cells(moment: &Moment) -> RowCells {
    match moment {
        Moment::Ours { entry, step } => cells_of_write(entry, step.as_deref()),
        Moment::Seen(step) => cells_of_step(step),
    }
}

fn cells_of_write(entry: &Entry, step: Option<&Transition>) -> RowCells {
    let (sign, word) = outcome(&entry.outcome);
    let object = match entry.write.subresource {
        Some(part) => format!("{}/{part}", object_text(&entry.write.object)),
        None => object_text(&entry.write.object),
    };
    let because = match step.map(|step| &step.what) {
        Some(changed @ What::Changed(_)) => format!("{} ({changed})", because(entry)),
        Some(What::Appeared | What::Gone) | None => because(entry),
    };
    let cells = vec![
        Cell::new(clock_time(entry.time.as_second())),
        Cell::new(entry.actor.to_string()),
        Cell::new(entry.write.verb()),
        Cell::new(object),
        Cell::with(word, sign.role()),
        Cell::new(because),
    ];
    RowCells { sign, cells }
}

/// A step that somebody else made: what changed stands for the reason, which
/// only they know.
fn cells_of_step(step: &Transition) -> RowCells {
    let did = match step.what {
        What::Appeared => "NEW",
        What::Changed(_) => "CHANGE",
        What::Gone => "GONE",
    };
    let sign = Sign::NotYet;
    let cells = vec![
        Cell::new(clock_time(step.time.as_second())),
        Cell::new("others"),
        Cell::new(did),
        Cell::new(object_text(&step.object)),
        Cell::with(format!("r{}", step.version), sign.role()),
        Cell::new(step.what.to_string()),
    ];
    RowCells { sign, cells }
}

/// Writes and steps are numbered apart.
fn id(moment: &Moment) -> String {
    match moment {
        Moment::Ours { entry, .. } => format!("w{}", entry.number),
        Moment::Seen(step) => format!("s{}", step.number),
    }
}

impl Timeline {
    /// Takes over the moments that pass; of one object only, if one is given.
    pub fn follow(
        &mut self,
        journal: &[Entry],
        mirror: &Mirror,
        filter: Filter,
        about: Option<&Target>,
    ) {
        let mut moments = mirror.timeline(|timeline| joined(journal, timeline.since(0)));
        self.total = moments.len();
        moments.retain(|moment| {
            let about = about.map(Target::object);
            let concerns = about.is_none_or(|object| {
                *moment.object() == object
                    || matches!(moment, Moment::Ours { entry, .. }
                        if entry.write.on_behalf_of == object)
            });
            concerns
                && filter.passes(None, |see| {
                    let _ = cells(moment).cells.iter().any(|cell| see(&cell.text));
                })
        });
        self.moments = moments;
    }

    fn moment(&self, at: usize) -> Option<&Moment> {
        self.moments.iter().rev().nth(at)
    }
}

impl Listed for Timeline {
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn len(&self) -> usize {
        self.moments.len()
    }

    fn total(&self) -> usize {
        self.total
    }

    fn id_at(&self, at: usize) -> Option<String> {
        self.moment(at).map(id)
    }

    fn position(&self, _: Context<'_>, id: &str) -> Option<usize> {
        let number = |prefix| id.strip_prefix(prefix)?.parse::<u64>().ok();
        let (write, step) = (number('w'), number('s'));
        self.moments.iter().rev().position(|moment| match moment {
            Moment::Ours { entry, .. } => Some(entry.number) == write,
            Moment::Seen(seen) => Some(seen.number) == step,
        })
    }

    fn row(&self, _: Context<'_>, at: usize) -> Option<RowCells> {
        self.moment(at).map(cells)
    }

    fn target(&self, context: Context<'_>, id: &str) -> Option<Target> {
        let object = self.moment(self.position(context, id)?)?.object();
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
