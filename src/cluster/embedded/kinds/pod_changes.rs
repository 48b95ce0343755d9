//! What an update may change in a pod: nearly nothing, and a little more while
//! scheduling gates hold the pod back.
//!
//! Upstream: `ValidatePodUpdate` in `pkg/apis/core/validation/validation.go`.

use serde_json::{Value, json};

use super::json::{child, entries, is_set, list, put, restore, text};
use crate::cluster::embedded::status::FieldErrors;
use crate::cluster::embedded::validation::diff;

/// The highest `activeDeadlineSeconds`.
const DEADLINE_MAX: i64 = i32::MAX as i64;

/// The rules of a changed pod. Changes that are allowed, or told of by
/// themselves, are taken back in a copy; what then still differs is refused.
pub fn validate(pod: &Value, old: &Value, errors: &mut FieldErrors) {
    let nothing = json!({});
    let (old, new) = (old.get("spec").unwrap_or(&nothing), pod.get("spec").unwrap_or(&nothing));
    let mut left = new.clone();
    for field in ["containers", "initContainers"] {
        if !images(&mut left, new, old, field, errors) {
            return;
        }
    }
    if !deadline(new, old, errors) {
        return;
    }
    tolerations(new, old, errors);
    scheduling_gates(new, old, errors);
    for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        restore(&mut left, old, field);
    }
    let grace = |spec: &Value| spec["terminationGracePeriodSeconds"].as_i64();
    if grace(old).is_some_and(|seconds| seconds < 0) && grace(new) == Some(1) {
        restore(&mut left, old, "terminationGracePeriodSeconds");
    }
    if !list(old, "/schedulingGates").is_empty() {
        narrowed(&mut left, new, old, errors);
    }
    if left != *old {
        errors.forbidden(
            "spec",
            format!(
                "pod updates may not change fields other than `spec.containers[*].image`,\
                 `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` \
                 (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` \
                 (allow it to be set to 1 if it was previously negative)\n{}",
                diff::of_type(old, &left, "core.v1.PodSpec")
            ),
        );
    }
}

/// Images may change, the number of containers may not: then nothing else is
/// looked at.
fn images(
    left: &mut Value,
    new: &Value,
    old: &Value,
    field: &str,
    errors: &mut FieldErrors,
) -> bool {
    let pointer = format!("/{field}");
    let before = list(old, &pointer);
    if list(new, &pointer).len() != before.len() {
        let detail = "pod updates may not add or remove containers";
        errors.forbidden(format!("spec.{field}"), detail);
        return false;
    }
    let after = left.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten();
    for (container, before) in after.zip(before) {
        put(container, "image", before.get("image").cloned());
    }
    true
}

/// A deadline may be set, and moved nearer.
fn deadline(new: &Value, old: &Value, errors: &mut FieldErrors) -> bool {
    let path = "spec.activeDeadlineSeconds";
    let seconds = |spec: &Value| spec["activeDeadlineSeconds"].as_i64();
    match (seconds(old), seconds(new)) {
        (_, Some(seconds)) if !(0..=DEADLINE_MAX).contains(&seconds) => {
            let detail = format!("must be between 0 and {DEADLINE_MAX}, inclusive");
            errors.invalid(path, seconds, detail);
            false
        }
        (Some(before), Some(seconds)) if before < seconds => {
            errors.invalid(path, seconds, "must be less than or equal to previous value");
            false
        }
        (Some(_), None) => {
            let detail = "must not update from a positive integer to nil value";
            errors.invalid(path, Value::Null, detail);
            true
        }
        _ => true,
    }
}

/// Tolerations may be added, and their seconds may change.
fn tolerations(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let but_seconds = |toleration: &Value| {
        let mut toleration = toleration.clone();
        put(&mut toleration, "tolerationSeconds", None);
        toleration
    };
    let after: Vec<Value> = list(new, "/tolerations").iter().map(but_seconds).collect();
    let before = list(old, "/tolerations").iter().map(but_seconds);
    if before.into_iter().any(|toleration| !after.contains(&toleration)) {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.forbidden("spec.tolerations", detail);
    }
}

/// Gates may be taken away, and never come back.
fn scheduling_gates(new: &Value, old: &Value, errors: &mut FieldErrors) {
    let before: Vec<&str> =
        list(old, "/schedulingGates").iter().map(|gate| text(gate, "/name")).collect();
    for (index, gate) in list(new, "/schedulingGates").iter().enumerate() {
        let name = text(gate, "/name");
        if !before.contains(&name) {
            let detail =
                format!("only deletion is allowed, but found new scheduling gate '{name}'");
            errors.forbidden(format!("spec.schedulingGates[{index}].name"), detail);
        }
    }
}

/// A pod that is held back may come to ask for fewer nodes, never for more.
fn narrowed(left: &mut Value, new: &Value, old: &Value, errors: &mut FieldErrors) {
    let kept = |(key, value): (&String, &Value)| new["nodeSelector"].get(key) == Some(value);
    if !entries(old, "/nodeSelector").all(kept) {
        let detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        errors.invalid("spec.nodeSelector", new["nodeSelector"].clone(), detail);
    }
    restore(left, old, "nodeSelector");
    if old["affinity"]["nodeAffinity"] == new["affinity"]["nodeAffinity"] {
        return;
    }
    node_affinity(new, old, errors);
    let before = old["affinity"]["nodeAffinity"].clone();
    if let Some(affinity) = child(left, "affinity") {
        put(affinity, "nodeAffinity", (!before.is_null()).then_some(before));
        // It may have been made only for the node affinity.
        if affinity.as_object().is_some_and(|fields| fields.is_empty()) && !is_set(old, "/affinity")
        {
            put(left, "affinity", None);
        }
    }
}

fn node_affinity(new: &Value, old: &Value, errors: &mut FieldErrors) {
    const TERMS: &str = "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/\
                         nodeSelectorTerms";
    let path = format!("spec{}", TERMS.replace('/', "."));
    let (before, after) = (list(old, TERMS), list(new, TERMS));
    let shown = |term: &Value| diff::internal_form(term, "core.v1.NodeSelectorTerm");
    if !before.is_empty() && before.len() != after.len() {
        let after: Value = match after.is_empty() {
            true => Value::Null,
            false => after.iter().map(shown).collect(),
        };
        let detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        errors.invalid(path, after, detail);
        return;
    }
    for (index, (before, after)) in before.iter().zip(after).enumerate() {
        if !is_same_or_longer(after, before) {
            let detail = "only additions are allowed (no mutations or deletions)";
            errors.invalid(format!("{path}[{index}]"), shown(after), detail);
        }
    }
}

/// Whether a term asks for all it did, first and unchanged. An empty one admits
/// no node, and anything more would admit some.
fn is_same_or_longer(after: &Value, before: &Value) -> bool {
    const PARTS: [&str; 2] = ["/matchExpressions", "/matchFields"];
    if PARTS.iter().all(|part| list(before, part).is_empty()) {
        return PARTS.iter().all(|part| list(after, part).is_empty());
    }
    PARTS.iter().all(|part| list(after, part).starts_with(list(before, part)))
}

#[cfg(test)]
mod tests {
    use super::super::pod::ROW;
    use super::super::testing::{Objects, change_refusals, check_changes, check_refusals, taken};
    use super::*;

    fn base() -> Value {
        json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "resourceVersion": "1"},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        })
    }

    fn stored(spec: &Value) -> Value {
        let mut pod = base();
        json_patch::merge(&mut pod["spec"], spec);
        taken(&ROW, &pod, &Objects(Vec::new())).expect("a pod")
    }

    fn spec(change: Value) -> Value {
        json!({"spec": change})
    }

    fn required(terms: Value) -> Value {
        json!({"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}})
    }

    #[test]
    fn gates_may_go_and_never_come() {
        let gates = |names: &[&str]| {
            let gates: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
            json!({"schedulingGates": gates})
        };
        let pod = stored(&gates(&["a", "b"]));
        let added = "spec.schedulingGates[1].name: Forbidden: only deletion is allowed, but found \
                     new scheduling gate 'c'";
        check_changes(
            &ROW,
            &pod,
            &[
                (spec(gates(&["b"])), &[]),
                (spec(json!({"schedulingGates": null})), &[]),
                (spec(gates(&["a", "c"])), &[added]),
            ],
        );
        let condition = json!({"type": "PodScheduled", "status": "False",
            "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates"});
        let mut told = pod["status"]["conditions"][0].clone();
        put(&mut told, "lastProbeTime", None);
        put(&mut told, "lastTransitionTime", None);
        assert_eq!(told, condition);
        assert!(stored(&json!({}))["status"]["conditions"].is_null());
        let bound = "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been \
                     cleared";
        let mut body = gates(&["a"]);
        body["nodeName"] = "node-1".into();
        check_refusals(&ROW, &base(), &[(spec(body), &[bound])]);
    }

    #[test]
    fn a_gated_pod_may_only_come_to_ask_for_fewer_nodes() {
        let a = json!({"key": "a", "operator": "In", "values": ["x"]});
        let b = json!({"key": "b", "operator": "Exists"});
        let mut held = required(json!([{"matchExpressions": [a]}]));
        held["schedulingGates"] = json!([{"name": "g"}]);
        held["nodeSelector"] = json!({"a": "b"});
        let pod = stored(&held);
        let terms = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.\
                     nodeSelectorTerms";
        let mutated = format!(
            "{terms}[0]: Invalid value: {{\"MatchExpressions\":[{{\"Key\":\"b\",\"Operator\":\
             \"Exists\",\"Values\":null}}],\"MatchFields\":null}}: only additions are allowed \
             (no mutations or deletions)"
        );
        let none = format!(
            "{terms}: Invalid value: null: no additions/deletions to non-empty NodeSelectorTerms \
             list are allowed"
        );
        let selector = "spec.nodeSelector: Invalid value: {\"a\":\"z\"}: only additions to \
                        spec.nodeSelector are allowed (no mutations or deletions)";
        check_changes(
            &ROW,
            &pod,
            &[
                (spec(json!({"nodeSelector": {"c": "d"}})), &[]),
                (spec(json!({"nodeSelector": {"a": "z"}})), &[selector]),
                (spec(required(json!([{"matchExpressions": [a, b]}]))), &[]),
                (spec(required(json!([{"matchExpressions": [b]}]))), &[mutated.as_str()]),
                (spec(json!({"affinity": null})), &[none.as_str()]),
            ],
        );
        let open = stored(&json!({"schedulingGates": [{"name": "g"}]}));
        check_changes(&ROW, &open, &[(spec(required(json!([{"matchExpressions": [b]}]))), &[])]);
        let free = stored(&json!({}));
        let refused = change_refusals(&ROW, &free, &spec(json!({"nodeSelector": {"c": "d"}})));
        assert!(refused[0].starts_with("spec: Forbidden: pod updates may not change fields"));
    }

    #[test]
    fn a_stored_pod_takes_a_nearer_deadline_and_more_tolerations() {
        let tolerates = |seconds: i64, value: &str| {
            json!({"tolerations": [{"key": "k", "operator": "Equal", "value": value,
                "effect": "NoExecute", "tolerationSeconds": seconds}]})
        };
        let mut held = tolerates(9, "v");
        held["activeDeadlineSeconds"] = 10.into();
        let pod = stored(&held);
        let with = |tolerations: Value| {
            let mut all = pod["spec"]["tolerations"].clone();
            all[0] = tolerations["tolerations"][0].clone();
            spec(json!({"tolerations": all}))
        };
        check_changes(
            &ROW,
            &pod,
            &[
                (spec(json!({"activeDeadlineSeconds": 5})), &[]),
                (
                    spec(json!({"activeDeadlineSeconds": 20})),
                    &["spec.activeDeadlineSeconds: Invalid value: 20: must be less than or equal \
                       to previous value"],
                ),
                (
                    spec(json!({"activeDeadlineSeconds": null})),
                    &["spec.activeDeadlineSeconds: Invalid value: null: must not update from a \
                       positive integer to nil value"],
                ),
                (with(tolerates(1, "v")), &[]),
                (
                    with(tolerates(9, "w")),
                    &["spec.tolerations: Forbidden: existing toleration can not be modified \
                       except its tolerationSeconds"],
                ),
                (
                    spec(json!({"containers": [{"name": "c", "image": "i"},
                        {"name": "d", "image": "i"}]})),
                    &["spec.containers: Forbidden: pod updates may not add or remove containers"],
                ),
            ],
        );
    }
}
