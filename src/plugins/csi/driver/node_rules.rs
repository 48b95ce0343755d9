//! What a driver answers to the calls of its node service: pure, on its state.

use pvdeck_csi_proto::csi::volume_capability::AccessType;
use pvdeck_csi_proto::csi::volume_capability::access_mode::Mode;
use pvdeck_csi_proto::csi::{self, VolumeCapability};
use tonic::Code;

use crate::model::quantity::Quantity;
use crate::plugins::csi::driver::options::{GIB, Options};
use crate::plugins::csi::driver::rules::{Refusal, capability, given, is_block, mode, volume};
use crate::plugins::csi::driver::state::{Staging, State, Target, Volume};

/// Keys of the volume context that a kubelet adds.
pub const EPHEMERAL: &str = "csi.storage.k8s.io/ephemeral";

fn precondition(message: String) -> Refusal {
    Refusal::new(Code::FailedPrecondition, message)
}

fn check_type(volume: &Volume, capability: &VolumeCapability) -> Result<(), Refusal> {
    if volume.is_block != is_block(capability) {
        let text = format!("volume {} has another access type than is asked for", volume.id);
        return Err(Refusal::argument(text));
    }
    Ok(())
}

/// How a volume is to be staged on a machine.
pub fn stage(
    state: &State,
    options: &Options,
    machine: &str,
    node: &str,
    request: &csi::NodeStageVolumeRequest,
) -> Result<Staging, Refusal> {
    given(&request.volume_id, "Volume ID")?;
    given(&request.staging_target_path, "Target path")?;
    let capability = capability(request.volume_capability.as_ref())?;
    let volume = volume(state, &request.volume_id)?;
    check_type(volume, capability)?;
    if options.attach && !volume.published.contains_key(node) {
        let text = format!("ControllerPublishVolume must be called on volume {} first", volume.id);
        return Err(precondition(text));
    }
    let mut wanted = Staging {
        path: request.staging_target_path.clone(),
        mode: mode(capability).into(),
        fs_type: String::new(),
        flags: Vec::new(),
    };
    if let Some(AccessType::Mount(mount)) = &capability.access_type {
        wanted.fs_type = mount.fs_type.clone();
        wanted.flags = mount.mount_flags.clone();
    }
    match volume.staged.get(machine) {
        Some(staged) if staged.path != wanted.path => {
            let text = format!("volume {} is already staged at {}", volume.id, staged.path);
            Err(precondition(text))
        }
        Some(staged) if *staged != wanted => {
            let text = format!("volume {} is staged with another capability", volume.id);
            Err(Refusal::new(Code::AlreadyExists, text))
        }
        _ => Ok(wanted),
    }
}

/// Whether a volume may be unstaged; `None`: there is none.
pub fn unstage<'a>(
    state: &'a State,
    machine: &str,
    request: &csi::NodeUnstageVolumeRequest,
) -> Result<Option<&'a Volume>, Refusal> {
    given(&request.volume_id, "Volume ID")?;
    given(&request.staging_target_path, "Target path")?;
    let Some(volume) = state.volumes.get(&request.volume_id) else { return Ok(None) };
    if let Some(path) = volume.targets.get(machine).and_then(|targets| targets.keys().next()) {
        let text = format!("volume {} is still published at {path} on this node", volume.id);
        return Err(precondition(text));
    }
    Ok(Some(volume))
}

/// How a pod is to have a volume.
pub fn publish(
    state: &State,
    machine: &str,
    request: &csi::NodePublishVolumeRequest,
) -> Result<Target, Refusal> {
    given(&request.volume_id, "Volume ID")?;
    given(&request.target_path, "Target path")?;
    let capability = capability(request.volume_capability.as_ref())?;
    let volume = volume(state, &request.volume_id)?;
    check_type(volume, capability)?;
    if !volume.is_ephemeral {
        let staged = volume.staged.get(machine).ok_or_else(|| {
            precondition(format!("volume {} must be staged before it is published", volume.id))
        })?;
        given(&request.staging_target_path, "Staging target path")?;
        if staged.path != request.staging_target_path {
            let text = format!("volume {} is staged at {}", volume.id, staged.path);
            return Err(Refusal::argument(text));
        }
    }
    let wanted = Target { read_only: request.readonly, mode: mode(capability).into() };
    let none = std::collections::BTreeMap::new();
    let targets = volume.targets.get(machine).unwrap_or(&none);
    match targets.get(&request.target_path) {
        Some(existing) if *existing == wanted => return Ok(wanted),
        Some(_) => {
            let text = format!("volume {} is published there with another capability", volume.id);
            return Err(Refusal::new(Code::AlreadyExists, text));
        }
        None => {}
    }
    let alone = |target: &Target| target.mode == i32::from(Mode::SingleNodeSingleWriter);
    if !targets.is_empty() && (alone(&wanted) || targets.values().any(alone)) {
        let text = format!("volume {} is already published at another target path", volume.id);
        return Err(precondition(text));
    }
    Ok(wanted)
}

/// The volume that a pod declares itself, if the request is for one.
pub fn ephemeral(
    state: &State,
    options: &Options,
    request: &csi::NodePublishVolumeRequest,
) -> Result<Option<Volume>, Refusal> {
    let context = &request.volume_context;
    if context.get(EPHEMERAL).map(String::as_str) != Some("true")
        || state.volumes.contains_key(&request.volume_id)
    {
        return Ok(None);
    }
    given(&request.volume_id, "Volume ID")?;
    given(&request.target_path, "Target path")?;
    capability(request.volume_capability.as_ref())?;
    let id = &request.volume_id;
    if !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Err(Refusal::argument(format!("volume ID {id} is not one of a pod's own volume")));
    }
    let bytes = match context.get("size") {
        None => GIB,
        Some(text) => Quantity::parse(text)
            .ok()
            .and_then(|size| u64::try_from(size.units()).ok())
            .ok_or_else(|| Refusal::argument(format!("size {text} is no quantity of bytes")))?,
    };
    let left = options.capacity.saturating_sub(state.used_bytes());
    if bytes > options.volume_bytes_max || bytes > left {
        let text = format!("Requested capacity {bytes} exceeds what is left, {left}");
        return Err(Refusal::new(Code::ResourceExhausted, text));
    }
    Ok(Some(Volume {
        id: id.clone(),
        name: id.clone(),
        bytes,
        is_ephemeral: true,
        ..Volume::default()
    }))
}

/// Checks a question about the usage of a volume at a path.
pub fn usage<'a>(
    state: &'a State,
    machine: &str,
    request: &csi::NodeGetVolumeStatsRequest,
) -> Result<&'a Volume, Refusal> {
    given(&request.volume_id, "Volume ID")?;
    given(&request.volume_path, "Volume Path")?;
    at(state, machine, &request.volume_id, &request.volume_path)
}

/// Checks a request to let a node see that a volume has grown.
pub fn expand<'a>(
    state: &'a State,
    machine: &str,
    request: &csi::NodeExpandVolumeRequest,
) -> Result<&'a Volume, Refusal> {
    given(&request.volume_id, "Volume ID")?;
    given(&request.volume_path, "Volume path")?;
    let volume = at(state, machine, &request.volume_id, &request.volume_path)?;
    let required = request.capacity_range.unwrap_or_default().required_bytes;
    if i128::from(required) > i128::from(volume.bytes) {
        let text = format!("volume {} has {} bytes, not {required}", volume.id, volume.bytes);
        return Err(Refusal::new(Code::OutOfRange, text));
    }
    Ok(volume)
}

fn at<'a>(state: &'a State, machine: &str, id: &str, path: &str) -> Result<&'a Volume, Refusal> {
    let volume = volume(state, id)?;
    if !volume.is_at(machine, path) {
        return Err(Refusal::not_found(format!("volume {id} is not at {path} on this node")));
    }
    Ok(volume)
}
