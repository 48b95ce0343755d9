//! PodTopologySpread: pods of one kind over nodes, zones and the like.
//!
//! A pod without constraints of its own is spread softly, over hosts and
//! zones, among the pods of its ReplicaSet or StatefulSet. Upstream also takes
//! Services into account for that.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::controllers::scheduler::cache::{Cache, NodeInfo};
use crate::controllers::scheduler::filters::affinity;
use crate::controllers::scheduler::reason::Reason;
use crate::model::node::Node;
use crate::model::pod::Pod;
use crate::model::pod_needs::SpreadConstraint;

const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// The constraints of a pod, with what is there already.
#[derive(Debug)]
pub struct Spread<'a> {
    required: Vec<Counted<'a>>,
    soft: Vec<Counted<'a>>,
    default: Option<ByOwner<'a>>,
}

/// One constraint, and how many matching pods each domain has.
#[derive(Debug)]
struct Counted<'a> {
    constraint: &'a SpreadConstraint,
    /// Whether the pod itself would count.
    itself: i64,
    domains: BTreeMap<&'a str, i64>,
}

/// The pods of the same controller, by zone; those of a node are counted there.
#[derive(Debug)]
struct ByOwner<'a> {
    uid: &'a Arc<str>,
    zones: HashMap<&'a str, i64>,
    hosts: usize,
}

impl<'a> Spread<'a> {
    pub fn new(cache: &'a Cache, pod: &'a Pod) -> Self {
        let (required, soft) = pod.needs.spread.iter().partition(|c| c.required);
        let count = |constraints: Vec<&'a SpreadConstraint>| -> Vec<Counted<'a>> {
            let keys: Vec<&str> = constraints.iter().map(|c| &*c.topology_key).collect();
            constraints.iter().map(|c| Counted::new(cache, pod, c, &keys)).collect()
        };
        Self { required: count(required), soft: count(soft), default: default_spread(cache, pod) }
    }

    /// The first constraint that this node would break.
    pub fn why_not(&self, node: &Node) -> Result<(), Reason> {
        for Counted { constraint, itself, domains } in &self.required {
            let key = constraint.topology_key.clone();
            let Some(domain) = node.meta.label(&key) else {
                return Err(Reason::Spread { key, missing_label: true });
            };
            let few = i64::try_from(domains.len()).unwrap_or(i64::MAX) < constraint.min_domains;
            let least = if few { 0 } else { domains.values().min().copied().unwrap_or(0) };
            let here = domains.get(domain).copied().unwrap_or(0);
            if here + itself - least > constraint.max_skew {
                return Err(Reason::Spread { key, missing_label: false });
            }
        }
        Ok(())
    }

    /// How crowded the node's domains are; lower is better. `None` if nothing
    /// is to be spread.
    pub fn score(&self, node: &Node, info: &NodeInfo) -> Option<f64> {
        if self.soft.is_empty() && self.default.is_none() {
            return None;
        }
        let soft = self.soft.iter().filter_map(|counted| {
            let domain = node.meta.label(&counted.constraint.topology_key)?;
            let here = counted.domains.get(domain).copied().unwrap_or(0);
            Some(weighed(here, counted.domains.len(), counted.constraint.max_skew))
        });
        let default = self.default.as_ref().map_or(0.0, |default| {
            let here = info.by_owner.get(default.uid).copied().unwrap_or(0);
            let here = i64::try_from(here).unwrap_or(i64::MAX);
            let zone = node.meta.label(ZONE).map_or(0.0, |zone| {
                let here = default.zones.get(zone).copied().unwrap_or(0);
                weighed(here, default.zones.len(), 5)
            });
            weighed(here, default.hosts, 3) + zone
        });
        Some(soft.sum::<f64>() + default)
    }
}

/// A count weighed by how many domains there are (upstream: `scoreForCount`).
fn weighed(count: i64, domains: usize, max_skew: i64) -> f64 {
    let weight = (domains as f64 + 2.0).ln();
    count as f64 * weight + (max_skew - 1) as f64
}

impl<'a> Counted<'a> {
    fn new(cache: &'a Cache, pod: &Pod, constraint: &'a SpreadConstraint, keys: &[&str]) -> Self {
        let same = |other: &Pod| {
            other.meta.key.namespace == pod.meta.key.namespace && matches(constraint, pod, other)
        };
        let mut domains = BTreeMap::new();
        for (node, info) in cache.nodes() {
            let labelled = keys.iter().all(|key| node.meta.label(key).is_some());
            let admitted = !constraint.honor_affinity || affinity::admits(pod, node);
            let tolerated =
                !constraint.honor_taints || pod.needs.untolerated(&node.taints).is_none();
            let domain = node.meta.label(&constraint.topology_key);
            if let Some(domain) = domain.filter(|_| labelled && admitted && tolerated) {
                let count = info.pods.values().filter(|p| p.meta.deleting.is_none() && same(p));
                let count = i64::try_from(count.count()).unwrap_or(i64::MAX);
                *domains.entry(domain).or_default() += count;
            }
        }
        Self { constraint, itself: i64::from(matches(constraint, pod, pod)), domains }
    }
}

/// Whether a pod counts for a constraint of `of`.
fn matches(constraint: &SpreadConstraint, of: &Pod, other: &Pod) -> bool {
    let labels = &other.meta.labels;
    constraint.selector.as_ref().is_some_and(|selector| selector.matches(labels))
        && constraint
            .match_label_keys
            .iter()
            .all(|key| of.meta.label(key).is_none_or(|own| other.meta.label(key) == Some(own)))
}

fn default_spread<'a>(cache: &'a Cache, pod: &'a Pod) -> Option<ByOwner<'a>> {
    let owner = pod.meta.owner.as_ref().filter(|_| pod.needs.spread.is_empty())?;
    if !matches!(&*owner.kind, "ReplicaSet" | "StatefulSet" | "ReplicationController") {
        return None;
    }
    let mut by_owner = ByOwner { uid: &owner.uid, zones: HashMap::new(), hosts: 0 };
    for (node, info) in cache.nodes().filter(|(node, _)| node.meta.label(HOSTNAME).is_some()) {
        by_owner.hosts += 1;
        if let Some(zone) = node.meta.label(ZONE) {
            let here = info.by_owner.get(&owner.uid).copied().unwrap_or(0);
            *by_owner.zones.entry(zone).or_default() += i64::try_from(here).unwrap_or(i64::MAX);
        }
    }
    Some(by_owner)
}
