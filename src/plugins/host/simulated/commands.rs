//! What a command does to the state, and what it prints: the words of the
//! real programs, as Kubernetes' events quote them.

use std::sync::Arc;

use crate::plugins::host::mount_table::is_at_or_below;
use crate::plugins::host::simulated::state::{
    DISKS, DiskContent, FsRef, Machine, Mounted, Place, State,
};
use crate::plugins::host::simulated::tree::{Content, Entry, Tree};
use crate::plugins::host::{Command, Exit, FileFault, MountEntry};

/// File systems that hold their files in memory.
const IN_MEMORY: &[&str] = &["tmpfs", "hugetlbfs"];
/// File systems of the network: each source is there when first mounted.
const OF_THE_NETWORK: &[&str] =
    &["nfs", "nfs4", "ceph", "glusterfs", "cifs", "quobyte", "pxfs", "scini", "storageos"];

/// How a command ends.
pub type End = (Exit, String);

fn fails(code: i32, output: impl Into<String>) -> End {
    (Exit::Code(code), output.into())
}

fn done(output: impl Into<String>) -> End {
    fails(0, output)
}

/// Runs a command on a node.
pub fn perform(state: &mut State, node: &str, command: &Command) -> End {
    match command {
        Command::Probe { device } => probe(state, node, device),
        Command::Format { device, fs_type, .. } => format(state, node, device, fs_type),
        Command::Check { device } => check(state, node, device),
        Command::Mount { source, target, fs_type, options } => {
            let request = Request { source, target, fs_type, options };
            mount(state, node, &request)
        }
        Command::Unmount { target, .. } => unmount(state, node, target),
        Command::Grow { device, mount_point, fs_type } => {
            grow(state, node, device, mount_point, fs_type)
        }
        Command::IsReadOnly { device } => match state.disk_at(node, device) {
            Some(id) => {
                let read_only = state.disks.get(&id).is_some_and(|disk| disk.read_only);
                done(if read_only { "1\n" } else { "0\n" })
            }
            None => fails(1, format!("blockdev: cannot open {device}: No such file or directory")),
        },
        Command::LoopAttach { file } | Command::LoopLock { file } => attach(state, node, file),
        Command::LoopDetach { device } => detach(state, node, device),
        // The size of a disk is looked up when it matters.
        Command::LoopResize { .. } => done(""),
        Command::LoopFind { file } => {
            let Some(machine) = state.machines.get(node) else { return done("") };
            let own = machine.loops.iter().filter(|(_, own)| *own == file);
            done(own.map(|(number, _)| format!("/dev/loop{number} {file}\n")).collect::<String>())
        }
        Command::Wipe { device, argv } => wipe(state, node, device, argv),
        // A program is not run on the state: see `programs`.
        Command::Driver { .. } | Command::Other { .. } => (Exit::NotRun, String::new()),
    }
}

fn probe(state: &State, node: &str, device: &str) -> End {
    let disk = state.disk_at(node, device).and_then(|id| state.disks.get(&id));
    match disk.map(|disk| &disk.content) {
        // blkid ends alike for a device that is not there.
        None => fails(2, format!("blkid: error: {device}: No such file or directory\n")),
        Some(DiskContent::Blank) => fails(2, ""),
        Some(DiskContent::Filesystem { fs_type, .. }) => {
            done(format!("DEVNAME={device}\nTYPE={fs_type}\n"))
        }
        Some(DiskContent::Partitions) => done(format!("DEVNAME={device}\nPTTYPE=dos\n")),
    }
}

fn format(state: &mut State, node: &str, device: &str, fs_type: &str) -> End {
    let Some(id) = state.disk_at(node, device) else {
        return fails(1, format!("The file {device} does not exist and no size was specified.\n"));
    };
    if state.mounts_of(node, &id) > 0 {
        return fails(1, format!("{device} is mounted; will not make a filesystem here!\n"));
    }
    let Some(disk) = state.disk(&id) else { return fails(1, "") };
    let held = disk.content != DiskContent::Blank;
    let mut tree = Tree::new(Some(disk.bytes));
    if fs_type.starts_with("ext") {
        // A new filesystem has room for it.
        let _ = tree.make_directory("/lost+found", 0o700, false);
    }
    disk.content = DiskContent::Filesystem { fs_type: fs_type.to_owned(), tree, fsck: 0 };
    if held {
        state.formatted_over.push(id);
    }
    done("")
}

/// The programs of this machine that take a device's content away.
const WIPING: &[&str] = &["wipefs", "dd", "shred", "blkdiscard"];

/// A filesystem is made as by hand; the others leave a blank device. Other
/// programs are not on this machine.
fn wipe(state: &mut State, node: &str, device: &str, argv: &[String]) -> End {
    let program = argv.first().map_or("", String::as_str);
    if program == "mkfs" {
        let before = state.formatted_over.len();
        let end = format(state, node, device, "ext2");
        // Here it is meant to.
        state.formatted_over.truncate(before);
        return end;
    }
    // Named to `env`, after what it is to find in its environment.
    let is_setting = |word: &&String| *word == "env" || word.contains('=');
    let named = argv.iter().find(|word| !is_setting(word)).map_or("", String::as_str);
    if !WIPING.contains(&named) {
        return (Exit::Missing, format!("env: '{named}': No such file or directory\n"));
    }
    let Some(id) = state.disk_at(node, device) else {
        return fails(1, format!("{named}: {device}: No such file or directory\n"));
    };
    if state.mounts_of(node, &id) > 0 {
        return fails(1, format!("{named}: {device}: Device or resource busy\n"));
    }
    if let Some(disk) = state.disk(&id) {
        disk.content = DiskContent::Blank;
    }
    done("")
}

fn check(state: &mut State, node: &str, device: &str) -> End {
    let id = state.disk_at(node, device);
    let Some(disk) = id.and_then(|id| state.disk(&id)) else {
        return fails(8, format!("fsck: error 2 (No such file or directory) for {device}\n"));
    };
    match &mut disk.content {
        DiskContent::Filesystem { fsck, .. } if *fsck == 1 => {
            *fsck = 0;
            fails(1, format!("{device}: recovering journal\n"))
        }
        DiskContent::Filesystem { fsck, .. } if *fsck != 0 => {
            let text = "UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY.";
            fails(*fsck, format!("{device}: {text}\n"))
        }
        DiskContent::Filesystem { .. } => done(format!("{device}: clean\n")),
        DiskContent::Blank | DiskContent::Partitions => fails(8, format!("{device}: bad magic\n")),
    }
}

struct Request<'a> {
    source: &'a str,
    target: &'a str,
    fs_type: &'a str,
    options: &'a [String],
}

impl Request<'_> {
    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|own| own == option)
    }

    /// The flags that the mount table shows.
    fn flags(&self) -> Vec<String> {
        let mut flags = vec![if self.has("ro") { "ro" } else { "rw" }];
        flags.extend(["nosuid", "nodev", "noexec", "noatime"].iter().filter(|f| self.has(f)));
        if !self.has("noatime") {
            flags.push("relatime");
        }
        flags.into_iter().map(str::to_owned).collect()
    }

    fn refused(&self, why: &str) -> End {
        fails(32, format!("mount: {}: {why}.\n", self.target))
    }
}

fn mount(state: &mut State, node: &str, request: &Request<'_>) -> End {
    let Ok((target, Some(at))) = state.resolve(node, request.target, true) else {
        return request.refused("mount point does not exist");
    };
    if request.has("bind") && request.has("remount") {
        return remount(state, node, request);
    }
    let shown = if request.has("bind") {
        bind(state, node, request, &at)
    } else if IN_MEMORY.contains(&request.fs_type) {
        Ok(memory(state, node, request))
    } else if OF_THE_NETWORK.contains(&request.fs_type) {
        Ok(export(state, node, request))
    } else {
        device(state, node, request)
    };
    let (fs, mut entry) = match shown {
        Ok(shown) => shown,
        Err(end) => return end,
    };
    if at.content != Content::Directory && fs != FsRef::Devices && entry.root == "/" {
        return request.refused("mount point is not a directory");
    }
    entry.target = target_path(request.target, &target);
    if let Some(machine) = state.machine(node) {
        machine.mounts.push(Mounted { fs, entry });
    }
    done("")
}

/// The mount table has paths as they were named; none here has links in it.
fn target_path(named: &str, _place: &Place) -> String {
    if named.len() > 1 { named.trim_end_matches('/').to_owned() } else { named.to_owned() }
}

fn remount(state: &mut State, node: &str, request: &Request<'_>) -> End {
    let flags = request.flags();
    let Some(machine) = state.machine(node) else { return fails(32, "") };
    let at = machine.mounts.iter_mut().rev().find(|own| own.entry.target == request.target);
    match at {
        Some(mounted) => {
            mounted.entry.options = flags;
            done("")
        }
        None => request.refused("mount point not mounted or bad option"),
    }
}

fn bind(
    state: &State,
    node: &str,
    request: &Request<'_>,
    at: &Entry,
) -> Result<(FsRef, MountEntry), End> {
    let Ok((source, Some(entry))) = state.resolve(node, request.source, true) else {
        let why = format!("special device {} does not exist", request.source);
        return Err(request.refused(&why));
    };
    let is_directory = |entry: &Entry| entry.content == Content::Directory;
    if is_directory(&entry) != is_directory(at) {
        return Err(request.refused("mount(2) system call failed: Not a directory"));
    }
    Ok((source.fs, MountEntry { root: source.path, ..source.mount }))
}

/// The size of a file system in memory: `16m`, as the kernel reads it.
fn bytes_of(size: &str) -> Option<u64> {
    let digits = size.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match size[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn memory(state: &mut State, node: &str, request: &Request<'_>) -> (FsRef, MountEntry) {
    let number = state.number();
    let size = request.options.iter().find_map(|option| option.strip_prefix("size="));
    let tree = Tree::new(size.and_then(bytes_of));
    if let Some(machine) = state.machine(node) {
        machine.memory.insert(number, tree);
    }
    (FsRef::Memory(number), entry(request, format!("0:{}", 1000 + number)))
}

fn export(state: &mut State, node: &str, request: &Request<'_>) -> (FsRef, MountEntry) {
    let name: Arc<str> = format!("{}:{}", request.fs_type, request.source).into();
    state.exports.entry(name.clone()).or_insert_with(|| Arc::new(Tree::new(None)));
    let held = device_of(state, node, |fs| matches!(fs, FsRef::Export(own) if *own == name));
    let device = held.unwrap_or_else(|| format!("0:{}", 1000 + state.number()));
    (FsRef::Export(name), entry(request, device))
}

/// The device number under which a node has a file system already. No two that
/// are mounted have the same.
fn device_of(state: &State, node: &str, is_it: impl Fn(&FsRef) -> bool) -> Option<String> {
    let mut mounts = state.machines.get(node)?.mounts.iter();
    mounts.find(|mounted| is_it(&mounted.fs)).map(|mounted| mounted.entry.device.clone())
}

fn device(
    state: &mut State,
    node: &str,
    request: &Request<'_>,
) -> Result<(FsRef, MountEntry), End> {
    let source = request.source;
    let Some(id) = state.disk_at(node, source) else {
        return Err(request.refused(&format!("special device {source} does not exist")));
    };
    let fits = state.disks.get(&id).is_some_and(|disk| match &disk.content {
        DiskContent::Filesystem { fs_type, .. } => {
            request.fs_type == "auto" || fs_type == request.fs_type
        }
        DiskContent::Blank | DiskContent::Partitions => false,
    });
    if !fits {
        let why = format!(
            "wrong fs type, bad option, bad superblock on {source}, missing codepage or helper \
             program, or other error"
        );
        return Err(request.refused(&why));
    }
    let held = device_of(state, node, |fs| matches!(fs, FsRef::Disk(own) if *own == id));
    let device = held.unwrap_or_else(|| format!("7:{}", state.number()));
    Ok((FsRef::Disk(id), entry(request, device)))
}

fn entry(request: &Request<'_>, device: String) -> MountEntry {
    MountEntry {
        target: String::new(),
        device,
        root: "/".to_owned(),
        source: request.source.to_owned(),
        fs_type: request.fs_type.to_owned(),
        options: request.flags(),
    }
}

fn unmount(state: &mut State, node: &str, target: &str) -> End {
    let Some(machine) = state.machine(node) else { return fails(32, "") };
    let Some(at) = machine.mounts.iter().rposition(|own| own.entry.target == target) else {
        return fails(32, format!("umount: {target}: not mounted.\n"));
    };
    let inside =
        |own: &Mounted| own.entry.target != target && is_at_or_below(&own.entry.target, target);
    if machine.mounts.iter().any(inside) {
        return fails(32, format!("umount: {target}: target is busy.\n"));
    }
    let gone = machine.mounts.remove(at);
    if let FsRef::Memory(number) = gone.fs
        && !machine.mounts.iter().any(|own| own.fs == gone.fs)
    {
        machine.memory.remove(&number);
    }
    done("")
}

fn grow(state: &mut State, node: &str, device: &str, mount_point: &str, fs_type: &str) -> End {
    let by_mount = matches!(fs_type, "xfs" | "btrfs");
    let id = if by_mount {
        let machine = state.machines.get(node);
        machine.and_then(|machine| {
            let at = machine.mounts.iter().rev().find(|own| own.entry.target == mount_point)?;
            let FsRef::Disk(id) = &at.fs else { return None };
            Some(id.clone())
        })
    } else {
        state.disk_at(node, device)
    };
    let Some(disk) = id.and_then(|id| state.disk(&id)) else {
        return fails(1, format!("open: No such file or directory while opening {device}\n"));
    };
    let bytes = disk.bytes;
    if let DiskContent::Filesystem { tree, .. } = &mut disk.content {
        tree.bytes_max = Some(bytes);
    }
    done("")
}

/// A loop device on a file: on a disk's file it shows that disk, on a device
/// file it is a lock.
fn attach(state: &mut State, node: &str, file: &str) -> End {
    let id: Option<Arc<str>> = match file.strip_prefix(DISKS) {
        Some(name) => Some(name.trim_matches('/').trim_end_matches(".img").into()),
        None => state.disk_at(node, file),
    };
    let Some(id) = id.filter(|id| state.disks.contains_key(id)) else {
        return fails(
            1,
            format!("losetup: {file}: failed to set up loop device: No such file or directory\n"),
        );
    };
    let Some(machine) = state.machine(node) else { return fails(1, "") };
    let number = free_loop(machine);
    let name = format!("loop{number}");
    let device = Entry::new(Content::Device(id.clone()), 0o660);
    if let Err(fault) = machine.devices.put(&format!("/{name}"), device) {
        return fails(1, format!("losetup: {file}: failed to set up loop device: {fault}\n"));
    }
    machine.loops.insert(number, file.to_owned());
    if file.starts_with(DISKS)
        && let Some(disk) = state.disk(&id)
    {
        disk.attached.insert(node.into(), name.clone());
    }
    done(format!("/dev/{name}\n"))
}

fn free_loop(machine: &Machine) -> u32 {
    (0..).find(|number| !machine.loops.contains_key(number)).unwrap_or_default()
}

fn detach(state: &mut State, node: &str, device: &str) -> End {
    let id = state.disk_at(node, device);
    let number = device.strip_prefix("/dev/loop").and_then(|number| number.parse::<u32>().ok());
    let Some(machine) = state.machine(node) else { return fails(1, "") };
    let file = number.and_then(|number| machine.loops.remove(&number));
    let (Some(file), Some(id)) = (file, id) else {
        return fails(1, format!("losetup: {device}: detach failed: No such device or address\n"));
    };
    let removed: Result<(), FileFault> =
        machine.devices.remove_file(device.trim_start_matches("/dev"));
    if file.starts_with(DISKS)
        && let Some(disk) = state.disk(&id)
    {
        disk.attached.remove(node);
    }
    match removed {
        Ok(()) => done(""),
        Err(fault) => fails(1, format!("losetup: {device}: detach failed: {fault}\n")),
    }
}
