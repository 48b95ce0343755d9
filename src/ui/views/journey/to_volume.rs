//! The stages until a claim is bound, from the rows of the mirror and the times
//! that objects and events tell.

use std::sync::Arc;

use crate::mirror::Tables;
use crate::model::claim::{Claim, ClaimPhase};
use crate::model::class::{BindingMode, StorageClass};
use crate::model::object::{Key, Seconds};
use crate::model::pod::Pod;
use crate::model::volume::Volume;
use crate::ui::age::age;
use crate::ui::lists::{Context, classes, volumes};
use crate::ui::reason;
use crate::ui::sign::Sign;
use crate::ui::views::journey::{Stage, stage};

/// Claim, class, schedule, provision, bind.
pub fn stages(claim: &Arc<Claim>, context: Context<'_>) -> Vec<Stage> {
    let tables = context.tables;
    let class = reason::class_of(claim, tables);
    let volume = tables.volumes.get(&Key::cluster(claim.volume_name.clone())).map(|v| &**v);
    let pods: Vec<&Pod> = tables.pods_using(&claim.meta.key).map(|pod| &**pod).collect();
    vec![
        of_claim(claim, context.now),
        of_class(claim, class),
        of_schedule(claim, class, &pods, context),
        of_volume(claim, class, volume, context),
        of_binding(claim, volume, context),
    ]
}

fn is_bound(claim: &Claim) -> bool {
    claim.phase == ClaimPhase::Bound
}

fn of_claim(claim: &Claim, now: Seconds) -> Stage {
    let by = match &claim.meta.owner {
        Some(owner) => format!("made by {} {}", owner.kind, owner.name),
        None => "made by hand or by a tool".into(),
    };
    let made = age(claim.meta.created, now);
    match claim.meta.deleting {
        Some(since) => {
            stage(Sign::Busy, "claim", format!("{by}; being deleted")).taking(age(since, now))
        }
        None => stage(Sign::Ok, "claim", by).taking(format!("{made} ago")),
    }
}

fn of_class(claim: &Claim, class: Option<&StorageClass>) -> Stage {
    match (class, claim.class.as_deref()) {
        (Some(class), _) => {
            let expands = if class.expandable { ", expandable" } else { "" };
            let text = format!(
                "{}: {}, binds {}, {}{expands}",
                class.meta.key.name,
                class.provisioner,
                classes::binding_word(class),
                class.reclaim_policy
            );
            stage(Sign::Ok, "class", text)
        }
        (None, Some("")) => stage(Sign::Ok, "class", "none wanted: only volumes without a class"),
        (None, Some(name)) if is_bound(claim) => {
            stage(Sign::Ok, "class", format!("{name}, which does not exist: only a name"))
        }
        (None, Some(name)) => {
            let text = format!("{name} does not exist; volumes of that class name would still do");
            stage(Sign::Unknown, "class", text)
        }
        (None, None) if is_bound(claim) => stage(Sign::Ok, "class", "none"),
        (None, None) => stage(Sign::Fault, "class", "none asked for, and no default class"),
    }
}

fn of_schedule(
    claim: &Claim,
    class: Option<&StorageClass>,
    pods: &[&Pod],
    context: Context<'_>,
) -> Stage {
    let delayed = class.is_some_and(|c| c.binding_mode == Some(BindingMode::WaitForFirstConsumer));
    let chosen = claim.meta.annotation("volume.kubernetes.io/selected-node");
    if !delayed {
        let sign = if is_bound(claim) { Sign::Ok } else { Sign::NotYet };
        return stage(sign, "schedule", "not needed: the claim binds at once");
    }
    let scheduled = pods.iter().filter(|pod| pod.is_scheduled());
    match (scheduled.min_by_key(|pod| pod.meta.created), chosen) {
        (Some(pod), _) => {
            let text = format!("pod {} on {}", pod.meta.key.name, pod.node);
            let at = first_told(&pod.meta.uid, "Scheduled", context.tables);
            stage(Sign::Ok, "schedule", text).taking(took(pod.meta.created, at))
        }
        (None, _) if is_bound(claim) => stage(Sign::Ok, "schedule", "done"),
        (None, Some(node)) => {
            stage(Sign::Busy, "schedule", format!("{node} is chosen; the volume is to be made"))
        }
        (None, None) => not_scheduled(pods, context.now),
    }
}

fn not_scheduled(pods: &[&Pod], now: Seconds) -> Stage {
    let Some(pod) = pods.first() else {
        return stage(Sign::NotYet, "schedule", "waits for a pod; that is intended");
    };
    let waited = age(pod.meta.created, now);
    let name = &pod.meta.key.name;
    let told = match &pod.unscheduled {
        Some(why) => {
            stage(Sign::Fault, "schedule", format!("pod {name} fits no node: {}", why.message))
        }
        None => stage(Sign::Busy, "schedule", format!("pod {name} has no node yet")),
    };
    told.taking(waited)
}

/// Whether someone makes the volume, or it is found among those there are.
fn is_provisioned(class: Option<&StorageClass>) -> bool {
    class.is_some_and(|class| &*class.provisioner != "kubernetes.io/no-provisioner")
}

fn of_volume(
    claim: &Arc<Claim>,
    class: Option<&StorageClass>,
    volume: Option<&Volume>,
    context: Context<'_>,
) -> Stage {
    let name = if is_provisioned(class) { "provision" } else { "volume" };
    let asked = asked(claim, context.tables);
    if let Some(volume) = volume {
        let text = format!("{} ({})", volume.meta.key.name, volumes::source_text(volume));
        let made = volume.meta.created;
        // One that was there before was not made for this claim.
        let made = (made >= claim.meta.created).then_some(made);
        return stage(Sign::Ok, name, text).taking(took(asked.unwrap_or(claim.meta.created), made));
    }
    if !claim.volume_name.is_empty() {
        let sign = match claim.phase {
            ClaimPhase::Lost => Sign::Lost,
            ClaimPhase::Pending | ClaimPhase::Bound | ClaimPhase::Unset => Sign::Fault,
        };
        return stage(sign, name, format!("{} does not exist", claim.volume_name));
    }
    let reason = context.reasons.of(claim);
    let text = match asked {
        _ if reason.sign == Sign::NotYet => return stage(Sign::NotYet, name, "not yet"),
        Some(at) => format!("{}; asked {} ago, no answer", reason.short, age(at, context.now)),
        None => reason.short,
    };
    stage(reason.sign, name, text).taking(age(claim.meta.created, context.now))
}

/// When someone was first asked to make a volume for the claim.
fn asked(claim: &Claim, tables: &Tables) -> Option<Seconds> {
    ["ExternalProvisioning", "Provisioning"]
        .iter()
        .filter_map(|reason| first_told(&claim.meta.uid, reason, tables))
        .min()
}

fn of_binding(claim: &Claim, volume: Option<&Volume>, context: Context<'_>) -> Stage {
    let by = volume.and_then(|volume| volume.claim_ref.as_ref());
    let mutual = by.is_some_and(|by| *by.uid == *claim.meta.uid);
    match (claim.phase, mutual) {
        (ClaimPhase::Bound, true) => {
            let began = volume.map_or(0, |volume| volume.meta.created.max(claim.meta.created));
            let bound = volume.and_then(|volume| volume.phase_since);
            stage(Sign::Ok, "bind", "both name each other").taking(took(began, bound))
        }
        (ClaimPhase::Bound, false) => {
            stage(Sign::Fault, "bind", "the volume does not name this claim")
        }
        (ClaimPhase::Lost, _) => stage(Sign::Lost, "bind", "lost: it was bound once"),
        (ClaimPhase::Pending | ClaimPhase::Unset, true) => {
            let waits = age(claim.meta.created, context.now);
            stage(Sign::Busy, "bind", "the volume names this claim; the claim's turn").taking(waits)
        }
        (ClaimPhase::Pending | ClaimPhase::Unset, false) => stage(Sign::NotYet, "bind", "not yet"),
    }
}

/// When something of this reason was first said of an object.
fn first_told(uid: &str, reason: &str, tables: &Tables) -> Option<Seconds> {
    let events = tables.events_about(uid).filter(|event| &*event.reason == reason);
    events.map(|event| event.first_seen).min()
}

/// The API tells whole seconds: shorter is told as such.
fn took(began: Seconds, ended: Option<Seconds>) -> String {
    match ended {
        Some(ended) if ended > began => age(began, ended),
        Some(ended) if ended == began => "<1s".into(),
        _ => String::new(),
    }
}
