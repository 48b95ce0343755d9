//! The row of a ResourceQuota, and what a claim is charged by one.
//!
//! One set of rules for everyone: the embedded server charges and refuses by
//! it, the quota controller recounts by it, the console explains by it.
//! Upstream: the claims' evaluator in `pkg/quota/v1/evaluator/core` and
//! `checkRequest` of the admission plugin `ResourceQuota`.
//!
//! Deliberately absent: the charges of other kinds. Keys such as `pods` or
//! `requests.cpu` are kept and shown, and nothing is counted for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::model::claim::Claim;
use crate::model::kind::{self, Kind};
use crate::model::object::Meta;
use crate::model::quantity::Quantity;
use crate::model::row::{self, Malformed, Row};

/// The number of claims, whatever their class.
pub const CLAIMS: &str = "persistentvolumeclaims";
const CLAIMS_COUNT: &str = "count/persistentvolumeclaims";
/// What all claims ask for together.
pub const STORAGE: &str = "requests.storage";
/// Stands between a class and [`CLAIMS`] or [`STORAGE`].
const OF_CLASS: &str = ".storageclass.storage.k8s.io/";

/// Amounts by resource, sorted by name.
pub type Amounts = BTreeMap<Arc<str>, Quantity>;

/// What decisions and screens need of a ResourceQuota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceQuota {
    pub meta: Meta,
    /// `spec.hard`: takes effect once the controller has copied it.
    pub wanted: Amounts,
    /// `status.hard`: the limits that hold.
    pub hard: Amounts,
    /// `status.used`.
    pub used: Amounts,
    /// Which objects count: those that all of these match.
    pub scopes: Box<[Scope]>,
}

/// One entry of `spec.scopes` (operator `Exists`) or of the scope selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    pub name: Arc<str>,
    pub operator: Arc<str>,
    pub values: Box<[Arc<str>]>,
}

impl Row for ResourceQuota {
    const KIND: &'static Kind = kind::RESOURCE_QUOTA;

    fn from_object(object: &Value) -> Result<Self, Malformed> {
        let meta = row::meta(Self::KIND, object)?;
        let (spec, status) = (&object["spec"], &object["status"]);
        let plain = spec["scopes"].as_array().into_iter().flatten().map(|scope| Scope {
            name: row::text(scope),
            operator: "Exists".into(),
            values: Box::default(),
        });
        let selected = spec["scopeSelector"]["matchExpressions"].as_array().into_iter().flatten();
        let selected = selected.map(|term| Scope {
            name: row::text(&term["scopeName"]),
            operator: row::text(&term["operator"]),
            values: row::strings(&term["values"]),
        });
        Ok(Self {
            wanted: amounts::<Self>(&meta, &spec["hard"], "spec.hard")?,
            hard: amounts::<Self>(&meta, &status["hard"], "status.hard")?,
            used: amounts::<Self>(&meta, &status["used"], "status.used")?,
            scopes: plain.chain(selected).collect(),
            meta,
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// A map of quantities; `field` names it in the complaint.
pub fn amounts<R: Row>(meta: &Meta, map: &Value, field: &str) -> Result<Amounts, Malformed> {
    let entries = map.as_object().into_iter().flatten();
    let amounts = entries.map(|(key, value)| {
        let amount = row::quantity::<R>(meta, value, &format!("{field}[{key}]"))?;
        Ok((Arc::from(key.as_str()), amount.unwrap_or(Quantity::ZERO)))
    });
    amounts.collect()
}

/// `k=v,…`, as Kubernetes writes amounts.
pub fn pretty(amounts: &Amounts) -> String {
    let terms: Vec<_> = amounts.iter().map(|(key, amount)| format!("{key}={amount}")).collect();
    terms.join(",")
}

/// Whether claims are charged by this key.
pub fn is_claim_key(key: &str) -> bool {
    [CLAIMS, CLAIMS_COUNT, STORAGE].contains(&key) || of_class(key).is_some()
}

/// A key of one class: the class, and what is counted.
fn of_class(key: &str) -> Option<(&str, &str)> {
    let (class, what) = key.split_once(OF_CLASS)?;
    [CLAIMS, STORAGE].contains(&what).then_some((class, what))
}

/// What follows an amount of this key in words, where the key limits a claim:
/// ` claims`, or nothing for storage.
pub fn what_is_limited(key: &str, claim: &Claim) -> Option<String> {
    let (class, what) = match of_class(key) {
        Some((class, _)) if class != claim.effective_class() => return None,
        Some((class, what)) => (format!(" of class {class}"), what),
        None if is_claim_key(key) => (String::new(), key),
        None => return None,
    };
    Some(if what == STORAGE { class } else { format!(" claims{class}") })
}

/// What a claim is charged by a key that charges claims.
fn charge_by(key: &str, claim: &Claim) -> Quantity {
    let what = match of_class(key) {
        Some((class, _)) if class != claim.effective_class() => return Quantity::ZERO,
        Some((_, what)) => what,
        None => key,
    };
    if what == STORAGE { size(claim) } else { Quantity::ONE }
}

/// What a claim takes of the storage: its request, or what an expansion under
/// way has reserved. How much its volume really has never counts.
fn size(claim: &Claim) -> Quantity {
    let allocated = claim.allocated.as_deref().copied();
    let larger = claim.request.max(allocated).unwrap_or(Quantity::ZERO);
    larger.rounded_up_to_units()
}

/// What all these claims use of the keys that charge claims.
pub fn usage<'a>(
    keys: &Amounts,
    scopes: &[Scope],
    claims: impl Iterator<Item = &'a Claim>,
) -> Amounts {
    let keys = keys.keys().filter(|key| is_claim_key(key));
    let mut used: Amounts = keys.map(|key| (key.clone(), Quantity::ZERO)).collect();
    for claim in claims.filter(|claim| scopes_match(scopes, claim)) {
        for (key, amount) in &mut used {
            *amount = amount.plus(charge_by(key, claim));
        }
    }
    used
}

/// Whether all scopes match a claim. Only one scope can: with any other the
/// quota has nothing to do with claims.
fn scopes_match(scopes: &[Scope], claim: &Claim) -> bool {
    scopes.iter().all(|scope| {
        &*scope.name == "VolumeAttributesClass" && attributes_class_matches(scope, claim)
    })
}

/// A claim that changes its class has both, until its status has followed.
fn attributes_class_matches(scope: &Scope, claim: &Claim) -> bool {
    let names =
        [&claim.attributes_class, &claim.current_attributes_class, &claim.target_attributes_class];
    let mut names = names.into_iter().filter(|name| !name.is_empty());
    let listed = |name: &Arc<str>| scope.values.contains(name);
    match &*scope.operator {
        "Exists" => names.next().is_some(),
        "DoesNotExist" => names.next().is_none(),
        "In" => names.any(listed),
        "NotIn" => {
            let mut names = names.peekable();
            names.peek().is_none() || names.any(|name| !listed(name))
        }
        _ => false,
    }
}

impl ResourceQuota {
    /// Whether this quota limits the claim at all.
    pub fn covers(&self, claim: &Claim) -> bool {
        self.hard.keys().any(|key| is_claim_key(key)) && scopes_match(&self.scopes, claim)
    }

    /// What a claim that is new, or changed from `old`, adds to what is used;
    /// what shrinks gives nothing back here: the recount does.
    pub fn charge(&self, claim: &Claim, old: Option<&Claim>) -> Amounts {
        if !self.covers(claim) {
            return Amounts::new();
        }
        let old = old.filter(|old| self.covers(old));
        let keys = self.hard.keys().filter(|key| is_claim_key(key));
        let added = keys.map(|key| {
            let before = old.map_or(Quantity::ZERO, |old| charge_by(key, old));
            (key.clone(), charge_by(key, claim).minus_or_zero(before))
        });
        added.filter(|(_, amount)| !amount.is_zero()).collect()
    }

    /// Why a claim that is new, or changed from `old`, is refused.
    pub fn why_refused(&self, claim: &Claim, old: Option<&Claim>) -> Option<String> {
        if !self.covers(claim) {
            return None;
        }
        let name = &self.meta.key.name;
        let keys: Vec<&str> =
            self.hard.keys().map(|key| &**key).filter(|key| is_claim_key(key)).collect();
        if keys.iter().any(|key| !self.used.contains_key(*key)) {
            let keys = keys.join(",");
            return Some(format!("status unknown for quota: {name}, resources: {keys}"));
        }
        let mut requested = self.charge(claim, old);
        requested.retain(|key, amount| self.used(key).plus(*amount) > self.limit(key));
        if requested.is_empty() {
            return None;
        }
        let of = |amount: &dyn Fn(&str) -> Quantity| -> String {
            pretty(&requested.keys().map(|key| (key.clone(), amount(key))).collect())
        };
        Some(format!(
            "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
            pretty(&requested),
            of(&|key| self.used(key)),
            of(&|key| self.limit(key)),
        ))
    }

    /// `status.used` once a charge is added.
    pub fn used_with(&self, charge: &Amounts) -> Amounts {
        let mut used = self.used.clone();
        for (key, amount) in charge {
            let sum = self.used(key).plus(*amount);
            used.insert(key.clone(), sum);
        }
        used
    }

    fn used(&self, key: &str) -> Quantity {
        self.used.get(key).copied().unwrap_or(Quantity::ZERO)
    }

    fn limit(&self, key: &str) -> Quantity {
        self.hard.get(key).copied().unwrap_or(Quantity::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(change: Value) -> Claim {
        let mut object = json!({
            "metadata": {"name": "data", "namespace": "shop", "uid": "u"},
            "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "3Gi"}}},
        });
        json_patch::merge(&mut object, &change);
        Claim::from_object(&object).expect("a claim")
    }

    fn quota(hard: Value, used: Value, spec: Value) -> ResourceQuota {
        let object = json!({
            "metadata": {"name": "q", "namespace": "shop", "uid": "q"},
            "spec": spec, "status": {"hard": hard, "used": used},
        });
        ResourceQuota::from_object(&object).expect("a quota")
    }

    fn sized(size: &str) -> Claim {
        claim(json!({"spec": {"resources": {"requests": {"storage": size}}}}))
    }

    /// Rows: hard, used, the claim before, the refusal or none.
    #[test]
    fn a_claim_is_refused_for_what_it_would_exceed_and_nothing_else() {
        let class_storage = "fast.storageclass.storage.k8s.io/requests.storage";
        let other_class = "slow.storageclass.storage.k8s.io/persistentvolumeclaims";
        let both = json!({CLAIMS: "2", STORAGE: "5Gi"});
        let rows = [
            (both.clone(), json!({CLAIMS: "1", STORAGE: "2Gi"}), None, None),
            (
                both.clone(),
                json!({CLAIMS: "1", STORAGE: "3Gi"}),
                None,
                Some(
                    "exceeded quota: q, requested: requests.storage=3Gi, used: \
                     requests.storage=3Gi, limited: requests.storage=5Gi",
                ),
            ),
            (
                both.clone(),
                json!({CLAIMS: "2", STORAGE: "4Gi"}),
                None,
                Some(
                    "exceeded quota: q, requested: persistentvolumeclaims=1,requests.storage=3Gi, \
                     used: persistentvolumeclaims=2,requests.storage=4Gi, limited: \
                     persistentvolumeclaims=2,requests.storage=5Gi",
                ),
            ),
            // Only what grows is charged, and nothing at all may stay over.
            (both.clone(), json!({CLAIMS: "9", STORAGE: "4Gi"}), Some(sized("2Gi")), None),
            (both.clone(), json!({CLAIMS: "9", STORAGE: "9Gi"}), Some(sized("3Gi")), None),
            (both.clone(), json!({CLAIMS: "9", STORAGE: "9Gi"}), Some(sized("4Gi")), None),
            (
                both,
                json!({STORAGE: "0"}),
                None,
                Some(
                    "status unknown for quota: q, resources: \
                     persistentvolumeclaims,requests.storage",
                ),
            ),
            (
                json!({class_storage: "2Gi", other_class: "0", "pods": "1"}),
                json!({class_storage: "0", other_class: "0"}),
                None,
                Some(
                    "exceeded quota: q, requested: \
                     fast.storageclass.storage.k8s.io/requests.storage=3Gi, used: \
                     fast.storageclass.storage.k8s.io/requests.storage=0, limited: \
                     fast.storageclass.storage.k8s.io/requests.storage=2Gi",
                ),
            ),
            // No limit has come into force yet.
            (json!({}), json!({}), None, None),
        ];
        for (hard, used, old, expected) in rows {
            let quota = quota(hard.clone(), used, json!({}));
            let refused = quota.why_refused(&sized("3Gi"), old.as_ref());
            assert_eq!(refused.as_deref(), expected, "{hard}");
        }
    }

    /// Rows: the scope's operator and values, then whether claims match that
    /// have: no class; gold; gold and on their way to silver.
    #[test]
    fn scopes_choose_claims_by_their_attributes_classes() {
        let gold = json!({"spec": {"volumeAttributesClassName": "gold"}});
        let moving = json!({
            "spec": {"volumeAttributesClassName": "silver"},
            "status": {"currentVolumeAttributesClassName": "gold"},
        });
        for (name, operator, values, expected) in [
            ("VolumeAttributesClass", "Exists", json!([]), [false, true, true]),
            ("VolumeAttributesClass", "DoesNotExist", json!([]), [true, false, false]),
            ("VolumeAttributesClass", "In", json!(["gold"]), [false, true, true]),
            ("VolumeAttributesClass", "NotIn", json!(["gold"]), [true, false, true]),
            ("VolumeAttributesClass", "In", json!(["bronze"]), [false, false, false]),
            ("BestEffort", "Exists", json!([]), [false, false, false]),
        ] {
            let term = json!({"scopeName": name, "operator": operator, "values": values});
            let spec = json!({"scopeSelector": {"matchExpressions": [term]}});
            let quota = quota(json!({CLAIMS: "1"}), json!({CLAIMS: "0"}), spec);
            let matched = [json!({}), gold.clone(), moving.clone()];
            let matched = matched.map(|change| quota.covers(&claim(change)));
            assert_eq!(matched, expected, "{name} {operator} {values}");
        }
    }

    #[test]
    fn usage_counts_the_larger_of_request_and_reservation_in_whole_bytes() {
        let growing = claim(json!({"status": {"allocatedResources": {"storage": "4Gi"}}}));
        let plain = claim(json!({"spec": {"resources": {"requests": {"storage": "1500m"}}}}));
        let keys = quota(json!({CLAIMS: "9", STORAGE: "9Gi", "pods": "3"}), json!({}), json!({}));
        let used = usage(&keys.hard, &[], [growing, plain].iter());
        assert_eq!(pretty(&used), "persistentvolumeclaims=2,requests.storage=4294967298");
        let none = usage(&keys.hard, &[], std::iter::empty());
        assert_eq!(pretty(&none), "persistentvolumeclaims=0,requests.storage=0");
    }
}
