use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::future::FutureExt;
use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::model::volume_source::VolumeSpec;
use crate::plugins::host::mount_table::MountEntry;
use crate::plugins::host::{Command, Disks, FileKind, Files, Hosts, OnBehalf};
use crate::plugins::plugin::{NodeVolume, Plugins, PodPart, unique_volume_name};
use crate::plugins::{PluginError, for_nodes};

/// A clock that stands; what sleeps wakes at once.
#[derive(Debug)]
struct Instant;

impl Clock for Instant {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn sleep(&self, _duration: Duration, _usage: TimerUse) -> BoxFuture<'static, ()> {
        futures::future::ready(()).boxed()
    }
}

fn world() -> World {
    let world = World::new(Arc::new(Instant), Layout::default());
    world.add("n1");
    world.add("n2");
    world
}

fn plugins(world: &World) -> Plugins {
    for_nodes(&(Arc::new(world.clone()) as Arc<dyn Disks>), true)
}

fn volume(world: &World, node: &str, spec: serde_json::Value, pod: &str) -> NodeVolume {
    let mut object = json!({"metadata": {"name": "pv-1"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
    }});
    for (field, value) in spec.as_object().expect("an object") {
        object["spec"][field] = value.clone();
    }
    let spec = VolumeSpec::from_volume(&object, false);
    let plugins = plugins(world);
    let plugin = plugins.of(&spec.source).expect("a plugin");
    NodeVolume {
        host: world.host(node).expect("a host"),
        unique_name: unique_volume_name(&**plugin, &spec, pod).expect("a name").into(),
        spec,
        device_path: String::new(),
        pod: Some(PodPart { uid: pod.into(), ..PodPart::default() }),
        provided: BTreeMap::new(),
    }
}

fn lines(volume: &NodeVolume) -> Vec<String> {
    volume.host.records().iter().map(CommandRecord::line).collect()
}

/// Attach, stage, publish.
async fn up(world: &World, volume: &mut NodeVolume) -> Result<String, PluginError> {
    let plugins = plugins(world);
    let plugin = plugins.of(&volume.spec.source)?;
    volume.device_path = plugin.attach(&volume.spec, volume.host.node()).await?;
    volume.device_path = plugin.wait_for_attach(volume).await?;
    plugin.stage(volume).await?;
    Ok(plugin.publish(volume).await?.host_path)
}

async fn down(world: &World, volume: &NodeVolume) -> Result<(), PluginError> {
    let plugins = plugins(world);
    let plugin = plugins.of(&volume.spec.source)?;
    plugin.unpublish(volume).await?;
    if let Some(path) = plugin.device_mount_path(volume).await? {
        plugin.unstage(volume, &path).await?;
    }
    plugin.detach(&plugin.volume_name(&volume.spec)?, volume.host.node()).await
}

fn block_disk() -> serde_json::Value {
    json!({"flexVolume": {"driver": "pvdeck.dev/block-disk", "fsType": "ext4"}})
}

#[tokio::test]
async fn a_file_on_a_disk_moves_with_it_to_another_node() {
    let world = world();
    world.create("pv-1", 1 << 30).await.expect("created");
    let mut first = volume(&world, "n1", block_disk(), "pod-1");
    let path = up(&world, &mut first).await.expect("up");
    assert_eq!(path, "/var/lib/kubelet/pods/pod-1/volumes/pvdeck.dev~block-disk/pv-1");
    Files(&*first.host).write(&format!("{path}/note"), b"kept", 0o644).await.expect("written");
    let global =
        "/var/lib/kubelet/plugins/kubernetes.io/flexvolume/pvdeck.dev/block-disk/mounts/pv-1";
    assert_eq!(
        lines(&first),
        [
            "losetup --find --show /var/lib/pvdeck/disks/pv-1.img".to_owned(),
            "blkid -p -s TYPE -s PTTYPE -o export /dev/loop0".to_owned(),
            "mkfs.ext4 -F -m0 /dev/loop0".to_owned(),
            format!("mount -t ext4 -o rw,defaults /dev/loop0 {global}"),
            format!("mount -o bind {global} {path}"),
            format!("mount -o bind,remount,relatime {global} {path}"),
        ]
    );
    let mut second = volume(&world, "n2", block_disk(), "pod-2");
    let elsewhere = up(&world, &mut second).await.expect_err("attached to n1");
    assert!(matches!(elsewhere, PluginError::AttachedElsewhere { node, .. } if node == "n1"));
    down(&world, &first).await.expect("down");
    let path = up(&world, &mut second).await.expect("up on n2");
    let read = Files(&*second.host).read(&format!("{path}/note"), 100).await;
    assert_eq!(read.as_deref(), Ok(&b"kept"[..]));
    assert!(lines(&second).iter().any(|line| line == "fsck -a /dev/loop0"));
    assert!(!lines(&second).iter().any(|line| line.starts_with("mkfs")));
    down(&world, &second).await.expect("down");
    let state = world.snapshot();
    assert!(state.formatted_over.is_empty());
    assert!(state.machines.values().all(|machine| machine.mounts.len() == 2));
}

#[tokio::test]
async fn a_snapshot_brings_files_and_mounts_back() {
    let world = world();
    world.create("pv-1", 1 << 30).await.expect("created");
    let mut one = volume(&world, "n1", block_disk(), "pod-1");
    let path = up(&world, &mut one).await.expect("up");
    let files = Files(&*one.host);
    files.write(&format!("{path}/a"), b"1", 0o644).await.expect("written");
    let snapshot = world.snapshot();
    files.write(&format!("{path}/a"), b"2", 0o644).await.expect("written");
    down(&world, &one).await.expect("down");
    world.restore(snapshot);
    assert_eq!(files.read(&format!("{path}/a"), 9).await.as_deref(), Ok(&b"1"[..]));
}

#[tokio::test]
async fn faults_do_what_their_rules_say() {
    let world = world();
    world.create("pv-1", 1 << 30).await.expect("created");
    let rule = |verb: &str, effect: serde_json::Value| -> Rule {
        serde_json::from_value(json!({"node": "n1", "verb": verb, "times": 1, "effect": effect}))
            .expect("a rule")
    };
    world.add_rule(rule("format", json!({"fail": {"exit": 1, "output": "no"}})));
    let mut one = volume(&world, "n1", block_disk(), "pod-1");
    let error = up(&world, &mut one).await.expect_err("mkfs fails").to_string();
    assert!(error.starts_with("format of disk \"/dev/loop0\" failed: type:(\"ext4\")"), "{error}");
    let hung = world.add_rule(rule("mount", json!("hang")));
    let mut waiting = up(&world, &mut one).boxed();
    assert!((&mut waiting).now_or_never().is_none(), "a hung mount");
    let running = world.host("n1").expect("a host").records();
    assert!(running.iter().any(|record| record.ended.is_none()), "shown while it runs");
    world.remove_rule(hung);
    waiting.await.expect("up");
    world.lose("n1");
    assert!(one.host.mounts().now_or_never().is_none(), "a lost node");
    world.calm();
    one.host.mounts().await.expect("found again");
}

#[tokio::test]
async fn a_full_disk_and_a_corrupt_one_say_so() {
    let world = world();
    world.create("pv-1", 100).await.expect("created");
    let mut one = volume(&world, "n1", block_disk(), "pod-1");
    let path = up(&world, &mut one).await.expect("up");
    let full = Files(&*one.host).write(&format!("{path}/big"), &[0; 200], 0o644).await;
    let text = full.expect_err("full").to_string();
    assert_eq!(text, format!("open {path}/big: no space left on device"));
    down(&world, &one).await.expect("down");
    let corrupt =
        DiskContent::Filesystem { fs_type: "ext4".into(), tree: tree::Tree::new(None), fsck: 4 };
    world.set_content("pv-1", corrupt);
    let text = up(&world, &mut one).await.expect_err("corrupt").to_string();
    assert!(text.starts_with("'fsck' found errors on device /dev/loop0"), "{text}");
}

#[tokio::test]
async fn a_local_directory_shows_its_files_at_its_path() {
    let world = world();
    let host = world.host("n1").expect("a host");
    let files = Files(&*host);
    files.make_directories("/mnt/disks/a", 0o755).await.expect("made");
    let spec = json!({"local": {"path": "/mnt/disks/a"}});
    let one = volume(&world, "n1", spec.clone(), "pod-1");
    let plugins = plugins(&world);
    let plugin = plugins.of(&one.spec.source).expect("local");
    let path = plugin.publish(&one).await.expect("published").host_path;
    files.write(&format!("{path}/note"), b"hi", 0o644).await.expect("written");
    assert_eq!(files.read("/mnt/disks/a/note", 9).await.as_deref(), Ok(&b"hi"[..]));
    let mut other = volume(&world, "n1", spec, "pod-2");
    other.pod.as_mut().expect("a pod").fs_group = Some(77);
    let second = plugin.publish(&other).await.expect("published");
    assert_eq!(second.warning.map(|(reason, _)| reason), Some("AlreadyMountedVolume"));
    let busy = files.remove_tree(&path).await.expect_err("mounted");
    assert_eq!(busy.to_string(), format!("remove {path}: device or resource busy"));
    let missing = volume(&world, "n1", json!({"local": {"path": "/nope"}}), "pod-1");
    assert!(plugin.publish(&missing).await.is_err());
}

#[tokio::test]
async fn a_block_volume_is_bound_linked_and_locked_and_undone() {
    let world = world();
    world.add_device("n1", "/dev/sdb", 1 << 20);
    let spec = json!({"volumeMode": "Block", "local": {"path": "/dev/sdb"}});
    let one = volume(&world, "n1", spec, "pod-1");
    let plugins = plugins(&world);
    let plugin = plugins.of(&one.spec.source).expect("local");
    let device = plugin.set_up_device(&one).await.expect("a device");
    let paths = plugin.block_paths(&one).expect("block");
    for _ in 0..2 {
        crate::plugins::steps::map_block(&one, &paths, &device).await.expect("mapped");
    }
    let link = format!("{}/pv-1", paths.volume_map);
    let seen = Files(&*one.host).look(&link).await.expect("looked").expect("a link");
    assert_eq!(seen.kind, FileKind::BlockDevice);
    let locks = lines(&one).iter().filter(|line| line.starts_with("losetup -f")).count();
    assert_eq!(locks, 1, "mapping again changes nothing");
    crate::plugins::steps::unmap_block(&one, &paths).await.expect("unmapped");
    crate::plugins::steps::unmap_block(&one, &paths).await.expect("unmapped again");
    assert_eq!(Files(&*one.host).list(&paths.global_map).await, Ok(Vec::new()));
    assert!(world.snapshot().machines["n1"].loops.is_empty());
}

#[tokio::test]
async fn a_host_path_is_held_to_its_type() {
    let world = world();
    let plugins = plugins(&world);
    let host = world.host("n1").expect("a host");
    Files(&*host).write("/etc/file", b"", 0o644).await.expect("written");
    let rows = [
        ("/nowhere", "", ""),
        ("/new/dir", "DirectoryOrCreate", ""),
        (
            "/etc/file",
            "DirectoryOrCreate",
            "hostPath type check failed: /etc/file is not a directory",
        ),
        ("/none", "Directory", "hostPath type check failed: /none is not a directory"),
        ("/etc/new", "FileOrCreate", ""),
        ("/absent/new", "FileOrCreate", "open /absent/new: no such file or directory"),
        ("/etc", "File", "hostPath type check failed: /etc is not a file"),
        ("/etc/file", "Socket", "hostPath type check failed: /etc/file is not a socket file"),
        (
            "/etc/file",
            "CharDevice",
            "hostPath type check failed: /etc/file is not a character device",
        ),
        ("/etc/file", "BlockDevice", "hostPath type check failed: /etc/file is not a block device"),
        ("/etc", "Surprise", "Surprise is an invalid volume type"),
        ("/a/../b", "", "invalid HostPath `/a/../b`: must not contain '..'"),
    ];
    for (path, kind, error) in rows {
        let one = volume(&world, "n1", json!({"hostPath": {"path": path, "type": kind}}), "p");
        let plugin = plugins.of(&one.spec.source).expect("hostPath");
        let published = plugin.publish(&one).await;
        let text = published.err().map_or(String::new(), |error| error.to_string());
        assert_eq!(text, error, "{path} {kind}");
    }
}

#[tokio::test]
async fn keys_become_files_and_an_empty_dir_goes_with_its_pod() {
    let world = world();
    let plugins = plugins(&world);
    let mut one = volume(&world, "n1", json!({"nfs": {"server": "s", "path": "/p"}}), "pod-1");
    let config = json!({"name": "c", "configMap": {"name": "settings"}});
    one.spec = VolumeSpec::from_inline(&config);
    let plugin = plugins.of(&one.spec.source).expect("configMap");
    let missing = plugin.publish(&one).await.expect_err("missing").to_string();
    assert_eq!(missing, "configmap \"settings\" not found");
    let need = plugin.needs(&one.spec).remove(0);
    one.provided.insert(need.clone(), json!({"data": {"a": "1", "b": "2"}}));
    let path = plugin.publish(&one).await.expect("published").host_path;
    one.provided.insert(need, json!({"data": {"b": "3"}}));
    plugin.publish(&one).await.expect("published again");
    let files = Files(&*one.host);
    let names: Vec<_> =
        files.list(&path).await.expect("files").into_iter().map(|f| f.name).collect();
    let visible: Vec<_> = names.iter().filter(|name| !name.starts_with("..")).collect();
    assert_eq!(visible, ["b"]);
    assert_eq!(names.len(), 3, "..data and what it points to: {names:?}");
    assert_eq!(files.read(&format!("{path}/b"), 10).await.as_deref(), Ok(&b"3"[..]));
    let before = names;
    plugin.publish(&one).await.expect("published once more");
    let names: Vec<_> =
        files.list(&path).await.expect("files").into_iter().map(|f| f.name).collect();
    assert_eq!(names, before, "nothing changed, nothing is written");
    one.spec = VolumeSpec::from_inline(
        &json!({"name": "e", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}),
    );
    let plugin = plugins.of(&one.spec.source).expect("emptyDir");
    let path = plugin.publish(&one).await.expect("published").host_path;
    assert!(lines(&one).contains(&format!("mount -t tmpfs -o size=1048576 tmpfs {path}")));
    plugin.unpublish(&one).await.expect("gone");
    assert_eq!(files.look(&path).await, Ok(None));
}

#[tokio::test]
async fn legacy_kinds_attach_as_they_did_and_others_have_no_plugin() {
    let world = world();
    let disk = json!({"gcePersistentDisk": {"pdName": "d-1"}});
    let mut one = volume(&world, "n1", disk, "pod-1");
    assert_eq!(&*one.unique_name, "kubernetes.io/gce-pd/d-1");
    up(&world, &mut one).await.expect("up");
    let table = one.host.mounts().await.expect("mounts");
    assert!(table.is_mount_point("/var/lib/kubelet/plugins/kubernetes.io/gce-pd/mounts/d-1"));
    let share = json!({"glusterfs": {"endpoints": "g", "path": "vol"}});
    let one = volume(&world, "n2", share, "pod-1");
    let plugins = plugins(&world);
    plugins.of(&one.spec.source).expect("legacy").publish(&one).await.expect("published");
    assert_eq!(lines(&one).len(), 1);
    let usual = for_nodes(&(Arc::new(world.clone()) as Arc<dyn Disks>), false);
    let none = usual.of(&one.spec.source).err().map(|error| error.to_string());
    assert_eq!(none.as_deref(), Some("no volume plugin matched"));
}

#[tokio::test]
async fn no_two_disks_that_are_mounted_are_taken_for_one() {
    let world = world();
    let host = world.host("n1").expect("a host");
    let fs_type = "ext4".to_owned();
    // Each comes before the others by its name.
    for name in ["c", "b", "a"] {
        let (device, target) = (format!("/dev/vd{name}"), format!("/mnt/{name}"));
        world.add_device("n1", &device, 1 << 30);
        world.add_directory("n1", &target);
        let format = Command::Format {
            device: device.clone(),
            fs_type: fs_type.clone(),
            options: Vec::new(),
        };
        let mount = Command::Mount {
            source: device,
            target,
            fs_type: fs_type.clone(),
            options: Vec::new(),
        };
        for command in [format, mount] {
            host.run(&OnBehalf::default(), command).await.expect("done");
        }
    }
    let table = host.mounts().await.expect("mounts");
    for name in ["a", "b", "c"] {
        assert_eq!(table.references(&format!("/mnt/{name}")), Vec::<&MountEntry>::new(), "{name}");
    }
}

mod properties;
