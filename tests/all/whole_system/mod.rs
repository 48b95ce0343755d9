//! Everything at once: all hosted controllers and the agents of three nodes on
//! simulated machines, under random schedules of pods that come and go, nodes
//! that are lost and return, restarts of the program at any write and at any
//! operation on a machine, and plugins that fail or are slow.
//!
//! At every revision and after every operation ([`sound`]): nothing is attached
//! to two nodes that only one may have, nothing detached while mounted, nothing
//! unmounted under a running pod, nothing formatted that holds a filesystem.
//! When faults stop, what can run runs, and when it is deleted nothing is left.

mod ending;
mod objects;
mod play;
mod sound;

use std::cell::RefCell;
use std::collections::BTreeMap;

use proptest::prelude::*;
use pvdeck::plugins::host::command::Verb;
use pvdeck::plugins::host::simulated::World;
use pvdeck::plugins::host::simulated::mortal::When;

use crate::bare_cluster;
use crate::crash::{Fault, WAYS};
use crate::schedules::Schedules;
use play::Play;

const NODES: [&str; 3] = ["node-a", "node-b", "node-c"];

/// The disk that many nodes may have at once; part of its names.
const MANY: &str = "many";

/// The claims that pods use. The first node alone has the local volume.
const CLAIMS: [&str; 7] = ["disk", "other-disk", "one-pod", MANY, "device", "driven", "local"];

const PODS: usize = 6;

/// What a pod does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    /// Runs until it is told to end.
    Waits,
    /// Does not hear that it is told to end.
    IsDeaf,
    /// Ends by itself.
    Writes,
}

#[derive(Debug, Clone)]
enum Act {
    Pod {
        name: usize,
        node: Option<usize>,
        claims: (usize, usize),
        does: Does,
    },
    Delete {
        name: usize,
        by_force: bool,
    },
    /// Its machine no longer answers.
    Lose {
        node: usize,
    },
    Return {
        node: usize,
    },
    /// Someone says that a lost node will not come back by itself.
    GiveUp {
        node: usize,
    },
    Reboot {
        node: usize,
    },
    StopAgent {
        node: usize,
    },
    StartAgent {
        node: usize,
    },
    /// The program ends and is started again, with what will become of it.
    Restart {
        fate: Option<Fault>,
    },
    Fault {
        node: usize,
        verb: Verb,
        effect: usize,
        after: u32,
        times: u32,
    },
    Calm,
    Wait {
        seconds: u64,
    },
}

const VERBS: [Verb; 9] = [
    Verb::Probe,
    Verb::Format,
    Verb::Check,
    Verb::Mount,
    Verb::Unmount,
    Verb::LoopAttach,
    Verb::LoopDetach,
    Verb::WriteFiles,
    Verb::ReadFiles,
];

/// What becomes of a run of the program.
fn fate() -> impl Strategy<Value = Option<Fault>> {
    let at = |least, most| prop_oneof![3 => 0..least, 1 => least..most];
    let write = (at(6_usize, 25), proptest::sample::select(&WAYS[..]));
    let when = proptest::sample::select(&[When::Before, When::After][..]);
    let on_machine = (at(12_usize, 50), when);
    prop_oneof![
        2 => Just(None),
        3 => write.prop_map(|(at, way)| Some(Fault::Write(at, way))),
        3 => on_machine.prop_map(|(at, when)| Some(Fault::Machine(at, when))),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let (node, name, claim) = (0..NODES.len(), 0..PODS, 0..CLAIMS.len());
    let does =
        proptest::sample::select(&[Does::Waits, Does::Waits, Does::IsDeaf, Does::Writes][..]);
    let pod = (name.clone(), proptest::option::of(node.clone()), (claim.clone(), claim), does);
    let verb = proptest::sample::select(&VERBS[..]);
    let fault = (node.clone(), verb, 0..4_usize, 0..3_u32, 1..4_u32);
    let seconds = prop_oneof![3 => 0..4_u64, 3 => 4..20_u64, 2 => 40..130_u64, 1 => Just(420_u64)];
    prop_oneof![
        9 => pod.prop_map(|(name, node, claims, does)| Act::Pod { name, node, claims, does }),
        6 => (name, proptest::bool::weighted(0.2))
            .prop_map(|(name, by_force)| Act::Delete { name, by_force }),
        1 => node.clone().prop_map(|node| Act::Lose { node }),
        2 => node.clone().prop_map(|node| Act::Return { node }),
        1 => node.clone().prop_map(|node| Act::GiveUp { node }),
        1 => node.clone().prop_map(|node| Act::Reboot { node }),
        1 => node.clone().prop_map(|node| Act::StopAgent { node }),
        1 => node.prop_map(|node| Act::StartAgent { node }),
        5 => fate().prop_map(|fate| Act::Restart { fate }),
        4 => fault.prop_map(|(node, verb, effect, after, times)| {
            Act::Fault { node, verb, effect, after, times }
        }),
        1 => Just(Act::Calm),
        10 => seconds.prop_map(|seconds| Act::Wait { seconds }),
    ]
}

/// What the schedules came to, counted.
#[derive(Debug, Default)]
struct Covered(BTreeMap<&'static str, usize>);

impl Covered {
    fn add(&mut self, what: &'static str, count: usize) {
        *self.0.entry(what).or_default() += count;
    }
}

/// What so many cases come to at least; far less than they do.
const FLOOR: &[(&str, usize)] = &[
    ("pods that ran", 10),
    ("killed at an operation on a machine", 1),
    ("operations on machines", 500),
    ("looks at the machines", 500),
    ("revisions", 1000),
    ("nodes lost", 1),
    ("nodes out of service", 1),
    ("reboots", 1),
    ("agents stopped", 1),
    ("refused as attached elsewhere", 1),
    ("failed mounts", 1),
];

const CASES: u32 = 8;

fn check(acts: &[Act], covered: &RefCell<Covered>) -> Result<(), String> {
    bare_cluster::run(async {
        let mut play = Play::new().await;
        for (at, act) in acts.iter().enumerate() {
            play.act(act).await;
            play.why_not_sound().map_err(|why| format!("{at} {act:?}: {why}"))?;
        }
        let ended = play.converge().await;
        if let Err(why) = &ended {
            println!("{why}");
        }
        play.count(&mut covered.borrow_mut());
        ended
    })
}

#[test]
fn whatever_happens_volumes_are_safe_and_all_comes_to_rest() {
    let covered = RefCell::new(Covered::default());
    let acts = proptest::collection::vec(act(), 10..45);
    // A schedule takes seconds: what fails is printed as it is.
    let schedules = Schedules { cases: CASES, cases_long: CASES * 20, shrinks_max: 0 };
    let outcome = schedules.play(&acts, |acts| check(acts, &covered));
    for (what, count) in &covered.borrow().0 {
        println!("{count:>7} {what}");
    }
    outcome.unwrap_or_else(|why| panic!("{why}"));
    let covered = covered.borrow();
    let too_few: Vec<_> = FLOOR
        .iter()
        .filter(|(what, least)| covered.0.get(what).copied().unwrap_or_default() < *least)
        .collect();
    assert!(too_few.is_empty(), "too little was covered: {too_few:?}");
}

/// What the watcher must see, done on purpose.
#[test]
fn what_is_done_to_volumes_behind_everyones_back_is_seen() {
    let wrong = |harm: fn(&World)| {
        bare_cluster::run(async {
            let mut play = Play::new().await;
            let claims = (0, 0);
            play.act(&Act::Pod { name: 0, node: Some(1), claims, does: Does::Waits }).await;
            play.act(&Act::Wait { seconds: 20 }).await;
            play.why_not_sound().expect("sound so far");
            harm(play.world());
            play.act(&Act::Wait { seconds: 1 }).await;
            play.why_not_sound().expect_err("it is seen")
        })
    };
    let detached = wrong(|world| {
        let mut state = world.snapshot();
        state.disk("disk").expect("a disk").attached.clear();
        world.restore(state);
    });
    assert!(detached.contains("disk was detached from node-b while mounted"), "{detached}");
    let attached = wrong(|world| {
        let mut state = world.snapshot();
        let disk = state.disk("disk").expect("a disk");
        disk.attached.insert("node-c".into(), "vdz".to_owned());
        world.restore(state);
    });
    assert!(attached.contains("disk is attached to"), "{attached}");
    let unmounted = wrong(|world| {
        let mut state = world.snapshot();
        let machine = state.machine("node-b").expect("a machine");
        machine.mounts.retain(|mounted| !mounted.entry.target.contains("/pods/"));
        world.restore(state);
    });
    assert!(unmounted.contains("was unmounted under pod"), "{unmounted}");
    let unstaged = wrong(|world| {
        let mut state = world.snapshot();
        let machine = state.machine("node-b").expect("a machine");
        machine.mounts.retain(|mounted| !mounted.entry.target.contains("/plugins/"));
        world.restore(state);
    });
    assert!(unstaged.contains("disk was unstaged under"), "{unstaged}");
}
