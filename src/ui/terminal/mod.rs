//! The terminal itself: taking it over, giving it back, its size.
//!
//! ```text
//! bytes from the terminal -> input::Decoder -> messages
//! frame -> wire::Wire -> one write
//! ```
//!
//! Whoever takes the terminal gives it back: on the way out, on a panic, on a
//! signal, before suspending. Giving back twice does no harm.

pub mod input;
pub mod reader;
pub mod wire;

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use ratatui::layout::Size;
use rustix::termios::{self, OptionalActions, Termios};

/// Alternate screen, cursor hidden, bracketed paste, focus reports.
const TAKE: &str = "\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b[?1004h\x1b[m\x1b[2J";

/// The reverse, and an end to a synchronized update that was cut off.
const GIVE_BACK: &str = "\x1b[?2026l\x1b[?1004l\x1b[?2004l\x1b[m\x1b[?25h\x1b[?1049l";

/// Asks whether the terminal knows synchronized updates.
pub const ASK_SYNCHRONIZED: &str = "\x1b[?2026$p";

/// Why the console cannot use this terminal.
#[derive(Debug, thiserror::Error)]
pub enum TerminalError {
    #[error("{0} is not a terminal")]
    NotATerminal(&'static str),
    #[error("TERM is `{0}`, which cannot place text on the screen")]
    Dumb(String),
    #[error("cannot read the terminal's settings")]
    Read(#[source] io::Error),
    #[error("cannot change the terminal's settings")]
    Change(#[source] io::Error),
}

/// The terminal of this process. Clones share it; the last one to go gives it
/// back.
#[derive(Debug, Clone)]
pub struct Tty {
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    /// The settings to give back; none while the terminal is not ours.
    before: Mutex<Option<Termios>>,
}

impl Tty {
    /// Whether there is a terminal that the console can use.
    pub fn check() -> Result<(), TerminalError> {
        if !io::stdin().is_terminal() {
            return Err(TerminalError::NotATerminal("standard input"));
        }
        if !io::stdout().is_terminal() {
            return Err(TerminalError::NotATerminal("standard output"));
        }
        let term = std::env::var("TERM").unwrap_or_default();
        if term == "dumb" || term.is_empty() {
            return Err(TerminalError::Dumb(term));
        }
        Ok(())
    }

    /// Takes the terminal over: raw, on the alternate screen.
    pub fn take() -> Result<Self, TerminalError> {
        Self::check()?;
        let tty = Self { held: Arc::new(Held { before: Mutex::new(None) }) };
        tty.take_again()?;
        Ok(tty)
    }

    /// Takes the terminal over once more, after it was given back.
    pub fn take_again(&self) -> Result<(), TerminalError> {
        let mut before = self.held.before.lock().unwrap_or_else(PoisonError::into_inner);
        if before.is_some() {
            return Ok(());
        }
        let settings =
            termios::tcgetattr(io::stdin()).map_err(|error| TerminalError::Read(error.into()))?;
        let mut raw = settings.clone();
        raw.make_raw();
        termios::tcsetattr(io::stdin(), OptionalActions::Now, &raw)
            .map_err(|error| TerminalError::Change(error.into()))?;
        *before = Some(settings);
        let mut out = io::stdout().lock();
        out.write_all(TAKE.as_bytes()).and_then(|()| out.flush()).map_err(TerminalError::Change)
    }

    /// Gives the terminal back as it was. A terminal that is gone is no error
    /// here: there is nothing left to restore.
    pub fn give_back(&self) {
        self.held.give_back();
    }

    /// The terminal's size; 80x24 where it does not say.
    pub fn size(&self) -> Size {
        match termios::tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => Size::new(size.ws_col, size.ws_row),
            _ => Size::new(80, 24),
        }
    }
}

impl Held {
    fn give_back(&self) {
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(settings) = before {
            let mut out = io::stdout().lock();
            let _ = out.write_all(GIVE_BACK.as_bytes()).and_then(|()| out.flush());
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &settings);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Whether a terminal of this name may be asked about modes. The oldest print
/// a part of the question.
pub fn may_be_asked(term: &str) -> bool {
    !["linux", "vt", "cons", "dumb", "ansi", "screen"].iter().any(|old| term.starts_with(old))
}

/// Standard output, past the library's buffer: a frame comes in one piece and
/// is to leave in one.
#[derive(Debug)]
pub struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::io::write(io::stdout(), bytes) {
                Err(rustix::io::Errno::INTR) => {}
                written => return written.map_err(io::Error::from),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
