//! The provisioner's shell: one round per node every 10 seconds.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use serde_json::{Value, json};

use super::config::{ClassConfig, Config};
use super::discover::{
    ClassFacts, Discovery, Entry, HOSTNAME, Place, class_facts, discover, volume_name,
};
use super::reclaim::{Cleaning, FAILED, Reclaim, is_mine, reclaim};
use super::scan;
use crate::cluster::write_path::WriteError;
use crate::controllers::events::Note;
use crate::controllers::parts::Parts;
use crate::controllers::work_loop::{Outcome, Pass, Reconciler};
use crate::model::kind;
use crate::model::node::Node;
use crate::model::object::{Key, ObjectRef};
use crate::model::volume::{Volume, VolumeMode};
use crate::model::write::{Change, Reason, Write};
use crate::plugins::host::{Host, Hosts};

/// How often each node is looked at.
pub const ROUND: Duration = Duration::from_secs(10);
/// The ConfigMap that configures the provisioner on every node.
pub const CONFIG_MAP: (&str, &str) = ("kube-system", "local-provisioner-config");

/// The provisioner of all nodes that have a machine.
pub struct LocalProvisioner {
    parts: Parts,
    hosts: Arc<dyn Hosts>,
    memory: Arc<Mutex<Memory>>,
}

/// Lost with the process: cleaning once more does no harm.
#[derive(Default)]
struct Memory {
    /// As the ConfigMap has it.
    everywhere: Option<Arc<Config>>,
    /// Of nodes with a provisioner of their own.
    on_node: HashMap<Arc<str>, Arc<Config>>,
    /// By the volume's name, with the uid it was cleaned under: a volume that
    /// came anew under its name has to be cleaned anew.
    cleaning: HashMap<Arc<str>, (Arc<str>, Cleaning)>,
    /// Volumes whose write was let pass and is to be decided again, with the
    /// node that asked for it.
    permitted: HashMap<ObjectRef, Arc<str>>,
}

impl std::fmt::Debug for LocalProvisioner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalProvisioner").finish_non_exhaustive()
    }
}

impl Memory {
    /// How the cleaning of this very volume stands.
    fn state_of(&self, volume: &Volume) -> Option<Cleaning> {
        let (uid, state) = self.cleaning.get(&volume.meta.key.name)?;
        // While an earlier one is still being emptied, so is this.
        (*uid == volume.meta.uid || *state == Cleaning::Running).then(|| state.clone())
    }
}

/// One pass over a node.
struct Look<'a> {
    node: &'a Node,
    config: &'a Config,
    host: &'a Arc<dyn Host>,
    mine: Vec<Arc<Volume>>,
    errors: Vec<String>,
    written: HashSet<ObjectRef>,
    again: bool,
}

impl LocalProvisioner {
    pub fn new(parts: Parts, hosts: Arc<dyn Hosts>) -> Self {
        Self { parts, hosts, memory: Arc::default() }
    }

    /// Runs a provisioner on one node with a configuration of its own; from the
    /// next round on.
    pub fn start(&self, node: &str, config: Config) {
        self.memory().on_node.insert(node.into(), Arc::new(config));
    }

    /// Ends all provisioners that were started on single nodes.
    pub fn stop_all(&self) {
        self.memory().on_node.clear();
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the configuration anew; what was cleaned stays cleaned.
    async fn configure(&self, object: &ObjectRef) -> Pass {
        let found = match self.parts.server.get(object).await {
            Ok(found) => found,
            Err(error) => return Pass::new(Outcome::Failed(error.to_string())),
        };
        let Some(found) = found else {
            self.memory().everywhere = None;
            return Pass::done();
        };
        let data = found["data"].as_object().into_iter().flatten();
        let data = data.filter_map(|(key, text)| Some((key.as_str(), text.as_str()?)));
        match Config::read(data) {
            Ok(config) => {
                self.memory().everywhere = Some(Arc::new(config));
                Pass { enqueue: self.nodes(), ..Pass::done() }
            }
            // The last good one stays in force.
            Err(bad) => Pass::new(Outcome::Failed(bad.to_string())),
        }
    }

    /// The nodes that a provisioner runs on.
    fn nodes(&self) -> Vec<ObjectRef> {
        let memory = self.memory();
        self.parts.mirror.read(|tables| {
            let nodes = tables.nodes.iter().filter(|node| {
                memory.everywhere.is_some() || memory.on_node.contains_key(&node.meta.key.name)
            });
            nodes.map(|node| ObjectRef::new(kind::NODE, node.meta.key.clone())).collect()
        })
    }

    async fn look(&self, key: &Key) -> Pass {
        let config = {
            let memory = self.memory();
            memory.on_node.get(&key.name).or(memory.everywhere.as_ref()).cloned()
        };
        let node = self.parts.mirror.read(|tables| tables.nodes.get(key).cloned());
        let (Some(config), Some(node)) = (config, node) else { return Pass::done() };
        // A node without a machine of ours has a provisioner of its own, or none.
        let Some(host) = self.hosts.host(&key.name) else { return Pass::done() };
        let Some(hostname) = node.meta.label(HOSTNAME) else {
            let what = format!("Node does not have expected label {HOSTNAME}");
            return Pass::new(Outcome::Failed(what));
        };
        let mine = self.parts.mirror.read(|tables| {
            let all = tables.volumes_at(hostname).filter(|volume| is_mine(volume, &node, &config));
            all.cloned().collect()
        });
        let mut look = Look {
            node: &node,
            config: &config,
            host: &host,
            mine,
            errors: Vec::new(),
            written: HashSet::new(),
            again: false,
        };
        let cleaning = self.reclaim_all(&mut look).await;
        self.discover_all(&mut look).await;
        self.end(look, cleaning)
    }

    /// What is left to say and do after a pass.
    fn end(&self, look: Look<'_>, cleaning: Option<BoxFuture<'static, Vec<ObjectRef>>>) -> Pass {
        let node = &look.node.meta.key.name;
        let of_node: Vec<ObjectRef> = {
            let mut memory = self.memory();
            let left = memory
                .permitted
                .iter()
                .filter(|(held, of)| **of == *node && !look.written.contains(*held));
            let left: Vec<_> = left.map(|(held, _)| held.clone()).collect();
            memory.permitted.retain(|held, _| !left.contains(held));
            left
        };
        for held in &of_node {
            self.parts.server.nothing_to_do(held, "the volume is right as it is");
        }
        let outcome = match look.errors.len() {
            0 => Outcome::Done,
            count => Outcome::Failed(format!(
                "{count} error(s) while discovering volumes: [{}]",
                look.errors.join(", ")
            )),
        };
        // An entry that is refused is looked at again in the next round, not
        // after the short pause of a failure.
        if let Outcome::Failed(what) = outcome {
            tracing::warn!(node = %look.node.meta.key.name, "{what}");
        }
        let object = ObjectRef::new(kind::NODE, look.node.meta.key.clone());
        Pass {
            enqueue: look.again.then_some(object).into_iter().collect(),
            operation: cleaning,
            ..Pass::done()
        }
    }

    /// Cleans released volumes and deletes those that are clean; the cleaning
    /// itself goes on beside the passes.
    async fn reclaim_all(&self, look: &mut Look<'_>) -> Option<BoxFuture<'static, Vec<ObjectRef>>> {
        let mut started = Vec::new();
        for volume in look.mine.clone() {
            let name = volume.meta.key.name.clone();
            let state = self.memory().state_of(&volume);
            match reclaim(&volume, look.config, state.as_ref()) {
                Reclaim::Nothing => {}
                Reclaim::Warn(reason, message) => self.warn(look, &volume, reason, message),
                Reclaim::Clean { failed } => {
                    if let Some(message) = failed {
                        self.warn(look, &volume, FAILED, message);
                    }
                    if let Some(class) = look.config.classes.get(&*volume.class) {
                        let running = (volume.meta.uid.clone(), Cleaning::Running);
                        self.memory().cleaning.insert(name, running);
                        started.push(self.clean(look, &volume, class));
                    }
                }
                Reclaim::Delete => self.delete(look, &volume).await,
            }
        }
        (!started.is_empty()).then(|| join_all(started).map(|_| Vec::new()).boxed())
    }

    fn clean(
        &self,
        look: &Look<'_>,
        volume: &Arc<Volume>,
        class: &ClassConfig,
    ) -> BoxFuture<'static, ()> {
        let (host, class, volume) = (look.host.clone(), class.clone(), volume.clone());
        let (memory, recorder) = (self.memory.clone(), self.parts.recorder.clone());
        let node = look.node.meta.key.name.clone();
        async move {
            let name = volume.meta.key.name.clone();
            let cleaned = match scan::to_clean(&host, &class, &volume.source.place).await {
                Ok(what) => {
                    if matches!(what, scan::ToClean::Device { .. }) {
                        recorder.tell(wiping(&volume).from_node(&node));
                    }
                    scan::clean(&host, &class, &what, &name).await
                }
                Err(why) => Err(why),
            };
            let ended = match cleaned {
                Ok(()) => Cleaning::Succeeded,
                Err(why) => Cleaning::Failed { why },
            };
            let ended = (volume.meta.uid.clone(), ended);
            memory.lock().unwrap_or_else(PoisonError::into_inner).cleaning.insert(name, ended);
        }
        .boxed()
    }

    fn warn(&self, look: &Look<'_>, volume: &Volume, reason: &'static str, message: String) {
        let note = Note::warning(volume, reason, message);
        self.parts.recorder.tell(note.from_node(&look.node.meta.key.name));
    }

    async fn delete(&self, look: &mut Look<'_>, volume: &Arc<Volume>) {
        let object = ObjectRef::new(kind::PERSISTENT_VOLUME, volume.meta.key.clone());
        let write = Write {
            object: object.clone(),
            subresource: None,
            change: Change::Delete(json!({"preconditions": {"uid": &*volume.meta.uid}})),
            version: None,
            on_behalf_of: object,
            reason: Reason::new("LP7", "its claim is gone and it has been cleaned"),
        };
        if let Err(error) = self.perform(look, write).await {
            let message = super::reclaim::failed_message(volume, &error);
            self.warn(look, volume, FAILED, message);
        }
    }

    /// Performs a write; one that is held is decided again at once.
    async fn perform(&self, look: &mut Look<'_>, write: Write) -> Result<(), String> {
        match self.parts.server.perform(&write).await {
            Ok(answer) => {
                self.parts.health.wrote();
                self.memory().permitted.remove(&write.object);
                look.written.insert(write.object.clone());
                if matches!(write.change, Change::Create(_)) {
                    self.memory().cleaning.remove(&write.object.key.name);
                    self.parts.mirror.observe_object(write.object.kind, &answer);
                }
                Ok(())
            }
            Err(WriteError::DecideAgain { .. }) => {
                look.again = true;
                look.written.insert(write.object.clone());
                self.memory().permitted.insert(write.object, look.node.meta.key.name.clone());
                Ok(())
            }
            Err(WriteError::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.words()),
        }
    }

    async fn discover_all(&self, look: &mut Look<'_>) {
        let mounts = match look.host.mounts().await {
            Ok(mounts) => mounts,
            Err(error) => return look.errors.push(error.to_string()),
        };
        for (class_name, class) in &look.config.classes {
            let object = ObjectRef::new(kind::STORAGE_CLASS, Key::cluster(class_name.as_str()));
            if self.parts.mirror.read(|tables| tables.classes.get(&object.key).is_none()) {
                look.errors.push(format!(
                    "failed to get ReclaimPolicy from storage class \"{class_name}\": \
                     storageclass.storage.k8s.io \"{class_name}\" not found"
                ));
                continue;
            }
            let node = look.node.meta.key.name.clone();
            let settled: HashSet<Arc<str>> = look
                .mine
                .iter()
                .filter(|volume| volume.mode == VolumeMode::Filesystem)
                .filter(|volume| *volume.class == **class_name)
                .map(|volume| volume.meta.key.name.clone())
                .collect();
            let by_path: HashSet<Box<str>> =
                look.mine.iter().map(|volume| volume.source.place.clone()).collect();
            let skip = |name: &str| {
                let path = format!("{}/{name}", class.host_dir.trim_end_matches('/'));
                settled.contains(&*volume_name(name, &node, class_name)) && by_path.contains(&*path)
            };
            match scan::entries(look.host, class, &mounts, &skip).await {
                Err(why) => look.errors.push(why),
                Ok(entries) => self.publish(look, (class_name, class), &object, &entries).await,
            }
        }
    }

    /// Makes volumes of the entries that call for one.
    async fn publish(
        &self,
        look: &mut Look<'_>,
        (class_name, class): (&String, &ClassConfig),
        object: &ObjectRef,
        entries: &[Entry],
    ) {
        let mut facts: Option<ClassFacts> = None;
        for entry in entries {
            let mut found = self.judge(look, class_name, class, facts.as_ref(), entry);
            if facts.is_none() && matches!(found, Discovery::Create { .. }) {
                match self.class_facts(class_name, object).await {
                    Ok(read) => facts = Some(read),
                    Err(why) => return look.errors.push(why),
                }
                found = self.judge(look, class_name, class, facts.as_ref(), entry);
            }
            match found {
                Discovery::Nothing => {}
                Discovery::Refuse { why } => look.errors.push(why),
                Discovery::Warn { name, message } => {
                    let volume = look.mine.iter().find(|volume| *volume.meta.key.name == *name);
                    if let Some(volume) = volume.cloned() {
                        self.warn(look, &volume, FAILED, message);
                    }
                }
                Discovery::Create { name, volume } => {
                    let path = format!("{}/{}", class.host_dir.trim_end_matches('/'), entry.name);
                    if let Err(error) = self.create(look, &name, volume).await {
                        look.errors.push(format!(
                            "error creating PV \"{name}\" for volume at \"{path}\": {error}"
                        ));
                    }
                }
            }
        }
    }

    fn judge(
        &self,
        look: &Look<'_>,
        class_name: &str,
        class: &ClassConfig,
        facts: Option<&ClassFacts>,
        entry: &Entry,
    ) -> Discovery {
        let none = ClassFacts::default();
        let facts = facts.unwrap_or(&none);
        let place = Place { config: look.config, class_name, class, facts, node: look.node };
        let known: BTreeMap<&str, &Volume> =
            look.mine.iter().map(|volume| (&*volume.meta.key.name, &**volume)).collect();
        let memory = self.memory();
        let running =
            |name: &str| memory.cleaning.get(name).is_some_and(|(_, s)| *s == Cleaning::Running);
        discover(&place, entry, &known, &running)
    }

    async fn class_facts(&self, name: &str, object: &ObjectRef) -> Result<ClassFacts, String> {
        let class = self.parts.server.get(object).await.map_err(|error| error.to_string())?;
        class_facts(name, &class.unwrap_or(Value::Null))
    }

    async fn create(&self, look: &mut Look<'_>, name: &str, volume: Value) -> Result<(), String> {
        let object = ObjectRef::new(kind::PERSISTENT_VOLUME, Key::cluster(name));
        let path = volume["spec"]["local"]["path"].as_str().unwrap_or_default();
        let why = format!("{path} is mounted on {}", look.node.meta.key.name);
        let write = Write {
            object: object.clone(),
            subresource: None,
            change: Change::Create(volume),
            version: None,
            on_behalf_of: object,
            reason: Reason::new("LP3", why),
        };
        self.perform(look, write).await
    }
}

fn wiping(volume: &Volume) -> Note {
    let name = &volume.meta.key.name;
    let message = format!("Starting cleanup of Block PV \"{name}\", this may take a while");
    Note::normal(volume, "VolumeDelete", message)
}

impl Reconciler for LocalProvisioner {
    fn take_in(&self, changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        let (namespace, name) = CONFIG_MAP;
        let is_config = |object: &ObjectRef| {
            object.kind == kind::CONFIG_MAP
                && *object.key.namespace == *namespace
                && *object.key.name == *name
        };
        let found: BTreeSet<ObjectRef> = changed.into_iter().filter(is_config).collect();
        found.into_iter().collect()
    }

    fn everything(&self) -> Vec<ObjectRef> {
        self.nodes()
    }

    fn reconcile(self: Arc<Self>, object: ObjectRef) -> BoxFuture<'static, Pass> {
        Box::pin(async move {
            if object.kind == kind::CONFIG_MAP {
                return self.configure(&object).await;
            }
            self.look(&object.key).await
        })
    }
}
