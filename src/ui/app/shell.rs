//! The loop: waits for whatever comes first, takes in all that is there, draws
//! at most once a frame.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use ratatui::Terminal;
use ratatui::layout::Size;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::mirror::subscription::Subscription;
use crate::model::clock::{Clock, TimerUse};
use crate::model::kind::Kind;
use crate::ui::app::facts::Links;
use crate::ui::app::{Ending, Opened, Opener, RunOptions, Trouble, UiError, facts, theme_folder};
use crate::ui::boards;
use crate::ui::calls;
use crate::ui::data::{Data, Look};
use crate::ui::keymap::Keymap;
use crate::ui::message::{Answer, Message};
use crate::ui::state::{State, TableId, View};
use crate::ui::terminal::input::{Decoder, Input};
use crate::ui::terminal::reader::{self, Chunk};
use crate::ui::terminal::wire::Wire;
use crate::ui::terminal::{Stdout, TerminalError, Tty};
use crate::ui::update::update;

/// Between two frames at least.
const FRAME_MS: u64 = 16;

/// How often ages and the theme's file are looked at.
const TICK_MS: u64 = 1_000;

/// How long an escape may wait for the rest of its sequence.
const ESCAPE_MS: u64 = 40;

/// An answer, the question's number, and the cluster's generation: late
/// answers of an earlier context go nowhere.
pub(super) struct Answered {
    pub(super) generation: u64,
    pub(super) what: Outcome,
}

pub(super) enum Outcome {
    Answer(u64, Answer),
    Opened(Result<Box<Opened>, String>),
    Refused(&'static Kind, &'static str, String),
    Saved(Result<String, String>),
}

pub(super) struct Shell {
    pub(super) tty: Tty,
    pub(super) terminal: Terminal<Wire<Stdout>>,
    pub(super) state: State,
    pub(super) data: Data,
    pub(super) opened: Opened,
    pub(super) opener: Opener,
    pub(super) config_folder: Option<PathBuf>,
    pub(super) theme_changed: Option<std::time::SystemTime>,
    pub(super) subscription: Subscription,
    pub(super) links: Links,
    pub(super) generation: u64,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) started: Timestamp,
    pub(super) answers: mpsc::UnboundedSender<Answered>,
    pub(super) tasks: JoinSet<()>,
    pub(super) panics: Option<mpsc::UnboundedReceiver<String>>,
    pub(super) trouble: Trouble,
    /// Complaints of the mirror that were told.
    pub(super) complaints_told: u64,
    pub(super) decoder: Decoder,
    pub(super) ending: Option<Ending>,
    /// When the next frame is to be drawn, and when the last one was.
    pub(super) draw_at_ms: Option<u64>,
    pub(super) drawn_ms: u64,
    pub(super) tick_at_ms: u64,
    pub(super) escape_at_ms: Option<u64>,
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
    pub(super) fn new(
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
        facts::explain(&mut data, &opened.session);
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

    pub(super) async fn run(
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
            let board_is_seen = boards::shows_boards(&self.state);
            let calls_are_seen = calls::shows_calls(&self.state);
            tokio::select! {
                chunk = input.recv() => self.take_chunk(chunk)?,
                changed = self.subscription.changed() => {
                    self.data.await_absorbing(changed);
                    self.draw_soon();
                }
                () = self.links.changed(board_is_seen, calls_are_seen) => self.draw_soon(),
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
    pub(super) fn now_ms(&self) -> u64 {
        let passed = self.clock.now().duration_since(self.started).as_millis();
        u64::try_from(passed).unwrap_or(0)
    }

    pub(super) fn end(&mut self, ending: Ending) {
        self.ending.get_or_insert(ending);
    }

    pub(super) fn draw_soon(&mut self) {
        let at = (self.drawn_ms + FRAME_MS).max(self.now_ms());
        self.draw_at_ms = Some(self.draw_at_ms.map_or(at, |earlier| earlier.min(at)));
    }

    /// How long nothing has to be done.
    pub(super) fn sleep_for(&self) -> Duration {
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
    pub(super) fn take_time(&mut self) -> Result<(), UiError> {
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

    pub(super) fn take_chunk(&mut self, chunk: Option<Chunk>) -> Result<(), UiError> {
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

    pub(super) fn take_input(&mut self, input: Input) -> Result<(), UiError> {
        if let Input::SynchronizedUpdates(known) = input {
            self.terminal.backend_mut().set_synchronized(known);
        }
        self.take(Message::Input(input))
    }

    /// One message through the update, and its effects.
    pub(super) fn take(&mut self, message: Message) -> Result<(), UiError> {
        let now_ms = self.now_ms();
        let effects = update(&mut self.state, &self.data, message, now_ms);
        for effect in effects {
            self.perform(effect)?;
        }
        self.draw_soon();
        Ok(())
    }
}

async fn panicked(panics: &mut Option<mpsc::UnboundedReceiver<String>>) -> Option<String> {
    match panics {
        Some(panics) => panics.recv().await,
        None => std::future::pending().await,
    }
}
