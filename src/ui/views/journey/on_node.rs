//! The stages on one node, from its board: the same for boards that agents
//! tell and for those inferred from the API.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::model::claim::{Claim, ClaimPhase};
use crate::model::node_board::{BoardRow, NodeBoard, Stage as Step};
use crate::model::object::Key;
use crate::model::pod::Pod;
use crate::ui::age::{age, duration};
use crate::ui::lists::{Context, board, pods};
use crate::ui::sign::Sign;
use crate::ui::views::journey::{Stage, stage};

/// Attach, stage and publish, with the steps each is made of.
const GROUPS: [(&str, &[Step]); 3] = [
    ("attach", &[Step::Attach, Step::Wait, Step::Detach]),
    ("stage", &[Step::Check, Step::Format, Step::Stage, Step::Unstage]),
    ("publish", &[Step::Publish, Step::Unpublish]),
];

/// Pods of one node named one by one.
const PODS_MAX: usize = 4;

/// Attach, stage, publish and run of a claim on a node.
pub fn stages(
    claim: &Claim,
    node: &str,
    board: Option<&NodeBoard>,
    context: Context<'_>,
    now: Timestamp,
) -> Vec<Stage> {
    let row = board.and_then(|board| {
        let own = |row: &&BoardRow| {
            row.claim.as_ref() == Some(&claim.meta.key) || row.name == claim.volume_name
        };
        board.rows.iter().find(own)
    });
    let mut stages = match row {
        Some(row) => GROUPS.iter().enumerate().map(|(at, _)| of_group(at, row, now)).collect(),
        None => {
            let word = if claim.phase == ClaimPhase::Bound { "not begun" } else { "not yet" };
            vec![stage(Sign::NotYet, "attach", word)]
        }
    };
    stages.extend(runs(claim, node, context));
    stages
}

/// Where a step stands among [`GROUPS`]; running is after all.
fn place(step: Step) -> usize {
    GROUPS.iter().position(|(_, steps)| steps.contains(&step)).unwrap_or(GROUPS.len())
}

fn goes_down(step: Step) -> bool {
    matches!(step, Step::Unpublish | Step::Unstage | Step::Detach)
}

fn of_group(at: usize, row: &BoardRow, now: Timestamp) -> Stage {
    let (name, steps) = GROUPS[at];
    let here = place(row.stage);
    if at == here {
        let since = duration(now.duration_since(row.since));
        return stage(board::sign(row), name, under_way(row, now)).taking(since);
    }
    match (at < here, goes_down(row.stage)) {
        (true, true) => stage(Sign::Ok, name, "still there"),
        (false, true) => stage(Sign::NotYet, name, "undone"),
        (false, false) => stage(Sign::NotYet, name, "not yet"),
        (true, false) => passed(name, steps, row),
    }
}

/// A group that is over: its steps and the time of all of them.
fn passed(name: &'static str, steps: &[Step], row: &BoardRow) -> Stage {
    let over =
        row.spans.iter().filter(|span| steps.contains(&span.stage) && !goes_down(span.stage));
    let (mut took, mut words) = (SignedDuration::ZERO, BTreeSet::new());
    for span in over {
        words.insert(span.stage);
        took += span.ended.unwrap_or(span.began).duration_since(span.began);
    }
    if words.is_empty() {
        return stage(Sign::Ok, name, "done, or not needed");
    }
    let words: Vec<_> = words.iter().map(|step| step.word()).filter(|word| *word != name).collect();
    let text = match words.as_slice() {
        [] => "done".to_owned(),
        words => format!("done, with {}", words.join(", ")),
    };
    stage(Sign::Ok, name, text).taking(duration(took))
}

fn under_way(row: &BoardRow, now: Timestamp) -> String {
    let word = row.stage.word();
    let tries = match row.attempts {
        0 | 1 => String::new(),
        attempts => format!(", attempt {attempts}"),
    };
    let next = match board::next_retry(row, now) {
        next if next.is_empty() => String::new(),
        next if next == "now" => ", the next is due".to_owned(),
        next => format!(", the next in {next}"),
    };
    match &row.last_error {
        Some(error) => format!("{word}{tries}{next}: {error}"),
        None => format!("{word}{tries}"),
    }
}

/// The pods of the node that use the claim.
fn runs(claim: &Claim, node: &str, context: Context<'_>) -> Vec<Stage> {
    let here = context.tables.pods_using(&claim.meta.key).filter(|pod| &*pod.node == node);
    let pods: Vec<_> = here.collect();
    let mut stages: Vec<_> = pods.iter().take(PODS_MAX).map(|pod| run(pod, context)).collect();
    if pods.len() > PODS_MAX {
        let more = pods.len() - PODS_MAX;
        stages.push(stage(Sign::Ok, "run", format!("and {more} pods more")));
    }
    stages
}

fn run(pod: &Pod, context: Context<'_>) -> Stage {
    let word = pods::state_word(pod);
    let sign = match (pod.meta.deleting, &*pod.phase) {
        (Some(_), _) => Sign::Busy,
        (None, "Running" | "Succeeded") => Sign::Ok,
        (None, "Failed") => Sign::Lost,
        (None, _) => Sign::NotYet,
    };
    let since = pod.meta.deleting.unwrap_or(pod.meta.created);
    stage(sign, "run", format!("pod {} {word}", pod.meta.key.name)).taking(age(since, context.now))
}

/// Pods that use the claim and are on no node, and that none uses it.
pub fn unplaced(claim: &Claim, context: Context<'_>) -> Vec<Stage> {
    let tables = context.tables;
    let mut pods = tables.pods_using(&claim.meta.key).filter(|pod| !pod.is_scheduled()).peekable();
    if pods.peek().is_none() {
        let used = tables.pods_using(&claim.meta.key).next().is_some();
        return match used {
            true => Vec::new(),
            false => vec![stage(Sign::NotYet, "run", "no pod uses it")],
        };
    }
    let waits = |pod: &Pod| {
        let key: &Key = &pod.meta.key;
        let text = match claim.phase {
            ClaimPhase::Bound => format!("pod {} has no node yet", key.name),
            _ => format!("pod {} waits for this claim", key.name),
        };
        stage(Sign::NotYet, "run", text).taking(age(pod.meta.created, context.now))
    };
    pods.take(PODS_MAX).map(|pod| waits(pod)).collect()
}
