//! What was observed while a scenario was played, in the trace's terms.

use std::collections::{BTreeMap, BTreeSet};

use super::trace::{Event, Response, State};

/// One playing of a scenario.
#[derive(Debug, Clone, Default)]
pub struct Observation {
    pub steps: BTreeMap<usize, Outcome>,
    /// Step markers and states in the order the store committed them. A state
    /// that repeats its predecessor may be there; it does not count.
    pub log: Vec<Happening>,
    pub events: BTreeSet<Event>,
}

/// What came of one step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    pub responses: Vec<Response>,
    pub result: Option<String>,
    pub output: Option<String>,
}

/// One entry of the log.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// The moment just before an acting step.
    Step(usize),
    State {
        object: String,
        state: State,
    },
}

impl Observation {
    /// Each object's states with their places in the log, without repetitions.
    pub fn lives(&self) -> BTreeMap<&str, Vec<(usize, &State)>> {
        let mut lives: BTreeMap<&str, Vec<(usize, &State)>> = BTreeMap::new();
        for (at, happening) in self.log.iter().enumerate() {
            if let Happening::State { object, state } = happening {
                let life = lives.entry(object).or_default();
                if life.last().is_none_or(|(_, last)| *last != state) {
                    life.push((at, state));
                }
            }
        }
        lives
    }
}
