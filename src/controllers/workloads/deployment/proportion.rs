//! Another number of pods is wanted while pods of several templates run: each
//! ReplicaSet takes its share, so that a bad roll-out does not grow by being
//! scaled (upstream: `scale` in `pkg/controller/deployment/sync.go`).
//!
//! Upstream scales them all from one look; here each write is decided afresh.
//! A ReplicaSet that has taken its share says so by its annotation, and what is
//! left is for the others: a crash in between changes nothing.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::controllers::workloads::deployment::decide::{Split, View};
use crate::controllers::workloads::deployment::replica_sets as sets;
use crate::controllers::workloads::shell::Act;
use crate::model::replica_set::ReplicaSet;

/// Whether a ReplicaSet was last scaled for another number of pods.
pub fn is_due(view: &View, split: &Split) -> bool {
    let wanted = view.target.row.replicas;
    active(split).any(|set| set.desired().is_some_and(|desired| desired != wanted))
}

/// The next ReplicaSet that takes its share.
pub fn scale(view: &View, split: &Split) -> Option<Act> {
    let wanted = view.target.row.replicas;
    if let Some(only) = only_one(split) {
        return sets::scale(view, only, wanted, "another number of pods is wanted");
    }
    if split.new.is_some_and(|new| is_saturated(new, wanted)) {
        let why = "the present template has all the pods that are wanted";
        return split.old.iter().find_map(|old| sets::scale(view, old, 0, why));
    }
    if view.target.row.recreates {
        return None;
    }
    share_out(view, split)
}

/// The ReplicaSets with pods, oldest first.
fn active<'a>(split: &Split<'a>) -> impl Iterator<Item = &'a Arc<ReplicaSet>> {
    split.old.clone().into_iter().chain(split.new).filter(|set| set.replicas > 0)
}

/// The ReplicaSet that alone has pods; if none has, the newest.
fn only_one<'a>(split: &Split<'a>) -> Option<&'a Arc<ReplicaSet>> {
    let mut active = active(split);
    match (active.next(), active.next()) {
        (None, _) => split.new.or(split.old.last().copied()),
        (only, None) => only,
        (Some(_), Some(_)) => None,
    }
}

fn is_saturated(new: &ReplicaSet, wanted: i64) -> bool {
    new.desired() == Some(wanted) && new.replicas == wanted && new.status.available == wanted
}

fn share_out(view: &View, split: &Split) -> Option<Act> {
    let wanted = view.target.row.replicas;
    let mut pending: Vec<&Arc<ReplicaSet>> = active(split).collect();
    let there: i64 = pending.iter().map(|set| set.replicas).sum();
    if is_due(view, split) {
        pending.retain(|set| set.desired() != Some(wanted));
    }
    let most = if wanted > 0 { wanted + view.target.limits.surge } else { 0 };
    let to_add = most - there;
    // Whoever is first also takes what cannot be divided: the largest, and of
    // equal ones the newest when pods come, the oldest when they go.
    if to_add > 0 {
        pending.reverse();
    }
    if to_add != 0 {
        pending.sort_by_key(|set| Reverse(set.replicas));
    }
    let before = view.target.object["status"]["replicas"].as_i64().unwrap_or(0);
    let parts: Vec<Part> = pending
        .iter()
        .map(|set| Part { replicas: set.replicas, most_before: set.most().unwrap_or(before) })
        .collect();
    let why = format!("{wanted} pods are wanted, and each template keeps its share of them");
    let sizes = sizes(&parts, wanted, most, to_add);
    pending.into_iter().zip(sizes).find_map(|(set, size)| sets::scale(view, set, size, &why))
}

/// A ReplicaSet: its pods, and how many there might have been in all when it
/// was last scaled.
#[derive(Debug, Clone, Copy)]
struct Part {
    replicas: i64,
    most_before: i64,
}

/// How many pods each is to have when there may be `most`, which is `to_add`
/// more than there are.
fn sizes(parts: &[Part], wanted: i64, most: i64, to_add: i64) -> Vec<i64> {
    let mut left = to_add;
    let mut sizes: Vec<i64> = parts
        .iter()
        .map(|part| {
            let share = share(*part, wanted, most);
            let share = if to_add > 0 { share.min(left) } else { share.max(left) };
            left -= share;
            part.replicas + share
        })
        .collect();
    if let Some(first) = sizes.first_mut() {
        *first = (*first + left).max(0);
    }
    sizes
}

/// How many more a ReplicaSet has at the same share of all (upstream:
/// `getReplicaSetFraction`).
fn share(part: Part, wanted: i64, most: i64) -> i64 {
    if wanted == 0 {
        return -part.replicas;
    }
    if part.most_before <= 0 {
        return 0;
    }
    let twice = part.replicas.saturating_mul(most).saturating_mul(2);
    twice.saturating_add(part.most_before) / (2 * part.most_before) - part.replicas
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From, to, surge, and the ReplicaSets in the order in which they are
    /// looked at (the rows of upstream's `TestScale`).
    #[test]
    fn each_takes_its_share_and_the_first_what_is_left_over() {
        for (from, to, surge, before, expected) in [
            (5, 10, 0, vec![3, 2], vec![6, 4]),
            (5, 3, 0, vec![3, 2], vec![2, 1]),
            (9, 4, 0, vec![8, 1], vec![4, 0]),
            (7, 10, 0, vec![3, 2, 2], vec![4, 3, 3]),
            (13, 8, 0, vec![8, 3, 2], vec![5, 2, 1]),
            (3, 4, 0, vec![1, 1, 1], vec![2, 1, 1]),
            (3, 2, 0, vec![1, 1, 1], vec![0, 1, 1]),
            (10, 20, 2, vec![6, 5], vec![13, 9]),
            (10, 10, 0, vec![7, 3], vec![7, 3]),
            (10, 0, 0, vec![7, 3], vec![0, 0]),
        ] {
            let parts: Vec<Part> = before
                .iter()
                .map(|replicas| Part { replicas: *replicas, most_before: from + surge })
                .collect();
            let most = if to > 0 { to + surge } else { 0 };
            let to_add = most - before.iter().sum::<i64>();
            assert_eq!(sizes(&parts, to, most, to_add), expected, "{from} to {to}: {before:?}");
        }
    }

    #[test]
    fn one_of_unknown_origin_keeps_what_it_has_but_for_the_rest() {
        let unknown = Part { replicas: 4, most_before: 0 };
        let known = Part { replicas: 2, most_before: 6 };
        assert_eq!(sizes(&[unknown, known], 12, 12, 6), [8, 4]);
    }
}
