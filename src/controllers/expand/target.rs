//! How large a volume is to become: the table of what an earlier growth has
//! left, against what is asked for now. Pure.
//!
//! What was begun is brought to its end first: a request that is lowered
//! meanwhile counts only once the earlier one has certainly failed.

use crate::controllers::expand::growth::{Growth, ResizeStatus};
use crate::model::quantity::Quantity;

/// What is to be done from the controllers' side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// The volume is to have this size.
    To(Quantity),
    /// The node's part is left.
    NodesTurn,
    /// The node gave up: it may try again.
    LetNodeTryAgain,
}

/// The controller's own table, for kinds that are grown in it (rules `E3`).
pub fn in_tree(volume: Quantity, growth: &Growth) -> Goal {
    use ResizeStatus as S;
    let allocated = growth.allocated.unwrap_or(growth.request);
    if volume < growth.request {
        return match growth.status {
            Some(
                S::ControllerInProgress | S::NodePending | S::NodeInProgress | S::NodeInfeasible,
            ) => Goal::To(allocated),
            Some(S::ControllerInfeasible) | None => Goal::To(growth.request),
        };
    }
    match growth.status {
        Some(S::NodePending | S::NodeInProgress) => Goal::NodesTurn,
        Some(S::NodeInfeasible) => Goal::LetNodeTryAgain,
        Some(S::ControllerInProgress | S::ControllerInfeasible) | None => Goal::To(allocated),
    }
}

/// What a driver's companion knows beside the objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Companion {
    /// The driver's last answer was a certain refusal.
    pub has_refused: bool,
    /// The driver grows volumes on nodes only.
    pub on_nodes_only: bool,
    /// The claim waits for its nodes, by its conditions (for claims of API
    /// servers that keep no statuses).
    pub waits_for_node: bool,
}

/// The table of external-resizer (`expandAndRecover`).
pub fn of_companion(volume: Quantity, growth: &Growth, companion: Companion) -> Goal {
    use ResizeStatus as S;
    let allocated = growth.allocated.unwrap_or(growth.request);
    if volume < growth.request {
        return match growth.status {
            Some(S::NodePending | S::NodeInProgress) if volume >= allocated => Goal::NodesTurn,
            Some(S::NodeInfeasible | S::NodePending | S::NodeInProgress) => Goal::To(allocated),
            // Only a certain refusal allows another size.
            Some(S::ControllerInProgress) if !companion.has_refused => Goal::To(allocated),
            Some(S::ControllerInProgress | S::ControllerInfeasible) | None => {
                Goal::To(growth.request)
            }
        };
    }
    match growth.status {
        Some(S::NodePending | S::NodeInProgress) => Goal::NodesTurn,
        Some(S::NodeInfeasible) if companion.on_nodes_only => Goal::To(growth.request),
        Some(S::NodeInfeasible | S::ControllerInProgress | S::ControllerInfeasible) => {
            Goal::To(allocated)
        }
        None if growth.allocated.is_none() && companion.waits_for_node => Goal::NodesTurn,
        None => Goal::To(allocated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: i64 = 1 << 30;

    fn size(gib: i64) -> Quantity {
        Quantity::bytes(gib * GIB)
    }

    fn growth(request: i64, allocated: i64, status: Option<ResizeStatus>) -> Growth {
        Growth {
            request: size(request),
            capacity: size(1),
            allocated: (allocated > 0).then(|| size(allocated)),
            status,
            is_shared: false,
            is_done_without_nodes: false,
        }
    }

    /// Volume, request, allocated (0: none), status, the controller's goal, a
    /// companion's goal, and that of one whose driver has refused. A goal of 0
    /// is the node's turn, -1 lets the node try again.
    #[test]
    fn every_status_leads_to_its_size() {
        use ResizeStatus::*;
        type Row = (i64, i64, i64, Option<ResizeStatus>, [i64; 3]);
        let rows: [Row; 18] = [
            (1, 2, 0, None, [2, 2, 2]),
            (1, 3, 2, None, [3, 3, 3]),
            (1, 3, 2, Some(ControllerInProgress), [2, 2, 3]),
            (1, 3, 0, Some(ControllerInProgress), [3, 3, 3]),
            (1, 2, 5, Some(ControllerInProgress), [5, 5, 2]),
            (1, 2, 5, Some(ControllerInfeasible), [2, 2, 2]),
            (1, 3, 2, Some(NodePending), [2, 2, 2]),
            (2, 3, 2, Some(NodePending), [2, 0, 0]),
            (2, 3, 2, Some(NodeInProgress), [2, 0, 0]),
            (1, 3, 2, Some(NodeInProgress), [2, 2, 2]),
            (2, 3, 2, Some(NodeInfeasible), [2, 2, 2]),
            (2, 2, 2, Some(NodePending), [0, 0, 0]),
            (2, 2, 2, Some(NodeInProgress), [0, 0, 0]),
            (2, 2, 2, Some(NodeInfeasible), [-1, 2, 2]),
            (3, 2, 3, Some(ControllerInProgress), [3, 3, 3]),
            (3, 2, 3, Some(ControllerInfeasible), [3, 3, 3]),
            (2, 2, 2, None, [2, 2, 2]),
            (2, 2, 0, None, [2, 2, 2]),
        ];
        let number = |goal| match goal {
            Goal::To(size) => i64::try_from(size.units()).unwrap_or(i64::MAX) / GIB,
            Goal::NodesTurn => 0,
            Goal::LetNodeTryAgain => -1,
        };
        let mut wrong = Vec::new();
        for (volume, request, allocated, status, expected) in rows {
            let growth = growth(request, allocated, status);
            let volume = size(volume);
            let refused = Companion { has_refused: true, ..Companion::default() };
            let found = [
                number(in_tree(volume, &growth)),
                number(of_companion(volume, &growth, Companion::default())),
                number(of_companion(volume, &growth, refused)),
            ];
            if found != expected {
                wrong.push(format!("{volume} {growth:?}: {found:?}, not {expected:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn old_claims_and_drivers_without_controller_have_rows_of_their_own() {
        let waits = Companion { waits_for_node: true, ..Companion::default() };
        assert_eq!(of_companion(size(2), &growth(2, 0, None), waits), Goal::NodesTurn);
        let nodes = Companion { on_nodes_only: true, ..Companion::default() };
        let infeasible = growth(2, 3, Some(ResizeStatus::NodeInfeasible));
        assert_eq!(of_companion(size(3), &infeasible, nodes), Goal::To(size(2)));
    }
}
