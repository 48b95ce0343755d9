//! Doing what the update asked for: writes, reads, files, the terminal.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::cluster::write_path::breakpoint::Breakpoint;
use crate::cluster::write_path::perform::dry_run;
use crate::cluster::write_path::{WriteError, perform_as_shown};
use crate::model::object::ObjectRef;
use crate::model::write::{Actor, Write};
use crate::session::{CONSOLE, Stepped};
use crate::ui::age::age;
use crate::ui::app::facts::Links;
use crate::ui::app::shell::{Answered, Outcome, Shell};
use crate::ui::app::{Ending, Opened, UiError, facts};
use crate::ui::data::{Data, SessionFacts};
use crate::ui::message::{Answer, Effect, GateOrder, Message};
use crate::ui::theme::Theme;
use crate::ui::update::settle_anew;

/// Terminals drop clipboard texts beyond this.
const CLIPBOARD_BYTES_MAX: usize = 74_000;

impl Shell {
    pub(super) fn perform(&mut self, effect: Effect) -> Result<(), UiError> {
        match effect {
            Effect::Quit => self.end(Ending::Quit),
            Effect::Suspend => return self.suspend(),
            Effect::Redraw => return self.redraw(),
            Effect::Relist => self.opened.session.list_again(),
            Effect::Relens(_) => {
                self.data.follow(&self.state);
                settle_anew(&mut self.state, &self.data);
            }
            Effect::Read { ask, target } => self.read(ask, target.object()),
            Effect::DryRun { ask, write } => self.write(ask, *write, true),
            Effect::Perform { ask, write } => self.write(ask, *write, false),
            Effect::Files { ask, order } => self.files(ask, order),
            Effect::Gate(order) => return self.order(order),
            Effect::SetWritable(writable) => return self.set_writable(writable),
            Effect::OpenContext(name) => self.open(name),
            Effect::LoadTheme(name) => return self.load_theme(&name),
            Effect::Copy(text) => return self.copy(&text),
            Effect::Save { path, text } => self.save(path, text),
        }
        Ok(())
    }

    pub(super) fn answer(&self) -> impl FnOnce(Outcome) + Send + 'static {
        let (answers, generation) = (self.answers.clone(), self.generation);
        // Nobody listens any more only when the console ends.
        move |what| {
            let _ = answers.send(Answered { generation, what });
        }
    }

    fn client(&self) -> kube::Client {
        self.opened.session.path.client(Actor(CONSOLE.into()))
    }

    fn read(&mut self, ask: u64, object: ObjectRef) {
        let (client, answer) = (self.client(), self.answer());
        self.tasks.spawn(async move {
            let read = match get(&client, &object).await {
                Ok(object) => Answer::Object(Box::new(object)),
                Err(what) => Answer::Failed(what),
            };
            answer(Outcome::Answer(ask, read));
        });
    }

    fn write(&mut self, ask: u64, write: Write, dry: bool) {
        let (client, answer) = (self.client(), self.answer());
        self.tasks.spawn(async move {
            let written = match dry {
                true => dry_run(&client, &write).await,
                false => perform_as_shown(&client, &write).await,
            };
            let answered = match written {
                Ok(object) if dry => Answer::WouldBe(Box::new(object)),
                Ok(_) => Answer::Written,
                Err(error @ WriteError::Conflict { .. }) => Answer::Conflict {
                    message: error.to_string(),
                    now: get(&client, &write.object).await.ok().map(Box::new),
                },
                Err(error) => Answer::Failed(error.to_string()),
            };
            answer(Outcome::Answer(ask, answered));
        });
    }

    fn order(&mut self, order: GateOrder) -> Result<(), UiError> {
        let gate = self.opened.session.path.gate().clone();
        let said = match order {
            GateOrder::Pause => {
                gate.shut();
                None
            }
            GateOrder::Run => {
                gate.open();
                None
            }
            GateOrder::Next(1) => {
                if !gate.is_shut() {
                    gate.shut();
                }
                match self.opened.session.step() {
                    Stepped::Write => None,
                    Stepped::Time(by) => {
                        let by = age(0, by.as_secs().max(1));
                        Some(format!("nothing was held: time moved on by {by}"))
                    }
                    Stepped::Nothing => Some("nothing is held, and no timer waits".into()),
                }
            }
            GateOrder::Next(count) => {
                gate.pass_next(count);
                None
            }
            GateOrder::RunUntil(text) => match Breakpoint::parse(&text) {
                Ok(breakpoint) => {
                    gate.run_until(breakpoint);
                    None
                }
                Err(error) => Some(error),
            },
        };
        match said {
            Some(text) => self.take(Message::Notice { text, failed: false }),
            None => {
                self.draw_soon();
                Ok(())
            }
        }
    }

    fn set_writable(&mut self, writable: bool) -> Result<(), UiError> {
        let access = self.opened.session.path.access();
        let (text, failed) = match writable {
            true if access.allow_writes() => {
                (format!("writes are allowed now in {}", self.opened.session.name), false)
            }
            true => ("started with --read-only, which cannot be lifted from inside".into(), true),
            false => {
                access.forbid_writes();
                ("read-only from now on".into(), false)
            }
        };
        self.take(Message::Notice { text, failed })
    }

    fn open(&mut self, name: String) {
        let (opening, answer) = ((self.opener)(name), self.answer());
        self.tasks.spawn(async move {
            let opened = opening.await.map(Box::new);
            answer(Outcome::Opened(opened));
        });
    }

    /// Changes to another cluster. The old one's tasks end with it.
    fn change_to(&mut self, opened: Opened) -> Result<(), UiError> {
        self.generation += 1;
        self.complaints_told = 0;
        let contexts = std::mem::take(&mut self.data.session.contexts);
        let themes = std::mem::take(&mut self.data.session.themes);
        let session = SessionFacts { themes, ..facts::session(&opened.session, contexts, None) };
        let mut data = Data::new(opened.session.mirror.clone(), session, self.data.look.clone());
        data.keymap = self.data.keymap.clone();
        facts::explain(&mut data, &opened.session);
        self.subscription = opened.session.mirror.subscribe();
        self.links = Links::new(&opened);
        self.data = data;
        self.opened = opened;
        self.take_all();
        self.take(Message::ContextOpened)?;
        self.ask_permissions();
        self.redraw()
    }

    pub(super) fn take_answer(&mut self, answered: Answered) -> Result<(), UiError> {
        if answered.generation != self.generation {
            return Ok(());
        }
        match answered.what {
            Outcome::Answer(ask, answer) => self.take(Message::Answer { ask, answer }),
            Outcome::Opened(Ok(opened)) => self.change_to(*opened),
            Outcome::Opened(Err(text)) => self.take(Message::Notice { text, failed: true }),
            Outcome::Refused(kind, verb, why) => {
                self.data.session.refused.push((kind, verb, why));
                self.draw_soon();
                Ok(())
            }
            Outcome::Saved(Ok(text)) => self.take(Message::Notice { text, failed: false }),
            Outcome::Saved(Err(text)) => self.take(Message::Notice { text, failed: true }),
        }
    }

    fn themes(&self) -> Option<std::path::PathBuf> {
        self.config_folder.as_ref().map(|folder| folder.join("themes"))
    }

    fn load_theme(&mut self, name: &str) -> Result<(), UiError> {
        match Theme::load(name, self.themes().as_deref()) {
            Ok(theme) => {
                self.data.look.theme = theme;
                self.theme_changed = None;
                self.redraw()
            }
            Err(error) => self.take(Message::Notice { text: error.to_string(), failed: true }),
        }
    }

    /// Looks whether the theme's file was changed. A broken one is told, and
    /// the theme stays as it was.
    pub(super) fn reload_theme(&mut self) -> Result<(), UiError> {
        let name = self.data.look.theme.name.clone();
        let path = self.themes().map(|folder| folder.join(format!("{name}.yaml")));
        let changed = path.and_then(|path| std::fs::metadata(path).ok()?.modified().ok());
        let before = std::mem::replace(&mut self.theme_changed, changed);
        if changed.is_none() || before.is_none() || changed == before {
            return Ok(());
        }
        self.load_theme(&name)?;
        self.theme_changed = changed;
        Ok(())
    }

    /// OSC 52, through tmux if that lies between.
    fn copy(&mut self, text: &str) -> Result<(), UiError> {
        if text.len() > CLIPBOARD_BYTES_MAX {
            let text = "too long for a terminal's clipboard; :save FILE".into();
            return self.take(Message::Notice { text, failed: true });
        }
        let sequence = format!("\x1b]52;c;{}\x07", STANDARD.encode(text));
        match std::env::var_os("TMUX") {
            Some(_) => {
                let doubled = sequence.replace('\x1b', "\x1b\x1b");
                self.send(&format!("\x1bPtmux;{doubled}\x1b\\"))
            }
            None => self.send(&sequence),
        }
    }

    fn save(&mut self, path: String, text: String) {
        let answer = self.answer();
        self.tasks.spawn(async move {
            let saved = match tokio::fs::write(&path, text).await {
                Ok(()) => Ok(format!("saved to {path}")),
                Err(error) => Err(format!("cannot save to {path}: {error}")),
            };
            answer(Outcome::Saved(saved));
        });
    }
}

/// Reads one object as it is at the server.
async fn get(client: &kube::Client, object: &ObjectRef) -> Result<Value, String> {
    let request = http::Request::get(object.path())
        .body(Vec::new())
        .map_err(|error| format!("{object} cannot be asked for: {error}"))?;
    client.request(request).await.map_err(|error| match error {
        kube::Error::Api(status) => format!("{object} cannot be read: {}", status.message),
        error => format!("{object} cannot be read: {}", crate::cluster::causes(&error)),
    })
}
