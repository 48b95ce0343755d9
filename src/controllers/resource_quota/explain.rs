//! What is left of the quotas that a claim counts towards, for people.

use std::fmt;
use std::sync::Arc;

use crate::mirror::Tables;
use crate::mirror::freshness::Freshness;
use crate::model::claim::Claim;
use crate::model::kind;
use crate::model::limit_range::storage_request;
use crate::model::quantity::Quantity;
use crate::model::quota::{ResourceQuota, what_is_limited};

/// What quotas and limits say of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quotas {
    /// Nothing limits it.
    Unlimited,
    /// They may not be read, with the reason.
    CannotTell {
        why: String,
    },
    Limited {
        by: Vec<Use>,
    },
}

/// How far one quota is used, or what one LimitRange refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    pub words: String,
    /// Whether it stands in the claim's way, or in that of another like it.
    pub hinders: bool,
}

/// What the quotas of its namespace leave for a claim like this one, and the
/// LimitRanges that would refuse any further write of it.
pub fn explain(
    tables: &Tables,
    freshness: &dyn Fn(&'static kind::Kind) -> Option<Freshness>,
    claim: &Claim,
) -> Quotas {
    let namespace = &claim.meta.key.namespace;
    for kind in [kind::RESOURCE_QUOTA, kind::LIMIT_RANGE] {
        if let Some(why) = freshness(kind).and_then(|fresh| why_not_known(&fresh, namespace)) {
            return Quotas::CannotTell { why: format!("{}: {why}", kind.plural) };
        }
    }
    let quotas: Vec<_> = tables.quotas.in_namespace(namespace.clone()).collect();
    let many = quotas.len() > 1;
    let quotas = quotas.iter().filter_map(|quota| one_quota(quota, claim, many));
    let requests = storage_request(claim.request);
    let ranges = tables.limit_ranges.in_namespace(namespace.clone()).filter_map(|range| {
        let why = range.why_refused(&requests)?;
        let words = format!("LimitRange {} refuses every write of it: {why}", range.meta.key.name);
        Some(Use { words, hinders: true })
    });
    let by: Vec<Use> = quotas.chain(ranges).collect();
    if by.is_empty() { Quotas::Unlimited } else { Quotas::Limited { by } }
}

/// Why what is not in the mirror may be there all the same.
fn why_not_known(freshness: &Freshness, namespace: &Arc<str>) -> Option<String> {
    match freshness {
        Freshness::Forbidden { message } => Some(message.clone()),
        Freshness::Loading { .. } => Some("not listed yet".into()),
        Freshness::LiveInNamespace { namespace: only } if only != namespace => {
            Some(format!("only those of {only} may be listed"))
        }
        Freshness::Live
        | Freshness::LiveInNamespace { .. }
        | Freshness::Stale { .. }
        | Freshness::NotServed => None,
    }
}

fn one_quota(quota: &ResourceQuota, claim: &Claim, many: bool) -> Option<Use> {
    let key = &quota.meta.key;
    let name = if many { format!(" (quota {})", key.name) } else { String::new() };
    if quota.hard != quota.wanted && quota.hard.is_empty() {
        let words = format!("the limits of quota {} are not in force yet", key.name);
        return Some(Use { words, hinders: false });
    }
    if !quota.covers(claim) {
        return None;
    }
    let mut terms = Vec::new();
    let mut full = false;
    for (resource, limit) in &quota.hard {
        let Some(what) = what_is_limited(resource, claim) else { continue };
        let Some(used) = quota.used.get(resource).copied() else {
            let words = format!("what is used of quota {} is not known yet", key.name);
            return Some(Use { words, hinders: true });
        };
        full |= used >= *limit;
        terms.push(Term { used, limit: *limit, what }.to_string());
    }
    if terms.is_empty() {
        return None;
    }
    let full_words = if full { "; full: no further claim is admitted" } else { "" };
    let words = format!("{} in {}{name}{full_words}", terms.join(", "), key.namespace);
    Some(Use { words, hinders: full })
}

struct Term {
    used: Quantity,
    limit: Quantity,
    what: String,
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}{}", self.used, self.limit, self.what)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::mirror::Mirror;
    use crate::model::limit_range::LimitRange;
    use crate::model::row::Row;

    fn claim() -> Claim {
        let object = json!({
            "metadata": {"name": "data", "namespace": "shop"},
            "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}},
        });
        Claim::from_object(&object).expect("a claim")
    }

    fn quota(name: &str, hard: Value, used: Value) -> ResourceQuota {
        let object = json!({
            "metadata": {"name": name, "namespace": "shop", "uid": name},
            "spec": {"hard": hard}, "status": {"hard": hard, "used": used},
        });
        ResourceQuota::from_object(&object).expect("a quota")
    }

    fn words(mirror: &Mirror, freshness: Option<Freshness>) -> Vec<String> {
        let found = mirror.read(|tables| explain(tables, &|_| freshness.clone(), &claim()));
        match found {
            Quotas::Unlimited => vec!["none".into()],
            Quotas::CannotTell { why } => vec![format!("cannot tell: {why}")],
            Quotas::Limited { by } => by.into_iter().map(|one| one.words).collect(),
        }
    }

    #[test]
    fn usage_reads_as_so_many_of_so_many() {
        let mirror = Mirror::default();
        assert_eq!(words(&mirror, Some(Freshness::Live)), ["none"]);
        let hard = json!({"persistentvolumeclaims": "10", "requests.storage": "20Gi", "pods": "1"});
        let used = json!({"persistentvolumeclaims": "2", "requests.storage": "5Gi"});
        mirror.apply(quota("a", hard, used));
        let first = "2 of 10 claims, 5Gi of 20Gi in shop";
        assert_eq!(words(&mirror, Some(Freshness::Live)), [first]);
        let class =
            |class: &str| format!("{class}.storageclass.storage.k8s.io/persistentvolumeclaims");
        let (fast, slow) = (class("fast"), class("slow"));
        mirror.apply(quota("b", json!({&fast: "1", &slow: "0"}), json!({&fast: "1", &slow: "0"})));
        let second =
            "1 of 1 claims of class fast in shop (quota b); full: no further claim is admitted";
        assert_eq!(
            words(&mirror, Some(Freshness::Live)),
            [format!("{first} (quota a)"), second.to_owned()]
        );
    }

    #[test]
    fn a_limit_range_that_came_later_is_told() {
        let mirror = Mirror::default();
        let limits = json!([{"type": "PersistentVolumeClaim", "min": {"storage": "2Gi"}}]);
        let object =
            json!({"metadata": {"name": "l", "namespace": "shop"}, "spec": {"limits": limits}});
        mirror.apply(LimitRange::from_object(&object).expect("a range"));
        let why = "LimitRange l refuses every write of it: minimum storage usage per \
                   PersistentVolumeClaim is 2Gi, but request is 1Gi";
        assert_eq!(words(&mirror, None), [why]);
    }

    #[test]
    fn what_may_not_be_listed_cannot_be_told() {
        let mirror = Mirror::default();
        let forbidden = Freshness::Forbidden { message: "no rule".into() };
        assert_eq!(words(&mirror, Some(forbidden)), ["cannot tell: resourcequotas: no rule"]);
        let elsewhere = Freshness::LiveInNamespace { namespace: "web".into() };
        let expected = "cannot tell: resourcequotas: only those of web may be listed";
        assert_eq!(words(&mirror, Some(elsewhere)), [expected]);
    }
}
