//! Makes volumes for claims, and deletes them: what external-provisioner does.
//!
//! ```text
//! claim  ─> decide ─> CreateVolume ─> volume object ─> event
//! volume ─> finalizer | DeleteVolume ─> delete object ─> finalizer off
//! ```

mod delete;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use pvdeck_csi_proto::csi;
use pvdeck_csi_proto::csi::plugin_capability::service;
use serde_json::{Value, json};

use crate::cluster::write_path::WriteError;
use crate::controllers::csi::Parts;
use crate::controllers::csi::parameters::{Parameters, SECRET_USES, SecretRef, SecretUse};
use crate::controllers::csi::plan::{self, CLONING, Failure, Given, Source, State};
use crate::controllers::csi::retries::Retries;
use crate::controllers::csi::shell::{finalizers, patch};
use crate::controllers::csi::topology::{self, Where};
use crate::controllers::work_loop::{Pass, Reconciler};
use crate::model::claim::Claim;
use crate::model::class::BindingMode;
use crate::model::event::Severity;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::volume::Volume;
use crate::model::write::{Change, Reason, Write};
use crate::plugins::csi::capability::ControllerAbilities;

/// Annotations of a claim: who is to provision it.
const PROVISIONERS: [&str; 3] = [
    "volume.kubernetes.io/storage-provisioner",
    "volume.beta.kubernetes.io/storage-provisioner",
    "pv.kubernetes.io/migrated-to",
];
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// A volume that is not as it was asked for is deleted again: so many tries.
const CLEAN_UP_TRIES: usize = 5;

/// The provisioner of one driver.
pub struct Provisioner {
    parts: Parts,
    /// Stamped on every volume, to tell provisioners apart.
    identity: String,
    retries: Retries,
    /// Claims whose volume may have been made without us knowing, as they were.
    in_doubt: Mutex<HashMap<Key, Value>>,
    /// Volumes of which the driver has deleted what is behind them, by uid,
    /// until they are free to go: it need not be asked again. Without this it
    /// only is.
    emptied: Mutex<HashMap<ObjectRef, Arc<str>>>,
}

impl Provisioner {
    pub fn new(parts: Parts) -> Self {
        let started = parts.shell.clock.now().as_millisecond();
        let identity = format!("{started}-pvdeck-{}", parts.driver);
        let (retries, in_doubt, emptied) = Default::default();
        Self { parts, identity, retries, in_doubt, emptied }
    }

    fn in_doubt(&self) -> MutexGuard<'_, HashMap<Key, Value>> {
        self.in_doubt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn emptied(&self) -> MutexGuard<'_, HashMap<ObjectRef, Arc<str>>> {
        self.emptied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a claim's row says that this provisioner may have to act.
    fn concerns_claim(&self, claim: &Claim) -> bool {
        claim.volume_name.is_empty()
            && PROVISIONERS
                .iter()
                .any(|key| claim.meta.annotation(key) == Some(&*self.parts.driver))
    }

    fn concerns_volume(&self, volume: &Volume) -> bool {
        volume.meta.annotation(PROVISIONED_BY) == Some(&*self.parts.driver)
    }

    fn is_ours(&self, object: &ObjectRef) -> bool {
        let key = &object.key;
        if object.kind == kind::PERSISTENT_VOLUME_CLAIM {
            let row = self.parts.shell.mirror.read(|tables| tables.claims.get(key).cloned());
            return row.is_some_and(|claim| self.concerns_claim(&claim))
                || self.in_doubt().contains_key(key);
        }
        let row = self.parts.shell.mirror.read(|tables| tables.volumes.get(key).cloned());
        object.kind == kind::PERSISTENT_VOLUME
            && row.is_some_and(|volume| self.concerns_volume(&volume))
    }

    async fn pass(self: Arc<Self>, object: ObjectRef) -> Pass {
        let tried = if object.kind == kind::PERSISTENT_VOLUME {
            self.volume(&object).await.map_err(Failure::finished)
        } else {
            self.claim(&object).await
        };
        let settings = &self.parts.settings;
        let mut pass = Pass::done();
        match tried {
            Ok(()) => self.retries.succeeded(&object),
            Err(failure) => {
                let shell = &self.parts.shell;
                shell.health.failed(shell.clock.now(), object.to_string(), failure.text);
                let pause = match failure.state {
                    State::Infeasible => settings.retry_max,
                    _ => self.retries.failed(&object, settings.retry_start, settings.retry_max),
                };
                pass.again_after = Some(pause);
            }
        }
        pass
    }

    /// Provisions for a claim if that is called for.
    async fn claim(&self, object: &ObjectRef) -> Result<(), Failure> {
        let doubtful = self.in_doubt().get(&object.key).cloned();
        let is_doubtful = doubtful.is_some();
        let no_change = |text: String| Failure::new(State::NoChange, text);
        let now = self.parts.shell.get(object).await.map_err(no_change)?;
        // What was begun for a claim that is gone is brought to its end.
        let Some(claim) = doubtful.or(now) else { return Ok(()) };
        if !is_doubtful && !self.is_called_for(&claim) {
            return Ok(());
        }
        let name = plan::volume_name(&claim);
        if self.parts.shell.mirror.read(|t| t.volumes.get(&Key::cluster(&*name)).is_some()) {
            self.in_doubt().remove(&object.key);
            return Ok(());
        }
        self.tell(&claim, Severity::Normal, "Provisioning", {
            let Key { namespace, name } = &object.key;
            format!("External provisioner is provisioning volume for claim \"{namespace}/{name}\"")
        });
        match self.provision(&claim).await {
            // Somebody else's: forgotten, as upstream.
            Ok(None) => Ok(()),
            Ok(Some(volume)) => {
                self.in_doubt().remove(&object.key);
                let text = format!("Successfully provisioned volume {volume}");
                self.tell(&claim, Severity::Normal, "ProvisioningSucceeded", text);
                Ok(())
            }
            Err(failure) => {
                self.note(object, &claim, &failure).await;
                Err(failure)
            }
        }
    }

    fn is_called_for(&self, claim: &Value) -> bool {
        let metadata = &claim["metadata"];
        let annotation = |key: &str| metadata["annotations"][key].as_str();
        let ours = PROVISIONERS.iter().any(|key| annotation(key) == Some(&*self.parts.driver));
        let named = claim["spec"]["volumeName"].as_str().is_some_and(|name| !name.is_empty());
        if !ours || named || metadata["deletionTimestamp"].is_string() {
            return false;
        }
        let class = claim["spec"]["storageClassName"].as_str().unwrap_or_default();
        let class = Key::cluster(class);
        let mode = self
            .parts
            .shell
            .mirror
            .read(|tables| tables.classes.get(&class).and_then(|class| class.binding_mode));
        mode != Some(BindingMode::WaitForFirstConsumer) || annotation(SELECTED_NODE).is_some()
    }

    /// Remembers what a failure leaves behind, and tells it.
    async fn note(&self, object: &ObjectRef, claim: &Value, failure: &Failure) {
        match failure.state {
            State::InBackground => {
                self.in_doubt().insert(object.key.clone(), claim.clone());
            }
            State::NoChange => {}
            State::Finished | State::Infeasible | State::Reschedule => {
                self.in_doubt().remove(&object.key);
            }
        }
        let text = match failure.state {
            State::Infeasible => format!(
                "Volume provisioning failed with infeasible error. Retries will be delayed. {}",
                failure.text
            ),
            _ => failure.text.clone(),
        };
        self.tell(claim, Severity::Warning, "ProvisioningFailed", text);
        if failure.state == State::Reschedule {
            self.reschedule(object).await;
        }
    }

    /// Takes the selected node away, so that the scheduler chooses again.
    async fn reschedule(&self, object: &ObjectRef) {
        let decide = |claim: &Value| {
            claim["metadata"]["annotations"][SELECTED_NODE].as_str()?;
            let change = json!({"metadata": {"annotations": {SELECTED_NODE: null}}});
            let why = "the driver has no room in this node's topology: the scheduler is to choose \
                       another";
            Some(patch(object, claim, change, Reason::new("provisioner-reschedule", why)))
        };
        if let Err(error) = self.parts.shell.settle(object, decide).await {
            tracing::warn!("{object}: {error}");
        }
    }

    fn tell(&self, claim: &Value, severity: Severity, reason: &'static str, message: String) {
        let kind = kind::PERSISTENT_VOLUME_CLAIM;
        self.parts.shell.tell(kind, claim, severity, reason, message);
    }

    /// Makes the volume and its object; gives its name. `None`: a populator is
    /// to make it.
    async fn provision(&self, claim: &Value) -> Result<Option<String>, Failure> {
        let shell = &self.parts.shell;
        let no_change = |text: String| Failure::new(State::NoChange, text);
        let class = claim["spec"]["storageClassName"].as_str().unwrap_or_default();
        let class = ObjectRef::new(kind::STORAGE_CLASS, Key::cluster(class));
        let class = shell.expect(&class).await.map_err(no_change)?;
        let source = plan::source_of(claim);
        if source == Source::Other {
            let text = "Assuming an external populator will provision the volume".to_owned();
            self.tell(claim, Severity::Normal, "Provisioning", text);
            return Ok(None);
        }
        let client = self.parts.client.with_deadline(self.parts.settings.timeout);
        let abilities = client.abilities().await.map_err(|error| no_change(error.to_string()))?;
        if let Some(why) = plan::why_unable(claim, &source, &abilities) {
            return Err(Failure::finished(why));
        }
        let parameters = Parameters::of(&class).map_err(Failure::finished)?;
        let clone_of = match &source {
            Source::Claim(name) => Some(self.source(claim, name).await.map_err(no_change)?),
            _ => None,
        };
        let topology = self.topology(claim, &class, &abilities).await?;
        let secrets = secret_refs(&parameters, claim).map_err(no_change)?;
        let contents = match secrets.iter().find(|(secret, _)| *secret == SecretUse::Provisioner) {
            Some((_, at)) => shell.secrets(&at.namespace, &at.name).await.map_err(no_change)?,
            None => HashMap::new(),
        };
        if let Some(why) = parameters.why_unknown() {
            return Err(Failure::finished(format!(
                "failed to strip CSI Parameters of prefixed keys: {why}"
            )));
        }
        let given = Given {
            claim,
            class: &class,
            parameters: &parameters,
            abilities: &abilities,
            default_fs_type: &self.parts.settings.default_fs_type,
            extra_metadata: self.parts.settings.extra_create_metadata,
            clone_of,
            topology,
            secrets: contents,
            mutable: self.mutable_parameters(claim).await.map_err(no_change)?,
        };
        let made = self.create(&given).await?;
        let volume = self.object(&given, &made, &secrets);
        self.save(claim, volume).await.map(Some)
    }

    fn object(
        &self,
        given: &Given<'_>,
        made: &csi::Volume,
        secrets: &[(SecretUse, SecretRef)],
    ) -> Value {
        let driver = self.parts.client.driver();
        given.volume(&self.parts.driver, driver, &self.identity, made, secrets)
    }

    async fn create(&self, given: &Given<'_>) -> Result<csi::Volume, Failure> {
        let client = self.parts.client.with_deadline(self.parts.settings.timeout);
        let can_move = given.topology.is_some()
            && given.claim["metadata"]["annotations"][SELECTED_NODE].is_string();
        let reply = client.create_volume(given.request()).await;
        let reply = reply
            .map_err(|error| Failure::new(plan::state_of(&error, can_move), error.to_string()))?;
        let made = reply.volume.unwrap_or_default();
        let Some(why) = given.why_wrong(&made) else { return Ok(made) };
        for _ in 0..CLEAN_UP_TRIES {
            let request = csi::DeleteVolumeRequest {
                volume_id: made.volume_id.clone(),
                secrets: given.secrets.clone(),
            };
            if client.delete_volume(request).await.is_ok() {
                break;
            }
        }
        Err(Failure::new(State::InBackground, why))
    }

    /// Creates the volume's object. The volume itself is never deleted because
    /// that fails: the next try finds it again by its name.
    async fn save(&self, claim: &Value, volume: Value) -> Result<String, Failure> {
        let name = plan::volume_name(claim);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &claim["metadata"];
        let key = Key::new(text(&metadata["namespace"]), text(&metadata["name"]));
        let write = Write {
            object: ObjectRef::new(kind::PERSISTENT_VOLUME, Key::cluster(&*name)),
            subresource: None,
            change: Change::Create(volume),
            version: None,
            on_behalf_of: ObjectRef::new(kind::PERSISTENT_VOLUME_CLAIM, key),
            reason: Reason::new("provision", "the driver has made the volume for this claim"),
        };
        match self.parts.shell.perform(&write).await {
            Ok(_) | Err(WriteError::AlreadyExists { .. }) => Ok(name),
            Err(error) => Err(Failure::new(State::InBackground, error.to_string())),
        }
    }

    /// The handle of the volume of the claim that is to be copied; that claim
    /// is kept from being deleted first.
    async fn source(&self, claim: &Value, name: &str) -> Result<String, String> {
        let shell = &self.parts.shell;
        let namespace = claim["metadata"]["namespace"].as_str().unwrap_or_default();
        let begin = format!(
            "error getting handle for DataSource Type PersistentVolumeClaim by Name {name}"
        );
        let object = ObjectRef::new(kind::PERSISTENT_VOLUME_CLAIM, Key::new(namespace, name));
        let source = shell.get(&object).await?.ok_or_else(|| {
            format!(
                "{begin}: error getting PVC {name} (namespace \"{namespace}\") from api server: \
                 persistentvolumeclaim \"{name}\" not found"
            )
        })?;
        let volume = source["spec"]["volumeName"].as_str().unwrap_or_default();
        let volume = ObjectRef::new(kind::PERSISTENT_VOLUME, Key::cluster(volume));
        let volume = shell.get(&volume).await?.unwrap_or_default();
        let handle = plan::clone_of(self.parts.client.driver(), claim, &source, &volume)
            .map_err(|error| format!("{begin}: {error}"))?;
        let decide = |source: &Value| {
            let mut list = finalizers(source);
            if list.contains(&CLONING) || source["metadata"]["deletionTimestamp"].is_string() {
                return None;
            }
            list.push(CLONING);
            let change = json!({"metadata": {"finalizers": list}});
            let why = "its volume is being copied for another claim";
            Some(patch(&object, source, change, Reason::new("clone-protection", why)))
        };
        shell.settle(&object, decide).await.map_err(|error| error.to_string())?;
        Ok(handle)
    }

    /// Takes the finalizer off a deleted claim that no pending claim copies.
    async fn release_source(&self, object: &ObjectRef) -> Result<(), String> {
        let copied = self.parts.shell.mirror.read(|tables| {
            let in_namespace = |claim: &&Arc<Claim>| {
                claim.meta.key.namespace == object.key.namespace && self.concerns_claim(claim)
            };
            tables.claims.iter().filter(in_namespace).any(|claim| claim.has_data_source)
        });
        let decide = |source: &Value| {
            let list = finalizers(source);
            if copied
                || !list.contains(&CLONING)
                || !source["metadata"]["deletionTimestamp"].is_string()
            {
                return None;
            }
            let left: Vec<&str> = list.into_iter().filter(|name| *name != CLONING).collect();
            let change = json!({"metadata": {"finalizers": left}});
            let why = "no claim copies its volume any more";
            Some(patch(object, source, change, Reason::new("clone-protection", why)))
        };
        let settled = self.parts.shell.settle(object, decide).await;
        settled.map(drop).map_err(|error| error.to_string())
    }

    async fn mutable_parameters(&self, claim: &Value) -> Result<HashMap<String, String>, String> {
        let name = claim["spec"]["volumeAttributesClassName"].as_str().unwrap_or_default();
        if name.is_empty() {
            return Ok(HashMap::new());
        }
        let class = ObjectRef::new(kind::VOLUME_ATTRIBUTES_CLASS, Key::cluster(name));
        let class = self.parts.shell.expect(&class).await?;
        let entries = class["parameters"].as_object().into_iter().flatten();
        Ok(entries
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
            .collect())
    }

    /// Where the volume may be; `None`: the driver does not ask.
    async fn topology(
        &self,
        claim: &Value,
        class: &Value,
        abilities: &ControllerAbilities,
    ) -> Result<Option<csi::TopologyRequirement>, Failure> {
        if !abilities.serves(service::Type::VolumeAccessibilityConstraints) {
            return Ok(None);
        }
        let settings = &self.parts.settings;
        let selected = claim["metadata"]["annotations"][SELECTED_NODE].as_str();
        let waits = class["volumeBindingMode"] == "WaitForFirstConsumer";
        let nodes = self.parts.shell.mirror.read(|tables| {
            let of = |node: &Arc<crate::model::csi::CsiNode>| {
                let driver =
                    node.drivers.iter().find(|own| own.name == *self.parts.client.driver())?;
                let labels = tables.nodes.get(&node.meta.key)?.meta.labels.clone();
                let keys = driver.topology_keys.to_vec();
                Some((node.meta.key.name.clone(), keys, labels))
            };
            tables.csi_nodes.iter().filter_map(of).collect::<Vec<_>>()
        });
        let place = Where {
            claim: claim["metadata"]["name"].as_str().unwrap_or_default(),
            selected: selected.filter(|_| waits),
            allowed: &class["allowedTopologies"],
            nodes: &nodes,
            strict: settings.strict_topology,
            immediate: settings.immediate_topology,
        };
        topology::requirement(&place).map_err(|error| {
            let text = format!("error generating accessibility requirements: {error}");
            let state = if place.selected.is_some() { State::Reschedule } else { State::NoChange };
            Failure::new(state, text)
        })
    }
}

fn secret_refs(
    parameters: &Parameters,
    claim: &Value,
) -> Result<Vec<(SecretUse, SecretRef)>, String> {
    let name = plan::volume_name(claim);
    let mut found = Vec::new();
    for secret in SECRET_USES {
        if let Some(reference) = parameters.secret(secret, &name, claim)? {
            found.push((secret, reference));
        }
    }
    Ok(found)
}

impl Reconciler for Provisioner {
    fn take_in(&self, changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        let mut mine: Vec<ObjectRef> = Vec::new();
        for object in changed {
            if self.is_ours(&object) || self.is_copied(&object) {
                mine.push(object);
            }
        }
        mine.sort();
        mine.dedup();
        mine
    }

    fn everything(&self) -> Vec<ObjectRef> {
        let objects = self.parts.shell.mirror.read(|tables| tables.objects().collect::<Vec<_>>());
        objects.into_iter().filter(|object| self.is_ours(object)).collect()
    }

    fn reconcile(self: Arc<Self>, object: ObjectRef) -> BoxFuture<'static, Pass> {
        Box::pin(async move {
            if self.is_copied(&object)
                && let Err(error) = self.release_source(&object).await
            {
                tracing::warn!("{object}: {error}");
            }
            self.pass(object).await
        })
    }
}

impl Provisioner {
    /// Whether it is a claim that is being deleted and was copied.
    fn is_copied(&self, object: &ObjectRef) -> bool {
        object.kind == kind::PERSISTENT_VOLUME_CLAIM
            && self.parts.shell.mirror.read(|tables| {
                tables.claims.get(&object.key).is_some_and(|claim| {
                    claim.meta.deleting.is_some() && claim.meta.has_finalizer(CLONING)
                })
            })
    }
}
