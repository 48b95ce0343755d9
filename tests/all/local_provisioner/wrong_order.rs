//! What becomes of a disk when things are deleted in the wrong order, or the
//! disk is taken away (workloads 14).

use pvdeck::diagnosis;
use pvdeck::model::kind;
use pvdeck::model::object::{Key, ObjectRef};
use pvdeck::model::volume::VolumePhase;
use pvdeck::plugins::host::{Command, Files, OnBehalf};
use serde_json::json;

use super::{DISCOVERY, ROUND, claim, claim_called, configure, host, mount, volumes};
use crate::by_hand::reference;
use crate::world::World;

const DISK: &str = "/mnt/fast-disks/vol1";

/// A disk with a file on it, its volume bound to claim `data`. The volume's
/// name.
async fn claimed(world: &World, policy: &str) -> String {
    mount(world, "vol1", "16m").await;
    configure(world).await;
    world.clock.advance(ROUND).await;
    claim(world, "data").await;
    world.clock.advance(ROUND).await;
    Files(&*host(world)).write(&format!("{DISK}/note"), b"x", 0o644).await.expect("written");
    let found = volumes(world);
    assert_eq!(found[0].2, VolumePhase::Bound);
    // The policy of the volume counts, not that of its class.
    let patch = json!({"spec": {"persistentVolumeReclaimPolicy": policy}});
    world.merge(&volume_called(&found[0].0), patch).await;
    found[0].0.clone()
}

fn volume_called(name: &str) -> ObjectRef {
    reference(kind::PERSISTENT_VOLUME, name)
}

async fn has_note(world: &World) -> bool {
    let found = Files(&*host(world)).look(&format!("{DISK}/note")).await;
    found.is_ok_and(|found| found.is_some())
}

async fn unmount(world: &World) {
    let command = Command::Unmount { target: DISK.into(), force: false };
    let record = host(world).run(&OnBehalf::default(), command).await.expect("it runs");
    assert!(record.succeeded(), "{}", record.output());
}

fn uid(world: &World, volume: &str) -> Option<String> {
    world.mirror().read(|tables| {
        tables.volumes.get(&Key::cluster(volume)).map(|row| row.meta.uid.to_string())
    })
}

fn phase(world: &World) -> Option<VolumePhase> {
    volumes(world).first().map(|(_, _, phase)| *phase)
}

/// Why a volume is as it is, and what helps.
fn said(world: &World, volume: &str) -> (Vec<String>, Option<String>) {
    let object = ObjectRef::new(kind::PERSISTENT_VOLUME, Key::cluster(volume));
    let found = world.mirror().read(|tables| diagnosis::find(tables, &object)).expect("found");
    (found.facts.into_iter().map(|fact| fact.text).collect(), found.next)
}

fn events(world: &World, reason: &str) -> Vec<String> {
    world.mirror().read(|tables| {
        let of = tables.events.iter().filter(|event| *event.reason == *reason);
        of.map(|event| event.message.to_string()).collect()
    })
}

#[test]
fn claim_deleted_while_the_disk_is_mounted_wipes_it_and_offers_it_again() {
    World::run(async |world| {
        let volume = claimed(&world, "Delete").await;
        let before = uid(&world, &volume);
        world.delete(&claim_called("data")).await;
        world.clock.advance(3 * ROUND).await;
        assert_eq!(phase(&world), Some(VolumePhase::Available));
        assert_ne!(uid(&world, &volume), before);
        assert!(!has_note(&world).await);
    });
}

#[test]
fn retained_volume_keeps_its_data_and_its_name_until_it_is_deleted_and_then_leaks_it() {
    World::run(async |world| {
        let volume = claimed(&world, "Retain").await;
        let before = uid(&world, &volume);
        world.delete(&claim_called("data")).await;
        world.clock.advance(3 * ROUND).await;
        assert_eq!(phase(&world), Some(VolumePhase::Released));
        assert_eq!(uid(&world, &volume), before, "nothing is found under that name");
        let (facts, next) = said(&world, &volume);
        assert_eq!(facts, ["its claim default/data is gone, and what is on it is kept"]);
        assert!(next.is_some_and(|next| next.starts_with("save or wipe what is on it, then")));
        // Deleted while the disk is still mounted: back at once, with what is on it.
        world.delete(&volume_called(&volume)).await;
        world.clock.advance(ROUND).await;
        assert_eq!(phase(&world), Some(VolumePhase::Available));
        assert!(has_note(&world).await, "the next claim can read it");
    });
}

#[test]
fn volume_deleted_while_bound_goes_with_its_claim_unwiped_and_comes_back() {
    World::run(async |world| {
        let volume = claimed(&world, "Delete").await;
        let before = uid(&world, &volume);
        world.delete(&volume_called(&volume)).await;
        world.clock.advance(3 * ROUND).await;
        assert_eq!(
            (phase(&world), uid(&world, &volume)),
            (Some(VolumePhase::Bound), before.clone())
        );
        let (facts, next) = said(&world, &volume);
        assert_eq!(facts, ["it is being deleted, and claim default/data is bound to it"]);
        assert_eq!(next.as_deref(), Some("delete claim default/data: the volume goes with it"));
        world.delete(&claim_called("data")).await;
        world.clock.advance(3 * ROUND).await;
        assert_eq!(phase(&world), Some(VolumePhase::Available));
        assert_ne!(uid(&world, &volume), before);
        assert!(has_note(&world).await, "what is being deleted is not cleaned");
    });
}

#[test]
fn finalizer_taken_off_by_hand_loses_the_claim_until_its_namesake_is_found() {
    World::run(async |world| {
        let volume = claimed(&world, "Delete").await;
        world.delete(&volume_called(&volume)).await;
        let bare = json!({"metadata": {"finalizers": null}});
        world.merge(&volume_called(&volume), bare).await;
        assert_eq!(events(&world, "ClaimLost").len(), 1);
        world.clock.advance(3 * ROUND).await;
        let claim = Key::new("default", "data");
        let state = world.mirror().read(|tables| {
            tables.claims.get(&claim).map(|row| (row.phase, row.volume_name.to_string()))
        });
        let bound = pvdeck::model::claim::ClaimPhase::Bound;
        assert_eq!(state, Some((bound, volume)), "a claim knows its volume by name only");
        assert!(has_note(&world).await);
    });
}

/// Goal B, step 4: the entry is gone, so nothing can be cleaned.
#[test]
fn disk_whose_entry_is_removed_keeps_its_volume_and_says_so_each_round() {
    World::run(async |world| {
        let volume = claimed(&world, "Delete").await;
        unmount(&world).await;
        Files(&*host(&world)).remove_directory(DISK).await.expect("removed");
        world.delete(&claim_called("data")).await;
        world.clock.advance(3 * ROUND).await;
        assert_eq!(phase(&world), Some(VolumePhase::Released));
        let told = events(&world, "VolumeFailedDelete");
        let expected = format!(
            "Error cleaning PV \"{volume}\": failed to get volume mode of path \"{DISK}\": "
        );
        assert!(
            told.iter().all(|said| said.starts_with(&expected)) && !told.is_empty(),
            "{told:?}"
        );
        assert!(said(&world, &volume).0.iter().any(|fact| fact.contains(&expected)));
        world.delete(&volume_called(&volume)).await;
        world.clock.advance(2 * ROUND).await;
        assert_eq!(phase(&world), None, "and nothing comes back");
    });
}

/// The same with the entry's directory left: it is cleaned in the disk's place.
#[test]
fn disk_that_is_unmounted_only_loses_its_volume_and_not_its_data() {
    World::run(async |world| {
        let volume = claimed(&world, "Delete").await;
        let state = world.machines().snapshot();
        unmount(&world).await;
        world.delete(&claim_called("data")).await;
        world.clock.advance(3 * ROUND).await;
        assert_eq!(uid(&world, &volume), None);
        assert_eq!(events(&world, "VolumeFailedDelete"), Vec::<String>::new());
        // A file system in memory goes with its mount: look at it as it was.
        world.machines().restore(state);
        assert!(has_note(&world).await);
    });
}

#[test]
fn volume_whose_disk_was_unmounted_stays_and_its_directory_makes_no_other() {
    World::run(async |world| {
        let volume = claimed(&world, "Delete").await;
        let before = uid(&world, &volume);
        unmount(&world).await;
        let plain = format!("{DISCOVERY}/plain");
        Files(&*host(&world)).make_directories(&plain, 0o755).await.expect("made");
        world.clock.advance(3 * ROUND).await;
        assert_eq!(volumes(&world).len(), 1);
        assert_eq!((phase(&world), uid(&world, &volume)), (Some(VolumePhase::Bound), before));
    });
}

#[test]
fn volumes_of_a_deleted_node_stay_and_their_pods_find_no_place() {
    World::run(async |world| {
        claimed(&world, "Delete").await;
        world.agents().stop("node-1");
        world.delete(&reference(kind::NODE, "node-1")).await;
        let pod = json!({"metadata": {"name": "web"}, "spec": {
            "containers": [{"name": "main", "image": "busybox:1.35"}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}});
        world.create(kind::POD, pod).await;
        world.clock.advance(ROUND).await;
        assert_eq!(phase(&world), Some(VolumePhase::Bound));
        let told = events(&world, "FailedScheduling");
        assert!(
            told.iter().any(|said| said.starts_with(
                "0/1 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity."
            )),
            "{told:?}"
        );
        let object = ObjectRef::new(kind::POD, Key::new("default", "web"));
        let found = world.mirror().read(|tables| diagnosis::find(tables, &object));
        let next = found.and_then(|found| found.next);
        assert_eq!(
            next.as_deref(),
            Some("add a volume on a node that the pod may use, or let it go where its volumes are")
        );
    });
}
