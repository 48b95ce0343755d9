//! A driver's executable on a real node: what it mounts is mounted there.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use pvdeck::cluster::clock::RunningClock;
use pvdeck::model::clock::Clock;
use pvdeck::model::volume_source::VolumeSpec;
use pvdeck::plugins::flex_volume::FlexVolume;
use pvdeck::plugins::flex_volume::drivers::FlexDrivers;
use pvdeck::plugins::host::{Files, Hosts};
use pvdeck::plugins::plugin::{Capability, NodeVolume, PodPart, VolumePlugin};
use serde_json::json;

use super::{DRIVER, NAME};
use crate::linux_host::{real_nodes, skip, why_not_here};

/// Where the node of this test has its drivers.
const DIRECTORY: &str = "/var/lib/kubelet/volumeplugins";

#[tokio::test]
async fn a_driver_mounts_on_a_real_node_and_nowhere_else() {
    if let Some(why) = why_not_here() {
        skip(why);
        return;
    }
    let clock: Arc<dyn Clock> = Arc::new(RunningClock::new());
    let folder = tempfile::tempdir().expect("a folder");
    let nodes = match real_nodes(folder.path(), &["n1"], &clock) {
        Ok(nodes) => nodes,
        Err(why) => {
            skip(&why);
            return;
        }
    };
    let host = nodes.host("n1").expect("a node");
    let drivers = FlexDrivers::new(DIRECTORY, host.clone());
    // The directory is made.
    assert!(!drivers.look().await);
    let root = folder.path().join("n1");
    let own = root.join(DIRECTORY.trim_start_matches('/')).join("example~simple");
    fs::create_dir_all(&own).expect("made");
    let script = DRIVER.replace("LOG", "/tmp/log").replace("ATTACH", "false").replace("MORE\n", "");
    fs::write(own.join(".simple"), script).expect("written");
    fs::set_permissions(own.join(".simple"), Permissions::from_mode(0o755)).expect("executable");
    fs::rename(own.join(".simple"), own.join("simple")).expect("renamed");
    assert!(drivers.look().await);
    let plugin = FlexVolume::new(drivers);
    let inline = json!({"name": "data", "flexVolume": {"driver": NAME, "options": {"a": "1"}}});
    let spec = VolumeSpec::from_inline(&inline);
    assert!(plugin.is_for(&spec.source));
    assert!(!plugin.facts_of(&spec).can(Capability::Attach));
    let volume = NodeVolume {
        host: host.clone(),
        spec,
        unique_name: "example/simple/data".into(),
        device_path: String::new(),
        pod: Some(PodPart { uid: "uid-1".into(), fs_group: Some(2000), ..PodPart::default() }),
        provided: BTreeMap::new(),
    };
    let path = plugin.publish(&volume).await.expect("published").host_path;
    assert_eq!(path, "/var/lib/kubelet/pods/uid-1/volumes/example~simple/data");
    let table = host.mounts().await.expect("a mount table");
    assert_eq!(table.at(&path).map(|mount| &*mount.fs_type), Some("tmpfs"));
    let files = Files(&*host);
    let marker = format!("{path}/marker");
    assert_eq!(files.read(&marker, 100).await.as_deref(), Ok(&b"flex\n"[..]));
    let facts = files.look(&marker).await.expect("looked").expect("a file");
    assert_eq!(facts.group, 2000);
    // Again is as good as once, and outside nothing is seen of it.
    plugin.publish(&volume).await.expect("published already");
    let outside = fs::read_to_string("/proc/self/mountinfo").expect("a mount table");
    assert!(!outside.contains(&*folder.path().to_string_lossy()));
    plugin.unpublish(&volume).await.expect("unpublished");
    plugin.unpublish(&volume).await.expect("nothing to unpublish");
    assert_eq!(files.look(&path).await, Ok(None));
    let calls = fs::read_to_string(root.join("tmp/log")).expect("calls");
    let commands: Vec<&str> = calls.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(commands, ["init", "mount", "unmount"]);
}
