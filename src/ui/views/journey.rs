//! A claim's way: each stage from its creation to a running pod, where it is
//! stuck, why, the objects around it and its events.

use std::sync::Arc;

use crate::mirror::Tables;
use crate::model::claim::{Claim, ClaimPhase};
use crate::model::class::{BindingMode, StorageClass};
use crate::model::object::Key;
use crate::model::pod::Pod;
use crate::model::volume::Volume;
use crate::ui::age::age;
use crate::ui::data::Data;
use crate::ui::lists::{claims, classes, pods, volumes};
use crate::ui::reason;
use crate::ui::sign::Sign;
use crate::ui::target::Target;
use crate::ui::theme::Role;
use crate::ui::views::describe;
use crate::ui::views::page::Page;

/// One stage of the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    pub sign: Sign,
    pub name: &'static str,
    pub text: String,
}

/// Cells of a stage's name.
const NAME: usize = 10;

pub fn write(page: &mut Page<'_>, target: &Target, data: &Data) {
    data.read(|context| {
        let tables = context.tables;
        let Some(claim) = tables.claims.by_uid(&target.uid) else {
            page.say(Role::Error, &format!("claim {} is gone", target.key()));
            return;
        };
        head(page, claim, context.now);
        let stages = stages(claim, tables);
        let stuck = stages.iter().position(|stage| stage.sign.needs_person());
        for (at, stage) in stages.iter().enumerate() {
            let here = if stuck == Some(at) { "   <- stuck here" } else { "" };
            page.signed(stage.sign, stage.name, NAME, &format!("{}{here}", stage.text));
        }
        page.rule();
        let reason = reason::reason(claim, tables);
        let role = match reason.sign {
            sign if sign.needs_person() => Role::Fault,
            _ => Role::Text,
        };
        let normal = if reason.sign == Sign::NotYet { "This is normal: " } else { "" };
        page.say(role, &format!("WHY  {normal}{}", reason.text));
        around(page, claim, tables);
        page.rule();
        describe::events(page, &target.uid, context);
    });
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

/// The stages of a claim's way and how far each has come.
pub fn stages(claim: &Arc<Claim>, tables: &Tables) -> Vec<Stage> {
    let class = reason::class_of(claim, tables);
    let volume = tables.volumes.get(&Key::cluster(claim.volume_name.clone())).map(|v| &**v);
    let pods: Vec<&Pod> = tables.pods_using(&claim.meta.key).map(|pod| &**pod).collect();
    let bound = claim.phase == ClaimPhase::Bound;
    vec![
        stage_claim(claim),
        stage_class(claim, class, bound),
        stage_schedule(class, &pods, bound),
        stage_volume(claim, volume, tables),
        stage_bind(claim, volume),
        stage_attach(claim, volume, tables, &pods),
        stage_run(&pods),
    ]
}

fn stage(sign: Sign, name: &'static str, text: impl Into<String>) -> Stage {
    Stage { sign, name, text: text.into() }
}

fn stage_claim(claim: &Claim) -> Stage {
    let by = match &claim.meta.owner {
        Some(owner) => format!("made by {} {}", owner.kind, owner.name),
        None => "made by hand or by a tool".into(),
    };
    match claim.meta.deleting {
        Some(_) => stage(Sign::Busy, "claim", format!("{by}; being deleted")),
        None => stage(Sign::Ok, "claim", by),
    }
}

fn stage_class(claim: &Claim, class: Option<&StorageClass>, bound: bool) -> Stage {
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
        (None, Some(name)) if bound => {
            stage(Sign::Ok, "class", format!("{name}, which does not exist: only a name"))
        }
        (None, Some(name)) => {
            let text = format!("{name} does not exist; volumes of that class name would still do");
            stage(Sign::Unknown, "class", text)
        }
        (None, None) if bound => stage(Sign::Ok, "class", "none"),
        (None, None) => stage(Sign::Fault, "class", "none asked for, and no default class"),
    }
}

fn stage_schedule(class: Option<&StorageClass>, pods: &[&Pod], bound: bool) -> Stage {
    let delayed = class.is_some_and(|c| c.binding_mode == Some(BindingMode::WaitForFirstConsumer));
    match pods.iter().find(|pod| pod.is_scheduled()) {
        _ if !delayed => stage(
            if bound { Sign::Ok } else { Sign::NotYet },
            "schedule",
            "not needed: the claim binds at once",
        ),
        Some(pod) => {
            stage(Sign::Ok, "schedule", format!("pod {} on {}", pod.meta.key.name, pod.node))
        }
        None if bound => stage(Sign::Ok, "schedule", "done"),
        None => match pods.first() {
            Some(pod) => {
                let text = format!("pod {} has no node yet", pod.meta.key.name);
                stage(Sign::Fault, "schedule", text)
            }
            None => stage(Sign::NotYet, "schedule", "waits for the first pod, which is normal"),
        },
    }
}

fn stage_volume(claim: &Arc<Claim>, volume: Option<&Volume>, tables: &Tables) -> Stage {
    if let Some(volume) = volume {
        let text = format!("{} ({})", volume.meta.key.name, volumes::source_text(volume));
        return stage(Sign::Ok, "volume", text);
    }
    if !claim.volume_name.is_empty() {
        let sign = match claim.phase {
            ClaimPhase::Lost => Sign::Lost,
            ClaimPhase::Pending | ClaimPhase::Bound | ClaimPhase::Unset => Sign::Fault,
        };
        return stage(sign, "volume", format!("{} does not exist", claim.volume_name));
    }
    let reason = reason::reason(claim, tables);
    match reason.sign {
        Sign::NotYet => stage(Sign::NotYet, "volume", "not yet"),
        sign => stage(sign, "volume", reason.short),
    }
}

fn stage_bind(claim: &Claim, volume: Option<&Volume>) -> Stage {
    let by = volume.and_then(|volume| volume.claim_ref.as_ref());
    let mutual = by.is_some_and(|by| *by.uid == *claim.meta.uid);
    match (claim.phase, mutual) {
        (ClaimPhase::Bound, true) => stage(Sign::Ok, "bind", "both name each other"),
        (ClaimPhase::Bound, false) => {
            stage(Sign::Fault, "bind", "the volume does not name this claim")
        }
        (ClaimPhase::Lost, _) => stage(Sign::Lost, "bind", "lost: it was bound once"),
        (ClaimPhase::Pending | ClaimPhase::Unset, true) => {
            stage(Sign::Busy, "bind", "the volume names this claim; the claim's turn")
        }
        (ClaimPhase::Pending | ClaimPhase::Unset, false) => stage(Sign::NotYet, "bind", "not yet"),
    }
}

fn stage_attach(claim: &Claim, volume: Option<&Volume>, tables: &Tables, pods: &[&Pod]) -> Stage {
    let Some(volume) = volume.filter(|_| claim.phase == ClaimPhase::Bound) else {
        return stage(Sign::NotYet, "attach", "not yet");
    };
    let mut attachments = tables.attachments_of(&volume.meta.key.name).peekable();
    if attachments.peek().is_none() {
        let needed = &*volume.source.field == "csi" && pods.iter().any(|pod| pod.is_scheduled());
        return match needed {
            true => stage(Sign::Unknown, "attach", "no VolumeAttachment; the driver may need none"),
            false => stage(Sign::NotYet, "attach", "not needed, or no pod has a node yet"),
        };
    }
    let mut sign = Sign::Ok;
    let mut words = Vec::new();
    for attachment in attachments {
        let (one, word) = match (&attachment.attach_error, &attachment.detach_error) {
            (_, Some(error)) => (Sign::Fault, format!("detach fails: {}", error.message)),
            (Some(error), None) => (Sign::Fault, format!("fails: {}", error.message)),
            (None, None) if attachment.attached => (Sign::Ok, "attached".to_owned()),
            (None, None) => (Sign::Busy, "being attached".to_owned()),
        };
        sign = sign.min(one);
        words.push(format!("{} on {}", word, attachment.node));
    }
    stage(sign, "attach", words.join("; "))
}

fn stage_run(pods: &[&Pod]) -> Stage {
    let Some(worst) = pods.iter().find(|pod| &*pod.phase != "Running").or(pods.first()) else {
        return stage(Sign::NotYet, "run", "no pod uses it");
    };
    let more = match pods.len() {
        1 => String::new(),
        count => format!(", and {} more", count - 1),
    };
    let text = format!("pod {} {}{more}", worst.meta.key.name, pods::state_word(worst));
    let sign = if &*worst.phase == "Running" { Sign::Ok } else { Sign::NotYet };
    stage(sign, "run", text)
}

/// The objects around the claim, one line each.
fn around(page: &mut Page<'_>, claim: &Claim, tables: &Tables) {
    if let Some(volume) = tables.volumes.get(&Key::cluster(claim.volume_name.clone())) {
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
    for pod in tables.pods_using(&claim.meta.key).take(5) {
        let on = if pod.node.is_empty() { "no node" } else { &pod.node };
        page.fact("pod", &format!("{} {} on {on}", pod.meta.key.name, pods::state_word(pod)));
    }
}
