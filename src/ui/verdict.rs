//! Where a pod may go and where not, for the pod whose page is open: the
//! scheduler's own answers and what helps, worked out once for a state of the
//! cluster.

use std::sync::Arc;

use crate::controllers::scheduler::explain::{Explanation, explain};
use crate::diagnosis;
use crate::mirror::Tables;
use crate::model::pod::Pod;

/// So many pods and nodes looked at take an answer out of date for one more
/// millisecond.
const ROWS_PER_MS: usize = 20;

/// The answers last worked out, and for what.
#[derive(Debug, Default)]
pub struct Verdicts {
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    uid: Arc<str>,
    epoch: u64,
    found_ms: u64,
    verdict: Arc<Explanation>,
    next: Option<String>,
}

impl Verdicts {
    /// The answers for a pod, if they were worked out.
    pub fn get(&self, uid: &str) -> Option<&Arc<Explanation>> {
        self.of(uid).map(|held| &held.verdict)
    }

    /// What a person can do for that pod, if anything.
    pub fn next_step(&self, uid: &str) -> Option<&str> {
        self.of(uid)?.next.as_deref()
    }

    fn of(&self, uid: &str) -> Option<&Held> {
        self.held.as_ref().filter(|held| &*held.uid == uid)
    }

    /// Works the answers out anew if the cluster changed since; in a large one
    /// not before their patience is over.
    pub fn bring_up_to_date(&mut self, pod: &Pod, tables: &Tables, epoch: u64, now_ms: u64) {
        let rows = tables.pods.len() + tables.nodes.len() + tables.volumes.len();
        let patience_ms = (rows / ROWS_PER_MS) as u64;
        let current = self.held.as_ref().is_some_and(|held| {
            held.uid == pod.meta.uid
                && (held.epoch == epoch || now_ms < held.found_ms + patience_ms)
        });
        if !current {
            let verdict = Arc::new(explain(tables, pod));
            let next = diagnosis::pod::find_with(tables, pod, Some(&verdict)).next;
            let uid = pod.meta.uid.clone();
            self.held = Some(Held { uid, epoch, found_ms: now_ms, verdict, next });
        }
    }
}
