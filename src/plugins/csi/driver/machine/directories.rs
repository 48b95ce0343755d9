//! Volumes that are directories and files of this machine, linked to where
//! they are wanted. Needs no rights.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tonic::Code;

use crate::plugins::csi::driver::rules::Refusal;
use crate::plugins::csi::driver::state::Volume;

/// A directory with an entry per volume.
pub struct Directories {
    root: PathBuf,
}

fn failed(doing: &str, path: &Path, error: &io::Error) -> Refusal {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::ResourceExhausted,
        _ => Code::Internal,
    };
    Refusal::new(code, format!("{doing} {}: {error}", path.display()))
}

/// Takes "not there" for done.
fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

impl Directories {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn path(&self, volume: &str) -> PathBuf {
        self.root.join(volume)
    }

    pub fn make(&self, volume: &Volume) -> Result<(), Refusal> {
        let path = self.path(&volume.id);
        fs::create_dir_all(&self.root).map_err(|error| failed("mkdir", &self.root, &error))?;
        if volume.is_block {
            return self.make_file(volume, &path);
        }
        if path.exists() {
            return Ok(());
        }
        // Filled under another name: a copy is whole or not there.
        let new = self.root.join(format!("{}.new", volume.id));
        gone(fs::remove_dir_all(&new)).map_err(|error| failed("remove", &new, &error))?;
        fs::create_dir_all(&new).map_err(|error| failed("mkdir", &new, &error))?;
        if let Some(source) = &volume.source {
            copy_tree(&self.path(source), &new).map_err(|error| failed("copy", &new, &error))?;
        }
        fs::rename(&new, &path).map_err(|error| failed("rename", &path, &error))
    }

    fn make_file(&self, volume: &Volume, path: &Path) -> Result<(), Refusal> {
        if path.exists() {
            return Ok(());
        }
        let new = self.root.join(format!("{}.new", volume.id));
        let make = || -> io::Result<()> {
            match &volume.source {
                Some(source) => fs::copy(self.path(source), &new).map(drop)?,
                None => fs::File::create(&new).map(drop)?,
            }
            fs::OpenOptions::new().write(true).open(&new)?.set_len(volume.bytes)?;
            fs::rename(&new, path)
        };
        make().map_err(|error| failed("make", path, &error))
    }

    pub fn remove(&self, volume: &Volume) -> Result<(), Refusal> {
        for path in [self.path(&volume.id), self.root.join(format!("{}.new", volume.id))] {
            let remove =
                if volume.is_block { fs::remove_file(&path) } else { fs::remove_dir_all(&path) };
            gone(remove).map_err(|error| failed("remove", &path, &error))?;
        }
        Ok(())
    }

    pub fn grow(&self, volume: &Volume) -> Result<(), Refusal> {
        if !volume.is_block {
            return Ok(());
        }
        let path = self.path(&volume.id);
        let grow = || fs::OpenOptions::new().write(true).open(&path)?.set_len(volume.bytes);
        grow().map_err(|error| failed("grow", &path, &error))
    }

    pub fn stage(&self, path: &str) -> Result<(), Refusal> {
        fs::create_dir_all(path).map_err(|error| failed("mkdir", Path::new(path), &error))
    }

    /// Links the volume; an empty directory in the way is taken away.
    pub fn publish(&self, volume: &Volume, path: &str) -> Result<(), Refusal> {
        let (target, source) = (Path::new(path), self.path(&volume.id));
        if fs::read_link(target).is_ok_and(|link| link == source) {
            return Ok(());
        }
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(|error| failed("mkdir", parent, &error))?;
        }
        self.unpublish(path)?;
        symlink(&source, target).map_err(|error| failed("symlink", target, &error))
    }

    pub fn unpublish(&self, path: &str) -> Result<(), Refusal> {
        let target = Path::new(path);
        let Ok(facts) = fs::symlink_metadata(target) else { return Ok(()) };
        let removed = if facts.is_dir() { fs::remove_dir(target) } else { fs::remove_file(target) };
        gone(removed).map_err(|error| failed("remove", target, &error))
    }
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            fs::create_dir(&target)?;
            copy_tree(&entry.path(), &target)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(entry.path())?, &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
