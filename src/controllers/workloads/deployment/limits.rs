//! How many pods there may be, and how few, while a roll-out is under way.

use serde_json::Value;

/// `maxSurge` and `maxUnavailable` as numbers of pods (upstream:
/// `ResolveFenceposts`): surge rounds up, unavailable down, and both are never
/// nothing, or no pod could ever be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub surge: i64,
    pub unavailable: i64,
}

impl Limits {
    /// Of a `spec.strategy`; none beyond the count for `Recreate`.
    pub fn of(strategy: &Value, replicas: i64) -> Self {
        if strategy["type"] == "Recreate" {
            return Self { surge: 0, unavailable: replicas };
        }
        let rolling = &strategy["rollingUpdate"];
        let surge = resolve(&rolling["maxSurge"], replicas, Round::Up);
        let unavailable = resolve(&rolling["maxUnavailable"], replicas, Round::Down);
        if surge == 0 && unavailable == 0 {
            return Self { surge: 0, unavailable: 1.min(replicas) };
        }
        Self { surge, unavailable: unavailable.min(replicas) }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    Up,
    Down,
}

/// A count, or a percentage of the replicas; 25 % if unset.
fn resolve(value: &Value, replicas: i64, round: Round) -> i64 {
    if let Some(count) = value.as_i64() {
        return count.max(0);
    }
    let percent = value.as_str().unwrap_or("25%").trim_end_matches('%');
    let percent: i64 = percent.parse().unwrap_or(0);
    let hundredths = percent.max(0).saturating_mul(replicas);
    match round {
        Round::Up => hundredths.saturating_add(99) / 100,
        Round::Down => hundredths / 100,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn surge_rounds_up_and_unavailable_down_and_both_are_never_nothing() {
        for (surge, unavailable, replicas, expected) in [
            (json!("25%"), json!("25%"), 3, (1, 0)),
            (json!("25%"), json!("25%"), 10, (3, 2)),
            (json!(2), json!(1), 3, (2, 1)),
            (json!(0), json!("10%"), 3, (0, 1)),
            (json!(0), json!(7), 3, (0, 3)),
            (json!(null), json!(null), 4, (1, 1)),
        ] {
            let rolling = json!({"maxSurge": surge, "maxUnavailable": unavailable});
            let strategy = json!({"type": "RollingUpdate", "rollingUpdate": rolling});
            let Limits { surge, unavailable } = Limits::of(&strategy, replicas);
            assert_eq!((surge, unavailable), expected, "{strategy} of {replicas}");
        }
        let all = Limits::of(&json!({"type": "Recreate"}), 3);
        assert_eq!(all, Limits { surge: 0, unavailable: 3 });
    }
}
