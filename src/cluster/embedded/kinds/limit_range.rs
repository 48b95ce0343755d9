//! LimitRanges: how much each single object of a namespace may ask for.
//!
//! Deliberately absent: what entries for pods and containers do to pods.

use jiff::Timestamp;
use serde_json::Value;

use super::json::{child, entries, is_set, items_mut, list, text};
use super::persistent_volume::round_amounts;
use super::table::{NAME, name, typed};
use crate::cluster::embedded::kind::{Column, ServedKind};
use crate::cluster::embedded::status::FieldErrors;
use crate::cluster::embedded::validation::{duplicate, metadata, names};
use crate::model::kind;
use crate::model::quantity::Quantity;

/// LimitRanges as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::LIMIT_RANGE,
    columns: COLUMNS,
    cells,
    default,
    validate,
    validate_update,
    ..super::BASE
};

/// A real server has no printer for this kind: kubectl gets the columns of
/// kinds unknown to it.
const COLUMNS: &[Column] = &[NAME, typed("Created At", "date", "When the object was created.")];

fn cells(object: &Value, _: Timestamp) -> Vec<Value> {
    vec![name(object), text(object, "/metadata/creationTimestamp").into()]
}

/// The maps of an entry that hold amounts.
const MAPS: &[&str] = &["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];

/// Containers without a limit get the largest, those without a request what
/// they are limited to, or the least.
fn default(object: &mut Value) {
    for item in items_mut(object, "/spec/limits") {
        for map in MAPS {
            round_amounts(item.get_mut(*map));
        }
        if text(item, "/type") == "Container" {
            take_over(item, "max", "default");
            take_over(item, "default", "defaultRequest");
            take_over(item, "min", "defaultRequest");
        }
    }
}

/// Gives one map the entries of another that it lacks.
fn take_over(item: &mut Value, from: &str, to: &str) {
    let source = item.get(from).and_then(Value::as_object).cloned().unwrap_or_default();
    if let Some(target) = child(item, to).and_then(Value::as_object_mut) {
        for (key, value) in source {
            target.entry(key).or_insert(value);
        }
    }
}

/// What limits are for without a domain of their own.
const TYPES: &[&str] = &["Container", "PersistentVolumeClaim", "Pod"];

fn validate(object: &Value, errors: &mut FieldErrors) {
    metadata::validate(object, kind::LIMIT_RANGE, names::subdomain, errors);
    let mut types = Vec::new();
    for (index, item) in list(object, "/spec/limits").iter().enumerate() {
        let path = format!("spec.limits[{index}]");
        let of = text(item, "/type");
        for wrong in names::qualified(of) {
            errors.invalid(format!("{path}.type"), of, wrong);
        }
        if !of.contains('/') && !TYPES.contains(&of) {
            let detail = "must be a standard limit type or fully qualified";
            errors.invalid(format!("{path}.type"), of, detail);
        }
        if types.contains(&of) {
            duplicate(format!("{path}.type"), of, errors);
        }
        types.push(of);
        limits(item, of, &path, errors);
    }
}

fn limits(item: &Value, of: &str, path: &str, errors: &mut FieldErrors) {
    let maps = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];
    for map in maps {
        let has_entries = entries(item, &format!("/{map}")).next().is_some();
        if of == "Pod" && map.starts_with("default") && has_entries {
            errors.forbidden(format!("{path}.{map}"), "may not be specified when `type` is 'Pod'");
            continue;
        }
        for (key, _) in entries(item, &format!("/{map}")) {
            for wrong in names::qualified(key) {
                errors.invalid(format!("{path}.{map}[{key}]"), key.as_str(), wrong);
            }
        }
    }
    let says_storage = is_set(item, "/min/storage") || is_set(item, "/max/storage");
    if of == "PersistentVolumeClaim" && !says_storage {
        errors.required(
            format!("{path}.limits"),
            "either minimum or maximum storage value is required, but neither was provided",
        );
    }
    let mut keys: Vec<&String> =
        MAPS.iter().flat_map(|map| entries(item, &format!("/{map}"))).map(|(key, _)| key).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        order(item, key, path, errors);
    }
}

/// The smaller and the larger of two amounts by their maps and names, the map
/// that is blamed, and the one whose amount is shown.
const ORDER: &[(&str, &str, &str, &str, &str, &str)] = &[
    ("min", "min", "max", "max", "min", "min"),
    ("min", "min", "defaultRequest", "default request", "defaultRequest", "defaultRequest"),
    ("defaultRequest", "default request", "max", "max", "defaultRequest", "defaultRequest"),
    (
        "defaultRequest",
        "default request",
        "default",
        "default limit",
        "defaultRequest",
        "defaultRequest",
    ),
    ("min", "min", "default", "default", "default", "min"),
    ("default", "default", "max", "max", "default", "max"),
];

fn order(item: &Value, key: &str, path: &str, errors: &mut FieldErrors) {
    let amount = |map: &str| {
        let written = item.get(map)?.get(key)?.as_str()?;
        Some((Quantity::parse(written).ok()?, written))
    };
    for (small, small_name, large, large_name, blamed, shown) in ORDER {
        let (Some((low, low_text)), Some((high, high_text))) = (amount(small), amount(large))
        else {
            continue;
        };
        if low > high {
            let shown = amount(shown).map_or(low_text, |(_, text)| text);
            errors.invalid(
                format!("{path}.{blamed}[{key}]"),
                shown,
                format!(
                    "{small_name} value {low_text} is greater than {large_name} value {high_text}"
                ),
            );
        }
    }
    if let Some((ratio, ratio_text)) = amount("maxLimitRequestRatio")
        && ratio < Quantity::ONE
    {
        errors.invalid(
            format!("{path}.maxLimitRequestRatio[{key}]"),
            ratio_text,
            format!("ratio {ratio_text} is less than 1"),
        );
    }
}

fn validate_update(object: &Value, old: &Value, _: Option<&str>, errors: &mut FieldErrors) {
    metadata::validate_update(object, old, errors);
    validate(object, errors);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::*;
    use super::*;

    #[test]
    fn limits_of_claims_say_something_of_storage_and_agree() {
        let base = json!({"metadata": {"name": "l", "namespace": "n"}, "spec": {"limits": []}});
        let limits = |limits: Value| json!({"spec": {"limits": limits}});
        let claim = "PersistentVolumeClaim";
        check_refusals(
            &ROW,
            &base,
            &[
                (
                    limits(json!([{"type": "Container", "max": {"cpu": "1"},
                        "default": {"cpu": "2"}}])),
                    &[
                        "spec.limits[0].defaultRequest[cpu]: Invalid value: \"2\": default request \
                         value 2 is greater than max value 1",
                        "spec.limits[0].default[cpu]: Invalid value: \"1\": default value 2 is \
                         greater than max value 1",
                    ],
                ),
                (
                    limits(json!([{"type": "Disk", "max": {"cpu": "1"}}])),
                    &[
                        "spec.limits[0].type: Invalid value: \"Disk\": must be a standard limit type \
                       or fully qualified",
                    ],
                ),
                (limits(json!([{"type": claim, "max": {"storage": "4Gi"}}])), &[]),
                (
                    limits(json!([{"type": claim, "default": {"storage": "4Gi"}}])),
                    &["spec.limits[0].limits: Required value: either minimum or maximum storage \
                       value is required, but neither was provided"],
                ),
                (
                    limits(json!([
                        {"type": claim, "min": {"storage": "2Gi"}, "max": {"storage": "1Gi"}},
                        {"type": claim, "max": {"storage": "1Gi"}},
                    ])),
                    &[
                        "spec.limits[0].min[storage]: Invalid value: \"2Gi\": min value 2Gi is \
                         greater than max value 1Gi",
                        "spec.limits[1].type: Duplicate value: \"PersistentVolumeClaim\"",
                    ],
                ),
                (
                    limits(json!([{"type": "Pod", "default": {"cpu": "1"}}])),
                    &["spec.limits[0].default: Forbidden: may not be specified when `type` is \
                       'Pod'"],
                ),
            ],
        );
    }

    #[test]
    fn containers_get_the_largest_limit_and_that_as_request() {
        let body = json!({
            "metadata": {"name": "l", "namespace": "n"},
            "spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Gi"}}]},
        });
        let taken = taken(&ROW, &body, &Objects(Vec::new())).expect("a range");
        let item = &taken["spec"]["limits"][0];
        assert_eq!(item["default"], json!({"cpu": "2"}));
        assert_eq!(item["defaultRequest"], json!({"cpu": "2", "memory": "1Gi"}));
    }
}
