//! The row of a StatefulSet, as far as storage is concerned.

use std::sync::Arc;

use serde_json::Value;

use crate::model::kind::{self, Kind};
use crate::model::object::Meta;
use crate::model::row::{self, Malformed, Row};
use crate::model::selector::LabelSelector;

/// What screens need of a StatefulSet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatefulSet {
    pub meta: Meta,
    /// `spec.replicas`; one if unset.
    pub replicas: i64,
    /// `spec.ordinals.start`: the number of its first pod.
    pub start: i64,
    /// `spec.serviceName`: the Service that gives its pods their names.
    pub service: Arc<str>,
    pub selector: LabelSelector,
    pub ready_replicas: i64,
    /// The names of `spec.volumeClaimTemplates`: claims are `<template>-<pod>`.
    pub claim_templates: Box<[Arc<str>]>,
    /// Whether claims go with the set
    /// (`persistentVolumeClaimRetentionPolicy.whenDeleted: Delete`).
    pub deletes_claims_with_set: bool,
    /// Whether claims go with pods scaled away (`whenScaled: Delete`).
    pub deletes_claims_when_scaled: bool,
}

impl Row for StatefulSet {
    const KIND: &'static Kind = kind::STATEFUL_SET;

    fn from_object(object: &Value) -> Result<Self, Malformed> {
        let (spec, status) = (&object["spec"], &object["status"]);
        let templates = spec["volumeClaimTemplates"].as_array().into_iter().flatten();
        let retention = &spec["persistentVolumeClaimRetentionPolicy"];
        Ok(Self {
            meta: row::meta(Self::KIND, object)?,
            replicas: spec["replicas"].as_i64().unwrap_or(1),
            start: spec["ordinals"]["start"].as_i64().unwrap_or(0),
            service: row::text(&spec["serviceName"]),
            selector: LabelSelector::from_json(&spec["selector"]).unwrap_or_default(),
            ready_replicas: status["readyReplicas"].as_i64().unwrap_or(0),
            claim_templates: templates
                .filter_map(|template| template["metadata"]["name"].as_str())
                .map(Arc::from)
                .collect(),
            deletes_claims_with_set: retention["whenDeleted"] == "Delete",
            deletes_claims_when_scaled: retention["whenScaled"] == "Delete",
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}
