//! How the program fails at start-up: what, why, what to do, which exit code.

use std::fmt;

/// A failure that ends the program with a message.
#[derive(Debug)]
pub struct Failure {
    what: String,
    hint: Option<String>,
    code: u8,
}

impl Failure {
    /// Bad input: flags, files, contexts. Exit code 2.
    pub fn bad_input(what: impl Into<String>) -> Self {
        Self { what: what.into(), hint: None, code: 2 }
    }

    /// Anything else. Exit code 1.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), hint: None, code: 1 }
    }

    /// A signal ended the program, which needs no message: the exit code is
    /// that of shells, 128 and the signal's number.
    pub fn signal(number: i32) -> Self {
        let code = u8::try_from(128 + number).unwrap_or(1);
        Self { what: format!("ended by signal {number}"), hint: None, code }
    }

    /// Whether a signal ended the program.
    pub fn is_signal(&self) -> bool {
        self.code > 128
    }

    /// Adds what the user can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The process exit code.
    pub fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n hint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}
