//! The shell around the pure console: reads the terminal, follows the cluster,
//! performs effects, draws at most sixty times a second.
//!
//! ```text
//! terminal ─┐                              ┌─> terminal (one write a frame)
//! mirror ───┼─> messages ─> update ─> draw ┤
//! answers ──┤                │             └─> nothing, if nothing changed
//! clock ────┘                └─> effects ─> tasks ─> answers
//! ```
//!
//! Real time here is the person's: it goes on while a demo's clock stands.

mod boards;
mod calls;
mod effects;
mod facts;
mod files;
mod output;
pub mod panics;
mod shell;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::model::clock::Clock;
use crate::scenario::Progress;
use crate::session::Session;
use crate::ui::app::shell::Shell;
use crate::ui::data::Look;
use crate::ui::keymap::Keymap;
use crate::ui::terminal::{TerminalError, Tty};
use crate::ui::text::Glyphs;
use crate::ui::theme::{Theme, ThemeError};

/// One cluster, opened for the console, with what runs on it.
#[derive(Debug)]
pub struct Opened {
    pub session: Session,
    /// How far a scenario that plays on it has come, if one does.
    pub progress: Option<watch::Receiver<Progress>>,
    /// What else has to live as long as the cluster is looked at: it is dropped
    /// with it.
    pub guard: Option<Guard>,
}

/// Tasks that end when it is dropped.
#[derive(Debug)]
pub struct Guard(pub Vec<AbortHandle>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// Opens the cluster of a context.
pub type Opener = Arc<dyn Fn(String) -> BoxFuture<'static, Result<Opened, String>> + Send + Sync>;

/// Something that went wrong since last asked, if anything did.
pub type Trouble = Box<dyn Fn() -> Option<String> + Send>;

/// What the console is started with.
pub struct RunOptions {
    pub opened: Opened,
    /// The contexts one can change to, the open one among them.
    pub contexts: Vec<String>,
    pub opener: Opener,
    pub namespace: Option<String>,
    /// A theme's name.
    pub theme: String,
    /// Where the user's themes are, and his keymap.
    pub config_folder: Option<PathBuf>,
    pub ascii: bool,
    /// Something to say at the start, such as why the demo was opened.
    pub notice: Option<String>,
    /// Panics of other threads, to be told.
    pub panics: Option<mpsc::UnboundedReceiver<String>>,
    /// What else goes wrong unseen and is to be told: asked once a second.
    pub trouble: Trouble,
}

/// How the console ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The person left.
    Quit,
    /// A signal ended it.
    Signal(i32),
    /// The terminal is gone: a lost connection, a closed window.
    TerminalGone,
}

/// Why the console could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum UiError {
    #[error("the console cannot use this terminal")]
    Terminal(#[from] TerminalError),
    #[error("the theme cannot be used")]
    Theme(#[from] ThemeError),
    #[error("the keymap cannot be used: {0}")]
    Keymap(String),
    #[error("signals cannot be caught")]
    Signals(#[source] io::Error),
    #[error("the terminal cannot be written to")]
    Draw(#[source] io::Error),
}

/// Runs the console on this process's terminal until it is left.
///
/// The terminal is given back however this ends; for a panic see [`panics`].
pub async fn run(tty: &Tty, options: RunOptions) -> Result<Ending, UiError> {
    let ending = run_taken(tty, options).await;
    tty.give_back();
    ending
}

async fn run_taken(tty: &Tty, options: RunOptions) -> Result<Ending, UiError> {
    let look = look(&options)?;
    let keymap = keymap(&options)?;
    let clock: Arc<dyn Clock> = Arc::new(crate::cluster::clock::RunningClock::new());
    let started = clock.now();
    let (answers, answered) = mpsc::unbounded_channel();
    let size = tty.size();
    let mut shell = Shell::new(tty.clone(), options, look, keymap, clock, started, size, answers)?;
    let ending = shell.run(answered).await;
    shell.tasks.shutdown().await;
    ending
}

fn look(options: &RunOptions) -> Result<Look, UiError> {
    let name = match facts::no_color() {
        true => "mono",
        false => options.theme.as_str(),
    };
    let theme = Theme::load(name, theme_folder(options.config_folder.as_ref()).as_deref())?;
    let ascii = options.ascii || !facts::locale_is_utf8();
    Ok(Look { theme, glyphs: if ascii { Glyphs::Ascii } else { Glyphs::Unicode } })
}

fn theme_folder(config: Option<&PathBuf>) -> Option<PathBuf> {
    config.map(|folder| folder.join("themes"))
}

fn keymap(options: &RunOptions) -> Result<Keymap, UiError> {
    let path = options.config_folder.as_ref().map(|folder| folder.join("keymap.yaml"));
    let Some(path) = path.filter(|path| path.exists()) else { return Ok(Keymap::default()) };
    let file = path.display().to_string();
    let text = std::fs::read_to_string(&path)
        .map_err(|error| UiError::Keymap(format!("{file}: {error}")))?;
    Keymap::patched(&file, &text).map_err(UiError::Keymap)
}
