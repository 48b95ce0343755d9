//! Format if blank, check, mount: decided in one place for every host.
//!
//! ```text
//!   blkid ─┬─ blank ──────── read-only? ─ refuse
//!          │                 else mkfs ─┬─ failed ─ refuse
//!          │                            └─ mount
//!          ├─ anything else ─ read-only? ─ mount
//!          │                 else fsck ─┬─ errors left ─ refuse
//!          │                            └─ mount
//!          └─ cannot tell ── refuse
//! ```
//!
//! [`next`] is pure: what has been found in, the next command out, with its
//! reason. [`run`] performs it on a host. Whatever is on a device, known or
//! not, keeps it from ever being formatted.
//!
//! Upstream: `SafeFormatAndMount` of mount-utils.

use std::fmt;

use crate::plugins::error::PluginError;
use crate::plugins::host::record::{Exit, OnBehalf};
use crate::plugins::host::{Command, CommandRecord, Host};

/// The filesystem of a volume that names none.
pub const DEFAULT_FS_TYPE: &str = "ext4";

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub device: String,
    pub target: String,
    /// Empty means ext4.
    pub fs_type: String,
    /// Mount options; `ro` among them makes it read-only.
    pub options: Vec<String>,
    /// Words for mkfs before the defaults of its filesystem.
    pub format_options: Vec<String>,
}

impl Request {
    pub fn fs_type(&self) -> &str {
        if self.fs_type.is_empty() { DEFAULT_FS_TYPE } else { &self.fs_type }
    }

    pub fn is_read_only(&self) -> bool {
        self.options.iter().any(|option| option == "ro")
    }

    fn mount_options(&self) -> Vec<String> {
        let mut options = self.options.clone();
        options.push("defaults".to_owned());
        options
    }

    fn mkfs_options(&self) -> Vec<String> {
        let defaults: &[&str] = match self.fs_type() {
            "ext3" | "ext4" => &["-F", "-m0"],
            "xfs" => &["-f"],
            _ => &[],
        };
        let defaults = defaults.iter().map(|word| (*word).to_owned());
        self.format_options.iter().cloned().chain(defaults).collect()
    }
}

/// How a command ended, as far as the decision goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub exit: Exit,
    pub output: String,
}

/// What has been done so far; `None`: not run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    pub probed: Option<Outcome>,
    pub formatted: Option<Outcome>,
    pub checked: Option<Outcome>,
    pub mounted: Option<Outcome>,
}

/// What is on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Nothing that anyone would miss.
    Blank,
    /// A filesystem, by its type.
    Filesystem(String),
    /// A partition table, with or without a filesystem. Never formatted.
    Partitions,
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("nothing"),
            Self::Filesystem(fs_type) => f.write_str(fs_type),
            Self::Partitions => f.write_str("unknown data, probably partitions"),
        }
    }
}

/// Why the next step is what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Because {
    /// Nothing is known of the device yet.
    NotProbed,
    /// The device is blank and may be written.
    Blank,
    /// The device holds something and may be written.
    CheckFirst { content: Content },
    /// Read-only, and the device holds something: no check.
    ReadOnly { content: Content },
    /// mkfs has just made the filesystem.
    Formatted,
    /// fsck found nothing wrong, or what it said is no obstacle.
    Checked { exit: Exit },
    /// fsck repaired errors.
    Repaired,
    /// It is mounted.
    Mounted,
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotProbed => f.write_str("what is on the device is not known yet"),
            Self::Blank => f.write_str("the device is blank and may be written"),
            Self::CheckFirst { content } => {
                write!(f, "the device holds {content}: it is checked, never formatted")
            }
            Self::ReadOnly { content } => {
                write!(f, "the device holds {content} and is used read-only: no check")
            }
            Self::Formatted => f.write_str("the filesystem is new: no check"),
            Self::Checked { exit } => write!(f, "the check leaves no obstacle ({exit})"),
            Self::Repaired => f.write_str("the check repaired the filesystem"),
            Self::Mounted => f.write_str("the filesystem is mounted"),
        }
    }
}

/// Why it is refused; `Display` is Kubernetes' text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// GetDiskFormatFailed: the output is no list of `key=value`.
    #[error("failed to get disk format of disk {device}: blkid returns invalid output: {output}")]
    InvalidProbe { device: String, output: String },
    /// GetDiskFormatFailed: blkid failed otherwise.
    #[error("failed to get disk format of disk {device}: {exit}")]
    ProbeFailed { device: String, exit: Exit },
    /// UnformattedReadOnly.
    #[error("cannot mount unformatted disk {device} as we are manipulating it in read-only mode")]
    UnformattedReadOnly { device: String },
    /// FormatFailed.
    #[error(
        "format of disk \"{device}\" failed: type:(\"{fs_type}\") target:(\"{target}\") \
         options:(\"{options}\") errcode:({exit}) output:({output}) "
    )]
    FormatFailed {
        device: String,
        fs_type: String,
        target: String,
        options: String,
        exit: Exit,
        output: String,
    },
    /// HasFilesystemErrors.
    #[error("'fsck' found errors on device {device} but could not correct them: {output}")]
    HasFilesystemErrors { device: String, output: String },
    /// FilesystemMismatch: the mount failed, and the device holds another type.
    #[error("{text}")]
    FilesystemMismatch { text: String },
    /// UnknownMountError.
    #[error("{text}")]
    MountFailed { text: String },
}

impl From<Refusal> for PluginError {
    /// A mismatch is told on the PV too, so it keeps its kind.
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::FilesystemMismatch { text } => Self::FilesystemMismatch(text),
            refusal => Self::Failed(refusal.to_string()),
        }
    }
}

/// The next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    Run(Command, Because),
    Done(Because),
    Refuse(Refusal),
}

/// The commands from the first to the last if each succeeds. As long as it is
/// not known what is on the device, whether it is formatted or checked is left
/// open.
pub fn foreseen(request: &Request, content: Option<&Content>) -> Vec<Command> {
    let succeeds = || Outcome { exit: Exit::Code(0), output: String::new() };
    let probed = match content {
        Some(Content::Blank) => Outcome { exit: Exit::Code(2), output: String::new() },
        Some(Content::Partitions) => Outcome { output: "PTTYPE=gpt".to_owned(), ..succeeds() },
        Some(Content::Filesystem(fs_type)) => {
            Outcome { output: format!("TYPE={fs_type}"), ..succeeds() }
        }
        None => Outcome { output: format!("TYPE={}", request.fs_type()), ..succeeds() },
    };
    let (mut view, mut commands) = (View::default(), Vec::new());
    while let Next::Run(command, _) = next(request, &view) {
        let place = match command {
            Command::Probe { .. } => &mut view.probed,
            Command::Format { .. } => &mut view.formatted,
            Command::Check { .. } => &mut view.checked,
            _ => &mut view.mounted,
        };
        let is_probe = matches!(command, Command::Probe { .. });
        *place = Some(if is_probe { probed.clone() } else { succeeds() });
        commands.push(command);
    }
    if content.is_none() {
        commands.retain(|command| !matches!(command, Command::Check { .. }));
    }
    commands
}

/// Decides the next step from what has been done so far.
pub fn next(request: &Request, view: &View) -> Next {
    let device = || request.device.clone();
    let Some(probed) = &view.probed else {
        return Next::Run(Command::Probe { device: device() }, Because::NotProbed);
    };
    let content = match content(request, probed) {
        Ok(content) => content,
        Err(refusal) => return Next::Refuse(refusal),
    };
    if let Some(mounted) = &view.mounted {
        return after_mount(request, &content, mounted);
    }
    match (&content, request.is_read_only()) {
        (Content::Blank, true) => Next::Refuse(Refusal::UnformattedReadOnly { device: device() }),
        (Content::Blank, false) => after_format(request, view.formatted.as_ref()),
        (_, true) => Next::Run(mount(request), Because::ReadOnly { content }),
        (_, false) => after_check(request, content, view.checked.as_ref()),
    }
}

/// What a probe says is on the device.
pub fn content(request: &Request, probed: &Outcome) -> Result<Content, Refusal> {
    let device = || request.device.clone();
    match probed.exit {
        Exit::Code(2) => return Ok(Content::Blank),
        Exit::Code(0) => {}
        exit => return Err(Refusal::ProbeFailed { device: device(), exit }),
    }
    let (mut fs_type, mut partitions) = (None, false);
    for line in probed.output.lines().filter(|line| !line.is_empty()) {
        match line.split_once('=') {
            Some(("TYPE", value)) => fs_type = Some(value),
            Some(("PTTYPE", value)) => partitions |= !value.is_empty(),
            Some(_) => {}
            None => {
                let output = probed.output.clone();
                return Err(Refusal::InvalidProbe { device: device(), output });
            }
        }
    }
    Ok(match fs_type.filter(|fs_type| !fs_type.is_empty()) {
        _ if partitions => Content::Partitions,
        Some(fs_type) => Content::Filesystem(fs_type.to_owned()),
        None => Content::Blank,
    })
}

fn after_format(request: &Request, formatted: Option<&Outcome>) -> Next {
    let options = request.mkfs_options();
    let Some(outcome) = formatted else {
        let device = request.device.clone();
        let fs_type = request.fs_type().to_owned();
        return Next::Run(Command::Format { device, fs_type, options }, Because::Blank);
    };
    if outcome.exit.is_success() {
        return Next::Run(mount(request), Because::Formatted);
    }
    Next::Refuse(Refusal::FormatFailed {
        device: request.device.clone(),
        fs_type: request.fs_type().to_owned(),
        target: request.target.clone(),
        options: request.mount_options().join(","),
        exit: outcome.exit,
        output: outcome.output.clone(),
    })
}

fn after_check(request: &Request, content: Content, checked: Option<&Outcome>) -> Next {
    let Some(outcome) = checked else {
        let command = Command::Check { device: request.device.clone() };
        return Next::Run(command, Because::CheckFirst { content });
    };
    match outcome.exit {
        Exit::Code(4) => Next::Refuse(Refusal::HasFilesystemErrors {
            device: request.device.clone(),
            output: outcome.output.clone(),
        }),
        Exit::Code(1) => Next::Run(mount(request), Because::Repaired),
        exit => Next::Run(mount(request), Because::Checked { exit }),
    }
}

fn after_mount(request: &Request, content: &Content, mounted: &Outcome) -> Next {
    if mounted.exit.is_success() {
        return Next::Done(Because::Mounted);
    }
    let command = mount(request);
    let text = mount_failure(&command, mounted.exit, &mounted.output);
    let differs = match content {
        Content::Filesystem(found) => found != request.fs_type(),
        Content::Partitions => true,
        Content::Blank => false,
    };
    Next::Refuse(if differs {
        Refusal::FilesystemMismatch { text }
    } else {
        Refusal::MountFailed { text }
    })
}

fn mount(request: &Request) -> Command {
    Command::Mount {
        source: request.device.clone(),
        target: request.target.clone(),
        fs_type: request.fs_type().to_owned(),
        options: request.mount_options(),
    }
}

/// The text of a mount that failed.
pub fn mount_failure(command: &Command, exit: Exit, output: &str) -> String {
    let argv = command.argv();
    let (program, arguments) = argv.split_first().map_or(("", &[][..]), |(p, a)| (&**p, a));
    let arguments = arguments.join(" ");
    format!(
        "mount failed: {exit}\nMounting command: {program}\nMounting arguments: {arguments}\n\
         Output: {output}"
    )
}

/// Performs it on a host, step after step. Whether the target is mounted
/// already is for the caller to see.
pub async fn run(
    host: &dyn Host,
    on_behalf: &OnBehalf,
    request: &Request,
) -> Result<(), PluginError> {
    let mut view = View::default();
    loop {
        let (command, because) = match next(request, &view) {
            Next::Run(command, because) => (command, because),
            Next::Done(_) => return Ok(()),
            Next::Refuse(refusal) => return Err(refusal.into()),
        };
        tracing::debug!(node = %host.node(), volume = %on_behalf.volume, %because, "{command:?}");
        let place = match command {
            Command::Probe { .. } => &mut view.probed,
            Command::Format { .. } => &mut view.formatted,
            Command::Check { .. } => &mut view.checked,
            _ => &mut view.mounted,
        };
        *place = Some(Outcome::of(&host.run(on_behalf, command).await?));
    }
}

impl Outcome {
    /// A record that has not ended counts as ended by a signal.
    pub fn of(record: &CommandRecord) -> Self {
        let exit = record.exit().unwrap_or(Exit::Signal(0));
        Self { exit, output: record.output().to_owned() }
    }
}

#[cfg(test)]
mod tests;
