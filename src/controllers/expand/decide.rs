//! What the controller does about a claim that asks for more. Pure.
//!
//! Upstream: `syncHandler` and `expand` of `expand_controller.go`.

use serde_json::Value;

use crate::controllers::expand::growth::{Growth, capacity_of, is_bound_to};
use crate::controllers::expand::target::{self, Goal};
use crate::controllers::expand::writes::old_capacity;
use crate::model::object::Key;
use crate::model::quantity::Quantity;

/// What the decision goes by: the objects as they are now.
pub struct View<'a> {
    pub key: &'a Key,
    pub claim: &'a Value,
    pub volume: &'a Value,
    /// If the volume's kind belongs to a CSI driver now: the kind's old name
    /// and the driver.
    pub migrated: Option<(&'a str, &'a str)>,
    /// The plugin that can grow it from here, if one can.
    pub plugin: Option<&'a str>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing is asked for, and nothing is left of an earlier growth.
    Nothing,
    /// The volume is not this claim's.
    NotBound { error: String },
    /// E1: tell, and name the driver in an annotation.
    ForDriver { message: String, driver: String },
    /// E2: tell that somebody else has to do it.
    Elsewhere { message: &'static str },
    /// E3: the claim has its size, and the annotation is of no use any more.
    ForgetOldCapacity,
    /// E3: grow what is behind the volume.
    Grow(Quantity),
    /// E3: the node's part is left.
    NodesTurn,
    /// E3: the node gave up; the volume is large enough.
    LetNodeTryAgain,
}

/// Decides.
pub fn decide(view: &View<'_>) -> Next {
    let growth = Growth::of(view.claim);
    if !is_bound_to(view.volume, view.claim) {
        let error = format!("persistent Volume is not bound to PVC being updated : {}", view.key);
        return Next::NotBound { error };
    }
    let is_annotated = old_capacity(view.volume).is_some();
    if !growth.asks_for_more() && !is_annotated {
        return Next::Nothing;
    }
    if let Some((kind, driver)) = view.migrated {
        let message = format!(
            "CSI migration enabled for {kind}; waiting for external resizer to expand the pvc"
        );
        return Next::ForDriver { message, driver: driver.to_owned() };
    }
    if view.plugin.is_none() {
        return Next::Elsewhere {
            message: "waiting for an external controller to expand this PVC",
        };
    }
    let volume = capacity_of(view.volume);
    if is_annotated && !growth.asks_for_more() && growth.capacity >= volume {
        return Next::ForgetOldCapacity;
    }
    match target::in_tree(volume, &growth) {
        Goal::To(size) => Next::Grow(size),
        Goal::NodesTurn => Next::NodesTurn,
        Goal::LetNodeTryAgain => Next::LetNodeTryAgain,
    }
}
