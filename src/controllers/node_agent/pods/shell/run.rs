//! Runs a script: one command after the other, on the container's files and on
//! the cluster's time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, pending};
use jiff::Timestamp;

use super::commands::{self, Ran, Surroundings, words_of};
use super::parse::{Node, Part, Redirect, Simple, Word, script};
use super::pattern;
use crate::controllers::node_agent::pods::container_files::ContainerFiles;
use crate::controllers::node_agent::turns::Turns;
use crate::model::clock::{Clock, TimerUse};
use crate::plugins::host::HostError;

/// How much of its output a container keeps, the newest.
pub const LOG_BYTES_MAX: usize = 64 << 10;
/// How often a loop without a pause goes round before it counts as endless.
const ROUNDS_MAX: usize = 1000;
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A script that runs in a container.
pub struct Process {
    pub files: ContainerFiles,
    pub clock: Arc<dyn Clock>,
    pub environment: BTreeMap<String, String>,
    /// The pod's name.
    pub hostname: String,
    pub kept: Arc<Kept>,
}

/// What a process leaves for others to see while it runs.
#[derive(Debug, Default)]
pub struct Kept {
    inner: Mutex<KeptInner>,
}

#[derive(Debug, Default)]
struct KeptInner {
    trap: Option<Node>,
    log: Vec<u8>,
    foreground: Foreground,
}

/// The command that a shell waits for: what TERM is trapped with is run when it
/// has ended.
#[derive(Debug, Clone, Copy, Default)]
enum Foreground {
    #[default]
    Nothing,
    /// One that ends at the next of these, and after it the same again.
    Pause(Turns),
    Endless,
}

/// Whether the script goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// With this exit status of the last command.
    On(i32),
    /// The shell has ended with this.
    Exit(i32),
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, KeptInner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the process wants to do at TERM.
    pub fn trap(&self) -> Option<Node> {
        self.lock().trap.clone()
    }

    /// How long the shell still waits for the command that it runs; `None`:
    /// without end.
    pub fn until_command_ends(&self, now: Timestamp) -> Option<Duration> {
        match self.lock().foreground {
            Foreground::Nothing => Some(Duration::ZERO),
            Foreground::Pause(turns) => Some(turns.until_next(now)),
            Foreground::Endless => None,
        }
    }

    /// What it has printed.
    pub fn log(&self) -> Vec<u8> {
        self.lock().log.clone()
    }

    fn print(&self, bytes: &[u8]) {
        let log = &mut self.lock().log;
        log.extend_from_slice(bytes);
        let over = log.len().saturating_sub(LOG_BYTES_MAX);
        log.drain(..over);
    }
}

/// What a part of the script is run in.
#[derive(Debug, Clone, Copy)]
struct Context {
    last_status: i32,
    /// Pauses in a loop go on without end: nobody waits for them.
    in_loop: bool,
}

impl Process {
    /// Runs to the end; the exit status. Only a node that does not answer is
    /// an error.
    pub async fn run(&self, node: &Node) -> Result<i32, HostError> {
        let context = Context { last_status: 0, in_loop: false };
        let mut output = Vec::new();
        let flow = self.node(node, context, &mut output).await?;
        self.kept.print(&output);
        Ok(match flow {
            Flow::On(status) | Flow::Exit(status) => status,
        })
    }

    /// Runs what TERM is trapped with; the exit code if the shell ends by it.
    pub async fn run_trap(&self, trap: &Node) -> Option<i32> {
        let context = Context { last_status: 0, in_loop: false };
        let mut output = Vec::new();
        let flow = self.node(trap, context, &mut output).await;
        self.kept.print(&output);
        match flow {
            Ok(Flow::On(_)) => None,
            Ok(Flow::Exit(code)) => Some(code),
            // The machine is gone.
            Err(_) => Some(1),
        }
    }

    fn node<'a>(
        &'a self,
        node: &'a Node,
        mut context: Context,
        output: &'a mut Vec<u8>,
    ) -> BoxFuture<'a, Result<Flow, HostError>> {
        async move {
            Ok(match node {
                Node::Simple(simple) => self.simple(simple, context, output).await?,
                Node::Sequence(nodes) => {
                    for node in nodes {
                        match self.node(node, context, output).await? {
                            Flow::On(status) => context.last_status = status,
                            exit => return Ok(exit),
                        }
                    }
                    Flow::On(context.last_status)
                }
                Node::And(first, second) => match self.node(first, context, output).await? {
                    Flow::On(0) => self.node(second, context, output).await?,
                    other => other,
                },
                Node::Or(first, second) => match self.node(first, context, output).await? {
                    Flow::On(status) if status != 0 => {
                        context.last_status = status;
                        self.node(second, context, output).await?
                    }
                    other => other,
                },
                Node::Not(inner) => match self.node(inner, context, output).await? {
                    Flow::On(status) => Flow::On(i32::from(status == 0)),
                    exit => exit,
                },
                Node::While { condition, body } => {
                    self.repeat(condition, body, context, output).await?
                }
                Node::If { condition, then, otherwise } => {
                    match (self.node(condition, context, output).await?, otherwise) {
                        (Flow::On(0), _) => self.node(then, context, output).await?,
                        (Flow::On(_), Some(other)) => self.node(other, context, output).await?,
                        (Flow::On(_), None) => Flow::On(0),
                        (exit, _) => exit,
                    }
                }
            })
        }
        .boxed()
    }

    async fn repeat(
        &self,
        condition: &Node,
        body: &Node,
        mut context: Context,
        output: &mut Vec<u8>,
    ) -> Result<Flow, HostError> {
        if only_waits(condition) && only_waits(body) {
            self.publish(output);
            let round = pause(condition).zip(pause(body)).map(|(first, then)| first + then);
            self.wait_for(round);
            return pending().await;
        }
        context.in_loop = true;
        let mut without_pause = 0;
        loop {
            let began = self.clock.now();
            match self.node(condition, context, output).await? {
                Flow::On(0) => {}
                Flow::On(_) => return Ok(Flow::On(context.last_status)),
                exit => return Ok(exit),
            }
            match self.node(body, context, output).await? {
                Flow::On(status) => context.last_status = status,
                exit => return Ok(exit),
            }
            without_pause = if self.clock.now() > began { 0 } else { without_pause + 1 };
            if without_pause > ROUNDS_MAX {
                self.publish(output);
                return pending().await;
            }
        }
    }

    /// What was printed so far is to be seen before a long wait.
    fn publish(&self, output: &mut Vec<u8>) {
        self.kept.print(&std::mem::take(output));
    }

    async fn simple(
        &self,
        simple: &Simple,
        context: Context,
        output: &mut Vec<u8>,
    ) -> Result<Flow, HostError> {
        let mut words = Vec::new();
        for word in &simple.words {
            words.extend(self.expand(word, context).await?);
        }
        let replaces = words.first().is_some_and(|word| word == "exec");
        if replaces {
            words.remove(0);
            // What takes the shell's place has no traps.
            self.kept.lock().trap = None;
        }
        let first = words.first().map(String::as_str).unwrap_or_default();
        let ran = match first {
            "exit" => {
                let status = words.get(1).and_then(|code| code.parse().ok());
                return Ok(Flow::Exit(status.unwrap_or(context.last_status)));
            }
            "sleep" => {
                self.publish(output);
                self.sleep(words.get(1).map(String::as_str), context).await;
                Ran::default()
            }
            "tail" if words.iter().any(|word| word == "-f" || word == "-F") => {
                self.publish(output);
                pending().await
            }
            "cat" if words.len() == 1 && !has_input(simple) => {
                self.publish(output);
                pending().await
            }
            "trap" => {
                self.set_trap(&words[1..]);
                Ran::default()
            }
            _ => {
                let input = match self.input(simple, context).await? {
                    Ok(input) => input,
                    Err(complaint) => {
                        self.kept.print(complaint.as_bytes());
                        return Ok(Flow::On(1));
                    }
                };
                let around = Surroundings {
                    files: self.files.clone(),
                    hostname: self.hostname.clone(),
                    date: self.clock.now().strftime("%a %b %e %H:%M:%S UTC %Y").to_string(),
                    input,
                };
                commands::run(&words, &around).await?
            }
        };
        let status = self.redirect(simple, ran, context, output).await?;
        Ok(if replaces && !words.is_empty() { Flow::Exit(status) } else { Flow::On(status) })
    }

    async fn sleep(&self, length: Option<&str>, context: Context) {
        let length = length.and_then(duration);
        self.wait_for(length);
        let Some(length) = length else { return pending().await };
        let usage = if context.in_loop { TimerUse::Housekeeping } else { TimerUse::Work };
        self.clock.sleep(length, usage).await;
        self.wait_for(Some(Duration::ZERO));
    }

    /// Notes how long the command takes that begins now; `None`: without end.
    fn wait_for(&self, length: Option<Duration>) {
        self.kept.lock().foreground = match length {
            None => Foreground::Endless,
            Some(Duration::ZERO) => Foreground::Nothing,
            Some(length) => Foreground::Pause(Turns::new(self.clock.now(), length)),
        };
    }

    fn set_trap(&self, words: &[String]) {
        let [action, signals @ ..] = words else { return };
        let is_term = |signal: &String| matches!(signal.as_str(), "TERM" | "SIGTERM" | "15");
        if signals.iter().any(is_term) {
            self.kept.lock().trap = script(action);
        }
    }

    /// The file that input comes from; the complaint if there is none.
    async fn input(
        &self,
        simple: &Simple,
        context: Context,
    ) -> Result<Result<Option<Vec<u8>>, String>, HostError> {
        let mut input = None;
        for redirect in &simple.redirects {
            let Redirect::Input { file } = redirect else { continue };
            let path = self.expand(file, context).await?.join(" ");
            match self.files.read(&path, FILE_BYTES_MAX).await {
                Ok(content) => input = Some(content),
                Err(error) => {
                    let why = words_of(&error)?;
                    return Ok(Err(format!("sh: can't open {path}: {why}\n")));
                }
            }
        }
        Ok(Ok(input))
    }

    /// Sends output and errors where the redirections say; the exit status.
    async fn redirect(
        &self,
        simple: &Simple,
        ran: Ran,
        context: Context,
        output: &mut Vec<u8>,
    ) -> Result<i32, HostError> {
        let Ran { mut status, output: mut bytes, mut errors } = ran;
        if simple.redirects.contains(&Redirect::ErrorsToOutput) {
            bytes.extend(std::mem::take(&mut errors).into_bytes());
        }
        let mut to_file = false;
        for redirect in &simple.redirects {
            let (file, append, content) = match redirect {
                Redirect::Output { file, append } => {
                    to_file = true;
                    (file, *append, bytes.clone())
                }
                Redirect::Errors { file } => {
                    (file, false, std::mem::take(&mut errors).into_bytes())
                }
                Redirect::ErrorsToOutput | Redirect::Input { .. } => continue,
            };
            let path = self.expand(file, context).await?.join(" ");
            if let Err(error) = self.put(&path, append, content).await {
                status = 1;
                errors.push_str(&format!("sh: can't create {path}: {}\n", words_of(&error)?));
            }
        }
        self.kept.print(errors.as_bytes());
        if !to_file {
            output.extend(bytes);
        }
        Ok(status)
    }

    async fn put(&self, path: &str, append: bool, content: Vec<u8>) -> Result<(), HostError> {
        let mut whole = Vec::new();
        if append && self.files.look(path, true).await?.is_some() {
            whole = self.files.read(path, FILE_BYTES_MAX).await?;
        }
        whole.extend(content);
        self.files.write(path, &whole).await
    }

    /// A word with all that is to be replaced replaced: none or several words.
    async fn expand(&self, word: &Word, context: Context) -> Result<Vec<String>, HostError> {
        let mut text = String::new();
        let mut is_pattern = false;
        // A word of nothing but an empty replacement is no word.
        let mut is_there = false;
        for part in &word.0 {
            match part {
                Part::Text { text: piece, quoted } => {
                    is_pattern |= !quoted && pattern::is_pattern(piece);
                    is_there = true;
                    text.push_str(piece);
                }
                Part::Variable(name) if name == "?" => text += &context.last_status.to_string(),
                Part::Variable(name) => {
                    text += self.environment.get(name).map_or("", String::as_str);
                }
                Part::Output(node) => {
                    let mut printed = Vec::new();
                    self.node(node, context, &mut printed).await?;
                    text += String::from_utf8_lossy(&printed).trim_end_matches('\n');
                }
            }
        }
        if text.is_empty() && !is_there {
            return Ok(Vec::new());
        }
        if is_pattern {
            let found = self.matching(&text).await?;
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(vec![text])
    }

    /// The files that a pattern in the last part of a path names.
    async fn matching(&self, path: &str) -> Result<Vec<String>, HostError> {
        let Some((directory, wanted)) = path.rsplit_once('/') else { return Ok(Vec::new()) };
        let listed = match self.files.list(if directory.is_empty() { "/" } else { directory }).await
        {
            Ok(entries) => entries,
            Err(HostError::File { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        let fits = listed.iter().filter(|entry| pattern::matches(wanted, &entry.name));
        Ok(fits.map(|entry| format!("{directory}/{}", entry.name)).collect())
    }
}

fn has_input(simple: &Simple) -> bool {
    simple.redirects.iter().any(|redirect| matches!(redirect, Redirect::Input { .. }))
}

/// Whether a part of a loop does nothing but pass time.
fn only_waits(node: &Node) -> bool {
    match node {
        Node::Simple(simple) => {
            let name = simple.words.first().and_then(Word::literal);
            matches!(name, Some(":" | "true" | "sleep" | "wait"))
        }
        Node::Sequence(nodes) => nodes.iter().all(only_waits),
        _ => false,
    }
}

/// How long one round takes of a part that only waits; `None`: without end.
fn pause(node: &Node) -> Option<Duration> {
    match node {
        Node::Simple(simple) => match simple.words.first().and_then(Word::literal) {
            Some("sleep") => simple.words.get(1).and_then(Word::literal).and_then(duration),
            _ => Some(Duration::ZERO),
        },
        Node::Sequence(nodes) => nodes.iter().map(pause).sum(),
        _ => Some(Duration::ZERO),
    }
}

/// `5`, `0.5`, `1m`, `2h`, `1d`; `None`: forever, or not readable.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = match text.char_indices().next_back()? {
        (at, 's') => (&text[..at], 1.0),
        (at, 'm') => (&text[..at], 60.0),
        (at, 'h') => (&text[..at], 3600.0),
        (at, 'd') => (&text[..at], 86400.0),
        _ => (text, 1.0),
    };
    let seconds = number.parse::<f64>().ok()? * unit;
    Duration::try_from_secs_f64(seconds).ok()
}
