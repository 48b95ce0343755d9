//! A cluster in a table, with the controller on top: objects, versions, and
//! any refusal in between.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, ready};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::cluster::write_path::WriteError;
use crate::controllers::events::{Note, Recorder};
use crate::controllers::health::Health;
use crate::controllers::parts::Parts;
use crate::controllers::persistent_volume::controller::{PersistentVolumeController, Provisioning};
use crate::controllers::server::{ReadError, Server};
use crate::controllers::work_loop::{Outcome, Pass, Reconciler};
use crate::mirror::Mirror;
use crate::model::claim::Claim;
use crate::model::class::StorageClass;
use crate::model::clock::{Clock, TimerUse};
use crate::model::kind::{self, Kind};
use crate::model::object::{Key, ObjectRef};
use crate::model::pod::Pod;
use crate::model::row::Row;
use crate::model::volume::Volume;
use crate::model::volume_source::VolumeSpec;
use crate::model::write::{Change, Write};
use crate::plugins::error::PluginError;
use crate::plugins::host::Host;
use crate::plugins::plugin::{
    Capabilities, Capability, Done, FoundVolume, NodeVolume, PluginFacts, ProvisionRequest,
    Published, Recycling, VolumePlugin,
};

/// What happens to a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The server answers with an error and does nothing.
    Error,
    /// It answers that the object exists.
    Exists,
    /// It does it, and the answer is lost.
    LostAnswer,
    /// The object changes just before.
    Conflict,
}

/// The objects of a cluster.
#[derive(Default)]
pub struct TestServer {
    state: Mutex<ServerState>,
}

#[derive(Default)]
pub struct ServerState {
    pub objects: BTreeMap<ObjectRef, Value>,
    version: u64,
    /// Every write that was asked for.
    pub asked: Vec<Write>,
    /// What happens to the next creations of volumes.
    pub creations: VecDeque<Option<Fault>>,
    /// What happens to the writes to come, by their number from now.
    pub faults: VecDeque<Option<Fault>>,
    /// How many lists of pods fail.
    pub failing_lists: usize,
    /// What was asked for, in words: `LIST(default)`, `PUT claim`.
    pub actions: Vec<String>,
}

impl TestServer {
    pub fn lock(&self) -> MutexGuard<'_, ServerState> {
        self.state.lock().expect("the table")
    }

    /// Puts an object in as it is, with the next version.
    pub fn put(&self, mut object: Value) -> ObjectRef {
        let reference = reference(&object);
        let mut state = self.lock();
        state.version += 1;
        object["metadata"]["resourceVersion"] = state.version.to_string().into();
        state.objects.insert(reference.clone(), object);
        reference
    }

    pub fn object(&self, reference: &ObjectRef) -> Option<Value> {
        self.lock().objects.get(reference).cloned()
    }
}

pub fn reference(object: &Value) -> ObjectRef {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = kind::Kind::by_type(&text(&object["apiVersion"]), &text(&object["kind"]));
    let metadata = &object["metadata"];
    let key = Key::new(text(&metadata["namespace"]), text(&metadata["name"]));
    ObjectRef::new(kind.expect("a known kind"), key)
}

impl ServerState {
    fn apply(&mut self, write: &Write) -> Result<Value, WriteError> {
        let (verb, object) = (write.verb(), write.object.to_string());
        if let Change::Create(body) = &write.change {
            if self.objects.contains_key(&write.object) {
                let message = format!("{object} already exists");
                return Err(WriteError::AlreadyExists { verb, object, message });
            }
            let mut body = body.clone();
            self.version += 1;
            if body["metadata"]["uid"].is_null() {
                body["metadata"]["uid"] = format!("uid-{}", write.object.key.name).into();
            }
            if write.object.kind == kind::PERSISTENT_VOLUME {
                // The real server resets the status.
                body["status"] = json!({"phase": "Pending"});
            }
            body["metadata"]["resourceVersion"] = self.version.to_string().into();
            self.objects.insert(write.object.clone(), body.clone());
            return Ok(body);
        }
        let Some(held) = self.objects.get_mut(&write.object) else {
            let message = format!("{object} not found");
            return Err(WriteError::NotFound { verb, object, message });
        };
        let version = held["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok());
        if write.version.is_some() && write.version != version {
            let message = "the object has been modified".to_owned();
            return Err(WriteError::Conflict { verb, object, message });
        }
        let before = held.clone();
        match &write.change {
            Change::Merge(patch) if write.subresource == Some("status") => {
                // A claim's annotations may be changed with its status.
                for part in ["metadata", "status"] {
                    if let Some(patch) = patch.get(part) {
                        merge(&mut held[part], patch);
                    }
                }
            }
            Change::Merge(patch) => {
                let status = held["status"].clone();
                merge(held, patch);
                held["status"] = status;
            }
            Change::Delete(_) => {
                held["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
            }
            other => panic!("no such change here: {other:?}"),
        }
        if *held != before {
            self.version += 1;
            held["metadata"]["resourceVersion"] = self.version.to_string().into();
        }
        let answer = held.clone();
        let finalizers = answer["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty);
        if !answer["metadata"]["deletionTimestamp"].is_null() && finalizers {
            self.objects.remove(&write.object);
        }
        Ok(answer)
    }

    fn perform(&mut self, write: &Write) -> Result<Value, WriteError> {
        self.asked.push(write.clone());
        self.actions.push(format!("{} {}", write.verb(), write.object.key));
        let creates_volume = matches!(write.change, Change::Create(_))
            && write.object.kind == kind::PERSISTENT_VOLUME;
        let fault = self.faults.pop_front().flatten();
        let fault = match fault {
            None if creates_volume => self.creations.pop_front().flatten(),
            fault => fault,
        };
        let (verb, object) = (write.verb(), write.object.to_string());
        match fault {
            None => self.apply(write),
            Some(Fault::Exists) => {
                let message = format!("{object} already exists");
                Err(WriteError::AlreadyExists { verb, object, message })
            }
            Some(Fault::Error) => Err(lost(verb, object)),
            Some(Fault::LostAnswer) => {
                self.apply(write)?;
                Err(lost(verb, object))
            }
            Some(Fault::Conflict) => {
                if let Some(held) = self.objects.get_mut(&write.object) {
                    self.version += 1;
                    held["metadata"]["resourceVersion"] = self.version.to_string().into();
                }
                self.apply(write)
            }
        }
    }
}

fn lost(verb: &'static str, object: String) -> WriteError {
    let error = std::io::Error::other("Mock error");
    WriteError::Unknown { verb, object, source: Box::new(kube::Error::Service(Box::new(error))) }
}

/// RFC 7386.
pub fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    let Value::Object(held) = into else { return };
    for (key, value) in patch {
        if value.is_null() {
            held.shift_remove(key);
        } else {
            merge(held.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

impl Server for TestServer {
    fn get<'a>(&'a self, object: &'a ObjectRef) -> BoxFuture<'a, Result<Option<Value>, ReadError>> {
        ready(Ok(self.object(object))).boxed()
    }

    fn list<'a>(
        &'a self,
        kind: &'static Kind,
        namespace: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<Value>, ReadError>> {
        let namespace = namespace.unwrap_or_default();
        let mut state = self.lock();
        state.actions.push(format!("LIST({namespace})"));
        if state.failing_lists > 0 {
            state.failing_lists -= 1;
            let error = ReadError { object: kind.plural.into(), message: "refused".into() };
            return ready(Err(error)).boxed();
        }
        let found = state
            .objects
            .iter()
            .filter(|(object, _)| object.kind == kind && &*object.key.namespace == namespace);
        ready(Ok(found.map(|(_, found)| found.clone()).collect())).boxed()
    }

    fn perform<'a>(&'a self, write: &'a Write) -> BoxFuture<'a, Result<Value, WriteError>> {
        ready(self.lock().perform(write)).boxed()
    }

    fn nothing_to_do(&self, _on_behalf_of: &ObjectRef, _why: &str) {}
}

/// A clock whose sleeps are over at once.
#[derive(Debug)]
pub struct HastyClock(Mutex<Timestamp>);

impl HastyClock {
    pub fn new() -> Self {
        Self(Mutex::new(Timestamp::from_second(1_800_000_000).expect("in range")))
    }

    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().expect("the time");
        *now += by;
    }
}

impl Clock for HastyClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("the time")
    }

    fn sleep(&self, duration: Duration, _usage: TimerUse) -> BoxFuture<'static, ()> {
        self.advance(duration);
        ready(()).boxed()
    }
}

/// The plugin of the tables: does what its script says.
#[derive(Default)]
pub struct MockPlugin {
    pub provisions: Mutex<VecDeque<Result<(), String>>>,
    pub deletes: Mutex<Option<VecDeque<Result<(), String>>>>,
    pub recycles: Mutex<VecDeque<Result<(), String>>>,
    pub requests: Mutex<Vec<ProvisionRequest>>,
}

pub const MOCK: PluginFacts = PluginFacts {
    name: "kubernetes.io/mock-volume",
    source: None,
    driver: None,
    capabilities: Capabilities::of(&[
        Capability::Provision,
        Capability::Delete,
        Capability::Recycle,
    ]),
};

impl VolumePlugin for MockPlugin {
    fn facts(&self) -> PluginFacts {
        MOCK
    }

    fn provision(
        &self,
        request: ProvisionRequest,
    ) -> BoxFuture<'static, Result<Value, PluginError>> {
        self.requests.lock().expect("requests").push(request.clone());
        let done = match self.provisions.lock().expect("script").pop_front() {
            None => {
                let text = "Mock plugin error: no provisionCalls configured";
                Err(PluginError::NotCreated(text.into()))
            }
            Some(Err(text)) => Err(PluginError::Failed(text)),
            Some(Ok(())) => Ok(json!({"spec": {
                "accessModes": request.claim["spec"]["accessModes"],
                "capacity": {"storage": request.claim["spec"]["resources"]["requests"]["storage"]},
                "gcePersistentDisk": {"pdName": "disk"},
            }})),
        };
        ready(done).boxed()
    }

    fn delete(&self, _volume: Value) -> BoxFuture<'static, Result<(), PluginError>> {
        let mut script = self.deletes.lock().expect("script");
        let done = match script.as_mut().map(VecDeque::pop_front) {
            None => {
                let text = "Mock plugin error: no deleteCalls configured";
                Err(PluginError::NotCreated(text.into()))
            }
            Some(None) => {
                Err(PluginError::Failed("Mock plugin error: unexpected deleter call".into()))
            }
            Some(Some(done)) => done.map_err(PluginError::Failed),
        };
        ready(done).boxed()
    }

    fn recycle(&self, _volume: Value) -> BoxFuture<'static, Recycling> {
        let done = self
            .recycles
            .lock()
            .expect("script")
            .pop_front()
            .unwrap_or_else(|| Err("Mock plugin error: no recycleCalls configured".to_owned()));
        ready(Recycling::Done(done.map_err(PluginError::Failed))).boxed()
    }

    fn volume_name(&self, spec: &VolumeSpec) -> Result<String, PluginError> {
        Ok(spec.name.to_string())
    }

    fn publish<'a>(&'a self, _volume: &'a NodeVolume) -> Done<'a, Published> {
        ready(Err(PluginError::Unsupported { plugin: MOCK.name, doing: "publish" })).boxed()
    }

    fn unpublish<'a>(&'a self, _volume: &'a NodeVolume) -> Done<'a, ()> {
        ready(Err(PluginError::Unsupported { plugin: MOCK.name, doing: "unpublish" })).boxed()
    }

    fn reconstruct<'a>(
        &'a self,
        _host: &'a Arc<dyn Host>,
        _found: &'a FoundVolume,
    ) -> Done<'a, VolumeSpec> {
        ready(Err(PluginError::Unsupported { plugin: MOCK.name, doing: "reconstruct" })).boxed()
    }
}

/// A cluster with one controller on it.
pub struct World {
    pub server: Arc<TestServer>,
    pub plugin: Arc<MockPlugin>,
    pub clock: Arc<HastyClock>,
    pub mirror: Mirror,
    pub controller: Arc<PersistentVolumeController>,
    notes: mpsc::Receiver<Note>,
    with_plugin: bool,
    dynamic: bool,
}

impl World {
    pub fn new(with_plugin: bool, dynamic: bool) -> Self {
        Self::over(Arc::default(), Arc::default(), with_plugin, dynamic)
    }

    fn over(
        server: Arc<TestServer>,
        plugin: Arc<MockPlugin>,
        with_plugin: bool,
        dynamic: bool,
    ) -> Self {
        let (recorder, notes) = Recorder::new();
        let (mirror, clock) = (Mirror::default(), Arc::new(HastyClock::new()));
        let parts = Parts {
            server: server.clone(),
            mirror: mirror.clone(),
            recorder,
            clock: clock.clone(),
            health: Health::default(),
        };
        let provisioning = Provisioning {
            plugins: vec![plugin.clone()],
            facts: if with_plugin { vec![MOCK] } else { Vec::new() },
            dynamic,
        };
        let controller = Arc::new(PersistentVolumeController::new(parts, provisioning));
        Self { server, plugin, clock, mirror, controller, notes, with_plugin, dynamic }
    }

    /// A new controller that knows only what the cluster holds.
    pub fn restart(&mut self) {
        let (server, plugin) = (self.server.clone(), self.plugin.clone());
        *self = Self::over(server, plugin, self.with_plugin, self.dynamic);
    }

    /// Brings mirror and cache up to date; what the controller wants to see.
    pub fn refresh(&self) -> Vec<ObjectRef> {
        self.refresh_only(&|_| true)
    }

    /// The same for some kinds: what the others show is out of date.
    pub fn refresh_only(&self, shown: &dyn Fn(&'static kind::Kind) -> bool) -> Vec<ObjectRef> {
        let mut objects: Vec<Value> = self.server.lock().objects.values().cloned().collect();
        objects.retain(|object| shown(reference(object).kind));
        let here: HashSet<ObjectRef> = objects.iter().map(reference).collect();
        let mut held: HashSet<ObjectRef> = self.mirror.read(|tables| tables.objects().collect());
        held.retain(|object| shown(object.kind));
        for object in held.difference(&here) {
            self.forget(object);
        }
        objects.iter().for_each(|object| self.show(object));
        self.controller.take_in(here.union(&held).cloned().collect())
    }

    /// Shows one object to the mirror.
    pub fn show(&self, object: &Value) {
        let kind = reference(object).kind;
        if kind == kind::PERSISTENT_VOLUME {
            self.mirror.apply(Volume::from_object(object).expect("a volume"));
        } else if kind == kind::PERSISTENT_VOLUME_CLAIM {
            self.mirror.apply(Claim::from_object(object).expect("a claim"));
        } else if kind == kind::STORAGE_CLASS {
            self.mirror.apply(StorageClass::from_object(object).expect("a class"));
        } else if kind == kind::POD {
            self.mirror.apply(Pod::from_object(object).expect("a pod"));
        }
    }

    fn forget(&self, object: &ObjectRef) {
        fn remove<R: crate::mirror::Mirrored>(mirror: &Mirror, key: &Key) {
            let uid = mirror.read(|tables| R::table(tables).get(key).map(|r| r.meta().uid.clone()));
            if let Some(uid) = uid {
                mirror.remove::<R>(key, &uid, u64::MAX);
            }
        }
        if object.kind == kind::PERSISTENT_VOLUME {
            remove::<Volume>(&self.mirror, &object.key);
        } else if object.kind == kind::PERSISTENT_VOLUME_CLAIM {
            remove::<Claim>(&self.mirror, &object.key);
        } else if object.kind == kind::STORAGE_CLASS {
            remove::<StorageClass>(&self.mirror, &object.key);
        } else if object.kind == kind::POD {
            remove::<Pod>(&self.mirror, &object.key);
        }
    }

    /// One pass over an object; the operation it started is not yet run.
    pub async fn pass(&self, object: &ObjectRef) -> Pass {
        self.controller.clone().reconcile(object.clone()).await
    }

    /// One pass and its operation, `before` which something happens.
    pub async fn sync(&self, object: &ObjectRef, before: impl FnOnce(&World)) -> Outcome {
        let mut pass = self.pass(object).await;
        before(self);
        if let Some(operation) = pass.operation.take() {
            operation.await;
        }
        pass.outcome
    }

    /// Passes over everything, with operations, until a round writes nothing.
    pub async fn settle(&self) -> bool {
        for _ in 0..40 {
            let before = self.server.lock().asked.len();
            self.clock.advance(Duration::from_secs(150));
            let changed = self.refresh();
            let all = self.controller.everything();
            for object in changed.iter().chain(&all) {
                self.sync(object, |_| {}).await;
            }
            if self.server.lock().asked.len() == before && self.refresh() == changed {
                return true;
            }
        }
        false
    }

    /// The notes told since this was last asked.
    pub fn notes(&mut self) -> Vec<Note> {
        let mut notes = Vec::new();
        while let Ok(note) = self.notes.try_recv() {
            notes.push(note);
        }
        notes
    }

    /// How many writes were asked for.
    pub fn writes(&self) -> usize {
        self.server.lock().asked.len()
    }
}

/// Runs a future on a runtime of its own.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(future)
}
