//! What the screen is drawn from: the mirror's rows in the order of each view,
//! and what gate, journal and controllers were last seen to be.
//!
//! ```text
//! changed keys ─> Data::absorb ─> lists, problems, reasons to find again
//! State (lens of the seen table) ─> Data::follow
//! both ─> draw
//! ```
//!
//! Changed by the shell between frames, never while one is drawn.

mod changes;
mod lists;
mod lookup;

use std::collections::HashSet;

use jiff::Timestamp;

use crate::cluster::write_path::journal::Entry;
use crate::mirror::Mirror;
use crate::mirror::freshness::Freshness;
use crate::model::kind::{self, Kind};
use crate::model::object::{ObjectRef, Seconds};
use crate::scenario::Progress;
use crate::ui::boards::Boards;
use crate::ui::calls::CallFacts;
use crate::ui::data::changes::Changes;
use crate::ui::data::lists::{ByKind, Lists};
pub use crate::ui::facts::{Access, ControllerFacts, Look, SessionFacts, Stepping};
use crate::ui::keymap::Keymap;
use crate::ui::lists::board::BoardList;
use crate::ui::lists::filter::Filter;
use crate::ui::lists::order::Lens;
use crate::ui::lists::{Context, Listed, files, others, plugins};
use crate::ui::reason::Reasons;
use crate::ui::state::{State, TableId, View};
use crate::ui::verdict::Verdicts;
use crate::ui::why::Whys;

/// What the screen is drawn from.
#[derive(Debug)]
pub struct Data {
    pub mirror: Mirror,
    pub session: SessionFacts,
    /// The cluster's present.
    pub now: Seconds,
    /// The same to the millisecond, where it is known so well.
    pub present: Timestamp,
    /// When something last came from the cluster.
    pub heard: Option<Seconds>,
    /// Absent where there is no step gate to work: live clusters.
    pub stepping: Option<Stepping>,
    /// Writes of this program, oldest first.
    pub journal: Vec<Entry>,
    pub controllers: Vec<ControllerFacts>,
    /// How far the scenario that plays has come, if one plays.
    pub scenario: Option<Progress>,
    pub look: Look,
    pub keymap: Keymap,
    pub reasons: Reasons,
    /// The long answer for the claim whose why page is open.
    pub whys: Whys,
    /// Where the pod may go whose page is open.
    pub verdicts: Verdicts,
    /// What is on the nodes that are looked at.
    pub boards: Boards,
    /// The calls to CSI drivers, where the seen view shows them.
    pub calls: CallFacts,
    lists: Lists,
    changed: Changes,
    /// Changed objects that the next frame has to take in.
    awaiting: HashSet<ObjectRef>,
}

impl Data {
    /// The data of a console that has seen nothing yet.
    pub fn new(mirror: Mirror, session: SessionFacts, look: Look) -> Self {
        let mut data = Self {
            mirror,
            session,
            now: 0,
            present: Timestamp::UNIX_EPOCH,
            heard: None,
            stepping: None,
            journal: Vec::new(),
            controllers: Vec::new(),
            scenario: None,
            awaiting: HashSet::new(),
            look,
            keymap: Keymap::default(),
            reasons: Reasons::default(),
            whys: Whys::default(),
            verdicts: Verdicts::default(),
            boards: Boards::default(),
            calls: CallFacts::default(),
            lists: Lists::default(),
            changed: Changes::default(),
        };
        data.rebuild();
        data
    }

    /// Remembers changed objects until the next frame: many changes of one
    /// object between two frames cost as much as one.
    pub fn await_absorbing(&mut self, changed: HashSet<ObjectRef>) {
        match self.awaiting.is_empty() {
            true => self.awaiting = changed,
            false => self.awaiting.extend(changed),
        }
    }

    /// Takes in what was remembered.
    pub fn absorb_awaiting(&mut self, now_ms: u64) {
        if !self.awaiting.is_empty() {
            let changed = std::mem::take(&mut self.awaiting);
            self.absorb(&changed, now_ms);
        }
        // From the next frame on, what changes in a kind that is live is news.
        let freshness = self.mirror.freshness().into_iter();
        let live = freshness.filter(|(_, now)| now.is_complete()).map(|(kind, _)| kind);
        self.lists.settled.extend(live);
    }

    /// Takes in that these objects changed. Costs what changed.
    pub fn absorb(&mut self, changed: &HashSet<ObjectRef>, now_ms: u64) {
        self.heard = Some(self.now);
        let mut by_kind = ByKind::new();
        for object in changed {
            by_kind.entry(object.kind).or_default().push(&object.key);
        }
        if by_kind.keys().any(|kind| *kind != kind::EVENT) {
            self.reasons.outdate();
        }
        let mirror = self.mirror.clone();
        mirror.read(|tables| {
            self.changed.note(changed, &self.lists.settled, tables, now_ms);
            let context = Context { tables, now: self.now, reasons: &self.reasons };
            self.lists.touch(&by_kind, context);
        });
        if by_kind.contains_key(kind::NAMESPACE) {
            self.relist_others(&Filter::All);
        }
    }

    /// Whether a row changed a moment ago.
    pub fn is_changed(&self, id: &str, now_ms: u64) -> bool {
        self.changed.is_marked(id, now_ms)
    }

    /// When the next row stops being marked as changed.
    pub fn next_calm_ms(&self, now_ms: u64) -> Option<u64> {
        self.changed.next_end_ms(now_ms)
    }

    /// Looks through the lens that the state says for its seen table.
    pub fn follow(&mut self, state: &State) {
        let wanted = self.wanted_nodes(state);
        let revision = self.mirror.revision();
        let mirror = self.mirror.clone();
        mirror.read(|tables| self.boards.infer(&wanted, tables, revision));
        let Some(table) = state.table() else { return };
        let list = &state.top().list;
        let filter = Filter::parse(&list.filter).unwrap_or_default();
        let lens = Lens {
            namespace: state.namespace.as_deref().map(Box::from),
            filter: filter.clone(),
            sort: list.sort,
            descending: list.descending,
        };
        let mirror = self.mirror.clone();
        mirror.read(|tables| {
            let context = Context { tables, now: self.now, reasons: &self.reasons };
            let lists = &mut self.lists;
            match table {
                TableId::Tree => {
                    if let Some(root) = &state.top().about {
                        lists.tree.follow(root, &filter, tables, revision);
                    }
                }
                TableId::Plugins => lists.plugins = plugins::list(&filter),
                TableId::Verdict => {
                    let about = state.top().about.as_ref();
                    let pod = about.and_then(|about| tables.pods.by_uid(&about.uid));
                    if let Some(pod) = pod {
                        let epoch = self.reasons.epoch();
                        self.verdicts.bring_up_to_date(pod, tables, epoch, state.now_ms);
                    }
                    let verdict = about.and_then(|about| self.verdicts.get(&about.uid));
                    lists.verdict.follow(pod.map(|pod| &**pod), verdict, &filter);
                }
                TableId::Files => {
                    if let Some(at) = &state.top().files {
                        lists.files = files::list(at, &filter);
                    }
                }
                _ => lists.set_lens(table, lens, context),
            }
        });
        match table {
            TableId::Timeline => {
                let about = state.top().about.as_ref();
                self.lists.timeline.follow(&self.journal, &self.mirror, filter, about);
            }
            TableId::Board => {
                let node = wanted.first().and_then(|node| self.boards.get(node));
                let (facts, aspect) = (node.cloned().unwrap_or_default(), state.top().aspect);
                self.lists.board = BoardList::new(facts, &filter, aspect, self.instant());
            }
            TableId::Controllers | TableId::Contexts | TableId::Namespaces => {
                self.relist_others(&filter);
            }
            _ => {}
        }
    }

    /// Finds the reasons of the claims that are on the screen; false if some
    /// are left for the next frame.
    pub fn find_reasons(&mut self, state: &State) -> bool {
        let rows = usize::from(state.height);
        let top = state.top().list.top;
        let mirror = self.mirror.clone();
        mirror.read(|tables| {
            let uids: Vec<String> = match state.table() {
                Some(table) => {
                    let context = Context { tables, now: self.now, reasons: &self.reasons };
                    let claim = |at| self.lists.claim_at(table, at, context);
                    (top..top + rows).filter_map(claim).collect()
                }
                None => state.top().target().map(|target| target.uid.clone()).into_iter().collect(),
            };
            if let View::Why(target) | View::Journey(target) = &state.top().view {
                let (epoch, now_ms) = (self.reasons.epoch(), state.now_ms);
                match tables.claims.by_uid(&target.uid) {
                    Some(claim) => self.whys.bring_up_to_date(claim, tables, &self.reasons, now_ms),
                    None => {
                        let object = ObjectRef::new(target.kind, target.key());
                        self.whys.find_other((&object, &target.uid), tables, epoch, now_ms);
                    }
                }
            }
            let claims = uids.iter().filter_map(|uid| tables.claims.by_uid(uid));
            self.reasons.bring_up_to_date(claims, tables, state.now_ms)
        })
    }

    /// The list behind a table.
    pub fn listed(&self, table: TableId) -> &dyn Listed {
        self.lists.listed(table)
    }

    /// Reads the rows with what they are formatted with.
    pub fn read<T>(&self, read: impl FnOnce(Context<'_>) -> T) -> T {
        self.mirror.read(|tables| read(Context { tables, now: self.now, reasons: &self.reasons }))
    }

    /// How many things need a person.
    pub fn problems(&self) -> usize {
        self.lists.problems.total()
    }

    /// The namespaces there are, sorted.
    pub fn namespaces(&self) -> Vec<String> {
        self.mirror.read(|tables| {
            tables.namespaces.iter().map(|row| row.meta.key.name.to_string()).collect()
        })
    }

    /// The server's words why a verb on a kind is not permitted.
    pub fn why_not_permitted(&self, kind: &'static Kind, verb: &str) -> Option<String> {
        let refused = self.session.refused.iter();
        refused
            .filter(|(refused, what, _)| *refused == kind && *what == verb)
            .map(|(_, _, why)| why.clone())
            .next()
    }

    /// How current the rows of a table are.
    pub fn freshness(&self, table: TableId) -> Option<Freshness> {
        self.mirror.freshness_of(lists::kind_of(table)?)
    }

    /// Sorts everything anew: after a start or a change of context.
    pub fn rebuild(&mut self) {
        let mirror = self.mirror.clone();
        mirror.read(|tables| {
            let context = Context { tables, now: self.now, reasons: &self.reasons };
            self.lists.rebuild(context);
        });
        self.relist_others(&Filter::All);
    }

    fn relist_others(&mut self, filter: &Filter) {
        self.lists.controllers = others::controllers(&self.controllers, filter);
        self.lists.contexts = others::contexts(&self.session, filter);
        self.lists.namespaces = self.mirror.read(|tables| others::namespaces(tables, filter));
    }
}
