//! The step gate: holds writes until someone at the screen lets them pass.
//!
//! A held write is a verdict, not bytes. It waits in the future that `call`
//! returns, never in `poll_ready`, so reads go on; dropping that future takes
//! it from the queue. When its permit comes, the waiting loop is told to
//! decide again ([`GateRefusal::DecideAgain`]); the permit stays here as a
//! ticket for exactly the write that was shown. The same write then passes with
//! the version just read; a different one is shown anew; and if nothing is left
//! to do the loop says so ([`StepGate::nothing_to_do`]), which goes into the
//! journal. None vanishes silently.
//!
//! ```text
//! Open    => (Open | Shut)                 everything passes
//! Shut(n) => (Open | Shut | Until)         n more pass, then they wait
//! Until   => (Open | Shut | Until)         all pass up to the breakpoint, then Shut
//! ```
//!
//! Never held: reads, watches, reviews, dry runs, Leases (heartbeats are
//! Leases), Events.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Request;
use kube::client::Body;
use tokio::sync::{oneshot, watch};
use tower::ServiceExt;

use crate::cluster::write_path::actor::Term;
use crate::cluster::write_path::around::{Answer, Around, Below};
use crate::cluster::write_path::breakpoint::Breakpoint;
use crate::cluster::write_path::journal::Journal;
use crate::cluster::write_path::perform::Asked;
use crate::cluster::write_path::read_only::is_dry_run;
use crate::model::kind;
use crate::model::object::ObjectRef;
use crate::model::write::{Actor, Write};

/// Why the gate sent a write back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GateRefusal {
    #[error("to be decided again")]
    DecideAgain,
    #[error("the leadership in which it was decided has ended")]
    TermEnded,
}

/// What the gate does with the next write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    Open,
    /// So many more pass, then all wait.
    Shut {
        permits: usize,
    },
    /// All pass up to the first that matches; there the gate shuts.
    Until(Breakpoint),
}

/// A write that waits.
#[derive(Debug, Clone)]
pub struct Held {
    /// Tells held writes apart; rises.
    pub id: u64,
    pub actor: Actor,
    pub write: Arc<Write>,
    /// It came in place of another that had a permit.
    pub instead_of: Option<Arc<Write>>,
}

/// The gate of one cluster. Clones share it.
#[derive(Debug, Clone)]
pub struct StepGate {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    journal: Journal,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    queue: VecDeque<Waiting>,
    /// Permits given to writes that are being decided again.
    tickets: Vec<Ticket>,
    next_id: u64,
}

#[derive(Debug)]
struct Waiting {
    held: Held,
    permit: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Ticket {
    actor: Actor,
    write: Arc<Write>,
}

impl Ticket {
    fn is_for(&self, actor: &Actor, on_behalf_of: &ObjectRef) -> bool {
        self.actor == *actor && self.write.on_behalf_of == *on_behalf_of
    }
}

/// Whether two decisions ask for the same change, whatever version each read.
fn same_intent(a: &Write, b: &Write) -> bool {
    a.object == b.object && a.subresource == b.subresource && a.change == b.change
}

impl StepGate {
    /// An open gate.
    pub fn new(journal: Journal) -> Self {
        let state =
            State { mode: Mode::Open, queue: VecDeque::new(), tickets: Vec::new(), next_id: 0 };
        let inner = Inner { state: Mutex::new(state), changed: watch::Sender::new(0), journal };
        Self { inner: Arc::new(inner) }
    }

    pub fn mode(&self) -> Mode {
        self.state().mode.clone()
    }

    /// Whether writes wait.
    pub fn is_shut(&self) -> bool {
        matches!(self.mode(), Mode::Shut { .. })
    }

    /// The writes that wait, in the order they came.
    pub fn held(&self) -> Vec<Held> {
        self.state().queue.iter().map(|waiting| waiting.held.clone()).collect()
    }

    /// Changes whenever mode or queue do.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    /// Holds every write from now on.
    pub fn shut(&self) {
        self.change(|state| state.mode = Mode::Shut { permits: 0 });
    }

    /// Lets all pass that wait, and all to come.
    pub fn open(&self) {
        self.change(|state| {
            state.mode = Mode::Open;
            while state.release_first() {}
        });
    }

    /// Lets the first waiting write pass; false if none waits.
    pub fn pass_one(&self) -> bool {
        let mut passed = false;
        self.change(|state| passed = state.release_first());
        passed
    }

    /// Lets this write pass before those that came earlier; false if it no
    /// longer waits.
    pub fn pass(&self, id: u64) -> bool {
        let mut passed = false;
        self.change(|state| {
            if let Some(at) = state.queue.iter().position(|waiting| waiting.held.id == id) {
                passed = state.release(at);
            }
        });
        passed
    }

    /// Lets the next `count` writes pass, those that wait first.
    pub fn pass_next(&self, count: usize) {
        self.change(|state| {
            let mut left = count;
            while left > 0 && state.release_first() {
                left -= 1;
            }
            state.mode = Mode::Shut { permits: left };
        });
    }

    /// Lets all pass up to the first that matches, which waits.
    pub fn run_until(&self, breakpoint: Breakpoint) {
        self.change(|state| {
            while let Some(first) = state.queue.front() {
                if breakpoint.matches(&first.held.actor, &first.held.write) {
                    state.mode = Mode::Shut { permits: 0 };
                    return;
                }
                state.release_first();
            }
            state.mode = Mode::Until(breakpoint.clone());
        });
    }

    /// Tells the gate that a permitted write is no longer called for.
    pub fn nothing_to_do(&self, actor: &Actor, on_behalf_of: &ObjectRef, why: &str) {
        let mut state = self.state();
        let Some(at) = state.tickets.iter().position(|t| t.is_for(actor, on_behalf_of)) else {
            return;
        };
        let ticket = state.tickets.swap_remove(at);
        drop(state);
        self.inner.journal.withdrawn(ticket.actor, ticket.write, why);
    }

    /// Lets a write through now, or says how long to wait for it.
    fn admit(&self, actor: &Actor, write: &Arc<Write>) -> Option<(u64, oneshot::Receiver<()>)> {
        let is_plain = {
            let state = self.state();
            state.mode == Mode::Open && state.tickets.is_empty()
        };
        if is_plain {
            // Nothing changes, so nobody is woken: thousands pass in a second.
            return None;
        }
        let mut waits = None;
        self.change(|state| {
            let mut instead_of = None;
            if let Some(at) =
                state.tickets.iter().position(|t| t.is_for(actor, &write.on_behalf_of))
            {
                let ticket = state.tickets.swap_remove(at);
                if same_intent(&ticket.write, write) {
                    return;
                }
                instead_of = Some(ticket.write);
            }
            match &mut state.mode {
                Mode::Open => return,
                Mode::Shut { permits } if *permits > 0 && instead_of.is_none() => {
                    *permits -= 1;
                    return;
                }
                Mode::Until(breakpoint) if !breakpoint.matches(actor, write) => return,
                Mode::Until(_) => state.mode = Mode::Shut { permits: 0 },
                Mode::Shut { .. } => {}
            }
            let (permit, permitted) = oneshot::channel();
            let id = state.next_id;
            state.next_id += 1;
            let first = instead_of.is_some();
            let held = Held { id, actor: actor.clone(), write: write.clone(), instead_of };
            let waiting = Waiting { held, permit };
            // One that had a permit keeps its place at the head.
            if first {
                state.queue.push_front(waiting)
            } else {
                state.queue.push_back(waiting)
            }
            waits = Some((id, permitted));
        });
        waits
    }

    fn withdraw(&self, id: u64) {
        let waits = self.state().queue.iter().any(|waiting| waiting.held.id == id);
        if waits {
            self.change(|state| state.queue.retain(|waiting| waiting.held.id != id));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.inner.changed.send_modify(|changes| *changes += 1);
    }
}

impl State {
    fn release_first(&mut self) -> bool {
        !self.queue.is_empty() && self.release(0)
    }

    fn release(&mut self, at: usize) -> bool {
        let Some(Waiting { held, permit }) = self.queue.remove(at) else { return false };
        self.tickets.push(Ticket { actor: held.actor, write: held.write });
        if permit.send(()).is_err() {
            // Its future was dropped in this moment: no ticket for nobody.
            self.tickets.pop();
        }
        true
    }
}

/// Takes a write from the queue, if it still waits, when its future ends.
struct Place<'a> {
    gate: &'a StepGate,
    id: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.gate.withdraw(self.id);
    }
}

impl Around for StepGate {
    fn handle<S: Below>(&self, below: S, request: Request<Body>) -> Answer {
        let asked = request.extensions().get::<Asked>().cloned();
        let actor = request.extensions().get::<Actor>().cloned();
        let term = request.extensions().get::<Term>().cloned();
        let (Some(Asked(write)), Some(actor)) = (asked, actor) else {
            return Box::pin(below.oneshot(request));
        };
        if is_dry_run(request.uri()) {
            return Box::pin(below.oneshot(request));
        }
        let gate = self.clone();
        Box::pin(async move {
            let ended = || term.as_ref().is_some_and(Term::has_ended);
            if is_held(&write)
                && let Some((id, permitted)) = gate.admit(&actor, &write)
            {
                let _place = Place { gate: &gate, id };
                // The sender goes only by a permit, or with the gate itself.
                let _ = permitted.await;
                let refusal =
                    if ended() { GateRefusal::TermEnded } else { GateRefusal::DecideAgain };
                return Err(refusal.into());
            }
            if ended() {
                return Err(GateRefusal::TermEnded.into());
            }
            below.oneshot(request).await
        })
    }
}

/// Whether the gate concerns itself with a write at all.
fn is_held(write: &Write) -> bool {
    ![kind::LEASE, kind::EVENT, kind::EVENT_V1].contains(&write.object.kind)
}
