//! The row of a storage class.

use crate::model::class::{BindingMode, StorageClass};
use crate::ui::age::age;
use crate::ui::lists::order::{Listing, Rank};
use crate::ui::lists::{Cell, Column, Context, column};
use crate::ui::sign::Sign;

const COLUMNS: &[Column] = &[
    column("NAME", 'N', 14, 0).growing(2),
    column("PROVISIONER", 'P', 20, 0).growing(3),
    column("RECLAIM", 'R', 7, 0),
    column("BINDS", 'B', 14, 0),
    column("EXPANDS", 'E', 7, 1),
    column("DEFAULT", 'D', 7, 1),
    column("AGE", 'A', 5, 0).to_the_right(),
];

/// When claims of the class are bound, in words.
pub fn binding_word(class: &StorageClass) -> &'static str {
    match class.binding_mode {
        Some(BindingMode::WaitForFirstConsumer) => "with first pod",
        Some(BindingMode::Immediate) => "at once",
        None => "unset",
    }
}

fn yes_or_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

impl Listing for StorageClass {
    const COLUMNS: &'static [Column] = COLUMNS;

    fn sign(&self, _: Context<'_>) -> Sign {
        match self.meta.deleting {
            Some(_) => Sign::Busy,
            None => Sign::Ok,
        }
    }

    fn cells(&self, context: Context<'_>) -> Vec<Cell> {
        vec![
            Cell::new(self.meta.key.name.to_string()),
            Cell::new(self.provisioner.to_string()),
            Cell::new(self.reclaim_policy.to_string()),
            Cell::new(binding_word(self)),
            Cell::new(yes_or_no(self.expandable)),
            Cell::new(yes_or_no(self.is_default())),
            Cell::new(age(self.meta.created, context.now)),
        ]
    }

    fn rank(&self, column: Option<usize>, context: Context<'_>) -> Rank {
        match column {
            None => Rank::Number(self.sign(context) as i64),
            Some(0) => Rank::Text(self.meta.key.name.clone()),
            Some(1) => Rank::Text(self.provisioner.clone()),
            Some(2) => Rank::Text(self.reclaim_policy.clone()),
            Some(3) => Rank::Text(binding_word(self).into()),
            Some(4) => Rank::Number(self.expandable.into()),
            Some(5) => Rank::Number(self.is_default().into()),
            Some(_) => Rank::Number(-self.meta.created),
        }
    }

    fn texts(&self, see: &mut dyn FnMut(&str) -> bool) {
        let _ = see(&self.meta.key.name) || see(&self.provisioner) || see(&self.reclaim_policy);
    }
}
