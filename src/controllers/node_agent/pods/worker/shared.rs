//! What the workers of a node share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;

use crate::controllers::events::Recorder;
use crate::controllers::node_agent::pods::runtime::Runtime;
use crate::controllers::node_agent::turns::Turns;
use crate::controllers::node_agent::volumes::NodeVolumes;
use crate::controllers::server::Server;
use crate::mirror::Mirror;
use crate::model::clock::{Clock, TimerUse};
use crate::plugins::host::Host;

/// What the workers of a node share.
pub struct Shared {
    pub node: Arc<str>,
    pub host_address: String,
    pub host: Arc<dyn Host>,
    pub runtime: Arc<Runtime>,
    pub volumes: Arc<dyn NodeVolumes>,
    pub server: Arc<dyn Server>,
    pub mirror: Mirror,
    pub recorder: Recorder,
    pub clock: Arc<dyn Clock>,
    /// When changes of the node's status are told.
    pub reports: Turns,
    /// When the runtime is looked at.
    pub relists: Turns,
    /// Workers that are in the middle of a step.
    pub busy: AtomicUsize,
}

impl Shared {
    /// Waits until the runtime is looked at again (upstream: the pod lifecycle
    /// event generator).
    pub fn relist(&self) -> BoxFuture<'static, ()> {
        self.clock.sleep(self.relists.until_next(self.clock.now()), TimerUse::Work)
    }
}

/// Counts a worker as busy as long as it is there.
pub(super) struct Busy<'a>(&'a AtomicUsize);

impl<'a> Busy<'a> {
    pub(super) fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
