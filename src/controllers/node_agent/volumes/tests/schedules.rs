//! Random orders of pods that come and go, faults, restarts of the agent and of
//! the machine: nothing is ever unmounted under a running pod, nothing that
//! holds a filesystem is formatted, no device mount goes before its binds, and
//! when faults stop everything converges.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::node::{NODE, TestNode};
use crate::controllers::node_agent::volumes::NodeVolumes;
use crate::model::kind;
use crate::plugins::host::FileFault;
use crate::plugins::host::command::Verb;
use crate::plugins::host::simulated::rules::{Effect, Rule};
use crate::plugins::host::simulated::state::FsRef;

#[derive(Debug, Clone, Copy)]
enum Step {
    Want(usize),
    LetGo(usize),
    /// The next requests of a kind go wrong in one of four ways.
    Fault {
        verb: usize,
        effect: usize,
        after: u32,
    },
    Calm,
    Restart,
    Reboot,
    Lose,
    Find,
    Api {
        is_down: bool,
    },
    Advance {
        ms: u64,
    },
}

const VERBS: [Verb; 7] = [
    Verb::Probe,
    Verb::Format,
    Verb::Check,
    Verb::Mount,
    Verb::Unmount,
    Verb::WriteFiles,
    Verb::ReadFiles,
];

fn step() -> impl Strategy<Value = Step> {
    let fault = (0..VERBS.len(), 0..4usize, 0..3u32);
    prop_oneof![
        6 => (0..4usize).prop_map(Step::Want),
        5 => (0..4usize).prop_map(Step::LetGo),
        5 => fault.prop_map(|(verb, effect, after)| Step::Fault { verb, effect, after }),
        2 => Just(Step::Calm),
        3 => Just(Step::Restart),
        1 => Just(Step::Reboot),
        1 => Just(Step::Lose),
        2 => Just(Step::Find),
        1 => any::<bool>().prop_map(|is_down| Step::Api { is_down }),
        5 => (1..3000u64).prop_map(|ms| Step::Advance { ms }),
    ]
}

fn rule(verb: usize, effect: usize, after: u32) -> Rule {
    let verb = VERBS[verb];
    let is_file = matches!(verb, Verb::WriteFiles | Verb::ReadFiles);
    let effect = match effect {
        0 if is_file => Effect::FailFile(FileFault::NoSpace),
        0 => Effect::Fail { exit: 32, output: "it does not work".into() },
        1 => Effect::Hang,
        2 => Effect::LoseAnswer,
        _ => Effect::Slow { milliseconds: 700 },
    };
    Rule { node: None, verb: Some(verb), object: None, after, times: Some(2), effect }
}

/// Two pods share a disk, two want a volume that only one may have.
fn pod(number: usize) -> serde_json::Value {
    let claim = TestNode::of_claim;
    let volumes = match number {
        0 => vec![claim("data"), json!({"name": "tmp", "emptyDir": {"medium": "Memory"}})],
        1 => vec![claim("data"), json!({"name": "conf", "configMap": {"name": "conf"}})],
        2 => vec![claim("single")],
        _ => vec![claim("single"), claim("files")],
    };
    TestNode::pod(&uid(number), &volumes)
}

fn uid(number: usize) -> String {
    format!("u{number}")
}

struct Play {
    node: TestNode,
    /// Pods whose containers run: all their volumes were mounted once.
    running: BTreeSet<String>,
}

impl Play {
    async fn new() -> Self {
        let node = TestNode::new().await;
        node.manager.sources_ready();
        node.disk("data", &["ReadWriteOnce"], "Filesystem").await;
        node.disk("single", &["ReadWriteOncePod"], "Filesystem").await;
        node.claim("files", &["ReadWriteOnce"], "Filesystem", json!({"local": {"path": "/mnt"}}));
        let config = json!({"metadata": {"namespace": "shop", "name": "conf"}, "data": {"k": "v"}});
        node.objects.put(kind::CONFIG_MAP, config);
        Self { node, running: BTreeSet::new() }
    }

    async fn step(&mut self, step: Step) {
        let node = &mut self.node;
        match step {
            Step::Want(number) => node.want(pod(number)),
            Step::LetGo(number) => {
                node.let_go(&uid(number));
                self.running.remove(&uid(number));
            }
            Step::Fault { verb, effect, after } => {
                node.world.add_rule(rule(verb, effect, after));
            }
            Step::Calm => node.world.calm(),
            Step::Restart => self.restart().await,
            Step::Reboot => {
                // Nothing runs any more; the agent starts with the machine.
                self.running.clear();
                node.world.reboot(NODE);
                self.restart().await;
            }
            Step::Lose => node.world.lose(NODE),
            Step::Find => node.world.find_again(NODE),
            Step::Api { is_down } => *node.objects.is_down.lock().expect("objects") = is_down,
            Step::Advance { ms } => node.clock.advance(Duration::from_millis(ms)).await,
        }
        self.look().await;
    }

    async fn restart(&mut self) {
        self.node.restart().await;
        self.node.clock.idle().await;
        self.node.tell_all();
    }

    /// Pods with all their volumes start; then all must be as it should.
    async fn look(&mut self) {
        let node = &mut self.node;
        node.clock.idle().await;
        node.control().await;
        node.clock.idle().await;
        for (uid, pod) in &node.pods {
            let wanted = pod["spec"]["volumes"].as_array().map_or(0, Vec::len);
            if node.manager.mounted(uid).len() == wanted {
                self.running.insert(uid.clone());
            }
        }
        let state = node.world.snapshot();
        assert!(state.formatted_over.is_empty(), "formatted over");
        let machine = &state.machines[NODE];
        let table = machine.table();
        for uid in &self.running {
            for volume in node.pods[uid]["spec"]["volumes"].as_array().into_iter().flatten() {
                let name = volume["name"].as_str().unwrap_or_default();
                let end = format!("/{name}");
                let top = format!("/var/lib/kubelet/pods/{uid}/volumes/");
                let own = |m: &str| m.starts_with(&top) && m.ends_with(&end);
                let is_there = name == "conf" || table.0.iter().any(|mount| own(&mount.target));
                assert!(is_there, "{name} was unmounted under {uid}");
            }
        }
        for mounted in &machine.mounts {
            let FsRef::Disk(disk) = &mounted.fs else { continue };
            let staged = format!("/mounts/{disk}");
            let has_stage =
                |fs: &FsRef, target: &str| *fs == mounted.fs && target.ends_with(&staged);
            let is_staged = machine.mounts.iter().any(|m| has_stage(&m.fs, &m.entry.target));
            assert!(is_staged, "{disk} was unstaged under {}", mounted.entry.target);
            assert!(state.disks[disk].attached.contains_key(NODE), "detached while mounted");
        }
    }

    /// Faults stop: every pod gets its volumes, then all of it goes.
    async fn converge(&mut self) {
        self.node.world.calm();
        *self.node.objects.is_down.lock().expect("objects") = false;
        for _ in 0..4 {
            for uid in self.node.pods.keys().cloned().collect::<Vec<_>>() {
                // As the next sync of each pod does.
                let manager = self.node.manager.clone();
                let waiting = tokio::spawn(async move { manager.wait_mounted(&uid).await.is_ok() });
                self.node.settle().await;
                waiting.abort();
            }
            self.node.clock.advance(Duration::from_secs(125)).await;
            self.look().await;
            self.node.settle().await;
        }
        let wanted = self.node.pods.len();
        let one_too_many =
            usize::from(self.node.pods.contains_key("u2") && self.node.pods.contains_key("u3"));
        assert_eq!(self.running.len(), wanted - one_too_many, "{:#?}", self.node.manager.board());
        for uid in self.node.pods.keys().cloned().collect::<Vec<_>>() {
            self.node.let_go(&uid);
        }
        self.running.clear();
        for _ in 0..3 {
            self.node.settle().await;
            self.node.clock.advance(Duration::from_secs(125)).await;
        }
        self.node.settle().await;
        assert_eq!(self.node.why_not_clean().await, None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_volumes_stay_under_running_pods_and_all_converges(
        steps in proptest::collection::vec(step(), 1..30)
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let mut play = Play::new().await;
            for step in steps {
                play.step(step).await;
            }
            play.converge().await;
        });
    }
}
