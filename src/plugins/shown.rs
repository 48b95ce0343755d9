//! What the plugins have in common whose commands are shown, never executed:
//! attaching is a formality, and a pod waits with a message that says so.

use futures::future::{FutureExt, ready};
use serde_json::json;

use crate::model::volume_source::VolumeSpec;
use crate::plugins::error::PluginError;
use crate::plugins::host::Command;
use crate::plugins::plugin::{Done, FoundVolume, NodeVolume, VolumePlugin};
use crate::plugins::steps;

/// Attaching: there is no device to tell of.
pub fn attached<'a>() -> Done<'a, String> {
    ready(Ok(String::new())).boxed()
}

pub fn detached<'a>() -> Done<'a, ()> {
    ready(Ok(())).boxed()
}

/// A stage that such a volume never passes.
pub fn not_here<'a, T: Send + 'a>(kind: &str) -> Done<'a, T> {
    ready(Err(only_shown(kind))).boxed()
}

/// Why such a volume does not get further.
pub fn only_shown(kind: &str) -> PluginError {
    PluginError::Failed(format!("{kind} commands are shown, not executed, on this node"))
}

/// Shows commands on a host without executing them.
pub async fn show(volume: &NodeVolume, commands: Vec<Vec<String>>) -> Result<(), PluginError> {
    for argv in commands {
        volume.host.run(&volume.on_behalf(), Command::Other { argv }).await?;
    }
    Ok(())
}

/// Takes the pod's directory away.
pub fn unpublish<'a>(plugin: &'a dyn VolumePlugin, volume: &'a NodeVolume) -> Done<'a, ()> {
    async move {
        let target = plugin.pod_path(volume);
        steps::clean_up(&*volume.host, &volume.on_behalf(), &target).await
    }
    .boxed()
}

/// A volume found on a host tells its kind and nothing more.
pub fn reconstruct<'a>(field: &str, found: &FoundVolume) -> Done<'a, VolumeSpec> {
    let volume = json!({"metadata": {"name": &*found.name}, "spec": {field: {}}});
    ready(Ok(VolumeSpec::from_volume(&volume, false))).boxed()
}
