//! One thing at a time: what is run, told and shown.

use std::time::Duration;

use serde_json::json;

use super::node::{NODE, TestNode};
use crate::controllers::node_agent::volumes::{NodeVolumes, NotMounted};
use crate::model::kind;
use crate::model::node_board::{OnNode, Stage};
use crate::model::object::Key;
use crate::plugins::host::Files;
use crate::plugins::host::command::Verb;
use crate::plugins::host::simulated::rules::{Effect, Rule};

const ROOT: &str = "/var/lib/kubelet";
const DISK_AT: &str =
    "/var/lib/kubelet/plugins/kubernetes.io/flexvolume/pvdeck.dev/block-disk/mounts/data";

fn rule(verb: Verb, effect: Effect) -> Rule {
    Rule { node: None, verb: Some(verb), object: None, after: 0, times: None, effect }
}

async fn ready() -> TestNode {
    let node = TestNode::new().await;
    node.manager.sources_ready();
    node
}

#[tokio::test(start_paused = true)]
async fn a_disk_is_attached_formatted_mounted_and_all_of_it_is_undone() {
    let mut node = ready().await;
    node.disk("data", &["ReadWriteOnce"], "Filesystem").await;
    node.want(TestNode::pod("u1", &[TestNode::of_claim("data")]));
    let path = format!("{ROOT}/pods/u1/volumes/pvdeck.dev~block-disk/data");
    assert_eq!(node.start("u1").await, Ok(vec![format!("u1/data: {path} rw")]));
    let up = [
        "blkid -p -s TYPE -s PTTYPE -o export /dev/loop0".to_owned(),
        "mkfs.ext4 -F -m0 /dev/loop0".to_owned(),
        format!("mount -t ext4 -o rw,defaults /dev/loop0 {DISK_AT}"),
        format!("mount -o bind {DISK_AT} {path}"),
        format!("mount -o bind,remount,rw,relatime {DISK_AT} {path}"),
    ];
    let commands = node.commands();
    assert_eq!(commands[..4], up[..4], "{commands:#?}");
    let board = node.manager.board();
    let row = &board.rows[0];
    assert_eq!(
        (row.stage, row.on_node, &*row.kind),
        (Stage::Running, OnNode::Mounted, "flexVolume")
    );
    assert_eq!((&*row.device_path, &*row.stage_path), ("/dev/loop0", DISK_AT));
    assert_eq!(row.pods[0].host_path, path);
    let stages: Vec<Stage> = row.spans.iter().map(|span| span.stage).collect();
    let way =
        [Stage::Attach, Stage::Wait, Stage::Check, Stage::Format, Stage::Stage, Stage::Publish];
    assert_eq!(stages[..6], way);
    assert!(node.events().is_empty(), "a mount is told only if it fails");

    let count = node.commands().len();
    node.let_go("u1");
    node.settle().await;
    let down = [format!("umount {path}"), format!("umount {DISK_AT}")];
    assert_eq!(node.commands()[count..], down);
    assert!(node.mount_points().await.is_empty());
    assert_eq!(node.manager.in_use(), Some(Vec::new()));
    assert!(node.attached.is_empty() && node.manager.board().rows.is_empty());
    assert!(node.manager.is_idle());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_mounted_before_the_volume_is_reported_in_use_and_listed_as_attached() {
    let mut node = ready().await;
    node.disk("data", &["ReadWriteOnce"], "Filesystem").await;
    node.want(TestNode::pod("u1", &[TestNode::of_claim("data")]));
    node.clock.idle().await;
    let row = || node.manager.board().rows[0].clone();
    let name = row().unique_name;
    assert_eq!(node.manager.in_use(), Some(vec![name.clone()]));
    assert_eq!(row().stage, Stage::Attach);
    node.clock.advance(Duration::from_secs(60)).await;
    assert_eq!((row().attempts, row().on_node), (0, OnNode::Absent));
    node.manager.in_use_accepted(std::slice::from_ref(&name));
    node.clock.idle().await;
    let waits = format!("volume {name} is not yet in node's status");
    assert_eq!(row().last_error.as_deref(), Some(&*waits));
    assert_eq!(row().next_retry, None, "no pause: the status is waited for");
}

#[tokio::test(start_paused = true)]
async fn a_pod_whose_claim_cannot_be_used_is_told_why() {
    let mut node = ready().await;
    node.want(TestNode::pod("u1", &[TestNode::of_claim("data")]));
    let told = node.start("u1").await;
    let expected = "unmounted volumes=[data], unattached volumes=[], failed to process \
        volumes=[data]: error processing PVC shop/data: failed to fetch PVC from API server: \
        persistentvolumeclaims \"data\" not found";
    assert_eq!(told, Err(NotMounted::Failed(expected.into())));
    let row = &node.manager.board().rows[0];
    assert_eq!((&*row.name, row.stage), ("data", Stage::Attach));
    assert!(row.last_error.as_deref().is_some_and(|error| error.ends_with("not found")));
    node.disk("data", &["ReadWriteOnce"], "Filesystem").await;
    assert!(node.start("u1").await.is_ok(), "asked again, it is read again");
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_never_attaches_ends_the_wait_without_an_event() {
    let mut node = ready().await;
    node.claim(
        "data",
        &["ReadWriteOnce"],
        "Filesystem",
        json!({"flexVolume": {"driver": "pvdeck.dev/block-disk"}}),
    );
    let before = node.now();
    node.want(TestNode::pod("u1", &[TestNode::of_claim("data")]));
    let text = "unmounted volumes=[data], unattached volumes=[data], failed to process volumes=[]: \
        context deadline exceeded";
    assert_eq!(node.start("u1").await, Err(NotMounted::TimedOut(text.into())));
    assert_eq!(node.now().duration_since(before).as_secs(), 123);
    assert!(node.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failing_step_is_told_on_the_pod_and_tried_again_after_growing_pauses() {
    let mut node = ready().await;
    node.disk("data", &["ReadWriteOnce"], "Filesystem").await;
    let effect = Effect::Fail { exit: 1, output: "no space for a journal".into() };
    let id = node.world.add_rule(rule(Verb::Format, effect));
    node.want(TestNode::pod("u1", &[TestNode::of_claim("data")]));
    node.settle().await;
    let events = node.events();
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(
        events[0].starts_with(
            "FailedMount: MountVolume.MountDevice failed for volume \"data\" : format of disk \"/dev/loop0\" failed: type:(\"ext4\")"
        ),
        "{events:?}"
    );
    let row = node.manager.board().rows[0].clone();
    assert_eq!((row.stage, row.attempts, row.is_busy), (Stage::Format, 1, false));
    assert_eq!(row.next_retry.map(|at| at.duration_since(node.now()).as_millis()), Some(500));
    node.clock.advance(Duration::from_millis(3500)).await;
    let row = node.manager.board().rows[0].clone();
    assert_eq!((row.stage, row.attempts, node.events().len()), (Stage::Format, 4, 2 + 1));
    assert_eq!(
        row.since,
        node.now() - jiff::SignedDuration::from_millis(3500),
        "it is stuck there since"
    );
    node.world.remove_rule(id);
    assert!(node.start("u1").await.is_ok());
    assert!(node.world.snapshot().formatted_over.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_slow_volume_does_not_hold_up_another() {
    let mut node = ready().await;
    node.disk("data", &["ReadWriteOnce"], "Filesystem").await;
    let hang = Rule { object: Some("loop0".into()), ..rule(Verb::Probe, Effect::Hang) };
    let id = node.world.add_rule(hang);
    node.want(TestNode::pod("u1", &[TestNode::of_claim("data")]));
    node.settle().await;
    let row = node.manager.board().rows[0].clone();
    assert_eq!((row.stage, row.is_busy), (Stage::Check, true));
    node.want(TestNode::pod("u2", &[json!({"name": "tmp", "emptyDir": {}})]));
    assert!(node.start("u2").await.is_ok());
    node.world.remove_rule(id);
    assert!(node.start("u1").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn volumes_are_mounted_in_the_order_of_their_pods_whatever_the_uids_are() {
    for uids in [["u1", "u2"], ["u2", "u1"]] {
        let mut node = ready().await;
        let memory = json!({"name": "tmp", "emptyDir": {"medium": "Memory"}});
        for (uid, name) in uids.iter().zip(["first", "second"]) {
            let mut pod = TestNode::pod(uid, std::slice::from_ref(&memory));
            pod["metadata"]["name"] = name.into();
            node.want(pod);
        }
        node.settle().await;
        let lines = node.commands();
        let mounts = lines.iter().filter(|line| line.starts_with("mount -t tmpfs"));
        let of: Vec<bool> = mounts.map(|line| line.contains(uids[0])).collect();
        assert_eq!(of, [true, false], "{lines:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shared_volume_stays_staged_until_its_last_pod_goes() {
    let mut node = ready().await;
    node.disk("data", &["ReadWriteOnce"], "Filesystem").await;
    node.want(TestNode::pod("u1", &[TestNode::of_claim("data")]));
    node.want(TestNode::pod("u2", &[TestNode::of_claim("data")]));
    assert!(node.start("u1").await.is_ok() && node.start("u2").await.is_ok());
    let staged = || node.commands().iter().filter(|line| line.contains("-t ext4")).count();
    assert_eq!(staged(), 1);
    node.let_go("u1");
    node.settle().await;
    assert_eq!(node.mount_points().await.len(), 2);
    assert!(
        node.commands()
            .last()
            .is_some_and(|line| line.ends_with("pods/u1/volumes/pvdeck.dev~block-disk/data"))
    );
    node.let_go("u2");
    node.settle().await;
    assert!(node.mount_points().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_mounted_elsewhere_too_is_not_unmounted() {
    let mut node = ready().await;
    node.disk("data", &["ReadWriteOnce"], "Filesystem").await;
    node.want(TestNode::pod("u1", &[TestNode::of_claim("data")]));
    assert!(node.start("u1").await.is_ok());
    let host = node.host();
    let bind = |command| async {
        host.run(&crate::plugins::host::OnBehalf::volume("admin"), command).await.expect("run")
    };
    Files(&*host).make_directories("/mnt/admin", 0o755).await.expect("made");
    let [first, _] = crate::plugins::host::Command::bind(DISK_AT, "/mnt/admin", &[], &[]);
    assert!(bind(first).await.succeeded());
    node.let_go("u1");
    node.settle().await;
    let row = node.manager.board().rows[0].clone();
    assert_eq!(row.stage, Stage::Unstage);
    assert_eq!(
        row.last_error.as_deref(),
        Some(&*format!(
            "GetDeviceMountRefs check failed for volume \"data\" : the device mount path \"{DISK_AT}\" \
             is still mounted by other references [/mnt/admin]"
        ))
    );
    assert!(!node.attached.is_empty(), "still in use");
    let unmount =
        crate::plugins::host::Command::Unmount { target: "/mnt/admin".into(), force: false };
    assert!(bind(unmount).await.succeeded());
    node.clock.advance(Duration::from_secs(5)).await;
    node.settle().await;
    assert!(node.attached.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_volume_for_one_pod_is_refused_to_the_second() {
    let mut node = ready().await;
    node.disk("data", &["ReadWriteOncePod"], "Filesystem").await;
    node.want(TestNode::pod("u1", &[TestNode::of_claim("data")]));
    assert!(node.start("u1").await.is_ok());
    node.want(TestNode::pod("u2", &[TestNode::of_claim("data")]));
    node.settle().await;
    let expected = "FailedMount: MountVolume.SetUp failed for volume \"data\" : volume uses the \
        ReadWriteOncePod access mode and is already in use by another pod";
    assert_eq!(node.events(), [expected]);
    node.let_go("u1");
    assert!(node.start("u2").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_block_volume_is_mapped_linked_and_locked_and_told_twice() {
    let mut node = ready().await;
    node.disk("raw", &["ReadWriteOnce"], "Block").await;
    let mut pod = TestNode::pod("u1", &[]);
    pod["spec"]["volumes"] = json!([TestNode::of_claim("raw")]);
    pod["spec"]["containers"][0]["volumeDevices"] =
        json!([{"name": "raw", "devicePath": "/dev/raw"}]);
    node.want(pod);
    let link = format!("{ROOT}/pods/u1/volumeDevices/pvdeck.dev~block-disk/raw");
    assert_eq!(node.start("u1").await, Ok(vec![format!("u1/raw: {link} rw")]));
    let global = format!("{ROOT}/plugins/pvdeck.dev/block-disk/volumeDevices/raw");
    let volume_map = format!("{ROOT}/pods/u1/volumeDevices/pvdeck.dev~block-disk");
    let told = |word: &str, path: &str| {
        format!(
            "SuccessfulMountVolume: MapVolume.MapPodDevice succeeded for volume \"raw\" {word} \"{path}\""
        )
    };
    assert_eq!(node.events(), [told("globalMapPath", &global), told("volumeMapPath", &volume_map)]);
    node.let_go("u1");
    node.settle().await;
    assert!(node.mount_points().await.is_empty() && node.attached.is_empty());
    assert_eq!(Files(&*node.host()).look(&global).await, Ok(None));
    assert_eq!(node.world.snapshot().machines[NODE].loops.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_local_volume_of_another_zone_is_refused_by_the_node() {
    let mut node = ready().await;
    node.claim(
        "data",
        &["ReadWriteOnce"],
        "Filesystem",
        json!({
            "local": {"path": "/mnt/a"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b"]}]}]}},
        }),
    );
    node.want(TestNode::pod("u1", &[TestNode::of_claim("data")]));
    node.settle().await;
    let expected = "FailedMount: MountVolume.NodeAffinity check failed for volume \"data\" : no matching NodeSelectorTerms";
    assert_eq!(node.events(), [expected]);
}

#[tokio::test(start_paused = true)]
async fn a_config_map_follows_the_api_with_the_pods_next_sync() {
    let mut node = ready().await;
    let config = |text: &str| json!({"metadata": {"namespace": "shop", "name": "conf"}, "data": {"key": text}});
    node.want(TestNode::pod("u1", &[json!({"name": "conf", "configMap": {"name": "conf"}})]));
    node.settle().await;
    assert_eq!(
        node.events(),
        [
            "FailedMount: MountVolume.SetUp failed for volume \"conf\" : configmap \"conf\" not found"
        ]
    );
    node.objects.put(kind::CONFIG_MAP, config("one"));
    assert!(node.start("u1").await.is_ok());
    let path = format!("{ROOT}/pods/u1/volumes/kubernetes.io~configmap/conf/key");
    let host = node.host();
    assert_eq!(Files(&*host).read(&path, 100).await.as_deref(), Ok(&b"one"[..]));
    node.objects.put(kind::CONFIG_MAP, config("two"));
    assert!(node.start("u1").await.is_ok());
    node.settle().await;
    assert_eq!(Files(&*host).read(&path, 100).await.as_deref(), Ok(&b"two"[..]));
    node.objects.put(kind::CONFIG_MAP, config("three"));
    node.clock.advance(Duration::from_secs(95)).await;
    assert_eq!(Files(&*host).read(&path, 100).await.as_deref(), Ok(&b"three"[..]), "the sweep");
    let row = node.manager.board().rows[0].clone();
    assert_eq!(row.stage, Stage::Running);
    let back = row.spans.iter().filter(|span| span.stage == Stage::Running).count();
    assert_eq!(back, 1, "it ran on");
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_what_runs_stays_and_what_nobody_wants_goes() {
    let mut node = ready().await;
    node.disk("data", &["ReadWriteOnce"], "Filesystem").await;
    node.disk("old", &["ReadWriteOnce"], "Filesystem").await;
    node.want(TestNode::pod(
        "u1",
        &[TestNode::of_claim("data"), json!({"name": "tmp", "emptyDir": {}})],
    ));
    node.want(TestNode::pod("u2", &[TestNode::of_claim("old")]));
    assert!(node.start("u1").await.is_ok() && node.start("u2").await.is_ok());
    let before = node.mount_points().await;
    node.restart().await;
    node.settle().await;
    assert_eq!(node.manager.in_use().map(|list| list.len()), Some(2));
    let uncertain = |node: &TestNode| {
        node.manager.board().rows.iter().filter(|row| row.on_node == OnNode::Uncertain).count()
    };
    assert_eq!(uncertain(&node), 3);
    node.pods.remove("u2");
    node.clock.advance(Duration::from_secs(60)).await;
    assert_eq!(node.mount_points().await, before, "not all pods are known");
    node.tell_all();
    assert!(node.start("u1").await.is_ok());
    node.settle().await;
    assert_eq!(node.mount_points().await.len(), 2);
    assert_eq!(
        node.attached.iter().map(|name| name.rsplit('/').next()).collect::<Vec<_>>(),
        [Some("data")]
    );
    assert_eq!(uncertain(&node), 0);
}

#[tokio::test(start_paused = true)]
async fn a_running_pod_whose_claim_cannot_be_read_after_a_restart_keeps_its_volume() {
    let mut node = ready().await;
    node.disk("data", &["ReadWriteOnce"], "Filesystem").await;
    node.want(TestNode::pod("u1", &[TestNode::of_claim("data")]));
    assert!(node.start("u1").await.is_ok());
    let before = node.mount_points().await;
    node.restart().await;
    node.objects.change(kind::PERSISTENT_VOLUME_CLAIM, Key::new("shop", "data"), |claim| {
        claim["status"]["phase"] = "Lost".into();
    });
    node.tell_all();
    node.settle().await;
    node.clock.advance(Duration::from_secs(300)).await;
    node.settle().await;
    assert_eq!(node.mount_points().await, before);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_made_out_is_unmounted_by_force_and_never_emptied() {
    let node = TestNode::new().await;
    let host = node.host();
    let files = Files(&*host);
    let unknown = format!("{ROOT}/pods/gone/volumes/vendor~driver/x");
    let full = format!("{ROOT}/pods/gone/volumes/vendor~driver/full");
    files.make_directories(&unknown, 0o750).await.expect("made");
    files.make_directories(&full, 0o750).await.expect("made");
    files.write(&format!("{full}/keep"), b"x", 0o644).await.expect("written");
    files.make_directories("/mnt/src", 0o750).await.expect("made");
    let [first, _] = crate::plugins::host::Command::bind("/mnt/src", &unknown, &[], &[]);
    host.run(&crate::plugins::host::OnBehalf::volume("x"), first).await.expect("run");
    let mut node = node;
    node.restart().await;
    node.tell_all();
    node.settle().await;
    assert!(node.mount_points().await.is_empty());
    assert_eq!(files.look(&unknown).await, Ok(None));
    assert!(files.look(&format!("{full}/keep")).await.expect("looked").is_some());
}

#[tokio::test(start_paused = true)]
async fn files_that_take_long_to_be_given_to_a_group_are_told_on_the_pod() {
    let mut node = ready().await;
    let mut pod = TestNode::pod("u1", &[json!({"name": "tmp", "emptyDir": {}})]);
    pod["spec"]["securityContext"] = json!({"fsGroup": 2000});
    let slow =
        Rule { times: Some(9), ..rule(Verb::WriteFiles, Effect::Slow { milliseconds: 40_000 }) };
    node.world.add_rule(slow);
    node.want(pod);
    assert!(node.start("u1").await.is_err(), "2 min 3 s are over");
    node.clock.advance(Duration::from_secs(300)).await;
    let told: Vec<String> = node.events();
    assert_eq!(told.len(), 1, "{told:?}");
    let begins = "VolumePermissionChangeInProgress: Setting volume ownership for \
        u1/volumes/kubernetes.io~empty-dir/tmp is taking longer than expected, consider using \
        OnRootMismatch - https://kubernetes.io/docs/";
    assert!(told[0].starts_with(begins), "{told:?}");
}
