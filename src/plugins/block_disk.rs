//! `pvdeck.dev/block-disk`: our stand-in for a cloud's remote disk.
//!
//! A PersistentVolume names it as a FlexVolume driver, which any API server
//! accepts: `flexVolume: {driver: pvdeck.dev/block-disk, fsType: ext4}`. The
//! disk has the volume's name. It is attached to a node by the attach/detach
//! controller, appears there as a device, is formatted if blank, mounted once
//! and bound into each pod, all at a FlexVolume's host paths.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt, ready};
use serde_json::{Value, json};

use crate::model::quantity::Quantity;
use crate::model::volume_source::{VolumeSource, VolumeSpec};
use crate::plugins::error::PluginError;
use crate::plugins::format_and_mount::{self, Content, Request};
use crate::plugins::host::{Command, Disks, Files, Host, HostError, OnBehalf};
use crate::plugins::plugin::{
    BlockPaths, Capabilities, Capability, Done, FoundVolume, NodeVolume, PluginFacts,
    ProvisionRequest, Published, VolumePlugin,
};
use crate::plugins::steps::{self, MOUNT_POINT_MODE};

/// The driver's, plugin's and provisioner's name.
pub const NAME: &str = "pvdeck.dev/block-disk";

/// What it can do.
pub const FACTS: PluginFacts = PluginFacts {
    name: NAME,
    source: Some("flexVolume"),
    driver: Some(NAME),
    capabilities: Capabilities::of(&[
        Capability::Provision,
        Capability::Delete,
        Capability::Attach,
        Capability::Stage,
        Capability::Publish,
        Capability::Block,
        Capability::ExpandController,
        Capability::ExpandNode,
        Capability::MountOptions,
        Capability::Ownership,
    ]),
};

/// The plugin for such disks.
pub struct BlockDisk {
    disks: Arc<dyn Disks>,
}

impl BlockDisk {
    pub fn new(disks: Arc<dyn Disks>) -> Self {
        Self { disks }
    }
}

fn fs_type(spec: &VolumeSpec) -> String {
    match &spec.source {
        VolumeSource::FlexVolume { fs_type: Some(fs_type), .. } => fs_type.to_string(),
        _ => format_and_mount::DEFAULT_FS_TYPE.to_owned(),
    }
}

/// The unique name under which commands for a disk are recorded.
fn on_behalf(disk: &str) -> OnBehalf {
    OnBehalf::volume(format!("{NAME}/{disk}"))
}

/// Stages a device: formats if blank, checks, mounts it at `target`.
pub(super) async fn stage(
    volume: &NodeVolume,
    target: &str,
    fs_type: String,
    options: Vec<String>,
) -> Result<(), PluginError> {
    let host = &*volume.host;
    if host.mounts().await?.is_mount_point(target) {
        return Ok(());
    }
    if volume.device_path.is_empty() {
        let text = format!("volume {} has no device on the node", volume.spec.name);
        return Err(PluginError::Failed(text));
    }
    Files(host).make_directories(target, MOUNT_POINT_MODE).await?;
    let request = Request {
        device: volume.device_path.clone(),
        target: target.to_owned(),
        fs_type,
        options,
        format_options: Vec::new(),
    };
    if let Err(error) = format_and_mount::run(host, &volume.on_behalf(), &request).await {
        // What cannot be known to be unmounted is left to the next try.
        if !error.leaves_doubt() {
            steps::take_back(host, &volume.on_behalf(), target).await;
        }
        return Err(error);
    }
    Ok(())
}

/// Binds a staged volume into the pod and gives it to the pod's group.
pub(super) async fn publish(
    volume: &NodeVolume,
    staged: &str,
    target: String,
) -> Result<Published, PluginError> {
    let host = &*volume.host;
    let read_only = volume.spec.read_only;
    if !host.mounts().await?.is_mount_point(&target) {
        Files(host).make_directories(&target, MOUNT_POINT_MODE).await?;
        let options: &[String] = if read_only { &["ro".to_owned()] } else { &[] };
        steps::bind(volume, staged, &target, options).await?;
    }
    steps::own(volume, &target).await?;
    Ok(Published { host_path: target, read_only, managed: !read_only, warning: None })
}

/// The nodes that have a disk; one that does not exist is nowhere.
pub(super) async fn nodes_of(disks: &dyn Disks, disk: &str) -> Result<Vec<String>, PluginError> {
    match disks.attached_to(disk).await {
        Ok(nodes) => Ok(nodes.into_iter().map(|(node, _)| node).collect()),
        Err(HostError::NoSuchDisk { .. }) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

impl VolumePlugin for BlockDisk {
    fn facts(&self) -> PluginFacts {
        FACTS
    }

    fn provision(
        &self,
        request: ProvisionRequest,
    ) -> BoxFuture<'static, Result<Value, PluginError>> {
        let disks = self.disks.clone();
        async move {
            let spec = &request.claim["spec"];
            let storage = &spec["resources"]["requests"]["storage"];
            let bytes = storage.as_str().and_then(|text| Quantity::parse(text).ok());
            let bytes = bytes.and_then(|bytes| u64::try_from(bytes.units()).ok());
            let bytes = bytes.ok_or_else(|| {
                PluginError::Failed(format!("claim asks for no size that can be made: {storage}"))
            })?;
            disks.create(&request.volume, bytes).await?;
            let fs_type = &request.class["parameters"]["fsType"];
            let fs_type = fs_type.as_str().unwrap_or(format_and_mount::DEFAULT_FS_TYPE);
            Ok(json!({
                "metadata": {"name": &*request.volume},
                "spec": {
                    "accessModes": spec["accessModes"],
                    "capacity": {"storage": storage},
                    "volumeMode": spec["volumeMode"].as_str().unwrap_or("Filesystem"),
                    "persistentVolumeReclaimPolicy": request.class["reclaimPolicy"],
                    "flexVolume": {"driver": NAME, "fsType": fs_type},
                },
            }))
        }
        .boxed()
    }

    fn delete(&self, volume: Value) -> BoxFuture<'static, Result<(), PluginError>> {
        let disks = self.disks.clone();
        async move {
            let name = volume["metadata"]["name"].as_str().unwrap_or_default();
            disks.delete(name).await.map_err(|error| match error {
                error @ HostError::DiskInUse { .. } => PluginError::InUse(error.to_string()),
                error => error.into(),
            })
        }
        .boxed()
    }

    fn volume_name(&self, spec: &VolumeSpec) -> Result<String, PluginError> {
        Ok(spec.name.to_string())
    }

    fn attach<'a>(&'a self, spec: &'a VolumeSpec, node: &'a str) -> Done<'a, String> {
        async move {
            let (disk, shared) = (&*spec.name, spec.allows_multi_attach());
            Ok(self.disks.attach(&on_behalf(disk), disk, node, shared).await?)
        }
        .boxed()
    }

    fn detach<'a>(&'a self, volume_name: &'a str, node: &'a str) -> Done<'a, ()> {
        async move { Ok(self.disks.detach(&on_behalf(volume_name), volume_name, node).await?) }
            .boxed()
    }

    fn are_attached<'a>(&'a self, specs: &'a [VolumeSpec], node: &'a str) -> Done<'a, Vec<bool>> {
        async move {
            let mut answers = Vec::with_capacity(specs.len());
            for spec in specs {
                // A disk that is gone is attached nowhere.
                let nodes = self.disks.attached_to(&spec.name).await.unwrap_or_default();
                answers.push(nodes.iter().any(|(own, _)| own == node));
            }
            Ok(answers)
        }
        .boxed()
    }

    fn attached_to<'a>(&'a self, spec: &'a VolumeSpec) -> Done<'a, Vec<String>> {
        async move { nodes_of(&*self.disks, &spec.name).await }.boxed()
    }

    fn device_mount_path<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, Option<String>> {
        ready(Ok(Some(volume.host.layout().flex_device_mount(NAME, &volume.spec.name)))).boxed()
    }

    fn stage<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, ()> {
        async move {
            let target = volume.host.layout().flex_device_mount(NAME, &volume.spec.name);
            let own: &[&str] = if volume.spec.read_only { &[] } else { &["rw"] };
            let options = steps::mount_options(volume, own);
            stage(volume, &target, fs_type(&volume.spec), options).await
        }
        .boxed()
    }

    fn unstage<'a>(&'a self, volume: &'a NodeVolume, path: &'a str) -> Done<'a, ()> {
        async move { steps::clean_up(&*volume.host, &volume.on_behalf(), path).await }.boxed()
    }

    fn publish<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, Published> {
        async move {
            let staged = volume.host.layout().flex_device_mount(NAME, &volume.spec.name);
            publish(volume, &staged, self.pod_path(volume)).await
        }
        .boxed()
    }

    fn foreseen(&self, volume: &NodeVolume, content: Option<&Content>) -> Vec<Command> {
        let staged = volume.host.layout().flex_device_mount(NAME, &volume.spec.name);
        let own: &[&str] = if volume.spec.read_only { &[] } else { &["rw"] };
        let request = Request {
            device: volume.device_path.clone(),
            target: staged.clone(),
            fs_type: fs_type(&volume.spec),
            options: steps::mount_options(volume, own),
            format_options: Vec::new(),
        };
        let options: &[String] = if volume.spec.read_only { &["ro".to_owned()] } else { &[] };
        let mut commands = format_and_mount::foreseen(&request, content);
        commands.extend(Command::bind(&staged, &self.pod_path(volume), options, &[]));
        commands
    }

    fn block_paths(&self, volume: &NodeVolume) -> Option<BlockPaths> {
        let layout = volume.host.layout();
        Some(BlockPaths {
            global_map: layout.global_map(NAME, &volume.spec.name),
            volume_map: layout.volume_map(volume.pod_uid(), NAME),
        })
    }

    fn expand<'a>(&'a self, spec: &'a VolumeSpec, bytes: u64) -> Done<'a, u64> {
        async move {
            self.disks.grow(&spec.name, bytes).await?;
            Ok(bytes)
        }
        .boxed()
    }

    fn expand_on_node<'a>(&'a self, volume: &'a NodeVolume, _: Quantity) -> Done<'a, ()> {
        async move {
            let target = volume.host.layout().flex_device_mount(NAME, &volume.spec.name);
            steps::grow(volume, &volume.device_path, &target, &fs_type(&volume.spec)).await
        }
        .boxed()
    }

    fn reconstruct<'a>(
        &'a self,
        _host: &'a Arc<dyn Host>,
        found: &'a FoundVolume,
    ) -> Done<'a, VolumeSpec> {
        let volume = json!({
            "metadata": {"name": &*found.name},
            "spec": {
                "volumeMode": if found.is_block { "Block" } else { "Filesystem" },
                "flexVolume": {"driver": NAME},
            },
        });
        ready(Ok(VolumeSpec::from_volume(&volume, false))).boxed()
    }
}
