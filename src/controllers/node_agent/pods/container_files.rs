//! The files of a node as a container sees them: its mounts, its devices, and
//! below them a root of its own that goes with the container.
//!
//! Symbolic links are followed in the container's terms, one step after the
//! other, so that a link in a volume never leads to a place of the node that
//! the container does not have.

use std::sync::Arc;

use super::mounts::{ContainerDevice, ContainerMount};
use crate::plugins::host::files::{FileEntry, FileFacts, names_of_path};
use crate::plugins::host::mount_table::is_at_or_below;
use crate::plugins::host::{FileFault, FileKind, FileRequest, Files, Host, HostError};

/// How many links one path may lead through.
const LINKS_MAX: usize = 40;
/// The directories that every image is taken to have.
const IMAGE_DIRECTORIES: &[&str] =
    &["", "/etc", "/home", "/mnt", "/opt", "/root", "/run", "/srv", "/tmp", "/usr", "/var"];
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// What one container can reach.
#[derive(Debug, Clone)]
pub struct ContainerFiles {
    pub host: Arc<dyn Host>,
    pub mounts: Arc<[ContainerMount]>,
    pub devices: Arc<[ContainerDevice]>,
    /// Where on the node its own root is; made when first written to.
    pub root: String,
}

/// Where a path of the container leads.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// The path in the container, links followed.
    path: String,
    on_host: String,
    read_only: bool,
    is_own_root: bool,
}

impl ContainerFiles {
    /// What is at a path; `None` if nothing is.
    pub async fn look(&self, path: &str, follow: bool) -> Result<Option<FileFacts>, HostError> {
        if path == "/dev/null" || path == "/dev/zero" {
            let kind = FileKind::CharacterDevice;
            return Ok(Some(FileFacts {
                kind,
                mode: 0o666,
                group: 0,
                size: 0,
                link: None,
                modified: 0,
            }));
        }
        let place = self.resolve(path, follow).await?;
        if self.devices.iter().any(|device| device.container_path == place.path) {
            // On the node it is a link; the container has the device itself.
            return Files(&*self.host).look(&place.on_host).await;
        }
        let found = Files(&*self.host).look_at_link(&place.on_host).await?;
        let is_bare = found.is_none() && place.is_own_root;
        let is_known = is_bare && IMAGE_DIRECTORIES.contains(&place.path.trim_end_matches('/'));
        let directory = FileFacts {
            kind: FileKind::Directory,
            mode: DIRECTORY_MODE,
            group: 0,
            size: 0,
            link: None,
            modified: 0,
        };
        Ok(if is_known { Some(directory) } else { found })
    }

    /// The entries of a directory, by name.
    pub async fn list(&self, path: &str) -> Result<Vec<FileEntry>, HostError> {
        let place = self.resolve(path, true).await?;
        let listed = Files(&*self.host).list(&place.on_host).await;
        match listed {
            Err(error) if error.is_not_found() && place.is_own_root => {
                match self.look(&place.path, true).await? {
                    Some(_) => Ok(Vec::new()),
                    None => Err(told_as(error, path)),
                }
            }
            listed => listed.map_err(|error| told_as(error, path)),
        }
    }

    /// A file's content, refused if larger than `max_bytes`.
    pub async fn read(&self, path: &str, max_bytes: u64) -> Result<Vec<u8>, HostError> {
        if path == "/dev/null" {
            return Ok(Vec::new());
        }
        let place = self.resolve(path, true).await?;
        let read = Files(&*self.host).read(&place.on_host, max_bytes).await;
        read.map_err(|error| told_as(error, path))
    }

    /// Creates or replaces a file.
    pub async fn write(&self, path: &str, content: &[u8]) -> Result<(), HostError> {
        if path == "/dev/null" {
            return Ok(());
        }
        let place = self.writable(path, "open", true).await?;
        let written = Files(&*self.host).write(&place.on_host, content, FILE_MODE).await;
        written.map_err(|error| told_as(error, path))
    }

    /// Makes a directory; with `parents` those above it too.
    pub async fn make_directory(&self, path: &str, parents: bool) -> Result<(), HostError> {
        let place = self.writable(path, "mkdir", true).await?;
        let request =
            FileRequest::MakeDirectory { path: place.on_host, mode: DIRECTORY_MODE, parents };
        self.host.file(request).await.map(|_| ()).map_err(|error| told_as(error, path))
    }

    /// Removes a file, a link or an empty directory.
    pub async fn remove(&self, path: &str) -> Result<(), HostError> {
        let place = self.writable(path, "remove", false).await?;
        let is_mount = self.mounts.iter().any(|mount| mount.container_path == place.path);
        if is_mount {
            return Err(fault("remove", path, FileFault::Busy));
        }
        let found = Files(&*self.host).look_at_link(&place.on_host).await?;
        let request = match found.map(|facts| facts.kind) {
            None => return Err(fault("remove", path, FileFault::NotFound)),
            Some(FileKind::Directory) => FileRequest::RemoveDirectory { path: place.on_host },
            Some(_) => FileRequest::RemoveFile { path: place.on_host },
        };
        self.host.file(request).await.map(|_| ()).map_err(|error| told_as(error, path))
    }

    /// Where on the node a path leads, links followed.
    pub async fn on_host(&self, path: &str) -> Result<String, HostError> {
        Ok(self.resolve(path, true).await?.on_host)
    }

    async fn writable(
        &self,
        path: &str,
        doing: &'static str,
        follow: bool,
    ) -> Result<Place, HostError> {
        let place = self.resolve(path, follow).await?;
        if place.read_only {
            return Err(fault(doing, path, FileFault::ReadOnly));
        }
        if place.is_own_root {
            let parent = parent(&place.path);
            if !IMAGE_DIRECTORIES.contains(&parent) && self.look(parent, true).await?.is_none() {
                return Err(fault(doing, path, FileFault::NotFound));
            }
            let directory = format!("{}{parent}", self.root);
            Files(&*self.host).make_directories(&directory, DIRECTORY_MODE).await?;
        }
        Ok(place)
    }

    /// Follows links in the container's terms; the last part only if `follow`.
    async fn resolve(&self, path: &str, follow: bool) -> Result<Place, HostError> {
        let mut rest = names_of_path(path);
        rest.reverse();
        let mut done = String::new();
        let mut links = 0;
        while let Some(next) = rest.pop() {
            let here = format!("{done}/{next}");
            let place = self.place(&here);
            let last = rest.is_empty();
            let facts = if last && !follow {
                None
            } else {
                Files(&*self.host).look_at_link(&place.on_host).await?
            };
            let Some(to) = facts.and_then(|facts| facts.link) else {
                done = here;
                continue;
            };
            // The link of a block device is the node's, not the container's.
            if self.devices.iter().any(|device| device.container_path == here) {
                done = here;
                continue;
            }
            links += 1;
            if links > LINKS_MAX {
                let text = "too many levels of symbolic links".to_owned();
                return Err(fault("open", path, FileFault::Other(text)));
            }
            let through = if to.starts_with('/') { to } else { format!("{done}/{to}") };
            let mut through = names_of_path(&through);
            through.reverse();
            rest.extend(through);
            done = String::new();
        }
        let done = if done.is_empty() { "/".to_owned() } else { done };
        Ok(self.place(&done))
    }

    /// Where a path without links leads.
    fn place(&self, path: &str) -> Place {
        let path = if path.is_empty() { "/" } else { path };
        if let Some(device) = self.devices.iter().find(|device| device.container_path == path) {
            let read_only = device.permissions == "r";
            let on_host = device.host_path.clone();
            return Place { path: path.to_owned(), on_host, read_only, is_own_root: false };
        }
        let covers = |mount: &&ContainerMount| is_at_or_below(path, &mount.container_path);
        let deepest = self.mounts.iter().filter(covers).max_by_key(|m| m.container_path.len());
        let Some(mount) = deepest else {
            let on_host = format!("{}{}", self.root, path.trim_end_matches('/'));
            return Place { path: path.to_owned(), on_host, read_only: false, is_own_root: true };
        };
        let below = path.strip_prefix(mount.container_path.trim_end_matches('/'));
        let on_host = format!(
            "{}{}",
            mount.host_path.trim_end_matches('/'),
            below.unwrap_or_default().trim_end_matches('/')
        );
        let on_host = if on_host.is_empty() { "/".to_owned() } else { on_host };
        Place { path: path.to_owned(), on_host, read_only: mount.read_only, is_own_root: false }
    }
}

fn parent(path: &str) -> &str {
    path.rfind('/').map_or("", |at| &path[..at])
}

fn fault(doing: &'static str, path: &str, fault: FileFault) -> HostError {
    HostError::File { doing, path: path.to_owned(), fault }
}

/// The error under the container's own path.
fn told_as(error: HostError, path: &str) -> HostError {
    match error {
        HostError::File { doing, fault, .. } => {
            HostError::File { doing, path: path.to_owned(), fault }
        }
        other => other,
    }
}
