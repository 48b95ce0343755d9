//! Holds what a driver says is attached against the VolumeAttachments, each
//! minute: what somebody detached behind the cluster's back is attached again.
//!
//! Only for drivers that can list their volumes with the nodes that have them.
//!
//! Upstream: `ReconcileVA` of external-attacher.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use pvdeck_csi_proto::csi::ListVolumesRequest;
use pvdeck_csi_proto::csi::controller_service_capability::rpc;

use crate::controllers::csi::attacher::Attacher;
use crate::controllers::work_loop::{Pass, Reconciler};
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};

/// How often volumes are listed (upstream: `--reconcile-sync`).
pub const ROUND: Duration = Duration::from_secs(60);

/// The driver's names of the nodes that have each volume, by handle.
pub type Published = BTreeMap<String, BTreeSet<String>>;

/// An attachment that is done, in the driver's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    pub object: ObjectRef,
    pub handle: String,
    pub node_id: String,
}

/// The attachments that the driver knows nothing of. Of a volume that it does
/// not list nothing is concluded.
pub fn missing(attached: &[Attached], published: &Published) -> Vec<ObjectRef> {
    let lost = attached.iter().filter(|one| {
        published.get(&one.handle).is_some_and(|nodes| !nodes.contains(&one.node_id))
    });
    lost.map(|one| one.object.clone()).collect()
}

/// Looks each minute, and has the attacher attach again what is missing.
pub struct PublishedCheck {
    attacher: Arc<Attacher>,
}

impl PublishedCheck {
    pub fn new(attacher: Arc<Attacher>) -> Self {
        Self { attacher }
    }

    async fn pass(self: Arc<Self>) -> Pass {
        if let Err(error) = self.look().await {
            let shell = &self.attacher.parts().shell;
            let driver = self.attacher.parts().driver.to_string();
            shell.health.failed(shell.clock.now(), driver, error);
        }
        Pass::done()
    }

    async fn look(&self) -> Result<(), String> {
        let parts = self.attacher.parts();
        let client = parts.client.with_deadline(parts.settings.timeout);
        let abilities = client.abilities().await.map_err(|error| error.to_string())?;
        let lists = [rpc::Type::ListVolumes, rpc::Type::ListVolumesPublishedNodes];
        let attached = self.attached();
        if attached.is_empty() || !lists.into_iter().all(|one| abilities.can(one)) {
            return Ok(());
        }
        let (mut published, mut starting_token) = (Published::new(), String::new());
        loop {
            let request = ListVolumesRequest { max_entries: 0, starting_token };
            let page = client.list_volumes(request).await.map_err(|error| error.to_string())?;
            for entry in page.entries {
                let handle = entry.volume.map(|volume| volume.volume_id).unwrap_or_default();
                let nodes = entry.status.map(|status| status.published_node_ids);
                published.entry(handle).or_default().extend(nodes.unwrap_or_default());
            }
            starting_token = page.next_token;
            if starting_token.is_empty() {
                break;
            }
        }
        for object in missing(&attached, &published) {
            tracing::warn!("{object}: the driver does not have it attached; attaching again");
            self.attacher.attach_again(&object).await?;
        }
        Ok(())
    }

    /// What is attached, by the cluster's objects.
    fn attached(&self) -> Vec<Attached> {
        let parts = self.attacher.parts();
        parts.shell.mirror.read(|tables| {
            let done = tables.attachments.iter().filter(|one| {
                one.attacher == parts.driver && one.attached && one.meta.deleting.is_none()
            });
            let named = done.filter_map(|one| {
                let volume = tables.volumes.get(&Key::cluster(one.volume.clone()))?;
                let drivers = &tables.csi_nodes.get(&Key::cluster(one.node.clone()))?.drivers;
                let driver = drivers.iter().find(|own| own.name == parts.driver)?;
                Some(Attached {
                    object: ObjectRef::new(kind::VOLUME_ATTACHMENT, one.meta.key.clone()),
                    handle: volume.source.place.to_string(),
                    node_id: driver.node_id.to_string(),
                })
            });
            named.collect()
        })
    }
}

impl Reconciler for PublishedCheck {
    fn take_in(&self, _changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        Vec::new()
    }

    fn everything(&self) -> Vec<ObjectRef> {
        let driver = Key::cluster(self.attacher.parts().driver.clone());
        vec![ObjectRef::new(kind::CSI_DRIVER, driver)]
    }

    fn reconcile(self: Arc<Self>, _driver: ObjectRef) -> BoxFuture<'static, Pass> {
        Box::pin(self.pass())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_driver_lists_without_its_node_is_missing() {
        let attached = |name: &str, handle: &str, node: &str| Attached {
            object: ObjectRef::new(kind::VOLUME_ATTACHMENT, Key::cluster(name)),
            handle: handle.to_owned(),
            node_id: node.to_owned(),
        };
        let all = [attached("a", "h1", "n1"), attached("b", "h2", "n1"), attached("c", "h3", "n1")];
        let published = Published::from([
            ("h1".to_owned(), BTreeSet::from(["n1".to_owned()])),
            ("h2".to_owned(), BTreeSet::from(["n2".to_owned()])),
        ]);
        assert_eq!(missing(&all, &published), [all[1].object.clone()]);
    }
}
