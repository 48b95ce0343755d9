//! Kinds that are in Kubernetes no more, on one generic backend, so that their
//! volumes can be shown: each with the attach semantics, device mount and
//! access modes it had. Disks are [`Disks`]; file systems of the network are
//! mounted by their type. For simulated nodes only.

use std::sync::Arc;

use futures::future::{FutureExt, ready};
use serde_json::{Value, json};

use crate::model::access_modes::AccessMode;
use crate::model::volume_source::{VolumeSource, VolumeSpec};
use crate::plugins::block_disk;
use crate::plugins::error::PluginError;
use crate::plugins::format_and_mount::DEFAULT_FS_TYPE;
use crate::plugins::host::{Command, Disks, Files, Host, HostError, OnBehalf};
use crate::plugins::kinds::Kind;
use crate::plugins::layout::escaped;
use crate::plugins::plugin::{
    BlockPaths, Capability, Done, FoundVolume, NodeVolume, PluginFacts, Published, VolumePlugin,
};
use crate::plugins::steps::{self, MOUNT_POINT_MODE};

/// The size of a disk whose volume states no capacity.
const DEFAULT_BYTES: u64 = 1 << 30;

/// A kind that is gone.
pub struct Legacy {
    kind: &'static Kind,
    disks: Arc<dyn Disks>,
}

impl Legacy {
    pub fn new(kind: &'static Kind, disks: Arc<dyn Disks>) -> Self {
        Self { kind, disks }
    }

    fn content<'a>(&self, spec: &'a VolumeSpec) -> Result<&'a Value, PluginError> {
        match &spec.source {
            VolumeSource::Other { field, content } if **field == *self.kind.field() => Ok(content),
            _ => Err(PluginError::NoPluginMatched),
        }
    }

    /// What is behind the volume, fit for a path.
    fn id(&self, spec: &VolumeSpec) -> Result<String, PluginError> {
        let id = self.content(spec)?[self.kind.id_field].as_str().unwrap_or(&spec.name);
        Ok(id.replace(['/', '[', ']', ' '], "_"))
    }

    fn disk(&self, id: &str) -> String {
        format!("{}_{id}", escaped(self.kind.facts.name))
    }

    fn is_disk(&self) -> bool {
        self.kind.facts.can(Capability::Attach)
    }

    fn fs_type(&self, spec: &VolumeSpec) -> String {
        let content = self.content(spec).ok();
        let fs_type = content.and_then(|content| content["fsType"].as_str());
        fs_type.unwrap_or(DEFAULT_FS_TYPE).to_owned()
    }

    fn device_mount(&self, volume: &NodeVolume) -> Result<String, PluginError> {
        let id = self.id(&volume.spec)?;
        Ok(volume.host.layout().disk_device_mount(self.kind.facts.name, &id))
    }

    /// The mount of a file system of the network.
    fn network_mount(&self, volume: &NodeVolume, target: &str) -> Result<Command, PluginError> {
        let (spec, content) = (&volume.spec, self.content(&volume.spec)?);
        let id = self.id(spec)?;
        let (fs_type, server) = match self.kind.field() {
            "azureFile" => ("cifs", "secretName"),
            "cephfs" => ("ceph", "monitors"),
            "glusterfs" => ("glusterfs", "endpoints"),
            "quobyte" => ("quobyte", "registry"),
            "portworxVolume" => ("pxfs", "volumeID"),
            "scaleIO" => ("scini", "gateway"),
            _ => ("storageos", "volumeNamespace"),
        };
        let server = content[server].as_str().or(content[server][0].as_str()).unwrap_or("backend");
        Ok(Command::Mount {
            source: format!("{server}:{id}"),
            target: target.to_owned(),
            fs_type: fs_type.to_owned(),
            options: steps::mount_options(volume, &[]),
        })
    }
}

impl VolumePlugin for Legacy {
    fn facts(&self) -> PluginFacts {
        self.kind.facts.clone()
    }

    fn volume_name(&self, spec: &VolumeSpec) -> Result<String, PluginError> {
        self.id(spec)
    }

    /// The first attach makes the disk: there is no cloud to have made it.
    fn attach<'a>(&'a self, spec: &'a VolumeSpec, node: &'a str) -> Done<'a, String> {
        async move {
            let id = self.id(spec)?;
            let disk = self.disk(&id);
            let bytes = spec.capacity.and_then(|size| u64::try_from(size.units()).ok());
            self.disks.create(&disk, bytes.unwrap_or(DEFAULT_BYTES)).await?;
            let may_share = self.kind.modes.iter().any(|mode| *mode != AccessMode::ReadWriteOnce);
            let shared = may_share && spec.allows_multi_attach();
            let on_behalf = OnBehalf::volume(format!("{}/{id}", self.kind.facts.name));
            Ok(self.disks.attach(&on_behalf, &disk, node, shared).await?)
        }
        .boxed()
    }

    fn detach<'a>(&'a self, volume_name: &'a str, node: &'a str) -> Done<'a, ()> {
        async move {
            let on_behalf = OnBehalf::volume(format!("{}/{volume_name}", self.kind.facts.name));
            Ok(self.disks.detach(&on_behalf, &self.disk(volume_name), node).await?)
        }
        .boxed()
    }

    fn are_attached<'a>(&'a self, specs: &'a [VolumeSpec], node: &'a str) -> Done<'a, Vec<bool>> {
        async move {
            let mut answers = Vec::with_capacity(specs.len());
            for spec in specs {
                let nodes = match self.disks.attached_to(&self.disk(&self.id(spec)?)).await {
                    Err(HostError::NoSuchDisk { .. }) => Vec::new(),
                    nodes => nodes?,
                };
                answers.push(nodes.iter().any(|(own, _)| own == node));
            }
            Ok(answers)
        }
        .boxed()
    }

    fn attached_to<'a>(&'a self, spec: &'a VolumeSpec) -> Done<'a, Vec<String>> {
        async move {
            if !self.is_disk() {
                return Ok(Vec::new());
            }
            block_disk::nodes_of(&*self.disks, &self.disk(&self.id(spec)?)).await
        }
        .boxed()
    }

    fn device_mount_path<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, Option<String>> {
        let path = self.is_disk().then(|| self.device_mount(volume)).transpose();
        ready(path).boxed()
    }

    fn stage<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, ()> {
        async move {
            if !self.is_disk() {
                return Ok(());
            }
            let (target, fs_type) = (self.device_mount(volume)?, self.fs_type(&volume.spec));
            let options = steps::mount_options(volume, &[]);
            block_disk::stage(volume, &target, fs_type, options).await
        }
        .boxed()
    }

    fn unstage<'a>(&'a self, volume: &'a NodeVolume, path: &'a str) -> Done<'a, ()> {
        async move { steps::clean_up(&*volume.host, &volume.on_behalf(), path).await }.boxed()
    }

    fn publish<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, Published> {
        async move {
            let target = self.pod_path(volume);
            if self.is_disk() {
                return block_disk::publish(volume, &self.device_mount(volume)?, target).await;
            }
            let (host, on_behalf) = (&*volume.host, volume.on_behalf());
            let command = self.network_mount(volume, &target)?;
            if !host.mounts().await?.is_mount_point(&target) {
                Files(host).make_directories(&target, MOUNT_POINT_MODE).await?;
                if let Err(error) = steps::mount(host, &on_behalf, command).await {
                    steps::take_back(host, &on_behalf, &target).await;
                    return Err(error);
                }
            }
            let read_only = volume.spec.read_only;
            Ok(Published { host_path: target, read_only, managed: false, warning: None })
        }
        .boxed()
    }

    fn block_paths(&self, volume: &NodeVolume) -> Option<BlockPaths> {
        if !self.kind.facts.can(Capability::Block) {
            return None;
        }
        let (layout, name) = (volume.host.layout(), self.kind.facts.name);
        let id = self.id(&volume.spec).ok()?;
        Some(BlockPaths {
            global_map: layout.global_map(name, &id),
            volume_map: layout.volume_map(volume.pod_uid(), name),
        })
    }

    /// The disk is the last part of the device mount that the pod's mount is
    /// a bind of.
    fn reconstruct<'a>(
        &'a self,
        host: &'a Arc<dyn Host>,
        found: &'a FoundVolume,
    ) -> Done<'a, VolumeSpec> {
        async move {
            let (layout, name) = (host.layout(), self.kind.facts.name);
            let own = layout.pod_volume(&found.pod_uid, name, &found.name);
            let mounts = layout.disk_device_mount(name, "");
            let table = host.mounts().await?;
            let references = table.references(&own);
            let staged = references.iter().find_map(|other| other.target.strip_prefix(&mounts));
            let mut volume = json!({
                "metadata": {"name": &*found.name},
                "spec": {"volumeMode": if found.is_block { "Block" } else { "Filesystem" }},
            });
            let id = staged.unwrap_or(&found.name);
            volume["spec"][self.kind.field()] = json!({self.kind.id_field: id});
            Ok(VolumeSpec::from_volume(&volume, false))
        }
        .boxed()
    }
}
