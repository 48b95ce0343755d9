//! One schedule, played.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use jiff::Timestamp;
use pvdeck::cluster::clock::ManualClock;
use pvdeck::cluster::embedded::{Embedded, Options};
use pvdeck::cluster::write_path::read_only::Access;
use pvdeck::cluster::write_path::{WriteError, WritePath, perform};
use pvdeck::controllers::csi::embedded::{self as csi, Csi, EmbeddedDriver};
use pvdeck::controllers::host;
use pvdeck::controllers::machines::Machines;
use pvdeck::controllers::node_agent::pods::runtime::Runtimes;
use pvdeck::model::clock::Clock;
use pvdeck::model::kind::{self, Kind};
use pvdeck::model::object::ObjectRef;
use pvdeck::model::write::{Actor, Change, Reason, Write};
use pvdeck::plugins::block_disk;
use pvdeck::plugins::csi::node::CsiPlugin;
use pvdeck::plugins::host::command::Verb;
use pvdeck::plugins::host::simulated::World;
use pvdeck::plugins::host::simulated::rules::{Effect, Rule};
use pvdeck::plugins::host::{Disks, FileFault, Hosts};
use pvdeck::plugins::layout::Layout;
use pvdeck::session::{EmbeddedOptions, NodeMachines, Session};
use serde_json::{Value, json};

use super::process::{Fate, Process, Reached};
use super::sound::{Watcher, why_not_whole};
use super::{Act, CLAIMS, Covered, Does, MANY, NODES};
use crate::crash::{faulty, reference};

const DRIVER: &str = "disk.example";
const GIVEN_UP: &str = "node.kubernetes.io/out-of-service";
const LOCAL: &str = "/mnt/disks/one";

/// How finely time passes while someone may die.
const SLICE: Duration = Duration::from_secs(2);
/// How long all may take to come to rest: longer than any pause between two
/// tries, several times over.
const ROUNDS: usize = 40;
const ROUND: Duration = Duration::from_secs(60);
const ROUND_SLICE: Duration = Duration::from_secs(15);

pub struct Play {
    clock: ManualClock,
    embedded: Embedded,
    world: World,
    runtimes: Arc<Runtimes>,
    csi: Csi,
    user: kube::Client,
    watcher: Arc<Watcher>,
    process: Arc<Process>,
    session: Option<Session>,
    covered: Covered,
}

impl Play {
    /// A cluster whose claims are bound, and the program at work on it.
    pub async fn new() -> Self {
        let clock = ManualClock::new(Timestamp::from_second(1_800_000_000).expect("in range"));
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let embedded = Embedded::new(Options::new(shared.clone()));
        let path = WritePath::new(embedded.base(), "default", shared.clone(), Access::writable());
        let world = World::new(shared.clone(), Layout::default());
        let runtimes = Arc::new(Runtimes::default());
        for node in NODES {
            world.add(node);
            // What runs on a machine goes on whatever becomes of the program.
            drop(runtimes.of(&world.host(node).expect("a machine")));
        }
        world.add_directory(NODES[0], LOCAL);
        let driver = EmbeddedDriver::named(DRIVER);
        embedded.import(vec![driver.object()], "user").expect("imported");
        let csi = csi::start(&[driver], &world, &NODES, &shared);
        let user = path.client(Actor("user".into()));
        let watcher = Watcher::new(embedded.clone(), world.clone(), runtimes.clone());
        let process = Process::new(Fate::default(), watcher.clone());
        let mut play = Self {
            clock,
            embedded,
            world,
            runtimes,
            csi,
            user,
            watcher,
            process,
            session: None,
            covered: Covered::default(),
        };
        play.make_objects().await;
        play.start(Fate::default());
        play.bind_claims().await;
        play
    }

    pub fn world(&self) -> &World {
        &self.world
    }

    async fn make_objects(&self) {
        for node in NODES {
            let labels = json!({"kubernetes.io/hostname": node});
            self.create(kind::NODE, json!({"metadata": {"name": node, "labels": labels}})).await;
        }
        self.create(
            kind::STORAGE_CLASS,
            json!({"metadata": {"name": "driven"}, "provisioner": DRIVER}),
        )
        .await;
        for claim in CLAIMS {
            let (mode, spec) = match claim {
                "one-pod" => ("ReadWriteOncePod", disk()),
                "many" => ("ReadWriteMany", disk()),
                "local" => ("ReadWriteOnce", local()),
                _ => ("ReadWriteOnce", disk()),
            };
            let volume_mode = if claim == "device" { "Block" } else { "Filesystem" };
            let class = if claim == "driven" { claim } else { "" };
            let object = json!({"metadata": {"name": claim}, "spec": {
                "accessModes": [mode], "storageClassName": class, "volumeMode": volume_mode,
                "resources": {"requests": {"storage": "64Mi"}},
            }});
            self.create(kind::PERSISTENT_VOLUME_CLAIM, object).await;
            if claim == "driven" {
                continue;
            }
            let mut spec = spec;
            spec["capacity"] = json!({"storage": "64Mi"});
            spec["accessModes"] = json!([mode]);
            spec["volumeMode"] = volume_mode.into();
            spec["claimRef"] = json!({"namespace": "default", "name": claim});
            spec["persistentVolumeReclaimPolicy"] = "Retain".into();
            self.create(
                kind::PERSISTENT_VOLUME,
                json!({"metadata": {"name": claim}, "spec": spec}),
            )
            .await;
            if claim != "local" {
                self.world.create(claim, 64 << 20).await.expect("a disk");
                self.watcher.know(claim, format!("{}/{claim}", block_disk::NAME));
            }
        }
    }

    async fn bind_claims(&self) {
        self.advance_by(Duration::from_secs(20)).await;
        for claim in CLAIMS {
            let found = self.get(&reference(kind::PERSISTENT_VOLUME_CLAIM, claim)).await;
            let found = found.expect("a claim");
            assert_eq!(found["status"]["phase"], "Bound", "{claim}");
            if claim == "driven" {
                let volume = found["spec"]["volumeName"].as_str().expect("a volume");
                let volume = self.get(&reference(kind::PERSISTENT_VOLUME, volume)).await;
                let volume = volume.expect("a volume");
                let handle = volume["spec"]["csi"]["volumeHandle"].as_str().expect("a handle");
                self.watcher.know(claim, format!("kubernetes.io/csi/{DRIVER}^{handle}"));
            }
        }
    }

    /// Starts the program anew.
    fn start(&mut self, fate: Fate) {
        drop(self.session.take());
        self.account();
        self.process = Process::new(fate, self.watcher.clone());
        let reached = Reached { world: self.world.clone(), process: self.process.clone() };
        let plugin = CsiPlugin::new(self.csi.on_nodes.clone(), None);
        let machines = Machines {
            runtimes: self.runtimes.clone(),
            ..Machines::of(reached, false).with_csi(plugin)
        };
        let controllers = host::Options {
            machines: Some(machines),
            csi: self.csi.clone(),
            ..host::Options::default()
        };
        let options = EmbeddedOptions {
            machines: NodeMachines::Nothing,
            controllers: Some(controllers),
            ..EmbeddedOptions::default()
        };
        let base = faulty(self.embedded.base(), self.process.plan.clone());
        let clock = Arc::new(self.clock.clone());
        self.session = Some(Session::over(base, clock, self.embedded.clone(), options));
    }

    /// Counts what became of a run of the program.
    fn account(&mut self) {
        self.covered.add("runs of the program", 1);
        self.covered.add("operations on machines", self.process.operations());
        if self.process.killed_at().is_some() {
            self.covered.add("killed at an operation on a machine", 1);
        } else if self.process.is_dead() {
            self.covered.add("killed at a write", 1);
        } else if self.process.failed_at_write() {
            self.covered.add("other faults of a write", 1);
        }
    }

    /// Where the program died, for people.
    fn last_death(&self) -> String {
        match (self.process.killed_at(), self.process.plan.fired.lock().expect("a plan").clone()) {
            (Some(operation), _) => format!("; killed at {operation}"),
            (None, Some(write)) => format!("; failed at {write}"),
            (None, None) => String::new(),
        }
    }

    pub async fn act(&mut self, act: &Act) {
        match act {
            Act::Pod { name, node, claims, does } => {
                self.pod(*name, *node, *claims, *does).await;
            }
            Act::Delete { name, by_force } => {
                let options = by_force.then(|| json!({"gracePeriodSeconds": 0}));
                self.delete(&pod_name(*name), options.unwrap_or_else(|| json!({}))).await;
            }
            Act::Lose { node } => {
                self.covered.add("nodes lost", 1);
                self.world.lose(NODES[*node]);
                self.watcher.set_out_of_service(NODES[*node], true);
            }
            Act::Return { node } => self.bring_back(NODES[*node]).await,
            Act::GiveUp { node } => {
                let lost = self.world.snapshot().machines[NODES[*node]].lost;
                if lost {
                    self.taint(NODES[*node], true).await;
                }
            }
            Act::Reboot { node } => self.reboot(NODES[*node]),
            Act::StopAgent { node } => {
                self.covered.add("agents stopped", 1);
                self.agents(|agents| agents.stop(NODES[*node]));
            }
            Act::StartAgent { node } => self.agents(|agents| agents.start(NODES[*node])),
            Act::Restart { fate } => self.start(*fate),
            Act::Fault { node, verb, effect, after, times } => {
                let is_file = matches!(verb, Verb::ReadFiles | Verb::WriteFiles);
                let effect = match effect {
                    0 if is_file => Effect::FailFile(FileFault::NoSpace),
                    0 => Effect::Fail { exit: 32, output: "{object}: it does not work".into() },
                    1 => Effect::Slow { milliseconds: 7000 },
                    2 => Effect::Hang,
                    _ => Effect::LoseAnswer,
                };
                self.world.add_rule(Rule {
                    node: Some(NODES[*node].to_owned()),
                    verb: Some(*verb),
                    object: None,
                    after: *after,
                    times: Some(*times),
                    effect,
                });
            }
            Act::Calm => self.calm(),
            Act::Wait { seconds } => self.wait(Duration::from_secs(*seconds)).await,
        }
        self.wait(Duration::ZERO).await;
    }

    /// Faults stop; nodes that are lost stay so.
    fn calm(&self) {
        let state = self.world.snapshot();
        self.world.calm();
        for (node, _) in state.machines.iter().filter(|(_, machine)| machine.lost) {
            self.world.lose(node);
        }
    }

    fn agents(&self, act: impl FnOnce(&pvdeck::controllers::node_agent::agents::Agents)) {
        let session = self.session.as_ref();
        if let Some(agents) = session.and_then(|session| session.host.as_ref()?.agents()) {
            act(agents);
        }
    }

    /// The machine starts afresh, and nothing runs on it.
    fn reboot(&mut self, node: &str) {
        self.covered.add("reboots", 1);
        self.agents(|agents| agents.stop(node));
        self.world.reboot(node);
        self.runtimes.of(&self.world.host(node).expect("a machine")).forget_all();
        self.agents(|agents| agents.start(node));
    }

    /// A lost node answers again.
    async fn bring_back(&mut self, node: &str) {
        self.world.find_again(node);
        self.taint(node, false).await;
        self.agents(|agents| agents.start(node));
    }

    /// Lets time pass; a program that died is started again.
    async fn wait(&mut self, time: Duration) {
        self.wait_in(time, SLICE).await;
    }

    async fn wait_in(&mut self, time: Duration, slice: Duration) {
        let mut left = time;
        loop {
            let slice = left.min(slice);
            self.advance_by(slice).await;
            left -= slice;
            self.watcher.look("a while");
            self.service().await;
            if self.process.is_dead() {
                self.start(Fate::default());
            }
            if left.is_zero() {
                return;
            }
        }
    }

    async fn advance_by(&self, time: Duration) {
        self.clock.advance(time).await;
    }

    /// A node that answers again and is Ready is in service again, if nothing
    /// was taken from it by force; else someone starts it afresh.
    async fn service(&mut self) {
        let state = self.world.snapshot();
        let watcher = self.watcher.clone();
        for node in NODES.into_iter().filter(|node| watcher.is_out_of_service(node)) {
            let found = self.get(&reference(kind::NODE, node)).await.unwrap_or_default();
            let conditions = found["status"]["conditions"].as_array();
            let is_ready = conditions
                .into_iter()
                .flatten()
                .any(|c| c["type"] == "Ready" && c["status"] == "True");
            let machine = &state.machines[node];
            if machine.lost || !is_ready || is_given_up(&found) {
                continue;
            }
            if why_not_whole(&state, node, machine).is_some() || self.has_lost_devices(node) {
                self.covered.add("volumes taken by force", 1);
                self.reboot(node);
            } else {
                self.covered.add("nodes out of service", 1);
                self.watcher.set_out_of_service(node, false);
            }
        }
    }

    /// Whether a container of a node runs whose device is gone.
    fn has_lost_devices(&self, node: &str) -> bool {
        let runtime = self.runtimes.of(&self.world.host(node).expect("a machine"));
        let state = self.world.snapshot();
        runtime.pods().iter().any(|pod| {
            let runs = runtime.seen(pod).runs();
            let inside = runtime.inside(pod);
            let devices = inside.iter().flat_map(|container| container.devices.iter());
            runs && devices.into_iter().any(|device| {
                let id = state.disk_at(node, &device.host_path);
                id.and_then(|id| state.disks.get(&id).cloned())
                    .is_none_or(|disk| !disk.attached.contains_key(node))
            })
        })
    }

    async fn pod(&self, name: usize, node: Option<usize>, claims: (usize, usize), does: Does) {
        let mut claims = vec![CLAIMS[claims.0], CLAIMS[claims.1]];
        claims.dedup();
        let script = match does {
            Does::Waits => "trap 'exit 0' TERM; while :; do sleep 1; done",
            Does::IsDeaf => "sleep 100000",
            Does::Writes => "hostname > /many/file; sleep 3",
        };
        let volumes: Vec<Value> = claims
            .iter()
            .map(|claim| json!({"name": claim, "persistentVolumeClaim": {"claimName": claim}}))
            .chain([json!({"name": "scratch", "emptyDir": {}})])
            .collect();
        let (devices, directories): (Vec<&str>, Vec<&str>) =
            claims.iter().copied().partition(|claim| *claim == "device");
        let mounts: Vec<Value> = directories
            .iter()
            .map(|name| json!({"name": name, "mountPath": format!("/{name}")}))
            .chain([json!({"name": "scratch", "mountPath": "/scratch"})])
            .collect();
        let devices: Vec<Value> = devices
            .iter()
            .map(|name| json!({"name": name, "devicePath": format!("/dev/{name}")}))
            .collect();
        let mut spec = json!({
            "restartPolicy": "OnFailure", "terminationGracePeriodSeconds": 3,
            "containers": [{
                "name": "main", "image": "busybox:1.35", "command": ["sh", "-c", script],
                "volumeMounts": mounts, "volumeDevices": devices,
            }],
            "volumes": volumes,
        });
        if let Some(node) = node {
            spec["nodeName"] = NODES[node].into();
        }
        let object = json!({"metadata": {"name": pod_name(name)}, "spec": spec});
        self.create(kind::POD, object).await;
    }

    async fn taint(&self, node: &str, given_up: bool) {
        let object = reference(kind::NODE, node);
        let Some(found) = self.get(&object).await else { return };
        if is_given_up(&found) == given_up {
            return;
        }
        let taints = found["spec"]["taints"].as_array().cloned().unwrap_or_default();
        let mut taints: Vec<Value> =
            taints.into_iter().filter(|taint| taint["key"] != GIVEN_UP).collect();
        if given_up {
            taints.push(json!({"key": GIVEN_UP, "value": "down", "effect": "NoExecute"}));
        }
        self.write(object, Change::Merge(json!({"spec": {"taints": taints}}))).await;
    }

    pub fn why_not_sound(&self) -> Result<(), String> {
        match self.watcher.wrong() {
            Some(wrong) => Err(format!("{wrong}{}", self.last_death())),
            None => Ok(()),
        }
    }

    /// Faults stop: what can run runs, and when it is deleted nothing is left.
    pub async fn converge(&mut self) -> Result<(), String> {
        self.start(Fate::default());
        self.world.calm();
        for node in NODES {
            self.bring_back(node).await;
        }
        self.round().await?;
        self.make_room().await;
        let mut left = String::new();
        for _ in 0..ROUNDS {
            self.round().await?;
            left = self.why_not_running().await;
            if left.is_empty() {
                break;
            }
        }
        if !left.is_empty() {
            return Err(format!("does not run: {left}\n{}", self.report().await));
        }
        for pod in self.list(kind::POD).await {
            self.covered.add("pods at the end", 1);
            self.delete(pod["metadata"]["name"].as_str().expect("a name"), json!({})).await;
        }
        for _ in 0..ROUNDS {
            self.round().await?;
            left = self.why_not_clean().await;
            if left.is_empty() {
                return Ok(());
            }
        }
        Err(format!("is left: {left}\n{}", self.report().await))
    }

    async fn round(&mut self) -> Result<(), String> {
        self.wait_in(ROUND, ROUND_SLICE).await;
        self.why_not_sound()
    }

    /// Of pods that want what only one node, or one pod, may have, all but the
    /// first give way; so do those that want what their node does not have.
    async fn make_room(&self) {
        let mut taken: BTreeMap<String, String> = BTreeMap::new();
        let mut pods = self.list(kind::POD).await;
        pods.sort_by_key(|pod| pod["status"]["phase"] != "Running");
        for pod in pods {
            let name = pod["metadata"]["name"].as_str().expect("a name").to_owned();
            let node = pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
            let claims = claims_of(&pod);
            let place = |claim: &str| match claim {
                "one-pod" => name.clone(),
                _ => node.clone(),
            };
            let conflicts = claims.iter().any(|claim| match claim.as_str() {
                MANY => false,
                "local" if node != NODES[0] => true,
                claim => taken.get(claim).is_some_and(|held| *held != place(claim)),
            });
            // A pod that waits for a node may be sent to one that cannot have all.
            if conflicts || node.is_empty() {
                self.delete(&name, json!({})).await;
            } else {
                taken.extend(claims.iter().map(|claim| (claim.clone(), place(claim))));
            }
        }
    }

    async fn why_not_running(&self) -> String {
        let mut waiting = Vec::new();
        for pod in self.list(kind::POD).await {
            let phase = pod["status"]["phase"].as_str().unwrap_or_default();
            let is_gone = !pod["metadata"]["deletionTimestamp"].is_null();
            if is_gone || !["Running", "Succeeded", "Failed"].contains(&phase) {
                waiting.push(format!("{} {phase} deleting {is_gone}", pod["metadata"]["name"]));
            }
        }
        waiting.join(", ")
    }

    async fn why_not_clean(&self) -> String {
        let mut left: Vec<String> = Vec::new();
        let pods = self.list(kind::POD).await;
        left.extend(pods.iter().map(|pod| format!("pod {}", pod["metadata"]["name"])));
        let attachments = self.list(kind::VOLUME_ATTACHMENT).await;
        left.extend(attachments.iter().map(|a| format!("attachment {}", a["spec"]["nodeName"])));
        for node in self.list(kind::NODE).await {
            for list in ["volumesAttached", "volumesInUse"] {
                let entries = node["status"][list].as_array();
                let entries = entries.into_iter().flatten();
                let name = &node["metadata"]["name"];
                left.extend(entries.map(|entry| format!("{list} of {name}: {entry}")));
            }
        }
        let state = self.world.snapshot();
        for (id, disk) in &state.disks {
            left.extend(disk.attached.keys().map(|node| format!("{id} at {node}")));
        }
        for (node, machine) in &state.machines {
            let mounts = machine.mounts.iter().map(|mounted| &mounted.entry.target);
            let own = mounts.filter(|target| target.starts_with("/var/lib/kubelet"));
            left.extend(own.map(|target| format!("mount {target} on {node}")));
            let runtime = self.runtimes.of(&self.world.host(node).expect("a machine"));
            left.extend(runtime.pods().iter().map(|pod| format!("containers of {pod} on {node}")));
        }
        left.join(", ")
    }

    /// What one wants to know of a schedule that did not come to rest.
    async fn report(&self) -> String {
        let mut lines = Vec::new();
        let events = self.list(kind::EVENT).await;
        let mut told: BTreeSet<String> = BTreeSet::new();
        for event in &events {
            let about = &event["involvedObject"]["name"];
            told.insert(format!(
                "{} {about} {}: {}",
                event["lastTimestamp"], event["reason"], event["message"]
            ));
        }
        lines.extend(told.into_iter().rev().take(25));
        let boards = self.session.as_ref().and_then(|session| session.host.as_ref()?.boards());
        for node in NODES {
            let board = boards.as_ref().and_then(|boards| boards.board(node));
            for row in board.into_iter().flat_map(|board| board.rows) {
                let pods: Vec<_> =
                    row.pods.iter().map(|pod| (pod.pod.name.to_string(), pod.wanted)).collect();
                lines.push(format!(
                    "{node} {} {} {:?} tries {} {:?} {pods:?}",
                    row.unique_name, row.stage, row.on_node, row.attempts, row.last_error
                ));
            }
            let node = self.get(&reference(kind::NODE, node)).await.unwrap_or_default();
            lines.push(format!(
                "{} attached {} in use {} taints {}",
                node["metadata"]["name"],
                node["status"]["volumesAttached"],
                node["status"]["volumesInUse"],
                node["spec"]["taints"]
            ));
        }
        for (id, disk) in &self.world.snapshot().disks {
            lines.push(format!("disk {id} at {:?}", disk.attached));
        }
        lines.join("\n")
    }

    /// Adds what was covered.
    pub fn count(&mut self, covered: &mut Covered) {
        drop(self.session.take());
        self.account();
        let (looks, revisions) = self.watcher.looks();
        covered.add("looks at the machines", looks);
        covered.add("revisions", revisions);
        let mut ran = BTreeSet::new();
        for commit in self.embedded.commits_after(0) {
            let Some(object) = commit.object_after() else { continue };
            if commit.kind == kind::POD && object["status"]["phase"] == "Running" {
                ran.insert(object["metadata"]["uid"].to_string());
            }
            if commit.kind != kind::EVENT {
                continue;
            }
            let message = object["message"].as_str().unwrap_or_default();
            if message.starts_with("Multi-Attach") {
                covered.add("refused as attached elsewhere", 1);
            }
            if object["reason"] == "FailedMount" {
                covered.add("failed mounts", 1);
            }
        }
        covered.add("pods that ran", ran.len());
        covered.add("schedules", 1);
        for (what, count) in std::mem::take(&mut self.covered.0) {
            covered.add(what, count);
        }
    }

    async fn create(&self, kind: &'static Kind, mut object: Value) {
        object["apiVersion"] = kind.api_version().into();
        object["kind"] = kind.kind.into();
        if kind.namespaced {
            object["metadata"]["namespace"] = "default".into();
        }
        let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
        self.write(reference(kind, &name), Change::Create(object)).await;
    }

    async fn delete(&self, pod: &str, options: Value) {
        self.write(reference(kind::POD, pod), Change::Delete(options)).await;
    }

    async fn write(&self, object: ObjectRef, change: Change) {
        let write = Write {
            on_behalf_of: object.clone(),
            object,
            subresource: None,
            change,
            version: None,
            reason: Reason::new("user", "the schedule says so"),
        };
        match perform(&self.user, &write).await {
            Ok(_) | Err(WriteError::NotFound { .. } | WriteError::AlreadyExists { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    async fn get(&self, object: &ObjectRef) -> Option<Value> {
        let request = Request::get(object.path()).body(Vec::new()).expect("a request");
        self.user.request(request).await.ok()
    }

    async fn list(&self, kind: &'static Kind) -> Vec<Value> {
        let path = kind.collection_path(kind.namespaced.then_some("default"));
        let request = Request::get(path).body(Vec::new()).expect("a request");
        let list: Value = self.user.request(request).await.expect("a list");
        list["items"].as_array().cloned().unwrap_or_default()
    }
}

fn pod_name(number: usize) -> String {
    format!("pod-{number}")
}

fn disk() -> Value {
    json!({"flexVolume": {"driver": block_disk::NAME}})
}

fn local() -> Value {
    let terms = json!([{"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODES[0]]},
    ]}]);
    json!({
        "local": {"path": LOCAL},
        "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
    })
}

fn is_given_up(node: &Value) -> bool {
    let taints = node["spec"]["taints"].as_array();
    taints.into_iter().flatten().any(|taint| taint["key"] == GIVEN_UP)
}

fn claims_of(pod: &Value) -> Vec<String> {
    let volumes = pod["spec"]["volumes"].as_array();
    let claims = volumes.into_iter().flatten().filter_map(|volume| {
        volume["persistentVolumeClaim"]["claimName"].as_str().map(str::to_owned)
    });
    claims.collect()
}
