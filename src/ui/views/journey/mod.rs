//! A claim's way: each stage from its creation to a running pod, with the time
//! spent in it, where it is stuck, why, and its events.
//!
//! ```text
//! rows of the mirror ──> to_volume: claim, class, schedule, provision, bind
//! boards of its nodes ─> on_node:   attach, stage, publish, run, per node
//! ```

mod on_node;
mod to_volume;

use crate::model::claim::Claim;
use crate::model::object::Key;
use crate::ui::age::age;
use crate::ui::boards::{self, NODES_MAX};
use crate::ui::data::Data;
use crate::ui::lists::{Context, claims, volumes};
use crate::ui::sign::Sign;
use crate::ui::target::Target;
use crate::ui::theme::Role;
use crate::ui::views::calls;
use crate::ui::views::describe;
use crate::ui::views::page::Page;

/// One stage of the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    pub sign: Sign,
    pub name: &'static str,
    pub text: String,
    /// How long it took, or takes so far; empty if that cannot be told.
    pub took: String,
}

/// Pods whose events are told on a claim's page.
const PODS_TOLD: usize = 3;

/// Cells of a stage's name.
const NAME: usize = 10;

fn stage(sign: Sign, name: &'static str, text: impl Into<String>) -> Stage {
    Stage { sign, name, text: text.into(), took: String::new() }
}

impl Stage {
    fn taking(self, took: impl Into<String>) -> Self {
        Self { took: took.into(), ..self }
    }
}

pub fn write(page: &mut Page<'_>, target: &Target, data: &Data) {
    data.read(|context| {
        let Some(claim) = context.tables.claims.by_uid(&target.uid) else {
            page.say(Role::Error, &format!("claim {} is gone", target.key()));
            return;
        };
        head(page, claim, context.now);
        let mut stuck = false;
        for stage in to_volume::stages(claim, context) {
            draw(page, &stage, &mut stuck);
        }
        nodes(page, claim, context, data, &mut stuck);
        calls::of_journey(page, data);
        page.rule();
        let reason = context.reasons.of(claim);
        let role = match reason.sign {
            sign if sign.needs_person() => Role::Fault,
            _ => Role::Text,
        };
        let normal = if reason.sign == Sign::NotYet { "This is normal: " } else { "" };
        page.after_word("WHY  ", role, &format!("{normal}{}", reason.text));
        if let Some(step) = data.whys.get(&target.uid).and_then(|why| why.next.as_deref()) {
            page.after_word("NEXT ", Role::Text, step);
        }
        around(page, claim, context);
        page.rule();
        describe::events(page, &target.uid, context);
        events_of_pods(page, claim, context);
    });
}

/// One stage; the first that needs a person is where the claim is stuck.
fn draw(page: &mut Page<'_>, stage: &Stage, stuck: &mut bool) {
    let here = stage.sign.needs_person() && !*stuck;
    *stuck |= here;
    let here = if here { "   <- stuck here" } else { "" };
    page.timed(stage.sign, stage.name, NAME, &format!("{}{here}", stage.text), &stage.took);
}

/// What comes after binding, on each node where the claim is used.
fn nodes(page: &mut Page<'_>, claim: &Claim, context: Context<'_>, data: &Data, stuck: &mut bool) {
    let tables = context.tables;
    let nodes = boards::nodes_of_claim(&claim.meta.key, &claim.volume_name, tables);
    if nodes.is_empty() {
        page.pieces(&[(Role::Dim, " . attach  . stage  . publish")]);
    }
    for node in &nodes {
        let facts = data.boards.get(node);
        let inferred = facts.is_some_and(|facts| facts.board.is_inferred);
        let said = if inferred { "  inferred" } else { "" };
        page.pieces(&[(Role::Heading, &format!(" on {node}")), (Role::Dim, said)]);
        let board = facts.map(|facts| &facts.board);
        for stage in on_node::stages(claim, node, board, context, data.instant()) {
            draw(page, &stage, stuck);
        }
    }
    if nodes.len() == NODES_MAX {
        page.say(Role::Dim, "and perhaps on more nodes; :nodes shows each");
    }
    for stage in on_node::unplaced(claim, context) {
        draw(page, &stage, stuck);
    }
}

/// `claim shop/data   Pending 4m12s   wants 20Gi RWO Filesystem, class fast`.
pub fn head(page: &mut Page<'_>, claim: &Claim, now: i64) {
    let state = claims::state_word(claim);
    let class = match claim.class.as_deref() {
        None => "no class".to_owned(),
        Some("") => "class \"\"".to_owned(),
        Some(class) => format!("class {class}"),
    };
    let request = claim.request.map_or_else(|| "?".into(), |request| request.to_string());
    let wants = format!("   wants {request} {} {}, {class}", claim.access_modes, claim.mode.name());
    let since = claim.meta.deleting.unwrap_or(claim.meta.created);
    page.pieces(&[
        (Role::Title, &format!(" claim {}   ", claim.meta.key)),
        (Role::Title, &format!("{state} {}", age(since, now))),
        (Role::Text, &wants),
    ]);
}

/// What was said of the pods that cannot run yet: mounts fail on them.
fn events_of_pods(page: &mut Page<'_>, claim: &Claim, context: Context<'_>) {
    let waiting = context.tables.pods_using(&claim.meta.key).filter(|pod| {
        !matches!(&*pod.phase, "Running" | "Succeeded") && pod.meta.deleting.is_none()
    });
    for pod in waiting.take(PODS_TOLD) {
        if context.tables.events_about(&pod.meta.uid).next().is_some() {
            let heading = format!("EVENTS of pod {}", pod.meta.key.name);
            describe::events_under(page, &heading, &pod.meta.uid, context);
        }
    }
}

/// The volume behind the claim, in a line.
fn around(page: &mut Page<'_>, claim: &Claim, context: Context<'_>) {
    let volume = context.tables.volumes.get(&Key::cluster(claim.volume_name.clone()));
    let Some(volume) = volume else { return };
    let size = volume.capacity.map_or_else(|| "?".into(), |size| size.to_string());
    page.fact(
        "volume",
        &format!(
            "{} {} {size} {} {}",
            volume.meta.key.name,
            volumes::state_word(volume),
            volume.access_modes,
            volume.reclaim_policy.name()
        ),
    );
}
