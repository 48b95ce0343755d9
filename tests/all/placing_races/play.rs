//! Plays a schedule on an embedded cluster whose controllers may die.

use std::sync::Arc;
use std::time::Duration;

use pvdeck::cluster::clock::ManualClock;
use pvdeck::cluster::embedded::Embedded;
use pvdeck::controllers::host;
use pvdeck::model::kind::{self, Kind};
use pvdeck::model::write::Change;
use pvdeck::session::Session;
use serde_json::{Value, json};

use super::Coverage;
use super::acts::{Act, FIRST_PROVISIONED, NAMES, NODES};
use super::judge::Judge;
use crate::bare_cluster::{self, BareCluster};
use crate::by_hand::{ByHand, reference};
use crate::crash::{Fault, Plan, faulty};

const SELECTED: &str = "volume.kubernetes.io/selected-node";
/// Longer than any pause of the controllers but resyncs.
const ROUND: Duration = Duration::from_secs(16);
/// Rounds without a write that count as rest, and the most there may be.
const QUIET: usize = 2;
const ROUNDS: usize = 40;

pub struct Play<'a> {
    pub clock: ManualClock,
    pub embedded: Embedded,
    user: kube::Client,
    session: Option<Session>,
    plan: Arc<Plan>,
    pub coverage: &'a Coverage,
    pub judge: Judge,
}

impl<'a> Play<'a> {
    /// Three nodes with a volume each, a claim of every name, a class of local
    /// volumes and one that is provisioned.
    pub async fn started(coverage: &'a Coverage) -> Self {
        let BareCluster { clock, embedded, user } = BareCluster::new();
        let (plan, judge) = (Arc::default(), Judge::default());
        let mut play = Self { clock, embedded, user, session: None, plan, coverage, judge };
        play.open(None);
        for (name, provisioner) in
            [("local", "kubernetes.io/no-provisioner"), ("fast", "csi.example")]
        {
            let class = json!({"metadata": {"name": name}, "provisioner": provisioner,
                "volumeBindingMode": "WaitForFirstConsumer"});
            play.user.create_if_missing(kind::STORAGE_CLASS, class).await;
        }
        for name in 0..NAMES {
            play.claim(name, 1).await;
        }
        for node in 0..NODES.len() {
            play.node(node).await;
            play.volume(node, node, 2).await;
        }
        play.clock.idle().await;
        play
    }

    /// New controllers, which know only what the cluster holds.
    fn open(&mut self, fault: Option<Fault>) {
        drop(self.session.take());
        self.plan = Plan::new(fault);
        let base = faulty(self.embedded.base(), self.plan.clone());
        let controllers = Some(host::Options::default());
        self.session = Some(bare_cluster::start(&self.embedded, &self.clock, base, controllers));
    }

    fn gate(&self) -> &pvdeck::cluster::write_path::step_gate::StepGate {
        self.session.as_ref().expect("they run").path.gate()
    }

    pub async fn act(&mut self, act: &Act) {
        match act {
            Act::Pod { name, claims, only } => self.pod(*name, *claims, *only).await,
            Act::Claim { name, gib } => self.claim(*name, *gib).await,
            Act::Volume { name, node, gib } => self.volume(*name, *node, *gib).await,
            Act::DropPod(name) => self.drop_pod(*name).await,
            Act::DropClaim(name) => {
                self.remove(kind::PERSISTENT_VOLUME_CLAIM, &format!("c{name}")).await;
            }
            Act::DropVolume(name) => {
                self.remove(kind::PERSISTENT_VOLUME, &format!("v{name}")).await
            }
            Act::DropNode(node) => self.remove(kind::NODE, NODES[*node]).await,
            Act::ReturnNode(node) => self.node(*node).await,
            Act::Provision => self.provision(false).await,
            Act::Reject => self.provision(true).await,
            Act::Hold => self.gate().shut(),
            Act::Pass(count) => {
                for _ in 0..*count {
                    self.clock.idle().await;
                    self.gate().pass_one();
                }
            }
            Act::Open => self.gate().open(),
            Act::Crash { after, way } => self.open(Some(Fault::Write(*after, *way))),
            Act::Wait { seconds } => self.clock.advance(Duration::from_secs(*seconds)).await,
        }
        self.clock.idle().await;
        self.bury();
    }

    /// New controllers in the place of dead ones.
    fn bury(&mut self) {
        if self.plan.take_failed_write().is_some() {
            Coverage::count(&self.coverage.crashes);
        }
        if self.plan.process.is_dead() {
            self.open(None);
        }
    }

    /// Deletes at once, whatever would keep it.
    async fn remove(&self, kind: &'static Kind, name: &str) {
        let object = reference(kind, name);
        let free = json!({"metadata": {"finalizers": null}});
        let options = json!({"gracePeriodSeconds": 0});
        for change in [Change::Merge(free), Change::Delete(options)] {
            self.user.write_if_it_can_be(&object, None, change).await;
        }
    }

    async fn drop_pod(&self, name: usize) {
        self.remove(kind::POD, &format!("p{name}")).await;
    }

    async fn node(&self, node: usize) {
        let name = NODES[node];
        let allocatable = json!({"cpu": "64", "memory": "64Gi", "pods": "110"});
        let object = json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "status": {"capacity": allocatable, "allocatable": allocatable,
                "conditions": [{"type": "Ready", "status": "True"}]},
        });
        self.user.create_if_missing(kind::NODE, object).await;
    }

    async fn pod(&self, name: usize, claims: (usize, usize), only: Option<usize>) {
        let mut claims = vec![claims.0, claims.1];
        claims.dedup();
        let volume = |claim: &usize| {
            json!({"name": format!("c{claim}"),
                "persistentVolumeClaim": {"claimName": format!("c{claim}")}})
        };
        let mut pod = json!({
            "metadata": {"name": format!("p{name}"), "namespace": "default"},
            "spec": {"containers": [{"name": "main", "image": "busybox:1.35"}],
                // No kubelet tells that the nodes are well.
                "tolerations": [{"operator": "Exists"}],
                "volumes": claims.iter().map(volume).collect::<Vec<_>>()},
        });
        if let Some(node) = only {
            pod["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": NODES[node]});
        }
        self.user.create_if_missing(kind::POD, pod).await;
    }

    async fn claim(&self, name: usize, gib: u32) {
        let class = if name < FIRST_PROVISIONED { "local" } else { "fast" };
        let claim = json!({
            "metadata": {"name": format!("c{name}"), "namespace": "default"},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
                "resources": {"requests": {"storage": format!("{gib}Gi")}}},
        });
        self.user.create_if_missing(kind::PERSISTENT_VOLUME_CLAIM, claim).await;
    }

    async fn volume(&self, name: usize, node: usize, gib: u32) {
        let volume = json!({
            "metadata": {"name": format!("v{name}")},
            "spec": {"capacity": {"storage": format!("{gib}Gi")},
                "accessModes": ["ReadWriteOnce"], "storageClassName": "local",
                "local": {"path": format!("/disks/v{name}")},
                "nodeAffinity": affinity(NODES[node])},
        });
        self.user.create_if_missing(kind::PERSISTENT_VOLUME, volume).await;
    }

    /// What a provisioner does for the claims that ask for it: a volume on the
    /// selected node, or the node is rejected, as always where it is gone.
    async fn provision(&self, reject: bool) {
        for claim in self.user.list(kind::PERSISTENT_VOLUME_CLAIM).await {
            let metadata = &claim["metadata"];
            let asks = metadata["annotations"]["volume.kubernetes.io/storage-provisioner"]
                == "csi.example"
                && claim["spec"]["volumeName"].as_str().unwrap_or_default().is_empty();
            let Some(node) = metadata["annotations"][SELECTED].as_str().filter(|_| asks) else {
                continue;
            };
            let (name, uid) = (text(&metadata["name"]), text(&metadata["uid"]));
            let there = self.user.list(kind::NODE).await;
            let there = there.iter().any(|row| row["metadata"]["name"] == node);
            if reject || !there {
                Coverage::count(&self.coverage.rejected);
                let off = json!({"metadata": {"annotations": {SELECTED: null}}});
                let object = reference(kind::PERSISTENT_VOLUME_CLAIM, &name);
                self.user.write_if_it_can_be(&object, None, Change::Merge(off)).await;
                continue;
            }
            Coverage::count(&self.coverage.provisioned);
            let volume = json!({
                "metadata": {"name": format!("pvc-{uid}")},
                "spec": {"capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
                    "accessModes": ["ReadWriteOnce"], "storageClassName": "fast",
                    "csi": {"driver": "csi.example", "volumeHandle": uid},
                    "nodeAffinity": affinity(node),
                    "claimRef": {"kind": "PersistentVolumeClaim", "apiVersion": "v1",
                        "namespace": "default", "name": name, "uid": uid}},
            });
            self.user.create_if_missing(kind::PERSISTENT_VOLUME, volume).await;
        }
    }

    pub fn judge(&mut self) -> Result<(), String> {
        self.judge.look(&self.embedded, self.coverage)
    }

    /// Faults stop, nodes return, the provisioner delivers: it has to get quiet.
    pub async fn come_to_rest(&mut self) -> Result<(), String> {
        self.bury();
        self.open(None);
        for node in 0..NODES.len() {
            self.node(node).await;
        }
        let mut quiet = 0;
        for _ in 0..ROUNDS {
            let before = self.embedded.revision();
            self.clock.idle().await;
            self.provision(false).await;
            self.clock.advance(ROUND).await;
            let commits = self.embedded.commits_after(before);
            let counts = |kind: &'static Kind| {
                [kind::POD, kind::PERSISTENT_VOLUME, kind::PERSISTENT_VOLUME_CLAIM].contains(&kind)
            };
            quiet = if commits.iter().any(|commit| counts(commit.kind)) { 0 } else { quiet + 1 };
            if quiet == QUIET {
                return Ok(());
            }
        }
        Err(format!("no rest in {ROUNDS} rounds"))
    }

    /// Every pod without a node must have a reason: the nodes, claims and
    /// volumes there are, tried one by one.
    pub async fn unplaced(&self) -> (Vec<Value>, Vec<Value>, Vec<Value>) {
        let pods = self.user.list(kind::POD).await;
        let waiting = pods.into_iter().filter(|pod| pod["spec"]["nodeName"].is_null());
        (
            waiting.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).collect(),
            self.user.list(kind::PERSISTENT_VOLUME_CLAIM).await,
            self.user.list(kind::PERSISTENT_VOLUME).await,
        )
    }

    pub async fn why_not_all_that_fits_is_placed(&self) -> Result<(), String> {
        let (pods, claims, volumes) = self.unplaced().await;
        for pod in pods {
            Coverage::count(&self.coverage.left_over);
            if let Some(node) = super::judge::fits_on(&pod, &claims, &volumes) {
                let status = &pod["status"];
                let name = &pod["metadata"]["name"];
                return Err(format!("{name} fits on {node} and is not placed: {status}"));
            }
        }
        Ok(())
    }
}

fn affinity(node: &str) -> Value {
    let expression = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node]});
    json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}})
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
