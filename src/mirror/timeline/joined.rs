//! What we wrote and what was seen to happen, as one story.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::cluster::write_path::journal::{Entry, Outcome};
use crate::mirror::timeline::{Transition, What};
use crate::model::object::ObjectRef;
use crate::model::write;

/// One moment of the story.
#[derive(Debug, Clone)]
pub enum Moment {
    /// A write of ours, and the step that it made, once that was seen.
    Ours { entry: Entry, step: Option<Arc<Transition>> },
    /// A step that no write of ours in the journal made: somebody else's.
    Seen(Arc<Transition>),
}

impl Moment {
    pub fn time(&self) -> Timestamp {
        match self {
            Self::Ours { entry, .. } => entry.time,
            Self::Seen(transition) => transition.time,
        }
    }

    pub fn object(&self) -> &ObjectRef {
        match self {
            Self::Ours { entry, .. } => &entry.write.object,
            Self::Seen(transition) => &transition.object,
        }
    }
}

/// Joins journal and transitions, both oldest first, by uid and version; what
/// is left of the transitions stands at its time.
pub fn joined<'a>(
    journal: &[Entry],
    transitions: impl Iterator<Item = &'a Arc<Transition>>,
) -> Vec<Moment> {
    let made = Made::of(journal);
    let mut steps: HashMap<usize, Arc<Transition>> = HashMap::new();
    let mut others = Vec::new();
    for transition in transitions {
        match made.by(transition) {
            Some(entry) => {
                steps.insert(entry, transition.clone());
            }
            None => others.push(Moment::Seen(transition.clone())),
        }
    }
    let ours = journal
        .iter()
        .enumerate()
        .map(|(at, entry)| Moment::Ours { entry: entry.clone(), step: steps.remove(&at) });
    merged(ours, others)
}

/// Which entry made what.
struct Made<'a> {
    versions: HashMap<(&'a str, u64), usize>,
    deleted: HashMap<&'a ObjectRef, usize>,
}

impl<'a> Made<'a> {
    fn of(journal: &'a [Entry]) -> Self {
        let (mut versions, mut deleted) = (HashMap::new(), HashMap::new());
        for (at, entry) in journal.iter().enumerate() {
            let Outcome::Done { uid, version } = &entry.outcome else { continue };
            if !uid.is_empty() {
                versions.insert((&**uid, *version), at);
            }
            if matches!(entry.write.change, write::Change::Delete(_)) {
                deleted.insert(&entry.write.object, at);
            }
        }
        Self { versions, deleted }
    }

    fn by(&self, transition: &Transition) -> Option<usize> {
        // A deletion is answered with a status, or with the version before it.
        match transition.what {
            What::Gone => self.deleted.get(&transition.object),
            _ => self.versions.get(&(&*transition.uid, transition.version)),
        }
        .copied()
    }
}

/// Two stories in the order of time, the first one's first at the same moment.
fn merged(first: impl Iterator<Item = Moment>, second: Vec<Moment>) -> Vec<Moment> {
    let mut second = second.into_iter().peekable();
    let mut merged = Vec::new();
    for moment in first {
        while let Some(earlier) = second.next_if(|other| other.time() < moment.time()) {
            merged.push(earlier);
        }
        merged.push(moment);
    }
    merged.extend(second);
    merged
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::kind;
    use crate::model::object::Key;
    use crate::model::write::{Actor, Change, Reason, Write};

    fn claim() -> ObjectRef {
        ObjectRef::new(kind::PERSISTENT_VOLUME_CLAIM, Key::new("shop", "data"))
    }

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn entry(number: u64, at: i64, change: Change, outcome: Outcome) -> Entry {
        let write = Write {
            object: claim(),
            subresource: None,
            change,
            version: None,
            on_behalf_of: claim(),
            reason: Reason::new("C1", "it fits"),
        };
        Entry {
            number,
            time: second(at),
            actor: Actor("binder".into()),
            write: Arc::new(write),
            outcome,
        }
    }

    fn step(number: u64, at: i64, version: u64, what: What) -> Arc<Transition> {
        let (object, uid) = (claim(), "u1".into());
        Arc::new(Transition { number, time: second(at), object, uid, version, what })
    }

    /// `number` for an entry, `number+step` for one whose step was seen,
    /// `.step` for a step of somebody else's.
    fn shape(moments: &[Moment]) -> Vec<String> {
        let one = |moment: &Moment| match moment {
            Moment::Ours { entry, step: None } => entry.number.to_string(),
            Moment::Ours { entry, step: Some(step) } => {
                format!("{}+{}", entry.number, step.number)
            }
            Moment::Seen(step) => format!(".{}", step.number),
        };
        moments.iter().map(one).collect()
    }

    #[test]
    fn steps_join_the_writes_that_made_them_and_others_stand_alone() {
        let done = |version| Outcome::Done { uid: "u1".into(), version };
        let refused = Outcome::Refused { code: 409, message: "conflict".into() };
        let patch = || Change::Merge(json!({}));
        let journal = [
            entry(0, 10, patch(), done(5)),
            entry(1, 20, patch(), refused),
            entry(2, 30, Change::Delete(json!({})), done(7)),
        ];
        let changed = || What::Changed(Box::new(["phase Pending -> Bound".into()]));
        let steps = [
            step(0, 5, 4, What::Appeared),
            step(1, 11, 5, changed()),
            step(2, 15, 6, changed()),
            step(3, 40, 6, What::Gone),
        ];
        let moments = joined(&journal, steps.iter());
        assert_eq!(shape(&moments), [".0", "0+1", ".2", "1", "2+3"]);
    }
}
