//! Drivers outside of this process on simulated machines, whose files they cannot
//! see: they work on real paths, and what they did is shown on the machine.

use std::io::{self, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use super::CsiPlugin;
use crate::plugins::csi::client::Client;
use crate::plugins::error::PluginError;
use crate::plugins::host::{Command, Disks, Files, Host};
use crate::plugins::plugin::NodeVolume;
use crate::plugins::steps::{self, MOUNT_POINT_MODE};

/// Where a driver outside finds the paths of simulated machines.
#[derive(Debug, Clone)]
pub struct Outside {
    /// A real directory; each node has its own below it.
    pub root: PathBuf,
}

/// How what drivers outside do is shown on simulated machines.
#[derive(Debug, Clone)]
pub struct Show {
    pub paths: Outside,
    /// What stands for the devices that they publish.
    pub disks: Arc<dyn Disks>,
}

impl CsiPlugin {
    /// How a driver's work is shown; `None`: the machine sees it itself.
    pub(super) fn show_of(&self, client: &Client) -> Option<&Show> {
        self.outside.as_ref().filter(|_| client.is_outside())
    }

    /// A path as the driver sees it.
    pub(super) fn seen(&self, client: &Client, host: &dyn Host, path: &str) -> String {
        match self.show_of(client) {
            None => path.to_owned(),
            Some(show) => format!("{}/{}{path}", show.paths.root.display(), host.node()),
        }
    }

    /// Makes a directory where the driver looks for it.
    pub(super) async fn make_directory(
        &self,
        client: &Client,
        host: &dyn Host,
        path: &str,
    ) -> Result<(), PluginError> {
        Files(host).make_directories(path, MOUNT_POINT_MODE).await?;
        let seen = self.seen(client, host, path);
        if seen != path {
            let made = std::fs::create_dir_all(&seen);
            made.map_err(|error| PluginError::Failed(format!("mkdir {seen}: {error}")))?;
        }
        Ok(())
    }

    /// Shows what a driver has mounted, or takes the show away.
    pub(super) async fn show(
        &self,
        client: &Client,
        volume: &NodeVolume,
        path: &str,
        is_there: bool,
    ) -> Result<(), PluginError> {
        let host = &*volume.host;
        if self.show_of(client).is_none() || host.mounts().await?.is_mount_point(path) == is_there {
            return Ok(());
        }
        if !is_there {
            return steps::unmount(host, &volume.on_behalf(), path, false).await;
        }
        Files(host).make_directories(path, MOUNT_POINT_MODE).await?;
        let command = Command::tmpfs(&**client.driver(), path, Vec::new());
        steps::mount(host, &volume.on_behalf(), command).await
    }

    /// Shows the device that a driver has published for a pod: a disk of its
    /// size, bound where the driver was told.
    pub(super) async fn show_device(
        &self,
        client: &Client,
        volume: &NodeVolume,
        path: &str,
    ) -> Result<(), PluginError> {
        let (host, on_behalf) = (&*volume.host, volume.on_behalf());
        let Some(show) = self.show_of(client) else { return Ok(()) };
        if host.mounts().await?.is_mount_point(path) {
            return Ok(());
        }
        let seen = self.seen(client, host, path);
        let bytes = size_of(&seen).map_err(|error| {
            PluginError::Failed(format!("the driver has published no device at {seen}: {error}"))
        })?;
        let id = disk_of(volume);
        show.disks.create(&id, bytes).await?;
        let device = show.disks.attach(&on_behalf, &id, host.node(), false).await?;
        Files(host).write(path, b"", MOUNT_POINT_MODE).await?;
        steps::mount(host, &on_behalf, Command::bind_plain(device, path)).await
    }

    /// Takes the device away that was shown; what is gone is success.
    pub(super) async fn hide_device(
        &self,
        client: &Client,
        volume: &NodeVolume,
        path: &str,
    ) -> Result<(), PluginError> {
        let (host, on_behalf) = (&*volume.host, volume.on_behalf());
        let Some(show) = self.show_of(client) else { return Ok(()) };
        if host.mounts().await?.is_mount_point(path) {
            steps::unmount(host, &on_behalf, path, false).await?;
        }
        let id = disk_of(volume);
        show.disks.detach(&on_behalf, &id, host.node()).await?;
        show.disks.delete(&id).await?;
        Ok(Files(host).remove_file(path).await?)
    }
}

/// The disk that stands for a pod's device.
fn disk_of(volume: &NodeVolume) -> String {
    format!("{}-{}", volume.spec.name, volume.pod_uid())
}

/// The bytes of a file or a device.
fn size_of(path: &str) -> io::Result<u64> {
    std::fs::File::open(path)?.seek(SeekFrom::End(0))
}
