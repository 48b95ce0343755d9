//! What a driver answers to the calls of its controller service: pure, on its
//! state. Arguments are checked before anything is looked up.
//!
//! Codes are those of the specification's error tables; where it leaves a
//! choice, and in the words, they are those of csi-driver-host-path.

use std::collections::{BTreeMap, HashMap};

use pvdeck_csi_proto::csi::volume_capability::AccessType;
use pvdeck_csi_proto::csi::volume_capability::access_mode::Mode;
use pvdeck_csi_proto::csi::{self, VolumeCapability, volume_content_source};
use tonic::{Code, Status};

use crate::plugins::csi::driver::options::{GIB, Options};
use crate::plugins::csi::driver::state::{Publication, State, Volume, identity};

/// The longest name or identity that the specification knows.
const NAME_BYTES_MAX: usize = 128;

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub code: Code,
    pub message: String,
}

impl Refusal {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Something that is not the caller's fault.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }

    pub(super) fn argument(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Code::NotFound, message)
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code, refusal.message)
    }
}

/// Refuses a call without an argument that it cannot do without.
pub fn given(value: &str, name: &str) -> Result<(), Refusal> {
    if value.is_empty() {
        return Err(Refusal::argument(format!("{name} missing in request")));
    }
    Ok(())
}

/// Refuses a call without a capability, or with one that is incomplete.
pub fn capability(capability: Option<&VolumeCapability>) -> Result<&VolumeCapability, Refusal> {
    let capability =
        capability.ok_or_else(|| Refusal::argument("Volume capability missing in request"))?;
    if capability.access_type.is_none() {
        return Err(Refusal::argument("Access type missing in volume capability"));
    }
    match mode(capability) {
        Mode::Unknown => Err(Refusal::argument("Access mode missing in volume capability")),
        _ => Ok(capability),
    }
}

/// The access mode; one that is not known counts as none.
pub fn mode(capability: &VolumeCapability) -> Mode {
    let mode = capability.access_mode.as_ref().map_or(0, |mode| mode.mode);
    Mode::try_from(mode).unwrap_or(Mode::Unknown)
}

pub fn is_block(capability: &VolumeCapability) -> bool {
    matches!(capability.access_type, Some(AccessType::Block(_)))
}

/// Whether only one node may have a volume of this mode.
fn is_for_one_node(mode: Mode) -> bool {
    match mode {
        Mode::SingleNodeWriter
        | Mode::SingleNodeReaderOnly
        | Mode::SingleNodeSingleWriter
        | Mode::SingleNodeMultiWriter => true,
        Mode::Unknown
        | Mode::MultiNodeReaderOnly
        | Mode::MultiNodeSingleWriter
        | Mode::MultiNodeMultiWriter => false,
    }
}

/// The volume that a call is about.
pub fn volume<'a>(state: &'a State, id: &str) -> Result<&'a Volume, Refusal> {
    state.volumes.get(id).ok_or_else(|| {
        Refusal::not_found(format!("volume id {id} does not exist in the volumes list"))
    })
}

/// The volume that a request makes; the one that is there if it was made before.
pub fn create(
    state: &State,
    options: &Options,
    request: &csi::CreateVolumeRequest,
) -> Result<Volume, Refusal> {
    given(&request.name, "Name")?;
    if request.name.len() > NAME_BYTES_MAX {
        let text = format!("Name is longer than {NAME_BYTES_MAX} bytes");
        return Err(Refusal::argument(text));
    }
    let is_block = one_access_type(&request.volume_capabilities)?;
    only_known(options, &request.mutable_parameters)?;
    let range = request.capacity_range.unwrap_or_default();
    let bytes = size(options, range)?;
    let source = match source(request)? {
        Some(id) => Some(volume_source(state, &id, is_block, bytes)?),
        None => None,
    };
    if let Some(existing) = state.by_name(&request.name) {
        same(existing, range, is_block, source.as_deref(), request)?;
        return Ok(existing.clone());
    }
    let left = options.capacity.saturating_sub(state.used_bytes());
    if bytes > left {
        let text =
            format!("Requested capacity {bytes} exceeds remaining capacity {left} of this driver");
        return Err(Refusal::new(Code::ResourceExhausted, text));
    }
    Ok(Volume {
        id: identity(&request.name),
        name: request.name.clone(),
        bytes,
        is_block,
        is_ephemeral: false,
        parameters: sorted(&request.parameters),
        mutable_parameters: sorted(&request.mutable_parameters),
        source,
        topology: place(options, request.accessibility_requirements.as_ref())?,
        published: BTreeMap::new(),
        staged: BTreeMap::new(),
        targets: BTreeMap::new(),
    })
}

fn sorted(map: &HashMap<String, String>) -> BTreeMap<String, String> {
    map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Whether all capabilities are for a block device, or none is.
fn one_access_type(capabilities: &[VolumeCapability]) -> Result<bool, Refusal> {
    if capabilities.is_empty() {
        return Err(Refusal::argument("Volume Capabilities missing in request"));
    }
    for each in capabilities {
        capability(Some(each))?;
    }
    let blocks = capabilities.iter().filter(|each| is_block(each)).count();
    if blocks != 0 && blocks != capabilities.len() {
        return Err(Refusal::argument("cannot have both block and mount access type"));
    }
    Ok(blocks != 0)
}

fn only_known(options: &Options, asked: &HashMap<String, String>) -> Result<(), Refusal> {
    let known = |key: &String| options.mutable_parameters.contains(key);
    let mut unknown: Vec<&String> = asked.keys().filter(|key| !known(key)).collect();
    unknown.sort();
    match unknown.first() {
        None => Ok(()),
        Some(key) => Err(Refusal::argument(format!("mutable parameter {key} is not supported"))),
    }
}

/// The size that a range asks for.
fn size(options: &Options, range: csi::CapacityRange) -> Result<u64, Refusal> {
    let (Ok(required), Ok(limit)) =
        (u64::try_from(range.required_bytes), u64::try_from(range.limit_bytes))
    else {
        return Err(Refusal::argument("capacity must not be negative"));
    };
    let beyond = |message: String| Err(Refusal::new(Code::OutOfRange, message));
    if limit > 0 && required > limit {
        return beyond(format!("required capacity {required} is above the limit {limit}"));
    }
    let bytes = match (required, limit) {
        (0, 0) => GIB,
        (0, limit) => GIB.min(limit),
        (required, _) => required,
    };
    let most = options.volume_bytes_max;
    if bytes > most {
        return beyond(format!("Requested capacity {bytes} exceeds maximum allowed {most}"));
    }
    Ok(bytes)
}

/// The volume to be copied, if any.
fn source(request: &csi::CreateVolumeRequest) -> Result<Option<String>, Refusal> {
    let Some(source) = &request.volume_content_source else { return Ok(None) };
    match &source.r#type {
        Some(volume_content_source::Type::Volume(source)) => Ok(Some(source.volume_id.clone())),
        Some(volume_content_source::Type::Snapshot(source)) => Err(Refusal::not_found(format!(
            "snapshot {} does not exist: this driver makes no snapshots",
            source.snapshot_id
        ))),
        None => Err(Refusal::argument("Volume content source has no type")),
    }
}

fn volume_source(state: &State, id: &str, is_block: bool, bytes: u64) -> Result<String, Refusal> {
    let source = volume(state, id)?;
    if source.is_block != is_block {
        return Err(Refusal::argument("access type differs from that of the source volume"));
    }
    if source.bytes > bytes {
        let text = format!(
            "Requested capacity {bytes} is less than that of the source volume, {}",
            source.bytes
        );
        return Err(Refusal::new(Code::OutOfRange, text));
    }
    Ok(id.to_owned())
}

/// Refuses a volume that was made before for another request.
fn same(
    existing: &Volume,
    range: csi::CapacityRange,
    is_block: bool,
    source: Option<&str>,
    request: &csi::CreateVolumeRequest,
) -> Result<(), Refusal> {
    let name = &existing.name;
    let differs = |in_what: &str| {
        let text = format!("Volume with the same name: {name} but with different {in_what} exists");
        Err(Refusal::new(Code::AlreadyExists, text))
    };
    let bytes = i128::from(existing.bytes);
    let (required, limit) = (i128::from(range.required_bytes), i128::from(range.limit_bytes));
    if bytes < required || limit > 0 && bytes > limit {
        return differs("size");
    }
    if existing.is_block != is_block {
        return differs("access type");
    }
    if existing.source.as_deref() != source {
        return differs("source");
    }
    if existing.parameters != sorted(&request.parameters) {
        return differs("parameters");
    }
    Ok(())
}

/// Where a volume is put, of the places that are asked for.
fn place(
    options: &Options,
    asked: Option<&csi::TopologyRequirement>,
) -> Result<BTreeMap<String, String>, Refusal> {
    let own = &options.topology;
    let Some(asked) = asked.filter(|_| !own.is_empty()) else { return Ok(own.clone()) };
    let mut wanted = asked.preferred.iter().chain(&asked.requisite).peekable();
    if wanted.peek().is_none() || wanted.any(|topology| within(own, &topology.segments)) {
        return Ok(own.clone());
    }
    let text = format!("no capacity in the requested topology: this driver has {own:?} only");
    Err(Refusal::new(Code::ResourceExhausted, text))
}

/// Whether a place has all these segments.
pub fn within(own: &BTreeMap<String, String>, segments: &HashMap<String, String>) -> bool {
    segments.iter().all(|(key, value)| own.get(key) == Some(value))
}

/// What is left for a class in a place: bytes.
pub fn capacity(state: &State, options: &Options, request: &csi::GetCapacityRequest) -> u64 {
    let elsewhere = request.accessible_topology.as_ref().is_some_and(|topology| {
        !options.topology.is_empty() && !within(&options.topology, &topology.segments)
    });
    if elsewhere { 0 } else { options.capacity.saturating_sub(state.used_bytes()) }
}

/// Whether a volume may go; `None`: there is none, which is as good.
pub fn delete<'a>(
    state: &'a State,
    request: &csi::DeleteVolumeRequest,
) -> Result<Option<&'a Volume>, Refusal> {
    given(&request.volume_id, "Volume ID")?;
    let Some(volume) = state.volumes.get(&request.volume_id) else { return Ok(None) };
    match volume.users() {
        None => Ok(Some(volume)),
        Some(user) => {
            let text = format!("volume {} is still in use: {user}", volume.id);
            Err(Refusal::new(Code::FailedPrecondition, text))
        }
    }
}

/// How a node is to have a volume.
pub fn publish(
    state: &State,
    options: &Options,
    request: &csi::ControllerPublishVolumeRequest,
) -> Result<Publication, Refusal> {
    given(&request.volume_id, "Volume ID")?;
    given(&request.node_id, "Node ID")?;
    let mode = mode(capability(request.volume_capability.as_ref())?);
    let node = &request.node_id;
    if !state.nodes.contains(node) {
        return Err(Refusal::not_found(format!("node {node} is not one of this driver's")));
    }
    // The reference driver wraps its own status once more.
    let volume = volume(state, &request.volume_id).map_err(|refusal| {
        Refusal::not_found(format!("rpc error: code = NotFound desc = {}", refusal.message))
    })?;
    let wanted = Publication { read_only: request.readonly, mode: mode.into() };
    if let Some(existing) = volume.published.get(node) {
        if existing.read_only != wanted.read_only {
            let text = "Volume published but has incompatible readonly flag";
            return Err(Refusal::new(Code::AlreadyExists, text));
        }
        return Ok(existing.clone());
    }
    if is_for_one_node(mode)
        && let Some(other) = volume.published.keys().next()
    {
        let text = format!("volume {} is already published at node {other}", volume.id);
        return Err(Refusal::new(Code::FailedPrecondition, text));
    }
    let attached = state.volumes.values().filter(|each| each.published.contains_key(node)).count();
    let most = options.volumes_per_node_max;
    if most > 0 && attached as u64 >= most {
        let text = format!("Cannot attach any more volumes to node {node}: the limit is {most}");
        return Err(Refusal::new(Code::ResourceExhausted, text));
    }
    Ok(wanted)
}

/// Whether a volume can be used in these ways: why not.
pub fn validate(
    state: &State,
    request: &csi::ValidateVolumeCapabilitiesRequest,
) -> Result<Option<String>, Refusal> {
    given(&request.volume_id, "Volume ID")?;
    if request.volume_capabilities.is_empty() {
        return Err(Refusal::argument("Volume capabilities missing in request"));
    }
    let volume = volume(state, &request.volume_id)?;
    let is_block = match one_access_type(&request.volume_capabilities) {
        Ok(is_block) => is_block,
        Err(refusal) => return Ok(Some(refusal.message)),
    };
    Ok((volume.is_block != is_block).then(|| "the volume has another access type".to_owned()))
}

/// A page of the volumes, and the token of the next page; empty: no more.
pub fn list<'a>(
    state: &'a State,
    request: &csi::ListVolumesRequest,
) -> Result<(Vec<&'a Volume>, String), Refusal> {
    let most = usize::try_from(request.max_entries)
        .map_err(|_| Refusal::argument("max_entries must not be negative"))?;
    let token = &request.starting_token;
    if !token.is_empty() && !is_token(token) {
        let text = format!("starting_token {token} was not given by this driver");
        return Err(Refusal::new(Code::Aborted, text));
    }
    // The token is the last identity of the page before: volumes that come and
    // go meanwhile shift nothing.
    let rest = state.volumes.values().filter(|volume| volume.id > *token);
    let mut page: Vec<&Volume> = rest.collect();
    let mut next = String::new();
    if most > 0 && page.len() > most {
        page.truncate(most);
        next = page.last().map(|volume| volume.id.clone()).unwrap_or_default();
    }
    Ok((page, next))
}

/// An identity as [`identity`] or a kubelet makes it.
fn is_token(text: &str) -> bool {
    let hex = |text: &str| text.chars().all(|c| c.is_ascii_hexdigit());
    let uuid = text.len() == 36 && text.split('-').all(hex);
    uuid || text.strip_prefix("csi-").is_some_and(|rest| rest.len() == 64 && hex(rest))
}

/// The size that a volume is to have.
pub fn expand(
    state: &State,
    options: &Options,
    request: &csi::ControllerExpandVolumeRequest,
) -> Result<u64, Refusal> {
    given(&request.volume_id, "Volume ID")?;
    let range = request
        .capacity_range
        .ok_or_else(|| Refusal::argument("Capacity range missing in request"))?;
    let volume = volume(state, &request.volume_id)?;
    let bytes = size(options, range)?;
    let more = bytes.saturating_sub(volume.bytes);
    let left = options.capacity.saturating_sub(state.used_bytes());
    if more > left {
        let text = format!("volume {} cannot grow by {more}: {left} are left", volume.id);
        return Err(Refusal::new(Code::OutOfRange, text));
    }
    Ok(bytes.max(volume.bytes))
}

/// Checks a change of parameters.
pub fn modify(
    state: &State,
    options: &Options,
    request: &csi::ControllerModifyVolumeRequest,
) -> Result<(), Refusal> {
    given(&request.volume_id, "Volume ID")?;
    volume(state, &request.volume_id)?;
    only_known(options, &request.mutable_parameters)
}
