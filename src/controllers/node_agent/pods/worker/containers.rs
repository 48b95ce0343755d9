//! The containers: started in their order, and ended.

use std::time::Duration;

use jiff::SignedDuration;

use super::{RETRY, Worker};
use crate::controllers::node_agent::pods::decide::Step;
use crate::controllers::node_agent::pods::mounts::{
    Around, ContainerMount, MountFault, docker_line, plan,
};
use crate::controllers::node_agent::pods::runtime::{ContainerOrder, ContainerSeen, PodSeen};
use crate::controllers::node_agent::pods::shell::Program;
use crate::controllers::node_agent::pods::spec::{ContainerSpec, PodObject};
use crate::controllers::node_agent::pods::status::StartFault;
use crate::controllers::node_agent::pods::{addresses, directory, sub_path};
use crate::model::event::Severity;
use crate::plugins::host::{HostError, OnBehalf};

impl Worker {
    pub(super) async fn start(
        &mut self,
        container: &str,
        attempt: u32,
        seen: &PodSeen,
    ) -> Result<Option<Duration>, HostError> {
        let shared = self.shared.clone();
        let Some(pod) = self.pod.clone() else { return Ok(None) };
        let Some(spec) = pod.all_containers().find(|spec| &*spec.name == container) else {
            return Ok(None);
        };
        shared.runtime.make_sandbox(&pod.uid, pod.on_host_network).await?;
        let address = shared.runtime.seen(&pod.uid).address;
        directory::make(&*shared.host, &pod, address.as_deref()).await?;
        if let Some(last) = seen.container(container).filter(|last| !last.runs())
            && attempt > 1
        {
            self.tell_back_off(last, &pod);
        }
        let image = &spec.image;
        let present = format!(
            "Container image \"{image}\" already present on machine and can be accessed by the pod"
        );
        self.tell(Severity::Normal, "Pulled", &present);
        let order = match self.order(&pod, spec, attempt).await {
            Ok(order) => order,
            Err(message) => {
                self.tell(Severity::Warning, "Failed", &format!("Error: {message}"));
                let now = shared.clock.now();
                let retry = now.checked_add(SignedDuration::try_from(RETRY).unwrap_or_default());
                self.fault = Some(StartFault {
                    container: container.to_owned(),
                    reason: "CreateContainerConfigError",
                    message,
                    retry: retry.unwrap_or(now),
                });
                // The status first; then it is tried again.
                return Ok(None);
            }
        };
        self.fault = None;
        shared.runtime.start(order).await?;
        self.is_unlisted = true;
        self.tell(Severity::Normal, "Created", "Container created");
        self.tell(Severity::Normal, "Started", "Container started");
        Ok(None)
    }

    /// What to tell the runtime; the error is for the pod's status.
    async fn order(
        &self,
        pod: &PodObject,
        spec: &ContainerSpec,
        attempt: u32,
    ) -> Result<ContainerOrder, String> {
        let shared = &self.shared;
        let layout = shared.host.layout();
        let id = addresses::container_id(&pod.uid, &spec.name, attempt);
        let termination_log = layout.termination_log(&pod.uid, &spec.name, &id[..8]);
        let mounted = shared.volumes.mounted(&pod.uid);
        let around = Around {
            pod_uid: &pod.uid,
            layout,
            mounted: &mounted,
            termination_log: &termination_log,
            has_hosts_file: true,
        };
        let planned = plan(&spec.value, around).map_err(|fault: MountFault| fault.to_string())?;
        for sub in planned.mounts.iter().filter_map(|planned| planned.sub_path.as_ref()) {
            let volume = mounted.iter().find(|m| m.outer_name == sub.outer_name);
            let on_behalf = OnBehalf {
                volume: volume.map(|m| m.unique_name.clone()).unwrap_or_default(),
                pod: Some(pod.uid.clone()),
            };
            let prepared = sub_path::prepare(&shared.host, &on_behalf, &spec.name, sub).await;
            prepared.map_err(|fault| fault.to_string())?;
        }
        let mounts: Vec<ContainerMount> = planned.mounts.into_iter().map(|p| p.mount).collect();
        let docker_line = docker_line(&spec.value, &mounts, &planned.devices);
        Ok(ContainerOrder {
            pod_uid: pod.uid.clone(),
            pod: pod.key.clone(),
            name: spec.name.clone(),
            attempt,
            image: spec.image.clone(),
            program: Program::of(&spec.command, &spec.args),
            environment: pod.environment(spec),
            mounts: mounts.into(),
            devices: planned.devices.into(),
            termination_log,
            message_from_log: spec.value["terminationMessagePolicy"] == "FallbackToLogsOnError",
            docker_line,
        })
    }

    /// Ends the containers; a shorter time that is asked for meanwhile counts.
    pub(super) async fn stop(&mut self, grace: Duration, seen: &PodSeen) -> Option<Duration> {
        for container in seen.containers.iter().filter(|container| container.runs()) {
            let message = format!("Stopping container {}", container.name);
            self.tell(Severity::Normal, "Killing", &message);
        }
        let shared = self.shared.clone();
        let uid = self.uid.clone();
        let mut stopping = Box::pin(shared.runtime.stop(&uid, grace));
        loop {
            tokio::select! {
                stopped = &mut stopping => {
                    self.is_unlisted = true;
                    return stopped.err().and_then(|error| {
                        self.failed("containers could not be stopped", &error)
                    });
                }
                () = self.bell.notified() => {}
            }
            if self.refresh().await.is_err() {
                continue;
            }
            match self.next_step().0 {
                Step::Stop { grace: asked } if asked < grace => return None,
                _ => {}
            }
        }
    }

    fn tell_back_off(&self, last: &ContainerSeen, pod: &PodObject) {
        let message = format!(
            "Back-off restarting failed container {} in pod {}_{}({})",
            last.name, pod.key.name, pod.key.namespace, pod.uid
        );
        self.tell(Severity::Warning, "BackOff", &message);
    }
}
