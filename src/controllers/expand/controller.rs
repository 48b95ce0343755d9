//! `volume_expand`: says who is to grow a volume, and grows those of kinds that
//! it can grow itself.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use serde_json::Value;

use crate::controllers::expand::decide::{Next, View, decide};
use crate::controllers::expand::growth::Growth;
use crate::controllers::expand::growth::capacity_of;
use crate::controllers::expand::writes::{self, Claim};
use crate::controllers::parts::Parts;
use crate::controllers::persistent_volume::annotations::PRE_RESIZE_CAPACITY;
use crate::controllers::work_loop::{Outcome, Pass, Reconciler};
use crate::model::claim::ClaimPhase;
use crate::model::event::Severity;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::quantity::Quantity;
use crate::model::volume::VolumeMode;
use crate::model::volume_source::VolumeSpec;
use crate::model::write::Write;
use crate::plugins::kinds;
use crate::plugins::plugin::{Capability, Plugins, VolumePlugin};

/// The controller.
pub struct ExpandController {
    parts: Parts,
    plugins: Plugins,
    /// Claims that grow, as they were last seen: only a rise is news.
    seen: Mutex<HashMap<Key, Sizes>>,
}

/// Request and capacity of a claim.
type Sizes = (Option<Quantity>, Option<Quantity>);

impl ExpandController {
    /// `plugins`: those that can grow volumes from here are asked to.
    pub fn new(parts: Parts, plugins: Plugins) -> Self {
        Self { parts, plugins, seen: Mutex::default() }
    }

    async fn pass(self: Arc<Self>, object: ObjectRef) -> Pass {
        match self.claim(&object).await {
            Ok(()) => Pass::done(),
            Err(error) => Pass::new(Outcome::Failed(error)),
        }
    }

    /// Looks at a claim; the error is one to try again after.
    async fn claim(&self, object: &ObjectRef) -> Result<(), String> {
        let Some(claim) = self.parts.get(object).await? else { return Ok(()) };
        let name = claim["spec"]["volumeName"].as_str().unwrap_or_default();
        let reference = ObjectRef::new(kind::PERSISTENT_VOLUME, Key::cluster(name));
        let volume = self.parts.expect(&reference).await;
        let volume = volume.map_err(|error| format!("failed to get PV \"{name}\": {error}"))?;
        let spec = VolumeSpec::from_volume(&volume, false);
        let plugin = self.plugin_for(&spec);
        let kind = kinds::by_field(spec.source.field());
        let migrated = kind.and_then(|kind| Some((kind.facts.name, kind.migrated_to()?)));
        let name = plugin.as_ref().map(|plugin| plugin.facts().name);
        let view =
            View { key: &object.key, claim: &claim, volume: &volume, migrated, plugin: name };
        let next = decide(&view);
        let growing = plugin.map(|plugin| Growing { at: self, object, reference, spec, plugin });
        match (next, growing) {
            (Next::Nothing, _) => Ok(()),
            (Next::NotBound { error }, _) => Err(error),
            (Next::ForDriver { message, driver }, _) => {
                self.leave_to(object, &claim, message, &driver).await
            }
            (Next::Elsewhere { message }, _) => {
                self.tell(&claim, Severity::Normal, "ExternalExpanding", message.to_owned());
                Ok(())
            }
            (Next::ForgetOldCapacity, Some(growing)) => growing.forget().await,
            (Next::Grow(target), Some(growing)) => growing.grow(&claim, target).await,
            (Next::NodesTurn, Some(growing)) => growing.remember(&claim, &volume).await,
            (Next::LetNodeTryAgain, Some(growing)) => {
                growing.settle_claim(|claim| claim.node_may_try_again()).await
            }
            // They are said of kinds with a plugin only.
            (
                Next::ForgetOldCapacity | Next::Grow(_) | Next::NodesTurn | Next::LetNodeTryAgain,
                None,
            ) => Ok(()),
        }
    }

    fn plugin_for(&self, spec: &VolumeSpec) -> Option<Arc<dyn VolumePlugin>> {
        let plugin = self.plugins.of(&spec.source).ok()?;
        plugin.facts_of(spec).can(Capability::ExpandController).then(|| plugin.clone())
    }

    async fn leave_to(
        &self,
        object: &ObjectRef,
        claim: &Value,
        message: String,
        driver: &str,
    ) -> Result<(), String> {
        self.tell(claim, Severity::Normal, "ExternalExpanding", message);
        let time = self.parts.time();
        let decide = |now: &Value| Claim { object, now, time: &time }.for_driver(driver);
        let Err(error) = self.parts.settle(object, decide).await else { return Ok(()) };
        let key = &object.key;
        let text = format!("error setting resizer annotation to pvc {key}, with error {error}");
        self.tell(claim, Severity::Warning, "ExternalExpanding", text.clone());
        Err(text)
    }

    fn tell(&self, claim: &Value, severity: Severity, reason: &'static str, message: String) {
        self.parts.tell(kind::PERSISTENT_VOLUME_CLAIM, claim, severity, reason, message);
    }

    /// Whether a change of a claim is one to look at.
    fn is_news(&self, object: &ObjectRef) -> bool {
        if object.kind != kind::PERSISTENT_VOLUME_CLAIM {
            return false;
        }
        let row = self.parts.mirror.read(|tables| {
            let claim = tables.claims.get(&object.key)?;
            let volume = tables.volumes.get(&Key::cluster(claim.volume_name.clone()));
            let annotated =
                volume.is_some_and(|one| one.meta.annotation(PRE_RESIZE_CAPACITY).is_some());
            Some((claim.clone(), annotated))
        });
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((claim, is_annotated)) = row.filter(|(claim, _)| claim.phase == ClaimPhase::Bound)
        else {
            seen.remove(&object.key);
            return false;
        };
        let grows = claim.request > claim.capacity || is_annotated;
        let before = if grows {
            seen.insert(object.key.clone(), (claim.request, claim.capacity))
        } else {
            seen.remove(&object.key)
        };
        match before {
            Some((request, capacity)) => claim.request > request || claim.capacity > capacity,
            None => grows,
        }
    }
}

/// A claim whose volume is grown from here.
struct Growing<'a> {
    at: &'a ExpandController,
    /// The claim.
    object: &'a ObjectRef,
    /// The volume.
    reference: ObjectRef,
    spec: VolumeSpec,
    plugin: Arc<dyn VolumePlugin>,
}

impl Growing<'_> {
    fn needs_node(&self) -> bool {
        let facts = self.plugin.facts_of(&self.spec);
        self.spec.mode == VolumeMode::Filesystem && facts.can(Capability::ExpandNode)
    }

    async fn settle_claim(
        &self,
        decide: impl Fn(&Claim<'_>) -> Option<Write>,
    ) -> Result<(), String> {
        let (parts, object, time) = (&self.at.parts, self.object, self.at.parts.time());
        let decide = |now: &Value| decide(&Claim { object, now, time: &time });
        parts.settle(object, decide).await.map(drop).map_err(|error| error.to_string())
    }

    async fn settle_volume(&self, decide: impl Fn(&Value) -> Option<Write>) -> Result<(), String> {
        let settled = self.at.parts.settle(&self.reference, decide).await;
        settled.map(drop).map_err(|error| error.to_string())
    }

    /// Grows what is behind the volume, and says in claim and volume how far
    /// that is.
    async fn grow(&self, claim: &Value, target: Quantity) -> Result<(), String> {
        let resizer = self.plugin.facts().name;
        self.settle_claim(|claim| claim.begin(target, true, Some(resizer))).await?;
        let key = &self.object.key;
        let bytes = u64::try_from(target.units()).unwrap_or_default();
        let grown = match self.plugin.expand(&self.spec, bytes).await {
            Ok(grown) => grown,
            Err(error) => {
                let text = format!("error expanding pvc {key}: {error}");
                self.at.tell(claim, Severity::Warning, "VolumeResizeFailed", text.clone());
                return Err(text);
            }
        };
        let size = match i64::try_from(grown) {
            Ok(grown) if i128::from(grown) != target.units() => Quantity::bytes(grown),
            _ => target,
        };
        let volume = &self.reference;
        self.settle_volume(|now| writes::volume_has_grown(volume, now, size, None)).await?;
        if self.needs_node() {
            self.settle_claim(|claim| claim.node_pending()).await?;
            let before = Growth::of(claim).capacity;
            let decide = |now: &Value| writes::volume_has_grown(volume, now, size, Some(before));
            return self.settle_volume(decide).await;
        }
        self.settle_claim(|claim| claim.finished_without_node(size, false)).await?;
        let text = format!("ExpandVolume succeeded for volume {key}");
        self.at.tell(claim, Severity::Normal, "VolumeResizeSuccessful", text);
        Ok(())
    }

    /// Keeps the size before, if that was left undone.
    async fn remember(&self, claim: &Value, volume: &Value) -> Result<(), String> {
        let (before, size) = (Growth::of(claim).capacity, capacity_of(volume));
        if before >= size || !self.needs_node() {
            return Ok(());
        }
        let object = &self.reference;
        let decide = |now: &Value| {
            (capacity_of(now) == size)
                .then(|| writes::volume_has_grown(object, now, size, Some(before)))
                .flatten()
        };
        self.settle_volume(decide).await
    }

    async fn forget(&self) -> Result<(), String> {
        self.settle_volume(|now| writes::forget_old_capacity(&self.reference, now)).await
    }
}

impl Reconciler for ExpandController {
    fn take_in(&self, changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        let mut news: Vec<_> = changed.into_iter().filter(|one| self.is_news(one)).collect();
        news.sort();
        news
    }

    fn reconcile(self: Arc<Self>, object: ObjectRef) -> BoxFuture<'static, Pass> {
        Box::pin(self.pass(object))
    }
}
