//! The writes of placing a pod, as values.

use serde_json::{Value, json};

use crate::controllers::persistent_volume::bind::refer;
use crate::controllers::scheduler::decide::Placement;
use crate::controllers::scheduler::preemption::Victims;
use crate::model::claim::Claim;
use crate::model::kind;
use crate::model::object::ObjectRef;
use crate::model::pod::{PREEMPTED, Pod, Unscheduled};
use crate::model::pod_needs::DEFAULT_SCHEDULER;
use crate::model::volume::Volume;
use crate::model::write::{Change, Reason, Write};

/// The pod a row stands for.
pub fn pod_ref(pod: &Pod) -> ObjectRef {
    ObjectRef::new(kind::POD, pod.meta.key.clone())
}

/// Names the chosen node before the volumes are written.
pub fn nominate(pod: &Pod, placement: &Placement) -> Option<Write> {
    if pod.nominated_node == placement.node {
        return None;
    }
    let text = format!("it will go to {}: {}", placement.node, placement.because);
    Some(status(pod, json!({"nominatedNodeName": &*placement.node}), Reason::new("nominate", text)))
}

/// Reserves a volume for a claim; `None` if it is.
pub fn reserve(
    pod: &Pod,
    placement: &Placement,
    volume: &Volume,
    claim: &Claim,
    was_reserved: bool,
) -> Option<Write> {
    let change = refer(volume, claim)?;
    let (name, node) = (&volume.meta.key.name, &placement.node);
    let size = volume.capacity.map(|size| format!(" ({size})")).unwrap_or_default();
    let which = if was_reserved { "is reserved for" } else { "is the smallest there that fits" };
    let text = format!(
        "pod {} goes to {node}, and {name}{size} {which} its claim {}",
        pod.meta.key.name, claim.meta.key.name
    );
    Some(Write {
        object: ObjectRef::new(kind::PERSISTENT_VOLUME, volume.meta.key.clone()),
        subresource: None,
        change: Change::Merge(change),
        version: Some(volume.meta.version),
        on_behalf_of: pod_ref(pod),
        reason: Reason::new("reserve", text),
    })
}

/// Asks for a claim to be provisioned where the pod goes; `None` if it is.
pub fn select_node(pod: &Pod, placement: &Placement, claim: &Claim) -> Option<Write> {
    const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
    let node = &placement.node;
    if claim.meta.annotation(SELECTED_NODE) == Some(node) {
        return None;
    }
    let text = format!(
        "pod {} goes to {node}, and a volume is to be provisioned for it there",
        pod.meta.key.name
    );
    Some(Write {
        object: ObjectRef::new(kind::PERSISTENT_VOLUME_CLAIM, claim.meta.key.clone()),
        subresource: None,
        change: Change::Merge(json!({"metadata": {"annotations": {SELECTED_NODE: &**node}}})),
        version: Some(claim.meta.version),
        on_behalf_of: pod_ref(pod),
        reason: Reason::new("select-node", text),
    })
}

/// Puts the pod on its node.
pub fn binding(pod: &Pod, placement: &Placement) -> Write {
    let because = match (&placement.plan, &placement.because) {
        (plan, because) if plan.is_empty() => because.to_string(),
        (_, because) => format!("its claims are bound; {because}"),
    };
    Write {
        object: pod_ref(pod),
        subresource: Some("binding"),
        change: Change::Create(json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {
                "name": &*pod.meta.key.name,
                "namespace": &*pod.meta.key.namespace,
                "uid": &*pod.meta.uid,
            },
            "target": {"kind": "Node", "name": &*placement.node},
        })),
        version: None,
        on_behalf_of: pod_ref(pod),
        reason: Reason::new("bind", format!("to {}: {because}", placement.node)),
    }
}

/// Says on the pod why it is on no node, and where room is made for it, if
/// anywhere; `None` if it says so. `since` is the time of a condition that was not
/// False before.
pub fn unscheduled(pod: &Pod, why: &Unscheduled, nominated: &str, since: &str) -> Option<Write> {
    let mut change = json!({});
    if *pod.nominated_node != *nominated {
        change["nominatedNodeName"] =
            if nominated.is_empty() { Value::Null } else { nominated.into() };
    }
    if pod.unscheduled.as_deref() != Some(why) {
        let mut condition = json!({
            "type": "PodScheduled", "status": "False",
            "reason": &*why.reason, "message": &*why.message,
            "lastProbeTime": null,
        });
        if let Some(generation) = pod.generation {
            condition["observedGeneration"] = generation.into();
        }
        if pod.unscheduled.is_none() {
            condition["lastTransitionTime"] = since.into();
        }
        change["conditions"] = json!([condition]);
    }
    let nothing = change.as_object().is_none_or(serde_json::Map::is_empty);
    let rule = match &*why.reason {
        "Unschedulable" => "refuse",
        _ => "fail",
    };
    (!nothing).then(|| status(pod, change, Reason::new(rule, &*why.message)))
}

/// Says on a pod that it goes for another; `None` if it says so.
pub fn mark_preempted(by: &Pod, victim: &Pod, of: &Victims, since: &str) -> Option<Write> {
    if victim.preempted {
        return None;
    }
    let mut condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": PREEMPTED,
        "message": format!("{DEFAULT_SCHEDULER}: preempting to accommodate a higher priority pod"),
        "lastTransitionTime": since,
    });
    if let Some(generation) = victim.generation {
        condition["observedGeneration"] = generation.into();
    }
    let text = format!("it makes room for pod {}: {of} go", by.meta.key);
    let mut write =
        status(victim, json!({"conditions": [condition]}), Reason::new("preempt", text));
    write.on_behalf_of = pod_ref(by);
    Some(write)
}

/// Deletes a pod that makes room for another.
pub fn evict(by: &Pod, victim: &Pod, of: &Victims) -> Write {
    let (own, its) = (by.needs.priority, victim.needs.priority);
    let text = format!(
        "pod {} of priority {own} finds room nowhere; {of} make it, this one of priority {its}",
        by.meta.key
    );
    Write {
        object: pod_ref(victim),
        subresource: None,
        change: Change::Delete(json!({"preconditions": {"uid": &*victim.meta.uid}})),
        version: None,
        on_behalf_of: pod_ref(by),
        reason: Reason::new("preempt", text),
    }
}

/// A patch of the pod's status. It names the pod by uid, not by version: its
/// fields are the scheduler's own, and what others write does not matter.
fn status(pod: &Pod, status: Value, reason: Reason) -> Write {
    Write {
        object: pod_ref(pod),
        subresource: Some("status"),
        change: Change::Strategic(json!({
            "metadata": {"uid": &*pod.meta.uid}, "status": status,
        })),
        version: None,
        on_behalf_of: pod_ref(pod),
        reason,
    }
}
