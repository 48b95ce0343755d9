//! What an operation on a volume works with, and what it gives back.
//!
//! An operation touches no state of the agent: it gets a copy of what it needs,
//! works on the host through a plugin, and its [`End`] is taken in by the loop.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::controllers::expand::growth::Growth;
use crate::controllers::node_agent::volumes::actual::{DeviceState, ErrorClass};
use crate::controllers::node_agent::volumes::grow::GrowEnd;
use crate::controllers::node_agent::volumes::pod::WantedPod;
use crate::controllers::server::Server;
use crate::model::node_board::Stage;
use crate::model::object::Key;
use crate::model::quantity::Quantity;
use crate::model::volume_source::VolumeSpec;
use crate::plugins::host::Host;
use crate::plugins::plugin::{Need, NodeVolume, PodPart, Published, VolumePlugin};

/// One operation's inputs.
pub struct Job {
    pub node: Arc<str>,
    pub host: Arc<dyn Host>,
    pub server: Arc<dyn Server>,
    pub plugin: Arc<dyn VolumePlugin>,
    pub unique: Arc<str>,
    pub spec: VolumeSpec,
    pub device: DeviceState,
    pub device_path: String,
    pub device_mount_path: String,
    /// What was read of the API for the plugin.
    pub provided: BTreeMap<Need, Value>,
    /// Tells that the operation has come to a stage.
    pub reached: Arc<dyn Fn(Stage) + Send + Sync>,
}

/// The pod that a volume is mounted for.
pub struct MountFor {
    pub pod: Arc<WantedPod>,
    /// Another pod of this node has the volume, or may have it.
    pub is_with_another_pod: bool,
    /// This pod has nothing of the volume yet.
    pub is_new: bool,
    pub claim: Option<Key>,
    /// What the claim said of its growth.
    pub growth: Option<Growth>,
    /// What the node has of the volume, if it is there already.
    pub size: Option<Quantity>,
    /// The last try to grow it has certainly failed.
    pub has_failed_to_grow: bool,
}

impl Job {
    /// The volume for one step.
    pub fn volume(&self, pod: Option<PodPart>) -> NodeVolume {
        self.volume_with(pod, self.provided.clone())
    }

    pub fn volume_with(&self, pod: Option<PodPart>, provided: BTreeMap<Need, Value>) -> NodeVolume {
        NodeVolume {
            host: self.host.clone(),
            spec: self.spec.clone(),
            unique_name: self.unique.clone(),
            device_path: self.device_path.clone(),
            pod,
            provided,
        }
    }
}

/// A part of a pod, of which only the uid is known.
pub fn only_uid(uid: &Arc<str>) -> PodPart {
    PodPart { uid: uid.clone(), ..PodPart::default() }
}

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The whole sentence, the step first.
    pub text: String,
    /// The reason of the Warning on the pod; `None`: nothing is told.
    pub reason: Option<&'static str>,
    /// To be told on the PersistentVolume too.
    pub mismatch: Option<String>,
    /// Something was done on the host, and what became of it is not known.
    pub leaves_doubt: bool,
}

impl Failure {
    /// Something that only the log and the board show.
    pub fn silent(text: String) -> Self {
        Self { text, reason: None, mismatch: None, leaves_doubt: false }
    }

    /// Something to be told on the pod.
    pub fn told(reason: &'static str, text: String) -> Self {
        Self { reason: Some(reason), ..Self::silent(text) }
    }
}

/// How a mount, or map, went.
#[derive(Debug, Default)]
pub struct MountEnd {
    /// Known now, where it was not before.
    pub device_path: Option<String>,
    pub device_mount_path: Option<String>,
    /// The step for all pods, if it was tried.
    pub device: Option<Result<(), ErrorClass>>,
    /// The step for this pod, if it was tried.
    pub mount: Option<Result<Published, ErrorClass>>,
    /// If the volume had grown.
    pub grown: Option<GrowEnd>,
    /// Told on the pod: severity is Normal unless `is_warning`.
    pub notes: Vec<PodNote>,
    pub failure: Option<Failure>,
}

/// Something to tell on a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodNote {
    pub is_warning: bool,
    pub reason: &'static str,
    pub message: String,
}

/// How an operation ended.
#[derive(Debug)]
pub enum End {
    /// The device path that the node's status tells.
    Verified(Result<String, Failure>),
    Mounted(Box<MountEnd>),
    /// The pod has nothing of the volume any more, or may still.
    Unmounted(Result<(), Failure>),
    DeviceUnmounted(Result<(), Failure>),
    Grown(Box<GrowEnd>),
}
