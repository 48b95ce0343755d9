//! Carrying out a detach. No event is told of it, whatever comes of it.

use super::{AttachDetachController, Operation};
use crate::controllers::attach_detach::volume::{CsiVolume, Named};
use crate::model::kind;
use crate::model::node::Node;
use crate::model::object::{Key, ObjectRef};
use crate::model::row::Row;
use crate::plugins::PluginError;

impl AttachDetachController {
    /// Detaches if the node does not use the volume.
    pub(super) async fn detach(&self, operation: &Operation, verify: bool) {
        let done = match self.why_not_safe(operation, verify).await {
            Some(why) => Err(why),
            None => self.detach_by(operation).await,
        };
        let mut state = self.lock();
        let Operation { unique_name, node, volume, .. } = operation;
        match done {
            Ok(()) => {
                state.actual.mark_detached(unique_name, node);
                self.end(&mut state, operation, None);
            }
            Err(error) => {
                state.actual.mark_uncertain(unique_name, volume.as_ref(), node);
                self.end(&mut state, operation, Some(&error));
            }
        }
    }

    /// Asks the server, not the cache, what the node uses: `volumesAttached` no
    /// longer names the volume, so that a node that does not use it now will
    /// not begin to.
    async fn why_not_safe(&self, operation: &Operation, verify: bool) -> Option<String> {
        if !verify {
            return None;
        }
        let Operation { unique_name, node, .. } = operation;
        let object = ObjectRef::new(kind::NODE, Key::cluster(node.clone()));
        let row = match self.parts.server.get(&object).await {
            Ok(None) => return None,
            Ok(Some(value)) => Node::from_object(&value).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match row {
            Ok(row) if row.volumes_in_use.contains(unique_name) => Some(format!(
                "DetachVolume failed for volume \"{}\" (UniqueName: \"{unique_name}\") on node \
                 \"{node}\" : volume is still in use by node, according to Node status",
                operation.told_name()
            )),
            Ok(_) => None,
            Err(error) => Some(error),
        }
    }

    async fn detach_by(&self, operation: &Operation) -> Result<(), String> {
        let Operation { unique_name, node, .. } = operation;
        match Named::read(unique_name) {
            Some(Named::Csi { driver, handle }) => {
                let csi = CsiVolume { driver: driver.into(), handle: handle.into() };
                self.detach_csi(operation, &csi).await
            }
            Some(Named::Plugin { plugin: name, volume }) => {
                let plugin = self.plugins.by_name(name);
                let plugin = plugin.ok_or_else(|| PluginError::NoPluginMatched.to_string())?;
                plugin.detach_from(name, volume, node).await.map_err(|error| error.to_string())
            }
            None => Err(PluginError::NoPluginMatched.to_string()),
        }
    }
}

impl Operation {
    fn told_name(&self) -> &str {
        self.volume.as_ref().map_or("nil", |volume| &volume.name)
    }
}
