//! Where a pod may go: a row for each node, with the filter that said no and
//! its words; nodes that take the pod come first. Where no node is asked, a row
//! for each of the pod's claims instead, since those are what it waits for.

use std::sync::Arc;

use crate::controllers::scheduler::explain::{Answer, Explanation, NodeRow};
use crate::model::node::Node;
use crate::model::object::{Key, Seconds};
use crate::model::pod::Pod;
use crate::model::row::Row as _;
use crate::ui::lists::filter::Filter;
use crate::ui::lists::pod_claims::ClaimList;
use crate::ui::lists::{Cell, Column, Context, Listed, RowCells, column};
use crate::ui::sign::Sign;
use crate::ui::target::Target;
use crate::ui::theme::Role;

const COLUMNS: &[Column] = &[
    column("NAME", 'N', 12, 0).growing(1).unsorted(),
    column("REFUSED BY", 'R', 17, 0).unsorted(),
    column("SAYS", 'S', 30, 0).growing(9).unsorted(),
];

/// The verdict on one pod.
#[derive(Debug, Default)]
pub struct VerdictList {
    verdict: Option<Arc<Explanation>>,
    filter: Filter,
    nodes: NodeList,
    claims: ClaimList,
}

impl VerdictList {
    /// Takes over new answers or another filter; nothing if both are the same.
    pub fn follow(
        &mut self,
        pod: Option<&Pod>,
        verdict: Option<&Arc<Explanation>>,
        filter: &Filter,
    ) {
        let same = match (&self.verdict, verdict) {
            (Some(held), Some(new)) => Arc::ptr_eq(held, new),
            (None, None) => true,
            _ => false,
        };
        if same && self.filter == *filter {
            return;
        }
        self.verdict = verdict.cloned();
        self.filter = filter.clone();
        self.nodes = NodeList::new(verdict, filter);
        let stopped = verdict.and_then(|verdict| verdict.stopped.as_ref());
        self.claims = match (pod, stopped) {
            (Some(pod), Some(stopped)) => ClaimList::new(pod, stopped, filter),
            _ => ClaimList::default(),
        };
    }

    fn seen(&self) -> &dyn Listed {
        match self.verdict.as_ref().and_then(|verdict| verdict.stopped.as_ref()) {
            Some(_) => &self.claims,
            None => &self.nodes,
        }
    }
}

impl Listed for VerdictList {
    fn columns(&self) -> &'static [Column] {
        self.seen().columns()
    }

    fn len(&self) -> usize {
        self.seen().len()
    }

    fn total(&self) -> usize {
        self.seen().total()
    }

    fn id_at(&self, at: usize) -> Option<String> {
        self.seen().id_at(at)
    }

    fn position(&self, context: Context<'_>, id: &str) -> Option<usize> {
        self.seen().position(context, id)
    }

    fn row(&self, context: Context<'_>, at: usize) -> Option<RowCells> {
        self.seen().row(context, at)
    }

    fn target(&self, context: Context<'_>, id: &str) -> Option<Target> {
        self.seen().target(context, id)
    }

    fn told(&self, id: &str) -> Option<String> {
        self.seen().told(id)
    }

    fn created(&self, context: Context<'_>, at: usize) -> Option<Seconds> {
        self.seen().created(context, at)
    }
}

/// The answers of the nodes that the filter lets through.
#[derive(Debug, Default)]
struct NodeList {
    verdict: Option<Arc<Explanation>>,
    shown: Vec<usize>,
}

impl NodeList {
    fn new(verdict: Option<&Arc<Explanation>>, filter: &Filter) -> Self {
        let mut list = Self { verdict: verdict.cloned(), shown: Vec::new() };
        let rows = list.rows();
        let passes = |at: &usize| {
            filter.passes(None, |see| {
                let _ = see(&rows[*at].node) || see(&words(&rows[*at]));
            })
        };
        let mut shown: Vec<usize> = (0..rows.len()).filter(passes).collect();
        shown.sort_by_key(|at| match rows[*at].answer {
            Answer::Takes { score, .. } => (false, -score),
            Answer::Refuses { .. } => (true, 0),
        });
        list.shown = shown;
        list
    }

    fn rows(&self) -> &[NodeRow] {
        self.verdict.as_ref().map_or(&[], |verdict| &verdict.nodes)
    }

    fn at(&self, at: usize) -> Option<&NodeRow> {
        self.rows().get(*self.shown.get(at)?)
    }
}

/// All that is said of a node: the filter's words and what it compared.
fn details(row: &NodeRow) -> String {
    let node = &row.node;
    let Answer::Refuses { by, words: said, details } = &row.answer else {
        return format!("{node} {}", words(row));
    };
    let more: Vec<&str> =
        details.iter().map(|text| &**text).filter(|text| !text.is_empty()).collect();
    let colon = if more.is_empty() { "" } else { ": " };
    format!("{node}: {} says `{}`{colon}{}", by.name(), said.join(", "), more.join("; "))
}

/// In the filter's words; of a node that takes the pod, what would be written.
fn words(row: &NodeRow) -> String {
    match &row.answer {
        Answer::Refuses { words, .. } => words.join(", "),
        Answer::Takes { score, plan } => {
            let binds =
                plan.bind.iter().map(|bind| format!("{} to {}", bind.claim.name, bind.volume));
            let makes =
                plan.provision.iter().map(|claim| format!("a new volume for {}", claim.name));
            let all: Vec<_> = binds.chain(makes).collect();
            match all.is_empty() {
                true => format!("takes it, score {score}"),
                false => format!("takes it, score {score}, with {}", all.join(", ")),
            }
        }
    }
}

impl Listed for NodeList {
    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn len(&self) -> usize {
        self.shown.len()
    }

    fn total(&self) -> usize {
        self.rows().len()
    }

    fn id_at(&self, at: usize) -> Option<String> {
        self.at(at).map(|row| row.node.to_string())
    }

    fn position(&self, _: Context<'_>, id: &str) -> Option<usize> {
        let rows = self.rows();
        self.shown.iter().position(|at| &*rows[*at].node == id)
    }

    fn row(&self, _: Context<'_>, at: usize) -> Option<RowCells> {
        let row = self.at(at)?;
        let (sign, by) = match &row.answer {
            Answer::Takes { .. } => (Sign::Ok, Cell::with("-", Role::Dim)),
            Answer::Refuses { by, .. } => (Sign::Lost, Cell::with(by.name(), Role::Lost)),
        };
        let cells = vec![Cell::new(row.node.to_string()), by, Cell::new(words(row))];
        Some(RowCells { sign, cells })
    }

    fn target(&self, context: Context<'_>, id: &str) -> Option<Target> {
        let node = context.tables.nodes.get(&Key::cluster(id))?;
        Some(Target::new(Node::KIND, node.meta()))
    }

    fn told(&self, id: &str) -> Option<String> {
        self.rows().iter().find(|row| &*row.node == id).map(details)
    }

    fn created(&self, _: Context<'_>, _: usize) -> Option<Seconds> {
        None
    }
}
