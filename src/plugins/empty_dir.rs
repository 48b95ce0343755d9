//! `kubernetes.io/empty-dir`: a directory that lives as long as its pod, on the
//! node's disk or in memory.

use std::sync::Arc;

use futures::future::{FutureExt, ready};
use serde_json::json;

use crate::model::volume_source::{VolumeSource, VolumeSpec};
use crate::plugins::error::PluginError;
use crate::plugins::host::{Command, Files, Host};
use crate::plugins::plugin::{
    Capabilities, Capability, Done, FoundVolume, NodeVolume, PluginFacts, Published, VolumePlugin,
};
use crate::plugins::steps;

const NAME: &str = "kubernetes.io/empty-dir";

/// The plugin for `emptyDir` volumes.
pub struct EmptyDir;

impl VolumePlugin for EmptyDir {
    fn facts(&self) -> PluginFacts {
        PluginFacts {
            name: NAME,
            source: Some("emptyDir"),
            driver: None,
            capabilities: Capabilities::of(&[Capability::Publish, Capability::Ownership]),
        }
    }

    fn volume_name(&self, spec: &VolumeSpec) -> Result<String, PluginError> {
        Ok(spec.name.to_string())
    }

    fn publish<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, Published> {
        async move {
            let (host, files) = (&*volume.host, Files(&*volume.host));
            let target = self.pod_path(volume);
            let published = Published {
                host_path: target.clone(),
                read_only: false,
                managed: true,
                warning: None,
            };
            let own = host.layout().pod_plugin(volume.pod_uid(), NAME, &volume.spec.name);
            let marker = format!("{own}/ready");
            let mount = medium(volume, &target);
            let mounted = mount.is_none() || host.mounts().await?.is_mount_point(&target);
            if mounted && files.look(&marker).await?.is_some() {
                return Ok(published);
            }
            files.make_directories(&target, 0o777).await?;
            if let Some(command) = mount.filter(|_| !mounted) {
                steps::mount(host, &volume.on_behalf(), command).await?;
            }
            steps::own(volume, &target).await?;
            files.make_directories(&own, steps::MOUNT_POINT_MODE).await?;
            files.write(&marker, b"", 0o644).await?;
            Ok(published)
        }
        .boxed()
    }

    fn unpublish<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, ()> {
        async move {
            let host = &*volume.host;
            let target = self.pod_path(volume);
            if host.mounts().await?.is_mount_point(&target) {
                steps::unmount(host, &volume.on_behalf(), &target, false).await?;
            }
            let own = host.layout().pod_plugin(volume.pod_uid(), NAME, &volume.spec.name);
            Files(host).remove_tree(&target).await?;
            Ok(Files(host).remove_tree(&own).await?)
        }
        .boxed()
    }

    fn reconstruct<'a>(
        &'a self,
        _host: &'a Arc<dyn Host>,
        found: &'a FoundVolume,
    ) -> Done<'a, VolumeSpec> {
        let volume = json!({"name": &*found.name, "emptyDir": {}});
        ready(Ok(VolumeSpec::from_inline(&volume))).boxed()
    }
}

/// The mount that the medium asks for; `None`: the node's disk.
fn medium(volume: &NodeVolume, target: &str) -> Option<Command> {
    let VolumeSource::EmptyDir { medium, size_limit } = &volume.spec.source else { return None };
    let mount = |fs_type: &str, source: &str, options: Vec<String>| Command::Mount {
        source: source.to_owned(),
        target: target.to_owned(),
        fs_type: fs_type.to_owned(),
        options,
    };
    if &**medium == "Memory" {
        let own = size_limit.and_then(|limit| u64::try_from(limit.units()).ok());
        let pod = volume.pod.as_ref().and_then(|pod| pod.size_limit);
        let size = own.filter(|own| *own > 0).into_iter().chain(pod).min();
        return Some(mount(
            "tmpfs",
            "tmpfs",
            size.map(|size| format!("size={size}")).into_iter().collect(),
        ));
    }
    let pages = medium.strip_prefix("HugePages")?;
    let size = pages.strip_prefix('-').map(|size| format!("pagesize={size}"));
    Some(mount("hugetlbfs", "nodev", size.into_iter().collect()))
}
