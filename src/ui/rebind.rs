//! Giving a volume to a claim: who may be paired, and by which writes.
//!
//! The binder's own check says who fits ([`fit::why_not_satisfy`]); the writes
//! are those of an admin: the volume is reserved for the claim by namespace and
//! name, then the claim names the volume, and the binder does the rest.
//!
//! A claim that was bound before, as a Lost one was, is the exception: its
//! reservation carries its uid too. For such claims the binder (`syncBoundClaim`
//! in `pkg/controller/volume/persistentvolume`) takes back a volume that has no
//! `claimRef`, or one whose `claimRef` has the claim's uid; a reference by name
//! alone it holds for somebody else's, and the claim stays Lost. Taking the
//! reference away instead would leave the volume to whoever asks first.

use serde_json::{Value, json};

use crate::controllers::persistent_volume::annotations::BIND_COMPLETED;
use crate::mirror::Tables;
use crate::model::claim::{Claim, ClaimPhase};
use crate::model::fit;
use crate::model::kind;
use crate::model::object::ObjectRef;
use crate::model::volume::{Volume, VolumePhase};
use crate::model::write::{Change, Reason, Write};
use crate::ui::target::Target;

/// Partners shown; those that fit come first.
const CANDIDATES_MAX: usize = 500;

/// A possible partner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub target: Target,
    /// What is seen of it beside its name.
    pub facts: String,
    pub fits: Result<(), String>,
}

/// The partners there are for a volume or a claim: those that fit first, then
/// by name.
pub fn candidates(from: &Target, tables: &Tables) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = if from.kind == kind::PERSISTENT_VOLUME {
        let Some(volume) = tables.volumes.by_uid(&from.uid) else { return Vec::new() };
        let unbound = tables.claims.iter().filter(|claim| claim.phase != ClaimPhase::Bound);
        unbound.map(|claim| of_claim(claim, volume)).collect()
    } else {
        let Some(claim) = tables.claims.by_uid(&from.uid) else { return Vec::new() };
        let free = tables.volumes.iter().filter(|volume| {
            matches!(volume.phase, VolumePhase::Released | VolumePhase::Available)
        });
        free.map(|volume| of_volume(claim, volume)).collect()
    };
    found.sort_by_key(|candidate| candidate.fits.is_err());
    found.truncate(CANDIDATES_MAX);
    found
}

fn of_claim(claim: &Claim, volume: &Volume) -> Candidate {
    let size = claim.request.map_or_else(|| "?".into(), |size| size.to_string());
    let class = claim.effective_class();
    Candidate {
        target: Target::new(kind::PERSISTENT_VOLUME_CLAIM, &claim.meta),
        facts: format!(
            "{:<8} {size:>6} {:<4} {class}",
            claim.phase.name(),
            claim.access_modes.to_string()
        ),
        fits: why_not(claim, volume),
    }
}

fn of_volume(claim: &Claim, volume: &Volume) -> Candidate {
    let size = volume.capacity.map_or_else(|| "?".into(), |size| size.to_string());
    let phase = volume.phase.name();
    Candidate {
        target: Target::new(kind::PERSISTENT_VOLUME, &volume.meta),
        facts: format!(
            "{phase:<9} {size:>6} {:<4} {}",
            volume.access_modes.to_string(),
            volume.class
        ),
        fits: why_not(claim, volume),
    }
}

/// Why the two cannot be paired.
fn why_not(claim: &Claim, volume: &Volume) -> Result<(), String> {
    if !claim.volume_name.is_empty() && claim.volume_name != volume.meta.key.name {
        return Err(format!("names volume {}, which cannot be changed", claim.volume_name));
    }
    fit::why_not_satisfy(claim, volume).map_err(|misfit| misfit.to_string())
}

/// The writes that pair the two, in their order.
pub fn writes(claim: &Claim, volume: &Volume) -> Vec<Write> {
    let of_volume = ObjectRef::new(kind::PERSISTENT_VOLUME, volume.meta.key.clone());
    let of_claim = ObjectRef::new(kind::PERSISTENT_VOLUME_CLAIM, claim.meta.key.clone());
    let (namespace, name) = (&*claim.meta.key.namespace, &*claim.meta.key.name);
    // A merge patch: what is not wanted of the old reference is taken out by
    // name.
    let uid = match claim.meta.annotation(BIND_COMPLETED) {
        Some(_) => Value::from(&*claim.meta.uid),
        None => Value::Null,
    };
    let reference = json!({"namespace": namespace, "name": name, "uid": uid,
        "resourceVersion": null, "apiVersion": null, "kind": null});
    let because = format!("reserve {} for claim {namespace}/{name}", volume.meta.key.name);
    let mut writes = vec![Write {
        object: of_volume.clone(),
        subresource: None,
        change: Change::Merge(json!({"spec": {"claimRef": reference}})),
        version: Some(volume.meta.version),
        on_behalf_of: of_volume.clone(),
        reason: Reason::new("rebind", because),
    }];
    if claim.volume_name.is_empty() {
        let because = format!("name the volume that is reserved for it, {}", volume.meta.key.name);
        writes.push(Write {
            object: of_claim.clone(),
            subresource: None,
            change: Change::Merge(json!({"spec": {"volumeName": &*volume.meta.key.name}})),
            version: Some(claim.meta.version),
            on_behalf_of: of_claim,
            reason: Reason::new("rebind", because),
        });
    }
    writes
}

/// The claim and the volume of a pair, whichever of the two it started from.
pub fn pair<'a>(
    from: &Target,
    chosen: &Target,
    tables: &'a Tables,
) -> Option<(&'a Claim, &'a Volume)> {
    let (claim, volume) = match from.kind == kind::PERSISTENT_VOLUME {
        true => (chosen, from),
        false => (from, chosen),
    };
    let claim = tables.claims.by_uid(&claim.uid)?;
    let volume = tables.volumes.by_uid(&volume.uid)?;
    Some((&**claim, &**volume))
}

/// A write in lines for people: `- spec.claimRef.uid`, `+ spec.volumeName = x`.
pub fn lines(write: &Write) -> Vec<(bool, String)> {
    let (Change::Create(value)
    | Change::Replace(value)
    | Change::Merge(value)
    | Change::Strategic(value)
    | Change::Delete(value)) = &write.change;
    let mut lines = Vec::new();
    flatten("", value, &mut lines);
    lines
}

fn flatten(path: &str, value: &Value, lines: &mut Vec<(bool, String)>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let path = match (path.is_empty(), key.contains('.')) {
                    (true, _) => key.clone(),
                    (false, true) => format!("{path}[{key}]"),
                    (false, false) => format!("{path}.{key}"),
                };
                flatten(&path, value, lines);
            }
        }
        Value::Null => lines.push((false, path.to_owned())),
        Value::String(text) => lines.push((true, format!("{path}: {text}"))),
        other => lines.push((true, format!("{path}: {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::row::Row;

    fn claim(phase: &str, volume: &str) -> Claim {
        let annotations = match phase {
            "Lost" => json!({BIND_COMPLETED: "yes"}),
            _ => json!({}),
        };
        Claim::from_object(&json!({
            "metadata": {"namespace": "shop", "name": "data", "uid": "c1", "resourceVersion": "5",
                "annotations": annotations},
            "spec": {"resources": {"requests": {"storage": "5Gi"}}, "volumeName": volume,
                "accessModes": ["ReadWriteOnce"], "storageClassName": "manual"},
            "status": {"phase": phase},
        }))
        .expect("a claim")
    }

    fn volume(size: &str) -> Volume {
        Volume::from_object(&json!({
            "metadata": {"name": "pv-1", "uid": "v1", "resourceVersion": "9"},
            "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"],
                "storageClassName": "manual",
                "claimRef": {"namespace": "shop", "name": "data", "uid": "old", "kind": "PersistentVolumeClaim"}},
            "status": {"phase": "Released"},
        }))
        .expect("a volume")
    }

    #[test]
    fn volume_is_reserved_by_name_only_then_claim_names_it() {
        let writes = writes(&claim("Pending", ""), &volume("10Gi"));
        let [reserve, name] = &writes[..] else { panic!("{writes:?}") };
        let Change::Merge(patch) = &reserve.change else { panic!("{reserve:?}") };
        let mut object = json!({"spec": {"claimRef": {"namespace": "x", "name": "y", "uid": "old",
            "kind": "PersistentVolumeClaim", "apiVersion": "v1", "resourceVersion": "3"}}});
        json_patch::merge(&mut object, patch);
        assert_eq!(object["spec"]["claimRef"], json!({"namespace": "shop", "name": "data"}));
        assert_eq!((reserve.version, name.version), (Some(9), Some(5)));
        assert_eq!(name.change, Change::Merge(json!({"spec": {"volumeName": "pv-1"}})));
    }

    #[test]
    fn lost_claim_takes_its_volume_back_by_uid() {
        let writes = writes(&claim("Lost", "pv-1"), &volume("10Gi"));
        let [Write { change: Change::Merge(patch), .. }] = &writes[..] else {
            panic!("{writes:?}")
        };
        assert_eq!(patch["spec"]["claimRef"]["uid"], "c1");
    }

    #[test]
    fn misfit_is_the_binders_own() {
        assert_eq!(why_not(&claim("Pending", ""), &volume("10Gi")), Ok(()));
        let small = why_not(&claim("Pending", ""), &volume("1Gi")).expect_err("too small");
        assert!(small.contains("too small"), "{small}");
        let other = why_not(&claim("Lost", "pv-2"), &volume("10Gi")).expect_err("other");
        assert!(other.contains("names volume pv-2"), "{other}");
    }
}
