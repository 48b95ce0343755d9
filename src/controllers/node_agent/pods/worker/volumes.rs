//! The pod's volumes: wanted, waited for, let go.

use std::time::Duration;

use super::{RETRY, Worker};
use crate::controllers::node_agent::pods::decide::{Step, Volumes, wants_volumes};
use crate::controllers::node_agent::pods::directory;
use crate::controllers::node_agent::pods::spec::PodObject;
use crate::controllers::node_agent::pods::status::Failure;
use crate::controllers::node_agent::volumes::NotMounted;
use crate::model::event::Severity;

/// Why a pod is rejected whose volume has no room on the node.
const LIMIT_REACHED: &str = "VolumeAttachmentLimitExceeded";

impl Worker {
    /// Tells the volumes whether they are wanted before any step is done.
    pub fn announce(&mut self) {
        let seen = self.shared.runtime.seen(&self.uid);
        let wanted = wants_volumes(self.view(&seen));
        // What a pod's volumes are never changes.
        if let Some(pod) = self.pod.as_ref().filter(|_| wanted && !self.announced) {
            self.shared.volumes.want(&pod.value);
        }
        self.announced = wanted;
    }

    /// Has the volumes mounted; ends early if the pod is no longer to run.
    pub(super) async fn mount(&mut self) -> Option<Duration> {
        let shared = self.shared.clone();
        let uid = self.uid.clone();
        if let Some(pod) = &self.pod
            && let Err(error) = directory::make(&*shared.host, pod, None).await
        {
            return self.failed("the pod's directory could not be made", &error);
        }
        self.announce();
        let deadline = self.pod.as_ref().and_then(PodObject::deadline);
        let mut late = self.time(deadline);
        let mut waiting = shared.volumes.wait_mounted(&uid);
        let mounted = loop {
            tokio::select! {
                mounted = &mut waiting => break mounted,
                () = self.bell.notified() => {}
                () = &mut late => return None,
            }
            let refreshed = self.refresh().await;
            if refreshed.is_ok() && self.next_step().0 != Step::Mount {
                return None;
            }
        };
        match mounted {
            Ok(_) => {
                self.volumes = Volumes::Mounted;
                None
            }
            Err(NotMounted::Failed(why)) => {
                let message = format!("Unable to attach or mount volumes: {why}");
                self.tell(Severity::Warning, "FailedMount", &message);
                Some(RETRY)
            }
            Err(NotMounted::LimitReached(why)) => {
                let why =
                    format!("Node has reached its volume attachment limit, rejecting pod. {why}");
                self.tell(Severity::Warning, LIMIT_REACHED, &why);
                let message = format!("Pod was rejected: {why}").into();
                self.rejected = Some(Failure { reason: LIMIT_REACHED, message });
                None
            }
            Err(NotMounted::TimedOut(why)) => {
                tracing::info!(node = %shared.node, pod = %self.key, why, "volumes not mounted yet");
                Some(RETRY)
            }
        }
    }

    pub(super) async fn let_go(&mut self) -> Option<Duration> {
        let shared = self.shared.clone();
        shared.volumes.let_go(&self.uid);
        if std::mem::take(&mut self.is_unlisted) {
            shared.relist().await;
        }
        match shared.volumes.wait_unmounted(&self.uid).await {
            Ok(()) => {
                self.volumes = Volumes::Unmounted;
                None
            }
            Err(why) => {
                tracing::info!(node = %shared.node, pod = %self.key, why, "still mounted");
                Some(RETRY)
            }
        }
    }
}
