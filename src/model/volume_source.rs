//! What is behind a volume, in full: what a node or the attach/detach
//! controller needs to reach it.
//!
//! Read from a PersistentVolume or from an entry of a pod's `spec.volumes`.
//! Rows keep only [`crate::model::volume::Source`]; a spec is read when
//! something is to be done with the volume.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::model::access_modes::{AccessMode, AccessModes};
use crate::model::object::Key;
use crate::model::quantity::Quantity;
use crate::model::selector::NodeSelector;
use crate::model::volume::{SOURCE_FIELDS, VolumeMode};

/// The fields of a pod's volume that hold a source and are no claim. Those
/// that a PersistentVolume has too come from [`SOURCE_FIELDS`].
const INLINE_FIELDS: &[&str] =
    &["emptyDir", "configMap", "secret", "projected", "downwardAPI", "gitRepo", "image"];

/// PV annotation: mount options that replace `spec.mountOptions`.
const MOUNT_OPTIONS: &str = "volume.beta.kubernetes.io/mount-options";
/// PV annotation: a supplemental group for the pods.
const GID: &str = "pv.beta.kubernetes.io/gid";

/// A volume as a pod uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeSpec {
    /// The PV's name, or the pod volume's name if inline: used in paths.
    pub name: Arc<str>,
    /// Whether it stands in the pod itself instead of a PersistentVolume.
    pub is_inline: bool,
    pub source: VolumeSource,
    /// For a PV `persistentVolumeClaim.readOnly` of the pod and nothing else;
    /// for an inline volume its own flag.
    pub read_only: bool,
    /// Filesystem or Block; an inline volume is always Filesystem.
    pub mode: VolumeMode,
    pub access_modes: AccessModes,
    /// `spec.mountOptions`, or those of the annotation. `None`: the PV has none.
    pub mount_options: Option<Box<[Arc<str>]>>,
    pub capacity: Option<Quantity>,
    /// `pv.beta.kubernetes.io/gid`.
    pub gid: Option<u32>,
    /// `spec.nodeAffinity.required` of the PV.
    pub node_affinity: Option<Box<NodeSelector>>,
}

/// The source of a volume. Kinds that hosts here act on have their fields;
/// all others are kept as the API has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeSource {
    HostPath {
        path: Arc<str>,
        /// `type`, empty if unset.
        kind: Arc<str>,
    },
    Local {
        path: Arc<str>,
        fs_type: Option<Arc<str>>,
    },
    Nfs {
        server: Arc<str>,
        path: Arc<str>,
    },
    EmptyDir {
        /// Empty, `Memory`, `HugePages`, `HugePages-2Mi`, …
        medium: Arc<str>,
        size_limit: Option<Quantity>,
    },
    ConfigMap(Keys),
    Secret(Keys),
    Iscsi(Iscsi),
    FibreChannel(FibreChannel),
    FlexVolume {
        /// `vendor/driver`.
        driver: Arc<str>,
        fs_type: Option<Arc<str>>,
        options: BTreeMap<Arc<str>, Arc<str>>,
        /// `secretRef`; without a namespace: the pod's.
        secret: Option<Key>,
    },
    Csi(CsiSource),
    /// A kind with no plugin of its own here: the field of the spec and its
    /// content, such as `gcePersistentDisk`, `projected`.
    Other {
        field: Arc<str>,
        content: Value,
    },
    /// No source that this program knows.
    None,
}

/// A volume of a CSI driver.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CsiSource {
    pub driver: Arc<str>,
    /// Empty for a volume that a pod declares itself.
    pub handle: Arc<str>,
    pub fs_type: Option<Arc<str>>,
    /// `volumeAttributes`.
    pub attributes: BTreeMap<Arc<str>, Arc<str>>,
    /// The Secrets that steps on a node need, by the field that names them; in
    /// a pod's own volume without namespace.
    pub secrets: BTreeMap<&'static str, Key>,
}

/// The fields of a CSI source that name a Secret for a node.
const CSI_SECRETS: [&str; 3] =
    ["nodeStageSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"];

impl CsiSource {
    fn from_json(source: &Value, fs_type: Option<Arc<str>>) -> Self {
        let secret = |field: &'static str| {
            let name = optional(&source[field]["name"])?;
            Some((field, Key::new(text(&source[field]["namespace"]), name)))
        };
        Self {
            driver: text(&source["driver"]),
            handle: text(&source["volumeHandle"]),
            fs_type,
            attributes: strings_by_key(&source["volumeAttributes"]),
            secrets: CSI_SECRETS.into_iter().filter_map(secret).collect(),
        }
    }
}

/// Which keys of a ConfigMap or Secret become files, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// The object's name, in the pod's namespace.
    pub object: Arc<str>,
    /// `items` as (key, path, mode); `None`: all keys.
    pub items: Option<Box<[KeyFile]>>,
    /// `defaultMode`, 0644 if unset.
    pub default_mode: u32,
    /// Whether a missing object or key is fine.
    pub optional: bool,
}

/// One key of a ConfigMap or Secret as a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile {
    pub key: Arc<str>,
    pub path: Arc<str>,
    pub mode: Option<u32>,
}

/// An iSCSI target and a unit on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Iscsi {
    /// `targetPortal` first, then `portals`, as written.
    pub portals: Box<[Arc<str>]>,
    pub iqn: Arc<str>,
    pub lun: i64,
    /// `iscsiInterface`, `default` if unset.
    pub interface: Arc<str>,
    pub initiator: Option<Arc<str>>,
    pub chap_discovery: bool,
    pub chap_session: bool,
    pub fs_type: Option<Arc<str>>,
}

/// A Fibre Channel unit: world wide names with a LUN, or world wide ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FibreChannel {
    pub target_wwns: Box<[Arc<str>]>,
    pub lun: Option<i64>,
    pub wwids: Box<[Arc<str>]>,
    pub fs_type: Option<Arc<str>>,
}

impl VolumeSpec {
    /// The spec of a PersistentVolume. `read_only` is what the pod asks for.
    pub fn from_volume(volume: &Value, read_only: bool) -> Self {
        let (metadata, spec) = (&volume["metadata"], &volume["spec"]);
        Self {
            name: text(&metadata["name"]),
            is_inline: false,
            source: VolumeSource::from_json(spec),
            read_only,
            mode: VolumeMode::from_json(&spec["volumeMode"]),
            access_modes: AccessModes::from_json(&spec["accessModes"]),
            mount_options: mount_options(volume),
            capacity: quantity(&spec["capacity"]["storage"]),
            gid: metadata["annotations"][GID].as_str().and_then(|gid| gid.parse().ok()),
            node_affinity: NodeSelector::from_json(&spec["nodeAffinity"]["required"]).map(Box::new),
        }
    }

    /// The same as if it stood in a pod, if that is so.
    pub fn inline(self, is_inline: bool) -> Self {
        Self { is_inline, ..self }
    }

    /// The spec of an entry of a pod's `spec.volumes` that is no claim.
    pub fn from_inline(volume: &Value) -> Self {
        let source = VolumeSource::from_json(volume);
        let read_only =
            field_of(volume).is_some_and(|field| volume[field]["readOnly"] == Value::Bool(true));
        Self {
            name: text(&volume["name"]),
            is_inline: true,
            source,
            read_only,
            mode: VolumeMode::Filesystem,
            access_modes: AccessModes::NONE,
            mount_options: None,
            capacity: None,
            gid: None,
            node_affinity: None,
        }
    }

    /// Whether more than one node may have it attached at once. What is not
    /// known to be exclusive may (upstream: `IsMultiAttachAllowed`).
    pub fn allows_multi_attach(&self) -> bool {
        if self.is_inline {
            return !matches!(self.source.field(), "azureDisk" | "cinder");
        }
        self.access_modes == AccessModes::NONE
            || self.access_modes.contains(AccessMode::ReadWriteMany)
            || self.access_modes.contains(AccessMode::ReadOnlyMany)
    }

    /// Whether its only mode is ReadWriteOncePod.
    pub fn is_single_pod(&self) -> bool {
        self.access_modes == [AccessMode::ReadWriteOncePod].into_iter().collect()
    }
}

impl VolumeSource {
    /// Reads the source that stands in a PV's spec or in a pod's volume.
    pub fn from_json(holder: &Value) -> Self {
        let Some(field) = field_of(holder) else { return Self::None };
        let source = &holder[field];
        let fs_type = optional(&source["fsType"]);
        match field {
            "hostPath" => {
                Self::HostPath { path: text(&source["path"]), kind: text(&source["type"]) }
            }
            "local" => Self::Local { path: text(&source["path"]), fs_type },
            "nfs" => Self::Nfs { server: text(&source["server"]), path: text(&source["path"]) },
            "emptyDir" => Self::EmptyDir {
                medium: text(&source["medium"]),
                size_limit: quantity(&source["sizeLimit"]),
            },
            "configMap" => Self::ConfigMap(Keys::from_json(source, "name")),
            "secret" => Self::Secret(Keys::from_json(source, "secretName")),
            "iscsi" => Self::Iscsi(Iscsi::from_json(source)),
            "fc" => Self::FibreChannel(FibreChannel::from_json(source)),
            "flexVolume" => Self::FlexVolume {
                driver: text(&source["driver"]),
                fs_type,
                options: strings_by_key(&source["options"]),
                secret: optional(&source["secretRef"]["name"])
                    .map(|name| Key::new(text(&source["secretRef"]["namespace"]), name)),
            },
            "csi" => Self::Csi(CsiSource::from_json(source, fs_type)),
            _ => Self::Other { field: field.into(), content: source.clone() },
        }
    }

    /// The field of the spec it was read from, empty if none.
    pub fn field(&self) -> &str {
        match self {
            Self::HostPath { .. } => "hostPath",
            Self::Local { .. } => "local",
            Self::Nfs { .. } => "nfs",
            Self::EmptyDir { .. } => "emptyDir",
            Self::ConfigMap(_) => "configMap",
            Self::Secret(_) => "secret",
            Self::Iscsi(_) => "iscsi",
            Self::FibreChannel(_) => "fc",
            Self::FlexVolume { .. } => "flexVolume",
            Self::Csi(_) => "csi",
            Self::Other { field, .. } => field,
            Self::None => "",
        }
    }

    /// The CSI or FlexVolume driver.
    pub fn driver(&self) -> Option<&Arc<str>> {
        match self {
            Self::FlexVolume { driver, .. } | Self::Csi(CsiSource { driver, .. }) => Some(driver),
            _ => None,
        }
    }
}

impl Keys {
    fn from_json(source: &Value, name: &str) -> Self {
        let mode = |value: &Value| value.as_u64().and_then(|mode| u32::try_from(mode).ok());
        let items = source["items"].as_array().map(|items| {
            let item = |item: &Value| KeyFile {
                key: text(&item["key"]),
                path: text(&item["path"]),
                mode: mode(&item["mode"]),
            };
            items.iter().map(item).collect()
        });
        Self {
            object: text(&source[name]),
            items,
            default_mode: mode(&source["defaultMode"]).unwrap_or(0o644),
            optional: source["optional"] == Value::Bool(true),
        }
    }
}

impl Iscsi {
    fn from_json(source: &Value) -> Self {
        let first = optional(&source["targetPortal"]);
        Self {
            portals: first.into_iter().chain(strings(&source["portals"])).collect(),
            iqn: text(&source["iqn"]),
            lun: source["lun"].as_i64().unwrap_or_default(),
            interface: optional(&source["iscsiInterface"]).unwrap_or_else(|| "default".into()),
            initiator: optional(&source["initiatorName"]),
            chap_discovery: source["chapAuthDiscovery"] == Value::Bool(true),
            chap_session: source["chapAuthSession"] == Value::Bool(true),
            fs_type: optional(&source["fsType"]),
        }
    }
}

impl FibreChannel {
    fn from_json(source: &Value) -> Self {
        Self {
            target_wwns: strings(&source["targetWWNs"]).collect(),
            lun: source["lun"].as_i64(),
            wwids: strings(&source["wwids"]).collect(),
            fs_type: optional(&source["fsType"]),
        }
    }
}

fn field_of(holder: &Value) -> Option<&'static str> {
    SOURCE_FIELDS
        .iter()
        .chain(INLINE_FIELDS)
        .copied()
        .find(|field| holder.get(field).is_some_and(|source| !source.is_null()))
}

fn mount_options(volume: &Value) -> Option<Box<[Arc<str>]>> {
    if let Some(options) = volume["metadata"]["annotations"][MOUNT_OPTIONS].as_str() {
        return Some(options.split(',').map(Arc::from).collect());
    }
    let options: Box<[Arc<str>]> = strings(&volume["spec"]["mountOptions"]).collect();
    (!options.is_empty()).then_some(options)
}

fn text(value: &Value) -> Arc<str> {
    value.as_str().unwrap_or_default().into()
}

fn optional(value: &Value) -> Option<Arc<str>> {
    value.as_str().filter(|text| !text.is_empty()).map(Arc::from)
}

fn quantity(value: &Value) -> Option<Quantity> {
    Quantity::parse(value.as_str()?).ok()
}

fn strings(list: &Value) -> impl Iterator<Item = Arc<str>> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(Arc::from)
}

fn strings_by_key(map: &Value) -> BTreeMap<Arc<str>, Arc<str>> {
    let entries = map.as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.as_str().into(), value.as_str()?.into()))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_volume_takes_read_only_from_the_pod_and_options_from_the_annotation() {
        let volume = json!({
            "metadata": {"name": "pv-1", "uid": "u", "annotations": {
                "volume.beta.kubernetes.io/mount-options": "hard,ro", "pv.beta.kubernetes.io/gid": "7",
            }},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
                "mountOptions": ["soft"],
                "nfs": {"server": "nfs.example", "path": "/exports/1", "readOnly": true},
            },
        });
        let spec = VolumeSpec::from_volume(&volume, false);
        assert!(!spec.read_only, "the source's own flag is for inline volumes");
        assert_eq!(spec.mount_options, Some(["hard".into(), "ro".into()].into()));
        assert_eq!(spec.gid, Some(7));
        assert!(!spec.is_inline && !spec.allows_multi_attach());
    }

    #[test]
    fn an_inline_volume_is_read_with_its_own_flag() {
        let volume =
            json!({"name": "data", "nfs": {"server": "s", "path": "/p", "readOnly": true}});
        let spec = VolumeSpec::from_inline(&volume);
        assert!(spec.read_only && spec.is_inline && spec.allows_multi_attach());
        assert_eq!(spec.source.field(), "nfs");
        let disk = VolumeSpec::from_inline(&json!({"name": "d", "azureDisk": {"diskName": "x"}}));
        assert!(!disk.allows_multi_attach());
        let none = VolumeSpec::from_inline(&json!({"name": "d", "surprise": 7, "nfs": null}));
        assert_eq!(none.source, VolumeSource::None);
    }
}
