//! Room is made for pods of high priority: a crash at every write of it.

use pvdeck::model::kind::{self, Kind};
use serde_json::{Value, json};

use super::placing::ready_node;
use super::{Play, Story, survives_every_crash};

struct Preempting;

impl Story for Preempting {
    const KINDS: &'static [&'static Kind] = &[kind::POD];
    const EVERY_WAY: bool = false;

    async fn tell(play: &mut Play) {
        play.calm::<Self>().await;
        for name in ["node-1", "node-2"] {
            ready_node::<Self>(play, name, "9").await;
        }
        for (name, value) in [("high", 1000), ("mid", 500)] {
            let class = json!({"metadata": {"name": name}, "value": value});
            play.create::<Self>(kind::PRIORITY_CLASS, class).await;
        }
        // One on each node; one of them goes for the third, and then the other
        // for the last, which matters less than the third.
        for (name, class, cpu) in
            [("low-1", "", "2"), ("low-2", "", "2"), ("mid", "mid", "3"), ("urgent", "high", "4")]
        {
            play.create::<Self>(kind::POD, pod(name, class, cpu)).await;
            play.calm::<Self>().await;
        }
    }

    /// No node is ever given more than it has, and in the end the two that
    /// matter run alone.
    fn sound_at_every_revision(play: &Play) -> Result<(), String> {
        let mut pods = std::collections::BTreeMap::new();
        for commit in play.embedded.commits_after(0) {
            if commit.kind != kind::POD {
                continue;
            }
            match commit.object_after() {
                Some(pod) => pods.insert(commit.key.clone(), pod),
                None => pods.remove(&commit.key),
            };
            for node in ["node-1", "node-2"] {
                let there = pods.values().filter(|pod| pod["spec"]["nodeName"] == node);
                let asked: u32 = there.map(cpu).sum();
                if asked > 4 {
                    return Err(format!("{}: {asked} processors on {node}", commit.revision));
                }
            }
        }
        let left: Vec<_> = pods.keys().map(|key| key.name.to_string()).collect();
        let placed = pods.values().filter(|pod| pod["spec"]["nodeName"].is_string()).count();
        if left == ["mid", "urgent"] && placed == 2 {
            return Ok(());
        }
        Err(format!("{left:?} are left, {placed} of them placed"))
    }

    fn plain(object: &mut Value) {
        for condition in object["status"]["conditions"].as_array_mut().into_iter().flatten() {
            condition["lastTransitionTime"] = "<time>".into();
        }
    }
}

fn pod(name: &str, class: &str, cpu: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"priorityClassName": class, "terminationGracePeriodSeconds": 0,
            // No kubelet tells that the nodes are well.
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "main", "image": "busybox:1.35",
                "resources": {"requests": {"cpu": cpu}}}]},
    })
}

fn cpu(pod: &Value) -> u32 {
    let asked = pod["spec"]["containers"][0]["resources"]["requests"]["cpu"].as_str();
    asked.and_then(|asked| asked.parse().ok()).unwrap_or(0)
}

#[test]
fn a_crash_at_any_write_of_making_room_leads_to_the_same_end() {
    survives_every_crash::<Preempting>(12);
}
