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

mod effects;
mod facts;
pub mod panics;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use ratatui::Terminal;
use ratatui::layout::Size;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::mirror::subscription::Subscription;
use crate::model::clock::{Clock, TimerUse};
use crate::model::kind::Kind;
use crate::scenario::Progress;
use crate::session::Session;
use crate::ui::app::facts::Links;
use crate::ui::data::{Data, Look};
use crate::ui::keymap::Keymap;
use crate::ui::message::{Answer, Message};
use crate::ui::screen;
use crate::ui::state::{State, TableId, View};
use crate::ui::terminal::input::{Decoder, Input};
use crate::ui::terminal::reader::{self, Chunk};
use crate::ui::terminal::wire::Wire;
use crate::ui::terminal::{ASK_SYNCHRONIZED, Stdout, TerminalError, Tty, may_be_asked};
use crate::ui::text::Glyphs;
use crate::ui::theme::{Theme, ThemeError};
use crate::ui::update::update;

/// Between two frames at least.
const FRAME_MS: u64 = 16;

/// How often ages and the theme's file are looked at.
const TICK_MS: u64 = 1_000;

/// How long an escape may wait for the rest of its sequence.
const ESCAPE_MS: u64 = 40;

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

/// An answer, the question's number, and the cluster's generation: late
/// answers of an earlier context go nowhere.
pub(super) struct Answered {
    generation: u64,
    what: Outcome,
}

pub(super) enum Outcome {
    Answer(u64, Answer),
    Opened(Result<Box<Opened>, String>),
    Refused(&'static Kind, &'static str, String),
    Saved(Result<String, String>),
}

pub(super) struct Shell {
    tty: Tty,
    terminal: Terminal<Wire<Stdout>>,
    state: State,
    data: Data,
    opened: Opened,
    opener: Opener,
    config_folder: Option<PathBuf>,
    theme_changed: Option<std::time::SystemTime>,
    subscription: Subscription,
    links: Links,
    generation: u64,
    clock: Arc<dyn Clock>,
    started: Timestamp,
    answers: mpsc::UnboundedSender<Answered>,
    tasks: JoinSet<()>,
    panics: Option<mpsc::UnboundedReceiver<String>>,
    trouble: Trouble,
    /// Complaints of the mirror that were told.
    complaints_told: u64,
    decoder: Decoder,
    ending: Option<Ending>,
    /// When the next frame is to be drawn, and when the last one was.
    draw_at_ms: Option<u64>,
    drawn_ms: u64,
    tick_at_ms: u64,
    escape_at_ms: Option<u64>,
}

/// The signals that the console minds.
struct Signals {
    window: Signal,
    terminate: Signal,
    hang_up: Signal,
    interrupt: Signal,
    go_on: Signal,
}

impl Signals {
    fn new() -> Result<Self, UiError> {
        let catch = |kind| signal(kind).map_err(UiError::Signals);
        Ok(Self {
            window: catch(SignalKind::window_change())?,
            terminate: catch(SignalKind::terminate())?,
            hang_up: catch(SignalKind::hangup())?,
            interrupt: catch(SignalKind::interrupt())?,
            go_on: catch(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw()))?,
        })
    }
}

impl Shell {
    #[expect(clippy::too_many_arguments, reason = "one call, above")]
    fn new(
        tty: Tty,
        options: RunOptions,
        look: Look,
        keymap: Keymap,
        clock: Arc<dyn Clock>,
        started: Timestamp,
        size: Size,
        answers: mpsc::UnboundedSender<Answered>,
    ) -> Result<Self, UiError> {
        let RunOptions {
            opened,
            contexts,
            opener,
            namespace,
            config_folder,
            notice,
            panics,
            trouble,
            ..
        } = options;
        let folder = theme_folder(config_folder.as_ref());
        let session = facts::session(&opened.session, contexts, folder.as_deref());
        let mut data = Data::new(opened.session.mirror.clone(), session, look);
        data.keymap = keymap;
        let mut state = State::new(size.width, size.height, TableId::Overview);
        state.namespace = namespace;
        if opened.progress.is_some() {
            state.open(View::Step);
        }
        if let Some(notice) = notice {
            state.say(notice);
        }
        let depth = facts::color_depth();
        let wire = Wire::new(Stdout, size, depth);
        let terminal = Terminal::new(wire).map_err(UiError::Draw)?;
        let subscription = opened.session.mirror.subscribe();
        let links = Links::new(&opened);
        Ok(Self {
            tty,
            terminal,
            state,
            data,
            opened,
            opener,
            config_folder,
            theme_changed: None,
            subscription,
            links,
            generation: 0,
            clock,
            started,
            answers,
            tasks: JoinSet::new(),
            panics,
            trouble,
            complaints_told: 0,
            decoder: Decoder::default(),
            ending: None,
            draw_at_ms: Some(0),
            drawn_ms: 0,
            tick_at_ms: TICK_MS,
            escape_at_ms: None,
        })
    }

    async fn run(
        &mut self,
        mut answered: mpsc::UnboundedReceiver<Answered>,
    ) -> Result<Ending, UiError> {
        let mut input =
            reader::start().map_err(|error| UiError::Terminal(TerminalError::Read(error)))?;
        let mut signals = Signals::new()?;
        self.take_all();
        self.draw()?;
        self.ask_terminal()?;
        self.ask_permissions();
        while self.ending.is_none() {
            let clock = self.clock.clone();
            let sleep = clock.sleep(self.sleep_for(), TimerUse::Housekeeping);
            tokio::select! {
                chunk = input.recv() => self.take_chunk(chunk)?,
                changed = self.subscription.changed() => {
                    self.data.await_absorbing(changed);
                    self.draw_soon();
                }
                () = self.links.changed() => self.draw_soon(),
                Some(answer) = answered.recv() => self.take_answer(answer)?,
                Some(text) = panicked(&mut self.panics) => {
                    self.take(Message::Notice { text, failed: true })?;
                }
                Some(ended) = self.tasks.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!("a task of the console failed: {error}");
                    }
                }
                Some(()) = signals.window.recv() => self.resized()?,
                Some(()) = signals.go_on.recv() => self.come_back()?,
                Some(()) = signals.terminate.recv() => self.end(Ending::Signal(15)),
                Some(()) = signals.hang_up.recv() => self.end(Ending::Signal(1)),
                Some(()) = signals.interrupt.recv() => self.end(Ending::Signal(2)),
                () = sleep => {}
            }
            // What is there already is taken in before the next frame.
            while let Ok(chunk) = input.try_recv() {
                self.take_chunk(Some(chunk))?;
            }
            while let Ok(answer) = answered.try_recv() {
                self.take_answer(answer)?;
            }
            self.take_time()?;
        }
        Ok(self.ending.unwrap_or(Ending::Quit))
    }

    /// Milliseconds since the start.
    fn now_ms(&self) -> u64 {
        let passed = self.clock.now().duration_since(self.started).as_millis();
        u64::try_from(passed).unwrap_or(0)
    }

    fn end(&mut self, ending: Ending) {
        self.ending.get_or_insert(ending);
    }

    fn draw_soon(&mut self) {
        let at = (self.drawn_ms + FRAME_MS).max(self.now_ms());
        self.draw_at_ms = Some(self.draw_at_ms.map_or(at, |earlier| earlier.min(at)));
    }

    /// How long nothing has to be done.
    fn sleep_for(&self) -> Duration {
        let now = self.now_ms();
        let due = [
            self.draw_at_ms,
            Some(self.tick_at_ms),
            self.escape_at_ms,
            self.data.next_calm_ms(now),
            self.state.notice.as_ref().map(|notice| notice.until_ms),
        ];
        let next = due.into_iter().flatten().min().unwrap_or(self.tick_at_ms);
        Duration::from_millis(next.saturating_sub(now).max(1))
    }

    /// What time alone brings about.
    fn take_time(&mut self) -> Result<(), UiError> {
        let now = self.now_ms();
        if self.escape_at_ms.is_some_and(|at| at <= now) {
            self.escape_at_ms = None;
            for input in self.decoder.give_up_waiting() {
                self.take_input(input)?;
            }
        }
        let calm = self.data.next_calm_ms(self.state.now_ms).is_some_and(|at| at <= now);
        let read = self.state.notice.as_ref().is_some_and(|notice| notice.until_ms <= now);
        if self.tick_at_ms <= now || calm || read {
            if self.tick_at_ms <= now {
                self.tick_at_ms = now + TICK_MS;
                self.reload_theme()?;
                if let Some(text) = self.trouble() {
                    self.take(Message::Notice { text, failed: true })?;
                }
            }
            self.take(Message::Tick)?;
        }
        if self.draw_at_ms.is_some_and(|at| at <= now) && self.ending.is_none() {
            self.take_all();
            self.take(Message::Changed)?;
            self.draw()?;
        }
        Ok(())
    }

    fn take_chunk(&mut self, chunk: Option<Chunk>) -> Result<(), UiError> {
        let Some(Chunk::Bytes(bytes)) = chunk else {
            self.end(Ending::TerminalGone);
            return Ok(());
        };
        for input in self.decoder.feed(&bytes) {
            self.take_input(input)?;
        }
        self.escape_at_ms = self.decoder.is_waiting().then(|| self.now_ms() + ESCAPE_MS);
        Ok(())
    }

    fn take_input(&mut self, input: Input) -> Result<(), UiError> {
        if let Input::SynchronizedUpdates(known) = input {
            self.terminal.backend_mut().set_synchronized(known);
        }
        self.take(Message::Input(input))
    }

    /// One message through the update, and its effects.
    fn take(&mut self, message: Message) -> Result<(), UiError> {
        let now_ms = self.now_ms();
        let effects = update(&mut self.state, &self.data, message, now_ms);
        for effect in effects {
            self.perform(effect)?;
        }
        self.draw_soon();
        Ok(())
    }

    fn resized(&mut self) -> Result<(), UiError> {
        let size = self.tty.size();
        self.terminal.backend_mut().set_size(size);
        self.take(Message::Resize { width: size.width, height: size.height })
    }

    /// The first frame, and every later one.
    fn draw(&mut self) -> Result<(), UiError> {
        self.draw_at_ms = None;
        let complete = self.data.find_reasons(&self.state);
        let (state, data) = (&self.state, &self.data);
        let drawn = self.terminal.draw(|frame| screen::draw(state, data, frame)).map(|_| ());
        self.drawn_ms = self.now_ms();
        if !complete {
            self.draw_soon();
        }
        self.written(drawn)
    }

    /// A terminal that went away ends the console; anything else is an error.
    fn written(&mut self, written: io::Result<()>) -> Result<(), UiError> {
        match written {
            Ok(()) => Ok(()),
            Err(error) => match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
                Some(rustix::io::Errno::PIPE | rustix::io::Errno::IO) => {
                    self.end(Ending::TerminalGone);
                    Ok(())
                }
                _ => Err(UiError::Draw(error)),
            },
        }
    }

    /// Asks what the terminal can do; its answer comes as input, if ever.
    fn ask_terminal(&mut self) -> Result<(), UiError> {
        if may_be_asked(&std::env::var("TERM").unwrap_or_default()) {
            self.send(ASK_SYNCHRONIZED)?;
        }
        Ok(())
    }

    fn send(&mut self, sequence: &str) -> Result<(), UiError> {
        let backend = self.terminal.backend_mut();
        backend.queue(sequence);
        let sent = ratatui::backend::Backend::flush(backend);
        self.written(sent)
    }

    /// Everything on the screen is drawn anew with the next frame.
    fn redraw(&mut self) -> Result<(), UiError> {
        let cleared = self.terminal.clear();
        self.written(cleared)?;
        self.draw_soon();
        Ok(())
    }

    fn suspend(&mut self) -> Result<(), UiError> {
        self.tty.give_back();
        let stopped =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TSTP);
        if let Err(error) = stopped {
            tracing::warn!("cannot suspend: {error}");
        }
        self.come_back()
    }

    /// After the shell let us go on: it may have changed the terminal.
    fn come_back(&mut self) -> Result<(), UiError> {
        self.tty.give_back();
        self.tty.take_again()?;
        self.resized()?;
        self.redraw()
    }
}

async fn panicked(panics: &mut Option<mpsc::UnboundedReceiver<String>>) -> Option<String> {
    match panics {
        Some(panics) => panics.recv().await,
        None => std::future::pending().await,
    }
}
