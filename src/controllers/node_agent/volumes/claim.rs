//! Whether a node may use what a pod's claim leads to, and in which words not.
//!
//! Claim and volume come as the API server has them at this moment. Upstream:
//! `createVolumeSpec`, `getPVCExtractPV` and `getPVSpec` of
//! `desired_state_of_world_populator.go`.

use serde_json::Value;

use crate::controllers::node_agent::volumes::pod::{PodVolume, WantedPod};
use crate::model::object::Key;
use crate::model::volume::VolumeMode;
use crate::model::volume_source::VolumeSpec;

/// The finalizer under which a claim that is being deleted may still be used.
const PROTECTION: &str = "kubernetes.io/pvc-protection";

/// The start of every text about a claim.
fn about(claim: &Key, text: &str) -> String {
    format!("error processing PVC {claim}: {text}")
}

/// The claim cannot be read.
pub fn unreadable_claim(claim: &Key, error: &str) -> String {
    about(claim, &format!("failed to fetch PVC from API server: {error}"))
}

/// The claim's volume cannot be read.
pub fn unreadable_volume(claim: &Key, volume: &str, error: &str) -> String {
    about(claim, &format!("failed to fetch PV {volume} from API server: {error}"))
}

/// The volume that a claim is bound to, or why it cannot be used.
pub fn volume_of<'a>(
    pod: &WantedPod,
    key: &Key,
    claim: &'a Value,
    owned: bool,
) -> Result<&'a str, String> {
    let metadata = &claim["metadata"];
    let mut finalizers = metadata["finalizers"].as_array().into_iter().flatten();
    let protected = finalizers.any(|name| name == PROTECTION);
    if !metadata["deletionTimestamp"].is_null() && !protected {
        return Err(about(key, "PVC is being deleted"));
    }
    if claim["status"]["phase"] != "Bound" {
        return Err(about(key, "PVC is not bound"));
    }
    let volume = claim["spec"]["volumeName"].as_str().unwrap_or_default();
    if volume.is_empty() {
        return Err(about(key, "PVC has empty pvc.Spec.VolumeName"));
    }
    let mut owners = metadata["ownerReferences"].as_array().into_iter().flatten();
    if owned && !owners.any(|owner| owner["controller"] == true && owner["uid"] == *pod.uid) {
        let pod = &pod.key;
        return Err(format!("PVC {key} was not created for pod {pod} (pod is not owner)"));
    }
    Ok(volume)
}

/// The spec of a claim's volume as a pod uses it, or why it cannot.
pub fn spec_of(
    key: &Key,
    claim: &Value,
    volume: &Value,
    used: &PodVolume,
    read_only: bool,
) -> Result<VolumeSpec, String> {
    let name = volume["metadata"]["name"].as_str().unwrap_or_default();
    let reference = &volume["spec"]["claimRef"];
    if reference.is_null() {
        let text = format!(
            "found PV object {name} but it has a nil pv.Spec.ClaimRef indicating it is not yet \
             bound to the claim"
        );
        return Err(about(key, &text));
    }
    let uid = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (owner, own) = (uid(&reference["uid"]), uid(&claim["metadata"]["uid"]));
    if owner != own {
        let text = format!(
            "found PV object {name} but its pv.Spec.ClaimRef.UID {owner} does not point to \
             claim.UID {own}"
        );
        return Err(about(key, &text));
    }
    let spec = VolumeSpec::from_volume(volume, read_only);
    why_not_used_so(used, &spec).map_or(Ok(spec), Err)
}

/// Why a volume of this mode cannot be used as the containers want to.
pub fn why_not_used_so(used: &PodVolume, spec: &VolumeSpec) -> Option<String> {
    let wrong = match spec.mode {
        VolumeMode::Block if used.in_mounts => "volumeMounts",
        VolumeMode::Filesystem if used.in_devices => "volumeDevices",
        VolumeMode::Block | VolumeMode::Filesystem => return None,
    };
    let (name, mode) = (&used.name, spec.mode.name());
    Some(format!("volume {name} has volumeMode {mode}, but is specified in {wrong}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::controllers::node_agent::volumes::pod::PodSource;

    fn pod() -> WantedPod {
        WantedPod::from_object(&json!({
            "metadata": {"name": "app", "namespace": "shop", "uid": "pod-uid"},
            "spec": {"containers": []},
        }))
    }

    fn bound() -> Value {
        json!({
            "metadata": {"name": "data", "namespace": "shop", "uid": "c"},
            "spec": {"volumeName": "pv-1"}, "status": {"phase": "Bound"},
        })
    }

    #[test]
    fn claims_that_cannot_be_used_are_refused_in_the_kubelets_words() {
        let begins = "error processing PVC shop/data: ";
        let rows: [(&str, Value, bool, Result<&str, String>); 7] = [
            ("", Value::Null, false, Ok("pv-1")),
            ("/status/phase", "Pending".into(), false, Err("PVC is not bound".into())),
            ("/spec/volumeName", "".into(), false, Err("PVC has empty pvc.Spec.VolumeName".into())),
            (
                "/metadata",
                json!({"deletionTimestamp": "2027-01-15T08:00:00Z"}),
                false,
                Err("PVC is being deleted".into()),
            ),
            (
                "/metadata",
                json!({"deletionTimestamp": "2027-01-15T08:00:00Z", "finalizers": [PROTECTION]}),
                false,
                Ok("pv-1"),
            ),
            (
                "",
                Value::Null,
                true,
                Err("PVC shop/data was not created for pod shop/app (pod is not owner)".into()),
            ),
            (
                "/metadata",
                json!({"ownerReferences": [{"uid": "pod-uid", "controller": true}]}),
                true,
                Ok("pv-1"),
            ),
        ];
        let key = Key::new("shop", "data");
        for (place, value, owned, expected) in rows {
            let mut claim = bound();
            if !place.is_empty() {
                *claim.pointer_mut(place).expect(place) = value;
            }
            let expected = expected.map_err(|text| {
                if text.starts_with("PVC shop") { text } else { format!("{begins}{text}") }
            });
            assert_eq!(
                volume_of(&pod(), &key, &claim, owned),
                expected.as_deref().map_err(Clone::clone)
            );
        }
    }

    #[test]
    fn volumes_that_cannot_be_used_are_refused_in_the_kubelets_words() {
        let used = |in_mounts, in_devices| PodVolume {
            name: "disk".into(),
            source: PodSource::Claim { name: "data".into(), read_only: false, owned: false },
            in_mounts,
            in_devices,
            container_paths: Vec::new(),
            is_read_only: false,
        };
        let volume = |reference: Value, mode: &str| {
            json!({"metadata": {"name": "pv-1"}, "spec": {
                "claimRef": reference, "volumeMode": mode, "hostPath": {"path": "/x"}}})
        };
        let own = || json!({"uid": "c"});
        let rows = [
            (
                volume(Value::Null, "Filesystem"),
                used(true, false),
                "error processing PVC shop/data: found PV object pv-1 but it has a nil \
                 pv.Spec.ClaimRef indicating it is not yet bound to the claim",
            ),
            (
                volume(json!({"uid": "other"}), "Filesystem"),
                used(true, false),
                "error processing PVC shop/data: found PV object pv-1 but its \
                 pv.Spec.ClaimRef.UID other does not point to claim.UID c",
            ),
            (
                volume(own(), "Block"),
                used(true, false),
                "volume disk has volumeMode Block, but is specified in volumeMounts",
            ),
            (
                volume(own(), "Filesystem"),
                used(false, true),
                "volume disk has volumeMode Filesystem, but is specified in volumeDevices",
            ),
            (volume(own(), "Block"), used(false, true), ""),
            (volume(own(), "Filesystem"), used(true, false), ""),
        ];
        for (volume, used, expected) in rows {
            let told = spec_of(&Key::new("shop", "data"), &bound(), &volume, &used, true);
            match told {
                Ok(spec) => assert!(expected.is_empty() && spec.read_only),
                Err(text) => assert_eq!(text, expected),
            }
        }
    }
}
