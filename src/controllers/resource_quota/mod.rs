//! Keeps each ResourceQuota's status: the limits that hold, and what is used.
//!
//! Admission charges a quota before a claim is stored; this controller copies
//! `spec.hard` into `status.hard`, from when on it limits anything, and
//! recounts when something is given back.
//!
//! ```text
//! mirror ─ quota new or changed; claim gone or charged otherwise ─> recount (pure) ─> status
//!                                                  lower than before ─> [live list] ─┘
//! ```
//!
//! Upstream: `pkg/controller/resourcequota`.

pub mod controller;
pub mod explain;

use serde_json::{Map, Value, json};

use crate::model::claim::Claim;
use crate::model::kind;
use crate::model::object::ObjectRef;
use crate::model::quota::{Amounts, ResourceQuota, pretty, usage};
use crate::model::write::{Change, Reason, Write};

/// What a quota's status should say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recount {
    pub hard: Amounts,
    pub used: Amounts,
}

/// Counts what the claims of its namespace use.
pub fn recount<'a>(quota: &ResourceQuota, claims: impl Iterator<Item = &'a Claim>) -> Recount {
    Recount { hard: quota.wanted.clone(), used: usage(&quota.wanted, &quota.scopes, claims) }
}

impl Recount {
    /// Whether something would be given back. Claims are charged before they
    /// are stored, so that one may be missing that has been charged.
    pub fn gives_back(&self, quota: &ResourceQuota) -> bool {
        let lower = |key, amount| self.used.get(key).is_some_and(|now| now < amount);
        quota.used.iter().any(|(key, amount)| lower(key, amount))
    }

    /// The write that brings the status about; `None` if it is right.
    pub fn write(&self, quota: &ResourceQuota) -> Option<Write> {
        if quota.hard == self.hard && quota.used == self.used {
            return None;
        }
        let object = ObjectRef::new(kind::RESOURCE_QUOTA, quota.meta.key.clone());
        let hard = changes(&quota.hard, &self.hard);
        let used = changes(&quota.used, &self.used);
        let text = if quota.hard == self.hard {
            format!("its claims use {}", pretty(&self.used))
        } else {
            format!("the limits {} come into force", pretty(&self.hard))
        };
        Some(Write {
            object: object.clone(),
            subresource: Some("status"),
            change: Change::Merge(json!({"status": {"hard": hard, "used": used}})),
            version: Some(quota.meta.version),
            on_behalf_of: object,
            reason: Reason::new("RQ2", text),
        })
    }
}

/// The merge patch from one map of amounts to another.
fn changes(before: &Amounts, after: &Amounts) -> Value {
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    let gone = gone.map(|key| (key.to_string(), Value::Null));
    let kept = after.iter().map(|(key, amount)| (key.to_string(), amount.to_string().into()));
    Value::Object(gone.chain(kept).collect::<Map<_, _>>())
}

/// Whether a change of a claim changes what it is charged.
fn charged_alike(before: &Claim, after: &Claim) -> bool {
    let facts = |claim: &Claim| {
        (
            (claim.meta.uid.clone(), claim.request, claim.allocated.clone(), claim.class.clone()),
            claim.attributes_class.clone(),
            claim.current_attributes_class.clone(),
            claim.target_attributes_class.clone(),
        )
    };
    facts(before) == facts(after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::row::Row;

    fn quota(status: Value) -> ResourceQuota {
        let object = json!({
            "metadata": {"name": "q", "namespace": "shop", "resourceVersion": "7"},
            "spec": {"hard": {"persistentvolumeclaims": "2"}}, "status": status,
        });
        ResourceQuota::from_object(&object).expect("a quota")
    }

    fn claims(count: usize) -> Vec<Claim> {
        let object = |n| json!({"metadata": {"name": format!("c{n}"), "namespace": "shop"}});
        (0..count).map(|n| Claim::from_object(&object(n)).expect("a claim")).collect()
    }

    /// Rows: the status, the number of claims, the patch of the status.
    #[test]
    fn status_follows_the_spec_and_the_claims() {
        let of = |hard: &str, used: &str| json!({"hard": {"persistentvolumeclaims": hard}, "used": {"persistentvolumeclaims": used}});
        let dropped = json!({
            "hard": {"persistentvolumeclaims": "2", "pods": null},
            "used": {"persistentvolumeclaims": "0", "pods": null},
        });
        for (status, count, expected) in [
            (json!({}), 1, Some(of("2", "1"))),
            (of("2", "1"), 1, None),
            (of("2", "3"), 1, Some(of("2", "1"))),
            (of("5", "9"), 9, Some(of("2", "9"))),
            (json!({"hard": {"pods": "1"}, "used": {"pods": "1"}}), 0, Some(dropped)),
        ] {
            let quota = quota(status.clone());
            let count = recount(&quota, claims(count).iter());
            let write = count.write(&quota);
            let patch = write.map(|write| match write.change {
                Change::Merge(patch) => patch["status"].clone(),
                other => panic!("{other:?}"),
            });
            assert_eq!(patch, expected, "{status}");
        }
    }

    #[test]
    fn only_a_lower_count_gives_back() {
        let status = json!({"used": {"persistentvolumeclaims": "2"}});
        for (count, expected) in [(1, true), (2, false), (3, false)] {
            let quota = quota(status.clone());
            assert_eq!(recount(&quota, claims(count).iter()).gives_back(&quota), expected);
        }
    }
}
