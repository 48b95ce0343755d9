//! The writes of binding and unbinding, one at a time.
//!
//! There is no transaction over two objects, so the volume, which is scarce,
//! serves as the lock and is written first:
//!
//! ```text
//! W1 volume: claimRef -> W2 volume status: Bound -> W3 claim: volumeName -> W4 claim status: Bound
//! ```
//!
//! Stopped anywhere, the next decision finds what is missing and goes on.

use serde_json::{Value, json};

use crate::controllers::persistent_volume::annotations::{
    BIND_COMPLETED, BOUND_BY_CONTROLLER, PRE_RESIZE_CAPACITY, YES, has,
};
use crate::controllers::persistent_volume::because::Because;
use crate::controllers::persistent_volume::verdict::{Verdict, Wake};
use crate::model::claim::{Claim, ClaimPhase};
use crate::model::fit;
use crate::model::kind;
use crate::model::object::{Meta, ObjectRef};
use crate::model::quantity::Quantity;
use crate::model::row::Row;
use crate::model::volume::{Volume, VolumePhase};
use crate::model::write::{Change, Reason, Write};

/// The object a row stands for.
pub fn object<R: Row>(row: &R) -> ObjectRef {
    ObjectRef::new(R::KIND, row.meta().key.clone())
}

/// A merge patch of one object, on behalf of another.
pub fn patch<R: Row>(
    row: &R,
    patch: Value,
    for_whom: &ObjectRef,
    rule: &str,
    because: &Because,
) -> Write {
    Write {
        object: object(row),
        subresource: None,
        change: Change::Merge(patch),
        version: Some(row.meta().version),
        on_behalf_of: for_whom.clone(),
        reason: Reason::new(format!("{}{rule}", because.rule()), because.to_string()),
    }
}

/// The same, of the status.
pub fn patch_status<R: Row>(
    row: &R,
    status: Value,
    for_whom: &ObjectRef,
    rule: &str,
    because: &Because,
) -> Write {
    Write {
        subresource: Some("status"),
        ..patch(row, json!({ "status": status }), for_whom, rule, because)
    }
}

/// The next write that binds volume and claim; rest once both agree.
pub fn bind(volume: &Volume, claim: &Claim, because: Because) -> Verdict {
    let whom = object(claim);
    if let Some(change) = refer(volume, claim) {
        return Verdict::write(patch(volume, change, &whom, "/W1", &because), because);
    }
    if volume.phase != VolumePhase::Bound {
        let status = phase_of_volume(VolumePhase::Bound);
        return Verdict::write(patch_status(volume, status, &whom, "/W2", &because), because);
    }
    if let Some(change) = name(volume, claim) {
        return Verdict::write(patch(claim, change, &whom, "/W3", &because), because);
    }
    match bound_status(volume, claim) {
        Err(NoCapacity) => {
            let because = Because::NoCapacity { volume: volume.meta.key.name.clone() };
            let text = because.to_string();
            Verdict::new(super::verdict::Step::Refuse(text), because, Wake::Change)
        }
        Ok(Some(status)) => {
            Verdict::write(patch_status(claim, status, &whom, "/W4", &because), because)
        }
        Ok(None) => Verdict::rest(because, Wake::Change),
    }
}

/// W1: the reference to the claim, unless it is there. A volume reserved by
/// name stays the user's own choice though the uid is filled in.
pub fn refer(volume: &Volume, claim: &Claim) -> Option<Value> {
    let held = volume.claim_ref.as_ref();
    if held.is_some_and(|held| held.key == claim.meta.key && held.uid == claim.meta.uid) {
        return None;
    }
    let Meta { key, uid, version, .. } = &claim.meta;
    let mut change = json!({"spec": {"claimRef": {
        "kind": kind::PERSISTENT_VOLUME_CLAIM.kind,
        "apiVersion": kind::PERSISTENT_VOLUME_CLAIM.api_version(),
        "namespace": &*key.namespace,
        "name": &*key.name,
        "uid": &**uid,
        "resourceVersion": version.to_string(),
    }}});
    if !fit::is_bound_to(volume, claim) && !has(&volume.meta, BOUND_BY_CONTROLLER) {
        change["metadata"] = json!({"annotations": {BOUND_BY_CONTROLLER: YES}});
    }
    Some(change)
}

/// W3: the volume's name and the mark that binding is complete, in one write,
/// so that "was bound" and "was named by a user" can be told apart.
fn name(volume: &Volume, claim: &Claim) -> Option<Value> {
    let named = claim.volume_name == volume.meta.key.name;
    if named && has(&claim.meta, BIND_COMPLETED) {
        return None;
    }
    let mut annotations = serde_json::Map::new();
    let mut change = json!({});
    if !named {
        change["spec"] = json!({"volumeName": &*volume.meta.key.name});
        if !has(&claim.meta, BOUND_BY_CONTROLLER) {
            annotations.insert(BOUND_BY_CONTROLLER.into(), YES.into());
        }
    }
    if !has(&claim.meta, BIND_COMPLETED) {
        annotations.insert(BIND_COMPLETED.into(), YES.into());
    }
    if !annotations.is_empty() {
        change["metadata"] = json!({ "annotations": annotations });
    }
    Some(change)
}

struct NoCapacity;

/// W4: what differs of the claim's status. Capacity is copied only while the
/// phase changes: afterwards a difference can mean a resize under way.
fn bound_status(volume: &Volume, claim: &Claim) -> Result<Option<Value>, NoCapacity> {
    let mut status = serde_json::Map::new();
    if claim.actual_modes != volume.access_modes {
        let modes: Vec<_> = volume.access_modes.iter_as_written().map(|mode| mode.name()).collect();
        status.insert("accessModes".into(), json!(modes));
    }
    if claim.phase != ClaimPhase::Bound {
        status.insert("phase".into(), ClaimPhase::Bound.name().into());
        let capacity = volume.capacity.ok_or(NoCapacity)?;
        let before_resize = volume.meta.annotation(PRE_RESIZE_CAPACITY);
        let capacity =
            before_resize.and_then(|text| Quantity::parse(text).ok()).unwrap_or(capacity);
        if claim.capacity != Some(capacity) {
            status.insert("capacity".into(), json!({"storage": capacity.to_string()}));
        }
        if claim.phase == ClaimPhase::Pending
            && claim.current_attributes_class != volume.attributes_class
        {
            let class = Some(&*volume.attributes_class).filter(|class| !class.is_empty());
            status.insert("currentVolumeAttributesClassName".into(), json!(class));
        }
    }
    Ok((!status.is_empty()).then_some(Value::Object(status)))
}

/// The status of a claim without a volume: `None` if it is so already.
pub fn unbound_status(claim: &Claim, phase: ClaimPhase) -> Option<Value> {
    if claim.phase == phase && !claim.has_volume_status {
        return None;
    }
    let mut status = json!({"phase": phase.name()});
    if claim.has_volume_status {
        for field in ["accessModes", "capacity", "currentVolumeAttributesClassName"] {
            status[field] = Value::Null;
        }
    }
    Some(status)
}

/// A volume's phase, its message emptied.
pub fn phase_of_volume(phase: VolumePhase) -> Value {
    json!({"phase": phase.name(), "message": null})
}

/// The change that gives a volume free: the whole reference goes if the
/// controller had set it; of a reservation only the uid.
pub fn let_go(volume: &Volume) -> Value {
    if has(&volume.meta, BOUND_BY_CONTROLLER) {
        json!({
            "metadata": {"annotations": {BOUND_BY_CONTROLLER: null}},
            "spec": {"claimRef": null},
        })
    } else {
        json!({"spec": {"claimRef": {"uid": null}}})
    }
}
