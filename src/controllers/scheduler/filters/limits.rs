//! NodeVolumeLimits: how many volumes of a CSI driver a node can attach.
//!
//! Volumes of in-tree plugins that are served by a driver are not counted:
//! upstream translates them, this does not.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::controllers::scheduler::cache::{Cache, NodeInfo};
use crate::controllers::scheduler::claims::key_of;
use crate::controllers::scheduler::reason::Reason;
use crate::model::claim::Claim;
use crate::model::node::Node;
use crate::model::pod::Pod;

/// One volume of a driver: by its handle, or by its claim while it has none.
type Unique<'a> = (&'a str, String);

/// The volumes that a pod brings along.
#[derive(Debug)]
pub struct NewVolumes<'a> {
    volumes: HashSet<Unique<'a>>,
}

impl<'a> NewVolumes<'a> {
    pub fn new(cache: &'a Cache, pod: &Pod) -> Self {
        Self { volumes: volumes_of(cache, pod).collect() }
    }

    pub fn why_not(&self, cache: &Cache, node: &Node, info: &NodeInfo) -> Result<(), Reason> {
        if self.volumes.is_empty() {
            return Ok(());
        }
        let Some(csi_node) = cache.csi_nodes.get(&node.meta.key.name) else { return Ok(()) };
        let limit = |driver: &str| {
            let entry = csi_node.drivers.iter().find(|entry| *entry.name == *driver)?;
            entry.attach_limit
        };
        if !self.volumes.iter().any(|(driver, _)| limit(driver).is_some()) {
            return Ok(());
        }
        let mut there: HashSet<Unique<'_>> =
            info.pods.values().flat_map(|pod| volumes_of(cache, pod)).collect();
        there.extend(cache.attachments_on(&node.meta.key.name).filter_map(|attachment| {
            let volume = cache.stock.seen(&attachment.volume)?;
            Some((volume.source.driver.as_deref()?, volume.source.place.to_string()))
        }));
        let mut counts: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
        for (driver, _) in &there {
            counts.entry(driver).or_default().0 += 1;
        }
        for (driver, _) in self.volumes.difference(&there) {
            counts.entry(driver).or_default().1 += 1;
        }
        for (driver, (held, new)) in counts {
            if let Some(most) = limit(driver)
                && new > 0
                && held + new > most
            {
                return Err(Reason::VolumeLimit { driver: driver.into(), most });
            }
        }
        Ok(())
    }
}

/// The CSI volumes of a pod's claims. A claim that is missing, or whose class
/// is, counts for nothing.
fn volumes_of<'a>(cache: &'a Cache, pod: &Pod) -> impl Iterator<Item = Unique<'a>> {
    let claims = pod.claims.iter().filter_map(|used| cache.claims.get(&key_of(pod, used)));
    claims.filter_map(|claim| unique(cache, claim))
}

fn unique<'a>(cache: &'a Cache, claim: &'a Arc<Claim>) -> Option<Unique<'a>> {
    match cache.stock.seen(&claim.volume_name).filter(|_| !claim.volume_name.is_empty()) {
        Some(volume) => {
            let csi = &*volume.source.field == "csi";
            let driver = volume.source.driver.as_deref().filter(|_| csi)?;
            Some((driver, volume.source.place.to_string()))
        }
        None => {
            let class = cache.classes.get(claim.effective_class())?;
            let driver = &*class.provisioner;
            (!driver.is_empty()).then(|| (driver, format!("{driver}-{}", claim.meta.key)))
        }
    }
}
