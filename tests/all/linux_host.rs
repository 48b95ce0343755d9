//! The whole way of a volume on real loop devices, filesystems and mounts, and
//! the same on a simulated node: same commands, same mount table.
//!
//! Needs root and loop devices; says `skipped:` without.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pvdeck::cluster::clock::RunningClock;
use pvdeck::model::clock::Clock;
use pvdeck::model::volume_source::VolumeSpec;
use pvdeck::plugins::for_nodes;
use pvdeck::plugins::host::linux::disks::LinuxNodes;
use pvdeck::plugins::host::linux::{Linux, Options};
use pvdeck::plugins::host::simulated::World;
use pvdeck::plugins::host::{Disks, Files, Host, Hosts};
use pvdeck::plugins::layout::Layout;
use pvdeck::plugins::plugin::{NodeVolume, Plugins, PodPart, VolumePlugin, unique_volume_name};
use serde_json::{Value, json};

const NOTE: &[u8] = b"a note that is really on the device";

/// What can be seen of a scenario.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub commands: Vec<String>,
    pub mounts: Vec<String>,
}

/// Nodes of one kind, and the disks between them.
pub struct Nodes {
    pub hosts: Arc<dyn Hosts>,
    pub disks: Arc<dyn Disks>,
    pub plugins: Plugins,
}

impl Nodes {
    pub fn new<T: Hosts + Disks + 'static>(nodes: Arc<T>) -> Self {
        let disks: Arc<dyn Disks> = nodes.clone();
        let plugins = for_nodes(&disks, false);
        Self { hosts: nodes, disks, plugins }
    }

    pub fn host(&self, node: &str) -> Arc<dyn Host> {
        self.hosts.host(node).expect("a node")
    }

    fn volume(
        &self,
        node: &str,
        pod: &str,
        spec: VolumeSpec,
    ) -> (NodeVolume, Arc<dyn VolumePlugin>) {
        let plugin = self.plugins.of(&spec.source).expect("a plugin").clone();
        let unique = unique_volume_name(&*plugin, &spec, pod).expect("a name");
        let volume = NodeVolume {
            host: self.host(node),
            spec,
            unique_name: unique.into(),
            device_path: String::new(),
            pod: Some(PodPart { uid: pod.into(), ..PodPart::default() }),
            provided: BTreeMap::new(),
        };
        (volume, plugin)
    }

    /// Commands and mounts below the kubelet's root; devices by the order in
    /// which they appear.
    pub async fn seen(&self, node: &str) -> Seen {
        let host = self.host(node);
        let mut devices: Vec<String> = Vec::new();
        let mut plain = |word: &str| {
            let word = word.trim();
            if !word.starts_with("/dev/loop") {
                return word.to_owned();
            }
            let at = devices.iter().position(|own| own == word);
            let at = at.unwrap_or_else(|| {
                devices.push(word.to_owned());
                devices.len() - 1
            });
            format!("/dev/loop<{at}>")
        };
        let mut seen = Seen::default();
        for record in host.records() {
            // A probe of a blank device ends with 2.
            let fine = record.succeeded() || record.line().starts_with("blkid");
            assert!(fine, "{}: {}", record.line(), record.output());
            seen.commands
                .push(record.argv.iter().map(|word| plain(word)).collect::<Vec<_>>().join(" "));
        }
        let table = host.mounts().await.expect("a mount table");
        for mount in table.below(host.layout().root()) {
            let source = plain(&mount.source);
            let flag = if mount.is_read_only() { "ro" } else { "rw" };
            seen.mounts
                .push(format!("{} {} {source} {} {flag}", mount.target, mount.root, mount.fs_type));
        }
        seen.mounts.sort();
        seen
    }
}

fn disk_volume(read_only: bool) -> VolumeSpec {
    let volume = json!({"metadata": {"name": "pv-1"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "32Mi"},
        "flexVolume": {"driver": "pvdeck.dev/block-disk", "fsType": "ext4"},
    }});
    VolumeSpec::from_volume(&volume, read_only)
}

fn inline(volume: Value) -> VolumeSpec {
    VolumeSpec::from_inline(&volume)
}

/// Up on n1 in two pods, one of them read-only; a file; down; up on n2, where
/// the file is found again; down. Gives what was seen after each.
async fn scenario(nodes: &Nodes) -> Vec<Seen> {
    let mut seen = Vec::new();
    nodes.disks.create("pv-1", 32 << 20).await.expect("a disk");
    let (mut one, plugin) = nodes.volume("n1", "pod-1", disk_volume(false));
    one.device_path = plugin.attach(&one.spec, "n1").await.expect("attached");
    plugin.stage(&one).await.expect("staged");
    plugin.stage(&one).await.expect("staged already");
    let path = plugin.publish(&one).await.expect("published").host_path;
    let (reader, _) = nodes.volume("n1", "pod-2", disk_volume(true));
    let read_path = plugin.publish(&reader).await.expect("published").host_path;
    let host = nodes.host("n1");
    Files(&*host).write(&format!("{path}/note"), NOTE, 0o644).await.expect("written");
    let refused = Files(&*host).write(&format!("{read_path}/note"), b"no", 0o644).await;
    let refused = refused.expect_err("read-only").to_string();
    assert_eq!(refused, format!("open {read_path}/note: read-only file system"));
    let memory =
        inline(json!({"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}));
    let (scratch, empty_dir) = nodes.volume("n1", "pod-1", memory);
    empty_dir.publish(&scratch).await.expect("published");
    seen.push(nodes.seen("n1").await);

    empty_dir.unpublish(&scratch).await.expect("unpublished");
    plugin.unpublish(&reader).await.expect("unpublished");
    plugin.unpublish(&one).await.expect("unpublished");
    let staged = plugin.device_mount_path(&one).await.expect("a path").expect("a stage");
    assert!(Files(&*host).is_busy(&one.device_path).await.expect("opened"));
    plugin.unstage(&one, &staged).await.expect("unstaged");
    assert!(!Files(&*host).is_busy(&one.device_path).await.expect("opened"));
    plugin.detach("pv-1", "n1").await.expect("detached");
    seen.push(nodes.seen("n1").await);

    let (mut two, _) = nodes.volume("n2", "pod-3", disk_volume(false));
    two.device_path = plugin.attach(&two.spec, "n2").await.expect("attached");
    plugin.stage(&two).await.expect("staged");
    let path = plugin.publish(&two).await.expect("published").host_path;
    let read = Files(&*nodes.host("n2")).read(&format!("{path}/note"), 1024).await;
    assert_eq!(read.as_deref(), Ok(NOTE));
    seen.push(nodes.seen("n2").await);
    plugin.unpublish(&two).await.expect("unpublished");
    plugin.unstage(&two, &staged).await.expect("unstaged");
    plugin.detach("pv-1", "n2").await.expect("detached");
    seen.push(nodes.seen("n2").await);
    seen
}

/// Frees the loop devices on files below a directory, whatever happens.
pub struct Loops(pub PathBuf);

impl Drop for Loops {
    fn drop(&mut self) {
        let Ok(entries) = fs::read_dir("/sys/block") else { return };
        for entry in entries.flatten() {
            let file = fs::read_to_string(entry.path().join("loop/backing_file"));
            let own = file.is_ok_and(|file| {
                let name = Path::new(file.trim_end()).file_name().map(ToOwned::to_owned);
                name.is_some_and(|name| self.0.join(name).exists())
            });
            if own {
                let device = Path::new("/dev").join(entry.file_name());
                let _ = std::process::Command::new("losetup").arg("-d").arg(device).status();
            }
        }
    }
}

pub fn why_not_here() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("a Linux node needs root");
    }
    if !Path::new("/dev/loop-control").exists() {
        return Some("there are no loop devices");
    }
    let has =
        |name: &str| ["/usr/sbin", "/sbin"].iter().any(|at| Path::new(at).join(name).exists());
    (!has("mkfs.ext4") || !has("losetup")).then_some("mkfs.ext4 and losetup are not there")
}

/// Says that a test did not run here; where it must (`PVDECK_REQUIRE_LINUX_HOST`,
/// which `tests/run` sets as root with loop devices), that is a failure.
pub fn skip(why: &str) {
    let required = std::env::var_os("PVDECK_REQUIRE_LINUX_HOST").is_some();
    assert!(!required, "the tests on a Linux host have to run here: {why}");
    println!("skipped: {why}");
}

/// Real nodes below a folder, their disks in its `disks`.
pub fn real_nodes(
    folder: &Path,
    names: &[&str],
    clock: &Arc<dyn Clock>,
) -> Result<Arc<LinuxNodes>, String> {
    let disks = folder.join("disks");
    let nodes = Arc::new(LinuxNodes::new(&disks));
    for name in names {
        let options = Options {
            node: (*name).to_owned(),
            root: folder.join(name),
            disks: disks.clone(),
            layout: Layout::default(),
        };
        nodes.add(Linux::start(&options, clock.clone()).map_err(|error| error.to_string())?);
    }
    Ok(nodes)
}

#[tokio::test]
async fn a_volume_goes_the_same_way_on_a_real_node_and_on_a_simulated_one() {
    let clock: Arc<dyn Clock> = Arc::new(RunningClock::new());
    let world = World::new(clock.clone(), Layout::default());
    world.add("n1");
    world.add("n2");
    let simulated = scenario(&Nodes::new(Arc::new(world))).await;
    assert!(simulated.iter().any(|seen| seen.mounts.len() == 4), "{simulated:?}");

    if let Some(why) = why_not_here() {
        skip(why);
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let disks = folder.path().join("disks");
    let _loops = Loops(disks.clone());
    let nodes = match real_nodes(folder.path(), &["n1", "n2"], &clock) {
        Ok(nodes) => nodes,
        Err(why) => {
            skip(&why);
            return;
        }
    };
    let nodes = Nodes::new(nodes);
    let real = scenario(&nodes).await;
    for (at, (real, simulated)) in real.iter().zip(&simulated).enumerate() {
        assert_eq!(real, simulated, "step {at}");
    }

    // Nothing of it is seen outside, and the note is in the disk's file.
    let outside = fs::read_to_string("/proc/self/mountinfo").expect("a mount table");
    assert!(!outside.contains(&*folder.path().to_string_lossy()));
    let image = fs::read(disks.join("pv-1.img")).expect("the disk");
    assert!(image.windows(NOTE.len()).any(|bytes| bytes == NOTE));
    assert_eq!(nodes.disks.attached_to("pv-1").await, Ok(Vec::new()));
    local_volumes(&nodes, &folder.path().join("n1")).await;
}

/// A directory of the node, bound: what a pod writes shows at its path. A
/// device in block mode: bound, linked and locked, and all of it undone.
async fn local_volumes(nodes: &Nodes, root: &Path) {
    let host = nodes.host("n1");
    let files = Files(&*host);
    files.make_directories("/mnt/disks/a", 0o755).await.expect("made");
    let local = |path: &str, mode: &str| {
        let volume = json!({"metadata": {"name": "pv-l"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "volumeMode": mode, "local": {"path": path},
        }});
        VolumeSpec::from_volume(&volume, false)
    };
    let (one, plugin) = nodes.volume("n1", "pod-7", local("/mnt/disks/a", "Filesystem"));
    let path = plugin.publish(&one).await.expect("published").host_path;
    files.write(&format!("{path}/note"), NOTE, 0o644).await.expect("written");
    assert_eq!(fs::read(root.join("mnt/disks/a/note")).ok().as_deref(), Some(NOTE));
    let table = host.mounts().await.expect("a mount table");
    assert_eq!(table.at(&path).map(|mount| &*mount.root), Some("/mnt/disks/a"));
    assert!(files.remove_tree(&path).await.is_err(), "never across a mount");
    plugin.unpublish(&one).await.expect("unpublished");
    plugin.unpublish(&one).await.expect("nothing to unpublish");
    assert_eq!(fs::read(root.join("mnt/disks/a/note")).ok().as_deref(), Some(NOTE));

    let (disk, cloud) = nodes.volume("n1", "pod-7", disk_volume(false));
    let device = cloud.attach(&disk.spec, "n1").await.expect("attached");
    let (block, plugin) = nodes.volume("n1", "pod-7", local(&device, "Block"));
    let device = plugin.set_up_device(&block).await.expect("a device");
    let paths = plugin.block_paths(&block).expect("block paths");
    pvdeck::plugins::steps::map_block(&block, &paths, &device).await.expect("mapped");
    pvdeck::plugins::steps::map_block(&block, &paths, &device).await.expect("mapped already");
    let locks = host.records();
    let locks = locks.iter().filter(|record| record.line().starts_with("losetup -f")).count();
    assert_eq!(locks, 1);
    pvdeck::plugins::steps::unmap_block(&block, &paths).await.expect("unmapped");
    assert_eq!(files.list(&paths.global_map).await, Ok(Vec::new()));
    cloud.detach("pv-1", "n1").await.expect("detached");
    assert_eq!(nodes.disks.attached_to("pv-1").await, Ok(Vec::new()));
}
