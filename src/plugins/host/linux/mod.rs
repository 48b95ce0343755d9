//! The machine this program runs on, as a node: real devices, filesystems and
//! mounts. Needs root, and says so.
//!
//! A node has a root directory of its own. A dedicated thread leaves the
//! process' mount namespace and file system context, makes everything private,
//! binds the machine's programs and devices below that directory and makes it
//! its root; every request runs on a thread that the dedicated one starts, and
//! so in the same namespace and root. So paths are those of a real node, each
//! command is executed exactly as recorded, nothing outside the directory is
//! touched, and when the node goes all its mounts go with it. Loop devices are
//! the machine's and outlive it: see [`disks`].
//!
//! `/usr` and `/etc` are the machine's, read-only; `/dev`, `/proc` and `/sys`
//! are shared with it.

pub mod disk_files;
pub mod disks;

pub(super) mod files;
mod namespace;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt};
use tokio::sync::{oneshot, watch};

use crate::model::clock::Clock;
use crate::plugins::host::linux::namespace::{Namespace, Outside};
use crate::plugins::host::log::Log;
use crate::plugins::host::mount_table::is_at_or_below;
use crate::plugins::host::process::{self, StopOnDrop};
use crate::plugins::host::{
    Command, CommandRecord, Exit, FileAnswer, FileRequest, Host, HostError, MountTable, OnBehalf,
    command,
};
use crate::plugins::layout::Layout;

/// Where programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a Linux node is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// The node's name.
    pub node: String,
    /// The directory that becomes the node's root; created if missing.
    pub root: PathBuf,
    /// The directory with the files of remote disks, shared by all nodes of a
    /// cluster; created if missing.
    pub disks: PathBuf,
    pub layout: Layout,
}

/// A node on the machine itself.
pub struct Linux {
    node: Arc<str>,
    layout: Layout,
    clock: Arc<dyn Clock>,
    log: Arc<Log>,
    namespace: Namespace,
}

impl fmt::Debug for Linux {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Linux").field("node", &self.node).finish_non_exhaustive()
    }
}

impl Linux {
    /// Makes the node's namespace and root. Blocks for a moment.
    pub fn start(options: &Options, clock: Arc<dyn Clock>) -> Result<Arc<Self>, HostError> {
        let outside = Outside {
            root: options.root.clone(),
            disks: options.disks.clone(),
            kubelet_root: options.layout.root().to_owned(),
        };
        let namespace = Namespace::enter(outside)?;
        let node: Arc<str> = options.node.as_str().into();
        let log = Log::new(node.clone(), clock.clone());
        Ok(Arc::new(Self { node, layout: options.layout.clone(), clock, log, namespace }))
    }

    /// The machine as it is, in the namespace and root of this process: for a
    /// driver whose mounts others are to see. Paths are the machine's.
    pub fn in_place(node: &str, layout: Layout, clock: Arc<dyn Clock>) -> Arc<Self> {
        let node: Arc<str> = node.into();
        let log = Log::new(node.clone(), clock.clone());
        Arc::new(Self { node, layout, clock, log, namespace: Namespace::of_this_process() })
    }

    /// Runs something in the node's namespace and root, on a thread of its own.
    async fn inside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HostError> {
        let (answer, answered) = oneshot::channel();
        self.namespace.spawn(Box::new(move || {
            // Who asked may have given up.
            let _ = answer.send(work());
        }));
        answered.await.map_err(|_| HostError::NodeLost { node: self.node.clone() })
    }

    /// Runs a driver's executable; it is killed if nobody waits any more. It
    /// has this process' environment, as a kubelet's drivers have the kubelet's.
    async fn run_driver(&self, command: &Command) -> Result<(Exit, String), HostError> {
        let (secrets, argv) = (command.secrets(), command.argv());
        let given_up = StopOnDrop::default();
        let stop = given_up.0.clone();
        let ran = self.inside(move || {
            let mut words = argv.into_iter();
            let mut program = std::process::Command::new(words.next().unwrap_or_default());
            program.args(words).current_dir("/");
            process::run(program, &stop, None)
        });
        let (exit, output) = ran.await?;
        Ok((exit, command::without(&secrets, output)))
    }
}

impl Host for Linux {
    fn node(&self) -> &Arc<str> {
        &self.node
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    fn run(
        &self,
        on_behalf: &OnBehalf,
        command: Command,
    ) -> BoxFuture<'_, Result<CommandRecord, HostError>> {
        let running = self.log.start(on_behalf, command.clone());
        async move {
            match &command {
                Command::Other { .. } => return Ok(running.end(Exit::NotRun, "")),
                Command::Driver { .. } => {
                    let (exit, output) = self.run_driver(&command).await?;
                    return Ok(running.end(exit, &output));
                }
                _ => {}
            }
            let (exit, output) = self.inside(move || execute(&command.argv())).await?;
            Ok(running.end(exit, &output))
        }
        .boxed()
    }

    fn file(&self, request: FileRequest) -> BoxFuture<'_, Result<FileAnswer, HostError>> {
        async move {
            let asked = request.clone();
            let answer = self.inside(move || files::perform(&asked)).await?;
            answer.map_err(|fault| request.error(fault))
        }
        .boxed()
    }

    fn mounts(&self) -> BoxFuture<'_, Result<MountTable, HostError>> {
        async move { self.inside(mount_table).await? }.boxed()
    }

    fn records(&self) -> Vec<CommandRecord> {
        self.log.records()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.log.changes()
    }
}

/// Runs a program to its end and gives what it printed.
fn execute(argv: &[String]) -> (Exit, String) {
    let Some((program, arguments)) = argv.split_first() else {
        return (Exit::Missing, String::new());
    };
    let ran = std::process::Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .output();
    match ran {
        Ok(output) => {
            let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.push_str(&String::from_utf8_lossy(&output.stderr));
            (process::exit_of(output.status), text)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            (Exit::Missing, format!("{program}: {error}"))
        }
        Err(error) => (Exit::Code(126), format!("{program}: {error}")),
    }
}

/// The mount table of the calling thread's root. What is bound from the node's
/// own directory shows the path below it, as on a machine of its own.
fn mount_table() -> Result<MountTable, HostError> {
    let text = std::fs::read_to_string("/proc/thread-self/mountinfo");
    let text = text.map_err(|error| HostError::Failed {
        text: format!("the mount table cannot be read: {error}"),
    })?;
    let mut table = MountTable::parse(&text)?;
    let top = table.at("/").map(|mount| (mount.device.clone(), mount.root.clone()));
    let Some((device, root)) = top else { return Ok(table) };
    for mount in table.0.iter_mut().filter(|mount| mount.device == device) {
        if is_at_or_below(&mount.root, &root) {
            let below = &mount.root[root.trim_end_matches('/').len()..];
            mount.root = if below.is_empty() { "/".to_owned() } else { below.to_owned() };
        }
    }
    Ok(table)
}
