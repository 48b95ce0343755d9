//! The row of a CSIDriver.

use crate::model::csi::CsiDriver;
use crate::ui::age::{age, clock_time};
use crate::ui::calls::CallFacts;
use crate::ui::lists::order::{Listing, Rank};
use crate::ui::lists::{Cell, Column, Context, column};
use crate::ui::reason;
use crate::ui::sign::Sign;

const COLUMNS: &[Column] = &[
    column("NAME", 'N', 18, 0).growing(2),
    column("NODES", 'D', 5, 0).to_the_right(),
    column("ATTACHES", 'T', 8, 0),
    column("CAPACITY", 'C', 8, 1),
    column("MODES", 'M', 10, 1).growing(1),
    column("AGE", 'A', 5, 0).to_the_right(),
];

fn yes_or_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

fn nodes(driver: &CsiDriver, context: Context<'_>) -> usize {
    reason::registered(&driver.meta.key.name, context.tables)
}

/// How it fares: where it is, what is in flight, what failed.
pub fn in_words(driver: &CsiDriver, calls: &CallFacts, context: Context<'_>) -> String {
    let name = &*driver.meta.key.name;
    let (nodes, all) = (nodes(driver, context), context.tables.nodes.len());
    let own = || calls.figures.iter().filter(|own| *own.driver == *name);
    let flight: usize = own().map(|own| own.in_flight).sum();
    let done: usize = own().map(|own| own.ended).sum();
    let last = own().filter_map(|own| Some((own.last_failure.as_ref()?, own.rpc)));
    let last = last.max_by_key(|((at, ..), _)| *at);
    let failed = match last {
        Some(((at, code, _), rpc)) => {
            format!("; last failure {rpc} {code} at {}", clock_time(at.as_second()))
        }
        None => String::new(),
    };
    let called = match (done, flight) {
        (0, 0) => String::new(),
        _ => format!("; {done} calls done, {flight} in flight"),
    };
    format!("{name}: on {nodes} of {all} nodes{called}{failed}")
}

impl Listing for CsiDriver {
    const COLUMNS: &'static [Column] = COLUMNS;

    fn sign(&self, context: Context<'_>) -> Sign {
        match nodes(self, context) {
            0 => Sign::Fault,
            _ => Sign::Ok,
        }
    }

    fn cells(&self, context: Context<'_>) -> Vec<Cell> {
        vec![
            Cell::new(self.meta.key.name.to_string()),
            Cell::with(nodes(self, context).to_string(), self.sign(context).role()),
            Cell::new(yes_or_no(self.attach_required)),
            Cell::new(yes_or_no(self.storage_capacity)),
            Cell::or_dash(&self.lifecycle_modes.join(",")),
            Cell::new(age(self.meta.created, context.now)),
        ]
    }

    fn rank(&self, column: Option<usize>, context: Context<'_>) -> Rank {
        match column {
            None => Rank::Number(self.sign(context) as i64),
            Some(0) => Rank::Text(self.meta.key.name.clone()),
            Some(1) => Rank::Number(nodes(self, context) as i64),
            Some(2) => Rank::Number(self.attach_required.into()),
            Some(3) => Rank::Number(self.storage_capacity.into()),
            Some(4) => Rank::Text(self.lifecycle_modes.join(",").into()),
            Some(_) => Rank::Number(-self.meta.created),
        }
    }

    fn texts(&self, see: &mut dyn FnMut(&str) -> bool) {
        let _ = see(&self.meta.key.name);
    }
}
