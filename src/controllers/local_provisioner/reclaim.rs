//! What is done about a volume of this provisioner once its claim is gone.

use super::config::Config;
use crate::model::node::Node;
use crate::model::volume::{ReclaimPolicy, Volume, VolumePhase};

use super::discover::{HOSTNAME, PROVISIONED_BY, provisioner_name};

/// How the cleaning of a volume stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cleaning {
    Running,
    Failed { why: String },
    Succeeded,
}

/// The next thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reclaim {
    Nothing,
    /// A Warning: reason and message.
    Warn(&'static str, String),
    /// Clean, after a Warning if the last time failed.
    Clean {
        failed: Option<String>,
    },
    /// Nothing is left on it: delete the volume's object.
    Delete,
}

/// Whether a volume was made by this node's provisioner. Volumes made by hand
/// are nobody's.
pub fn is_mine(volume: &Volume, node: &Node, config: &Config) -> bool {
    let Some(by) = volume.meta.annotation(PROVISIONED_BY) else { return false };
    let name = provisioner_name(node, config);
    // With the bare name also those of an earlier node of that name.
    let earlier = config.by_node_name_only
        && by.starts_with(&format!("{name}-"))
        && volume.meta.label(HOSTNAME) == Some(&node.meta.key.name);
    by == name || earlier
}

/// Judges a volume of this provisioner.
pub fn reclaim(volume: &Volume, config: &Config, cleaning: Option<&Cleaning>) -> Reclaim {
    if volume.phase != VolumePhase::Released || volume.meta.deleting.is_some() {
        return Reclaim::Nothing;
    }
    match &volume.reclaim_policy {
        ReclaimPolicy::Retain => return Reclaim::Nothing,
        ReclaimPolicy::Delete => {}
        ReclaimPolicy::Recycle => {
            return Reclaim::Warn(
                "VolumeUnsupportedReclaimPolicy",
                "Volume has unsupported PersistentVolumeReclaimPolicy: Recycle".into(),
            );
        }
        ReclaimPolicy::Other(_) => {
            return Reclaim::Warn(
                "VolumeUnknownReclaimPolicy",
                "Volume has unrecognized PersistentVolumeReclaimPolicy".into(),
            );
        }
    }
    if !config.classes.contains_key(&*volume.class) {
        let why = format!("Unknown storage class name {}", volume.class);
        return Reclaim::Warn(FAILED, failed_message(volume, &why));
    }
    match cleaning {
        None => Reclaim::Clean { failed: None },
        Some(Cleaning::Failed { why }) => {
            Reclaim::Clean { failed: Some(failed_message(volume, why)) }
        }
        Some(Cleaning::Running) => Reclaim::Nothing,
        Some(Cleaning::Succeeded) => Reclaim::Delete,
    }
}

/// The reason of all Warnings about cleaning.
pub const FAILED: &str = "VolumeFailedDelete";

/// What a Warning says about a volume that cannot be cleaned.
pub fn failed_message(volume: &Volume, why: &str) -> String {
    format!("Error cleaning PV \"{}\": {why}", volume.meta.key.name)
}

/// Whether a path lies below a directory: compared part by part, so that
/// `/mnt/disks2` is not below `/mnt/disks`.
pub fn is_below(path: &str, directory: &str) -> bool {
    let rest = path.strip_prefix(directory.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.starts_with('/') && !rest.split('/').any(|part| part == ".."))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::controllers::local_provisioner::config::ClassConfig;
    use crate::model::row::Row;

    fn volume(phase: &str, policy: &str, class: &str, going: bool) -> Volume {
        let deleted = going.then_some("2026-01-01T00:00:00Z");
        let object = json!({
            "metadata": {"name": "pv", "deletionTimestamp": deleted},
            "spec": {"persistentVolumeReclaimPolicy": policy, "storageClassName": class},
            "status": {"phase": phase},
        });
        Volume::from_object(&object).expect("a volume")
    }

    #[test]
    fn only_released_volumes_are_cleaned_and_deleted_once_clean() {
        let mut config = Config::default();
        config.classes.insert("fast".into(), ClassConfig::at("/mnt"));
        let failed = Cleaning::Failed { why: "no".into() };
        let clean = |failed: Option<&str>| Reclaim::Clean { failed: failed.map(str::to_owned) };
        for (volume, cleaning, expected) in [
            (volume("Bound", "Delete", "fast", false), None, Reclaim::Nothing),
            (volume("Released", "Delete", "fast", true), None, Reclaim::Nothing),
            (volume("Released", "Retain", "fast", false), None, Reclaim::Nothing),
            (
                volume("Released", "Recycle", "fast", false),
                None,
                Reclaim::Warn(
                    "VolumeUnsupportedReclaimPolicy",
                    "Volume has unsupported PersistentVolumeReclaimPolicy: Recycle".into(),
                ),
            ),
            (
                volume("Released", "Delete", "slow", false),
                None,
                Reclaim::Warn(
                    FAILED,
                    "Error cleaning PV \"pv\": Unknown storage class name slow".into(),
                ),
            ),
            (volume("Released", "Delete", "fast", false), None, clean(None)),
            (
                volume("Released", "Delete", "fast", false),
                Some(Cleaning::Running),
                Reclaim::Nothing,
            ),
            (
                volume("Released", "Delete", "fast", false),
                Some(failed),
                clean(Some("Error cleaning PV \"pv\": no")),
            ),
            (
                volume("Released", "Delete", "fast", false),
                Some(Cleaning::Succeeded),
                Reclaim::Delete,
            ),
        ] {
            assert_eq!(reclaim(&volume, &config, cleaning.as_ref()), expected, "{volume:?}");
        }
    }

    #[test]
    fn a_path_is_below_a_directory_part_by_part() {
        for (path, below) in [
            ("/mnt/disks/a", true),
            ("/mnt/disks2/a", false),
            ("/mnt/disks", false),
            ("/mnt/disks/../etc", false),
        ] {
            assert_eq!(is_below(path, "/mnt/disks"), below, "{path}");
        }
    }
}
