//! What to do about the attributes class that a claim asks for. Pure.
//!
//! Upstream: `pkg/modifycontroller` of external-resizer.

use serde_json::{Value, json};
use tonic::Code;

use crate::controllers::expand::writes::patch;
use crate::model::object::ObjectRef;
use crate::model::write::{Reason, Write};
use crate::plugins::csi::error::{CallError, code_name};

/// Annotations of a volume: the Secret that changing it needs.
pub const MODIFY_SECRET: [&str; 2] = [
    "volume.kubernetes.io/controller-modify-secret-name",
    "volume.kubernetes.io/controller-modify-secret-namespace",
];

const MODIFYING: &str = "ModifyingVolume";
const ERROR: &str = "ModifyVolumeError";

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The volume is as it is asked for.
    Nothing,
    /// Nothing is asked for any more, and the last try has ended.
    RollBack,
    /// The same was refused for ever a while ago.
    NotYet,
    /// Have the driver change the volume to this class; the claim says so
    /// before.
    Begin(String),
    /// The last try may still be at work: it is brought to its end first.
    GoOn(String),
}

/// Decides. `is_certain`: the driver's last answer about this claim was a
/// certain one. `is_slow`: it was a refusal for ever, a while ago.
pub fn decide(claim: &Value, is_certain: bool, is_slow: bool) -> Next {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (spec, status) = (&claim["spec"], &claim["status"]);
    let (wanted, current) = (
        text(&spec["volumeAttributesClassName"]),
        text(&status["currentVolumeAttributesClassName"]),
    );
    let modify = &status["modifyVolumeStatus"];
    let target = text(&modify["targetVolumeAttributesClassName"]);
    if modify.is_null() && wanted == current {
        return Next::Nothing;
    }
    if is_slow && !wanted.is_empty() && wanted == target {
        return Next::NotYet;
    }
    let in_progress = modify["status"] == "InProgress";
    if wanted.is_empty() && !in_progress {
        return Next::RollBack;
    }
    if wanted.is_empty() || (in_progress && !is_certain) {
        return Next::GoOn(target);
    }
    Next::Begin(wanted)
}

/// A claim as it was read, and the time.
pub struct Claim<'a> {
    pub object: &'a ObjectRef,
    pub now: &'a Value,
    pub time: &'a str,
}

impl Claim<'_> {
    /// The class does not exist.
    pub fn pending(&self) -> Option<Write> {
        let why = "the attributes class that it asks for does not exist";
        self.patch(json!({"modifyVolumeStatus": {"status": "Pending"}}), why)
    }

    /// The driver is about to be called.
    pub fn begin(&self, target: &str) -> Option<Write> {
        let message = format!("Modifying volume to \"{target}\" is in progress.");
        let change = json!({
            "modifyVolumeStatus":
                {"status": "InProgress", "targetVolumeAttributesClassName": target},
            "conditions": self.conditions(&[self.condition(MODIFYING, "", &message)]),
        });
        self.patch(change, "the driver is about to be called for it")
    }

    /// The driver has refused, or did not answer.
    pub fn failed(&self, target: &str, error: &CallError) -> Option<Write> {
        let how = match error.leaves_doubt() {
            true => "is still in progress.",
            false => "failed. Waiting for retry.",
        };
        let message = format!("Modifying volume to \"{target}\" {how}");
        let status = if error.code == Code::InvalidArgument { "Infeasible" } else { "InProgress" };
        let conditions = [
            self.condition(MODIFYING, "", &message),
            self.condition(ERROR, code_name(error.code), &error.message),
        ];
        let change = json!({
            "modifyVolumeStatus": {"status": status},
            "conditions": self.conditions(&conditions),
        });
        self.patch(change, "the driver's answer is kept for others to see")
    }

    /// The driver has changed the volume.
    pub fn done(&self, target: &str) -> Option<Write> {
        let change = json!({
            "modifyVolumeStatus": null,
            "currentVolumeAttributesClassName": target,
            "conditions": self.without(&[MODIFYING, ERROR]),
        });
        self.patch(change, "the driver has changed the volume")
    }

    /// Nothing is being changed any more.
    pub fn rolled_back(&self) -> Option<Write> {
        let list = self.now["status"]["conditions"].as_array().into_iter().flatten();
        let found = list.into_iter().any(|one| one["type"] == MODIFYING);
        let change = json!({"conditions": self.without(&[MODIFYING])});
        found.then(|| self.patch(change, "no attributes class is asked for any more")).flatten()
    }

    fn condition(&self, kind: &str, reason: &str, message: &str) -> Value {
        let mut condition = json!({
            "type": kind, "status": "True", "message": message,
            "lastProbeTime": self.time, "lastTransitionTime": self.time,
        });
        if !reason.is_empty() {
            condition["reason"] = reason.into();
        }
        condition
    }

    /// The claim's conditions with these among them; those not named stay, and
    /// what says the same keeps its times.
    fn conditions(&self, new: &[Value]) -> Value {
        let mut left: Vec<&Value> = new.iter().collect();
        let mut all = Vec::new();
        for held in self.now["status"]["conditions"].as_array().into_iter().flatten() {
            let Some(at) = left.iter().position(|one| one["type"] == held["type"]) else {
                all.push(held.clone());
                continue;
            };
            let mut one = left.remove(at).clone();
            let same = |field: &str| one[field] == held[field];
            if same("reason") && same("status") {
                if same("message") {
                    one = held.clone();
                } else {
                    one["lastTransitionTime"] = held["lastTransitionTime"].clone();
                }
            }
            all.push(one);
        }
        all.extend(left.into_iter().cloned());
        all.into()
    }

    fn without(&self, kinds: &[&str]) -> Value {
        let list = self.now["status"]["conditions"].as_array().into_iter().flatten();
        let left = list.filter(|one| !kinds.iter().any(|kind| one["type"] == **kind));
        let left: Vec<Value> = left.cloned().collect();
        if left.is_empty() { Value::Null } else { left.into() }
    }

    fn patch(&self, status: Value, why: &str) -> Option<Write> {
        let change = json!({"status": status});
        patch(self.object, Some("status"), self.now, change, Reason::new("modify", why))
    }
}

/// The volume has this class now: told before the claim tells it.
pub fn volume_has_class(object: &ObjectRef, volume: &Value, class: &str) -> Option<Write> {
    let change = json!({"spec": {"volumeAttributesClassName": class}});
    patch(object, None, volume, change, Reason::new("modify", "the driver has changed the volume"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_is_brought_to_its_end_before_another_class() {
        let claim = |wanted: &str, current: &str, target: &str, status: &str| {
            let mut claim = json!({
                "spec": {"volumeAttributesClassName": wanted},
                "status": {"currentVolumeAttributesClassName": current},
            });
            if !status.is_empty() {
                claim["status"]["modifyVolumeStatus"] =
                    json!({"status": status, "targetVolumeAttributesClassName": target});
            }
            claim
        };
        let begin = |class: &str| Next::Begin(class.to_owned());
        let go_on = |class: &str| Next::GoOn(class.to_owned());
        let rows = [
            (claim("", "", "", ""), false, false, Next::Nothing),
            (claim("gold", "gold", "", ""), false, false, Next::Nothing),
            (claim("gold", "silver", "", ""), false, false, begin("gold")),
            (claim("gold", "silver", "", "Pending"), false, false, begin("gold")),
            (claim("gold", "silver", "gold", "InProgress"), false, false, go_on("gold")),
            (claim("tin", "silver", "gold", "InProgress"), false, false, go_on("gold")),
            (claim("tin", "silver", "gold", "InProgress"), true, false, begin("tin")),
            (claim("", "silver", "gold", "InProgress"), true, false, go_on("gold")),
            (claim("gold", "silver", "gold", "Infeasible"), true, true, Next::NotYet),
            (claim("tin", "silver", "gold", "Infeasible"), true, true, begin("tin")),
            (claim("gold", "silver", "gold", "Infeasible"), true, false, begin("gold")),
            (claim("", "silver", "gold", "Infeasible"), true, false, Next::RollBack),
        ];
        for (number, (claim, is_certain, is_slow, expected)) in rows.into_iter().enumerate() {
            assert_eq!(decide(&claim, is_certain, is_slow), expected, "row {number}");
        }
    }

    #[test]
    fn failures_say_whether_the_driver_is_still_at_it() {
        let object = ObjectRef::new(
            crate::model::kind::PERSISTENT_VOLUME_CLAIM,
            crate::model::object::Key::new("shop", "data"),
        );
        for (code, status, message) in [
            (Code::InvalidArgument, "Infeasible", "failed. Waiting for retry."),
            (Code::Internal, "InProgress", "failed. Waiting for retry."),
            (Code::Unavailable, "InProgress", "is still in progress."),
        ] {
            let now = json!({"metadata": {}, "status": {"conditions": [{"type": "Odd"}]}});
            let claim = Claim { object: &object, now: &now, time: "t" };
            let error = CallError { code, message: "no".into() };
            let write = claim.failed("gold", &error).expect("a write");
            let crate::model::write::Change::Merge(change) = write.change else { panic!("merge") };
            let told = &change["status"];
            assert_eq!(told["modifyVolumeStatus"]["status"], status);
            let conditions = &told["conditions"];
            assert_eq!(conditions[0]["type"], "Odd");
            assert_eq!(conditions[1]["message"], format!("Modifying volume to \"gold\" {message}"));
            assert_eq!(conditions[2]["reason"], code_name(code));
        }
    }
}
