//! Attaches and detaches volumes as VolumeAttachments ask: what
//! external-attacher does. Makes no events; its output is the objects.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use pvdeck_csi_proto::csi::controller_service_capability::rpc;
use pvdeck_csi_proto::csi::plugin_capability::service;
use pvdeck_csi_proto::csi::{ControllerPublishVolumeRequest, ControllerUnpublishVolumeRequest};
use serde_json::{Value, json};

use crate::controllers::csi::retries::Retries;
use crate::controllers::csi::shell::{Secrets, as_seen, finalizers, is_deleting};
use crate::controllers::csi::{Parts, attach};
use crate::controllers::work_loop::{Pass, Reconciler};
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::plugins::csi::capability::ControllerAbilities;

/// How long a call may take (upstream: `--timeout`).
const TIMEOUT: Duration = Duration::from_secs(15);

/// The attacher of one driver.
pub struct Attacher {
    parts: Parts,
    finalizer: String,
    retries: Retries,
}

impl Attacher {
    pub fn new(parts: Parts) -> Self {
        let finalizer = attach::finalizer(&parts.driver);
        let retries = Retries::default();
        Self { parts, finalizer, retries }
    }

    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Attaches what is said to be attached, and is not.
    pub async fn attach_again(&self, object: &ObjectRef) -> Result<(), String> {
        let Some(now) = self.parts.shell.get(object).await? else { return Ok(()) };
        if is_deleting(&now) || now["status"]["attached"] != true {
            return Ok(());
        }
        self.attach(object, &now).await
    }

    async fn pass(self: Arc<Self>, object: ObjectRef) -> Pass {
        let done = if object.kind == kind::PERSISTENT_VOLUME {
            self.volume(&object).await
        } else {
            self.attachment(&object).await
        };
        let mut pass = Pass::done();
        match done {
            Ok(()) => self.retries.succeeded(&object),
            Err(error) => {
                let shell = &self.parts.shell;
                shell.health.failed(shell.clock.now(), object.to_string(), error);
                let settings = &self.parts.settings;
                let pause = self.retries.failed(&object, settings.retry_start, settings.retry_max);
                pass.again_after = Some(pause);
            }
        }
        pass
    }

    async fn attachment(&self, object: &ObjectRef) -> Result<(), String> {
        let Some(now) = self.parts.shell.get(object).await? else { return Ok(()) };
        if now["spec"]["attacher"] != *self.parts.driver {
            return Ok(());
        }
        let (field, done) = if is_deleting(&now) {
            ("detachError", self.detach(object, &now).await)
        } else if now["status"]["attached"] == true {
            return Ok(());
        } else {
            ("attachError", self.attach(object, &now).await)
        };
        if let Err(error) = &done {
            self.keep_error(object, field, error).await;
        }
        done
    }

    /// Keeps an error where the attach/detach controller looks for it.
    async fn keep_error(&self, object: &ObjectRef, field: &str, error: &str) {
        let shell = &self.parts.shell;
        let Ok(Some(now)) = shell.get(object).await else { return };
        if now["status"][field]["message"] == error {
            return;
        }
        let time = shell.time();
        let write = attach::failed(object, &now, field, error, &time);
        if let Err(error) = shell.perform(&write).await {
            tracing::warn!("{object}: {error}");
        }
    }

    async fn attach(&self, object: &ObjectRef, now: &Value) -> Result<(), String> {
        let shell = &self.parts.shell;
        let client = self.parts.client.with_deadline(TIMEOUT);
        let abilities = client.abilities().await.map_err(|error| error.to_string())?;
        if !is_real(&abilities) {
            return self.told(object, &Value::Null).await;
        }
        let (reference, volume) = self.volume_of(now).await?;
        let name = &reference.key.name;
        if is_deleting(&volume) {
            return Err(format!("PersistentVolume \"{name}\" is marked for deletion"));
        }
        let kept = shell
            .settle(&reference, |volume| attach::keep_volume(&reference, volume, &self.finalizer))
            .await;
        kept.map_err(|error| error.to_string())?;
        let multi_writer = abilities.can(rpc::Type::SingleNodeMultiWriter);
        let fs_type = &self.parts.settings.default_fs_type;
        let capability = attach::capability_of(&volume, fs_type, multi_writer)?;
        let source = &volume["spec"]["csi"];
        let secrets = self.secrets(source).await?;
        let node = now["spec"]["nodeName"].as_str().unwrap_or_default();
        let node_id = self.node_id(node).ok_or_else(|| self.why_no_node_id(node))?;
        let marked = shell
            .settle(object, |now| {
                (!is_deleting(now))
                    .then(|| attach::mark(object, now, &self.finalizer, &node_id))
                    .flatten()
            })
            .await;
        marked.map_err(|error| error.to_string())?;
        let request = ControllerPublishVolumeRequest {
            volume_id: text(&source["volumeHandle"]),
            node_id,
            volume_capability: Some(capability),
            readonly: source["readOnly"] == true && abilities.can(rpc::Type::PublishReadonly),
            secrets,
            volume_context: texts(&source["volumeAttributes"]),
        };
        let reply = client.controller_publish_volume(request).await;
        let reply = reply.map_err(|error| error.to_string())?;
        self.told(object, &json!(reply.publish_context)).await
    }

    async fn told(&self, object: &ObjectRef, context: &Value) -> Result<(), String> {
        let told =
            self.parts.shell.settle(object, |now| attach::attached(object, now, context)).await;
        told.map(drop).map_err(|error| error.to_string())
    }

    async fn detach(&self, object: &ObjectRef, now: &Value) -> Result<(), String> {
        if !finalizers(now).contains(&&*self.finalizer) {
            return Ok(());
        }
        let shell = &self.parts.shell;
        let (reference, volume) = self.volume_of(now).await?;
        let source = &volume["spec"]["csi"];
        let node = now["spec"]["nodeName"].as_str().unwrap_or_default();
        // A node that is gone can still be detached.
        let remembered = now["metadata"]["annotations"][attach::NODE_ID].as_str();
        let node_id = self.node_id(node).or(remembered.map(str::to_owned));
        let node_id = node_id.ok_or_else(|| format!("CSINode {node} not found"))?;
        let request = ControllerUnpublishVolumeRequest {
            volume_id: text(&source["volumeHandle"]),
            node_id,
            secrets: self.secrets(source).await?,
        };
        let client = self.parts.client.with_deadline(TIMEOUT);
        let done = client.controller_unpublish_volume(request).await;
        done.map_err(|error| error.to_string())?;
        let released =
            shell.settle(object, |now| attach::release(object, now, &self.finalizer)).await;
        if released.map_err(|error| error.to_string())?.is_some() {
            let told = shell.settle(object, |now| attach::detached(object, now)).await;
            told.map_err(|error| error.to_string())?;
        }
        // The last attachment of a deleted volume may have gone with it.
        self.volume(&reference).await
    }

    /// Frees a deleted volume that nothing is attached of.
    async fn volume(&self, object: &ObjectRef) -> Result<(), String> {
        let shell = &self.parts.shell;
        let used = shell.mirror.read(|tables| {
            tables.attachments_of(&object.key.name).any(|one| one.attacher == self.parts.driver)
        });
        if used {
            return Ok(());
        }
        let known = shell
            .mirror
            .read(|tables| tables.volumes.get(&object.key).map(|volume| as_seen(&volume.meta)));
        let freed = shell
            .settle_from(known, object, |volume| {
                attach::free_volume(object, volume, &self.finalizer)
            })
            .await;
        freed.map(drop).map_err(|error| error.to_string())
    }

    async fn volume_of(&self, attachment: &Value) -> Result<(ObjectRef, Value), String> {
        let name = attachment["spec"]["source"]["persistentVolumeName"].as_str();
        let Some(name) = name else {
            return Err("the attachment names no PersistentVolume".to_owned());
        };
        let object = ObjectRef::new(kind::PERSISTENT_VOLUME, Key::cluster(name));
        let volume = self.parts.shell.expect(&object).await?;
        Ok((object, volume))
    }

    async fn secrets(&self, source: &Value) -> Result<Secrets, String> {
        let reference = &source["controllerPublishSecretRef"];
        match reference["name"].as_str() {
            None => Ok(HashMap::new()),
            Some(name) => self.parts.shell.secrets(&text(&reference["namespace"]), name).await,
        }
    }

    /// The driver's name for a node.
    fn node_id(&self, node: &str) -> Option<String> {
        self.parts.shell.mirror.read(|tables| {
            let drivers = &tables.csi_nodes.get(&Key::cluster(node))?.drivers;
            let own = drivers.iter().find(|driver| driver.name == self.parts.driver)?;
            Some(own.node_id.to_string())
        })
    }

    fn why_no_node_id(&self, node: &str) -> String {
        let key = Key::cluster(node);
        if self.parts.shell.mirror.read(|tables| tables.csi_nodes.get(&key).is_none()) {
            return format!("csinode.storage.k8s.io \"{node}\" not found");
        }
        format!("CSINode {node} does not contain driver {}", self.parts.driver)
    }

    fn is_ours(&self, object: &ObjectRef) -> bool {
        let key = &object.key;
        self.parts.shell.mirror.read(|tables| {
            if object.kind == kind::VOLUME_ATTACHMENT {
                let attachment = tables.attachments.get(key);
                return attachment.is_some_and(|one| one.attacher == self.parts.driver);
            }
            object.kind == kind::PERSISTENT_VOLUME
                && tables.volumes.get(key).is_some_and(|volume| {
                    volume.meta.deleting.is_some() && volume.meta.has_finalizer(&self.finalizer)
                })
        })
    }
}

/// Whether the driver attaches at all; if not, attachments are true at once.
fn is_real(abilities: &ControllerAbilities) -> bool {
    abilities.serves(service::Type::ControllerService)
        && abilities.can(rpc::Type::PublishUnpublishVolume)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(map: &Value) -> HashMap<String, String> {
    let entries = map.as_object().into_iter().flatten();
    entries.map(|(key, value)| (key.clone(), text(value))).collect()
}

impl Reconciler for Attacher {
    fn take_in(&self, changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        let mut mine: Vec<ObjectRef> =
            changed.into_iter().filter(|object| self.is_ours(object)).collect();
        mine.sort();
        mine
    }

    fn everything(&self) -> Vec<ObjectRef> {
        let objects = self.parts.shell.mirror.read(|tables| {
            let attachments = tables.attachments.iter();
            let attachments = attachments
                .map(|row| ObjectRef::new(kind::VOLUME_ATTACHMENT, row.meta.key.clone()));
            let volumes = tables.volumes.iter();
            let volumes =
                volumes.map(|row| ObjectRef::new(kind::PERSISTENT_VOLUME, row.meta.key.clone()));
            attachments.chain(volumes).collect::<Vec<_>>()
        });
        objects.into_iter().filter(|object| self.is_ours(object)).collect()
    }

    fn reconcile(self: Arc<Self>, object: ObjectRef) -> BoxFuture<'static, Pass> {
        Box::pin(self.pass(object))
    }
}
