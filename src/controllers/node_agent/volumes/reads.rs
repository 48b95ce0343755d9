//! What is read from the API for volumes: claims and volumes of a pod, contents
//! that a plugin needs, the node's own status. Always live, one object at a
//! time, when it is needed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::controllers::expand::growth::Growth;
use crate::controllers::node_agent::volumes::claim;
use crate::controllers::node_agent::volumes::desired::ReadVolume;
use crate::controllers::node_agent::volumes::pod::{PodSource, PodVolume, WantedPod};
use crate::controllers::server::Server;
use crate::model::attachment::attachment_name;
use crate::model::kind::{self, Kind};
use crate::model::node::Node;
use crate::model::object::{Key, ObjectRef};
use crate::model::quantity::Quantity;
use crate::model::row::Row;
use crate::model::volume_source::{CsiSource, VolumeSource, VolumeSpec};
use crate::plugins::plugin::{
    Capability, Need, Plugins, PodPart, TokenNeed, VolumePlugin, unique_volume_name,
};

/// An object that is there; the error is what a client of the API would print.
pub async fn read(server: &dyn Server, kind: &'static Kind, key: Key) -> Result<Value, String> {
    let object = ObjectRef::new(kind, key);
    match server.get(&object).await {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(format!("{} \"{}\" not found", kind.qualified_plural(), object.key.name)),
        Err(error) => Err(error.message),
    }
}

/// The gRPC code of a driver that has no room.
const RESOURCE_EXHAUSTED: i32 = 8;

/// What was read of each used volume of a pod, by outer name.
pub type PodRead = Vec<(Arc<str>, Result<ReadVolume, String>)>;

/// Reads the claims and volumes of a pod.
pub async fn read_pod(server: &dyn Server, plugins: &Plugins, pod: &WantedPod) -> PodRead {
    let mut volumes = Vec::with_capacity(pod.volumes.len());
    for used in &pod.volumes {
        volumes.push((used.name.clone(), read_volume(server, plugins, pod, used).await));
    }
    volumes
}

async fn read_volume(
    server: &dyn Server,
    plugins: &Plugins,
    pod: &WantedPod,
    used: &PodVolume,
) -> Result<ReadVolume, String> {
    let (name, read_only, owned) = match &used.source {
        PodSource::Inline(spec) => {
            claim::why_not_used_so(used, spec).map_or(Ok(()), Err)?;
            let mut read = found(plugins, pod, used, (**spec).clone(), None, None)?;
            follow_driver(server, &mut read).await?;
            return Ok(read);
        }
        PodSource::Claim { name, read_only, owned } => (name, *read_only, *owned),
    };
    let key = Key::new(pod.key.namespace.clone(), name.clone());
    let claim = read(server, kind::PERSISTENT_VOLUME_CLAIM, key.clone()).await;
    let claim = claim.map_err(|error| claim::unreadable_claim(&key, &error))?;
    let volume = claim::volume_of(pod, &key, &claim, owned)?;
    let object = read(server, kind::PERSISTENT_VOLUME, Key::cluster(volume)).await;
    let object = object.map_err(|error| claim::unreadable_volume(&key, volume, &error))?;
    let spec = claim::spec_of(&key, &claim, &object, used, read_only)?;
    let metadata = &object["metadata"];
    let uid = metadata["uid"].as_str().unwrap_or_default().into();
    let version = metadata["resourceVersion"].as_str().and_then(|version| version.parse().ok());
    let version = Some((uid, version.unwrap_or_default()));
    let mut read = found(plugins, pod, used, spec, Some(key), version)?;
    read.growth = Some(Growth::of(&claim));
    follow_driver(server, &mut read).await?;
    Ok(read)
}

/// What the CSIDriver says of a driver's volumes: they are attached unless it
/// says otherwise, and published again with each sync if it asks for that.
async fn follow_driver(server: &dyn Server, read: &mut ReadVolume) -> Result<(), String> {
    let VolumeSource::Csi(source) = &read.spec.source else { return Ok(()) };
    let object = ObjectRef::new(kind::CSI_DRIVER, Key::cluster(source.driver.clone()));
    let driver = server.get(&object).await.map_err(|error| error.message)?;
    let Some(driver) = driver else { return Ok(()) };
    let capabilities = &mut read.facts.capabilities;
    if driver["spec"]["attachRequired"] == false {
        *capabilities = capabilities.without(Capability::Attach);
    }
    if driver["spec"]["requiresRepublish"] == true {
        *capabilities = capabilities.with(Capability::Remount);
    }
    Ok(())
}

fn found(
    plugins: &Plugins,
    pod: &WantedPod,
    used: &PodVolume,
    spec: VolumeSpec,
    claim: Option<Key>,
    volume: Option<(Arc<str>, u64)>,
) -> Result<ReadVolume, String> {
    let no_plugin = |error: &dyn std::fmt::Display| {
        format!("failed to get Plugin from volumeSpec for volume \"{}\" err={error}", spec.name)
    };
    let plugin = plugins.of(&spec.source).map_err(|error| no_plugin(&error))?;
    let unique = unique_volume_name(&**plugin, &spec, &pod.uid).map_err(|error| {
        format!(
            "failed to GetUniqueVolumeNameFromSpec for volumeSpec \"{}\" using volume plugin \
             \"{}\" err={error}",
            spec.name,
            plugin.facts().name
        )
    })?;
    Ok(ReadVolume {
        outer: used.name.clone(),
        unique: unique.into(),
        facts: plugin.facts_of(&spec),
        spec,
        claim,
        growth: None,
        volume,
    })
}

/// What a plugin needs of the API before it sets a volume up. What is missing
/// is left out: the plugin says whether that is fine.
pub async fn read_needs(
    server: &dyn Server,
    plugin: &dyn VolumePlugin,
    spec: &VolumeSpec,
    node: &str,
    namespace: &Arc<str>,
) -> Result<BTreeMap<Need, Value>, String> {
    let mut provided = BTreeMap::new();
    for need in plugin.needs_on(node, spec) {
        let here = |name: &Arc<str>| Key::new(namespace.clone(), name.clone());
        let (kind, key) = match &need {
            Need::ConfigMap { name, .. } => (kind::CONFIG_MAP, here(name)),
            Need::Secret { name, .. } => (kind::SECRET, here(name)),
            Need::SecretAt { key } => (kind::SECRET, key.clone()),
            Need::CsiDriver { name } => (kind::CSI_DRIVER, Key::cluster(name.clone())),
            Need::Attachment { name } => (kind::VOLUME_ATTACHMENT, Key::cluster(name.clone())),
            // No object: see `read_tokens`.
            Need::Token { .. } => continue,
        };
        let object = ObjectRef::new(kind, key);
        match server.get(&object).await {
            Ok(Some(value)) => drop(provided.insert(need, value)),
            Ok(None) => {}
            Err(error) => return Err(error.message),
        }
    }
    Ok(provided)
}

/// The account of pods that name none.
const DEFAULT_ACCOUNT: &str = "default";

/// Asks for the tokens that a plugin needs to publish a volume for a pod, each
/// bound to the pod: it ends with it. One that is refused says why.
pub async fn read_tokens(
    server: &dyn Server,
    plugin: &dyn VolumePlugin,
    spec: &VolumeSpec,
    pod: &PodPart,
    provided: &mut BTreeMap<Need, Value>,
) {
    let account = match &*pod.service_account {
        "" => DEFAULT_ACCOUNT.into(),
        _ => pod.service_account.clone(),
    };
    let account = ObjectRef::new(kind::SERVICE_ACCOUNT, Key::new(pod.namespace.clone(), account));
    for TokenNeed { audience, seconds } in plugin.tokens(spec, provided) {
        let audiences: Vec<&str> =
            Some(&*audience).filter(|name| !name.is_empty()).into_iter().collect();
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {
                "audiences": audiences, "expirationSeconds": seconds,
                "boundObjectRef": {
                    "apiVersion": "v1", "kind": "Pod", "name": &*pod.name, "uid": &*pod.uid,
                },
            },
        });
        let token = match server.token(&account, &request).await {
            Ok(mut answer) => answer["status"].take(),
            Err(error) => json!({"error": error.message}),
        };
        provided.insert(Need::Token { audience }, token);
    }
}

/// The node as the API server has it now.
pub async fn read_node(server: &dyn Server, node: &Arc<str>) -> Result<Node, String> {
    let value = read(server, kind::NODE, Key::cluster(node.clone())).await?;
    Node::from_object(&value).map_err(|error| error.to_string())
}

/// Whether a CSI volume cannot be attached as the node has no room for it: its
/// attach failed with ResourceExhausted, and its driver says how often the
/// node's limit is to be asked for (feature MutableCSINodeAllocatableCount).
pub async fn has_no_room(server: &dyn Server, node: &str, csi: &CsiSource) -> bool {
    let name = attachment_name(&csi.handle, &csi.driver, node);
    let attachment = ObjectRef::new(kind::VOLUME_ATTACHMENT, Key::cluster(name));
    let Ok(Some(attachment)) = server.get(&attachment).await else { return false };
    if attachment["status"]["attachError"]["errorCode"] != RESOURCE_EXHAUSTED {
        return false;
    }
    let driver = ObjectRef::new(kind::CSI_DRIVER, Key::cluster(csi.driver.clone()));
    let Ok(Some(driver)) = server.get(&driver).await else { return false };
    driver["spec"]["nodeAllocatableUpdatePeriodSeconds"].is_i64()
}

/// The memory that pods may have on the node, in bytes.
pub async fn allocatable_memory(server: &dyn Server, node: &Arc<str>) -> Option<u64> {
    let value = read(server, kind::NODE, Key::cluster(node.clone())).await.ok()?;
    let memory = value["status"]["allocatable"]["memory"].as_str()?;
    u64::try_from(Quantity::parse(memory).ok()?.units()).ok()
}
