//! The recorded scenarios: played through the embedded cluster with the hosted
//! controllers, on its clock, and compared with what a real cluster did.
//!
//! ```text
//! steps.yaml ─> play ─> record ─> Observation ─┐
//!                                              ├─> differences
//! trace.yaml ─> load ─────────────> Trace ─────┘
//! ```
//!
//! The recordings are those in `tests/golden`, or in the folder that
//! `PVDECK_GOLDEN` names.

mod chance;
mod compare;
mod fields;
mod load;
mod machine;
mod needs;
mod observation;
mod order;
mod play;
mod project;
mod proof;
mod record;
mod tokens;
mod trace;
mod trace_file;

use std::fmt;

use compare::{Difference, differences, differences_but_order};
use load::Recording;
use play::Gate;
use proof::Counts;
pub use record::Committed;

use crate::world::{ONE_AT_A_TIME, World};

/// So many recordings are there, and all hold.
const RECORDINGS: usize = 66;

/// How a recording fared.
enum Verdict {
    Holds,
    Differs(Vec<Difference>),
    NeedsWhatIsNotBuilt(Vec<String>),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holds => f.write_str("holds"),
            Self::Differs(found) => {
                write!(f, "differs at {}", found[0])?;
                match found.len() - 1 {
                    0 => Ok(()),
                    more => write!(f, " (and {more} more)"),
                }
            }
            Self::NeedsWhatIsNotBuilt(parts) => {
                write!(f, "needs what is not built yet: {}", parts.join(", "))
            }
        }
    }
}

fn verdict(recording: &Recording) -> Verdict {
    let missing = needs::missing(recording);
    if !missing.is_empty() {
        return Verdict::NeedsWhatIsNotBuilt(missing);
    }
    let play = async |world| play::play(recording, &world, Gate::Open).await;
    match World::run_recorded(ONE_AT_A_TIME, recording.has_programs(), play) {
        Err(what) => Verdict::Differs(vec![Difference(what)]),
        Ok(seen) => {
            let trace = chance::widened(recording);
            // Real programs take the machine's time, not the clock's: of two at
            // once either may end first.
            let found = if recording.has_programs() {
                differences_but_order(&trace, &seen).0
            } else {
                differences(&trace, &seen)
            };
            if found.is_empty() { Verdict::Holds } else { Verdict::Differs(found) }
        }
    }
}

#[test]
fn golden_recordings_hold() {
    let recordings = load::all(&load::folder()).unwrap_or_else(|bad| panic!("{bad}"));
    // Another folder may hold what is not built; the copies here do not.
    let is_own = std::env::var_os("PVDECK_GOLDEN").is_none();
    let mut wrong = Vec::new();
    let mut counts = [0; 3];
    for recording in &recordings {
        let verdict = verdict(recording);
        let line = format!("{}: {verdict}", recording.name);
        println!("{line}");
        if !recording.trace.left_over.is_empty() {
            let objects = recording.trace.left_over.join(", ");
            println!("  not of this scenario, left behind by an earlier one: {objects}");
        }
        match verdict {
            Verdict::Holds => counts[0] += 1,
            Verdict::Differs(found) => {
                for difference in &found {
                    println!("  {difference}");
                }
                wrong.push(line);
                counts[1] += 1;
            }
            Verdict::NeedsWhatIsNotBuilt(_) => {
                wrong.extend(is_own.then_some(line));
                counts[2] += 1;
            }
        }
    }
    let [holding, differing, needing] = counts;
    println!("{holding} hold, {differing} differ, {needing} need what is not built yet");
    if is_own {
        assert_eq!(recordings.len(), RECORDINGS, "recordings in the folder");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Plays what can be played in another way than the original worked, and
/// compares everything but the order.
fn whatever_comes_first(parallel: usize, gate: Gate) {
    let recordings = load::all(&load::folder()).unwrap_or_else(|bad| panic!("{bad}"));
    let mut wrong = Vec::new();
    let played = |recording: &&load::Recording| {
        let number = recording.name.split('-').next().unwrap_or_default();
        needs::missing(recording).is_empty() && !chance::BY_TURNS.contains(&number)
    };
    for recording in recordings.iter().filter(played) {
        let play = async |world| play::play(recording, &world, gate).await;
        let found = match World::run_recorded(parallel, recording.has_programs(), play) {
            Err(what) => vec![Difference(what)],
            Ok(seen) => differences_but_order(&chance::widened(recording), &seen).0,
        };
        wrong.extend(found.iter().map(|found| format!("{}: {found}", recording.name)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn golden_states_are_the_same_with_many_objects_at_once() {
    whatever_comes_first(64, Gate::Open);
}

#[test]
fn golden_states_are_the_same_when_every_write_is_let_pass_by_hand() {
    whatever_comes_first(1, Gate::Stepped);
    whatever_comes_first(64, Gate::Stepped);
}

/// What loading says of a folder whose `file` reads otherwise.
fn complaint(file: &str, from: &str, to: &str) -> String {
    let source =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/01-static-nfs-bind");
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["steps.yaml", "trace.yaml"] {
        let mut text = std::fs::read_to_string(source.join(name)).expect("a recording");
        if name == file {
            assert!(text.contains(from), "{file} holds {from}");
            text = text.replacen(from, to, 1);
        }
        std::fs::write(folder.path().join(name), text).expect("written");
    }
    let bad = load::one(folder.path()).err().expect("a complaint").to_string();
    bad.replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn golden_files_that_cannot_be_read_name_file_and_line() {
    for (file, from, to, expected) in [
        ("steps.yaml", "- wait:", "- weight:", "steps.yaml:19: "),
        ("steps.yaml", "timeout: 45", "timeout: soon", "steps.yaml:24: "),
        ("trace.yaml", "code: 201", "code: none", "trace.yaml:8: "),
        ("trace.yaml", "    - state: 2", "    - status: 2", "trace.yaml:43: "),
        ("trace.yaml", "op: apply", "op: patch", "trace.yaml:5: step 1 is `patch` here"),
        ("trace.yaml", "state: 3", "state: 4", "trace.yaml:28: PersistentVolume/pv-1: state 4"),
        ("trace.yaml", "pv-1@6", "pv-9@6", "trace.yaml:131: the order names"),
    ] {
        let complaint = complaint(file, from, to);
        assert!(complaint.starts_with(expected), "{from} -> {to}: {complaint}");
    }
}

#[test]
fn golden_comparison_accepts_what_was_recorded_and_refuses_every_change() {
    let recordings = load::all(&load::folder()).unwrap_or_else(|bad| panic!("{bad}"));
    let mut counts = Counts::default();
    let mut wrong = Vec::new();
    for recording in &recordings {
        let (more, judged_wrongly) = proof::prove(recording);
        counts += more;
        wrong.extend(judged_wrongly);
    }
    println!("{} recordings: {counts}", recordings.len());
    assert!(wrong.is_empty(), "{} judged wrongly:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn golden_field_histories_follow_from_the_recorded_sequences() {
    let recordings = load::all(&load::folder()).unwrap_or_else(|bad| panic!("{bad}"));
    let mut wrong = Vec::new();
    for recording in &recordings {
        for (name, object) in &recording.trace.objects {
            for sequence in object.fields.iter().flat_map(|_| &object.sequences) {
                let life: Vec<_> = sequence.iter().map(|n| (0, &object.states[n - 1])).collect();
                if !fields::agree(object, &life) {
                    wrong.push(format!("{}: {name}: {sequence:?}", recording.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "not explained by the fields:\n{}", wrong.join("\n"));
}
