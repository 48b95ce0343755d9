//! The row of a Pod, as far as storage is concerned.

use std::sync::Arc;

use serde_json::Value;

use crate::model::kind::{self, Kind};
use crate::model::object::{Meta, Seconds};
use crate::model::pod_needs::PodNeeds;
use crate::model::row::{self, Malformed, Row, Sharing};

/// What decisions and screens need of a Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    pub meta: Meta,
    /// `spec.nodeName`, empty while unscheduled.
    pub node: Arc<str>,
    /// The claims its volumes name, generic ephemeral ones included.
    pub claims: Box<[PodClaim]>,
    /// Its inline volumes of kinds that are attached to nodes, or may be.
    pub inline: Box<[InlineVolume]>,
    /// `status.phase`, empty if unset.
    pub phase: Arc<str>,
    /// `status.reason`.
    pub reason: Option<Box<str>>,
    /// `metadata.deletionGracePeriodSeconds`.
    pub grace_seconds: Option<i64>,
    /// `metadata.generation`.
    pub generation: Option<i64>,
    /// What it asks of a node.
    pub needs: Box<PodNeeds>,
    /// `status.nominatedNodeName`, empty if unset.
    pub nominated_node: Arc<str>,
    /// The `PodScheduled` condition, while it is not True.
    pub unscheduled: Option<Box<Unscheduled>>,
    /// Whether every container's status is waiting or terminated; an empty
    /// list qualifies.
    pub no_container_runs: bool,
    /// Since when its `Ready` condition is True; `None`: it is not.
    pub ready_since: Option<Seconds>,
    /// How often its containers were started again, the most of any.
    pub restarts: u32,
    /// `status.startTime`.
    pub started: Option<Seconds>,
    /// Whether it goes so that another finds room (condition
    /// `DisruptionTarget`).
    pub preempted: bool,
}

/// The reason of the condition `DisruptionTarget` that a scheduler sets.
pub const PREEMPTED: &str = "PreemptionByScheduler";

/// Why a pod is on no node, as its `PodScheduled` condition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unscheduled {
    /// `Unschedulable`, `SchedulerError` or `SchedulingGated`.
    pub reason: Box<str>,
    pub message: Box<str>,
}

/// One volume of a pod that is a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodClaim {
    /// The volume's name inside the pod.
    pub volume: Arc<str>,
    /// The claim's name in the pod's namespace.
    pub claim: Arc<str>,
    /// A generic ephemeral volume: the claim is `<pod>-<volume>`, owned by the pod.
    pub ephemeral: bool,
}

/// A volume that stands in the pod itself, of a kind that may be attached to a
/// node. Whoever needs all of it reads the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InlineVolume {
    /// The volume's name inside the pod.
    pub volume: Arc<str>,
    /// The field of its source, such as `flexVolume`.
    pub field: &'static str,
    /// The FlexVolume driver, if it is one.
    pub driver: Option<Arc<str>>,
}

/// The kinds of inline volumes that may be attached. A CSI volume that stands
/// in a pod never is.
const INLINE_ATTACHED: [&str; 10] = [
    "awsElasticBlockStore",
    "azureDisk",
    "cinder",
    "fc",
    "flexVolume",
    "gcePersistentDisk",
    "iscsi",
    "photonPersistentDisk",
    "rbd",
    "vsphereVolume",
];

fn inline(volume: &Value) -> Option<InlineVolume> {
    let field = INLINE_ATTACHED.into_iter().find(|field| volume[*field].is_object())?;
    let driver = volume[field]["driver"].as_str().map(Arc::from);
    Some(InlineVolume { volume: volume["name"].as_str()?.into(), field, driver })
}

impl Pod {
    /// Whether the pod has ended: phase Failed or Succeeded, or being deleted
    /// with no container running (upstream: `IsPodTerminated`).
    pub fn is_terminated(&self) -> bool {
        matches!(&*self.phase, "Failed" | "Succeeded")
            || (self.meta.deleting.is_some() && self.no_container_runs)
    }

    /// Whether the scheduler tried, and no node takes it.
    pub fn is_unschedulable(&self) -> bool {
        self.unscheduled.as_ref().is_some_and(|why| &*why.reason == "Unschedulable")
    }

    pub fn is_scheduled(&self) -> bool {
        !self.node.is_empty()
    }
}

impl Row for Pod {
    const KIND: &'static Kind = kind::POD;

    fn from_object(object: &Value) -> Result<Self, Malformed> {
        let meta = row::meta(Self::KIND, object)?;
        let (spec, status) = (&object["spec"], &object["status"]);
        let claims = spec["volumes"].as_array().into_iter().flatten().filter_map(|volume| {
            let name = volume["name"].as_str()?;
            if let Some(claim) = volume["persistentVolumeClaim"]["claimName"].as_str() {
                return Some(PodClaim {
                    volume: name.into(),
                    claim: claim.into(),
                    ephemeral: false,
                });
            }
            volume["ephemeral"].is_object().then(|| PodClaim {
                volume: name.into(),
                claim: format!("{}-{name}", meta.key.name).into(),
                ephemeral: true,
            })
        });
        Ok(Self {
            node: spec["nodeName"].as_str().unwrap_or_default().into(),
            claims: claims.collect(),
            inline: spec["volumes"].as_array().into_iter().flatten().filter_map(inline).collect(),
            phase: status["phase"].as_str().unwrap_or_default().into(),
            reason: status["reason"].as_str().map(Box::from),
            grace_seconds: object["metadata"]["deletionGracePeriodSeconds"].as_i64(),
            generation: object["metadata"]["generation"].as_i64(),
            needs: Box::new(PodNeeds::from_spec(spec)),
            nominated_node: row::text(&status["nominatedNodeName"]),
            unscheduled: unscheduled(&status["conditions"]),
            no_container_runs: statuses(status)
                .all(|container| !container["state"]["running"].is_object()),
            ready_since: ready_since(&status["conditions"]),
            restarts: statuses(status)
                .filter_map(|container| container["restartCount"].as_u64())
                .max()
                .map_or(0, |most| u32::try_from(most).unwrap_or(u32::MAX)),
            started: row::seconds(&status["startTime"]),
            preempted: is_preempted(&status["conditions"]),
            meta,
        })
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn share(&mut self, with: &mut dyn Sharing) {
        row::share_meta(&mut self.meta, with);
        with.text(&mut self.node);
        with.text(&mut self.nominated_node);
        with.text(&mut self.needs.scheduler);
        with.text(&mut self.phase);
        for claim in &mut self.claims {
            with.text(&mut claim.volume);
        }
    }
}

fn unscheduled(conditions: &Value) -> Option<Box<Unscheduled>> {
    let conditions = conditions.as_array()?;
    let condition = conditions.iter().find(|condition| condition["type"] == "PodScheduled")?;
    let text = |field: &str| Box::from(condition[field].as_str().unwrap_or_default());
    (condition["status"] != "True")
        .then(|| Box::new(Unscheduled { reason: text("reason"), message: text("message") }))
}

/// The statuses of all containers.
fn statuses(status: &Value) -> impl Iterator<Item = &Value> {
    let fields = ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"];
    fields.into_iter().filter_map(|field| status[field].as_array()).flatten()
}

fn is_preempted(conditions: &Value) -> bool {
    conditions.as_array().into_iter().flatten().any(|held| {
        held["type"] == "DisruptionTarget"
            && held["status"] == "True"
            && held["reason"] == PREEMPTED
    })
}

fn ready_since(conditions: &Value) -> Option<Seconds> {
    let mut conditions = conditions.as_array()?.iter();
    let ready = conditions.find(|held| held["type"] == "Ready" && held["status"] == "True")?;
    // A condition without a time holds since ever.
    Some(row::seconds(&ready["lastTransitionTime"]).unwrap_or(0))
}
