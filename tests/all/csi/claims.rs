//! What claims of a driver may ask for beside space: a volume for one pod
//! alone, a copy of another, the content of a snapshot, a place.

use std::collections::BTreeMap;

use pvdeck::controllers::csi::embedded::EmbeddedDriver;
use pvdeck::model::kind;
use pvdeck::plugins::csi::driver::options::{NAME, Options};
use serde_json::{Value, json};

use crate::pods::{Cluster, WAITS, claimed};
use crate::world::World;

/// Modes as they are numbered on the wire.
const SINGLE_NODE_SINGLE_WRITER: i64 = 6;

fn run(options: Options, play: impl AsyncFnOnce(Cluster)) {
    let driver = EmbeddedDriver { options, ..EmbeddedDriver::named(NAME) };
    World::run_with_drivers(1, vec![driver], async |world| {
        let cluster = Cluster { world };
        let class = |name: &str, mode: &str| {
            json!({
                "metadata": {"name": name}, "provisioner": NAME, "volumeBindingMode": mode,
            })
        };
        cluster.create(kind::STORAGE_CLASS, class("csi", "Immediate")).await;
        cluster.create(kind::STORAGE_CLASS, class("waits", "WaitForFirstConsumer")).await;
        play(cluster).await;
    });
}

async fn claim(cluster: &Cluster, name: &str, size: &str, more: Value) {
    let mut spec = json!({
        "accessModes": ["ReadWriteOnce"], "storageClassName": "csi",
        "resources": {"requests": {"storage": size}},
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    let claim = json!({"metadata": {"name": name}, "spec": spec});
    cluster.create(kind::PERSISTENT_VOLUME_CLAIM, claim).await;
    cluster.world.clock.settle(100).await;
}

async fn phase(cluster: &Cluster, name: &str) -> Value {
    let claim = cluster.get(kind::PERSISTENT_VOLUME_CLAIM, name).await.expect("a claim");
    claim["status"]["phase"].clone()
}

/// The requests of all such calls.
fn asked(cluster: &Cluster, rpc: &str) -> Vec<Value> {
    let calls = cluster.world.calls().all();
    calls.into_iter().filter(|call| call.rpc == rpc).map(|call| call.request).collect()
}

#[test]
fn a_volume_for_one_pod_is_told_to_the_driver_and_kept_from_a_second_pod() {
    run(Options::default(), async |cluster| {
        claim(&cluster, "data", "1Gi", json!({"accessModes": ["ReadWriteOncePod"]})).await;
        cluster.pod("first", claimed(), WAITS).await;
        cluster.until_phase("first", "Running").await;
        cluster.pod("second", claimed(), WAITS).await;
        let text = "unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode \
                    already in-use by another pod";
        cluster.until_told("second", text).await;
        assert_eq!(cluster.phase("second").await, "Pending");
        let made = &asked(&cluster, "CreateVolume")[0]["volume_capabilities"];
        assert_eq!(made[0]["access_mode"]["mode"], SINGLE_NODE_SINGLE_WRITER, "{made}");
        for rpc in ["ControllerPublishVolume", "NodeStageVolume", "NodePublishVolume"] {
            let mode = &asked(&cluster, rpc)[0]["volume_capability"]["access_mode"]["mode"];
            assert_eq!(mode, SINGLE_NODE_SINGLE_WRITER, "{rpc}");
        }
        cluster.delete(kind::POD, "first", None).await;
        cluster.until_phase("second", "Running").await;
    });
}

#[test]
fn a_claim_is_filled_from_another_claim() {
    run(Options::default(), async |cluster| {
        claim(&cluster, "data", "1Gi", json!({})).await;
        let writes = "echo kept > /data/file; sync";
        cluster.pod("writer", claimed(), writes).await;
        cluster.until_phase("writer", "Succeeded").await;
        cluster.delete(kind::POD, "writer", None).await;
        let source = json!({"kind": "PersistentVolumeClaim", "name": "data"});
        claim(&cluster, "copy", "1Gi", json!({"dataSource": source})).await;
        assert_eq!(phase(&cluster, "copy").await, "Bound");
        let copied = json!({"persistentVolumeClaim": {"claimName": "copy"}});
        cluster.pod("reader", copied, "cat /data/file > /dev/termination-log").await;
        cluster.until_phase("reader", "Succeeded").await;
        let pod = cluster.get(kind::POD, "reader").await.expect("a pod");
        let state = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
        assert_eq!(state["message"], "kept\n");
    });
}

#[test]
fn a_snapshot_as_source_is_refused_and_other_sources_are_left_to_populators() {
    run(Options::default(), async |cluster| {
        let snapshot =
            json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"});
        claim(&cluster, "restored", "1Gi", json!({"dataSource": snapshot})).await;
        let text = "ProvisioningFailed: CSI driver does not support snapshot restore: controller \
                    CREATE_DELETE_SNAPSHOT capability is not reported";
        cluster.until_told("restored", text).await;
        let other = json!({"apiGroup": "example.dev", "kind": "Backup", "name": "b"});
        claim(&cluster, "populated", "1Gi", json!({"dataSourceRef": other})).await;
        let told = cluster.told("populated").await;
        let text = "Provisioning: Assuming an external populator will provision the volume";
        assert!(told.iter().any(|told| told == text), "{told:#?}");
        assert!(!told.iter().any(|told| told.starts_with("ProvisioningFailed")), "{told:#?}");
        assert!(asked(&cluster, "CreateVolume").is_empty());
        assert_eq!(phase(&cluster, "populated").await, "Pending");
    });
}

#[test]
fn a_driver_with_places_tells_what_is_left_and_pods_that_want_more_wait() {
    const GIB: u64 = 1 << 30;
    let topology = BTreeMap::from([("zone".to_owned(), "a".to_owned())]);
    let options = Options { topology, capacity: 4 * GIB, ..Options::default() };
    run(options, async |cluster| {
        let capacities = || {
            cluster.world.mirror().read(|tables| {
                let rows = tables.csi_capacities.iter();
                rows.filter(|row| &*row.class == "waits").count()
            })
        };
        cluster.until("it is published", async || capacities() == 1).await;
        claim(&cluster, "data", "8Gi", json!({"storageClassName": "waits"})).await;
        cluster.pod("large", claimed(), WAITS).await;
        cluster.until_told("large", "did not have enough free storage").await;
        assert!(asked(&cluster, "CreateVolume").is_empty(), "nobody is asked in vain");
        claim(&cluster, "small", "1Gi", json!({"storageClassName": "waits"})).await;
        let small = json!({"persistentVolumeClaim": {"claimName": "small"}});
        cluster.pod("small", small, WAITS).await;
        cluster.until_phase("small", "Running").await;
        let request = &asked(&cluster, "CreateVolume")[0]["accessibility_requirements"];
        assert_eq!(request["requisite"], json!([{"segments": {"zone": "a"}}]), "{request}");
    });
}
