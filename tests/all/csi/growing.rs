//! Volumes of a driver that grow and change: what claims, volumes, events and
//! the driver's calls tell of it.

use std::time::Duration;

use pvdeck::controllers::csi::embedded::EmbeddedDriver;
use pvdeck::model::kind;
use pvdeck::model::object::ObjectRef;
use pvdeck_csi_proto::csi::ControllerUnpublishVolumeRequest;
use pvdeck_csi_proto::csi::controller_server::Controller;
use serde_json::{Value, json};

use crate::by_hand::{ByHand, reference};
use crate::world::World;

const DRIVER: &str = "csi.pvdeck.dev";

fn data() -> ObjectRef {
    reference(kind::PERSISTENT_VOLUME_CLAIM, "data")
}

async fn claim(world: &World) -> Value {
    world.get(&data()).await.expect("the claim")
}

async fn volume(world: &World) -> Value {
    let claim = claim(world).await;
    let name = claim["spec"]["volumeName"].as_str().expect("bound");
    world.get(&reference(kind::PERSISTENT_VOLUME, name)).await.expect("the volume")
}

async fn told(world: &World) -> Vec<String> {
    let events = world.user.list(kind::EVENT).await;
    let text = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
    let shown = |event: &Value| {
        let about = text(&event["involvedObject"], "kind");
        format!("{about} {} {}", text(event, "reason"), text(event, "message"))
    };
    events.iter().map(shown).collect()
}

fn wants(size: &str) -> Value {
    json!({"spec": {"resources": {"requests": {"storage": size}}}})
}

/// A claim of 1Gi, bound; with a pod that uses it.
async fn begin(world: &World, mode: &str, with_pod: bool) {
    let class = json!({
        "metadata": {"name": "csi"}, "provisioner": DRIVER, "allowVolumeExpansion": true,
    });
    world.create(kind::STORAGE_CLASS, class).await;
    let data = json!({
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "csi", "volumeMode": mode,
            "resources": {"requests": {"storage": "1Gi"}},
        },
    });
    world.create(kind::PERSISTENT_VOLUME_CLAIM, data).await;
    world.clock.advance(Duration::from_secs(20)).await;
    if with_pod {
        pod(world, mode, false).await;
    }
}

async fn pod(world: &World, mode: &str, read_only: bool) {
    let mut container = json!({
        "name": "main", "image": "busybox:1.35",
        "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"],
    });
    match mode {
        "Block" => {
            container["volumeDevices"] = json!([{"name": "data", "devicePath": "/dev/data"}]);
        }
        _ => container["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]),
    }
    let claim = json!({"claimName": "data", "readOnly": read_only});
    let pod = json!({
        "metadata": {"name": "pod"},
        "spec": {
            "nodeName": "node-1", "terminationGracePeriodSeconds": 1, "containers": [container],
            "volumes": [{"name": "data", "persistentVolumeClaim": claim}],
        },
    });
    world.create(kind::POD, pod).await;
    world.clock.advance(Duration::from_secs(20)).await;
    assert_eq!(phase(world).await, "Running");
}

async fn phase(world: &World) -> Value {
    let pod = world.get(&reference(kind::POD, "pod")).await;
    pod.expect("the pod")["status"]["phase"].clone()
}

fn run(play: impl AsyncFnOnce(World)) {
    World::run_with_drivers(1, vec![EmbeddedDriver::named(DRIVER)], play);
}

fn fault(world: &World, fault: &str) {
    world.drivers()[0].faults().set(vec![fault.parse().expect("a fault")]);
}

fn calls(world: &World, rpc: &str) -> usize {
    world.calls().all().iter().filter(|call| call.rpc == rpc).count()
}

#[test]
fn a_volume_in_use_grows_with_its_filesystem() {
    for mode in ["Filesystem", "Block"] {
        run(async |world| {
            begin(&world, mode, true).await;
            world.merge(&data(), wants("2Gi")).await;
            world.clock.advance(Duration::from_secs(20)).await;
            let status = claim(&world).await["status"].clone();
            assert_eq!(status["capacity"]["storage"], "2Gi", "{mode}: {status}");
            assert!(
                status["conditions"].is_null() && status["allocatedResourceStatuses"].is_null()
            );
            let volume = volume(&world).await;
            assert_eq!(volume["spec"]["capacity"]["storage"], "2Gi");
            let before = "volume.alpha.kubernetes.io/pre-resize-capacity";
            assert!(volume["metadata"]["annotations"][before].is_null());
            assert_eq!(
                (calls(&world, "ControllerExpandVolume"), calls(&world, "NodeExpandVolume")),
                (1, 1)
            );
            let told = told(&world).await;
            let name = volume["metadata"]["name"].as_str().expect("a name");
            for text in [
                "PersistentVolumeClaim ExternalExpanding waiting for an external controller to expand this PVC".to_owned(),
                format!("PersistentVolumeClaim Resizing External resizer is resizing volume {name}"),
                "PersistentVolumeClaim FileSystemResizeRequired Require file system resize of volume on node".to_owned(),
                format!("Pod FileSystemResizeSuccessful MountVolume.NodeExpandVolume succeeded for volume \"{name}\" node-1"),
            ] {
                assert!(told.contains(&text), "{text} is not in {told:#?}");
            }
        });
    }
}

#[test]
fn a_volume_that_nobody_uses_grows_when_a_pod_comes() {
    run(async |world| {
        begin(&world, "Filesystem", false).await;
        world.merge(&data(), wants("2Gi")).await;
        world.clock.advance(Duration::from_secs(20)).await;
        let status = claim(&world).await["status"].clone();
        assert_eq!(status["capacity"]["storage"], "1Gi");
        assert_eq!(status["allocatedResourceStatuses"]["storage"], "NodeResizePending");
        pod(&world, "Filesystem", false).await;
        assert_eq!(claim(&world).await["status"]["capacity"]["storage"], "2Gi");
        assert_eq!(calls(&world, "NodeExpandVolume"), 1);
    });
}

#[test]
fn a_growth_that_can_never_be_is_taken_back_by_a_lower_request() {
    run(async |world| {
        begin(&world, "Filesystem", true).await;
        fault(&world, "ControllerExpandVolume=fail:OutOfRange,times=1");
        world.merge(&data(), wants("50Gi")).await;
        world.clock.advance(Duration::from_secs(20)).await;
        let status = claim(&world).await["status"].clone();
        assert_eq!(status["allocatedResourceStatuses"]["storage"], "ControllerResizeInfeasible");
        let error = status["conditions"].as_array().expect("conditions");
        let error = error.iter().find(|one| one["type"] == "ControllerResizeError");
        let message = error.expect("an error")["message"].as_str().expect("a message");
        assert!(message.starts_with("failed to expand pvc with rpc error: code = OutOfRange"));
        assert_eq!(calls(&world, "ControllerExpandVolume"), 1, "it is not asked again soon");
        world.merge(&data(), wants("2Gi")).await;
        world.clock.advance(Duration::from_secs(20)).await;
        let status = claim(&world).await["status"].clone();
        assert_eq!(status["capacity"]["storage"], "2Gi", "{status}");
        assert!(status["conditions"].is_null());
    });
}

#[test]
fn a_growth_in_doubt_is_brought_to_its_end_whatever_is_asked_then() {
    run(async |world| {
        begin(&world, "Filesystem", true).await;
        fault(&world, "ControllerExpandVolume=fail-after:Unavailable,times=4");
        world.merge(&data(), wants("5Gi")).await;
        world.clock.idle().await;
        world.merge(&data(), wants("2Gi")).await;
        world.clock.advance(Duration::from_secs(30)).await;
        let status = claim(&world).await["status"].clone();
        assert_eq!(status["capacity"]["storage"], "5Gi", "{status}");
        assert_eq!(volume(&world).await["spec"]["capacity"]["storage"], "5Gi");
    });
}

#[test]
fn a_driver_that_grows_no_volume_in_use_waits_until_its_pod_is_gone() {
    run(async |world| {
        begin(&world, "Filesystem", true).await;
        fault(&world, "ControllerExpandVolume=fail:FailedPrecondition,times=1");
        world.merge(&data(), wants("2Gi")).await;
        world.clock.advance(Duration::from_secs(30)).await;
        assert_eq!(calls(&world, "ControllerExpandVolume"), 1);
        let text = "PersistentVolumeClaim VolumeResizeFailed Unable to expand default/data because \
                    CSI driver csi.pvdeck.dev only supports offline expansion and volume is \
                    currently in-use";
        assert!(told(&world).await.contains(&text.to_owned()));
        world.delete(&reference(kind::POD, "pod")).await;
        world.clock.advance(Duration::from_secs(400)).await;
        assert_eq!(calls(&world, "ControllerExpandVolume"), 2);
        pod(&world, "Filesystem", false).await;
        assert_eq!(claim(&world).await["status"]["capacity"]["storage"], "2Gi");
    });
}

#[test]
fn a_node_that_fails_tells_it_and_tries_again() {
    for (code, status) in [("Internal", "NodeResizeInProgress"), ("OutOfRange", "")] {
        run(async |world| {
            begin(&world, "Filesystem", true).await;
            fault(&world, &format!("NodeExpandVolume=fail:{code},times=1"));
            world.merge(&data(), wants("2Gi")).await;
            world.clock.idle().await;
            let now = claim(&world).await["status"].clone();
            if !status.is_empty() {
                assert_eq!(now["allocatedResourceStatuses"]["storage"], status, "{now}");
                assert!(now["conditions"].to_string().contains("NodeResizeError"), "{now}");
            }
            world.clock.advance(Duration::from_secs(60)).await;
            let now = claim(&world).await["status"].clone();
            assert_eq!(now["capacity"]["storage"], "2Gi", "{code}: {now}");
            assert!(now["conditions"].is_null());
        });
    }
}

#[test]
fn what_a_driver_has_left_is_published_and_taken_back() {
    run(async |world| {
        begin(&world, "Filesystem", false).await;
        let listed =
            async || world.user.list_in(kind::CSI_STORAGE_CAPACITY, Some("kube-system")).await;
        assert!(listed().await.is_empty(), "nobody asks for it");
        let driver = reference(kind::CSI_DRIVER, DRIVER);
        world.merge(&driver, json!({"spec": {"storageCapacity": true}})).await;
        world.clock.advance(Duration::from_secs(1)).await;
        let found = listed().await;
        let one = &found[0];
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((&one["storageClassName"], &one["nodeTopology"]), (&json!("csi"), &json!({})));
        assert_eq!(one["metadata"]["labels"]["csi.storage.k8s.io/drivername"], DRIVER);
        let left = one["capacity"].clone();
        world.merge(&data(), wants("5Gi")).await;
        world.clock.advance(Duration::from_secs(130)).await;
        assert_ne!(listed().await[0]["capacity"], left, "it is asked for each minute");
        world.delete(&reference(kind::STORAGE_CLASS, "csi")).await;
        world.clock.advance(Duration::from_secs(1)).await;
        assert!(listed().await.is_empty());
    });
}

#[test]
fn what_was_detached_behind_the_clusters_back_is_attached_again() {
    run(async |world| {
        begin(&world, "Filesystem", true).await;
        let handle = world.drivers()[0].state().volumes.keys().next().cloned().expect("made");
        let attached = || world.drivers()[0].state().volumes[&handle].clone();
        let before = format!("{:?}", attached().published);
        let place = world.drivers()[0].at("node-1", "node-1");
        let request = ControllerUnpublishVolumeRequest {
            volume_id: handle.clone(),
            node_id: "node-1".to_owned(),
            ..Default::default()
        };
        let request = tonic::Request::new(request);
        place.controller_unpublish_volume(request).await.expect("detached");
        assert_ne!(format!("{:?}", attached().published), before);
        world.clock.advance(Duration::from_secs(130)).await;
        assert_eq!(format!("{:?}", attached().published), before);
    });
}

#[test]
fn a_driver_that_asks_for_it_is_told_to_publish_again_and_again() {
    run(async |world| {
        let driver = reference(kind::CSI_DRIVER, DRIVER);
        world.merge(&driver, json!({"spec": {"requiresRepublish": true}})).await;
        begin(&world, "Filesystem", true).await;
        let before = calls(&world, "NodePublishVolume");
        world.clock.advance(Duration::from_secs(400)).await;
        assert!(calls(&world, "NodePublishVolume") >= before + 3);
        fault(&world, "NodePublishVolume=fail:Internal,times=1");
        world.clock.advance(Duration::from_secs(400)).await;
        assert_eq!(phase(&world).await, "Running");
        assert_eq!(calls(&world, "NodeUnpublishVolume"), 0);
    });
}

#[test]
fn a_volume_takes_on_the_attributes_class_of_its_claim() {
    run(async |world| {
        begin(&world, "Filesystem", false).await;
        let wants = |class: &str| json!({"spec": {"volumeAttributesClassName": class}});
        world.merge(&data(), wants("gold")).await;
        world.clock.advance(Duration::from_secs(5)).await;
        let status = claim(&world).await["status"].clone();
        assert_eq!(status["modifyVolumeStatus"]["status"], "Pending", "{status}");
        let missing = "PersistentVolumeClaim VolumeModifyFailed VAC \"gold\" does not exist.";
        assert!(told(&world).await.contains(&missing.to_owned()));
        for (name, parameter) in [("gold", "iops"), ("odd", "colour")] {
            let class = json!({
                "metadata": {"name": name}, "driverName": DRIVER, "parameters": {parameter: "9"},
            });
            world.create(kind::VOLUME_ATTRIBUTES_CLASS, class).await;
        }
        world.clock.advance(Duration::from_secs(5)).await;
        let status = claim(&world).await["status"].clone();
        assert_eq!(status["currentVolumeAttributesClassName"], "gold", "{status}");
        assert!(status["modifyVolumeStatus"].is_null() && status["conditions"].is_null());
        assert_eq!(volume(&world).await["spec"]["volumeAttributesClassName"], "gold");
        let told_now = told(&world).await;
        let done = "PersistentVolumeClaim VolumeModifySuccessful external resizer modified volume \
                    data with vac gold successfully";
        assert!(told_now.contains(&done.to_owned()), "{told_now:#?}");

        world.merge(&data(), wants("odd")).await;
        world.clock.advance(Duration::from_secs(60)).await;
        let status = claim(&world).await["status"].clone();
        assert_eq!(status["modifyVolumeStatus"]["status"], "Infeasible", "{status}");
        assert_eq!(status["currentVolumeAttributesClassName"], "gold");
        assert_eq!(calls(&world, "ControllerModifyVolume"), 2, "it is not asked again soon");
        world.merge(&data(), wants("gold")).await;
        world.clock.advance(Duration::from_secs(400)).await;
        let status = claim(&world).await["status"].clone();
        assert!(status["modifyVolumeStatus"].is_null(), "{status}");
    });
}
