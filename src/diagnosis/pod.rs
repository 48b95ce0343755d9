//! A pod that is on no node, or does not end.

use std::sync::Arc;

use super::{Finding, Standing, claim};
use crate::controllers::scheduler::claims::{is_fully_bound, key_of};
use crate::controllers::scheduler::explain::{Answer, Explanation, explain};
use crate::controllers::scheduler::reason::Plugin;
use crate::mirror::Tables;
use crate::model::claim::Claim;
use crate::model::class::BindingMode;
use crate::model::node::Readiness;
use crate::model::object::Key;
use crate::model::pod::{Pod, PodClaim};
use crate::model::pod_needs::DEFAULT_SCHEDULER;

/// What can be said about a pod.
pub fn find(tables: &Tables, pod: &Pod) -> Finding {
    find_with(tables, pod, None)
}

/// The same, where the scheduler's answers of each node are at hand already.
pub fn find_with(tables: &Tables, pod: &Pod, answers: Option<&Explanation>) -> Finding {
    let mut finding = Finding::default();
    if pod.meta.deleting.is_some() {
        terminating(tables, pod, &mut finding);
    } else if pod.is_scheduled() {
        on_a_node(tables, pod, &mut finding);
    } else if !matches!(&*pod.phase, "Succeeded" | "Failed") {
        unplaced(tables, pod, answers, &mut finding);
    }
    if finding.facts.is_empty() {
        let phase = if pod.phase.is_empty() { "Pending" } else { &pod.phase };
        finding.says(Standing::Fine, format!("it is {phase}"));
    }
    finding
}

/// What ends a pod for good: one that is owned comes back when it is deleted.
pub fn end(pod: &Pod) -> String {
    let name = &pod.meta.key.name;
    match &pod.meta.owner {
        Some(owner) if matches!(&*owner.kind, "StatefulSet" | "ReplicaSet") => {
            let kind = if &*owner.kind == "ReplicaSet" { "its Deployment" } else { "its set" };
            format!("scale {kind} down so that pod {name} ends: deleted, it would come back")
        }
        Some(_) | None => format!("end pod {name}"),
    }
}

fn terminating(tables: &Tables, pod: &Pod, finding: &mut Finding) {
    let node = tables.nodes.get(&Key::cluster(pod.node.clone()));
    match node.map(|node| (node, node.ready)) {
        Some((_, Readiness::Ready)) => {
            finding.says(Standing::Busy, format!("{} is ending it", pod.node));
        }
        Some((node, _)) => {
            finding.says(
                Standing::Stuck,
                format!("it is being deleted, and nobody on {} can end it", pod.node),
            );
            let taint = "node.kubernetes.io/out-of-service:NoExecute";
            if node.taints.iter().all(|taint| !taint.key.ends_with("/out-of-service")) {
                finding.next(format!(
                    "if the machine {} is really off, taint the node {taint}: its pods go and \
                     its volumes are detached",
                    pod.node
                ));
            }
        }
        None => finding.says(Standing::Busy, "it is being deleted, and waits to be collected"),
    }
}

fn on_a_node(tables: &Tables, pod: &Pod, finding: &mut Finding) {
    let node = tables.nodes.get(&Key::cluster(pod.node.clone()));
    match node.map(|node| node.ready) {
        None => {
            finding.says(Standing::Stuck, format!("its node {} does not exist any more", pod.node));
        }
        Some(Readiness::Ready) => {
            let names = |used: &&PodClaim| tables.claims.get(&key_of(pod, used)).is_none();
            if &*pod.phase != "Running" && pod.claims.iter().any(|used| names(&used)) {
                missing(tables, pod, finding);
            } else if &*pod.phase == "Pending" {
                super::told(tables, &pod.meta, finding);
            }
        }
        Some(_) => finding.says(
            Standing::Stuck,
            format!("its node {} is not Ready; it leaves when its tolerations end", pod.node),
        ),
    }
}

/// Kubernetes' words first, then what is behind them.
fn unplaced(tables: &Tables, pod: &Pod, answers: Option<&Explanation>, finding: &mut Finding) {
    if let Some(why) = &pod.unscheduled {
        finding.says(Standing::Stuck, why.message.to_string());
    }
    if pod.needs.is_gated() {
        let (gates, them) = match &*pod.needs.gates {
            [gate] => (format!("gate {gate}"), "it"),
            gates => (format!("gates {}", gates.join(", ")), "them"),
        };
        finding.says(
            Standing::Stuck,
            format!("no node is asked before its scheduling {gates} is gone"),
        );
        return finding.next(format!("whoever set the scheduling {gates} has to take {them} off"));
    }
    if missing(tables, pod, finding) || unbound(tables, pod, finding) {
        return;
    }
    let scheduler = &pod.needs.scheduler;
    if **scheduler != *DEFAULT_SCHEDULER && pod.unscheduled.is_none() {
        finding.says(Standing::Stuck, format!("scheduler {scheduler} has said nothing of it"));
        return finding.next(format!(
            "start scheduler {scheduler}, or make the pod anew with another schedulerName"
        ));
    }
    let found;
    let explanation = match answers {
        Some(answers) => answers,
        None => {
            found = explain(tables, pod);
            &found
        }
    };
    if explanation.taking() > 0 {
        finding.says(Standing::Busy, "a node takes it");
        return;
    }
    if pod.unscheduled.is_none() {
        finding.says(Standing::Stuck, explanation.short());
    }
    if let Some(step) = make_room(explanation) {
        finding.next(step);
    }
}

/// Claims that are not there; a namesake elsewhere is told of.
fn missing(tables: &Tables, pod: &Pod, finding: &mut Finding) -> bool {
    let absent = |used: &&PodClaim| tables.claims.get(&key_of(pod, used)).is_none();
    let Some(used) = pod.claims.iter().find(absent) else { return false };
    let (claim, here) = (&used.claim, &pod.meta.key.namespace);
    let namesake = tables.claims.iter().find(|other| other.meta.key.name == *claim);
    match namesake {
        Some(other) => {
            let there = &other.meta.key.namespace;
            finding.says(
                Standing::Stuck,
                format!(
                    "claim {claim} is in {there}: a pod finds claims of its own namespace only"
                ),
            );
            finding.next(format!("create claim {claim} in {here}, and delete the one in {there}"));
        }
        None if used.ephemeral => {
            finding.says(Standing::Stuck, format!("claim {claim} has not been made for it yet"));
            super::told(tables, &pod.meta, finding);
        }
        None => {
            finding.says(Standing::Stuck, format!("claim {claim} does not exist in {here}"));
            finding.next(format!("create claim {claim} in {here}"));
        }
    }
    true
}

/// A claim that has to be bound before any node is asked, or that is not the
/// pod's.
fn unbound(tables: &Tables, pod: &Pod, finding: &mut Finding) -> bool {
    for used in &pod.claims {
        let Some(claim) = tables.claims.get(&key_of(pod, used)) else { continue };
        let name = &claim.meta.key.name;
        let is_owned = claim.meta.owner.as_ref().is_some_and(|owner| owner.uid == pod.meta.uid);
        if used.ephemeral && !is_owned {
            finding.says(Standing::Stuck, format!("claim {name} was not made for it"));
            finding.next(format!(
                "delete or rename claim {name} if nobody needs it, or rename the pod"
            ));
            return true;
        }
        if claim.meta.deleting.is_some() {
            finding.says(Standing::Stuck, format!("claim {name} is being deleted"));
            finding.next(claim::find(tables, claim).next.unwrap_or_default());
            return true;
        }
        if !is_fully_bound(claim) && !is_delayed(tables, claim) {
            let found = claim::find(tables, claim);
            let facts = found.facts.into_iter();
            for fact in facts {
                finding.says(fact.standing, format!("claim {name}: {}", fact.text));
            }
            if let Some(step) = found.next {
                finding.next(step);
            }
            return true;
        }
    }
    false
}

fn is_delayed(tables: &Tables, claim: &Arc<Claim>) -> bool {
    let class = tables.classes.get(&Key::cluster(claim.effective_class()));
    class.is_some_and(|class| class.binding_mode == Some(BindingMode::WaitForFirstConsumer))
}

/// What would let a node take it: by the filter that refused on the most nodes,
/// of equals the one that is asked last, since there the pod came furthest.
fn make_room(explanation: &Explanation) -> Option<String> {
    let refused = |plugin: Plugin| {
        let by = explanation.nodes.iter();
        by.filter(|row| matches!(row.answer, Answer::Refuses { by, .. } if by == plugin)).count()
    };
    let plugin = Plugin::ALL.into_iter().filter(|plugin| refused(*plugin) > 0);
    let plugin = plugin.max_by_key(|plugin| (refused(*plugin), *plugin))?;
    let step = match plugin {
        Plugin::NodeUnschedulable => "uncordon a node",
        Plugin::TaintToleration => "let the pod tolerate the taint, or take it off a node",
        Plugin::NodeAffinity => {
            "label a node so that it matches, or correct the pod's node selector or affinity"
        }
        Plugin::NodePorts => "free the port on a node, or ask for another",
        Plugin::NodeResourcesFit => "make room on a node, or ask for less",
        Plugin::VolumeRestrictions => {
            "end the pod that has the claim: ReadWriteOncePod lets in one at a time"
        }
        Plugin::NodeVolumeLimits => "take a pod with volumes off a node: it can attach no more",
        Plugin::VolumeBinding => {
            "add a volume on a node that the pod may use, or let it go where its volumes are"
        }
        Plugin::VolumeZone => "let the pod go to the zone of its volumes",
        Plugin::PodTopologySpread => "add nodes, or loosen the pod's topology spread",
        Plugin::InterPodAffinity => "loosen the pod's affinity to other pods",
    };
    Some(step.to_owned())
}
