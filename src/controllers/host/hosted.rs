//! The controllers of the controller manager, a row each.

use std::sync::Arc;
use std::time::Duration;

use super::Options;
use super::loops::{Looks, Loops, Title};
use crate::controllers::attach_detach::controller::AttachDetachController;
use crate::controllers::expand::controller::ExpandController;
use crate::controllers::node_life::collector::{self, PodCollector};
use crate::controllers::node_life::evictor::TaintEviction;
use crate::controllers::node_life::lifecycle::{self, NodeLifecycle};
use crate::controllers::parts::Parts;
use crate::controllers::persistent_volume::controller::{
    self as persistent_volume, PersistentVolumeController, Provisioning,
};
use crate::controllers::protection::attributes_class::AttributesClassProtection;
use crate::controllers::protection::claim::ClaimProtection;
use crate::controllers::protection::volume::VolumeProtection;
use crate::controllers::resource_quota::controller::{
    self as resource_quota, ResourceQuotaController,
};
use crate::controllers::work_loop::Reconciler;
use crate::controllers::workloads::deployment::controller::DeploymentController;
use crate::controllers::workloads::ephemeral_claim::EphemeralClaims;
use crate::controllers::workloads::garbage::controller::GarbageCollector;
use crate::controllers::workloads::namespace::controller::NamespaceController;
use crate::controllers::workloads::replica_set::controller::ReplicaSetController;
use crate::controllers::workloads::stateful_set::controller::StatefulSetController;
use crate::mirror::KINDS;
use crate::model::kind::{self, Kind};
use crate::plugins::block_disk::{self, BlockDisk};
use crate::plugins::host_path::HostPath;
use crate::plugins::kinds::CONTROLLER_PLUGINS;
use crate::plugins::nfs::Nfs;
use crate::plugins::plugin::{PluginFacts, VolumePlugin};

/// One controller, as it is started.
pub(super) struct Hosted {
    /// Its name in the controller manager.
    name: &'static str,
    /// In whose name it writes.
    actor: &'static str,
    /// The component that its events name; `None`: it tells none.
    component: Option<&'static str>,
    /// What must have been listed beside what all need.
    needs: &'static [&'static Kind],
    /// How often it looks at everything again.
    round: Option<Duration>,
    /// `None`: there is nothing for it to do with these options.
    make: fn(Parts, &Options) -> Option<Arc<dyn Reconciler>>,
}

/// What the attach/detach controller and companions of drivers need: a volume
/// whose user is not known would be detached.
pub(super) const TO_ATTACH: &[&Kind] =
    &[kind::NODE, kind::CSI_NODE, kind::CSI_DRIVER, kind::VOLUME_ATTACHMENT];

/// What is looked at by change only, and tells nobody anything.
const SILENT: Hosted =
    Hosted { name: "", actor: "", component: None, needs: &[], round: None, make: |_, _| None };

/// The first: what others do about volumes and claims follows from what it does.
pub(super) const BINDER: Hosted = Hosted {
    name: "persistentvolume-binder-controller",
    actor: "persistent-volume-binder",
    component: Some("persistentvolume-controller"),
    round: Some(persistent_volume::RESYNC),
    make: |parts, options| {
        let provisioning = provisioning(options);
        Some(Arc::new(PersistentVolumeController::new(parts, provisioning)))
    },
    ..SILENT
};

/// All others, in the order in which they start.
pub(super) const OTHERS: &[Hosted] = &[
    Hosted {
        name: "persistentvolumeclaim-protection-controller",
        actor: "pvc-protection-controller",
        make: |parts, _| Some(Arc::new(ClaimProtection::new(parts))),
        ..SILENT
    },
    Hosted {
        name: "persistentvolume-protection-controller",
        actor: "pv-protection-controller",
        make: |parts, _| Some(Arc::new(VolumeProtection::new(parts))),
        ..SILENT
    },
    Hosted {
        name: "volumeattributesclass-protection-controller",
        actor: "volumeattributesclass-protection-controller",
        make: |parts, _| Some(Arc::new(AttributesClassProtection::new(parts))),
        ..SILENT
    },
    Hosted {
        name: "resourcequota-controller",
        actor: "resourcequota-controller",
        round: Some(resource_quota::FULL_ROUND),
        make: |parts, _| Some(Arc::new(ResourceQuotaController::new(parts))),
        ..SILENT
    },
    Hosted {
        name: "node-lifecycle-controller",
        actor: "node-controller",
        component: Some("node-controller"),
        needs: &[kind::NODE],
        round: Some(lifecycle::ROUND),
        make: |parts, _| Some(Arc::new(NodeLifecycle::new(parts))),
    },
    Hosted {
        name: "taint-eviction-controller",
        actor: "taint-eviction-controller",
        component: Some("taint-eviction-controller"),
        needs: &[kind::NODE],
        make: |parts, _| Some(Arc::new(TaintEviction::new(parts))),
        ..SILENT
    },
    Hosted {
        name: "pod-garbage-collector-controller",
        actor: "pod-garbage-collector",
        component: Some("pod-garbage-collector"),
        needs: &[kind::NODE],
        round: Some(collector::ROUND),
        make: |parts, _| Some(Arc::new(PodCollector::new(parts))),
    },
    Hosted {
        name: "persistentvolume-attach-detach-controller",
        actor: "attachdetach-controller",
        component: Some("attachdetach-controller"),
        needs: TO_ATTACH,
        // How often attached volumes are verified.
        round: Some(Duration::from_secs(60)),
        make: |parts, options| {
            let plugins = options.machines.as_ref()?.plugins.clone();
            Some(Arc::new(AttachDetachController::new(parts, plugins)))
        },
    },
    Hosted {
        name: "persistentvolume-expander-controller",
        actor: "expand-controller",
        component: Some("volume_expand"),
        make: |parts, options| {
            let machines = options.machines.as_ref();
            let plugins = machines.map(|machines| machines.plugins.clone()).unwrap_or_default();
            Some(Arc::new(ExpandController::new(parts, plugins)))
        },
        ..SILENT
    },
    Hosted {
        name: "statefulset-controller",
        actor: "statefulset-controller",
        component: Some("statefulset-controller"),
        make: |parts, _| Some(Arc::new(StatefulSetController::new(parts))),
        ..OF_WORKLOADS
    },
    Hosted {
        name: "deployment-controller",
        actor: "deployment-controller",
        component: Some("deployment-controller"),
        make: |parts, _| Some(Arc::new(DeploymentController::new(parts))),
        ..OF_WORKLOADS
    },
    Hosted {
        name: "replicaset-controller",
        actor: "replicaset-controller",
        component: Some("replicaset-controller"),
        make: |parts, _| Some(Arc::new(ReplicaSetController::new(parts))),
        ..OF_WORKLOADS
    },
    Hosted {
        name: "ephemeral-volume-controller",
        actor: "ephemeral-volume-controller",
        component: Some("ephemeral_volume"),
        make: |parts, _| Some(Arc::new(EphemeralClaims::new(parts))),
        ..OF_WORKLOADS
    },
    Hosted {
        name: "garbage-collector-controller",
        actor: "generic-garbage-collector",
        component: Some("garbage-collector-controller"),
        make: |parts, _| Some(Arc::new(GarbageCollector::new(parts))),
        ..OF_WORKLOADS
    },
    Hosted {
        name: "namespace-controller",
        actor: "namespace-controller",
        component: Some("namespace-controller"),
        make: |parts, _| Some(Arc::new(NamespaceController::new(parts))),
        ..OF_WORKLOADS
    },
];

/// Whoever looks for owners must have seen all that can be one.
const OF_WORKLOADS: Hosted = Hosted { needs: KINDS, ..SILENT };

impl Hosted {
    /// Runs it, if it has anything to do.
    pub fn start(&self, loops: &mut Loops<'_>, options: &Options) {
        let parts = loops.parts(self.actor, self.component);
        let health = parts.health.clone();
        let Some(reconciler) = (self.make)(parts, options) else { return };
        let title = Title::new(self.name, self.actor);
        let looks = Looks { needs: self.needs, round: self.round };
        loops.controller(title, looks, &health, reconciler);
    }
}

/// The plugins that the controller of volumes can do something with.
fn provisioning(options: &Options) -> Provisioning {
    let mut plugins: Vec<Arc<dyn VolumePlugin>> = vec![
        Arc::new(HostPath {
            provisioning: options.host_path_provisioning,
            directories: options.directories.clone(),
        }),
        Arc::new(Nfs),
    ];
    if let Some(machines) = &options.machines {
        plugins.push(Arc::new(BlockDisk::new(machines.disks.clone())));
    }
    Provisioning { plugins, facts: plugin_facts(options), dynamic: options.dynamic_provisioning }
}

/// What it knows of every plugin.
pub(super) fn plugin_facts(options: &Options) -> Vec<PluginFacts> {
    let mut facts = CONTROLLER_PLUGINS.to_vec();
    facts.extend(options.machines.is_some().then_some(block_disk::FACTS));
    facts
}
