//! A node's board: each volume that the node has or should have, with the
//! stage it is in.
//!
//! A hosted node agent fills it from its desired and actual state; for a live
//! cluster it is inferred from what the API shows, and marked so. Views draw
//! from these rows whatever their origin.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::model::object::Key;

/// Where a volume is on its way to a pod, or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The controller is to attach it, or is at it.
    Attach,
    /// The node waits until its device has appeared.
    Wait,
    /// What is on the device is looked at and checked.
    Check,
    /// A filesystem is made.
    Format,
    /// It is mounted once for all pods, or the device set up.
    Stage,
    /// It is mounted, or mapped, for the pod.
    Publish,
    /// Its pod has it.
    Running,
    /// It is taken away from the pod.
    Unpublish,
    /// The mount for all pods is taken away.
    Unstage,
    /// The controller is to detach it, or is at it.
    Detach,
}

impl Stage {
    /// In one word, as screens show it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Attach => "attach",
            Self::Wait => "wait",
            Self::Check => "check",
            Self::Format => "format",
            Self::Stage => "stage",
            Self::Publish => "publish",
            Self::Running => "running",
            Self::Unpublish => "unpublish",
            Self::Unstage => "unstage",
            Self::Detach => "detach",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What of a volume is on the node now, the most advanced first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnNode {
    /// Nothing.
    Absent,
    Attached,
    /// Mounted for all pods.
    Staged,
    /// Mounted for at least one pod.
    Mounted,
    /// Something may be there: an operation ended without a clear answer, or
    /// the agent was restarted.
    Uncertain,
}

impl OnNode {
    /// In one word, as screens show it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Absent => "-",
            Self::Attached => "attached",
            Self::Staged => "staged",
            Self::Mounted => "mounted",
            Self::Uncertain => "uncertain",
        }
    }
}

/// A pod that wants a volume, or has it still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoardPod {
    pub pod: Key,
    pub uid: Arc<str>,
    /// Whether the node should have the volume for it.
    pub wanted: bool,
    /// Where it is, or will be, on the host; empty if not known.
    pub host_path: String,
    /// Each container's path of it, with its name: `("app", "/data")`.
    pub container_paths: Vec<(Arc<str>, Arc<str>)>,
    /// Mounted read-only into every container.
    pub read_only: bool,
}

/// A stage that is over, or the one a volume is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageSpan {
    pub stage: Stage,
    pub began: Timestamp,
    /// `None`: not over.
    pub ended: Option<Timestamp>,
}

/// One volume on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoardRow {
    /// The unique volume name: `kubernetes.io/local-volume/pv-1`.
    pub unique_name: Arc<str>,
    /// The PV's name, or the pod's own name of an inline volume.
    pub name: Arc<str>,
    /// The field of its source: `nfs`, `csi`, `hostPath`.
    pub kind: Arc<str>,
    /// The claim it is used by.
    pub claim: Option<Key>,
    pub pods: Vec<BoardPod>,
    pub on_node: OnNode,
    pub stage: Stage,
    /// When it came into this stage.
    pub since: Timestamp,
    /// How often the step of this stage was begun, from 1; 0: never.
    pub attempts: u32,
    /// What the last attempt failed with, in Kubernetes' words.
    pub last_error: Option<Arc<str>>,
    /// When the next attempt is due.
    pub next_retry: Option<Timestamp>,
    /// An operation is under way.
    pub is_busy: bool,
    /// The device, once known; empty if there is none.
    pub device_path: String,
    /// Where it is mounted for all pods; empty if the kind has no such mount.
    pub stage_path: String,
    /// The stages so far, oldest first, the present one last. Bounded: old
    /// ones are dropped.
    pub spans: Vec<StageSpan>,
    /// The commands that are to run next, each as its words, in order; as far
    /// as they are known beforehand.
    pub upcoming: Vec<Vec<String>>,
}

/// The volumes of one node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeBoard {
    pub node: Arc<str>,
    /// By name, then by unique name.
    pub rows: Vec<BoardRow>,
    /// Whether it was inferred from the API instead of told by an agent.
    pub is_inferred: bool,
}
