//! What a driver's resizer does about a claim. Pure.
//!
//! Upstream: `syncPVC` and `expandAndRecover` of external-resizer.

use serde_json::Value;

use crate::controllers::expand::conditions;
use crate::controllers::expand::growth::{Growth, capacity_of, is_bound_to};
use crate::controllers::expand::target::{self, Companion, Goal};
use crate::controllers::expand::writes::old_capacity;
use crate::model::quantity::Quantity;

/// What the decision goes by.
pub struct View<'a> {
    pub driver: &'a str,
    pub claim: &'a Value,
    pub volume: &'a Value,
    /// The driver grows volumes on nodes only.
    pub on_nodes_only: bool,
    /// Its last answer about this claim was a certain refusal.
    pub has_refused: bool,
    /// This size it refused for ever, a while ago: not asked for again yet.
    pub refused_size: Option<Quantity>,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Not this driver's, nothing is asked for, or the node's turn.
    Nothing,
    /// The claim has its size: the annotation with the size before may go.
    ForgetOldCapacity,
    /// Refused for ever a while ago.
    NotYet,
    /// Have the driver grow the volume. `anew`: what the claim says of an
    /// earlier growth does not hold any more.
    Grow { target: Quantity, anew: bool },
}

/// Decides.
pub fn decide(view: &View<'_>) -> Next {
    let growth = Growth::of(view.claim);
    let volume = capacity_of(view.volume);
    if view.volume["spec"]["csi"]["driver"] != *view.driver {
        return Next::Nothing;
    }
    if growth.capacity >= volume && old_capacity(view.volume).is_some() {
        return Next::ForgetOldCapacity;
    }
    let is_bound = view.claim["status"]["phase"] == "Bound";
    if !is_bound || !growth.asks_for_more() || !is_bound_to(view.volume, view.claim) {
        return Next::Nothing;
    }
    let companion = Companion {
        has_refused: view.has_refused,
        on_nodes_only: view.on_nodes_only,
        waits_for_node: waits_for_node(view.claim),
    };
    match target::of_companion(volume, &growth, companion) {
        Goal::NodesTurn | Goal::LetNodeTryAgain => Next::Nothing,
        Goal::To(target) if growth.allocated == Some(target) => {
            if view.refused_size == Some(target) {
                return Next::NotYet;
            }
            Next::Grow { target, anew: false }
        }
        Goal::To(target) => Next::Grow { target, anew: true },
    }
}

fn waits_for_node(claim: &Value) -> bool {
    let mut conditions = claim["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|one| one["type"] == conditions::NODE_PENDING && one["status"] == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(request: &str, capacity: &str, status: Value) -> Value {
        let mut claim = json!({
            "metadata": {"namespace": "shop", "name": "data", "uid": "u"},
            "spec": {"resources": {"requests": {"storage": request}}},
            "status": {"phase": "Bound", "capacity": {"storage": capacity}},
        });
        if let (Value::Object(own), Value::Object(more)) = (&mut claim["status"], status) {
            own.extend(more);
        }
        claim
    }

    fn volume(capacity: &str, uid: &str, old: bool) -> Value {
        let mut volume = json!({"metadata": {"name": "pv"}, "spec": {
            "capacity": {"storage": capacity}, "csi": {"driver": "d"},
            "claimRef": {"namespace": "shop", "name": "data", "uid": uid},
        }});
        if old {
            volume["metadata"]["annotations"] =
                json!({"volume.alpha.kubernetes.io/pre-resize-capacity": "1Gi"});
        }
        volume
    }

    fn next(claim: &Value, volume: &Value, refused: bool, slow: bool) -> Next {
        let refused_size = slow.then_some(Quantity::bytes(5 << 30));
        decide(&View {
            driver: "d",
            claim,
            volume,
            on_nodes_only: false,
            has_refused: refused,
            refused_size,
        })
    }

    #[test]
    fn a_claim_that_asks_for_more_is_grown_once() {
        let gib = |number: i64| Quantity::bytes(number << 30);
        let plain = claim("2Gi", "1Gi", json!({}));
        let grow = |number, anew| Next::Grow { target: gib(number), anew };
        assert_eq!(next(&plain, &volume("1Gi", "u", false), false, false), grow(2, true));
        assert_eq!(next(&plain, &volume("1Gi", "other", false), false, false), Next::Nothing);
        let pending = claim("1Gi", "1Gi", json!({"phase": "Pending"}));
        assert_eq!(next(&pending, &volume("1Gi", "u", false), false, false), Next::Nothing);
        let begun = json!({
            "allocatedResources": {"storage": "5Gi"},
            "allocatedResourceStatuses": {"storage": "ControllerResizeInProgress"},
        });
        let begun = claim("2Gi", "1Gi", begun);
        assert_eq!(next(&begun, &volume("1Gi", "u", false), false, false), grow(5, false));
        assert_eq!(next(&begun, &volume("1Gi", "u", false), true, false), grow(2, true));
        let waits = json!({
            "allocatedResources": {"storage": "2Gi"},
            "allocatedResourceStatuses": {"storage": "NodeResizePending"},
        });
        let waits = claim("2Gi", "1Gi", waits);
        assert_eq!(next(&waits, &volume("2Gi", "u", true), false, false), Next::Nothing);
        let done = claim("2Gi", "2Gi", json!({}));
        let left = volume("2Gi", "u", true);
        assert_eq!(next(&done, &left, false, false), Next::ForgetOldCapacity);
    }

    #[test]
    fn what_was_refused_for_ever_waits_and_a_lower_request_does_not() {
        let refused = |request| {
            claim(
                request,
                "1Gi",
                json!({
                    "allocatedResources": {"storage": "5Gi"},
                    "allocatedResourceStatuses": {"storage": "ControllerResizeInfeasible"},
                }),
            )
        };
        let volume = volume("1Gi", "u", false);
        assert_eq!(next(&refused("5Gi"), &volume, true, true), Next::NotYet);
        let lower = Next::Grow { target: Quantity::bytes(2 << 30), anew: true };
        assert_eq!(next(&refused("2Gi"), &volume, true, true), lower);
    }
}
