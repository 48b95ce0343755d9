//! Who owns a StatefulSet's claims: nobody, the set, or the pod, as
//! `persistentVolumeClaimRetentionPolicy` asks (workloads 6).
//!
//! The controller only writes references; the garbage collector deletes.

use serde_json::Value;

use crate::controllers::workloads::owners::{as_json, controller_reference};
use crate::controllers::workloads::stateful_set::set::Set;
use crate::model::claim::Claim;
use crate::model::kind;
use crate::model::object::OwnerReference;
use crate::model::pod::Pod;

/// Who is to own a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    Nobody,
    Set,
    Pod,
}

/// The keeper that the policy asks for.
pub fn keeper(set: &Set, condemned: bool) -> Keeper {
    let (deleted, scaled) = (set.row.deletes_claims_with_set, set.row.deletes_claims_when_scaled);
    match (deleted, scaled, condemned) {
        (_, true, true) => Keeper::Pod,
        (true, true, false) | (true, false, _) => Keeper::Set,
        (false, true, false) | (false, false, _) => Keeper::Nobody,
    }
}

/// What is wrong with a claim's references.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    AsWanted,
    /// These are to be its references.
    Rewrite(Vec<Value>),
    /// Somebody else controls it: the policy cannot be followed. Ours are to be
    /// taken off, if there are any.
    Conflicting(Option<Vec<Value>>),
}

/// Compares a claim's references with what the policy asks for.
pub fn judge(set: &Set, pod: &Pod, claim: &Claim, condemned: bool) -> Verdict {
    let keeper = keeper(set, condemned);
    let whose = |owner: &OwnerReference| whose(set, pod, owner);
    let held = claim.meta.owners();
    let kept = || held.iter().filter(|owner| whose(owner) == Whose::Other).map(as_json);
    let ours: Vec<&OwnerReference> =
        held.iter().filter(|owner| whose(owner) != Whose::Other).collect();
    let managed = set.row.deletes_claims_with_set || set.row.deletes_claims_when_scaled;
    let foreign = |owner: &OwnerReference| {
        owner.controller && whose(owner) == Whose::Other && !is_namesake(set, pod, owner)
    };
    if managed && held.iter().any(foreign) {
        return Verdict::Conflicting((!ours.is_empty()).then(|| kept().collect()));
    }
    let wanted = match keeper {
        Keeper::Nobody => None,
        Keeper::Set => Some((Whose::Set, kind::STATEFUL_SET, set.meta())),
        Keeper::Pod => Some((Whose::Pod, kind::POD, &pod.meta)),
    };
    // A reference to another of that name stays until the collector takes it:
    // two controllers are not to be had.
    let stale = held.iter().any(|owner| owner.controller && is_namesake(set, pod, owner));
    match wanted {
        None if ours.is_empty() => Verdict::AsWanted,
        None => Verdict::Rewrite(kept().collect()),
        Some((which, _, _)) if ours.len() == 1 && whose(ours[0]) == which && ours[0].controller => {
            Verdict::AsWanted
        }
        Some(_) if stale && ours.is_empty() => Verdict::AsWanted,
        Some((_, kind, owner)) => {
            let ours = controller_reference(kind, &owner.key.name, &owner.uid);
            Verdict::Rewrite(kept().chain([ours]).collect())
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    Set,
    Pod,
    Other,
}

fn whose(set: &Set, pod: &Pod, owner: &OwnerReference) -> Whose {
    if owner.uid == set.meta().uid {
        Whose::Set
    } else if owner.uid == pod.meta.uid {
        Whose::Pod
    } else {
        Whose::Other
    }
}

/// Whether a reference is to an earlier set or pod of the same name.
fn is_namesake(set: &Set, pod: &Pod, owner: &OwnerReference) -> bool {
    let is = |kind: &kind::Kind, name: &str| &*owner.kind == kind.kind && &*owner.name == name;
    whose(set, pod, owner) == Whose::Other
        && (is(kind::STATEFUL_SET, set.name()) || is(kind::POD, &pod.meta.key.name))
}

/// Whether a claim still belongs to an earlier pod of this name, with which it
/// is about to be collected. Asked only where claims go when scaled away.
pub fn is_stale(set: &Set, pod: &str, claim: &Claim) -> bool {
    set.row.deletes_claims_when_scaled
        && claim
            .meta
            .owners()
            .iter()
            .any(|owner| &*owner.kind == kind::POD.kind && &*owner.name == pod)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::row::Row;

    fn set(deleted: &str, scaled: &str) -> Set {
        Set::from_object(&json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "set"},
            "spec": {"persistentVolumeClaimRetentionPolicy": {
                "whenDeleted": deleted, "whenScaled": scaled,
            }},
        }))
        .expect("a set")
    }

    fn owner(kind: &str, name: &str, uid: &str) -> Value {
        let version = if kind == "Pod" { "v1" } else { "apps/v1" };
        json!({"apiVersion": version, "kind": kind, "name": name, "uid": uid,
            "controller": true, "blockOwnerDeletion": true})
    }

    fn verdict(set: &Set, owners: Value, condemned: bool) -> Verdict {
        let pod = json!({"metadata": {"name": "web-1", "namespace": "shop", "uid": "pod"}});
        let claim = json!({"metadata": {"name": "data-web-1", "namespace": "shop", "uid": "c",
            "ownerReferences": owners}});
        let (pod, claim) = (Pod::from_object(&pod), Claim::from_object(&claim));
        judge(set, &pod.expect("a pod"), &claim.expect("a claim"), condemned)
    }

    /// Check 9: the matrix, and the change from each keeper to each other.
    #[test]
    fn every_policy_brings_every_claim_to_its_keeper() {
        let of_set = || owner("StatefulSet", "web", "set");
        let of_pod = || owner("Pod", "web-1", "pod");
        for (deleted, scaled, in_range, condemned) in [
            ("Retain", "Retain", Keeper::Nobody, Keeper::Nobody),
            ("Delete", "Retain", Keeper::Set, Keeper::Set),
            ("Retain", "Delete", Keeper::Nobody, Keeper::Pod),
            ("Delete", "Delete", Keeper::Set, Keeper::Pod),
        ] {
            let set = set(deleted, scaled);
            for (is_condemned, keeper) in [(false, in_range), (true, condemned)] {
                let wanted = match keeper {
                    Keeper::Nobody => json!([]),
                    Keeper::Set => json!([of_set()]),
                    Keeper::Pod => json!([of_pod()]),
                };
                for held in [json!([]), json!([of_set()]), json!([of_pod()])] {
                    let found = verdict(&set, held.clone(), is_condemned);
                    let expected = if held == wanted {
                        Verdict::AsWanted
                    } else {
                        Verdict::Rewrite(wanted.as_array().cloned().unwrap_or_default())
                    };
                    let case = format!("{deleted}/{scaled}, condemned {is_condemned}: {held}");
                    assert_eq!(found, expected, "{case}");
                    assert_eq!(verdict(&set, wanted.clone(), is_condemned), Verdict::AsWanted);
                }
            }
        }
    }

    /// Check 10.
    #[test]
    fn claim_that_somebody_else_controls_is_left_to_them() {
        let set = set("Delete", "Delete");
        let other = owner("Deployment", "app", "other");
        let ours = owner("StatefulSet", "web", "set");
        assert_eq!(verdict(&set, json!([other]), false), Verdict::Conflicting(None));
        let both = json!([other, ours]);
        assert_eq!(verdict(&set, both, false), Verdict::Conflicting(Some(vec![other.clone()])));
        let retaining = super::tests::set("Retain", "Retain");
        assert_eq!(verdict(&retaining, json!([other]), false), Verdict::AsWanted);
    }

    #[test]
    fn reference_to_an_earlier_namesake_is_left_to_the_collector() {
        let stale = json!([owner("Pod", "web-1", "yesterday")]);
        assert_eq!(verdict(&set("Delete", "Delete"), stale.clone(), false), Verdict::AsWanted);
        assert_eq!(verdict(&set("Retain", "Retain"), stale, false), Verdict::AsWanted);
    }
}
