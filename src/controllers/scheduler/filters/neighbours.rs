//! InterPodAffinity: which pods this one wants near or far, and which want it
//! far.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::controllers::scheduler::cache::Cache;
use crate::controllers::scheduler::reason::Reason;
use crate::model::node::Node;
use crate::model::pod::Pod;
use crate::model::pod_needs::PodTerm;

/// A label of nodes and one of its values.
type Domain<'a> = (&'a str, &'a str);

/// What the pods that are there make of this one, and it of them.
#[derive(Debug)]
pub struct Neighbourhood<'a> {
    /// The terms that ask for company.
    together: &'a [PodTerm],
    /// Where all of these terms are met.
    company: HashSet<Domain<'a>>,
    /// Nobody meets the terms anywhere, and the pod itself does: it is the
    /// first of its kind.
    first_of_kind: bool,
    apart: HashSet<Domain<'a>>,
    refused: HashSet<Domain<'a>>,
    preferred: HashMap<Domain<'a>, i64>,
}

impl<'a> Neighbourhood<'a> {
    pub fn new(cache: &'a Cache, pod: &'a Pod) -> Self {
        let mut built = Self {
            together: &[],
            company: HashSet::new(),
            first_of_kind: false,
            apart: HashSet::new(),
            refused: HashSet::new(),
            preferred: HashMap::new(),
        };
        for (other, node) in cache.keeping_away() {
            let terms = other.needs.neighbours.iter().flat_map(|n| &n.required_apart);
            for term in terms.filter(|term| selects(cache, other, term, pod)) {
                built.refused.extend(domain(node, term));
            }
        }
        if let Some(wishes) = pod.needs.neighbours.as_deref() {
            built.together = &wishes.required;
            for (node, info) in cache.nodes() {
                for other in info.pods.values() {
                    let meets = |term: &PodTerm| selects(cache, pod, term, other);
                    if !wishes.required.is_empty() && wishes.required.iter().all(meets) {
                        built
                            .company
                            .extend(wishes.required.iter().filter_map(|t| domain(node, t)));
                    }
                    let away = wishes.required_apart.iter().filter(|term| meets(term));
                    built.apart.extend(away.filter_map(|term| domain(node, term)));
                    for (weight, term) in wishes.preferred.iter().filter(|(_, term)| meets(term)) {
                        if let Some(domain) = domain(node, term) {
                            *built.preferred.entry(domain).or_default() += weight;
                        }
                    }
                }
            }
            built.first_of_kind = built.company.is_empty()
                && wishes.required.iter().all(|term| selects(cache, pod, term, pod));
        }
        built
    }

    pub fn why_not(&self, node: &Node) -> Result<(), Reason> {
        let among = |domains: &HashSet<Domain<'a>>| {
            domains.iter().any(|(key, value)| node.meta.label(key) == Some(value))
        };
        let labelled = self.together.iter().all(|t| node.meta.label(&t.topology_key).is_some());
        let near = self.together.iter().all(|term| {
            let value = node.meta.label(&term.topology_key);
            value.is_some_and(|value| self.company.contains(&(&*term.topology_key, value)))
        });
        if !(labelled && (near || self.first_of_kind)) {
            return Err(Reason::PodAffinity);
        }
        if among(&self.apart) {
            return Err(Reason::PodAntiAffinity);
        }
        if among(&self.refused) {
            return Err(Reason::ExistingAntiAffinity);
        }
        Ok(())
    }

    /// The weights of the preferences that this node meets.
    pub fn score(&self, node: &Node) -> i64 {
        let met =
            self.preferred.iter().filter(|((key, value), _)| node.meta.label(key) == Some(value));
        met.map(|(_, weight)| weight).sum()
    }
}

fn domain<'a>(node: &'a Arc<Node>, term: &'a PodTerm) -> Option<Domain<'a>> {
    Some((&*term.topology_key, node.meta.label(&term.topology_key)?))
}

/// Whether a required affinity of the pod is with this other one.
pub fn is_wanted_near(cache: &Cache, pod: &Pod, other: &Pod) -> bool {
    let neighbours = pod.needs.neighbours.iter();
    let mut terms = neighbours.flat_map(|neighbours| &neighbours.required);
    terms.any(|term| selects(cache, pod, term, other))
}

/// Whether a term of `of` selects another pod.
fn selects(cache: &Cache, of: &Pod, term: &PodTerm, other: &Pod) -> bool {
    let namespace = &other.meta.key.namespace;
    let by_label = term.namespace_selector.as_ref().is_some_and(|selector| {
        cache.namespaces.get(namespace).is_some_and(|found| selector.matches(&found.meta.labels))
    });
    let own = term.namespaces.is_empty()
        && term.namespace_selector.is_none()
        && *namespace == of.meta.key.namespace;
    (own || by_label || term.namespaces.contains(namespace))
        && term.selector.as_ref().is_some_and(|selector| selector.matches(&other.meta.labels))
}
