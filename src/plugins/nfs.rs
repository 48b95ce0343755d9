//! `kubernetes.io/nfs`: a mount for each pod, straight from the server.
//! Nothing is shared between pods, and fsGroup is not applied.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, Either, FutureExt, ready, select};
use serde_json::{Value, json};

use crate::model::clock::TimerUse;
use crate::model::volume_source::{VolumeSource, VolumeSpec};
use crate::plugins::error::PluginError;
use crate::plugins::format_and_mount::Content;
use crate::plugins::host::{Command, Files, Host, OnBehalf};
use crate::plugins::kinds;
use crate::plugins::plugin::{
    Done, FoundVolume, NodeVolume, PluginFacts, Published, Recycling, VolumePlugin,
};
use crate::plugins::recycler_pod::{RecyclerTimes, recycler_pod};
use crate::plugins::steps::{self, MOUNT_POINT_MODE};

/// How long `umount` is waited for before `umount -f`.
const UNMOUNT_PATIENCE: Duration = Duration::from_secs(60);

/// The plugin for `nfs` volumes.
pub struct Nfs;

fn source(spec: &VolumeSpec) -> Result<String, PluginError> {
    match &spec.source {
        VolumeSource::Nfs { server, path } => {
            let is_ipv6 = server.contains(':') && !server.starts_with('[');
            Ok(if is_ipv6 { format!("[{server}]:{path}") } else { format!("{server}:{path}") })
        }
        _ => Err(PluginError::NoPluginMatched),
    }
}

impl VolumePlugin for Nfs {
    fn facts(&self) -> PluginFacts {
        kinds::NFS.facts.clone()
    }

    fn recycle(&self, volume: Value) -> BoxFuture<'static, Recycling> {
        let nfs = &volume["spec"]["nfs"];
        let source = json!({"nfs": {"server": nfs["server"], "path": nfs["path"]}});
        let pod = recycler_pod(&volume, source, RecyclerTimes { minimum: 300, per_gib: 30 });
        ready(Recycling::Pod(Box::new(pod))).boxed()
    }

    fn volume_name(&self, spec: &VolumeSpec) -> Result<String, PluginError> {
        match &spec.source {
            VolumeSource::Nfs { server, path } => Ok(format!("{server}/{path}")),
            _ => Err(PluginError::NoPluginMatched),
        }
    }

    fn publish<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, Published> {
        async move {
            let (host, on_behalf) = (&*volume.host, volume.on_behalf());
            let target = self.pod_path(volume);
            let published = Published {
                host_path: target.clone(),
                read_only: volume.spec.read_only,
                managed: false,
                warning: None,
            };
            if host.mounts().await?.is_mount_point(&target) {
                return Ok(published);
            }
            Files(host).make_directories(&target, MOUNT_POINT_MODE).await?;
            let command = command(volume, target.clone())?;
            if let Err(error) = steps::mount(host, &on_behalf, command).await {
                steps::take_back(host, &on_behalf, &target).await;
                return Err(error);
            }
            Ok(published)
        }
        .boxed()
    }

    fn foreseen(&self, volume: &NodeVolume, _: Option<&Content>) -> Vec<Command> {
        command(volume, self.pod_path(volume)).into_iter().collect()
    }

    fn unpublish<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, ()> {
        async move {
            let (host, on_behalf) = (&*volume.host, volume.on_behalf());
            let target = self.pod_path(volume);
            if host.mounts().await?.is_mount_point(&target) {
                unmount(host, &on_behalf, &target).await?;
            }
            steps::clean_up(host, &on_behalf, &target).await
        }
        .boxed()
    }

    /// A placeholder, enough to unmount.
    fn reconstruct<'a>(
        &'a self,
        _host: &'a Arc<dyn Host>,
        found: &'a FoundVolume,
    ) -> Done<'a, VolumeSpec> {
        let volume = json!({"name": &*found.name, "nfs": {"path": &*found.name}});
        ready(Ok(VolumeSpec::from_inline(&volume))).boxed()
    }
}

fn command(volume: &NodeVolume, target: String) -> Result<Command, PluginError> {
    Ok(Command::Mount {
        source: source(&volume.spec)?,
        target,
        fs_type: "nfs".to_owned(),
        options: steps::mount_options(volume, &[]),
    })
}

/// Unmounts; by force if the server has not let go within a minute.
async fn unmount(host: &dyn Host, on_behalf: &OnBehalf, target: &str) -> Result<(), PluginError> {
    let gently = steps::unmount(host, on_behalf, target, false).boxed();
    let patience = host.clock().sleep(UNMOUNT_PATIENCE, TimerUse::Work);
    match select(gently, patience).await {
        Either::Left((done, _)) => done,
        Either::Right(((), _)) => steps::unmount(host, on_behalf, target, true).await,
    }
}
