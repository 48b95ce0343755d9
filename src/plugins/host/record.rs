//! A command as it was run: kept, so that a console can show it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::plugins::host::command::Command;

/// What a command was run for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OnBehalf {
    /// The unique volume name.
    pub volume: Arc<str>,
    /// The pod's uid, if the step is for one pod.
    pub pod: Option<Arc<str>>,
}

impl OnBehalf {
    pub fn volume(volume: impl Into<Arc<str>>) -> Self {
        Self { volume: volume.into(), pod: None }
    }

    pub fn pod(volume: impl Into<Arc<str>>, pod: impl Into<Arc<str>>) -> Self {
        Self { volume: volume.into(), pod: Some(pod.into()) }
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It ended by itself with this code.
    Code(i32),
    /// The program is not on the machine.
    Missing,
    /// A signal ended it.
    Signal(i32),
    /// It is shown only, never run: see `iscsi` and `fc`.
    NotRun,
    /// Whoever waited for it no longer does; how it ended is not known.
    GivenUp,
}

impl Exit {
    pub fn is_success(self) -> bool {
        self == Self::Code(0)
    }
}

/// As Go prints the error of a command that failed.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Missing => f.write_str("executable file not found in $PATH"),
            Self::Signal(signal) => write!(f, "signal: {signal}"),
            Self::NotRun => f.write_str("not run"),
            Self::GivenUp => f.write_str("given up"),
        }
    }
}

/// The end of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub exit: Exit,
    /// What it printed, standard output and standard error together, cut at
    /// [`OUTPUT_MAX`].
    pub output: Arc<str>,
    pub duration: Duration,
}

/// The longest output that is kept, in bytes.
pub const OUTPUT_MAX: usize = 8 * 1024;

/// The number of commands a host keeps.
pub const RECORDS_MAX: usize = 256;

/// One command, running or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRecord {
    /// Counts up from 1 on each host.
    pub id: u64,
    pub node: Arc<str>,
    pub on_behalf: OnBehalf,
    pub command: Command,
    /// Exactly what is executed.
    pub argv: Arc<[String]>,
    pub started: Timestamp,
    /// `None` while it runs.
    pub ended: Option<Ended>,
}

impl CommandRecord {
    /// How it ended; a command that still runs has not succeeded.
    pub fn exit(&self) -> Option<Exit> {
        self.ended.as_ref().map(|ended| ended.exit)
    }

    pub fn succeeded(&self) -> bool {
        self.exit().is_some_and(Exit::is_success)
    }

    pub fn output(&self) -> &str {
        self.ended.as_ref().map_or("", |ended| &ended.output)
    }

    /// The command as one would type it, arguments quoted where needed.
    pub fn line(&self) -> String {
        let quoted = |word: &String| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+~".contains(c);
            if !word.is_empty() && word.chars().all(plain) {
                word.clone()
            } else {
                format!("'{}'", word.replace('\'', r"'\''"))
            }
        };
        self.argv.iter().map(quoted).collect::<Vec<_>>().join(" ")
    }
}
