//! The kinds that pvdeck has names for: one constant each, one slice of all.
//!
//! Paths, short names, completion and discovery are derived from these
//! constants; nothing else spells a plural.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// The names of one resource, as discovery would give them.
///
/// Two are equal, and order, by plural, group and version: these name it.
#[derive(Debug, Eq)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: &'static str,
    pub version: &'static str,
    /// `PersistentVolume`.
    pub kind: &'static str,
    /// `persistentvolumes`: the name in paths, statuses and `kubectl`.
    pub plural: &'static str,
    /// `persistentvolume`.
    pub singular: &'static str,
    /// `pv`: what one types for it, the first one also on the screen.
    pub short: &'static [&'static str],
    pub namespaced: bool,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $group:literal $version:literal $kind:literal $plural:literal $singular:literal [$($short:literal),*] $scope:ident;)*) => {
        $($(#[$doc])* pub const $name: &Kind = &Kind {
            group: $group, version: $version, kind: $kind, plural: $plural, singular: $singular,
            short: &[$($short),*], namespaced: kinds!(@ $scope),
        };)*
        /// Every kind that has a name here.
        pub const ALL: &[&Kind] = &[$($name),*];
    };
    (@ namespaced) => { true };
    (@ cluster) => { false };
}

kinds! {
    NAMESPACE = "" "v1" "Namespace" "namespaces" "namespace" ["ns"] cluster;
    NODE = "" "v1" "Node" "nodes" "node" ["no"] cluster;
    POD = "" "v1" "Pod" "pods" "pod" ["po"] namespaced;
    PERSISTENT_VOLUME = "" "v1" "PersistentVolume" "persistentvolumes" "persistentvolume" ["pv"] cluster;
    PERSISTENT_VOLUME_CLAIM = "" "v1" "PersistentVolumeClaim" "persistentvolumeclaims" "persistentvolumeclaim" ["pvc"] namespaced;
    SERVICE = "" "v1" "Service" "services" "service" ["svc"] namespaced;
    CONFIG_MAP = "" "v1" "ConfigMap" "configmaps" "configmap" ["cm"] namespaced;
    RESOURCE_QUOTA = "" "v1" "ResourceQuota" "resourcequotas" "resourcequota" ["quota"] namespaced;
    LIMIT_RANGE = "" "v1" "LimitRange" "limitranges" "limitrange" ["limits"] namespaced;
    SECRET = "" "v1" "Secret" "secrets" "secret" [] namespaced;
    SERVICE_ACCOUNT = "" "v1" "ServiceAccount" "serviceaccounts" "serviceaccount" ["sa"] namespaced;
    /// Core and `events.k8s.io` events are one storage; this is the core shape.
    EVENT = "" "v1" "Event" "events" "event" ["ev"] namespaced;
    EVENT_V1 = "events.k8s.io" "v1" "Event" "events" "event" ["ev"] namespaced;
    STATEFUL_SET = "apps" "v1" "StatefulSet" "statefulsets" "statefulset" ["sts"] namespaced;
    DEPLOYMENT = "apps" "v1" "Deployment" "deployments" "deployment" ["deploy"] namespaced;
    REPLICA_SET = "apps" "v1" "ReplicaSet" "replicasets" "replicaset" ["rs"] namespaced;
    CONTROLLER_REVISION = "apps" "v1" "ControllerRevision" "controllerrevisions" "controllerrevision" [] namespaced;
    STORAGE_CLASS = "storage.k8s.io" "v1" "StorageClass" "storageclasses" "storageclass" ["sc"] cluster;
    VOLUME_ATTACHMENT = "storage.k8s.io" "v1" "VolumeAttachment" "volumeattachments" "volumeattachment" [] cluster;
    CSI_NODE = "storage.k8s.io" "v1" "CSINode" "csinodes" "csinode" [] cluster;
    CSI_DRIVER = "storage.k8s.io" "v1" "CSIDriver" "csidrivers" "csidriver" [] cluster;
    CSI_STORAGE_CAPACITY = "storage.k8s.io" "v1" "CSIStorageCapacity" "csistoragecapacities" "csistoragecapacity" [] namespaced;
    VOLUME_ATTRIBUTES_CLASS = "storage.k8s.io" "v1" "VolumeAttributesClass" "volumeattributesclasses" "volumeattributesclass" ["vac"] cluster;
    PRIORITY_CLASS = "scheduling.k8s.io" "v1" "PriorityClass" "priorityclasses" "priorityclass" ["pc"] cluster;
    LEASE = "coordination.k8s.io" "v1" "Lease" "leases" "lease" [] namespaced;
}

/// Words of the console that no API server announces.
const CONSOLE_WORDS: &[(&str, &Kind)] = &[("va", VOLUME_ATTACHMENT)];

impl Kind {
    /// `v1`, or `storage.k8s.io/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The plural as errors name it: `persistentvolumes`, `statefulsets.apps`.
    pub fn qualified_plural(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// The collection's path, without a trailing slash. A namespaced kind
    /// without namespace gives the collection over all namespaces.
    pub fn collection_path(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        match namespace {
            Some(namespace) if self.namespaced => {
                format!("{root}/namespaces/{namespace}/{}", self.plural)
            }
            _ => format!("{root}/{}", self.plural),
        }
    }

    /// Finds a kind by what people type: plural, singular, kind, short name or a
    /// word of the console, in any case.
    pub fn by_word(word: &str) -> Option<&'static Kind> {
        let word = word.to_ascii_lowercase();
        if let Some((_, kind)) = CONSOLE_WORDS.iter().find(|(known, _)| *known == word) {
            return Some(kind);
        }
        ALL.iter().copied().find(|kind| {
            kind.plural == word
                || kind.singular == word
                || kind.short.contains(&word.as_str())
                || kind.kind.eq_ignore_ascii_case(&word)
        })
    }

    /// Finds a kind by the `apiVersion` and `kind` of an object.
    pub fn by_type(api_version: &str, kind: &str) -> Option<&'static Kind> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        ALL.iter().copied().find(|k| k.group == group && k.version == version && k.kind == kind)
    }
}

impl Kind {
    fn identity(&self) -> (&str, &str, &str) {
        (self.plural, self.group, self.version)
    }
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Hash for Kind {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.plural.hash(state);
    }
}

impl PartialOrd for Kind {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kind {
    fn cmp(&self, other: &Self) -> Ordering {
        self.identity().cmp(&other.identity())
    }
}

impl fmt::Display for Kind {
    /// The singular, as `kubectl` names objects: `persistentvolume`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.singular)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_people_type_find_their_kind() {
        for (word, kind) in [
            ("pv", PERSISTENT_VOLUME),
            ("PVC", PERSISTENT_VOLUME_CLAIM),
            ("StorageClass", STORAGE_CLASS),
            ("events", EVENT),
            ("va", VOLUME_ATTACHMENT),
        ] {
            assert_eq!(Kind::by_word(word), Some(kind), "{word}");
        }
        assert_eq!(Kind::by_word("volumes of snow"), None);
    }

    #[test]
    fn paths_follow_group_and_scope() {
        assert_eq!(PERSISTENT_VOLUME.collection_path(None), "/api/v1/persistentvolumes");
        assert_eq!(
            LEASE.collection_path(Some("kube-node-lease")),
            "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        );
    }
}
