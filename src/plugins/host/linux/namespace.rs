//! A mount namespace and root directory of one node, and the thread that
//! holds them.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use rustix::mount::{
    MountFlags, MountPropagationFlags, mount_bind, mount_bind_recursive, mount_change,
    mount_remount,
};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::plugins::host::HostError;
use crate::plugins::host::simulated::state::DISKS;

/// Directories of the machine that hold its programs.
const PROGRAMS: &[&str] = &["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix", "etc"];
/// What the kernel shows, with all that is mounted below.
const KERNEL: &[&str] = &["dev", "proc", "sys"];
/// Directories that every machine has.
const PLAIN: &[&str] = &["tmp", "run", "mnt", "var/tmp"];

/// What a node is made of, as paths of the machine.
pub struct Outside {
    pub root: PathBuf,
    pub disks: PathBuf,
    /// The kubelet's root, a path inside.
    pub kubelet_root: String,
}

/// Something to be done inside.
pub type Job = Box<dyn FnOnce() + Send>;

/// The way into a node's namespace. Dropped, the namespace ends with the last
/// job that runs in it.
pub struct Namespace {
    /// To the thread inside; `None`: this process' own namespace.
    jobs: Option<mpsc::Sender<Job>>,
}

impl Namespace {
    /// Makes the namespace and waits until it is ready.
    pub fn enter(outside: Outside) -> Result<Self, HostError> {
        if !rustix::process::geteuid().is_root() {
            let missing = format!("the process runs as user {}", rustix::process::geteuid());
            return Err(HostError::NotPermitted { missing });
        }
        let (jobs, todo) = mpsc::channel::<Job>();
        let (ready, made) = mpsc::channel();
        let name = "linux-node".to_owned();
        let thread = thread::Builder::new().name(name).spawn(move || {
            let entered = go_inside(&outside);
            let failed = entered.is_err();
            // The caller waits for it.
            let _ = ready.send(entered);
            if failed {
                return;
            }
            for job in todo {
                // Inherits namespace and root. A job that cannot be started is
                // dropped, which its caller sees.
                let _ = thread::Builder::new().name("linux-node-job".to_owned()).spawn(job);
            }
        });
        thread.map_err(|error| HostError::Failed { text: format!("no thread: {error}") })?;
        match made.recv() {
            Ok(Ok(())) => Ok(Self { jobs: Some(jobs) }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(HostError::Failed { text: "the node's thread has ended".to_owned() }),
        }
    }

    /// The namespace that this process is in.
    pub fn of_this_process() -> Self {
        Self { jobs: None }
    }

    /// Starts a job inside; a namespace that has ended drops it.
    pub fn spawn(&self, job: Job) {
        match &self.jobs {
            Some(jobs) => {
                let _ = jobs.send(job);
            }
            // One that cannot be started is dropped, which its caller sees.
            None => {
                let _ = thread::Builder::new().name("linux-job".to_owned()).spawn(job);
            }
        }
    }
}

fn failed(doing: &str, path: &Path, error: &io::Error) -> HostError {
    let text = format!("a Linux node cannot be made: {doing} {}: {error}", path.display());
    HostError::Failed { text }
}

/// Leaves the process' namespace and root for the calling thread.
fn go_inside(outside: &Outside) -> Result<(), HostError> {
    let make =
        |path: &Path| fs::create_dir_all(path).map_err(|error| failed("mkdir", path, &error));
    make(&outside.root)?;
    make(&outside.disks)?;
    // SAFETY: file descriptors stay shared; only the file system context and
    // the mount namespace of this thread become its own.
    let left = unsafe { unshare_unsafe(UnshareFlags::FS | UnshareFlags::NEWNS) };
    left.map_err(|error| HostError::NotPermitted {
        missing: format!("the process may not make a mount namespace ({error})"),
    })?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    let root = &outside.root;
    mount_change("/", private).map_err(|error| failed("make private", root, &error.into()))?;
    // The root must be a mount, so that the mount table shows it.
    bind(root, root, false)?;
    let root = fs::canonicalize(root).map_err(|error| failed("open", root, &error))?;
    for name in PROGRAMS {
        programs(&Path::new("/").join(name), &root.join(name))?;
    }
    for name in KERNEL {
        make(&root.join(name))?;
        bind(&Path::new("/").join(name), &root.join(name), true)?;
    }
    let own = [outside.kubelet_root.trim_start_matches('/'), DISKS.trim_start_matches('/')];
    for name in PLAIN.iter().copied().chain(own) {
        make(&root.join(name))?;
    }
    bind(&outside.disks, &root.join(DISKS.trim_start_matches('/')), false)?;
    rustix::process::chroot(&root).map_err(|error| failed("chroot", &root, &error.into()))?;
    rustix::process::chdir("/").map_err(|error| failed("chdir", &root, &error.into()))?;
    Ok(())
}

fn bind(from: &Path, to: &Path, recursive: bool) -> Result<(), HostError> {
    let bound = if recursive { mount_bind_recursive(from, to) } else { mount_bind(from, to) };
    bound.map_err(|error| failed("bind", to, &error.into()))
}

/// Shows a directory of programs read-only; a link stays a link.
fn programs(from: &Path, to: &Path) -> Result<(), HostError> {
    let Ok(facts) = fs::symlink_metadata(from) else { return Ok(()) };
    if facts.is_symlink() {
        let target = fs::read_link(from).map_err(|error| failed("readlink", from, &error))?;
        if fs::symlink_metadata(to).is_err() {
            symlink(target, to).map_err(|error| failed("symlink", to, &error))?;
        }
        return Ok(());
    }
    fs::create_dir_all(to).map_err(|error| failed("mkdir", to, &error))?;
    bind(from, to, false)?;
    let flags = MountFlags::BIND | MountFlags::RDONLY;
    mount_remount(to, flags, c"").map_err(|error| failed("make read-only", to, &error.into()))
}
