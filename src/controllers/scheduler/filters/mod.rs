//! What speaks against a node, plugin after plugin: the first that refuses
//! gives the node's reasons.
//!
//! Each plugin is a pure function of the prepared [`Cycle`] and a node.

mod affinity;
mod limits;
mod neighbours;
mod node;
mod resources;
mod restrictions;
mod spread;
mod zone;

pub use affinity::admits as admitted;

use std::collections::BTreeSet;
use std::sync::Arc;

use self::restrictions::Restrictions;
use crate::controllers::scheduler::cache::{Cache, NodeInfo};
use crate::controllers::scheduler::claims::{PodClaims, Stop};
use crate::controllers::scheduler::find::{NotFound, Plan, VolumeSearch};
use crate::controllers::scheduler::reason::{NodeRefusal, Plugin, Reason};
use crate::model::node::Node;
use crate::model::pod::Pod;

/// Everything about a pod that is the same for all nodes, worked out once.
#[derive(Debug)]
pub struct Cycle<'a> {
    pub cache: &'a Cache,
    pub pod: &'a Pod,
    pub claims: &'a PodClaims<'a>,
    volumes: VolumeSearch<'a>,
    /// The only nodes that the pod's affinity names, if it names any.
    only: Option<BTreeSet<Arc<str>>>,
    restrictions: Restrictions,
    limits: limits::NewVolumes<'a>,
    zones: Vec<zone::Zoned<'a>>,
    spread: spread::Spread<'a>,
    neighbours: neighbours::Neighbourhood<'a>,
}

/// What came of one node.
#[derive(Debug, Clone, PartialEq)]
pub enum NoNode {
    Refused(NodeRefusal),
    /// An error of a plugin: it ends the attempt.
    Failed(String),
}

impl<'a> Cycle<'a> {
    /// Prepares the filters; `thorough` for an explanation rather than a
    /// decision.
    pub fn new(
        cache: &'a Cache,
        pod: &'a Pod,
        claims: &'a PodClaims<'a>,
        thorough: bool,
    ) -> Result<Self, Stop> {
        Ok(Self {
            cache,
            pod,
            claims,
            volumes: VolumeSearch::new(cache, claims, thorough),
            only: affinity::named_nodes(pod).map_err(Stop::Refused)?,
            restrictions: Restrictions::new(cache, pod),
            limits: limits::NewVolumes::new(cache, pod),
            zones: zone::zoned(cache, claims),
            spread: spread::Spread::new(cache, pod),
            neighbours: neighbours::Neighbourhood::new(cache, pod),
        })
    }

    /// Whether the pod can go to this node, and what is to be written then.
    ///
    /// Room that is being made for pods of no less priority is theirs, and they
    /// may not come after all: the pod has to fit with them and without.
    pub fn filter(&self, node: &Node, info: &NodeInfo) -> Result<Plan, NoNode> {
        self.filter_given(node, info, &self.restrictions)
    }

    /// The same as if these pods were gone from the node: what preemption
    /// tries.
    pub fn filter_without(
        &self,
        node: &Node,
        info: &NodeInfo,
        gone: &[Arc<Pod>],
    ) -> Result<Plan, NoNode> {
        let mut left = info.clone();
        gone.iter().for_each(|pod| drop(left.remove(&pod.meta.key)));
        self.filter_given(node, &left, &self.restrictions.without(gone))
    }

    /// Whether the pod has to be near this one, so that its going cannot help.
    pub fn is_wanted_near(&self, other: &Pod) -> bool {
        neighbours::is_wanted_near(self.cache, self.pod, other)
    }

    fn filter_given(
        &self,
        node: &Node,
        info: &NodeInfo,
        restrictions: &Restrictions,
    ) -> Result<Plan, NoNode> {
        if let Some(fuller) = self.cache.with_nominated(self.pod, node, info) {
            self.filter_alone(node, &fuller, restrictions)?;
        }
        self.filter_alone(node, info, restrictions)
    }

    fn filter_alone(
        &self,
        node: &Node,
        info: &NodeInfo,
        restrictions: &Restrictions,
    ) -> Result<Plan, NoNode> {
        if self.only.as_ref().is_some_and(|only| !only.contains(&node.meta.key.name)) {
            return refuse(Plugin::NodeAffinity, vec![Reason::NotNamed]);
        }
        let one = |plugin, answer: Result<(), Reason>| {
            answer.map_err(|reason| NoNode::Refused(NodeRefusal { plugin, reasons: vec![reason] }))
        };
        one(Plugin::NodeUnschedulable, node::why_not_schedulable(self.pod, node))?;
        one(Plugin::TaintToleration, node::why_not_tolerated(self.pod, node))?;
        one(Plugin::NodeAffinity, affinity::why_not_admitted(self.pod, node))?;
        one(Plugin::NodePorts, node::why_no_ports(self.pod, info))?;
        let short = resources::why_not_enough(self.pod, node, info);
        if !short.is_empty() {
            return refuse(Plugin::NodeResourcesFit, short);
        }
        one(Plugin::VolumeRestrictions, restrictions.why_not(self.pod, info))?;
        one(Plugin::NodeVolumeLimits, self.limits.why_not(self.cache, node, info))?;
        let plan = self.volumes.on(node).map_err(|answer| match answer {
            NotFound::Refused(reasons) => {
                NoNode::Refused(NodeRefusal { plugin: Plugin::VolumeBinding, reasons })
            }
            NotFound::Failed(error) => {
                NoNode::Failed(format!("running \"VolumeBinding\" filter plugin: {error}"))
            }
        })?;
        one(Plugin::VolumeZone, zone::why_not_in(&self.zones, node))?;
        one(Plugin::PodTopologySpread, self.spread.why_not(node))?;
        one(Plugin::InterPodAffinity, self.neighbours.why_not(node))?;
        Ok(plan)
    }

    /// How much the spread of the pod's kind speaks for a node, raw.
    pub fn spread_score(&self, node: &Node, info: &NodeInfo) -> Option<f64> {
        self.spread.score(node, info)
    }

    /// How much the pods there speak for a node, raw.
    pub fn neighbour_score(&self, node: &Node) -> i64 {
        self.neighbours.score(node)
    }
}

fn refuse<T>(plugin: Plugin, reasons: Vec<Reason>) -> Result<T, NoNode> {
    Err(NoNode::Refused(NodeRefusal { plugin, reasons }))
}
