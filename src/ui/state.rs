//! What the person at the screen has done: plain, serialisable, changed only
//! by [`super::update`].
//!
//! What the cluster holds is not in here (that is [`super::data::Data`]), only
//! which of it is looked at and how.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::kind;
use crate::ui::dialog::Dialog;
use crate::ui::editor::Editor;
use crate::ui::lists::board::Aspect;
use crate::ui::lists::files::FilesAt;
use crate::ui::target::Target;
use crate::ui::theme::Role;

/// The console's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub width: u16,
    pub height: u16,
    /// When the last message came, in milliseconds since the start.
    pub now_ms: u64,
    /// What is on top of what; never empty. The last one is seen.
    pub layers: Vec<Layer>,
    pub prompt: Option<Prompt>,
    pub dialog: Option<Dialog>,
    /// The namespace that lists are narrowed to.
    pub namespace: Option<String>,
    pub notice: Option<Notice>,
    /// Commands typed after `:`, oldest first.
    pub history: Vec<String>,
    /// The number that the next question to the cluster gets.
    pub next_ask: u64,
    /// The program is to end.
    pub leaving: bool,
}

/// One view on top of another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Layer {
    pub view: View,
    pub list: ListState,
    /// Where a view of text is scrolled to.
    pub place: Place,
    /// Lines of an editor's diff that are scrolled off the top.
    pub scroll: usize,
    /// Columns scrolled off the left.
    pub shift: u16,
    /// What a view fetched from the cluster.
    pub fetched: Fetched,
    /// The question whose answer takes the place of what was fetched, if it
    /// says otherwise.
    pub refreshing: Option<u64>,
    /// The object that a timeline is narrowed to, or whose board is shown.
    pub about: Option<Target>,
    /// Which side of a board is shown.
    pub aspect: Aspect,
    /// Where one is, in a list of files.
    pub files: Option<FilesAt>,
}

/// A place in a page of text: a line of one of its rows, the first on the
/// screen. A row is a line, or an entry of a list on however many lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Place {
    pub row: usize,
    pub line: usize,
}

/// What a layer shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum View {
    Table(TableId),
    Help,
    Step,
    /// A claim's way from its creation to a running pod.
    Journey(Target),
    /// Why a claim has the state it has.
    Why(Target),
    Describe(Target),
    /// Who uses it and what it stands on.
    Relations(Target),
    Yaml(Target),
    /// One volume of a node's board, by its unique name.
    BoardVolume {
        node: Target,
        volume: String,
    },
    /// What the commands of that volume printed.
    Output {
        node: Target,
        volume: String,
    },
    /// The calls to CSI drivers about a claim or a volume, or to one driver.
    Calls(Target),
    /// One file in a mounted volume of a pod.
    File {
        pod: Target,
        volume: String,
        path: String,
    },
    Editor(Box<Editor>),
}

/// The tables there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TableId {
    Overview,
    Claims,
    Volumes,
    Classes,
    Pods,
    Nodes,
    /// The volumes of one node.
    Board,
    Attachments,
    Drivers,
    StatefulSets,
    Deployments,
    /// StatefulSets and Deployments.
    Workloads,
    /// One workload down to its volumes.
    Tree,
    /// The kinds of volumes.
    Plugins,
    /// Where one pod may go, node by node.
    Verdict,
    /// The files in a mounted volume of a pod.
    Files,
    Events,
    Timeline,
    Controllers,
    Contexts,
    Namespaces,
}

impl TableId {
    /// The word for it in titles.
    pub fn title(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Claims => "claims",
            Self::Volumes => "volumes",
            Self::Classes => "classes",
            Self::Pods => "pods",
            Self::Nodes => "nodes",
            Self::Board => "board",
            Self::Attachments => "attachments",
            Self::Drivers => "drivers",
            Self::StatefulSets => "stateful sets",
            Self::Deployments => "deployments",
            Self::Workloads => "workloads",
            Self::Tree => "tree",
            Self::Plugins => "kinds of volumes",
            Self::Verdict => "scheduling",
            Self::Files => "files",
            Self::Events => "events",
            Self::Timeline => "timeline",
            Self::Controllers => "controllers",
            Self::Contexts => "contexts",
            Self::Namespaces => "namespaces",
        }
    }
}

/// Where one is in a table. Cursor and marks are ids, never row numbers: a
/// list that shifts moves neither to another object.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ListState {
    /// The row under the cursor; none if it went away under it.
    pub cursor: Option<String>,
    /// Its row vanished: nothing is chosen until the cursor is moved, so that
    /// no key acts upon another object than the one that was looked at.
    pub lost: bool,
    /// Where the cursor was last: where it goes on from if its row vanished.
    pub at: usize,
    /// The first row on the screen.
    pub top: usize,
    pub marks: BTreeSet<String>,
    /// The filter as typed.
    pub filter: String,
    pub sort: Option<usize>,
    pub descending: bool,
}

/// What a layer asked the cluster for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub enum Fetched {
    #[default]
    Nothing,
    Asked(u64),
    Lines(Vec<String>),
    Failed(String),
}

/// A line being typed at the bottom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prompt {
    pub kind: PromptKind,
    pub text: String,
    /// What the list was filtered by before.
    pub before: String,
    /// Which line of the history is shown, counted from the newest.
    pub recalled: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PromptKind {
    /// After `:`.
    Command,
    /// After `/`.
    Filter,
}

/// A message in the line above the bottom, until it is read or too old.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    pub text: String,
    pub failed: bool,
    pub until_ms: u64,
}

impl Notice {
    pub fn role(&self) -> Role {
        if self.failed { Role::Error } else { Role::Notice }
    }
}

/// A notice of success stays for this long, one of failure three times as
/// long.
const NOTICE_MS: u64 = 5_000;

/// More layers than this are not kept: the lowest ones go.
const LAYERS_MAX: usize = 32;

impl State {
    /// A console that opens on `first`.
    pub fn new(width: u16, height: u16, first: TableId) -> Self {
        Self {
            width,
            height,
            now_ms: 0,
            layers: vec![Layer::new(View::Table(first))],
            prompt: None,
            dialog: None,
            namespace: None,
            notice: None,
            history: Vec::new(),
            next_ask: 0,
            leaving: false,
        }
    }

    /// The layer that is seen.
    pub fn top(&self) -> &Layer {
        // Invariant of `layers`; an empty one would be a fault of ours.
        &self.layers[self.layers.len() - 1]
    }

    pub fn top_mut(&mut self) -> &mut Layer {
        let last = self.layers.len() - 1;
        &mut self.layers[last]
    }

    /// The table that is seen, if a table is.
    pub fn table(&self) -> Option<TableId> {
        match &self.top().view {
            View::Table(table) => Some(*table),
            _ => None,
        }
    }

    /// The node and the unique name of the volume of its board that is chosen.
    pub fn board_volume(&self) -> Option<(&Target, &str)> {
        match &self.top().view {
            View::Table(TableId::Board) => {
                Some((self.top().about.as_ref()?, self.top().list.cursor.as_deref()?))
            }
            View::BoardVolume { node, volume } | View::Output { node, volume } => {
                Some((node, volume))
            }
            _ => None,
        }
    }

    /// Whose calls to CSI drivers can be opened from here.
    pub fn calls_of(&self) -> Option<&Target> {
        let has_calls = |kind| {
            [kind::PERSISTENT_VOLUME_CLAIM, kind::PERSISTENT_VOLUME, kind::CSI_DRIVER]
                .contains(&kind)
        };
        match &self.top().view {
            View::Journey(target) | View::Describe(target) => {
                Some(target).filter(|target| has_calls(target.kind))
            }
            _ => None,
        }
    }

    /// Puts a view on top. One that is there already comes back as it was left.
    pub fn open(&mut self, view: View) {
        let there = self.layers.iter().position(|layer| match (&layer.view, &view) {
            (View::Table(a), View::Table(b)) => a == b,
            (View::Help, View::Help) | (View::Step, View::Step) => true,
            _ => false,
        });
        match there {
            Some(at) => self.layers.truncate(at + 1),
            None => self.layers.push(Layer::new(view)),
        }
        if self.layers.len() > LAYERS_MAX {
            self.layers.remove(1);
        }
    }

    /// Puts a table about one object on top. One about another object does not
    /// come back: its cursor would be on what is not there.
    pub fn open_about(&mut self, table: TableId, about: Target) {
        self.open(View::Table(table));
        let layer = self.top_mut();
        if layer.about.as_ref().map(|target| &target.uid) != Some(&about.uid) {
            *layer = Layer::new(View::Table(table));
        }
        layer.about = Some(about);
    }

    /// Takes the top layer off; false if it is the only one.
    pub fn close(&mut self) -> bool {
        if self.layers.len() < 2 {
            return false;
        }
        self.layers.pop();
        true
    }

    pub fn say(&mut self, text: impl Into<String>) {
        let until_ms = self.now_ms + NOTICE_MS;
        self.notice = Some(Notice { text: text.into(), failed: false, until_ms });
    }

    pub fn complain(&mut self, text: impl Into<String>) {
        let until_ms = self.now_ms + 3 * NOTICE_MS;
        self.notice = Some(Notice { text: text.into(), failed: true, until_ms });
    }

    /// A fresh number for a question to the cluster.
    pub fn ask(&mut self) -> u64 {
        self.next_ask += 1;
        self.next_ask
    }
}

impl Layer {
    pub fn new(view: View) -> Self {
        Self {
            view,
            list: ListState::default(),
            place: Place::default(),
            scroll: 0,
            shift: 0,
            fetched: Fetched::Nothing,
            refreshing: None,
            about: None,
            aspect: Aspect::default(),
            files: None,
        }
    }

    /// The object the layer is about, if it is about one.
    pub fn target(&self) -> Option<&Target> {
        match &self.view {
            View::Journey(target)
            | View::Why(target)
            | View::Describe(target)
            | View::Relations(target)
            | View::Yaml(target)
            | View::Calls(target) => Some(target),
            View::Editor(editor) => Some(&editor.target),
            View::Table(_)
            | View::Help
            | View::Step
            | View::File { .. }
            | View::BoardVolume { .. }
            | View::Output { .. } => None,
        }
    }
}
