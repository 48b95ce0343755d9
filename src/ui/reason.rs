//! Why a claim is as it is, in a few words and in a sentence: the controller's
//! own explanation, with what the objects around the claim add. Compares
//! nothing itself.

use std::collections::HashMap;

use std::sync::Arc;

use crate::controllers::persistent_volume::because::Because;
use crate::controllers::persistent_volume::explain::{
    ClassState, Explanation, Provisioner, calls_for_explanation, explain,
};
use crate::mirror::Tables;
use crate::model::claim::{Claim, ClaimPhase};
use crate::model::class::StorageClass;
use crate::model::object::Key;
use crate::plugins::kinds::CONTROLLER_PLUGINS;
use crate::plugins::plugin::PluginFacts;
use crate::ui::sign::Sign;

/// Why a claim is as it is: a sign for the row, a sentence for the strip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    pub sign: Sign,
    /// A few words, for the row.
    pub short: String,
    pub text: String,
}

/// The reasons of the claims that are on the screen, by uid.
///
/// A claim that is not bound is compared with every volume, so reasons are kept
/// until something changes that they rest on, and with many volumes a while
/// longer; and only so many comparisons are made for one frame. Rows whose turn
/// has not come show their last reason.
#[derive(Debug)]
pub struct Reasons {
    /// The plugins that the cluster's controller of volumes has.
    plugins: Vec<PluginFacts>,
    known: HashMap<String, Known>,
    /// Rises with each change of anything but events.
    epoch: u64,
}

#[derive(Debug)]
struct Known {
    reason: Reason,
    epoch: u64,
    found_ms: u64,
}

/// Comparisons made for one frame.
const COMPARISONS_MAX: usize = 100_000;

/// So many volumes compared in a row take a reason out of date for one more
/// millisecond: at 100,000 volumes it is found anew every five seconds.
const VOLUMES_PER_MS: usize = 20;

/// Reasons kept; more than any screen shows.
const KNOWN_MAX: usize = 4_096;

impl Default for Reasons {
    /// As a real controller manager's.
    fn default() -> Self {
        Self { plugins: CONTROLLER_PLUGINS.to_vec(), known: HashMap::new(), epoch: 0 }
    }
}

impl Reasons {
    /// The controller of volumes is ours, and has these plugins.
    pub fn explain_with(&mut self, plugins: Vec<PluginFacts>) {
        self.plugins = plugins;
        self.outdate();
    }

    /// The plugins that the cluster's controller of volumes has.
    pub fn plugins(&self) -> &[PluginFacts] {
        &self.plugins
    }

    /// Something changed that reasons rest on.
    pub fn outdate(&mut self) {
        self.epoch += 1;
    }

    /// Rises with each change that reasons rest on.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The reason last found for a claim; one that says so, if none was.
    pub fn of(&self, claim: &Claim) -> Reason {
        let known = self.get(&claim.meta.uid).cloned();
        known.unwrap_or_else(|| Reason {
            sign: Sign::Unknown,
            short: "...".into(),
            text: "not compared with the volumes yet".into(),
        })
    }

    /// The reason last found for a claim.
    pub fn get(&self, uid: &str) -> Option<&Reason> {
        self.known.get(uid).map(|known| &known.reason)
    }

    /// Brings the reasons of these claims up to date, as far as one frame may
    /// cost; false if some are left for the next.
    pub fn bring_up_to_date<'a>(
        &mut self,
        claims: impl Iterator<Item = &'a Arc<Claim>>,
        tables: &Tables,
        now_ms: u64,
    ) -> bool {
        let patience_ms = patience_ms(tables);
        if self.known.len() > KNOWN_MAX {
            self.known.clear();
        }
        let mut left = COMPARISONS_MAX;
        for claim in claims {
            let compared = claim.meta.deleting.is_none() && calls_for_explanation(claim);
            let current = self.known.get(&*claim.meta.uid).is_some_and(|known| {
                let patient = compared && now_ms < known.found_ms + patience_ms;
                known.epoch == self.epoch || patient
            });
            if current {
                continue;
            }
            if left == 0 {
                return false;
            }
            let cost = if compared { tables.volumes.len().max(1) } else { 1 };
            left = left.saturating_sub(cost);
            let reason = reason(claim, &self.plugins, tables);
            let known = Known { reason, epoch: self.epoch, found_ms: now_ms };
            self.known.insert(claim.meta.uid.to_string(), known);
        }
        true
    }
}

/// How long a reason that compared so many volumes is good enough.
pub fn patience_ms(tables: &Tables) -> u64 {
    (tables.volumes.len() / VOLUMES_PER_MS) as u64
}

/// The claim's class, if there is one of that name.
pub fn class_of<'a>(claim: &Claim, tables: &'a Tables) -> Option<&'a StorageClass> {
    let name = claim.class.as_deref().filter(|name| !name.is_empty())?;
    tables.classes.get(&Key::cluster(name)).map(|class| &**class)
}

/// Why a claim is as it is.
fn reason(claim: &Arc<Claim>, plugins: &[PluginFacts], tables: &Tables) -> Reason {
    at_a_glance(claim, tables)
        .unwrap_or_else(|| explained(claim, &explain(tables, plugins, claim), tables))
}

/// The same, of a claim that was explained already.
pub fn from_explanation(claim: &Claim, explanation: &Explanation, tables: &Tables) -> Reason {
    at_a_glance(claim, tables).unwrap_or_else(|| explained(claim, explanation, tables))
}

/// The reason of a claim that need not be compared with volumes.
fn at_a_glance(claim: &Claim, tables: &Tables) -> Option<Reason> {
    if claim.meta.deleting.is_some() {
        return Some(deleting(claim, tables));
    }
    (!calls_for_explanation(claim)).then(|| bound(claim, tables))
}

fn deleting(claim: &Claim, tables: &Tables) -> Reason {
    let users: Vec<_> = tables.pods_using(&claim.meta.key).collect();
    let text = match (users.as_slice(), claim.meta.finalizers.first()) {
        ([pod], _) => format!("used by pod {}", pod.meta.key.name),
        ([pod, more @ ..], _) => {
            format!("used by pod {} and {} more", pod.meta.key.name, more.len())
        }
        ([], Some(finalizer)) => format!("waits for finalizer {finalizer}"),
        ([], None) => "being deleted".into(),
    };
    Reason { sign: Sign::Busy, short: text.clone(), text: format!("being deleted; {text}") }
}

fn bound(claim: &Claim, tables: &Tables) -> Reason {
    let users: Vec<_> = tables.pods_using(&claim.meta.key).collect();
    let by = match users.as_slice() {
        [] => "no pod uses it".to_owned(),
        [pod] => format!("used by pod {}", pod.meta.key.name),
        [pod, more @ ..] => format!("used by pod {} and {} more", pod.meta.key.name, more.len()),
    };
    Reason {
        sign: Sign::Ok,
        short: claim.volume_name.to_string(),
        text: format!("bound to {}; {by}", claim.volume_name),
    }
}

fn explained(claim: &Claim, explanation: &Explanation, tables: &Tables) -> Reason {
    let mut text = explanation.because.to_string();
    if let ClassState::Present { provisioner: Provisioner::External { name, .. }, .. } =
        &explanation.class
    {
        let nodes = tables.nodes.len();
        text.push_str(&format!(
            "; {name} is registered on {} of {nodes} nodes",
            registered(name, tables)
        ));
    }
    if claim.volume_name.is_empty() && explanation.refusals.fitting == 0 {
        text.push_str(&format!("; {}", explanation.refusals));
    }
    if claim.volume_name.is_empty()
        && let Some((name, misfit)) = explanation.nearest.first()
    {
        text.push_str(&format!("; nearest {name}: {misfit}"));
    }
    Reason { sign: sign(claim, explanation, tables), short: explanation.short(), text }
}

/// On how many nodes a driver is registered.
pub fn registered(driver: &str, tables: &Tables) -> usize {
    tables.csi_nodes_count(driver)
}

/// What an explanation amounts to: whether the controller goes on by itself.
fn sign(claim: &Claim, explanation: &Explanation, tables: &Tables) -> Sign {
    if claim.phase == ClaimPhase::Lost {
        return Sign::Lost;
    }
    match &explanation.because {
        Because::WaitsForConsumer { .. } => Sign::NotYet,
        Because::External { provisioner } if registered(provisioner, tables) == 0 => Sign::Fault,
        Because::WaitsForPods { pods, .. } => {
            let key = |name: &Arc<str>| Key::new(claim.meta.key.namespace.clone(), name.clone());
            let unplaced =
                |name| tables.pods.get(&key(name)).is_some_and(|pod| pod.is_unschedulable());
            if pods.iter().any(unplaced) { Sign::Fault } else { Sign::Busy }
        }
        Because::External { .. }
        | Because::Smallest { .. }
        | Because::Reserved { .. }
        | Because::DefaultClass { .. }
        | Because::NamedFree { .. }
        | Because::NamedReserved { .. }
        | Because::LetGo { .. }
        | Because::Provision { .. }
        | Because::Migrated { .. }
        | Because::Bound { .. } => Sign::Busy,
        // Nothing that the controller does by itself, and what only volumes are
        // told.
        _ => Sign::Fault,
    }
}
