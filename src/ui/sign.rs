//! State as a word and a sign, never as a colour alone.

use crate::ui::theme::Role;

/// What a row's state amounts to. Ordered by how much it needs a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sign {
    /// `x`: lost, failed or refused for good.
    Lost,
    /// `!`: will not go on by itself.
    Fault,
    /// `~`: under way.
    Busy,
    /// `?`: cannot tell.
    Unknown,
    /// `.`: waits, and that is normal.
    NotYet,
    /// `*`: as it should be.
    Ok,
}

impl Sign {
    /// The sign itself, ASCII everywhere.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Lost => "x",
            Self::Fault => "!",
            Self::Busy => "~",
            Self::Unknown => "?",
            Self::NotYet => ".",
            Self::Ok => "*",
        }
    }

    pub fn role(self) -> Role {
        match self {
            Self::Lost => Role::Lost,
            Self::Fault => Role::Fault,
            Self::Busy => Role::Busy,
            Self::Unknown | Self::NotYet => Role::Unknown,
            Self::Ok => Role::Ok,
        }
    }

    /// Whether a person is needed.
    pub fn needs_person(self) -> bool {
        self <= Self::Fault
    }
}
