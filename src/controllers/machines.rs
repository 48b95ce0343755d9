//! The machines under a cluster's nodes, for the controllers that reach them.
//!
//! Only clusters in this process have any: on a live one the real kubelets and
//! attachers do this work. Without machines no attach/detach controller and no
//! node agents run.

use std::fmt;
use std::sync::Arc;

use crate::controllers::node_agent::pods::runtime::Runtimes;
use crate::plugins::csi::node::CsiPlugin;
use crate::plugins::flex_volume::FlexVolume;
use crate::plugins::flex_volume::drivers::FlexDrivers;
use crate::plugins::for_nodes;
use crate::plugins::host::{Disks, Host, Hosts};
use crate::plugins::plugin::Plugins;

/// Hosts, the disks between them, and what may be mounted there.
#[derive(Clone)]
pub struct Machines {
    /// A node that it has no host for gets no agent.
    pub hosts: Arc<dyn Hosts>,
    pub disks: Arc<dyn Disks>,
    pub plugins: Plugins,
    /// What runs on the hosts; it goes on while agents are stopped.
    pub runtimes: Arc<Runtimes>,
    /// FlexVolume drivers, where there may be such.
    pub flex_volume: Option<FlexDrivers>,
}

impl Machines {
    /// Machines and disks of one kind, real or simulated. With `legacy_kinds`
    /// also the kinds of volumes that Kubernetes has no more.
    pub fn of<T: Hosts + Disks + 'static>(machines: T, legacy_kinds: bool) -> Self {
        let machines = Arc::new(machines);
        let disks: Arc<dyn Disks> = machines.clone();
        let plugins = for_nodes(&disks, legacy_kinds);
        let runtimes = Arc::default();
        Self { hosts: machines, disks, plugins, runtimes, flex_volume: None }
    }

    /// The same with volumes of CSI drivers.
    pub fn with_csi(self, csi: CsiPlugin) -> Self {
        Self { plugins: self.plugins.and(Arc::new(csi)), ..self }
    }

    /// The same with volumes of FlexVolume drivers, those of a directory that
    /// every machine has. Controllers call them on `controller`.
    pub fn with_flex_volume(self, directory: &str, controller: Arc<dyn Host>) -> Self {
        let drivers = FlexDrivers::new(directory, controller);
        let plugin = Arc::new(FlexVolume::new(drivers.clone()));
        Self { plugins: self.plugins.and(plugin), flex_volume: Some(drivers), ..self }
    }
}

impl fmt::Debug for Machines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machines").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}
