//! From start to the first frame of the real program, on a terminal of its own.

use std::io::Read;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use pty_process::blocking::{Command, open};
use serde_json::{Value, json};

use crate::measure::percentile;

/// The end of the sequence that takes the screen; what follows is the frame.
const TAKEN: &[u8] = b"\x1b[2J";
/// More than any question to the terminal, less than any frame.
const FRAME_BYTES_MIN: usize = 200;

/// So many starts of the demo.
pub fn run(starts: usize) -> Value {
    let program = program();
    let mut millis: Vec<f64> = (0..starts).map(|_| start(&program).as_secs_f64() * 1e3).collect();
    json!({
        "starts": starts, "millis_median": percentile(&mut millis, 50),
        "millis_max": percentile(&mut millis, 100),
    })
}

/// `pvdeck`, as built beside this program.
pub fn program() -> PathBuf {
    let program = std::env::current_exe().expect("this program").with_file_name("pvdeck");
    assert!(program.exists(), "build it first: cargo build --release");
    program
}

fn start(program: &std::path::Path) -> Duration {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut pty, inside) = open().expect("a terminal");
    pty.resize(pty_process::Size::new(24, 80)).expect("a size");
    let started = Instant::now();
    let mut child = Command::new(program)
        .arg("--demo")
        .env_clear()
        .env("HOME", folder.path())
        .env("LANG", "C.UTF-8")
        .env("TERM", "xterm-256color")
        .spawn(inside)
        .expect("the program");
    let mut written = Vec::new();
    let mut chunk = [0; 16 * 1024];
    while !has_frame(&written) {
        let count = pty.read(&mut chunk).expect("it writes");
        written.extend_from_slice(&chunk[..count]);
    }
    let took = started.elapsed();
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    took
}

fn has_frame(written: &[u8]) -> bool {
    let taken = written.windows(TAKEN.len()).position(|bytes| bytes == TAKEN);
    taken.is_some_and(|at| written.len() - at > FRAME_BYTES_MIN)
}
