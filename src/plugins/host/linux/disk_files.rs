//! Disks as sparse files in a directory of this machine, `<id>.img`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::plugins::host::HostError;

/// The files of all disks.
#[derive(Debug)]
pub struct DiskFiles {
    directory: PathBuf,
}

impl DiskFiles {
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where a disk's file is, if there is such a disk.
    pub fn path(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.img"))
    }

    pub fn has(&self, id: &str) -> bool {
        fs::symlink_metadata(self.path(id)).is_ok()
    }

    /// Makes the file of a blank disk, unless it is there.
    pub fn create(&self, id: &str, bytes: u64) -> Result<(), HostError> {
        let create = || {
            fs::create_dir_all(&self.directory)?;
            let file = fs::OpenOptions::new().write(true).create_new(true).open(self.path(id));
            match file {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                file => file?.set_len(bytes),
            }
        };
        create().map_err(|error| failed(id, &error))
    }

    /// Copies a disk under another name first: a copy is whole or not there.
    pub async fn copy(&self, from: &str, to: &str) -> Result<(), HostError> {
        if self.has(to) {
            return Ok(());
        }
        let (source, new, target) = (self.path(from), self.unfinished(to), self.path(to));
        let copied = tokio::task::spawn_blocking(move || {
            fs::copy(source, &new)?;
            fs::rename(new, target)
        });
        let copied = copied.await.map_err(|error| HostError::Failed { text: error.to_string() })?;
        copied.map_err(|error| failed(to, &error))
    }

    /// Removes a disk's file and what is left of a copy that did not end.
    pub fn remove(&self, id: &str) -> Result<(), HostError> {
        for file in [self.path(id), self.unfinished(id)] {
            remove_if_there(&file).map_err(|error| failed(id, &error))?;
        }
        Ok(())
    }

    /// Makes the file larger, never smaller.
    pub fn grow(&self, id: &str, bytes: u64) -> Result<(), HostError> {
        let grow = || {
            let file = fs::OpenOptions::new().write(true).open(self.path(id))?;
            if file.metadata()?.len() < bytes { file.set_len(bytes) } else { Ok(()) }
        };
        grow().map_err(|error| failed(id, &error))
    }

    fn unfinished(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.img.new"))
    }
}

/// Removes a file; none being there is success.
pub fn remove_if_there(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What went wrong with a disk.
pub fn failed(id: &str, error: &io::Error) -> HostError {
    HostError::Failed { text: format!("disk {id}: {error}") }
}
