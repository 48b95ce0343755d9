//! The newest commands of one host, and the word that they changed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::model::clock::Clock;
use crate::plugins::host::record::{Ended, OUTPUT_MAX, RECORDS_MAX};
use crate::plugins::host::{Command, CommandRecord, Exit, OnBehalf};

/// Commands of one host, at most [`RECORDS_MAX`] that have ended.
#[derive(Debug)]
pub struct Log {
    node: Arc<str>,
    clock: Arc<dyn Clock>,
    kept: Mutex<Kept>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    records: VecDeque<CommandRecord>,
    last_id: u64,
}

impl Log {
    pub fn new(node: Arc<str>, clock: Arc<dyn Clock>) -> Arc<Self> {
        let (kept, changes) = (Mutex::default(), watch::Sender::new(0));
        Arc::new(Self { node, clock, kept, changes })
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down that a command starts; Secrets are not in it.
    pub fn start(self: &Arc<Self>, on_behalf: &OnBehalf, command: Command) -> Running {
        let command = command.without_secrets();
        let mut kept = self.lock();
        kept.last_id += 1;
        let record = CommandRecord {
            id: kept.last_id,
            node: self.node.clone(),
            on_behalf: on_behalf.clone(),
            argv: command.argv().into(),
            command,
            started: self.clock.now(),
            ended: None,
        };
        kept.records.push_back(record.clone());
        if kept.records.len() > RECORDS_MAX {
            // What still runs stays in sight.
            let oldest = kept.records.iter().position(|record| record.ended.is_some());
            oldest.map(|oldest| kept.records.remove(oldest));
        }
        drop(kept);
        self.changes.send_modify(|changes| *changes += 1);
        Running { log: self.clone(), record, ended: false }
    }

    pub fn records(&self) -> Vec<CommandRecord> {
        self.lock().records.iter().cloned().collect()
    }

    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn end(&self, id: u64, ended: Ended) {
        let mut kept = self.lock();
        if let Some(record) = kept.records.iter_mut().rev().find(|record| record.id == id) {
            record.ended = Some(ended);
        }
        drop(kept);
        self.changes.send_modify(|changes| *changes += 1);
    }
}

/// A command that runs. Dropped without an end, it counts as given up.
#[derive(Debug)]
pub struct Running {
    log: Arc<Log>,
    record: CommandRecord,
    ended: bool,
}

impl Running {
    /// Writes down how it ended and gives the whole record.
    pub fn end(mut self, exit: Exit, output: &str) -> CommandRecord {
        let ended = self.ended_now(exit, output);
        self.ended = true;
        self.log.end(self.record.id, ended.clone());
        CommandRecord { ended: Some(ended), ..self.record.clone() }
    }

    fn ended_now(&self, exit: Exit, output: &str) -> Ended {
        let duration = self.log.clock.now().duration_since(self.record.started);
        let duration = Duration::try_from(duration).unwrap_or_default();
        Ended { exit, output: cut(output).into(), duration }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            let ended = self.ended_now(Exit::GivenUp, "");
            self.log.end(self.record.id, ended);
        }
    }
}

fn cut(output: &str) -> &str {
    let mut end = output.len().min(OUTPUT_MAX);
    while !output.is_char_boundary(end) {
        end -= 1;
    }
    &output[..end]
}
