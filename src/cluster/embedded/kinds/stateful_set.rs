//! StatefulSets: pods with names of their own and claims that outlive them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::json::{child, fill, integer, items_mut, text};
use super::table::{AGE, NAME, age, column, containers, name};
use super::workload_rules::{self as rules, Template};
use super::{persistent_volume_claim, pod_template};
use crate::cluster::embedded::kind::{Column, ServedKind};
use crate::cluster::embedded::status::FieldErrors;
use crate::cluster::embedded::validation::{metadata, names};
use crate::model::kind;

/// StatefulSets as they are served.
pub static ROW: ServedKind = ServedKind {
    names: kind::STATEFUL_SET,
    columns: COLUMNS,
    cells,
    default,
    validate,
    validate_update,
    ..rules::BASE
};

const COLUMNS: &[Column] = &[
    NAME,
    column("Ready", "How many of its pods are ready, of how many wanted."),
    AGE,
    rules::CONTAINERS,
    rules::IMAGES,
];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let (names, images) = containers(object);
    let ready = integer(object, "/status/readyReplicas");
    vec![
        name(object),
        format!("{ready}/{}", integer(object, "/spec/replicas")).into(),
        age(object, now),
        names.into(),
        images.into(),
    ]
}

fn default(object: &mut Value) {
    pod_template::default_template(object);
    let Some(spec) = child(object, "spec") else { return };
    fill(spec, "replicas", 1);
    fill(spec, "podManagementPolicy", "OrderedReady");
    fill(spec, "revisionHistoryLimit", 10);
    if let Some(strategy) = child(spec, "updateStrategy") {
        fill(strategy, "type", "RollingUpdate");
        if text(strategy, "/type") == "RollingUpdate"
            && let Some(rolling) = child(strategy, "rollingUpdate")
        {
            fill(rolling, "partition", 0);
        }
    }
    if let Some(policy) = child(spec, "persistentVolumeClaimRetentionPolicy") {
        fill(policy, "whenDeleted", "Retain");
        fill(policy, "whenScaled", "Retain");
    }
    for claim in items_mut(spec, "/volumeClaimTemplates") {
        fill(claim, "kind", "PersistentVolumeClaim");
        fill(claim, "apiVersion", "v1");
        if let Some(claim_spec) = child(claim, "spec") {
            persistent_volume_claim::default_spec(claim_spec);
        }
        super::json::put(claim, "status", Some(json!({"phase": "Pending"})));
    }
}

fn validate(object: &Value, errors: &mut FieldErrors) {
    metadata::validate(object, kind::STATEFUL_SET, names::subdomain, errors);
    rules::one_of(object, "podManagementPolicy", &["OrderedReady", "Parallel"], errors);
    rules::one_of(object, "updateStrategy.type", &["OnDelete", "RollingUpdate"], errors);
    for field in ["whenDeleted", "whenScaled"] {
        let field = format!("persistentVolumeClaimRetentionPolicy.{field}");
        rules::one_of(object, &field, &["Delete", "Retain"], errors);
    }
    rules::not_negative(object, &["replicas", "minReadySeconds"], errors);
    rules::selector_and_template(object, "statefulset", Template::LabelsOnly, errors);
}

fn validate_update(
    object: &Value,
    old: &Value,
    subresource: Option<&str>,
    errors: &mut FieldErrors,
) {
    const MUTABLE: [&str; 7] = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    metadata::validate_update(object, old, errors);
    if subresource.is_some() {
        return;
    }
    validate(object, errors);
    let fixed = |object: &Value| {
        let mut spec = object.get("spec").cloned().unwrap_or_default();
        for field in MUTABLE {
            super::json::put(&mut spec, field, None);
        }
        spec
    };
    if fixed(object) != fixed(old) {
        errors.forbidden(
            "spec",
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', \
             'template', 'updateStrategy', 'revisionHistoryLimit', \
             'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn base() -> Value {
        json!({
            "metadata": {"name": "s", "namespace": "n", "resourceVersion": "1"},
            "spec": {
                "serviceName": "s", "selector": {"matchLabels": {"app": "s"}},
                "template": {
                    "metadata": {"labels": {"app": "s"}},
                    "spec": {"containers": [{
                        "name": "c", "image": "i",
                        "volumeMounts": [{"name": "data", "mountPath": "/d"}],
                    }]},
                },
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                    "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
                }}],
            },
        })
    }

    #[test]
    fn a_new_set_is_refused_for_what_is_wrong_with_it() {
        check_refusals(
            &ROW,
            &base(),
            &[
                (json!({}), &[]),
                (
                    json!({"spec": {"selector": {"matchLabels": {"app": "t"}}}}),
                    &[
                        "spec.template.metadata.labels: Invalid value: {\"app\":\"s\"}: `selector` does not \
                 match template `labels`",
                    ],
                ),
                (json!({"spec": {"selector": null}}), &["spec.selector: Required value"]),
                (
                    json!({"spec": {"replicas": -1}}),
                    &["spec.replicas: Invalid value: -1: must be greater than or equal to 0"],
                ),
            ],
        );
    }

    #[test]
    fn a_stored_set_keeps_its_claim_templates() {
        let stored = taken(&ROW, &base(), &Objects(Vec::new())).expect("a set");
        check_changes(
            &ROW,
            &stored,
            &[
                (json!({"spec": {"replicas": 3}}), &[]),
                (
                    json!({"spec": {"volumeClaimTemplates": null}}),
                    &[
                        "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', \
                 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', \
                 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
                    ],
                ),
            ],
        );
    }
}
