//! Nodes that die and go: a crash at every write of those who watch over them.

use std::collections::BTreeMap;
use std::time::Duration;

use pvdeck::model::kind::{self, Kind};
use serde_json::{Value, json};

use super::{Play, Story, survives_every_crash};
use crate::by_hand::{ByHand, reference};

/// Longer than any grace, plan and quarantine of the story together.
const LONG: u64 = 150;

/// `silent` stops reporting and is taken out of service, `gone` is deleted;
/// `node-1` has an agent and stays.
struct NodesDie;

impl Story for NodesDie {
    const KINDS: &'static [&'static Kind] = &[kind::NODE, kind::POD];
    const NODES: &'static [&'static str] = &["node-1"];

    const EVERY_WAY: bool = false;

    async fn tell(play: &mut Play) {
        for name in ["node-1", "silent", "gone"] {
            node(play, name).await;
        }
        pod(play, "evicted", "silent", 30).await;
        pod(play, "tolerant", "silent", 100_000).await;
        pod(play, "orphan", "gone", 100_000).await;
        play.delete::<Self>(kind::NODE, "gone").await;
        long(play).await;
        let evicted =
            play.user.get(&reference(kind::POD, "evicted")).await.expect("terminates for ever");
        assert!(evicted["metadata"]["deletionTimestamp"].is_string(), "{evicted}");
        assert!(play.user.get(&reference(kind::POD, "orphan")).await.is_none());
        let taints = json!([{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]);
        let patch = json!({"spec": {"taints": taints}});
        play.user.merge(&reference(kind::NODE, "silent"), patch).await;
        long(play).await;
        let silent = play.user.get(&reference(kind::NODE, "silent")).await.expect("a node");
        assert_eq!(silent["spec"]["taints"].as_array().map(Vec::len), Some(3), "{silent}");
        for name in ["evicted", "tolerant"] {
            assert!(
                play.user.get(&reference(kind::POD, name)).await.is_none(),
                "{name} is collected"
            );
        }
    }

    /// A pod goes only from a node that is gone or out of service, and no pod of
    /// a node is marked before that node is known to be silent.
    fn sound_at_every_revision(play: &Play) -> Result<(), String> {
        let mut nodes: BTreeMap<String, Value> = BTreeMap::new();
        for commit in play.embedded.commits_after(0) {
            let after = commit.object_after();
            if commit.kind == kind::NODE {
                let name = commit.key.name.to_string();
                match after {
                    Some(node) => drop(nodes.insert(name, node)),
                    None => drop(nodes.remove(&name)),
                }
            } else if commit.kind == kind::POD {
                let Some(before) = commit.object_before() else { continue };
                let on = before["spec"]["nodeName"].as_str().unwrap_or_default();
                let node = nodes.get(on);
                let out = node.is_some_and(|node| node.to_string().contains("out-of-service"));
                if after.is_none() && node.is_some() && !out {
                    let name = &commit.key.name;
                    return Err(format!("{}: {name} went from a node in service", commit.revision));
                }
                let silent = node.is_some_and(is_silent);
                if after.is_some_and(|pod| is_terminating(&pod)) && node.is_some() && !silent {
                    return Err(format!("{}: evicted from a live node", commit.revision));
                }
            }
        }
        Ok(())
    }

    fn plain(object: &mut Value) {
        without_times(object);
    }
}

#[test]
fn a_crash_at_any_write_about_dying_nodes_leads_to_the_same_end() {
    survives_every_crash::<NodesDie>(12);
}

fn is_terminating(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

fn is_silent(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
    conditions.filter(|held| held["type"] == "Ready").any(|held| held["status"] == "Unknown")
}

/// Times differ from run to run.
fn without_times(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(without_times),
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                let varies =
                    name.ends_with("Time") || name == "timeAdded" || name == "deletionTimestamp";
                if varies && field.is_string() {
                    *field = "<varies>".into();
                } else {
                    without_times(field);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A node that reported once, long ago by its own clock.
async fn node(play: &mut Play, name: &str) {
    let labels = json!({"kubernetes.io/hostname": name});
    play.create::<NodesDie>(kind::NODE, json!({"metadata": {"name": name, "labels": labels}}))
        .await;
    if name == "node-1" {
        return;
    }
    let room = json!({"cpu": "2", "memory": "4Gi", "pods": "10"});
    let ready = json!([{"type": "Ready", "status": "True", "reason": "KubeletReady",
        "lastHeartbeatTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let status = json!({"capacity": room, "allocatable": room, "conditions": ready});
    play.user.patch_status(&reference(kind::NODE, name), status).await;
    play.calm::<NodesDie>().await;
}

/// A pod on a node, said to be ready, that tolerates its node's end so long.
async fn pod(play: &mut Play, name: &str, node: &str, seconds: u64) {
    let tolerates = |key: &str| {
        json!({"key": format!("node.kubernetes.io/{key}"), "operator": "Exists",
            "effect": "NoExecute", "tolerationSeconds": seconds})
    };
    let pod = json!({"metadata": {"name": name, "namespace": "default"}, "spec": {
        "nodeName": node, "containers": [{"name": "main", "image": "busybox:1.35"}],
        "tolerations": [tolerates("unreachable"), tolerates("not-ready")],
    }});
    play.create::<NodesDie>(kind::POD, pod).await;
    let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
    play.user.patch_status(&reference(kind::POD, name), ready).await;
    play.calm::<NodesDie>().await;
}

/// Lets time pass, long enough for new controllers too if these die on the way.
async fn long(play: &mut Play) {
    for _ in 0..2 {
        for _ in 0..LONG / 5 {
            play.clock.advance(Duration::from_secs(5)).await;
            play.restart_if_dead();
        }
        play.calm::<NodesDie>().await;
    }
}
