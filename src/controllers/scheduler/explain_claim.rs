//! What a claim of a class that waits for its first consumer is waiting for,
//! from the objects alone.

use std::fmt;
use std::sync::Arc;

use crate::controllers::scheduler::claims::is_fully_bound;
use crate::controllers::scheduler::explain::{Explanation, explain};
use crate::mirror::Tables;
use crate::model::claim::Claim;
use crate::model::class::BindingMode;
use crate::model::object::Key;

/// What a delayed claim waits for.
#[derive(Debug, Clone, PartialEq)]
pub enum Awaits {
    /// No pod uses it.
    FirstConsumer,
    /// The pods that use it are held back by scheduling gates.
    Gated { pod: Arc<str> },
    /// A pod uses it and is on no node: what each node says.
    Scheduling { pod: Arc<str>, verdict: Explanation },
    /// A pod that uses it is on a node already, though it is not bound: the
    /// scheduler was passed by, and nothing will choose a volume for it.
    Bypassed { pod: Arc<str>, node: Arc<str> },
    /// Its volume is to be provisioned for a node.
    Provisioner { name: Arc<str>, node: Arc<str> },
    /// Its volume is to be provisioned for a node that does not exist: no other
    /// will do until the annotation is taken off.
    NodeGone { node: Arc<str> },
    /// A volume is reserved for it, and the volume controller has to finish.
    VolumeController { volume: Arc<str> },
}

impl fmt::Display for Awaits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FirstConsumer => f.write_str("waits for a pod; that is intended"),
            Self::Gated { pod } => write!(f, "waits for pod {pod}, which scheduling gates hold"),
            Self::Scheduling { pod, verdict } if verdict.taking() > 0 => {
                write!(f, "waits for pod {pod} to be scheduled: {}", verdict.short())
            }
            Self::Scheduling { pod, verdict } => {
                write!(f, "waits for pod {pod}, which fits nowhere: {}", verdict.short())
            }
            Self::Bypassed { pod, node } => write!(
                f,
                "pod {pod} was put on {node} past the scheduler, so no volume is chosen for it"
            ),
            Self::Provisioner { name, node } => {
                write!(f, "waits for {name} to provision it for {node}")
            }
            Self::NodeGone { node } => write!(
                f,
                "is to be provisioned for {node}, which does not exist: take off the annotation \
                 volume.kubernetes.io/selected-node"
            ),
            Self::VolumeController { volume } => {
                write!(f, "{volume} is reserved for it, the volume controller has to bind it")
            }
        }
    }
}

/// What this claim waits for; `None` if it is bound, or its class does not wait
/// for a consumer.
pub fn awaits(tables: &Tables, claim: &Claim) -> Option<Awaits> {
    let class = tables.classes.get(&Key::cluster(claim.effective_class()))?;
    let delayed = class.binding_mode == Some(BindingMode::WaitForFirstConsumer);
    if !delayed || is_fully_bound(claim) {
        return None;
    }
    let reserved = tables
        .volumes_of(&claim.meta.key)
        .find(|volume| volume.claim_ref.as_ref().is_some_and(|by| by.uid == claim.meta.uid));
    if let Some(volume) = reserved {
        return Some(Awaits::VolumeController { volume: volume.meta.key.name.clone() });
    }
    if let Some(node) = claim.meta.annotation("volume.kubernetes.io/selected-node") {
        let node: Arc<str> = node.into();
        return Some(match tables.nodes.get(&Key::cluster(node.clone())) {
            Some(_) => Awaits::Provisioner { name: class.provisioner.clone(), node },
            None => Awaits::NodeGone { node },
        });
    }
    let using = || tables.pods_using(&claim.meta.key).filter(|pod| !pod.is_terminated());
    let name = |pod: &crate::model::pod::Pod| pod.meta.key.name.clone();
    if let Some(pod) = using().find(|pod| !pod.is_scheduled() && !pod.needs.is_gated()) {
        return Some(Awaits::Scheduling { pod: name(pod), verdict: explain(tables, pod) });
    }
    if let Some(pod) = using().find(|pod| pod.is_scheduled()) {
        return Some(Awaits::Bypassed { pod: name(pod), node: pod.node.clone() });
    }
    Some(match using().next() {
        Some(pod) => Awaits::Gated { pod: name(pod) },
        None => Awaits::FirstConsumer,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::controllers::scheduler::tests::given::{
        claim, local, local_class, node, on, reserved, selected, user, with,
    };
    use crate::mirror::Mirror;
    use crate::model::class::StorageClass;
    use crate::model::node::Node;
    use crate::model::pod::Pod;
    use crate::model::row::Row;
    use crate::model::volume::Volume;

    fn said(objects: impl IntoIterator<Item = Value>) -> String {
        let mirror = Mirror::default();
        for (at, mut object) in objects.into_iter().enumerate() {
            object["metadata"]["resourceVersion"] = (at + 1).to_string().into();
            if object["metadata"]["uid"].is_null() {
                object["metadata"]["uid"] = object["metadata"]["name"].clone();
            }
            match object["kind"].as_str().unwrap_or_default() {
                "Node" => mirror.apply(Node::from_object(&object).expect("a row")),
                "Pod" => mirror.apply(Pod::from_object(&object).expect("a row")),
                "StorageClass" => mirror.apply(StorageClass::from_object(&object).expect("a row")),
                "PersistentVolume" => mirror.apply(Volume::from_object(&object).expect("a row")),
                _ => mirror.apply(Claim::from_object(&object).expect("a row")),
            }
        }
        mirror.read(|tables| {
            let claim = tables.claims.get(&Key::new("d", "data")).expect("the claim");
            awaits(tables, claim).map_or("nothing".into(), |awaits| awaits.to_string())
        })
    }

    #[test]
    fn a_delayed_claim_says_what_it_waits_for() {
        let data = || claim("data", "5Gi", "local");
        let with_claim = |claim: Value, more: Vec<Value>| {
            said([local_class(), node("n1"), node("n2"), claim].into_iter().chain(more))
        };
        let gates = json!({"spec": {"schedulingGates": [{"name": "g"}]}});
        let pod = || user("web", &["data"]);
        assert_eq!(with_claim(data(), vec![]), "waits for a pod; that is intended");
        assert_eq!(
            with_claim(data(), vec![with(pod(), gates)]),
            "waits for pod web, which scheduling gates hold"
        );
        assert_eq!(
            with_claim(data(), vec![pod(), local("pv", "1Gi", "n1")]),
            "waits for pod web, which fits nowhere: 0 of 2 nodes take it: 2 VolumeBinding"
        );
        assert_eq!(
            with_claim(data(), vec![pod(), local("pv", "9Gi", "n1")]),
            "waits for pod web to be scheduled: 1 of 2 nodes takes it: 1 VolumeBinding"
        );
        let chosen = with(pod(), json!({"status": {"nominatedNodeName": "n1"}}));
        assert_eq!(
            with_claim(data(), vec![chosen, local("pv", "9Gi", "n1")]),
            "waits for pod web to be scheduled: it goes to n1 once its volumes are bound; the \
             scheduler looks every second"
        );
        assert_eq!(
            with_claim(data(), vec![on("n1", pod())]),
            "pod web was put on n1 past the scheduler, so no volume is chosen for it"
        );
        assert_eq!(
            with_claim(selected("n2", data()), vec![]),
            "waits for kubernetes.io/no-provisioner to provision it for n2"
        );
        assert!(
            with_claim(selected("n9", data()), vec![])
                .starts_with("is to be provisioned for n9, which does not exist")
        );
        assert_eq!(
            with_claim(data(), vec![reserved("data", "uid-data", local("pv", "9Gi", "n1"))]),
            "pv is reserved for it, the volume controller has to bind it"
        );
        assert_eq!(with_claim(claim("data", "1Gi", "other"), vec![]), "nothing");
    }

    #[test]
    fn each_node_says_which_filter_refused_and_what_was_compared() {
        let mirror = Mirror::default();
        let row = |mut object: Value, version: &str| {
            object["metadata"]["resourceVersion"] = version.into();
            object["metadata"]["uid"] = version.into();
            object
        };
        mirror.apply(StorageClass::from_object(&row(local_class(), "1")).expect("a row"));
        for (at, name) in ["n1", "n2"].iter().enumerate() {
            mirror
                .apply(Node::from_object(&row(node(name), &format!("{}", at + 2))).expect("a row"));
        }
        mirror.apply(Claim::from_object(&row(claim("data", "5Gi", "local"), "4")).expect("a row"));
        mirror.apply(Volume::from_object(&row(local("pv-1", "1Gi", "n1"), "5")).expect("a row"));
        mirror.apply(Volume::from_object(&row(local("pv-2", "9Gi", "n2"), "6")).expect("a row"));
        let selector = json!({"spec": {"nodeSelector": {"kubernetes.io/hostname": "n1"}}});
        let pod = Pod::from_object(&with(user("web", &["data"]), selector)).expect("a row");
        let explained = mirror.read(|tables| explain(tables, &pod));
        let rows: Vec<String> =
            explained.nodes.iter().map(|row| format!("{}: {:?}", row.node, row.answer)).collect();
        assert_eq!(
            rows,
            [
                "n1: Refuses { by: VolumeBinding, words: [\"node(s) didn't find available \
                 persistent volumes to bind\"], details: [\"claim data: 0 of 2 fit: 1 other node, \
                 1 too small, and its class provisions none\"] }",
                "n2: Refuses { by: NodeAffinity, words: [\"node(s) didn't match Pod's node \
                 affinity/selector\"], details: [\"the pod's node selector or affinity does not \
                 admit it\"] }",
            ]
        );
    }
}
