//! PriorityClasses: how much a pod matters, by name; and the admission that
//! writes it on pods.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::json::{child, fill, integer, is_true, text};
use super::table::{AGE, NAME, age, column, name, typed};
use crate::cluster::embedded::kind::{AdmissionView, Column, ServedKind, Traits};
use crate::cluster::embedded::refusal::forbidden;
use crate::cluster::embedded::status::{ApiError, FieldErrors};
use crate::cluster::embedded::validation::{immutable, metadata, names};
use crate::model::kind;

/// PriorityClasses as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::PRIORITY_CLASS,
    traits: Traits { generation: true, ..super::PLAIN },
    columns: COLUMNS,
    cells,
    default: |class| fill(class, "preemptionPolicy", LOWER),
    admit,
    validate,
    validate_update,
    ..super::BASE
};

const LOWER: &str = "PreemptLowerPriority";
/// Names that begin so are the system's.
const SYSTEM_PREFIX: &str = "system-";
const USER_VALUE_MAX: i64 = 1_000_000_000;

/// The classes of every cluster: name, value and description.
const SYSTEM: &[(&str, i64, &str)] = &[
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another \
         node if necessary.",
    ),
];

/// The classes of every cluster, which cannot be deleted.
pub fn system_classes() -> impl Iterator<Item = Value> {
    SYSTEM.iter().map(|(name, value, description)| {
        json!({
            "kind": kind::PRIORITY_CLASS.kind, "apiVersion": kind::PRIORITY_CLASS.api_version(),
            "metadata": {"name": name, "generation": 1},
            "value": value, "description": description, "preemptionPolicy": LOWER,
        })
    })
}

/// Whether a class is one of the system's.
pub fn is_system(name: &str) -> bool {
    SYSTEM.iter().any(|(system, ..)| *system == name)
}

const COLUMNS: &[Column] = &[
    NAME,
    typed("Value", "integer", "The priority that pods of this class have."),
    typed("Global-Default", "boolean", "Whether pods that name no class are of this one."),
    AGE,
    column("PreemptionPolicy", "Whether its pods take the place of others."),
];

fn cells(class: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(class),
        integer(class, "/value").into(),
        is_true(class, "/globalDefault").into(),
        age(class, now),
        text(class, "/preemptionPolicy").into(),
    ]
}

/// Admission `Priority` of a class: one is the default at most.
fn admit(class: &mut Value, old: Option<&Value>, view: &dyn AdmissionView) -> Result<(), ApiError> {
    if !is_true(class, "/globalDefault") {
        return Ok(());
    }
    let own = text(class, "/metadata/name");
    match default_class(view) {
        Some(held) if old.is_none() || text(&held, "/metadata/name") != own => {
            let held = text(&held, "/metadata/name");
            let why = format!(
                "PriorityClass {held} is already marked as default. Only one default can exist"
            );
            Err(forbidden(kind::PRIORITY_CLASS, own, &why))
        }
        Some(_) | None => Ok(()),
    }
}

/// The class of pods that name none: of several the lowest.
fn default_class(view: &dyn AdmissionView) -> Option<Value> {
    let classes = view.list(kind::PRIORITY_CLASS, None).into_iter();
    let defaults = classes.filter(|class| is_true(class, "/globalDefault"));
    defaults.min_by_key(|class| integer(class, "/value"))
}

/// Admission `Priority` of a pod: its class decides, and what it brings itself
/// has to agree with that. A stored pod keeps what it has.
pub fn admit_pod(
    pod: &mut Value,
    old: Option<&Value>,
    view: &dyn AdmissionView,
) -> Result<(), ApiError> {
    if let Some(old) = old {
        for field in ["priority", "preemptionPolicy"] {
            if let (Some(spec), Some(held)) = (child(pod, "spec"), old["spec"].get(field)) {
                fill(spec, field, held.clone());
            }
        }
        return Ok(());
    }
    let refused = |pod: &Value, why: &str| {
        let name = text(pod, "/metadata/name");
        let name = if name.is_empty() { text(pod, "/metadata/generateName") } else { name };
        forbidden(kind::POD, name, why)
    };
    let named = text(pod, "/spec/priorityClassName");
    let class = if named.is_empty() {
        default_class(view)
    } else {
        let missing = || refused(pod, &format!("no PriorityClass with name {named} was found"));
        Some(view.get(kind::PRIORITY_CLASS, None, named).ok_or_else(missing)?)
    };
    let value = class.as_ref().map_or(0, |class| integer(class, "/value"));
    let policy = class.as_ref().map_or(LOWER, |class| text(class, "/preemptionPolicy"));
    let given = &pod["spec"]["priority"];
    if !given.is_null() && *given != value {
        let why = format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority \
             admission controller computed {value} from the given PriorityClass name"
        );
        return Err(refused(pod, &why));
    }
    let given = text(pod, "/spec/preemptionPolicy");
    if !given.is_empty() && given != policy {
        let why = format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; \
             priority admission controller computed {policy} from the given PriorityClass name"
        );
        return Err(refused(pod, &why));
    }
    if let Some(spec) = child(pod, "spec") {
        if let Some(class) = &class {
            fill(spec, "priorityClassName", text(class, "/metadata/name"));
        }
        fill(spec, "priority", value);
        fill(spec, "preemptionPolicy", policy);
    }
    Ok(())
}

fn validate(class: &Value, errors: &mut FieldErrors) {
    metadata::validate(class, kind::PRIORITY_CLASS, names::subdomain, errors);
    rules(class, errors);
}

fn rules(class: &Value, errors: &mut FieldErrors) {
    let (name, value) = (text(class, "/metadata/name"), integer(class, "/value"));
    if name.starts_with(SYSTEM_PREFIX) {
        if let Some(why) = why_not_the_systems(class, name, value) {
            let detail = format!(
                "priority class names with '{SYSTEM_PREFIX}' prefix are reserved for system use \
                 only. error: {why}"
            );
            errors.forbidden("metadata.name", detail);
        }
    } else if value > USER_VALUE_MAX {
        let detail =
            format!("maximum allowed value of a user defined priority is {USER_VALUE_MAX}");
        errors.forbidden("value", detail);
    }
    let policy = text(class, "/preemptionPolicy");
    if !matches!(policy, "" | LOWER | "Never") {
        errors.not_among("preemptionPolicy", policy, &[LOWER, "Never"]);
    }
}

fn why_not_the_systems(class: &Value, name: &str, value: i64) -> Option<String> {
    let Some((_, wanted, _)) = SYSTEM.iter().find(|(system, ..)| *system == name) else {
        return Some(format!("{name} is not a known system priority class"));
    };
    if value != *wanted {
        return Some(format!("value of {name} PriorityClass must be {wanted}"));
    }
    let is_default = is_true(class, "/globalDefault");
    is_default.then(|| format!("globalDefault of {name} PriorityClass must be false"))
}

fn validate_update(class: &Value, old: &Value, _: Option<&str>, errors: &mut FieldErrors) {
    metadata::validate_update(class, old, errors);
    if class.get("value") != old.get("value") {
        errors.forbidden("value", "may not be changed in an update.");
    }
    let policy = "preemptionPolicy";
    immutable(policy, class.get(policy), old.get(policy), errors);
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn class(name: &str, value: i64, change: &Value) -> Value {
        let mut class = json!({"metadata": {"name": name, "resourceVersion": "1"}, "value": value});
        json_patch::merge(&mut class, change);
        class
    }

    fn pod(spec: &Value) -> Value {
        let mut pod = json!({
            "metadata": {"name": "p", "namespace": "n"},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        });
        json_patch::merge(&mut pod["spec"], spec);
        pod
    }

    #[test]
    fn names_of_the_system_and_high_values_are_reserved() {
        check_refusals(
            &ROW,
            &class("high", 1000, &json!({})),
            &[
                (json!({}), &[]),
                (json!({"value": -5}), &[]),
                (
                    json!({"value": 1_000_000_001}),
                    &["value: Forbidden: maximum allowed value of a user defined priority is \
                       1000000000"],
                ),
                (
                    json!({"metadata": {"name": "system-mine"}}),
                    &["metadata.name: Forbidden: priority class names with 'system-' prefix are \
                       reserved for system use only. error: system-mine is not a known system \
                       priority class"],
                ),
                (
                    json!({"preemptionPolicy": "Maybe"}),
                    &["preemptionPolicy: Unsupported value: \"Maybe\": supported values: \
                       \"PreemptLowerPriority\", \"Never\""],
                ),
            ],
        );
    }

    #[test]
    fn value_and_policy_stay() {
        let body = class("high", 1000, &json!({}));
        let stored = taken(&ROW, &body, &Objects(Vec::new())).expect("a class");
        check_changes(
            &ROW,
            &stored,
            &[
                (json!({"description": "d"}), &[]),
                (json!({"value": 5}), &["value: Forbidden: may not be changed in an update."]),
                (
                    json!({"preemptionPolicy": "Never"}),
                    &["preemptionPolicy: Invalid value: \"Never\": field is immutable"],
                ),
            ],
        );
    }

    #[test]
    fn one_class_is_the_default_at_most() {
        let default = class("a", 5, &json!({"globalDefault": true}));
        let there = Objects(vec![(kind::PRIORITY_CLASS, default.clone())]);
        let second = class("b", 6, &json!({"globalDefault": true}));
        let refused = taken(&ROW, &second, &there).expect_err("there is one");
        assert_eq!(
            (refused.code, refused.message.as_str()),
            (
                403,
                "priorityclasses.scheduling.k8s.io \"b\" is forbidden: PriorityClass a is already \
                 marked as default. Only one default can exist"
            )
        );
        let mut changed = default.clone();
        assert!(admit(&mut changed, Some(&default), &there).is_ok());
    }

    #[test]
    fn a_pod_has_the_priority_of_its_class_and_no_other() {
        let classes: Vec<_> = system_classes()
            .chain([class("mid", 500, &json!({"preemptionPolicy": "Never"}))])
            .map(|class| (kind::PRIORITY_CLASS, class))
            .collect();
        let there = Objects(classes);
        let admitted = |spec: Value, there: &Objects| {
            let mut pod = pod(&spec);
            let refused = admit_pod(&mut pod, None, there).map_err(|error| error.message);
            refused.map(|()| {
                let spec = &pod["spec"];
                json!([spec["priorityClassName"], spec["priority"], spec["preemptionPolicy"]])
            })
        };
        let computed = "priority admission controller computed";
        for (spec, expected) in [
            (json!({}), Ok(json!([null, 0, LOWER]))),
            (json!({"priorityClassName": "mid"}), Ok(json!(["mid", 500, "Never"]))),
            (
                json!({"priorityClassName": "system-node-critical"}),
                Ok(json!(["system-node-critical", 2_000_001_000, LOWER])),
            ),
            (
                json!({"priorityClassName": "nope"}),
                Err("no PriorityClass with name nope was found".to_owned()),
            ),
            (
                json!({"priority": 5}),
                Err(format!(
                    "the integer value of priority (5) must not be provided in pod spec; \
                     {computed} 0 from the given PriorityClass name"
                )),
            ),
            (
                json!({"priorityClassName": "mid", "preemptionPolicy": LOWER}),
                Err(format!(
                    "the string value of PreemptionPolicy ({LOWER}) must not be provided in pod \
                     spec; {computed} Never from the given PriorityClass name"
                )),
            ),
        ] {
            let expected = expected.map_err(|why| format!("pods \"p\" is forbidden: {why}"));
            assert_eq!(admitted(spec.clone(), &there), expected, "{spec}");
        }
        let default = class("base", 7, &json!({"globalDefault": true, "preemptionPolicy": LOWER}));
        let there = Objects(vec![(kind::PRIORITY_CLASS, default)]);
        assert_eq!(admitted(json!({}), &there), Ok(json!(["base", 7, LOWER])));
    }
}
