//! Random schedules: claims and pods come, grow and go while whoever dies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use proptest::prelude::*;

use super::CALLS;
use super::cluster::{Cluster, NODES};
use crate::bare_cluster;
use crate::schedules::Schedules;

const NAMES: usize = 3;

/// What becomes of a call: its driver dies, or is silent, or slow.
const EFFECTS: [&str; 6] =
    ["crash-before", "crash-after", "hang", "hang-after", "fail-after:Unavailable", "delay:3s"];

#[derive(Debug, Clone)]
enum Act {
    Claim {
        name: usize,
    },
    Pod {
        name: usize,
        node: usize,
    },
    DeletePod {
        name: usize,
    },
    /// Only of one that is bound: what is begun for one that goes before is
    /// remembered by the provisioner's process alone, as upstream.
    DeleteClaim {
        name: usize,
    },
    Grow {
        name: usize,
    },
    /// The next such call goes wrong.
    Fault {
        rpc: usize,
        effect: usize,
    },
    /// All controllers and agents die, and others come.
    Kill,
    /// The same at the next such call.
    KillAt {
        rpc: usize,
        had_effect: bool,
    },
    Agent {
        node: usize,
    },
    Steps {
        count: usize,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let (name, node, rpc) = (0..NAMES, 0..NODES.len(), 0..CALLS.len());
    let fault = (rpc.clone(), 0..EFFECTS.len());
    prop_oneof![
        4 => name.clone().prop_map(|name| Act::Claim { name }),
        4 => (name.clone(), node.clone()).prop_map(|(name, node)| Act::Pod { name, node }),
        2 => name.clone().prop_map(|name| Act::DeletePod { name }),
        2 => name.clone().prop_map(|name| Act::DeleteClaim { name }),
        3 => name.prop_map(|name| Act::Grow { name }),
        5 => fault.prop_map(|(rpc, effect)| Act::Fault { rpc, effect }),
        2 => Just(Act::Kill),
        4 => (rpc, any::<bool>()).prop_map(|(rpc, had_effect)| Act::KillAt { rpc, had_effect }),
        1 => node.prop_map(|node| Act::Agent { node }),
        9 => (1..20_usize).prop_map(|count| Act::Steps { count }),
    ]
}

/// What the schedules have met.
#[derive(Debug, Default)]
struct Met {
    calls: usize,
    bad_calls: usize,
    kills: usize,
    /// Kills by the call that was under way.
    killed_at: BTreeMap<&'static str, usize>,
    rpcs: BTreeSet<&'static str>,
}

struct Schedule<'a> {
    cluster: Cluster,
    /// Calls at which all die.
    traps: BTreeSet<&'static str>,
    met: &'a Mutex<Met>,
}

impl Schedule<'_> {
    async fn act(&mut self, act: &Act) {
        let cluster = &self.cluster;
        match act {
            Act::Claim { name } => cluster.claim(*name).await,
            Act::Pod { name, node } => cluster.pod(*name, NODES[*node]).await,
            Act::DeletePod { name } => cluster.delete_pod(*name).await,
            Act::DeleteClaim { name } => {
                if cluster.is_bound(*name).await {
                    cluster.delete_pod(*name).await;
                    cluster.delete_claim(*name).await;
                }
            }
            Act::Grow { name } => cluster.grow(*name).await,
            Act::Fault { rpc, effect } => {
                cluster.add_fault(CALLS[*rpc], EFFECTS[*effect]);
            }
            Act::Kill => self.kill(),
            Act::KillAt { rpc, had_effect } => {
                let effect = if *had_effect { "hang-after" } else { "hang" };
                cluster.add_fault(CALLS[*rpc], effect);
                self.traps.insert(CALLS[*rpc]);
            }
            Act::Agent { node } => {
                cluster.play.agents().stop(NODES[*node]);
                cluster.play.agents().start(NODES[*node]);
            }
            Act::Steps { count } => {
                for _ in 0..*count {
                    self.cluster.play.clock.step().await;
                    self.spring();
                }
            }
        }
    }

    /// A kill at a call that one was waiting for.
    fn spring(&mut self) {
        let open = self.cluster.open_calls();
        let sprung = open.into_iter().filter(|rpc| self.traps.remove(rpc)).count();
        if sprung > 0 {
            self.kill();
        }
    }

    fn kill(&mut self) {
        let mut met = self.met.lock().expect("met");
        met.kills += 1;
        for rpc in self.cluster.open_calls() {
            *met.killed_at.entry(rpc).or_default() += 1;
        }
        self.cluster.play.restart();
    }
}

fn check(acts: &[Act], met: &Mutex<Met>) -> Result<(), String> {
    bare_cluster::run(async {
        let mut schedule = Schedule { cluster: Cluster::new().await, traps: BTreeSet::new(), met };
        for act in acts {
            schedule.act(act).await;
        }
        let cluster = &schedule.cluster;
        let ended = match cluster.converge().await {
            Ok(()) => cluster.clear().await,
            wrong => wrong,
        };
        let mut met = met.lock().expect("met");
        for call in cluster.play.csi().calls.all() {
            met.calls += 1;
            met.bad_calls += usize::from(call.code != "OK");
            met.rpcs.insert(call.rpc);
        }
        ended
    })
}

#[test]
fn any_schedule_of_kills_leaves_each_claim_one_volume_and_no_volume_alone() {
    let met = Mutex::new(Met::default());
    let acts = proptest::collection::vec(act(), 8..40);
    let outcome = Schedules { cases: 16, cases_long: 320, shrinks_max: 100 }
        .play(&acts, |acts| check(acts, &met));
    let met = met.into_inner().expect("met");
    println!("{met:#?}");
    outcome.unwrap_or_else(|why| panic!("{why}"));
    assert!(met.rpcs.len() >= 12 && met.bad_calls >= 5, "too little met");
    assert!(met.kills >= 10 && met.killed_at.len() >= 3, "too little met");
}
