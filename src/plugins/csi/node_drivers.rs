//! Which drivers are registered on which node, and the way to each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::plugins::csi::client::Client;

/// The drivers of all nodes of a cluster. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct NodeDrivers(Arc<Mutex<BTreeMap<Arc<str>, Drivers>>>, Arc<Mutex<BTreeSet<Arc<str>>>>);

type Drivers = BTreeMap<Arc<str>, Client>;

impl NodeDrivers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Drivers>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A driver can be called on a node; one of that name before gives way.
    pub fn register(&self, node: &str, client: Client) {
        let driver = client.driver().clone();
        self.changed().insert(node.into());
        self.lock().entry(node.into()).or_default().insert(driver, client);
    }

    pub fn unregister(&self, node: &str, driver: &str) {
        if let Some(drivers) = self.lock().get_mut(node) {
            drivers.remove(driver);
        }
        self.changed().insert(node.into());
    }

    fn changed(&self) -> MutexGuard<'_, BTreeSet<Arc<str>>> {
        self.1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The nodes whose drivers have changed since this was last asked.
    pub fn take_changed(&self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut *self.changed())
    }

    /// The way to a driver on a node.
    pub fn client(&self, node: &str, driver: &str) -> Option<Client> {
        self.lock().get(node)?.get(driver).cloned()
    }

    /// The way to a driver on the first node that has it.
    pub fn anywhere(&self, driver: &str) -> Option<Client> {
        self.lock().values().find_map(|drivers| drivers.get(driver)).cloned()
    }

    /// The drivers on a node, by name.
    pub fn on(&self, node: &str) -> Vec<Client> {
        self.lock().get(node).into_iter().flat_map(|drivers| drivers.values().cloned()).collect()
    }

    /// Whether no node has or had any.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Whether a node has or had drivers.
    pub fn knows(&self, node: &str) -> bool {
        self.lock().contains_key(node)
    }
}
