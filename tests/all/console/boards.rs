//! A node's board: told by an agent, or inferred from the API.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use pvdeck::model::attachment::Attachment;
use pvdeck::model::event::Event;
use pvdeck::model::node::Node;
use pvdeck::model::node_board::{BoardPod, BoardRow, NodeBoard, OnNode, Stage, StageSpan};
use pvdeck::model::object::Key;
use pvdeck::model::pod::Pod;
use pvdeck::plugins::host::record::Ended;
use pvdeck::plugins::host::{Command, CommandRecord, Exit, OnBehalf};
use pvdeck::ui::boards::NodeFacts;
use pvdeck::ui::message::Message;
use pvdeck::ui::state::{TableId, View};
use serde_json::json;

use super::sample::{Console, NOW};
use super::screens::{check, picture, text};

const DB: &str = "kubernetes.io/block-disk/db-0";
const POD: &str = "5f1c0e4a-7a52-4a42-9f0c-2f41d6c1a001";

fn ago(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(NOW * 1_000 - millis).expect("a time")
}

fn row(name: &str, kind: &str, on_node: OnNode, stage: Stage, millis: i64) -> BoardRow {
    BoardRow {
        unique_name: format!("kubernetes.io/{kind}/{name}").into(),
        name: format!("pv-{name}").into(),
        kind: kind.into(),
        claim: None,
        pods: Vec::new(),
        on_node,
        stage,
        since: ago(millis),
        attempts: 1,
        last_error: None,
        next_retry: None,
        is_busy: stage != Stage::Running,
        device_path: String::new(),
        stage_path: String::new(),
        spans: vec![StageSpan { stage, began: ago(millis), ended: None }],
        upcoming: Vec::new(),
    }
}

fn pod(name: &str, volume: &str, path: &str) -> BoardPod {
    BoardPod {
        pod: Key::new("shop", name),
        uid: POD.into(),
        wanted: true,
        host_path: format!("/var/lib/kubelet/pods/{POD}/volumes/{volume}"),
        container_paths: vec![("app".into(), path.into())],
        read_only: false,
    }
}

fn command(
    id: u64,
    command: Command,
    millis: i64,
    ended: Option<(i32, u64, &str)>,
) -> CommandRecord {
    CommandRecord {
        id,
        node: "node-1".into(),
        on_behalf: OnBehalf::volume(DB),
        argv: command.argv().into(),
        command,
        started: ago(millis),
        ended: ended.map(|(code, millis, output)| Ended {
            exit: Exit::Code(code),
            output: output.into(),
            duration: Duration::from_millis(millis),
        }),
    }
}

/// The board of the sketch: formatting, running, failing, going.
fn facts() -> NodeFacts {
    let mut db = row("db-0", "block-disk", OnNode::Attached, Stage::Format, 800);
    db.pods = vec![pod("mysql-1", "example.com~block-disk/pv-db-0", "/data")];
    db.claim = Some(Key::new("shop", "data-mysql-1"));
    db.device_path = "/dev/loop3".into();
    db.stage_path =
        "/var/lib/kubelet/plugins/kubernetes.io/flexvolume/mounts/block-disk/db-0".into();
    let staged = db.stage_path.clone();
    let bound = db.pods[0].host_path.clone();
    db.upcoming =
        ["mount -t ext4 -o rw,defaults /dev/loop3", "mount -o bind", "mount -o bind,remount"]
            .iter()
            .enumerate()
            .map(|(at, line)| {
                let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
                words.push(staged.clone());
                words.extend((at > 0).then(|| bound.clone()));
                words
            })
            .collect();
    let span = |stage, from, to| StageSpan { stage, began: ago(from), ended: Some(ago(to)) };
    db.spans.splice(
        0..0,
        [
            span(Stage::Attach, 3_400, 1_200),
            span(Stage::Wait, 1_200, 840),
            span(Stage::Check, 840, 800),
        ],
    );
    let mut nfs = row("nfs", "nfs", OnNode::Mounted, Stage::Running, 180_000);
    nfs.pods = vec![
        pod("nginx-0", "kubernetes.io~nfs/pv-nfs", "/html"),
        pod("nginx-1", "kubernetes.io~nfs/pv-nfs", "/html"),
    ];
    nfs.pods[0].read_only = true;
    let mut cache = row("cache", "csi", OnNode::Staged, Stage::Publish, 41_000);
    cache.pods = vec![pod("cache-1", "kubernetes.io~csi/pv-cache/mount", "/cache")];
    cache.attempts = 4;
    cache.next_retry = Some(ago(-12_000));
    cache.last_error = Some(Arc::from(
        "MountVolume.SetUp failed for volume \"pv-cache\" : rpc error: code = Internal desc = \
         the target is busy",
    ));
    let mut old = row("old", "block-disk", OnNode::Staged, Stage::Unstage, 200);
    old.pods.clear();
    let board =
        NodeBoard { node: "node-1".into(), rows: vec![cache, db, nfs, old], is_inferred: false };
    let device = || "/dev/loop3".to_owned();
    let options = vec!["-F".to_owned(), "-m0".to_owned()];
    let commands = vec![
        command(1, Command::Probe { device: device() }, 840, Some((2, 20, ""))),
        command(
            2,
            Command::Format { device: device(), fs_type: "ext4".into(), options },
            800,
            None,
        ),
        CommandRecord {
            on_behalf: OnBehalf::volume("kubernetes.io/nfs/nfs"),
            ..command(
                3,
                Command::Mount {
                    source: "nfs.example:/exports/web".into(),
                    target: format!("/var/lib/kubelet/pods/{POD}/volumes/kubernetes.io~nfs/pv-nfs"),
                    fs_type: "nfs".into(),
                    options: vec!["ro".into()],
                },
                900,
                Some((32, 4_100, "mount.nfs: access denied by server\nwhile mounting")),
            )
        },
    ];
    NodeFacts { board, commands }
}

fn told(console: &mut Console) {
    let attached = json!([{"name": DB, "devicePath": ""}, {"name": "kubernetes.io/csi/cache"},
        {"name": "kubernetes.io/block-disk/old"}]);
    console.apply::<Node>(json!({"metadata": {"name": "node-1", "uid": "uid--node-1",
        "resourceVersion": "90", "creationTimestamp": "2026-08-23T09:41:07Z"},
        "status": {"conditions": [{"type": "Ready", "status": "True"}],
            "volumesAttached": attached, "volumesInUse": [DB]}}));
    console.apply::<pvdeck::model::csi::CsiNode>(json!({"metadata": {"name": "node-1",
        "uid": "uid--node-1", "resourceVersion": "91"}, "spec": {"drivers":
        [{"name": "csi.demo.io", "nodeID": "node-1", "allocatable": {"count": 39}}]}}));
    console.data.boards.tell(vec![facts()]);
    console.tell(Message::Changed);
}

#[test]
fn board_shows_desired_beside_actual_and_the_commands() {
    check("board", |console| {
        told(console);
        console.press(":no\r\r").press("j");
    });
}

#[test]
fn board_of_what_is_desired() {
    check("board_desired", |console| {
        told(console);
        console.press(":board node-1\r\t");
    });
}

#[test]
fn board_of_what_is_there() {
    check("board_actual", |console| {
        told(console);
        console.press(":board node-1\r\t\tj");
    });
}

#[test]
fn volume_of_a_board_is_told_in_full() {
    check("board_volume", |console| {
        told(console);
        console.press(":board node-1\rj\r");
    });
}

#[test]
fn output_of_a_failed_mount() {
    check("board_output", |console| {
        told(console);
        console.press(":board node-1\rjjo");
    });
}

/// What the API of a live cluster shows of a pod that cannot mount.
fn live(console: &mut Console) {
    let meta = |name: &str, version: &str| {
        json!({"namespace": "shop", "name": name, "uid": format!("uid-shop-{name}"),
            "resourceVersion": version, "creationTimestamp": "2026-11-21T09:40:00Z"})
    };
    console.apply::<Pod>(json!({"metadata": meta("mysql-1", "92"), "spec": {"nodeName": "node-1",
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-mysql-1"}}]},
        "status": {"phase": "Pending"}}));
    console.apply::<Attachment>(json!({"metadata": meta("csi-1", "93"), "spec": {
        "attacher": "csi.fast.io", "nodeName": "node-2",
        "source": {"persistentVolumeName": "pvc-91aa41"}}, "status": {"attached": true}}));
    let about = json!({"kind": "Pod", "namespace": "shop", "name": "mysql-1",
        "uid": "uid-shop-mysql-1"});
    let message =
        "MountVolume.SetUp failed for volume \"pvc-7c1f0e\" : mount failed: exit status 32";
    console.apply::<Event>(json!({"metadata": meta("mysql-1.1", "94"), "type": "Warning",
        "reason": "FailedMount", "message": message, "count": 5, "involvedObject": about,
        "firstTimestamp": "2026-11-21T09:40:10Z", "lastTimestamp": "2026-11-21T09:41:00Z"}));
}

#[test]
fn live_cluster_gives_an_inferred_board_and_says_so() {
    check("board_inferred", |console| {
        live(console);
        console.press(":board node-1\r");
    });
}

#[test]
fn journey_tells_the_time_of_each_stage_on_its_node() {
    check("journey_node", |console| {
        told(console);
        console.press(":pvc\r/mysql-1\r\r");
    });
}

#[test]
fn journey_of_a_live_cluster_is_inferred_and_says_where_it_is_stuck() {
    check("journey_inferred", |console| {
        live(console);
        console.press(":pvc\r/mysql-1\r\r");
    });
}

#[test]
fn enter_on_a_journey_opens_the_board_where_it_is_stuck() {
    let mut console = Console::sample(80, 24, "dark");
    live(&mut console);
    console.press(":pvc\r/mysql-1\r\r\r");
    assert_eq!(console.state.table(), Some(TableId::Board));
    assert_eq!(console.under_cursor(), "pvc-7c1f0e");
    console.press("\x1b");
    assert!(matches!(console.state.top().view, View::Journey(_)));
}

#[test]
fn keys_of_a_board_lead_on_and_back() {
    let mut console = Console::sample(80, 24, "dark");
    told(&mut console);
    console.press(":no\r\rj");
    assert_eq!(console.state.table(), Some(TableId::Board));
    assert_eq!(console.state.top().list.cursor.as_deref(), Some(DB));
    console.press("o");
    assert!(matches!(console.state.top().view, View::Output { .. }));
    console.press("\x1b\r");
    assert!(matches!(console.state.top().view, View::BoardVolume { .. }));
    console.press("\t");
    assert!(matches!(console.state.top().view, View::Output { .. }));
    console.press("\t\r");
    assert!(
        matches!(&console.state.top().view, View::Journey(claim) if claim.name == "data-mysql-1")
    );
    console.press("\x1b\x1b\x1b");
    assert_eq!(console.state.table(), Some(TableId::Nodes));
}

#[test]
fn cursor_of_a_board_stays_on_its_volume_when_another_fails() {
    let mut console = Console::sample(80, 24, "dark");
    told(&mut console);
    console.press(":board node-1\rjjj");
    let chosen = console.state.top().list.cursor.clone();
    assert_eq!(chosen.as_deref(), Some("kubernetes.io/block-disk/old"));
    let mut facts = facts();
    facts.board.rows[3].last_error = Some("umount: target is busy".into());
    console.data.boards.tell(vec![facts]);
    console.data.follow(&console.state);
    console.tell(Message::Changed);
    assert_eq!(console.state.top().list.cursor, chosen);
    assert_eq!(console.state.top().list.at, 1, "faults come first");
    assert!(text(&picture(&console)).contains("umount: target is busy"));
}

#[test]
fn board_of_a_node_that_is_unknown_is_refused() {
    let mut console = Console::sample(80, 24, "dark");
    console.press(":board node-9\r");
    assert!(text(&picture(&console)).contains("no node `node-9`; :nodes lists them"));
    assert_eq!(console.state.table(), Some(TableId::Overview));
}
