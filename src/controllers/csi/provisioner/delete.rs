//! Deletes the volumes of released claims, and keeps their finalizer.

use std::collections::HashMap;

use pvdeck_csi_proto::csi::DeleteVolumeRequest;
use serde_json::{Value, json};

use super::{PROVISIONED_BY, Provisioner};
use crate::controllers::csi::plan::{DELETION_SECRET, FINALIZER};
use crate::controllers::csi::shell::{as_seen, finalizers, is_deleting, patch};
use crate::controllers::events::Note;
use crate::model::object::ObjectRef;
use crate::model::row::Row;
use crate::model::volume::{ReclaimPolicy, Volume, VolumePhase};
use crate::model::write::{Change, Reason, Write};

impl Provisioner {
    /// Does what a volume of ours calls for.
    pub(super) async fn volume(&self, object: &ObjectRef) -> Result<(), String> {
        let shell = &self.parts.shell;
        let driver = &*self.parts.driver;
        if let Some(known) = self.empty_and_deleted(object) {
            return self.free(Some(known), object).await;
        }
        let settled = shell.settle(object, |volume| keep_finalizer(object, driver, volume)).await;
        let Some(now) = settled.map_err(|error| error.to_string())? else { return Ok(()) };
        if !is_to_go(&now, driver) {
            return Ok(());
        }
        let row = Volume::from_object(&now).map_err(|error| error.to_string())?;
        match self.delete(object, &now).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let note = Note::warning(&row, "VolumeFailedDelete", error.clone());
                shell.recorder.tell(note);
                Err(error)
            }
        }
    }

    /// Has the driver delete what is behind the volume, and then deletes the
    /// object; that the object may go is written when its deletion is seen.
    async fn delete(&self, object: &ObjectRef, volume: &Value) -> Result<(), String> {
        self.empty(object, volume).await?;
        if is_deleting(volume) {
            return self.free(None, object).await;
        }
        let uid = volume["metadata"]["uid"].as_str().unwrap_or_default();
        self.emptied().insert(object.clone(), uid.into());
        let shell = &self.parts.shell;
        let deleted = shell.settle(object, |volume| deletion(object, volume)).await;
        deleted.map(drop).map_err(|error| error.to_string())
    }

    /// A volume of which the driver has deleted what is behind it, and whose
    /// deletion is seen.
    fn empty_and_deleted(&self, object: &ObjectRef) -> Option<Value> {
        let emptied = self.emptied().get(object).cloned()?;
        self.parts.shell.mirror.read(|tables| {
            let meta = &tables.volumes.get(&object.key)?.meta;
            (meta.uid == emptied && meta.deleting.is_some()).then(|| as_seen(meta))
        })
    }

    /// Lets the object go.
    async fn free(&self, known: Option<Value>, object: &ObjectRef) -> Result<(), String> {
        let next = |volume: &Value| without_finalizer(object, volume);
        let freed = self.parts.shell.settle_from(known, object, next).await;
        freed.map_err(|error| error.to_string())?;
        self.emptied().remove(object);
        Ok(())
    }

    /// Has the driver delete what is behind the volume.
    async fn empty(&self, object: &ObjectRef, volume: &Value) -> Result<(), String> {
        let shell = &self.parts.shell;
        let name = &object.key.name;
        let attached = shell.mirror.read(|tables| {
            tables.attachments_of(name).next().map(|attachment| attachment.node.clone())
        });
        if let Some(node) = attached {
            return Err(format!("persistentvolume {name} is still attached to node {node}"));
        }
        let annotation =
            |key: &str| volume["metadata"]["annotations"][key].as_str().unwrap_or_default();
        let (secret, namespace) = (annotation(DELETION_SECRET[0]), annotation(DELETION_SECRET[1]));
        let secrets = match secret {
            "" => HashMap::new(),
            // A Secret that is gone is no reason to keep the volume.
            secret => shell.secrets(namespace, secret).await.unwrap_or_default(),
        };
        let volume_id = volume["spec"]["csi"]["volumeHandle"].as_str().unwrap_or_default();
        let client = self.parts.client.with_deadline(self.parts.settings.timeout);
        let request = DeleteVolumeRequest { volume_id: volume_id.to_owned(), secrets };
        client.delete_volume(request).await.map(drop).map_err(|error| error.to_string())
    }
}

/// Whether the volume is one that we made.
fn is_made_by(volume: &Value, driver: &str) -> bool {
    volume["metadata"]["annotations"][PROVISIONED_BY] == driver && volume["spec"]["csi"].is_object()
}

/// Whether what is behind a volume is to be deleted.
fn is_to_go(volume: &Value, driver: &str) -> bool {
    let spec = &volume["spec"];
    is_made_by(volume, driver)
        && spec["persistentVolumeReclaimPolicy"] == ReclaimPolicy::Delete.name()
        && volume["status"]["phase"] == VolumePhase::Released.name()
        && (!is_deleting(volume) || finalizers(volume).contains(&FINALIZER))
}

/// Adds the finalizer to a bound volume that is to be deleted one day, and
/// takes it off one that is to stay.
fn keep_finalizer(object: &ObjectRef, driver: &str, volume: &Value) -> Option<Write> {
    if !is_made_by(volume, driver) {
        return None;
    }
    let mut list = finalizers(volume);
    let has = list.contains(&FINALIZER);
    let is_deleted_with_claim =
        volume["spec"]["persistentVolumeReclaimPolicy"] == ReclaimPolicy::Delete.name();
    let is_bound = volume["status"]["phase"] == VolumePhase::Bound.name();
    let why = match (has, is_deleted_with_claim) {
        (false, true) if is_bound && !is_deleting(volume) => {
            list.push(FINALIZER);
            "the volume must not go before what is behind it"
        }
        (true, false) => {
            list.retain(|name| *name != FINALIZER);
            "what is behind the volume is to stay"
        }
        _ => return None,
    };
    let change = json!({"metadata": {"finalizers": list}});
    Some(patch(object, volume, change, Reason::new("provisioner-finalizer", why)))
}

fn deletion(object: &ObjectRef, volume: &Value) -> Option<Write> {
    if is_deleting(volume) {
        return None;
    }
    let uid = &volume["metadata"]["uid"];
    Some(Write {
        object: object.clone(),
        subresource: None,
        change: Change::Delete(json!({"preconditions": {"uid": uid}})),
        version: None,
        on_behalf_of: object.clone(),
        reason: Reason::new("provisioner-delete", "the driver has deleted what was behind it"),
    })
}

fn without_finalizer(object: &ObjectRef, volume: &Value) -> Option<Write> {
    let mut list = finalizers(volume);
    if !is_deleting(volume) || !list.contains(&FINALIZER) {
        return None;
    }
    list.retain(|name| *name != FINALIZER);
    let change = json!({"metadata": {"finalizers": list}});
    let why = "what was behind the volume is deleted";
    Some(patch(object, volume, change, Reason::new("provisioner-delete", why)))
}
