//! The row of a Deployment.

use serde_json::Value;

use crate::model::kind::{self, Kind};
use crate::model::object::Meta;
use crate::model::row::{self, Malformed, Row, Sharing};
use crate::model::selector::LabelSelector;

/// What screens need of a Deployment; its controller reads the object itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    pub meta: Meta,
    /// `spec.replicas`; one if unset.
    pub replicas: i64,
    /// Whether old pods go before new ones come (`strategy.type: Recreate`).
    pub recreates: bool,
    pub selector: LabelSelector,
    pub ready_replicas: i64,
    pub updated_replicas: i64,
    pub available_replicas: i64,
    /// The reason of its `Progressing` condition, such as
    /// `ProgressDeadlineExceeded`; empty without one.
    pub progress: Box<str>,
}

impl Row for Deployment {
    const KIND: &'static Kind = kind::DEPLOYMENT;

    fn from_object(object: &Value) -> Result<Self, Malformed> {
        let (spec, status) = (&object["spec"], &object["status"]);
        let count = |field: &str| status[field].as_i64().unwrap_or(0);
        let mut conditions = status["conditions"].as_array().into_iter().flatten();
        let progress = conditions.find(|held| held["type"] == "Progressing");
        Ok(Self {
            meta: row::meta(Self::KIND, object)?,
            replicas: spec["replicas"].as_i64().unwrap_or(1),
            recreates: spec["strategy"]["type"] == "Recreate",
            selector: LabelSelector::from_json(&spec["selector"]).unwrap_or_default(),
            ready_replicas: count("readyReplicas"),
            updated_replicas: count("updatedReplicas"),
            available_replicas: count("availableReplicas"),
            progress: progress.and_then(|held| held["reason"].as_str()).unwrap_or_default().into(),
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn share(&mut self, with: &mut dyn Sharing) {
        row::share_meta(&mut self.meta, with);
    }
}
