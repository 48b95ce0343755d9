//! Deployments: any number of equal pods, replaced step by step.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::json::{child, fill, integer, text};
use super::pod_template;
use super::table::{AGE, NAME, age, column, containers, name, selector};
use super::workload_rules as rules;
use crate::cluster::embedded::kind::{Column, ServedKind};
use crate::cluster::embedded::status::FieldErrors;
use crate::cluster::embedded::validation::{metadata, names};
use crate::model::kind;

/// Deployments as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::DEPLOYMENT,
    columns: COLUMNS,
    cells,
    default,
    validate,
    validate_update: |object, old, subresource, errors| {
        rules::update_with_fixed_selector(object, old, subresource, validate, errors);
    },
    ..rules::BASE
};

const COLUMNS: &[Column] = &[
    NAME,
    column("Ready", "How many of its pods are ready, of how many wanted."),
    column("Up-to-date", "How many pods are of the newest template."),
    column("Available", "How many pods have been ready for long enough."),
    AGE,
    rules::CONTAINERS,
    rules::IMAGES,
    rules::SELECTOR,
];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let (names, images) = containers(object);
    let ready = integer(object, "/status/readyReplicas");
    vec![
        name(object),
        format!("{ready}/{}", integer(object, "/spec/replicas")).into(),
        integer(object, "/status/updatedReplicas").into(),
        integer(object, "/status/availableReplicas").into(),
        age(object, now),
        names.into(),
        images.into(),
        selector(object.pointer("/spec/selector")).into(),
    ]
}

fn default(object: &mut Value) {
    pod_template::default_template(object);
    let Some(spec) = child(object, "spec") else { return };
    fill(spec, "replicas", 1);
    fill(spec, "revisionHistoryLimit", 10);
    fill(spec, "progressDeadlineSeconds", 600);
    if let Some(strategy) = child(spec, "strategy") {
        fill(strategy, "type", "RollingUpdate");
        if text(strategy, "/type") == "RollingUpdate"
            && let Some(rolling) = child(strategy, "rollingUpdate")
        {
            fill(rolling, "maxUnavailable", "25%");
            fill(rolling, "maxSurge", "25%");
        }
    }
}

fn validate(object: &Value, errors: &mut FieldErrors) {
    metadata::validate(object, kind::DEPLOYMENT, names::subdomain, errors);
    rules::not_negative(object, &["replicas"], errors);
    rules::selector_and_template(object, rules::REPLICAS, &rules::pod_spec(object), errors);
    strategy(object, errors);
    let counts = &["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"];
    rules::not_negative(object, counts, errors);
    let (wait, deadline) = (
        integer(object, "/spec/minReadySeconds"),
        object.pointer("/spec/progressDeadlineSeconds").and_then(Value::as_i64),
    );
    if let Some(deadline) = deadline.filter(|deadline| *deadline <= wait) {
        let detail = "must be greater than minReadySeconds";
        errors.invalid("spec.progressDeadlineSeconds", deadline, detail);
    }
}

fn strategy(object: &Value, errors: &mut FieldErrors) {
    const ROLLING: &str = "spec.strategy.rollingUpdate";
    let rolling = object.pointer("/spec/strategy/rollingUpdate").filter(|given| !given.is_null());
    match (text(object, "/spec/strategy/type"), rolling) {
        ("Recreate", Some(_)) => {
            let detail = "may not be specified when strategy `type` is 'Recreate'";
            errors.forbidden(ROLLING, detail);
        }
        ("Recreate", None) => {}
        ("RollingUpdate", rolling) => {
            rolling_update(rolling.unwrap_or(&Value::Null), ROLLING, errors);
        }
        (other, rolling) => {
            let rolling = rolling.map(|given| {
                json!({"MaxUnavailable": given["maxUnavailable"], "MaxSurge": given["maxSurge"]})
            });
            let shown = json!({"Type": other, "RollingUpdate": rolling});
            errors.not_supported("spec.strategy", shown, &["Recreate", "RollingUpdate"]);
        }
    }
}

fn rolling_update(rolling: &Value, path: &str, errors: &mut FieldErrors) {
    for field in ["maxUnavailable", "maxSurge"] {
        amount(&rolling[field], &format!("{path}.{field}"), errors);
    }
    let (missing, path) = (&rolling["maxUnavailable"], format!("{path}.maxUnavailable"));
    let is_zero = |value: &Value| share(value).or(value.as_u64()) == Some(0);
    if is_zero(missing) && is_zero(&rolling["maxSurge"]) {
        errors.invalid(path.as_str(), missing.clone(), "may not be 0 when `maxSurge` is 0");
    }
    if share(missing).is_some_and(|share| share > 100) {
        errors.invalid(path, missing.clone(), "must not be greater than 100%");
    }
}

/// A number, or a share in percent.
fn amount(value: &Value, path: &str, errors: &mut FieldErrors) {
    if value.is_string() && share(value).is_none() {
        let detail = "a valid percent string must be a numeric string followed by an ending '%' \
                      (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
        errors.invalid(path, value.clone(), detail);
    } else if value.as_i64().is_some_and(|count| count < 0) {
        errors.invalid(path, value.clone(), "must be greater than or equal to 0");
    }
}

fn share(value: &Value) -> Option<u64> {
    let digits = value.as_str()?.strip_suffix('%')?;
    // A plus sign parses, too.
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn a_new_deployment_is_refused_for_what_is_wrong_with_it() {
        let base = json!({
            "metadata": {"name": "d", "namespace": "n"},
            "spec": {
                "selector": {"matchLabels": {"app": "d"}},
                "template": {
                    "metadata": {"labels": {"app": "d"}},
                    "spec": {"containers": [{"name": "c", "image": "i"}]},
                },
            },
        });
        let rolling = |amounts: Value| json!({"spec": {"strategy": {"rollingUpdate": amounts}}});
        let at = "spec.strategy.rollingUpdate";
        check_refusals(
            &ROW,
            &base,
            &[
                (json!({}), &[]),
                (
                    json!({"spec": {"selector": null}}),
                    &[
                        "spec.selector: Required value",
                        "spec.template.metadata.labels: Invalid value: {\"app\":\"d\"}: `selector` \
                         does not match template `labels`",
                    ],
                ),
                (
                    json!({"spec": {"selector": {"matchLabels": null,
                        "matchExpressions": [{"key": "app", "operator": "In"}]}}}),
                    &[
                        "spec.selector.matchExpressions[0].values: Required value: must be \
                         specified when `operator` is 'In' or 'NotIn'",
                        "spec.selector: Invalid value: {\"matchExpressions\":[{\"key\":\"app\",\
                         \"operator\":\"In\"}]}: invalid label selector",
                    ],
                ),
                (
                    json!({"spec": {"strategy": {"type": "Any"}}}),
                    &[
                        "spec.strategy: Unsupported value: {\"Type\":\"Any\",\"RollingUpdate\":null}: \
                       supported values: \"Recreate\", \"RollingUpdate\"",
                    ],
                ),
                (
                    json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": {}}}}),
                    &[&format!(
                        "{at}: Forbidden: may not be specified when strategy `type` is 'Recreate'"
                    )],
                ),
                (
                    rolling(json!({"maxSurge": 0, "maxUnavailable": "0%"})),
                    &[&format!(
                        "{at}.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0"
                    )],
                ),
                (
                    rolling(json!({"maxSurge": -1, "maxUnavailable": "200%"})),
                    &[
                        &format!(
                            "{at}.maxSurge: Invalid value: -1: must be greater than or equal to 0"
                        ),
                        &format!(
                            "{at}.maxUnavailable: Invalid value: \"200%\": must not be greater than 100%"
                        ),
                    ],
                ),
                (
                    json!({"spec": {"template": {"spec": {"activeDeadlineSeconds": 5}}}}),
                    &[
                        "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds \
                       in ReplicaSet is not Supported",
                    ],
                ),
                (
                    json!({"spec": {"progressDeadlineSeconds": -1}}),
                    &[
                        "spec.progressDeadlineSeconds: Invalid value: -1: must be greater than or \
                         equal to 0",
                        "spec.progressDeadlineSeconds: Invalid value: -1: must be greater than \
                         minReadySeconds",
                    ],
                ),
            ],
        );
    }
}
