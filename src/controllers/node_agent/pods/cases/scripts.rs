//! Scripts run on a simulated node.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::clock::ManualClock;
use crate::controllers::node_agent::pods::mounts::{ContainerMount, Propagation};
use crate::controllers::node_agent::pods::runtime::{ContainerOrder, Ended, Runtime};
use crate::controllers::node_agent::pods::shell::Program;
use crate::model::clock::Clock;
use crate::model::object::Key;
use crate::plugins::host::simulated::World;
use crate::plugins::host::{Command, Files, Host, OnBehalf};
use crate::plugins::layout::Layout;

/// A node with a volume at `/vol`, which containers have at `/data`, and
/// read-only at `/fixed`.
struct Node {
    clock: ManualClock,
    host: Arc<dyn Host>,
    runtime: Arc<Runtime>,
}

impl Node {
    async fn new() -> Self {
        let start = jiff::Timestamp::from_second(1_800_000_000).expect("in range");
        let clock = ManualClock::new(start);
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let host: Arc<dyn Host> = World::new(shared, Layout::default()).add("node-1");
        Files(&*host).make_directories("/vol", 0o755).await.expect("made");
        let runtime = Arc::new(Runtime::new(host.clone()));
        Self { clock, host, runtime }
    }

    fn order(&self, command: &[&str], attempt: u32) -> ContainerOrder {
        let mount = |container_path: &str, read_only| ContainerMount {
            volume: "data".into(),
            container_path: container_path.to_owned(),
            host_path: "/vol".to_owned(),
            read_only,
            propagation: Propagation::Private,
            recursive_read_only: false,
            selinux_relabel: false,
        };
        let log = ContainerMount {
            volume: "".into(),
            host_path: "/log".to_owned(),
            ..mount("/dev/termination-log", false)
        };
        let command: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        ContainerOrder {
            pod_uid: "u".into(),
            pod: Key::new("default", "pod-1"),
            name: "main".into(),
            attempt,
            image: "busybox".into(),
            program: Program::of(&command, &[]),
            environment: [("GREETING".to_owned(), "hello".to_owned())].into(),
            mounts: [mount("/data", false), mount("/fixed", true), log].into(),
            devices: [].into(),
            termination_log: "/log".to_owned(),
            message_from_log: false,
            docker_line: String::new(),
        }
    }

    async fn start(&self, command: &[&str]) {
        let order = self.order(command, 0);
        self.runtime.start(order).await.expect("started");
        self.clock.advance(Duration::from_secs(3)).await;
    }

    fn ended(&self) -> Option<Ended> {
        self.runtime.seen("u").container("main").and_then(|container| container.ended.clone())
    }

    fn log(&self) -> String {
        let inside = self.runtime.inside("u");
        String::from_utf8_lossy(&inside[0].log).into_owned()
    }

    async fn file(&self, path: &str) -> Option<String> {
        let read = Files(&*self.host).read(path, 1 << 20).await.ok()?;
        Some(String::from_utf8_lossy(&read).into_owned())
    }
}

async fn run(script: &str) -> (Node, Option<i32>) {
    let node = Node::new().await;
    Files(&*node.host).write("/vol/old", b"old\n", 0o644).await.expect("written");
    node.start(&["sh", "-c", script]).await;
    let code = node.ended().map(|ended| ended.exit_code);
    (node, code)
}

#[tokio::test(start_paused = true)]
async fn scripts_end_and_print_as_in_a_shell() {
    for (script, code, log) in [
        ("echo a; echo b", 0, "a\nb\n"),
        ("echo \"$GREETING $(cat /data/old)\"", 0, "hello old\n"),
        ("false || echo 'no' && exit 3", 3, "no\n"),
        ("cat /data/none", 1, "cat: can't open '/data/none': No such file or directory\n"),
        ("cat /data/none 2>/dev/null; echo $?", 0, "1\n"),
        ("if [ -f /data/old ]; then echo there; else echo not; fi", 0, "there\n"),
        ("! test -d /data/old && ls /data", 0, "old\n"),
        ("echo x > /fixed/f", 1, "sh: can't create /fixed/f: Read-only file system\n"),
        ("rm /data", 1, "rm: '/data' is a directory\n"),
        ("echo x > /tmp/f && cat /tmp/f && ls /tmp", 0, "x\nf\n"),
        ("echo x > /nowhere/f", 1, "sh: can't create /nowhere/f: No such file or directory\n"),
        ("printf '%s-%s\\n' a b; hostname", 0, "a-b\npod-1\n"),
        (
            "mkdir -p /data/a/b && touch /data/a/b/c && find /data/a",
            0,
            "/data/a\n/data/a/b\n/data/a/b/c\n",
        ),
        (
            "echo one >> /data/l; echo two >> /data/l; wc -l < /data/l; tail -n 1 /data/l",
            0,
            "2\ntwo\n",
        ),
        ("sleep 1 && date > /dev/null", 0, ""),
    ] {
        let (node, ended) = run(script).await;
        assert_eq!((ended, node.log()), (Some(code), log.to_owned()), "{script}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_script_does_to_files_is_done_on_the_node() {
    let (node, _) = run("echo kept > /data/file; rm /data/old; mkdir /data/d").await;
    assert_eq!(node.file("/vol/file").await.as_deref(), Some("kept\n"));
    assert_eq!(node.file("/vol/old").await, None);
    let (node, code) =
        run("cat /data/none > /dev/termination-log 2>&1 || cat /data/old > /dev/termination-log")
            .await;
    assert_eq!((code, node.ended().expect("ended").message.as_str()), (Some(0), "old\n"));
}

#[tokio::test(start_paused = true)]
async fn the_recyclers_scrub_empties_all_but_what_is_busy() {
    const SCRUB: &str = "test -e /data && find /data -mindepth 1 -delete && \
                         test -z \"$(ls -A /data)\" || exit 1";
    let (node, code) = run(SCRUB).await;
    assert_eq!(code, Some(0));
    assert_eq!(node.file("/vol/old").await, None);
    let node = Node::new().await;
    let files = Files(&*node.host);
    files.make_directories("/vol/busy", 0o755).await.expect("made");
    files.write("/vol/.hidden", b"x", 0o644).await.expect("written");
    let tmpfs = Command::tmpfs("tmpfs", "/vol/busy", vec!["size=4m".to_owned()]);
    node.host.run(&OnBehalf::default(), tmpfs).await.expect("run");
    node.start(&["/bin/sh", "-c", SCRUB]).await;
    assert_eq!(node.ended().map(|ended| ended.exit_code), Some(1));
    assert!(node.log().contains("cannot delete '/data/busy': Resource busy"), "{}", node.log());
    assert_eq!(node.file("/vol/.hidden").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_link_in_a_volume_leads_nowhere_outside_the_container() {
    let node = Node::new().await;
    let files = Files(&*node.host);
    files.write("/secret", b"s", 0o644).await.expect("written");
    files.link("/vol/out", "/secret").await.expect("linked");
    files.link("/vol/up", "../../secret").await.expect("linked");
    node.start(&["sh", "-c", "cat /data/out; cat /data/up; cat /data/../secret"]).await;
    assert_eq!(node.log().matches("No such file or directory").count(), 3, "{}", node.log());
}

#[tokio::test(start_paused = true)]
async fn containers_end_at_term_if_they_listen_and_are_killed_if_not() {
    for (command, code, seconds) in [
        // A shell waits for the command that it runs, three seconds of which are over,
        // and then listens.
        (&["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"][..], 0, 1),
        (&["sh", "-c", "trap 'exit 7' TERM; sleep 6"][..], 7, 3),
        (&["sh", "-c", "trap 'exit 7' TERM; sleep 1000"][..], 137, 5),
        (&["sh", "-c", "while :; do sleep 1; done"][..], 137, 5),
        (&["sleep", "100000"][..], 137, 5),
        (&["sh", "-c", "trap 'exit 0' TERM; exec sleep infinity"][..], 137, 5),
        (&["tail", "-f", "/dev/null"][..], 137, 5),
        (&["nginx"][..], 0, 0),
        (&[][..], 0, 0),
    ] {
        let node = Node::new().await;
        node.start(command).await;
        assert_eq!(node.ended(), None, "{command:?}");
        let began = node.clock.now();
        let runtime = node.runtime.clone();
        let stopped = tokio::spawn(async move { runtime.stop("u", Duration::from_secs(5)).await });
        node.clock.settle(100).await;
        stopped.await.expect("joined").expect("stopped");
        let ended = node.ended().expect("ended");
        assert_eq!(ended.exit_code, code, "{command:?}");
        assert_eq!(ended.at.duration_since(began).as_secs(), seconds, "{command:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_that_is_quick_is_seen_to_run_first() {
    let node = Node::new().await;
    node.runtime.start(node.order(&["true"], 0)).await.expect("started");
    node.clock.idle().await;
    assert!(node.runtime.seen("u").runs());
    node.clock.advance(Duration::from_secs(1)).await;
    assert!(!node.runtime.seen("u").runs());
    node.runtime.start(node.order(&["sleep", "9"], 1)).await.expect("started");
    let seen = node.runtime.seen("u");
    assert!(seen.runs() && seen.containers[0].last.is_some(), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_writes_goes_on_and_keeps_nobody_waiting() {
    let node = Node::new().await;
    let script = "while true; do echo x >> /data/log; sleep 5; done";
    node.start(&["sh", "-c", script]).await;
    node.clock.advance(Duration::from_secs(20)).await;
    assert_eq!(node.file("/vol/log").await.as_deref(), Some("x\nx\nx\nx\nx\n"));
    assert!(node.clock.settle(10).await, "its pauses are housekeeping");
}
