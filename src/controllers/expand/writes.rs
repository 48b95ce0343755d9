//! The patches of claims and volumes that grow. Pure: none if the object is
//! that way already.
//!
//! Upstream: `Mark…` of `resize_util.go`, `mark…` of external-resizer.

use serde_json::{Value, json};

use crate::controllers::expand::conditions::{
    self, CONTROLLER_ERROR, NODE_ERROR, NODE_PENDING, RESIZING, WAITING_FOR_NODE, holds,
};
use crate::controllers::expand::growth::{NODE_NOT_REQUIRED, RESIZER, ResizeStatus, capacity_of};
use crate::controllers::persistent_volume::annotations::PRE_RESIZE_CAPACITY;
use crate::model::object::ObjectRef;
use crate::model::quantity::Quantity;
use crate::model::write::{Change, Reason, Write};

/// A claim as it was read, and the time of the conditions that are set.
pub struct Claim<'a> {
    pub object: &'a ObjectRef,
    pub now: &'a Value,
    /// RFC 3339.
    pub time: &'a str,
}

impl Claim<'_> {
    /// Growing to `target` begins. `anew`: it was not begun before, so that all
    /// conditions about growing are new.
    pub fn begin(&self, target: Quantity, anew: bool, resizer: Option<&str>) -> Option<Write> {
        let resizing = holds(RESIZING, "", self.time);
        let mut change = json!({"status": {
            "conditions": self.conditions(&[resizing], !anew),
            "allocatedResources": {"storage": target.to_string()},
        }});
        if anew {
            set_status(&mut change, Some(ResizeStatus::ControllerInProgress));
        }
        let annotations = match resizer {
            Some(resizer) => json!({RESIZER: resizer}),
            None => json!({NODE_NOT_REQUIRED: null}),
        };
        change["metadata"] = json!({"annotations": annotations});
        let why = format!("the claim asks for {}: its volume is to become that large", target);
        self.patch(change, Reason::new("expand-1", why))
    }

    /// The volume has grown; the node's part is left.
    pub fn node_pending(&self) -> Option<Write> {
        let waits = holds(NODE_PENDING, WAITING_FOR_NODE, self.time);
        let mut change = json!({
            "metadata": {"annotations": {NODE_NOT_REQUIRED: null}},
            "status": {"conditions": self.conditions(&[waits], true)},
        });
        set_status(&mut change, Some(ResizeStatus::NodePending));
        let why = "the volume has grown; a node has to grow the filesystem on it";
        self.patch(change, Reason::new("expand-4", why))
    }

    /// The volume has grown, and no node has a part in it.
    pub fn finished_without_node(&self, size: Quantity, is_annotated: bool) -> Option<Write> {
        let mut change = self.end(size);
        if is_annotated {
            change["metadata"] = json!({"annotations": {NODE_NOT_REQUIRED: "true"}});
        }
        let why = format!("the volume has {size} now, and no node has a part in it");
        self.patch(change, Reason::new("expand-4", why))
    }

    /// The driver has refused for certain. `is_infeasible`: and always will.
    pub fn controller_failed(&self, error: &str, is_infeasible: bool) -> Option<Write> {
        let status = is_infeasible.then_some(ResizeStatus::ControllerInfeasible);
        self.failed(CONTROLLER_ERROR, error, status)
    }

    /// The same on a node.
    pub fn node_failed(&self, error: &str, is_infeasible: bool) -> Option<Write> {
        let status = is_infeasible.then_some(ResizeStatus::NodeInfeasible);
        self.failed(NODE_ERROR, error, status)
    }

    /// A node begins.
    pub fn node_begins(&self) -> Option<Write> {
        let mut change = json!({});
        set_status(&mut change, Some(ResizeStatus::NodeInProgress));
        let why = "the node grows the filesystem to the size of its volume";
        self.patch(change, Reason::new("node-expand", why))
    }

    /// A node has finished.
    pub fn node_finished(&self, size: Quantity) -> Option<Write> {
        let why = format!("pods have {size} of the volume now");
        self.patch(self.end(size), Reason::new("node-expand", why))
    }

    /// The node gave up, and may try again.
    pub fn node_may_try_again(&self) -> Option<Write> {
        let mut change = json!({});
        set_status(&mut change, Some(ResizeStatus::NodePending));
        let why = "the volume is large enough: the node is to try again";
        self.patch(change, Reason::new("expand-0", why))
    }

    /// A driver elsewhere is to grow it.
    pub fn for_driver(&self, driver: &str) -> Option<Write> {
        let change = json!({"metadata": {"annotations": {RESIZER: driver}}});
        let why = "volumes of this kind belong to a CSI driver: its companion is to grow it";
        self.patch(change, Reason::new("E1", why))
    }

    fn end(&self, size: Quantity) -> Value {
        let mut change = json!({"status": {
            "capacity": {"storage": size.to_string()},
            "conditions": self.conditions(&[], false),
        }});
        let statuses = self.now["status"]["allocatedResourceStatuses"].as_object();
        let others = statuses.is_some_and(|all| all.keys().any(|key| key != "storage"));
        // The last one takes the whole map with it.
        change["status"]["allocatedResourceStatuses"] =
            if others { json!({"storage": null}) } else { Value::Null };
        change
    }

    fn failed(&self, kind: &str, error: &str, status: Option<ResizeStatus>) -> Option<Write> {
        let error = holds(kind, &format!("failed to expand pvc with {error}"), self.time);
        let mut change = json!({"status": {"conditions": self.conditions(&[error], true)}});
        if status.is_some() {
            set_status(&mut change, status);
        }
        let why = "growing the volume has failed for certain; the claim says why";
        self.patch(change, Reason::new("expand-failed", why))
    }

    fn conditions(&self, new: &[Value], keep: bool) -> Value {
        conditions::merged(&self.now["status"]["conditions"], new, keep)
    }

    fn patch(&self, change: Value, reason: Reason) -> Option<Write> {
        patch(self.object, Some("status"), self.now, change, reason)
    }
}

fn set_status(change: &mut Value, status: Option<ResizeStatus>) {
    let name = status.map(ResizeStatus::name);
    change["status"]["allocatedResourceStatuses"] = json!({"storage": name});
}

/// The volume has this size now. `before`: what the claim had, to be kept in an
/// annotation until the node has done its part.
pub fn volume_has_grown(
    object: &ObjectRef,
    volume: &Value,
    size: Quantity,
    before: Option<Quantity>,
) -> Option<Write> {
    let mut change = json!({"spec": {"capacity": {"storage": size.to_string()}}});
    if capacity_of(volume) == size {
        change = json!({});
    }
    if let Some(before) = before.filter(|_| old_capacity(volume).is_none()) {
        change["metadata"] = json!({"annotations": {PRE_RESIZE_CAPACITY: before.to_string()}});
    }
    let why = format!("what is behind the volume has {size} now");
    patch(object, None, volume, change, Reason::new("expand-3", why))
}

/// The size before is of no use any more.
pub fn forget_old_capacity(object: &ObjectRef, volume: &Value) -> Option<Write> {
    old_capacity(volume)?;
    let change = json!({"metadata": {"annotations": {PRE_RESIZE_CAPACITY: null}}});
    let why = "the claim has what its volume has: the size before need not be known any more";
    patch(object, None, volume, change, Reason::new("expand-done", why))
}

/// The annotation with the size before a growth.
pub fn old_capacity(volume: &Value) -> Option<&str> {
    volume["metadata"]["annotations"][PRE_RESIZE_CAPACITY].as_str()
}

/// A merge patch on the version that was read, if it changes anything.
pub fn patch(
    object: &ObjectRef,
    subresource: Option<&'static str>,
    now: &Value,
    change: Value,
    reason: Reason,
) -> Option<Write> {
    let version = now["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok());
    (!holds_already(now, &change)).then(|| Write {
        object: object.clone(),
        subresource,
        change: Change::Merge(change),
        version,
        on_behalf_of: object.clone(),
        reason,
    })
}

/// Whether a merge patch would leave the value as it is.
fn holds_already(now: &Value, change: &Value) -> bool {
    match change {
        Value::Object(fields) => {
            fields.iter().all(|(field, change)| holds_already(&now[field], change))
                && (now.is_object() || fields.values().all(is_nothing))
        }
        change => now == change,
    }
}

/// Whether a part of a merge patch only takes away.
fn is_nothing(change: &Value) -> bool {
    match change {
        Value::Null => true,
        Value::Object(fields) => fields.values().all(is_nothing),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kind;
    use crate::model::object::Key;

    fn merge(into: &mut Value, change: &Value) {
        let Value::Object(fields) = change else {
            *into = change.clone();
            return;
        };
        for (field, change) in fields {
            if change.is_null() {
                if let Some(map) = into.as_object_mut() {
                    map.shift_remove(field);
                }
            } else {
                merge(&mut into[field], change);
            }
        }
    }

    /// Applies what is decided twice: the second time nothing may be left to do.
    #[track_caller]
    fn then(now: &mut Value, decide: impl Fn(&Claim<'_>) -> Option<Write>) {
        let object = ObjectRef::new(kind::PERSISTENT_VOLUME_CLAIM, Key::new("shop", "data"));
        let decided =
            |now: &Value| decide(&Claim { object: &object, now, time: "2027-01-15T08:00:00Z" });
        let write = decided(now).expect("a write");
        assert_eq!(write.subresource, Some("status"));
        let Change::Merge(change) = write.change else { panic!("a merge") };
        merge(now, &change);
        assert_eq!(decided(now), None, "settled");
    }

    #[test]
    fn a_claim_goes_the_walk_of_a_growth_with_a_node() {
        let gib = |number: i64| Quantity::bytes(number << 30);
        let mut claim = json!({
            "metadata": {"resourceVersion": "7"},
            "spec": {"resources": {"requests": {"storage": "2Gi"}}},
            "status": {"capacity": {"storage": "1Gi"}},
        });
        then(&mut claim, |claim| claim.begin(gib(2), true, None));
        let status = &claim["status"];
        assert_eq!(status["allocatedResources"]["storage"], "2Gi");
        assert_eq!(status["allocatedResourceStatuses"]["storage"], "ControllerResizeInProgress");
        assert_eq!(status["conditions"][0]["type"], "Resizing");
        then(&mut claim, |claim| claim.node_pending());
        assert_eq!(claim["status"]["conditions"][1]["message"], WAITING_FOR_NODE);
        then(&mut claim, |claim| claim.node_begins());
        then(&mut claim, |claim| claim.node_failed("x", false));
        then(&mut claim, |claim| claim.node_finished(gib(2)));
        let status = &claim["status"];
        assert_eq!(status["capacity"]["storage"], "2Gi");
        assert!(status["conditions"].is_null() && status["allocatedResourceStatuses"].is_null());
        assert_eq!(status["allocatedResources"]["storage"], "2Gi", "it stays");
    }

    #[test]
    fn a_refusal_for_ever_is_a_status_and_one_for_now_a_condition() {
        for (is_infeasible, expected) in
            [(true, "ControllerResizeInfeasible"), (false, "ControllerResizeInProgress")]
        {
            let mut claim = json!({"metadata": {}, "status": {}});
            then(&mut claim, |claim| claim.begin(Quantity::bytes(5), true, None));
            then(&mut claim, |claim| claim.controller_failed("no room", is_infeasible));
            let status = &claim["status"];
            assert_eq!(status["allocatedResourceStatuses"]["storage"], expected);
            assert_eq!(status["conditions"][0]["type"], "Resizing");
            assert_eq!(status["conditions"][1]["message"], "failed to expand pvc with no room");
        }
    }

    #[test]
    fn the_size_before_is_kept_once_and_let_go() {
        let object = ObjectRef::new(kind::PERSISTENT_VOLUME, Key::cluster("pv"));
        let gib = |number: i64| Quantity::bytes(number << 30);
        let mut volume = json!({"metadata": {}, "spec": {"capacity": {"storage": "1Gi"}}});
        let grown = volume_has_grown(&object, &volume, gib(2), Some(gib(1))).expect("a write");
        let Change::Merge(change) = grown.change else { panic!("a merge") };
        merge(&mut volume, &change);
        assert_eq!(old_capacity(&volume), Some("1Gi"));
        assert_eq!(volume_has_grown(&object, &volume, gib(2), Some(gib(1))), None);
        assert!(volume_has_grown(&object, &volume, gib(3), Some(gib(2))).is_some());
        assert!(forget_old_capacity(&object, &volume).is_some());
    }
}
