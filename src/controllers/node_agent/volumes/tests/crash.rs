//! A kill at every host operation: the story is played once to count what the
//! agent asks of its host; then, for each of these requests, it is killed
//! before it is done and after, and a new agent goes on. Each phase must end as
//! without the kill, and nothing be unmounted under a running pod.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, pending};
use serde_json::json;

use super::node::{NODE, TestNode};
use crate::controllers::node_agent::volumes::NodeVolumes;
use crate::model::kind;
use crate::plugins::host::around::{Around, Surrounded};
use crate::plugins::host::{
    Command, CommandRecord, FileAnswer, FileRequest, Files, Host, HostError, OnBehalf,
};

/// Which request is the last, and whether it is done.
#[derive(Default)]
struct Plan {
    last: Option<(usize, bool)>,
    seen: AtomicUsize,
    is_dead: AtomicBool,
}

/// The way to a host for an agent that dies at one request.
struct Mortal(Arc<Plan>);

impl Mortal {
    async fn pass<T>(&self, request: BoxFuture<'_, T>) -> T {
        if self.0.is_dead.load(Ordering::SeqCst) {
            return pending().await;
        }
        let number = self.0.seen.fetch_add(1, Ordering::SeqCst);
        let Some((_, is_done)) = self.0.last.filter(|(last, _)| *last == number) else {
            return request.await;
        };
        self.0.is_dead.store(true, Ordering::SeqCst);
        if is_done {
            request.await;
        }
        pending().await
    }
}

impl Around for Mortal {
    fn run<'a>(
        &'a self,
        host: &'a dyn Host,
        on_behalf: &OnBehalf,
        command: Command,
    ) -> BoxFuture<'a, Result<CommandRecord, HostError>> {
        self.pass(host.run(on_behalf, command)).boxed()
    }

    fn file<'a>(
        &'a self,
        host: &'a dyn Host,
        request: FileRequest,
    ) -> BoxFuture<'a, Result<FileAnswer, HostError>> {
        match request.is_change() {
            true => self.pass(host.file(request)).boxed(),
            false => host.file(request),
        }
    }
}

/// Lets everything happen that will; a new agent takes over from a dead one.
async fn calm(node: &mut TestNode, plan: &Plan, restarted: &mut bool) {
    for _ in 0..6 {
        node.settle().await;
        if plan.is_dead.load(Ordering::SeqCst) && !*restarted {
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
async fn play(last: Option<(usize, bool)>) -> (Vec<Vec<String>>, usize) {
    let plan = Arc::new(Plan { last, ..Plan::default() });
    let own = plan.clone();
    let mut node =
        TestNode::behind(|host| Arc::new(Surrounded { host, around: Mortal(own) })).await;
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
    calm(&mut node, &plan, &mut restarted).await;
    seen.push(sorted(&node).await);
    let host = node.host();
    let note = "/var/lib/kubelet/pods/u1/volumes/pvdeck.dev~block-disk/data/note";
    Files(&*host).write(note, b"kept", 0o644).await.expect("written");

    node.let_go("u2");
    calm(&mut node, &plan, &mut restarted).await;
    seen.push(sorted(&node).await);
    let under = node.commands();
    let under = under.iter().find(|line| line.starts_with("umount") && line.contains("/u1/"));
    assert_eq!(under, None, "under a running pod");

    node.let_go("u1");
    node.let_go("u3");
    calm(&mut node, &plan, &mut restarted).await;
    assert_eq!(node.why_not_clean().await, None);
    node.want(TestNode::pod("u4", &[data]));
    calm(&mut node, &plan, &mut restarted).await;
    seen.push(sorted(&node).await);
    assert_eq!(file_of(&node), b"kept");

    node.let_go("u4");
    calm(&mut node, &plan, &mut restarted).await;
    assert_eq!(node.why_not_clean().await, None);
    assert!(node.world.snapshot().formatted_over.is_empty());
    assert_eq!(restarted, last.is_some(), "the fault fired");
    assert!(node.manager.is_idle());
    assert!(node.world.snapshot().machines.contains_key(NODE));
    (seen, plan.seen.load(Ordering::SeqCst))
}

async fn sorted(node: &TestNode) -> Vec<String> {
    let mut points = node.mount_points().await;
    points.sort();
    points
}

#[test]
fn killed_at_any_host_operation_it_ends_as_if_it_had_not_been() {
    let run = |last| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(play(last))
    };
    let (expected, requests) = run(None);
    assert!(requests > 50, "{requests} requests");
    for number in 0..requests {
        for is_done in [false, true] {
            let (seen, _) = run(Some((number, is_done)));
            assert_eq!(seen, expected, "killed at request {number}, done: {is_done}");
        }
    }
}
