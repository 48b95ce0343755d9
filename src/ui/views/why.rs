//! Why a claim is as it is: every volume and what speaks against it, the
//! class, its provisioner. The refusals are the binder's own.

use std::sync::Arc;

use crate::controllers::persistent_volume::explain::{ClassState, Provisioner};
use crate::controllers::resource_quota::explain::{self as quota, Quotas};
use crate::diagnosis::Standing;
use crate::mirror::Tables;
use crate::model::claim::ClaimPhase;
use crate::model::fit::{Fit, Misfit};
use crate::model::kind;
use crate::model::object::Key;
use crate::model::volume::Volume;
use crate::ui::data::Data;
use crate::ui::lists::volumes;
use crate::ui::reason;
use crate::ui::sign::Sign;
use crate::ui::target::Target;
use crate::ui::text;
use crate::ui::theme::Role;
use crate::ui::views::journey;
use crate::ui::views::page::Page;
use crate::ui::why::Why;

pub fn write(page: &mut Page<'_>, target: &Target, data: &Data) {
    if target.kind != kind::PERSISTENT_VOLUME_CLAIM {
        return of_other(page, target, data);
    }
    data.read(|context| {
        let tables = context.tables;
        let Some(claim) = tables.claims.by_uid(&target.uid) else {
            page.say(Role::Error, &format!("claim {} is gone", target.key()));
            return;
        };
        journey::head(page, claim, context.now);
        let Some(why) = data.whys.get(&target.uid) else {
            page.say(Role::Dim, "comparing with the volumes ...");
            return;
        };
        let (reason, explanation) = (&why.reason, &why.explanation);
        let normal = if reason.sign == Sign::NotYet { "This is normal: " } else { "" };
        page.signed(reason.sign, "because", 10, &format!("{normal}{}", reason.text));
        next(page, why.next.as_deref());
        if claim.phase != ClaimPhase::Bound {
            class(page, &explanation.class, tables);
            if !explanation.looks_again {
                page.signed(
                    Sign::NotYet,
                    "looks",
                    10,
                    "again only when the claim or its volume changes",
                );
            }
        }
        quotas(page, &quota::explain(tables, &|kind| data.mirror.freshness_of(kind), claim));
        page.rule();
        each_volume(page, why);
        if let Some(why) = data.why_not_permitted(target.kind, "list") {
            page.say(Role::Error, &format!("cannot tell more: {why}"));
        }
    });
}

/// What is in the way of a pod, a workload or a volume, and what helps.
fn of_other(page: &mut Page<'_>, target: &Target, data: &Data) {
    let word = target.kind.singular;
    page.pieces(&[(Role::Title, &format!(" {word} {}", target.key()))]);
    let Some(finding) = data.whys.finding(&target.uid) else { return };
    if finding.facts.is_empty() {
        page.say(Role::Error, "it is gone");
    }
    for (at, fact) in finding.facts.iter().enumerate() {
        let sign = match fact.standing {
            Standing::Fine => Sign::Ok,
            Standing::Waits => Sign::NotYet,
            Standing::Busy => Sign::Busy,
            Standing::Stuck => Sign::Fault,
        };
        page.signed(sign, if at == 0 { "because" } else { "" }, 10, &fact.text);
    }
    next(page, finding.next.as_deref());
}

/// The next step, under the reason.
fn next(page: &mut Page<'_>, step: Option<&str>) {
    if let Some(step) = step {
        let first = [(Role::Text, String::new(), 2), (Role::Title, "next".into(), 11)];
        page.columns(&first, Role::Text, step);
    }
}

fn class(page: &mut Page<'_>, class: &ClassState, tables: &Tables) {
    let (sign, text) = match class {
        ClassState::Unset { default: None } => {
            let count = tables.classes.len();
            (Sign::Fault, format!("none asked for, and none of {count} classes is the default"))
        }
        ClassState::Unset { default: Some(class) } => {
            (Sign::Busy, format!("none asked for; it will get the default, {class}"))
        }
        ClassState::Empty => (Sign::Ok, "\"\": none is wanted, nothing is provisioned".into()),
        ClassState::Missing { name } => {
            (Sign::Fault, format!("{name} does not exist: nothing provisions for it"))
        }
        ClassState::Present { name, waits_for_consumer, .. } => {
            let binds = if *waits_for_consumer { "with the first pod" } else { "at once" };
            (Sign::Ok, format!("{name} binds {binds}"))
        }
    };
    page.signed(sign, "class", 10, &text);
    let ClassState::Present { provisioner, .. } = class else { return };
    let (sign, text) = match provisioner {
        Provisioner::BuiltIn { name } => (Sign::Ok, format!("{name}, by the controller itself")),
        Provisioner::Nobody { name } => {
            (Sign::Ok, format!("{name}: nobody; its volumes are made by hand"))
        }
        Provisioner::External { name, migrated_from } => external(name, migrated_from, tables),
    };
    page.signed(sign, "provision", 10, &text);
}

fn external(name: &str, from: &Option<Arc<str>>, tables: &Tables) -> (Sign, String) {
    let known = tables.csi_drivers.get(&Key::cluster(name)).is_some();
    let nodes = reason::registered(name, tables);
    let (sign, driver) = match (known, nodes) {
        (_, 1..) => (Sign::Ok, if known { "present" } else { "absent" }),
        (true, 0) => (Sign::Fault, "present"),
        (false, 0) => (Sign::Fault, "absent"),
    };
    let from = from.as_ref().map(|from| format!(" (asked for as {from})")).unwrap_or_default();
    let of = tables.nodes.len();
    (sign, format!("{name}{from}: CSIDriver {driver}, registered on {nodes} of {of} nodes"))
}

fn quotas(page: &mut Page<'_>, quotas: &Quotas) {
    match quotas {
        Quotas::Unlimited => page.signed(Sign::Ok, "quota", 10, "none"),
        Quotas::CannotTell { why } => {
            page.signed(Sign::Unknown, "quota", 10, &format!("cannot tell: {why}"));
        }
        Quotas::Limited { by } => {
            for one in by {
                let sign = if one.hinders { Sign::Fault } else { Sign::Ok };
                page.signed(sign, "quota", 10, &one.words);
            }
        }
    }
}

fn each_volume(page: &mut Page<'_>, why: &Why) {
    page.say(Role::Text, &format!("VOLUMES  {}", why.explanation.refusals));
    for (name, misfit) in &why.explanation.nearest {
        page.say(Role::Text, &format!("nearest: {name}: {misfit}"));
    }
    if why.volumes.is_empty() {
        return;
    }
    let widths = Widths::of(page.width());
    let heading = facts(widths, "VOLUME", "SIZE", "MODES", "CLASS", "STATE");
    page.pieces(&[(Role::Heading, &format!("   {heading}REFUSED BECAUSE"))]);
    page.each(&why.volumes, |page, (volume, answer)| one_volume(page, widths, answer, volume));
    if why.more > 0 {
        page.say(Role::Dim, &format!("and {} more, counted above", why.more));
    }
}

/// Cells of the texts that differ most in length.
#[derive(Clone, Copy)]
struct Widths {
    name: usize,
    class: usize,
}

impl Widths {
    /// On a wider screen names are seen whole, also those of provisioned volumes.
    fn of(page: usize) -> Self {
        let spare = page.saturating_sub(80);
        Self { name: 14 + (spare * 2 / 3).min(26), class: 9 + (spare / 3).min(11) }
    }
}

fn one_volume(page: &mut Page<'_>, widths: Widths, answer: &Result<Fit, Misfit>, volume: &Volume) {
    let (sign, because) = match answer {
        Ok(Fit::Free) => (Sign::Ok, "it fits".to_owned()),
        Ok(Fit::Reserved) => (Sign::Ok, "it fits and is reserved for this claim".to_owned()),
        Err(misfit) => (Sign::Lost, misfit.to_string()),
    };
    let size = volume.capacity.map_or_else(|| "?".into(), |size| size.to_string());
    let class = if volume.class.is_empty() { "-" } else { &volume.class };
    let facts = facts(
        widths,
        &volume.meta.key.name,
        &size,
        &volume.access_modes.to_string(),
        class,
        volumes::state_word(volume),
    );
    let role = if sign == Sign::Ok { Role::Ok } else { Role::Text };
    let width = text::width(&facts);
    let first = [(sign.role(), sign.mark().to_owned(), 2), (role, facts, width)];
    page.columns(&first, role, &because);
}

fn facts(widths: Widths, name: &str, size: &str, modes: &str, class: &str, state: &str) -> String {
    let cell = |text: &str, cells: usize| {
        let fitted = text::fit(text, cells, text::Glyphs::Ascii).into_owned();
        let pad = cells.saturating_sub(text::width(&fitted));
        format!("{fitted}{:pad$} ", "")
    };
    let (modes, class, state) = (cell(modes, 5), cell(class, widths.class), cell(state, 9));
    format!("{}{size:>6} {modes}{class}{state}", cell(name, widths.name))
}
