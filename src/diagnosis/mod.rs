//! Why an object is stuck, and what a person can do about it.
//!
//! ```text
//! mirror + the controllers' own decisions ─> Finding: facts, next step ─> console
//! ```
//!
//! Works from the mirror alone, so also on a cluster whose controllers run
//! elsewhere. Decides nothing by itself: whether a volume fits or a node takes
//! a pod is answered by the binder's and the scheduler's code. A next step is a
//! sentence for people; nothing here is carried out.
//!
//! Invariant: no clock, no client, no writes.

pub mod claim;
pub mod pod;
pub mod stateful_set;
pub mod volume;

use crate::mirror::Tables;
use crate::model::event::{Event, Severity};
use crate::model::kind::{self, Kind};
use crate::model::object::{Meta, ObjectRef};

/// What can be said about an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Finding {
    /// How things stand, each in a sentence.
    pub facts: Vec<Fact>,
    /// What helps; `None` where all goes on by itself.
    pub next: Option<String>,
}

/// One thing that is so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    pub standing: Standing,
    pub text: String,
}

/// What a fact amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// As it should be.
    Fine,
    /// It waits, and that is intended.
    Waits,
    /// Somebody works on it.
    Busy,
    /// It will not go on by itself.
    Stuck,
}

impl Finding {
    fn says(&mut self, standing: Standing, text: impl Into<String>) {
        self.facts.push(Fact { standing, text: text.into() });
    }

    /// Only the first step counts: what follows it shows once it is done.
    fn next(&mut self, step: impl Into<String>) {
        self.next.get_or_insert_with(|| step.into());
    }
}

/// The kinds that something can be said about.
pub const KINDS: &[&Kind] = &[
    kind::PERSISTENT_VOLUME_CLAIM,
    kind::PERSISTENT_VOLUME,
    kind::POD,
    kind::STATEFUL_SET,
    kind::DEPLOYMENT,
];

/// What can be said about an object; `None` if it is not there, or of another
/// kind.
pub fn find(tables: &Tables, object: &ObjectRef) -> Option<Finding> {
    let key = &object.key;
    if object.kind == kind::PERSISTENT_VOLUME_CLAIM {
        return tables.claims.get(key).map(|claim| claim::find(tables, claim));
    }
    if object.kind == kind::PERSISTENT_VOLUME {
        return tables.volumes.get(key).map(|volume| volume::find(tables, volume));
    }
    if object.kind == kind::POD {
        return tables.pods.get(key).map(|pod| pod::find(tables, pod));
    }
    if object.kind == kind::STATEFUL_SET {
        return tables.stateful_sets.get(key).map(|set| stateful_set::find(tables, set));
    }
    if object.kind == kind::DEPLOYMENT {
        let deployment = tables.deployments.get(key)?;
        return Some(of_pods(tables, &deployment.meta, deployment.replicas));
    }
    None
}

/// What is said of the pods of a Deployment.
fn of_pods(tables: &Tables, meta: &Meta, wanted: i64) -> Finding {
    let mut finding = Finding::default();
    let sets: Vec<_> = tables.replica_sets_owned_by(&meta.uid).collect();
    let pods: Vec<_> = sets.iter().flat_map(|set| tables.pods_owned_by(&set.meta.uid)).collect();
    if pods.is_empty() && wanted > 0 {
        for set in &sets {
            told(tables, &set.meta, &mut finding);
        }
    }
    for pod in pods {
        add_pod(tables, pod, &mut finding);
    }
    if finding.facts.is_empty() {
        finding.says(Standing::Fine, "nothing is known to be in its way");
    }
    finding
}

/// What is in the way of one of an owner's pods.
fn add_pod(tables: &Tables, pod: &crate::model::pod::Pod, into: &mut Finding) {
    let found = pod::find(tables, pod);
    let stuck = found.facts.into_iter().filter(|fact| fact.standing == Standing::Stuck);
    for fact in stuck {
        let text = format!("pod {}: {}", pod.meta.key.name, fact.text);
        into.facts.push(Fact { text, ..fact });
    }
    if let Some(next) = found.next {
        into.next(next);
    }
}

/// The newest Warning about the object with this uid.
pub fn newest_warning<'a>(tables: &'a Tables, uid: &str) -> Option<&'a Event> {
    let about = tables.events_about(uid).filter(|event| event.severity == Severity::Warning);
    about.max_by_key(|event| (event.last_seen, event.meta.version)).map(|event| &**event)
}

/// The newest Warning about an object, in Kubernetes' words.
fn told(tables: &Tables, meta: &Meta, into: &mut Finding) -> bool {
    let newest = newest_warning(tables, &meta.uid);
    if let Some(event) = newest {
        into.says(Standing::Stuck, format!("{}: {}", event.reason, event.message));
    }
    newest.is_some()
}
