//! Everything one can do, each thing defined once: its words, its keys, where
//! it makes sense, and its line of help. Bottom bar, help and the completion
//! after `:` all come from this list, so none of them can drift.

mod refusal;

use crate::diagnosis;
use crate::model::kind::{self, Kind};
use crate::ui::data::Data;
use crate::ui::state::TableId;

pub use refusal::{Refusal, why_not};

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    Up,
    Down,
    Top,
    Bottom,
    PageUp,
    PageDown,
    Left,
    Right,
    Open,
    Board,
    Files,
    Schedule,
    CreateFile,
    Output,
    Back,
    BackOrQuit,
    Quit,
    NextPane,
    CommandLine,
    FilterLine,
    Help,
    Describe,
    Yaml,
    Edit,
    Delete,
    UsedBy,
    Why,
    Rebind,
    Relations,
    TimelineOf,
    Mark,
    Copy,
    Save,
    Sort,
    Namespace,
    Context,
    Write,
    ReadOnly,
    Theme,
    Suspend,
    Redraw,
    Relist,
    Step,
    Next,
    Pause,
    Run,
    Break,
    Show(TableId),
}

/// Where a command makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Everywhere,
    /// Where rows are listed.
    List,
    /// Where an object is under the cursor, or the layer is about one.
    Object,
    /// The same, of one of these kinds.
    Kinds(&'static [&'static Kind]),
    /// Where Enter leads on.
    Openable,
    /// Where a volume of a node is under the cursor or the layer is about one,
    /// or about what CSI drivers are called for.
    Output,
    /// Where the files of a volume are listed.
    Files,
    /// Where an object or a file in a volume is under the cursor.
    ObjectOrFile,
    /// Where a step gate is: embedded clusters.
    Stepping,
}

/// A chapter of the help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chapter {
    Moving,
    Views,
    Objects,
    Lists,
    Stepping,
    Console,
}

impl Chapter {
    pub const ALL: [Chapter; 6] =
        [Self::Objects, Self::Lists, Self::Views, Self::Stepping, Self::Moving, Self::Console];

    pub fn title(self) -> &'static str {
        match self {
            Self::Moving => "MOVING",
            Self::Views => "VIEWS",
            Self::Objects => "THE OBJECT UNDER THE CURSOR",
            Self::Lists => "LISTS",
            Self::Stepping => "STEPPING",
            Self::Console => "THE CONSOLE",
        }
    }
}

/// One thing one can do.
#[derive(Debug)]
pub struct Command {
    pub act: Act,
    /// What is typed after `:`; the first word is shown.
    pub words: &'static [&'static str],
    /// What follows the word, in help.
    pub argument: &'static str,
    /// Keys by default; a user's keymap replaces them.
    pub keys: &'static [&'static str],
    /// The word in the bottom bar; empty: not there.
    pub bar: &'static str,
    pub help: &'static str,
    pub chapter: Chapter,
    pub scope: Scope,
}

macro_rules! commands {
    ($($act:expr, $words:expr, $argument:literal, $keys:expr, $bar:literal, $chapter:ident, $scope:expr, $help:literal;)*) => {
        &[$(Command { act: $act, words: &$words, argument: $argument, keys: &$keys, bar: $bar,
            help: $help, chapter: Chapter::$chapter, scope: $scope },)*]
    };
}

/// What may be stuck.
const STUCK: Scope = Scope::Kinds(diagnosis::KINDS);
const STORAGE: Scope = Scope::Kinds(&[kind::PERSISTENT_VOLUME_CLAIM, kind::PERSISTENT_VOLUME]);

/// What has files, or leads to a pod that mounts them.
const MOUNTED: Scope =
    Scope::Kinds(&[kind::PERSISTENT_VOLUME_CLAIM, kind::PERSISTENT_VOLUME, kind::POD]);

/// All commands; the bottom bar takes them in this order.
pub const ALL: &[Command] = commands! {
    Act::Next, ["next"], "[N]", ["n"], "next", Stepping, Scope::Stepping, "let the next held write pass (or N)";
    Act::Run, ["run"], "", ["r"], "run", Stepping, Scope::Stepping, "let everything pass again";
    Act::Pause, ["pause"], "", ["p"], "pause", Stepping, Scope::Stepping, "hold every write from now on";
    Act::Break, ["break"], "WHAT", [], "", Stepping, Scope::Stepping, "run up to the first such write: `pv/NAME`, `DELETE`, `by:NAME`";
    Act::Step, ["step", "steps"], "", [], "", Stepping, Scope::Stepping, "the held writes, one at a time";
    Act::Open, ["open"], "", ["enter"], "open", Objects, Scope::Openable, "open: a claim's journey, an object's description";
    Act::Board, ["board"], "[NODE]", [], "", Objects, Scope::Everywhere, "the volumes of a node: what it should have beside what it has";
    Act::CreateFile, ["file"], "NAME TEXT", ["a"], "new file", Objects, Scope::Files, "a small new file in the volume that is listed";
    Act::Output, ["output"], "", ["o"], "output", Objects, Scope::Output, "what was run or called: a volume's commands on a node, the calls to CSI drivers";
    Act::Why, ["why"], "", ["w"], "why", Objects, STUCK, "why it is as it is, and what helps; of a claim every volume and what speaks against it";
    Act::Schedule, ["schedule"], "", ["s"], "nodes", Objects, Scope::Kinds(&[kind::POD]), "which nodes take the pod, and which filter of the scheduler says no";
    Act::Edit, ["edit"], "", ["e"], "edit", Objects, Scope::Object, "edit the YAML; checked by the server, shown as a diff";
    Act::Rebind, ["rebind"], "", ["b"], "rebind", Objects, STORAGE, "give a released volume to a claim, or a claim a volume";
    Act::Delete, ["delete"], "", ["ctrl-d"], "delete", Objects, Scope::ObjectOrFile, "delete, after showing what depends on it; in files the file, after asking";
    Act::Describe, ["describe"], "", ["d"], "describe", Objects, Scope::Object, "what is known about it, and its events";
    Act::Files, ["files"], "", ["f"], "files", Objects, MOUNTED, "the files in it, where a pod has it mounted";
    Act::Yaml, ["yaml"], "", ["y"], "yaml", Objects, Scope::Object, "the object as YAML";
    Act::UsedBy, ["used"], "", ["u"], "", Objects, Scope::Object, "who uses it";
    Act::Relations, ["relations"], "", ["x"], "", Objects, Scope::Object, "what it stands on and what stands on it";
    Act::TimelineOf, ["history"], "", ["t"], "", Objects, Scope::Object, "who did what to it, when and why";
    Act::Copy, ["copy"], "", ["c"], "", Objects, Scope::Object, "copy its name to the terminal's clipboard";
    Act::Save, ["save"], "FILE", [], "", Objects, Scope::Everywhere, "save what is on the screen to a file";
    Act::Mark, ["mark"], "", ["space"], "", Lists, Scope::List, "mark or unmark the row";
    Act::FilterLine, ["filter"], "TEXT", ["/"], "filter", Lists, Scope::List, "show only rows with a text; !TEXT without, -l LABELS by labels";
    Act::Sort, ["sort"], "COLUMN", [], "", Lists, Scope::List, "sort by a column; shift and its letter too, again turns round";
    Act::Namespace, ["ns", "namespace"], "[NAME]", [], "", Lists, Scope::Everywhere, "narrow to a namespace; 0 all, 1-9 the first nine";
    Act::CommandLine, ["command"], "", [":"], "command", Console, Scope::Everywhere, "type a command; Tab completes";
    Act::Help, ["help"], "", ["?"], "help", Console, Scope::Everywhere, "this page";
    Act::Show(TableId::Overview), ["overview", "ov"], "", [], "", Views, Scope::Everywhere, "what is wrong now, first";
    Act::Show(TableId::Claims), ["pvc", "claims", "persistentvolumeclaims", "persistentvolumeclaim"], "", [], "", Views, Scope::Everywhere, "claims";
    Act::Show(TableId::Volumes), ["pv", "volumes", "persistentvolumes", "persistentvolume"], "", [], "", Views, Scope::Everywhere, "volumes";
    Act::Show(TableId::Classes), ["sc", "classes", "storageclasses", "storageclass"], "", [], "", Views, Scope::Everywhere, "storage classes";
    Act::Show(TableId::Pods), ["po", "pods", "pod"], "", [], "", Views, Scope::Everywhere, "pods and the claims they use";
    Act::Show(TableId::Nodes), ["no", "nodes", "node", "csinode"], "", [], "", Views, Scope::Everywhere, "nodes and their drivers";
    Act::Show(TableId::Attachments), ["va", "attachments", "volumeattachments", "volumeattachment"], "", [], "", Views, Scope::Everywhere, "which volume is attached where";
    Act::Show(TableId::Drivers), ["csidriver", "drivers", "csidrivers"], "", [], "", Views, Scope::Everywhere, "CSI drivers: on which nodes; Enter: what each can do, calls, times, errors";
    Act::Show(TableId::StatefulSets), ["sts", "statefulsets", "statefulset"], "", [], "", Views, Scope::Everywhere, "stateful sets and the claims they make";
    Act::Show(TableId::Deployments), ["deploy", "deployments", "deployment"], "", [], "", Views, Scope::Everywhere, "deployments and how far their rollout is";
    Act::Show(TableId::Workloads), ["workloads", "wl"], "", [], "", Views, Scope::Everywhere, "stateful sets and deployments; Enter: down to pods, claims, volumes, nodes";
    Act::Show(TableId::Plugins), ["plugins", "kinds"], "", [], "", Views, Scope::Everywhere, "every kind of volume, what it can do, and what 1.36 does with it";
    Act::Show(TableId::Events), ["ev", "events", "event"], "", [], "", Views, Scope::Everywhere, "events, also those the server forgot";
    Act::Show(TableId::Timeline), ["timeline", "journal"], "", [], "", Views, Scope::Everywhere, "every write of this program: who, what, when, why";
    Act::Show(TableId::Controllers), ["controllers", "ctl"], "", [], "", Views, Scope::Everywhere, "the hosted controllers";
    Act::Show(TableId::Namespaces), ["namespaces"], "", [], "", Views, Scope::Everywhere, "namespaces; Enter narrows to one";
    Act::Show(TableId::Contexts), ["ctx", "contexts"], "[NAME]", [], "", Views, Scope::Everywhere, "clusters to choose from";
    Act::Up, ["up"], "", ["k", "up"], "", Moving, Scope::Everywhere, "up";
    Act::Down, ["down"], "", ["j", "down"], "", Moving, Scope::Everywhere, "down";
    Act::Top, ["top"], "", ["g", "home"], "", Moving, Scope::Everywhere, "to the top";
    Act::Bottom, ["bottom"], "", ["G", "end"], "", Moving, Scope::Everywhere, "to the bottom";
    Act::PageUp, ["pageup"], "", ["ctrl-b", "pageup"], "", Moving, Scope::Everywhere, "a page up";
    Act::PageDown, ["pagedown"], "", ["ctrl-f", "pagedown"], "", Moving, Scope::Everywhere, "a page down";
    Act::Left, ["left"], "", ["h", "left"], "", Moving, Scope::Everywhere, "scroll to the left";
    Act::Right, ["right"], "", ["l", "right"], "", Moving, Scope::Everywhere, "scroll to the right";
    Act::NextPane, ["pane"], "", ["tab"], "", Moving, Scope::Everywhere, "the next page about this object; on a board what is desired, what is there";
    Act::Back, ["back"], "", ["esc"], "back", Moving, Scope::Everywhere, "clear the filter, else back one view; never quits";
    Act::BackOrQuit, ["q"], "", ["q"], "", Console, Scope::Everywhere, "back; from the last view quit, after asking";
    Act::Quit, ["quit", "exit", "q!"], "", ["ctrl-c"], "", Console, Scope::Everywhere, "quit";
    Act::Write, ["write"], "", [], "", Console, Scope::Everywhere, "allow writes in this context";
    Act::ReadOnly, ["readonly"], "", [], "", Console, Scope::Everywhere, "refuse writes in this context";
    Act::Context, ["context"], "NAME", [], "", Console, Scope::Everywhere, "open another cluster";
    Act::Theme, ["theme"], "NAME", [], "", Console, Scope::Everywhere, "dark, light, ansi16, mono, high-contrast, or one of yours";
    Act::Relist, ["relist"], "", ["ctrl-r"], "", Console, Scope::Everywhere, "list everything again";
    Act::Redraw, ["redraw"], "", ["ctrl-l"], "", Console, Scope::Everywhere, "draw the screen anew";
    Act::Suspend, ["suspend"], "", ["ctrl-z"], "", Console, Scope::Everywhere, "suspend to the shell";
};

/// The command that does `act`.
pub fn of(act: Act) -> Option<&'static Command> {
    ALL.iter().find(|command| command.act == act)
}

/// The command that a word after `:` means.
pub fn by_word(word: &str) -> Option<&'static Command> {
    ALL.iter().find(|command| command.words.contains(&word))
}

/// What the text after `:` may go on with: whole words, in the list's order.
pub fn completions(text: &str, data: &Data) -> Vec<String> {
    let Some((word, argument)) = text.split_once(' ') else {
        let shown = ALL.iter().filter_map(|command| {
            command.words.iter().find(|word| word.starts_with(text)).map(|word| word.to_string())
        });
        return shown.collect();
    };
    let candidates: Vec<String> = match by_word(word).map(|command| command.act) {
        Some(Act::Namespace) => data.namespaces(),
        Some(Act::Context | Act::Show(TableId::Contexts)) => data.session.contexts.clone(),
        Some(Act::Board) => data.node_names(argument),
        Some(Act::Theme) => data.session.themes.clone(),
        _ => Vec::new(),
    };
    candidates
        .into_iter()
        .filter(|candidate| candidate.starts_with(argument))
        .map(|candidate| format!("{word} {candidate}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn no_word_and_no_key_means_two_things() {
        let mut words = HashMap::new();
        let mut keys = HashMap::new();
        for command in ALL {
            for word in command.words {
                assert!(words.insert(word, command.act).is_none(), "word {word}");
            }
            for key in command.keys {
                assert!(keys.insert(key, command.act).is_none(), "key {key}");
            }
        }
    }

    #[test]
    fn moving_keys_never_write() {
        let writes = [Act::Edit, Act::Delete, Act::Rebind];
        for command in ALL.iter().filter(|command| writes.contains(&command.act)) {
            for key in ["h", "j", "k", "l"] {
                assert!(!command.keys.contains(&key), "{:?}", command.act);
            }
        }
    }

    #[test]
    fn short_names_of_kubectl_are_words() {
        for word in
            ["pv", "pvc", "sc", "va", "csinode", "csidriver", "sts", "po", "no", "ev", "ctx", "ns"]
        {
            assert!(by_word(word).is_some(), "{word}");
        }
    }
}
