//! What the console takes over from elsewhere: the environment, the session,
//! gate, journal and controllers.

use std::path::Path;

use tokio::sync::watch;

use crate::cluster::permissions::{Permission, Question};
use crate::cluster::write_path::journal::{Entry, Outcome as Written};
use crate::controllers::health::LoopState;
use crate::controllers::host::ControllerStatus;
use crate::model::kind;
use crate::scenario::Progress;
use crate::session::Session;
use crate::ui::app::Opened;
use crate::ui::app::shell::{Answered, Outcome, Shell};
use crate::ui::data::{Access, ControllerFacts, Data, SessionFacts, Stepping};
use crate::ui::terminal::wire::ColorDepth;
use crate::ui::theme::BUILT_IN;

/// Whether `NO_COLOR` asks for none: set, and not empty.
pub fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Direct colour only where the terminal says so.
pub fn color_depth() -> ColorDepth {
    let says = std::env::var("COLORTERM").unwrap_or_default();
    match says.as_str() {
        _ if no_color() => ColorDepth::Mono,
        "truecolor" | "24bit" => ColorDepth::True,
        _ => ColorDepth::Sixteen,
    }
}

/// Whether the locale's characters are UTF-8. One that says nothing is taken
/// to be: containers have none, their terminals do.
pub fn locale_is_utf8() -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.is_empty());
    set.is_none_or(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

/// What is known of a session beside its objects.
pub fn session(session: &Session, contexts: Vec<String>, themes: Option<&Path>) -> SessionFacts {
    SessionFacts {
        context: session.name.clone(),
        live: session.is_live(),
        access: access(session),
        contexts,
        themes: theme_names(themes),
        refused: Vec::new(),
    }
}

/// Has claims explained by what their controller can do: ours may have plugins
/// that no other has.
pub fn explain(data: &mut Data, session: &Session) {
    if let Some(host) = &session.host {
        data.reasons.explain_with(host.plugin_facts().to_vec());
    }
}

fn access(session: &Session) -> Access {
    let access = session.path.access();
    match (access.is_locked(), access.is_read_only()) {
        (true, _) => Access::Locked,
        (false, true) => Access::ReadOnly,
        (false, false) => Access::Writable,
    }
}

/// The built-in themes and those in the user's folder.
fn theme_names(folder: Option<&Path>) -> Vec<String> {
    let mut names: Vec<String> = BUILT_IN.iter().map(|(name, _)| (*name).to_owned()).collect();
    let own = folder.and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten();
    for entry in own.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "yaml")
            && let Some(name) = path.file_stem().and_then(|stem| stem.to_str())
            && !names.iter().any(|known| known == name)
        {
            names.push(name.to_owned());
        }
    }
    names
}

/// A controller in the console's words.
fn controller(status: &ControllerStatus) -> ControllerFacts {
    let figures = &status.figures;
    let (state, faulty) = match &figures.state {
        LoopState::Starting => ("starting".to_owned(), false),
        LoopState::Running if figures.paused > 0 => (format!("{} retrying", figures.paused), false),
        LoopState::Running => ("running".to_owned(), false),
        LoopState::StandsBy { holder } => (format!("stands by: {holder} leads"), true),
        LoopState::Stopped => ("stopped".to_owned(), true),
        LoopState::Dead { why } => (format!("DEAD: {why}"), true),
    };
    let error = figures.last_error.as_ref();
    ControllerFacts {
        name: format!("{} {}", status.name, status.of).trim_end().to_owned(),
        state,
        faulty,
        queued: figures.queued,
        in_flight: figures.in_flight + figures.operations,
        writes: figures.writes,
        last_error: error.map(|error| format!("{}: {}", error.object, error.error)),
    }
}

/// Everything that tells of a change by a counter.
pub struct Links {
    gate: watch::Receiver<u64>,
    journal: watch::Receiver<u64>,
    progress: Option<watch::Receiver<Progress>>,
    boards: Option<watch::Receiver<u64>>,
    calls: Option<watch::Receiver<u64>>,
}

impl Links {
    pub fn new(opened: &Opened) -> Self {
        let path = &opened.session.path;
        let boards = opened.session.host.as_ref().and_then(|host| host.boards());
        Self {
            gate: path.gate().changes(),
            journal: path.journal().changes(),
            progress: opened.progress.clone(),
            boards: boards.map(|boards| boards.changes()),
            calls: opened.session.demo.as_ref().map(|demo| demo.calls.changes()),
        }
    }

    /// Waits until one of them changed; boards and calls only where such are
    /// seen, as those of many nodes change all the time.
    pub async fn changed(&mut self, board_is_seen: bool, calls_are_seen: bool) {
        let progress = async {
            match &mut self.progress {
                Some(progress) => progress.changed().await,
                None => std::future::pending().await,
            }
        };
        let boards = async {
            match &mut self.boards {
                Some(boards) if board_is_seen => boards.changed().await,
                _ => std::future::pending().await,
            }
        };
        let calls = async {
            match &mut self.calls {
                Some(calls) if calls_are_seen => calls.changed().await,
                _ => std::future::pending().await,
            }
        };
        // A sender that is gone will never change again.
        let ended = tokio::select! {
            changed = self.gate.changed() => changed,
            changed = self.journal.changed() => changed,
            changed = progress => changed,
            changed = boards => changed,
            changed = calls => changed,
        };
        if ended.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Shell {
    /// Takes everything in that changed since the last frame.
    pub(super) fn take_all(&mut self) {
        let session = &self.opened.session;
        // Ages are told by the clock that the objects' times come from.
        let now = session.path.clock().now();
        let now = now.checked_add(session.mirror.server_ahead()).unwrap_or(now);
        (self.data.now, self.data.present) = (now.as_second(), now);
        let changed = self.subscription.take();
        self.data.await_absorbing(changed);
        self.data.absorb_awaiting(self.state.now_ms);
        self.data.session.access = access(session);
        let gate = session.path.gate();
        self.data.stepping =
            session.demo.is_some().then(|| Stepping { mode: gate.mode(), held: gate.held() });
        let controllers: Vec<_> = match &session.host {
            Some(host) => host.status().iter().map(controller).collect(),
            None => Vec::new(),
        };
        if self.data.controllers != controllers {
            self.data.controllers = controllers;
        }
        self.data.scenario = self.opened.progress.as_ref().map(|now| now.borrow().clone());
        self.take_journal();
        self.take_boards();
        self.take_calls();
        self.data.follow(&self.state);
    }

    /// What went wrong unseen since last asked: a log that cannot be written,
    /// objects that cannot be read.
    pub(super) fn trouble(&mut self) -> Option<String> {
        if let Some(text) = (self.trouble)() {
            return Some(text);
        }
        let complaints = self.opened.session.mirror.complaints();
        let skipped = complaints.total() - self.complaints_told.min(complaints.total());
        self.complaints_told = complaints.total();
        let newest = complaints.iter().next_back().filter(|_| skipped > 0)?;
        Some(match skipped {
            1 => format!("skipped, as it cannot be read: {}", newest.text),
            _ => format!("skipped {skipped} things that cannot be read, such as {}", newest.text),
        })
    }

    /// Takes over what is new in the journal, and what was open and may have
    /// an outcome now.
    fn take_journal(&mut self) {
        let journal = self.opened.session.path.journal();
        let held = &mut self.data.journal;
        let open = held.iter().position(|entry: &Entry| entry.outcome == Written::Pending);
        let from = match open {
            Some(at) => held[at].number,
            None => held.last().map_or(0, |entry| entry.number + 1),
        };
        held.truncate(open.unwrap_or(held.len()));
        journal.read(from, |entries| held.extend(entries.cloned()));
        let first = journal.dropped();
        let dropped = held.iter().take_while(|entry| entry.number < first).count();
        held.drain(..dropped);
    }

    /// Asks once what the user may do, so that it need not be found out by
    /// failing.
    pub(super) fn ask_permissions(&mut self) {
        if !self.data.session.live {
            return;
        }
        let kinds = [
            kind::PERSISTENT_VOLUME_CLAIM,
            kind::PERSISTENT_VOLUME,
            kind::STORAGE_CLASS,
            kind::POD,
        ];
        for (kind, verb) in kinds.into_iter().flat_map(|kind| [(kind, "update"), (kind, "delete")])
        {
            let permissions = self.opened.session.permissions.clone();
            let (answers, generation) = (self.answers.clone(), self.generation);
            let namespace = self.state.namespace.as_deref().map(Into::into);
            self.tasks.spawn(async move {
                let question = Question { verb, kind, namespace };
                if let Ok(Permission::Denied { reason }) = permissions.ask(question).await {
                    let why = match reason.as_str() {
                        "" => format!("not permitted: {verb} {}", kind.plural),
                        reason => format!("not permitted: {verb} {}: {reason}", kind.plural),
                    };
                    let what = Outcome::Refused(kind, verb, why);
                    let _ = answers.send(Answered { generation, what });
                }
            });
        }
    }
}
