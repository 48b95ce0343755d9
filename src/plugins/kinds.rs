//! Every kind that a PersistentVolume's source can be, as data: what it can do,
//! its access modes, and what became of it by Kubernetes 1.36.
//!
//! The capabilities of kinds that are translated to CSI or gone are those they
//! had while they lived in the tree; their volumes have no plugin unless a
//! simulated cluster is started with legacy kinds. A volume may state any mode
//! the API accepts; `modes` is what its kind can honour.

use crate::model::access_modes::AccessMode::{
    self, ReadOnlyMany as ROX, ReadWriteMany as RWX, ReadWriteOnce as RWO, ReadWriteOncePod as RWOP,
};
use crate::plugins::plugin::Capability::{
    self, Attach, Block, Delete, ExpandController, ExpandNode, MountOptions, Ownership, Provision,
    Publish, Recycle, Stage,
};
use crate::plugins::plugin::{Capabilities, PluginFacts};

/// One kind of source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// `GCEPersistentDisk`.
    pub title: &'static str,
    pub modes: &'static [AccessMode],
    pub standing: Standing,
    /// The field of the source that names what is behind the volume; empty if
    /// it takes more than one.
    pub id_field: &'static str,
    /// What the columns cannot say; often empty.
    pub note: &'static str,
    pub facts: PluginFacts,
}

/// What became of a kind by Kubernetes 1.36.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    InUse,
    /// Still works; deprecated since this release.
    Deprecated {
        release: &'static str,
    },
    /// The API is kept; always translated to this CSI driver.
    Translated {
        driver: &'static str,
    },
    /// Accepted by the API, with no plugin since this release.
    Removed {
        release: &'static str,
    },
}

impl Kind {
    /// The field of a volume's spec: `gcePersistentDisk`.
    pub fn field(&self) -> &'static str {
        self.facts.source.unwrap_or_default()
    }

    /// Whether no plugin of its own is left.
    pub fn is_gone(&self) -> bool {
        matches!(self.standing, Standing::Translated { .. } | Standing::Removed { .. })
    }

    /// The CSI driver that took over.
    pub fn migrated_to(&self) -> Option<&'static str> {
        match self.standing {
            Standing::Translated { driver } => Some(driver),
            Standing::InUse | Standing::Deprecated { .. } | Standing::Removed { .. } => None,
        }
    }
}

/// The kind of a source by its field.
pub fn by_field(field: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.field() == field)
}

/// The kind of a source by its plugin's name.
pub fn by_plugin(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.facts.name == name)
}

/// The plugins whose volumes are always a CSI driver's.
pub fn migrated_plugins() -> impl Iterator<Item = &'static str> {
    KINDS.iter().filter(|kind| kind.migrated_to().is_some()).map(|kind| kind.facts.name)
}

/// The plugins that a real controller manager has for volumes of its own.
/// `local` and CSI are known to it, but leave provisioning, deleting and
/// recycling to others.
pub const CONTROLLER_PLUGINS: [PluginFacts; 4] =
    [LOCAL.facts, HOST_PATH.facts, NFS.facts, CSI.facts];

/// What a disk of a cloud or cluster can do.
const DISK: &[Capability] =
    &[Attach, Stage, Publish, Block, Provision, Delete, ExpandController, ExpandNode, MountOptions];

/// What a share made by a service can do.
const SHARE: &[Capability] = &[Publish, Provision, Delete, ExpandController, MountOptions];

const fn facts(
    name: &'static str,
    field: &'static str,
    capabilities: &[Capability],
) -> PluginFacts {
    let capabilities = Capabilities::of(capabilities);
    PluginFacts { name, source: Some(field), driver: None, capabilities }
}

const GCE_PERSISTENT_DISK: Kind = Kind {
    title: "GCEPersistentDisk",
    modes: &[RWO, ROX],
    standing: Standing::Translated { driver: "pd.csi.storage.gke.io" },
    id_field: "pdName",
    note: "",
    facts: facts("kubernetes.io/gce-pd", "gcePersistentDisk", DISK),
};

const AWS_ELASTIC_BLOCK_STORE: Kind = Kind {
    title: "AWSElasticBlockStore",
    modes: &[RWO],
    standing: Standing::Translated { driver: "ebs.csi.aws.com" },
    id_field: "volumeID",
    note: "",
    facts: facts("kubernetes.io/aws-ebs", "awsElasticBlockStore", DISK),
};

const AZURE_DISK: Kind = Kind {
    title: "AzureDisk",
    modes: &[RWO],
    standing: Standing::Translated { driver: "disk.csi.azure.com" },
    id_field: "diskName",
    note: "",
    facts: facts("kubernetes.io/azure-disk", "azureDisk", DISK),
};

const AZURE_FILE: Kind = Kind {
    title: "AzureFile",
    modes: &[RWO, ROX, RWX],
    standing: Standing::Translated { driver: "file.csi.azure.com" },
    id_field: "shareName",
    note: "",
    facts: facts("kubernetes.io/azure-file", "azureFile", SHARE),
};

const CINDER: Kind = Kind {
    title: "Cinder",
    modes: &[RWO],
    standing: Standing::Translated { driver: "cinder.csi.openstack.org" },
    id_field: "volumeID",
    note: "ReadWriteMany only if the back end allows it",
    facts: facts("kubernetes.io/cinder", "cinder", DISK),
};

const VSPHERE_VOLUME: Kind = Kind {
    title: "VsphereVolume",
    modes: &[RWO],
    standing: Standing::Translated { driver: "csi.vsphere.vmware.com" },
    id_field: "volumePath",
    note: "ReadWriteMany while all pods are on one node",
    facts: facts(
        "kubernetes.io/vsphere-volume",
        "vsphereVolume",
        &[Attach, Stage, Publish, Block, Provision, Delete, MountOptions],
    ),
};

const PORTWORX_VOLUME: Kind = Kind {
    title: "PortworxVolume",
    modes: &[RWO, RWX],
    standing: Standing::Translated { driver: "pxd.portworx.com" },
    id_field: "volumeID",
    note: "",
    facts: facts(
        "kubernetes.io/portworx-volume",
        "portworxVolume",
        &[Publish, Provision, Delete, ExpandController],
    ),
};

const RBD: Kind = Kind {
    title: "RBD",
    modes: &[RWO, ROX],
    standing: Standing::Removed { release: "1.31" },
    id_field: "image",
    note: "was attached on the node",
    facts: facts("kubernetes.io/rbd", "rbd", DISK),
};

const CEPHFS: Kind = Kind {
    title: "CephFS",
    modes: &[RWO, ROX, RWX],
    standing: Standing::Removed { release: "1.31" },
    id_field: "path",
    note: "",
    facts: facts("kubernetes.io/cephfs", "cephfs", &[Publish, MountOptions]),
};

const GLUSTERFS: Kind = Kind {
    title: "Glusterfs",
    modes: &[RWO, ROX, RWX],
    standing: Standing::Removed { release: "1.26" },
    id_field: "path",
    note: "",
    facts: facts("kubernetes.io/glusterfs", "glusterfs", SHARE),
};

const QUOBYTE: Kind = Kind {
    title: "Quobyte",
    modes: &[RWO, ROX, RWX],
    standing: Standing::Removed { release: "1.25" },
    id_field: "volume",
    note: "",
    facts: facts("kubernetes.io/quobyte", "quobyte", &[Publish, Provision, Delete, MountOptions]),
};

const SCALE_IO: Kind = Kind {
    title: "ScaleIO",
    modes: &[RWO, ROX],
    standing: Standing::Removed { release: "1.22" },
    id_field: "volumeName",
    note: "was attached on the node",
    facts: facts("kubernetes.io/scaleio", "scaleIO", &[Publish, Provision, Delete]),
};

const STORAGEOS: Kind = Kind {
    title: "StorageOS",
    modes: &[RWO],
    standing: Standing::Removed { release: "1.25" },
    id_field: "volumeName",
    note: "",
    facts: facts(
        "kubernetes.io/storageos",
        "storageos",
        &[Publish, Provision, Delete, MountOptions],
    ),
};

const FLOCKER: Kind = Kind {
    title: "Flocker",
    modes: &[RWO],
    standing: Standing::Removed { release: "1.25" },
    id_field: "datasetName",
    note: "was attached on the node",
    facts: facts("kubernetes.io/flocker", "flocker", &[Publish, Provision, Delete]),
};

const PHOTON_PERSISTENT_DISK: Kind = Kind {
    title: "PhotonPersistentDisk",
    modes: &[RWO],
    standing: Standing::Removed { release: "1.15" },
    id_field: "pdID",
    note: "",
    facts: facts(
        "kubernetes.io/photon-pd",
        "photonPersistentDisk",
        &[Attach, Stage, Publish, Provision, Delete, MountOptions],
    ),
};

/// A disk of a storage network, whose attaching is a formality.
const fn network_disk(title: &'static str, name: &'static str, field: &'static str) -> Kind {
    Kind {
        title,
        modes: &[RWO, ROX],
        standing: Standing::InUse,
        id_field: "",
        note: "attaching is a formality",
        facts: facts(name, field, &[Attach, Stage, Publish, Block, MountOptions, Ownership]),
    }
}

pub const FC: Kind = network_disk("FC", "kubernetes.io/fc", "fc");

pub const ISCSI: Kind = network_disk("iSCSI", "kubernetes.io/iscsi", "iscsi");

pub const NFS: Kind = Kind {
    title: "NFS",
    modes: &[RWO, ROX, RWX],
    standing: Standing::InUse,
    id_field: "",
    note: "",
    facts: facts("kubernetes.io/nfs", "nfs", &[Publish, Recycle, MountOptions]),
};

pub const HOST_PATH: Kind = Kind {
    title: "HostPath",
    modes: &[RWO],
    standing: Standing::InUse,
    id_field: "",
    note: "provisions for tests only; deletes below /tmp/ only",
    facts: facts("kubernetes.io/host-path", "hostPath", &[Publish, Provision, Delete, Recycle]),
};

pub const LOCAL: Kind = Kind {
    title: "Local",
    modes: &[RWO],
    standing: Standing::InUse,
    id_field: "",
    note: "stages and expands only if it is a block device",
    facts: facts(
        "kubernetes.io/local-volume",
        "local",
        &[Stage, Publish, Block, ExpandNode, MountOptions, Ownership],
    ),
};

const FLEX_VOLUME: Kind = Kind {
    title: "FlexVolume",
    modes: &[RWO, ROX],
    standing: Standing::Deprecated { release: "1.23" },
    id_field: "driver",
    note: "ReadWriteMany if the driver can; attaches and stages if it says so",
    facts: facts(
        "kubernetes.io/flexvolume",
        "flexVolume",
        &[Attach, Stage, Publish, ExpandController, ExpandNode],
    ),
};

pub const CSI: Kind = Kind {
    title: "CSI",
    modes: &[RWO, ROX, RWX, RWOP],
    standing: Standing::InUse,
    id_field: "volumeHandle",
    note: "what a driver says; the only kind with ReadWriteOncePod",
    facts: facts(
        "kubernetes.io/csi",
        "csi",
        &[Attach, Stage, Publish, Block, ExpandNode, MountOptions],
    ),
};

/// All kinds, clouds first.
pub const KINDS: &[Kind] = &[
    GCE_PERSISTENT_DISK,
    AWS_ELASTIC_BLOCK_STORE,
    AZURE_DISK,
    AZURE_FILE,
    CINDER,
    VSPHERE_VOLUME,
    PORTWORX_VOLUME,
    RBD,
    CEPHFS,
    GLUSTERFS,
    QUOBYTE,
    SCALE_IO,
    STORAGEOS,
    FLOCKER,
    PHOTON_PERSISTENT_DISK,
    FC,
    ISCSI,
    NFS,
    HOST_PATH,
    LOCAL,
    FLEX_VOLUME,
    CSI,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::volume::SOURCE_FIELDS;

    #[test]
    fn every_source_of_the_api_has_its_row_and_only_once() {
        for field in SOURCE_FIELDS {
            let rows = KINDS.iter().filter(|kind| kind.field() == *field).count();
            assert_eq!(rows, 1, "{field}");
        }
        assert_eq!(KINDS.len(), SOURCE_FIELDS.len());
    }

    #[test]
    fn seven_kinds_are_translated_and_two_recycle() {
        let translated = KINDS.iter().filter(|kind| kind.migrated_to().is_some()).count();
        assert_eq!(translated, 7);
        let recycle = KINDS.iter().filter(|kind| kind.facts.can(Recycle));
        let recycle: Vec<_> = recycle.map(|kind| kind.title).collect();
        assert_eq!(recycle, ["NFS", "HostPath"]);
        let single_pod = KINDS.iter().filter(|kind| kind.modes.contains(&RWOP));
        assert_eq!(single_pod.map(|kind| kind.title).collect::<Vec<_>>(), ["CSI"]);
    }
}
