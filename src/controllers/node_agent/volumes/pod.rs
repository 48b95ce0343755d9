//! What a pod wants of its node's volumes: those that a container uses, and
//! what a mount has to know of the pod.
//!
//! A volume that no container names is never mounted (upstream: `GetPodVolumeNames`
//! of `pkg/volume/util`).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::model::object::Key;
use crate::model::quantity::Quantity;
use crate::model::volume_source::VolumeSpec;
use crate::plugins::plugin::PodPart;

/// A pod as far as its volumes go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedPod {
    pub key: Key,
    pub uid: Arc<str>,
    pub version: u64,
    /// The volumes that a container uses, by name.
    pub volumes: Box<[PodVolume]>,
    /// `serviceAccountName`.
    pub service_account: Arc<str>,
    /// `securityContext.fsGroup`.
    pub fs_group: Option<u32>,
    /// `fsGroupChangePolicy: OnRootMismatch`.
    pub only_on_root_mismatch: bool,
    /// The memory its containers may use together, if each has a limit.
    pub memory_limit: Option<u64>,
}

/// A volume of a pod that a container uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodVolume {
    /// `spec.volumes[].name`: the outer name.
    pub name: Arc<str>,
    pub source: PodSource,
    /// Named in some `volumeMounts`.
    pub in_mounts: bool,
    /// Named in some `volumeDevices`.
    pub in_devices: bool,
    /// Each container with its path of it.
    pub container_paths: Vec<(Arc<str>, Arc<str>)>,
    /// No container may write.
    pub is_read_only: bool,
}

/// Where a pod's volume comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PodSource {
    /// A claim of the pod's namespace; `owned`: a generic ephemeral volume,
    /// whose claim must belong to the pod.
    Claim { name: Arc<str>, read_only: bool, owned: bool },
    /// It stands in the pod itself.
    Inline(Box<VolumeSpec>),
}

#[derive(Default)]
struct Use {
    in_mounts: bool,
    in_devices: bool,
    container_paths: Vec<(Arc<str>, Arc<str>)>,
    writers: usize,
}

impl WantedPod {
    /// Reads a pod.
    pub fn from_object(pod: &Value) -> Self {
        let (metadata, spec) = (&pod["metadata"], &pod["spec"]);
        let name = text(&metadata["name"]);
        let mut uses = uses(spec);
        let volumes = spec["volumes"].as_array().into_iter().flatten().filter_map(|volume| {
            let used = uses.remove(volume["name"].as_str()?)?;
            Some(PodVolume {
                name: text(&volume["name"]),
                source: source(volume, &name),
                in_mounts: used.in_mounts,
                in_devices: used.in_devices,
                container_paths: used.container_paths,
                is_read_only: used.writers == 0,
            })
        });
        let mut volumes: Box<[PodVolume]> = volumes.collect();
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        let security = &spec["securityContext"];
        Self {
            key: Key::new(text(&metadata["namespace"]), name),
            uid: text(&metadata["uid"]),
            version: metadata["resourceVersion"]
                .as_str()
                .and_then(|version| version.parse().ok())
                .unwrap_or_default(),
            volumes,
            service_account: text(&spec["serviceAccountName"]),
            fs_group: security["fsGroup"].as_u64().and_then(|group| u32::try_from(group).ok()),
            only_on_root_mismatch: security["fsGroupChangePolicy"] == "OnRootMismatch",
            memory_limit: memory_limit(spec),
        }
    }

    pub fn volume(&self, outer: &str) -> Option<&PodVolume> {
        self.volumes.iter().find(|volume| &*volume.name == outer)
    }

    /// What plugins have to know of it.
    pub fn part(&self) -> PodPart {
        PodPart {
            uid: self.uid.clone(),
            name: self.key.name.clone(),
            namespace: self.key.namespace.clone(),
            service_account: self.service_account.clone(),
            fs_group: self.fs_group,
            only_on_root_mismatch: self.only_on_root_mismatch,
            size_limit: self.memory_limit,
        }
    }
}

fn uses(spec: &Value) -> BTreeMap<&str, Use> {
    let mut uses: BTreeMap<&str, Use> = BTreeMap::new();
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    for container in lists.iter().filter_map(|list| spec[*list].as_array()).flatten() {
        let of = |field: &str| container[field].as_array().into_iter().flatten();
        for mount in of("volumeMounts") {
            let Some(name) = mount["name"].as_str() else { continue };
            let used = uses.entry(name).or_default();
            used.in_mounts = true;
            used.writers += usize::from(mount["readOnly"] != Value::Bool(true));
            used.container_paths.push((text(&container["name"]), text(&mount["mountPath"])));
        }
        for device in of("volumeDevices") {
            let Some(name) = device["name"].as_str() else { continue };
            let used = uses.entry(name).or_default();
            used.in_devices = true;
            used.writers += 1;
            used.container_paths.push((text(&container["name"]), text(&device["devicePath"])));
        }
    }
    uses
}

fn source(volume: &Value, pod: &str) -> PodSource {
    let claim = &volume["persistentVolumeClaim"];
    if let Some(name) = claim["claimName"].as_str() {
        let read_only = claim["readOnly"] == Value::Bool(true);
        return PodSource::Claim { name: name.into(), read_only, owned: false };
    }
    if volume["ephemeral"].is_object() {
        let name = format!("{pod}-{}", volume["name"].as_str().unwrap_or_default());
        return PodSource::Claim { name: name.into(), read_only: false, owned: true };
    }
    PodSource::Inline(Box::new(VolumeSpec::from_inline(volume)))
}

/// The sum of the containers' limits; none if one has none.
fn memory_limit(spec: &Value) -> Option<u64> {
    let containers = spec["containers"].as_array()?;
    let limit = |container: &Value| {
        let limit = container["resources"]["limits"]["memory"].as_str()?;
        u64::try_from(Quantity::parse(limit).ok()?.units()).ok()
    };
    containers.iter().map(limit).sum()
}

fn text(value: &Value) -> Arc<str> {
    value.as_str().unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_volumes_that_a_container_uses_are_wanted() {
        let pod = json!({
            "metadata": {"name": "app", "namespace": "shop", "uid": "u", "resourceVersion": "7"},
            "spec": {
                "securityContext": {"fsGroup": 2000, "fsGroupChangePolicy": "OnRootMismatch"},
                "volumes": [
                    {"name": "unused", "emptyDir": {}},
                    {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}},
                    {"name": "data", "persistentVolumeClaim": {"claimName": "data-0", "readOnly": true}},
                    {"name": "raw", "persistentVolumeClaim": {"claimName": "raw-0"}},
                ],
                "initContainers": [{"name": "setup", "volumeMounts": [
                    {"name": "scratch", "mountPath": "/scratch", "readOnly": true}]}],
                "containers": [{
                    "name": "main", "resources": {"limits": {"memory": "64Mi"}},
                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                    "volumeDevices": [{"name": "raw", "devicePath": "/dev/raw"}],
                }],
            },
        });
        let pod = WantedPod::from_object(&pod);
        let names: Vec<&str> = pod.volumes.iter().map(|volume| &*volume.name).collect();
        assert_eq!(names, ["data", "raw", "scratch"]);
        assert_eq!((pod.fs_group, pod.only_on_root_mismatch), (Some(2000), true));
        assert_eq!(pod.memory_limit, Some(64 << 20));
        let scratch = pod.volume("scratch").expect("used");
        let source = PodSource::Claim { name: "app-scratch".into(), read_only: false, owned: true };
        assert_eq!(scratch.source, source);
        assert!(scratch.is_read_only);
        let data = pod.volume("data").expect("used");
        assert!(matches!(data.source, PodSource::Claim { read_only: true, owned: false, .. }));
        assert_eq!(data.container_paths, [("main".into(), "/data".into())]);
        assert!(pod.volume("raw").is_some_and(|raw| raw.in_devices && !raw.in_mounts));
    }
}
