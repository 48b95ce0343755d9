//! The long answer to "why?" for the object whose page is open: what is in its
//! way and what helps; of a claim every volume with what speaks against it.
//! Worked out once for a state of the cluster, in one pass over the volumes, and
//! drawn from then on.

use std::sync::Arc;

use crate::controllers::persistent_volume::explain::{Explanation, explain_seeing};
use crate::diagnosis::{self, Finding};
use crate::mirror::Tables;
use crate::model::claim::Claim;
use crate::model::fit::{Fit, Misfit};
use crate::model::object::ObjectRef;
use crate::model::volume::Volume;
use crate::plugins::plugin::PluginFacts;
use crate::ui::reason::{self, Reason, Reasons};

/// Volumes shown one by one; the rest is counted.
pub const VOLUMES_MAX: usize = 400;

/// What a why page shows.
#[derive(Debug)]
pub struct Why {
    pub reason: Reason,
    pub explanation: Explanation,
    /// What fits first; both by name.
    pub volumes: Vec<(Arc<Volume>, Result<Fit, Misfit>)>,
    /// Volumes beyond [`VOLUMES_MAX`].
    pub more: usize,
    /// What a person can do.
    pub next: Option<String>,
}

impl Why {
    /// Compares the claim with every volume, once.
    pub fn find(claim: &Arc<Claim>, plugins: &[PluginFacts], tables: &Tables) -> Self {
        let (mut fitting, mut refused, mut all) = (Vec::new(), Vec::new(), 0);
        let mut see = |volume: &Arc<Volume>, answer: &Result<Fit, Misfit>| {
            all += 1;
            let list = if answer.is_ok() { &mut fitting } else { &mut refused };
            if list.len() < VOLUMES_MAX {
                list.push((volume.clone(), answer.clone()));
            }
        };
        let explanation = explain_seeing(tables, plugins, claim, &mut see);
        let reason = reason::from_explanation(claim, &explanation, tables);
        let mut volumes = fitting;
        volumes.append(&mut refused);
        volumes.truncate(VOLUMES_MAX);
        let more = all - volumes.len();
        let next = diagnosis::claim::next_step(tables, claim, Some(&explanation));
        Self { reason, explanation, volumes, more, next }
    }
}

/// The answer last worked out, and for what.
#[derive(Debug, Default)]
pub struct Whys {
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    uid: Arc<str>,
    epoch: u64,
    found_ms: u64,
    answer: Answer,
}

#[derive(Debug)]
enum Answer {
    Claim(Box<Why>),
    Other(Finding),
}

impl Held {
    fn is_current(&self, uid: &Arc<str>, epoch: u64, now_ms: u64, patience_ms: u64) -> bool {
        self.uid == *uid && (self.epoch == epoch || now_ms < self.found_ms + patience_ms)
    }
}

impl Whys {
    /// The answer for a claim, if it was worked out.
    pub fn get(&self, uid: &str) -> Option<&Why> {
        match &self.held.as_ref().filter(|held| &*held.uid == uid)?.answer {
            Answer::Claim(why) => Some(why),
            Answer::Other(_) => None,
        }
    }

    /// The answer for anything else.
    pub fn finding(&self, uid: &str) -> Option<&Finding> {
        match &self.held.as_ref().filter(|held| &*held.uid == uid)?.answer {
            Answer::Claim(_) => None,
            Answer::Other(finding) => Some(finding),
        }
    }

    /// Works the answer out anew if the cluster changed since; with many
    /// volumes not before their patience is over.
    pub fn bring_up_to_date(
        &mut self,
        claim: &Arc<Claim>,
        tables: &Tables,
        reasons: &Reasons,
        now_ms: u64,
    ) {
        let epoch = reasons.epoch();
        let (uid, patience_ms) = (claim.meta.uid.clone(), reason::patience_ms(tables));
        let held = self.held.as_ref();
        if !held.is_some_and(|held| held.is_current(&uid, epoch, now_ms, patience_ms)) {
            let answer = Answer::Claim(Box::new(Why::find(claim, reasons.plugins(), tables)));
            self.held = Some(Held { uid, epoch, found_ms: now_ms, answer });
        }
    }

    /// The same for anything that is no claim.
    pub fn find_other(
        &mut self,
        (object, uid): (&ObjectRef, &str),
        tables: &Tables,
        epoch: u64,
        now_ms: u64,
    ) {
        let (uid, patience_ms): (Arc<str>, _) = (uid.into(), reason::patience_ms(tables));
        let held = self.held.as_ref();
        if !held.is_some_and(|held| held.is_current(&uid, epoch, now_ms, patience_ms)) {
            // Another of its name has nothing to say about it.
            let same = tables.meta(object).is_some_and(|meta| meta.uid == uid);
            let found = same.then(|| diagnosis::find(tables, object)).flatten();
            let answer = Answer::Other(found.unwrap_or_default());
            self.held = Some(Held { uid, epoch, found_ms: now_ms, answer });
        }
    }
}
