//! A real `pvdeck serve` process, and programs run against it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// No command of a test takes this long unless it hangs.
const BOUND: Duration = Duration::from_secs(60);

/// A cluster served by a process of its own; both end with this.
pub struct Served {
    pub folder: tempfile::TempDir,
    /// The line it printed.
    pub line: String,
    process: Child,
    rest: Lines<BufReader<ChildStdout>>,
}

/// What a finished command left.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Finished {
    /// Its output, if it succeeded.
    #[track_caller]
    pub fn good(self) -> String {
        assert_eq!(self.code, Some(0), "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self.out
    }

    /// Its errors, if it failed.
    #[track_caller]
    pub fn bad(self) -> String {
        assert_ne!(self.code, Some(0), "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self.err
    }
}

/// The program under test, in a world of its own.
pub fn pvdeck(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pvdeck"));
    isolate(&mut command, folder);
    command
}

fn isolate(command: &mut Command, folder: &Path) {
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .env("XDG_STATE_HOME", folder.join("state"))
        .env("XDG_CONFIG_HOME", folder.join("config"))
        .env("RUST_BACKTRACE", "0")
        .env("TERM", "dumb")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
}

/// Runs a command to its end, within a generous bound.
pub async fn finish(command: &mut Command, input: &str) -> Finished {
    let what = format!("{command:?}");
    command.stdin(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut stdin = child.stdin.take().expect("a pipe");
    let work = async {
        // A command that reads no input closes it early.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(BOUND, work).await;
    let output = output.unwrap_or_else(|_| panic!("{what} hangs")).expect("output");
    Finished {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Served {
    /// Starts `pvdeck serve` with these arguments and waits for its line.
    pub async fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = pvdeck(folder.path());
        command.arg("serve").args(arguments);
        let mut process = command.spawn().expect("the program");
        let mut rest = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let line = tokio::time::timeout(BOUND, rest.next_line()).await.expect("a line in time");
        let Some(line) = line.expect("text") else {
            let mut errors = String::new();
            let mut stderr = process.stderr.take().expect("a pipe");
            let _ = stderr.read_to_string(&mut errors).await;
            panic!("no line, but: {errors}");
        };
        Self { folder, line, process, rest }
    }

    /// The kubeconfig its line names.
    pub fn kubeconfig(&self) -> PathBuf {
        let words: Vec<_> = self.line.split_whitespace().collect();
        let at = words.iter().position(|word| *word == "--kubeconfig").expect("it is named");
        words[at + 1].into()
    }

    /// The address its line names, as in `127.0.0.1:40001`.
    pub fn address(&self) -> &str {
        let url = self.line.split_whitespace().find_map(|word| word.strip_prefix("https://"));
        url.expect("an address").trim_end_matches(',')
    }

    /// A program that talks to it by its kubeconfig.
    pub fn client(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        isolate(&mut command, self.folder.path());
        command.env("KUBECONFIG", self.kubeconfig());
        command
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = self.process.id().and_then(|id| i32::try_from(id).ok()).expect("it runs");
        let id = rustix::process::Pid::from_raw(id).expect("a process");
        rustix::process::kill_process(id, signal).expect("it takes the signal");
    }

    /// Sends a signal and waits for the end: the exit code and what else it
    /// printed.
    pub async fn end_by(mut self, signal: rustix::process::Signal) -> (Option<i32>, Vec<String>) {
        self.signal(signal);
        let status = tokio::time::timeout(BOUND, self.process.wait()).await.expect("it ends");
        let mut lines = Vec::new();
        while let Ok(Some(line)) = self.rest.next_line().await {
            lines.push(line);
        }
        (status.expect("a status").code(), lines)
    }
}
