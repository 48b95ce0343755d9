//! What to ask of a driver for a claim, what its answer means, and the volume
//! that comes of it. Pure.
//!
//! Upstream: `Provision` of external-provisioner.

use std::collections::HashMap;

use pvdeck_csi_proto::csi::controller_service_capability::rpc;
use pvdeck_csi_proto::csi::plugin_capability::service;
use pvdeck_csi_proto::csi::volume_content_source::{self, VolumeSource};
use pvdeck_csi_proto::csi::{self, CapacityRange, CreateVolumeRequest, VolumeContentSource};
use serde_json::{Value, json};
use tonic::Code;

use crate::controllers::csi::parameters::{Parameters, SecretRef, SecretUse};
use crate::model::access_modes::AccessModes;
use crate::model::quantity::Quantity;
use crate::model::volume::VolumeMode;
use crate::plugins::csi::capability::{self, ControllerAbilities};
use crate::plugins::csi::error::CallError;

/// The finalizer of a volume whose deletion is the provisioner's business.
pub const FINALIZER: &str = "external-provisioner.volume.kubernetes.io/finalizer";
/// The finalizer of a claim that is being copied.
pub const CLONING: &str = "provisioner.storage.kubernetes.io/cloning-protection";
/// Annotations of a volume: the Secret that its deletion needs.
pub const DELETION_SECRET: [&str; 2] = [
    "volume.kubernetes.io/provisioner-deletion-secret-name",
    "volume.kubernetes.io/provisioner-deletion-secret-namespace",
];

/// What a failure means for the tries that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing was made: forgotten if the claim goes.
    Finished,
    /// It may have been made or yet be: tried until there is an answer, even
    /// if the claim goes.
    InBackground,
    /// As it was before this try.
    NoChange,
    /// The scheduler is to choose another node.
    Reschedule,
    /// It cannot come true as asked: tried again only after a long while.
    Infeasible,
}

/// Why a volume was not provisioned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub text: String,
    pub state: State,
}

impl Failure {
    pub fn new(state: State, text: impl Into<String>) -> Self {
        Self { text: text.into(), state }
    }

    pub fn finished(text: impl Into<String>) -> Self {
        Self::new(State::Finished, text)
    }
}

/// What a claim is to be filled with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Nothing,
    /// The claim of this name, in the same namespace.
    Claim(String),
    Snapshot,
    /// Something that a populator knows.
    Other,
}

/// What a claim is to be filled with.
pub fn source_of(claim: &Value) -> Source {
    let source = match &claim["spec"]["dataSource"] {
        Value::Null => &claim["spec"]["dataSourceRef"],
        source => source,
    };
    let group = source["apiGroup"].as_str().unwrap_or_default();
    match (group, source["kind"].as_str()) {
        (_, None) => Source::Nothing,
        ("", Some("PersistentVolumeClaim")) => {
            Source::Claim(source["name"].as_str().unwrap_or_default().to_owned())
        }
        ("snapshot.storage.k8s.io", Some("VolumeSnapshot")) => Source::Snapshot,
        _ => Source::Other,
    }
}

/// The name of the volume of a claim.
pub fn volume_name(claim: &Value) -> String {
    format!("pvc-{}", claim["metadata"]["uid"].as_str().unwrap_or_default())
}

/// Why this driver cannot provision for this claim at all.
pub fn why_unable(
    claim: &Value,
    source: &Source,
    abilities: &ControllerAbilities,
) -> Option<String> {
    let lacks = |what: &str, doing: &str| {
        Some(format!("CSI driver does not support {doing}: {what} capability is not reported"))
    };
    if !abilities.serves(service::Type::ControllerService) {
        return lacks("plugin CONTROLLER_SERVICE", "dynamic provisioning");
    }
    if !abilities.can(rpc::Type::CreateDeleteVolume) {
        return lacks("controller CREATE_DELETE_VOLUME", "dynamic provisioning");
    }
    if *source == Source::Snapshot && !abilities.can(rpc::Type::CreateDeleteSnapshot) {
        return lacks("controller CREATE_DELETE_SNAPSHOT", "snapshot restore");
    }
    if matches!(source, Source::Claim(_)) && !abilities.can(rpc::Type::CloneVolume) {
        return lacks("controller CLONE_VOLUME", "clone operations");
    }
    let attributes = claim["spec"]["volumeAttributesClassName"].as_str().unwrap_or_default();
    if !attributes.is_empty() && !abilities.can(rpc::Type::ModifyVolume) {
        return lacks("controller MODIFY_VOLUME", "VolumeAttributesClass");
    }
    // An empty selector selects everything, and is one all the same.
    claim["spec"]["selector"].is_object().then(|| "claim Selector is not supported".to_owned())
}

/// Why a claim cannot be copied; else the handle of its volume.
pub fn clone_of(
    driver: &str,
    claim: &Value,
    source: &Value,
    volume: &Value,
) -> Result<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let name = text(&source["metadata"]["name"]);
    let phase = text(&source["status"]["phase"]);
    if phase != "Bound" {
        return Err(format!("the PVC DataSource {name} must have a status of Bound.  Got {phase}"));
    }
    if source["metadata"]["deletionTimestamp"].is_string() {
        return Err(format!("the PVC DataSource {name} is currently being deleted"));
    }
    let namespace = text(&source["metadata"]["namespace"]);
    let own = text(&volume["spec"]["csi"]["driver"]);
    if own != driver {
        return Err(format!(
            "the source PVC {namespace}/{name} is not of driver {driver} but of \"{own}\""
        ));
    }
    let size = |value: &Value| Quantity::parse(value.as_str()?).ok();
    let wanted = size(&claim["spec"]["resources"]["requests"]["storage"]);
    let has = size(&volume["spec"]["capacity"]["storage"]);
    if let (Some(wanted), Some(has)) = (wanted, has)
        && wanted.units() < has.units()
    {
        return Err(format!(
            "error, new PVC request must be greater than or equal in size to the specified PVC \
             data source, requested {} but source is {}",
            wanted.units(),
            has.units()
        ));
    }
    let mode = |claim: &Value| VolumeMode::from_json(&claim["spec"]["volumeMode"]);
    if mode(source) != mode(claim) {
        return Err(format!(
            "the source PVC and destination PVCs must have the same volume mode for cloning.  \
             Source is {}, but new PVC requested {}",
            mode(source).name(),
            mode(claim).name()
        ));
    }
    Ok(text(&volume["spec"]["csi"]["volumeHandle"]))
}

/// Everything that a request is made of.
pub struct Given<'a> {
    pub claim: &'a Value,
    pub class: &'a Value,
    pub parameters: &'a Parameters,
    pub abilities: &'a ControllerAbilities,
    pub default_fs_type: &'a str,
    pub extra_metadata: bool,
    /// The handle of the volume to be copied.
    pub clone_of: Option<String>,
    pub topology: Option<csi::TopologyRequirement>,
    pub secrets: HashMap<String, String>,
    /// Parameters of the claim's VolumeAttributesClass.
    pub mutable: HashMap<String, String>,
}

impl Given<'_> {
    fn is_block(&self) -> bool {
        VolumeMode::from_json(&self.claim["spec"]["volumeMode"]) == VolumeMode::Block
    }

    fn fs_type(&self) -> &str {
        if self.parameters.fs_type.is_empty() {
            self.default_fs_type
        } else {
            &self.parameters.fs_type
        }
    }

    fn bytes(&self) -> i64 {
        let text = self.claim["spec"]["resources"]["requests"]["storage"].as_str();
        let size = text.and_then(|text| Quantity::parse(text).ok());
        size.and_then(|size| i64::try_from(size.units()).ok()).unwrap_or_default()
    }

    /// The request.
    pub fn request(&self) -> CreateVolumeRequest {
        let multi_writer = self.abilities.can(rpc::Type::SingleNodeMultiWriter);
        let options = self.class["mountOptions"].as_array().into_iter().flatten();
        let options: Vec<String> =
            options.filter_map(|option| option.as_str().map(str::to_owned)).collect();
        let modes = AccessModes::from_json(&self.claim["spec"]["accessModes"]);
        let of_mode = |mode| {
            let mode = capability::csi_mode(mode, multi_writer);
            if self.is_block() {
                capability::block(mode)
            } else {
                capability::mount(mode, self.fs_type(), options.clone())
            }
        };
        let mut parameters: HashMap<String, String> =
            self.parameters.passed.clone().into_iter().collect();
        if self.extra_metadata {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let metadata = &self.claim["metadata"];
            parameters.extend([
                ("csi.storage.k8s.io/pvc/name".to_owned(), text(&metadata["name"])),
                ("csi.storage.k8s.io/pvc/namespace".to_owned(), text(&metadata["namespace"])),
                ("csi.storage.k8s.io/pv/name".to_owned(), volume_name(self.claim)),
            ]);
        }
        let volume = |id: &String| VolumeContentSource {
            r#type: Some(volume_content_source::Type::Volume(VolumeSource {
                volume_id: id.clone(),
            })),
        };
        CreateVolumeRequest {
            name: volume_name(self.claim),
            capacity_range: Some(CapacityRange { required_bytes: self.bytes(), limit_bytes: 0 }),
            volume_capabilities: modes.iter().map(of_mode).collect(),
            parameters,
            secrets: self.secrets.clone(),
            volume_content_source: self.clone_of.as_ref().map(volume),
            accessibility_requirements: self.topology.clone(),
            mutable_parameters: self.mutable.clone(),
        }
    }

    /// Why the volume that was made will not do; it has to go again.
    pub fn why_wrong(&self, made: &csi::Volume) -> Option<String> {
        let (has, wanted) = (made.capacity_bytes, self.bytes());
        if has != 0 && has < wanted {
            return Some(format!(
                "created volume capacity {has} less than requested capacity {wanted}"
            ));
        }
        if self.clone_of.is_some() && made.content_source.is_none() {
            return Some("volume content source missing".to_owned());
        }
        if made.volume_id.is_empty() {
            return Some("the driver gave the volume no identity".to_owned());
        }
        None
    }

    /// The PersistentVolume of what was made.
    pub fn volume(
        &self,
        provisioner: &str,
        driver: &str,
        identity: &str,
        made: &csi::Volume,
        secrets: &[(SecretUse, SecretRef)],
    ) -> Value {
        let (claim, class) = (self.claim, self.class);
        let bytes = if made.capacity_bytes == 0 { self.bytes() } else { made.capacity_bytes };
        let mut attributes: serde_json::Map<String, Value> = sorted(&made.volume_context);
        attributes.insert("storage.kubernetes.io/csiProvisionerIdentity".into(), identity.into());
        let mut source = json!({
            "driver": driver,
            "volumeHandle": made.volume_id,
            "volumeAttributes": attributes,
        });
        if !self.is_block() && !self.fs_type().is_empty() {
            source["fsType"] = self.fs_type().into();
        }
        let mut deletion = ("", "");
        for (secret, reference) in secrets {
            if let Some(field) = secret.field() {
                source[field] = json!({"name": reference.name, "namespace": reference.namespace});
            } else if *secret == SecretUse::Provisioner {
                deletion = (&reference.name, &reference.namespace);
            }
        }
        let metadata = &claim["metadata"];
        let mut spec = json!({
            "accessModes": claim["spec"]["accessModes"],
            "capacity": {"storage": Quantity::bytes(bytes).to_string()},
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "name": metadata["name"], "namespace": metadata["namespace"],
                "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"],
            },
            "csi": source,
            "persistentVolumeReclaimPolicy": class["reclaimPolicy"],
            "storageClassName": class["metadata"]["name"],
            "volumeMode": VolumeMode::from_json(&claim["spec"]["volumeMode"]).name(),
        });
        for (field, value) in [
            ("mountOptions", &class["mountOptions"]),
            ("volumeAttributesClassName", &claim["spec"]["volumeAttributesClassName"]),
        ] {
            if !value.is_null() {
                spec[field] = value.clone();
            }
        }
        if let Some(affinity) = affinity(&made.accessible_topology) {
            spec["nodeAffinity"] = affinity;
        }
        json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {
                "name": volume_name(claim),
                "annotations": {
                    "pv.kubernetes.io/provisioned-by": provisioner,
                    DELETION_SECRET[0]: deletion.0,
                    DELETION_SECRET[1]: deletion.1,
                },
                "finalizers": [FINALIZER],
            },
            "spec": spec,
        })
    }
}

fn sorted(map: &HashMap<String, String>) -> serde_json::Map<String, Value> {
    let mut pairs: Vec<_> = map.iter().collect();
    pairs.sort();
    pairs.into_iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect()
}

/// Where a volume can be used: terms of which one must hold.
fn affinity(topology: &[csi::Topology]) -> Option<Value> {
    let terms: Vec<Value> = topology
        .iter()
        .filter(|term| !term.segments.is_empty())
        .map(|term| {
            let mut segments: Vec<_> = term.segments.iter().collect();
            segments.sort();
            let expression = |(key, value): (&String, &String)| {
                json!({"key": key, "operator": "In", "values": [value]})
            };
            let all: Vec<Value> = segments.into_iter().map(expression).collect();
            json!({"matchExpressions": all})
        })
        .collect();
    (!terms.is_empty()).then(|| json!({"required": {"nodeSelectorTerms": terms}}))
}

/// What a failed CreateVolume means. `can_move`: another node may be chosen.
pub fn state_of(error: &CallError, can_move: bool) -> State {
    match error.code {
        Code::Cancelled | Code::DeadlineExceeded | Code::Unavailable | Code::Aborted => {
            State::InBackground
        }
        Code::ResourceExhausted if can_move => State::Reschedule,
        Code::InvalidArgument => State::Infeasible,
        _ => State::Finished,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_mean_what_the_table_says() {
        let rows = [
            (Code::DeadlineExceeded, false, State::InBackground),
            (Code::Unavailable, false, State::InBackground),
            (Code::Aborted, true, State::InBackground),
            (Code::Cancelled, false, State::InBackground),
            (Code::ResourceExhausted, false, State::Finished),
            (Code::ResourceExhausted, true, State::Reschedule),
            (Code::InvalidArgument, true, State::Infeasible),
            (Code::OutOfRange, true, State::Finished),
            (Code::Internal, false, State::Finished),
        ];
        for (code, can_move, state) in rows {
            let error = CallError { code, message: String::new() };
            assert_eq!(state_of(&error, can_move), state, "{code:?}");
        }
    }

    #[test]
    fn a_driver_that_lacks_something_is_not_asked_for_it() {
        use rpc::Type::{CloneVolume, CreateDeleteVolume};
        let all = ControllerAbilities {
            services: vec![service::Type::ControllerService],
            rpcs: vec![CreateDeleteVolume, CloneVolume],
        };
        let none = json!({"spec": {}});
        assert_eq!(why_unable(&none, &Source::Nothing, &all), None);
        let bare = ControllerAbilities::default();
        assert!(
            why_unable(&none, &Source::Nothing, &bare).expect("no").contains("CONTROLLER_SERVICE")
        );
        let why = why_unable(&none, &Source::Snapshot, &all).expect("no");
        assert!(why.starts_with("CSI driver does not support snapshot restore: "), "{why}");
        let selects = json!({"spec": {"selector": {}}});
        let why = why_unable(&selects, &Source::Nothing, &all).expect("no");
        assert_eq!(why, "claim Selector is not supported");
    }
}
