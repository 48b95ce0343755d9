//! What a node does about a volume that has grown. Pure.
//!
//! Upstream: `node_expander.go`, `expandVolumeDuringMount` and
//! `nodeExpandVolume` of `operation_generator.go`.

use crate::controllers::expand::growth::{Growth, ResizeStatus};
use crate::model::quantity::Quantity;

/// What is known on the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnNode {
    /// The volume's own capacity.
    pub volume: Quantity,
    /// What the node has of it, if it has it already; else what the claim says.
    pub size: Option<Quantity>,
    /// The pod asks for a read-only volume.
    pub is_read_only: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeStep {
    /// The node has all of it.
    Nothing,
    /// It is another's turn; the claim will change when it is ours.
    Later,
    /// A read-only mount cannot grow; that is told and counts as done.
    ReadOnly,
    /// Grow to this size. `marks`: what of it the claim is told.
    Grow { target: Quantity, marks: Marks },
}

/// What of a node's growth is written into the claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marks {
    /// Beginning, end and failure.
    All,
    /// Only the end: whoever grew the volume keeps no statuses.
    End,
    /// Nothing: the claim tells the new size already.
    None,
}

/// What the node does about a volume.
pub fn decide(growth: &Growth, on_node: OnNode) -> NodeStep {
    let has = on_node.size.unwrap_or(growth.capacity);
    // A claim that tells no size yet is about to, and then has its volume's.
    if on_node.volume <= has || growth.capacity.is_zero() {
        return NodeStep::Nothing;
    }
    if on_node.is_read_only {
        return NodeStep::ReadOnly;
    }
    if growth.status.is_none() && growth.allocated.is_none() {
        return match on_node.volume > growth.capacity {
            true => NodeStep::Grow { target: on_node.volume, marks: Marks::End },
            false => elsewhere(growth, on_node.volume),
        };
    }
    let target = growth.allocated.unwrap_or(on_node.volume);
    match growth.status {
        Some(ResizeStatus::NodePending | ResizeStatus::NodeInProgress) => {
            NodeStep::Grow { target, marks: Marks::All }
        }
        None if growth.capacity >= target => elsewhere(growth, target),
        Some(
            ResizeStatus::ControllerInProgress
            | ResizeStatus::ControllerInfeasible
            | ResizeStatus::NodeInfeasible,
        )
        | None => NodeStep::Later,
    }
}

/// The claim has its size already: another node was faster, which is nothing to
/// this one unless both write to the volume.
fn elsewhere(growth: &Growth, target: Quantity) -> NodeStep {
    if growth.is_shared && !growth.is_done_without_nodes {
        return NodeStep::Grow { target, marks: Marks::None };
    }
    NodeStep::Nothing
}

/// Whether a node that failed for certain gives up: the driver says that it can
/// never work, or something else is asked for meanwhile.
pub fn is_infeasible(
    growth: &Growth,
    target: Quantity,
    says_driver: bool,
    failed_before: bool,
) -> bool {
    says_driver || (failed_before && growth.request != target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(gib: i64) -> Quantity {
        Quantity::bytes(gib << 30)
    }

    #[test]
    fn every_situation_of_a_node_has_its_step() {
        use Marks::{All, End, None as Unmarked};
        use NodeStep::{Later, Nothing, ReadOnly};
        use ResizeStatus::*;
        let grow = |gib, marks| NodeStep::Grow { target: size(gib), marks };
        // What the claim has, what is allocated (0: nothing), the status,
        // whether it is shared, what the node has (0: not known), read-only.
        type Row = (i64, i64, Option<ResizeStatus>, bool, i64, bool, NodeStep);
        let rows: [Row; 16] = [
            (2, 0, None, false, 0, false, Nothing),
            (1, 0, None, false, 0, false, grow(2, End)),
            (1, 0, None, false, 0, true, ReadOnly),
            (1, 2, Some(NodePending), false, 0, false, grow(2, All)),
            (1, 2, Some(NodeInProgress), false, 1, false, grow(2, All)),
            (1, 2, Some(NodePending), false, 1, true, ReadOnly),
            (1, 2, Some(NodePending), false, 2, false, Nothing),
            (1, 2, Some(NodeInfeasible), false, 1, false, Later),
            (1, 2, Some(ControllerInProgress), false, 1, false, Later),
            (1, 2, Some(ControllerInfeasible), false, 1, false, Later),
            (1, 2, None, false, 1, false, Later),
            (2, 2, None, false, 1, false, Nothing),
            (2, 2, None, true, 1, false, grow(2, Unmarked)),
            (2, 0, None, true, 1, false, grow(2, Unmarked)),
            (2, 0, None, false, 1, false, Nothing),
            (2, 2, None, true, 2, false, Nothing),
        ];
        let mut wrong = Vec::new();
        for (number, (capacity, allocated, status, is_shared, has, is_read_only, expected)) in
            rows.into_iter().enumerate()
        {
            let growth = Growth {
                request: size(2),
                capacity: size(capacity),
                allocated: (allocated > 0).then(|| size(allocated)),
                status,
                is_shared,
                is_done_without_nodes: false,
            };
            let on_node =
                OnNode { volume: size(2), size: (has > 0).then(|| size(has)), is_read_only };
            let found = decide(&growth, on_node);
            if found != expected {
                wrong.push(format!("row {number}: {found:?}, not {expected:?}"));
            }
            let without = Growth { is_done_without_nodes: true, ..growth };
            if is_shared && decide(&without, on_node) != Nothing {
                wrong.push(format!("row {number}: grown without nodes"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn a_node_gives_up_when_it_never_can_or_something_else_is_asked_for() {
        let growth = Growth {
            request: size(3),
            capacity: size(1),
            allocated: Some(size(5)),
            status: Some(ResizeStatus::NodeInProgress),
            is_shared: false,
            is_done_without_nodes: false,
        };
        assert!(is_infeasible(&growth, size(5), true, false));
        assert!(is_infeasible(&growth, size(5), false, true));
        assert!(!is_infeasible(&growth, size(5), false, false));
        assert!(!is_infeasible(&growth, size(3), false, true));
    }
}
