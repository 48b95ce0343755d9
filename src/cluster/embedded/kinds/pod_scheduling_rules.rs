//! The rules of what a pod asks of its node: selectors, affinity, spread,
//! tolerations and gates.

use serde_json::Value;

use super::json::{integer, is_set, list, text};
use crate::cluster::embedded::status::FieldErrors;
use crate::cluster::embedded::validation::{duplicate, metadata, names, selectors};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// The rules of a pod spec at `path`.
pub fn validate(spec: &Value, path: &str, errors: &mut FieldErrors) {
    metadata::labels(spec, "/nodeSelector", &format!("{path}.nodeSelector"), errors);
    node_affinity(spec, &format!("{path}.affinity.nodeAffinity"), errors);
    for side in ["podAffinity", "podAntiAffinity"] {
        pod_affinity(spec, side, &format!("{path}.affinity.{side}"), errors);
    }
    for (index, gate) in list(spec, "/readinessGates").iter().enumerate() {
        let condition = text(gate, "/conditionType");
        for wrong in names::qualified(condition) {
            let path = format!("{path}.readinessGates[{index}].conditionType");
            errors.invalid(path, condition, wrong);
        }
    }
    spread(spec, &format!("{path}.topologySpreadConstraints"), errors);
    scheduling_gates(spec, path, errors);
    tolerations(spec, &format!("{path}.tolerations"), errors);
}

/// What the server points out in a spec that it takes.
pub fn warnings(spec: &Value, path: &str) -> Vec<String> {
    let constraints = list(spec, "/topologySpreadConstraints").iter().enumerate();
    let bare = constraints.filter(|(_, constraint)| !is_set(constraint, "/labelSelector"));
    bare.map(|(index, _)| {
        let path = format!("{path}.topologySpreadConstraints[{index}].labelSelector");
        format!("{path}: a null labelSelector results in matching no pod")
    })
    .collect()
}

fn node_affinity(spec: &Value, path: &str, errors: &mut FieldErrors) {
    let Some(affinity) = spec.pointer("/affinity/nodeAffinity") else { return };
    if let Some(required) = affinity.get(REQUIRED).filter(|required| !required.is_null()) {
        selectors::node_selector(required, &format!("{path}.{REQUIRED}"), false, errors);
    }
    for (index, term) in list(affinity, &format!("/{PREFERRED}")).iter().enumerate() {
        let path = format!("{path}.{PREFERRED}[{index}]");
        weight(term, &path, errors);
        if let Some(preference) = term.get("preference") {
            let path = format!("{path}.preference");
            selectors::node_selector_term(preference, &path, false, errors);
        }
    }
}

fn weight(term: &Value, path: &str, errors: &mut FieldErrors) {
    let weight = integer(term, "/weight");
    if !(1..=100).contains(&weight) {
        errors.invalid(format!("{path}.weight"), weight, "must be in the range 1-100");
    }
}

fn pod_affinity(spec: &Value, side: &str, path: &str, errors: &mut FieldErrors) {
    let Some(affinity) = spec.pointer(&format!("/affinity/{side}")) else { return };
    for (index, term) in list(affinity, &format!("/{REQUIRED}")).iter().enumerate() {
        pod_affinity_term(term, &format!("{path}.{REQUIRED}[{index}]"), errors);
    }
    for (index, term) in list(affinity, &format!("/{PREFERRED}")).iter().enumerate() {
        let path = format!("{path}.{PREFERRED}[{index}]");
        weight(term, &path, errors);
        if let Some(term) = term.get("podAffinityTerm") {
            pod_affinity_term(term, &format!("{path}.podAffinityTerm"), errors);
        }
    }
}

fn pod_affinity_term(term: &Value, path: &str, errors: &mut FieldErrors) {
    for field in ["labelSelector", "namespaceSelector"] {
        selector(term, field, path, errors);
    }
    for namespace in list(term, "/namespaces").iter().filter_map(Value::as_str) {
        for wrong in names::label(namespace) {
            errors.invalid(format!("{path}.namespace"), namespace, wrong);
        }
    }
    for keys in ["matchLabelKeys", "mismatchLabelKeys"] {
        keys_with_selector(term, keys, path, errors);
    }
    let key = text(term, "/topologyKey");
    if key.is_empty() {
        errors.required(format!("{path}.topologyKey"), "can not be empty");
    }
    for wrong in names::qualified(key) {
        errors.invalid(format!("{path}.topologyKey"), key, wrong);
    }
}

fn selector(within: &Value, field: &str, path: &str, errors: &mut FieldErrors) {
    if let Some(selector) = within.get(field).filter(|selector| !selector.is_null()) {
        selectors::label_selector(selector, &format!("{path}.{field}"), false, errors);
    }
}

/// Keys are added to a selector, so there has to be one.
fn keys_with_selector(within: &Value, field: &str, path: &str, errors: &mut FieldErrors) {
    let given = !list(within, &format!("/{field}")).is_empty();
    if given && !is_set(within, "/labelSelector") {
        let detail = "must not be specified when labelSelector is not set";
        errors.forbidden(format!("{path}.{field}"), detail);
    }
}

fn spread(spec: &Value, path: &str, errors: &mut FieldErrors) {
    let pair = |of: &Value| {
        format!("{{{}, {}}}", text(of, "/topologyKey"), text(of, "/whenUnsatisfiable"))
    };
    let constraints = list(spec, "/topologySpreadConstraints");
    for (index, constraint) in constraints.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let skew = integer(constraint, "/maxSkew");
        if skew <= 0 {
            errors.invalid(format!("{path}.maxSkew"), skew, "must be greater than zero");
        }
        let key = text(constraint, "/topologyKey");
        if key.is_empty() {
            errors.required(format!("{path}.topologyKey"), "can not be empty");
        }
        let otherwise = text(constraint, "/whenUnsatisfiable");
        let words = &["DoNotSchedule", "ScheduleAnyway"];
        if !words.contains(&otherwise) {
            errors.not_among(format!("{path}.whenUnsatisfiable"), otherwise, words);
        }
        // The earlier one is blamed.
        if constraints[index + 1..].iter().any(|later| pair(later) == pair(constraint)) {
            let path = format!("{path}.{{topologyKey, whenUnsatisfiable}}");
            duplicate(path, pair(constraint), errors);
        }
        domains(constraint, otherwise, &path, errors);
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            let policy = text(constraint, &format!("/{field}"));
            if !matches!(policy, "" | "Honor" | "Ignore") {
                errors.not_among(format!("{path}.{field}"), policy, &["Honor", "Ignore"]);
            }
        }
        keys_with_selector(constraint, "matchLabelKeys", &path, errors);
        selector(constraint, "labelSelector", &path, errors);
    }
}

fn domains(constraint: &Value, otherwise: &str, path: &str, errors: &mut FieldErrors) {
    let Some(least) = constraint.get("minDomains").and_then(Value::as_i64) else { return };
    let path = format!("{path}.minDomains");
    if least <= 0 {
        errors.invalid(path.as_str(), least, "must be greater than zero");
    }
    if otherwise != "DoNotSchedule" {
        let detail =
            format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {otherwise}");
        errors.invalid(path, least, detail);
    }
}

/// Gates hold a pod back from the scheduler, so it cannot be on a node as well.
fn scheduling_gates(spec: &Value, path: &str, errors: &mut FieldErrors) {
    let gates = list(spec, "/schedulingGates");
    let mut seen = Vec::new();
    for (index, gate) in gates.iter().enumerate() {
        let (name, path) = (text(gate, "/name"), format!("{path}.schedulingGates[{index}]"));
        for wrong in names::qualified(name) {
            errors.invalid(path.as_str(), name, wrong);
        }
        if seen.contains(&name) {
            duplicate(path, name, errors);
        }
        seen.push(name);
    }
    if !gates.is_empty() && !text(spec, "/nodeName").is_empty() {
        let detail = "cannot be set until all schedulingGates have been cleared";
        errors.forbidden(format!("{path}.nodeName"), detail);
    }
}

fn tolerations(spec: &Value, path: &str, errors: &mut FieldErrors) {
    for (index, toleration) in list(spec, "/tolerations").iter().enumerate() {
        let path = format!("{path}[{index}]");
        let (key, operator) = (text(toleration, "/key"), text(toleration, "/operator"));
        if !key.is_empty() {
            for wrong in names::qualified(key) {
                errors.invalid(format!("{path}.key"), key, wrong);
            }
        } else if operator != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all \
                          values and all keys\"";
            errors.invalid(format!("{path}.operator"), operator, detail);
        }
        let effect = text(toleration, "/effect");
        if is_set(toleration, "/tolerationSeconds") && effect != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.invalid(format!("{path}.effect"), effect, detail);
        }
        toleration_operator(toleration, &format!("{path}.operator"), errors);
        let effects = &["NoSchedule", "PreferNoSchedule", "NoExecute"];
        if !effect.is_empty() && !effects.contains(&effect) {
            errors.not_among(format!("{path}.effect"), effect, effects);
        }
    }
}

fn toleration_operator(toleration: &Value, path: &str, errors: &mut FieldErrors) {
    let value = text(toleration, "/value");
    match text(toleration, "/operator") {
        "" | "Equal" => {
            for wrong in names::label_value(value) {
                errors.invalid(path, value, wrong);
            }
        }
        "Exists" if value.is_empty() => {}
        "Exists" => errors.invalid(path, value, "value must be empty when `operator` is 'Exists'"),
        // The gate that allows them is off, but they are named.
        operator @ ("Lt" | "Gt") => {
            errors.not_among(path, operator, &["Equal", "Exists", "Lt", "Gt"]);
        }
        operator => errors.not_among(path, operator, &["Equal", "Exists"]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::*;
    use crate::cluster::embedded::kinds::row;
    use crate::model::kind;

    #[test]
    fn what_no_node_could_be_asked_is_refused() {
        let base = json!({
            "metadata": {"name": "p", "namespace": "n"},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        });
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
        let affinity = |side: &str, when: &str, what: serde_json::Value| json!({"spec": {"affinity": {side: {when: what}}}});
        let terms = |term: serde_json::Value| {
            affinity("nodeAffinity", required, json!({"nodeSelectorTerms": term}))
        };
        let spread = |all: serde_json::Value| json!({"spec": {"topologySpreadConstraints": all}});
        let zone =
            json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"});
        let toleration = |one: serde_json::Value| json!({"spec": {"tolerations": [one]}});
        let at = format!("spec.affinity.nodeAffinity.{required}.nodeSelectorTerms");
        check_refusals(
            row(kind::POD).expect("served"),
            &base,
            &[
                (
                    terms(json!([])),
                    &[&format!("{at}: Required value: must have at least one node selector term")],
                ),
                (
                    terms(json!([{"matchExpressions": [{"key": "a", "operator": "In"}]}])),
                    &[&format!(
                        "{at}[0].matchExpressions[0].values: Required value: must be specified \
                         when `operator` is 'In' or 'NotIn'"
                    )],
                ),
                (
                    affinity("nodeAffinity", preferred, json!([{"weight": 0, "preference": {}}])),
                    &[&format!(
                        "spec.affinity.nodeAffinity.{preferred}[0].weight: Invalid value: 0: must \
                         be in the range 1-100"
                    )],
                ),
                (
                    affinity(
                        "podAffinity",
                        required,
                        json!([{"topologyKey": "x", "matchLabelKeys": ["a"], "namespaces": ["n"]}]),
                    ),
                    &[&format!(
                        "spec.affinity.podAffinity.{required}[0].matchLabelKeys: Forbidden: must \
                         not be specified when labelSelector is not set"
                    )],
                ),
                (spread(json!([zone.clone()])), &[]),
                (
                    spread(json!([zone.clone(), zone])),
                    &["spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: \
                       Duplicate value: \"{zone, DoNotSchedule}\""],
                ),
                (
                    spread(json!([{"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "No",
                        "minDomains": 0}])),
                    &[
                        "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be \
                         greater than zero",
                        "spec.topologySpreadConstraints[0].topologyKey: Required value: can not \
                         be empty",
                        "spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: \
                         \"No\": supported values: \"DoNotSchedule\", \"ScheduleAnyway\"",
                        "spec.topologySpreadConstraints[0].minDomains: Invalid value: 0: must be \
                         greater than zero",
                        "spec.topologySpreadConstraints[0].minDomains: Invalid value: 0: can only \
                         use minDomains if whenUnsatisfiable=DoNotSchedule, not No",
                    ],
                ),
                (
                    toleration(json!({"key": "a", "operator": "Exists", "value": "b"})),
                    &["spec.tolerations[0].operator: Invalid value: \"b\": value must be empty \
                       when `operator` is 'Exists'"],
                ),
                (
                    toleration(json!({"key": "a", "effect": "Foo"})),
                    &["spec.tolerations[0].effect: Unsupported value: \"Foo\": supported values: \
                       \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\""],
                ),
            ],
        );
    }
}
