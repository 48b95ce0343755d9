//! Handing a volume to a pod as a block device.
//!
//! Upstream: `GenerateMapVolumeFunc` of `operation_generator.go`,
//! `pkg/volume/util/volumepathhandler`.

use crate::controllers::node_agent::volumes::actual::ErrorClass;
use crate::controllers::node_agent::volumes::job::{Failure, Job, MountEnd, MountFor, PodNote};
use crate::controllers::node_agent::volumes::mount::{
    self, sentence, wait_for_attach, why_not_on_node, why_not_single,
};
use crate::model::node_board::Stage;
use crate::plugins::PluginError;
use crate::plugins::plugin::Published;
use crate::plugins::steps;

/// The reason of the events about it.
const FAILED: &str = "FailedMapVolume";

/// Maps a volume for a pod. Each step finds what is done already.
pub async fn map(mut job: Job, target: MountFor) -> MountEnd {
    let mut end = MountEnd::default();
    if let Err(failure) = map_steps(&mut job, &target, &mut end).await {
        end.failure = Some(failure);
    }
    end
}

fn failed(job: &Job, step: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::told(FAILED, sentence(step, &job.spec, error))
}

async fn map_steps(job: &mut Job, target: &MountFor, end: &mut MountEnd) -> Result<(), Failure> {
    (job.reached)(Stage::Wait);
    if let Some(why) = why_not_on_node(job).await {
        let failure = failed(job, "MapVolume.NodeAffinity check failed", &why);
        return Err(Failure { reason: Some(mount::FAILED), ..failure });
    }
    let volume = job.volume(Some(target.pod.part()));
    let Some(paths) = job.plugin.block_paths(&volume) else {
        // No event, as for any plugin that cannot.
        let text = format!("no volume plugin matched for block volume {}", job.spec.name);
        let text = sentence("MapVolume.FindMapperPluginBySpec failed", &job.spec, &text);
        return Err(Failure::silent(text));
    };
    if let Some(why) = why_not_single(&job.spec, target) {
        return Err(failed(job, "MapVolume.SetUp failed", &why));
    }
    mount::read_ahead(job, target)
        .await
        .map_err(|error| failed(job, "MapVolume.WaitForAttach failed", &error))?;
    let device = wait_for_attach(job).await;
    job.device_path =
        device.map_err(|error| failed(job, "MapVolume.WaitForAttach failed", &error))?;
    (job.reached)(Stage::Stage);
    let volume = job.volume(Some(target.pod.part()));
    let device = job.plugin.set_up_device(&volume).await.and_then(|device| {
        let none = || PluginError::Failed("the volume has no device on the node".to_owned());
        if device.is_empty() { Err(none()) } else { Ok(device) }
    });
    let device = device.map_err(|error| {
        end.device = Some(Err(ErrorClass::of(&error)));
        failed(job, "MapVolume.SetUpDevice failed", &error)
    })?;
    (end.device, end.device_path) = (Some(Ok(())), Some(device.clone()));
    end.device_mount_path = Some(paths.global_map.clone());
    (job.reached)(Stage::Publish);
    if let Err(error) = steps::map_block(&volume, &paths, &device).await {
        // Part of it may be there: it is to be taken away when the pod goes.
        end.mount = Some(Err(ErrorClass::Uncertain));
        return Err(failed(job, "MapVolume.MapBlockVolume failed", &error));
    }
    let name = &job.spec.name;
    for (word, path) in [("globalMapPath", &paths.global_map), ("volumeMapPath", &paths.volume_map)]
    {
        end.notes.push(PodNote {
            is_warning: false,
            reason: "SuccessfulMountVolume",
            message: format!(
                "MapVolume.MapPodDevice succeeded for volume \"{name}\" {word} \"{path}\""
            ),
        });
    }
    end.mount = Some(Ok(Published {
        host_path: format!("{}/{name}", paths.volume_map),
        read_only: job.spec.read_only,
        managed: false,
        warning: None,
    }));
    let step = "MapVolume.MarkVolumeAsMounted failed while expanding volume";
    mount::grow_if_called_for(job, target, volume, step, end).await
}
