//! Why a claim is not bound, in a few words: what the binder's own refusals
//! and the objects around the claim say. Compares nothing itself.

use std::collections::HashMap;

use crate::mirror::Tables;
use crate::model::claim::{Claim, ClaimPhase};
use crate::model::class::{BindingMode, StorageClass};
use crate::model::fit::{self, Refusals, Search};
use crate::model::object::Key;
use crate::ui::sign::Sign;

/// Why a claim is as it is: a sign for the row, a sentence for the strip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    pub sign: Sign,
    pub text: String,
}

/// The reasons of the claims that are on the screen, by uid.
///
/// A claim without a class of its own to provision from is compared with every
/// volume, so reasons are kept until something changes that they rest on, and
/// only so many comparisons are made for one frame. Rows whose turn has not
/// come show their last reason.
#[derive(Debug, Default)]
pub struct Reasons {
    known: HashMap<String, Known>,
    /// Rises with each change of anything but events.
    epoch: u64,
}

#[derive(Debug)]
struct Known {
    reason: Reason,
    epoch: u64,
}

/// Comparisons made for one frame.
const COMPARISONS_MAX: usize = 100_000;

/// Reasons kept; more than any screen shows.
const KNOWN_MAX: usize = 4_096;

impl Reasons {
    /// Something changed that reasons rest on.
    pub fn outdate(&mut self) {
        self.epoch += 1;
    }

    /// The reason last found for a claim.
    pub fn get(&self, uid: &str) -> Option<&Reason> {
        self.known.get(uid).map(|known| &known.reason)
    }

    /// Brings the reasons of these claims up to date, as far as one frame may
    /// cost; false if some are left for the next.
    pub fn bring_up_to_date<'a>(
        &mut self,
        claims: impl Iterator<Item = &'a Claim>,
        tables: &Tables,
    ) -> bool {
        if self.known.len() > KNOWN_MAX {
            self.known.clear();
        }
        let mut left = COMPARISONS_MAX;
        for claim in claims {
            let current = self.known.get(&*claim.meta.uid);
            if current.is_some_and(|known| known.epoch == self.epoch) {
                continue;
            }
            if left == 0 {
                return false;
            }
            left = left.saturating_sub(tables.volumes.len().max(1));
            let known = Known { reason: reason(claim, tables), epoch: self.epoch };
            self.known.insert(claim.meta.uid.to_string(), known);
        }
        true
    }
}

/// How each volume answers a claim, counted.
pub fn refusals(claim: &Claim, tables: &Tables) -> Refusals {
    let mut refusals = Refusals::default();
    let search = search(claim, tables);
    for volume in tables.volumes.iter() {
        refusals.count(volume, fit::why_not_fit(claim, volume, &search));
    }
    refusals
}

/// Under which conditions the binder seeks a volume for a claim.
pub fn search(claim: &Claim, tables: &Tables) -> Search<'static> {
    Search { delayed: is_delayed(claim, tables), ..Search::IMMEDIATE }
}

/// The claim's class, if there is one of that name.
pub fn class_of<'a>(claim: &Claim, tables: &'a Tables) -> Option<&'a StorageClass> {
    let name = claim.class.as_deref().filter(|name| !name.is_empty())?;
    tables.classes.get(&Key::cluster(name)).map(|class| &**class)
}

fn is_delayed(claim: &Claim, tables: &Tables) -> bool {
    class_of(claim, tables)
        .is_some_and(|class| class.binding_mode == Some(BindingMode::WaitForFirstConsumer))
}

/// Why a claim is as it is.
pub fn reason(claim: &Claim, tables: &Tables) -> Reason {
    let fault = |text: String| Reason { sign: Sign::Fault, text };
    if claim.meta.deleting.is_some() {
        return deleting(claim, tables);
    }
    match claim.phase {
        ClaimPhase::Bound => bound(claim, tables),
        ClaimPhase::Lost => Reason {
            sign: Sign::Lost,
            text: match tables.volumes.get(&Key::cluster(claim.volume_name.clone())) {
                None => format!("its volume {} does not exist any more", claim.volume_name),
                Some(_) => format!("its volume {} is not bound to it", claim.volume_name),
            },
        },
        ClaimPhase::Pending | ClaimPhase::Unset if !claim.volume_name.is_empty() => {
            names_volume(claim, tables)
        }
        ClaimPhase::Pending | ClaimPhase::Unset => {
            match (class_of(claim, tables), claim.class.as_deref()) {
                (Some(class), _) => with_class(claim, class, tables),
                (None, None) => fault(format!(
                    "asks for no class and there is no default one; {}",
                    refusals(claim, tables)
                )),
                (None, Some("")) => fault(refusals(claim, tables).to_string()),
                (None, Some(name)) => {
                    fault(format!("class {name} does not exist; {}", refusals(claim, tables)))
                }
            }
        }
    }
}

fn deleting(claim: &Claim, tables: &Tables) -> Reason {
    let users: Vec<_> = tables.pods_using(&claim.meta.key).collect();
    let text = match (users.first(), claim.meta.finalizers.first()) {
        (Some(pod), _) if users.len() == 1 => format!("used by pod {}", pod.meta.key.name),
        (Some(pod), _) => {
            format!("used by pod {} and {} more", pod.meta.key.name, users.len() - 1)
        }
        (None, Some(finalizer)) => format!("waits for finalizer {finalizer}"),
        (None, None) => "being deleted".into(),
    };
    Reason { sign: Sign::Busy, text }
}

fn bound(claim: &Claim, tables: &Tables) -> Reason {
    let users: Vec<_> = tables.pods_using(&claim.meta.key).collect();
    let by = match users.as_slice() {
        [] => "no pod uses it".to_owned(),
        [pod] => format!("used by pod {}", pod.meta.key.name),
        [pod, more @ ..] => format!("used by pod {} and {} more", pod.meta.key.name, more.len()),
    };
    Reason { sign: Sign::Ok, text: format!("bound to {}; {by}", claim.volume_name) }
}

fn names_volume(claim: &Claim, tables: &Tables) -> Reason {
    let name = &claim.volume_name;
    let fault = |text: String| Reason { sign: Sign::Fault, text };
    let Some(volume) = tables.volumes.get(&Key::cluster(name.clone())) else {
        return fault(format!("names volume {name}, which does not exist"));
    };
    if let Some(by) = volume.claim_ref.as_ref().filter(|_| !fit::is_bound_to(volume, claim)) {
        return fault(format!("names volume {name}, which belongs to claim {}", by.key));
    }
    match fit::why_not_satisfy(claim, volume) {
        Err(misfit) => fault(format!("names volume {name}: {misfit}")),
        Ok(()) => Reason { sign: Sign::Busy, text: format!("is being bound to {name}") },
    }
}

fn with_class(claim: &Claim, class: &StorageClass, tables: &Tables) -> Reason {
    let name = &class.meta.key.name;
    if is_delayed(claim, tables) && claim.meta.annotation(SELECTED_NODE).is_none() {
        return match tables.pods_using(&claim.meta.key).find(|pod| !pod.is_terminated()) {
            None => Reason {
                sign: Sign::NotYet,
                text: format!("class {name} binds with the first pod, and no pod uses it yet"),
            },
            Some(pod) => Reason {
                sign: Sign::Fault,
                text: format!("waits until pod {} is scheduled", pod.meta.key.name),
            },
        };
    }
    if &*class.provisioner == NO_PROVISIONER {
        return Reason { sign: Sign::Fault, text: refusals(claim, tables).to_string() };
    }
    let nodes = tables.csi_nodes.iter();
    let with_driver = nodes
        .filter(|node| node.drivers.iter().any(|driver| driver.name == class.provisioner))
        .count();
    Reason {
        sign: Sign::Fault,
        text: format!(
            "waits for provisioner {}: registered on {with_driver} of {} nodes; {}",
            class.provisioner,
            tables.nodes.len(),
            refusals(claim, tables)
        ),
    }
}

/// The annotation by which the scheduler asks for a volume on a node.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// The provisioner of classes whose volumes are made by hand.
pub const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";
