//! The files in a pod's mounted volume, for people: list, read, write a small
//! file, delete. What `kubectl exec` is used for where containers are real.
//!
//! A path is the volume's own, from `/`. Symbolic links are followed inside
//! the volume; none leads out of it.

use std::sync::Arc;

use crate::controllers::node_agent::agents::Agents;
use crate::controllers::node_agent::pods::ContainerFiles;
use crate::controllers::node_agent::pods::mounts::{ContainerMount, Propagation};
use crate::controllers::node_agent::pods::worker::Shared;
use crate::controllers::node_agent::volumes::MountedVolume;
use crate::model::object::Key;
use crate::plugins::host::HostError;
use crate::plugins::host::files::FileEntry;

/// The largest file that is read or written.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// A mounted volume of a running pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeFiles {
    /// The volume's name in the pod.
    pub volume: Arc<str>,
    /// Where it is on the node.
    pub host_path: String,
    pub read_only: bool,
    /// A device: it has no files.
    pub is_block: bool,
}

/// Why files cannot be looked at or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilesError {
    #[error("pod {pod} is not on a node whose agent runs here")]
    NoAgent { pod: Key },
    #[error("volume {volume} of pod {pod} is not mounted")]
    NotMounted { pod: Key, volume: Arc<str> },
    #[error("volume {volume} of pod {pod} is a block device: it has no files")]
    IsBlock { pod: Key, volume: Arc<str> },
    #[error("a file of {bytes} bytes is more than the {FILE_BYTES_MAX} that are written here")]
    TooLarge { bytes: u64 },
    #[error("{0}")]
    Host(#[source] HostError),
}

impl Agents {
    /// The mounted volumes of a pod, in the order of their names.
    pub fn mounted_volumes(&self, pod: &Key) -> Result<Vec<VolumeFiles>, FilesError> {
        let (shared, uid) = self.place(pod)?;
        let mut volumes: Vec<VolumeFiles> =
            shared.volumes.mounted(&uid).into_iter().map(VolumeFiles::from).collect();
        volumes.sort_by(|a, b| a.volume.cmp(&b.volume));
        Ok(volumes)
    }

    /// The entries of a directory, by name.
    pub async fn list_files(
        &self,
        pod: &Key,
        volume: &str,
        path: &str,
    ) -> Result<Vec<FileEntry>, FilesError> {
        let files = self.files(pod, volume)?;
        files.list(path).await.map_err(FilesError::Host)
    }

    /// A file's content, up to [`FILE_BYTES_MAX`].
    pub async fn read_file(
        &self,
        pod: &Key,
        volume: &str,
        path: &str,
    ) -> Result<Vec<u8>, FilesError> {
        let files = self.files(pod, volume)?;
        files.read(path, FILE_BYTES_MAX).await.map_err(FilesError::Host)
    }

    /// Creates or replaces a file, up to [`FILE_BYTES_MAX`].
    pub async fn write_file(
        &self,
        pod: &Key,
        volume: &str,
        path: &str,
        content: &[u8],
    ) -> Result<(), FilesError> {
        let bytes = content.len() as u64;
        if bytes > FILE_BYTES_MAX {
            return Err(FilesError::TooLarge { bytes });
        }
        let files = self.files(pod, volume)?;
        files.write(path, content).await.map_err(FilesError::Host)
    }

    /// Removes a file, a link or an empty directory.
    pub async fn delete_file(&self, pod: &Key, volume: &str, path: &str) -> Result<(), FilesError> {
        let files = self.files(pod, volume)?;
        files.remove(path).await.map_err(FilesError::Host)
    }

    fn place(&self, pod: &Key) -> Result<(Arc<Shared>, Arc<str>), FilesError> {
        let found = self.mirror().read(|tables| {
            tables.pods.get(pod).map(|pod| (pod.node.clone(), pod.meta.uid.clone()))
        });
        let place = found.and_then(|(node, uid)| Some((self.shared(&node)?, uid)));
        place.ok_or_else(|| FilesError::NoAgent { pod: pod.clone() })
    }

    /// The volume as a root of its own.
    fn files(&self, pod: &Key, volume: &str) -> Result<ContainerFiles, FilesError> {
        let (shared, uid) = self.place(pod)?;
        let mounted = shared.volumes.mounted(&uid);
        let found = mounted.into_iter().find(|mounted| &*mounted.outer_name == volume);
        let Some(found) = found else {
            return Err(FilesError::NotMounted { pod: pod.clone(), volume: volume.into() });
        };
        if found.is_block {
            return Err(FilesError::IsBlock { pod: pod.clone(), volume: volume.into() });
        }
        let root = ContainerMount {
            volume: found.outer_name,
            container_path: "/".to_owned(),
            host_path: found.host_path,
            read_only: found.read_only,
            propagation: Propagation::Private,
            recursive_read_only: false,
            selinux_relabel: false,
        };
        Ok(ContainerFiles {
            host: shared.host.clone(),
            mounts: [root].into(),
            devices: [].into(),
            root: String::new(),
        })
    }
}

impl From<MountedVolume> for VolumeFiles {
    fn from(mounted: MountedVolume) -> Self {
        Self {
            volume: mounted.outer_name,
            host_path: mounted.host_path,
            read_only: mounted.read_only,
            is_block: mounted.is_block,
        }
    }
}
