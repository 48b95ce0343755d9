//! The trait of a volume plugin, and what others may know of one.
//!
//! Each method is idempotent: called again after a crash, or after an answer
//! that was lost, it finds what is there and goes on. A method that a plugin
//! lacks, by its [`PluginFacts`], answers [`PluginError::Unsupported`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt, ready};
use serde_json::Value;

use crate::model::object::Key;
use crate::model::quantity::Quantity;
use crate::model::volume::Source;
use crate::model::volume_source::{VolumeSource, VolumeSpec};
use crate::plugins::format_and_mount::Content;
use crate::plugins::host::{Command, Host, HostError, OnBehalf};
use crate::plugins::steps;

pub use crate::plugins::error::PluginError;

/// Something a plugin can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Capability {
    /// Makes a volume for a claim.
    Provision,
    /// Deletes what is behind a released volume.
    Delete,
    /// Empties a released volume for its next claim.
    Recycle,
    /// Is attached to a node by the attach/detach controller.
    Attach,
    /// Has a device mount on the node that all pods share (stage).
    Stage,
    /// Is mounted, or bound, into a pod's directory (publish).
    Publish,
    /// Can be a raw block device in a pod.
    Block,
    /// Is expanded from the controller's side.
    ExpandController,
    /// Is expanded on the node.
    ExpandNode,
    /// Accepts a PV's mount options.
    MountOptions,
    /// A pod's fsGroup is applied to its files.
    Ownership,
    /// Is set up again whenever its pod is synced: what it shows may have
    /// changed (upstream: `RequiresRemount`).
    Remount,
}

/// A set of capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities(u16);

impl Capabilities {
    pub const fn of(list: &[Capability]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < list.len() {
            bits |= 1 << list[at] as u16;
            at += 1;
        }
        Self(bits)
    }

    /// The same without one of them.
    pub const fn without(self, capability: Capability) -> Self {
        Self(self.0 & !(1 << capability as u16))
    }

    /// The same with one more.
    pub const fn with(self, capability: Capability) -> Self {
        Self(self.0 | 1 << capability as u16)
    }

    pub const fn has(self, capability: Capability) -> bool {
        self.0 & (1 << capability as u16) != 0
    }
}

/// What decisions may know of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginFacts {
    /// `kubernetes.io/host-path`.
    pub name: &'static str,
    /// The field of a volume's spec that the plugin is for; `None`: any.
    pub source: Option<&'static str>,
    /// The one driver it is for, among those of its field; `None`: any.
    pub driver: Option<&'static str>,
    pub capabilities: Capabilities,
}

impl PluginFacts {
    pub fn can(&self, capability: Capability) -> bool {
        self.capabilities.has(capability)
    }

    /// Whether the plugin is for a volume with this source.
    pub fn supports(&self, source: &Source) -> bool {
        self.is_for(&source.field, source.driver.as_deref())
    }

    /// The same for a volume that is read in full.
    pub fn supports_spec(&self, source: &VolumeSource) -> bool {
        self.is_for(source.field(), source.driver().map(|driver| &**driver))
    }

    fn is_for(&self, field: &str, driver: Option<&str>) -> bool {
        self.source.is_none_or(|own| own == field)
            && self.driver.is_none_or(|own| driver == Some(own))
    }
}

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

/// How a volume is recycled.
pub enum Recycling {
    /// By a pod that scrubs it; the controller creates the pod and waits.
    Pod(Box<Value>),
    /// The plugin has done it, or failed to.
    Done(Result<(), PluginError>),
}

/// Something of the API that a step cannot do without. The caller reads it and
/// passes it in [`NodeVolume::provided`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Need {
    /// A ConfigMap in the pod's namespace. Missing is fine if `optional`.
    ConfigMap { name: Arc<str>, optional: bool },
    /// A Secret, likewise.
    Secret { name: Arc<str>, optional: bool },
    /// A Secret of any namespace.
    SecretAt { key: Key },
    /// A CSIDriver; missing is fine.
    CsiDriver { name: Arc<str> },
    /// A VolumeAttachment.
    Attachment { name: Arc<str> },
    /// A token of the pod's service account: what [`VolumePlugin::tokens`] asks
    /// for. It is the status of a TokenRequest, or its `error`.
    Token { audience: Arc<str> },
}

/// A token that a driver wants of a pod's service account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenNeed {
    /// Whom it is to be shown to; empty: the API server itself.
    pub audience: Arc<str>,
    pub seconds: Option<i64>,
}

/// A volume on a node, for one step.
#[derive(Clone)]
pub struct NodeVolume {
    pub host: Arc<dyn Host>,
    pub spec: VolumeSpec,
    /// The unique volume name, for the records of commands.
    pub unique_name: Arc<str>,
    /// As the controller or [`VolumePlugin::wait_for_attach`] gave it; empty
    /// if nothing was attached.
    pub device_path: String,
    /// The pod; `None` in steps that are for all pods.
    pub pod: Option<PodPart>,
    /// What [`VolumePlugin::needs`] asked for and the API has.
    pub provided: BTreeMap<Need, Value>,
}

/// What a volume has to know of the pod that uses it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodPart {
    pub uid: Arc<str>,
    pub name: Arc<str>,
    pub namespace: Arc<str>,
    /// `serviceAccountName`.
    pub service_account: Arc<str>,
    /// `securityContext.fsGroup`.
    pub fs_group: Option<u32>,
    /// `fsGroupChangePolicy: OnRootMismatch`.
    pub only_on_root_mismatch: bool,
    /// The size an emptyDir may have, in bytes: the minimum of what node, pod
    /// and volume say; `None`: no limit.
    pub size_limit: Option<u64>,
}

impl NodeVolume {
    /// What its commands are run for.
    pub fn on_behalf(&self) -> OnBehalf {
        let pod = self.pod.as_ref().map(|pod| pod.uid.clone());
        OnBehalf { volume: self.unique_name.clone(), pod }
    }

    /// The pod's uid; empty in steps that are for all pods.
    pub fn pod_uid(&self) -> &str {
        self.pod.as_ref().map_or("", |pod| &pod.uid)
    }
}

impl fmt::Debug for NodeVolume {
    /// Without the contents of Secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeVolume")
            .field("node", self.host.node())
            .field("unique_name", &self.unique_name)
            .field("device_path", &self.device_path)
            .field("pod", &self.pod)
            .finish_non_exhaustive()
    }
}

/// What a pod gets: the host side of its container mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    pub host_path: String,
    /// Read-only for the container whatever its volumeMount says.
    pub read_only: bool,
    /// Whether ownership was managed here: only then may labels be changed.
    pub managed: bool,
    /// Something to tell on the pod although it worked, such as
    /// `AlreadyMountedVolume`: reason and message of a Warning.
    pub warning: Option<(&'static str, String)>,
}

/// The two paths of a block volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockPaths {
    /// Holds one file per pod uid, the device bound on it.
    pub global_map: String,
    /// The directory of the pod's link; the link is named after the volume.
    pub volume_map: String,
}

/// A directory that was found below a pod after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundVolume {
    pub pod_uid: Arc<str>,
    /// The inner name: the last part of the path.
    pub name: Arc<str>,
    /// Found below `volumeDevices` instead of `volumes`.
    pub is_block: bool,
    /// The directory itself, or what is mounted for all pods.
    pub path: Arc<str>,
}

/// A volume that a plugin's own directories tell of, whatever pods' directories
/// tell.
#[derive(Debug, Clone, PartialEq)]
pub struct Leftover {
    /// Enough of it to take it away.
    pub spec: VolumeSpec,
    /// The pods that may have it as a device.
    pub pods: Vec<Arc<str>>,
}

/// A step under way.
pub type Done<'a, T> = BoxFuture<'a, Result<T, PluginError>>;

/// A kind of volume.
///
/// Who calls what: the controller of volumes `provision`, `delete`, `recycle`;
/// the attach/detach controller `attach`, `detach`, `are_attached`; the node
/// agent the rest. Upstream's names are in parentheses.
pub trait VolumePlugin: Send + Sync {
    fn facts(&self) -> PluginFacts;

    /// The same for one volume, of which it may be able to do less.
    fn facts_of(&self, spec: &VolumeSpec) -> PluginFacts {
        let _ = spec;
        self.facts()
    }

    /// Whether it is the plugin for a volume.
    fn is_for(&self, source: &VolumeSource) -> bool {
        self.facts().supports_spec(source)
    }

    /// Whether it has this name, or one of its drivers has: the first part of
    /// a unique volume name.
    fn is_named(&self, name: &str) -> bool {
        self.facts().name == name
    }

    /// Rises when it has other drivers, or they can do other things.
    fn revision(&self) -> u64 {
        0
    }

    // --- the controller of volumes

    /// Makes the backing store and gives the volume's object: its spec without
    /// what the controller adds, and its own annotations.
    fn provision(
        &self,
        request: ProvisionRequest,
    ) -> BoxFuture<'static, Result<Value, PluginError>> {
        let _ = request;
        let text = "no provisionable volume plugin matched".to_owned();
        ready(Err(PluginError::NotCreated(text))).boxed()
    }

    /// Deletes the backing store of a volume; nothing to delete is success.
    fn delete(&self, volume: Value) -> BoxFuture<'static, Result<(), PluginError>> {
        let _ = volume;
        let text = "no deletable volume plugin matched".to_owned();
        ready(Err(PluginError::NotCreated(text))).boxed()
    }

    /// Says how to empty a volume for its next claim.
    fn recycle(&self, volume: Value) -> BoxFuture<'static, Recycling> {
        let _ = volume;
        let text = "no recyclable volume plugin matched".to_owned();
        ready(Recycling::Done(Err(PluginError::NotCreated(text)))).boxed()
    }

    // --- names

    /// The plugin's own name for a volume: with the plugin's name before it,
    /// the unique name of a volume that is attachable or device-mountable.
    fn volume_name(&self, spec: &VolumeSpec) -> Result<String, PluginError>;

    // --- attach and detach

    /// Attaches a volume to a node and gives the device path, empty if there
    /// is none to tell (`Attach`). Attached there already is success.
    /// [`PluginError::AttachedElsewhere`] names the node that has it.
    fn attach<'a>(&'a self, spec: &'a VolumeSpec, node: &'a str) -> Done<'a, String> {
        let _ = (spec, node);
        unsupported(self.facts().name, "attach")
    }

    /// Detaches by the plugin's own name, as a spec may no longer be known
    /// (`Detach`). Not attached is success.
    fn detach<'a>(&'a self, volume_name: &'a str, node: &'a str) -> Done<'a, ()> {
        let _ = (volume_name, node);
        unsupported(self.facts().name, "detach")
    }

    /// The same of a plugin with many drivers: `name` is that of the driver.
    fn detach_from<'a>(
        &'a self,
        name: &'a str,
        volume_name: &'a str,
        node: &'a str,
    ) -> Done<'a, ()> {
        let _ = name;
        self.detach(volume_name, node)
    }

    /// Whether each is attached to the node still (`VolumesAreAttached`), in
    /// the order asked. By default all are.
    fn are_attached<'a>(&'a self, specs: &'a [VolumeSpec], node: &'a str) -> Done<'a, Vec<bool>> {
        let _ = node;
        ready(Ok(vec![true; specs.len()])).boxed()
    }

    /// The nodes that have it attached, for a kind that can tell: a controller
    /// that was killed at an attach or a detach finds here what it left behind.
    fn attached_to<'a>(&'a self, spec: &'a VolumeSpec) -> Done<'a, Vec<String>> {
        let _ = spec;
        ready(Ok(Vec::new())).boxed()
    }

    // --- on the node

    /// What must be read from the API before [`VolumePlugin::publish`].
    fn needs(&self, spec: &VolumeSpec) -> Vec<Need> {
        let _ = spec;
        Vec::new()
    }

    /// The same, for what depends on the node.
    fn needs_on(&self, node: &str, spec: &VolumeSpec) -> Vec<Need> {
        let _ = node;
        self.needs(spec)
    }

    /// The tokens that [`VolumePlugin::publish`] needs as well, by what the API
    /// has of its other needs.
    fn tokens(&self, spec: &VolumeSpec, provided: &BTreeMap<Need, Value>) -> Vec<TokenNeed> {
        let _ = (spec, provided);
        Vec::new()
    }

    /// Waits until the device is on the node and gives its path
    /// (`WaitForAttach`). By default the path that was reported.
    fn wait_for_attach<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, String> {
        ready(Ok(volume.device_path.clone())).boxed()
    }

    /// Where the device mount is (`GetDeviceMountPath`); for some kinds that
    /// depends on what is on the node. `None`: no stage.
    fn device_mount_path<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, Option<String>> {
        let _ = volume;
        ready(Ok(None)).boxed()
    }

    /// Formats if blank, checks, mounts at the device mount path
    /// (`MountDevice`). By default nothing is to be done.
    fn stage<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, ()> {
        let _ = volume;
        ready(Ok(())).boxed()
    }

    /// Takes the device mount away (`UnmountDevice`). The path may be one that
    /// was remembered or found; the spec may be one that was reconstructed.
    fn unstage<'a>(&'a self, volume: &'a NodeVolume, path: &'a str) -> Done<'a, ()> {
        let _ = (volume, path);
        ready(Ok(())).boxed()
    }

    /// Where a pod has the volume (`GetPath`).
    fn pod_path(&self, volume: &NodeVolume) -> String {
        let layout = volume.host.layout();
        layout.pod_volume(volume.pod_uid(), self.facts().name, &volume.spec.name)
    }

    /// Makes the volume appear in the pod's directory (`SetUp`).
    fn publish<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, Published>;

    /// Takes it away from the pod's directory (`TearDown`). By default whatever
    /// is mounted there is unmounted and the directory removed.
    fn unpublish<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, ()> {
        let target = self.pod_path(volume);
        async move { steps::clean_up(&*volume.host, &volume.on_behalf(), &target).await }.boxed()
    }

    /// The commands that make the volume appear for its pod if each succeeds,
    /// from the first, as far as they are known beforehand. `content`: what is
    /// on the device, once that is known.
    fn foreseen(&self, volume: &NodeVolume, content: Option<&Content>) -> Vec<Command> {
        let _ = (volume, content);
        Vec::new()
    }

    // --- block volumes

    /// The two paths (`GetGlobalMapPath`, `GetPodDeviceMapPath`). `None`: the
    /// kind cannot be a block device.
    fn block_paths(&self, volume: &NodeVolume) -> Option<BlockPaths> {
        let _ = volume;
        None
    }

    /// Makes the device usable for all pods (`SetUpDevice`) and gives its path.
    fn set_up_device<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, String> {
        ready(Ok(volume.device_path.clone())).boxed()
    }

    /// Takes the device from a pod, after its map is gone (`UnmapPodDevice`).
    fn unpublish_device<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, ()> {
        let _ = volume;
        ready(Ok(())).boxed()
    }

    /// Undoes [`VolumePlugin::set_up_device`] (`TearDownDevice`).
    fn tear_down_device<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, ()> {
        let _ = volume;
        ready(Ok(())).boxed()
    }

    // --- growing

    /// Grows the backing store (`ExpandVolumeDevice`); gives the new size.
    fn expand<'a>(&'a self, spec: &'a VolumeSpec, bytes: u64) -> Done<'a, u64> {
        let _ = (spec, bytes);
        unsupported(self.facts().name, "expand")
    }

    /// Grows the filesystem on the node to its device (`NodeExpand`). `before`:
    /// the size that its claim has.
    fn expand_on_node<'a>(&'a self, volume: &'a NodeVolume, before: Quantity) -> Done<'a, ()> {
        let _ = (volume, before);
        unsupported(self.facts().name, "expand on the node")
    }

    // --- after a restart

    /// The spec of a volume found below a pod's directory, from what lies
    /// there and the mount table (`ConstructVolumeSpec`): enough to unmount it.
    fn reconstruct<'a>(
        &'a self,
        host: &'a Arc<dyn Host>,
        found: &'a FoundVolume,
    ) -> Done<'a, VolumeSpec>;

    /// The volumes that were set up for all pods, or were about to be, by what
    /// the plugin has written down on the host. By default none: mounts tell
    /// enough.
    fn leftovers<'a>(
        &'a self,
        host: &'a Arc<dyn Host>,
    ) -> BoxFuture<'a, Result<Vec<Leftover>, HostError>> {
        let _ = host;
        ready(Ok(Vec::new())).boxed()
    }
}

fn unsupported<T: Send + 'static>(
    plugin: &'static str,
    doing: &'static str,
) -> BoxFuture<'static, Result<T, PluginError>> {
    ready(Err(PluginError::Unsupported { plugin, doing })).boxed()
}

/// The plugins of a cluster, found by source or by name.
#[derive(Clone, Default)]
pub struct Plugins(Vec<Arc<dyn VolumePlugin>>);

impl Plugins {
    pub fn new(plugins: Vec<Arc<dyn VolumePlugin>>) -> Self {
        Self(plugins)
    }

    /// These and another.
    pub fn and(mut self, plugin: Arc<dyn VolumePlugin>) -> Self {
        self.0.push(plugin);
        self
    }

    /// The plugin for a volume. The refusal is in Kubernetes' words, without
    /// the volume's name.
    pub fn of(&self, source: &VolumeSource) -> Result<&Arc<dyn VolumePlugin>, PluginError> {
        let plugin = self.0.iter().find(|plugin| plugin.is_for(source));
        plugin.ok_or(PluginError::NoPluginMatched)
    }

    /// By name, such as `kubernetes.io/nfs`: the first part of a unique volume
    /// name, or a directory's name unescaped.
    pub fn by_name(&self, name: &str) -> Option<&Arc<dyn VolumePlugin>> {
        self.0.iter().find(|plugin| plugin.is_named(name))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn VolumePlugin>> {
        self.0.iter()
    }

    /// Rises when other volumes can be used.
    pub fn revision(&self) -> u64 {
        self.0.iter().map(|plugin| plugin.revision()).sum()
    }

    pub fn facts(&self) -> Vec<PluginFacts> {
        self.0.iter().map(|plugin| plugin.facts()).collect()
    }
}

/// The unique name of a volume: by the volume itself if it is attachable or
/// device-mountable, so that pods of a node share it, else by pod.
pub fn unique_volume_name(
    plugin: &dyn VolumePlugin,
    spec: &VolumeSpec,
    pod_uid: &str,
) -> Result<String, PluginError> {
    let facts = plugin.facts_of(spec);
    if facts.can(Capability::Attach) || facts.can(Capability::Stage) {
        return Ok(format!("{}/{}", facts.name, plugin.volume_name(spec)?));
    }
    Ok(format!("{}/{pod_uid}-{}", facts.name, spec.name))
}
