//! How a controller is doing, for the console.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

/// Whether a controller's loop runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LoopState {
    /// It waits until the mirror has seen everything once.
    #[default]
    Starting,
    Running,
    /// Somebody else leads, or nobody does yet.
    StandsBy {
        holder: String,
    },
    /// It was told to end.
    Stopped,
    /// It ended by itself, which it never should.
    Dead {
        why: String,
    },
}

/// A failed pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastError {
    pub at: Timestamp,
    /// The object that was worked on, such as `persistentvolume/pv-1`.
    pub object: String,
    pub error: String,
}

/// A controller's figures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    pub state: LoopState,
    /// Objects that wait to be looked at.
    pub queued: usize,
    /// Objects that are being worked on; a held write counts here.
    pub in_flight: usize,
    /// Operations that run beside: provisioning, deleting, recycling.
    pub operations: usize,
    /// Objects that are tried again after a pause.
    pub paused: usize,
    pub passes: u64,
    pub writes: u64,
    pub errors: u64,
    pub last_error: Option<LastError>,
}

/// The figures of one controller. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<Figures>>);

impl Health {
    pub fn figures(&self) -> Figures {
        self.lock().clone()
    }

    /// Whether the loop has nothing to do but wait for changes and pauses.
    pub fn is_idle(&self) -> bool {
        let figures = self.lock();
        figures.queued == 0
            && figures.in_flight == 0
            && figures.operations == 0
            && figures.state != LoopState::Starting
    }

    pub(super) fn wrote(&self) {
        self.lock().writes += 1;
    }

    pub(super) fn failed(&self, at: Timestamp, object: String, error: String) {
        let mut figures = self.lock();
        figures.errors += 1;
        figures.last_error = Some(LastError { at, object, error });
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Figures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
