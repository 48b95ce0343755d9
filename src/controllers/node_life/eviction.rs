//! Whether and when a pod has to leave its node for the node's taints.

use std::time::Duration;

use jiff::Timestamp;

use super::taints::NO_EXECUTE;
use crate::model::node::Taint;
use crate::model::pod_needs::Toleration;

/// What a node's taints mean for a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// There is no taint that makes pods leave, or all are tolerated for ever.
    Stay,
    /// It leaves this long after it was first seen to have to.
    After(Duration),
    /// Some taint is not tolerated at all.
    Now,
}

/// What to do about a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Nothing,
    /// It was to leave and may stay.
    Cancel,
    /// It is to leave then.
    Plan(Timestamp),
    Evict,
}

/// Judges a pod by its tolerations. Of the tolerations that are used the
/// shortest counts.
pub fn verdict(taints: &[Taint], tolerations: &[Toleration]) -> Verdict {
    let mut shortest: Option<i64> = None;
    for taint in taints.iter().filter(|taint| &*taint.effect == NO_EXECUTE) {
        let Some(used) = tolerations.iter().find(|toleration| toleration.tolerates(taint)) else {
            return Verdict::Now;
        };
        if let Some(seconds) = used.seconds {
            shortest = Some(shortest.map_or(seconds, |held| held.min(seconds)));
        }
    }
    match shortest {
        None => Verdict::Stay,
        Some(..=0) => Verdict::Now,
        Some(seconds) => Verdict::After(Duration::from_secs(seconds.unsigned_abs())),
    }
}

/// What to do, given when the pod is already to leave. A plan keeps its time
/// whatever changes, as long as there is reason for one.
pub fn act(verdict: Verdict, planned: Option<Timestamp>, now: Timestamp) -> Act {
    match (verdict, planned) {
        (Verdict::Now, _) => Act::Evict,
        (Verdict::Stay, None) => Act::Nothing,
        (Verdict::Stay, Some(_)) => Act::Cancel,
        (Verdict::After(_), Some(at)) if at <= now => Act::Evict,
        (Verdict::After(_), Some(_)) => Act::Nothing,
        (Verdict::After(delay), None) => Act::Plan(now + delay),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::node::Node;
    use crate::model::pod::Pod;
    use crate::model::row::Row;

    fn judged(taints: &Value, tolerations: &Value) -> Verdict {
        let node = json!({"metadata": {"name": "n"}, "spec": {"taints": taints}});
        let pod = json!({"metadata": {"name": "p", "namespace": "n"},
            "spec": {"tolerations": tolerations}});
        let node = Node::from_object(&node).expect("a node");
        let pod = Pod::from_object(&pod).expect("a pod");
        verdict(&node.taints, &pod.needs.tolerations)
    }

    /// Rows: taints, tolerations, the verdict.
    #[test]
    fn a_pod_leaves_when_its_shortest_toleration_is_over() {
        let taint = |key: &str, effect: &str| json!({"key": key, "effect": effect});
        let tolerates = |key: &str, seconds: Option<i64>| {
            json!({"key": key, "operator": "Exists", "effect": NO_EXECUTE,
                "tolerationSeconds": seconds})
        };
        let a = taint("a", NO_EXECUTE);
        let b = taint("b", NO_EXECUTE);
        for (taints, tolerations, expected) in [
            (json!([]), json!([]), Verdict::Stay),
            (json!([taint("a", "NoSchedule")]), json!([]), Verdict::Stay),
            (json!([a]), json!([]), Verdict::Now),
            (json!([a]), json!([tolerates("a", None)]), Verdict::Stay),
            (json!([a]), json!([tolerates("a", Some(0))]), Verdict::Now),
            (
                json!([a]),
                json!([tolerates("a", Some(300))]),
                Verdict::After(Duration::from_secs(300)),
            ),
            (
                json!([a, b]),
                json!([tolerates("a", Some(300)), tolerates("b", Some(30))]),
                Verdict::After(Duration::from_secs(30)),
            ),
            (json!([a, b]), json!([tolerates("a", Some(300))]), Verdict::Now),
            (json!([a, b]), json!([{"operator": "Exists"}]), Verdict::Stay),
        ] {
            assert_eq!(judged(&taints, &tolerations), expected, "{taints} {tolerations}");
        }
    }

    #[test]
    fn a_plan_keeps_its_time() {
        let at = |second| Timestamp::from_second(second).expect("in range");
        let short = Verdict::After(Duration::from_secs(5));
        for (verdict, planned, expected) in [
            (Verdict::Stay, None, Act::Nothing),
            (Verdict::Stay, Some(at(200)), Act::Cancel),
            (short, None, Act::Plan(at(105))),
            (short, Some(at(200)), Act::Nothing),
            (short, Some(at(100)), Act::Evict),
            (Verdict::Now, None, Act::Evict),
            (Verdict::Now, Some(at(200)), Act::Evict),
        ] {
            assert_eq!(act(verdict, planned, at(100)), expected, "{verdict:?} {planned:?}");
        }
    }
}
