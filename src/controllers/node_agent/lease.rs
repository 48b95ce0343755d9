//! The Lease by which a node shows that its agent lives: made once, renewed
//! every 10 seconds. Never held by the step gate.
//!
//! Upstream: `staging/src/k8s.io/component-helpers/apimachinery/lease`.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cluster::write_path::WriteError;
use crate::controllers::node_agent::pods::worker::Shared;
use crate::model::clock::TimerUse;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::write::{Change, Reason, Write};

const NAMESPACE: &str = "kube-node-lease";
const DURATION_SECONDS: u64 = 40;
const PERIOD: Duration = Duration::from_secs(10);

/// Renews the Lease until dropped.
pub async fn keep(shared: &Shared, node_uid: &str) {
    let mut is_there = false;
    // Agents that start together do not renew together.
    let mut pause = spread(&shared.node);
    loop {
        // A machine that does not answer has no kubelet that could renew.
        if shared.host.answers().await {
            is_there = renew(shared, node_uid, is_there).await;
        }
        shared.clock.sleep(pause, TimerUse::Housekeeping).await;
        pause = PERIOD;
    }
}

/// A part of the period that follows from the name.
fn spread(node: &str) -> Duration {
    let add = |sum: u64, byte: u8| sum.wrapping_mul(31).wrapping_add(u64::from(byte));
    let sum = node.bytes().fold(7, add);
    Duration::from_millis(1 + sum % (PERIOD.as_millis() as u64))
}

/// Renews the Lease, or makes it; whether it is there.
async fn renew(shared: &Shared, node_uid: &str, is_there: bool) -> bool {
    let now = shared.clock.now();
    let renewed = write(&shared.node, Change::Merge(json!({"spec": spec(&shared.node, now)})));
    let outcome = match is_there {
        true => shared.server.perform(&renewed).await,
        false => {
            let made = write(&shared.node, Change::Create(lease(&shared.node, node_uid, now)));
            match shared.server.perform(&made).await {
                // One of an earlier run.
                Err(WriteError::AlreadyExists { .. }) => shared.server.perform(&renewed).await,
                made => made,
            }
        }
    };
    match outcome {
        Ok(_) => true,
        Err(WriteError::NotFound { .. }) => false,
        Err(error) => {
            tracing::warn!(node = %shared.node, "{error}");
            is_there
        }
    }
}

fn write(node: &str, change: Change) -> Write {
    let object = ObjectRef::new(kind::LEASE, Key::new(NAMESPACE, node));
    Write {
        on_behalf_of: object.clone(),
        object,
        subresource: None,
        change,
        version: None,
        reason: Reason::new("kubelet", "the node's agent is alive"),
    }
}

fn lease(node: &str, node_uid: &str, now: Timestamp) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": node, "namespace": NAMESPACE,
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": node, "uid": node_uid},
            ],
        },
        "spec": spec(node, now),
    })
}

fn spec(node: &str, now: Timestamp) -> Value {
    json!({
        "holderIdentity": node, "leaseDurationSeconds": DURATION_SECONDS,
        "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string(),
    })
}
