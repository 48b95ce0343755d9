//! Asking once a minute whether what is attached is attached still. What is not
//! is dropped; if a pod wants it, it is attached again.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;

use super::{AttachDetachController, node_ref};
use crate::controllers::attach_detach::operations::OperationKey;
use crate::controllers::attach_detach::volume::{AttachableVolume, AttachedBy, CsiVolume};
use crate::controllers::attach_detach::writes;
use crate::model::attachment::Attachment;
use crate::model::object::{Key, ObjectRef};
use crate::model::row::Row;
use crate::model::volume_source::VolumeSpec;

type Named = (Arc<str>, Arc<AttachableVolume>);

impl AttachDetachController {
    /// The verification of a node, if it is its turn.
    pub(super) fn begin_verification(
        self: &Arc<Self>,
        node: &Arc<str>,
    ) -> Option<BoxFuture<'static, Vec<ObjectRef>>> {
        let mut state = self.lock();
        if !state.sweep.remove(node) {
            return None;
        }
        let confirmed = state.actual.on(node).filter(|(_, pair)| pair.confirmed);
        let known = confirmed
            .filter_map(|(name, _)| Some((name.clone(), state.actual.volume(name)?.clone())));
        let volumes: Vec<Named> = known.collect();
        if volumes.is_empty() || !state.verifying.insert(node.clone()) {
            return None;
        }
        drop(state);
        let verifying = Verifying { controller: self.clone(), node: node.clone() };
        Some(Box::pin(async move {
            let (controller, node) = (&verifying.controller, &verifying.node);
            let mut gone = false;
            for name in controller.not_attached(node, volumes).await {
                gone |= controller.drop_pair(&name, node);
            }
            if gone { vec![node_ref(node)] } else { Vec::new() }
        }))
    }

    /// Of the volumes those that are not attached to the node. What cannot be
    /// asked is taken to be.
    async fn not_attached(&self, node: &str, volumes: Vec<Named>) -> Vec<Arc<str>> {
        let mut gone = Vec::new();
        let mut by_plugin: BTreeMap<&'static str, Vec<(Arc<str>, VolumeSpec)>> = BTreeMap::new();
        for (name, volume) in volumes {
            match &volume.by {
                AttachedBy::Csi(csi) => {
                    if !self.is_csi_attached(csi, node).await {
                        gone.push(name);
                    }
                }
                AttachedBy::Plugin(spec) => {
                    if let Ok(plugin) = self.plugins.of(&spec.source) {
                        let asked = by_plugin.entry(plugin.facts().name).or_default();
                        asked.push((name, VolumeSpec::clone(spec)));
                    }
                }
            }
        }
        for (plugin, asked) in by_plugin {
            let Some(plugin) = self.plugins.by_name(plugin) else { continue };
            let (names, specs): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
            match plugin.are_attached(&specs, node).await {
                Ok(answers) => {
                    let answers = names.into_iter().zip(answers);
                    gone.extend(answers.filter(|(_, attached)| !attached).map(|(name, _)| name));
                }
                Err(error) => tracing::warn!("verifying the volumes of {node}: {error}"),
            }
        }
        gone
    }

    async fn is_csi_attached(&self, volume: &CsiVolume, node: &str) -> bool {
        let object = writes::attachment_ref(volume, node);
        let cached = self.parts.mirror.read(|tables| {
            let driver = tables.csi_drivers.get(&Key::cluster(volume.driver.clone()));
            if driver.is_some_and(|driver| !driver.attach_required) {
                return Some(true);
            }
            tables.attachments.get(&object.key).map(|row| row.attached)
        });
        if let Some(attached) = cached {
            return attached;
        }
        match self.parts.server.get(&object).await {
            Ok(Some(value)) => Attachment::from_object(&value).is_ok_and(|row| row.attached),
            Ok(None) => false,
            Err(error) => {
                tracing::warn!("verifying the volumes of {node}: {error}");
                true
            }
        }
    }

    /// It is not there; unless something has been done about it since.
    fn drop_pair(&self, name: &Arc<str>, node: &Arc<str>) -> bool {
        let mut state = self.lock();
        let shared = state.actual.volume(name).is_none_or(|volume| volume.shared);
        let busy = state.operations.is_running(&OperationKey::new(name, node, shared));
        let confirmed = state.actual.get(name, node).is_some_and(|pair| pair.confirmed);
        if busy || !confirmed {
            return false;
        }
        tracing::warn!("{name} is not attached to {node} any more");
        state.actual.mark_detached(name, node);
        true
    }
}

/// Lets the node's next verification begin.
struct Verifying {
    controller: Arc<AttachDetachController>,
    node: Arc<str>,
}

impl Drop for Verifying {
    fn drop(&mut self) {
        self.controller.lock().verifying.remove(&self.node);
    }
}
