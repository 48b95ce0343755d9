//! The rows of what CSI drivers announce: CSINode, CSIDriver and
//! CSIStorageCapacity.

use std::sync::Arc;

use serde_json::Value;

use crate::model::kind::{self, Kind};
use crate::model::object::Meta;
use crate::model::quantity::Quantity;
use crate::model::row::{self, Malformed, Row, Sharing};
use crate::model::selector::LabelSelector;

/// The drivers registered on a node (CSINode; its name is the node's).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsiNode {
    pub meta: Meta,
    pub drivers: Box<[NodeDriver]>,
}

/// One driver on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeDriver {
    pub name: Arc<str>,
    /// The driver's own name for the node.
    pub node_id: Arc<str>,
    pub topology_keys: Box<[Arc<str>]>,
    /// How many volumes the node can have attached; `None`: no limit known.
    pub attach_limit: Option<i64>,
}

impl Row for CsiNode {
    const KIND: &'static Kind = kind::CSI_NODE;

    fn from_object(object: &Value) -> Result<Self, Malformed> {
        let drivers = object["spec"]["drivers"].as_array().into_iter().flatten();
        Ok(Self {
            meta: row::meta(Self::KIND, object)?,
            drivers: drivers
                .map(|driver| NodeDriver {
                    name: row::text(&driver["name"]),
                    node_id: row::text(&driver["nodeID"]),
                    topology_keys: row::strings(&driver["topologyKeys"]),
                    attach_limit: driver["allocatable"]["count"].as_i64(),
                })
                .collect(),
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// What a driver wants from the cluster (CSIDriver).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsiDriver {
    pub meta: Meta,
    /// Whether volumes need attaching; true unless the driver says no.
    pub attach_required: bool,
    pub pod_info_on_mount: bool,
    /// Whether the driver publishes CSIStorageCapacity objects.
    pub storage_capacity: bool,
    pub requires_republish: bool,
    /// `ReadWriteOnceWithFSType`, `File` or `None`; empty if unset.
    pub fs_group_policy: Arc<str>,
    /// `Persistent`, `Ephemeral` or both.
    pub lifecycle_modes: Box<[Arc<str>]>,
}

impl Row for CsiDriver {
    const KIND: &'static Kind = kind::CSI_DRIVER;

    fn from_object(object: &Value) -> Result<Self, Malformed> {
        let spec = &object["spec"];
        let flag = |field: &str, default| spec[field].as_bool().unwrap_or(default);
        Ok(Self {
            meta: row::meta(Self::KIND, object)?,
            attach_required: flag("attachRequired", true),
            pod_info_on_mount: flag("podInfoOnMount", false),
            storage_capacity: flag("storageCapacity", false),
            requires_republish: flag("requiresRepublish", false),
            fs_group_policy: row::text(&spec["fsGroupPolicy"]),
            lifecycle_modes: row::strings(&spec["volumeLifecycleModes"]),
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// How much a driver can still provision for a class in one topology segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsiCapacity {
    pub meta: Meta,
    pub class: Arc<str>,
    /// `None`: not known, which counts as nothing.
    pub capacity: Option<Quantity>,
    /// The largest single volume, where the driver says so.
    pub largest_volume: Option<Quantity>,
    /// Which nodes; `None` selects no node, an empty selector all.
    pub nodes: Option<Box<LabelSelector>>,
}

impl Row for CsiCapacity {
    const KIND: &'static Kind = kind::CSI_STORAGE_CAPACITY;

    fn from_object(object: &Value) -> Result<Self, Malformed> {
        let meta = row::meta(Self::KIND, object)?;
        Ok(Self {
            class: row::text(&object["storageClassName"]),
            capacity: row::quantity::<Self>(&meta, &object["capacity"], "capacity")?,
            largest_volume: row::quantity::<Self>(
                &meta,
                &object["maximumVolumeSize"],
                "maximumVolumeSize",
            )?,
            nodes: LabelSelector::from_json(&object["nodeTopology"]).map(Box::new),
            meta,
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn share(&mut self, with: &mut dyn Sharing) {
        row::share_meta(&mut self.meta, with);
        with.text(&mut self.class);
    }
}
