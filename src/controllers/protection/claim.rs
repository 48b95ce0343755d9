//! `kubernetes.io/pvc-protection`: a claim stays while a scheduled pod uses it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::sync::oneshot;

use super::{Duty, Parts, Written, adding, duty, removing};
use crate::controllers::persistent_volume::cache::claims_of;
use crate::controllers::work_loop::{Outcome, Pass, Reconciler};
use crate::model::claim::Claim;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::pod::Pod;
use crate::model::row::Row;

pub const FINALIZER: &str = "kubernetes.io/pvc-protection";
const RULE: &str = "PP";

/// Whether a pod keeps a claim from vanishing. An unscheduled one does not:
/// the node will refuse to start it. One that has ended does, until it is
/// deleted, unless the claim is its own.
pub fn uses(pod: &Pod, claim: &Claim) -> bool {
    let same_namespace = pod.meta.key.namespace == claim.meta.key.namespace;
    if !same_namespace || !pod.is_scheduled() {
        return false;
    }
    let shut_down = pod.meta.deleting.is_some() && pod.grace_seconds == Some(0);
    let owned = claim.meta.owner.as_ref().is_some_and(|owner| owner.uid == pod.meta.uid);
    pod.claims
        .iter()
        .any(|used| used.claim == claim.meta.key.name && (!used.ephemeral || (owned && !shut_down)))
}

/// The controller.
pub struct ClaimProtection {
    parts: Parts,
    /// The pods last seen: of a deleted one only its key is told.
    pods: Mutex<HashMap<Key, Arc<Pod>>>,
    /// Lists of pods that are about to be asked for, by namespace.
    lists: Mutex<HashMap<Arc<str>, LivePods>>,
}

/// A list of pods that several passes wait for.
type LivePods = Shared<BoxFuture<'static, Result<Arc<Vec<Pod>>, String>>>;

impl ClaimProtection {
    pub fn new(parts: Parts) -> Self {
        Self { parts, pods: Mutex::default(), lists: Mutex::default() }
    }

    async fn pass(&self, key: Key) -> Pass {
        let object = ObjectRef::new(kind::PERSISTENT_VOLUME_CLAIM, key.clone());
        let mut permitted = false;
        loop {
            let (claim, used) = self.parts.mirror.read(|tables| {
                let claim = tables.claims.get(&key).cloned();
                let used = claim
                    .as_ref()
                    .is_some_and(|claim| tables.pods_using(&key).any(|pod| uses(pod, claim)));
                (claim, used)
            });
            let write = match claim.as_ref().map(|claim| (claim, duty(&claim.meta, FINALIZER))) {
                Some((claim, Duty::Add)) => Some(adding(&**claim, FINALIZER, RULE)),
                Some((claim, Duty::RemoveUnlessUsed)) if !used => {
                    // A pod may have been scheduled whose event is not here yet.
                    match self.is_used_live(claim).await {
                        Err(error) => return Pass::new(Outcome::Failed(error)),
                        Ok(true) => None,
                        Ok(false) => Some(removing(&**claim, FINALIZER, RULE)),
                    }
                }
                Some((_, Duty::RemoveUnlessUsed | Duty::Nothing)) | None => None,
            };
            let Some(write) = write else {
                if permitted {
                    self.parts.server.nothing_to_do(&object, "its finalizer is right as it is");
                }
                return Pass::done();
            };
            match self.parts.perform(&write).await {
                (Written::Ended(pass), answer) => {
                    self.parts.learn::<Claim>(answer);
                    return pass;
                }
                (Written::Again, _) => permitted = true,
            }
        }
    }

    async fn is_used_live(&self, claim: &Claim) -> Result<bool, String> {
        let pods = self.live_pods(&claim.meta.key.namespace).await?;
        Ok(pods.iter().any(|pod| uses(pod, claim)))
    }

    /// The pods of a namespace as the server has them from now on. Passes of
    /// one turn share a list, or deleting a namespace full of claims would list
    /// its pods once per claim.
    async fn live_pods(&self, namespace: &Arc<str>) -> Result<Arc<Vec<Pod>>, String> {
        let (list, ask) = self.list_to_join(namespace);
        if let Some(ask) = ask {
            tokio::task::yield_now().await;
            // Once it is asked for nobody may join: what happens from then on
            // could be missing from the answer.
            self.lists().remove(namespace);
            // Our own clone of the list still listens.
            let _ = ask.send(());
        }
        list.await
    }

    /// The list that is about to be asked for, and for whoever starts it the
    /// signal to do so.
    fn list_to_join(&self, namespace: &Arc<str>) -> (LivePods, Option<oneshot::Sender<()>>) {
        let mut lists = self.lists();
        if let Some(list) = lists.get(namespace) {
            return (list.clone(), None);
        }
        let (ask, asked) = oneshot::channel();
        let (server, key) = (self.parts.server.clone(), namespace.clone());
        let list = async move {
            // A starter that was dropped has let others join; they go on.
            let _ = asked.await;
            let pods = server.list_pods(&key).await.map_err(|error| error.to_string())?;
            let pods: Result<Vec<Pod>, _> = pods.iter().map(Pod::from_object).collect();
            pods.map(Arc::new).map_err(|error| error.to_string())
        };
        let list = list.boxed().shared();
        lists.insert(namespace.clone(), list.clone());
        (list, Some(ask))
    }

    fn lists(&self) -> MutexGuard<'_, HashMap<Arc<str>, LivePods>> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The claims that a change of a pod may set free.
    fn take_in_pod(&self, key: &Key, claims: &mut BTreeSet<Key>) {
        let pod = self.parts.mirror.read(|tables| tables.pods.get(key).cloned());
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match &pod {
            Some(pod) => pods.insert(key.clone(), pod.clone()),
            None => pods.remove(key),
        };
        let same = |pod: &Pod| before.as_ref().is_some_and(|old| old.meta.uid == pod.meta.uid);
        if let Some(old) = before.as_ref().filter(|_| !pod.as_deref().is_some_and(same)) {
            claims.extend(claims_of(old));
        }
        if let Some(pod) = pod.filter(|pod| pod.is_terminated() || !pod.is_scheduled()) {
            claims.extend(claims_of(&pod));
        }
    }
}

impl Reconciler for ClaimProtection {
    fn take_in(&self, changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        let mut claims = BTreeSet::new();
        for object in changed {
            if object.kind == kind::POD {
                self.take_in_pod(&object.key, &mut claims);
            } else if object.kind == kind::PERSISTENT_VOLUME_CLAIM {
                claims.insert(object.key);
            }
        }
        let called_for = |key: &Key| {
            self.parts.mirror.read(|tables| {
                let claim = tables.claims.get(key);
                claim.is_some_and(|claim| duty(&claim.meta, FINALIZER) != Duty::Nothing)
            })
        };
        claims
            .into_iter()
            .filter(called_for)
            .map(|key| ObjectRef::new(kind::PERSISTENT_VOLUME_CLAIM, key))
            .collect()
    }

    fn reconcile(self: Arc<Self>, object: ObjectRef) -> BoxFuture<'static, Pass> {
        Box::pin(async move { self.pass(object.key).await })
    }
}
