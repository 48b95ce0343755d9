//! Steps that several plugins share: bind, clean up a mount point, mount one
//! filesystem, map a block device, grow.

use crate::plugins::error::PluginError;
use crate::plugins::format_and_mount::mount_failure;
use crate::plugins::host::files::Ownership;
use crate::plugins::host::{Command, FileKind, Files, Host, OnBehalf};
use crate::plugins::plugin::{BlockPaths, NodeVolume};

/// The mode of every directory that a volume is mounted on.
pub const MOUNT_POINT_MODE: u32 = 0o750;

/// Runs a mount; its failure is told in Kubernetes' words.
pub async fn mount(
    host: &dyn Host,
    on_behalf: &OnBehalf,
    command: Command,
) -> Result<(), PluginError> {
    let record = host.run(on_behalf, command).await?;
    match record.exit() {
        Some(exit) if !exit.is_success() => {
            Err(PluginError::Failed(mount_failure(&record.command, exit, record.output())))
        }
        Some(_) => Ok(()),
        None => Err(PluginError::Uncertain(format!("`{}` has not ended", record.line()))),
    }
}

/// Binds a directory or device on a target that exists: two mounts. If the
/// second fails the first is taken back.
pub async fn bind(
    volume: &NodeVolume,
    source: &str,
    target: &str,
    options: &[String],
) -> Result<(), PluginError> {
    let host = &*volume.host;
    let on_behalf = volume.on_behalf();
    let kept = host.mounts().await?.kept_by_bind(source);
    for command in Command::bind(source, target, options, &kept) {
        if let Err(error) = mount(host, &on_behalf, command).await {
            take_back(host, &on_behalf, target).await;
            return Err(error);
        }
    }
    Ok(())
}

/// Unmounts.
pub async fn unmount(
    host: &dyn Host,
    on_behalf: &OnBehalf,
    target: &str,
    force: bool,
) -> Result<(), PluginError> {
    let command = Command::Unmount { target: target.to_owned(), force };
    let record = host.run(on_behalf, command).await?;
    // Its answer that there is nothing to unmount is success.
    if record.succeeded() || record.output().contains("not mounted") {
        return Ok(());
    }
    let Some(exit) = record.exit() else {
        return Err(PluginError::Uncertain(format!("`{}` has not ended", record.line())));
    };
    let output = record.output();
    Err(PluginError::Failed(format!(
        "unmount failed: {exit}\nUnmounting arguments: {target}\nOutput: {output}"
    )))
}

/// Takes a mount point away: unmount if mounted, see that it is not, remove the
/// empty directory. Nothing there is success. Never recursive.
pub async fn clean_up(
    host: &dyn Host,
    on_behalf: &OnBehalf,
    target: &str,
) -> Result<(), PluginError> {
    // A path that cannot be looked at is a corrupted mount: unmounted unseen.
    let there = Files(host).look_at_link(target).await;
    if matches!(there, Ok(None)) {
        return Ok(());
    }
    if there.is_err() || host.mounts().await?.is_mount_point(target) {
        unmount(host, on_behalf, target, false).await?;
        if host.mounts().await?.is_mount_point(target) {
            return Err(PluginError::Failed(format!("failed to unmount path {target}")));
        }
    }
    Ok(Files(host).remove_directory(target).await?)
}

/// Cleans up after a mount that failed. What stays is only logged: the mount's
/// own error is what is told, and the next try finds what is there.
pub async fn take_back(host: &dyn Host, on_behalf: &OnBehalf, target: &str) {
    if let Err(error) = clean_up(host, on_behalf, target).await {
        tracing::warn!(node = %host.node(), target, %error, "a failed mount is not cleaned up");
    }
}

/// Gives the files to the pod's fsGroup, if it has one and may.
pub async fn own(volume: &NodeVolume, path: &str) -> Result<(), PluginError> {
    let pod = volume.pod.as_ref();
    let Some((group, pod)) = pod.and_then(|pod| Some((pod.fs_group?, pod))) else {
        return Ok(());
    };
    if volume.spec.read_only {
        return Ok(());
    }
    let ownership =
        Ownership { group, read_only: false, only_on_root_mismatch: pod.only_on_root_mismatch };
    Ok(Files(&*volume.host).set_ownership(path, ownership).await?)
}

/// The mount options of a PV with the plugin's own. If the PV has any they are
/// joined, sorted, each once; else the plugin's own stay as they are.
pub fn mount_options(volume: &NodeVolume, own: &[&str]) -> Vec<String> {
    let mut options: Vec<String> = own.iter().map(|option| (*option).to_owned()).collect();
    if volume.spec.read_only {
        options.push("ro".to_owned());
    }
    if let Some(more) = &volume.spec.mount_options {
        options.extend(more.iter().map(|option| (**option).to_owned()));
        options.sort();
        options.dedup();
    }
    options
}

/// Maps a block device for a pod: bind it on a file below the global map path,
/// link it in the pod's directory, keep it with a loop device. Each is done
/// only if it is not done yet.
pub async fn map_block(
    volume: &NodeVolume,
    paths: &BlockPaths,
    device: &str,
) -> Result<(), PluginError> {
    let host = &*volume.host;
    let (files, on_behalf) = (Files(host), volume.on_behalf());
    files.make_directories(&paths.global_map, MOUNT_POINT_MODE).await?;
    let bound = format!("{}/{}", paths.global_map, volume.pod_uid());
    let there = files.look(&bound).await?;
    if there.as_ref().is_none_or(|facts| facts.kind != FileKind::BlockDevice) {
        if there.is_none() {
            files.write(&bound, b"", MOUNT_POINT_MODE).await?;
        }
        mount(host, &on_behalf, Command::bind_plain(device, &*bound)).await?;
    }
    files.make_directories(&paths.volume_map, MOUNT_POINT_MODE).await?;
    files.link(&format!("{}/{}", paths.volume_map, volume.spec.name), device).await?;
    if locks(host, &on_behalf, &bound).await?.is_empty() {
        let record = host.run(&on_behalf, Command::LoopLock { file: bound.clone() }).await?;
        if !record.succeeded() {
            let text = format!("failed to attach loop device to {bound}: {}", record.output());
            return Err(PluginError::Failed(text));
        }
    }
    Ok(())
}

/// Undoes [`map_block`]: the lock, the link, the bind. What is gone is success.
pub async fn unmap_block(volume: &NodeVolume, paths: &BlockPaths) -> Result<(), PluginError> {
    let host = &*volume.host;
    let (files, on_behalf) = (Files(host), volume.on_behalf());
    let bound = format!("{}/{}", paths.global_map, volume.pod_uid());
    for device in locks(host, &on_behalf, &bound).await? {
        let record = host.run(&on_behalf, Command::LoopDetach { device }).await?;
        if !record.succeeded() {
            return Err(PluginError::Failed(format!("losetup -d failed: {}", record.output())));
        }
    }
    files.remove_file(&format!("{}/{}", paths.volume_map, volume.spec.name)).await?;
    if host.mounts().await?.is_mount_point(&bound) {
        unmount(host, &on_behalf, &bound, false).await?;
    }
    Ok(files.remove_file(&bound).await?)
}

/// The loop devices that keep a file.
async fn locks(
    host: &dyn Host,
    on_behalf: &OnBehalf,
    file: &str,
) -> Result<Vec<String>, PluginError> {
    if Files(host).look(file).await?.is_none() {
        return Ok(Vec::new());
    }
    let record = host.run(on_behalf, Command::LoopFind { file: file.to_owned() }).await?;
    // A device is the same file for all pods that have it: the path tells.
    let own = |line: &str| {
        let (device, opened) = line.trim().split_once(' ')?;
        (opened == file).then(|| device.to_owned())
    };
    Ok(record.output().lines().filter_map(own).collect())
}

/// Grows a filesystem to its device; a read-only device is left alone.
pub async fn grow(
    volume: &NodeVolume,
    device: &str,
    mount_point: &str,
    fs_type: &str,
) -> Result<(), PluginError> {
    let (host, on_behalf) = (&*volume.host, volume.on_behalf());
    let command = Command::IsReadOnly { device: device.to_owned() };
    if host.run(&on_behalf, command).await?.output().trim() == "1" {
        return Ok(());
    }
    if !matches!(fs_type, "ext3" | "ext4" | "xfs" | "btrfs") {
        let text = format!("resize of format {fs_type} is not supported for device {device}");
        return Err(PluginError::Failed(text));
    }
    let command = Command::Grow {
        device: device.to_owned(),
        mount_point: mount_point.to_owned(),
        fs_type: fs_type.to_owned(),
    };
    let record = host.run(&on_behalf, command).await?;
    if record.succeeded() {
        return Ok(());
    }
    let output = record.output();
    Err(PluginError::Failed(format!("resize of device {device} failed: {output}")))
}
