//! What comes in, and what has to be done outside: messages and effects.

use serde_json::Value;

use crate::model::object::Key;
use crate::model::write::Write;
use crate::ui::lists::files::FileRow;
use crate::ui::state::TableId;
use crate::ui::target::Target;
use crate::ui::terminal::input::Input;

/// Anything that may change the state.
#[derive(Debug, Clone)]
pub enum Message {
    Input(Input),
    Resize {
        width: u16,
        height: u16,
    },
    /// Time has passed.
    Tick,
    /// The cluster, the journal, the gate or the controllers changed; the data
    /// has taken it in already.
    Changed,
    /// The answer to a question with this number.
    Answer {
        ask: u64,
        answer: Answer,
    },
    /// Something outside failed or is to be said.
    Notice {
        text: String,
        failed: bool,
    },
    /// Another context was opened.
    ContextOpened,
}

/// What the cluster answered.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The object as it is now.
    Object(Box<Value>),
    /// What it would become.
    WouldBe(Box<Value>),
    Written,
    /// The entries of a directory, or a pod's mounted volumes.
    Files(Vec<FileRow>),
    /// What is in a file.
    Content(Vec<u8>),
    /// Someone else changed it meanwhile: what it is now, if it still is.
    Conflict {
        message: String,
        now: Option<Box<Value>>,
    },
    Failed(String),
}

/// What the shell around the state has to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Quit,
    Suspend,
    /// Draw everything anew, trusting nothing that is on the screen.
    Redraw,
    /// List everything again.
    Relist,
    /// The lens of a table changed.
    Relens(TableId),
    Read {
        ask: u64,
        target: Target,
    },
    DryRun {
        ask: u64,
        write: Box<Write>,
    },
    Perform {
        ask: u64,
        write: Box<Write>,
    },
    Files {
        ask: u64,
        order: FilesOrder,
    },
    Gate(GateOrder),
    /// Lift read-only, or put it back.
    SetWritable(bool),
    OpenContext(String),
    LoadTheme(String),
    /// Put text on the terminal's clipboard.
    Copy(String),
    Save {
        path: String,
        text: String,
    },
}

/// What is asked of the files in a pod's mounted volumes. Volumes are named as
/// in the pod, paths are within the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilesOrder {
    /// Which volumes are mounted.
    Volumes {
        pod: Key,
    },
    List {
        pod: Key,
        volume: String,
        path: String,
    },
    Read {
        pod: Key,
        volume: String,
        path: String,
    },
    Create {
        pod: Key,
        volume: String,
        path: String,
        content: String,
    },
    Delete {
        pod: Key,
        volume: String,
        path: String,
    },
}

/// What to tell the step gate.
#[derive(Debug, Clone, PartialEq)]
pub enum GateOrder {
    Pause,
    Next(usize),
    Run,
    RunUntil(String),
}
