//! The row of a node.

use std::sync::Arc;

use crate::mirror::Tables;
use crate::model::node::{Node, Readiness};
use crate::model::volume::{Volume, VolumePhase};
use crate::ui::age::age;
use crate::ui::lists::order::{Listing, Rank};
use crate::ui::lists::{Cell, Column, Context, column};
use crate::ui::sign::Sign;

const COLUMNS: &[Column] = &[
    column("NAME", 'N', 12, 0).growing(2),
    column("STATE", 'S', 14, 0),
    column("ATTACHED", 'T', 8, 0).to_the_right(),
    column("IN USE", 'U', 6, 0).to_the_right(),
    column("FREE LOCAL", 'L', 10, 0).to_the_right().unsorted(),
    column("VERSION", 'V', 10, 2),
    column("AGE", 'A', 5, 0).to_the_right(),
    column("DRIVERS", 'D', 14, 1).growing(3),
];

/// The CSI drivers registered on a node.
pub fn drivers_text(node: &Node, context: Context<'_>) -> String {
    let registered = context.tables.csi_nodes.get(&node.meta.key);
    let drivers = registered.into_iter().flat_map(|node| node.drivers.iter());
    drivers.map(|driver| &*driver.name).collect::<Vec<_>>().join(", ")
}

/// Whether the node is ready, and whether new pods may come to it.
pub fn state_text(node: &Node) -> String {
    let cordoned = if node.unschedulable { ",cordoned" } else { "" };
    format!("{}{cordoned}", node.ready.name())
}

/// What the node's state amounts to.
pub fn sign(node: &Node) -> Sign {
    match node.ready {
        Readiness::Ready => Sign::Ok,
        Readiness::NotReady => Sign::Fault,
        Readiness::Unknown => Sign::Unknown,
    }
}

/// The volumes attached, against what its drivers allow: `3/39`. Without a
/// limit that is known only their number.
pub fn attached_text(node: &Node, context: Context<'_>, of: &str) -> String {
    let registered = context.tables.csi_nodes.get(&node.meta.key);
    let drivers = registered.into_iter().flat_map(|node| node.drivers.iter());
    let limits: Vec<i64> = drivers.filter_map(|driver| driver.attach_limit).collect();
    let attached = node.volumes_attached.len();
    match limits.is_empty() {
        true => attached.to_string(),
        false => format!("{attached}{of}{}", limits.iter().sum::<i64>()),
    }
}

/// The volumes that can be used on this node only, as far as they name it.
pub fn local_volumes<'a>(node: &Node, tables: &'a Tables) -> impl Iterator<Item = &'a Arc<Volume>> {
    let host = node.meta.label("kubernetes.io/hostname").unwrap_or(&node.meta.key.name);
    tables.volumes_at(host)
}

fn is_free(volume: &Volume) -> bool {
    volume.phase == VolumePhase::Available && volume.claim_ref.is_none()
}

/// A local volume in a line: `disk-1 10Gi fast free, /mnt/disks/1`.
pub fn local_text(volume: &Volume) -> String {
    let size = volume.capacity.map_or_else(|| "?".into(), |size| size.to_string());
    let state = match &volume.claim_ref {
        _ if is_free(volume) => "free".to_owned(),
        Some(by) => format!("{} by {}", volume.phase.name(), by.key),
        None => volume.phase.name().to_owned(),
    };
    let Volume { meta, class, source, .. } = volume;
    format!("{} {size} {class} {state}, {}", meta.key.name, source.place)
}

/// The local volumes on a node that are free, against all: `1 of 2`.
pub fn free_local_text(node: &Node, context: Context<'_>) -> String {
    let (mut free, mut all) = (0, 0);
    for volume in local_volumes(node, context.tables) {
        all += 1;
        free += usize::from(is_free(volume));
    }
    if all == 0 { String::new() } else { format!("{free} of {all}") }
}

impl Listing for Node {
    const COLUMNS: &'static [Column] = COLUMNS;

    fn sign(&self, _: Context<'_>) -> Sign {
        sign(self)
    }

    fn cells(&self, context: Context<'_>) -> Vec<Cell> {
        vec![
            Cell::new(self.meta.key.name.to_string()),
            Cell::with(state_text(self), sign(self).role()),
            Cell::new(attached_text(self, context, "/")),
            Cell::new(self.volumes_in_use.len().to_string()),
            Cell::or_dash(&free_local_text(self, context)),
            Cell::or_dash(&self.kubelet),
            Cell::new(age(self.meta.created, context.now)),
            Cell::or_dash(&drivers_text(self, context)),
        ]
    }

    fn rank(&self, column: Option<usize>, context: Context<'_>) -> Rank {
        let count = |count: usize| Rank::Number(i64::try_from(count).unwrap_or(i64::MAX));
        match column {
            None => Rank::Number(sign(self) as i64),
            Some(0) => Rank::Text(self.meta.key.name.clone()),
            Some(1) => Rank::Text(state_text(self).into()),
            Some(2) => count(self.volumes_attached.len()),
            Some(3) => count(self.volumes_in_use.len()),
            Some(5) => Rank::Text(self.kubelet.clone()),
            Some(6) => Rank::Number(-self.meta.created),
            Some(_) => Rank::Text(drivers_text(self, context).into()),
        }
    }

    fn texts(&self, see: &mut dyn FnMut(&str) -> bool) {
        let _ = see(&self.meta.key.name) || see(self.ready.name());
    }
}
