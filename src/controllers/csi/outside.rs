//! Drivers that run outside of this process, reached over their sockets: any
//! driver that follows the specification.
//!
//! Its companions are hosted here, and every node of the demo has it
//! registered, with the name that the driver itself gives to its one node.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::controllers::csi::embedded::Csi;
use crate::controllers::csi::{HostedDriver, Settings};
use crate::model::clock::Clock;
use crate::plugins::csi::calls::Calls;
use crate::plugins::csi::client::{Client, NODE_DEADLINE};
use crate::plugins::csi::error::CallError;
use crate::plugins::csi::node::outside::Outside;
use crate::plugins::csi::transport::{self, BadEndpoint, Transport};

/// How long a driver may take to say its name.
const FIRST_WORD: Duration = Duration::from_secs(10);

/// Drivers that have said their names.
#[derive(Debug, Clone)]
pub struct OutsideDrivers {
    drivers: Vec<(String, Transport)>,
    pub paths: Outside,
    /// Their companions run in another process.
    pub on_nodes_only: bool,
}

/// Where drivers announce themselves while a cluster runs.
#[derive(Debug, Clone)]
pub struct Registry {
    pub directory: PathBuf,
    pub paths: Outside,
}

/// A driver that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NoDriver {
    #[error(transparent)]
    Endpoint(#[from] BadEndpoint),
    #[error("the CSI driver at `{endpoint}` does not answer: {source}; is it running?")]
    Silent { endpoint: String, source: CallError },
    #[error("what listens at `{endpoint}` is no CSI driver: it has no name")]
    Nameless { endpoint: String },
}

impl OutsideDrivers {
    /// Asks each driver for its name. `root`: a real directory for the paths
    /// that drivers are given.
    pub async fn meet(
        endpoints: &[String],
        root: PathBuf,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, NoDriver> {
        let mut drivers = Vec::new();
        for endpoint in endpoints {
            let way = transport::socket(endpoint)?;
            let client = Client::new("", "", &way, clock.clone(), Calls::default(), FIRST_WORD);
            let name = client
                .name()
                .await
                .map_err(|source| NoDriver::Silent { endpoint: endpoint.clone(), source })?;
            if name.is_empty() {
                return Err(NoDriver::Nameless { endpoint: endpoint.clone() });
            }
            drivers.push((name, way));
        }
        Ok(Self { drivers, paths: Outside { root }, on_nodes_only: false })
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.drivers.iter().map(|(name, _)| &**name)
    }

    /// Drivers of these names, each with the way to it.
    pub fn of(drivers: Vec<(String, Transport)>, root: PathBuf) -> Self {
        Self { drivers, paths: Outside { root }, on_nodes_only: false }
    }

    /// Adds them to the drivers of a cluster.
    pub fn join(&self, csi: &mut Csi, nodes: &[&str], clock: &Arc<dyn Clock>) {
        for (name, way) in &self.drivers {
            let client = |node: &str| {
                let calls = csi.calls.clone();
                Client::new(name, node, way, clock.clone(), calls, NODE_DEADLINE).outside()
            };
            for node in nodes {
                csi.on_nodes.register(node, client(node));
            }
            if self.on_nodes_only {
                continue;
            }
            let settings = Settings::default();
            csi.hosted.push(HostedDriver { client: client(""), settings });
        }
    }
}
