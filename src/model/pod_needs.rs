//! What a pod asks of the node it is to run on.
//!
//! Upstream: `PodSpec`, and `resourcehelper.PodRequests` for its resources.

use std::sync::Arc;

use serde_json::Value;

use crate::model::node::Taint;
use crate::model::resources::Resources;
use crate::model::row;
use crate::model::selector::{LabelSelector, NodeSelector, Term};

/// Who schedules pods that name nobody.
pub const DEFAULT_SCHEDULER: &str = "default-scheduler";

/// The API server's words in the condition of a pod with scheduling gates.
pub const GATED: &str = "Scheduling is blocked due to non-empty scheduling gates";

/// What scheduling looks at in a pod's `spec`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodNeeds {
    /// `spec.schedulerName`.
    pub scheduler: Arc<str>,
    pub priority: i32,
    /// Whether `spec.preemptionPolicy` is not `Never`.
    pub may_preempt: bool,
    /// `spec.schedulingGates`, by name: any of them holds it back.
    pub gates: Box<[Arc<str>]>,
    /// `spec.nodeSelector`, sorted by key.
    pub node_selector: Box<[(Arc<str>, Arc<str>)]>,
    /// The required node affinity.
    pub node_affinity: Option<NodeSelector>,
    /// The preferred node affinity: weight and term.
    pub preferred_nodes: Box<[(i64, Term)]>,
    pub tolerations: Box<[Toleration]>,
    pub requests: Resources,
    /// The requests with 100m of processor and 200Mi of memory for each
    /// container that asks for none: only scoring takes these.
    pub usual_requests: Resources,
    pub host_ports: Box<[HostPort]>,
    /// Terms on other pods; `None` without any, as most pods are.
    pub neighbours: Option<Box<Neighbours>>,
    pub spread: Box<[SpreadConstraint]>,
    /// Inline disks that two pods of a node may not share.
    pub disks: Box<[InlineDisk]>,
}

/// `spec.tolerations[]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toleration {
    /// Empty with [`TolerationOperator::Exists`]: every taint.
    pub key: Arc<str>,
    pub operator: TolerationOperator,
    pub value: Arc<str>,
    /// Empty: every effect.
    pub effect: Arc<str>,
    /// `tolerationSeconds`: how long it holds against `NoExecute`.
    pub seconds: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TolerationOperator {
    Equal,
    Exists,
    /// Tolerates nothing.
    Unknown,
}

impl Toleration {
    /// Whether it tolerates this taint (upstream: `Toleration.ToleratesTaint`).
    pub fn tolerates(&self, taint: &Taint) -> bool {
        if !self.effect.is_empty() && self.effect != taint.effect {
            return false;
        }
        if !self.key.is_empty() && self.key != taint.key {
            return false;
        }
        match self.operator {
            TolerationOperator::Exists => true,
            TolerationOperator::Equal => !self.key.is_empty() && self.value == taint.value,
            TolerationOperator::Unknown => false,
        }
    }
}

/// A port of the node that a container wants for itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Empty and `0.0.0.0` mean every address.
    pub address: Arc<str>,
    pub protocol: Arc<str>,
    pub port: i64,
}

impl HostPort {
    /// Whether both cannot be had on one node.
    pub fn conflicts(&self, other: &Self) -> bool {
        let every = |address: &str| matches!(address, "" | "0.0.0.0");
        self.port == other.port
            && self.protocol == other.protocol
            && (every(&self.address) || every(&other.address) || self.address == other.address)
    }
}

/// Inter-pod affinity and anti-affinity.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Neighbours {
    pub required: Box<[PodTerm]>,
    pub required_apart: Box<[PodTerm]>,
    /// Weight and term; a negative weight is a preference to be apart.
    pub preferred: Box<[(i64, PodTerm)]>,
}

/// One term of inter-pod affinity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodTerm {
    /// `None` selects no pod.
    pub selector: Option<LabelSelector>,
    /// Without these and without a namespace selector: the pod's own.
    pub namespaces: Box<[Arc<str>]>,
    pub namespace_selector: Option<LabelSelector>,
    pub topology_key: Arc<str>,
}

/// `spec.topologySpreadConstraints[]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpreadConstraint {
    pub max_skew: i64,
    pub topology_key: Arc<str>,
    /// `DoNotSchedule`, not `ScheduleAnyway`.
    pub required: bool,
    pub selector: Option<LabelSelector>,
    pub min_domains: i64,
    /// Whether only nodes that the pod's selector and affinity admit count.
    pub honor_affinity: bool,
    /// Whether nodes with taints it does not tolerate are left out.
    pub honor_taints: bool,
    /// Labels whose values are the pod's own.
    pub match_label_keys: Box<[Arc<str>]>,
}

/// A disk named in the pod itself that only one pod of a node may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InlineDisk {
    Gce { name: Arc<str>, read_only: bool },
    Aws { id: Arc<str> },
    Iscsi { iqn: Arc<str>, read_only: bool },
    Rbd { monitors: Box<[Arc<str>]>, pool: Arc<str>, image: Arc<str>, read_only: bool },
}

impl InlineDisk {
    /// Whether two pods on one node cannot both have theirs (upstream:
    /// `isVolumeConflict` of the plugin VolumeRestrictions).
    pub fn conflicts(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Gce { name: a, read_only: ra }, Self::Gce { name: b, read_only: rb }) => {
                a == b && !(*ra && *rb)
            }
            (Self::Aws { id: a }, Self::Aws { id: b }) => a == b,
            (Self::Iscsi { iqn: a, read_only: ra }, Self::Iscsi { iqn: b, read_only: rb }) => {
                a == b && !(*ra && *rb)
            }
            (
                Self::Rbd { monitors: ma, pool: pa, image: ia, read_only: ra },
                Self::Rbd { monitors: mb, pool: pb, image: ib, read_only: rb },
            ) => {
                let overlap = ma.iter().any(|monitor| mb.contains(monitor));
                overlap && pa == pb && ia == ib && !(*ra && *rb)
            }
            (Self::Gce { .. } | Self::Aws { .. } | Self::Iscsi { .. } | Self::Rbd { .. }, _) => {
                false
            }
        }
    }
}

impl PodNeeds {
    /// Whether a scheduling gate holds the pod back.
    pub fn is_gated(&self) -> bool {
        !self.gates.is_empty()
    }

    /// Reads them from a pod's `spec`, which may be incomplete.
    pub fn from_spec(spec: &Value) -> Self {
        let affinity = &spec["affinity"];
        let node = &affinity["nodeAffinity"];
        Self {
            scheduler: spec["schedulerName"].as_str().unwrap_or(DEFAULT_SCHEDULER).into(),
            priority: spec["priority"].as_i64().and_then(|p| p.try_into().ok()).unwrap_or(0),
            may_preempt: spec["preemptionPolicy"] != "Never",
            gates: list(&spec["schedulingGates"]).map(|gate| row::text(&gate["name"])).collect(),
            node_selector: row::pairs(&spec["nodeSelector"], |_| true),
            node_affinity: NodeSelector::from_json(
                &node["requiredDuringSchedulingIgnoredDuringExecution"],
            ),
            preferred_nodes: list(&node["preferredDuringSchedulingIgnoredDuringExecution"])
                .map(|entry| (weight(entry), Term::from_json(&entry["preference"])))
                .collect(),
            tolerations: list(&spec["tolerations"]).map(toleration).collect(),
            requests: Resources::of_pod(spec, &Resources::default()),
            usual_requests: Resources::of_pod(spec, &Resources::USUAL),
            host_ports: host_ports(spec),
            neighbours: neighbours(affinity).map(Box::new),
            spread: list(&spec["topologySpreadConstraints"]).map(spread).collect(),
            disks: list(&spec["volumes"]).filter_map(disk).collect(),
        }
    }

    /// The first taint that none of its tolerations covers, of those that keep
    /// pods away.
    pub fn untolerated<'a>(
        &self,
        taints: impl IntoIterator<Item = &'a Taint>,
    ) -> Option<&'a Taint> {
        taints.into_iter().find(|taint| {
            matches!(&*taint.effect, "NoSchedule" | "NoExecute")
                && !self.tolerations.iter().any(|toleration| toleration.tolerates(taint))
        })
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn weight(entry: &Value) -> i64 {
    entry["weight"].as_i64().unwrap_or(0)
}

fn toleration(entry: &Value) -> Toleration {
    Toleration {
        key: row::text(&entry["key"]),
        operator: match entry["operator"].as_str().unwrap_or_default() {
            "" | "Equal" => TolerationOperator::Equal,
            "Exists" => TolerationOperator::Exists,
            _ => TolerationOperator::Unknown,
        },
        value: row::text(&entry["value"]),
        effect: row::text(&entry["effect"]),
        seconds: entry["tolerationSeconds"].as_i64(),
    }
}

fn host_ports(spec: &Value) -> Box<[HostPort]> {
    // Of init containers only those that go on beside the others count.
    let beside = list(&spec["initContainers"]).filter(|c| c["restartPolicy"] == "Always");
    let ports = list(&spec["containers"]).chain(beside).flat_map(|c| list(&c["ports"]));
    let wanted = ports.filter_map(|port| {
        let number = port["hostPort"].as_i64().filter(|number| *number > 0)?;
        Some(HostPort {
            address: row::text(&port["hostIP"]),
            protocol: port["protocol"].as_str().unwrap_or("TCP").into(),
            port: number,
        })
    });
    wanted.collect()
}

fn neighbours(affinity: &Value) -> Option<Neighbours> {
    let (together, apart) = (&affinity["podAffinity"], &affinity["podAntiAffinity"]);
    let required = |side: &Value| {
        list(&side["requiredDuringSchedulingIgnoredDuringExecution"]).map(pod_term).collect()
    };
    let preferred = |side: &Value, sign: i64| -> Vec<(i64, PodTerm)> {
        list(&side["preferredDuringSchedulingIgnoredDuringExecution"])
            .map(|entry| (sign * weight(entry), pod_term(&entry["podAffinityTerm"])))
            .collect()
    };
    let neighbours = Neighbours {
        required: required(together),
        required_apart: required(apart),
        preferred: preferred(together, 1).into_iter().chain(preferred(apart, -1)).collect(),
    };
    (neighbours != Neighbours::default()).then_some(neighbours)
}

fn pod_term(term: &Value) -> PodTerm {
    PodTerm {
        selector: LabelSelector::from_json(&term["labelSelector"]),
        namespaces: row::strings(&term["namespaces"]),
        namespace_selector: LabelSelector::from_json(&term["namespaceSelector"]),
        topology_key: row::text(&term["topologyKey"]),
    }
}

fn spread(entry: &Value) -> SpreadConstraint {
    SpreadConstraint {
        max_skew: entry["maxSkew"].as_i64().unwrap_or(1),
        topology_key: row::text(&entry["topologyKey"]),
        required: entry["whenUnsatisfiable"] != "ScheduleAnyway",
        selector: LabelSelector::from_json(&entry["labelSelector"]),
        min_domains: entry["minDomains"].as_i64().unwrap_or(1),
        honor_affinity: entry["nodeAffinityPolicy"] != "Ignore",
        honor_taints: entry["nodeTaintsPolicy"] == "Honor",
        match_label_keys: row::strings(&entry["matchLabelKeys"]),
    }
}

fn disk(volume: &Value) -> Option<InlineDisk> {
    let read_only = |source: &Value| source["readOnly"].as_bool().unwrap_or(false);
    if let gce @ Value::Object(_) = &volume["gcePersistentDisk"] {
        return Some(InlineDisk::Gce {
            name: row::text(&gce["pdName"]),
            read_only: read_only(gce),
        });
    }
    if let aws @ Value::Object(_) = &volume["awsElasticBlockStore"] {
        return Some(InlineDisk::Aws { id: row::text(&aws["volumeID"]) });
    }
    if let iscsi @ Value::Object(_) = &volume["iscsi"] {
        let iqn = row::text(&iscsi["iqn"]);
        return Some(InlineDisk::Iscsi { iqn, read_only: read_only(iscsi) });
    }
    if let rbd @ Value::Object(_) = &volume["rbd"] {
        return Some(InlineDisk::Rbd {
            monitors: row::strings(&rbd["monitors"]),
            pool: rbd["pool"].as_str().unwrap_or("rbd").into(),
            image: row::text(&rbd["image"]),
            read_only: read_only(rbd),
        });
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn taint(key: &str, value: &str, effect: &str) -> Taint {
        Taint { key: key.into(), value: value.into(), effect: effect.into() }
    }

    #[test]
    fn tolerations_cover_taints_as_kubernetes_says() {
        let dedicated = taint("dedicated", "db", "NoSchedule");
        for (toleration, covers) in [
            (json!({"operator": "Exists"}), true),
            (json!({"key": "dedicated", "operator": "Exists"}), true),
            (json!({"key": "dedicated", "value": "db"}), true),
            (
                json!({"key": "dedicated", "operator": "Equal", "value": "db", "effect": "NoSchedule"}),
                true,
            ),
            (json!({"key": "dedicated", "value": "web"}), false),
            (json!({"key": "dedicated", "operator": "Exists", "effect": "NoExecute"}), false),
            (json!({"key": "other", "operator": "Exists"}), false),
            (json!({"value": "db"}), false),
            (json!({"key": "dedicated", "operator": "Like", "value": "db"}), false),
        ] {
            let needs = PodNeeds::from_spec(&json!({"tolerations": [toleration]}));
            assert_eq!(needs.untolerated([&dedicated]).is_none(), covers, "{toleration}");
        }
        let needs = PodNeeds::from_spec(&json!({}));
        assert_eq!(needs.untolerated([&taint("a", "", "PreferNoSchedule")]), None);
        assert!(needs.untolerated([&taint("a", "", "NoExecute")]).is_some());
    }

    #[test]
    fn ports_conflict_on_one_address_or_on_every() {
        let port = |address: &str, protocol: &str, port| HostPort {
            address: address.into(),
            protocol: protocol.into(),
            port,
        };
        let one = port("10.0.0.1", "TCP", 80);
        assert!(one.conflicts(&port("", "TCP", 80)));
        assert!(one.conflicts(&port("0.0.0.0", "TCP", 80)));
        assert!(one.conflicts(&one));
        assert!(!one.conflicts(&port("10.0.0.2", "TCP", 80)));
        assert!(!one.conflicts(&port("", "UDP", 80)));
        assert!(!one.conflicts(&port("", "TCP", 81)));
    }

    #[test]
    fn disks_conflict_unless_both_sides_only_read() {
        let disk = |volume: Value| disk(&volume).expect("a disk");
        let gce = |ro: bool| disk(json!({"gcePersistentDisk": {"pdName": "d", "readOnly": ro}}));
        assert!(gce(false).conflicts(&gce(true)) && !gce(true).conflicts(&gce(true)));
        let aws = disk(json!({"awsElasticBlockStore": {"volumeID": "v", "readOnly": true}}));
        assert!(aws.conflicts(&aws), "Amazon's disks are never shared");
        let rbd = |monitor: &str, image: &str| {
            disk(json!({"rbd": {"monitors": [monitor, "m9"], "image": image}}))
        };
        assert!(rbd("m1", "i").conflicts(&rbd("m2", "i")), "one monitor in common suffices");
        assert!(!rbd("m1", "i").conflicts(&rbd("m1", "j")));
        assert!(!aws.conflicts(&gce(false)));
    }
}
