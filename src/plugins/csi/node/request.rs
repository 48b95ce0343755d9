//! The requests that a node makes of a driver. Pure.

use std::collections::{BTreeMap, HashMap};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pvdeck_csi_proto::TOKENS;
use pvdeck_csi_proto::csi;
use pvdeck_csi_proto::csi::node_service_capability::rpc;
use pvdeck_csi_proto::csi::volume_capability::AccessType;
use serde_json::{Value, json};

use crate::model::access_modes::AccessMode;
use crate::model::object::Key;
use crate::model::volume::VolumeMode;
use crate::model::volume_source::{CsiSource, VolumeSpec};
use crate::plugins::csi::capability;
use crate::plugins::csi::node::{own_attachment, text};
use crate::plugins::error::PluginError;
use crate::plugins::plugin::{Need, NodeVolume, TokenNeed};

const PREFIX: &str = "csi.storage.k8s.io/";

/// What the driver's CSIDriver says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    pub pod_info: bool,
    /// A volume is published again with each sync of its pod.
    pub requires_republish: bool,
    /// The tokens that the driver wants are secrets, and not part of the
    /// volume's context.
    tokens_in_secrets: bool,
    fs_group_policy: String,
}

impl About {
    /// Also checks that a pod may declare such a volume itself.
    pub fn of(volume: &NodeVolume, source: &CsiSource) -> Result<Self, PluginError> {
        let driver = &source.driver;
        let object = driver_object(volume, source);
        if volume.spec.is_inline {
            let mode = "volume mode \"Ephemeral\" not supported by driver";
            let object = object.ok_or_else(|| {
                PluginError::Failed(format!("{mode} {driver} (no CSIDriver object)"))
            })?;
            let modes = object["spec"]["volumeLifecycleModes"].as_array().into_iter().flatten();
            if !modes.into_iter().any(|one| one == "Ephemeral") {
                let text = format!("{mode} {driver} (only supports [\"Persistent\"])");
                return Err(PluginError::Failed(text));
            }
        }
        let spec = object.map(|object| &object["spec"]);
        Ok(Self {
            pod_info: spec.is_some_and(|spec| spec["podInfoOnMount"] == true),
            requires_republish: spec.is_some_and(|spec| spec["requiresRepublish"] == true),
            tokens_in_secrets: spec
                .is_some_and(|spec| spec["serviceAccountTokenInSecrets"] == true),
            fs_group_policy: spec.map(|spec| text(&spec["fsGroupPolicy"])).unwrap_or_default(),
        })
    }

    /// Whether the pod's fsGroup is applied to the files.
    pub fn owns_files(&self, spec: &VolumeSpec, source: &CsiSource) -> bool {
        match &*self.fs_group_policy {
            "None" => false,
            "File" => true,
            _ => {
                let writer = [AccessMode::ReadWriteOnce, AccessMode::ReadWriteOncePod]
                    .into_iter()
                    .any(|mode| spec.access_modes.contains(mode));
                source.fs_type.is_some() && (writer || spec.is_inline)
            }
        }
    }
}

/// The tokens that a CSIDriver asks for. Upstream has none for block volumes.
pub fn tokens(
    spec: &VolumeSpec,
    source: &CsiSource,
    provided: &BTreeMap<Need, Value>,
) -> Vec<TokenNeed> {
    if spec.mode == VolumeMode::Block {
        return Vec::new();
    }
    let object = provided.get(&Need::CsiDriver { name: source.driver.clone() });
    let requests = object.and_then(|object| object["spec"]["tokenRequests"].as_array());
    let need = |request: &Value| TokenNeed {
        audience: text(&request["audience"]).into(),
        seconds: request["expirationSeconds"].as_i64(),
    };
    requests.into_iter().flatten().map(need).collect()
}

/// The tokens as a driver is told them: by audience, with their ends. `None`:
/// it wants none.
fn told_tokens(volume: &NodeVolume, source: &CsiSource) -> Result<Option<String>, PluginError> {
    let mut told = BTreeMap::new();
    for TokenNeed { audience, .. } in tokens(&volume.spec, source, &volume.provided) {
        let token = volume.provided.get(&Need::Token { audience: audience.clone() });
        let token = token.unwrap_or(&Value::Null);
        if !token["token"].is_string() {
            let why = text(&token["error"]);
            return Err(PluginError::Failed(format!(
                "kubernetes.io/csi: mounter.SetUpAt failed to get service accoount token \
                 attributes: {why}"
            )));
        }
        let ends = &token["expirationTimestamp"];
        let token = json!({"token": token["token"], "expirationTimestamp": ends});
        told.insert(audience.to_string(), token);
    }
    Ok((!told.is_empty()).then(|| json!(told).to_string()))
}

fn driver_object<'a>(volume: &'a NodeVolume, source: &CsiSource) -> Option<&'a Value> {
    volume.provided.get(&Need::CsiDriver { name: source.driver.clone() })
}

/// Whether the volume must be attached before it is staged.
pub fn needs_attach(volume: &NodeVolume, source: &CsiSource) -> bool {
    let object = driver_object(volume, source);
    !volume.spec.is_inline && object.is_none_or(|one| one["spec"]["attachRequired"] != false)
}

/// What the driver said when it attached the volume.
fn publish_context(
    volume: &NodeVolume,
    source: &CsiSource,
) -> Result<HashMap<String, String>, PluginError> {
    if !needs_attach(volume, source) {
        return Ok(HashMap::new());
    }
    let name = own_attachment(volume.host.node(), source);
    let attachment = volume.provided.get(&Need::Attachment { name: name.as_str().into() });
    let attachment = attachment.ok_or_else(|| {
        PluginError::Failed(format!("volumeattachments.storage.k8s.io \"{name}\" not found"))
    })?;
    let entries = attachment["status"]["attachmentMetadata"].as_object().into_iter().flatten();
    Ok(entries.map(|(key, value)| (key.clone(), text(value))).collect())
}

/// The contents of a secret that the volume names for a step.
fn secrets(
    volume: &NodeVolume,
    source: &CsiSource,
    field: &str,
) -> Result<HashMap<String, String>, PluginError> {
    let Some(key) = source.secrets.get(field) else { return Ok(HashMap::new()) };
    let need = match key.namespace() {
        Some(_) => Need::SecretAt { key: key.clone() },
        None => Need::Secret { name: key.name.clone(), optional: false },
    };
    let Some(secret) = volume.provided.get(&need) else {
        let Key { namespace, name } = key;
        let text = format!("failed to find the secret {name} in the namespace {namespace}");
        return Err(PluginError::Failed(text));
    };
    let data = secret["data"].as_object().into_iter().flatten();
    let plain = |value: &Value| {
        let bytes = STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Ok(data.map(|(key, value)| (key.clone(), plain(value))).collect())
}

/// How the node uses the volume: by the first of its modes.
fn capability_of(
    volume: &NodeVolume,
    source: &CsiSource,
    abilities: &[rpc::Type],
) -> csi::VolumeCapability {
    let spec = &volume.spec;
    let multi_writer = abilities.contains(&rpc::Type::SingleNodeMultiWriter);
    let mode = spec.access_modes.iter().next().unwrap_or(AccessMode::ReadWriteOnce);
    let mode = capability::csi_mode(mode, multi_writer && !spec.is_inline);
    if spec.mode == VolumeMode::Block {
        return capability::block(mode);
    }
    let options = spec.mount_options.iter().flatten().map(ToString::to_string).collect();
    let mut made = capability::mount(mode, source.fs_type.as_deref().unwrap_or_default(), options);
    let group = volume.pod.as_ref().and_then(|pod| pod.fs_group);
    if let (Some(AccessType::Mount(mount)), Some(group)) = (&mut made.access_type, group)
        && abilities.contains(&rpc::Type::VolumeMountGroup)
    {
        mount.volume_mount_group = group.to_string();
    }
    made
}

fn context(source: &CsiSource) -> HashMap<String, String> {
    source.attributes.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

pub fn stage(
    volume: &NodeVolume,
    source: &CsiSource,
    staging_target_path: String,
    abilities: &[rpc::Type],
) -> Result<csi::NodeStageVolumeRequest, PluginError> {
    Ok(csi::NodeStageVolumeRequest {
        volume_id: source.handle.to_string(),
        publish_context: publish_context(volume, source)?,
        staging_target_path,
        volume_capability: Some(capability_of(volume, source, abilities)),
        secrets: secrets(volume, source, "nodeStageSecretRef")?,
        volume_context: context(source),
    })
}

pub fn publish(
    volume: &NodeVolume,
    source: &CsiSource,
    about: &About,
    volume_id: String,
    staging_target_path: String,
    target_path: String,
    abilities: &[rpc::Type],
) -> Result<csi::NodePublishVolumeRequest, PluginError> {
    let mut volume_context = context(source);
    if let Some(pod) = volume.pod.as_ref().filter(|_| about.pod_info) {
        for (key, value) in [
            ("pod.name", &*pod.name),
            ("pod.namespace", &*pod.namespace),
            ("pod.uid", &*pod.uid),
            ("serviceAccount.name", &*pod.service_account),
            ("ephemeral", if volume.spec.is_inline { "true" } else { "false" }),
        ] {
            volume_context.insert(format!("{PREFIX}{key}"), value.to_owned());
        }
    }
    let mut secrets = secrets(volume, source, "nodePublishSecretRef")?;
    if let Some(tokens) = told_tokens(volume, source)? {
        let told = if about.tokens_in_secrets { &mut secrets } else { &mut volume_context };
        told.insert(TOKENS.to_owned(), tokens);
    }
    Ok(csi::NodePublishVolumeRequest {
        volume_id,
        publish_context: publish_context(volume, source)?,
        staging_target_path,
        target_path,
        volume_capability: Some(capability_of(volume, source, abilities)),
        readonly: volume.spec.read_only,
        secrets,
        volume_context,
    })
}

pub fn expand(
    volume: &NodeVolume,
    source: &CsiSource,
    volume_path: String,
    staging_target_path: String,
    abilities: &[rpc::Type],
) -> csi::NodeExpandVolumeRequest {
    let bytes = volume.spec.capacity.and_then(|size| i64::try_from(size.units()).ok());
    let range = bytes.map(|required_bytes| csi::CapacityRange { required_bytes, limit_bytes: 0 });
    csi::NodeExpandVolumeRequest {
        volume_id: source.handle.to_string(),
        volume_path,
        capacity_range: range,
        staging_target_path,
        volume_capability: Some(capability_of(volume, source, abilities)),
        // A secret that is gone is the driver's to complain about.
        secrets: secrets(volume, source, "nodeExpandSecretRef").unwrap_or_default(),
    }
}
