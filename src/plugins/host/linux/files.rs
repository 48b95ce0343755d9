//! Requests about files, answered by the kernel. Runs inside the node.

use std::fs::{self, Metadata};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::plugins::host::files::{
    FileAnswer, FileEntry, FileFacts, FileRequest, Ownership, Progress,
};
use crate::plugins::host::linux::mount_table;
use crate::plugins::host::{FileFault, FileKind};

/// Answers a request and carries it out.
pub fn perform(request: &FileRequest) -> Result<FileAnswer, FileFault> {
    match request {
        FileRequest::Look { path, follow } => look(path, *follow).map(FileAnswer::Looked),
        FileRequest::List { path } => list(path).map(FileAnswer::Listed),
        FileRequest::Read { path, max_bytes } => read(path, *max_bytes).map(FileAnswer::Read),
        FileRequest::Capacity { path } => capacity(path).map(FileAnswer::Capacity),
        change => perform_change(change).map(|()| FileAnswer::Done),
    }
}

fn perform_change(request: &FileRequest) -> Result<(), FileFault> {
    match request {
        FileRequest::Write { path, content, mode } => write(path, content, *mode),
        FileRequest::MakeDirectory { path, mode, parents } => {
            make_directory(Path::new(path), *mode, *parents)
        }
        FileRequest::Link { path, to } => link(path, to),
        FileRequest::RemoveFile { path } => fs::remove_file(path).map_err(|e| fault(&e)),
        FileRequest::RemoveDirectory { path } => fs::remove_dir(path).map_err(|e| fault(&e)),
        FileRequest::RemoveTree { path } => remove_tree(path),
        FileRequest::SetOwnership { path, ownership, progress } => {
            own(Path::new(path), *ownership, progress, true)
        }
        FileRequest::OpenExclusively { path } => {
            let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC;
            let opened = rustix::fs::open(path.as_str(), flags, Mode::empty());
            opened.map(drop).map_err(|error| fault(&error.into()))
        }
        // Not changes; answered before.
        FileRequest::Look { .. }
        | FileRequest::List { .. }
        | FileRequest::Read { .. }
        | FileRequest::Capacity { .. } => Ok(()),
    }
}

fn capacity(path: &str) -> Result<u64, FileFault> {
    let metadata = fs::metadata(path).map_err(|e| fault(&e))?;
    if metadata.file_type().is_block_device() {
        let mut device = fs::File::open(path).map_err(|e| fault(&e))?;
        return device.seek(io::SeekFrom::End(0)).map_err(|e| fault(&e));
    }
    let facts = rustix::fs::statvfs(path).map_err(|error| fault(&error.into()))?;
    Ok(facts.f_blocks * facts.f_frsize)
}

fn fault(error: &io::Error) -> FileFault {
    match error.kind() {
        io::ErrorKind::NotFound => FileFault::NotFound,
        io::ErrorKind::AlreadyExists => FileFault::Exists,
        io::ErrorKind::NotADirectory => FileFault::NotADirectory,
        io::ErrorKind::IsADirectory => FileFault::IsADirectory,
        io::ErrorKind::DirectoryNotEmpty => FileFault::NotEmpty,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FileFault::NoSpace,
        io::ErrorKind::ReadOnlyFilesystem => FileFault::ReadOnly,
        io::ErrorKind::ResourceBusy => FileFault::Busy,
        io::ErrorKind::PermissionDenied => FileFault::Denied,
        _ => FileFault::Other(error.to_string()),
    }
}

fn facts(path: &Path, metadata: &Metadata) -> FileFacts {
    let kind = metadata.file_type();
    let kind = match () {
        () if kind.is_dir() => FileKind::Directory,
        () if kind.is_file() => FileKind::File,
        () if kind.is_symlink() => FileKind::Link,
        () if kind.is_block_device() => FileKind::BlockDevice,
        () if kind.is_char_device() => FileKind::CharacterDevice,
        () if kind.is_socket() => FileKind::Socket,
        () => FileKind::Other,
    };
    let link = fs::read_link(path).ok().filter(|_| kind == FileKind::Link);
    FileFacts {
        kind,
        mode: metadata.mode() & 0o7777,
        group: metadata.gid(),
        size: if kind == FileKind::File { metadata.len() } else { 0 },
        link: link.map(|to| to.to_string_lossy().into_owned()),
        modified: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
    }
}

fn look(path: &str, follow: bool) -> Result<Option<FileFacts>, FileFault> {
    let found = if follow { fs::metadata(path) } else { fs::symlink_metadata(path) };
    match found {
        Ok(metadata) => Ok(Some(facts(Path::new(path), &metadata))),
        Err(error) => match fault(&error) {
            FileFault::NotFound | FileFault::NotADirectory => Ok(None),
            fault => Err(fault),
        },
    }
}

fn list(path: &str) -> Result<Vec<FileEntry>, FileFault> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(|e| fault(&e))? {
        let entry = entry.map_err(|e| fault(&e))?;
        // What goes away meanwhile is not listed.
        let Ok(metadata) = entry.metadata() else { continue };
        let name = entry.file_name().to_string_lossy().into_owned();
        entries.push(FileEntry { name, facts: facts(&entry.path(), &metadata) });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

fn read(path: &str, max_bytes: u64) -> Result<Vec<u8>, FileFault> {
    let metadata = fs::metadata(path).map_err(|e| fault(&e))?;
    if !metadata.is_file() {
        let other = FileFault::Other("not a regular file".to_owned());
        return Err(if metadata.is_dir() { FileFault::IsADirectory } else { other });
    }
    let file = fs::File::open(path).map_err(|e| fault(&e))?;
    let mut content = Vec::new();
    let limit = max_bytes.saturating_add(1);
    file.take(limit).read_to_end(&mut content).map_err(|e| fault(&e))?;
    if content.len() as u64 > max_bytes {
        return Err(FileFault::TooLarge { max_bytes });
    }
    Ok(content)
}

fn write(path: &str, content: &[u8], mode: u32) -> Result<(), FileFault> {
    let is_new = fs::symlink_metadata(path).is_err();
    let mut options = fs::OpenOptions::new();
    let opened = options.write(true).create(true).truncate(true).mode(mode).open(path);
    let mut file = opened.map_err(|e| fault(&e))?;
    file.write_all(content).map_err(|e| fault(&e))?;
    if is_new {
        // Whatever the umask says.
        file.set_permissions(fs::Permissions::from_mode(mode)).map_err(|e| fault(&e))?;
    }
    file.sync_all().map_err(|e| fault(&e))
}

fn make_directory(path: &Path, mode: u32, parents: bool) -> Result<(), FileFault> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => return Err(FileFault::NotADirectory),
        Err(_) => {}
    }
    if let (true, Some(parent)) = (parents, path.parent()) {
        make_directory(parent, mode, true)?;
    }
    match fs::create_dir(path) {
        // Someone else was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made.map_err(|e| fault(&e))?,
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|e| fault(&e))
}

/// A link that is there is replaced at one moment: who follows it finds the old
/// or the new.
fn link(path: &str, to: &str) -> Result<(), FileFault> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_symlink() => return Err(FileFault::Exists),
        Ok(_) => {}
        Err(_) => return symlink(to, path).map_err(|e| fault(&e)),
    }
    let beside = format!("{path}_tmp");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fault(&error)),
        _ => {}
    }
    symlink(to, &beside).map_err(|e| fault(&e))?;
    fs::rename(&beside, path).map_err(|e| fault(&e))
}

/// Never crosses a mount: the table is looked at first, and a file system that
/// differs from the top's would be busy anyway.
fn remove_tree(path: &str) -> Result<(), FileFault> {
    let table = mount_table().map_err(|error| FileFault::Other(error.to_string()))?;
    if !table.below(path).is_empty() {
        return Err(FileFault::Busy);
    }
    let metadata = fs::symlink_metadata(path).map_err(|e| fault(&e))?;
    let removed = if metadata.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(|e| fault(&e))
}

/// Gives a tree to a group, what is inside first, the top last, so that an
/// interrupted walk is done again. Errors on single entries do not stop it.
fn own(
    path: &Path,
    ownership: Ownership,
    progress: &Progress,
    is_top: bool,
) -> Result<(), FileFault> {
    let metadata = fs::symlink_metadata(path).map_err(|e| fault(&e))?;
    let bits = if ownership.read_only { 0o440 } else { 0o660 };
    let directory_bits = bits | 0o2110;
    let mode = metadata.mode() & 0o7777;
    let is_right = metadata.gid() == ownership.group && mode & directory_bits == directory_bits;
    if is_top && ownership.only_on_root_mismatch && is_right {
        return Ok(());
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path).map_err(|e| fault(&e))?.flatten() {
            if let Err(fault) = own(&entry.path(), ownership, progress, false) {
                tracing::warn!(path = %entry.path().display(), %fault, "ownership not set");
            }
        }
    }
    let chowned = std::os::unix::fs::lchown(path, None, Some(ownership.group));
    chowned.map_err(|e| fault(&e))?;
    progress.one_more();
    if metadata.is_symlink() {
        return Ok(());
    }
    let mode = mode | if metadata.is_dir() { directory_bits } else { bits };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|e| fault(&e))
}
