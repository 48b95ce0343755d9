//! Which volumes a pod would have on a node, and which would be provisioned.
//!
//! Upstream: `FindPodVolumes` in `pkg/scheduler/framework/plugins/volumebinding`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::controllers::scheduler::cache::Cache;
use crate::controllers::scheduler::claims::PodClaims;
use crate::controllers::scheduler::reason::{Reason, WhyNoVolume};
use crate::controllers::scheduler::stock::{Match, Wanted};
use crate::model::claim::Claim;
use crate::model::csi::CsiCapacity;
use crate::model::fit::{self, Fit, Labels, Refusals, Search};
use crate::model::node::Node;
use crate::model::object::Key;

/// What a class without a provisioner names.
pub const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// What is to be written before a pod can go to a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    pub bind: Vec<PlannedBind>,
    /// Claims that are to be provisioned for the node.
    pub provision: Vec<Key>,
}

/// A volume chosen for a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedBind {
    pub claim: Key,
    pub volume: Arc<str>,
    /// It was reserved for the claim before.
    pub reserved: bool,
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.bind.is_empty() && self.provision.is_empty()
    }
}

/// Why a node has not what the claims need.
#[derive(Debug, Clone, PartialEq)]
pub enum NotFound {
    Refused(Vec<Reason>),
    /// An error, which ends the attempt on all nodes.
    Failed(String),
}

/// The claims of one pod, prepared for many nodes.
#[derive(Debug)]
pub struct VolumeSearch<'a> {
    cache: &'a Cache,
    claims: &'a PodClaims<'a>,
    /// The delayed claims by size, smallest first, then by name.
    wanted: Vec<Wanted<'a>>,
    /// Whether refusals tell what speaks against each volume.
    thorough: bool,
}

impl<'a> VolumeSearch<'a> {
    pub fn new(cache: &'a Cache, claims: &'a PodClaims<'a>, thorough: bool) -> Self {
        let mut delayed = claims.delayed.clone();
        delayed.sort_by_key(|claim| (fit::request(claim), claim.meta.key.clone()));
        let wanted = delayed.into_iter().map(|claim| cache.stock.wanted(claim)).collect();
        Self { cache, claims, wanted, thorough }
    }

    /// What is to be bound and provisioned if the pod goes to this node.
    pub fn on(&self, node: &Node) -> Result<Plan, NotFound> {
        let mut reasons = [None, None, None, None];
        match self.why_bound_not_usable(node) {
            Some(reason @ Reason::VolumeElsewhere { .. }) => reasons[0] = Some(reason),
            other => reasons[3] = other,
        }
        let mut plan = Plan::default();
        if !self.wanted.is_empty() {
            match self.plan(node) {
                Ok(found) => plan = found,
                Err(Unplanned::Refused(reason @ Reason::NotEnoughSpace { .. })) => {
                    reasons[2] = Some(reason);
                }
                Err(Unplanned::Refused(reason)) => reasons[1] = Some(reason),
                Err(Unplanned::Failed(error)) => return Err(NotFound::Failed(error)),
            }
        }
        let reasons: Vec<Reason> = reasons.into_iter().flatten().collect();
        if reasons.is_empty() { Ok(plan) } else { Err(NotFound::Refused(reasons)) }
    }

    /// Step A: the first bound claim whose volume is missing or elsewhere.
    fn why_bound_not_usable(&self, node: &Node) -> Option<Reason> {
        self.claims.bound.iter().find_map(|claim| {
            let (name, volume) = (claim.meta.key.name.clone(), claim.volume_name.clone());
            match self.cache.stock.seen(&volume) {
                None => Some(Reason::VolumeMissing { claim: name, volume }),
                Some(row) if !fit::usable_on(row, &node.meta.labels) => {
                    Some(Reason::VolumeElsewhere { claim: name, volume })
                }
                Some(_) => None,
            }
        })
    }

    /// Step B: each delayed claim gets a volume, or one is to be provisioned.
    fn plan(&self, node: &Node) -> Result<Plan, Unplanned> {
        let mut plan = Plan::default();
        let (mut provision, mut unmatched) = (Vec::new(), Vec::new());
        for wanted in &self.wanted {
            let claim = wanted.claim();
            match self.cache.selected_node(claim) {
                Some(selected) if *selected == *node.meta.key.name => provision.push(claim),
                Some(selected) => {
                    let why = WhyNoVolume::SelectedElsewhere { node: selected.into() };
                    return Err(nothing(claim, why));
                }
                None => unmatched.push(wanted),
            }
        }
        let mut taken: Vec<Arc<str>> = Vec::new();
        let mut reserved_elsewhere = None;
        for wanted in unmatched {
            let claim = wanted.claim();
            match wanted.on(&node.meta.labels, &taken) {
                Match::Volume(volume, fit) => {
                    taken.push(volume.clone());
                    plan.bind.push(PlannedBind {
                        claim: claim.meta.key.clone(),
                        volume,
                        reserved: fit == Fit::Reserved,
                    });
                }
                Match::ReservedElsewhere => {
                    reserved_elsewhere = Some(claim);
                    provision.push(claim);
                }
                Match::Nothing => provision.push(claim),
            }
        }
        for claim in provision {
            self.why_not_provisioned(claim, node, reserved_elsewhere)?;
            plan.provision.push(claim.meta.key.clone());
        }
        Ok(plan)
    }

    /// Whether the claim can be provisioned for this node.
    fn why_not_provisioned(
        &self,
        claim: &Claim,
        node: &Node,
        reserved_elsewhere: Option<&Claim>,
    ) -> Result<(), Unplanned> {
        let key = &claim.meta.key;
        let name = claim.effective_class();
        if name.is_empty() {
            return Err(Unplanned::Failed(format!("no class for claim \"{key}\"")));
        }
        let Some(class) = self.cache.classes.get(name) else {
            return Err(Unplanned::Failed(format!("failed to find storage class \"{name}\"")));
        };
        if matches!(&*class.provisioner, "" | NO_PROVISIONER) {
            let reserved = reserved_elsewhere.is_some_and(|other| other.meta.key == *key);
            let why = if reserved {
                WhyNoVolume::ReservedElsewhere
            } else {
                WhyNoVolume::NoProvisioner { volumes: self.refusals(claim, node) }
            };
            return Err(nothing(claim, why));
        }
        if !class.admits(&node.meta.labels) {
            return Err(nothing(claim, WhyNoVolume::Topology));
        }
        if !self.has_space(claim, &class.provisioner, &node.meta.labels) {
            let asked = fit::request(claim);
            return Err(Unplanned::Refused(Reason::NotEnoughSpace {
                claim: key.name.clone(),
                asked,
            }));
        }
        Ok(())
    }

    /// Whether the driver says that it has room for the claim where the node
    /// is, or says nothing about it. What was handed out a moment ago is not
    /// counted: the driver refuses, and the claim comes back.
    fn has_space(&self, claim: &Claim, provisioner: &str, labels: Labels<'_>) -> bool {
        let asked = fit::request(claim);
        let told = self.cache.csi_drivers.get(provisioner).is_some_and(|d| d.storage_capacity);
        if asked.is_zero() || !told {
            return true;
        }
        let suffices = |capacity: &CsiCapacity| {
            let most = capacity.largest_volume.or(capacity.capacity);
            *capacity.class == *claim.effective_class()
                && most.is_some_and(|most| most >= asked)
                && capacity.nodes.as_ref().is_some_and(|nodes| nodes.matches(labels))
        };
        self.cache.capacities().any(|capacity| suffices(capacity))
    }

    fn refusals(&self, claim: &Claim, node: &Node) -> Option<Box<Refusals>> {
        self.thorough.then(|| {
            let labels = Some(&*node.meta.labels);
            let search = Search { delayed: true, node: labels, excluded: &|_| false };
            let volumes = self.cache.stock.of_class(claim.effective_class());
            let by_name: BTreeMap<_, _> =
                volumes.map(|volume| (volume.meta.key.name.clone(), volume)).collect();
            let mut refusals = Refusals::default();
            for volume in by_name.into_values() {
                refusals.count(volume, fit::why_not_fit(claim, volume, &search));
            }
            Box::new(refusals)
        })
    }
}

enum Unplanned {
    Refused(Reason),
    Failed(String),
}

fn nothing(claim: &Claim, why: WhyNoVolume) -> Unplanned {
    Unplanned::Refused(Reason::NothingToBind { claim: claim.meta.key.name.clone(), why })
}
