//! The row of a storage class.

use crate::model::class::{BindingMode, StorageClass};
use crate::model::object::Key;
use crate::ui::age::age;
use crate::ui::lists::order::{Listing, Rank};
use crate::ui::lists::{Cell, Column, Context, column};
use crate::ui::reason;
use crate::ui::sign::Sign;

const COLUMNS: &[Column] = &[
    column("NAME", 'N', 14, 0).growing(2),
    column("PROVISIONER", 'P', 20, 0).growing(3),
    column("ON", 'O', 5, 0).to_the_right(),
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

/// `2/2`: how many nodes have its driver.
fn nodes_cell(class: &StorageClass, context: Context<'_>) -> Cell {
    match health(class, context) {
        (sign, _, Some(nodes)) => {
            Cell::with(format!("{nodes}/{}", context.tables.nodes.len()), sign.role())
        }
        _ => Cell::or_dash(""),
    }
}

/// How the provisioner of a class fares: whether it runs, in words, and the
/// number of nodes that have it where that counts.
pub fn health(class: &StorageClass, context: Context<'_>) -> (Sign, String, Option<usize>) {
    let (provisioner, tables) = (&*class.provisioner, context.tables);
    if provisioner == "kubernetes.io/no-provisioner" {
        return (Sign::Ok, "volumes are made by hand or by another program".to_owned(), None);
    }
    let nodes = reason::registered(provisioner, tables);
    let known = tables.csi_drivers.get(&Key::cluster(provisioner)).is_some();
    match (nodes, known) {
        (0, true) => (Sign::Fault, "its driver is registered on no node".to_owned(), Some(0)),
        (0, false) if provisioner.starts_with("kubernetes.io/") => {
            (Sign::Ok, "in the controller manager, if it is of this release".to_owned(), None)
        }
        // A provisioner need not be a CSI driver.
        (0, false) => {
            (Sign::Unknown, "no CSI driver has its name; it may be another".to_owned(), None)
        }
        (nodes, _) => {
            let all = tables.nodes.len();
            (Sign::Ok, format!("its driver is registered on {nodes} of {all} nodes"), Some(nodes))
        }
    }
}

impl Listing for StorageClass {
    const COLUMNS: &'static [Column] = COLUMNS;

    fn sign(&self, context: Context<'_>) -> Sign {
        match self.meta.deleting {
            Some(_) => Sign::Busy,
            None => health(self, context).0,
        }
    }

    fn cells(&self, context: Context<'_>) -> Vec<Cell> {
        vec![
            Cell::new(self.meta.key.name.to_string()),
            Cell::new(self.provisioner.to_string()),
            nodes_cell(self, context),
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
            Some(2) => Rank::Number(health(self, context).2.map_or(-1, |nodes| nodes as i64)),
            Some(3) => Rank::Text(self.reclaim_policy.clone()),
            Some(4) => Rank::Text(binding_word(self).into()),
            Some(5) => Rank::Number(self.expandable.into()),
            Some(6) => Rank::Number(self.is_default().into()),
            Some(_) => Rank::Number(-self.meta.created),
        }
    }

    fn texts(&self, see: &mut dyn FnMut(&str) -> bool) {
        let _ = see(&self.meta.key.name) || see(&self.provisioner) || see(&self.reclaim_policy);
    }
}
