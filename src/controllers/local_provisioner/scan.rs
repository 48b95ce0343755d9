//! Looking below a discovery directory, and emptying what is there.

use std::sync::Arc;

use futures::future::join_all;

use super::cleaning;
use super::config::ClassConfig;
use super::discover::{Entry, Found};
use super::reclaim::is_below;
use crate::plugins::host::{Command, Exit, FileKind, Files, Host, MountTable, OnBehalf};

/// The entries of a class's directory. Those that `skip` names are not looked
/// at: their volumes are there and need nothing.
pub(super) async fn entries(
    host: &Arc<dyn Host>,
    class: &ClassConfig,
    mounts: &MountTable,
    skip: &(dyn Fn(&str) -> bool + Sync),
) -> Result<Vec<Entry>, String> {
    let listed = Files(&**host).list(&class.mount_dir).await;
    let listed = listed.map_err(|error| format!("error reading directory: {error}"))?;
    // Directory order is the host's own affair. Memory filesystems, the usual
    // ones in a demo, tell the newest first: so do we, as far as names tell.
    let names = listed.iter().rev().map(|entry| &*entry.name).filter(|name| !skip(name));
    Ok(join_all(names.map(|name| entry(host, class, mounts, name))).await)
}

async fn entry(
    host: &Arc<dyn Host>,
    class: &ClassConfig,
    mounts: &MountTable,
    name: &str,
) -> Entry {
    let path = format!("{}/{name}", class.mount_dir.trim_end_matches('/'));
    let files = Files(&**host);
    let found = match files.look(&path).await {
        Ok(Some(facts)) => match facts.kind {
            FileKind::Directory => {
                Found::Directory { is_mount_point: mounts.is_mount_point(&path) }
            }
            FileKind::BlockDevice => Found::BlockDevice,
            _ => Found::Other,
        },
        Ok(None) => Found::Unknown { why: format!("stat {path}: no such file or directory") },
        Err(error) => Found::Unknown { why: error.to_string() },
    };
    let size = match found {
        Found::Directory { is_mount_point: true } | Found::BlockDevice => {
            files.capacity(&path).await.map_err(|error| error.to_string())
        }
        _ => Err("not asked for".to_owned()),
    };
    Entry { name: name.to_owned(), found, size }
}

/// What is at a released volume's path now, as the provisioner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ToClean {
    /// To be emptied and kept.
    Directory { path: String },
    /// To be given to the class's cleaner.
    Device { path: String },
}

/// Looks at what is to be cleaned: what is there decides, not the volume's
/// mode.
pub(super) async fn to_clean(
    host: &Arc<dyn Host>,
    class: &ClassConfig,
    path: &str,
) -> Result<ToClean, String> {
    let seen = path.strip_prefix(class.host_dir.trim_end_matches('/'));
    let seen = seen.map(|rest| format!("{}{rest}", class.mount_dir.trim_end_matches('/')));
    let seen = seen.filter(|seen| is_below(seen, &class.mount_dir));
    let seen = seen.ok_or_else(|| {
        format!("path \"{path}\" is not below the discovery directory \"{}\"", class.mount_dir)
    })?;
    let facts = Files(&**host).look(&seen).await;
    let facts = facts.map_err(|error| unreadable(&seen, &error.to_string()))?;
    let gone = || unreadable(&seen, &format!("stat {seen}: no such file or directory"));
    match facts.ok_or_else(gone)?.kind {
        FileKind::Directory => Ok(ToClean::Directory { path: seen }),
        FileKind::BlockDevice => Ok(ToClean::Device { path: seen }),
        _ => Err(unreadable(&seen, "not a directory nor block device")),
    }
}

/// Cleans it.
pub(super) async fn clean(
    host: &Arc<dyn Host>,
    class: &ClassConfig,
    what: &ToClean,
    volume: &str,
) -> Result<(), String> {
    match what {
        ToClean::Directory { path } => empty(host, path).await,
        ToClean::Device { path } => wipe(host, class, path, volume).await,
    }
}

fn unreadable(path: &str, why: &str) -> String {
    format!("failed to get volume mode of path \"{path}\": {why}")
}

/// Removes every entry inside; goes on after one that cannot be removed.
async fn empty(host: &Arc<dyn Host>, directory: &str) -> Result<(), String> {
    let files = Files(&**host);
    let listed = files.list(directory).await.map_err(|error| error.to_string())?;
    let mut faults = Vec::new();
    for entry in listed {
        let path = format!("{directory}/{}", entry.name);
        let removed = match entry.facts.kind {
            FileKind::Directory => files.remove_tree(&path).await,
            _ => files.remove_file(&path).await,
        };
        if let Err(error) = removed {
            faults.push(error.to_string());
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
}

/// Runs the cleaner's commands, one after the other; none after one that
/// failed.
async fn wipe(
    host: &Arc<dyn Host>,
    class: &ClassConfig,
    device: &str,
    volume: &str,
) -> Result<(), String> {
    let bytes = Files(&**host).capacity(device).await.map_err(|error| error.to_string())?;
    let fault = |why: String| {
        let cleaner = class.block_cleaner.join(" ");
        format!("the cleaner `{cleaner}` failed on {device}: {why}")
    };
    for argv in cleaning::commands(&class.block_cleaner, device, bytes).map_err(fault)? {
        let line = argv.join(" ");
        let command = Command::Wipe { device: device.to_owned(), argv };
        let ran = host.run(&OnBehalf::volume(volume), command).await;
        let record = ran.map_err(|error| fault(error.to_string()))?;
        if !record.succeeded() {
            let exit = record.exit().unwrap_or(Exit::GivenUp);
            return Err(fault(format!("`{line}`: {exit} {}", record.output().trim())));
        }
    }
    Ok(())
}
