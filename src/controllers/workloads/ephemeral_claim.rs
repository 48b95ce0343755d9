//! EphemeralVolumeController: the claim of a pod's generic ephemeral volume,
//! made for the pod, owned by it and gone with it.
//!
//! Named `<pod>-<volume>`. A claim of that name which is not the pod's is left
//! alone, and the pod waits. Upstream: `pkg/controller/volume/ephemeral`.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::controllers::events::Note;
use crate::controllers::parts::Parts;
use crate::controllers::work_loop::{Outcome, Pass, Reconciler};
use crate::controllers::workloads::owners::controller_reference;
use crate::controllers::workloads::shell::{Act, Carried, STEPS_MAX, unsettled};
use crate::model::claim::Claim;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::pod::Pod;
use crate::model::write::{Change, Reason, Write};

/// What a pod's ephemeral volumes call for next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// The claim of this volume is missing; the pod has its template.
    Create { volume: Arc<str>, claim: Arc<str> },
    /// The claim of this volume is somebody else's.
    Conflict { volume: Arc<str>, error: String },
    /// All are there, or the pod is going.
    Rest,
}

/// Decides for one pod; `claims` holds those of its namespace that exist.
pub fn decide(pod: &Pod, claims: &BTreeMap<Arc<str>, Arc<Claim>>) -> Next {
    if pod.meta.deleting.is_some() {
        return Next::Rest;
    }
    for used in pod.claims.iter().filter(|used| used.ephemeral) {
        match claims.get(&used.claim) {
            None => {
                return Next::Create { volume: used.volume.clone(), claim: used.claim.clone() };
            }
            Some(claim) => {
                if let Err(error) = belongs_to(claim, pod) {
                    return Next::Conflict { volume: used.volume.clone(), error };
                }
            }
        }
    }
    Next::Rest
}

/// Whether a claim was made for a pod (upstream: `VolumeIsForPod`).
pub fn belongs_to(claim: &Claim, pod: &Pod) -> Result<(), String> {
    let owned = claim.meta.owner.as_ref().is_some_and(|owner| owner.uid == pod.meta.uid);
    if owned {
        return Ok(());
    }
    let (claim, pod) = (&claim.meta.key, &pod.meta.key);
    Err(format!("PVC {claim} was not created for pod {pod} (pod is not owner)"))
}

/// The claim of a volume, from the pod that has its template.
fn creation(object: &ObjectRef, pod: &Value, volume: &str, claim: &str) -> Option<Write> {
    let volumes = pod["spec"]["volumes"].as_array()?;
    let volume = volumes.iter().find(|held| held["name"] == volume)?;
    let template = &volume["ephemeral"]["volumeClaimTemplate"];
    let uid = pod["metadata"]["uid"].as_str()?;
    let owner = controller_reference(kind::POD, &object.key.name, uid);
    let mut metadata = json!({
        "name": claim, "namespace": &*object.key.namespace, "ownerReferences": [owner],
    });
    for field in ["labels", "annotations"] {
        if template["metadata"][field].is_object() {
            metadata[field] = template["metadata"][field].clone();
        }
    }
    let body = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": metadata, "spec": template["spec"],
    });
    let key = Key { namespace: object.key.namespace.clone(), name: claim.into() };
    Some(Write {
        object: ObjectRef::new(kind::PERSISTENT_VOLUME_CLAIM, key),
        subresource: None,
        change: Change::Create(body),
        version: None,
        on_behalf_of: object.clone(),
        reason: Reason::new("EV1", "the pod has a volume of its own that this claim is for"),
    })
}

/// The controller.
pub struct EphemeralClaims {
    parts: Parts,
}

impl EphemeralClaims {
    pub fn new(parts: Parts) -> Self {
        Self { parts }
    }

    fn decide(&self, key: &Key) -> Option<(Arc<Pod>, Next)> {
        self.parts.mirror.read(|tables| {
            let pod = tables.pods.get(key)?;
            let sibling =
                |name: &Arc<str>| Key { namespace: key.namespace.clone(), name: name.clone() };
            let claims = pod.claims.iter().filter(|used| used.ephemeral).filter_map(|used| {
                let claim = tables.claims.get(&sibling(&used.claim))?;
                Some((used.claim.clone(), claim.clone()))
            });
            Some((pod.clone(), decide(pod, &claims.collect())))
        })
    }

    async fn pass(&self, object: ObjectRef) -> Pass {
        let mut permitted = false;
        for _ in 0..STEPS_MAX {
            let Some((pod, next)) = self.decide(&object.key) else {
                return self.parts.rest(&object, permitted, "the pod is gone");
            };
            let (volume, claim) = match next {
                Next::Rest => return self.parts.rest(&object, permitted, "its claims are there"),
                Next::Conflict { volume, error } => return self.refuse(&pod, &volume, &error),
                Next::Create { volume, claim } => (volume, claim),
            };
            let read = self.parts.server.get(&object).await;
            let whole = match read {
                Ok(Some(whole)) if whole["metadata"]["uid"] == *pod.meta.uid => whole,
                Ok(_) => return self.parts.rest(&object, permitted, "the pod is gone"),
                Err(error) => return Pass::new(Outcome::Failed(error.to_string())),
            };
            let Some(write) = creation(&object, &whole, &volume, &claim) else {
                return self.parts.rest(&object, permitted, "the pod has no such volume");
            };
            match self.parts.carry_out(Act::silent(write)).await {
                Carried::Done(_) => permitted = false,
                Carried::Again => permitted = true,
                Carried::Outdated | Carried::Exists(_) => return Pass::new(Outcome::Outdated),
                Carried::Refused(words) => {
                    return self.refuse(&pod, &volume, &format!("create PVC {claim}: {words}"));
                }
            }
        }
        unsettled()
    }

    fn refuse(&self, pod: &Pod, volume: &str, error: &str) -> Pass {
        let message = format!("ephemeral volume {volume}: {error}");
        self.parts.tell_all([Note::warning(pod, "FailedBinding", message.clone())]);
        Pass::new(Outcome::Failed(format!("pod {}, {message}", pod.meta.key)))
    }
}

impl Reconciler for EphemeralClaims {
    fn take_in(&self, changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        let mut pods: Vec<ObjectRef> = self.parts.mirror.read(|tables| {
            let changed = changed.into_iter();
            let users = |object: ObjectRef| -> Vec<Key> {
                if object.kind == kind::POD {
                    vec![object.key]
                } else if object.kind == kind::PERSISTENT_VOLUME_CLAIM {
                    tables.pods_using(&object.key).map(|pod| pod.meta.key.clone()).collect()
                } else {
                    Vec::new()
                }
            };
            let has_own = |key: &Key| {
                let pod = tables.pods.get(key);
                pod.is_some_and(|pod| pod.claims.iter().any(|used| used.ephemeral))
            };
            let pods = changed.flat_map(users).filter(has_own);
            pods.map(|key| ObjectRef::new(kind::POD, key)).collect()
        });
        pods.sort();
        pods.dedup();
        pods
    }

    fn reconcile(self: Arc<Self>, object: ObjectRef) -> BoxFuture<'static, Pass> {
        Box::pin(async move { self.pass(object).await })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::row::Row;

    fn pod(extra: Value) -> Pod {
        let mut pod = json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "pod"},
            "spec": {"volumes": [
                {"name": "shared", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
            ]},
        });
        json_patch::merge(&mut pod, &extra);
        Pod::from_object(&pod).expect("a pod")
    }

    fn claims(owner: Option<&str>) -> BTreeMap<Arc<str>, Arc<Claim>> {
        let owners = owner.map(|uid| {
            json!([{"kind": "Pod", "name": "p", "uid": uid,
            "controller": true}])
        });
        let claim = json!({"metadata": {"name": "p-scratch", "namespace": "n", "uid": "c",
            "ownerReferences": owners}});
        let claim = Claim::from_object(&claim).expect("a claim");
        BTreeMap::from([(claim.meta.key.name.clone(), Arc::new(claim))])
    }

    #[test]
    fn each_ephemeral_volume_has_a_claim_of_its_pod() {
        let missing = Next::Create { volume: "scratch".into(), claim: "p-scratch".into() };
        assert_eq!(decide(&pod(json!({})), &BTreeMap::new()), missing);
        assert_eq!(decide(&pod(json!({})), &claims(Some("pod"))), Next::Rest);
        let going = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
        assert_eq!(decide(&pod(going), &BTreeMap::new()), Next::Rest);
        for foreign in [None, Some("yesterday's")] {
            let Next::Conflict { error, .. } = decide(&pod(json!({})), &claims(foreign)) else {
                panic!("a foreign claim is taken: {foreign:?}");
            };
            assert_eq!(error, "PVC n/p-scratch was not created for pod n/p (pod is not owner)");
        }
    }
}
