//! Why a claim is as it is: every volume and what speaks against it, the
//! class, its provisioner. The refusals are the binder's own.

use crate::mirror::Tables;
use crate::model::claim::{Claim, ClaimPhase};
use crate::model::fit::{self, Fit};
use crate::model::volume::Volume;
use crate::ui::data::Data;
use crate::ui::lists::{classes, volumes};
use crate::ui::reason;
use crate::ui::sign::Sign;
use crate::ui::target::Target;
use crate::ui::text;
use crate::ui::theme::Role;
use crate::ui::views::journey;
use crate::ui::views::page::Page;

/// Volumes shown one by one; the rest is counted.
const VOLUMES_MAX: usize = 400;

pub fn write(page: &mut Page<'_>, target: &Target, data: &Data) {
    data.read(|context| {
        let tables = context.tables;
        let Some(claim) = tables.claims.by_uid(&target.uid) else {
            page.say(Role::Error, &format!("claim {} is gone", target.key()));
            return;
        };
        journey::head(page, claim, context.now);
        let reason = reason::reason(claim, tables);
        let normal = if reason.sign == Sign::NotYet { "This is normal: " } else { "" };
        page.signed(reason.sign, "because", 10, &format!("{normal}{}", reason.text));
        class(page, claim, tables);
        page.rule();
        each_volume(page, claim, tables);
        if let Some(why) = data.why_not_permitted(target.kind, "list") {
            page.say(Role::Error, &format!("cannot tell more: {why}"));
        }
    });
}

fn class(page: &mut Page<'_>, claim: &Claim, tables: &Tables) {
    let class = reason::class_of(claim, tables);
    match (class, claim.class.as_deref()) {
        (Some(class), _) => {
            let text = format!(
                "{}: provisioner {}, binds {}, reclaims by {}",
                class.meta.key.name,
                class.provisioner,
                classes::binding_word(class),
                class.reclaim_policy
            );
            page.signed(Sign::Ok, "class", 10, &text);
            provisioner(page, &class.provisioner, tables);
        }
        (None, Some("")) => {
            page.signed(Sign::Ok, "class", 10, "\"\": no class is wanted, nothing is provisioned")
        }
        (None, Some(name)) if claim.phase == ClaimPhase::Bound => {
            let text = format!("{name} does not exist, which hurts no bound claim");
            page.signed(Sign::Ok, "class", 10, &text);
        }
        (None, None) if claim.phase == ClaimPhase::Bound => {
            page.signed(Sign::Ok, "class", 10, "none");
        }
        (None, Some(name)) => page.signed(
            Sign::Fault,
            "class",
            10,
            &format!("{name} does not exist: nothing provisions for it"),
        ),
        (None, None) => {
            let defaults = tables.classes.iter().filter(|class| class.is_default()).count();
            let text = format!(
                "none asked for; {defaults} of {} classes are the default",
                tables.classes.len()
            );
            page.signed(Sign::Fault, "class", 10, &text);
        }
    }
}

fn provisioner(page: &mut Page<'_>, name: &str, tables: &Tables) {
    if name == reason::NO_PROVISIONER {
        page.signed(Sign::Ok, "provision", 10, "never: volumes of this class are made by hand");
        return;
    }
    let known = tables.csi_drivers.get(&crate::model::object::Key::cluster(name)).is_some();
    let nodes = tables
        .csi_nodes
        .iter()
        .filter(|node| node.drivers.iter().any(|driver| &*driver.name == name))
        .count();
    let (sign, driver) = match (known, nodes) {
        (true, 1..) => (Sign::Ok, "present"),
        (true, 0) => (Sign::Fault, "present, but on no node"),
        (false, _) => (Sign::Fault, "absent"),
    };
    let text = format!(
        "{name}: CSIDriver {driver}; registered on {nodes} of {} nodes",
        tables.nodes.len()
    );
    page.signed(sign, "provision", 10, &text);
}

fn each_volume(page: &mut Page<'_>, claim: &Claim, tables: &Tables) {
    let refusals = reason::refusals(claim, tables);
    page.say(Role::Text, &format!("VOLUMES  {refusals}"));
    if tables.volumes.is_empty() {
        return;
    }
    page.say(Role::Heading, &row("  VOLUME", "SIZE", "MODES", "CLASS", "STATE", "REFUSED BECAUSE"));
    let search = reason::search(claim, tables);
    let mut answers: Vec<_> = tables
        .volumes
        .iter()
        .map(|volume| (fit::why_not_fit(claim, volume, &search), volume))
        .collect();
    // What fits first, then what nearly does: the binder's later rules.
    answers.sort_by_key(|(answer, _)| answer.is_err());
    for (answer, volume) in answers.iter().take(VOLUMES_MAX) {
        one_volume(page, answer, volume);
    }
    if answers.len() > VOLUMES_MAX {
        let more = answers.len() - VOLUMES_MAX;
        page.say(Role::Dim, &format!("and {more} more, counted above"));
    }
}

fn one_volume(page: &mut Page<'_>, answer: &Result<Fit, fit::Misfit>, volume: &Volume) {
    let (sign, because) = match answer {
        Ok(Fit::Free) => (Sign::Ok, "it fits".to_owned()),
        Ok(Fit::Reserved) => (Sign::Ok, "it fits and is reserved for this claim".to_owned()),
        Err(misfit) => (Sign::Lost, misfit.to_string()),
    };
    let size = volume.capacity.map_or_else(|| "?".into(), |size| size.to_string());
    let class = if volume.class.is_empty() { "-" } else { &volume.class };
    let text = row(
        &volume.meta.key.name,
        &size,
        &volume.access_modes.to_string(),
        class,
        volumes::state_word(volume),
        &because,
    );
    let role = if sign == Sign::Ok { Role::Ok } else { Role::Text };
    page.wide(&[(sign.role(), &format!(" {} ", sign.mark())), (role, &text)]);
}

fn row(name: &str, size: &str, modes: &str, class: &str, state: &str, because: &str) -> String {
    let cell = |text: &str, cells: usize| {
        let fitted = text::fit(text, cells, text::Glyphs::Ascii).into_owned();
        let pad = cells.saturating_sub(text::width(&fitted));
        format!("{fitted}{:pad$} ", "")
    };
    format!(
        "{}{size:>6} {}{}{}{because}",
        cell(name, 16),
        cell(modes, 5),
        cell(class, 9),
        cell(state, 9)
    )
}
