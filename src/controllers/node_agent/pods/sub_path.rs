//! Prepares a subPath: finds it inside its volume without ever leaving that,
//! makes it if it is missing, and binds it where the container's mount starts.
//!
//! Upstream: `pkg/volume/util/subpath`. There the path is opened step by step
//! and the open file is bound; here no step may be a symbolic link that leads
//! out of the volume, and the path found is bound. What the user is told is
//! deliberately vague, as there.

use std::sync::Arc;

use super::container_files::ContainerFiles;
use super::mounts::{ContainerMount, Propagation, SubPath};
use crate::plugins::host::{Command, FileKind, Files, Host, HostError, OnBehalf};

/// Why there is no subPath.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubPathFault {
    #[error(
        "failed to create subPath directory for volumeMount \"{volume}\" of container \"{container}\""
    )]
    NotCreated { volume: String, container: String },
    #[error("failed to prepare subPath for volumeMount \"{volume}\" of container \"{container}\"")]
    NotPrepared { volume: String, container: String },
}

const DIRECTORY_MODE: u32 = 0o750;

/// Binds a subPath; one that is bound already stays.
pub async fn prepare(
    host: &Arc<dyn Host>,
    on_behalf: &OnBehalf,
    container: &str,
    sub_path: &SubPath,
) -> Result<(), SubPathFault> {
    let (volume, container) = (sub_path.outer_name.to_string(), container.to_owned());
    if let Err(error) = create(host, sub_path).await {
        tracing::warn!(node = %host.node(), path = sub_path.path, %error, "no subPath directory");
        return Err(SubPathFault::NotCreated { volume, container });
    }
    if let Err(error) = bind(host, on_behalf, sub_path).await {
        tracing::warn!(node = %host.node(), path = sub_path.path, error, "no subPath bind");
        return Err(SubPathFault::NotPrepared { volume, container });
    }
    Ok(())
}

/// Makes what is missing of the path, with the mode of the volume.
async fn create(host: &Arc<dyn Host>, sub_path: &SubPath) -> Result<(), HostError> {
    let inside = inside(host, sub_path);
    if inside.look(&format!("/{}", sub_path.path), true).await?.is_none() {
        inside.make_directory(&format!("/{}", sub_path.path), true).await?;
    }
    Ok(())
}

/// The volume as a root that nothing leads out of.
fn inside(host: &Arc<dyn Host>, sub_path: &SubPath) -> ContainerFiles {
    let whole = ContainerMount {
        volume: sub_path.outer_name.clone(),
        container_path: "/".to_owned(),
        host_path: sub_path.volume_path.clone(),
        read_only: false,
        propagation: Propagation::Private,
        recursive_read_only: false,
        selinux_relabel: false,
    };
    ContainerFiles {
        host: host.clone(),
        mounts: [whole].into(),
        devices: [].into(),
        root: String::new(),
    }
}

async fn bind(
    host: &Arc<dyn Host>,
    on_behalf: &OnBehalf,
    sub_path: &SubPath,
) -> Result<(), String> {
    let words = |error: HostError| error.to_string();
    let target = &sub_path.target;
    if host.mounts().await.map_err(words)?.is_mount_point(target) {
        return Ok(());
    }
    let source = inside(host, sub_path).on_host(&format!("/{}", sub_path.path)).await;
    let source = source.map_err(words)?;
    let files = Files(&**host);
    let kind = files.look(&source).await.map_err(words)?.map(|facts| facts.kind);
    let directory = target.rsplit_once('/').map_or("/", |(directory, _)| directory);
    if kind == Some(FileKind::Directory) {
        files.make_directories(target, DIRECTORY_MODE).await.map_err(words)?;
    } else {
        files.make_directories(directory, DIRECTORY_MODE).await.map_err(words)?;
        files.write(target, b"", 0o640).await.map_err(words)?;
    }
    let command = Command::bind_plain(source, &**target);
    let record = host.run(on_behalf, command).await.map_err(words)?;
    if record.succeeded() { Ok(()) } else { Err(record.output().to_owned()) }
}
