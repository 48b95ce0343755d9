//! How far a claim's growth has come, as its object tells. Pure.

use serde_json::Value;

use crate::model::access_modes::{AccessMode, AccessModes};
use crate::model::quantity::Quantity;

/// Annotation of a claim: it was grown without its nodes.
pub const NODE_NOT_REQUIRED: &str = "volume.kubernetes.io/node-expansion-not-required";
/// Annotation of a claim: who is to grow it.
pub const RESIZER: &str = "volume.kubernetes.io/storage-resizer";

/// `status.allocatedResourceStatuses.storage`: whose turn it is, and whether
/// that can work at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResizeStatus {
    ControllerInProgress,
    ControllerInfeasible,
    NodePending,
    NodeInProgress,
    NodeInfeasible,
}

impl ResizeStatus {
    const ALL: [Self; 5] = [
        Self::ControllerInProgress,
        Self::ControllerInfeasible,
        Self::NodePending,
        Self::NodeInProgress,
        Self::NodeInfeasible,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::ControllerInProgress => "ControllerResizeInProgress",
            Self::ControllerInfeasible => "ControllerResizeInfeasible",
            Self::NodePending => "NodeResizePending",
            Self::NodeInProgress => "NodeResizeInProgress",
            Self::NodeInfeasible => "NodeResizeInfeasible",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }
}

/// What a claim says of its own growth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Growth {
    /// `spec.resources.requests.storage`.
    pub request: Quantity,
    /// `status.capacity.storage`: what pods have of it now.
    pub capacity: Quantity,
    /// `status.allocatedResources.storage`: what a growth under way is to give;
    /// it stays when that is done.
    pub allocated: Option<Quantity>,
    pub status: Option<ResizeStatus>,
    /// Whether many nodes may write to it at once.
    pub is_shared: bool,
    /// Whether it is annotated as grown without its nodes.
    pub is_done_without_nodes: bool,
}

impl Growth {
    /// Reads a claim; a missing size is nothing.
    pub fn of(claim: &Value) -> Self {
        let (spec, status) = (&claim["spec"], &claim["status"]);
        let word = status["allocatedResourceStatuses"]["storage"].as_str();
        let nothing = Quantity::bytes(0);
        Self {
            request: quantity(&spec["resources"]["requests"]["storage"]).unwrap_or(nothing),
            capacity: quantity(&status["capacity"]["storage"]).unwrap_or(nothing),
            allocated: quantity(&status["allocatedResources"]["storage"]),
            status: word.and_then(ResizeStatus::parse),
            is_shared: AccessModes::from_json(&spec["accessModes"])
                .contains(AccessMode::ReadWriteMany),
            is_done_without_nodes: claim["metadata"]["annotations"][NODE_NOT_REQUIRED].is_string(),
        }
    }

    /// Whether more is asked for than there is.
    pub fn asks_for_more(&self) -> bool {
        self.request > self.capacity
    }
}

/// `spec.capacity.storage` of a volume.
pub fn capacity_of(volume: &Value) -> Quantity {
    quantity(&volume["spec"]["capacity"]["storage"]).unwrap_or(Quantity::bytes(0))
}

/// Whether a volume is bound to this very claim.
pub fn is_bound_to(volume: &Value, claim: &Value) -> bool {
    let (reference, metadata) = (&volume["spec"]["claimRef"], &claim["metadata"]);
    reference["namespace"] == metadata["namespace"] && reference["uid"] == metadata["uid"]
}

fn quantity(value: &Value) -> Option<Quantity> {
    Quantity::parse(value.as_str()?).ok()
}
