//! One run of a real program on a simulated machine. Blocks its thread.

mod copies;
mod tools;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::fs::{CWD, FileType, Mode, OFlags};

use crate::plugins::host::log::Log;
use crate::plugins::host::process::{self, Asked};
use crate::plugins::host::simulated::programs::Programs;
use crate::plugins::host::simulated::programs::visit::copies::Copies;
use crate::plugins::host::simulated::{Simulated, World};
use crate::plugins::host::{Exit, OnBehalf};

/// Between the words of what a tool asks, and after the last one.
const WORD_END: char = '\u{1f}';
const LAST_WORD: &str = "\u{1e}\u{1f}";

/// A program's stay on a machine.
pub struct Visit {
    world: World,
    node: Arc<str>,
    log: Arc<Log>,
    on_behalf: OnBehalf,
    programs: Arc<Programs>,
    copies: Copies,
}

/// The pipe through which the program's tools ask.
struct Questions<'a> {
    visit: &'a mut Visit,
    folder: PathBuf,
    ask: OwnedFd,
    read: String,
    /// Answers whose tool has not opened its pipe yet, by that pipe's path.
    answers: Vec<(PathBuf, String)>,
}

impl Visit {
    pub fn new(host: &Simulated, on_behalf: OnBehalf, programs: Arc<Programs>) -> Self {
        let copies = Copies::new(host, &programs.scratch);
        let (world, node, log) = (host.world.clone(), host.node.clone(), host.log.clone());
        Self { world, node, log, on_behalf, programs, copies }
    }

    /// Runs the program to its end, or until `stop`.
    pub fn run(mut self, argv: &[String], stop: &AtomicBool) -> (Exit, String) {
        let number = self.programs.next_visit();
        let folder = self.programs.scratch.join(format!("visits/{number}"));
        let ran = self.run_in(&folder, argv, stop);
        // Only pipes of this visit are in it.
        let _ = fs::remove_dir_all(&folder);
        let (exit, output) = ran.unwrap_or_else(|error| {
            (Exit::Code(126), format!("the program cannot be prepared: {error}"))
        });
        (exit, self.copies.as_on_machine(&output))
    }

    fn run_in(
        &mut self,
        folder: &PathBuf,
        argv: &[String],
        stop: &AtomicBool,
    ) -> io::Result<(Exit, String)> {
        let Some((program, arguments)) = argv.split_first() else {
            return Ok((Exit::Missing, String::new()));
        };
        let Some(real) = self.programs.real(program) else {
            return Ok((Exit::Missing, format!("{program} is not among the real programs")));
        };
        fs::create_dir_all(folder)?;
        let mut command = std::process::Command::new(real);
        for argument in arguments {
            command.arg(self.copies.give(argument)?);
        }
        let own = std::env::var_os("PATH").unwrap_or_default();
        let tools = std::iter::once(self.programs.scratch.join("bin"));
        let path = std::env::join_paths(tools.chain(std::env::split_paths(&own)));
        command.env("PATH", path.unwrap_or(own)).env("PVDECK_VISIT", folder).current_dir("/");
        let ask = pipe(&folder.join("ask"))?;
        let mut questions = Questions {
            visit: self,
            folder: folder.clone(),
            ask,
            read: String::new(),
            answers: Vec::new(),
        };
        let ended = process::run(command, stop, Some(&mut questions));
        self.copies.take_over();
        Ok(ended)
    }
}

/// Makes a named pipe and opens its end for reading, and one for writing so
/// that it never ends.
fn pipe(path: &PathBuf) -> io::Result<OwnedFd> {
    rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

impl Asked for Questions<'_> {
    fn wakes(&self) -> &OwnedFd {
        &self.ask
    }

    fn answer(&mut self) -> bool {
        self.hear();
        while let Some(end) = self.read.find(LAST_WORD) {
            let question: String = self.read.drain(..end + LAST_WORD.len()).collect();
            let question = question.trim_end_matches(LAST_WORD);
            let mut words = question.split_terminator(WORD_END);
            // The tool's own process is the name of its pipe.
            let Some(process) = words.next().filter(|word| is_number(word)) else { continue };
            let words: Vec<&str> = words.collect();
            let (code, text) = self.visit.ask(&words);
            self.answers.push((self.folder.join(process), format!("{code}\n{text}")));
        }
        self.answers.retain(|(path, text)| !deliver(path, text));
        !self.answers.is_empty()
    }
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

impl Questions<'_> {
    fn hear(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(read) = rustix::io::read(&self.ask, &mut buffer) {
            if read == 0 {
                return;
            }
            self.read.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    }
}

/// Gives a tool its answer, if it is there to take it.
fn deliver(path: &PathBuf, text: &str) -> bool {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let opened = OpenOptions::new().write(true).custom_flags(flags).open(path);
    match opened {
        // It is short enough for a pipe that nobody has read from.
        Ok(mut pipe) => pipe.write_all(text.as_bytes()).is_ok(),
        Err(_) => false,
    }
}

/// A file's content, if it is small enough to be copied.
fn content(path: &std::path::Path, bytes_max: u64) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path).ok()?.take(bytes_max + 1).read_to_end(&mut content).ok()?;
    (content.len() as u64 <= bytes_max).then_some(content)
}
