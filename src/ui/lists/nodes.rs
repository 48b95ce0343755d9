//! The row of a node.

use crate::model::node::{Node, Readiness};
use crate::ui::age::age;
use crate::ui::lists::order::{Listing, Rank};
use crate::ui::lists::{Cell, Column, Context, column};
use crate::ui::sign::Sign;

const COLUMNS: &[Column] = &[
    column("NAME", 'N', 14, 0).growing(2),
    column("STATE", 'S', 18, 0),
    column("ATTACHED", 'T', 8, 0).to_the_right(),
    column("IN USE", 'U', 6, 0).to_the_right(),
    column("VERSION", 'V', 10, 1),
    column("AGE", 'A', 5, 0).to_the_right(),
    column("DRIVERS", 'D', 14, 1).growing(3),
];

/// The CSI drivers registered on a node.
pub fn drivers_text(node: &Node, context: Context<'_>) -> String {
    let registered = context.tables.csi_nodes.get(&node.meta.key);
    let drivers = registered.into_iter().flat_map(|node| node.drivers.iter());
    drivers.map(|driver| &*driver.name).collect::<Vec<_>>().join(", ")
}

fn state_text(node: &Node) -> String {
    let cordoned = if node.unschedulable { ",cordoned" } else { "" };
    format!("{}{cordoned}", node.ready.name())
}

impl Listing for Node {
    const COLUMNS: &'static [Column] = COLUMNS;

    fn sign(&self, _: Context<'_>) -> Sign {
        match self.ready {
            Readiness::Ready => Sign::Ok,
            Readiness::NotReady => Sign::Fault,
            Readiness::Unknown => Sign::Unknown,
        }
    }

    fn cells(&self, context: Context<'_>) -> Vec<Cell> {
        vec![
            Cell::new(self.meta.key.name.to_string()),
            Cell::with(state_text(self), self.sign(context).role()),
            Cell::new(self.volumes_attached.len().to_string()),
            Cell::new(self.volumes_in_use.len().to_string()),
            Cell::or_dash(&self.kubelet),
            Cell::new(age(self.meta.created, context.now)),
            Cell::or_dash(&drivers_text(self, context)),
        ]
    }

    fn rank(&self, column: Option<usize>, context: Context<'_>) -> Rank {
        let count = |count: usize| Rank::Number(i64::try_from(count).unwrap_or(i64::MAX));
        match column {
            None => Rank::Number(self.sign(context) as i64),
            Some(0) => Rank::Text(self.meta.key.name.clone()),
            Some(1) => Rank::Text(state_text(self).into()),
            Some(2) => count(self.volumes_attached.len()),
            Some(3) => count(self.volumes_in_use.len()),
            Some(4) => Rank::Text(self.kubelet.clone()),
            Some(5) => Rank::Number(-self.meta.created),
            Some(_) => Rank::Text(drivers_text(self, context).into()),
        }
    }

    fn texts(&self, see: &mut dyn FnMut(&str) -> bool) {
        let _ = see(&self.meta.key.name) || see(self.ready.name());
    }
}
