//! The agent of one node: its pods' workers, its status, its Lease.
//!
//! ```text
//! Agents ─ pod keys ─> inbox ─┐
//! runtime ─ ended containers ─┼─> bells of the workers ─> Worker (one per pod)
//!                             │
//! register ─> lease, reporter ┘   all in one task: dropping it is a kill
//! ```
//!
//! At its start it reads its pods, tells the volumes which of them may have
//! something running, and only then lets volumes be unmounted. Everything else
//! it knows is in the API, on the host and in the container runtime.

use std::collections::{HashMap, HashSet};
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use futures::{FutureExt, stream};
use serde_json::Value;
use tokio::sync::{Notify, mpsc};

use crate::controllers::events::Note;
use crate::controllers::node_agent::lease;
use crate::controllers::node_agent::pods::spec::PodObject;
use crate::controllers::node_agent::pods::worker::{Shared, Worker};
use crate::controllers::node_agent::reporter;
use crate::model::clock::TimerUse;
use crate::model::event::Severity;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};

/// How many pods are read at once when it starts.
const READS: usize = 16;
const RETRY: Duration = Duration::from_secs(1);
/// What containers get to end whose pod is gone.
const LEFT_OVER_GRACE: Duration = Duration::from_secs(2);

/// What an agent is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A pod that is, or was, on this node may have changed.
    Pod(Key),
    /// The node's own row has changed.
    Node,
    /// A volume of a pod here is larger than its claim says.
    Grown(Key),
}

/// Runs a node's agent until dropped.
pub async fn run(
    shared: Arc<Shared>,
    node: Value,
    inbox: mpsc::UnboundedReceiver<Told>,
    volumes: BoxFuture<'static, ()>,
) {
    let uid = node["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    let node_bell = Arc::new(Notify::new());
    let pods = Pods::new(shared.clone(), node_bell.clone());
    tokio::join!(
        lease::keep(&shared, &uid),
        reporter::report(&shared, node, &node_bell),
        pods.run(inbox),
        volumes,
    );
}

/// The pods of the node.
struct Pods {
    shared: Arc<Shared>,
    node_bell: Arc<Notify>,
    /// By uid.
    bells: HashMap<Arc<str>, (Key, Arc<Notify>)>,
    by_key: HashMap<Key, Vec<Arc<str>>>,
    workers: FuturesUnordered<BoxFuture<'static, Arc<str>>>,
}

impl Pods {
    fn new(shared: Arc<Shared>, node_bell: Arc<Notify>) -> Self {
        Self {
            shared,
            node_bell,
            bells: HashMap::new(),
            by_key: HashMap::new(),
            workers: FuturesUnordered::new(),
        }
    }

    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Told>) {
        self.shared.busy.fetch_add(1, Ordering::AcqRel);
        self.take_over().await;
        self.shared.busy.fetch_sub(1, Ordering::AcqRel);
        let shared = self.shared.clone();
        // Whose containers have ended since the runtime was last looked at.
        let (mut ended, mut relist) = (HashSet::new(), pending().boxed());
        loop {
            tokio::select! {
                told = inbox.recv() => match told {
                    Some(Told::Pod(key)) => self.look_at(&key),
                    Some(Told::Node) => self.node_bell.notify_one(),
                    Some(Told::Grown(key)) => self.read_again(&key),
                    // Whoever told us things is gone: so is the cluster.
                    None => pending().await,
                },
                changed = shared.runtime.changed() => {
                    if ended.is_empty() {
                        relist = shared.relist().boxed();
                    }
                    ended.extend(changed);
                }
                () = &mut relist => {
                    relist = pending().boxed();
                    ended.drain().for_each(|uid: Arc<str>| self.ring(&uid));
                }
                Some(uid) = self.workers.next() => self.end(&uid),
            }
        }
    }

    /// Reads all pods of the node, and begins a worker for each and for what
    /// the runtime still has of others.
    async fn take_over(&mut self) {
        let node = self.shared.node.clone();
        let keys: Vec<(Key, Arc<str>)> = self.shared.mirror.read(|tables| {
            let pods = tables.pods_on(&node);
            pods.map(|pod| (pod.meta.key.clone(), pod.meta.uid.clone())).collect()
        });
        let shared = self.shared.clone();
        let reads = stream::iter(keys).map(|(key, uid)| {
            let shared = shared.clone();
            async move { (key.clone(), uid, read(&shared, &key).await) }
        });
        let mut pods: Vec<_> = reads.buffer_unordered(READS).collect().await;
        pods.sort_by(|a, b| a.0.cmp(&b.0));
        pods.iter_mut().for_each(|(_, uid, pod)| {
            *pod = pod.take().filter(|pod| pod.uid == *uid);
        });
        // Of pods that are gone nobody wants the volumes, but their containers
        // may still have them.
        let is_known =
            |uid: &Arc<str>| pods.iter().any(|(_, own, pod)| own == uid && pod.is_some());
        let left = self.shared.runtime.pods().into_iter().filter(|uid| !is_known(uid));
        for uid in left {
            tell_of_killing(&self.shared, &uid);
            if let Err(error) = self.shared.runtime.stop(&uid, LEFT_OVER_GRACE).await {
                tracing::warn!(%node, %error, "containers of a pod that is gone still run");
            }
        }
        for (key, uid, pod) in pods {
            self.begin(key, uid, pod);
        }
        for uid in self.shared.runtime.pods() {
            if !self.bells.contains_key(&uid) {
                self.begin(Key::default(), uid, None);
            }
        }
        self.shared.volumes.sources_ready();
    }

    fn begin(&mut self, key: Key, uid: Arc<str>, pod: Option<PodObject>) {
        let bell = Arc::new(Notify::new());
        let mut worker =
            Worker::new(self.shared.clone(), key.clone(), uid.clone(), bell.clone(), pod);
        worker.announce();
        self.bells.insert(uid.clone(), (key.clone(), bell));
        self.by_key.entry(key).or_default().push(uid.clone());
        self.workers.push(async move { worker.run().map(|()| uid).await }.boxed());
    }

    fn end(&mut self, uid: &Arc<str>) {
        let Some((key, _)) = self.bells.remove(uid) else { return };
        if let Some(uids) = self.by_key.get_mut(&key) {
            uids.retain(|own| own != uid);
            if uids.is_empty() {
                self.by_key.remove(&key);
            }
        }
        // Another pod of that name may have come while this one ended.
        let now = self.uid_here(&key).filter(|now| now != uid);
        if now.is_some() {
            self.look_at(&key);
        }
    }

    fn read_again(&self, key: &Key) {
        for uid in self.by_key.get(key).into_iter().flatten() {
            self.shared.volumes.read_again(uid);
        }
    }

    fn ring(&self, uid: &str) {
        if let Some((_, bell)) = self.bells.get(uid) {
            bell.notify_one();
        }
    }

    /// Begins a worker for a new pod of this name, and wakes those there are.
    fn look_at(&mut self, key: &Key) {
        for uid in self.by_key.get(key).into_iter().flatten() {
            self.ring(uid);
        }
        let uid = self.uid_here(key);
        if let Some(uid) = uid.filter(|uid| !self.bells.contains_key(uid)) {
            self.begin(key.clone(), uid, None);
        }
    }

    /// The uid of the pod of that name, if it is on this node.
    fn uid_here(&self, key: &Key) -> Option<Arc<str>> {
        self.shared.mirror.read(|tables| {
            let pod = tables.pods.get(key).filter(|pod| pod.node == self.shared.node);
            pod.map(|pod| pod.meta.uid.clone())
        })
    }
}

/// Tells that what still runs of a pod that is gone is ended.
fn tell_of_killing(shared: &Shared, uid: &Arc<str>) {
    let seen = shared.runtime.seen(uid);
    for container in seen.containers.iter().filter(|container| container.runs()) {
        shared.recorder.tell(Note {
            regarding: ObjectRef::new(kind::POD, seen.key.clone()),
            uid: uid.clone(),
            version: 0,
            severity: Severity::Normal,
            reason: "Killing",
            message: format!("Stopping container {}", container.name),
            host: shared.node.clone(),
        });
    }
}

/// A pod's object; `None` if it is gone.
async fn read(shared: &Shared, key: &Key) -> Option<PodObject> {
    let object = ObjectRef::new(kind::POD, key.clone());
    loop {
        match shared.server.get(&object).await {
            Ok(found) => return found.and_then(PodObject::read),
            Err(error) => {
                tracing::warn!(node = %shared.node, "{error}");
                shared.clock.sleep(RETRY, TimerUse::Work).await;
            }
        }
    }
}
