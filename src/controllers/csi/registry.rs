//! Watches the directory in which drivers announce themselves, and registers
//! and unregisters them on the nodes while all goes on: what a kubelet's plugin
//! manager does each second.
//!
//! What listens there is the real machine's, so each node of a demo gets it.
//! The companions of such drivers run elsewhere, as they do beside any kubelet.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};

use crate::model::clock::{Clock, TimerUse};
use crate::plugins::csi::calls::Calls;
use crate::plugins::csi::client::{Client, NODE_DEADLINE};
use crate::plugins::csi::node_drivers::NodeDrivers;
use crate::plugins::csi::registry::{self, Announced, Known, Stamp, Version};
use crate::plugins::csi::transport;

/// How often the directory is looked at.
const ROUND: Duration = Duration::from_secs(1);
/// How long a driver may take to say what it is, and to be told how it went.
const INFO: Duration = Duration::from_secs(1);
const TELL: Duration = Duration::from_secs(5);

/// What the watcher works with.
#[derive(Debug, Clone)]
pub struct Watched {
    pub directory: PathBuf,
    /// The nodes that drivers are registered on.
    pub nodes: Vec<Arc<str>>,
    pub drivers: NodeDrivers,
    pub calls: Calls,
}

/// Watches until dropped.
pub async fn watch(watched: Watched, clock: Arc<dyn Clock>) {
    let mut known: BTreeMap<PathBuf, Known> = BTreeMap::new();
    loop {
        match registry::sockets(&watched.directory) {
            Ok(there) => watched.look(&there, &mut known, &clock).await,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                watched.look(&BTreeMap::new(), &mut known, &clock).await;
            }
            Err(error) => {
                let directory = watched.directory.display();
                tracing::warn!(%directory, %error, "drivers that register are not seen");
            }
        }
        clock.sleep(ROUND, TimerUse::Housekeeping).await;
    }
}

impl Watched {
    async fn look(
        &self,
        there: &BTreeMap<PathBuf, Stamp>,
        known: &mut BTreeMap<PathBuf, Known>,
        clock: &Arc<dyn Clock>,
    ) {
        let plan = registry::plan(there, known, clock.now());
        for path in plan.unregister {
            let gone = known.remove(&path).and_then(|own| own.driver);
            // Another socket may have brought a newer driver of that name.
            let is_held = |name: &str| registered(known).any(|(own, _)| own == name);
            if let Some((name, _)) = gone.filter(|(name, _)| !is_held(name)) {
                self.nodes.iter().for_each(|node| self.drivers.unregister(node, &name));
            }
        }
        for path in plan.register {
            let Some(stamp) = there.get(&path).copied() else { continue };
            let before = known.get(&path).cloned();
            let own = before.filter(|own| own.stamp == stamp);
            let fresh = Known { stamp, driver: None, failures: 0, retry_at: None };
            let own = own.unwrap_or(fresh);
            let after = match self.register(&path, known, clock).await {
                Ok(driver) => Known { driver: Some(driver), failures: 0, retry_at: None, ..own },
                Err(error) => {
                    let path = path.display();
                    tracing::warn!(%path, error, "a driver is not registered");
                    own.failed(clock.now())
                }
            };
            known.insert(path, after);
        }
    }

    /// Has a driver say what it is, registers it, and tells it how that went.
    async fn register(
        &self,
        path: &Path,
        known: &BTreeMap<PathBuf, Known>,
        clock: &Arc<dyn Clock>,
    ) -> Result<(String, Version), String> {
        let mut announced = Announced::at(path).map_err(|error| error.to_string())?;
        let info = within(INFO, clock, announced.info()).await?;
        let info = info.map_err(|error| error.to_string())?;
        let accepted = registry::why_not(&info, registered(known));
        let outcome = accepted.and_then(|version| {
            let endpoint = match &*info.endpoint {
                "" => path.to_string_lossy().into_owned(),
                endpoint => endpoint.to_owned(),
            };
            let way = transport::socket(&endpoint).map_err(|error| error.to_string())?;
            for node in &self.nodes {
                let (calls, clock) = (self.calls.clone(), clock.clone());
                let client = Client::new(&info.name, node, &way, clock, calls, NODE_DEADLINE);
                self.drivers.register(node, client.outside());
            }
            Ok(version)
        });
        let told = outcome.as_ref().map(drop).map_err(Clone::clone);
        // A driver that does not listen any more will be seen to be gone.
        match within(TELL, clock, announced.tell(&told)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(path = %path.display(), %error, "not told"),
            Err(error) => tracing::warn!(path = %path.display(), error, "not told"),
        }
        outcome.map(|version| (info.name, version))
    }
}

fn registered(known: &BTreeMap<PathBuf, Known>) -> impl Iterator<Item = &(String, Version)> {
    known.values().filter_map(|own| own.driver.as_ref())
}

async fn within<T>(
    patience: Duration,
    clock: &Arc<dyn Clock>,
    work: impl Future<Output = T>,
) -> Result<T, String> {
    match select(std::pin::pin!(work), clock.sleep(patience, TimerUse::Work)).await {
        Either::Left((done, _)) => Ok(done),
        Either::Right(((), _)) => Err("context deadline exceeded".to_owned()),
    }
}
