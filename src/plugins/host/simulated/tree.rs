//! One filesystem's files: a map from path to entry. `/` is its top.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::plugins::host::files::{FileEntry, FileFacts, Ownership};
use crate::plugins::host::{FileFault, FileKind};

/// What is at a path of a filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Directory,
    File(Arc<[u8]>),
    Link(String),
    /// A block device, by the disk it shows.
    Device(Arc<str>),
    CharacterDevice,
    Socket,
}

/// An entry of a filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub content: Content,
    pub mode: u32,
    pub group: u32,
}

impl Entry {
    pub fn new(content: Content, mode: u32) -> Self {
        Self { content, mode, group: 0 }
    }

    pub fn facts(&self) -> FileFacts {
        let (kind, size, link) = match &self.content {
            Content::Directory => (FileKind::Directory, 0, None),
            Content::File(content) => (FileKind::File, content.len() as u64, None),
            Content::Link(to) => (FileKind::Link, 0, Some(to.clone())),
            Content::Device(_) => (FileKind::BlockDevice, 0, None),
            Content::CharacterDevice => (FileKind::CharacterDevice, 0, None),
            Content::Socket => (FileKind::Socket, 0, None),
        };
        FileFacts { kind, mode: self.mode, group: self.group, size, link, modified: 0 }
    }
}

/// The files of one filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    entries: BTreeMap<String, Entry>,
    /// How much its files may hold together; `None`: any amount.
    pub bytes_max: Option<u64>,
}

impl Tree {
    /// An empty filesystem.
    pub fn new(bytes_max: Option<u64>) -> Self {
        let top = Entry::new(Content::Directory, 0o755);
        Self { entries: BTreeMap::from([("/".to_owned(), top)]), bytes_max }
    }

    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// The bytes of all files.
    pub fn used(&self) -> u64 {
        let size = |entry: &Entry| match &entry.content {
            Content::File(content) => content.len() as u64,
            _ => 0,
        };
        self.entries.values().map(size).sum()
    }

    /// Puts an entry at a path whose parent is a directory.
    pub fn put(&mut self, path: &str, entry: Entry) -> Result<(), FileFault> {
        self.check_parent(path)?;
        if let (Content::File(content), Some(max)) = (&entry.content, self.bytes_max) {
            let now = self.get(path).map_or(0, |entry| entry.facts().size);
            if self.used() - now + content.len() as u64 > max {
                return Err(FileFault::NoSpace);
            }
        }
        self.entries.insert(path.to_owned(), entry);
        Ok(())
    }

    fn check_parent(&self, path: &str) -> Result<(), FileFault> {
        match self.get(parent(path)).map(|entry| &entry.content) {
            Some(Content::Directory) => Ok(()),
            Some(_) => Err(FileFault::NotADirectory),
            None => Err(FileFault::NotFound),
        }
    }

    /// Makes a directory, and those above it if asked. One that is there stays
    /// as it is.
    pub fn make_directory(&mut self, path: &str, mode: u32, up: bool) -> Result<(), FileFault> {
        match self.get(path).map(|entry| &entry.content) {
            Some(Content::Directory) => return Ok(()),
            Some(_) => return Err(FileFault::NotADirectory),
            None => {}
        }
        if up {
            self.make_directory(parent(path), mode, true)?;
        }
        self.put(path, Entry::new(Content::Directory, mode))
    }

    pub fn list(&self, path: &str) -> Result<Vec<FileEntry>, FileFault> {
        match self.get(path).map(|entry| &entry.content) {
            Some(Content::Directory) => {}
            Some(_) => return Err(FileFault::NotADirectory),
            None => return Err(FileFault::NotFound),
        }
        let inside = self.below(path).filter(|(inner, _)| parent(inner) == path);
        let entry = |(inner, entry): (&String, &Entry)| FileEntry {
            name: inner.rsplit('/').next().unwrap_or_default().to_owned(),
            facts: entry.facts(),
        };
        Ok(inside.map(entry).collect())
    }

    /// Everything below a path, it left out.
    pub fn below(&self, path: &str) -> impl Iterator<Item = (&String, &Entry)> {
        let prefix = format!("{}/", path.trim_end_matches('/'));
        let from = prefix.clone();
        self.entries
            .range(from..)
            .take_while(move |(inner, _)| inner.starts_with(&prefix))
            .filter(|(inner, _)| *inner != "/")
    }

    pub fn remove_file(&mut self, path: &str) -> Result<(), FileFault> {
        match self.get(path).map(|entry| &entry.content) {
            None => Err(FileFault::NotFound),
            Some(Content::Directory) => Err(FileFault::IsADirectory),
            Some(_) => {
                self.entries.remove(path);
                Ok(())
            }
        }
    }

    pub fn remove_directory(&mut self, path: &str) -> Result<(), FileFault> {
        match self.get(path).map(|entry| &entry.content) {
            None => return Err(FileFault::NotFound),
            Some(Content::Directory) => {}
            Some(_) => return Err(FileFault::NotADirectory),
        }
        if path == "/" {
            return Err(FileFault::Busy);
        }
        if self.below(path).next().is_some() {
            return Err(FileFault::NotEmpty);
        }
        self.entries.remove(path);
        Ok(())
    }

    pub fn remove_tree(&mut self, path: &str) -> Result<(), FileFault> {
        if self.get(path).is_none() {
            return Err(FileFault::NotFound);
        }
        let inside: Vec<String> = self.below(path).map(|(inner, _)| inner.clone()).collect();
        for inner in inside {
            self.entries.remove(&inner);
        }
        if path != "/" {
            self.entries.remove(path);
        }
        Ok(())
    }

    /// Gives everything at and below a path to a group; links keep their mode.
    pub fn set_ownership(&mut self, path: &str, ownership: Ownership) -> Result<(), FileFault> {
        let Some(top) = self.get(path) else { return Err(FileFault::NotFound) };
        let bits = if ownership.read_only { 0o440 } else { 0o660 };
        let root_bits = bits | 0o2110;
        let is_right = top.group == ownership.group && top.mode & root_bits == root_bits;
        if ownership.only_on_root_mismatch && is_right {
            return Ok(());
        }
        let mut paths: Vec<String> = self.below(path).map(|(inner, _)| inner.clone()).collect();
        paths.push(path.to_owned());
        for path in paths {
            let Some(entry) = self.entries.get_mut(&path) else { continue };
            entry.group = ownership.group;
            match entry.content {
                Content::Link(_) => {}
                Content::Directory => entry.mode |= root_bits,
                _ => entry.mode |= bits,
            }
        }
        Ok(())
    }
}

/// The directory that a path is in; `/` is in itself.
pub fn parent(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(at) => &path[..at],
    }
}
