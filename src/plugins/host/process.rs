//! Running a program that nobody vouches for: bounded in output, ended with
//! all its children when whoever waits gives up.
//!
//! Standard output and standard error are one pipe. The program has ended when
//! its first process has: what a child of it still holds open is not waited
//! for. It runs in a process group of its own, which is killed as a whole.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::plugins::host::Exit;
use crate::plugins::host::record::OUTPUT_MAX;

/// How often a program that says nothing is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How often a program that was just written is tried again: another thread
/// may hold it open for a moment.
const BUSY_TRIES: u32 = 50;
/// How much may be read at one look.
const READ_MAX: usize = 64 * 1024;

/// Something that a running program may ask of whoever runs it.
pub trait Asked {
    /// What becomes readable when it asks.
    fn wakes(&self) -> &OwnedFd;
    /// Answers what was asked; whether an answer has yet to be fetched.
    fn answer(&mut self) -> bool;
}

/// Runs a program to its end, or until `stop`. What it printed is cut at one
/// byte more than [`OUTPUT_MAX`], which tells that there was more.
pub fn run(
    mut command: Command,
    stop: &AtomicBool,
    mut asked: Option<&mut dyn Asked>,
) -> (Exit, String) {
    let (mut child, mut pipe) = match start(&mut command) {
        Ok(started) => started,
        Err(error) => return refused(&command, &error),
    };
    // The program's own ends of the pipe are the only ones left.
    drop(command);
    let (mut output, mut is_open) = (Vec::new(), true);
    let exit = loop {
        let ended = child.try_wait();
        is_open = is_open && drain(&mut pipe, &mut output);
        let waits = asked.as_mut().is_some_and(|asked| asked.answer());
        match ended {
            Ok(Some(status)) => break exit_of(status),
            Ok(None) if stop.load(Ordering::Acquire) => {
                kill(&mut child);
                break Exit::GivenUp;
            }
            Ok(None) => wait(&pipe, is_open, asked.as_deref(), waits),
            Err(error) => return (Exit::Code(126), error.to_string()),
        }
    };
    (exit, String::from_utf8_lossy(&output).into_owned())
}

fn start(command: &mut Command) -> io::Result<(Child, File)> {
    let (read, write) = io::pipe()?;
    let read = File::from(OwnedFd::from(read));
    let flags = fcntl_getfl(&read)?;
    fcntl_setfl(&read, flags | OFlags::NONBLOCK)?;
    command.stdin(Stdio::null()).stdout(write.try_clone()?).stderr(write).process_group(0);
    let mut tries = 0;
    loop {
        match command.spawn() {
            Err(error)
                if error.kind() == io::ErrorKind::ExecutableFileBusy && tries < BUSY_TRIES =>
            {
                tries += 1;
                std::thread::sleep(LOOK);
            }
            started => return started.map(|child| (child, read)),
        }
    }
}

fn refused(command: &Command, error: &io::Error) -> (Exit, String) {
    let program = command.get_program().to_string_lossy();
    let exit = match error.kind() {
        io::ErrorKind::NotFound => Exit::Missing,
        _ => Exit::Code(126),
    };
    (exit, format!("{program}: {error}"))
}

/// Takes what is there to read; whether there may be more.
fn drain(pipe: &mut File, output: &mut Vec<u8>) -> bool {
    let (mut buffer, mut left) = ([0; 4096], READ_MAX);
    while left > 0 {
        match pipe.read(&mut buffer) {
            Ok(0) => return false,
            Ok(read) => {
                let room = (OUTPUT_MAX + 1).saturating_sub(output.len());
                output.extend_from_slice(&buffer[..read.min(room)]);
                left = left.saturating_sub(read);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
    true
}

fn wait(pipe: &File, is_open: bool, asked: Option<&(dyn Asked + '_)>, hurry: bool) {
    let mut readable = Vec::new();
    if is_open {
        readable.push(PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN));
    }
    if let Some(asked) = asked {
        readable.push(PollFd::from_borrowed_fd(asked.wakes().as_fd(), PollFlags::IN));
    }
    let time = if hurry { Duration::from_millis(1) } else { LOOK };
    let time = Timespec { tv_sec: 0, tv_nsec: time.subsec_nanos().into() };
    // A signal only makes the next look come sooner.
    let _ = poll(&mut readable, Some(&time));
}

fn kill(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
}

/// How a process ended.
pub fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or_default()),
    }
}

/// Stops a program when it is dropped.
#[derive(Debug, Default)]
pub struct StopOnDrop(pub std::sync::Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    fn run_sh(script: &str) -> (Exit, String) {
        run(sh(script), &AtomicBool::new(false), None)
    }

    #[test]
    fn both_streams_are_one_and_the_end_is_told() {
        assert_eq!(run_sh("echo a; echo b >&2; exit 3"), (Exit::Code(3), "a\nb\n".into()));
        assert_eq!(run_sh("kill -9 $$").0, Exit::Signal(9));
        let missing = run(Command::new("/no/such"), &AtomicBool::new(false), None);
        assert_eq!(missing.0, Exit::Missing);
    }

    #[test]
    fn a_child_that_keeps_the_pipe_open_is_not_waited_for() {
        assert_eq!(run_sh("sleep 30 & echo done"), (Exit::Code(0), "done\n".into()));
    }

    #[test]
    fn a_megabyte_is_read_and_all_but_its_beginning_forgotten() {
        let (exit, output) = run_sh("head -c 1000000 /dev/zero | tr '\\0' x");
        assert_eq!((exit, output.len()), (Exit::Code(0), OUTPUT_MAX + 1));
    }

    #[test]
    fn a_program_that_hangs_is_killed_with_its_children() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("children");
        let script = format!("sleep 60 & echo $! > {0}.new; mv {0}.new {0}; wait", file.display());
        let stop = Arc::new(AtomicBool::new(false));
        let running = {
            let stop = stop.clone();
            std::thread::spawn(move || run(sh(&script), &stop, None))
        };
        while !file.exists() {
            std::thread::sleep(LOOK);
        }
        drop(StopOnDrop(stop));
        assert_eq!(running.join().expect("it ends").0, Exit::GivenUp);
        let child = std::fs::read_to_string(&file).expect("its child");
        let path = format!("/proc/{}/stat", child.trim());
        // A killed child stays a zombie until someone looks after it.
        let gone = || match std::fs::read_to_string(&path) {
            Err(_) => true,
            Ok(stat) => stat.contains(") Z "),
        };
        while !gone() {
            std::thread::sleep(LOOK);
        }
    }
}
