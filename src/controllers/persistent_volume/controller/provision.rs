//! The operation that provisions a volume through a plugin (P20, from step 3).

use std::time::Duration;

use serde_json::{Value, json};

use super::PersistentVolumeController;
use crate::cluster::write_path::WriteError;
use crate::controllers::events::Note;
use crate::controllers::persistent_volume::annotations::{
    BOUND_BY_CONTROLLER, CONTROLLER_FINALIZER, PROVISIONED_BY, SELECTED_NODE, YES,
};
use crate::controllers::persistent_volume::because::Because;
use crate::model::claim::Claim;
use crate::model::clock::TimerUse;
use crate::model::kind::{self, Kind};
use crate::model::object::{Key, ObjectRef};
use crate::model::row::Row;
use crate::model::write::{Change, Reason, Write};
use crate::plugins::error::PluginError;
use crate::plugins::plugin::VolumePlugin;
use crate::plugins::plugin::{Capability, ProvisionRequest};

/// How often creating the volume, and cleaning up after it, is tried.
const TRIES: usize = 5;
const PAUSE: Duration = Duration::from_secs(10);

impl PersistentVolumeController {
    pub(super) async fn provision(
        &self,
        key: &Key,
        uid: &str,
        class: &str,
        plugin: &'static str,
    ) -> Result<(), String> {
        let name = format!("pvc-{uid}");
        // Step 3: another run may have done it.
        if self.get(kind::PERSISTENT_VOLUME, Key::cluster(&*name)).await?.is_some() {
            return Ok(());
        }
        let Some(value) = self.get(kind::PERSISTENT_VOLUME_CLAIM, key.clone()).await? else {
            return Ok(());
        };
        let claim = Claim::from_object(&value).map_err(|error| error.to_string())?;
        let class_object = self.get(kind::STORAGE_CLASS, Key::cluster(class)).await?;
        let (Some(class_object), Some(doer)) = (class_object, self.plugin(plugin)) else {
            return Ok(());
        };
        if *claim.meta.uid != *uid || !claim.volume_name.is_empty() {
            return Ok(());
        }
        let complain = |message: String| {
            let note = Note::warning(&claim, "ProvisioningFailed", message.clone());
            self.parts.recorder.tell(note);
            Err(message)
        };
        // Step 5
        let options = mount_options(&class_object);
        if !options.is_empty() && !doer.facts().can(Capability::MountOptions) {
            return complain(format!(
                "Mount options are not supported by the provisioner but StorageClass \"{class}\" \
                 has mount options [{}]",
                options.join(" ")
            ));
        }
        // Step 7
        let node = match self.selected_node(&claim).await {
            Ok(node) => node,
            Err(error) => return complain(format!("Failed to get target node: {error}")),
        };
        // Steps 6 and 8
        let request = ProvisionRequest {
            volume: name.as_str().into(),
            claim: value,
            class: class_object.clone(),
            node,
        };
        let made = match doer.provision(request).await {
            Ok(made) => made,
            Err(PluginError::NotCreated(error)) => {
                return complain(format!("Failed to create provisioner: {error}"));
            }
            Err(error) => {
                self.unselect_node(&claim).await;
                return complain(format!(
                    "Failed to provision volume with StorageClass \"{class}\": {error}"
                ));
            }
        };
        // Steps 9 to 12
        let volume = complete(made, &name, &claim, class, &class_object, plugin);
        self.save(&claim, &name, volume, doer.as_ref(), plugin).await
    }

    /// Creates the volume's object; if that cannot be done, deletes what was
    /// made for it. Never an error: nothing would come of trying again at once.
    async fn save(
        &self,
        claim: &Claim,
        name: &str,
        volume: Value,
        doer: &dyn VolumePlugin,
        plugin: &'static str,
    ) -> Result<(), String> {
        let because = Because::Provision { plugin, class: claim.effective_class().into() };
        let write = Write {
            object: ObjectRef::new(kind::PERSISTENT_VOLUME, Key::cluster(name)),
            subresource: None,
            change: Change::Create(volume.clone()),
            version: None,
            on_behalf_of: ObjectRef::new(Claim::KIND, claim.meta.key.clone()),
            reason: Reason::new(because.rule(), because.to_string()),
        };
        let mut last = String::new();
        for attempt in 0..TRIES {
            if attempt > 0 {
                self.parts.clock.sleep(PAUSE, TimerUse::Work).await;
            }
            match self.create_if_wanted(&write, claim).await {
                Ok(false) => {
                    // Nobody will ask for it again; what was made for it goes.
                    return doer.delete(volume).await.map_err(|error| error.to_string());
                }
                Ok(true) | Err(WriteError::AlreadyExists { .. }) => {
                    let message = format!("Successfully provisioned volume {name} using {plugin}");
                    let note = Note::normal(claim, "ProvisioningSucceeded", message);
                    self.parts.recorder.tell(note);
                    return Ok(());
                }
                Err(error) => last = error.words(),
            }
        }
        let key = &claim.meta.key;
        let message = format!(
            "Error creating provisioned PV object for claim {key}: {last}. Deleting the volume."
        );
        self.parts.recorder.tell(Note::warning(claim, "ProvisioningFailed", message));
        for attempt in 0..TRIES {
            if attempt > 0 {
                self.parts.clock.sleep(PAUSE, TimerUse::Work).await;
            }
            match doer.delete(volume.clone()).await {
                Ok(()) => return Ok(()),
                Err(PluginError::NotCreated(error)) => {
                    last = format!("failed to create deleter for volume \"{name}\": {error}");
                }
                Err(error) => last = error.to_string(),
            }
        }
        let message = format!(
            "Error cleaning provisioned volume for claim {key}: {last}. Please delete manually."
        );
        self.parts.recorder.tell(Note::warning(claim, "ProvisioningCleanupFailed", message));
        Ok(())
    }

    /// Creates the volume, unless its claim has gone while the write was held.
    async fn create_if_wanted(&self, write: &Write, claim: &Claim) -> Result<bool, WriteError> {
        loop {
            match self.perform(write).await {
                Err(WriteError::DecideAgain { .. }) => {
                    let now = self.lock().cache.claim(&claim.meta.key).cloned();
                    if now.is_none_or(|now| now.meta.uid != claim.meta.uid) {
                        let why = Because::Gone.to_string();
                        self.parts.server.nothing_to_do(&write.on_behalf_of, &why);
                        return Ok(false);
                    }
                }
                done => return done.map(|()| true),
            }
        }
    }

    async fn get(&self, kind: &'static Kind, key: Key) -> Result<Option<Value>, String> {
        let object = ObjectRef::new(kind, key);
        self.parts.server.get(&object).await.map_err(|error| error.to_string())
    }

    /// The node chosen for the claim's first pod; none if none is chosen.
    async fn selected_node(&self, claim: &Claim) -> Result<Option<Value>, String> {
        let Some(name) = claim.meta.annotation(SELECTED_NODE) else { return Ok(None) };
        match self.get(kind::NODE, Key::cluster(name)).await? {
            Some(node) => Ok(Some(node)),
            None => Err(format!("nodes \"{name}\" not found")),
        }
    }

    /// Lets the scheduler choose another node; it does not matter if that fails.
    async fn unselect_node(&self, claim: &Claim) {
        if claim.meta.annotation(SELECTED_NODE).is_none() {
            return;
        }
        let object = ObjectRef::new(Claim::KIND, claim.meta.key.clone());
        let write = Write {
            object: object.clone(),
            subresource: None,
            change: Change::Merge(json!({"metadata": {"annotations": {SELECTED_NODE: null}}})),
            version: Some(claim.meta.version),
            on_behalf_of: object,
            reason: Reason::new("P20", "provisioning failed on the selected node"),
        };
        if let Err(error) = self.perform_as_decided(&write).await {
            tracing::warn!("{error}");
        }
    }
}

fn mount_options(class: &Value) -> Vec<&str> {
    class["mountOptions"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Step 9: what the controller adds to the volume that a plugin made.
fn complete(
    mut volume: Value,
    name: &str,
    claim: &Claim,
    class: &str,
    class_object: &Value,
    plugin: &str,
) -> Value {
    volume["apiVersion"] = "v1".into();
    volume["kind"] = kind::PERSISTENT_VOLUME.kind.into();
    if volume["metadata"]["name"].as_str().unwrap_or_default().is_empty() {
        volume["metadata"]["name"] = name.into();
    }
    volume["metadata"]["annotations"][BOUND_BY_CONTROLLER] = YES.into();
    volume["metadata"]["annotations"][PROVISIONED_BY] = plugin.into();
    let policy = class_object["reclaimPolicy"].as_str().unwrap_or("Delete");
    if volume["spec"]["persistentVolumeReclaimPolicy"].is_null() {
        volume["spec"]["persistentVolumeReclaimPolicy"] = policy.into();
    }
    if volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete" {
        volume["metadata"]["finalizers"] = json!([CONTROLLER_FINALIZER]);
    }
    volume["spec"]["storageClassName"] = class.into();
    volume["spec"]["claimRef"] = json!({
        "kind": Claim::KIND.kind,
        "apiVersion": Claim::KIND.api_version(),
        "namespace": &*claim.meta.key.namespace,
        "name": &*claim.meta.key.name,
        "uid": &*claim.meta.uid,
        "resourceVersion": claim.meta.version.to_string(),
    });
    volume["status"] = json!({"phase": "Bound"});
    volume
}
