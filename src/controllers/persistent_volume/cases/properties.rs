//! What holds whatever happens: in small worlds, with an oracle simpler than
//! the code.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::{Value, json};

use super::notation::{self, Names};
use super::world::{Fault, World, block_on};
use crate::controllers::work_loop::Reconciler;
use crate::model::claim::Claim;
use crate::model::fit::{self, Fit, Misfit, Search};
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::volume::Volume;

/// The choice by looking at every volume: fewest modes, then reserved, then
/// smallest, then by name.
pub fn choose<'a>(
    volumes: impl Iterator<Item = &'a Arc<Volume>>,
    claim: &Claim,
    search: &Search<'_>,
) -> Option<Arc<str>> {
    let mut volumes: Vec<_> = volumes.collect();
    volumes.sort_by_key(|volume| {
        (
            volume.access_modes.len(),
            volume.access_modes,
            volume.capacity,
            volume.meta.key.name.clone(),
        )
    });
    let mut free: Option<&Arc<Volume>> = None;
    for volume in volumes {
        if free.is_some_and(|free| free.access_modes != volume.access_modes) {
            break;
        }
        match fit::why_not_fit(claim, volume, search) {
            Ok(Fit::Reserved) => return Some(volume.meta.key.name.clone()),
            Err(Misfit::ReservedElsewhere) => return None,
            Ok(Fit::Free) => free = free.or(Some(volume)),
            Err(_) => {}
        }
    }
    free.map(|volume| volume.meta.key.name.clone())
}

/// Something that happens to a small cluster.
#[derive(Debug, Clone)]
enum Act {
    AddVolume {
        n: usize,
        gib: u8,
        modes: usize,
        class: usize,
        block: bool,
        reserved: Option<usize>,
    },
    AddClaim {
        n: usize,
        gib: u8,
        modes: usize,
        class: usize,
        block: bool,
        named: Option<usize>,
    },
    DeleteVolume(usize),
    DeleteClaim(usize),
    /// An admin takes a volume's reference to its claim away.
    LetGo(usize),
    /// An admin points a volume at a claim, with its uid or without.
    Reserve {
        volume: usize,
        claim: usize,
        uid: bool,
    },
    /// The watch shows volumes, claims, or both.
    See {
        volumes: bool,
        claims: bool,
    },
    /// So many passes.
    Work(usize),
    /// The next writes go wrong in this way.
    Fail(Fault, usize),
    Restart,
}

const MODES: [&str; 4] = ["RWO", "RWO,ROX", "RWX", "RWO,ROX,RWX"];
const CLASSES: [&str; 2] = ["", "gold"];

fn act() -> impl Strategy<Value = Act> {
    let volume = (0..5_usize, 1..5_u8, 0..4_usize, class(), prop::bool::weighted(0.1), edge());
    let claim = (0..5_usize, 1..5_u8, 0..4_usize, class(), prop::bool::weighted(0.1), edge());
    let fault = prop_oneof![Just(Fault::Error), Just(Fault::LostAnswer), Just(Fault::Conflict)];
    prop_oneof![
        4 => volume.prop_map(|(n, gib, modes, class, block, reserved)| {
            Act::AddVolume { n, gib, modes, class, block, reserved }
        }),
        4 => claim.prop_map(|(n, gib, modes, class, block, named)| {
            Act::AddClaim { n, gib, modes, class, block, named }
        }),
        1 => (0..5_usize).prop_map(Act::DeleteVolume),
        2 => (0..5_usize).prop_map(Act::DeleteClaim),
        1 => (0..5_usize).prop_map(Act::LetGo),
        2 => (0..5_usize, 0..5_usize, prop::bool::weighted(0.7)).prop_map(|(volume, claim, uid)| {
            Act::Reserve { volume, claim, uid }
        }),
        2 => any::<(bool, bool)>().prop_map(|(volumes, claims)| Act::See { volumes, claims }),
        3 => Just(Act::See { volumes: true, claims: true }),
        5 => (1..12_usize).prop_map(Act::Work),
        2 => (fault, 1..3_usize).prop_map(|(fault, times)| Act::Fail(fault, times)),
        1 => Just(Act::Restart),
    ]
}

/// Mostly the same class, so that most can meet.
fn class() -> impl Strategy<Value = usize> {
    prop::bool::weighted(0.15).prop_map(usize::from)
}

/// A partner named in advance, sometimes.
fn edge() -> impl Strategy<Value = Option<usize>> {
    prop::option::weighted(0.25, 0..5_usize)
}

fn volume_ref(n: usize) -> ObjectRef {
    ObjectRef::new(kind::PERSISTENT_VOLUME, Key::cluster(format!("v{n}")))
}

fn claim_ref(n: usize) -> ObjectRef {
    ObjectRef::new(kind::PERSISTENT_VOLUME_CLAIM, Key::new("default", format!("claim-{n}")))
}

/// Plays one act; `life` tells namesakes of different lives apart.
fn play(world: &mut World, act: &Act, life: usize) {
    match act {
        Act::AddVolume { n, gib, modes, class, block, reserved } => {
            let names = Names { id: String::new() };
            let mode = if *block { "Block" } else { "Filesystem" };
            let mut cell = format!(
                "{gib}Gi Pending modes={} class={} {mode} uid=v{n}-{life}",
                MODES[*modes], CLASSES[*class]
            );
            if let Some(claim) = reserved {
                cell += &format!(" ref=claim-{claim}/-");
            }
            if world.server.object(&volume_ref(*n)).is_none() {
                world.server.put(notation::volume(&names, &format!("v{n}"), &cell, None));
            }
        }
        Act::AddClaim { n, gib, modes, class, block, named } => {
            let names = Names { id: format!("-{n}") };
            let mode = if *block { "Block" } else { "Filesystem" };
            let mut cell = format!(
                "{gib}Gi Pending modes={} class={} {mode} uid=c{n}-{life}",
                MODES[*modes], CLASSES[*class]
            );
            if let Some(volume) = named {
                cell += &format!(" vol=v{volume}");
            }
            if world.server.object(&claim_ref(*n)).is_none() {
                world.server.put(notation::claim(&names, &cell, None));
            }
        }
        Act::DeleteVolume(n) => {
            world.server.lock().objects.remove(&volume_ref(*n));
        }
        Act::DeleteClaim(n) => {
            world.server.lock().objects.remove(&claim_ref(*n));
        }
        Act::LetGo(n) => {
            if let Some(mut volume) = world.server.object(&volume_ref(*n)) {
                volume["spec"]["claimRef"] = Value::Null;
                world.server.put(volume);
            }
        }
        Act::Reserve { volume, claim, uid } => {
            let found = world.server.object(&claim_ref(*claim));
            let uid = found.filter(|_| *uid).map(|claim| claim["metadata"]["uid"].clone());
            if let Some(mut object) = world.server.object(&volume_ref(*volume)) {
                object["spec"]["claimRef"] = json!({"kind": "PersistentVolumeClaim",
                    "apiVersion": "v1", "namespace": "default", "name": format!("claim-{claim}"),
                    "uid": uid});
                world.server.put(object);
            }
        }
        Act::See { volumes, claims } => {
            world.refresh_only(&|kind| {
                *volumes && kind == kind::PERSISTENT_VOLUME
                    || *claims && kind == kind::PERSISTENT_VOLUME_CLAIM
            });
        }
        Act::Work(passes) => {
            for object in world.controller.everything().into_iter().take(*passes) {
                block_on(world.sync(&object, |_| {}));
                invariants(world);
            }
        }
        Act::Fail(fault, times) => {
            world.server.lock().faults = vec![Some(*fault); *times].into();
        }
        Act::Restart => {
            world.restart();
            world.refresh();
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What holds at every moment: no two claims that the controller has bound
/// share a volume whose reference names both.
#[track_caller]
fn invariants(world: &World) {
    let state = world.server.lock();
    let mut owners = std::collections::HashMap::new();
    for (object, claim) in &state.objects {
        if object.kind != kind::PERSISTENT_VOLUME_CLAIM || claim["status"]["phase"] != "Bound" {
            continue;
        }
        let name = text(&claim["spec"]["volumeName"]).to_owned();
        let volume =
            state.objects.get(&ObjectRef::new(kind::PERSISTENT_VOLUME, Key::cluster(&*name)));
        let owned = volume
            .is_some_and(|volume| volume["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]);
        if owned && let Some(other) = owners.insert(name.clone(), object.clone()) {
            panic!("`{name}` belongs to {other} and {object}");
        }
    }
}

/// What holds once all is calm.
#[track_caller]
fn at_the_end(world: &World) {
    invariants(world);
    let state = world.server.lock();
    let of = |wanted| state.objects.iter().filter(move |(object, _)| object.kind == wanted);
    for (object, claim) in of(kind::PERSISTENT_VOLUME_CLAIM) {
        let name = text(&claim["spec"]["volumeName"]);
        let volume =
            state.objects.get(&ObjectRef::new(kind::PERSISTENT_VOLUME, Key::cluster(name)));
        match text(&claim["status"]["phase"]) {
            "Bound" => {
                let volume = volume.unwrap_or_else(|| panic!("{object} is Bound to nothing"));
                assert_eq!(volume["spec"]["claimRef"]["uid"], claim["metadata"]["uid"], "{object}");
                assert_eq!(volume["status"]["phase"], "Bound", "{object}");
                assert_eq!(volume["spec"]["accessModes"], claim["status"]["accessModes"]);
            }
            "Pending" if name.is_empty() => {
                let suiting = of(kind::PERSISTENT_VOLUME).find(|(_, volume)| suits(volume, claim));
                assert!(suiting.is_none(), "{object} is Pending beside {suiting:?}");
            }
            "Pending" => {
                let free = volume.is_some_and(|volume| {
                    volume["spec"]["claimRef"].is_null() && suits(volume, claim)
                });
                assert!(!free, "{object} names {name}, which suits");
            }
            "Lost" => {
                let owned = volume.is_some_and(|volume| {
                    volume["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]
                });
                assert!(!owned, "{object} is Lost beside its volume");
            }
            other => panic!("{object} is {other}"),
        }
    }
}

/// The oracle: whether a free volume suits a claim, on plain values.
fn suits(volume: &Value, claim: &Value) -> bool {
    let gib = |value: &Value| -> u8 {
        text(value).trim_end_matches("Gi").parse().expect("whole gibibytes")
    };
    let modes = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().map(|mode| text(mode).to_owned()).collect()
    };
    let offered = modes(&volume["spec"]["accessModes"]);
    volume["spec"]["claimRef"].is_null()
        && volume["status"]["phase"] == "Available"
        && gib(&volume["spec"]["capacity"]["storage"])
            >= gib(&claim["spec"]["resources"]["requests"]["storage"])
        && modes(&claim["spec"]["accessModes"]).iter().all(|mode| offered.contains(mode))
        && volume["spec"]["storageClassName"] == claim["spec"]["storageClassName"]
        && volume["spec"]["volumeMode"] == claim["spec"]["volumeMode"]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        max_shrink_iters: 2000,
        // The same worlds each time.
        rng_seed: RngSeed::Fixed(2),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_each_pair_agrees_once_all_is_calm(
        acts in prop::collection::vec(act(), 1..60),
    ) {
        let mut world = World::new(false, true);
        for (life, act) in acts.iter().enumerate() {
            play(&mut world, act, life);
        }
        world.server.lock().faults.clear();
        prop_assert!(block_on(world.settle()), "it settles");
        at_the_end(&world);
        let writes = world.writes();
        world.restart();
        prop_assert!(block_on(world.settle()), "it settles after a restart");
        prop_assert_eq!(world.writes(), writes, "a new controller finds nothing to do");
    }
}
