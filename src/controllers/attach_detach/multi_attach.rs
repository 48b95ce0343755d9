//! What pods are told whose volume another node has.

use std::sync::Arc;

use crate::controllers::attach_detach::actual::ActualState;
use crate::controllers::attach_detach::desired::DesiredState;
use crate::model::object::Key;

/// Reason of the Warning.
pub const FAILED_ATTACH: &str = "FailedAttachVolume";

/// For each pod (uid and key) that wants the volume on `node`, the message.
/// Names of pods are only told within their namespace.
pub fn refusals(
    desired: &DesiredState,
    actual: &ActualState,
    unique_name: &Arc<str>,
    node: &Arc<str>,
) -> Vec<(Arc<str>, Key, String)> {
    let Some(wanted) = desired.get(node, unique_name) else { return Vec::new() };
    let holders = actual.nodes_of(unique_name).filter(|(_, pair)| pair.confirmed);
    let others = holders.map(|(other, _)| other).filter(|other| *other != node);
    let users: Vec<&Key> = others
        .filter_map(|other| desired.get(other, unique_name))
        .flat_map(|wanted| wanted.pods.values())
        .collect();
    let name = &wanted.volume.name;
    let told = wanted.pods.iter().map(|(uid, pod)| {
        let message = format!("Multi-Attach error for volume \"{name}\" {}", used_by(&users, pod));
        (uid.clone(), pod.clone(), message)
    });
    told.collect()
}

fn used_by(users: &[&Key], told: &Key) -> String {
    if users.is_empty() {
        let text = "Volume is already exclusively attached to one node and can't be attached to \
                    another";
        return text.to_owned();
    }
    let near = users.iter().filter(|user| user.namespace == told.namespace);
    let mut near: Vec<&str> = near.map(|user| &*user.name).collect();
    near.sort_unstable();
    let far = users.len() - near.len();
    let far_pods = format!("{far} pod(s) in different namespaces");
    match (near.is_empty(), far) {
        (true, _) => format!("Volume is already used by {far_pods}"),
        (false, 0) => format!("Volume is already used by pod(s) {}", near.join(", ")),
        (false, _) => {
            format!("Volume is already used by pod(s) {} and {far_pods}", near.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_pods_are_told_in_their_own_namespace_only() {
        let (a, b, far) = (Key::new("shop", "b"), Key::new("shop", "a"), Key::new("bank", "c"));
        let told = Key::new("shop", "d");
        for (users, expected) in [
            (
                vec![],
                "Volume is already exclusively attached to one node and can't be attached to another",
            ),
            (vec![&a, &b], "Volume is already used by pod(s) a, b"),
            (
                vec![&a, &far, &b],
                "Volume is already used by pod(s) a, b and 1 pod(s) in different namespaces",
            ),
            (vec![&far], "Volume is already used by 1 pod(s) in different namespaces"),
        ] {
            assert_eq!(used_by(&users, &told), expected);
        }
    }
}
