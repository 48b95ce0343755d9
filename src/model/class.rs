//! The row of a StorageClass.

use std::sync::Arc;

use serde_json::Value;

use crate::model::kind::{self, Kind};
use crate::model::object::Meta;
use crate::model::row::{self, Malformed, Row};

/// What decisions and screens need of a StorageClass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageClass {
    pub meta: Meta,
    pub provisioner: Arc<str>,
    /// `Delete` or `Retain`.
    pub reclaim_policy: Arc<str>,
    /// `None` cannot occur behind the API's defaulting; the binder has a rule
    /// for it all the same.
    pub binding_mode: Option<BindingMode>,
    pub expandable: bool,
    pub mount_options: Box<[Arc<str>]>,
    /// `allowedTopologies`: where volumes may be provisioned; none: anywhere.
    pub allowed_topologies: Box<[TopologyTerm]>,
}

/// Labels of a node, all of which must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopologyTerm(pub Box<[AllowedLabel]>);

/// A label and the values that it may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedLabel {
    pub key: Arc<str>,
    pub values: Box<[Arc<str>]>,
}

/// When a claim of the class is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BindingMode {
    Immediate,
    WaitForFirstConsumer,
}

impl StorageClass {
    /// Whether volumes of the class may be provisioned for a node with these
    /// labels, sorted by key. An empty term admits nothing.
    pub fn admits(&self, labels: &[(Arc<str>, Arc<str>)]) -> bool {
        let holds = |allowed: &AllowedLabel| {
            let at = labels.binary_search_by(|(held, _)| held.cmp(&allowed.key));
            at.is_ok_and(|at| allowed.values.contains(&labels[at].1))
        };
        self.allowed_topologies.is_empty()
            || self
                .allowed_topologies
                .iter()
                .any(|TopologyTerm(term)| !term.is_empty() && term.iter().all(holds))
    }

    /// Whether one of the two default annotations is exactly `"true"`.
    pub fn is_default(&self) -> bool {
        [
            "storageclass.kubernetes.io/is-default-class",
            "storageclass.beta.kubernetes.io/is-default-class",
        ]
        .iter()
        .any(|key| self.meta.annotation(key) == Some("true"))
    }
}

impl Row for StorageClass {
    const KIND: &'static Kind = kind::STORAGE_CLASS;

    fn from_object(object: &Value) -> Result<Self, Malformed> {
        Ok(Self {
            meta: row::meta(Self::KIND, object)?,
            provisioner: object["provisioner"].as_str().unwrap_or_default().into(),
            reclaim_policy: object["reclaimPolicy"].as_str().unwrap_or("Delete").into(),
            binding_mode: match object["volumeBindingMode"].as_str() {
                Some("WaitForFirstConsumer") => Some(BindingMode::WaitForFirstConsumer),
                Some(_) => Some(BindingMode::Immediate),
                None => None,
            },
            expandable: object["allowVolumeExpansion"].as_bool().unwrap_or(false),
            mount_options: row::strings(&object["mountOptions"]),
            allowed_topologies: object["allowedTopologies"]
                .as_array()
                .into_iter()
                .flatten()
                .map(topology_term)
                .collect(),
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

fn topology_term(term: &Value) -> TopologyTerm {
    let expressions = term["matchLabelExpressions"].as_array().into_iter().flatten();
    let expression =
        |e: &Value| AllowedLabel { key: row::text(&e["key"]), values: row::strings(&e["values"]) };
    TopologyTerm(expressions.map(expression).collect())
}
