//! The real program in a real terminal of its own, seen through an emulator.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::Path;
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use pty_process::blocking::{Command, Pty, open};

/// No screen of a test takes this long to show, unless it never does.
const BOUND: Duration = Duration::from_secs(60);

/// A running program and its terminal; both end with this.
pub struct Terminal {
    pty: Arc<Pty>,
    child: Child,
    screen: Arc<(Mutex<Screen>, Condvar)>,
}

struct Screen {
    emulator: vt100::Parser,
    /// Everything that was ever written.
    written: Vec<u8>,
    closed: bool,
}

impl Terminal {
    /// Starts `pvdeck` at 80x24 with folders of its own.
    pub fn start(folder: &Path, arguments: &[&str]) -> Self {
        let (pty, inside) = open().expect("a terminal");
        pty.resize(pty_process::Size::new(24, 80)).expect("a size");
        let child = Command::new(env!("CARGO_BIN_EXE_pvdeck"))
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", folder)
            .env("XDG_STATE_HOME", folder.join("state"))
            .env("XDG_CONFIG_HOME", folder.join("config"))
            .env("RUST_BACKTRACE", "0")
            .env("LANG", "C.UTF-8")
            .env("TERM", "xterm-256color")
            .spawn(inside)
            .expect("the program");
        let rows = |n| NonZeroU16::new(n).expect("not zero");
        let emulator = vt100::Parser::new(rows(24), rows(80), 0);
        let screen = Screen { emulator, written: Vec::new(), closed: false };
        let screen = Arc::new((Mutex::new(screen), Condvar::new()));
        let pty = Arc::new(pty);
        let (reading, shown) = (pty.clone(), screen.clone());
        std::thread::spawn(move || read(&reading, &shown));
        Self { pty, child, screen }
    }

    /// Types.
    pub fn keys(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).expect("it takes keys");
    }

    /// Waits until the screen shows a text.
    #[track_caller]
    pub fn shows(&self, text: &str) {
        let (screen, changed) = &*self.screen;
        let screen = screen.lock().expect("lock");
        let missing = |screen: &mut Screen| {
            !screen.closed && !screen.emulator.screen().contents().contains(text)
        };
        let (screen, _) = changed.wait_timeout_while(screen, BOUND, missing).expect("lock");
        let contents = screen.emulator.screen().contents();
        assert!(contents.contains(text), "no `{text}` on:\n{contents}");
    }

    /// Waits for the end: the exit code and everything it wrote.
    pub fn end(mut self) -> (Option<i32>, String) {
        let (screen, changed) = &*self.screen;
        let screen = screen.lock().expect("lock");
        let (screen, _) =
            changed.wait_timeout_while(screen, BOUND, |screen| !screen.closed).expect("lock");
        assert!(screen.closed, "it goes on:\n{}", screen.emulator.screen().contents());
        let written = String::from_utf8_lossy(&screen.written).into_owned();
        drop(screen);
        (self.child.wait().expect("a status").code(), written)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // One that has ended cannot be killed, nor need it be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(pty: &Pty, shown: &(Mutex<Screen>, Condvar)) {
    let mut bytes = [0; 4096];
    loop {
        let count = { pty }.read(&mut bytes).unwrap_or(0);
        let mut screen = shown.0.lock().expect("lock");
        screen.emulator.process(&bytes[..count]);
        screen.written.extend_from_slice(&bytes[..count]);
        screen.closed = count == 0;
        shown.1.notify_all();
        if count == 0 {
            return;
        }
    }
}
