//! Stepping: the write that comes next, why, what it changes, and what was
//! done before.

use crate::cluster::write_path::step_gate::{Held, Mode};
use crate::scenario::PlayState;
use crate::ui::data::Data;
use crate::ui::layout;
use crate::ui::lists::{claims, pods, timeline, volumes};
use crate::ui::rebind;
use crate::ui::state::State;
use crate::ui::text;
use crate::ui::theme::Role;
use crate::ui::views::page::Page;

/// Lines shown of a write's body.
const BODY_LINES_MAX: usize = 8;

pub fn write(page: &mut Page<'_>, state: &State, data: &Data) {
    let Some(stepping) = &data.stepping else {
        page.say(Role::Text, "A live cluster is not stepped: its controllers are not ours.");
        return;
    };
    let mode = match &stepping.mode {
        Mode::Open => "RUNNING: every write passes".to_owned(),
        Mode::Shut { permits: 0 } => "PAUSED: every write waits".to_owned(),
        Mode::Shut { permits } => format!("PAUSED: {permits} more pass, then every write waits"),
        Mode::Until(breakpoint) => format!("RUNNING up to {breakpoint}"),
    };
    let running = data.controllers.iter().filter(|controller| !controller.faulty).count();
    page.pieces(&[
        (Role::Title, &format!(" {mode}")),
        (Role::Text, &format!("   controllers {running}, writes held {}", stepping.held.len())),
    ]);
    scenario(page, data);
    match stepping.held.as_slice() {
        [] if stepping.mode == Mode::Open => {
            page.say(
                Role::Dim,
                "p pauses: from then on every write waits here until n lets it pass",
            );
        }
        [] => page.say(Role::Dim, "nothing is held: nobody wants to write now"),
        [next, rest @ ..] => {
            next_write(page, data, next, rest.len());
            for held in rest.iter().take(5) {
                let object = timeline::object_text(&held.write.object);
                let text = format!("then {}  {} {object}", held.actor, held.write.verb());
                page.indented(6, Role::Dim, &text);
            }
        }
    }
    page.rule();
    objects(page, data);
    done(page, state, data);
}

/// What the scenario that plays says about the step at hand.
fn scenario(page: &mut Page<'_>, data: &Data) {
    let Some(progress) = &data.scenario else {
        page.blank();
        return;
    };
    page.pieces(&[
        (Role::Heading, &format!(" {}", progress.title)),
        (Role::Dim, &format!("  {}/{}", progress.step, progress.steps)),
    ]);
    page.say(Role::Text, &progress.caption);
    match &progress.state {
        PlayState::Acting | PlayState::Resting => {}
        PlayState::WaitingFor(what) => page.say(Role::Busy, &format!("waiting for: {what}")),
        PlayState::Done => page.say(Role::Ok, "The scenario is at its end. The cluster is yours."),
        PlayState::Failed(what) => page.say(Role::Error, what),
    }
    page.rule();
}

fn next_write(page: &mut Page<'_>, data: &Data, held: &Held, more: usize) {
    let object = timeline::object_text(&held.write.object);
    let part = held.write.subresource.map(|part| format!("/{part}")).unwrap_or_default();
    let more = if more > 0 { format!("   {more} more waiting") } else { String::new() };
    page.pieces(&[
        (Role::Key, " NEXT "),
        (Role::Title, &format!("{}  {} {object}{part}", held.actor, held.write.verb())),
        (Role::Dim, &more),
    ]);
    // A scenario's caption is its write's reason: once is enough.
    let caption = data.scenario.as_ref().map(|scenario| scenario.caption.as_str());
    if caption != Some(held.write.reason.text.as_str()) {
        page.indented(6, Role::Text, &format!("because  {}", held.write.reason.text));
    }
    if let Some(before) = &held.instead_of {
        let object = timeline::object_text(&before.object);
        let text = format!("instead of {} {object}: it was decided again", before.verb());
        page.indented(6, Role::Busy, &text);
    }
    let lines = rebind::lines(&held.write);
    for (added, line) in lines.iter().take(BODY_LINES_MAX) {
        let (mark, role) = if *added { ("+", Role::Added) } else { ("-", Role::Removed) };
        page.pieces(&[(role, &format!("      {mark} {line}"))]);
    }
    if lines.len() > BODY_LINES_MAX {
        let more = lines.len() - BODY_LINES_MAX;
        page.indented(6, Role::Dim, &format!("and {more} more fields"));
    }
}

/// The last writes, newest last, each with its reason, as many as fit.
fn done(page: &mut Page<'_>, state: &State, data: &Data) {
    if data.journal.is_empty() {
        page.say(Role::Dim, "nothing has been written yet");
        return;
    }
    let room = layout::text_rows(state.height).saturating_sub(page.lines_so_far() + 1).max(4);
    let width = usize::from(state.width);
    let mut shown = Vec::new();
    let mut lines = 0;
    for entry in data.journal.iter().rev() {
        let because = text::wrap(&timeline::because(entry), width.saturating_sub(BECAUSE + 1));
        lines += 1 + because.len();
        if lines > room && !shown.is_empty() {
            break;
        }
        shown.push((entry, because));
    }
    for (entry, because) in shown.into_iter().rev() {
        let (sign, word) = timeline::outcome(&entry.outcome);
        let object = timeline::object_text(&entry.write.object);
        let part = entry.write.subresource.map(|part| format!("/{part}")).unwrap_or_default();
        page.pieces(&[
            (sign.role(), &format!(" {} {word:<5} ", sign.mark())),
            (Role::Title, &entry.actor.0),
            (Role::Text, &format!("  {} {object}{part}", entry.write.verb())),
        ]);
        for line in because {
            page.indented(BECAUSE, Role::Dim, &line);
        }
    }
}

/// Cells before a reason.
const BECAUSE: usize = 9;

/// The state of the few objects that a demo is about, in one line.
fn objects(page: &mut Page<'_>, data: &Data) {
    const EACH_MAX: usize = 3;
    let text = data.read(|context| {
        let tables = context.tables;
        let volumes = tables
            .volumes
            .iter()
            .take(EACH_MAX)
            .map(|volume| format!("{} {}", volume.meta.key.name, volumes::state_word(volume)));
        let claims = tables
            .claims
            .iter()
            .take(EACH_MAX)
            .map(|claim| format!("{} {}", claim.meta.key.name, claims::state_word(claim)));
        let pods = tables
            .pods
            .iter()
            .take(EACH_MAX)
            .map(|pod| format!("{} {}", pod.meta.key.name, pods::state_word(pod)));
        volumes.chain(claims).chain(pods).collect::<Vec<_>>().join("   ")
    });
    if !text.is_empty() {
        page.pieces(&[(Role::Key, &format!(" {text}"))]);
        page.rule();
    }
}
