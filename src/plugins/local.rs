//! `kubernetes.io/local-volume`: a directory or a disk of the node.
//!
//! A directory is bound into each pod. A block device is formatted if blank
//! and mounted once, then bound; or, in block mode, mapped as it is.

use std::sync::Arc;

use futures::future::FutureExt;
use serde_json::json;

use crate::model::quantity::Quantity;
use crate::model::volume_source::{VolumeSource, VolumeSpec};
use crate::plugins::error::PluginError;
use crate::plugins::format_and_mount::{self, Content, Request};
use crate::plugins::host::{Command, FileKind, Files, Host};
use crate::plugins::kinds;
use crate::plugins::plugin::{
    BlockPaths, Done, FoundVolume, NodeVolume, PluginFacts, Published, VolumePlugin,
};
use crate::plugins::steps::{self, MOUNT_POINT_MODE};

/// The plugin for `local` volumes.
pub struct Local;

fn path(spec: &VolumeSpec) -> Result<&str, PluginError> {
    match &spec.source {
        VolumeSource::Local { path, .. } => Ok(path),
        _ => Err(PluginError::NoPluginMatched),
    }
}

fn fs_type(spec: &VolumeSpec) -> String {
    match &spec.source {
        VolumeSource::Local { fs_type: Some(fs_type), .. } => fs_type.to_string(),
        _ => format_and_mount::DEFAULT_FS_TYPE.to_owned(),
    }
}

/// Whether the source is a block device; anything but that and a directory is
/// refused.
async fn is_device(volume: &NodeVolume) -> Result<bool, PluginError> {
    let path = path(&volume.spec)?;
    match Files(&*volume.host).look(path).await?.map(|facts| facts.kind) {
        Some(FileKind::Directory) => Ok(false),
        Some(FileKind::BlockDevice) => Ok(true),
        Some(_) => {
            let text = "only directory and block device are supported".to_owned();
            Err(PluginError::Failed(text))
        }
        None => Err(PluginError::Failed(format!("path \"{path}\" does not exist"))),
    }
}

/// Where the volume is before it is bound: the device mount, or the path.
async fn staged_at(volume: &NodeVolume) -> Result<String, PluginError> {
    if is_device(volume).await? {
        return Ok(volume.host.layout().local_device_mount(&volume.spec.name));
    }
    path(&volume.spec).map(str::to_owned)
}

impl VolumePlugin for Local {
    fn facts(&self) -> PluginFacts {
        kinds::LOCAL.facts.clone()
    }

    fn volume_name(&self, spec: &VolumeSpec) -> Result<String, PluginError> {
        Ok(spec.name.to_string())
    }

    fn device_mount_path<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, Option<String>> {
        staged_at(volume).map(|path| path.map(Some)).boxed()
    }

    fn stage<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, ()> {
        async move {
            if !is_device(volume).await? {
                return Ok(());
            }
            let (host, device) = (&*volume.host, path(&volume.spec)?);
            let target = host.layout().local_device_mount(&volume.spec.name);
            if host.mounts().await?.is_mount_point(&target) {
                return Ok(());
            }
            Files(host).make_directories(&target, MOUNT_POINT_MODE).await?;
            let request = Request {
                device: device.to_owned(),
                target: target.clone(),
                fs_type: fs_type(&volume.spec),
                options: steps::mount_options(volume, &[]),
                format_options: Vec::new(),
            };
            let staged = format_and_mount::run(host, &volume.on_behalf(), &request).await;
            if let Err(error) = staged {
                steps::take_back(host, &volume.on_behalf(), &target).await;
                return Err(told(device, &target, request.fs_type(), error));
            }
            Ok(())
        }
        .boxed()
    }

    fn unstage<'a>(&'a self, volume: &'a NodeVolume, path: &'a str) -> Done<'a, ()> {
        async move {
            // A directory source was never mounted: its path is not ours.
            let host = &*volume.host;
            let base = host.layout().local_device_mount("");
            if !path.starts_with(&base) {
                return Ok(());
            }
            steps::clean_up(host, &volume.on_behalf(), path).await
        }
        .boxed()
    }

    fn publish<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, Published> {
        async move {
            let host = &*volume.host;
            let target = self.pod_path(volume);
            let mut published = Published {
                host_path: target.clone(),
                read_only: volume.spec.read_only,
                managed: !volume.spec.read_only,
                warning: None,
            };
            if path(&volume.spec)?.split('/').any(|step| step == "..") {
                let path = path(&volume.spec)?;
                let text = format!("invalid path: {path} must not contain '..'");
                return Err(PluginError::Failed(text));
            }
            let source = staged_at(volume).await?;
            let table = host.mounts().await?;
            if table.is_mount_point(&target) {
                return Ok(published);
            }
            let pods = host.layout().pods();
            let others = table.references(&source);
            let shared = others.iter().any(|mount| mount.target.starts_with(&pods));
            Files(host).make_directories(&target, MOUNT_POINT_MODE).await?;
            let options = steps::mount_options(volume, &[]);
            steps::bind(volume, &source, &target, &options).await?;
            if shared {
                published.warning = other_group(volume, &source).await?;
            } else if let Err(error) = steps::own(volume, &target).await {
                steps::take_back(host, &volume.on_behalf(), &target).await;
                return Err(error);
            }
            Ok(published)
        }
        .boxed()
    }

    /// Of a path below `/dev` that is taken to be a device.
    fn foreseen(&self, volume: &NodeVolume, content: Option<&Content>) -> Vec<Command> {
        let Ok(path) = path(&volume.spec) else { return Vec::new() };
        let (options, target) = (steps::mount_options(volume, &[]), self.pod_path(volume));
        if !path.starts_with("/dev/") {
            return Command::bind(path, &target, &options, &[]).into();
        }
        let staged = volume.host.layout().local_device_mount(&volume.spec.name);
        let request = Request {
            device: path.to_owned(),
            target: staged.clone(),
            fs_type: fs_type(&volume.spec),
            options: options.clone(),
            format_options: Vec::new(),
        };
        let mut commands = format_and_mount::foreseen(&request, content);
        commands.extend(Command::bind(&staged, &target, &options, &[]));
        commands
    }

    fn block_paths(&self, volume: &NodeVolume) -> Option<BlockPaths> {
        let layout = volume.host.layout();
        Some(BlockPaths {
            global_map: layout.local_global_map(&volume.spec.name),
            volume_map: layout.volume_map(volume.pod_uid(), kinds::LOCAL.facts.name),
        })
    }

    fn set_up_device<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, String> {
        async move {
            if is_device(volume).await? {
                return path(&volume.spec).map(str::to_owned);
            }
            let path = path(&volume.spec)?;
            Err(PluginError::Failed(format!("path \"{path}\" is not a block device")))
        }
        .boxed()
    }

    fn expand_on_node<'a>(&'a self, volume: &'a NodeVolume, _: Quantity) -> Done<'a, ()> {
        async move {
            if !is_device(volume).await? {
                return Ok(());
            }
            let target = volume.host.layout().local_device_mount(&volume.spec.name);
            steps::grow(volume, path(&volume.spec)?, &target, &fs_type(&volume.spec)).await
        }
        .boxed()
    }

    /// The source of the bind in the mount table; of a block source, the
    /// device of the mount.
    fn reconstruct<'a>(
        &'a self,
        host: &'a Arc<dyn Host>,
        found: &'a FoundVolume,
    ) -> Done<'a, VolumeSpec> {
        async move {
            let layout = host.layout();
            let own = layout.pod_volume(&found.pod_uid, kinds::LOCAL.facts.name, &found.name);
            let table = host.mounts().await?;
            let device_mount = layout.local_device_mount(&found.name);
            let path = match (table.at(&own), table.at(&device_mount)) {
                (_, Some(staged)) => staged.source.clone(),
                (Some(bound), None) => bound.root.clone(),
                (None, None) => String::new(),
            };
            let volume = json!({
                "metadata": {"name": &*found.name},
                "spec": {
                    "volumeMode": if found.is_block { "Block" } else { "Filesystem" },
                    "local": {"path": path},
                },
            });
            Ok(VolumeSpec::from_volume(&volume, false))
        }
        .boxed()
    }
}

fn told(device: &str, target: &str, fs_type: &str, error: PluginError) -> PluginError {
    let text = |error: &str| {
        format!(
            "local: failed to mount device {device} at {target} (fstype: {fs_type}), error {error}"
        )
    };
    match error {
        PluginError::FilesystemMismatch(error) => PluginError::FilesystemMismatch(text(&error)),
        PluginError::Failed(error) => PluginError::Failed(text(&error)),
        other => other,
    }
}

/// What to say if the volume is in another pod already and has another group.
async fn other_group(
    volume: &NodeVolume,
    source: &str,
) -> Result<Option<(&'static str, String)>, PluginError> {
    let Some(wanted) = volume.pod.as_ref().and_then(|pod| pod.fs_group) else { return Ok(None) };
    let Some(facts) = Files(&*volume.host).look(source).await? else { return Ok(None) };
    Ok((facts.group != wanted).then(|| {
        let (name, group) = (&volume.spec.name, facts.group);
        let text = format!(
            "The requested fsGroup is {wanted}, but the volume {name} has GID {group}. \
             The volume may not be shareable."
        );
        ("AlreadyMountedVolume", text)
    }))
}
