//! Drivers of ours inside this process, on simulated machines: out of the box
//! for demos, and in the place of the drivers that recordings and manifests
//! name.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::controllers::csi::registry::Watched;
use crate::controllers::csi::{HostedDriver, Settings};
use crate::model::clock::Clock;
use crate::model::kind;
use crate::plugins::csi::calls::Calls;
use crate::plugins::csi::client::{Client, NODE_DEADLINE};
use crate::plugins::csi::driver::Driver;
use crate::plugins::csi::driver::machine::Machine;
use crate::plugins::csi::driver::machine::disks::DiskMachine;
use crate::plugins::csi::driver::options::{NAME, Options};
use crate::plugins::csi::driver::state::Store;
use crate::plugins::csi::node_drivers::NodeDrivers;
use crate::plugins::csi::transport;
use crate::plugins::host::{Disks, Hosts};

/// A driver to be run in this process.
#[derive(Debug, Clone)]
pub struct EmbeddedDriver {
    pub options: Options,
    /// The driver's one name for all nodes; `None`: each node's own.
    pub node_id: Option<String>,
    /// Other names of provisioners that it answers to, such as those of
    /// drivers that were no CSI drivers.
    pub also: Vec<String>,
}

impl EmbeddedDriver {
    /// A driver of this name, with our own names for the nodes.
    pub fn named(name: &str) -> Self {
        let options = Options { name: name.to_owned(), ..Options::default() };
        Self { options, node_id: None, also: Vec::new() }
    }

    /// Its CSIDriver: what it wants of the cluster. Where its volumes are not
    /// reachable from everywhere, pods are placed by what is left in each place.
    pub fn object(&self) -> Value {
        json!({
            "apiVersion": kind::CSI_DRIVER.api_version(), "kind": kind::CSI_DRIVER.kind,
            "metadata": {"name": self.options.name},
            "spec": {
                "attachRequired": self.options.attach,
                "storageCapacity": !self.options.topology.is_empty(),
                "podInfoOnMount": true,
                "fsGroupPolicy": "File",
                "volumeLifecycleModes": ["Persistent", "Ephemeral"],
            },
        })
    }

    /// What a demo has: our own driver, and the names that many manifests use.
    pub fn of_a_demo() -> Vec<Self> {
        let own = Self { also: vec!["ceph.rook.io/block".to_owned()], ..Self::named(NAME) };
        let rook = ["rook-ceph.rbd.csi.ceph.com", "rook-ceph.cephfs.csi.ceph.com"];
        std::iter::once(own).chain(rook.iter().map(|name| Self::named(name))).collect()
    }
}

/// Drivers at work: their companions' view, and the nodes' view.
#[derive(Debug, Clone, Default)]
pub struct Csi {
    pub hosted: Vec<HostedDriver>,
    pub on_nodes: NodeDrivers,
    /// Every call to any of them.
    pub calls: Calls,
    /// Those that run in this process.
    pub drivers: Vec<Driver>,
    /// The directory in which others announce themselves, if one is watched.
    pub registry: Option<Watched>,
}

/// Starts drivers on simulated or real machines.
pub fn start<T: Hosts + Disks + Clone + 'static>(
    specs: &[EmbeddedDriver],
    machines: &T,
    nodes: &[&str],
    clock: &Arc<dyn Clock>,
) -> Csi {
    let mut csi = Csi::default();
    for spec in specs {
        let hosts: Arc<dyn Hosts> = Arc::new(machines.clone());
        let disks: Arc<dyn Disks> = Arc::new(machines.clone());
        let machine = Machine::Disks(DiskMachine::new(hosts, disks, false));
        let driver = Driver::open(
            spec.options.clone(),
            Store::Memory,
            machine,
            clock.clone(),
            Arc::new(|| {}),
        );
        // A store in memory cannot fail to open.
        let Ok(driver) = driver else { continue };
        csi.add(spec, &driver, nodes, clock);
        csi.drivers.push(driver);
    }
    csi
}

impl Csi {
    /// Whether there is no driver at all.
    pub fn is_empty(&self) -> bool {
        self.hosted.is_empty() && self.on_nodes.is_empty() && self.registry.is_none()
    }

    fn add(
        &mut self,
        spec: &EmbeddedDriver,
        driver: &Driver,
        nodes: &[&str],
        clock: &Arc<dyn Clock>,
    ) {
        let name = &spec.options.name;
        let (clock, calls) = (clock.clone(), self.calls.clone());
        let client = |node: &str, at: &transport::Transport| {
            Client::new(name, node, at, clock.clone(), calls.clone(), NODE_DEADLINE)
        };
        let mut controller = None;
        for node in nodes {
            let place = driver.at(node, spec.node_id.as_deref().unwrap_or(node));
            let way = transport::in_process(&place);
            self.on_nodes.register(node, client(node, &way));
            controller.get_or_insert(way);
        }
        let Some(way) = controller else { return };
        let settings = |provisioner: &str| Settings {
            provisioner: provisioner.to_owned(),
            ..Settings::default()
        };
        for provisioner in std::iter::once(name).chain(&spec.also) {
            let settings = settings(provisioner);
            self.hosted.push(HostedDriver { client: client("", &way), settings });
        }
    }
}
