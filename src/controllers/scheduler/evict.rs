//! Making room: the pods that preemption chose are marked and deleted.

use std::sync::Arc;

use super::controller::{Landed, Scheduler, State};
use super::flight::{Stopped, Trouble};
use crate::cluster::write_path::WriteError;
use crate::controllers::events::Note;
use crate::controllers::scheduler::decide::Verdict;
use crate::controllers::scheduler::preemption::Victims;
use crate::controllers::scheduler::writes;
use crate::model::pod::Pod;
use crate::model::write::Write;

impl Scheduler {
    /// Marks and deletes the pods that make room, one after the other.
    ///
    /// A pod that is gone or going already is passed over, so that a run that
    /// died in between is taken up by the next. Where one cannot be deleted the
    /// rest stay, and the pod is decided afresh after a pause.
    pub(super) async fn make_room(&self, pod: &Arc<Pod>, victims: &Victims) -> Landed {
        for victim in &victims.pods {
            match self.evict(pod, victim, victims).await {
                Ok(true) => {
                    let (uid, node) = (&pod.meta.uid, &victims.node);
                    let message = format!("Preempted by pod {uid} on node {node}");
                    self.parts.recorder.tell(Note::normal(&**victim, "Preempted", message));
                }
                Ok(false) => {}
                Err(Trouble::Stopped(Stopped::Gone)) => return Landed::Gone,
                Err(Trouble::Stopped(_)) => return Landed::Again,
                Err(Trouble::Refused(error)) => {
                    let (now, object) = (self.parts.clock.now(), writes::pod_ref(victim));
                    self.parts.health.failed(now, object.to_string(), error.to_string());
                    return Landed::Failed;
                }
            }
        }
        Landed::Refused
    }

    /// Whether the pod was deleted here.
    async fn evict(&self, pod: &Pod, victim: &Pod, of: &Victims) -> Result<bool, Trouble> {
        let since = self.parts.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let mark = |victim: &Pod| writes::mark_preempted(pod, victim, of, &since);
        let deleted = |victim: &Pod| Some(writes::evict(pod, victim, of));
        match self.to_victim(pod, victim, mark).await {
            Ok(_) => {}
            Err(Trouble::Refused(WriteError::NotFound { .. })) => return Ok(false),
            Err(error) => return Err(error),
        }
        match self.to_victim(pod, victim, deleted).await {
            Ok(answer) => Ok(answer.is_some()),
            Err(Trouble::Refused(WriteError::NotFound { .. })) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Performs a write to a victim that is there and not going yet, if the pod
    /// still has to wait when the write's turn comes.
    async fn to_victim(
        &self,
        pod: &Pod,
        victim: &Pod,
        write: impl Fn(&Pod) -> Option<Write>,
    ) -> Result<Option<serde_json::Value>, Trouble> {
        let mut first = true;
        let perform = self.perform(pod, |state| {
            let current = state.current(pod)?;
            if !std::mem::take(&mut first) && state.is_placed_meanwhile(&current) {
                return Err(Stopped::Again);
            }
            let held = state.cache.pod(&victim.meta.key);
            let held = held.filter(|held| held.meta.uid == victim.meta.uid);
            Ok(held.filter(|held| held.meta.deleting.is_none()).and_then(|held| write(held)))
        });
        perform.await
    }
}

impl State {
    /// Whether some node takes the pod now, without anyone going.
    fn is_placed_meanwhile(&mut self, pod: &Pod) -> bool {
        matches!(self.decide(pod), Verdict::Place(_))
    }
}
