//! The row of a StatefulSet, as far as storage is concerned.

use std::sync::Arc;

use serde_json::Value;

use crate::model::access_modes::AccessModes;
use crate::model::claim::Claim;
use crate::model::kind::{self, Kind};
use crate::model::object::Meta;
use crate::model::quantity::Quantity;
use crate::model::row::{self, Malformed, Row};
use crate::model::selector::LabelSelector;
use crate::model::volume::VolumeMode;

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
    /// `spec.volumeClaimTemplates`: claims are `<template>-<pod>`.
    pub claim_templates: Box<[ClaimTemplate]>,
    /// Whether claims go with the set
    /// (`persistentVolumeClaimRetentionPolicy.whenDeleted: Delete`).
    pub deletes_claims_with_set: bool,
    /// Whether claims go with pods scaled away (`whenScaled: Delete`).
    pub deletes_claims_when_scaled: bool,
}

/// What the claims of a set ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimTemplate {
    pub name: Arc<str>,
    pub request: Option<Quantity>,
    pub access_modes: AccessModes,
    pub mode: VolumeMode,
    /// `None`: the default class is taken.
    pub class: Option<Arc<str>>,
}

impl ClaimTemplate {
    fn from_json(template: &Value) -> Option<Self> {
        let spec = &template["spec"];
        let request = spec["resources"]["requests"]["storage"].as_str();
        Some(Self {
            name: template["metadata"]["name"].as_str()?.into(),
            request: request.and_then(|text| text.parse().ok()),
            access_modes: AccessModes::from_json(&spec["accessModes"]),
            mode: VolumeMode::from_json(&spec["volumeMode"]),
            class: spec["storageClassName"].as_str().map(Arc::from),
        })
    }

    /// In what a claim that was there before differs from one made of this
    /// template; one that was expanded since does not.
    pub fn why_other(&self, claim: &Claim) -> Option<String> {
        let differs = |what: &str, has: String, wanted: String| {
            Some(format!("{what} {has}, the template {wanted}"))
        };
        if let (Some(has), Some(wanted)) = (claim.request, self.request)
            && has < wanted
        {
            return differs("it asks for", has.to_string(), wanted.to_string());
        }
        if claim.access_modes != self.access_modes {
            let (has, wanted) = (claim.access_modes.to_string(), self.access_modes.to_string());
            return differs("its access modes are", has, wanted);
        }
        if claim.mode != self.mode {
            let (has, wanted) = (claim.mode.name().into(), self.mode.name().into());
            return differs("its volume mode is", has, wanted);
        }
        let class = self.class.as_deref().filter(|class| *class != claim.effective_class())?;
        differs("its class is", claim.effective_class().into(), class.into())
    }
}

impl StatefulSet {
    /// The names of its claim templates, in a row.
    pub fn template_names(&self, between: &str) -> String {
        let names: Vec<&str> = self.claim_templates.iter().map(|held| &*held.name).collect();
        names.join(between)
    }
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
            claim_templates: templates.filter_map(ClaimTemplate::from_json).collect(),
            deletes_claims_with_set: retention["whenDeleted"] == "Delete",
            deletes_claims_when_scaled: retention["whenScaled"] == "Delete",
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}
