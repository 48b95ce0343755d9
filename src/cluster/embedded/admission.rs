//! Admission that follows validation, in Kubernetes' order: `LimitRanger`,
//! `PersistentVolumeClaimResize`, and `ResourceQuota` last.
//!
//! A quota is charged *before* the claim is stored, as upstream: a creation
//! that then finds its name taken has been charged, and the quota controller's
//! recount gives it back. The rules themselves are `model::limit_range` and
//! `model::quota`.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::cluster::embedded::Embedded;
use crate::cluster::embedded::kind::AdmissionView;
use crate::cluster::embedded::kinds::persistent_volume_claim::admit_resize;
use crate::cluster::embedded::refusal::{forbidden, internal, stale};
use crate::cluster::embedded::registry::Served;
use crate::cluster::embedded::status::ApiError;
use crate::cluster::embedded::store::Span;
use crate::cluster::embedded::store::history::Author;
use crate::cluster::embedded::store::object::Stored;
use crate::cluster::embedded::write::{Call, Proposal, RACE_TRIES, WriteOptions};
use crate::model::claim::Claim;
use crate::model::kind;
use crate::model::limit_range::LimitRange;
use crate::model::quota::{ResourceQuota, amounts, pretty};
use crate::model::row::Row;
use crate::model::write::Reason;

/// Who charges quotas: the server itself.
const SERVER: &str = "kube-apiserver";

impl Embedded {
    /// Refuses or charges an object that is valid. `old` is `None` on create.
    pub(super) fn admit_valid(
        &self,
        call: &Call,
        options: WriteOptions,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<(), ApiError> {
        if call.served().names() != kind::PERSISTENT_VOLUME_CLAIM {
            return Ok(());
        }
        let is_status = call.subresource().is_some();
        if !is_status {
            self.limit(object)?;
            if let Some(old) = old {
                admit_resize(object, old, self)?;
            }
        }
        self.charge_quotas(object, old, is_status, options.dry_run)
    }

    /// Admission `LimitRanger` of a claim.
    fn limit(&self, object: &Value) -> Result<(), ApiError> {
        let namespace = object["metadata"]["namespace"].as_str();
        let ranges = AdmissionView::list(self, kind::LIMIT_RANGE, namespace);
        if ranges.is_empty() || !object["metadata"]["deletionTimestamp"].is_null() {
            return Ok(());
        }
        let claim = row::<Claim>(object)?;
        let requests = &object["spec"]["resources"]["requests"];
        let requests = amounts::<Claim>(&claim.meta, requests, "spec.resources.requests");
        let requests = requests.map_err(internal)?;
        for range in ranges {
            if let Some(why) = row::<LimitRange>(&range)?.why_refused(&requests) {
                return Err(forbidden(kind::PERSISTENT_VOLUME_CLAIM, &claim.meta.key.name, &why));
            }
        }
        Ok(())
    }

    /// Admission `ResourceQuota` of a claim: all quotas are asked before any is
    /// charged. A status is charged and never refused.
    fn charge_quotas(
        &self,
        object: &Value,
        old: Option<&Value>,
        is_status: bool,
        dry_run: bool,
    ) -> Result<(), ApiError> {
        let Some(served) = self.registry().by_kind(kind::RESOURCE_QUOTA) else { return Ok(()) };
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        let mut charged = BTreeSet::new();
        for _ in 0..RACE_TRIES {
            let quotas = self.quotas(served, namespace)?;
            if quotas.is_empty() {
                return Ok(());
            }
            let (claim, old) = (row::<Claim>(object)?, old.map(row::<Claim>).transpose()?);
            let open = quotas.iter().filter(|(_, _, quota)| !charged.contains(&quota.meta.key));
            let open: Vec<_> = open.collect();
            if !is_status {
                let why =
                    open.iter().find_map(|(_, _, quota)| quota.why_refused(&claim, old.as_ref()));
                if let Some(why) = why {
                    let name = &claim.meta.key.name;
                    return Err(forbidden(kind::PERSISTENT_VOLUME_CLAIM, name, &why));
                }
            }
            if dry_run {
                return Ok(());
            }
            let mut raced = false;
            for (version, object, quota) in open {
                if self.charge(served, *version, object, quota, &claim, old.as_ref())? {
                    charged.insert(quota.meta.key.clone());
                } else {
                    raced = true;
                }
            }
            if !raced {
                return Ok(());
            }
        }
        Err(stale(kind::RESOURCE_QUOTA, namespace))
    }

    /// The quotas of a namespace with their versions.
    fn quotas(
        &self,
        served: Served,
        namespace: &str,
    ) -> Result<Vec<(u64, Value, ResourceQuota)>, ApiError> {
        let span = Span {
            table: served.table,
            namespace: Some(namespace),
            after: None,
            at: None,
            limit: None,
        };
        // The latest state is never compacted.
        let page = self.store().list(&span, |_: &Stored| true);
        let objects = page.map(|page| page.objects).unwrap_or_default();
        let decoded = objects.iter().map(|stored| {
            let object = served.stored_object(stored);
            let quota = row::<ResourceQuota>(&object)?;
            Ok((stored.version, object, quota))
        });
        decoded.collect()
    }

    /// Charges one quota; `false` if another write of it came between.
    fn charge(
        &self,
        served: Served,
        version: u64,
        object: &Value,
        quota: &ResourceQuota,
        claim: &Claim,
        old: Option<&Claim>,
    ) -> Result<bool, ApiError> {
        let charge = quota.charge(claim, old);
        if charge.is_empty() {
            return Ok(true);
        }
        let used = quota.used_with(&charge);
        let used = used.iter().map(|(key, amount)| (key.to_string(), amount.to_string().into()));
        let mut next = object.clone();
        next["status"]["used"] = Value::Object(used.collect());
        let why = format!("{} takes {}", claim.meta.key, pretty(&charge));
        let proposal = Proposal {
            served,
            key: quota.meta.key.clone(),
            expected: Some(version),
            next: Some(&next),
            author: &Author::named(SERVER),
            reason: &Some(Reason::new("RQ1", why)),
        };
        Ok(self.propose(proposal)?.is_some())
    }
}

fn row<R: Row>(object: &Value) -> Result<R, ApiError> {
    R::from_object(object).map_err(internal)
}
