//! The volume manager of a node: makes the volumes of its pods appear, keeps
//! track of them, takes them away, and finds its way back after a restart.
//!
//! Upstream: `pkg/kubelet/volumemanager/**`,
//! `pkg/volume/util/operationexecutor`. What the agent needs of it is
//! [`NodeVolumes`].

pub mod actual;
pub mod board;
pub mod claim;
pub mod desired;
pub mod grow;
pub mod job;
pub mod manager;
pub mod map;
pub mod mount;
pub mod operations;
pub mod pod;
pub mod reads;
pub mod reconcile;
pub mod reconstruct;
pub mod take_away;
pub mod upcoming;
pub mod waiting;
pub mod watched_host;

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::watch;

use crate::model::node::Node;
use crate::model::node_board::NodeBoard;

/// The volumes of one node, as its agent uses them. No method blocks; what
/// waits is a future. All may be called again with the same arguments.
pub trait NodeVolumes: Send + Sync + fmt::Debug {
    /// The pod's containers may run here: each volume that one of them uses is
    /// to be mounted. `pod` is the whole object. Called again for the same uid,
    /// the newer object counts.
    fn want(&self, pod: &Value);

    /// A claim of the pod, or its volume, has changed: they are read again.
    fn read_again(&self, pod_uid: &str);

    /// No container of the pod runs any more: its volumes may be unmounted.
    fn let_go(&self, pod_uid: &str);

    /// All pods of this node have been given to [`NodeVolumes::want`] once.
    /// Nothing is ever unmounted before that.
    fn sources_ready(&self);

    /// The node's row as the mirror has it: `status.volumesAttached` and the
    /// labels are read from it.
    fn node_changed(&self, node: &Node);

    /// Waits until every used volume of a pod is mounted, at most 2 min 3 s of
    /// the cluster's time; at once if it uses none. Has the pod's claims and
    /// volumes read afresh and, for kinds whose content follows the API
    /// (configMap, secret), set up again: call it with every sync of the pod.
    fn wait_mounted<'a>(
        &'a self,
        pod_uid: &'a str,
    ) -> BoxFuture<'a, Result<Vec<MountedVolume>, NotMounted>>;

    /// Waits until nothing of the pod is mounted, or may be; at most 2 min 3 s.
    /// The error says what is: for the log, there is no event.
    fn wait_unmounted<'a>(&'a self, pod_uid: &'a str) -> BoxFuture<'a, Result<(), String>>;

    /// What of a pod is mounted now, without waiting.
    fn mounted(&self, pod_uid: &str) -> Vec<MountedVolume>;

    /// What `status.volumesInUse` has to be, sorted. `None` as long as the
    /// node's old list has to stay: until what was found after a restart is
    /// known.
    fn in_use(&self) -> Option<Vec<Arc<str>>>;

    /// Rises when [`NodeVolumes::in_use`] may give another answer.
    fn in_use_changes(&self) -> watch::Receiver<u64>;

    /// The API server has this list in the node's status: call it with the
    /// answer to each status write, also if the list was in it unchanged. No
    /// attachable volume is mounted before its entry was accepted.
    fn in_use_accepted(&self, list: &[Arc<str>]);

    /// Each volume that the node has or should have, with its stage.
    fn board(&self) -> NodeBoard;

    /// Whether nothing is under way. What waits for a backoff shows as a timer
    /// of the clock.
    fn is_idle(&self) -> bool;
}

/// A volume that a pod has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountedVolume {
    /// `spec.volumes[].name`.
    pub outer_name: Arc<str>,
    /// The PV's name, or the pod volume's own: used in paths.
    pub inner_name: Arc<str>,
    pub unique_name: Arc<str>,
    /// What a container mount starts from: the directory on the host, or for a
    /// block device the link to it.
    pub host_path: String,
    /// A device instead of a directory.
    pub is_block: bool,
    /// Read-only in every container.
    pub read_only: bool,
    /// Whether the agent managed ownership, so that labels may be changed.
    pub managed: bool,
}

/// Why a pod's volumes are not mounted. The texts list the pod's volume names:
/// `unmounted volumes=[a b], unattached volumes=[a], failed to process
/// volumes=[b]: <cause>`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotMounted {
    /// To be told on the pod: Warning `FailedMount`, `Unable to attach or
    /// mount volumes: <this>`.
    #[error("{0}")]
    Failed(String),
    /// The driver says that the node has no room for one of the volumes: the
    /// pod is to be rejected.
    #[error("{0}")]
    LimitReached(String),
    /// Time is up, or the pod is not wanted any more. No event: the single
    /// steps have told theirs.
    #[error("{0}")]
    TimedOut(String),
}

#[cfg(test)]
mod tests;
