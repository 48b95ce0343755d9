//! The journal: every write of ours with its intent and its outcome, renewals
//! of Leases apart.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use jiff::Timestamp;
use kube::client::Body;
use serde::Deserialize;
use tokio::sync::watch;
use tower::BoxError;

use crate::cluster::write_path::around::{Answer, Around, Below};
use crate::cluster::write_path::perform::Asked;
use crate::cluster::write_path::read_only::is_dry_run;
use crate::model::clock::Clock;
use crate::model::kind;
use crate::model::write::{Actor, Change, Write};

/// Entries kept; older ones are dropped and counted.
const ENTRIES_MAX: usize = 10_000;

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Sent, no answer yet.
    Pending,
    /// Done: the uid and version the server answered with; empty and 0 where
    /// it answered with a `Status`.
    Done { uid: Box<str>, version: u64 },
    /// The server said no.
    Refused { code: u16, message: Box<str> },
    /// No answer that can be read: it may have been done.
    Unknown { what: Box<str> },
    /// Let pass by the gate, but nothing was left to do when decided again.
    Withdrawn { why: Box<str> },
}

/// One write.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Rises by one with each entry.
    pub number: u64,
    pub time: Timestamp,
    pub actor: Actor,
    pub write: Arc<Write>,
    pub outcome: Outcome,
}

/// The journal of one cluster. Clones share it.
#[derive(Debug, Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    clock: Arc<dyn Clock>,
    entries: Mutex<Entries>,
    /// How many times the journal has changed.
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Entries {
    kept: VecDeque<Entry>,
    /// Number of the first entry in `kept`.
    first: u64,
}

impl Journal {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let inner = Inner { clock, entries: Mutex::default(), changed: watch::Sender::new(0) };
        Self { inner: Arc::new(inner) }
    }

    /// Reads the entries, oldest first, beginning with number `from`; `read`
    /// must be brief.
    pub fn read<T>(
        &self,
        from: u64,
        read: impl FnOnce(&mut dyn Iterator<Item = &Entry>) -> T,
    ) -> T {
        let entries = self.entries();
        let skip = usize::try_from(from.saturating_sub(entries.first)).unwrap_or(usize::MAX);
        read(&mut entries.kept.iter().skip(skip))
    }

    /// The newest entry of an object's write that gave this version.
    pub fn find(&self, uid: &str, version: u64) -> Option<Entry> {
        let entries = self.entries();
        let found = entries.kept.iter().rev().find(|entry| {
            matches!(&entry.outcome, Outcome::Done { uid: u, version: v } if **u == *uid && *v == version)
        });
        found.cloned()
    }

    /// How many entries were dropped for want of room.
    pub fn dropped(&self) -> u64 {
        self.entries().first
    }

    /// Number that the next entry will get.
    pub fn next_number(&self) -> u64 {
        let entries = self.entries();
        entries.first + entries.kept.len() as u64
    }

    /// Changes whenever an entry or an outcome comes in.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    /// Records an intent; its number.
    fn intend(&self, actor: Actor, write: Arc<Write>) -> u64 {
        let time = self.inner.clock.now();
        let number = {
            let mut entries = self.entries();
            if entries.kept.len() == ENTRIES_MAX {
                entries.kept.pop_front();
                entries.first += 1;
            }
            let number = entries.first + entries.kept.len() as u64;
            let entry = Entry { number, time, actor, write, outcome: Outcome::Pending };
            entries.kept.push_back(entry);
            number
        };
        self.inner.changed.send_modify(|changes| *changes += 1);
        number
    }

    fn close(&self, number: u64, outcome: Outcome) {
        {
            let mut entries = self.entries();
            let Some(at) = number.checked_sub(entries.first) else { return };
            let Some(entry) = usize::try_from(at).ok().and_then(|at| entries.kept.get_mut(at))
            else {
                return;
            };
            entry.outcome = outcome;
        }
        self.inner.changed.send_modify(|changes| *changes += 1);
    }

    /// Records a write that was let pass but no longer called for.
    pub(super) fn withdrawn(&self, actor: Actor, write: Arc<Write>, why: &str) {
        let number = self.intend(actor, write);
        self.close(number, Outcome::Withdrawn { why: why.into() });
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.inner.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An intent without outcome yet. Dropped early (a task cancelled, a reply
/// lost), it becomes [`Outcome::Unknown`].
struct Intent {
    journal: Journal,
    number: Option<u64>,
}

impl Intent {
    fn close(mut self, outcome: Outcome) {
        if let Some(number) = self.number.take() {
            self.journal.close(number, outcome);
        }
    }
}

impl Drop for Intent {
    fn drop(&mut self) {
        if let Some(number) = self.number.take() {
            let what = "given up before an answer came".into();
            self.journal.close(number, Outcome::Unknown { what });
        }
    }
}

/// Every write of ours is entered, renewals of Leases apart.
impl Around for Journal {
    fn handle<S: Below>(&self, mut below: S, request: Request<Body>) -> Answer {
        let asked = request.extensions().get::<Asked>().cloned();
        let actor = request.extensions().get::<Actor>().cloned();
        let (Some(Asked(write)), Some(actor)) = (asked, actor) else {
            return Box::pin(below.call(request));
        };
        if is_dry_run(request.uri()) || is_heartbeat(&write) {
            return Box::pin(below.call(request));
        }
        let number = self.intend(actor, write);
        let intent = Intent { journal: self.clone(), number: Some(number) };
        let answer = below.call(request);
        Box::pin(async move {
            let answered = match answer.await {
                Ok(response) => {
                    let (parts, body) = response.into_parts();
                    body.collect_bytes().await.map(|body| (parts, body)).map_err(BoxError::from)
                }
                Err(error) => Err(error),
            };
            match answered {
                Ok((parts, body)) => {
                    intent.close(outcome(parts.status.as_u16(), &body));
                    Ok(Response::from_parts(parts, Body::from(body)))
                }
                Err(error) => {
                    intent.close(Outcome::Unknown { what: error.to_string().into() });
                    Err(error)
                }
            }
        })
    }
}

/// Whether a write only renews a Lease. It decides nothing, and those of 1,000
/// nodes would push every other entry out within two minutes.
fn is_heartbeat(write: &Write) -> bool {
    write.object.kind == kind::LEASE && matches!(write.change, Change::Merge(_))
}

/// As much of an answer as the journal needs.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Answered<'a> {
    metadata: AnsweredMeta<'a>,
    message: std::borrow::Cow<'a, str>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct AnsweredMeta<'a> {
    uid: std::borrow::Cow<'a, str>,
    resource_version: std::borrow::Cow<'a, str>,
}

fn outcome(code: u16, body: &Bytes) -> Outcome {
    let answer: Answered<'_> = serde_json::from_slice(body).unwrap_or_default();
    match code {
        200..300 => Outcome::Done {
            uid: answer.metadata.uid.into(),
            version: answer.metadata.resource_version.parse().unwrap_or_default(),
        },
        500.. => Outcome::Unknown { what: format!("{code}: {}", answer.message).into() },
        _ => Outcome::Refused { code, message: answer.message.into() },
    }
}
