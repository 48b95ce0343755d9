//! `vol_data.json`: what a volume's directory says of it, enough to take the
//! volume away after a restart.

use serde_json::{Value, json};

use crate::model::volume::VolumeMode;
use crate::model::volume_source::CsiSource;
use crate::plugins::error::PluginError;
use crate::plugins::host::{Files, Host};
use crate::plugins::plugin::NodeVolume;

const FILE: &str = "vol_data.json";
const BYTES_MAX: u64 = 64 * 1024;

/// What is remembered of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeData {
    /// The PV's name, or the pod volume's.
    pub name: String,
    pub driver: String,
    pub handle: String,
    pub node: String,
    pub attachment: String,
    pub is_ephemeral: bool,
}

impl VolumeData {
    pub fn of(volume: &NodeVolume, source: &CsiSource, handle: &str) -> Self {
        let node = volume.host.node();
        let is_ephemeral = volume.spec.is_inline;
        let attachment = match is_ephemeral {
            true => String::new(),
            false => super::own_attachment(node, source),
        };
        Self {
            name: volume.spec.name.to_string(),
            driver: source.driver.to_string(),
            handle: handle.to_owned(),
            node: node.to_string(),
            attachment,
            is_ephemeral,
        }
    }

    pub async fn write(&self, host: &dyn Host, directory: &str) -> Result<(), PluginError> {
        let mode = if self.is_ephemeral { "Ephemeral" } else { "Persistent" };
        let content = json!({
            "attachmentID": self.attachment,
            "driverName": self.driver,
            "nodeName": self.node,
            "specVolID": self.name,
            "volumeHandle": self.handle,
            "volumeLifecycleMode": mode,
        });
        let path = format!("{directory}/{FILE}");
        Ok(Files(host).write(&path, content.to_string().as_bytes(), 0o600).await?)
    }

    /// What a directory says; `None`: nothing.
    pub async fn read(host: &dyn Host, directory: &str) -> Result<Option<Self>, PluginError> {
        let path = format!("{directory}/{FILE}");
        let content = match Files(host).read(&path, BYTES_MAX).await {
            Err(error) if error.is_not_found() => return Ok(None),
            content => content?,
        };
        let value: Value = serde_json::from_slice(&content)
            .map_err(|error| PluginError::Failed(format!("{path}: {error}")))?;
        let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
        Ok(Some(Self {
            name: text("specVolID"),
            driver: text("driverName"),
            handle: text("volumeHandle"),
            node: text("nodeName"),
            attachment: text("attachmentID"),
            is_ephemeral: text("volumeLifecycleMode") == "Ephemeral",
        }))
    }

    /// A PersistentVolume of what is remembered.
    pub fn volume(&self, mode: VolumeMode) -> Value {
        json!({
            "metadata": {"name": self.name},
            "spec": {
                "volumeMode": mode.name(),
                "csi": {"driver": self.driver, "volumeHandle": self.handle},
            },
        })
    }
}

pub async fn remove(host: &dyn Host, directory: &str) -> Result<(), PluginError> {
    Ok(Files(host).remove_file(&format!("{directory}/{FILE}")).await?)
}
