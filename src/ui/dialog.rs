//! What asks before something happens. A dialog freezes its target by uid and
//! version; focus starts on Cancel; keys typed ahead confirm nothing.

use crossterm::event::{KeyCode, KeyEvent};
use serde::{Deserialize, Serialize};

use crate::ui::target::Target;

/// Keys are ignored for this long after a dialog opened or changed: what was
/// typed ahead or held down was not meant for it.
pub const DEAF_MS: u64 = 400;

/// The question on top of the layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Dialog {
    Quit(Asked),
    Delete(Delete),
    DeleteFile(DeleteFile),
    Rebind(Rebind),
}

/// When a dialog was opened, and what Enter would press.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    pub since_ms: u64,
    pub focus: Button,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Button {
    Cancel,
    Confirm,
}

impl Asked {
    pub fn new(now_ms: u64) -> Self {
        Self { since_ms: now_ms, focus: Button::Cancel }
    }

    /// Whether keys are still ignored.
    pub fn is_deaf(&self, now_ms: u64) -> bool {
        now_ms < self.since_ms + DEAF_MS
    }

    /// What a key presses: nothing while the dialog is deaf.
    pub fn press(&mut self, key: KeyEvent, now_ms: u64) -> Option<Button> {
        if self.is_deaf(now_ms) {
            return None;
        }
        match key.code {
            KeyCode::Esc => return Some(Button::Cancel),
            KeyCode::Enter => return Some(self.focus),
            KeyCode::Tab | KeyCode::BackTab | KeyCode::Left | KeyCode::Right => self.toggle(),
            _ => {}
        }
        None
    }

    fn toggle(&mut self) {
        self.focus = match self.focus {
            Button::Cancel => Button::Confirm,
            Button::Confirm => Button::Cancel,
        };
    }
}

/// What a dialog that writes is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Progress {
    Asking,
    /// Writes under way: the numbers of their questions.
    Writing(Vec<u64>),
    Failed(String),
}

/// Deleting one object, or all marked ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delete {
    pub asked: Asked,
    pub targets: Vec<Target>,
    /// How many of the marked ones the filter hides.
    pub hidden: usize,
    /// What must be typed, where data is lost.
    pub must_type: Option<String>,
    pub typed: String,
    /// The target changed while the dialog was open.
    pub changed: bool,
    pub progress: Progress,
}

/// Deleting one file in a volume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeleteFile {
    pub asked: Asked,
    pub pod: Target,
    /// The volume's name in the pod.
    pub volume: String,
    pub path: String,
    /// What it is and how large: `file of 12 bytes`.
    pub what: String,
    /// Its name, as what it holds is lost.
    pub must_type: String,
    pub typed: String,
    pub progress: Progress,
}

/// Giving a volume to a claim.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rebind {
    pub asked: Asked,
    /// The volume or claim that it started from.
    pub from: Target,
    /// The partner under the cursor, by uid.
    pub cursor: Option<String>,
    pub at: usize,
    /// The partner chosen; then the writes are shown.
    pub chosen: Option<Target>,
    pub changed: bool,
    pub progress: Progress,
}

impl Dialog {
    /// Whether the answer with this number is for this dialog.
    pub fn waits_for(&self, ask: u64) -> bool {
        match self {
            Self::Quit(_) => false,
            Self::Delete(Delete { progress, .. })
            | Self::DeleteFile(DeleteFile { progress, .. })
            | Self::Rebind(Rebind { progress, .. }) => {
                matches!(progress, Progress::Writing(asks) if asks.contains(&ask))
            }
        }
    }
}
