//! What three runs did alike though nothing decides it. A recording fixes what
//! all its runs had in common; where other recordings show that writers race,
//! the trace is widened by what one more run could have brought.

use std::collections::BTreeSet;

use super::fields;
use super::load::Recording;
use super::trace::{Group, OrderEntry, RecordedObject, State, Trace, object_of};

/// States of different objects that came in one order by chance.
struct Race {
    /// The recording's number.
    recording: &'static str,
    /// `Kind/name@n`.
    states: &'static [&'static str],
}

const RACES: &[Race] = &[
    // Three containers told to end at once do so each when its `sleep 1` is over.
    Race {
        recording: "36",
        states: &[
            "Pod/web-0@8",
            "Pod/web-0@9",
            "Pod/web-1@14",
            "Pod/web-1@15",
            "Pod/web-2@14",
            "Pod/web-2@15",
        ],
    },
    // A claim is told who provisions it while the pod is made that it was made
    // for, or after: in 57 either.
    Race { recording: "37", states: &["PersistentVolumeClaim/data-web-0@2", "Pod/web-0@1"] },
    // A set's status is told beside the scheduler's work: in 37 its second pod's
    // either way.
    Race { recording: "37", states: &["Pod/web-2@2", "StatefulSet/web@5"] },
    Race { recording: "37", states: &["PersistentVolumeClaim/data-web-2@9", "StatefulSet/web@12"] },
    // One volume goes while another is detached; one that was still attached is
    // deleted when the provisioner tries again, whatever happens to the set.
    Race {
        recording: "37",
        states: &[
            "PersistentVolume/pvc-<uid:PersistentVolumeClaim/data-web-1>@5",
            "VolumeAttachment/csi-<hash:pvc-<uid:PersistentVolumeClaim/data-web-2>/node-1>@5",
        ],
    },
    Race {
        recording: "37",
        states: &[
            "PersistentVolume/pvc-<uid:PersistentVolumeClaim/data-web-1>@8",
            "PersistentVolume/pvc-<uid:PersistentVolumeClaim/data-web-2>@5",
            "PersistentVolume/pvc-<uid:PersistentVolumeClaim/data-web-2>@11",
            "PersistentVolumeClaim/data-web-0@6",
            "Pod/web-0@6",
            "StatefulSet/web@15",
            "step 8",
        ],
    },
    // The scheduler looks at a new pod while the claim is made for it.
    Race { recording: "40", states: &["PersistentVolumeClaim/pod-1-scratch@1", "Pod/pod-1@2"] },
    // The scheduler binds a pod once its claim has its volume, which the volume
    // controller tells in a second write: before or after it in 40.
    Race { recording: "57", states: &["Pod/db-0@3", "PersistentVolumeClaim/data-db-0@4"] },
];

/// Recordings in which what one report of a node tells depends on how long the
/// steps before it took: not to be played in another way.
pub const BY_TURNS: &[&str] = &["57"];

/// The recording's trace, widened.
pub fn widened(recording: &Recording) -> Trace {
    let mut trace = recording.trace.clone();
    for (name, object) in &mut trace.objects {
        if name.starts_with("PersistentVolume/") && is_deleted(object) {
            free_finalizers(object);
        }
    }
    let number = recording.name.split('-').next().unwrap_or_default();
    for race in RACES.iter().filter(|race| race.recording == number) {
        free_order(&mut trace, race.states);
    }
    trace
}

fn is_deleted(object: &RecordedObject) -> bool {
    object.states.last() == Some(&State::Deleted)
}

/// The volume controller, the provisioner and the attacher each take their
/// finalizer off a volume that is deleted as soon as they see it; 29, 37, 42 and
/// 57 have them in all six orders. So each finalizer is looked at by itself,
/// also where the three runs agree.
fn free_finalizers(object: &mut RecordedObject) {
    if object.fields.is_none() {
        object.fields = Some(fields::recorded_histories(object));
    }
}

/// Puts all entries that these states are in, and those between, into one
/// group, in which everything but these states keeps its order.
fn free_order(trace: &mut Trace, states: &[&str]) {
    let is_free = |item: &String| states.contains(&item.as_str());
    let holds = |entry: &OrderEntry| entry.items().iter().any(is_free);
    let (Some(first), Some(last)) =
        (trace.order.iter().position(holds), trace.order.iter().rposition(holds))
    else {
        return;
    };
    let mut group = Group { unordered: Vec::new(), but: Vec::new() };
    for entry in trace.order.drain(first..=last) {
        for item in entry.items() {
            let before = group.unordered.iter();
            group.but.extend(before.map(|other| (other.clone(), item.clone())));
        }
        group.unordered.extend_from_slice(entry.items());
        if let OrderEntry::Group(inner) = entry {
            group.but.extend(inner.but);
        }
    }
    // A step marker is no state of an object.
    let object = |item: &str| object_of(item).map(|(object, _)| object.to_owned());
    group.but.retain(|(a, b)| !(is_free(a) && is_free(b) && object(a) != object(b)));
    trace.order.insert(first, OrderEntry::Group(group));
}

/// That what is said of chance is said of states that are recorded.
#[test]
fn golden_races_are_between_recorded_states() {
    let recordings = super::load::all(&super::load::folder()).unwrap_or_else(|bad| panic!("{bad}"));
    for race in RACES {
        let of_race = |recording: &&Recording| recording.name.starts_with(race.recording);
        let Some(recording) = recordings.iter().find(of_race) else { continue };
        let order = recording.trace.order.iter().flat_map(OrderEntry::items);
        let order: BTreeSet<&str> = order.map(String::as_str).collect();
        for state in race.states {
            assert!(order.contains(state), "{}: {state}", recording.name);
        }
    }
}
