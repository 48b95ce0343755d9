//! Carrying out an attach.

use std::sync::Arc;

use super::{AttachDetachController, Operation};
use crate::controllers::attach_detach::multi_attach::FAILED_ATTACH;
use crate::controllers::attach_detach::volume::{AttachableVolume, AttachedBy};
use crate::model::event::Severity;
use crate::model::object::Key;
use crate::plugins::PluginError;

const SUCCESSFUL_ATTACH: &str = "SuccessfulAttachVolume";

/// Why a volume was not attached.
pub(super) struct AttachFailure {
    /// The step that failed, as upstream names it.
    pub(super) step: &'static str,
    pub(super) error: String,
    /// Where the volume may be now.
    pub(super) uncertain_on: Option<Arc<str>>,
    /// Whether the pods are told.
    pub(super) told: bool,
}

impl AttachDetachController {
    /// Attaches and tells the pods.
    pub(super) async fn attach(&self, operation: &Operation, pods: &[(Arc<str>, Key)]) {
        let Some(volume) = &operation.volume else { return };
        let done = self.attach_by(operation, volume).await;
        let (severity, reason, message, error) = {
            let mut state = self.lock();
            match done {
                Ok(device) => {
                    let Operation { unique_name, node, .. } = operation;
                    state.actual.mark_attached(unique_name, Some(volume), node, device.into());
                    let now = self.parts.clock.now();
                    state.untold.entry(node.clone()).or_insert(now);
                    self.end(&mut state, operation, None);
                    let message =
                        format!("AttachVolume.Attach succeeded for volume \"{}\" ", volume.name);
                    (Severity::Normal, SUCCESSFUL_ATTACH, message, None)
                }
                Err(failure) => {
                    if let Some(node) = &failure.uncertain_on {
                        let unique_name = &operation.unique_name;
                        state.actual.mark_uncertain(unique_name, Some(volume), node);
                    }
                    self.end(&mut state, operation, Some(&failure.error));
                    let AttachFailure { step, error, .. } = &failure;
                    let message = format!(
                        "AttachVolume.{step} failed for volume \"{}\" : {error}",
                        volume.name
                    );
                    (Severity::Warning, FAILED_ATTACH, message, Some(failure))
                }
            }
        };
        if error.is_some_and(|failure| !failure.told) {
            return;
        }
        for (uid, pod) in pods {
            let note = self.note(uid.clone(), pod.clone(), severity, reason, message.clone());
            self.parts.recorder.tell(note);
        }
    }

    async fn attach_by(
        &self,
        operation: &Operation,
        volume: &AttachableVolume,
    ) -> Result<String, AttachFailure> {
        let node = &operation.node;
        let spec = match &volume.by {
            AttachedBy::Csi(csi) => {
                return self.attach_csi(operation, csi, &volume.name).await.map(|()| String::new());
            }
            AttachedBy::Plugin(spec) => spec,
        };
        let plugin = self.plugins.of(&spec.source).map_err(|error| AttachFailure {
            step: "FindAttachablePluginBySpec",
            error: error.to_string(),
            uncertain_on: None,
            told: true,
        })?;
        plugin.attach(spec, node).await.map_err(|error| {
            // Another node has it, unknown to us: it has to leave there.
            let at = match &error {
                PluginError::AttachedElsewhere { node, .. } => node.as_str().into(),
                _ => node.clone(),
            };
            let error = error.to_string();
            AttachFailure { step: "Attach", error, uncertain_on: Some(at), told: true }
        })
    }
}
