//! The volumes of one node: what it should have beside what it has.
//!
//! One list in three aspects: both sides, what is desired, what is there.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::node_board::{BoardPod, BoardRow, Stage};
use crate::model::object::{Key, Seconds};
use crate::model::pod::Pod;
use crate::model::row::Row;
use crate::model::volume::Volume;
use crate::ui::age::{age, between};
use crate::ui::boards::NodeFacts;
use crate::ui::lists::filter::Filter;
use crate::ui::lists::{Cell, Column, Context, Listed, RowCells, column};
use crate::ui::sign::Sign;
use crate::ui::target::Target;
use crate::ui::theme::Role;

/// Which side of the board is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Aspect {
    /// What is desired beside what is there.
    #[default]
    Both,
    Desired,
    Actual,
}

impl Aspect {
    /// The one that Tab shows next.
    pub fn next(self) -> Self {
        match self {
            Self::Both => Self::Desired,
            Self::Desired => Self::Actual,
            Self::Actual => Self::Both,
        }
    }

    fn columns(self) -> &'static [Column] {
        match self {
            Self::Both => BOTH,
            Self::Desired => DESIRED,
            Self::Actual => ACTUAL,
        }
    }
}

const BOTH: &[Column] = &[
    column("NAME", 'N', 13, 0).growing(3).unsorted(),
    column("KIND", 'K', 10, 2).unsorted(),
    column("DESIRED BY", 'D', 14, 0).growing(4).unsorted(),
    column("ACTUAL", 'T', 9, 0).unsorted(),
    column("STAGE", 'S', 9, 0).unsorted(),
    column("FOR", 'F', 5, 0).to_the_right().unsorted(),
    column("TRY", 'R', 3, 1).to_the_right().unsorted(),
    column("NEXT", 'X', 5, 1).to_the_right().unsorted(),
];

const DESIRED: &[Column] = &[
    column("NAME", 'N', 13, 0).growing(2).unsorted(),
    column("POD", 'P', 14, 0).growing(2).unsorted(),
    column("IN ITS CONTAINERS", 'C', 17, 0).growing(3).unsorted(),
    column("ACCESS", 'A', 6, 1).unsorted(),
    column("ON THE HOST", 'H', 20, 1).growing(6).of_paths().unsorted(),
];

const ACTUAL: &[Column] = &[
    column("NAME", 'N', 13, 0).growing(2).unsorted(),
    column("ACTUAL", 'T', 9, 0).unsorted(),
    column("DEVICE", 'D', 12, 0).growing(1).unsorted(),
    column("STAGED AT", 'A', 20, 0).growing(4).of_paths().unsorted(),
    column("PODS", 'P', 4, 1).to_the_right().unsorted(),
];

/// The rows of a board: faults first, then by name.
#[derive(Debug, Default)]
pub struct BoardList {
    facts: Arc<NodeFacts>,
    /// Places in the board, in the order shown.
    shown: Vec<usize>,
    aspect: Aspect,
    now: Timestamp,
}

impl BoardList {
    pub fn new(facts: Arc<NodeFacts>, filter: &Filter, aspect: Aspect, now: Timestamp) -> Self {
        let passes = |row: &BoardRow| {
            filter.passes(None, |see| {
                let _ = see(&row.name)
                    || see(&row.kind)
                    || see(row.stage.word())
                    || row.pods.iter().any(|pod| see(&pod.pod.name));
            })
        };
        let rows = &facts.board.rows;
        let mut shown: Vec<usize> = (0..rows.len()).filter(|at| passes(&rows[*at])).collect();
        shown.sort_by_key(|at| !sign(&rows[*at]).needs_person());
        Self { facts, shown, aspect, now }
    }

    /// The board itself, with the commands of the node.
    pub fn facts(&self) -> &Arc<NodeFacts> {
        &self.facts
    }

    fn at(&self, at: usize) -> Option<&BoardRow> {
        self.facts.board.rows.get(*self.shown.get(at)?)
    }

    fn both(&self, row: &BoardRow) -> Vec<Cell> {
        let attempts = match row.attempts {
            0 => Cell::new(""),
            attempts => Cell::new(attempts.to_string()),
        };
        vec![
            Cell::new(row.name.to_string()),
            Cell::or_dash(&row.kind),
            desired_by(row),
            Cell::or_dash(row.on_node.word()),
            Cell::with(row.stage.word(), sign(row).role()),
            Cell::new(stage_age(row, self.now)),
            attempts,
            Cell::new(next_retry(row, self.now)),
        ]
    }

    fn desired(row: &BoardRow) -> Vec<Cell> {
        let mut wanted = row.pods.iter().filter(|pod| pod.wanted);
        let Some(pod) = wanted.next() else {
            let nobody = Cell::with("nobody", Role::Dim);
            let dash = || Cell::with("-", Role::Dim);
            return vec![Cell::new(row.name.to_string()), nobody, dash(), dash(), dash()];
        };
        let more = match wanted.count() {
            0 => String::new(),
            more => format!(" +{more}"),
        };
        let access = if pod.read_only { "ro" } else { "rw" };
        vec![
            Cell::new(row.name.to_string()),
            Cell::new(format!("{}{more}", pod.pod.name)),
            Cell::or_dash(&container_paths(pod)),
            Cell::new(access),
            Cell::or_dash(&pod.host_path),
        ]
    }

    fn actual(row: &BoardRow) -> Vec<Cell> {
        vec![
            Cell::new(row.name.to_string()),
            Cell::with(row.on_node.word(), sign(row).role()),
            Cell::or_dash(&row.device_path),
            Cell::or_dash(&row.stage_path),
            Cell::new(row.pods.len().to_string()),
        ]
    }
}

/// What a row's state amounts to. An error of a step that was never begun is
/// what it waits for, such as the node's status.
pub fn sign(row: &BoardRow) -> Sign {
    match row.stage {
        Stage::Running if row.last_error.is_none() => Sign::Ok,
        _ if row.last_error.is_some() && row.attempts > 0 => Sign::Fault,
        _ => Sign::Busy,
    }
}

/// How long the row has been in its stage.
pub fn stage_age(row: &BoardRow, now: Timestamp) -> String {
    match row.stage {
        // Whole seconds once nothing happens any more.
        Stage::Running => age(row.since.as_second(), now.as_second()),
        _ => between(row.since, now),
    }
}

/// In what time the next attempt is due.
pub fn next_retry(row: &BoardRow, now: Timestamp) -> String {
    match row.next_retry {
        Some(at) if at > now => age(now.as_second(), at.as_second()),
        Some(_) => "now".into(),
        None => String::new(),
    }
}

fn desired_by(row: &BoardRow) -> Cell {
    let mut wanted = row.pods.iter().filter(|pod| pod.wanted);
    let Some(pod) = wanted.next() else { return Cell::with("nobody", Role::Dim) };
    let path = pod.container_paths.first().map(|(_, path)| format!(" {path}")).unwrap_or_default();
    let more = match wanted.count() {
        0 => String::new(),
        more => format!(" +{more}"),
    };
    Cell::new(format!("{}{path}{more}", pod.pod.name))
}

/// `app:/data, init:/seed`.
pub fn container_paths(pod: &BoardPod) -> String {
    let paths = pod.container_paths.iter().map(|(container, path)| format!("{container}:{path}"));
    paths.collect::<Vec<_>>().join(", ")
}

/// The object behind a row: the volume; of one inside its pod, the pod.
pub fn target(row: &BoardRow, context: Context<'_>) -> Option<Target> {
    let tables = context.tables;
    if let Some(volume) = tables.volumes.get(&Key::cluster(row.name.clone())) {
        return Some(Target::new(Volume::KIND, &volume.meta));
    }
    let pod = row.pods.first()?;
    Some(Target::new(Pod::KIND, &tables.pods.by_uid(&pod.uid)?.meta))
}

impl Listed for BoardList {
    fn columns(&self) -> &'static [Column] {
        self.aspect.columns()
    }

    fn len(&self) -> usize {
        self.shown.len()
    }

    fn total(&self) -> usize {
        self.facts.board.rows.len()
    }

    fn id_at(&self, at: usize) -> Option<String> {
        self.at(at).map(|row| row.unique_name.to_string())
    }

    fn position(&self, _: Context<'_>, id: &str) -> Option<usize> {
        let rows = &self.facts.board.rows;
        self.shown.iter().position(|at| &*rows[*at].unique_name == id)
    }

    fn row(&self, _: Context<'_>, at: usize) -> Option<RowCells> {
        let row = self.at(at)?;
        let cells = match self.aspect {
            Aspect::Both => self.both(row),
            Aspect::Desired => Self::desired(row),
            Aspect::Actual => Self::actual(row),
        };
        Some(RowCells { sign: sign(row), cells })
    }

    fn target(&self, context: Context<'_>, id: &str) -> Option<Target> {
        target(self.facts.row(id)?, context)
    }

    fn created(&self, _: Context<'_>, at: usize) -> Option<Seconds> {
        self.at(at).map(|row| row.since.as_second())
    }
}
