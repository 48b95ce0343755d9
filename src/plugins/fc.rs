//! `kubernetes.io/fc`, for display: what would be looked for and run is shown,
//! never executed. Attaching is a formality.

use std::sync::Arc;

use futures::future::{FutureExt, ready};

use crate::model::volume_source::{FibreChannel, VolumeSource, VolumeSpec};
use crate::plugins::error::PluginError;
use crate::plugins::host::Host;
use crate::plugins::kinds;
use crate::plugins::plugin::{Done, FoundVolume, NodeVolume, PluginFacts, Published, VolumePlugin};
use crate::plugins::shown::{self, only_shown, show};
use crate::plugins::steps;

/// The plugin for `fc` volumes.
pub struct FibreChannelPlugin;

fn unit(spec: &VolumeSpec) -> Result<&FibreChannel, PluginError> {
    match &spec.source {
        VolumeSource::FibreChannel(unit) => Ok(unit),
        _ => Err(PluginError::NoPluginMatched),
    }
}

/// The last part of the device mount path.
fn unit_name(unit: &FibreChannel) -> String {
    if unit.target_wwns.is_empty() {
        return unit.wwids.join("-").replace('/', "_");
    }
    format!("{}-lun-{}", unit.target_wwns.join("-"), unit.lun.unwrap_or_default())
}

/// What is looked at to find the device, then the rescan and a second look.
pub fn find_commands(unit: &FibreChannel) -> Vec<Vec<String>> {
    let lun = unit.lun.unwrap_or_default();
    let by_wwn = unit.target_wwns.iter().map(|wwn| {
        let wwn = wwn.to_lowercase();
        format!("/dev/disk/by-path/*-fc-0x{wwn}-lun-{lun}")
    });
    let by_id = unit.wwids.iter().map(|wwid| format!("/dev/disk/by-id/scsi-{wwid}"));
    let look: Vec<String> = ["ls".to_owned()].into_iter().chain(by_wwn).chain(by_id).collect();
    let rescan = "echo '- - -' > /sys/class/scsi_host/host*/scan";
    let rescan = ["sh", "-c", rescan].map(str::to_owned).to_vec();
    vec![look.clone(), rescan, look]
}

/// What releases a device.
pub fn release_commands(device: &str) -> Vec<Vec<String>> {
    let name = device.rsplit('/').next().unwrap_or_default();
    let remove = format!("echo 1 > /sys/block/{name}/device/delete");
    [&["multipath", "-f", device][..], &["blockdev", "--flushbufs", device], &["sh", "-c", &remove]]
        .iter()
        .map(|argv| argv.iter().map(|word| (*word).to_owned()).collect())
        .collect()
}

impl VolumePlugin for FibreChannelPlugin {
    fn facts(&self) -> PluginFacts {
        kinds::FC.facts.clone()
    }

    fn volume_name(&self, spec: &VolumeSpec) -> Result<String, PluginError> {
        let unit = unit(spec)?;
        if unit.target_wwns.is_empty() {
            return Ok(format!("[{}]", unit.wwids.join(" ")));
        }
        let lun = unit.lun.unwrap_or_default();
        Ok(format!("[{}]:{lun}", unit.target_wwns.join(" ")))
    }

    fn attach<'a>(&'a self, _spec: &'a VolumeSpec, _node: &'a str) -> Done<'a, String> {
        shown::attached()
    }

    fn detach<'a>(&'a self, _volume_name: &'a str, _node: &'a str) -> Done<'a, ()> {
        shown::detached()
    }

    fn wait_for_attach<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, String> {
        async move {
            show(volume, find_commands(unit(&volume.spec)?)).await?;
            Err(only_shown("fc"))
        }
        .boxed()
    }

    fn device_mount_path<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, Option<String>> {
        let path = unit(&volume.spec);
        let path = path.map(|unit| Some(volume.host.layout().fc_device_mount(&unit_name(unit))));
        ready(path).boxed()
    }

    fn stage<'a>(&'a self, _volume: &'a NodeVolume) -> Done<'a, ()> {
        shown::not_here("fc")
    }

    fn unstage<'a>(&'a self, volume: &'a NodeVolume, path: &'a str) -> Done<'a, ()> {
        async move {
            steps::clean_up(&*volume.host, &volume.on_behalf(), path).await?;
            show(volume, release_commands(&volume.device_path)).await
        }
        .boxed()
    }

    fn publish<'a>(&'a self, _volume: &'a NodeVolume) -> Done<'a, Published> {
        shown::not_here("fc")
    }

    fn unpublish<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, ()> {
        shown::unpublish(self, volume)
    }

    fn reconstruct<'a>(
        &'a self,
        _host: &'a Arc<dyn Host>,
        found: &'a FoundVolume,
    ) -> Done<'a, VolumeSpec> {
        shown::reconstruct("fc", found)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_follow_the_kind_of_address() {
        let name = |fc: serde_json::Value| {
            let spec = VolumeSpec::from_inline(&json!({"name": "v", "fc": fc}));
            let volume = FibreChannelPlugin.volume_name(&spec).expect("fc");
            (volume, unit_name(unit(&spec).expect("fc")))
        };
        let wwn = name(json!({"targetWWNs": ["50a", "50b"], "lun": 1}));
        assert_eq!(wwn, ("[50a 50b]:1".to_owned(), "50a-50b-lun-1".to_owned()));
        let wwid = name(json!({"wwids": ["3600"]}));
        assert_eq!(wwid, ("[3600]".to_owned(), "3600".to_owned()));
    }
}
