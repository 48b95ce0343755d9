//! NodeAffinity: the pod's node selector and its affinity to nodes.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::controllers::scheduler::reason::{Reason, Whole};
use crate::model::node::Node;
use crate::model::pod::Pod;
use crate::model::selector::{Operator, Term};

/// Whether selector and required affinity admit the node.
pub fn why_not_admitted(pod: &Pod, node: &Node) -> Result<(), Reason> {
    if admits(pod, node) { Ok(()) } else { Err(Reason::Affinity) }
}

/// The same as a plain answer.
pub fn admits(pod: &Pod, node: &Node) -> bool {
    let selected = pod.needs.node_selector.iter();
    selected.into_iter().all(|(key, value)| node.meta.label(key) == Some(value))
        && pod
            .needs
            .node_affinity
            .as_ref()
            .is_none_or(|affinity| affinity.matches_node(&node.meta.key.name, &node.meta.labels))
}

/// The nodes that the pod's affinity names, if each of its terms names some.
/// Other nodes are then not looked at (upstream: PreFilterResult).
pub fn named_nodes(pod: &Pod) -> Result<Option<BTreeSet<Arc<str>>>, Whole> {
    let Some(affinity) = &pod.needs.node_affinity else { return Ok(None) };
    let mut all = BTreeSet::new();
    for term in &affinity.terms {
        match names(term) {
            None => return Ok(None),
            Some(names) => all.extend(names),
        }
    }
    if affinity.terms.is_empty() {
        return Ok(None);
    }
    if all.is_empty() { Err(Whole::NamesConflict) } else { Ok(Some(all)) }
}

/// The names that a term asks for; `None` if it asks for none.
fn names(term: &Term) -> Option<BTreeSet<Arc<str>>> {
    let mut names: Option<BTreeSet<Arc<str>>> = None;
    for field in &term.fields {
        if &*field.key == "metadata.name" && field.operator == Operator::In {
            let asked: BTreeSet<Arc<str>> = field.values.iter().cloned().collect();
            names = Some(match names {
                None => asked,
                Some(names) => names.intersection(&asked).cloned().collect(),
            });
        }
    }
    names
}
