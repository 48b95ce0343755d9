//! `vol_data.json`: what a volume's directory says of it, enough to take the
//! volume away after a restart.

use serde_json::{Value, json};

use crate::model::volume::VolumeMode;
use crate::model::volume_source::{CsiSource, VolumeSpec};
use crate::plugins::error::PluginError;
use crate::plugins::host::{Files, Host, HostError};
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
        let read = content(host, directory).await?.map(|content| Self::parse(&content));
        let read = read.transpose();
        read.map_err(|error| PluginError::Failed(format!("{directory}/{FILE}: {error}")))
    }

    /// The same for who looks everywhere: what cannot be understood says
    /// nothing.
    pub async fn look(host: &dyn Host, directory: &str) -> Result<Option<Self>, HostError> {
        let read = content(host, directory).await?.map(|content| Self::parse(&content));
        Ok(read.and_then(|read| {
            read.inspect_err(|error| tracing::warn!(directory, %error, "{FILE} is broken")).ok()
        }))
    }

    fn parse(content: &[u8]) -> Result<Self, serde_json::Error> {
        let value: Value = serde_json::from_slice(content)?;
        let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
        Ok(Self {
            name: text("specVolID"),
            driver: text("driverName"),
            handle: text("volumeHandle"),
            node: text("nodeName"),
            attachment: text("attachmentID"),
            is_ephemeral: text("volumeLifecycleMode") == "Ephemeral",
        })
    }

    /// The volume, as far as it is remembered.
    pub fn spec(&self, is_block: bool) -> VolumeSpec {
        let mode = if is_block { VolumeMode::Block } else { VolumeMode::Filesystem };
        let volume = json!({
            "metadata": {"name": self.name},
            "spec": {
                "volumeMode": mode.name(),
                "csi": {"driver": self.driver, "volumeHandle": self.handle},
            },
        });
        VolumeSpec::from_volume(&volume, false).inline(self.is_ephemeral)
    }
}

/// The file of a directory; `None`: it has none.
async fn content(host: &dyn Host, directory: &str) -> Result<Option<Vec<u8>>, HostError> {
    match Files(host).read(&format!("{directory}/{FILE}"), BYTES_MAX).await {
        Err(error) if error.is_not_found() => Ok(None),
        content => content.map(Some),
    }
}

pub async fn remove(host: &dyn Host, directory: &str) -> Result<(), PluginError> {
    Ok(Files(host).remove_file(&format!("{directory}/{FILE}")).await?)
}
