//! ResourceQuotas: how much the objects of a namespace may use together. The
//! charging itself is `model::quota` and `super::super::admission`.

use jiff::Timestamp;
use serde_json::Value;

use super::json::{child, entries, list, text};
use super::persistent_volume::round_amounts;
use super::table::{AGE, NAME, age, column, name};
use crate::cluster::embedded::kind::{Column, ServedKind, Traits};
use crate::cluster::embedded::status::FieldErrors;
use crate::cluster::embedded::validation::{IMMUTABLE, metadata, names};
use crate::model::kind;
use crate::model::quantity::Quantity;

/// ResourceQuotas as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::RESOURCE_QUOTA,
    subresources: &[super::STATUS],
    traits: Traits { delete_returns_object: true, ..super::PLAIN },
    columns: COLUMNS,
    cells,
    default,
    prepare: super::prepare_with_status,
    validate,
    validate_update,
    ..super::BASE
};

const COLUMNS: &[Column] = &[
    NAME,
    column("Request", "What is used of each limited request or number."),
    column("Limit", "What is used of each limited limit."),
    AGE,
];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    let mut hard: Vec<_> = entries(object, "/status/hard").collect();
    hard.sort_by_key(|(key, _)| *key);
    for (key, most) in hard {
        let used = object["status"]["used"][key].as_str().unwrap_or("0");
        let term = format!("{key}: {used}/{}", most.as_str().unwrap_or_default());
        if key.starts_with("limits") { limits.push(term) } else { requests.push(term) }
    }
    vec![name(object), requests.join(", ").into(), limits.join(", ").into(), age(object, now)]
}

fn default(object: &mut Value) {
    if let Some(spec) = child(object, "spec") {
        round_amounts(spec.get_mut("hard"));
    }
    if let Some(status) = child(object, "status") {
        round_amounts(status.get_mut("hard"));
        round_amounts(status.get_mut("used"));
    }
}

/// The keys without a slash that a quota may have.
const STANDARD: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "services.nodeports",
    "services.loadbalancers",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
];

const COMPUTE: &[&str] =
    &["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];

const SCOPES: &[&str] = &[
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

fn is_standard(key: &str) -> bool {
    STANDARD.contains(&key)
        || ["hugepages-", "requests.hugepages-"].iter().any(|p| key.starts_with(p))
}

/// Whether a scope says anything about the objects that a standard key counts.
fn scope_applies(scope: &str, key: &str) -> bool {
    match scope {
        "BestEffort" => key == "pods",
        "VolumeAttributesClass" => ["persistentvolumeclaims", "requests.storage"].contains(&key),
        _ => key == "pods" || COMPUTE.contains(&key),
    }
}

fn validate(object: &Value, errors: &mut FieldErrors) {
    metadata::validate(object, kind::RESOURCE_QUOTA, names::subdomain, errors);
    amounts(object, "spec", "hard", errors);
    scopes(object, errors);
    scope_selector(object, errors);
}

fn amounts(object: &Value, part: &str, field: &str, errors: &mut FieldErrors) {
    for (key, value) in entries(object, &format!("/{part}/{field}")) {
        let path = format!("{part}.{field}[{key}]");
        for wrong in names::qualified(key) {
            errors.invalid(path.clone(), key.as_str(), wrong);
        }
        if !key.contains('/') && !is_standard(key) {
            let detail = "must be a standard resource type or fully qualified";
            errors.invalid(path.clone(), key.as_str(), detail);
            errors.invalid(path.clone(), key.as_str(), "must be a standard resource for quota");
        }
        let text = value.as_str().unwrap_or_default();
        let Ok(amount) = Quantity::parse(text) else { continue };
        if amount.is_negative() {
            errors.invalid(path.clone(), text, "must be greater than or equal to 0");
        }
        if is_number(key) && amount.is_fractional() {
            errors.invalid(path, text, "must be an integer");
        }
    }
}

/// Whether a key counts objects, which come in whole numbers.
fn is_number(key: &str) -> bool {
    const NUMBERS: &[&str] = &[
        "pods",
        "resourcequotas",
        "services",
        "services.nodeports",
        "services.loadbalancers",
        "replicationcontrollers",
        "secrets",
        "persistentvolumeclaims",
        "configmaps",
    ];
    NUMBERS.contains(&key)
}

/// Whether a scope is named that says nothing about some limited resource.
fn misapplied(object: &Value, scope: &str) -> usize {
    let keys = entries(object, "/spec/hard").map(|(key, _)| key.as_str());
    keys.filter(|key| is_standard(key) && !scope_applies(scope, key)).count()
}

fn scopes(object: &Value, errors: &mut FieldErrors) {
    let given: Vec<&str> = list(object, "/spec/scopes").iter().filter_map(Value::as_str).collect();
    let mut wrong = |what: &str| errors.invalid("spec.scopes", given.clone(), what);
    for scope in &given {
        if !SCOPES.contains(scope) {
            wrong("unsupported scope");
        }
        for _ in 0..misapplied(object, scope) {
            wrong("unsupported scope applied to resource");
        }
    }
    for pair in [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]] {
        if pair.iter().all(|scope| given.contains(scope)) {
            wrong("conflicting scopes");
        }
    }
}

fn scope_selector(object: &Value, errors: &mut FieldErrors) {
    let path = "spec.scopeSelector.matchExpressions";
    for term in list(object, "/spec/scopeSelector/matchExpressions") {
        let (scope, operator) = (text(term, "/scopeName"), text(term, "/operator"));
        if !SCOPES.contains(&scope) {
            errors.invalid(format!("{path}.scopeName"), scope, "unsupported scope");
        }
        for _ in 0..misapplied(object, scope) {
            let selector = object["spec"]["scopeSelector"].clone();
            errors.invalid(path, selector, "unsupported scope applied to resource");
        }
        let only_exists = !["PriorityClass", "VolumeAttributesClass"].contains(&scope);
        if only_exists && SCOPES.contains(&scope) && operator != "Exists" {
            errors.invalid(
                format!("{path}.operator"),
                operator,
                "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, \
                 ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, \
                 ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity",
            );
        }
        scope_values(term, operator, path, errors);
    }
}

fn scope_values(term: &Value, operator: &str, path: &str, errors: &mut FieldErrors) {
    let values = list(term, "/values");
    match operator {
        "In" | "NotIn" if values.is_empty() => errors.required(
            format!("{path}.values"),
            "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
        ),
        "In" | "NotIn" => {}
        "Exists" | "DoesNotExist" if !values.is_empty() => errors.invalid(
            format!("{path}.values"),
            values.to_vec(),
            "must be no value when `operator` is 'Exists' or 'DoesNotExist' for scope selector",
        ),
        "Exists" | "DoesNotExist" => {}
        _ => errors.invalid(format!("{path}.operator"), operator, "not a valid selector operator"),
    }
}

fn validate_update(
    object: &Value,
    old: &Value,
    subresource: Option<&str>,
    errors: &mut FieldErrors,
) {
    metadata::validate_update(object, old, errors);
    if subresource == Some("status") {
        amounts(object, "status", "hard", errors);
        amounts(object, "status", "used", errors);
        return;
    }
    validate(object, errors);
    let sorted = |quota: &Value| {
        let scopes = list(quota, "/spec/scopes").iter().filter_map(Value::as_str);
        scopes.map(str::to_owned).collect::<std::collections::BTreeSet<_>>()
    };
    if sorted(object) != sorted(old) {
        errors.invalid("spec.scopes", list(object, "/spec/scopes").to_vec(), IMMUTABLE);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::*;
    use super::*;

    fn base() -> Value {
        json!({
            "metadata": {"name": "q", "namespace": "n", "resourceVersion": "1"},
            "spec": {"hard": {"persistentvolumeclaims": "2", "requests.storage": "5Gi"}},
        })
    }

    #[test]
    fn a_quota_limits_known_resources_and_names_known_scopes() {
        let hard = |key: &str, amount: &str| json!({"spec": {"hard": {key: amount}}});
        check_refusals(
            &ROW,
            &base(),
            &[
                (json!({}), &[]),
                (hard("gold.storageclass.storage.k8s.io/requests.storage", "1Gi"), &[]),
                (hard("count/persistentvolumeclaims", "1"), &[]),
                (
                    hard("storage", "1Gi"),
                    &[
                        "spec.hard[storage]: Invalid value: \"storage\": must be a standard \
                         resource type or fully qualified",
                        "spec.hard[storage]: Invalid value: \"storage\": must be a standard \
                         resource for quota",
                    ],
                ),
                (
                    hard("requests.storage", "-1"),
                    &["spec.hard[requests.storage]: Invalid value: \"-1\": must be greater than \
                       or equal to 0"],
                ),
                (
                    hard("persistentvolumeclaims", "1500m"),
                    &["spec.hard[persistentvolumeclaims]: Invalid value: \"1500m\": must be an \
                       integer"],
                ),
                (
                    json!({"spec": {"scopes": ["Tidy"], "hard": null}}),
                    &["spec.scopes: Invalid value: [\"Tidy\"]: unsupported scope"],
                ),
                (
                    json!({"spec": {"scopes": ["BestEffort"], "hard": {"requests.storage": null}}}),
                    &["spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied \
                       to resource"],
                ),
                (
                    json!({"spec": {"scopeSelector": {"matchExpressions": [
                        {"scopeName": "VolumeAttributesClass", "operator": "In"}]}}}),
                    &["spec.scopeSelector.matchExpressions.values: Required value: must be at \
                       least one value when `operator` is 'In' or 'NotIn' for scope selector"],
                ),
            ],
        );
    }

    #[test]
    fn the_scopes_of_a_quota_stay_while_its_limits_may_change() {
        let stored = taken(&ROW, &base(), &Objects(Vec::new())).expect("a quota");
        check_changes(
            &ROW,
            &stored,
            &[
                (json!({"spec": {"hard": {"requests.storage": "1Gi"}}}), &[]),
                (
                    json!({"spec": {"scopes": ["VolumeAttributesClass"]}}),
                    &[
                        "spec.scopes: Invalid value: [\"VolumeAttributesClass\"]: field is immutable",
                    ],
                ),
            ],
        );
    }

    #[test]
    fn a_quota_shows_what_is_used_of_what() {
        let mut quota = base();
        quota["status"] = json!({
            "hard": {"requests.storage": "5Gi", "persistentvolumeclaims": "2", "limits.cpu": "1"},
            "used": {"requests.storage": "3Gi", "persistentvolumeclaims": "1"},
        });
        let cells = cells(&quota, now());
        assert_eq!(cells[1], "persistentvolumeclaims: 1/2, requests.storage: 3Gi/5Gi");
        assert_eq!(cells[2], "limits.cpu: 0/1");
    }
}
