//! A kill at every host operation: the story is played once to count what the
//! agent asks of its host; then, for each of these requests, it is killed
//! before it is done and after, and a new agent goes on. Each phase must end as
//! without the kill, and nothing be unmounted under a running pod.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::node::{NODE, TestNode};
use crate::controllers::node_agent::volumes::NodeVolumes;
use crate::model::kind;
use crate::plugins::host::Files;
use crate::plugins::host::around::Surrounded;
use crate::plugins::host::simulated::mortal::{Mortal, When};

/// Lets everything happen that will; a new agent takes over from a dead one.
async fn calm(node: &mut TestNode, agent: &Mortal, restarted: &mut bool) {
    for _ in 0..6 {
        node.settle().await;
        if agent.is_dead() && !*restarted {
            *restarted = true;
            node.restart().await;
            // Nothing is taken away before all pods are told.
            node.settle().await;
            node.tell_all();
            node.settle().await;
        }
        node.clock.advance(Duration::from_millis(1500)).await;
    }
}

fn file_of(node: &TestNode) -> Vec<u8> {
    let state = node.world.snapshot();
    let disk = &state.disks["data"].content;
    let crate::plugins::host::simulated::state::DiskContent::Filesystem { tree, .. } = disk else {
        return Vec::new();
    };
    match tree.get("/note").map(|entry| &entry.content) {
        Some(crate::plugins::host::simulated::tree::Content::File(content)) => content.to_vec(),
        _ => Vec::new(),
    }
}

/// Plays the story; the mount points after each phase, and how many requests
/// the first agent made.
async fn play(end: Option<(usize, When)>) -> (Vec<Vec<String>>, usize) {
    let agent = Arc::new(Mortal::new(end));
    let around = agent.clone();
    let mut node = TestNode::behind(|host| Arc::new(Surrounded { host, around })).await;
    node.manager.sources_ready();
    node.disk("data", &["ReadWriteOnce"], "Filesystem").await;
    node.disk("raw", &["ReadWriteOnce"], "Block").await;
    let config = json!({"metadata": {"namespace": "shop", "name": "conf"}, "data": {"key": "x"}});
    node.objects.put(kind::CONFIG_MAP, config);
    let memory = json!({"name": "tmp", "emptyDir": {"medium": "Memory"}});
    let conf = json!({"name": "conf", "configMap": {"name": "conf"}});
    let mut raw = TestNode::pod("u3", &[]);
    raw["spec"]["volumes"] = json!([TestNode::of_claim("raw")]);
    raw["spec"]["containers"][0]["volumeDevices"] =
        json!([{"name": "raw", "devicePath": "/dev/raw"}]);
    let data = TestNode::of_claim("data");
    let (mut seen, mut restarted) = (Vec::new(), false);

    node.want(TestNode::pod("u1", &[data.clone(), memory, conf]));
    node.want(TestNode::pod("u2", std::slice::from_ref(&data)));
    node.want(raw);
    calm(&mut node, &agent, &mut restarted).await;
    seen.push(sorted(&node).await);
    let host = node.host();
    let note = "/var/lib/kubelet/pods/u1/volumes/pvdeck.dev~block-disk/data/note";
    Files(&*host).write(note, b"kept", 0o644).await.expect("written");

    node.let_go("u2");
    calm(&mut node, &agent, &mut restarted).await;
    seen.push(sorted(&node).await);
    let under = node.commands();
    let under = under.iter().find(|line| line.starts_with("umount") && line.contains("/u1/"));
    assert_eq!(under, None, "under a running pod");

    node.let_go("u1");
    node.let_go("u3");
    calm(&mut node, &agent, &mut restarted).await;
    assert_eq!(node.why_not_clean().await, None);
    node.want(TestNode::pod("u4", &[data]));
    calm(&mut node, &agent, &mut restarted).await;
    seen.push(sorted(&node).await);
    assert_eq!(file_of(&node), b"kept");

    node.let_go("u4");
    calm(&mut node, &agent, &mut restarted).await;
    assert_eq!(node.why_not_clean().await, None);
    assert!(node.world.snapshot().formatted_over.is_empty());
    assert_eq!(restarted, end.is_some(), "the fault fired");
    assert!(node.manager.is_idle());
    assert!(node.world.snapshot().machines.contains_key(NODE));
    (seen, agent.changes())
}

async fn sorted(node: &TestNode) -> Vec<String> {
    let mut points = node.mount_points().await;
    points.sort();
    points
}

#[test]
fn killed_at_any_host_operation_it_ends_as_if_it_had_not_been() {
    let run = |end| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(play(end))
    };
    let (expected, requests) = run(None);
    assert!(requests > 50, "{requests} requests");
    for number in 0..requests {
        for when in [When::Before, When::After] {
            let (seen, _) = run(Some((number, when)));
            assert_eq!(seen, expected, "killed {when:?} request {number}");
        }
    }
}
