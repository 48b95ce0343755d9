//! A cluster whose volumes are a driver's, and what must be true of it.

use std::collections::BTreeSet;
use std::time::Duration;

use pvdeck::model::kind::{self, Kind};
use pvdeck::model::write::Change;
use serde_json::{Value, json};

use crate::by_hand::{ByHand, reference};
use crate::crash::Play;

const DRIVER: &str = "csi.pvdeck.dev";
pub const NODES: [&str; 2] = ["node-1", "node-2"];

/// So often all is looked at, so far apart: longer than any deadline and any
/// pause between two tries.
const ROUNDS: usize = 16;
const ROUND: Duration = Duration::from_secs(165);

/// A cluster with claims and pods of the same numbers.
pub struct Cluster {
    pub play: Play,
}

impl Cluster {
    pub async fn new() -> Self {
        let play = Play::with_driver(DRIVER, &NODES);
        let cluster = Self { play };
        for node in NODES {
            let labels = json!({"kubernetes.io/hostname": node});
            cluster.create(kind::NODE, node, json!({"metadata": {"labels": labels}})).await;
        }
        let class = json!({"provisioner": DRIVER, "allowVolumeExpansion": true});
        cluster.create(kind::STORAGE_CLASS, "csi", class).await;
        cluster.play.clock.idle().await;
        cluster
    }

    /// Creates an object unless it is there.
    async fn create(&self, kind: &'static Kind, name: &str, mut object: Value) {
        object["metadata"]["name"] = name.into();
        self.play.user.create_if_missing(kind, object).await;
    }

    pub async fn claim(&self, number: usize) {
        let claim = json!({"spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "csi",
            "resources": {"requests": {"storage": "1Gi"}},
        }});
        self.create(kind::PERSISTENT_VOLUME_CLAIM, &claim_name(number), claim).await;
    }

    pub async fn pod(&self, number: usize, node: &str) {
        let claim = json!({"claimName": claim_name(number)});
        let pod = json!({"spec": {
            "nodeName": node, "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "main", "image": "busybox:1.35",
                "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }],
            "volumes": [{"name": "data", "persistentVolumeClaim": claim}],
        }});
        self.create(kind::POD, &pod_name(number), pod).await;
    }

    pub async fn grow(&self, number: usize) {
        let claim = reference(kind::PERSISTENT_VOLUME_CLAIM, &claim_name(number));
        if self.is_bound(number).await {
            let size = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
            self.play.user.merge(&claim, size).await;
        }
    }

    pub async fn is_bound(&self, number: usize) -> bool {
        let claim = reference(kind::PERSISTENT_VOLUME_CLAIM, &claim_name(number));
        self.play.user.get(&claim).await.is_some_and(|claim| claim["status"]["phase"] == "Bound")
    }

    pub async fn delete_pod(&self, number: usize) {
        self.delete(kind::POD, &pod_name(number)).await;
    }

    pub async fn delete_claim(&self, number: usize) {
        self.delete(kind::PERSISTENT_VOLUME_CLAIM, &claim_name(number)).await;
    }

    async fn delete(&self, kind: &'static Kind, name: &str) {
        let delete = Change::Delete(json!({}));
        self.play.user.write_if_it_can_be(&reference(kind, name), None, delete).await;
    }

    /// A call that is yet to be made goes wrong.
    pub fn add_fault(&self, rpc: &str, effect: &str) {
        let fault = format!("{rpc}={effect},times=1").parse().expect("a fault");
        self.play.csi().drivers[0].faults().add(fault);
    }

    /// The calls under way.
    pub fn open_calls(&self) -> Vec<&'static str> {
        let calls = self.play.csi().calls.all();
        calls.iter().filter(|call| call.ended.is_none()).map(|call| call.rpc).collect()
    }

    /// Faults end, time passes, and all is as it was asked for.
    pub async fn converge(&self) -> Result<(), String> {
        self.play.csi().drivers[0].faults().set(Vec::new());
        let mut outcome = Ok(());
        for _ in 0..ROUNDS {
            self.play.clock.advance(ROUND).await;
            outcome = self.why_not_right().await;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    /// The same when everything is deleted.
    pub async fn clear(&self) -> Result<(), String> {
        for kind in [kind::POD, kind::PERSISTENT_VOLUME_CLAIM] {
            for object in self.play.user.list(kind).await {
                let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
                self.delete(kind, &name).await;
            }
        }
        self.converge().await
    }

    /// What is not as the claims and pods ask for.
    pub async fn why_not_right(&self) -> Result<(), String> {
        let volumes = self.play.user.list(kind::PERSISTENT_VOLUME).await;
        let claims = self.play.user.list(kind::PERSISTENT_VOLUME_CLAIM).await;
        self.why_not_known(&volumes)?;
        if volumes.len() != claims.len() {
            return Err(format!("{} claims have {volumes:?}", claims.len()));
        }
        for claim in &claims {
            let of =
                |volume: &&Value| volume["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"];
            let volume = volumes.iter().find(of).ok_or("a claim without volume")?;
            let request = &claim["spec"]["resources"]["requests"]["storage"];
            let has = &volume["spec"]["capacity"]["storage"];
            if claim["status"]["phase"] != "Bound" || has != request {
                return Err(format!("{claim} has {volume}"));
            }
        }
        self.why_pods_wait(&claims).await?;
        let attachments = self.play.user.list(kind::VOLUME_ATTACHMENT).await;
        match self.play.user.list(kind::POD).await.is_empty() && !attachments.is_empty() {
            true => Err(format!("no pod needs {attachments:?}")),
            false => Ok(()),
        }
    }

    /// A volume that only the driver has, or only the cluster.
    fn why_not_known(&self, volumes: &[Value]) -> Result<(), String> {
        let handle =
            |volume: &Value| volume["spec"]["csi"]["volumeHandle"].as_str().map(str::to_owned);
        let known: BTreeSet<String> = volumes.iter().filter_map(handle).collect();
        let there: BTreeSet<String> =
            self.play.csi().drivers[0].state().volumes.into_keys().collect();
        match known == there {
            true => Ok(()),
            false => Err(format!("the cluster knows {known:?}, the driver has {there:?}")),
        }
    }

    /// A pod whose claim is there runs, with as much as was asked for.
    async fn why_pods_wait(&self, claims: &[Value]) -> Result<(), String> {
        for pod in self.play.user.list(kind::POD).await {
            let claim = &pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"];
            let Some(claim) = claims.iter().find(|one| one["metadata"]["name"] == *claim) else {
                continue;
            };
            let (status, asked) = (&claim["status"], &claim["spec"]["resources"]["requests"]);
            if pod["status"]["phase"] != "Running" || status["capacity"] != *asked {
                return Err(format!("{} of {claim}", pod["status"]));
            }
        }
        Ok(())
    }
}

fn claim_name(number: usize) -> String {
    format!("data-{number}")
}

fn pod_name(number: usize) -> String {
    format!("pod-{number}")
}
