//! Mounting a volume with a filesystem: for all pods first, then for one.
//!
//! Upstream: `GenerateMountVolumeFunc` of `operation_generator.go`.

use std::time::Duration;

use futures::future::{Either, select};

use crate::controllers::node_agent::volumes::actual::{DeviceState, ErrorClass};
use crate::controllers::node_agent::volumes::grow;
use crate::controllers::node_agent::volumes::job::{Failure, Job, MountEnd, MountFor, PodNote};
use crate::controllers::node_agent::volumes::reads;
use crate::model::clock::TimerUse;
use crate::model::node_board::Stage;
use crate::model::volume_source::{VolumeSource, VolumeSpec};
use crate::plugins::PluginError;
use crate::plugins::plugin::{Capability, NodeVolume};

/// How long a device is waited for.
const DEVICE_WAIT: Duration = Duration::from_secs(600);

/// The reason of the events about it.
pub const FAILED: &str = "FailedMount";

/// A failed step's sentence.
pub fn sentence(step: &str, spec: &VolumeSpec, error: &dyn std::fmt::Display) -> String {
    format!("{step} for volume \"{}\" : {error}", spec.name)
}

fn failure(step: &str, spec: &VolumeSpec, error: &PluginError) -> Failure {
    let mismatch = match error {
        PluginError::FilesystemMismatch(text) => {
            Some(format!("MountVolume failed for volume \"{}\" {text}", spec.name))
        }
        _ => None,
    };
    Failure { mismatch, ..Failure::told(FAILED, sentence(step, spec, error)) }
}

fn told(step: &str, spec: &VolumeSpec, error: &str) -> Failure {
    Failure::told(FAILED, sentence(step, spec, &error))
}

/// Why the volume cannot be used on this node at all.
pub async fn why_not_on_node(job: &Job) -> Option<String> {
    let affinity = job.spec.node_affinity.as_ref()?;
    match reads::read_node(&*job.server, &job.node).await {
        Ok(node) if affinity.matches_labels(&node.meta.labels) => None,
        Ok(_) => Some("no matching NodeSelectorTerms".to_owned()),
        Err(error) => Some(error),
    }
}

/// Why a volume that only one pod may have is not for this one.
pub fn why_not_single(spec: &VolumeSpec, target: &MountFor) -> Option<&'static str> {
    (spec.is_single_pod() && target.is_with_another_pod).then_some(
        "volume uses the ReadWriteOncePod access mode and is already in use by another pod",
    )
}

/// Reads what a plugin that attaches needs of the API before it does anything.
pub async fn read_ahead(job: &mut Job, target: &MountFor) -> Result<(), String> {
    if job.plugin.facts_of(&job.spec).can(Capability::Attach) {
        let namespace = &target.pod.key.namespace;
        let plugin = &*job.plugin;
        job.provided =
            reads::read_needs(&*job.server, plugin, &job.spec, &job.node, namespace).await?;
    }
    Ok(())
}

/// Waits until the device is there, at most ten minutes.
pub async fn wait_for_attach(job: &Job) -> Result<String, PluginError> {
    if !job.plugin.facts_of(&job.spec).can(Capability::Attach) {
        return Ok(job.device_path.clone());
    }
    let volume = job.volume(None);
    let waiting = job.plugin.wait_for_attach(&volume);
    let patience = job.host.clock().sleep(DEVICE_WAIT, TimerUse::Work);
    match select(waiting, patience).await {
        Either::Left((found, _)) => found,
        Either::Right(((), _)) => {
            let name = &job.spec.name;
            Err(PluginError::Failed(format!("timed out waiting for the device of volume {name}")))
        }
    }
}

/// Mounts a volume for a pod. Each step finds what is done already.
pub async fn mount(mut job: Job, target: MountFor) -> MountEnd {
    let mut end = MountEnd::default();
    if let Err(failure) = steps(&mut job, &target, &mut end).await {
        end.failure = Some(failure);
    }
    end
}

async fn steps(job: &mut Job, target: &MountFor, end: &mut MountEnd) -> Result<(), Failure> {
    let facts = job.plugin.facts_of(&job.spec);
    (job.reached)(Stage::Wait);
    if let Some(why) = why_not_on_node(job).await {
        return Err(told("MountVolume.NodeAffinity check failed", &job.spec, &why));
    }
    // A mounter of a kind that has to look at the node first fails here.
    if facts.can(Capability::Stage) {
        let path = job.plugin.device_mount_path(&job.volume(None)).await;
        let step = "MountVolume.NewMounter initialization failed";
        path.map_err(|error| failure(step, &job.spec, &error))?;
    }
    if job.spec.mount_options.is_some() && !facts.can(Capability::MountOptions) {
        let why = "mount options are not supported for this volume type";
        return Err(told("MountVolume.MountOptionSupport check failed", &job.spec, why));
    }
    if let Some(why) = why_not_single(&job.spec, target) {
        return Err(told("MountVolume.SetUp failed", &job.spec, why));
    }
    read_ahead(job, target)
        .await
        .map_err(|error| told("MountVolume.WaitForAttach failed", &job.spec, &error))?;
    let device = wait_for_attach(job).await;
    job.device_path =
        device.map_err(|error| failure("MountVolume.WaitForAttach failed", &job.spec, &error))?;
    end.device_path = Some(job.device_path.clone());
    if facts.can(Capability::Stage) && job.device != DeviceState::Mounted {
        stage(job, end).await?;
        let volume = job.volume(None);
        let step = "MountVolume.MountDevice failed while expanding volume";
        grow_if_called_for(job, target, volume, step, end).await?;
    }
    (job.reached)(Stage::Publish);
    publish(job, target, end).await?;
    if end.grown.is_none() {
        let volume = job.volume(Some(target.pod.part()));
        let step = "MountVolume.Setup failed while expanding volume";
        grow_if_called_for(job, target, volume, step, end).await?;
    }
    Ok(())
}

/// Grows the volume while it is mounted, if it has become larger.
pub async fn grow_if_called_for(
    job: &Job,
    target: &MountFor,
    volume: NodeVolume,
    step: &str,
    end: &mut MountEnd,
) -> Result<(), Failure> {
    if !grow::is_called_for_at_mount(job, target) {
        return Ok(());
    }
    let mut grown = grow::grow(job, target, volume).await;
    let failure = grown.failure.take().map(|failure| told(step, &job.spec, &failure.text));
    end.grown = Some(grown);
    failure.map_or(Ok(()), Err)
}

async fn stage(job: &Job, end: &mut MountEnd) -> Result<(), Failure> {
    let volume = job.volume(None);
    let staged = async {
        let path = job.plugin.device_mount_path(&volume).await?;
        job.plugin.stage(&volume).await?;
        Ok(path.unwrap_or_default())
    };
    match staged.await {
        Ok(path) => {
            (end.device, end.device_mount_path) = (Some(Ok(())), Some(path));
            Ok(())
        }
        Err(error) => {
            end.device = Some(Err(ErrorClass::of(&error)));
            Err(failure("MountVolume.MountDevice failed", &job.spec, &error))
        }
    }
}

async fn publish(job: &Job, target: &MountFor, end: &mut MountEnd) -> Result<(), Failure> {
    const STEP: &str = "MountVolume.SetUp failed";
    let namespace = &target.pod.key.namespace;
    let provided =
        reads::read_needs(&*job.server, &*job.plugin, &job.spec, &job.node, namespace).await;
    let mut provided = provided.map_err(|error| {
        end.mount = Some(Err(ErrorClass::Final));
        told(STEP, &job.spec, &error)
    })?;
    let mut part = target.pod.part();
    let plugin = &*job.plugin;
    reads::read_tokens(&*job.server, plugin, &job.spec, &part, &mut provided).await;
    if is_in_memory(&job.spec) {
        let node = reads::allocatable_memory(&*job.server, &job.node).await;
        part.size_limit = part.size_limit.into_iter().chain(node).min();
    }
    let volume = job.volume_with(Some(part), provided);
    match job.plugin.publish(&volume).await {
        Ok(mut published) => {
            if let Some((reason, message)) = published.warning.take() {
                end.notes.push(PodNote { is_warning: true, reason, message });
            }
            end.mount = Some(Ok(published));
            Ok(())
        }
        Err(error) => {
            let class = match ErrorClass::of(&error) {
                ErrorClass::Final if target.is_new => take_back(job, &volume).await,
                class => class,
            };
            end.mount = Some(Err(class));
            Err(failure(STEP, &job.spec, &error))
        }
    }
}

/// Takes away what a failed step left of a mount that was not there before:
/// nothing else would, once the pod is gone.
async fn take_back(job: &Job, volume: &NodeVolume) -> ErrorClass {
    match job.plugin.unpublish(volume).await {
        Ok(()) => ErrorClass::Final,
        Err(error) => {
            let (node, name) = (&job.node, &job.spec.name);
            tracing::warn!(%node, volume = %name, %error, "a failed mount is not cleaned up");
            ErrorClass::Uncertain
        }
    }
}

/// Whether its size is bounded by the node's memory.
fn is_in_memory(spec: &VolumeSpec) -> bool {
    matches!(&spec.source, VolumeSource::EmptyDir { medium, .. } if &**medium == "Memory")
}
