//! What a pod's start waits for, in the kubelet's words.
//!
//! Upstream: `WaitForAttachAndMount` of `volume_manager.go`.

use std::sync::Arc;

use crate::controllers::node_agent::volumes::MountedVolume;
use crate::controllers::node_agent::volumes::actual::Actual;
use crate::controllers::node_agent::volumes::desired::{Desired, DesiredPod};

/// The volumes of a pod that are mounted, by outer name.
pub fn mounted(desired: &Desired, actual: &Actual, uid: &str) -> Vec<MountedVolume> {
    let Some(pod) = desired.pods.get(uid) else { return Vec::new() };
    let volumes = pod.volumes.iter().filter_map(|(outer, unique)| {
        let mount = actual.mount(unique, uid).filter(|mount| mount.is_mounted())?;
        let published = mount.published.as_ref()?;
        Some(MountedVolume {
            outer_name: outer.clone(),
            inner_name: mount.spec.name.clone(),
            unique_name: unique.clone(),
            host_path: published.host_path.clone(),
            is_block: mount.is_block,
            read_only: published.read_only,
            managed: published.managed,
        })
    });
    volumes.collect()
}

/// The outer names of what is not there yet.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Missing {
    pub unmounted: Vec<Arc<str>>,
    pub unattached: Vec<Arc<str>>,
    pub unprocessed: Vec<Arc<str>>,
}

/// What a pod still waits for; nothing: it may start.
pub fn missing(desired: &Desired, actual: &Actual, pod: &DesiredPod) -> Missing {
    let mut missing = Missing::default();
    for used in &pod.pod.volumes {
        let outer = &used.name;
        let Some(unique) = pod.volumes.get(outer) else {
            missing.unmounted.push(outer.clone());
            missing.unprocessed.push(outer.clone());
            continue;
        };
        let mount = actual.mount(unique, &pod.pod.uid);
        if mount.is_some_and(|mount| mount.is_mounted()) {
            continue;
        }
        missing.unmounted.push(outer.clone());
        let attachable = desired.volumes.get(unique).is_some_and(|volume| volume.is_attachable());
        if attachable && !actual.volumes.contains_key(unique) {
            missing.unattached.push(outer.clone());
        }
    }
    missing
}

impl Missing {
    /// Whether nothing is.
    pub fn is_nothing(&self) -> bool {
        self.unmounted.is_empty()
    }

    /// The kubelet's sentence.
    pub fn text(&self, cause: &str) -> String {
        format!(
            "unmounted volumes={}, unattached volumes={}, failed to process volumes={}: {cause}",
            list(&self.unmounted),
            list(&self.unattached),
            list(&self.unprocessed)
        )
    }
}

/// A list as Go prints it.
pub fn list(names: &[Arc<str>]) -> String {
    format!("[{}]", names.join(" "))
}
