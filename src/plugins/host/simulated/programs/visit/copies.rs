//! Copies of a simulated machine's directories, for real programs to work on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::plugins::host::files::FileEntry;
use crate::plugins::host::linux;
use crate::plugins::host::simulated::programs::visit::content;
use crate::plugins::host::simulated::{Simulated, World, files};
use crate::plugins::host::{FileAnswer, FileFault, FileKind, FileRequest};

/// The largest file that is copied, and the number of entries.
const BYTES_MAX: u64 = 1 << 20;
const ENTRIES_MAX: usize = 4096;
/// The deepest directory below the first.
const DEPTH_MAX: usize = 16;

/// The directories of a machine that a program has been given.
pub struct Copies {
    world: World,
    node: Arc<str>,
    /// The machine's root, as far as it is copied.
    root: PathBuf,
    /// Below here lies what is given away: the kubelet's directory.
    kubelet: String,
    given: BTreeSet<String>,
    /// What both the copy and the machine have had, with its kind.
    known: BTreeMap<String, FileKind>,
}

impl Copies {
    pub fn new(host: &Simulated, scratch: &Path) -> Self {
        Self {
            world: host.world.clone(),
            node: host.node.clone(),
            root: scratch.join("machines").join(&*host.node),
            kubelet: host.world.inner.layout.root().to_owned(),
            given: BTreeSet::new(),
            known: BTreeMap::new(),
        }
    }

    /// An argument as the program gets it: a directory of the kubelet's is
    /// given as a copy.
    pub fn give(&mut self, argument: &str) -> io::Result<PathBuf> {
        let below = argument.strip_prefix(&self.kubelet).is_some_and(|rest| rest.starts_with('/'));
        let climbs = argument.split('/').any(|part| part == "..");
        if !below || climbs {
            return Ok(argument.into());
        }
        self.given.insert(argument.to_owned());
        self.copy(argument)?;
        Ok(self.real(argument))
    }

    /// A path that the program names, as the machine knows it.
    pub fn on_machine<'a>(&self, path: &'a str) -> &'a str {
        let root = self.root.to_string_lossy();
        path.strip_prefix(&*root).filter(|rest| rest.starts_with('/')).unwrap_or(path)
    }

    /// What the program prints, with the machine's paths.
    pub fn as_on_machine(&self, printed: &str) -> String {
        printed.replace(&*self.root.to_string_lossy(), "")
    }

    fn real(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn perform(&self, request: &FileRequest) -> Result<FileAnswer, FileFault> {
        files::perform(&mut self.world.lock().state, &self.node, request)
    }

    fn kind(&self, path: &str) -> Option<FileKind> {
        let look = FileRequest::Look { path: path.to_owned(), follow: false };
        match self.perform(&look) {
            Ok(FileAnswer::Looked(facts)) => Some(facts?.kind),
            _ => None,
        }
    }

    /// Makes the copy of a directory as the machine has it now.
    pub fn copy(&mut self, path: &str) -> io::Result<()> {
        let real = self.real(path);
        let tree = FileRequest::RemoveTree { path: real.to_string_lossy().into_owned() };
        // What is really mounted there stays, and is written over.
        let _ = linux::files::perform(&tree);
        self.known.retain(|known, _| !known.starts_with(path));
        if let Some(parent) = real.parent() {
            fs::create_dir_all(parent)?;
        }
        if self.kind(path) == Some(FileKind::Directory) {
            self.copy_directory(path, 0)?;
        }
        Ok(())
    }

    fn copy_directory(&mut self, path: &str, depth: usize) -> io::Result<()> {
        fs::create_dir_all(self.real(path))?;
        self.known.insert(path.to_owned(), FileKind::Directory);
        let list = FileRequest::List { path: path.to_owned() };
        let Ok(FileAnswer::Listed(entries)) = self.perform(&list) else { return Ok(()) };
        for entry in entries {
            if self.known.len() >= ENTRIES_MAX {
                return Ok(());
            }
            self.copy_entry(&format!("{path}/{}", entry.name), &entry, depth)?;
        }
        Ok(())
    }

    fn copy_entry(&mut self, path: &str, entry: &FileEntry, depth: usize) -> io::Result<()> {
        let real = self.real(path);
        match entry.facts.kind {
            FileKind::Directory if depth < DEPTH_MAX => {
                return self.copy_directory(path, depth + 1);
            }
            FileKind::File => {
                let read = FileRequest::Read { path: path.to_owned(), max_bytes: BYTES_MAX };
                let Ok(FileAnswer::Read(content)) = self.perform(&read) else { return Ok(()) };
                fs::write(&real, content)?;
                let mode = fs::Permissions::from_mode(entry.facts.mode | 0o600);
                fs::set_permissions(&real, mode)?;
            }
            FileKind::Link => {
                symlink(entry.facts.link.as_deref().unwrap_or_default(), &real)?;
            }
            _ => return Ok(()),
        }
        self.known.insert(path.to_owned(), entry.facts.kind);
        Ok(())
    }

    /// Does to the machine what the program did to the copies.
    pub fn take_over(&mut self) {
        let before = std::mem::take(&mut self.known);
        for path in self.given.clone() {
            if let Ok(metadata) = fs::symlink_metadata(self.real(&path))
                && metadata.is_dir()
            {
                self.take_directory(&path, metadata.permissions().mode(), 0);
            }
        }
        // Deepest first.
        for (path, kind) in before.into_iter().rev() {
            if self.known.contains_key(&path) {
                continue;
            }
            let gone = match kind {
                FileKind::Directory => FileRequest::RemoveDirectory { path },
                _ => FileRequest::RemoveFile { path },
            };
            self.tell(&gone);
        }
    }

    /// What the machine refuses stays with it: a full or read-only filesystem.
    fn tell(&self, request: &FileRequest) {
        if let Err(fault) = self.perform(request) {
            let (node, path) = (&self.node, request.path());
            tracing::debug!(%node, path, %fault, "a program's change is not taken over");
        }
    }

    fn take_directory(&mut self, path: &str, mode: u32, depth: usize) {
        let (path_owned, mode) = (path.to_owned(), mode & 0o7777);
        self.tell(&FileRequest::MakeDirectory { path: path_owned.clone(), mode, parents: true });
        self.known.insert(path_owned, FileKind::Directory);
        let Ok(entries) = fs::read_dir(self.real(path)) else { return };
        for entry in entries.filter_map(Result::ok) {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if self.known.len() >= ENTRIES_MAX {
                return;
            }
            self.take_entry(&format!("{path}/{name}"), &entry, depth);
        }
    }

    fn take_entry(&mut self, path: &str, entry: &fs::DirEntry, depth: usize) {
        let Ok(metadata) = entry.metadata() else { return };
        let (kind, mode) = (metadata.file_type(), metadata.permissions().mode() & 0o7777);
        if kind.is_dir() {
            if depth < DEPTH_MAX {
                self.take_directory(path, mode, depth + 1);
            }
        } else if kind.is_file() {
            self.known.insert(path.to_owned(), FileKind::File);
            let Some(content) = content(&entry.path(), BYTES_MAX) else { return };
            let read = FileRequest::Read { path: path.to_owned(), max_bytes: BYTES_MAX };
            if self.perform(&read) != Ok(FileAnswer::Read(content.clone())) {
                self.tell(&FileRequest::Write { path: path.to_owned(), content, mode });
            }
        } else if kind.is_symlink()
            && let Ok(to) = fs::read_link(entry.path())
        {
            self.known.insert(path.to_owned(), FileKind::Link);
            let to = to.to_string_lossy().into_owned();
            self.tell(&FileRequest::Link { path: path.to_owned(), to });
        }
    }

    /// A directory that something is mounted on, or was until now.
    pub fn mounted(&mut self, path: &str) {
        if self.given.iter().any(|given| given == path) || self.real(path).is_dir() {
            self.given.insert(path.to_owned());
            if let Err(error) = self.copy(path) {
                tracing::warn!(path, %error, "a program does not see what is mounted");
            }
        }
    }
}
