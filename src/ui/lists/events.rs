//! The row of an event. Normal ones are evidence too and are never hidden.

use crate::model::event::{Event, Severity};
use crate::model::kind::Kind;
use crate::ui::age::age;
use crate::ui::lists::order::{Listing, Rank};
use crate::ui::lists::{Cell, Column, Context, column};
use crate::ui::sign::Sign;

const COLUMNS: &[Column] = &[
    column("LAST", 'A', 5, 0).to_the_right(),
    column("COUNT", 'C', 5, 1).to_the_right(),
    column("REASON", 'R', 14, 0).growing(1),
    column("OBJECT", 'O', 14, 0).growing(2),
    column("FROM", 'F', 12, 2).growing(1),
    column("MESSAGE", 'M', 20, 0).growing(8),
];

/// `pvc/data-0`: the object an event is about, with its kind's short name.
pub fn about_text(event: &Event) -> String {
    let kind = Kind::by_word(&event.about.kind);
    let word = kind.and_then(|kind| kind.short.first().copied()).unwrap_or(&event.about.kind);
    format!("{word}/{}", event.about.key.name)
}

impl Listing for Event {
    const COLUMNS: &'static [Column] = COLUMNS;

    fn sign(&self, _: Context<'_>) -> Sign {
        match self.severity {
            Severity::Warning => Sign::Fault,
            Severity::Normal => Sign::NotYet,
        }
    }

    fn cells(&self, context: Context<'_>) -> Vec<Cell> {
        vec![
            Cell::new(age(self.last_seen, context.now)),
            Cell::new(self.count.to_string()),
            Cell::with(self.reason.to_string(), self.sign(context).role()),
            Cell::new(about_text(self)),
            Cell::new(self.source.to_string()),
            Cell::new(self.message.to_string()),
        ]
    }

    fn rank(&self, column: Option<usize>, _: Context<'_>) -> Rank {
        match column {
            // Newest first.
            None | Some(0) => Rank::Number(-self.last_seen),
            Some(1) => Rank::Number(i64::from(self.count)),
            Some(2) => Rank::Text(self.reason.clone()),
            Some(3) => Rank::Text(about_text(self).into()),
            Some(4) => Rank::Text(self.source.clone()),
            Some(_) => Rank::Text(self.message.clone()),
        }
    }

    fn texts(&self, see: &mut dyn FnMut(&str) -> bool) {
        let _ = see(&self.reason)
            || see(&self.message)
            || see(&self.about.key.name)
            || see(&self.about.key.namespace)
            || see(self.severity.name())
            || see(&self.source);
    }
}
