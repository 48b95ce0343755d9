//! The commands that are to run next for a volume, if each succeeds: what is
//! foreseen by its plugin, without what has been run already.

use crate::model::node_board::Stage;
use crate::plugins::format_and_mount::{self, Content, Outcome, Request};
use crate::plugins::host::record::Exit;
use crate::plugins::host::{Command, CommandRecord};
use crate::plugins::layout::Layout;

/// How far a volume is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    pub stage: Stage,
    /// An operation is under way; else the next begins at its first command.
    pub is_busy: bool,
    /// It is mounted for all pods already.
    pub is_staged: bool,
    /// The newest command run for it.
    pub last: Option<&'a CommandRecord>,
}

/// What the last probe of a device found, if it has ended.
pub fn content(records: &[&CommandRecord]) -> Option<Content> {
    let probe = records.iter().rev().find(|record| matches!(record.command, Command::Probe { .. }));
    let probe = probe.filter(|record| record.ended.is_some())?;
    let request = Request {
        device: probe.command.object().to_owned(),
        target: String::new(),
        fs_type: String::new(),
        options: Vec::new(),
        format_options: Vec::new(),
    };
    let made = records.iter().any(|record| {
        matches!(record.command, Command::Format { .. }) && record.exit() == Some(Exit::Code(0))
    });
    match format_and_mount::content(&request, &Outcome::of(probe)).ok()? {
        // It was blank, and is not any more; the new filesystem is not checked.
        Content::Blank if made => Some(Content::Blank),
        content => Some(content),
    }
}

/// Of the commands that bring a volume up, those still to run.
pub fn left(foreseen: Vec<Command>, progress: Progress<'_>, layout: &Layout) -> Vec<Command> {
    let mut commands = foreseen;
    if progress.is_staged {
        let pods = layout.pods();
        commands.retain(|command| command.object().starts_with(&pods));
    }
    let running = progress.last.filter(|_| progress.is_busy);
    let at = running.and_then(|last| commands.iter().position(|own| *own == last.command));
    if let Some(at) = at {
        commands.drain(..=at);
    }
    commands
}

/// The commands that take a volume away: from the pods that lose it and, if
/// none keeps it, from the node.
pub fn taken_away(
    from_pods: &[String],
    stage_path: Option<&str>,
    progress: Progress<'_>,
) -> Vec<Command> {
    let targets = from_pods.iter().map(String::as_str).chain(stage_path);
    let unmount = |target: &str| Command::Unmount { target: target.to_owned(), force: false };
    let mut commands: Vec<Command> =
        targets.filter(|target| !target.is_empty()).map(unmount).collect();
    let running = progress.last.filter(|last| progress.is_busy && last.ended.is_none());
    if let Some(last) = running {
        commands.retain(|own| *own != last.command);
    }
    commands
}

/// Whether a volume in this stage is on its way to a pod.
pub fn is_brought(stage: Stage) -> bool {
    match stage {
        Stage::Attach
        | Stage::Wait
        | Stage::Check
        | Stage::Format
        | Stage::Stage
        | Stage::Publish => true,
        Stage::Running | Stage::Unpublish | Stage::Unstage | Stage::Detach => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;

    use super::*;
    use crate::plugins::host::OnBehalf;
    use crate::plugins::host::record::Ended;

    const STAGED: &str = "/var/lib/kubelet/plugins/x/mounts/pv-1";
    const BOUND: &str = "/var/lib/kubelet/pods/u/volumes/x/pv-1";

    fn commands(content: Option<Content>) -> Vec<Command> {
        let request = Request {
            device: "/dev/sdb".into(),
            target: STAGED.into(),
            fs_type: String::new(),
            options: Vec::new(),
            format_options: Vec::new(),
        };
        let mut commands = format_and_mount::foreseen(&request, content.as_ref());
        commands.extend(Command::bind(STAGED, BOUND, &[], &[]));
        commands
    }

    fn record(command: Command, end: Option<i32>) -> CommandRecord {
        CommandRecord {
            id: 1,
            node: Arc::from("node-1"),
            on_behalf: OnBehalf::volume("x/pv-1"),
            argv: command.argv().into(),
            command,
            started: Timestamp::UNIX_EPOCH,
            ended: end.map(|code| Ended {
                exit: Exit::Code(code),
                output: String::new().into(),
                duration: std::time::Duration::ZERO,
            }),
        }
    }

    fn told(commands: Vec<Command>) -> Vec<String> {
        commands.iter().map(|command| command.argv().join(" ")).collect()
    }

    #[test]
    fn what_runs_and_what_has_run_is_not_to_come() {
        let format = commands(Some(Content::Blank)).swap_remove(1);
        let (probe, running) =
            (record(commands(None).swap_remove(0), Some(2)), record(format, None));
        assert_eq!(content(&[&probe, &running]), Some(Content::Blank));
        let progress = Progress {
            stage: Stage::Format,
            is_busy: true,
            is_staged: false,
            last: Some(&running),
        };
        let layout = Layout::default();
        let mount = format!("mount -t ext4 -o defaults /dev/sdb {STAGED}");
        let bind = format!("mount -o bind {STAGED} {BOUND}");
        let again = format!("mount -o bind,remount {STAGED} {BOUND}");
        let left_now = told(left(commands(Some(Content::Blank)), progress, &layout));
        assert_eq!(left_now, [mount, bind.clone(), again.clone()]);
        let staged = Progress { is_busy: false, is_staged: true, ..progress };
        assert_eq!(told(left(commands(None), staged, &layout)), [bind, again]);
        let failed = Progress { is_busy: false, ..progress };
        assert_eq!(left(commands(None), failed, &layout).len(), 4, "it begins anew");
    }

    #[test]
    fn what_is_taken_away_goes_from_pods_first() {
        let unmount = record(Command::Unmount { target: BOUND.into(), force: false }, None);
        let progress = Progress {
            stage: Stage::Unpublish,
            is_busy: true,
            is_staged: true,
            last: Some(&unmount),
        };
        let waits = Progress { is_busy: false, ..progress };
        let pods = [BOUND.to_owned()];
        let all = told(taken_away(&pods, Some(STAGED), waits));
        assert_eq!(all, [format!("umount {BOUND}"), format!("umount {STAGED}")]);
        let left = told(taken_away(&pods, Some(STAGED), progress));
        assert_eq!(left, [format!("umount {STAGED}")]);
        assert_eq!(told(taken_away(&pods, None, waits)), [format!("umount {BOUND}")]);
    }
}
