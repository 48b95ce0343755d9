//! Every kind of volume: its access modes, what it can do, and what Kubernetes
//! 1.36 does with it.

use crate::plugins::kinds::{KINDS, Kind, Standing};
use crate::plugins::plugin::Capability;
use crate::ui::lists::filter::Filter;
use crate::ui::lists::plain::{PlainList, PlainRow};
use crate::ui::lists::{Cell, Column, column};
use crate::ui::sign::Sign;

/// The capabilities in the order of their letters in the table.
const CAPABILITIES: [(Capability, char, &str); 11] = [
    (Capability::Provision, 'P', "provision"),
    (Capability::Delete, 'D', "delete"),
    (Capability::Recycle, 'R', "recycle"),
    (Capability::Attach, 'A', "attach"),
    (Capability::Stage, 'S', "stage"),
    (Capability::Publish, 'U', "publish"),
    (Capability::Block, 'B', "block devices"),
    (Capability::ExpandController, 'X', "expand by the controller"),
    (Capability::ExpandNode, 'x', "expand on the node"),
    (Capability::MountOptions, 'M', "mount options"),
    (Capability::Ownership, 'O', "fsGroup"),
];

const COLUMNS: &[Column] = &[
    column("NAME", 'N', 20, 0).unsorted(),
    column("MODES", 'O', 16, 0).unsorted(),
    column("PDRASUBXxMO", 'C', 11, 0).unsorted(),
    column("IN 1.36", 'I', 27, 0).growing(1).unsorted(),
];

/// All kinds that the filter lets through.
pub fn list(filter: &Filter) -> PlainList {
    let row = |kind: &Kind| PlainRow {
        id: kind.field().to_owned(),
        sign: sign(kind),
        cells: vec![
            Cell::new(kind.title),
            Cell::new(modes(kind)),
            Cell::new(letters(kind)),
            Cell::with(standing(kind), sign(kind).role()),
        ],
        target: None,
    };
    PlainList::new(COLUMNS, KINDS.iter().map(row).collect(), filter)
}

/// One kind in words.
pub fn words(field: &str) -> String {
    let Some(kind) = KINDS.iter().find(|kind| kind.field() == field) else { return String::new() };
    let can = CAPABILITIES.iter().filter(|(what, ..)| kind.facts.can(*what));
    let can: Vec<_> = can.map(|(_, _, word)| *word).collect();
    let note = if kind.note.is_empty() { String::new() } else { format!("; {}", kind.note) };
    let now = match kind.standing {
        Standing::InUse => "works in 1.36".to_owned(),
        Standing::Deprecated { release } => format!("works in 1.36, deprecated since {release}"),
        Standing::Translated { driver } => {
            format!("the API keeps it; 1.36 hands every such volume to the CSI driver {driver}")
        }
        Standing::Removed { release } => {
            format!("the API accepts it; no plugin mounts it since {release}")
        }
    };
    let was = if kind.is_gone() { "could" } else { "can" };
    let plugin = kind.facts.name;
    format!("spec.{field} ({plugin}): {now}. It {was} {}{note}.", can.join(", "))
}

fn sign(kind: &Kind) -> Sign {
    match kind.standing {
        Standing::InUse => Sign::Ok,
        Standing::Deprecated { .. } => Sign::Busy,
        Standing::Translated { .. } => Sign::NotYet,
        Standing::Removed { .. } => Sign::Lost,
    }
}

fn standing(kind: &Kind) -> String {
    match kind.standing {
        Standing::InUse => "in use".into(),
        Standing::Deprecated { release } => format!("deprecated since {release}"),
        Standing::Translated { driver } => format!("CSI {driver}"),
        Standing::Removed { release } => format!("gone since {release}"),
    }
}

/// Each mode in its own place, so that columns of them line up.
fn modes(kind: &Kind) -> String {
    use crate::model::access_modes::AccessMode::{
        ReadOnlyMany, ReadWriteMany, ReadWriteOnce, ReadWriteOncePod,
    };
    let all = [ReadWriteOnce, ReadOnlyMany, ReadWriteMany, ReadWriteOncePod];
    let words = all.iter().map(|mode| match kind.modes.contains(mode) {
        true => mode.short(),
        false => " . ",
    });
    words.collect::<Vec<_>>().join(" ").trim_end().to_owned()
}

/// A letter for each capability, a dot for each that lacks.
fn letters(kind: &Kind) -> String {
    let letter = |(what, letter, _): &(Capability, char, &str)| {
        if kind.facts.can(*what) { *letter } else { '.' }
    };
    CAPABILITIES.iter().map(letter).collect()
}
