//! A claim that is not bound, or does not go.

use std::sync::Arc;

use super::{Finding, Standing, pod};
use crate::controllers::persistent_volume::because::Because;
use crate::controllers::persistent_volume::explain::{Explanation, calls_for_explanation, explain};
use crate::mirror::Tables;
use crate::model::claim::Claim;
use crate::model::object::Key;
use crate::plugins::kinds::CONTROLLER_PLUGINS;

/// What can be said about a claim. Looks at every volume if it is not bound.
pub fn find(tables: &Tables, claim: &Arc<Claim>) -> Finding {
    let mut finding = Finding::default();
    if claim.meta.deleting.is_none() && calls_for_explanation(claim) {
        let explanation = explain(tables, &CONTROLLER_PLUGINS, claim);
        let intended = matches!(explanation.because, Because::WaitsForConsumer { .. });
        let standing = if intended { Standing::Waits } else { Standing::Stuck };
        finding.says(standing, explanation.because.to_string());
        finding.next = next_step(tables, claim, Some(&explanation));
        return finding;
    }
    match claim.meta.deleting {
        Some(_) => finding.says(Standing::Stuck, "it is being deleted"),
        None => finding.says(Standing::Fine, format!("it is bound to {}", claim.volume_name)),
    }
    finding.next = next_step(tables, claim, None);
    finding
}

/// What a person can do for a claim; `None` if it goes on by itself, or has
/// arrived. `explanation` is that of a claim which is not bound.
pub fn next_step(
    tables: &Tables,
    claim: &Claim,
    explanation: Option<&Explanation>,
) -> Option<String> {
    if claim.meta.deleting.is_some() {
        return Some(let_go(tables, claim));
    }
    let volume_for = || {
        let size = claim.request.map_or_else(|| "some size".into(), |size| size.to_string());
        let class = match claim.effective_class() {
            "" => "without a class".to_owned(),
            class => format!("of class {class}"),
        };
        format!("create a volume of at least {size}, {}, {class}", claim.access_modes)
    };
    let anew = "make the claim anew: what it asks for cannot be changed";
    match &explanation?.because {
        Because::NoVolumeNoClass => {
            Some(format!("{}, or mark a class as the default", volume_for()))
        }
        Because::ClassMissing { class } => {
            Some(format!("{}, or a class {class} that provisions one", volume_for()))
        }
        Because::NoProvisioner { .. } | Because::ProvisioningOff => {
            Some(format!("{}: nobody provisions for its class", volume_for()))
        }
        Because::External { provisioner } if tables.csi_nodes_count(provisioner) == 0 => Some(
            format!("install the driver {provisioner}, or claim a class that has one ({anew})"),
        ),
        Because::WaitsForConsumer { .. } => {
            Some("create a pod that uses it: until then Pending is as intended".into())
        }
        Because::WaitsForPods { pods, .. } => pods.iter().find_map(|name| {
            let key = Key { namespace: claim.meta.key.namespace.clone(), name: name.clone() };
            pod::find(tables, tables.pods.get(&key)?).next
        }),
        Because::NoBindingMode { class } => {
            Some(format!("make class {class} anew with a volumeBindingMode"))
        }
        Because::NamedUnsuitable { volume, .. } => {
            Some(format!("correct volume {volume}, or {anew}"))
        }
        Because::NamedMissing { volume } => Some(format!("create volume {volume}, or {anew}")),
        Because::NamedTaken { volume, .. } | Because::Misbound { volume, .. } => {
            Some(format!("name another volume than {volume}: {anew}"))
        }
        Because::LostName | Because::LostVolume { .. } => Some(
            "restore the volume's object, its claimRef with the claim's uid, if its data is still \
             there; else delete the claim"
                .into(),
        ),
        // The controller, or a provisioner that is there, goes on by itself; the
        // rest is told of volumes only.
        _ => None,
    }
}

/// What lets a claim go that is being deleted.
fn let_go(tables: &Tables, claim: &Claim) -> String {
    // One that is on no node does not hold it.
    let mut users = tables.pods_using(&claim.meta.key).filter(|pod| pod.is_scheduled());
    match users.next() {
        Some(user) => pod::end(user),
        None => match claim.meta.finalizers.first() {
            Some(finalizer) => format!("whoever set the finalizer {finalizer} has to take it off"),
            None => "wait a moment".into(),
        },
    }
}
