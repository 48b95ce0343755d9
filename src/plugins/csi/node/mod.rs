//! `kubernetes.io/csi`: volumes of CSI drivers on a node, as the kubelet stages
//! and publishes them.
//!
//! ```text
//! stage:   directory, vol_data.json ─> NodeStageVolume
//! publish: directory, vol_data.json ─> NodePublishVolume ─> fsGroup
//! ```
//!
//! `vol_data.json` is written before each call, so that an interrupted one can
//! be undone. Node capabilities are asked before each use, never cached.
//!
//! A driver outside of this process cannot see a simulated machine's files. It
//! gets paths below a real directory instead ([`Outside`]), and the machine
//! shows an empty filesystem at the same place.
//!
//! Absent: SELinux mount options.
//!
//! Upstream: `pkg/volume/csi`.

mod block;
mod data;
mod leftovers;
pub mod outside;
mod request;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt, ready};
use pvdeck_csi_proto::csi;
use pvdeck_csi_proto::csi::node_service_capability::rpc;
use serde_json::Value;
use tonic::Code;

use crate::model::attachment::attachment_name;
use crate::model::quantity::Quantity;
use crate::model::volume::VolumeMode;
use crate::model::volume_source::{CsiSource, VolumeSource, VolumeSpec};
use crate::plugins::csi::capability::node_abilities;
use crate::plugins::csi::client::Client;
use crate::plugins::csi::error::CallError;
use crate::plugins::csi::node::data::VolumeData;
use crate::plugins::csi::node::outside::Show;
use crate::plugins::csi::node_drivers::NodeDrivers;
use crate::plugins::error::PluginError;
use crate::plugins::host::{Files, Host, HostError};
use crate::plugins::plugin::{
    BlockPaths, Capabilities, Capability, Done, FoundVolume, Leftover, Need, NodeVolume,
    PluginFacts, Published, TokenNeed, VolumePlugin,
};
use crate::plugins::steps::{self, MOUNT_POINT_MODE};

pub const NAME: &str = "kubernetes.io/csi";

/// What it can do; a driver may do less.
pub const FACTS: PluginFacts = PluginFacts {
    name: NAME,
    source: Some("csi"),
    driver: None,
    capabilities: Capabilities::of(&[
        Capability::Attach,
        Capability::Stage,
        Capability::Publish,
        Capability::Block,
        Capability::ExpandNode,
        Capability::MountOptions,
        Capability::Ownership,
    ]),
};

/// What a volume that a pod declares itself can do.
const INLINE: Capabilities = Capabilities::of(&[Capability::Publish, Capability::Ownership]);

/// The plugin.
pub struct CsiPlugin {
    drivers: NodeDrivers,
    outside: Option<Show>,
}

impl CsiPlugin {
    /// `outside`: how drivers outside of this process and simulated machines
    /// come together; `None` on real machines.
    pub fn new(drivers: NodeDrivers, outside: Option<Show>) -> Self {
        Self { drivers, outside }
    }

    fn client(&self, host: &dyn Host, driver: &str, doing: &str) -> Result<Client, PluginError> {
        self.drivers.client(host.node(), driver).ok_or_else(|| {
            PluginError::Failed(format!(
                "kubernetes.io/csi: {doing}: driver name {driver} not found in the list of \
                 registered CSI drivers"
            ))
        })
    }

    async fn stage_volume(&self, volume: &NodeVolume) -> Result<(), PluginError> {
        let (host, source) = (&*volume.host, source(&volume.spec)?);
        let doing = "attacher.MountDevice failed to create newCsiDriverClient";
        let client = self.client(host, &source.driver, doing)?;
        let global = global(host, source);
        let path = format!("{global}/globalmount");
        let abilities = abilities(&client).await?;
        Files(host).make_directories(&global, MOUNT_POINT_MODE).await?;
        VolumeData::of(volume, source, &source.handle).write(host, &global).await?;
        if !abilities.contains(&rpc::Type::StageUnstageVolume) {
            return Ok(());
        }
        self.make_directory(&client, host, &path).await?;
        let seen = self.seen(&client, host, &path);
        let request = request::stage(volume, source, seen, &abilities)?;
        let done = client.node_stage_volume(request).await;
        if let Err(error) = done {
            if !error.leaves_doubt() {
                Files(host).remove_directory(&path).await?;
                data::remove(host, &global).await?;
            }
            return Err(error.into());
        }
        self.show(&client, volume, &path, true).await
    }

    async fn unstage_volume(&self, volume: &NodeVolume, path: &str) -> Result<(), PluginError> {
        let host = &*volume.host;
        let global = path.strip_suffix("/globalmount").unwrap_or(path);
        // Without it nothing was ever staged there.
        let Some(known) = VolumeData::read(host, global).await? else { return Ok(()) };
        let client = self.client(host, &known.driver, "attacher.UnmountDevice failed")?;
        if abilities(&client).await?.contains(&rpc::Type::StageUnstageVolume) {
            self.show(&client, volume, path, false).await?;
            let staging_target_path = self.seen(&client, host, path);
            let volume_id = known.handle.clone();
            let request = csi::NodeUnstageVolumeRequest { volume_id, staging_target_path };
            client.node_unstage_volume(request).await?;
        }
        Files(host).remove_directory(path).await?;
        data::remove(host, global).await?;
        Ok(Files(host).remove_directory(global).await?)
    }

    async fn publish_volume(&self, volume: &NodeVolume) -> Result<Published, PluginError> {
        let (host, source) = (&*volume.host, source(&volume.spec)?);
        let client =
            self.client(host, &source.driver, "mounter.SetUpAt failed to get CSI client")?;
        let about = request::About::of(volume, source)?;
        let directory = pod_directory(volume);
        let target = format!("{directory}/mount");
        let read_only = volume.spec.read_only;
        let is_again = host.mounts().await?.is_mount_point(&target);
        if is_again && !about.requires_republish {
            return Ok(published(target, read_only));
        }
        let handle = handle(volume, source);
        self.make_directory(&client, host, &directory).await?;
        VolumeData::of(volume, source, &handle).write(host, &directory).await?;
        let abilities = abilities(&client).await?;
        let staged = abilities.contains(&rpc::Type::StageUnstageVolume) && !volume.spec.is_inline;
        let staging = format!("{}/globalmount", global(host, source));
        let staging = if staged { self.seen(&client, host, &staging) } else { String::new() };
        let seen = self.seen(&client, host, &target);
        let request = request::publish(volume, source, &about, handle, staging, seen, &abilities)?;
        if let Err(error) = client.node_publish_volume(request).await {
            if is_again {
                // Containers use what was published before.
                return Err(error.into());
            }
            return Err(self.give_up(host, &directory, &target, error).await);
        }
        self.show(&client, volume, &target, true).await?;
        if !is_again && about.owns_files(&volume.spec, source) {
            steps::own(volume, &target).await?;
        }
        Ok(published(target, read_only))
    }

    /// After a publication that certainly failed nothing is left behind.
    async fn give_up(
        &self,
        host: &dyn Host,
        directory: &str,
        target: &str,
        error: CallError,
    ) -> PluginError {
        if !error.leaves_doubt() {
            let cleaned = async {
                Files(host).remove_directory(target).await?;
                data::remove(host, directory).await?;
                Files(host).remove_directory(directory).await?;
                Ok::<(), PluginError>(())
            };
            if let Err(error) = cleaned.await {
                tracing::warn!(directory, %error, "a failed publication is not cleaned up");
            }
        }
        error.into()
    }

    async fn unpublish_volume(&self, volume: &NodeVolume) -> Result<(), PluginError> {
        let host = &*volume.host;
        let directory = pod_directory(volume);
        let target = format!("{directory}/mount");
        let (driver, handle) = match VolumeData::read(host, &directory).await? {
            Some(known) => (known.driver, known.handle),
            None => match source(&volume.spec) {
                Ok(source) if Files(host).look(&directory).await?.is_some() => {
                    (source.driver.to_string(), source.handle.to_string())
                }
                _ => return Ok(()),
            },
        };
        let client = self.client(host, &driver, "Unmounter.TearDownAt failed to get CSI client")?;
        self.show(&client, volume, &target, false).await?;
        let target_path = self.seen(&client, host, &target);
        let request = csi::NodeUnpublishVolumeRequest { volume_id: handle, target_path };
        client.node_unpublish_volume(request).await?;
        // A driver is to have removed it; an empty one is tolerated.
        Files(host).remove_directory(&target).await?;
        data::remove(host, &directory).await?;
        Ok(Files(host).remove_directory(&directory).await?)
    }

    async fn look_at_attachment(&self, volume: &NodeVolume) -> Result<String, PluginError> {
        let source = source(&volume.spec)?;
        if !request::needs_attach(volume, source) {
            return Ok(String::new());
        }
        let (handle, name) = (&source.handle, own_attachment(volume.host.node(), source));
        let failed = |text: String| Err(PluginError::Failed(text));
        let need = Need::Attachment { name: name.as_str().into() };
        let Some(attachment) = volume.provided.get(&need) else {
            return failed(format!(
                "volume {handle} has GET error for volume attachment {name}: \
                 volumeattachments.storage.k8s.io \"{name}\" not found"
            ));
        };
        if attachment["metadata"]["deletionTimestamp"].is_string() {
            return failed("volume attachment is being deleted".to_owned());
        }
        let status = &attachment["status"];
        if status["attached"] == true {
            return Ok(name);
        }
        match status["attachError"]["message"].as_str() {
            Some(message) => failed(message.to_owned()),
            None => failed(format!("volume {handle} is not attached for volume attachment {name}")),
        }
    }

    async fn grow(&self, volume: &NodeVolume) -> Result<(), PluginError> {
        let (host, source) = (&*volume.host, source(&volume.spec)?);
        let client = self.client(host, &source.driver, "Expander.NodeExpand failed")?;
        let abilities = abilities(&client).await?;
        if !abilities.contains(&rpc::Type::ExpandVolume) {
            return Ok(());
        }
        let is_block = volume.spec.mode == VolumeMode::Block;
        let (layout, name) = (host.layout(), &volume.spec.name);
        let staging = match is_block {
            true => layout.csi_block_staging(name),
            false => format!("{}/globalmount", global(host, source)),
        };
        let at = match &volume.pod {
            Some(_) if is_block => layout.csi_block_publish(name, volume.pod_uid()),
            Some(_) => format!("{}/mount", pod_directory(volume)),
            None => staging.clone(),
        };
        let is_staged = abilities.contains(&rpc::Type::StageUnstageVolume);
        let staging = if is_staged { self.seen(&client, host, &staging) } else { String::new() };
        let at = self.seen(&client, host, &at);
        let request = request::expand(volume, source, at, staging, &abilities);
        client.node_expand_volume(request).await.map(drop).map_err(not_grown)
    }
}

fn published(host_path: String, read_only: bool) -> Published {
    Published { host_path, read_only, managed: !read_only, warning: None }
}

/// A refusal to grow, in the kubelet's words.
fn not_grown(error: CallError) -> PluginError {
    let text = format!("Expander.NodeExpand failed to expand the volume : {error}");
    match error {
        error if error.code == Code::FailedPrecondition => PluginError::NotInUse(text),
        error if error.is_infeasible() => {
            let text = format!("Expander.NodeExpand failed to expand the volume {error}");
            PluginError::Infeasible(text)
        }
        error if error.leaves_doubt() => PluginError::Uncertain(text),
        _ => PluginError::Failed(text),
    }
}

fn source(spec: &VolumeSpec) -> Result<&CsiSource, PluginError> {
    match &spec.source {
        VolumeSource::Csi(source) => Ok(source),
        _ => Err(PluginError::NoPluginMatched),
    }
}

async fn abilities(client: &Client) -> Result<Vec<rpc::Type>, CallError> {
    let reply = client.node_get_capabilities(csi::NodeGetCapabilitiesRequest {}).await?;
    Ok(node_abilities(&reply))
}

/// The directory of a volume that all pods share.
fn global(host: &dyn Host, source: &CsiSource) -> String {
    host.layout().csi_global(&source.driver, &hash(&[&source.handle]))
}

/// The directory of a volume in a pod.
fn pod_directory(volume: &NodeVolume) -> String {
    volume.host.layout().csi_pod_volume(volume.pod_uid(), &volume.spec.name)
}

/// The driver's name for a volume; one that a pod declares itself is named
/// after the pod.
fn handle(volume: &NodeVolume, source: &CsiSource) -> String {
    if volume.spec.is_inline {
        return format!("csi-{}", hash(&[volume.pod_uid(), &volume.spec.name]));
    }
    source.handle.to_string()
}

/// SHA-256 in hexadecimal.
fn hash(parts: &[&str]) -> String {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    parts.iter().for_each(|part| digest.update(part.as_bytes()));
    digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn own_attachment(node: &str, source: &CsiSource) -> String {
    attachment_name(&source.handle, &source.driver, node)
}

impl VolumePlugin for CsiPlugin {
    fn facts(&self) -> PluginFacts {
        FACTS
    }

    fn facts_of(&self, spec: &VolumeSpec) -> PluginFacts {
        if spec.is_inline { PluginFacts { capabilities: INLINE, ..FACTS } } else { FACTS }
    }

    fn volume_name(&self, spec: &VolumeSpec) -> Result<String, PluginError> {
        let source = source(spec)?;
        Ok(format!("{}^{}", source.driver, source.handle))
    }

    fn needs_on(&self, node: &str, spec: &VolumeSpec) -> Vec<Need> {
        let Ok(source) = source(spec) else { return Vec::new() };
        let mut needs = vec![Need::CsiDriver { name: source.driver.clone() }];
        if !spec.is_inline {
            needs.push(Need::Attachment { name: own_attachment(node, source).into() });
        }
        needs.extend(source.secrets.values().map(|key| match key.namespace() {
            Some(_) => Need::SecretAt { key: key.clone() },
            None => Need::Secret { name: key.name.clone(), optional: false },
        }));
        needs
    }

    fn tokens(&self, spec: &VolumeSpec, provided: &BTreeMap<Need, Value>) -> Vec<TokenNeed> {
        match source(spec) {
            Ok(source) => request::tokens(spec, source, provided),
            Err(_) => Vec::new(),
        }
    }

    fn wait_for_attach<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, String> {
        self.look_at_attachment(volume).boxed()
    }

    fn device_mount_path<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, Option<String>> {
        let path = match source(&volume.spec) {
            Ok(source) if !volume.spec.is_inline => {
                Some(format!("{}/globalmount", global(&*volume.host, source)))
            }
            _ => None,
        };
        ready(Ok(path)).boxed()
    }

    fn stage<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, ()> {
        self.stage_volume(volume).boxed()
    }

    fn unstage<'a>(&'a self, volume: &'a NodeVolume, path: &'a str) -> Done<'a, ()> {
        self.unstage_volume(volume, path).boxed()
    }

    fn pod_path(&self, volume: &NodeVolume) -> String {
        format!("{}/mount", pod_directory(volume))
    }

    fn publish<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, Published> {
        self.publish_volume(volume).boxed()
    }

    fn unpublish<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, ()> {
        self.unpublish_volume(volume).boxed()
    }

    fn block_paths(&self, volume: &NodeVolume) -> Option<BlockPaths> {
        let layout = volume.host.layout();
        Some(BlockPaths {
            global_map: format!("{}/dev", layout.csi_block(&volume.spec.name)),
            volume_map: layout.volume_map(volume.pod_uid(), NAME),
        })
    }

    fn set_up_device<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, String> {
        self.set_up_block(volume).boxed()
    }

    fn unpublish_device<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, ()> {
        self.unpublish_block(volume).boxed()
    }

    fn tear_down_device<'a>(&'a self, volume: &'a NodeVolume) -> Done<'a, ()> {
        self.tear_down_block(volume).boxed()
    }

    fn expand_on_node<'a>(&'a self, volume: &'a NodeVolume, _: Quantity) -> Done<'a, ()> {
        self.grow(volume).boxed()
    }

    fn reconstruct<'a>(
        &'a self,
        host: &'a Arc<dyn Host>,
        found: &'a FoundVolume,
    ) -> Done<'a, VolumeSpec> {
        async move {
            let layout = host.layout();
            let directory = match found.is_block {
                true => format!("{}/data", layout.csi_block(&found.name)),
                false => layout.csi_pod_volume(&found.pod_uid, &found.name),
            };
            let known = VolumeData::read(&**host, &directory).await?.ok_or_else(|| {
                PluginError::Failed(format!("{directory}/vol_data.json is missing"))
            })?;
            Ok(known.spec(found.is_block))
        }
        .boxed()
    }

    fn leftovers<'a>(
        &'a self,
        host: &'a Arc<dyn Host>,
    ) -> BoxFuture<'a, Result<Vec<Leftover>, HostError>> {
        leftovers::find(&**host).boxed()
    }
}

/// A text of an object, empty if it has none.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
