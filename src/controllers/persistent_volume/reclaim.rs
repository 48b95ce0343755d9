//! What becomes of a volume whose claim is gone. Rules R0-R4.
//!
//! Upstream: `reclaimVolume`, `findDeletablePlugin`.

use serde_json::json;

use crate::controllers::events::Note;
use crate::controllers::persistent_volume::annotations::{MIGRATED_TO, PROVISIONED_BY, has};
use crate::controllers::persistent_volume::because::Because;
use crate::controllers::persistent_volume::bind::{object, patch_status};
use crate::controllers::persistent_volume::cache::Cache;
use crate::controllers::persistent_volume::provisioning::IN_TREE;
use crate::controllers::persistent_volume::verdict::{Operation, Step, Verdict, View, Wake};
use crate::model::volume::{ReclaimPolicy, Volume, VolumePhase};
use crate::model::write::Write;
use crate::plugins::plugin::{Capability, PluginFacts};

/// What to do next about a volume that is Released or Failed.
pub fn decide(view: &View<'_>, volume: &Volume) -> Verdict {
    let (name, uid) = (volume.meta.key.name.clone(), volume.meta.uid.clone());
    // R0
    if let Some(driver) = volume.meta.annotation(MIGRATED_TO).filter(|driver| !driver.is_empty()) {
        return Verdict::rest(Because::ReclaimedByDriver { driver: driver.into() }, Wake::Change);
    }
    match &volume.reclaim_policy {
        // R1
        ReclaimPolicy::Retain => Verdict::rest(Because::Retained, Wake::Change),
        // R2
        ReclaimPolicy::Recycle => {
            let run = Step::Run(Operation::Recycle { volume: name, uid });
            Verdict::new(run, Because::Recycle, Wake::Round)
        }
        // R3
        ReclaimPolicy::Delete => match deleter(view.plugins, volume) {
            Deleter::Plugin(plugin) => {
                let run = Step::Run(Operation::Delete { volume: name, uid, plugin });
                Verdict::new(run, Because::Delete { plugin }, Wake::Round)
            }
            Deleter::External => Verdict::rest(Because::DeletedByOthers, Wake::Change),
            Deleter::None(why) => {
                fail(volume, "VolumeFailedDelete", Because::NoDeleter { why: why.into() })
            }
        },
        // R4
        ReclaimPolicy::Other(policy) => {
            let because = Because::UnknownPolicy { policy: policy.clone() };
            let message = "Volume has unrecognized PersistentVolumeReclaimPolicy";
            fail_saying(volume, "VolumeUnknownReclaimPolicy", message, because)
        }
    }
}

/// -> Failed, with the cause as message and event; nothing if it is Failed
/// already, so that the first failure stays readable.
pub fn fail(volume: &Volume, reason: &'static str, because: Because) -> Verdict {
    let message = because.to_string();
    fail_saying(volume, reason, &message, because)
}

fn fail_saying(volume: &Volume, reason: &'static str, message: &str, because: Because) -> Verdict {
    if volume.phase == VolumePhase::Failed {
        return Verdict::rest(because, Wake::Round);
    }
    let status = json!({"phase": VolumePhase::Failed.name(), "message": message});
    let write: Write = patch_status(volume, status, &object(volume), "", &because);
    Verdict::write(write, because).telling(Note::warning(volume, reason, message))
}

/// Who deletes what is behind a volume.
#[derive(Debug, PartialEq, Eq)]
pub enum Deleter {
    Plugin(&'static str),
    /// Its provisioner outside deletes storage and volume.
    External,
    /// Nobody, and why.
    None(String),
}

/// The first who can delete the volume (11.5).
pub fn deleter(plugins: &[PluginFacts], volume: &Volume) -> Deleter {
    let name = &volume.meta.key.name;
    let provisioner = volume.meta.annotation(PROVISIONED_BY).filter(|value| !value.is_empty());
    if let Some(provisioner) = provisioner {
        return match plugins.iter().find(|plugin| plugin.name == provisioner) {
            Some(plugin) if plugin.can(Capability::Delete) => Deleter::Plugin(plugin.name),
            _ if !provisioner.starts_with(IN_TREE) => Deleter::External,
            Some(_) => Deleter::None("no deletable volume plugin matched".to_owned()),
            None => Deleter::None(format!("no volume plugin matched name: {provisioner}")),
        };
    }
    if has(&volume.meta, MIGRATED_TO) || &*volume.source.field == "csi" {
        return Deleter::External;
    }
    let cause = match plugins.iter().find(|plugin| plugin.supports(&volume.source)) {
        Some(plugin) if plugin.can(Capability::Delete) => return Deleter::Plugin(plugin.name),
        Some(_) => "no deletable volume plugin matched",
        None => "no volume plugin matched",
    };
    Deleter::None(format!("error getting deleter volume plugin for volume \"{name}\": {cause}"))
}

/// Whether a volume, as just read, is still without its claim (11.2).
pub fn is_without_claim(cache: &Cache, volume: &Volume) -> bool {
    let Some(by) = volume.claim_ref.as_ref().filter(|by| !by.uid.is_empty()) else {
        return false;
    };
    let same = cache.claim(&by.key).filter(|claim| claim.meta.uid == by.uid);
    same.is_none_or(|claim| {
        !claim.volume_name.is_empty() && claim.volume_name != volume.meta.key.name
    })
}
