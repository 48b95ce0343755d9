//! The end of a schedule: faults stop, and everything comes to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pvdeck::model::kind;
use pvdeck::plugins::host::Hosts;
use serde_json::json;

use super::objects::claims_of;
use super::play::Play;
use super::{MANY, NODES};
use crate::by_hand::{ByHand, reference};

/// How long all may take to come to rest: longer than any pause between two
/// tries, several times over.
const ROUNDS: usize = 40;
const ROUND: Duration = Duration::from_secs(60);
const ROUND_SLICE: Duration = Duration::from_secs(15);

impl Play {
    /// Faults stop: what can run runs, and when it is deleted nothing is left.
    pub async fn converge(&mut self) -> Result<(), String> {
        self.start(None);
        self.world.calm();
        for node in NODES {
            self.bring_back(node).await;
        }
        self.round().await?;
        self.make_room().await;
        let mut left = String::new();
        for _ in 0..ROUNDS {
            self.round().await?;
            left = self.why_not_running().await;
            if left.is_empty() {
                break;
            }
        }
        if !left.is_empty() {
            return Err(format!("does not run: {left}\n{}", self.report().await));
        }
        for pod in self.user.list(kind::POD).await {
            self.covered.add("pods at the end", 1);
            self.delete_pod(pod["metadata"]["name"].as_str().expect("a name"), json!({})).await;
        }
        for _ in 0..ROUNDS {
            self.round().await?;
            left = self.why_not_clean().await;
            if left.is_empty() {
                return Ok(());
            }
        }
        Err(format!("is left: {left}\n{}", self.report().await))
    }

    async fn round(&mut self) -> Result<(), String> {
        self.wait_in(ROUND, ROUND_SLICE).await;
        self.why_not_sound()
    }

    /// Of pods that want what only one node, or one pod, may have, all but the
    /// first give way; so do those that want what their node does not have.
    async fn make_room(&self) {
        let mut taken: BTreeMap<String, String> = BTreeMap::new();
        let mut pods = self.user.list(kind::POD).await;
        pods.sort_by_key(|pod| pod["status"]["phase"] != "Running");
        for pod in pods {
            let name = pod["metadata"]["name"].as_str().expect("a name").to_owned();
            let node = pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
            let claims = claims_of(&pod);
            let place = |claim: &str| match claim {
                "one-pod" => name.clone(),
                _ => node.clone(),
            };
            let conflicts = claims.iter().any(|claim| match claim.as_str() {
                MANY => false,
                "local" if node != NODES[0] => true,
                claim => taken.get(claim).is_some_and(|held| *held != place(claim)),
            });
            // A pod that waits for a node may be sent to one that cannot have all.
            if conflicts || node.is_empty() {
                self.delete_pod(&name, json!({})).await;
            } else {
                taken.extend(claims.iter().map(|claim| (claim.clone(), place(claim))));
            }
        }
    }

    async fn why_not_running(&self) -> String {
        let mut waiting = Vec::new();
        for pod in self.user.list(kind::POD).await {
            let phase = pod["status"]["phase"].as_str().unwrap_or_default();
            let is_gone = !pod["metadata"]["deletionTimestamp"].is_null();
            if is_gone || !["Running", "Succeeded", "Failed"].contains(&phase) {
                waiting.push(format!("{} {phase} deleting {is_gone}", pod["metadata"]["name"]));
            }
        }
        waiting.join(", ")
    }

    async fn why_not_clean(&self) -> String {
        let mut left: Vec<String> = Vec::new();
        let pods = self.user.list(kind::POD).await;
        left.extend(pods.iter().map(|pod| format!("pod {}", pod["metadata"]["name"])));
        let attachments = self.user.list(kind::VOLUME_ATTACHMENT).await;
        left.extend(attachments.iter().map(|a| format!("attachment {}", a["spec"]["nodeName"])));
        for node in self.user.list(kind::NODE).await {
            for list in ["volumesAttached", "volumesInUse"] {
                let entries = node["status"][list].as_array();
                let entries = entries.into_iter().flatten();
                let name = &node["metadata"]["name"];
                left.extend(entries.map(|entry| format!("{list} of {name}: {entry}")));
            }
        }
        let state = self.world.snapshot();
        for (id, disk) in &state.disks {
            left.extend(disk.attached.keys().map(|node| format!("{id} at {node}")));
        }
        for (node, machine) in &state.machines {
            let mounts = machine.mounts.iter().map(|mounted| &mounted.entry.target);
            let own = mounts.filter(|target| target.starts_with("/var/lib/kubelet"));
            left.extend(own.map(|target| format!("mount {target} on {node}")));
            let runtime = self.runtimes.of(&self.world.host(node).expect("a machine"));
            left.extend(runtime.pods().iter().map(|pod| format!("containers of {pod} on {node}")));
        }
        left.join(", ")
    }

    /// What one wants to know of a schedule that did not come to rest.
    async fn report(&self) -> String {
        let mut lines = Vec::new();
        let events = self.user.list(kind::EVENT).await;
        let mut told: BTreeSet<String> = BTreeSet::new();
        for event in &events {
            let about = &event["involvedObject"]["name"];
            told.insert(format!(
                "{} {about} {}: {}",
                event["lastTimestamp"], event["reason"], event["message"]
            ));
        }
        lines.extend(told.into_iter().rev().take(25));
        let boards = self.session.as_ref().and_then(|session| session.host.as_ref()?.boards());
        for node in NODES {
            let board = boards.as_ref().and_then(|boards| boards.board(node));
            for row in board.into_iter().flat_map(|board| board.rows) {
                let pods: Vec<_> =
                    row.pods.iter().map(|pod| (pod.pod.name.to_string(), pod.wanted)).collect();
                lines.push(format!(
                    "{node} {} {} {:?} tries {} {:?} {pods:?}",
                    row.unique_name, row.stage, row.on_node, row.attempts, row.last_error
                ));
            }
            let node = self.user.get(&reference(kind::NODE, node)).await.unwrap_or_default();
            lines.push(format!(
                "{} attached {} in use {} taints {}",
                node["metadata"]["name"],
                node["status"]["volumesAttached"],
                node["status"]["volumesInUse"],
                node["spec"]["taints"]
            ));
        }
        for (id, disk) in &self.world.snapshot().disks {
            lines.push(format!("disk {id} at {:?}", disk.attached));
        }
        lines.join("\n")
    }
}
