//! `kubernetes.io/fc`, for display: what would be looked for and run is shown,
//! never executed. Attaching is a formality.

use crate::model::volume_source::{FibreChannel, VolumeSource, VolumeSpec};
use crate::plugins::error::PluginError;
use crate::plugins::kinds;
use crate::plugins::layout::Layout;
use crate::plugins::plugin::PluginFacts;
use crate::plugins::shown::{Commands, ShownKind};

/// The kind of `fc` volumes.
pub struct FibreChannelKind;

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
fn find_commands(unit: &FibreChannel) -> Commands {
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
fn release_commands(device: &str) -> Commands {
    let name = device.rsplit('/').next().unwrap_or_default();
    let remove = format!("echo 1 > /sys/block/{name}/device/delete");
    [&["multipath", "-f", device][..], &["blockdev", "--flushbufs", device], &["sh", "-c", &remove]]
        .iter()
        .map(|argv| argv.iter().map(|word| (*word).to_owned()).collect())
        .collect()
}

impl ShownKind for FibreChannelKind {
    const FIELD: &'static str = "fc";

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

    fn connect(&self, spec: &VolumeSpec) -> Result<Commands, PluginError> {
        Ok(find_commands(unit(spec)?))
    }

    fn device_mount(&self, layout: &Layout, spec: &VolumeSpec) -> Result<String, PluginError> {
        Ok(layout.fc_device_mount(&unit_name(unit(spec)?)))
    }

    fn release(&self, _: &VolumeSpec, device: &str) -> Result<Commands, PluginError> {
        Ok(release_commands(device))
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
            let volume = FibreChannelKind.volume_name(&spec).expect("fc");
            (volume, unit_name(unit(&spec).expect("fc")))
        };
        let wwn = name(json!({"targetWWNs": ["50a", "50b"], "lun": 1}));
        assert_eq!(wwn, ("[50a 50b]:1".to_owned(), "50a-50b-lun-1".to_owned()));
        let wwid = name(json!({"wwids": ["3600"]}));
        assert_eq!(wwid, ("[3600]".to_owned(), "3600".to_owned()));
    }
}
