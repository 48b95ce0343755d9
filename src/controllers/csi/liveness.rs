//! Asks drivers now and then whether they live and what they can do, as their
//! companions do when they start. What they answer is kept with the calls.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use pvdeck_csi_proto::csi;

use crate::controllers::csi::HostedDriver;
use crate::model::clock::{Clock, TimerUse};
use crate::plugins::csi::node_drivers::NodeDrivers;

/// How often.
const ROUND: Duration = Duration::from_secs(600);

/// Asks for ever. A driver that does not answer holds up nothing: each question
/// has its deadline, and its failure is seen among the calls.
pub async fn watch(drivers: Vec<HostedDriver>, nodes: NodeDrivers, clock: Arc<dyn Clock>) {
    loop {
        join_all(drivers.iter().map(|driver| ask(driver, &nodes))).await;
        clock.sleep(ROUND, TimerUse::Housekeeping).await;
    }
}

async fn ask(driver: &HostedDriver, nodes: &NodeDrivers) {
    let client = driver.client.with_deadline(driver.settings.timeout);
    if client.probe(csi::ProbeRequest {}).await.is_err() || client.abilities().await.is_err() {
        return;
    }
    if let Some(node) = nodes.anywhere(client.driver()) {
        // The answer is kept with the calls.
        let _ = node.node_get_capabilities(csi::NodeGetCapabilitiesRequest {}).await;
    }
}
