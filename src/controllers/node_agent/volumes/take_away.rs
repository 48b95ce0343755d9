//! Taking a volume away from a pod, and from the node.
//!
//! None of it makes an event: a failure shows on the board, and as a volume
//! that stays in `volumesInUse`. Upstream: `GenerateUnmountVolumeFunc`,
//! `GenerateUnmountDeviceFunc` and their block counterparts.

use std::sync::Arc;

use crate::controllers::node_agent::volumes::job::{Failure, Job, only_uid};
use crate::controllers::node_agent::volumes::mount::sentence;
use crate::model::node_board::Stage;
use crate::plugins::PluginError;
use crate::plugins::host::{FileKind, Files, HostError};
use crate::plugins::plugin::NodeVolume;
use crate::plugins::steps;

/// The part of a path from which device mounts are compared: the same mount
/// may be seen through another prefix.
const PLUGINS: &str = "/plugins/kubernetes.io/";

fn failed(job: &Job, step: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::silent(sentence(step, &job.spec, error))
}

/// The same, after something was tried on the host.
fn doubtful(job: &Job, step: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure { leaves_doubt: true, ..failed(job, step, error) }
}

/// Unmounts a volume from a pod.
pub async fn unmount(job: Job, pod: Arc<str>) -> Result<(), Failure> {
    (job.reached)(Stage::Unpublish);
    let volume = job.volume(Some(only_uid(&pod)));
    clean_subpaths(&volume)
        .await
        .map_err(|error| failed(&job, "error cleaning subPath mounts", &error))?;
    let gone = job.plugin.unpublish(&volume).await;
    gone.map_err(|error| failed(&job, "UnmountVolume.TearDown failed", &error))
}

/// Takes away the binds of parts of a volume that containers were given.
async fn clean_subpaths(volume: &NodeVolume) -> Result<(), PluginError> {
    let host = &*volume.host;
    let files = Files(host);
    let top = host.layout().subpaths_of(volume.pod_uid(), &volume.spec.name);
    if files.look(&top).await?.is_none() {
        return Ok(());
    }
    for container in files.list(&top).await? {
        let container = format!("{top}/{}", container.name);
        for bound in files.list(&container).await? {
            let path = format!("{container}/{}", bound.name);
            while host.mounts().await?.is_mount_point(&path) {
                steps::unmount(host, &volume.on_behalf(), &path, false).await?;
            }
            match bound.facts.kind {
                FileKind::Directory => files.remove_directory(&path).await?,
                _ => files.remove_file(&path).await?,
            }
        }
        files.remove_directory(&container).await?;
    }
    Ok(files.remove_directory(&top).await?)
}

/// Takes a block device from a pod.
pub async fn unmap(job: Job, pod: Arc<str>) -> Result<(), Failure> {
    (job.reached)(Stage::Unpublish);
    let volume = job.volume(Some(only_uid(&pod)));
    let Some(paths) = job.plugin.block_paths(&volume) else { return Ok(()) };
    let gone = async {
        steps::unmap_block(&volume, &paths).await?;
        job.plugin.unpublish_device(&volume).await
    };
    let gone = gone.await;
    gone.map_err(|error| failed(&job, "UnmapVolume.UnmapBlockVolume failed", &error))
}

/// Takes the mount away that all pods shared.
pub async fn unmount_device(job: Job) -> Result<(), Failure> {
    const STEP: &str = "UnmountDevice failed";
    (job.reached)(Stage::Unstage);
    let volume = job.volume(None);
    let path = match job.plugin.device_mount_path(&volume).await {
        Ok(path) => path.unwrap_or_default(),
        // What is gone was where it was last seen.
        Err(error) if error.to_string().contains("does not exist") => job.device_mount_path.clone(),
        Err(error) => return Err(failed(&job, "GetDeviceMountPath failed", &error)),
    };
    if path.is_empty() {
        return Ok(());
    }
    let others = other_mounts(&volume, &path).await;
    let others = others.map_err(|error| failed(&job, "GetDeviceMountRefs check failed", &error))?;
    if !others.is_empty() {
        let others = others.join(" ");
        let text = format!(
            "the device mount path \"{path}\" is still mounted by other references [{others}]"
        );
        return Err(failed(&job, "GetDeviceMountRefs check failed", &text));
    }
    job.plugin.unstage(&volume, &path).await.map_err(|error| doubtful(&job, STEP, &error))?;
    not_in_use(&job, STEP).await
}

/// Where else a device mount is mounted.
async fn other_mounts(volume: &NodeVolume, path: &str) -> Result<Vec<String>, HostError> {
    let own = path.find(PLUGINS).map_or(path, |at| &path[at..]);
    let table = volume.host.mounts().await?;
    let others = table.references(path).into_iter().map(|mount| mount.target.clone());
    Ok(others.filter(|other| !other.contains(own)).collect())
}

/// Undoes what was set up for a block device.
pub async fn unmap_device(job: Job) -> Result<(), Failure> {
    const STEP: &str = "UnmapDevice failed";
    (job.reached)(Stage::Unstage);
    let volume = job.volume(None);
    let Some(paths) = job.plugin.block_paths(&volume) else { return Ok(()) };
    let files = Files(&*job.host);
    let left = files.entries(&paths.global_map).await;
    let left = left.map_err(|error| failed(&job, STEP, &error))?;
    let devices = left.iter().filter(|entry| entry.facts.kind == FileKind::BlockDevice);
    let devices: Vec<&str> = devices.map(|entry| &*entry.name).collect();
    if !devices.is_empty() {
        let (device, pods) = (&job.device_path, devices.join(" "));
        let text = format!("the device \"{device}\" is still referenced from other Pods [{pods}]");
        return Err(failed(&job, STEP, &text));
    }
    let down = job.plugin.tear_down_device(&volume).await;
    down.map_err(|error| doubtful(&job, "UnmapDevice.TearDownDevice failed", &error))?;
    let gone = files.remove_directory(&paths.global_map).await;
    gone.map_err(|error| doubtful(&job, STEP, &error))?;
    not_in_use(&job, STEP).await
}

/// Nobody may have the device open any more, or detaching would lose data.
async fn not_in_use(job: &Job, step: &str) -> Result<(), Failure> {
    if job.device_path.is_empty() {
        return Ok(());
    }
    let files = Files(&*job.host);
    let looked = files.look(&job.device_path).await;
    let there = looked.map_err(|error| doubtful(job, step, &error))?;
    if there.is_none_or(|facts| facts.kind != FileKind::BlockDevice) {
        return Ok(());
    }
    match files.is_busy(&job.device_path).await {
        Ok(false) => Ok(()),
        Ok(true) => {
            let text = "the device is in use when it was no longer expected to be in use";
            Err(doubtful(job, step, &text))
        }
        Err(error) => Err(doubtful(job, step, &error)),
    }
}
