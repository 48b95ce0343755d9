//! The volumes that drivers were told to set up for all pods: found by the
//! `vol_data.json` that is written before a driver is called, and removed when
//! it has let go.
//!
//! No pod's directory may tell of one any more, or not yet: an agent can be
//! stopped between taking a volume from its last pod and unstaging it, or while
//! a driver stages.

use super::NAME;
use super::data::VolumeData;
use crate::plugins::host::{FileKind, Files, Host, HostError};
use crate::plugins::plugin::Leftover;

/// The directory, beside those of drivers, that block volumes have.
const DEVICES: &str = "volumeDevices";

/// All of them.
pub async fn find(host: &dyn Host) -> Result<Vec<Leftover>, HostError> {
    let mut found = Vec::new();
    for driver in directories(host, &host.layout().plugin(NAME)).await? {
        if driver == DEVICES {
            continue;
        }
        let below = host.layout().plugin(&format!("{NAME}/{driver}"));
        for volume in directories(host, &below).await? {
            if let Some(known) = VolumeData::look(host, &format!("{below}/{volume}")).await? {
                found.push(Leftover { spec: known.spec(false), pods: Vec::new() });
            }
        }
    }
    found.extend(find_devices(host).await?);
    Ok(found)
}

async fn find_devices(host: &dyn Host) -> Result<Vec<Leftover>, HostError> {
    let (layout, mut found) = (host.layout(), Vec::new());
    for volume in directories(host, &layout.plugin(&format!("{NAME}/{DEVICES}"))).await? {
        let own = layout.csi_block(&volume);
        let Some(known) = VolumeData::look(host, &format!("{own}/data")).await? else { continue };
        let mut pods = Vec::new();
        for place in [format!("{own}/dev"), layout.csi_block_publish(&volume, "")] {
            let there = Files(host).entries(place.trim_end_matches('/')).await?;
            pods.extend(there.into_iter().map(|entry| entry.name.into()));
        }
        found.push(Leftover { spec: known.spec(true), pods });
    }
    Ok(found)
}

async fn directories(host: &dyn Host, path: &str) -> Result<Vec<String>, HostError> {
    let entries = Files(host).entries(path).await?.into_iter();
    let directories = entries.filter(|entry| entry.facts.kind == FileKind::Directory);
    Ok(directories.map(|entry| entry.name).collect())
}
