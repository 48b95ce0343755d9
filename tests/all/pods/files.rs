//! Files in mounted volumes, seen from outside the containers.

use http::Method;
use pvdeck::controllers::node_agent::files::FilesError;
use pvdeck::model::kind;
use pvdeck::plugins::host::Disks;
use serde_json::{Value, json};

use super::{Cluster, WAITS, claimed, disk, key, local};
use crate::stand_in;

/// Writes with one pod's volume, and reads it with its successor's.
async fn survives(cluster: &Cluster) {
    let agents = cluster.world.agents();
    cluster.pod("pod-1", claimed(), WAITS).await;
    cluster.until_phase("pod-1", "Running").await;
    agents.write_file(&key("pod-1"), "data", "/note", b"kept").await.expect("written");
    let listed = agents.list_files(&key("pod-1"), "data", "/").await.expect("listed");
    assert!(listed.iter().any(|entry| entry.name == "note"), "{listed:?}");
    cluster.delete(kind::POD, "pod-1", None).await;
    cluster.until_phase("pod-1", "gone").await;
    let refused = agents.read_file(&key("pod-1"), "data", "/note").await;
    let gone = matches!(
        refused,
        // Until the watch has told of its end, and from then on.
        Err(FilesError::NotMounted { .. } | FilesError::NoAgent { .. })
    );
    assert!(gone, "{refused:?}");
    cluster.pod("pod-1", claimed(), WAITS).await;
    cluster.until_phase("pod-1", "Running").await;
    let read = agents.read_file(&key("pod-1"), "data", "/note").await;
    assert_eq!(read.as_deref(), Ok(&b"kept"[..]));
}

#[test]
fn a_file_on_a_local_volume_outlives_its_pod_and_is_at_its_path_on_the_node() {
    Cluster::run(async |cluster| {
        cluster.make_directory("/mnt/disks/one").await;
        cluster.claim(local("/mnt/disks/one")).await;
        survives(&cluster).await;
        let on_node = cluster.file("node-1", "/mnt/disks/one/note").await;
        assert_eq!(on_node.as_deref(), Some("kept"));
    });
}

#[test]
fn a_file_on_a_block_disk_outlives_its_pod() {
    Cluster::run(async |cluster| {
        cluster.world.machines().create("data", 64 << 20).await.expect("made");
        cluster.claim(disk()).await;
        survives(&cluster).await;
    });
}

#[test]
fn files_are_only_where_a_volume_is_mounted_and_never_outside_it() {
    Cluster::run(async |cluster| {
        let agents = cluster.world.agents();
        cluster.make_directory("/mnt/disks/one").await;
        cluster.claim(local("/mnt/disks/one")).await;
        let read_only = json!({"persistentVolumeClaim": {"claimName": "data", "readOnly": true}});
        cluster.pod("pod-1", read_only, WAITS).await;
        cluster.until_phase("pod-1", "Running").await;
        let pod = key("pod-1");
        let volumes = agents.mounted_volumes(&pod).expect("volumes");
        assert_eq!((&*volumes[0].volume, volumes[0].read_only), ("data", true));
        let refused = agents.write_file(&pod, "data", "/x", b"x").await;
        let text = refused.map_err(|error| error.to_string());
        assert_eq!(text, Err("open /x: read-only file system".to_owned()));
        let missing = agents.list_files(&pod, "other", "/").await;
        let text = "volume other of pod default/pod-1 is not mounted".to_owned();
        assert_eq!(missing.map_err(|error| error.to_string()), Err(text));
        let outside = agents.read_file(&pod, "data", "/../../etc/passwd").await;
        assert_eq!(
            outside.map_err(|error| error.to_string()),
            Err("open /../../etc/passwd: no such file or directory".to_owned())
        );
    });
}

#[test]
fn exec_says_where_the_files_are() {
    Cluster::run(async |cluster| {
        for channel in ["exec", "attach", "portforward"] {
            let path = format!("/api/v1/namespaces/default/pods/pod-1/{channel}");
            let (code, answer) =
                stand_in::request(&cluster.world.user, Method::GET, &path, Value::Null).await;
            assert_eq!(code, 501, "{answer}");
            let message = answer["message"].as_str().unwrap_or_default().to_owned();
            assert!(message.contains("files view"), "{message}");
        }
    });
}
