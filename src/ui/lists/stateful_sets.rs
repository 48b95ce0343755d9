//! The row of a StatefulSet, as far as storage is concerned.

use crate::model::stateful_set::StatefulSet;
use crate::ui::age::age;
use crate::ui::lists::order::{Listing, Rank};
use crate::ui::lists::{Cell, Column, Context, column};
use crate::ui::sign::Sign;

const COLUMNS: &[Column] = &[
    column("NAMESPACE", 'N', 9, 1).growing(1),
    column("NAME", 'M', 16, 0).growing(3),
    column("READY", 'R', 7, 0).to_the_right(),
    column("CLAIMS", 'C', 12, 0).growing(2),
    column("KEEPS CLAIMS", 'K', 12, 1),
    column("AGE", 'A', 5, 0).to_the_right(),
];

fn keeps_text(set: &StatefulSet) -> &'static str {
    match (set.deletes_claims_with_set, set.deletes_claims_when_scaled) {
        (false, false) => "yes",
        (true, false) => "till deleted",
        (false, true) => "till scaled",
        (true, true) => "no",
    }
}

impl Listing for StatefulSet {
    const COLUMNS: &'static [Column] = COLUMNS;

    fn sign(&self, _: Context<'_>) -> Sign {
        if self.ready_replicas >= self.replicas { Sign::Ok } else { Sign::Busy }
    }

    fn cells(&self, context: Context<'_>) -> Vec<Cell> {
        let ready = format!("{}/{}", self.ready_replicas, self.replicas);
        vec![
            Cell::new(self.meta.key.namespace.to_string()),
            Cell::new(self.meta.key.name.to_string()),
            Cell::with(ready, self.sign(context).role()),
            Cell::or_dash(&self.template_names(",")),
            Cell::new(keeps_text(self)),
            Cell::new(age(self.meta.created, context.now)),
        ]
    }

    fn rank(&self, column: Option<usize>, context: Context<'_>) -> Rank {
        match column {
            None => Rank::Number(self.sign(context) as i64),
            Some(0) => Rank::Text(self.meta.key.namespace.clone()),
            Some(1) => Rank::Text(self.meta.key.name.clone()),
            Some(2) => Rank::Number(self.ready_replicas),
            Some(3) => Rank::Text(self.template_names(",").into()),
            Some(4) => Rank::Text(keeps_text(self).into()),
            Some(_) => Rank::Number(-self.meta.created),
        }
    }

    fn texts(&self, see: &mut dyn FnMut(&str) -> bool) {
        let _ = see(&self.meta.key.name) || see(&self.meta.key.namespace);
    }
}
