//! The local static provisioner on simulated nodes: from a mount to a volume
//! and, once its claim is gone, to a clean one again.

mod block;
mod schedules;
mod wrong_order;

use std::time::Duration;

use http::Request;
use pvdeck::model::kind::{self, Kind};
use pvdeck::model::object::Key;
use pvdeck::model::volume::VolumePhase;
use pvdeck::plugins::host::{Command, Files, Host, Hosts, OnBehalf};
use serde_json::{Value, json};
use std::sync::Arc;

use crate::world::World;

const ROUND: Duration = Duration::from_secs(11);
const DISCOVERY: &str = "/mnt/fast-disks";

async fn create(world: &World, kind: &'static Kind, namespace: Option<&str>, mut object: Value) {
    object["apiVersion"] = kind.api_version().into();
    object["kind"] = kind.kind.into();
    let request = Request::post(kind.collection_path(namespace))
        .header("content-type", "application/json")
        .body(object.to_string().into_bytes())
        .expect("a request");
    world.user.request::<Value>(request).await.expect("created");
    world.clock.idle().await;
}

async fn delete_claim(world: &World, name: &str) {
    let path = format!("{}/{name}", kind::PERSISTENT_VOLUME_CLAIM.collection_path(Some("default")));
    let request = Request::delete(path).body(Vec::new()).expect("a request");
    world.user.request::<Value>(request).await.expect("deleted");
    world.clock.idle().await;
}

fn host(world: &World) -> Arc<dyn Host> {
    world.machines().host("node-1").expect("a machine")
}

async fn mount(world: &World, name: &str, size: &str) {
    let host = host(world);
    let target = format!("{DISCOVERY}/{name}");
    Files(&*host).make_directories(&target, 0o755).await.expect("made");
    let command = Command::Mount {
        source: "tmpfs".into(),
        target,
        fs_type: "tmpfs".into(),
        options: vec![format!("size={size}")],
    };
    let record = host.run(&OnBehalf::default(), command).await.expect("it runs");
    assert!(record.succeeded(), "{}", record.output());
}

async fn configure(world: &World) {
    let class = json!({"metadata": {"name": "fast-disks"},
        "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "Immediate"});
    create(world, kind::STORAGE_CLASS, None, class).await;
    let map = format!("fast-disks:\n  hostDir: {DISCOVERY}\n  mountDir: {DISCOVERY}\n");
    let data = json!({"storageClassMap": map, "useNodeNameOnly": "true"});
    let config = json!({"metadata": {"name": "local-provisioner-config"}, "data": data});
    create(world, kind::CONFIG_MAP, Some("kube-system"), config).await;
}

/// Name, size and phase of every volume.
fn volumes(world: &World) -> Vec<(String, String, VolumePhase)> {
    world.mirror().read(|tables| {
        let volumes = tables.volumes.iter().map(|volume| {
            let size = volume.capacity.map(|size| size.to_string()).unwrap_or_default();
            (volume.meta.key.name.to_string(), size, volume.phase)
        });
        volumes.collect()
    })
}

#[test]
fn a_mount_becomes_a_volume_and_a_plain_directory_does_not() {
    World::run(async |world| {
        mount(&world, "vol1", "16m").await;
        let plain = format!("{DISCOVERY}/plain");
        Files(&*host(&world)).make_directories(&plain, 0o755).await.expect("made");
        configure(&world).await;
        world.clock.advance(ROUND).await;
        let name = pvdeck::controllers::local_provisioner::discover::volume_name(
            "vol1",
            "node-1",
            "fast-disks",
        );
        assert_eq!(volumes(&world), [(name, "16Mi".to_owned(), VolumePhase::Available)]);
        mount(&world, "vol2", "32m").await;
        world.clock.advance(ROUND).await;
        assert_eq!(volumes(&world).len(), 2, "found later");
        world.clock.advance(ROUND).await;
        assert_eq!(volumes(&world).len(), 2, "and only once");
    });
}

#[test]
fn a_released_volume_is_emptied_deleted_and_published_anew() {
    World::run(async |world| {
        mount(&world, "vol1", "16m").await;
        configure(&world).await;
        world.clock.advance(ROUND).await;
        let claim = json!({"metadata": {"name": "data"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "fast-disks",
            "resources": {"requests": {"storage": "10Mi"}}}});
        create(&world, kind::PERSISTENT_VOLUME_CLAIM, Some("default"), claim).await;
        assert_eq!(volumes(&world)[0].2, VolumePhase::Bound);
        let uid = |world: &World| {
            let name = volumes(world)[0].0.clone();
            world
                .mirror()
                .read(|t| t.volumes.get(&Key::cluster(name.as_str())).map(|v| v.meta.uid.clone()))
        };
        let before = uid(&world);
        let host = host(&world);
        let file = format!("{DISCOVERY}/vol1/left");
        Files(&*host).write(&file, b"x", 0o644).await.expect("written");
        delete_claim(&world, "data").await;
        assert_eq!(volumes(&world)[0].2, VolumePhase::Released);
        world.clock.advance(3 * ROUND).await;
        assert_eq!(volumes(&world)[0].2, VolumePhase::Available);
        assert_ne!(uid(&world), before, "another volume of that name");
        let left = Files(&*host).list(&format!("{DISCOVERY}/vol1")).await.expect("listed");
        assert!(left.is_empty(), "{left:?}");
    });
}
