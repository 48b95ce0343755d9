//! What the screen shows of the cluster beside its objects: as plain values, so
//! that a test can make them up.

use crate::cluster::write_path::step_gate::{Held, Mode};
use crate::model::kind::Kind;
use crate::ui::text::Glyphs;
use crate::ui::theme::Theme;

/// Whether the context takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Writable,
    /// `:write` lifts it.
    ReadOnly,
    /// Nothing in here lifts it.
    Locked,
}

/// What is known of the cluster that is looked at, beside its objects.
#[derive(Debug, Clone)]
pub struct SessionFacts {
    /// The context's name, or that of the demo.
    pub context: String,
    /// A real cluster rather than one in this process.
    pub live: bool,
    pub access: Access,
    /// The contexts one can change to.
    pub contexts: Vec<String>,
    /// The themes one can choose.
    pub themes: Vec<String>,
    /// What the user may not do: kind, verb, and the server's words.
    pub refused: Vec<(&'static Kind, &'static str, String)>,
}

/// What the step gate does and holds.
#[derive(Debug, Clone)]
pub struct Stepping {
    pub mode: Mode,
    pub held: Vec<Held>,
}

/// A hosted controller as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ControllerFacts {
    /// With which of several of that name it is, so that no two are alike.
    pub name: String,
    /// `running`, `stopped`, … in one word, and whether that is a fault.
    pub state: String,
    pub faulty: bool,
    pub queued: usize,
    pub in_flight: usize,
    pub writes: u64,
    pub last_error: Option<String>,
}

/// How things look.
#[derive(Debug, Clone)]
pub struct Look {
    pub theme: Theme,
    pub glyphs: Glyphs,
}
