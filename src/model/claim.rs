//! The row of a PersistentVolumeClaim.

use std::sync::Arc;

use serde_json::Value;

use crate::model::access_modes::AccessModes;
use crate::model::kind::{self, Kind};
use crate::model::object::Meta;
use crate::model::quantity::Quantity;
use crate::model::row::{self, Malformed, Row, Sharing};
use crate::model::selector::LabelSelector;
use crate::model::volume::VolumeMode;

/// What decisions and screens need of a PersistentVolumeClaim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub meta: Meta,
    /// `spec.resources.requests.storage`; the API server insists on one.
    pub request: Option<Quantity>,
    pub access_modes: AccessModes,
    pub mode: VolumeMode,
    /// The class asked for: the beta annotation if present, else
    /// `spec.storageClassName`. `None`: the claim has no class, not even `""`.
    pub class: Option<Arc<str>>,
    /// `spec.volumeAttributesClassName`, empty if unset.
    pub attributes_class: Arc<str>,
    /// `spec.volumeName`, empty if unset.
    pub volume_name: Arc<str>,
    pub selector: Option<Box<LabelSelector>>,
    /// Whether `spec.dataSource` or `dataSourceRef` is set.
    pub has_data_source: bool,
    /// Whether `metadata.annotations` is empty, of any key.
    pub has_no_annotations: bool,
    pub phase: ClaimPhase,
    /// `status.accessModes`.
    pub actual_modes: AccessModes,
    /// `status.capacity.storage`.
    pub capacity: Option<Quantity>,
    /// `status.allocatedResources.storage`: what an expansion under way has
    /// reserved. Boxed: few claims have it.
    pub allocated: Option<Box<Quantity>>,
    /// `status.currentVolumeAttributesClassName`, empty if unset.
    pub current_attributes_class: Arc<str>,
    /// `status.modifyVolumeStatus.targetVolumeAttributesClassName`, empty if unset.
    pub target_attributes_class: Arc<str>,
    /// Whether `status` has any of the fields that an unbound claim must not
    /// have (capacity, access modes, attributes class).
    pub has_volume_status: bool,
}

/// A claim's phase. `Unset` is what an empty `status.phase` reads as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClaimPhase {
    Unset,
    Pending,
    Bound,
    Lost,
}

impl ClaimPhase {
    pub fn name(self) -> &'static str {
        match self {
            Self::Unset => "",
            Self::Pending => "Pending",
            Self::Bound => "Bound",
            Self::Lost => "Lost",
        }
    }
}

impl Claim {
    /// The effective class: [`Claim::class`], empty without one.
    pub fn effective_class(&self) -> &str {
        self.class.as_deref().unwrap_or_default()
    }
}

impl Row for Claim {
    const KIND: &'static Kind = kind::PERSISTENT_VOLUME_CLAIM;

    fn from_object(object: &Value) -> Result<Self, Malformed> {
        let meta = row::meta(Self::KIND, object)?;
        let (spec, status) = (&object["spec"], &object["status"]);
        let (request, requested) =
            ("spec.resources.requests.storage", &spec["resources"]["requests"]["storage"]);
        let request = row::quantity::<Self>(&meta, requested, request)?;
        let capacity = &status["capacity"]["storage"];
        let capacity = row::quantity::<Self>(&meta, capacity, "status.capacity.storage")?;
        let allocated = &status["allocatedResources"]["storage"];
        let allocated =
            row::quantity::<Self>(&meta, allocated, "status.allocatedResources.storage")?;
        Ok(Self {
            request,
            access_modes: AccessModes::from_json(&spec["accessModes"]),
            mode: VolumeMode::from_json(&spec["volumeMode"]),
            class: meta
                .annotation("volume.beta.kubernetes.io/storage-class")
                .or(spec["storageClassName"].as_str())
                .map(Arc::from),
            attributes_class: row::text(&spec["volumeAttributesClassName"]),
            volume_name: row::text(&spec["volumeName"]),
            selector: LabelSelector::from_json(&spec["selector"]).map(Box::new),
            has_data_source: spec["dataSource"].is_object() || spec["dataSourceRef"].is_object(),
            has_no_annotations: object["metadata"]["annotations"]
                .as_object()
                .is_none_or(serde_json::Map::is_empty),
            phase: match status["phase"].as_str().unwrap_or_default() {
                "Pending" => ClaimPhase::Pending,
                "Bound" => ClaimPhase::Bound,
                "Lost" => ClaimPhase::Lost,
                _ => ClaimPhase::Unset,
            },
            actual_modes: AccessModes::from_json(&status["accessModes"]),
            capacity,
            allocated: allocated.map(Box::new),
            current_attributes_class: row::text(&status["currentVolumeAttributesClassName"]),
            target_attributes_class: row::text(
                &status["modifyVolumeStatus"]["targetVolumeAttributesClassName"],
            ),
            has_volume_status: ["accessModes", "capacity", "currentVolumeAttributesClassName"]
                .iter()
                .any(|field| !status[*field].is_null()),
            meta,
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn share(&mut self, with: &mut dyn Sharing) {
        row::share_meta(&mut self.meta, with);
        self.class.iter_mut().for_each(|class| with.text(class));
        with.text(&mut self.attributes_class);
        with.text(&mut self.current_attributes_class);
        with.text(&mut self.target_attributes_class);
    }
}
