//! The columns and cells that tables of several kinds share.

use jiff::Timestamp;
use serde_json::Value;

use super::json::{entries, list, text};
use crate::cluster::embedded::kind::Column;

/// The first column of nearly every kind.
pub const NAME: Column = Column {
    name: "Name",
    kind: "string",
    format: "name",
    priority: 0,
    description: "The object's name, unique among its kind in its namespace.",
};

/// Time since creation.
pub const AGE: Column = column("Age", "Time since the object was created.");

/// A column of text that is always shown.
pub const fn column(name: &'static str, description: &'static str) -> Column {
    Column { name, kind: "string", format: "", priority: 0, description }
}

/// A column of text that `-o wide` shows.
pub const fn wide(name: &'static str, description: &'static str) -> Column {
    Column { name, kind: "string", format: "", priority: 1, description }
}

/// A column of another type.
pub const fn typed(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    Column { name, kind, format: "", priority: 0, description }
}

/// The object's name.
pub fn name(object: &Value) -> Value {
    text(object, "/metadata/name").into()
}

/// The object's age.
pub fn age(object: &Value, now: Timestamp) -> Value {
    since(text(object, "/metadata/creationTimestamp"), now).into()
}

/// Time from `moment` to `now` in words, `<unknown>` if there is no moment.
pub fn since(moment: &str, now: Timestamp) -> String {
    moment.parse::<Timestamp>().map_or_else(
        |_| "<unknown>".to_owned(),
        |moment| human_duration(now.as_second().saturating_sub(moment.as_second())),
    )
}

/// A duration as kubectl shows it: two units where the first is small.
pub fn human_duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let two = |large: i64, large_unit: char, small: i64, small_unit: char| {
        if small == 0 {
            format!("{large}{large_unit}")
        } else {
            format!("{large}{large_unit}{small}{small_unit}")
        }
    };
    match seconds {
        i64::MIN..=-2 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        s if s < 2 * MINUTE => format!("{s}s"),
        s if s < 10 * MINUTE => two(s / MINUTE, 'm', s % MINUTE, 's'),
        s if s < 3 * HOUR => format!("{}m", s / MINUTE),
        s if s < 8 * HOUR => two(s / HOUR, 'h', s / MINUTE % 60, 'm'),
        s if s < 2 * DAY => format!("{}h", s / HOUR),
        s if s < 8 * DAY => two(s / DAY, 'd', s / HOUR % 24, 'h'),
        s if s < 2 * YEAR => format!("{}d", s / DAY),
        s if s < 8 * YEAR => two(s / YEAR, 'y', s / DAY % 365, 'd'),
        s => format!("{}y", s / YEAR),
    }
}

/// `text`, or `placeholder` where it is empty.
pub fn or<'a>(text: &'a str, placeholder: &'a str) -> &'a str {
    if text.is_empty() { placeholder } else { text }
}

/// The class of a volume or claim: the old annotation counts before the field.
pub fn class_of(object: &Value) -> &str {
    super::json::annotation(object, "volume.beta.kubernetes.io/storage-class")
        .unwrap_or_else(|| text(object, "/spec/storageClassName"))
}

/// The phase, or `Terminating` once deletion has begun.
pub fn phase(object: &Value) -> &str {
    if text(object, "/metadata/deletionTimestamp").is_empty() {
        text(object, "/status/phase")
    } else {
        "Terminating"
    }
}

/// Names and images of a pod template's containers.
pub fn containers(object: &Value) -> (String, String) {
    let of = |field: &str| {
        let all = list(object, "/spec/template/spec/containers").iter();
        all.map(|container| text(container, field)).collect::<Vec<_>>().join(",")
    };
    (of("/name"), of("/image"))
}

/// A label selector in its string form, `<none>` if it selects everything.
pub fn selector(selector: Option<&Value>) -> String {
    let Some(selector) = selector else { return "<none>".to_owned() };
    let mut terms: Vec<String> = entries(selector, "/matchLabels")
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    for term in list(selector, "/matchExpressions") {
        let key = text(term, "/key");
        let mut values: Vec<_> = list(term, "/values").iter().filter_map(Value::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        terms.push(match text(term, "/operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    terms.sort_unstable();
    or(&terms.join(","), "<none>").to_owned()
}

/// `k=v,…` of a plain map, `<none>` if it is empty.
pub fn plain_selector(object: &Value, pointer: &str) -> String {
    let mut terms: Vec<String> = entries(object, pointer)
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    terms.sort_unstable();
    or(&terms.join(","), "<none>").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_kubectl_prints_them() {
        for (seconds, words) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (599, "9m59s"),
            (600, "10m"),
            (3 * 3600 - 1, "179m"),
            (3 * 3600, "3h"),
            (3 * 3600 + 60, "3h1m"),
            (8 * 3600, "8h"),
            (48 * 3600, "2d"),
            (49 * 3600, "2d1h"),
            (8 * 86400, "8d"),
            (729 * 86400, "729d"),
            (730 * 86400, "2y"),
            (731 * 86400, "2y1d"),
            (8 * 365 * 86400, "8y"),
            (-5, "<invalid>"),
        ] {
            assert_eq!(human_duration(seconds), words, "{seconds}");
        }
    }

    #[test]
    fn a_selector_prints_its_terms_sorted() {
        let value = serde_json::json!({
            "matchLabels": {"tier": "gold"},
            "matchExpressions": [
                {"key": "zone", "operator": "In", "values": ["b", "a"]},
                {"key": "old", "operator": "DoesNotExist"},
            ],
        });
        assert_eq!(selector(Some(&value)), "!old,tier=gold,zone in (a,b)");
        assert_eq!(selector(None), "<none>");
    }
}
