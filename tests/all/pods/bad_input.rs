//! What cannot work is told on the pod, in Kubernetes' words; what is put
//! right afterwards works.

use pvdeck::model::kind;
use pvdeck::plugins::host::command::Verb;
use pvdeck::plugins::host::simulated::rules::{Effect, Rule};
use pvdeck::plugins::host::simulated::state::DiskContent;
use pvdeck::plugins::host::simulated::tree::Tree;
use pvdeck::plugins::host::{Disks, Files};
use serde_json::{Value, json};

use super::{Cluster, WAITS, claimed, disk, local};
use crate::by_hand::reference;

/// A pod that is on its node already, so that only the node can refuse it.
async fn placed(cluster: &Cluster, volume: Value) {
    let mut volume = volume;
    volume["name"] = "data".into();
    let pod = json!({"metadata": {"name": "pod-1"}, "spec": {
        "nodeName": "node-1", "terminationGracePeriodSeconds": 1,
        "containers": [{
            "name": "main", "image": "busybox:1.35", "command": ["sh", "-c", WAITS],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }],
        "volumes": [volume],
    }});
    cluster.create(kind::POD, pod).await;
}

const UNABLE: &str = "FailedMount: Unable to attach or mount volumes: unmounted volumes=[data], \
                      unattached volumes=[], failed to process volumes=[data]: ";

#[test]
fn a_missing_claim_is_told_and_looked_for_again() {
    Cluster::run(async |cluster| {
        placed(&cluster, claimed()).await;
        let missing = "error processing PVC default/data: failed to fetch PVC from API server: \
                       persistentvolumeclaims \"data\" not found";
        cluster.until_told("pod-1", &format!("{UNABLE}{missing}")).await;
        assert_eq!(cluster.phase("pod-1").await, "Pending");
        cluster.make_directory("/mnt/data").await;
        cluster.claim(local("/mnt/data")).await;
        cluster.until_phase("pod-1", "Running").await;
    });
}

#[test]
fn an_unbound_claim_is_told() {
    Cluster::run(async |cluster| {
        let claim = json!({"metadata": {"name": "data"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "",
            "resources": {"requests": {"storage": "1Gi"}},
        }});
        cluster.create(kind::PERSISTENT_VOLUME_CLAIM, claim).await;
        placed(&cluster, claimed()).await;
        let unbound = "error processing PVC default/data: PVC is not bound";
        cluster.until_told("pod-1", &format!("{UNABLE}{unbound}")).await;
    });
}

#[test]
fn a_kind_of_volume_that_the_node_lacks_is_told() {
    Cluster::run(async |cluster| {
        placed(&cluster, json!({"glusterfs": {"endpoints": "e", "path": "p"}})).await;
        cluster.until_told("pod-1", "no volume plugin matched").await;
    });
}

#[test]
fn a_host_path_of_the_wrong_type_is_told() {
    Cluster::run(async |cluster| {
        let host = cluster.host("node-1");
        Files(&*host).write("/mnt/file", b"x", 0o644).await.expect("written");
        placed(&cluster, json!({"hostPath": {"path": "/mnt/file", "type": "Directory"}})).await;
        let wrong = "FailedMount: MountVolume.SetUp failed for volume \"data\" : hostPath type \
                     check failed: /mnt/file is not a directory";
        cluster.until_told("pod-1", wrong).await;
    });
}

#[test]
fn a_read_only_claim_cannot_be_written_to() {
    Cluster::run(async |cluster| {
        cluster.make_directory("/mnt/data").await;
        cluster.claim(local("/mnt/data")).await;
        let volume = json!({"persistentVolumeClaim": {"claimName": "data", "readOnly": true}});
        let script = "echo x > /data/f 2> /dev/termination-log || cat /data/f";
        let script = format!("{script} 2>&1; echo x > /data/f");
        cluster.pod("pod-1", volume, &script).await;
        cluster.until_phase("pod-1", "Failed").await;
        let containers = cluster.world.agents().containers(&super::key("pod-1"));
        let log = String::from_utf8_lossy(&containers[0].log).into_owned();
        assert!(log.contains("sh: can't create /data/f: Read-only file system"), "{log}");
        assert_eq!(cluster.file("node-1", "/mnt/data/f").await, None);
        assert!(containers[0].docker_line.contains(":/data:ro"), "{}", containers[0].docker_line);
    });
}

#[test]
fn a_device_that_is_not_there_is_told() {
    Cluster::run(async |cluster| {
        cluster.claim(local("/dev/sdz")).await;
        cluster.pod("pod-1", claimed(), WAITS).await;
        let missing = "FailedMount: MountVolume.NewMounter initialization failed for volume \
                       \"data\" : path \"/dev/sdz\" does not exist";
        cluster.until_told("pod-1", missing).await;
        cluster.world.machines().add_device("node-1", "/dev/sdz", 64 << 20);
        cluster.until_phase("pod-1", "Running").await;
    });
}

#[test]
fn a_corrupt_filesystem_is_told_and_never_formatted_over() {
    Cluster::run(async |cluster| {
        let machines = cluster.world.machines();
        machines.create("data", 64 << 20).await.expect("made");
        let corrupt =
            DiskContent::Filesystem { fs_type: "ext4".into(), tree: Tree::new(None), fsck: 4 };
        machines.set_content("data", corrupt.clone());
        cluster.claim(disk()).await;
        cluster.pod("pod-1", claimed(), WAITS).await;
        cluster.until_told("pod-1", "'fsck' found errors on device").await;
        cluster.until_told("pod-1", "FailedMount: MountVolume.MountDevice failed").await;
        let state = machines.snapshot();
        assert_eq!(state.disks["data"].content, corrupt);
        assert!(state.formatted_over.is_empty());
    });
}

#[test]
fn a_full_device_ends_the_writer_with_the_systems_words() {
    Cluster::run(async |cluster| {
        cluster.world.machines().create("data", 1 << 20).await.expect("made");
        cluster.claim(disk()).await;
        let script = "dd if=/dev/zero of=/data/big bs=1M count=8 2> /dev/termination-log";
        cluster.pod("pod-1", claimed(), script).await;
        cluster.until_phase("pod-1", "Failed").await;
        let pod = cluster.get(kind::POD, "pod-1").await.expect("a pod");
        let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
        assert_eq!(ended["message"], "dd: error writing '/data/big': No space left on device\n");
        assert_eq!((&ended["exitCode"], &ended["reason"]), (&json!(1), &json!("Error")));
    });
}

#[test]
fn a_busy_mount_keeps_the_pod_until_it_is_let_go() {
    Cluster::run(async |cluster| {
        cluster.make_directory("/mnt/data").await;
        cluster.claim(local("/mnt/data")).await;
        cluster.pod("pod-1", claimed(), WAITS).await;
        cluster.until_phase("pod-1", "Running").await;
        let busy = cluster.world.machines().add_rule(Rule {
            node: None,
            verb: Some(Verb::Unmount),
            object: Some("kubernetes.io~local-volume".into()),
            after: 0,
            times: None,
            effect: Effect::Fail { exit: 32, output: "umount: {object}: target is busy.\n".into() },
        });
        cluster.delete(kind::POD, "pod-1", None).await;
        cluster.world.clock.advance(std::time::Duration::from_secs(60)).await;
        let pod = cluster.get(kind::POD, "pod-1").await.expect("it stays");
        assert_eq!(pod["status"]["phase"], "Succeeded");
        assert!(pod["metadata"]["deletionTimestamp"].is_string());
        cluster.world.machines().remove_rule(busy);
        cluster.until_phase("pod-1", "gone").await;
    });
}

#[test]
fn a_sub_path_that_leaves_its_volume_is_told() {
    Cluster::run(async |cluster| {
        cluster.make_directory("/mnt/data/inner").await;
        let host = cluster.host("node-1");
        Files(&*host).write("/mnt/data/inner/f", b"inside\n", 0o644).await.expect("written");
        cluster.claim(local("/mnt/data")).await;
        let pod = |name: &str, sub: &str| {
            json!({"metadata": {"name": name}, "spec": {
                "nodeName": "node-1", "restartPolicy": "Never",
                "containers": [{
                    "name": "main", "image": "busybox:1.35",
                    "command": ["sh", "-c", "cat /data/f > /dev/termination-log"],
                    "volumeMounts": [{"name": "data", "mountPath": "/data", "subPath": sub}],
                }],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
            }})
        };
        cluster.create(kind::POD, pod("good", "inner")).await;
        cluster.until_phase("good", "Succeeded").await;
        let good = cluster.get(kind::POD, "good").await.expect("a pod");
        let ended = &good["status"]["containerStatuses"][0]["state"]["terminated"];
        assert_eq!(ended["message"], "inside\n");
        Files(&*host).write("/mnt/data/file", b"x", 0o644).await.expect("written");
        cluster.create(kind::POD, pod("bad", "file/inner")).await;
        let told = "Failed: Error: failed to create subPath directory for volumeMount \"data\" \
                    of container \"main\"";
        cluster.until_told("bad", told).await;
        let bad = cluster.get(kind::POD, "bad").await.expect("a pod");
        let waiting = &bad["status"]["containerStatuses"][0]["state"]["waiting"];
        assert_eq!(waiting["reason"], "CreateContainerConfigError");
    });
}

/// A driver that no companion runs of attaches nothing; what it would say is
/// said by hand.
#[test]
fn a_pod_whose_volume_has_no_room_on_the_node_is_rejected() {
    Cluster::run(async |cluster| {
        let driver = json!({"metadata": {"name": "disk.example"}, "spec": {
            "attachRequired": true, "nodeAllocatableUpdatePeriodSeconds": 60,
        }});
        cluster.create(kind::CSI_DRIVER, driver).await;
        cluster.claim(json!({"csi": {"driver": "disk.example", "volumeHandle": "h"}})).await;
        placed(&cluster, claimed()).await;
        let attachment = async || {
            let name = pvdeck::model::attachment::attachment_name("h", "disk.example", "node-1");
            cluster.get(kind::VOLUME_ATTACHMENT, &name).await.map(|_| name)
        };
        cluster.until("an attachment", async || attachment().await.is_some()).await;
        let name = attachment().await.expect("a name");
        let status = json!({"attached": false, "attachError": {
            "message": "rpc error: code = ResourceExhausted desc = full", "errorCode": 8,
        }});
        cluster.world.patch_status(&reference(kind::VOLUME_ATTACHMENT, &name), status).await;
        cluster.until_phase("pod-1", "Failed").await;
        let pod = cluster.get(kind::POD, "pod-1").await.expect("a pod");
        assert_eq!(pod["status"]["reason"], "VolumeAttachmentLimitExceeded");
        let why = "Node has reached its volume attachment limit, rejecting pod. unmounted \
                   volumes=[data], unattached volumes=[data], failed to process volumes=[]: ";
        let message = pod["status"]["message"].as_str().expect("a message");
        assert!(message.starts_with(&format!("Pod was rejected: {why}")), "{message}");
        cluster.until_told("pod-1", &format!("VolumeAttachmentLimitExceeded: {why}")).await;
    });
}
