//! Keeps a node's object as its agent wants it: registers it, writes its
//! status when something in it changes, and every five minutes anyhow. Changes
//! of the volumes in use are told in turns.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::Notify;

use crate::cluster::write_path::WriteError;
use crate::controllers::events::Note;
use crate::controllers::node_agent::node_status::{self, Because};
use crate::controllers::node_agent::pods::worker::Shared;
use crate::mirror::Mirror;
use crate::model::clock::TimerUse;
use crate::model::event::Severity;
use crate::model::kind;
use crate::model::node::{Node, Readiness};
use crate::model::object::{Key, ObjectRef};
use crate::model::row::Row;
use crate::model::write::{Change, Reason, Write};

/// An unchanged status is written this often.
const REPORT: Duration = Duration::from_secs(300);
const RETRY: Duration = Duration::from_secs(1);
/// After a node is made, until its CSINode is: a kubelet tries first when there
/// is no node yet, and again after 15 and after 90 ms (`initializeCSINode`).
const CSI_NODE_DELAY: Duration = Duration::from_millis(105);

/// The node's object, read, or made if there is none.
pub async fn register(shared: &Shared) -> Value {
    loop {
        match try_to_register(shared).await {
            Ok(node) => return node,
            Err(error) => {
                tracing::warn!(node = %shared.node, error, "a node could not be registered");
                shared.clock.sleep(RETRY, TimerUse::Work).await;
            }
        }
    }
}

async fn try_to_register(shared: &Shared) -> Result<Value, String> {
    let object = reference(&shared.node);
    let found = shared.server.get(&object).await.map_err(|error| error.to_string())?;
    let (change, text) = match found {
        None => {
            let text = "the node's agent starts, and there is no such node";
            let now = shared.clock.now();
            let node = node_status::registration(&shared.node, &shared.host_address, now);
            (Change::Create(node), text)
        }
        Some(node) => match node_status::metadata_patch(&node, &shared.node) {
            None => return Ok(node),
            Some(patch) => (Change::Merge(patch), "the node's agent lets the controller attach"),
        },
    };
    let is_new = matches!(change, Change::Create(_));
    let write = Write { subresource: None, ..status_write(&shared.node, change, text) };
    let node = match shared.server.perform(&write).await {
        Err(WriteError::DecideAgain { .. }) => return Box::pin(try_to_register(shared)).await,
        made => made.map_err(|error| error.to_string())?,
    };
    observe(&shared.mirror, &node);
    if is_new {
        make_csi_node(shared, &node["metadata"]["uid"]).await?;
    }
    Ok(node)
}

/// Makes the CSINode of a new node: the node reports that it is ready only
/// then, and its drivers register after that. One that a node of this name left
/// behind is replaced with the first driver.
async fn make_csi_node(shared: &Shared, node_uid: &Value) -> Result<(), String> {
    shared.clock.sleep(CSI_NODE_DELAY, TimerUse::Work).await;
    let object = ObjectRef::new(kind::CSI_NODE, Key::cluster(&*shared.node));
    let body = node_status::csi_node(&shared.node, node_uid, &[]);
    let write = Write {
        on_behalf_of: object.clone(),
        object,
        subresource: None,
        change: Change::Create(body),
        version: None,
        reason: Reason::new("kubelet", "the node is new; its drivers are yet to register"),
    };
    loop {
        match shared.server.perform(&write).await {
            Err(WriteError::DecideAgain { .. }) => {}
            Ok(_) | Err(WriteError::AlreadyExists { .. }) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Keeps the status right until dropped. The bell rings when the node's row
/// has changed.
pub async fn report(shared: &Shared, mut node: Value, bell: &Notify) {
    let mut in_use_changes = shared.volumes.in_use_changes();
    // An agent that was started again reports when it would have.
    let last = node_status::last_heartbeat(&node);
    let mut due = last.map_or(shared.clock.now(), |last| later(last, REPORT));
    loop {
        // A machine that does not answer has no agent that could report.
        if shared.host.answers().await {
            let again = write_status(shared, &mut node, &mut due).await;
            if again {
                continue;
            }
        }
        let left = Duration::try_from(due.duration_since(shared.clock.now())).unwrap_or_default();
        let gather = tokio::select! {
            changed = in_use_changes.changed() => {
                if changed.is_err() {
                    std::future::pending::<()>().await;
                }
                true
            }
            () = bell.notified() => false,
            () = shared.clock.sleep(left, TimerUse::Housekeeping) => false,
        };
        if gather {
            let pause = shared.reports.until_next(shared.clock.now());
            shared.clock.sleep(pause, TimerUse::Work).await;
            in_use_changes.mark_unchanged();
        }
        refresh(shared, &mut node).await;
    }
}

/// Reads the object again if its row shows something that is not right.
async fn refresh(shared: &Shared, node: &mut Value) {
    let row = shared.mirror.read(|tables| tables.nodes.get(&Key::cluster(&*shared.node)).cloned());
    let Some(row) = row else { return };
    shared.volumes.node_changed(&row);
    let wanted = shared.volumes.in_use();
    let in_use_differs = wanted.is_some_and(|wanted| wanted[..] != row.volumes_in_use[..]);
    let is_new = node["metadata"]["uid"].as_str() != Some(&*row.meta.uid);
    if row.ready == Readiness::Ready && !in_use_differs && !is_new {
        return;
    }
    match shared.server.get(&reference(&shared.node)).await {
        Ok(Some(read)) => *node = read,
        Ok(None) => {}
        Err(error) => tracing::warn!(node = %shared.node, "{error}"),
    }
}

/// Writes the status if that is called for; whether to look again at once.
async fn write_status(shared: &Shared, node: &mut Value, due: &mut Timestamp) -> bool {
    let now = shared.clock.now();
    let in_use = shared.volumes.in_use();
    let patch = node_status::patch(node, &shared.host_address, in_use.as_deref(), now >= *due, now);
    let Some((patch, because)) = patch else {
        let why = "the node's status is right as it is";
        shared.server.nothing_to_do(&reference(&shared.node), why);
        shared.volumes.in_use_accepted(&node_status::in_use_of(node));
        return false;
    };
    let write = status_write(&shared.node, Change::Strategic(patch), &because.to_string());
    match shared.server.perform(&write).await {
        Ok(answer) => {
            observe(&shared.mirror, &answer);
            if because == Because::Changed && !node_status::is_ready(node) {
                tell_ready(shared, node);
            }
            *node = answer;
            shared.volumes.in_use_accepted(&node_status::in_use_of(node));
            *due = later(now, REPORT);
            false
        }
        Err(WriteError::DecideAgain { .. }) => {
            refresh(shared, node).await;
            true
        }
        // Not made anew before the agent is started again, as a kubelet.
        Err(WriteError::NotFound { .. }) => {
            *due = later(now, REPORT);
            false
        }
        Err(error) => {
            tracing::warn!(node = %shared.node, "{error}");
            shared.clock.sleep(RETRY, TimerUse::Work).await;
            true
        }
    }
}

fn later(now: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or_default();
    now.checked_add(by).unwrap_or(Timestamp::MAX)
}

fn tell_ready(shared: &Shared, node: &Value) {
    shared.recorder.tell(Note {
        regarding: reference(&shared.node),
        uid: node["metadata"]["uid"].as_str().unwrap_or_default().into(),
        version: 0,
        severity: Severity::Normal,
        reason: "NodeReady",
        message: format!("Node {} status is now: NodeReady", shared.node),
        host: shared.node.clone(),
    });
}

fn observe(mirror: &Mirror, node: &Value) {
    if let Ok(row) = Node::from_object(node) {
        mirror.observe(row);
    }
}

fn reference(node: &str) -> ObjectRef {
    ObjectRef::new(kind::NODE, Key::cluster(node))
}

fn status_write(node: &Arc<str>, change: Change, text: &str) -> Write {
    let object = reference(node);
    Write {
        on_behalf_of: object.clone(),
        object,
        subresource: Some("status"),
        change,
        version: None,
        reason: Reason::new("kubelet", text),
    }
}
