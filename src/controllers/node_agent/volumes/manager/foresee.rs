//! What is to run next for a volume, for its board.

use std::sync::Arc;

use super::{State, VolumeManager};
use crate::controllers::node_agent::volumes::actual::DeviceState;
use crate::controllers::node_agent::volumes::board::Journey;
use crate::controllers::node_agent::volumes::upcoming::{self, Progress};
use crate::model::volume::VolumeMode;
use crate::plugins::host::{Command, CommandRecord};
use crate::plugins::plugin::NodeVolume;

/// In place of a device that is not known before the volume is attached.
const DEVICE: &str = "DEVICE";

impl VolumeManager {
    /// The commands that are to run next for a volume, each as its words, as
    /// far as they are known beforehand.
    pub(super) fn upcoming(
        &self,
        state: &State,
        unique: &Arc<str>,
        journey: &Journey,
        records: &[CommandRecord],
    ) -> Vec<Vec<String>> {
        let records: Vec<&CommandRecord> =
            records.iter().filter(|record| record.on_behalf.volume == *unique).collect();
        let there = state.actual.volumes.get(unique);
        let progress = Progress {
            stage: journey.stage,
            is_busy: state.operations.of(unique).is_some_and(|operation| operation.is_running),
            is_staged: there.is_some_and(|there| there.device == DeviceState::Mounted),
            last: records.last().copied(),
        };
        let commands = match upcoming::is_brought(journey.stage) {
            true => self.brought(state, unique, progress, &records),
            false => self.taken(state, unique, progress),
        };
        commands.unwrap_or_default().iter().map(Command::argv).collect()
    }

    /// Of a volume on its way to the first pod that waits for it.
    fn brought(
        &self,
        state: &State,
        unique: &Arc<str>,
        progress: Progress<'_>,
        records: &[&CommandRecord],
    ) -> Option<Vec<Command>> {
        let (wanted, there) =
            (state.desired.volumes.get(unique)?, state.actual.volumes.get(unique));
        let has = |pod: &Arc<str>| {
            there.is_some_and(|own| own.pods.get(pod).is_some_and(|mount| mount.is_mounted()))
        };
        let (_, mount) = wanted.pods.iter().find(|(pod, _)| !has(pod))?;
        if mount.spec.mode == VolumeMode::Block {
            return None;
        }
        let plugin = self.parts.plugins.by_name(wanted.facts.name)?;
        let device = there.map(|own| own.device_path.as_str()).filter(|path| !path.is_empty());
        let volume = NodeVolume {
            host: self.parts.host.clone(),
            spec: mount.spec.clone(),
            unique_name: unique.clone(),
            device_path: device.unwrap_or(DEVICE).to_owned(),
            pod: Some(mount.pod.part()),
            provided: Default::default(),
        };
        let foreseen = plugin.foreseen(&volume, upcoming::content(records).as_ref());
        Some(upcoming::left(foreseen, progress, self.parts.host.layout()))
    }

    /// Of a volume that leaves.
    fn taken(
        &self,
        state: &State,
        unique: &Arc<str>,
        progress: Progress<'_>,
    ) -> Option<Vec<Command>> {
        let there = state.actual.volumes.get(unique)?;
        let wanted = state.desired.volumes.get(unique);
        let keeps = |pod: &Arc<str>| wanted.is_some_and(|wanted| wanted.pods.contains_key(pod));
        let leaving = there.pods.iter().filter(|(pod, mount)| !keeps(pod) && !mount.is_block);
        let from_pods: Vec<String> = leaving
            .filter_map(|(_, mount)| Some(mount.published.as_ref()?.host_path.clone()))
            .collect();
        let is_mounted = there.device != DeviceState::NotMounted;
        let staged = Some(&*there.device_mount_path).filter(|_| wanted.is_none() && is_mounted);
        if from_pods.is_empty() && staged.is_none() {
            return None;
        }
        let plugin = self.parts.plugins.by_name(there.plugin)?;
        let volume = NodeVolume {
            host: self.parts.host.clone(),
            spec: there.spec.clone(),
            unique_name: unique.clone(),
            device_path: there.device_path.clone(),
            pod: None,
            provided: Default::default(),
        };
        // Of a kind that is mounted without commands none unmounts it.
        if plugin.foreseen(&volume, None).is_empty() {
            return None;
        }
        Some(upcoming::taken_away(&from_pods, staged, progress))
    }
}
