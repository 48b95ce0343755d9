//! `kubernetes.io/pvc-protection`: a claim stays while a scheduled pod uses it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::sync::oneshot;

use super::{Duty, SETTLED, adding, duty, removing};
use crate::controllers::parts::Parts;
use crate::controllers::persistent_volume::cache::claims_of;
use crate::controllers::work_loop::{Pass, Reconciler};
use crate::model::claim::Claim;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::pod::Pod;
use crate::model::row::Row;
use crate::model::write::Write;

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

    /// The write that a claim's finalizer calls for.
    async fn decide(&self, key: &Key) -> Result<Option<Write>, String> {
        let found = self.parts.mirror.read(|tables| {
            let claim = tables.claims.get(key)?.clone();
            let used = tables.pods_using(key).any(|pod| uses(pod, &claim));
            Some((claim, used))
        });
        let Some((claim, used)) = found else { return Ok(None) };
        Ok(match duty(&claim.meta, FINALIZER) {
            Duty::Add => Some(adding(&*claim, FINALIZER, RULE)),
            // A pod may have been scheduled whose event is not here yet.
            Duty::RemoveUnlessUsed if !used && !self.is_used_live(&claim).await? => {
                Some(removing(&*claim, FINALIZER, RULE))
            }
            Duty::RemoveUnlessUsed | Duty::Nothing => None,
        })
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
        Box::pin(async move {
            self.parts.write_once(&object, SETTLED, || self.decide(&object.key)).await
        })
    }
}
