//! Plays a scenario through the write path of a cluster.
//!
//! ```text
//! deeds of a step -> perform (gate, journal) -> cluster -> mirror
//!                                                            |
//! next step <- all expectations hold <- looked at on every change
//! ```
//!
//! Time is the cluster's: while the gate is shut nothing times out, and the
//! next step is offered to the gate at once, so that someone stepping through
//! the scenario sees it waiting there like any other write.
//!
//! Invariant: the player writes objects only by the write path, with the step's
//! caption as reason, and reads only conditions. What a step does at a machine is
//! no write: it is done at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;

use crate::cluster::write_path::step_gate::StepGate;
use crate::cluster::write_path::{WriteError, WritePath, perform_as_shown};
use crate::mirror::Mirror;
use crate::model::clock::{Clock, TimerUse};
use crate::model::write::{Actor, Change, Reason, Write};
use crate::plugins::host::Hosts;
use crate::scenario::condition::{CannotTell, get};
use crate::scenario::document::{Action, Deed, Expectation, Scenario, Step};
use crate::scenario::machine::{self, NotDone};

/// The rule that a scenario's writes give as their reason.
pub const RULE: &str = "scenario";

/// How often a condition is looked at that the mirror cannot tell about.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Who prepares what a scenario starts from.
const SETUP_ACTOR: &str = "admin";

/// How fast to play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// The next step as soon as the last one's expectations hold.
    AtOnce,
    /// With the scenario's pause between the steps, while the gate is open.
    ForPeople,
}

/// How far a scenario has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    pub title: String,
    /// The step at hand, from 1; 0 during set-up.
    pub step: usize,
    pub steps: usize,
    /// What the step at hand is about; the intro during set-up.
    pub caption: String,
    pub state: PlayState,
}

/// What the player is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlayState {
    /// Writing, or held at the gate with a write.
    Acting,
    /// Waiting for this to hold.
    WaitingFor(String),
    /// Everything the step expects holds; time to read.
    Resting,
    Done,
    /// A step failed; nothing further is played.
    Failed(String),
}

/// Why a scenario was not played to its end.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    #[error("step {step} (`{caption}`) could not be done")]
    Write { step: usize, caption: String, source: WriteError },
    #[error("step {step} (`{caption}`) could not be done at the machine")]
    Machine { step: usize, caption: String, source: NotDone },
    #[error("step {step} (`{caption}`) could not look at the cluster")]
    Read { step: usize, caption: String, source: kube::Error },
    #[error("step {step} (`{caption}`) could not tell how it went")]
    CannotTell { step: usize, caption: String, source: CannotTell },
    #[error("step {step} (`{caption}`): expected {expected} within {within:?}, but {instead}")]
    Unmet { step: usize, caption: String, expected: String, within: Duration, instead: String },
}

/// One playing of a scenario.
pub struct Player {
    pause: Duration,
    /// The steps with their actors' clients; the set-up comes first.
    stages: Vec<(Step, kube::Client)>,
    clock: Arc<dyn Clock>,
    gate: StepGate,
    mirror: Mirror,
    /// The machines of this program, if it has any.
    machines: Option<Arc<dyn Hosts>>,
    pace: Pace,
    progress: watch::Sender<Progress>,
}

impl Player {
    /// A player that has not begun. Needs a runtime.
    pub fn new(scenario: &Scenario, path: &WritePath, mirror: &Mirror, pace: Pace) -> Self {
        let progress = watch::Sender::new(Progress {
            title: scenario.title.clone(),
            step: 0,
            steps: scenario.steps.len(),
            caption: scenario.intro.clone(),
            state: PlayState::Acting,
        });
        let setup = Step {
            caption: scenario.title.clone(),
            actor: Actor(SETUP_ACTOR.into()),
            deeds: scenario.setup.clone(),
            machine: Vec::new(),
            expect: Vec::new(),
        };
        let mut clients: HashMap<Actor, kube::Client> = HashMap::new();
        let mut stage = |step: &Step| {
            let client = clients
                .entry(step.actor.clone())
                .or_insert_with(|| path.client(step.actor.clone()))
                .clone();
            (step.clone(), client)
        };
        Self {
            pause: scenario.pause,
            stages: [&setup].into_iter().chain(&scenario.steps).map(&mut stage).collect(),
            clock: path.clock().clone(),
            gate: path.gate().clone(),
            mirror: mirror.clone(),
            machines: None,
            pace,
            progress,
        }
    }

    /// The same with machines under the nodes, for steps that act there.
    pub fn with_machines(self, machines: Option<Arc<dyn Hosts>>) -> Self {
        Self { machines, ..self }
    }

    /// How far it has come; changes with every change of it.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Plays everything. Dropping the future stops after the write at hand; a
    /// write held at the gate is withdrawn.
    pub async fn play(self) -> Result<(), PlayError> {
        let result = self.play_stages().await;
        let state = match &result {
            Ok(()) => PlayState::Done,
            Err(error) => PlayState::Failed(sentence(error)),
        };
        self.at(state);
        result
    }

    async fn play_stages(&self) -> Result<(), PlayError> {
        for (number, (step, client)) in self.stages.iter().enumerate() {
            if number > 0 {
                self.rest().await;
                self.progress.send_modify(|progress| {
                    progress.step = number;
                    progress.caption = step.caption.clone();
                    progress.state = PlayState::Acting;
                });
            }
            self.play_stage(number, step, client).await?;
        }
        Ok(())
    }

    async fn play_stage(
        &self,
        number: usize,
        step: &Step,
        client: &kube::Client,
    ) -> Result<(), PlayError> {
        for deed in &step.deeds {
            let caption = || step.caption.clone();
            let write = write(client, deed, &step.caption)
                .await
                .map_err(|source| PlayError::Read { step: number, caption: caption(), source })?;
            perform_as_shown(client, &write).await.map_err(|source| PlayError::Write {
                step: number,
                caption: caption(),
                source,
            })?;
        }
        for deed in &step.machine {
            let done = machine::perform(self.machines.as_deref(), deed).await;
            done.map_err(|source| PlayError::Machine {
                step: number,
                caption: step.caption.clone(),
                source,
            })?;
        }
        for expectation in &step.expect {
            self.wait(number, step, client, expectation).await?;
        }
        self.at(PlayState::Resting);
        Ok(())
    }

    /// Waits until an expectation holds, looking again on every change.
    async fn wait(
        &self,
        number: usize,
        step: &Step,
        client: &kube::Client,
        expectation: &Expectation,
    ) -> Result<(), PlayError> {
        let Expectation { condition, within } = expectation;
        self.at(PlayState::WaitingFor(condition.to_string()));
        let mut deadline = self.clock.sleep(*within, TimerUse::Work);
        let mut changes = self.mirror.subscribe();
        let mirrored = self.mirror.freshness_of(condition.kind()).is_some();
        let mut in_time = true;
        loop {
            let why_not = condition.why_not(client).await.map_err(|source| {
                PlayError::CannotTell { step: number, caption: step.caption.clone(), source }
            })?;
            let Some(instead) = why_not else { return Ok(()) };
            if !in_time {
                return Err(PlayError::Unmet {
                    step: number,
                    caption: step.caption.clone(),
                    expected: condition.to_string(),
                    within: *within,
                    instead,
                });
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = self.clock.sleep(LOOK_AGAIN, TimerUse::Housekeeping), if !mirrored => {}
                () = &mut deadline => in_time = false,
            }
        }
    }

    /// The time people get to read. A shut gate ends it: whoever steps by hand
    /// decides when to go on.
    async fn rest(&self) {
        if self.pace == Pace::AtOnce {
            return;
        }
        let mut gate = self.gate.changes();
        let mut pause = self.clock.sleep(self.pause, TimerUse::Work);
        while !self.gate.is_shut() {
            tokio::select! {
                () = &mut pause => return,
                changed = gate.changed() => if changed.is_err() { return },
            }
        }
    }

    fn at(&self, state: PlayState) {
        self.progress.send_modify(|progress| progress.state = state);
    }
}

/// What a deed comes to on what is there now.
async fn write(client: &kube::Client, deed: &Deed, caption: &str) -> Result<Write, kube::Error> {
    let change = match &deed.action {
        Action::Apply(object) => match get(client, &deed.object).await? {
            None => Change::Create(object.clone()),
            Some(_) => Change::Merge(object.clone()),
        },
        Action::Patch(patch) => Change::Merge(patch.clone()),
        // As kubectl asks for it; the API's own default differs by kind.
        Action::Delete => Change::Delete(json!({"propagationPolicy": "Background"})),
    };
    Ok(Write {
        object: deed.object.clone(),
        subresource: None,
        change,
        version: None,
        on_behalf_of: deed.object.clone(),
        reason: Reason::new(RULE, caption),
    })
}

/// An error with its causes, in one line.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}
