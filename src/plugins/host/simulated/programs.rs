//! Real programs on simulated machines: the executables of FlexVolume drivers.
//!
//! A real directory is shown on every machine, and what lies in it is really
//! run. A program that is given a directory of the machine works on a copy of
//! it in a scratch directory, and what it leaves there is taken over. `mount`,
//! `umount` and `mountpoint` are first in its `PATH` and ask the machine: so a
//! driver mounts and unmounts on the simulated machine, without privileges,
//! and sees it refuse. See [`visit`].
//!
//! ```text
//!   machine's directory ──copy──> scratch ──> program ── mount … ──> machine
//!            ^                       │
//!            └──────taken over───────┘
//! ```
//!
//! A program that mounts in another way, as root, does so really, below the
//! scratch directory; nothing there is removed across a mount.

mod visit;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::plugins::host::command::{self, Verb};
use crate::plugins::host::linux::files;
use crate::plugins::host::mount_table::is_at_or_below;
use crate::plugins::host::process::StopOnDrop;
use crate::plugins::host::simulated::rules::Effect;
use crate::plugins::host::simulated::{Simulated, World};
use crate::plugins::host::{
    Command, CommandRecord, Exit, FileAnswer, FileFault, FileRequest, HostError, OnBehalf,
};

/// What is asked of the machine instead of being run.
const TOOLS: [&str; 3] = ["mount", "umount", "mountpoint"];

/// Asks the machine, and prints and ends as it says.
const TOOL: &str = r#"#!/bin/sh
# A program on a simulated machine mounts there: this asks it to.
answer="$PVDECK_VISIT/$$"
mkfifo "$answer" || exit 1
printf '%s\037' "$$" TOOL "$@" "$(printf '\036')" > "$PVDECK_VISIT/ask"
exec 3< "$answer"
rm -f "$answer"
read -r code <&3
if [ "$code" = 0 ]; then cat <&3; else cat <&3 >&2; fi
exit "$code"
"#;

/// Time does not jump while a program is about to end: for so long a clock that
/// is moved by hand is held up.
const SOON: Duration = Duration::from_secs(1);

/// Where real programs are, and where they work.
#[derive(Debug)]
pub struct Programs {
    /// The real directory with the programs.
    directory: PathBuf,
    /// Where machines show it.
    shown_at: String,
    /// A real directory for what they are given.
    scratch: PathBuf,
    visits: AtomicU64,
}

impl Programs {
    /// Programs in a directory that machines show as `shown_at`. `scratch` is
    /// made.
    pub fn new(directory: PathBuf, shown_at: &str, scratch: PathBuf) -> io::Result<Self> {
        let tools = scratch.join("bin");
        fs::create_dir_all(&tools)?;
        for tool in TOOLS {
            let path = tools.join(tool);
            fs::write(&path, TOOL.replace("TOOL", tool))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        let scratch = scratch.canonicalize()?;
        Ok(Self { directory, shown_at: shown_at.to_owned(), scratch, visits: AtomicU64::new(0) })
    }

    /// The real path of what a machine shows of them.
    fn real(&self, path: &str) -> Option<PathBuf> {
        if !is_at_or_below(path, &self.shown_at) {
            return None;
        }
        let below = path[self.shown_at.len()..].trim_start_matches('/');
        Some(if below.is_empty() { self.directory.clone() } else { self.directory.join(below) })
    }

    fn next_visit(&self) -> u64 {
        self.visits.fetch_add(1, Ordering::Relaxed)
    }
}

impl Drop for Programs {
    /// Takes the scratch directory away, unless something is really mounted
    /// there.
    fn drop(&mut self) {
        let path = self.scratch.to_string_lossy().into_owned();
        if let Err(fault) = files::perform(&FileRequest::RemoveTree { path }) {
            tracing::warn!(scratch = %self.scratch.display(), %fault, "it stays");
        }
    }
}

impl World {
    /// Shows real programs on every machine.
    pub fn set_programs(&self, programs: Arc<Programs>) {
        self.lock().programs = Some(programs);
    }

    fn programs(&self) -> Option<Arc<Programs>> {
        self.lock().programs.clone()
    }

    /// The answer to a request about the directory of real programs. It can be
    /// made, and looked at.
    pub(super) fn of_real_programs(
        &self,
        request: &FileRequest,
    ) -> Option<Result<FileAnswer, FileFault>> {
        let programs = self.programs()?;
        let path = programs.real(request.path())?.to_string_lossy().into_owned();
        let real = match request.clone() {
            FileRequest::Look { follow, .. } => FileRequest::Look { path, follow },
            FileRequest::List { .. } => FileRequest::List { path },
            FileRequest::Read { max_bytes, .. } => FileRequest::Read { path, max_bytes },
            FileRequest::MakeDirectory { mode, parents, .. } => {
                FileRequest::MakeDirectory { path, mode, parents }
            }
            _ => return Some(Err(FileFault::ReadOnly)),
        };
        Some(files::perform(&real))
    }
}

impl Simulated {
    /// Runs a driver's real executable.
    pub(super) async fn run_driver(
        &self,
        on_behalf: &OnBehalf,
        command: Command,
    ) -> Result<CommandRecord, HostError> {
        let running = self.log.start(on_behalf, command.clone());
        let asked = (Verb::Driver, &[command.object()][..]);
        let effect = self.world.act(&self.node, false, asked, |_, effect| effect).await?;
        if let Some(Effect::Fail { exit, output }) = effect {
            let output = output.replace("{object}", command.object());
            return Ok(running.end(Exit::Code(exit), &output));
        }
        let Some(programs) = self.world.programs() else {
            return Ok(running.end(Exit::Missing, ""));
        };
        let secrets = command.secrets();
        let given_up = StopOnDrop::default();
        let stop = given_up.0.clone();
        let visit = visit::Visit::new(self, on_behalf.clone(), programs);
        let (answer, answered) = oneshot::channel();
        let (ended, hold) = mpsc::channel::<()>();
        let started =
            std::thread::Builder::new().name("simulated-program".to_owned()).spawn(move || {
                // Who asked may have given up.
                let _ = answer.send(visit.run(&command.argv(), &stop));
                drop(ended);
            });
        if let Err(error) = started {
            return Ok(running.end(Exit::Code(126), &error.to_string()));
        }
        drop(tokio::task::spawn_blocking(move || hold.recv_timeout(SOON)));
        let lost = |_| HostError::NodeLost { node: self.node.clone() };
        let (exit, output) = answered.await.map_err(lost)?;
        Ok(running.end(exit, &command::without(&secrets, output)))
    }
}
