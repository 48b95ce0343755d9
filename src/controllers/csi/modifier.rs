//! Changes volumes to the attributes class that their claims ask for: the
//! second half of external-resizer.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use jiff::Timestamp;
use pvdeck_csi_proto::csi::ControllerModifyVolumeRequest;
use pvdeck_csi_proto::csi::controller_service_capability::rpc;
use serde_json::Value;
use tonic::Code;

use crate::controllers::csi::Parts;
use crate::controllers::csi::modify::{self, Claim, MODIFY_SECRET, Next, decide};
use crate::controllers::csi::retries::Retries;
use crate::controllers::csi::shell::Secrets;
use crate::controllers::work_loop::{Pass, Reconciler};
use crate::model::claim::{self, ClaimPhase};
use crate::model::event::Severity;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::write::Write;
use crate::plugins::csi::error::CallError;

/// The modifier of one driver.
pub struct Modifier {
    parts: Parts,
    retries: Retries,
    /// Claims about which the driver's last answer was a certain one, with the
    /// end of the pause after a refusal for ever. Of all others a change may
    /// still be going on.
    certain: Mutex<HashMap<Key, Option<Timestamp>>>,
}

/// A claim with its volume.
struct Pair {
    object: ObjectRef,
    claim: Value,
    reference: ObjectRef,
    volume: Value,
}

impl Modifier {
    pub fn new(parts: Parts) -> Self {
        Self { parts, retries: Retries::default(), certain: Mutex::default() }
    }

    fn certain(&self) -> MutexGuard<'_, HashMap<Key, Option<Timestamp>>> {
        self.certain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn pass(self: Arc<Self>, object: ObjectRef) -> Pass {
        let done = self.claim(&object).await;
        self.parts.end(&self.retries, &object, done.map_err(|error| (error, None)))
    }

    async fn claim(&self, object: &ObjectRef) -> Result<(), String> {
        let shell = &self.parts.shell;
        let Some(claim) = shell.get(object).await? else { return Ok(()) };
        if claim["status"]["phase"] != "Bound" {
            return Ok(());
        }
        let name = claim["spec"]["volumeName"].as_str().unwrap_or_default();
        let reference = ObjectRef::new(kind::PERSISTENT_VOLUME, Key::cluster(name));
        let volume = shell.expect(&reference).await?;
        if volume["spec"]["csi"]["driver"] != *self.parts.driver {
            return Ok(());
        }
        let client = self.parts.client.with_deadline(self.parts.settings.timeout);
        let abilities = client.abilities().await.map_err(|error| error.to_string())?;
        if !abilities.can(rpc::Type::ModifyVolume) {
            return Ok(());
        }
        let pair = Pair { object: object.clone(), claim, reference, volume };
        let known = self.certain().get(&object.key).copied();
        let is_slow = known.flatten().is_some_and(|until| until > shell.clock.now());
        match decide(&pair.claim, known.is_some(), is_slow) {
            Next::Nothing => Ok(()),
            Next::NotYet => Err(format!(
                "skipping volume modification for pvc {}, because modification previously failed \
                 with infeasible error",
                object.key
            )),
            Next::RollBack => self.roll_back(&pair).await,
            Next::Begin(class) => self.begin(&pair, &class).await,
            Next::GoOn(class) => {
                let parameters = self.parameters(&pair, &class).await?;
                let missing = || format!("attributes class {class} does not exist");
                self.change(&pair, &class, parameters.ok_or_else(missing)?).await
            }
        }
    }

    fn tell(&self, pair: &Pair, severity: Severity, reason: &'static str, message: String) {
        let kind = kind::PERSISTENT_VOLUME_CLAIM;
        self.parts.shell.tell(kind, &pair.claim, severity, reason, message);
    }

    async fn settle(
        &self,
        pair: &Pair,
        decide: impl Fn(&Claim<'_>) -> Option<Write>,
    ) -> Result<(), String> {
        let (object, time) = (&pair.object, self.parts.shell.time());
        let decide = |now: &Value| decide(&Claim { object, now, time: &time });
        let settled = self.parts.shell.settle(object, decide).await;
        settled.map(drop).map_err(|error| error.to_string())
    }

    async fn roll_back(&self, pair: &Pair) -> Result<(), String> {
        let time = self.parts.shell.time();
        let claim = Claim { object: &pair.object, now: &pair.claim, time: &time };
        if claim.rolled_back().is_none() {
            return Ok(());
        }
        let text = "Cancelled modify.".to_owned();
        self.tell(pair, Severity::Normal, "VolumeModifyCanceled", text);
        self.settle(pair, |claim| claim.rolled_back()).await
    }

    /// The parameters of a class; one that does not exist is told.
    async fn parameters(
        &self,
        pair: &Pair,
        class: &str,
    ) -> Result<Option<HashMap<String, String>>, String> {
        let object = ObjectRef::new(kind::VOLUME_ATTRIBUTES_CLASS, Key::cluster(class));
        let Some(found) = self.parts.shell.get(&object).await? else {
            let text = format!("VAC \"{class}\" does not exist.");
            self.tell(pair, Severity::Warning, "VolumeModifyFailed", text);
            return Ok(None);
        };
        let entries = found["parameters"].as_object().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(Some(entries.map(|(key, value)| (key.clone(), text(value))).collect()))
    }

    async fn begin(&self, pair: &Pair, class: &str) -> Result<(), String> {
        let Some(parameters) = self.parameters(pair, class).await? else {
            return self.settle(pair, |claim| claim.pending()).await;
        };
        // What is asked for may have changed: then that is looked at next.
        let wanted = |now: &Value| now["spec"]["volumeAttributesClassName"] == *class;
        self.settle(pair, |claim| wanted(claim.now).then(|| claim.begin(class)).flatten()).await?;
        let name = &pair.object.key.name;
        let text = format!("external resizer is modifying volume {name} with vac {class}");
        self.tell(pair, Severity::Normal, "VolumeModify", text);
        self.change(pair, class, parameters).await
    }

    /// Has the driver change the volume, and tells how that went.
    async fn change(
        &self,
        pair: &Pair,
        class: &str,
        mutable_parameters: HashMap<String, String>,
    ) -> Result<(), String> {
        let volume_id = pair.volume["spec"]["csi"]["volumeHandle"].as_str().unwrap_or_default();
        let request = ControllerModifyVolumeRequest {
            volume_id: volume_id.to_owned(),
            secrets: self.secrets(&pair.volume).await?,
            mutable_parameters,
        };
        let client = self.parts.client.with_deadline(self.parts.settings.timeout);
        if let Err(error) = client.controller_modify_volume(request).await {
            return Err(self.refused(pair, class, &error).await);
        }
        let reference = &pair.reference;
        let shell = &self.parts.shell;
        let told =
            shell.settle(reference, |now| modify::volume_has_class(reference, now, class)).await;
        told.map_err(|error| error.to_string())?;
        self.settle(pair, |claim| claim.done(class)).await?;
        self.certain().remove(&pair.object.key);
        let name = &pair.object.key.name;
        let text = format!("external resizer modified volume {name} with vac {class} successfully");
        self.tell(pair, Severity::Normal, "VolumeModifySuccessful", text);
        Ok(())
    }

    async fn refused(&self, pair: &Pair, class: &str, error: &CallError) -> String {
        let (key, now) = (&pair.object.key, self.parts.shell.clock.now());
        let mut text = error.to_string();
        if error.leaves_doubt() {
            self.certain().remove(key);
            text.push_str(&format!(". Still modifying to VAC {class}"));
        } else {
            let for_ever = error.code == Code::InvalidArgument;
            let slow = for_ever.then_some(now + self.parts.settings.retry_max);
            self.certain().insert(key.clone(), slow);
        }
        if let Err(error) = self.settle(pair, |claim| claim.failed(class, error)).await {
            tracing::warn!("{key}: {error}");
        }
        self.tell(pair, Severity::Warning, "VolumeModifyFailed", text.clone());
        text
    }

    async fn secrets(&self, volume: &Value) -> Result<Secrets, String> {
        let annotations = &volume["metadata"]["annotations"];
        let [name, namespace] = MODIFY_SECRET.map(|key| annotations[key].as_str());
        let reference = &volume["spec"]["csi"]["controllerExpandSecretRef"];
        let (name, namespace) = match (name, namespace) {
            (Some(name), Some(namespace)) => (Some(name), namespace),
            _ => (reference["name"].as_str(), reference["namespace"].as_str().unwrap_or_default()),
        };
        match name.filter(|name| !name.is_empty()) {
            None => Ok(Secrets::new()),
            Some(name) => self.parts.shell.secrets(namespace, name).await,
        }
    }

    /// Whether a claim's row says that there may be something to do.
    fn calls_for_it(&self, claim: &claim::Claim) -> bool {
        let differs = claim.attributes_class != claim.current_attributes_class
            || !claim.target_attributes_class.is_empty();
        claim.phase == ClaimPhase::Bound && differs
    }

    fn is_ours(&self, object: &ObjectRef) -> bool {
        object.kind == kind::PERSISTENT_VOLUME_CLAIM
            && self.parts.shell.mirror.read(|tables| {
                let claim = tables.claims.get(&object.key).filter(|row| self.calls_for_it(row))?;
                let volume = tables.volumes.get(&Key::cluster(claim.volume_name.clone()))?;
                Some(volume.source.driver.as_deref() == Some(&*self.parts.driver))
            }) == Some(true)
    }

    /// The claims that ask for a class.
    fn asking_for(&self, class: &ObjectRef) -> Vec<ObjectRef> {
        self.parts.shell.mirror.read(|tables| {
            let asking = tables
                .claims
                .iter()
                .filter(|row| *row.attributes_class == *class.key.name && self.calls_for_it(row));
            asking
                .map(|row| ObjectRef::new(kind::PERSISTENT_VOLUME_CLAIM, row.meta.key.clone()))
                .collect()
        })
    }
}

impl Reconciler for Modifier {
    fn take_in(&self, changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        let mut mine = Vec::new();
        for object in changed {
            if object.kind == kind::VOLUME_ATTRIBUTES_CLASS {
                // Claims may have waited for it. Classes change seldom.
                mine.extend(self.asking_for(&object).into_iter().filter(|one| self.is_ours(one)));
            } else if self.is_ours(&object) {
                mine.push(object);
            }
        }
        mine.sort();
        mine.dedup();
        mine
    }

    fn everything(&self) -> Vec<ObjectRef> {
        let claims = self.parts.shell.mirror.read(|tables| {
            let claims = tables.claims.iter().filter(|row| self.calls_for_it(row));
            claims
                .map(|row| ObjectRef::new(kind::PERSISTENT_VOLUME_CLAIM, row.meta.key.clone()))
                .collect::<Vec<_>>()
        });
        claims.into_iter().filter(|object| self.is_ours(object)).collect()
    }

    fn reconcile(self: Arc<Self>, object: ObjectRef) -> BoxFuture<'static, Pass> {
        Box::pin(self.pass(object))
    }
}
