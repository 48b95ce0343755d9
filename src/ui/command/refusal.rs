//! Whether a command is to be had now: whether it makes sense here, is allowed,
//! and can be done to the object that is chosen.

use super::{Act, Command, Scope};
use crate::model::claim::ClaimPhase;
use crate::model::kind;
use crate::model::volume::VolumePhase;
use crate::ui::data::{Access, Data};
use crate::ui::state::{State, View};
use crate::ui::target::Target;

/// Why a command is not to be had now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It makes no sense here.
    NotHere,
    /// It would, but for this.
    Because(String),
}

/// Whether a command is to be had now, and if not, why not.
pub fn why_not(command: &Command, state: &State, data: &Data) -> Result<(), Refusal> {
    let target = data.target(state);
    match command.scope {
        Scope::Everywhere => {}
        Scope::List if state.table().is_some() => {}
        Scope::List => return Err(Refusal::NotHere),
        Scope::Openable
            if state.table().is_some()
                || matches!(state.top().view, View::BoardVolume { .. } | View::Journey(_)) => {}
        Scope::Openable => return Err(Refusal::NotHere),
        Scope::Output if state.board_volume().is_some() || state.calls_of().is_some() => {}
        Scope::Output => return Err(Refusal::NotHere),
        Scope::Files | Scope::ObjectOrFile if lists_files(state) => {}
        Scope::Files => return Err(Refusal::NotHere),
        Scope::Object | Scope::ObjectOrFile if target.is_some() => {}
        Scope::Kinds(kinds)
            if target.as_ref().is_some_and(|target| kinds.contains(&target.kind)) => {}
        Scope::Object | Scope::ObjectOrFile | Scope::Kinds(_) => return Err(Refusal::NotHere),
        Scope::Stepping if data.stepping.is_some() => {}
        Scope::Stepping => return Err(Refusal::NotHere),
    }
    let needs_object = [Act::Edit, Act::Delete, Act::Yaml, Act::TimelineOf];
    if let Some(target) = target.as_ref().filter(|_| needs_object.contains(&command.act))
        && !target.has_object()
    {
        let (kind, name) = (target.kind.kind, &target.name);
        return Err(Refusal::Because(format!("there is no {kind} object `{name}`")));
    }
    match (command.act, target) {
        (Act::Edit | Act::Delete | Act::Rebind, Some(target)) => {
            why_not_write(command.act, &target, data)
        }
        (Act::Files, _) if data.session.live => Err(Refusal::Because(
            "the files are on that cluster's own nodes; kubectl exec reaches them".into(),
        )),
        (Act::CreateFile, _) | (Act::Delete, None) => why_not_writable(data),
        (Act::Write, _) => match data.session.access {
            Access::Locked => Err(Refusal::Because(
                "started with --read-only, which cannot be lifted from inside".into(),
            )),
            Access::Writable => Err(Refusal::Because("writes are allowed already".into())),
            Access::ReadOnly => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Whether the files in a volume are listed.
fn lists_files(state: &State) -> bool {
    state.top().files.as_ref().is_some_and(|at| !at.volume.is_empty())
}

/// Whether the context takes writes at all.
fn why_not_writable(data: &Data) -> Result<(), Refusal> {
    match data.session.access {
        Access::Writable => Ok(()),
        Access::ReadOnly => {
            Err(Refusal::Because("this context is read-only; :write lifts that".into()))
        }
        Access::Locked => Err(Refusal::Because("this context is read-only (--read-only)".into())),
    }
}

fn why_not_write(act: Act, target: &Target, data: &Data) -> Result<(), Refusal> {
    why_not_writable(data)?;
    if act == Act::Rebind && target.kind == kind::PERSISTENT_VOLUME {
        let phase = data
            .mirror
            .read(|tables| tables.volumes.by_uid(&target.uid).map(|volume| volume.phase));
        if !matches!(phase, Some(VolumePhase::Released | VolumePhase::Available)) {
            let what = "only a Released or Available volume can be given to a claim";
            return Err(Refusal::Because(what.into()));
        }
    }
    if act == Act::Rebind && target.kind == kind::PERSISTENT_VOLUME_CLAIM {
        let bound = data.mirror.read(|tables| {
            let claim = tables.claims.by_uid(&target.uid)?;
            Some(claim.phase == ClaimPhase::Bound)
        });
        if bound != Some(false) {
            let what = "only a Pending or Lost claim can be given a volume";
            return Err(Refusal::Because(what.into()));
        }
    }
    let verb = match act {
        Act::Delete => "delete",
        _ => "update",
    };
    match data.why_not_permitted(target.kind, verb) {
        Some(why) => Err(Refusal::Because(why)),
        None => Ok(()),
    }
}
