//! The row of a PersistentVolume.

use std::sync::Arc;

use serde_json::Value;

use crate::model::access_modes::AccessModes;
use crate::model::kind::{self, Kind};
use crate::model::object::{Key, Meta};
use crate::model::quantity::Quantity;
use crate::model::row::{self, Malformed, Row, Sharing};
use crate::model::selector::NodeSelector;

/// What decisions and screens need of a PersistentVolume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    pub meta: Meta,
    /// `spec.capacity.storage`; a volume without one fits nothing.
    pub capacity: Option<Quantity>,
    pub access_modes: AccessModes,
    pub mode: VolumeMode,
    /// The effective class: the beta annotation if present, else
    /// `spec.storageClassName`, else empty.
    pub class: Arc<str>,
    /// `spec.volumeAttributesClassName`, empty if unset: the two are equal.
    pub attributes_class: Arc<str>,
    pub reclaim_policy: ReclaimPolicy,
    pub claim_ref: Option<ClaimRef>,
    /// The field of `spec` that holds the source, such as `nfs`; empty if none.
    pub source: Source,
    /// `spec.nodeAffinity.required`.
    pub node_affinity: Option<Box<NodeSelector>>,
    pub phase: VolumePhase,
    pub reason: Option<Box<str>>,
    pub message: Option<Box<str>>,
    /// `status.lastPhaseTransitionTime`.
    pub phase_since: Option<i64>,
}

/// What is behind a volume, as far as decisions and rows need it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Source {
    /// The field of `spec`: `nfs`, `csi`, `hostPath`, `local`, …
    pub field: Arc<str>,
    /// In one line for people: `nfs.example:/exports/pv-1`, a path, a handle.
    pub place: Box<str>,
    /// The CSI driver or FlexVolume driver, if the source has one.
    pub driver: Option<Arc<str>>,
}

/// Filesystem or raw block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum VolumeMode {
    #[default]
    Filesystem,
    Block,
}

impl VolumeMode {
    /// A missing mode means `Filesystem`, on both sides.
    pub fn from_json(value: &Value) -> Self {
        if value == "Block" { Self::Block } else { Self::Filesystem }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Filesystem => "Filesystem",
            Self::Block => "Block",
        }
    }
}

/// What becomes of a volume when its claim is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReclaimPolicy {
    Retain,
    Recycle,
    Delete,
    /// Refused by the API server; kept as the controller has a rule for it.
    Other(Box<str>),
}

impl ReclaimPolicy {
    pub fn name(&self) -> &str {
        match self {
            Self::Retain => "Retain",
            Self::Recycle => "Recycle",
            Self::Delete => "Delete",
            Self::Other(name) => name,
        }
    }
}

/// A volume's phase. `Unset` is what an empty `status.phase` reads as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VolumePhase {
    Unset,
    Pending,
    Available,
    Bound,
    Released,
    Failed,
}

impl VolumePhase {
    pub fn name(self) -> &'static str {
        match self {
            Self::Unset => "",
            Self::Pending => "Pending",
            Self::Available => "Available",
            Self::Bound => "Bound",
            Self::Released => "Released",
            Self::Failed => "Failed",
        }
    }
}

/// The claim a volume is bound to or reserved for (`spec.claimRef`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRef {
    pub key: Key,
    /// Empty when an admin reserved the volume by name.
    pub uid: Arc<str>,
}

impl Row for Volume {
    const KIND: &'static Kind = kind::PERSISTENT_VOLUME;

    fn from_object(object: &Value) -> Result<Self, Malformed> {
        let meta = row::meta(Self::KIND, object)?;
        let (spec, status) = (&object["spec"], &object["status"]);
        let capacity = &spec["capacity"]["storage"];
        let capacity = row::quantity::<Self>(&meta, capacity, "spec.capacity.storage")?;
        let class = meta
            .annotation("volume.beta.kubernetes.io/storage-class")
            .or(spec["storageClassName"].as_str())
            .unwrap_or_default()
            .into();
        let reference = &spec["claimRef"];
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(Box::from);
        Ok(Self {
            capacity,
            access_modes: AccessModes::from_json(&spec["accessModes"]),
            mode: VolumeMode::from_json(&spec["volumeMode"]),
            class,
            attributes_class: spec["volumeAttributesClassName"].as_str().unwrap_or_default().into(),
            reclaim_policy: match spec["persistentVolumeReclaimPolicy"].as_str() {
                None | Some("Retain") => ReclaimPolicy::Retain,
                Some("Recycle") => ReclaimPolicy::Recycle,
                Some("Delete") => ReclaimPolicy::Delete,
                Some(other) => ReclaimPolicy::Other(other.into()),
            },
            claim_ref: reference.is_object().then(|| ClaimRef {
                key: Key::new(
                    reference["namespace"].as_str().unwrap_or_default(),
                    reference["name"].as_str().unwrap_or_default(),
                ),
                uid: reference["uid"].as_str().unwrap_or_default().into(),
            }),
            source: Source::from_spec(spec),
            node_affinity: NodeSelector::from_json(&spec["nodeAffinity"]["required"]).map(Box::new),
            phase: match status["phase"].as_str().unwrap_or_default() {
                "Pending" => VolumePhase::Pending,
                "Available" => VolumePhase::Available,
                "Bound" => VolumePhase::Bound,
                "Released" => VolumePhase::Released,
                "Failed" => VolumePhase::Failed,
                _ => VolumePhase::Unset,
            },
            reason: text(&status["reason"]),
            message: text(&status["message"]),
            phase_since: row::seconds(&status["lastPhaseTransitionTime"]),
            meta,
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn share(&mut self, with: &mut dyn Sharing) {
        row::share_meta(&mut self.meta, with);
        with.text(&mut self.class);
        with.text(&mut self.attributes_class);
        with.text(&mut self.source.field);
        self.source.driver.iter_mut().for_each(|driver| with.text(driver));
        if let Some(reference) = &mut self.claim_ref {
            with.text(&mut reference.key.namespace);
        }
    }
}

/// The fields of a volume's `spec` that hold a source, in the API server's
/// order of precedence.
pub const SOURCE_FIELDS: &[&str] = &[
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

impl Source {
    fn from_spec(spec: &Value) -> Self {
        let Some((field, source)) =
            SOURCE_FIELDS.iter().find_map(|field| Some((*field, spec.get(*field)?)))
        else {
            return Self::default();
        };
        let text = |name: &str| source[name].as_str().unwrap_or_default();
        let place = match field {
            "nfs" => format!("{}:{}", text("server"), text("path")),
            "csi" => text("volumeHandle").to_owned(),
            "hostPath" | "local" => text("path").to_owned(),
            "gcePersistentDisk" => text("pdName").to_owned(),
            "awsElasticBlockStore" | "cinder" => text("volumeID").to_owned(),
            "iscsi" => format!("{} {}", text("targetPortal"), text("iqn")),
            "rbd" => format!("{}/{}", text("pool"), text("image")),
            _ => String::new(),
        };
        Self {
            field: field.into(),
            place: place.into(),
            driver: source["driver"].as_str().map(Arc::from),
        }
    }
}
