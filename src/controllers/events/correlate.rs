//! Which notes become Events, which a higher count, which are dropped.
//!
//! - The same note again raises the count of its Event.
//! - More than ten different messages of one kind about one object within ten
//!   minutes become one Event that says so.
//! - About one object at most 25 at once, then one in five minutes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use crate::controllers::events::Note;
use crate::model::event::Severity;
use crate::model::object::{Key, ObjectRef};

/// Different messages within [`SIMILAR_SECONDS`] that still get Events of their
/// own.
const SIMILAR: usize = 10;
const SIMILAR_SECONDS: i64 = 600;
/// Notes about one object that may come at once.
const BURST: f64 = 25.0;
/// After a burst, one note in so many seconds.
const REFILL_SECONDS: f64 = 300.0;
/// How many notes are remembered; then the oldest are forgotten.
const REMEMBERED: usize = 4096;

/// What to send for a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Send {
    Nothing,
    Create,
    Count { event: Key, count: u32 },
}

/// One object, of one life, as one source tells of it: each node's agent
/// counts for itself.
type About = (ObjectRef, Arc<str>, Arc<str>);
/// Notes of one kind, whatever they say.
type Similar = (About, Severity, &'static str);

/// Remembers what was told.
#[derive(Debug, Default)]
pub struct Correlator {
    told: HashMap<(Similar, String), Told>,
    similar: HashMap<Similar, Messages>,
    budgets: HashMap<About, Budget>,
}

#[derive(Debug)]
struct Told {
    event: Option<Key>,
    count: u32,
    last: Timestamp,
}

#[derive(Debug)]
struct Messages {
    seen: HashSet<String>,
    last: Timestamp,
}

#[derive(Debug)]
struct Budget {
    left: f64,
    last: Timestamp,
}

impl Correlator {
    /// The note to send, its message perhaps marked as one for many, and how.
    pub fn correlate(&mut self, mut note: Note, now: Timestamp) -> (Note, Send) {
        self.forget_oldest();
        let similar = similar(&note);
        let told_as = if self.is_one_of_many(&similar, &note.message, now) {
            note.message = format!("(combined from similar events): {}", note.message);
            // All of them count as one, whatever they say.
            String::new()
        } else {
            note.message.clone()
        };
        let told = self.told.entry((similar, told_as)).or_insert(Told {
            event: None,
            count: 0,
            last: now,
        });
        told.count += 1;
        told.last = now;
        let send = match &told.event {
            Some(event) => Send::Count { event: event.clone(), count: told.count },
            None => Send::Create,
        };
        let send = if self.spend(&note, now) { send } else { Send::Nothing };
        (note, send)
    }

    /// Remembers the Event that a note became.
    pub fn sent(&mut self, note: &Note, event: Key) {
        let similar = similar(note);
        let message = if note.message.starts_with("(combined from similar events): ") {
            String::new()
        } else {
            note.message.clone()
        };
        if let Some(told) = self.told.get_mut(&(similar, message)) {
            if told.event.as_ref() != Some(&event) && told.event.is_some() {
                // A new Event in place of one cleaned away starts counting anew.
                told.count = 1;
            }
            told.event = Some(event);
        }
    }

    fn is_one_of_many(&mut self, similar: &Similar, message: &str, now: Timestamp) -> bool {
        let messages = self
            .similar
            .entry(similar.clone())
            .or_insert_with(|| Messages { seen: HashSet::new(), last: now });
        if now.duration_since(messages.last).as_secs() > SIMILAR_SECONDS {
            messages.seen.clear();
        }
        messages.last = now;
        if messages.seen.contains(message) {
            return false;
        }
        if messages.seen.len() >= SIMILAR {
            return true;
        }
        messages.seen.insert(message.to_owned());
        false
    }

    /// Takes one from the object's budget; false if there is none.
    fn spend(&mut self, note: &Note, now: Timestamp) -> bool {
        let budget = self.budgets.entry(about(note)).or_insert(Budget { left: BURST, last: now });
        let passed = now.duration_since(budget.last).as_secs_f64().max(0.0);
        budget.left = (budget.left + passed / REFILL_SECONDS).min(BURST);
        budget.last = now;
        if budget.left < 1.0 {
            return false;
        }
        budget.left -= 1.0;
        true
    }

    /// Keeps each memory within its bounds: half goes at a time, so that
    /// forgetting costs little per note.
    fn forget_oldest(&mut self) {
        forget(&mut self.told, |told| told.last);
        forget(&mut self.similar, |messages| messages.last);
        forget(&mut self.budgets, |budget| budget.last);
    }
}

fn forget<K, V>(memory: &mut HashMap<K, V>, last: impl Fn(&V) -> Timestamp) {
    if memory.len() < REMEMBERED {
        return;
    }
    let mut times: Vec<_> = memory.values().map(&last).collect();
    let middle = times.len() / 2;
    let (_, median, _) = times.select_nth_unstable(middle);
    let median = *median;
    memory.retain(|_, value| last(value) > median);
}

fn about(note: &Note) -> About {
    (note.regarding.clone(), note.uid.clone(), note.host.clone())
}

fn similar(note: &Note) -> Similar {
    (about(note), note.severity, note.reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kind;
    use jiff::ToSpan;

    fn note(message: &str) -> Note {
        Note {
            regarding: ObjectRef::new(kind::PERSISTENT_VOLUME, Key::cluster("pv-1")),
            uid: "u".into(),
            version: 1,
            severity: Severity::Normal,
            reason: "FailedBinding",
            message: message.into(),
            host: "".into(),
        }
    }

    fn start() -> Timestamp {
        Timestamp::from_second(1_800_000_000).expect("in range")
    }

    #[test]
    fn a_repeated_note_raises_the_count_of_its_event() {
        let mut correlator = Correlator::default();
        let (first, send) = correlator.correlate(note("a"), start());
        assert_eq!(send, Send::Create);
        let event = Key::new("default", "pv-1.1");
        correlator.sent(&first, event.clone());
        let (_, send) = correlator.correlate(note("a"), start());
        assert_eq!(send, Send::Count { event, count: 2 });
        assert_eq!(correlator.correlate(note("b"), start()).1, Send::Create);
    }

    #[test]
    fn many_different_messages_become_one_event() {
        let mut correlator = Correlator::default();
        for n in 0..10 {
            correlator.correlate(note(&format!("m{n}")), start());
        }
        let (combined, send) = correlator.correlate(note("m10"), start());
        assert_eq!(combined.message, "(combined from similar events): m10");
        assert_eq!(send, Send::Create);
        let event = Key::new("default", "pv-1.2");
        correlator.sent(&combined, event.clone());
        let (_, send) = correlator.correlate(note("m11"), start());
        assert_eq!(send, Send::Count { event, count: 2 });
    }

    #[test]
    fn beyond_a_burst_one_note_passes_in_five_minutes() {
        let mut correlator = Correlator::default();
        let told = |correlator: &mut Correlator, at| {
            correlator.correlate(note("a"), at).1 != Send::Nothing
        };
        let passed = (0..40).filter(|_| told(&mut correlator, start())).count();
        assert_eq!(passed, 25);
        assert!(!told(&mut correlator, start() + 100.seconds()));
        assert!(told(&mut correlator, start() + 301.seconds()));
        assert!(!told(&mut correlator, start() + 302.seconds()));
    }

    #[test]
    fn memory_is_bounded() {
        let mut correlator = Correlator::default();
        for n in 0..10_000_u32 {
            let mut note = note("a");
            note.uid = n.to_string().into();
            correlator.correlate(note, start() + i64::from(n).seconds());
        }
        assert!(correlator.told.len() <= REMEMBERED && correlator.budgets.len() <= REMEMBERED);
    }
}
