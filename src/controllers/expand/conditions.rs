//! The conditions of a claim that grows. Pure.
//!
//! Upstream: `MergeResizeConditionOnPVC` of `resize_util.go`.

use serde_json::{Value, json};

pub const RESIZING: &str = "Resizing";
pub const NODE_PENDING: &str = "FileSystemResizePending";
pub const CONTROLLER_ERROR: &str = "ControllerResizeError";
pub const NODE_ERROR: &str = "NodeResizeError";

/// The types that are about growing; all others are left alone.
const KNOWN: [&str; 4] = [NODE_PENDING, RESIZING, CONTROLLER_ERROR, NODE_ERROR];

/// What is said while the nodes' part is to be done.
pub const WAITING_FOR_NODE: &str =
    "Waiting for user to (re-)start a pod to finish file system resize of volume on node.";

/// A condition that holds since `now`; an empty message is left out.
pub fn holds(kind: &str, message: &str, now: &str) -> Value {
    let mut condition = json!({"type": kind, "status": "True", "lastTransitionTime": now});
    if !message.is_empty() {
        condition["message"] = message.into();
    }
    condition
}

/// The claim's conditions with `new` ones among them; what says the same as
/// before keeps its time. Others about growing stay only if `keep`. `Null`
/// instead of an empty list.
pub fn merged(held: &Value, new: &[Value], keep: bool) -> Value {
    let mut left: Vec<&Value> = new.iter().collect();
    let mut all = Vec::new();
    for condition in held.as_array().into_iter().flatten() {
        let kind = &condition["type"];
        if !KNOWN.iter().any(|known| *kind == **known) {
            all.push(condition.clone());
        } else if let Some(at) = left.iter().position(|one| one["type"] == *kind) {
            let one = left.remove(at);
            let same =
                one["status"] == condition["status"] && one["message"] == condition["message"];
            all.push(if same { condition.clone() } else { one.clone() });
        } else if keep {
            all.push(condition.clone());
        }
    }
    all.extend(left.into_iter().cloned());
    if all.is_empty() { Value::Null } else { all.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(list: &Value) -> Vec<(&str, &str)> {
        let list = list.as_array().into_iter().flatten();
        list.map(|one| {
            (one["type"].as_str().unwrap_or(""), one["lastTransitionTime"].as_str().unwrap_or(""))
        })
        .collect()
    }

    #[test]
    fn conditions_about_growing_are_replaced_and_others_stay() {
        let held = json!([
            holds("Odd", "", "t0"),
            holds(RESIZING, "", "t0"),
            holds(NODE_ERROR, "x", "t0")
        ]);
        let begun = merged(&held, &[holds(RESIZING, "", "t1")], false);
        assert_eq!(types(&begun), [("Odd", "t0"), (RESIZING, "t0")]);
        let pending = merged(&begun, &[holds(NODE_PENDING, WAITING_FOR_NODE, "t1")], true);
        assert_eq!(types(&pending), [("Odd", "t0"), (RESIZING, "t0"), (NODE_PENDING, "t1")]);
        let failed = merged(&held, &[holds(NODE_ERROR, "y", "t1")], true);
        assert_eq!(types(&failed)[2], (NODE_ERROR, "t1"), "another error has its own time");
        assert_eq!(merged(&json!([holds(RESIZING, "", "t0")]), &[], false), Value::Null);
    }
}
