//! StatefulSets: pods with names of their own and claims that outlive them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::json::{child, fill, integer, is_set, items_mut, list, put, text};
use super::table::{AGE, NAME, age, column, containers, name};
use super::workload_rules as rules;
use super::{claim_spec, persistent_volume_claim, pod_template};
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
    prepare,
    validate: |object, errors| {
        metadata::validate(object, kind::STATEFUL_SET, names::label, errors);
        validate_spec(object, true, errors);
    },
    validate_update,
    warnings,
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
        put(claim, "status", Some(json!({"phase": "Pending"})));
    }
}

/// `maxUnavailable` is behind the gate `MaxUnavailableStatefulSet`, which is
/// off: it is not taken where it was not before.
fn prepare(object: &mut Value, old: Option<&Value>, subresource: Option<&str>, now: Timestamp) {
    const MOST: &str = "/spec/updateStrategy/rollingUpdate/maxUnavailable";
    super::prepare_with_status(object, old, subresource, now);
    if !old.is_some_and(|old| is_set(old, MOST))
        && let Some(rolling) = object.pointer_mut("/spec/updateStrategy/rollingUpdate")
    {
        put(rolling, "maxUnavailable", None);
    }
}

const WORDS: &rules::Words =
    &rules::Words { selector: "statefulset", bad_selector: "", deadline: "StatefulSet" };

/// Claim templates and the Service's name are looked into on create alone: no
/// update changes them.
fn validate_spec(object: &Value, is_new: bool, errors: &mut FieldErrors) {
    let policy = text(object, "/spec/podManagementPolicy");
    if !matches!(policy, "OrderedReady" | "Parallel") {
        let detail = "must be 'OrderedReady' or 'Parallel'";
        errors.invalid("spec.podManagementPolicy", policy, detail);
    }
    update_strategy(object, errors);
    for field in ["whenDeleted", "whenScaled"] {
        let policy = "spec.persistentVolumeClaimRetentionPolicy";
        let word = text(object, &format!("/{}/{field}", policy.replace('.', "/")));
        if !matches!(word, "Retain" | "Delete") {
            errors.not_among(format!("{policy}.{field}"), word, &["Retain", "Delete"]);
        }
    }
    let templates = list(object, "/spec/volumeClaimTemplates").iter().enumerate();
    for (index, template) in templates.filter(|_| is_new) {
        let path = format!("spec.volumeClaimTemplates[{index}].spec");
        let nothing = json!({});
        claim_spec::validate(template.get("spec").unwrap_or(&nothing), &path, None, errors);
    }
    rules::not_negative(object, &["replicas", "minReadySeconds", "ordinals.start"], errors);
    let service = text(object, "/spec/serviceName");
    if is_new && !service.is_empty() {
        for wrong in names::label(service) {
            errors.invalid("spec.serviceName", service, wrong);
        }
    }
    rules::selector_and_template(object, WORDS, &with_claims(object), errors);
}

fn update_strategy(object: &Value, errors: &mut FieldErrors) {
    let rolling = object.pointer("/spec/updateStrategy/rollingUpdate").filter(|r| !r.is_null());
    let shown = rolling.map(
        |given| json!({"Partition": given["partition"], "MaxUnavailable": given["maxUnavailable"]}),
    );
    match text(object, "/spec/updateStrategy/type") {
        "OnDelete" => {
            if let Some(shown) = shown {
                let detail = "only allowed for updateStrategy 'RollingUpdate'";
                errors.invalid("spec.updateStrategy.rollingUpdate", shown, detail);
            }
        }
        "RollingUpdate" => {
            let partition = "updateStrategy.rollingUpdate.partition";
            rules::not_negative(object, &[partition], errors);
        }
        other => {
            let shown = json!({"Type": other, "RollingUpdate": shown});
            errors.invalid("spec.updateStrategy", shown, "must be 'RollingUpdate' or 'OnDelete'");
        }
    }
}

/// The pods' spec with the volumes of their claims first, in place of volumes of
/// the same names: what its mounts may name.
fn with_claims(object: &Value) -> Value {
    let mut volumes: Vec<Value> = Vec::new();
    for template in list(object, "/spec/volumeClaimTemplates") {
        let name = text(template, "/metadata/name");
        if !volumes.iter().any(|volume| text(volume, "/name") == name) {
            volumes.push(json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
        }
    }
    let mut spec = rules::pod_spec(object);
    let claimed =
        |own: &Value| volumes.iter().any(|volume| text(volume, "/name") == text(own, "/name"));
    let own: Vec<Value> =
        list(&spec, "/volumes").iter().filter(|own| !claimed(own)).cloned().collect();
    volumes.extend(own);
    put(&mut spec, "volumes", Some(volumes.into()));
    spec
}

fn warnings(object: &Value) -> Vec<String> {
    let warning = "spec.revisionHistoryLimit: a negative value retains all historical revisions; \
                   a value >= 0 is recommended";
    let is_negative = integer(object, "/spec/revisionHistoryLimit") < 0;
    let mut warnings = rules::warnings(object);
    warnings.extend(is_negative.then(|| warning.to_owned()));
    warnings
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
    validate_spec(object, false, errors);
    let fixed = |object: &Value| {
        let mut spec = object.get("spec").cloned().unwrap_or_default();
        for field in MUTABLE {
            put(&mut spec, field, None);
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
                (
                    json!({"metadata": {"name": "a.b"}}),
                    &["metadata.name: Invalid value: \"a.b\": must not contain dots"],
                ),
                (
                    json!({"spec": {"podManagementPolicy": "Any", "serviceName": "a.b",
                        "updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}},
                        "persistentVolumeClaimRetentionPolicy": {"whenScaled": "No"}}}),
                    &[
                        "spec.podManagementPolicy: Invalid value: \"Any\": must be 'OrderedReady' or \
                 'Parallel'",
                        "spec.updateStrategy.rollingUpdate: Invalid value: {\"Partition\":1,\
                 \"MaxUnavailable\":null}: only allowed for updateStrategy 'RollingUpdate'",
                        "spec.persistentVolumeClaimRetentionPolicy.whenScaled: Unsupported value: \
                 \"No\": supported values: \"Retain\", \"Delete\"",
                        "spec.serviceName: Invalid value: \"a.b\": must not contain dots",
                    ],
                ),
                (
                    json!({"spec": {"volumeClaimTemplates": [{"metadata": {"name": "disk"},
                        "spec": {"accessModes": []}}]}}),
                    &[
                        "spec.volumeClaimTemplates[0].spec.accessModes: Required value: at least 1 \
                 access mode is required",
                        "spec.volumeClaimTemplates[0].spec.resources[storage]: Required value",
                        "spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"data\"",
                    ],
                ),
                (
                    json!({"spec": {"updateStrategy": {"type": "RollingUpdate",
                        "rollingUpdate": {"partition": -1}}, "ordinals": {"start": -1}}}),
                    &[
                        "spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be \
                 greater than or equal to 0",
                        "spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0",
                    ],
                ),
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
                        "spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"data\"",
                        "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', \
                 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', \
                 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
                    ],
                ),
            ],
        );
    }

    #[test]
    fn how_many_may_be_unavailable_is_not_taken_while_its_gate_is_off() {
        let mut body = base();
        body["spec"]["updateStrategy"] =
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}});
        let set = taken(&ROW, &body, &Objects(Vec::new())).expect("a set");
        assert_eq!(set["spec"]["updateStrategy"]["rollingUpdate"], json!({"partition": 0}));
    }

    #[test]
    fn a_negative_history_is_pointed_out() {
        assert!(warnings(&base()).is_empty());
        assert_eq!(warnings(&json!({"spec": {"revisionHistoryLimit": -1}})).len(), 1);
    }
}
