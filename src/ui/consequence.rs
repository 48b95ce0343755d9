//! What deleting something does to others: who uses it, what the reclaim
//! policy makes of the volume, and whether data is lost.

use crate::mirror::Tables;
use crate::model::claim::Claim;
use crate::model::kind;
use crate::model::object::{Key, Meta};
use crate::model::row::Row;
use crate::model::volume::{ReclaimPolicy, Volume, VolumePhase};
use crate::ui::sign::Sign;
use crate::ui::target::Target;

/// What a deletion leads to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Consequence {
    pub lines: Vec<(Sign, String)>,
    /// Data goes with it: the name has to be typed.
    pub loses_data: bool,
}

/// What follows from deleting this object, as far as the mirror knows.
pub fn of_deleting(target: &Target, tables: &Tables) -> Consequence {
    let mut found = Consequence::default();
    if let Some(claim) = tables.claims.by_uid(&target.uid) {
        of_claim(claim, tables, &mut found);
    } else if let Some(volume) = tables.volumes.by_uid(&target.uid) {
        of_volume(volume, tables, &mut found);
    } else if let Some(pod) = tables.pods.by_uid(&target.uid) {
        for claim in &pod.claims {
            found.says(Sign::Ok, format!("claim {} stays", claim.claim));
        }
        owner(&pod.meta, &mut found);
    } else if tables.classes.by_uid(&target.uid).is_some() {
        of_class(target, tables, &mut found);
    } else if target.kind == kind::NODE {
        found.says(Sign::Fault, "volumes attached there stay so until someone detaches them");
    } else {
        found.says(Sign::Unknown, format!("what depends on a {} is not known here", target.kind));
    }
    found
}

impl Consequence {
    fn says(&mut self, sign: Sign, text: impl Into<String>) {
        self.lines.push((sign, text.into()));
    }
}

fn of_claim(claim: &Claim, tables: &Tables, found: &mut Consequence) {
    let pods: Vec<_> = tables.pods_using(&claim.meta.key).collect();
    for pod in pods.iter().take(3) {
        // What does not run yet does not hold the claim back.
        if !pod.is_scheduled() || pod.is_terminated() {
            let name = &pod.meta.key.name;
            found.says(Sign::Busy, format!("pod {name} names it, and does not run"));
            continue;
        }
        found.says(
            Sign::Fault,
            format!("pod {} uses it: it stays until that ends", pod.meta.key.name),
        );
    }
    if pods.len() > 3 {
        found.says(Sign::Fault, format!("and {} more pods use it", pods.len() - 3));
    }
    if pods.is_empty() {
        found.says(Sign::Ok, "no pod uses it");
    }
    owner(&claim.meta, found);
    let volume = tables.volumes.get(&Key::cluster(claim.volume_name.clone()));
    let held = volume
        .filter(|volume| volume.claim_ref.as_ref().is_some_and(|by| *by.uid == *claim.meta.uid));
    match held {
        Some(volume) => reclaim(volume, found),
        None => found.says(Sign::Ok, "no volume is bound to it: no data is lost"),
    }
}

fn reclaim(volume: &Volume, found: &mut Consequence) {
    let name = &volume.meta.key.name;
    let size = volume.capacity.map_or_else(|| "?".into(), |size| size.to_string());
    match &volume.reclaim_policy {
        ReclaimPolicy::Retain => {
            found.says(
                Sign::Ok,
                format!("volume {name} is kept, Released, with its {size} of data"),
            );
        }
        ReclaimPolicy::Delete => {
            found.loses_data = true;
            found.says(Sign::Lost, format!("volume {name} is destroyed (policy Delete)"));
            found.says(Sign::Lost, format!("LOST: the {size} of data on it"));
        }
        ReclaimPolicy::Recycle => {
            found.loses_data = true;
            found.says(Sign::Lost, format!("volume {name} is scrubbed (policy Recycle)"));
            found.says(Sign::Lost, format!("LOST: the {size} of data on it"));
        }
        ReclaimPolicy::Other(policy) => {
            found.loses_data = true;
            found.says(Sign::Unknown, format!("volume {name} has the unknown policy {policy}"));
        }
    }
}

fn of_volume(volume: &Volume, tables: &Tables, found: &mut Consequence) {
    let claim = volume.claim_ref.as_ref().and_then(|by| tables.claims.get(&by.key));
    match (volume.phase, claim) {
        (VolumePhase::Bound, Some(claim)) => {
            found.says(
                Sign::Fault,
                format!("bound to claim {}: it stays until that is gone", claim.meta.key),
            );
            for pod in tables.pods_using(&claim.meta.key).take(3) {
                found.says(Sign::Fault, format!("pod {} uses that claim", pod.meta.key.name));
            }
            if !matches!(volume.reclaim_policy, ReclaimPolicy::Retain) {
                reclaim(volume, found);
            }
        }
        (VolumePhase::Released | VolumePhase::Failed, _) => {
            found.says(Sign::Fault, "its data is of an earlier claim, and may still be wanted");
            found.loses_data = true;
        }
        _ => found.says(Sign::Ok, "no claim is bound to it"),
    }
    if matches!(volume.reclaim_policy, ReclaimPolicy::Retain) {
        found.says(Sign::Ok, "the storage behind it is not touched, only this object goes");
    }
}

fn of_class(target: &Target, tables: &Tables, found: &mut Consequence) {
    let name = target.name.as_str();
    let waiting = tables
        .claims
        .iter()
        .filter(|claim| claim.effective_class() == name && claim.volume_name.is_empty())
        .count();
    let text = format!("{waiting} unbound claims ask for it and will wait in vain");
    found.says(if waiting > 0 { Sign::Fault } else { Sign::Ok }, text);
    found.says(Sign::Ok, "bound claims and their volumes stay as they are");
}

fn owner(meta: &Meta, found: &mut Consequence) {
    if let Some(owner) = &meta.owner {
        let text = format!("{} {} owns it and may make it anew", owner.kind, owner.name);
        found.says(Sign::Busy, text);
    }
}

/// What has to be typed to confirm: nothing where no data is lost.
pub fn must_type(targets: &[Target], tables: &Tables) -> Option<String> {
    let loses = targets.iter().any(|target| of_deleting(target, tables).loses_data);
    match targets {
        _ if !loses => None,
        [target] => Some(target.name.clone()),
        targets => Some(format!("delete {}", targets.len())),
    }
}

/// The row's kind word and what identifies it, for titles: kind, name, size.
pub fn title(target: &Target, tables: &Tables) -> String {
    let size = tables
        .claims
        .by_uid(&target.uid)
        .and_then(|claim| claim.capacity.or(claim.request))
        .or_else(|| tables.volumes.by_uid(&target.uid).and_then(|volume| volume.capacity));
    let kind = match target.kind {
        kind if kind == Claim::KIND => "claim",
        kind if kind == Volume::KIND => "volume",
        kind => kind.singular,
    };
    match size {
        Some(size) => format!("{kind} {} ({size})", target.key()),
        None => format!("{kind} {}", target.key()),
    }
}
