//! Growing what a node has of a volume, when the volume has grown: while it is
//! mounted, or as it is.
//!
//! Upstream: `expandVolumeDuringMount`, `GenerateExpandInUseVolumeFunc` of
//! `operation_generator.go`, `node_expander.go`.

use std::sync::Arc;

use serde_json::Value;

use crate::controllers::expand::growth::Growth;
use crate::controllers::expand::node::{self, Marks, NodeStep, OnNode};
use crate::controllers::expand::writes::Claim;
use crate::controllers::node_agent::volumes::actual::NodeSize;
use crate::controllers::node_agent::volumes::job::{Failure, Job, MountFor, PodNote};
use crate::controllers::node_agent::volumes::mount::sentence;
use crate::controllers::node_agent::volumes::reads;
use crate::controllers::server::settle;
use crate::model::kind;
use crate::model::object::{Key, ObjectRef};
use crate::model::quantity::Quantity;
use crate::model::volume_source::VolumeSpec;
use crate::model::write::Write;
use crate::plugins::PluginError;
use crate::plugins::plugin::{Capability, NodeVolume, PluginFacts};

/// How growing went.
#[derive(Debug, Default)]
pub struct GrowEnd {
    /// What the node has now, if that is known.
    pub size: Option<Quantity>,
    /// The claim as it was read for it.
    pub growth: Option<Growth>,
    /// To be told on pod and claim.
    pub notes: Vec<PodNote>,
    /// The claim that is told.
    pub claim: Option<(Key, Arc<str>, u64)>,
    /// Not as long as it is in use: not tried again before the next mount.
    pub is_refused: bool,
    /// It has certainly failed.
    pub has_failed: bool,
    pub failure: Option<Failure>,
}

/// Whether a volume is to be grown although nothing else is to be done with it.
pub fn is_called_for(
    facts: &PluginFacts,
    spec: &VolumeSpec,
    growth: Option<&Growth>,
    size: &NodeSize,
) -> bool {
    let (Some(growth), Some(volume)) = (growth, spec.capacity) else { return false };
    let on_node = OnNode { volume, size: size.size, is_read_only: spec.read_only };
    facts.can(Capability::ExpandNode)
        && !size.is_refused
        && matches!(node::decide(growth, on_node), NodeStep::Grow { .. })
}

/// Whether growing is to be looked at while the volume is mounted.
pub fn is_called_for_at_mount(job: &Job, target: &MountFor) -> bool {
    let grown = target.growth.is_some_and(|growth| {
        job.spec
            .capacity
            .is_some_and(|volume| volume > growth.capacity && !growth.capacity.is_zero())
    });
    grown && job.plugin.facts_of(&job.spec).can(Capability::ExpandNode)
}

/// Grows a volume that a pod has.
pub async fn grow_mounted(mut job: Job, target: MountFor) -> GrowEnd {
    let namespace = &target.pod.key.namespace;
    let needs = reads::read_needs(&*job.server, &*job.plugin, &job.spec, &job.node, namespace);
    match needs.await {
        Ok(provided) => job.provided = provided,
        Err(error) => {
            let text = sentence("NodeExpandVolume.NodeExpandVolume failed", &job.spec, &error);
            let failure = Some(Failure::told("VolumeResizeFailed", text));
            return GrowEnd { failure, ..GrowEnd::default() };
        }
    }
    let volume = job.volume(Some(target.pod.part()));
    let mut end = grow(&job, &target, volume).await;
    if let Some(failure) = &mut end.failure {
        let step = "NodeExpandVolume.NodeExpandVolume failed";
        failure.text = sentence(step, &job.spec, &failure.text);
        failure.reason = Some("VolumeResizeFailed");
    }
    end
}

/// Grows `volume` if that is called for; a failure's text is the bare cause.
pub async fn grow(job: &Job, target: &MountFor, volume: NodeVolume) -> GrowEnd {
    let mut end = GrowEnd::default();
    if let Err(error) = steps(job, target, volume, &mut end).await {
        end.failure = Some(Failure::silent(error));
    }
    end
}

async fn steps(
    job: &Job,
    target: &MountFor,
    mut volume: NodeVolume,
    end: &mut GrowEnd,
) -> Result<(), String> {
    let (Some(key), Some(capacity)) = (&target.claim, job.spec.capacity) else { return Ok(()) };
    let claim = reads::read(&*job.server, kind::PERSISTENT_VOLUME_CLAIM, key.clone()).await;
    let claim =
        claim.map_err(|error| format!("MountVolume.NodeExpandVolume get PVC failed : {error}"))?;
    let growth = Growth::of(&claim);
    end.growth = Some(growth);
    end.claim = Some(identity(key, &claim));
    let is_read_only = job.spec.read_only;
    let on_node = OnNode { volume: capacity, size: target.size, is_read_only };
    let (goal, marks) = match node::decide(&growth, on_node) {
        NodeStep::Nothing => {
            end.size = Some(capacity);
            return Ok(());
        }
        NodeStep::Later => return Ok(()),
        NodeStep::ReadOnly => {
            end.size = Some(capacity);
            let name = &job.spec.name;
            end.notes.push(PodNote {
                is_warning: true,
                reason: "FileSystemResizeFailed",
                message: format!(
                    "MountVolume.NodeExpandVolume failed for volume \"{name}\" requested \
                     read-only file system"
                ),
            });
            return Ok(());
        }
        NodeStep::Grow { target, marks } => (target, marks),
    };
    let marking = Marking { job, key, on_node };
    if marks == Marks::All {
        marking.note(true, |claim| claim.node_begins()).await?;
    }
    volume.spec.capacity = Some(goal);
    if let Err(error) = job.plugin.expand_on_node(&volume, growth.capacity).await {
        return failed(&marking, target, &growth, goal, marks, error, end).await;
    }
    let (name, node) = (&job.spec.name, &job.node);
    end.notes.push(PodNote {
        is_warning: false,
        reason: "FileSystemResizeSuccessful",
        message: format!("MountVolume.NodeExpandVolume succeeded for volume \"{name}\" {node}"),
    });
    if marks != Marks::None {
        let told = marking.note(false, |claim| claim.node_finished(goal)).await;
        told.map_err(|error| {
            format!("mountVolume.NodeExpandVolume update pvc status failed: {error}")
        })?;
    }
    end.size = Some(capacity);
    Ok(())
}

/// Keeps a certain failure in the claim; one that is only for now does not
/// block the mount.
async fn failed(
    marking: &Marking<'_>,
    target: &MountFor,
    growth: &Growth,
    goal: Quantity,
    marks: Marks,
    error: PluginError,
    end: &mut GrowEnd,
) -> Result<(), String> {
    if !error.leaves_doubt() {
        end.has_failed = true;
        let says_driver = matches!(error, PluginError::Infeasible(_));
        let gives_up = node::is_infeasible(growth, goal, says_driver, target.has_failed_to_grow);
        let text = error.to_string();
        let told = match marks {
            Marks::All => marking.note(false, |claim| claim.node_failed(&text, gives_up)).await,
            Marks::End | Marks::None => Ok(()),
        };
        if let Err(error) = told {
            let (node, claim) = (&marking.job.node, marking.key);
            tracing::warn!(%node, %claim, error, "a failed growth is not told in the claim");
        }
    }
    if matches!(error, PluginError::NotInUse(_)) {
        end.is_refused = true;
        return Ok(());
    }
    Err(error.to_string())
}

fn identity(key: &Key, claim: &Value) -> (Key, Arc<str>, u64) {
    let metadata = &claim["metadata"];
    let version = metadata["resourceVersion"].as_str().and_then(|text| text.parse().ok());
    let uid = metadata["uid"].as_str().unwrap_or_default().into();
    (key.clone(), uid, version.unwrap_or_default())
}

/// Writing into the claim how far it is.
struct Marking<'a> {
    job: &'a Job,
    key: &'a Key,
    on_node: OnNode,
}

impl Marking<'_> {
    /// `while_called_for`: only as long as the node is to grow it.
    async fn note(
        &self,
        while_called_for: bool,
        decide: impl Fn(&Claim<'_>) -> Option<Write> + Send + Sync,
    ) -> Result<(), String> {
        let object = &ObjectRef::new(kind::PERSISTENT_VOLUME_CLAIM, self.key.clone());
        let time = self.job.host.clock().now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let decide = |now: &Value| {
            let is_ours = || {
                let step = node::decide(&Growth::of(now), self.on_node);
                matches!(step, NodeStep::Grow { marks: Marks::All, .. })
            };
            (!while_called_for || is_ours())
                .then(|| decide(&Claim { object, now, time: &time }))
                .flatten()
        };
        let settled = settle(&*self.job.server, None, object, decide, || {}).await;
        settled.map(drop).map_err(|error| error.to_string())
    }
}
