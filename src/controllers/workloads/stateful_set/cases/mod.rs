//! Tables and properties of a StatefulSet's decisions, on a cluster in a table.

mod properties;
mod tables;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Value, json};

use super::because::Because;
use super::decide::{Memory, Next, View, decide};
use super::set::Set;
use crate::controllers::workloads::shell::Act;
use crate::model::claim::Claim;
use crate::model::kind;
use crate::model::object::Seconds;
use crate::model::pod::Pod;
use crate::model::replica_set::ControllerRevision;
use crate::model::row::Row;
use crate::model::write::Change;

/// The set `web`, and everything of it, as objects.
#[derive(Debug, Clone)]
pub struct World {
    pub set: Value,
    pub pods: BTreeMap<String, Value>,
    pub claims: BTreeMap<String, Value>,
    pub revisions: BTreeMap<String, Value>,
    pub now: Seconds,
    version: u64,
}

impl World {
    /// A set of so many pods with one claim template, none of it made yet.
    pub fn new(spec: Value) -> Self {
        let mut set = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": "web", "namespace": "shop", "uid": "set", "generation": 1,
                "resourceVersion": "1"},
            "spec": {
                "serviceName": "web", "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {}},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}],
            },
        });
        json_patch::merge(&mut set["spec"], &spec);
        Self {
            set,
            pods: BTreeMap::new(),
            claims: BTreeMap::new(),
            revisions: BTreeMap::new(),
            now: 1_800_000_000,
            version: 1,
        }
    }

    /// What is called for next.
    pub fn next(&self, memory: &Memory) -> Next {
        fn rows<R: Row>(objects: &BTreeMap<String, Value>) -> Vec<Arc<R>> {
            objects.values().map(|o| Arc::new(R::from_object(o).expect("a row"))).collect()
        }
        let set = Set::from_object(&self.set).expect("a set");
        let (pods, revisions) =
            (rows::<Pod>(&self.pods), rows::<ControllerRevision>(&self.revisions));
        let claims = rows::<Claim>(&self.claims);
        let claims = claims.into_iter().map(|claim| (claim.meta.key.name.clone(), claim)).collect();
        let templates: HashMap<Arc<str>, Value> = self
            .revisions
            .iter()
            .map(|(name, held)| (name.as_str().into(), held["data"]["spec"]["template"].clone()))
            .collect();
        decide(&View {
            set: &set,
            pods: &pods,
            orphans: &[],
            claims: &claims,
            revisions: &revisions,
            orphan_revisions: &[],
            templates: &templates,
            now: self.now,
            memory,
        })
    }

    /// One pass: acts until there is nothing but to wait; what was written, and
    /// what is waited for.
    pub fn pass(&mut self) -> (Vec<String>, Because) {
        let mut memory = Memory::default();
        let mut log = Vec::new();
        for _ in 0..100 {
            match self.next(&memory) {
                Next::Act(act) => {
                    log.push(self.apply(&act, &mut memory));
                }
                Next::Rest { because, .. } => return (log, because),
                Next::GiveUp { pod, error, .. } => {
                    log.push(format!("give up {pod}: {error}"));
                    memory.attempts += 1;
                    memory.failed_pods.insert(pod, error);
                }
                Next::Fail { .. } => return (log, Because::Complete),
                Next::Read(object) => panic!("{object} is there"),
            }
        }
        panic!("no end: {log:#?}");
    }

    /// Does what an act asks for, as a server would.
    pub fn apply(&mut self, act: &Act, memory: &mut Memory) -> String {
        let write = &act.write;
        let name = write.object.key.name.to_string();
        self.version += 1;
        let line = format!("{} {name} {}", write.verb(), write.subresource.unwrap_or_default());
        if write.object.kind == kind::STATEFUL_SET {
            let Change::Merge(patch) = &write.change else { panic!("{line}") };
            json_patch::merge(&mut self.set, patch);
            self.set["metadata"]["resourceVersion"] = self.version.to_string().into();
            return line;
        }
        if write.object.kind == kind::POD {
            let before = self.pods.get(&name).map(|pod| Pod::from_object(pod).expect("a row"));
            memory.before.entry(name.as_str().into()).or_insert(before.map(Arc::new));
        }
        let (version, now) = (self.version, self.now);
        let table = match write.object.kind {
            kind if kind == kind::POD => &mut self.pods,
            kind if kind == kind::PERSISTENT_VOLUME_CLAIM => &mut self.claims,
            kind if kind == kind::CONTROLLER_REVISION => &mut self.revisions,
            other => panic!("{other} is nothing of a set's"),
        };
        match &write.change {
            Change::Create(body) => {
                let mut body = body.clone();
                body["metadata"]["uid"] = format!("{name}-{version}").into();
                body["metadata"]["resourceVersion"] = version.to_string().into();
                body["status"]["phase"] = "Pending".into();
                assert!(table.insert(name, body).is_none(), "{line}: it exists");
                memory.attempts += usize::from(write.object.kind == kind::POD);
            }
            Change::Merge(patch) => {
                let held = table.get_mut(&name).unwrap_or_else(|| panic!("{line}: gone"));
                json_patch::merge(held, patch);
                held["metadata"]["resourceVersion"] = version.to_string().into();
            }
            Change::Delete(_) if write.object.kind == kind::POD => {
                let held = table.get_mut(&name).unwrap_or_else(|| panic!("{line}: gone"));
                let now = jiff::Timestamp::from_second(now).expect("in range");
                held["metadata"]["deletionTimestamp"] = now.to_string().into();
            }
            Change::Delete(_) => {
                table.remove(&name);
            }
            other => panic!("{line}: {other:?}"),
        }
        line
    }

    /// The node runs a pod, ready since now, or not ready.
    pub fn run(&mut self, pod: &str, ready: bool) {
        let now = jiff::Timestamp::from_second(self.now).expect("in range").to_string();
        let status = if ready { "True" } else { "False" };
        if let Some(pod) = self.pods.get_mut(pod) {
            pod["status"] = json!({"phase": "Running", "conditions": [
                {"type": "Ready", "status": status, "lastTransitionTime": now}]});
        }
    }

    /// Runs everything that may, and lets terminating pods go, until nothing
    /// changes.
    pub fn settle(&mut self) -> Because {
        for _ in 0..200 {
            let (log, because) = self.pass();
            let gone = self.finish_deletions();
            let waiting: Vec<String> = self
                .pods
                .iter()
                .filter(|(_, pod)| pod["status"]["phase"] == "Pending")
                .map(|(name, _)| name.clone())
                .collect();
            waiting.iter().for_each(|pod| self.run(pod, true));
            if log.is_empty() && waiting.is_empty() && !gone {
                return because;
            }
        }
        panic!("it never settles");
    }

    /// Terminating pods go; whether there were any.
    pub fn finish_deletions(&mut self) -> bool {
        let before = self.pods.len();
        self.pods.retain(|_, pod| pod["metadata"]["deletionTimestamp"].is_null());
        self.pods.len() < before
    }
}
