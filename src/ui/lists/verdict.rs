//! Where a pod may go: a row for each node, with the filter that said no and
//! its words. Nodes that take the pod come first.

use std::sync::Arc;

use crate::controllers::scheduler::explain::{Answer, Explanation, NodeRow};
use crate::model::node::Node;
use crate::model::object::{Key, Seconds};
use crate::model::row::Row as _;
use crate::ui::lists::filter::Filter;
use crate::ui::lists::{Cell, Column, Context, Listed, RowCells, column};
use crate::ui::sign::Sign;
use crate::ui::target::Target;
use crate::ui::theme::Role;

const COLUMNS: &[Column] = &[
    column("NAME", 'N', 14, 0).growing(1).unsorted(),
    column("VERDICT", 'V', 8, 0).unsorted(),
    column("FILTER", 'F', 18, 0).unsorted(),
    column("SAYS", 'S', 30, 0).growing(5).unsorted(),
];

/// The answers of the nodes that the filter lets through.
#[derive(Debug, Default)]
pub struct VerdictList {
    verdict: Option<Arc<Explanation>>,
    filter: Filter,
    shown: Vec<usize>,
}

impl VerdictList {
    /// Takes over new answers or another filter; nothing if both are the same.
    pub fn follow(&mut self, verdict: Option<&Arc<Explanation>>, filter: &Filter) {
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
        let rows = self.rows();
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
        self.shown = shown;
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
        return format!("{node} takes it: {}", words(row));
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
                true => format!("score {score}"),
                false => format!("score {score}, with {}", all.join(", ")),
            }
        }
    }
}

impl Listed for VerdictList {
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
        let (sign, verdict, filter) = match &row.answer {
            Answer::Takes { .. } => (Sign::Ok, "takes", Cell::with("-", Role::Dim)),
            Answer::Refuses { by, .. } => (Sign::Lost, "refuses", Cell::new(by.name())),
        };
        let cells = vec![
            Cell::new(row.node.to_string()),
            Cell::with(verdict, sign.role()),
            filter,
            Cell::new(words(row)),
        ];
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
