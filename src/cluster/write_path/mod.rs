//! The one path of every write of ours: a key press, a controller, a plan step.
//!
//! ```text
//! perform(Write) -> actor -> read-only -> step gate -> journal -> retry -> base
//! ```
//!
//! [`perform`] is the only function that builds a writing request, so nothing
//! can write without a reason. Reads take the same clients and pass every
//! layer untouched. What comes to a served cluster from outside (kubectl,
//! foreign controllers) does not pass here; the store records it.
//!
//! Invariant: one [`WritePath`] per cluster; all its clients share gate,
//! journal and read-only switch.

pub mod actor;
pub mod around;
pub mod breakpoint;
pub mod journal;
pub mod perform;
pub mod read_only;
pub mod retry;
pub mod step_gate;
pub mod token;

use std::sync::{Arc, Mutex, PoisonError};

use tower::{ServiceBuilder, ServiceExt};

use crate::cluster::Base;
use crate::cluster::write_path::actor::{ActorLayer, Term};
use crate::cluster::write_path::around::AroundLayer;
use crate::cluster::write_path::journal::Journal;
use crate::cluster::write_path::read_only::{Access, ReadOnlyLayer};
use crate::cluster::write_path::retry::Retry;
use crate::cluster::write_path::step_gate::StepGate;
use crate::model::clock::Clock;
use crate::model::write::Actor;

pub use perform::{WriteError, perform, perform_as_shown};
pub use token::token;

/// The way to one cluster. Clones share it.
#[derive(Clone)]
pub struct WritePath {
    /// Behind a lock only so that the path can be shared between threads: a
    /// boxed service cannot. Held for the time of a clone.
    base: Arc<Mutex<Base>>,
    default_namespace: Arc<str>,
    clock: Arc<dyn Clock>,
    access: Access,
    gate: StepGate,
    journal: Journal,
}

impl WritePath {
    /// A path to `base` with an open gate and an empty journal.
    pub fn new(
        base: Base,
        default_namespace: impl Into<Arc<str>>,
        clock: Arc<dyn Clock>,
        access: Access,
    ) -> Self {
        let journal = Journal::new(clock.clone());
        let gate = StepGate::new(journal.clone());
        let base = Arc::new(Mutex::new(base));
        Self { base, default_namespace: default_namespace.into(), clock, access, gate, journal }
    }

    /// A client that reads, and writes in this actor's name. One per actor,
    /// built once, inside a runtime.
    pub fn client(&self, actor: Actor) -> kube::Client {
        self.client_for_term(actor, Term::endless())
    }

    /// A client whose writes are refused once its leadership term has ended.
    pub fn client_for_term(&self, actor: Actor, term: Term) -> kube::Client {
        let service = ServiceBuilder::new()
            // First, so that every layer below knows who writes.
            .layer(ActorLayer::new(actor, term))
            // Before the gate: what may not be written is not held either.
            .layer(ReadOnlyLayer::new(self.access.clone()))
            // Before the journal: an intent is one that was let pass.
            .layer(AroundLayer(self.gate.clone()))
            // Above retry: one intent, one outcome, however many tries.
            .layer(AroundLayer(self.journal.clone()))
            .layer(AroundLayer(Retry { clock: self.clock.clone() }))
            .service(self.base.lock().unwrap_or_else(PoisonError::into_inner).clone())
            .boxed_clone();
        kube::Client::new(service, self.default_namespace.to_string())
    }

    pub fn access(&self) -> &Access {
        &self.access
    }

    pub fn gate(&self) -> &StepGate {
        &self.gate
    }

    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub fn default_namespace(&self) -> &str {
        &self.default_namespace
    }
}

impl std::fmt::Debug for WritePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WritePath").field("access", &self.access).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
