//! CSI drivers: those with a CSIDriver object, and those that nodes alone know
//! (CSINode). Kubernetes works with both; for the latter it takes the defaults.
//! They are few, so the list is made anew when one of either kind changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::mirror::Tables;
use crate::model::csi::CsiDriver;
use crate::model::kind;
use crate::model::object::{Key, Seconds};
use crate::ui::age::{age, clock_time};
use crate::ui::calls::CallFacts;
use crate::ui::lists::order::{Lens, Rank};
use crate::ui::lists::{Cell, Column, Context, Listed, RowCells, column};
use crate::ui::reason;
use crate::ui::sign::Sign;
use crate::ui::target::Target;
use crate::ui::theme::Role;

const COLUMNS: &[Column] = &[
    // As long as the names that Rook gives.
    column("NAME", 'N', 29, 0).growing(2),
    column("NODES", 'D', 5, 0).to_the_right(),
    column("ATTACHES", 'T', 8, 0),
    column("CAPACITY", 'C', 8, 1),
    column("MODES", 'M', 12, 1).growing(1),
    column("AGE", 'A', 5, 0).to_the_right(),
];

/// A driver by its name, with its object if there is one.
#[derive(Debug, Clone, Copy)]
pub struct Driver<'a> {
    pub name: &'a str,
    pub object: Option<&'a CsiDriver>,
}

impl<'a> Driver<'a> {
    /// The driver of this name.
    pub fn named(name: &'a str, tables: &'a Tables) -> Self {
        let object = tables.csi_drivers.get(&Key::cluster(name));
        Self { name, object: object.map(|object| &**object) }
    }

    /// Whether its volumes are attached: unless its object says no.
    pub fn attaches(self) -> bool {
        self.object.is_none_or(|object| object.attach_required)
    }

    /// Whether it is asked how much space is left before pods are placed.
    pub fn tells_capacity(self) -> bool {
        self.object.is_some_and(|object| object.storage_capacity)
    }

    fn nodes(self, context: Context<'_>) -> usize {
        reason::registered(self.name, context.tables)
    }

    fn sign(self, context: Context<'_>) -> Sign {
        match self.nodes(context) {
            0 => Sign::Fault,
            _ => Sign::Ok,
        }
    }

    fn modes(self) -> String {
        match self.object {
            Some(object) => object.lifecycle_modes.join(","),
            None => "no CSIDriver".to_owned(),
        }
    }

    fn rank(self, column: Option<usize>, context: Context<'_>) -> Rank {
        match column {
            None => Rank::Number(self.sign(context) as i64),
            Some(0) => Rank::Text(self.name.into()),
            Some(1) => Rank::Number(self.nodes(context) as i64),
            Some(2) => Rank::Number(self.attaches().into()),
            Some(3) => Rank::Number(self.tells_capacity().into()),
            Some(4) => Rank::Text(self.modes().into()),
            Some(_) => Rank::Number(self.object.map_or(0, |object| -object.meta.created)),
        }
    }

    fn cells(self, context: Context<'_>) -> Vec<Cell> {
        let created = self.object.map(|object| age(object.meta.created, context.now));
        let role = if self.object.is_some() { Role::Text } else { Role::Busy };
        vec![
            Cell::new(self.name.to_owned()),
            Cell::with(self.nodes(context).to_string(), self.sign(context).role()),
            Cell::new(yes_or_no(self.attaches())),
            Cell::new(yes_or_no(self.tells_capacity())),
            Cell::with(self.modes(), role),
            Cell::or_dash(&created.unwrap_or_default()),
        ]
    }

    /// How it fares: where it is, what is in flight, what failed.
    pub fn in_words(self, calls: &CallFacts, context: Context<'_>) -> String {
        let (name, nodes, all) = (self.name, self.nodes(context), context.tables.nodes.len());
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
        let object = match self.object {
            Some(_) => "",
            None => "; without a CSIDriver object Kubernetes takes the defaults: Enter lists them",
        };
        format!("{name}: on {nodes} of {all} nodes{called}{failed}{object}")
    }
}

fn yes_or_no(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

/// A row: its uid, or of a driver without an object its name.
#[derive(Debug)]
struct Entry {
    name: Arc<str>,
    uid: Option<Arc<str>>,
}

impl Entry {
    fn id(&self) -> &str {
        self.uid.as_ref().unwrap_or(&self.name)
    }
}

/// The drivers under a lens.
#[derive(Debug, Default)]
pub struct Drivers {
    lens: Lens,
    shown: Vec<Entry>,
    total: usize,
}

impl Drivers {
    pub fn set_lens(&mut self, lens: Lens, context: Context<'_>) {
        if self.lens != lens {
            self.lens = lens;
            self.rebuild(context);
        }
    }

    /// Finds the drivers there are anew.
    pub fn rebuild(&mut self, context: Context<'_>) {
        let tables = context.tables;
        let on_nodes = tables.registered_drivers().map(|name| (name.clone(), None));
        let mut all: BTreeMap<Arc<str>, Option<&CsiDriver>> = on_nodes.collect();
        let with_object = tables.csi_drivers.iter();
        all.extend(with_object.map(|object| (object.meta.key.name.clone(), Some(&**object))));
        self.total = all.len();
        let (filter, sort) = (&self.lens.filter, self.lens.sort);
        let passing = all.into_iter().filter(|(name, object)| {
            filter.passes(object.map(|object| &object.meta), |see| {
                let _ = see(name);
            })
        });
        let mut ranked: Vec<(Rank, Entry)> = passing
            .map(|(name, object)| {
                let rank = Driver { name: &name, object }.rank(sort, context);
                (rank, Entry { uid: object.map(|object| object.meta.uid.clone()), name })
            })
            .collect();
        // Names stay in ascending order where the ranks are equal.
        match self.lens.descending {
            true => ranked.sort_by(|(a, _), (b, _)| b.cmp(a)),
            false => ranked.sort_by(|(a, _), (b, _)| a.cmp(b)),
        }
        self.shown = ranked.into_iter().map(|(_, entry)| entry).collect();
    }

    fn find(&self, id: &str) -> Option<&Entry> {
        self.shown.iter().find(|entry| entry.id() == id)
    }
}

impl Listed for Drivers {
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn len(&self) -> usize {
        self.shown.len()
    }

    fn total(&self) -> usize {
        self.total
    }

    fn id_at(&self, at: usize) -> Option<String> {
        self.shown.get(at).map(|entry| entry.id().to_owned())
    }

    fn position(&self, _: Context<'_>, id: &str) -> Option<usize> {
        self.shown.iter().position(|entry| entry.id() == id)
    }

    fn row(&self, context: Context<'_>, at: usize) -> Option<RowCells> {
        let driver = Driver::named(&self.shown.get(at)?.name, context.tables);
        Some(RowCells { sign: driver.sign(context), cells: driver.cells(context) })
    }

    fn target(&self, context: Context<'_>, id: &str) -> Option<Target> {
        // A row that the filter hides keeps its mark.
        if let Some(driver) = context.tables.csi_drivers.by_uid(id) {
            return Some(Target::new(kind::CSI_DRIVER, &driver.meta));
        }
        Some(Target::without_object(kind::CSI_DRIVER, &self.find(id)?.name))
    }

    fn created(&self, context: Context<'_>, at: usize) -> Option<Seconds> {
        let name = &self.shown.get(at)?.name;
        Some(context.tables.csi_drivers.get(&Key::cluster(name.clone()))?.meta.created)
    }
}
