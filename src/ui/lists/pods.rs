//! The row of a pod, as far as storage is concerned.

use crate::model::pod::Pod;
use crate::ui::age::age;
use crate::ui::lists::order::{Listing, Rank};
use crate::ui::lists::{Cell, Column, Context, column};
use crate::ui::sign::Sign;

const COLUMNS: &[Column] = &[
    column("NAMESPACE", 'N', 9, 1).growing(1),
    column("NAME", 'M', 14, 0).growing(3),
    column("STATE", 'S', 11, 0),
    column("NODE", 'D', 10, 0).growing(1),
    column("AGE", 'A', 5, 0).to_the_right(),
    column("CLAIMS", 'C', 14, 0).growing(4),
];

/// The word for a pod's state: Terminating stands over the phase.
pub fn state_word(pod: &Pod) -> &str {
    match (&pod.meta.deleting, &*pod.phase) {
        (Some(_), _) => "Terminating",
        (None, "") => "Pending",
        (None, phase) => phase,
    }
}

/// The claims a pod names, in its own order.
pub fn claims_text(pod: &Pod) -> String {
    pod.claims.iter().map(|claim| &*claim.claim).collect::<Vec<_>>().join(", ")
}

impl Listing for Pod {
    const COLUMNS: &'static [Column] = COLUMNS;

    fn sign(&self, _: Context<'_>) -> Sign {
        match (&self.meta.deleting, &*self.phase) {
            (Some(_), _) => Sign::Busy,
            (None, "Pending" | "") => match self.unscheduled.as_ref().map(|why| &*why.reason) {
                Some("Unschedulable") => Sign::Fault,
                Some("SchedulingGated") => Sign::NotYet,
                Some(_) | None => Sign::Busy,
            },
            (None, "Running" | "Succeeded") => Sign::Ok,
            (None, "Failed") => Sign::Lost,
            (None, _) => Sign::Unknown,
        }
    }

    fn cells(&self, context: Context<'_>) -> Vec<Cell> {
        vec![
            Cell::new(self.meta.key.namespace.to_string()),
            Cell::new(self.meta.key.name.to_string()),
            Cell::with(state_word(self).to_owned(), self.sign(context).role()),
            Cell::or_dash(&self.node),
            Cell::new(age(self.meta.created, context.now)),
            Cell::or_dash(&claims_text(self)),
        ]
    }

    fn rank(&self, column: Option<usize>, context: Context<'_>) -> Rank {
        match column {
            None => Rank::Number(self.sign(context) as i64),
            Some(0) => Rank::Text(self.meta.key.namespace.clone()),
            Some(1) => Rank::Text(self.meta.key.name.clone()),
            Some(2) => Rank::Text(state_word(self).into()),
            Some(3) => Rank::Text(self.node.clone()),
            Some(4) => Rank::Number(-self.meta.created),
            Some(_) => Rank::Text(claims_text(self).into()),
        }
    }

    fn texts(&self, see: &mut dyn FnMut(&str) -> bool) {
        let _ = see(&self.meta.key.name)
            || see(&self.meta.key.namespace)
            || see(state_word(self))
            || see(&self.node)
            || self.claims.iter().any(|claim| see(&claim.claim));
    }
}
