//! The long answer to "why?" for the claim whose page is open: every volume
//! with what speaks against it. Worked out once for a state of the cluster, in
//! one pass over the volumes, and drawn from then on.

use std::sync::Arc;

use crate::controllers::persistent_volume::explain::{Explanation, explain_seeing};
use crate::mirror::Tables;
use crate::model::claim::Claim;
use crate::model::fit::{Fit, Misfit};
use crate::model::volume::Volume;
use crate::plugins::kinds::CONTROLLER_PLUGINS;
use crate::ui::reason::{self, Reason};

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
}

impl Why {
    /// Compares the claim with every volume, once.
    pub fn find(claim: &Arc<Claim>, tables: &Tables) -> Self {
        let (mut fitting, mut refused, mut all) = (Vec::new(), Vec::new(), 0);
        let mut see = |volume: &Arc<Volume>, answer: &Result<Fit, Misfit>| {
            all += 1;
            let list = if answer.is_ok() { &mut fitting } else { &mut refused };
            if list.len() < VOLUMES_MAX {
                list.push((volume.clone(), answer.clone()));
            }
        };
        let explanation = explain_seeing(tables, &CONTROLLER_PLUGINS, claim, &mut see);
        let reason = reason::from_explanation(claim, &explanation, tables);
        let mut volumes = fitting;
        volumes.append(&mut refused);
        volumes.truncate(VOLUMES_MAX);
        let more = all - volumes.len();
        Self { reason, explanation, volumes, more }
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
    why: Why,
}

impl Whys {
    /// The answer for a claim, if it was worked out.
    pub fn get(&self, uid: &str) -> Option<&Why> {
        self.held.as_ref().filter(|held| &*held.uid == uid).map(|held| &held.why)
    }

    /// Works the answer out anew if the cluster changed since; with many
    /// volumes not before their patience is over.
    pub fn bring_up_to_date(
        &mut self,
        claim: &Arc<Claim>,
        tables: &Tables,
        epoch: u64,
        now_ms: u64,
    ) {
        let patience_ms = reason::patience_ms(tables);
        let current = self.held.as_ref().is_some_and(|held| {
            held.uid == claim.meta.uid
                && (held.epoch == epoch || now_ms < held.found_ms + patience_ms)
        });
        if !current {
            let (uid, why) = (claim.meta.uid.clone(), Why::find(claim, tables));
            self.held = Some(Held { uid, epoch, found_ms: now_ms, why });
        }
    }
}
