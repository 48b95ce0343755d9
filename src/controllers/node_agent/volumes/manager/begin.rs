//! Beginning an operation: what it works with, and the future that does it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::pass::{Finished, Running};
use super::{State, VolumeManager};
use crate::controllers::node_agent::volumes::actual::{DeviceState, ErrorClass, MountState};
use crate::controllers::node_agent::volumes::grow::{GrowEnd, grow_mounted};
use crate::controllers::node_agent::volumes::job::{End, Failure, Job, MountEnd, MountFor};
use crate::controllers::node_agent::volumes::map::map;
use crate::controllers::node_agent::volumes::mount::mount;
use crate::controllers::node_agent::volumes::operations::{OperationKey, OperationName};
use crate::controllers::node_agent::volumes::pod::WantedPod;
use crate::controllers::node_agent::volumes::watched_host::{SlowOwnership, Watching};
use crate::controllers::node_agent::volumes::{reads, reconstruct, take_away};
use crate::controllers::work_loop::words;
use crate::model::event::Severity;
use crate::model::node_board::Stage;
use crate::model::volume_source::VolumeSpec;
use crate::plugins::host::Host;
use crate::plugins::host::around::Surrounded;
use crate::plugins::host::command::Verb;

impl VolumeManager {
    /// Begins one operation.
    pub(super) fn begin(
        self: &Arc<Self>,
        state: &mut State,
        key: OperationKey,
        name: OperationName,
        pod: Option<Arc<str>>,
    ) -> Option<Running> {
        let unique = key.volume.clone();
        let run = self.operation(state, &unique, name, pod.as_ref())?;
        state.operations.begin(&key, name, pod.clone());
        if let Some(journey) = state.journeys.get_mut(&unique)
            && state.operations.of(&unique).is_some_and(|operation| operation.attempts == 1)
        {
            journey.at = None;
        }
        let finished = AssertUnwindSafe(run).catch_unwind().map(move |end| {
            let end = end.unwrap_or_else(|panic| panicked(name, &*panic));
            Finished::Operation { key, pod, end }
        });
        Some(finished.boxed())
    }

    /// The work itself; `None` if what it is for has gone.
    fn operation(
        self: &Arc<Self>,
        state: &mut State,
        unique: &Arc<str>,
        name: OperationName,
        pod: Option<&Arc<str>>,
    ) -> Option<BoxFuture<'static, End>> {
        let job = self.job(state, unique, pod, name)?;
        Some(match name {
            OperationName::Verify => verify(job).map(End::Verified).boxed(),
            OperationName::Mount => {
                let target = target(state, unique, pod?)?;
                async move { End::Mounted(Box::new(mount(job, target).await)) }.boxed()
            }
            OperationName::Map => {
                let target = target(state, unique, pod?)?;
                async move { End::Mounted(Box::new(map(job, target).await)) }.boxed()
            }
            OperationName::Unmount => {
                doubt(state, unique, pod?);
                take_away::unmount(job, pod?.clone()).map(End::Unmounted).boxed()
            }
            OperationName::Unmap => {
                doubt(state, unique, pod?);
                take_away::unmap(job, pod?.clone()).map(End::Unmounted).boxed()
            }
            OperationName::UnmountDevice => {
                take_away::unmount_device(job).map(End::DeviceUnmounted).boxed()
            }
            OperationName::UnmapDevice => {
                take_away::unmap_device(job).map(End::DeviceUnmounted).boxed()
            }
            OperationName::Grow => {
                let target = target(state, unique, pod?)?;
                async move { End::Grown(Box::new(grow_mounted(job, target).await)) }.boxed()
            }
        })
    }

    /// What the operation works with.
    fn job(
        self: &Arc<Self>,
        state: &State,
        unique: &Arc<str>,
        pod: Option<&Arc<str>>,
        name: OperationName,
    ) -> Option<Job> {
        let wanted = state.desired.volumes.get(unique);
        let there = state.actual.volumes.get(unique);
        let own = pod.and_then(|pod| there?.pods.get(pod));
        let brings =
            matches!(name, OperationName::Mount | OperationName::Map | OperationName::Grow);
        let mount = pod.and_then(|pod| wanted?.pods.get(pod));
        let spec: &VolumeSpec = if brings {
            &mount?.spec
        } else {
            let there = own.map(|mount| &mount.spec).or(there.map(|there| &there.spec));
            there.or(wanted.map(|wanted| &wanted.spec))?
        };
        let plugin = there.map_or_else(|| wanted.map(|w| w.facts.name), |there| Some(there.plugin));
        let plugin = self.parts.plugins.by_name(plugin?)?.clone();
        let (manager, volume) = (self.clone(), unique.clone());
        // What runs, and is set up again, shows as running.
        let is_shown = !(brings && own.is_some_and(|mount| mount.is_mounted()));
        let reached = move |stage| {
            if is_shown {
                manager.reached(&volume, stage);
            }
        };
        let reached: Arc<dyn Fn(Stage) + Send + Sync> = Arc::new(reached);
        let pod = mount.filter(|_| brings).map(|mount| mount.pod.clone());
        Some(Job {
            node: self.parts.host.node().clone(),
            host: self.watched(reached.clone(), pod),
            server: self.parts.server.clone(),
            plugin,
            unique: unique.clone(),
            spec: spec.clone(),
            device: there.map_or(DeviceState::NotMounted, |there| there.device),
            device_path: there.map_or_else(String::new, |there| there.device_path.clone()),
            device_mount_path: there
                .map_or_else(String::new, |there| there.device_mount_path.clone()),
            provided: Default::default(),
            reached,
        })
    }

    /// The host, telling how far a mount for `pod` is; `None`: it is none.
    fn watched(
        self: &Arc<Self>,
        reached: Arc<dyn Fn(Stage) + Send + Sync>,
        pod: Option<Arc<WantedPod>>,
    ) -> Arc<dyn Host> {
        let brings = pod.is_some();
        let tell = move |verb| {
            if let Some(stage) = stage_of(verb).filter(|_| brings) {
                reached(stage);
            }
        };
        let manager = self.clone();
        let slow = move |path: &str, how: SlowOwnership| {
            if let Some(pod) = &pod {
                manager.tell_slow(pod, path, how);
            }
        };
        let host = self.parts.host.clone();
        let around = Watching { tell: Box::new(tell), slow: Box::new(slow) };
        Arc::new(Surrounded { host, around })
    }

    /// Tells that giving files to the pod's group takes long.
    fn tell_slow(&self, pod: &WantedPod, path: &str, how: SlowOwnership) {
        let path = path.find(&*pod.uid).map_or(path, |at| &path[at..]);
        let begins = format!("Setting volume ownership for {path}");
        let text = match how {
            SlowOwnership::Begun => format!(
                "{begins} is taking longer than expected, consider using OnRootMismatch - \
                 https://kubernetes.io/docs/tasks/configure-pod-container/security-context/\
                 #configure-volume-permission-and-ownership-change-policy-for-pods"
            ),
            SlowOwnership::Processed(files) => format!("{begins}, processed {files} files."),
        };
        self.tell(pod, Severity::Warning, "VolumePermissionChangeInProgress", text);
    }

    /// Begins to clean away what could not be made out, once.
    pub(super) fn clean_unknown(&self, state: &mut State) -> Vec<Running> {
        let unknown = std::mem::take(&mut state.unknown);
        let (desired, actual) = (&state.desired, &state.actual);
        let is_used = |uid: &str, name: &str| {
            desired.has_inner(uid, name)
                || desired.is_incomplete(uid)
                || actual.of_pod(uid).any(|unique| *actual.volumes[unique].spec.name == *name)
        };
        let unknown = unknown.into_iter();
        let unwanted = unknown.filter(|found| !is_used(&found.volume.pod_uid, &found.volume.name));
        let cleaning = unwanted.map(|found| {
            let host = self.parts.host.clone();
            let clean = async move {
                if let Err(error) = reconstruct::clean(&*host, &found).await {
                    let (node, path) = (host.node(), &found.path);
                    tracing::warn!(%node, path, %error, "a volume found is not cleaned away");
                }
                Finished::Cleaned
            };
            clean.boxed()
        });
        cleaning.collect()
    }
}

/// Whether the API server's node has the volume, and as which device.
async fn verify(job: Job) -> Result<String, Failure> {
    let name = &job.spec.name;
    let node = reads::read_node(&*job.server, &job.node).await.map_err(|error| {
        Failure::silent(format!(
            "VerifyControllerAttachedVolume failed fetching node from API server for volume \
             \"{name}\" : {error}"
        ))
    })?;
    let attached = node.volumes_attached.iter().find(|volume| volume.name == job.unique);
    attached.map(|volume| volume.device_path.to_string()).ok_or_else(|| {
        let text = format!("Volume not attached according to node status for volume \"{name}\" ");
        Failure::silent(text)
    })
}

/// The stage that a command of a mount belongs to. That of the pod's own mount
/// is told before its commands.
fn stage_of(verb: Verb) -> Option<Stage> {
    match verb {
        Verb::Probe | Verb::Check => Some(Stage::Check),
        Verb::Format => Some(Stage::Format),
        Verb::Mount => Some(Stage::Stage),
        Verb::Unmount
        | Verb::Grow
        | Verb::IsReadOnly
        | Verb::LoopAttach
        | Verb::LoopLock
        | Verb::LoopDetach
        | Verb::LoopResize
        | Verb::LoopFind
        | Verb::Driver
        | Verb::Wipe
        | Verb::Other
        | Verb::ReadFiles
        | Verb::WriteFiles => None,
    }
}

/// What is being taken away may be gone from now on.
fn doubt(state: &mut State, volume: &Arc<str>, pod: &Arc<str>) {
    let volume = state.actual.volumes.get_mut(volume);
    if let Some(mount) = volume.and_then(|volume| volume.pods.get_mut(pod)) {
        mount.state = MountState::Uncertain;
    }
}

fn target(state: &State, unique: &Arc<str>, pod: &Arc<str>) -> Option<MountFor> {
    let mount = state.desired.volumes.get(unique)?.pods.get(pod)?;
    let is_with_another_pod = state.actual.is_with_another_pod(unique, pod);
    let is_new = state.actual.mount(unique, pod).is_none();
    let size = state.actual.volumes.get(unique).map(|volume| volume.growth.clone());
    let size = size.unwrap_or_default();
    Some(MountFor {
        pod: mount.pod.clone(),
        is_with_another_pod,
        is_new,
        claim: mount.claim.clone(),
        growth: mount.growth,
        size: size.size,
        has_failed_to_grow: size.has_failed,
    })
}

fn panicked(name: OperationName, panic: &(dyn std::any::Any + Send)) -> End {
    let text = format!("{} panicked: {}", name.word(), words(panic));
    let failure = Failure { leaves_doubt: true, ..Failure::silent(text) };
    match name {
        OperationName::Verify => End::Verified(Err(failure)),
        OperationName::Mount | OperationName::Map => End::Mounted(Box::new(MountEnd {
            device: Some(Err(ErrorClass::Uncertain)),
            mount: Some(Err(ErrorClass::Uncertain)),
            failure: Some(failure),
            ..MountEnd::default()
        })),
        OperationName::Unmount | OperationName::Unmap => End::Unmounted(Err(failure)),
        OperationName::UnmountDevice | OperationName::UnmapDevice => {
            End::DeviceUnmounted(Err(failure))
        }
        OperationName::Grow => {
            End::Grown(Box::new(GrowEnd { failure: Some(failure), ..GrowEnd::default() }))
        }
    }
}
