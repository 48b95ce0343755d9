//! Random schedules: pods come, go and move, nodes are lost and return, the
//! controller is restarted, machines fail and are slow. Nothing is ever
//! attached to two nodes that only one may have, nothing pulled away that is
//! mounted on a node in service, and when faults stop all is where it is wanted.

use proptest::prelude::*;
use pvdeck::plugins::host::CommandRecord;
use pvdeck::plugins::host::command::Verb;
use pvdeck::plugins::host::simulated::rules::{Effect, Rule};

use super::*;
use crate::schedules::Schedules;

const NODES: [&str; 3] = ["a", "b", "c"];
const VOLUMES: [&str; 4] = ["pv-1", "pv-2", "pv-3", "many-1"];

#[derive(Debug, Clone)]
enum Act {
    /// A pod with one or two volumes on a node.
    Pod {
        name: usize,
        node: usize,
        volumes: (usize, usize),
    },
    Delete {
        name: usize,
    },
    Kubelet {
        node: usize,
    },
    Lose {
        node: usize,
    },
    Return {
        node: usize,
    },
    Restart,
    Fault {
        node: usize,
        verb: bool,
        effect: usize,
    },
    Calm,
    Wait {
        seconds: u64,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let (node, name, volume) = (0..NODES.len(), 0..5_usize, 0..VOLUMES.len());
    prop_oneof![
        4 => (name.clone(), node.clone(), (volume.clone(), volume))
            .prop_map(|(name, node, volumes)| Act::Pod { name, node, volumes }),
        3 => name.prop_map(|name| Act::Delete { name }),
        6 => node.clone().prop_map(|node| Act::Kubelet { node }),
        1 => node.clone().prop_map(|node| Act::Lose { node }),
        1 => node.clone().prop_map(|node| Act::Return { node }),
        1 => Just(Act::Restart),
        2 => (node, any::<bool>(), 0..4_usize)
            .prop_map(|(node, verb, effect)| Act::Fault { node, verb, effect }),
        1 => Just(Act::Calm),
        4 => prop_oneof![Just(0), Just(1), Just(5), Just(70), Just(400)]
            .prop_map(|seconds| Act::Wait { seconds }),
    ]
}

/// Longer than any pause between two tries.
const PAUSE_AT_MOST: Duration = Duration::from_secs(130);

/// What is lost, and thus exempt.
#[derive(Default)]
struct Lost(HashSet<String>);

impl Play {
    async fn act(&mut self, act: &Act, lost: &mut Lost) {
        match act {
            Act::Pod { name, node, volumes: (one, other) } => {
                let pod = format!("pod-{name}");
                if self.user.get(&reference(kind::POD, &pod)).await.is_none() {
                    let mut claims = vec![VOLUMES[*one], VOLUMES[*other]];
                    claims.dedup();
                    self.pod(&pod, NODES[*node], &claims).await;
                }
            }
            Act::Delete { name } => self.delete(kind::POD, &format!("pod-{name}")).await,
            Act::Kubelet { node } => drop(self.kubelet(NODES[*node]).await),
            Act::Lose { node } => {
                self.kubelets.get_mut(NODES[*node]).expect("a kubelet").stopped = true;
                self.set_ready(NODES[*node], "Unknown").await;
                lost.0.insert(NODES[*node].to_owned());
            }
            Act::Return { node } => self.bring_back(NODES[*node], lost).await,
            Act::Restart => self.restart(),
            Act::Fault { node, verb, effect } => {
                let effect = match effect {
                    0 => Effect::Slow { milliseconds: 20_000 },
                    1 => Effect::Fail { exit: 1, output: "no".into() },
                    2 => Effect::Hang,
                    _ => Effect::LoseAnswer,
                };
                self.world.add_rule(Rule {
                    node: Some(NODES[*node].to_owned()),
                    verb: Some(if *verb { Verb::LoopAttach } else { Verb::LoopDetach }),
                    object: None,
                    after: 0,
                    times: Some(2),
                    effect,
                });
            }
            Act::Calm => self.world.calm(),
            Act::Wait { seconds } => self.clock.advance(Duration::from_secs(*seconds)).await,
        }
    }

    /// A node that was lost comes back: rebooted, so nothing is mounted.
    async fn bring_back(&mut self, node: &str, lost: &mut Lost) {
        if lost.0.remove(node) {
            let kubelet = self.kubelets.get_mut(node).expect("a kubelet");
            kubelet.stopped = false;
            kubelet.mounted.clear();
            self.set_in_use(node, &BTreeSet::new()).await;
            self.set_ready(node, "True").await;
        }
    }

    fn why_not_sound(&self, lost: &Lost) -> Option<String> {
        let state = self.world.snapshot();
        for (id, disk) in &state.disks {
            if !id.starts_with("many") && disk.attached.len() > 1 {
                return Some(format!("{id} is at {:?}", disk.attached));
            }
        }
        for (node, kubelet) in self.kubelets.iter().filter(|(node, _)| !lost.0.contains(*node)) {
            for name in &kubelet.mounted {
                let id = name.rsplit('/').next().expect("a name");
                let disk = state.disks.get(id).expect("a disk");
                if !disk.attached.contains_key(node.as_str()) {
                    return Some(format!("{id} was pulled away from under {node}"));
                }
            }
        }
        self.overlapping_operations()
    }

    /// Two operations on one disk at the same time, if there were any.
    fn overlapping_operations(&self) -> Option<String> {
        let mut records: Vec<CommandRecord> = Vec::new();
        for node in NODES {
            records.extend(pvdeck::plugins::host::Host::records(&*self.world.add(node)));
        }
        for volume in VOLUMES.iter().filter(|volume| !volume.starts_with("many")) {
            let own = records.iter().filter(|record| *record.on_behalf.volume == *unique(volume));
            let running = own.filter(|record| record.ended.is_none()).count();
            if running > 1 {
                return Some(format!("{running} operations on {volume} at once"));
            }
        }
        None
    }

    async fn converge(&mut self, lost: &mut Lost) -> Result<(), String> {
        self.world.calm();
        for node in NODES {
            self.bring_back(node, lost).await;
        }
        // Of two nodes that want what one may have, one has to give way.
        let mut taken: BTreeMap<String, String> = BTreeMap::new();
        for pod in self.user.list(kind::POD).await {
            let name = pod["metadata"]["name"].as_str().expect("a name").to_owned();
            let node = pod["spec"]["nodeName"].as_str().expect("a node").to_owned();
            let volumes = pod["spec"]["volumes"].as_array().cloned().unwrap_or_default();
            let names: Vec<String> =
                volumes.iter().map(|v| v["name"].as_str().expect("a name").to_owned()).collect();
            let single = || names.iter().filter(|name| !name.starts_with("many"));
            if single().any(|name| taken.get(name).is_some_and(|held| *held != node)) {
                self.delete(kind::POD, &name).await;
            } else {
                taken.extend(single().map(|name| (name.clone(), node.clone())));
            }
        }
        // An attach may be tried, and refused, until the node that holds the
        // volume has said that it lets go: no quiet is asked for before.
        for _ in 0..12 {
            for node in NODES {
                self.kubelet(node).await;
            }
            self.clock.advance(PAUSE_AT_MOST).await;
        }
        self.work().await;
        for node in NODES {
            let wanted = self.wanted_on(node).await;
            let told = self.names(node, "volumesAttached").await;
            let mounted = &self.kubelets[node].mounted;
            if told != wanted || *mounted != wanted {
                return Err(format!(
                    "{node} wants {wanted:?}, is told {told:?}, mounts {mounted:?}"
                ));
            }
            let state = self.world.snapshot();
            let here = state.disks.iter().filter(|(_, disk)| disk.attached.contains_key(node));
            let here: BTreeSet<String> = here.map(|(id, _)| unique(id)).collect();
            if here != wanted {
                return Err(format!("{node} wants {wanted:?}, and has {here:?}"));
            }
        }
        Ok(())
    }
}

fn check(acts: &[Act]) -> Result<(), String> {
    run(async || {
        let mut play = Play::started(&NODES).await;
        for volume in VOLUMES {
            play.volume(volume).await;
        }
        let mut lost = Lost::default();
        for (at, act) in acts.iter().enumerate() {
            play.act(act, &mut lost).await;
            if let Some(why) = play.why_not_sound(&lost) {
                return Err(format!("after {at} {act:?}: {why}"));
            }
        }
        play.converge(&mut lost).await
    })
}

#[test]
fn any_schedule_keeps_volumes_safe_and_comes_to_rest() {
    let acts = proptest::collection::vec(act(), 5..60);
    Schedules { cases: 40, cases_long: 800, shrinks_max: 300 }
        .play(&acts, |acts| check(acts))
        .unwrap_or_else(|why| panic!("{why}"));
}

/// An attach whose answer was lost before a restart is known to nobody until
/// it is tried again, here first for another node.
#[test]
fn a_volume_attached_unknown_to_all_comes_free_when_its_node_lets_go() {
    check(&[
        Act::Pod { name: 2, node: 0, volumes: (2, 2) },
        Act::Fault { node: 2, verb: true, effect: 3 },
        Act::Pod { name: 1, node: 2, volumes: (0, 1) },
        Act::Wait { seconds: 1 },
        Act::Restart,
        Act::Kubelet { node: 2 },
        Act::Pod { name: 0, node: 0, volumes: (0, 0) },
    ])
    .expect("sound, and at rest");
}
