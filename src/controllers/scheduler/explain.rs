//! Why a pod is where it is, or nowhere: the decision's own answers, node by
//! node, for people.
//!
//! Works from the mirror alone, so also on a cluster whose scheduler runs
//! elsewhere. Looks at every node, and at the volumes of the pod's classes.

use std::fmt;
use std::sync::Arc;

use crate::controllers::scheduler::cache::Cache;
use crate::controllers::scheduler::claims::{Stop, key_of};
use crate::controllers::scheduler::decide::{OnNode, on_every_node};
use crate::controllers::scheduler::find::Plan;
use crate::controllers::scheduler::reason::{Plugin, Whole};
use crate::mirror::Tables;
use crate::model::object::Key;
use crate::model::pod::{Pod, PodClaim};
use crate::model::pod_needs::GATED;

/// What can be said about where a pod may go.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// Why no node is looked at.
    pub stopped: Option<Stopped>,
    /// A row for each node, by name; empty if none is looked at.
    pub nodes: Vec<NodeRow>,
    /// The node it goes to, if one is chosen.
    pub chosen: Option<Chosen>,
}

/// What ends an attempt before any node is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// The plugin, by its name; empty for one that no plugin stopped.
    pub by: &'static str,
    /// In Kubernetes' words.
    pub words: String,
    /// The claims that it is about, of the pod's own.
    pub claims: Vec<Arc<str>>,
}

/// The verdict on one node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeRow {
    pub node: Arc<str>,
    pub answer: Answer,
}

/// What a node says.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It takes the pod, with these volumes; the highest score is chosen.
    Takes { score: i64, plan: Plan },
    /// Which filter said no, in Kubernetes' words and in ours.
    Refuses { by: Plugin, words: Vec<String>, details: Vec<String> },
}

/// The node that a pod goes to, and until when it waits.
#[derive(Debug, Clone, PartialEq)]
pub enum Chosen {
    /// Until its volumes are bound.
    UntilBound(Arc<str>),
    /// Until pods of lower priority have gone from there.
    UntilThereIsRoom(Arc<str>),
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UntilBound(node) => write!(
                f,
                "it goes to {node} once its volumes are bound; the scheduler looks every second"
            ),
            Self::UntilThereIsRoom(node) => {
                write!(f, "it goes to {node} once pods of lower priority have gone from there")
            }
        }
    }
}

impl Explanation {
    /// How many nodes take the pod.
    pub fn taking(&self) -> usize {
        self.nodes.iter().filter(|row| matches!(row.answer, Answer::Takes { .. })).count()
    }

    /// In a line: `0 of 3 nodes take it: 2 VolumeBinding, 1 NodeAffinity`.
    pub fn short(&self) -> String {
        if let Some(chosen) = &self.chosen {
            return chosen.to_string();
        }
        if let Some(stopped) = &self.stopped {
            return stopped.words.clone();
        }
        let mut counts: Vec<(usize, Plugin)> = Vec::new();
        for row in &self.nodes {
            if let Answer::Refuses { by, .. } = row.answer {
                match counts.iter_mut().find(|(_, plugin)| *plugin == by) {
                    Some((count, _)) => *count += 1,
                    None => counts.push((1, by)),
                }
            }
        }
        counts.sort_by_key(|(count, plugin)| (std::cmp::Reverse(*count), *plugin));
        let counts: Vec<String> =
            counts.iter().map(|(count, plugin)| format!("{count} {}", plugin.name())).collect();
        let (taking, all) = (self.taking(), self.nodes.len());
        let nodes = if taking == 1 { "takes" } else { "take" };
        if counts.is_empty() {
            return format!("{taking} of {all} nodes {nodes} it");
        }
        format!("{taking} of {all} nodes {nodes} it: {}", counts.join(", "))
    }
}

/// Explains a pod that is on no node.
pub fn explain(tables: &Tables, pod: &Pod) -> Explanation {
    let chosen = chosen(tables, pod);
    let answers = match gated(pod) {
        Some(stopped) => Err(stopped),
        None => on_every_node(&surroundings(tables, pod), pod)
            .map_err(|stop| why_stopped(stop, tables, pod)),
    };
    match answers {
        Ok(nodes) => {
            let nodes = nodes.into_iter().map(row).collect();
            Explanation { stopped: None, nodes, chosen }
        }
        Err(stopped) => Explanation { stopped: Some(stopped), nodes: Vec::new(), chosen },
    }
}

fn chosen(tables: &Tables, pod: &Pod) -> Option<Chosen> {
    if pod.nominated_node.is_empty() || pod.is_scheduled() {
        return None;
    }
    let node = pod.nominated_node.clone();
    let goes = |other: &Arc<Pod>| other.preempted && other.node == node;
    let room_is_made = tables.pods.iter().any(goes);
    Some(if room_is_made { Chosen::UntilThereIsRoom(node) } else { Chosen::UntilBound(node) })
}

/// A pod with gates does not come into the queue (upstream: PreEnqueue).
fn gated(pod: &Pod) -> Option<Stopped> {
    let holds = pod.needs.is_gated() && !pod.is_scheduled();
    holds.then(|| Stopped { by: "SchedulingGates", words: GATED.to_owned(), claims: Vec::new() })
}

fn why_stopped(stop: Stop, tables: &Tables, pod: &Pod) -> Stopped {
    match stop {
        Stop::Refused(whole) => Stopped {
            by: whole.plugin().name(),
            words: whole.to_string(),
            claims: claims_of(&whole, tables, pod),
        },
        Stop::Failed(words) => Stopped { by: "", words, claims: Vec::new() },
    }
}

/// The pod's claims that a refusal is about.
fn claims_of(whole: &Whole, tables: &Tables, pod: &Pod) -> Vec<Arc<str>> {
    match whole {
        Whole::ClaimMissing { claim }
        | Whole::EphemeralMissing { claim }
        | Whole::ClaimLost { claim, .. }
        | Whole::ClaimDeleting { claim } => vec![claim.clone()],
        Whole::NotOwner { claim, .. } => vec![claim.name.clone()],
        Whole::UnboundImmediate { claims } => claims.clone(),
        Whole::VolumeMissing { volume } => {
            let names_it = |used: &&PodClaim| {
                let claim = tables.claims.get(&key_of(pod, used));
                claim.is_some_and(|claim| claim.volume_name == *volume)
            };
            pod.claims.iter().filter(names_it).map(|used| used.claim.clone()).collect()
        }
        Whole::NamesConflict => Vec::new(),
    }
}

fn row(on: OnNode) -> NodeRow {
    let answer = match on.answer {
        Ok(fits) => Answer::Takes { score: fits.score, plan: fits.plan },
        Err(refusal) => {
            let mut details: Vec<String> =
                refusal.reasons.iter().map(|reason| reason.details()).collect();
            if let Some(first) = on.in_the_way.first() {
                let (count, name) = (on.in_the_way.len(), &first.meta.key);
                details.push(format!(
                    "it would take it without its pods of lower priority, {count} such as {name}"
                ));
            }
            Answer::Refuses {
                by: refusal.plugin,
                words: refusal.reasons.iter().map(ToString::to_string).collect(),
                details,
            }
        }
    };
    NodeRow { node: on.node, answer }
}

/// What a decision about this pod looks at.
fn surroundings(tables: &Tables, pod: &Pod) -> Cache {
    let mut cache = Cache::default();
    for row in tables.nodes.iter() {
        cache.put_node(&row.meta.key.name, Some(row.clone()));
    }
    for row in tables.pods.iter().filter(|row| row.is_scheduled() && row.meta.key != pod.meta.key) {
        cache.put_pod(&row.meta.key, Some(row.clone()));
    }
    for row in tables.classes.iter() {
        cache.put_class(&row.meta.key.name, Some(row.clone()));
    }
    for row in tables.csi_nodes.iter() {
        cache.put_csi_node(&row.meta.key.name, Some(row.clone()));
    }
    for row in tables.csi_drivers.iter() {
        cache.put_csi_driver(&row.meta.key.name, Some(row.clone()));
    }
    for row in tables.csi_capacities.iter() {
        cache.put_capacity(&row.meta.key, Some(row.clone()));
    }
    for row in tables.namespaces.iter() {
        cache.put_namespace(&row.meta.key.name, Some(row.clone()));
    }
    put_claims_and_volumes(&mut cache, tables, pod);
    cache
}

/// The pod's claims with the volumes they have or may get, and the claims and
/// volumes of pods on nodes where a driver has a limit.
fn put_claims_and_volumes(cache: &mut Cache, tables: &Tables, pod: &Pod) {
    let limits = tables.csi_nodes.iter();
    let limited = limits.flat_map(|node| &node.drivers).any(|d| d.attach_limit.is_some());
    let mut classes: Vec<Arc<str>> = Vec::new();
    let others = tables.pods.iter().filter(|other| limited && other.is_scheduled());
    for (own, pod) in others.map(|other| (false, &**other)).chain([(true, pod)]) {
        for used in &pod.claims {
            let key = key_of(pod, used);
            let Some(claim) = tables.claims.get(&key) else { continue };
            cache.put_claim(&key, Some(claim.clone()));
            let volume = tables.volumes.get(&Key::cluster(claim.volume_name.clone()));
            if let Some(volume) = volume {
                cache.put_volume(&volume.meta.key.name, Some(volume.clone()));
            } else if own {
                classes.push(claim.class.clone().unwrap_or_default());
            }
        }
    }
    for row in tables.volumes.iter().filter(|row| classes.contains(&row.class)) {
        cache.put_volume(&row.meta.key.name, Some(row.clone()));
    }
    if limited {
        for row in tables.attachments.iter() {
            cache.put_attachment(&row.meta.key, Some(row.clone()));
            if let Some(volume) = tables.volumes.get(&Key::cluster(row.volume.clone())) {
                cache.put_volume(&volume.meta.key.name, Some(volume.clone()));
            }
        }
    }
}
