//! Latency and faults as data.

use std::time::Duration;

use serde::Deserialize;

use crate::plugins::host::FileFault;
use crate::plugins::host::command::Verb;

/// A rule: which requests it is for, and what becomes of them. The first rule
/// that matches counts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// The node; absent: all.
    pub node: Option<String>,
    pub verb: Option<Verb>,
    /// A part of the device, file, export or mount point.
    pub object: Option<String>,
    /// Lets this many matching requests pass first.
    #[serde(default)]
    pub after: u32,
    /// Ends after this many; absent: never.
    pub times: Option<u32>,
    pub effect: Effect,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Effect {
    /// Takes this much longer.
    #[serde(rename_all = "camelCase")]
    Slow { milliseconds: u64 },
    /// A command ends with this code and output, having done nothing. In the
    /// output `{object}` stands for what the command works on.
    Fail { exit: i32, output: String },
    /// A request about files fails, having done nothing.
    #[serde(skip)]
    FailFile(FileFault),
    /// Is not begun as long as the rule is there.
    Hang,
    /// Is done, but not answered as long as the rule is there.
    LoseAnswer,
}

/// What the rules say to one request.
#[derive(Debug, Clone, Default)]
pub struct Treatment {
    pub delay: Duration,
    pub effect: Option<(u64, Effect)>,
}

/// Rules in force, with how often each has matched.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    rules: Vec<(u64, Rule, u32)>,
    last_id: u64,
    /// How long each kind of request takes.
    pub latency: Latency,
}

/// How long requests take without any rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Latency {
    pub attach: Duration,
    pub format: Duration,
    pub check: Duration,
    pub mount: Duration,
    /// All other commands.
    pub other: Duration,
}

impl Latency {
    /// What one sees of a cloud disk, good for a demo.
    pub fn realistic() -> Self {
        let ms = Duration::from_millis;
        Self { attach: ms(2500), format: ms(1200), check: ms(300), mount: ms(80), other: ms(20) }
    }

    fn of(self, verb: Verb) -> Duration {
        match verb {
            Verb::LoopAttach => self.attach,
            Verb::Format | Verb::Wipe => self.format,
            Verb::Check => self.check,
            Verb::Mount | Verb::Unmount => self.mount,
            Verb::Probe
            | Verb::Grow
            | Verb::IsReadOnly
            | Verb::LoopLock
            | Verb::LoopDetach
            | Verb::LoopResize
            | Verb::LoopFind
            | Verb::Other => self.other,
            // A real program takes the time it takes.
            Verb::Driver => Duration::ZERO,
            Verb::ReadFiles | Verb::WriteFiles => Duration::ZERO,
        }
    }
}

impl Rules {
    /// Adds a rule; its number takes it away again.
    pub fn add(&mut self, rule: Rule) -> u64 {
        self.last_id += 1;
        self.rules.push((self.last_id, rule, 0));
        self.last_id
    }

    pub fn remove(&mut self, id: u64) {
        self.rules.retain(|(own, ..)| *own != id);
    }

    pub fn clear(&mut self) {
        self.rules.clear();
    }

    pub fn holds(&self, id: u64) -> bool {
        self.rules.iter().any(|(own, ..)| *own == id)
    }

    /// What becomes of a request. Counts it.
    pub fn treat(&mut self, node: &str, verb: Verb, objects: &[&str]) -> Treatment {
        let mut treatment = Treatment { delay: self.latency.of(verb), effect: None };
        for (id, rule, seen) in &mut self.rules {
            let matches = rule.node.as_ref().is_none_or(|own| own == node)
                && rule.verb.is_none_or(|own| own == verb)
                && rule
                    .object
                    .as_ref()
                    .is_none_or(|part| objects.iter().any(|object| object.contains(part.as_str())));
            if !matches {
                continue;
            }
            *seen += 1;
            if *seen <= rule.after || rule.times.is_some_and(|times| *seen > rule.after + times) {
                continue;
            }
            if let Effect::Slow { milliseconds } = rule.effect {
                treatment.delay += Duration::from_millis(milliseconds);
            } else {
                treatment.effect = Some((*id, rule.effect.clone()));
            }
            break;
        }
        treatment
    }
}
