//! Which pods nobody else will ever delete.

use crate::model::pod::Pod;

/// Ended pods kept before the oldest go.
pub const ENDED_MAX: usize = 12_500;

/// Why a pod is collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// There are too many that have ended.
    Ended,
    /// It is terminating on a node that is out of service.
    OutOfService,
    /// Its node does not exist any more.
    Orphaned,
    /// It is terminating and was never on a node.
    Unscheduled,
}

/// The node a pod is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// There is none of that name, for long enough.
    Gone,
    /// There is, and its kubelet will take care of its pods. Also one that was
    /// missed only just now.
    There,
    /// Not Ready, and marked by hand as never to come back.
    OutOfService,
}

/// Why a pod is to be collected, if it is; those that are too many are chosen
/// elsewhere. `node` is that of its `spec.nodeName`.
pub fn cause(pod: &Pod, node: NodeState) -> Option<Cause> {
    let terminating = pod.meta.deleting.is_some();
    match (pod.is_scheduled(), node) {
        (false, _) => terminating.then_some(Cause::Unscheduled),
        (true, NodeState::OutOfService) => terminating.then_some(Cause::OutOfService),
        (true, NodeState::Gone) => Some(Cause::Orphaned),
        (true, NodeState::There) => None,
    }
}

impl Cause {
    /// The condition that tells it on the pod: reason and message.
    pub fn condition(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Orphaned => Some(("DeletionByPodGC", "PodGC: node no longer exists")),
            Self::Ended | Self::OutOfService | Self::Unscheduled => None,
        }
    }

    /// Why, for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Ended => "too many pods have ended",
            Self::OutOfService => "its node is out of service: nobody there will end it",
            Self::Orphaned => "its node no longer exists",
            Self::Unscheduled => "it is being deleted and was never on a node",
        }
    }
}

/// The ended pods that are too many: evicted ones first, then the oldest.
pub fn too_many<'a>(ended: impl Iterator<Item = &'a Pod>, most: usize) -> Vec<&'a Pod> {
    let mut ended: Vec<&Pod> = ended.collect();
    let surplus = ended.len().saturating_sub(most);
    if surplus > 0 {
        let evicted = |pod: &Pod| pod.reason.as_deref() == Some("Evicted");
        ended.sort_by_key(|pod| (!evicted(pod), pod.meta.created, pod.meta.key.clone()));
    }
    ended.truncate(surplus);
    ended
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::row::Row;

    fn pod(name: &str, change: Value) -> Pod {
        let mut object = json!({"metadata": {"name": name, "namespace": "n"}});
        json_patch::merge(&mut object, &change);
        Pod::from_object(&object).expect("a pod")
    }

    #[test]
    fn only_what_nobody_else_deletes_is_collected() {
        let on_node = json!({"spec": {"nodeName": "node-1"}});
        let going = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
        let mut going_on_node = on_node.clone();
        json_patch::merge(&mut going_on_node, &going);
        use NodeState::{Gone, OutOfService, There};
        for (change, node, expected) in [
            (json!({}), Gone, None),
            (going, Gone, Some(Cause::Unscheduled)),
            (on_node.clone(), There, None),
            (on_node.clone(), Gone, Some(Cause::Orphaned)),
            (on_node, OutOfService, None),
            (going_on_node.clone(), OutOfService, Some(Cause::OutOfService)),
            (going_on_node, There, None),
        ] {
            assert_eq!(cause(&pod("p", change.clone()), node), expected, "{change} {node:?}");
        }
    }

    #[test]
    fn evicted_pods_go_before_older_ones() {
        let made = |at: &str, reason: &str| json!({"metadata": {"creationTimestamp": at}, "status": {"reason": reason}});
        let pods = [
            pod("old", made("2026-01-01T00:00:00Z", "")),
            pod("older", made("2025-01-01T00:00:00Z", "")),
            pod("evicted", made("2026-06-01T00:00:00Z", "Evicted")),
        ];
        let names = |most| -> Vec<String> {
            let gone = too_many(pods.iter(), most);
            gone.iter().map(|pod| pod.meta.key.name.to_string()).collect()
        };
        assert_eq!(names(3), Vec::<String>::new());
        assert_eq!(names(1), ["evicted", "older"]);
    }
}
