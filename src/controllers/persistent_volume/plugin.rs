//! What a kind of volume can do for the controller: provision, delete, recycle.

use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::Value;

use crate::model::volume::Source;

/// What decisions may know of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginFacts {
    /// `kubernetes.io/host-path`.
    pub name: &'static str,
    /// The field of a volume's spec that the plugin is for; `None`: any.
    pub source: Option<&'static str>,
    pub provisions: bool,
    pub deletes: bool,
    pub recycles: bool,
    pub mount_options: bool,
}

impl PluginFacts {
    pub fn supports(&self, source: &Source) -> bool {
        self.source.is_none_or(|field| field == &*source.field)
    }
}

/// The plugins that a real controller manager has compiled in. `local` and CSI
/// are known to it, but leave all three jobs to others.
pub const BUILT_IN: [PluginFacts; 4] = [
    PluginFacts {
        name: "kubernetes.io/local-volume",
        source: Some("local"),
        provisions: false,
        deletes: false,
        recycles: false,
        mount_options: true,
    },
    PluginFacts {
        name: "kubernetes.io/host-path",
        source: Some("hostPath"),
        provisions: true,
        deletes: true,
        recycles: true,
        mount_options: false,
    },
    PluginFacts {
        name: "kubernetes.io/nfs",
        source: Some("nfs"),
        provisions: false,
        deletes: false,
        recycles: true,
        mount_options: true,
    },
    PluginFacts {
        name: "kubernetes.io/csi",
        source: Some("csi"),
        provisions: false,
        deletes: false,
        recycles: false,
        mount_options: true,
    },
];

/// A volume to be made.
#[derive(Debug, Clone)]
pub struct ProvisionRequest {
    /// The name the volume is to have.
    pub volume: Arc<str>,
    /// The whole claim and class, as the server has them.
    pub claim: Value,
    pub class: Value,
    /// The node the first pod goes to, if one is chosen.
    pub node: Option<Value>,
}

/// Why a plugin did not do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginError {
    /// It could not even start: no provisioner or deleter could be made.
    NotCreated(String),
    /// The volume is in use for now.
    InUse(String),
    /// It tried and failed.
    Failed(String),
}

impl fmt::Display for PluginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotCreated(text) | Self::InUse(text) | Self::Failed(text) => f.write_str(text),
        }
    }
}

/// How a volume is recycled.
pub enum Recycling {
    /// By a pod that scrubs it; the controller creates the pod and waits.
    Pod(Box<Value>),
    /// The plugin has done it, or failed to.
    Done(Result<(), PluginError>),
}

/// The doing side of a plugin.
pub trait VolumePlugin: Send + Sync {
    fn facts(&self) -> PluginFacts;

    /// Makes the backing store and gives the volume's object: its spec without
    /// what the controller adds, and its own annotations.
    fn provision(
        &self,
        request: ProvisionRequest,
    ) -> BoxFuture<'static, Result<Value, PluginError>>;

    /// Deletes the backing store of a volume; nothing to delete is success.
    fn delete(&self, volume: Value) -> BoxFuture<'static, Result<(), PluginError>>;

    /// Says how to empty a volume for its next claim.
    fn recycle(&self, volume: Value) -> BoxFuture<'static, Recycling>;
}
