//! NodeUnschedulable, TaintToleration and NodePorts.

use crate::controllers::scheduler::cache::NodeInfo;
use crate::controllers::scheduler::reason::Reason;
use crate::model::node::{Node, Taint};
use crate::model::pod::Pod;

/// The taint that stands for a cordon.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// A cordon keeps out who does not tolerate its taint.
pub fn why_not_schedulable(pod: &Pod, node: &Node) -> Result<(), Reason> {
    if !node.unschedulable {
        return Ok(());
    }
    let cordon = Taint { key: UNSCHEDULABLE.into(), value: "".into(), effect: "NoSchedule".into() };
    match pod.needs.untolerated([&cordon]) {
        Some(_) => Err(Reason::Cordoned),
        None => Ok(()),
    }
}

/// The first taint that keeps the pod away.
pub fn why_not_tolerated(pod: &Pod, node: &Node) -> Result<(), Reason> {
    match pod.needs.untolerated(&node.taints) {
        Some(taint) => Err(Reason::Taint(taint.clone())),
        None => Ok(()),
    }
}

/// The first port of the node that another pod has.
pub fn why_no_ports(pod: &Pod, info: &NodeInfo) -> Result<(), Reason> {
    if pod.needs.host_ports.is_empty() {
        return Ok(());
    }
    let held = || info.particular_pods().flat_map(|other| &other.needs.host_ports);
    let wanted = &pod.needs.host_ports;
    match wanted.iter().find(|port| held().any(|held| held.conflicts(port))) {
        Some(port) => Err(Reason::Port { port: port.port }),
        None => Ok(()),
    }
}
