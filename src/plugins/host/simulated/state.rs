//! The state of all simulated machines and of their disks: plain data, cheap
//! to clone (machines and disks are copied when they next change).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::plugins::host::files::names_of_path;
use crate::plugins::host::mount_table::is_at_or_below;
use crate::plugins::host::simulated::tree::{Content, Entry, Tree};
use crate::plugins::host::{FileFault, MountEntry, MountTable};

/// Where on a node the files of attached disks are.
pub const DISKS: &str = "/var/lib/pvdeck/disks";

/// Everything there is: machines, disks, exports.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub machines: BTreeMap<Arc<str>, Arc<Machine>>,
    pub disks: BTreeMap<Arc<str>, Arc<Disk>>,
    /// File systems of the network, by `<type>:<source>`.
    pub exports: BTreeMap<Arc<str>, Arc<Tree>>,
    /// Devices that were formatted although they held something. Must stay
    /// empty: tests and the console look.
    pub formatted_over: Vec<Arc<str>>,
    pub last_number: u32,
}

/// A disk, remote or built in.
#[derive(Debug, Clone)]
pub struct Disk {
    pub bytes: u64,
    pub content: DiskContent,
    pub read_only: bool,
    /// The nodes that have it, with the name of the device below `/dev`.
    pub attached: BTreeMap<Arc<str>, String>,
}

/// What is on a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskContent {
    Blank,
    Filesystem {
        fs_type: String,
        tree: Tree,
        /// What fsck finds: 0 nothing, 1 corrected, 4 uncorrected.
        fsck: i32,
    },
    Partitions,
}

/// Which filesystem a path lies on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FsRef {
    /// The node's own disk.
    Root,
    /// `/dev`.
    Devices,
    Disk(Arc<str>),
    Export(Arc<str>),
    Memory(u32),
}

/// One node's machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// It does not answer.
    pub lost: bool,
    pub root: Tree,
    pub devices: Tree,
    pub memory: BTreeMap<u32, Tree>,
    pub mounts: Vec<Mounted>,
    /// Loop devices: the file each is on, by number.
    pub loops: BTreeMap<u32, String>,
}

/// One mount of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    pub fs: FsRef,
    pub entry: MountEntry,
}

impl Default for Machine {
    fn default() -> Self {
        let mut root = Tree::new(None);
        for path in ["/dev", "/tmp", "/var/lib/kubelet", "/etc", "/mnt"] {
            // They have no parent that is a file.
            let _ = root.make_directory(path, 0o755, true);
        }
        let mounts = vec![
            mounted(FsRef::Root, "8:1", "/", "/dev/sda1", "ext4"),
            mounted(FsRef::Devices, "0:5", "/dev", "devtmpfs", "devtmpfs"),
        ];
        Self {
            lost: false,
            root,
            devices: Tree::new(None),
            memory: BTreeMap::new(),
            mounts,
            loops: BTreeMap::new(),
        }
    }
}

fn mounted(fs: FsRef, device: &str, target: &str, source: &str, fs_type: &str) -> Mounted {
    let entry = MountEntry {
        target: target.to_owned(),
        device: device.to_owned(),
        root: "/".to_owned(),
        source: source.to_owned(),
        fs_type: fs_type.to_owned(),
        options: vec!["rw".to_owned(), "relatime".to_owned()],
    };
    Mounted { fs, entry }
}

/// A path looked up: the filesystem, the path on it, and the mount's flags.
#[derive(Debug, Clone)]
pub struct Place {
    pub fs: FsRef,
    pub path: String,
    pub read_only: bool,
    pub mount: MountEntry,
}

impl Machine {
    pub fn table(&self) -> MountTable {
        MountTable(self.mounts.iter().map(|mounted| mounted.entry.clone()).collect())
    }

    /// The mount a path lies on: the deepest, of equals the last.
    fn covering(&self, path: &str) -> Option<&Mounted> {
        let covers = |mounted: &&Mounted| is_at_or_below(path, &mounted.entry.target);
        self.mounts.iter().filter(covers).max_by_key(|mounted| mounted.entry.target.len())
    }

    /// Where a path without links leads.
    fn place_of(&self, path: &str) -> Option<Place> {
        let mounted = self.covering(path)?;
        let entry = &mounted.entry;
        let rest = path.strip_prefix(entry.target.trim_end_matches('/')).unwrap_or_default();
        let inner = format!("{}{rest}", entry.root.trim_end_matches('/'));
        let inner = if inner.is_empty() { "/".to_owned() } else { inner };
        let inner = if inner.len() > 1 { inner.trim_end_matches('/').to_owned() } else { inner };
        let read_only = entry.is_read_only();
        Some(Place { fs: mounted.fs.clone(), path: inner, read_only, mount: entry.clone() })
    }
}

impl State {
    pub fn machine(&mut self, node: &str) -> Option<&mut Machine> {
        self.machines.get_mut(node).map(Arc::make_mut)
    }

    pub fn disk(&mut self, id: &str) -> Option<&mut Disk> {
        self.disks.get_mut(id).map(Arc::make_mut)
    }

    /// A number that no filesystem has yet.
    pub fn number(&mut self) -> u32 {
        self.last_number += 1;
        self.last_number
    }

    /// The files of a filesystem, seen from a node.
    pub fn tree(&self, node: &str, fs: &FsRef) -> Option<&Tree> {
        let machine = self.machines.get(node)?;
        match fs {
            FsRef::Root => Some(&machine.root),
            FsRef::Devices => Some(&machine.devices),
            FsRef::Memory(number) => machine.memory.get(number),
            FsRef::Export(name) => self.exports.get(name).map(|tree| &**tree),
            FsRef::Disk(id) => match &self.disks.get(id)?.content {
                DiskContent::Filesystem { tree, .. } => Some(tree),
                DiskContent::Blank | DiskContent::Partitions => None,
            },
        }
    }

    pub fn tree_mut(&mut self, node: &str, fs: &FsRef) -> Option<&mut Tree> {
        match fs {
            FsRef::Export(name) => return self.exports.get_mut(name).map(Arc::make_mut),
            FsRef::Disk(id) => {
                return match &mut self.disk(id)?.content {
                    DiskContent::Filesystem { tree, .. } => Some(tree),
                    DiskContent::Blank | DiskContent::Partitions => None,
                };
            }
            FsRef::Root | FsRef::Devices | FsRef::Memory(_) => {}
        }
        let machine = self.machine(node)?;
        match fs {
            FsRef::Root => Some(&mut machine.root),
            FsRef::Devices => Some(&mut machine.devices),
            FsRef::Memory(number) => machine.memory.get_mut(number),
            FsRef::Export(_) | FsRef::Disk(_) => None,
        }
    }

    /// Where a path of a node leads, symbolic links followed (the last part
    /// only if `follow`), and what is there.
    pub fn resolve(
        &self,
        node: &str,
        path: &str,
        follow: bool,
    ) -> Result<(Place, Option<Entry>), FileFault> {
        let machine = self.machines.get(node).ok_or(FileFault::NotFound)?;
        let mut rest: Vec<String> = names_of_path(path);
        let mut done = String::new();
        for _ in 0..256 {
            let at = if done.is_empty() { "/" } else { &done };
            let place = machine.place_of(at).ok_or(FileFault::NotFound)?;
            let tree = self.tree(node, &place.fs);
            let tree = tree.ok_or_else(|| FileFault::Other("input/output error".to_owned()))?;
            let entry = tree.get(&place.path).cloned();
            let link = entry.as_ref().and_then(|entry| match &entry.content {
                Content::Link(to) if follow || !rest.is_empty() => Some(to.clone()),
                _ => None,
            });
            if let Some(to) = link {
                let mut through = names_of_path(&to);
                if !to.starts_with('/') {
                    let mut from = names_of_path(super::tree::parent(&done));
                    from.append(&mut through);
                    through = from;
                }
                through.append(&mut rest);
                (rest, done) = (through, String::new());
                continue;
            }
            if rest.is_empty() {
                return Ok((place, entry));
            }
            // What is below nothing is nothing, wherever it would be.
            let is_file = |entry: Entry| entry.content != Content::Directory;
            if entry.is_some_and(is_file) {
                return Err(FileFault::NotADirectory);
            }
            let next = rest.remove(0);
            done = format!("{done}/{next}");
        }
        Err(FileFault::Other("too many levels of symbolic links".to_owned()))
    }

    /// The disk behind a device path of a node.
    pub fn disk_at(&self, node: &str, device: &str) -> Option<Arc<str>> {
        match self.resolve(node, device, true).ok()?.1?.content {
            Content::Device(id) => Some(id),
            _ => None,
        }
    }

    /// The mounts of a node that show a disk's filesystem.
    pub fn mounts_of(&self, node: &str, id: &str) -> usize {
        let Some(machine) = self.machines.get(node) else { return 0 };
        let shows = |mounted: &&Mounted| matches!(&mounted.fs, FsRef::Disk(own) if **own == *id);
        machine.mounts.iter().filter(shows).count()
    }
}
