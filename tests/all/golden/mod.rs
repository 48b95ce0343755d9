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

mod compare;
mod fields;
#[expect(dead_code, reason = "the player comes with the session it plays through")]
mod load;
mod observation;
mod order;
mod proof;
mod trace;

use proof::Counts;

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
