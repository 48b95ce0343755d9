//! Kinds of volumes whose commands are shown, never executed: attaching is a
//! formality, and a pod with such a volume waits with a message that says so.

use std::sync::Arc;

use futures::future::{FutureExt, ready};
use serde_json::json;

use crate::model::volume_source::VolumeSpec;
use crate::plugins::error::PluginError;
use crate::plugins::host::{Command, Host};
use crate::plugins::layout::Layout;
use crate::plugins::plugin::{Done, FoundVolume, NodeVolume, PluginFacts, Published, VolumePlugin};
use crate::plugins::steps;

/// Commands, each with its arguments.
pub type Commands = Vec<Vec<String>>;

/// A kind of devices on a network, of which all is known but the network.
pub trait ShownKind: Send + Sync {
    /// The field of a volume that says where it is.
    const FIELD: &'static str;

    fn facts(&self) -> PluginFacts;

    /// See [`VolumePlugin::volume_name`].
    fn volume_name(&self, spec: &VolumeSpec) -> Result<String, PluginError>;

    /// What makes the device appear.
    fn connect(&self, spec: &VolumeSpec) -> Result<Commands, PluginError>;

    /// Where the device is mounted for all pods.
    fn device_mount(&self, layout: &Layout, spec: &VolumeSpec) -> Result<String, PluginError>;

    /// What releases the device that a node has.
    fn release(&self, spec: &VolumeSpec, device: &str) -> Result<Commands, PluginError>;
}

/// The plugin for volumes of such a kind.
pub struct Shown<K>(pub K);

/// Shows commands on a host without executing them.
async fn show(volume: &NodeVolume, commands: Commands) -> Result<(), PluginError> {
    for argv in commands {
        volume.host.run(&volume.on_behalf(), Command::Other { argv }).await?;
    }
    Ok(())
}

impl<K: ShownKind> Shown<K> {
    /// Why such a volume does not get further.
    fn only_shown(&self) -> PluginError {
        let field = K::FIELD;
        PluginError::Failed(format!("{field} commands are shown, not executed, on this node"))
    }
}

impl<K: ShownKind> VolumePlugin for Shown<K> {
    fn facts(&self) -> PluginFacts {
        self.0.facts()
    }

    fn volume_name(&self, spec: &VolumeSpec) -> Result<String, PluginError> {
        self.0.volume_name(spec)
    }

    /// There is no device to tell of.
    fn attach<'a>(&'a self, _spec: &'a VolumeSpec, _node: &'a str) -> Done<'a, String> {
        ready(Ok(String::new())).boxed()
    }

    fn detach<'a>(&'a self, _volume_name: &'a str, _node: &'a str) -> Done<'a, ()> {
        ready(Ok(())).boxed()
    }

    fn wait_for_attach<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, String> {
        async move {
            show(volume, self.0.connect(&volume.spec)?).await?;
            Err(self.only_shown())
        }
        .boxed()
    }

    fn device_mount_path<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, Option<String>> {
        ready(self.0.device_mount(volume.host.layout(), &volume.spec).map(Some)).boxed()
    }

    fn stage<'a>(&'a self, _volume: &'a NodeVolume) -> Done<'a, ()> {
        ready(Err(self.only_shown())).boxed()
    }

    fn unstage<'a>(&'a self, volume: &'a NodeVolume, path: &'a str) -> Done<'a, ()> {
        async move {
            steps::clean_up(&*volume.host, &volume.on_behalf(), path).await?;
            show(volume, self.0.release(&volume.spec, &volume.device_path)?).await
        }
        .boxed()
    }

    fn publish<'a>(&'a self, _volume: &'a NodeVolume) -> Done<'a, Published> {
        ready(Err(self.only_shown())).boxed()
    }

    /// A volume found on a host tells its kind and nothing more.
    fn reconstruct<'a>(
        &'a self,
        _host: &'a Arc<dyn Host>,
        found: &'a FoundVolume,
    ) -> Done<'a, VolumeSpec> {
        let volume = json!({"metadata": {"name": &*found.name}, "spec": {K::FIELD: {}}});
        ready(Ok(VolumeSpec::from_volume(&volume, false))).boxed()
    }
}
