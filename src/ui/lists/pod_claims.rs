//! The claims of a pod that no node is asked about: which of them are in its
//! way. Enter leads to a claim's journey.

use std::sync::Arc;

use crate::controllers::scheduler::explain::Stopped;
use crate::model::claim::{Claim, ClaimPhase};
use crate::model::object::{Key, Seconds};
use crate::model::pod::{Pod, PodClaim};
use crate::model::row::Row as _;
use crate::ui::lists::filter::Filter;
use crate::ui::lists::order::Listing as _;
use crate::ui::lists::{Cell, Column, Context, Listed, RowCells, claims, column};
use crate::ui::sign::Sign;
use crate::ui::target::Target;
use crate::ui::theme::Role;

const COLUMNS: &[Column] = &[
    column("NAME", 'N', 16, 0).growing(2).unsorted(),
    column("STATE", 'T', 11, 0).unsorted(),
    column("STOPS IT", 'O', 8, 0).unsorted(),
    column("BECAUSE", 'B', 30, 0).growing(5).unsorted(),
];

/// A pod's claims in its own order.
#[derive(Debug, Default)]
pub struct ClaimList {
    rows: Vec<ClaimRow>,
    total: usize,
}

#[derive(Debug)]
struct ClaimRow {
    key: Key,
    /// Kubernetes makes it, for a generic ephemeral volume.
    is_ephemeral: bool,
    stops: bool,
}

impl ClaimList {
    pub fn new(pod: &Pod, stopped: &Stopped, filter: &Filter) -> Self {
        let row = |used: &PodClaim| ClaimRow {
            key: Key { namespace: pod.meta.key.namespace.clone(), name: used.claim.clone() },
            is_ephemeral: used.ephemeral,
            stops: stopped.claims.contains(&used.claim),
        };
        let passes = |row: &ClaimRow| {
            filter.passes(None, |see| {
                let _ = see(&row.key.name);
            })
        };
        let rows = pod.claims.iter().map(row).filter(passes).collect();
        Self { rows, total: pod.claims.len() }
    }

    fn find(&self, id: &str) -> Option<&ClaimRow> {
        self.rows.iter().find(|row| *row.key.name == *id)
    }
}

/// Sign, state and reason of a claim that a pod names.
fn said(row: &ClaimRow, context: Context<'_>) -> (Sign, &'static str, String) {
    let Some(claim) = context.tables.claims.get(&row.key) else {
        return (Sign::Fault, "missing", why_missing(row));
    };
    let because = match claim.phase {
        ClaimPhase::Bound if claim.meta.deleting.is_none() => claim.volume_name.to_string(),
        _ => context.reasons.of(claim).short,
    };
    let sign = match claim.sign(context) {
        // Bound, but not for this pod.
        Sign::Ok if row.stops => Sign::Fault,
        sign => sign,
    };
    (sign, claims::state_word(claim), because)
}

fn why_missing(row: &ClaimRow) -> String {
    match row.is_ephemeral {
        true => "the ephemeral volume controller has not made it yet".to_owned(),
        false => format!("there is no such claim in {}", row.key.namespace),
    }
}

impl Listed for ClaimList {
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    fn total(&self) -> usize {
        self.total
    }

    fn id_at(&self, at: usize) -> Option<String> {
        self.rows.get(at).map(|row| row.key.name.to_string())
    }

    fn position(&self, _: Context<'_>, id: &str) -> Option<usize> {
        self.rows.iter().position(|row| *row.key.name == *id)
    }

    fn row(&self, context: Context<'_>, at: usize) -> Option<RowCells> {
        let row = self.rows.get(at)?;
        let (sign, state, because) = said(row, context);
        let stops = match row.stops {
            true => Cell::with("yes", Role::Fault),
            false => Cell::with("no", Role::Dim),
        };
        let name = Cell::new(row.key.name.to_string());
        let cells = vec![name, Cell::with(state, sign.role()), stops, Cell::new(because)];
        Some(RowCells { sign, cells })
    }

    fn target(&self, context: Context<'_>, id: &str) -> Option<Target> {
        let claim: &Arc<Claim> = context.tables.claims.get(&self.find(id)?.key)?;
        Some(Target::new(Claim::KIND, claim.meta()))
    }

    fn told(&self, id: &str) -> Option<String> {
        let row = self.find(id)?;
        Some(format!("{}: {}", row.key, why_missing(row)))
    }

    fn created(&self, _: Context<'_>, _: usize) -> Option<Seconds> {
        None
    }
}
