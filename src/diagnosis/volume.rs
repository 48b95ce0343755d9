//! A volume that does not go, or is of no use to anybody.

use super::{Finding, Standing, pod, told};
use crate::controllers::local_provisioner::discover::PROVISIONED_BY;
use crate::mirror::Tables;
use crate::model::volume::{ReclaimPolicy, Volume, VolumePhase};

/// What can be said about a volume.
pub fn find(tables: &Tables, volume: &Volume) -> Finding {
    let mut finding = Finding::default();
    if volume.meta.deleting.is_some() {
        terminating(tables, volume, &mut finding);
        return finding;
    }
    match volume.phase {
        VolumePhase::Released => released(tables, volume, &mut finding),
        VolumePhase::Failed => {
            if !told(tables, &volume.meta, &mut finding) {
                finding.says(Standing::Stuck, "what was to be done with it failed");
            }
            finding.next("see to what is on it by hand, then delete the volume");
        }
        phase => {
            let by = volume.claim_ref.as_ref().map(|by| format!(", for claim {}", by.key));
            let by = by.unwrap_or_default();
            finding.says(Standing::Fine, format!("it is {}{by}", phase.name()));
        }
    }
    finding
}

/// In the wrong order: the claim is still there, and its pods.
fn terminating(tables: &Tables, volume: &Volume, finding: &mut Finding) {
    let claim = volume.claim_ref.as_ref().and_then(|by| {
        let claim = tables.claims.get(&by.key)?;
        (by.uid == claim.meta.uid).then_some(claim)
    });
    let Some(claim) = claim.filter(|_| volume.phase == VolumePhase::Bound) else {
        let held = volume.meta.finalizers.first();
        let held = held.map_or("nobody", |finalizer| finalizer);
        return finding.says(Standing::Busy, format!("it is being deleted, held by {held}"));
    };
    let key = &claim.meta.key;
    finding.says(Standing::Stuck, format!("it is being deleted, and claim {key} is bound to it"));
    let user = tables.pods_using(key).find(|pod| pod.is_scheduled());
    if let Some(user) = user {
        let name = &user.meta.key.name;
        finding.says(Standing::Stuck, format!("pod {name} uses that claim"));
        return finding.next(format!("{}, then delete claim {key}", pod::end(user)));
    }
    finding.next(format!("delete claim {key}: the volume goes with it"));
}

fn released(tables: &Tables, volume: &Volume, finding: &mut Finding) {
    let by = volume.claim_ref.as_ref().map(|by| by.key.to_string()).unwrap_or_default();
    let is_provisioned = volume.meta.annotation(PROVISIONED_BY).is_some();
    if is_provisioned && volume.reclaim_policy == ReclaimPolicy::Delete {
        finding.says(
            Standing::Busy,
            format!("its claim {by} is gone: who made it is to wipe it and take it away"),
        );
    } else {
        let standing = match volume.reclaim_policy {
            ReclaimPolicy::Retain => Standing::Waits,
            _ => Standing::Stuck,
        };
        finding.says(standing, format!("its claim {by} is gone, and what is on it is kept"));
    }
    match &volume.reclaim_policy {
        ReclaimPolicy::Retain => finding.next(
            "save or wipe what is on it, then delete the volume, or give it to a claim (rebind)",
        ),
        ReclaimPolicy::Delete if is_provisioned => {
            if told(tables, &volume.meta, finding) {
                finding.next("mend what the message names: it is tried again");
            }
        }
        _ => {
            told(tables, &volume.meta, finding);
        }
    }
}
