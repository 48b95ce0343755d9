//! One volume's life, with a death at each of its calls.

use pvdeck::model::kind;

use super::CALLS;
use super::cluster::{Cluster, NODES};
use crate::bare_cluster;
use crate::by_hand::ByHand;

/// Who dies.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Death {
    Driver,
    /// All controllers and agents, at once.
    Program,
    /// The agent of the pod's node.
    Agent,
}

/// What is asked for, one after the other.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Claim,
    Pod,
    Grow,
    DeletePod,
    DeleteClaim,
}

const STAGES: [Stage; 5] =
    [Stage::Claim, Stage::Pod, Stage::Grow, Stage::DeletePod, Stage::DeleteClaim];

/// So many timers at most until what is asked for has come.
const STEPS: usize = 1200;

struct Life {
    cluster: Cluster,
    rpc: &'static str,
    death: Death,
    has_died: bool,
}

impl Life {
    async fn ask(&self, stage: Stage) {
        match stage {
            Stage::Claim => self.cluster.claim(0).await,
            Stage::Pod => self.cluster.pod(0, NODES[0]).await,
            Stage::Grow => self.cluster.grow(0).await,
            Stage::DeletePod => self.cluster.delete_pod(0).await,
            Stage::DeleteClaim => self.cluster.delete_claim(0).await,
        }
    }

    async fn has_come(&self, stage: Stage) -> bool {
        let none = async |kind| self.cluster.play.user.list(kind).await.is_empty();
        match stage {
            Stage::Claim => self.cluster.is_bound(0).await,
            Stage::Pod | Stage::Grow => self.cluster.why_not_right().await.is_ok(),
            Stage::DeletePod => none(kind::POD).await && none(kind::VOLUME_ATTACHMENT).await,
            Stage::DeleteClaim => self.cluster.why_not_right().await.is_ok(),
        }
    }

    /// Whoever is to die does so while the call is under way.
    fn kill_if_under_way(&mut self) {
        if self.has_died || !self.cluster.open_calls().contains(&self.rpc) {
            return;
        }
        self.has_died = true;
        match self.death {
            Death::Driver => {}
            Death::Program => self.cluster.play.restart(),
            Death::Agent => {
                self.cluster.play.agents().stop(NODES[0]);
                self.cluster.play.agents().start(NODES[0]);
            }
        }
    }

    async fn live(&mut self) -> Result<(), String> {
        for stage in STAGES {
            self.ask(stage).await;
            let mut steps = 0;
            while !self.has_come(stage).await {
                if steps == STEPS {
                    let why = self.cluster.why_not_right().await;
                    return Err(format!("{stage:?} does not come: {why:?}"));
                }
                steps += 1;
                self.cluster.play.clock.step().await;
                self.kill_if_under_way();
                let made = self.cluster.play.csi().drivers[0].state().volumes.len();
                if made > 1 {
                    return Err(format!("{made} volumes were made"));
                }
            }
        }
        let calls = self.cluster.play.csi().calls.all();
        let struck = calls.iter().any(|call| call.rpc == self.rpc && call.code != "OK");
        if !struck || (self.death != Death::Driver && !self.has_died) {
            return Err("nobody died".to_owned());
        }
        self.cluster.converge().await
    }
}

fn live(rpc: &'static str, death: Death, effect: &str) -> Result<(), String> {
    bare_cluster::run(async {
        let cluster = Cluster::new().await;
        cluster.add_fault(rpc, effect);
        Life { cluster, rpc, death, has_died: false }.live().await
    })
}

#[test]
fn a_death_at_any_call_loses_leaks_and_doubles_no_volume() {
    let mut wrong = Vec::new();
    for rpc in CALLS {
        // The call has no effect yet, or has had it.
        let ways = [
            (Death::Driver, ["crash-before", "crash-after"]),
            (Death::Program, ["hang", "hang-after"]),
            (Death::Agent, ["hang", "hang-after"]),
        ];
        let mortal = |death: Death| death != Death::Agent || rpc.starts_with("Node");
        for (death, effects) in ways.into_iter().filter(|(death, _)| mortal(*death)) {
            for effect in effects {
                if let Err(why) = live(rpc, death, effect) {
                    wrong.push(format!("{rpc} {death:?} {effect}: {why}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
