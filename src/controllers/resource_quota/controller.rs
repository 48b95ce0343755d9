//! The quota controller's shell: which quotas to recount, and when.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;

use super::{Recount, charged_alike, recount};
use crate::controllers::parts::Parts;
use crate::controllers::work_loop::{Pass, Reconciler};
use crate::model::claim::Claim;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::quota::ResourceQuota;
use crate::model::row::Row;
use crate::model::write::Write;

/// How often every quota is recounted whatever happens: repairs what was
/// charged for a claim that then was not stored.
pub const FULL_ROUND: Duration = Duration::from_secs(300);

/// The controller.
pub struct ResourceQuotaController {
    parts: Parts,
    watched: Mutex<HashMap<Arc<str>, Watched>>,
}

/// What was last seen of a namespace that has a quota.
#[derive(Default)]
struct Watched {
    quotas: HashSet<Arc<str>>,
    claims: HashMap<Key, Arc<Claim>>,
}

impl ResourceQuotaController {
    pub fn new(parts: Parts) -> Self {
        Self { parts, watched: Mutex::default() }
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<Arc<str>, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a quota that changed is to be recounted: it is new, or its
    /// limits are not yet those that are wanted.
    fn take_in_quota(&self, key: &Key) -> bool {
        let mut watched = self.watched();
        self.parts.mirror.read(|tables| {
            let Some(quota) = tables.quotas.get(key) else {
                if tables.quotas.in_namespace(key.namespace.clone()).next().is_none() {
                    watched.remove(&key.namespace);
                }
                return false;
            };
            let known = watched.entry(key.namespace.clone()).or_insert_with(|| Watched {
                quotas: HashSet::new(),
                claims: tables
                    .claims
                    .in_namespace(key.namespace.clone())
                    .map(|claim| (claim.meta.key.clone(), claim.clone()))
                    .collect(),
            });
            known.quotas.insert(quota.meta.uid.clone()) || quota.hard != quota.wanted
        })
    }

    /// Whether a claim's change gives something back or takes more. A new
    /// claim's admission has charged it already.
    fn take_in_claim(&self, key: &Key) -> bool {
        let mut watched = self.watched();
        let Some(known) = watched.get_mut(&key.namespace) else { return false };
        match self.parts.mirror.read(|tables| tables.claims.get(key).cloned()) {
            None => known.claims.remove(key).is_some(),
            Some(now) => {
                let before = known.claims.insert(key.clone(), now.clone());
                before.is_some_and(|before| !charged_alike(&before, &now))
            }
        }
    }

    /// The write that a quota's status calls for.
    async fn decide(&self, object: &ObjectRef) -> Result<Option<Write>, String> {
        let key = &object.key;
        let counted = self.parts.mirror.read(|tables| {
            let quota = tables.quotas.get(key)?.clone();
            let claims = tables.claims.in_namespace(key.namespace.clone()).map(|claim| &**claim);
            let count = recount(&quota, claims);
            Some((quota, count))
        });
        let counted = match counted {
            Some((quota, count)) if count.gives_back(&quota) => self.counted_live(object).await?,
            counted => counted,
        };
        Ok(counted.and_then(|(quota, count)| count.write(&quota)))
    }

    /// The quota, and after it the claims, as the server has them now: the
    /// mirror may not have seen a claim yet that has been charged.
    async fn counted_live(
        &self,
        object: &ObjectRef,
    ) -> Result<Option<(Arc<ResourceQuota>, Recount)>, String> {
        let server = &self.parts.server;
        let quota = server.get(object).await.map_err(|error| error.to_string())?;
        let Some(quota) = quota else { return Ok(None) };
        let quota = ResourceQuota::from_object(&quota).map_err(|error| error.to_string())?;
        let namespace = object.key.namespace();
        let claims = server.list(kind::PERSISTENT_VOLUME_CLAIM, namespace).await;
        let claims = claims.map_err(|error| error.to_string())?;
        let claims: Result<Vec<Claim>, _> = claims.iter().map(Claim::from_object).collect();
        let claims = claims.map_err(|error| error.to_string())?;
        let count = recount(&quota, claims.iter());
        Ok(Some((Arc::new(quota), count)))
    }
}

fn reference(key: Key) -> ObjectRef {
    ObjectRef::new(kind::RESOURCE_QUOTA, key)
}

impl Reconciler for ResourceQuotaController {
    fn take_in(&self, changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        let mut quotas = BTreeSet::new();
        let mut namespaces = BTreeSet::new();
        for object in &changed {
            if object.kind == kind::RESOURCE_QUOTA && self.take_in_quota(&object.key) {
                quotas.insert(object.key.clone());
            }
        }
        for object in changed {
            if object.kind == kind::PERSISTENT_VOLUME_CLAIM && self.take_in_claim(&object.key) {
                namespaces.insert(object.key.namespace);
            }
        }
        self.parts.mirror.read(|tables| {
            for namespace in &namespaces {
                let of = tables.quotas.in_namespace(namespace.clone());
                quotas.extend(of.map(|quota| quota.meta.key.clone()));
            }
        });
        quotas.into_iter().map(reference).collect()
    }

    fn everything(&self) -> Vec<ObjectRef> {
        self.parts.mirror.read(|tables| {
            tables.quotas.iter().map(|quota| reference(quota.meta.key.clone())).collect()
        })
    }

    fn reconcile(self: Arc<Self>, object: ObjectRef) -> BoxFuture<'static, Pass> {
        Box::pin(async move {
            let settled = "its status is right as it is";
            self.parts.write_once(&object, settled, || self.decide(&object)).await
        })
    }
}
