//! The local static provisioner on simulated nodes: from a mount to a volume
//! and, once its claim is gone, to a clean one again.

mod block;
mod schedules;
mod wrong_order;

use std::time::Duration;

use pvdeck::model::kind;
use pvdeck::model::object::{Key, ObjectRef};
use pvdeck::model::volume::VolumePhase;
use pvdeck::plugins::host::{Command, Files, Host, Hosts, OnBehalf};
use serde_json::json;
use std::sync::Arc;

use crate::by_hand::reference;
use crate::world::World;

const ROUND: Duration = Duration::from_secs(11);
const DISCOVERY: &str = "/mnt/fast-disks";

fn claim_called(name: &str) -> ObjectRef {
    reference(kind::PERSISTENT_VOLUME_CLAIM, name)
}

/// A claim that any volume of the class satisfies.
async fn claim(world: &World, name: &str) {
    let claim = json!({"metadata": {"name": name}, "spec": {
        "accessModes": ["ReadWriteOnce"], "storageClassName": "fast-disks",
        "resources": {"requests": {"storage": "10Mi"}}}});
    world.create(kind::PERSISTENT_VOLUME_CLAIM, claim).await;
}

fn host(world: &World) -> Arc<dyn Host> {
    world.machines().host("node-1").expect("a machine")
}

async fn mount(world: &World, name: &str, size: &str) {
    let host = host(world);
    let target = format!("{DISCOVERY}/{name}");
    Files(&*host).make_directories(&target, 0o755).await.expect("made");
    let command = Command::tmpfs("tmpfs", target, vec![format!("size={size}")]);
    let record = host.run(&OnBehalf::default(), command).await.expect("it runs");
    assert!(record.succeeded(), "{}", record.output());
}

async fn configure(world: &World) {
    let class = json!({"metadata": {"name": "fast-disks"},
        "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "Immediate"});
    world.create(kind::STORAGE_CLASS, class).await;
    let map = format!("fast-disks:\n  hostDir: {DISCOVERY}\n  mountDir: {DISCOVERY}\n");
    let data = json!({"storageClassMap": map, "useNodeNameOnly": "true"});
    let name = json!({"name": "local-provisioner-config", "namespace": "kube-system"});
    world.create(kind::CONFIG_MAP, json!({"metadata": name, "data": data})).await;
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
        claim(&world, "data").await;
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
        world.delete(&claim_called("data")).await;
        assert_eq!(volumes(&world)[0].2, VolumePhase::Released);
        world.clock.advance(3 * ROUND).await;
        assert_eq!(volumes(&world)[0].2, VolumePhase::Available);
        assert_ne!(uid(&world), before, "another volume of that name");
        let left = Files(&*host).list(&format!("{DISCOVERY}/vol1")).await.expect("listed");
        assert!(left.is_empty(), "{left:?}");
    });
}
