//! Grows volumes of a driver as their claims ask: what external-resizer does.
//!
//! ```text
//! claim ─> decide ─> status: begun ─> ControllerExpandVolume
//!       ─> volume's capacity ─> status: the node's turn, or done
//! ```
//!
//! Upstream: `pkg/controller` of external-resizer.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use pvdeck_csi_proto::csi;
use pvdeck_csi_proto::csi::controller_service_capability::rpc;
use pvdeck_csi_proto::csi::node_service_capability::rpc as node_rpc;
use pvdeck_csi_proto::csi::plugin_capability::service;
use serde_json::Value;
use tonic::Code;

use crate::controllers::csi::resize::{Next, View, decide};
use crate::controllers::csi::retries::Retries;
use crate::controllers::csi::shell::Secrets;
use crate::controllers::csi::{Parts, attach};
use crate::controllers::expand::growth::Growth;
use crate::controllers::expand::writes::{self, Claim};
use crate::controllers::persistent_volume::annotations::PRE_RESIZE_CAPACITY;
use crate::controllers::work_loop::{Pass, Reconciler};
use crate::model::claim::ClaimPhase;
use crate::model::event::Severity;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::quantity::Quantity;
use crate::model::write::Write;
use crate::plugins::csi::capability::{ControllerAbilities, node_abilities};
use crate::plugins::csi::error::CallError;

/// How often at most one claim is decided on in one pass: each turn begins
/// afresh with the objects as they are then.
const TURNS: usize = 8;

/// The resizer of one driver.
pub struct Resizer {
    parts: Parts,
    retries: Retries,
    /// By claim; lost with the process, and then learned again.
    known: Mutex<HashMap<Key, Known>>,
}

/// What the driver's answers about a claim have told.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    has_refused: bool,
    /// The size that was refused for ever, and the end of the pause after it.
    refused: Option<(Quantity, Timestamp)>,
    /// It cannot grow while a pod uses it.
    is_offline_only: bool,
}

/// What a driver can do about sizes.
enum Ability {
    Controller(ControllerAbilities),
    NodesOnly,
    None,
}

/// A claim and its volume.
struct Pair {
    object: ObjectRef,
    claim: Value,
    reference: ObjectRef,
    volume: Value,
}

/// Something to be tried again: after the usual pause, or after this long.
struct Again {
    error: String,
    after: Option<Duration>,
}

impl From<String> for Again {
    fn from(error: String) -> Self {
        Self { error, after: None }
    }
}

impl Resizer {
    pub fn new(parts: Parts) -> Self {
        Self { parts, retries: Retries::default(), known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Key, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn pass(self: Arc<Self>, object: ObjectRef) -> Pass {
        let done = self.claim(&object).await;
        self.parts.end(&self.retries, &object, done.map_err(|again| (again.error, again.after)))
    }

    async fn claim(&self, object: &ObjectRef) -> Result<(), Again> {
        let ability = match self.ability().await? {
            Ability::None => return Ok(()),
            ability => ability,
        };
        for _ in 0..TURNS {
            let Some(pair) = self.pair(object).await? else {
                self.known().remove(&object.key);
                return Ok(());
            };
            match self.next(&pair, &ability) {
                Next::Nothing => return Ok(()),
                Next::ForgetOldCapacity => {
                    let decide = |now: &Value| writes::forget_old_capacity(&pair.reference, now);
                    self.settle(&pair.reference, decide).await?;
                }
                Next::NotYet => return Err(self.not_yet(&object.key)),
                Next::Grow { target, anew } => {
                    if self.begin(&pair, &ability, target, anew).await? {
                        return self.grow(&pair, &ability, target).await;
                    }
                }
            }
        }
        Err(format!("{object}: it changes faster than it can be looked at").into())
    }

    /// Whether and where the driver grows volumes.
    async fn ability(&self) -> Result<Ability, String> {
        let client = self.parts.client.with_deadline(self.parts.settings.timeout);
        let abilities = client.abilities().await.map_err(|error| error.to_string())?;
        if !abilities.serves(service::Type::ControllerService) {
            return Ok(Ability::None);
        }
        if abilities.can(rpc::Type::ExpandVolume) {
            return Ok(Ability::Controller(abilities));
        }
        let request = csi::NodeGetCapabilitiesRequest {};
        let node = client.node_get_capabilities(request).await.map_err(|e| e.to_string())?;
        let grows = node_abilities(&node).contains(&node_rpc::Type::ExpandVolume);
        Ok(if grows { Ability::NodesOnly } else { Ability::None })
    }

    async fn pair(&self, object: &ObjectRef) -> Result<Option<Pair>, String> {
        let shell = &self.parts.shell;
        let Some(claim) = shell.get(object).await? else { return Ok(None) };
        let name = claim["spec"]["volumeName"].as_str().filter(|name| !name.is_empty());
        let Some(name) = name else { return Ok(None) };
        let reference = ObjectRef::new(kind::PERSISTENT_VOLUME, Key::cluster(name));
        let Some(volume) = shell.get(&reference).await? else { return Ok(None) };
        Ok(Some(Pair { object: object.clone(), claim, reference, volume }))
    }

    fn next(&self, pair: &Pair, ability: &Ability) -> Next {
        let known = self.known().get(&pair.object.key).copied().unwrap_or_default();
        let now = self.parts.shell.clock.now();
        decide(&View {
            driver: &self.parts.driver,
            claim: &pair.claim,
            volume: &pair.volume,
            on_nodes_only: matches!(ability, Ability::NodesOnly),
            has_refused: known.has_refused,
            refused_size: known.refused.filter(|(_, until)| *until > now).map(|(size, _)| size),
        })
    }

    fn not_yet(&self, key: &Key) -> Again {
        let known = self.known().get(key).copied().unwrap_or_default();
        let now = self.parts.shell.clock.now();
        let left = known.refused.map_or(Duration::ZERO, |(_, until)| {
            Duration::try_from(until.duration_since(now)).unwrap_or_default()
        });
        let error = format!(
            "skipping volume expansion for pvc {key}, because expansion previously failed with \
             infeasible error"
        );
        Again { error, after: Some(left.max(self.parts.settings.retry_start)) }
    }

    async fn settle(
        &self,
        object: &ObjectRef,
        decide: impl Fn(&Value) -> Option<Write>,
    ) -> Result<(), String> {
        let settled = self.parts.shell.settle(object, decide).await;
        settled.map(drop).map_err(|error| error.to_string())
    }

    /// Notes in the claim that growing begins; whether that still is what is
    /// called for.
    async fn begin(
        &self,
        pair: &Pair,
        ability: &Ability,
        target: Quantity,
        anew: bool,
    ) -> Result<bool, Again> {
        let (object, time) = (&pair.object, self.parts.shell.time());
        let goal = |now: &Value| {
            let now = Pair {
                object: object.clone(),
                claim: now.clone(),
                reference: pair.reference.clone(),
                volume: pair.volume.clone(),
            };
            match self.next(&now, ability) {
                Next::Grow { target, anew } => Some((target, anew)),
                Next::Nothing | Next::ForgetOldCapacity | Next::NotYet => None,
            }
        };
        let decide = |now: &Value| {
            let called_for = goal(now).is_some_and(|(own, _)| own == target);
            called_for
                .then(|| {
                    // Once it stands in the claim it is not new any more.
                    let anew = anew && goal(now) == Some((target, true));
                    Claim { object, now, time: &time }.begin(target, anew, None)
                })
                .flatten()
        };
        let settled = self.parts.shell.settle(object, decide).await;
        let now = settled.map_err(|error| {
            let key = &object.key;
            format!("marking pvc \"{key}\" as resizing failed: {error}")
        })?;
        Ok(now.is_some_and(|now| goal(&now).is_some_and(|(own, _)| own == target)))
    }

    fn tell(&self, claim: &Value, severity: Severity, reason: &'static str, message: String) {
        let kind = kind::PERSISTENT_VOLUME_CLAIM;
        self.parts.shell.tell(kind, claim, severity, reason, message);
    }

    async fn grow(&self, pair: &Pair, ability: &Ability, target: Quantity) -> Result<(), Again> {
        let key = &pair.object.key;
        let is_offline_only = self.known().get(key).is_some_and(|known| known.is_offline_only);
        if is_offline_only && self.is_used(key) {
            let text = format!(
                "Unable to expand {key} because CSI driver {} only supports offline expansion and \
                 volume is currently in-use",
                self.parts.driver
            );
            self.tell(&pair.claim, Severity::Warning, "VolumeResizeFailed", text.clone());
            return Err(text.into());
        }
        let name = &pair.reference.key.name;
        let text = format!("External resizer is resizing volume {name}");
        self.tell(&pair.claim, Severity::Normal, "Resizing", text);
        match self.call(pair, ability, target).await {
            Ok((size, needs_node)) => {
                self.known().remove(key);
                Ok(self.finish(pair, size, needs_node).await?)
            }
            Err(refusal) => {
                let by = &self.parts.driver;
                let text = format!(
                    "resize volume \"{name}\" by resizer \"{by}\" failed: {}",
                    refusal.text
                );
                self.note(pair, target, &refusal).await;
                self.tell(&pair.claim, Severity::Warning, "VolumeResizeFailed", text.clone());
                Err(text.into())
            }
        }
    }

    /// Has the driver grow the volume: its size then, and whether a node has a
    /// part in it.
    async fn call(
        &self,
        pair: &Pair,
        ability: &Ability,
        target: Quantity,
    ) -> Result<(Quantity, bool), Refusal> {
        let Ability::Controller(abilities) = ability else { return Ok((target, true)) };
        let source = &pair.volume["spec"]["csi"];
        let reference = &source["controllerExpandSecretRef"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let secrets = match reference["name"].as_str() {
            None => Secrets::new(),
            Some(name) => {
                let secrets = self.parts.shell.secrets(&text(&reference["namespace"]), name).await;
                secrets.map_err(Refusal::before_call)?
            }
        };
        let multi_writer = abilities.can(rpc::Type::SingleNodeMultiWriter);
        let capability = attach::capability_of(&pair.volume, "", multi_writer);
        let capability = capability.map_err(Refusal::before_call)?;
        let required_bytes = i64::try_from(target.units()).unwrap_or(i64::MAX);
        let request = csi::ControllerExpandVolumeRequest {
            volume_id: text(&source["volumeHandle"]),
            capacity_range: Some(csi::CapacityRange { required_bytes, limit_bytes: 0 }),
            secrets,
            volume_capability: Some(capability),
        };
        let client = self.parts.client.with_deadline(self.parts.settings.timeout);
        let reply = client.controller_expand_volume(request).await.map_err(Refusal::of)?;
        let size = match reply.capacity_bytes {
            bytes if bytes == required_bytes => target,
            bytes => Quantity::bytes(bytes),
        };
        Ok((size, reply.node_expansion_required))
    }

    /// The driver has grown it: volume and claim are to tell so.
    async fn finish(&self, pair: &Pair, size: Quantity, needs_node: bool) -> Result<(), String> {
        let (object, reference) = (&pair.object, &pair.reference);
        let before = needs_node.then(|| Growth::of(&pair.claim).capacity);
        self.settle(reference, |now| writes::volume_has_grown(reference, now, size, before))
            .await?;
        let time = self.parts.shell.time();
        if needs_node {
            let decide = |now: &Value| Claim { object, now, time: &time }.node_pending();
            self.settle(object, decide).await?;
            let text = "Require file system resize of volume on node".to_owned();
            self.tell(&pair.claim, Severity::Normal, "FileSystemResizeRequired", text);
            return Ok(());
        }
        let decide =
            |now: &Value| Claim { object, now, time: &time }.finished_without_node(size, true);
        self.settle(object, decide).await?;
        let text = "Resize volume succeeded".to_owned();
        self.tell(&pair.claim, Severity::Normal, "VolumeResizeSuccessful", text);
        Ok(())
    }

    /// Remembers a refusal, and keeps a certain one in the claim.
    async fn note(&self, pair: &Pair, target: Quantity, refusal: &Refusal) {
        let (object, now) = (&pair.object, self.parts.shell.clock.now());
        let until = now + self.parts.settings.retry_max;
        let known = Known {
            has_refused: refusal.is_certain,
            refused: refusal.is_infeasible.then_some((target, until)),
            is_offline_only: refusal.is_in_use,
        };
        self.known().insert(object.key.clone(), known);
        if !refusal.is_certain {
            return;
        }
        let time = self.parts.shell.time();
        let decide = |now: &Value| {
            let claim = Claim { object, now, time: &time };
            claim.controller_failed(&refusal.text, refusal.is_infeasible)
        };
        if let Err(error) = self.settle(object, decide).await {
            tracing::warn!("{object}: {error}");
        }
    }

    /// Whether a pod that has not ended uses the claim.
    fn is_used(&self, claim: &Key) -> bool {
        self.parts.shell.mirror.read(|tables| {
            let ended = |phase: &str| matches!(phase, "Succeeded" | "Failed");
            tables.pods_using(claim).any(|pod| !ended(&pod.phase))
        })
    }

    /// Whether a claim's row says that there may be something to do.
    fn is_ours(&self, object: &ObjectRef) -> bool {
        let driver = &*self.parts.driver;
        object.kind == kind::PERSISTENT_VOLUME_CLAIM
            && self.parts.shell.mirror.read(|tables| {
                let claim = tables.claims.get(&object.key)?;
                let volume = tables.volumes.get(&Key::cluster(claim.volume_name.clone()))?;
                let ours = volume.source.field == "csi".into()
                    && volume.source.driver.as_deref() == Some(driver);
                let annotated = volume.meta.annotation(PRE_RESIZE_CAPACITY).is_some();
                let asks = claim.request > claim.capacity && claim.phase == ClaimPhase::Bound;
                Some(ours && (annotated || asks))
            }) == Some(true)
    }
}

/// Why a volume did not grow.
#[derive(Debug)]
struct Refusal {
    text: String,
    /// Certainly nothing was done.
    is_certain: bool,
    /// And nothing ever will be.
    is_infeasible: bool,
    /// Not while a pod uses it.
    is_in_use: bool,
}

impl Refusal {
    /// An earlier call may still be at work.
    fn before_call(text: String) -> Self {
        Self { text, is_certain: false, is_infeasible: false, is_in_use: false }
    }

    fn of(error: CallError) -> Self {
        Self {
            text: error.to_string(),
            is_certain: !error.leaves_doubt(),
            is_infeasible: error.is_infeasible(),
            is_in_use: error.code == Code::FailedPrecondition,
        }
    }
}

impl Reconciler for Resizer {
    fn take_in(&self, changed: HashSet<ObjectRef>) -> Vec<ObjectRef> {
        let mut mine: Vec<_> = changed.into_iter().filter(|one| self.is_ours(one)).collect();
        mine.sort();
        mine
    }

    fn everything(&self) -> Vec<ObjectRef> {
        let claims = self.parts.shell.mirror.read(|tables| {
            let claims = tables.claims.iter();
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
